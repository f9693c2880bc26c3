//! Texts that the MCP server and its local tenant read by the same rules, or that several crates write.
//!
//! - [`strict_json`]: JSON that means one thing only
//! - [`json_object`]: JSON objects, written member by member
//! - [`scope_token`]: the grammar of OAuth scopes
//! - [`loopback`]: hosts that are this machine
//! - [`unseen`]: characters that a reader does not see, or that a terminal obeys
//! - [`port`]: ports of URLs and `Host` fields
//!
//! Everything here is a pure function of a text. The crate knows no HTTP and no OAuth endpoint, and depends on no other
//! crate of the workspace.

pub mod json_object;
pub mod loopback;
pub mod port;
pub mod scope_token;
pub mod strict_json;
pub mod unseen;
