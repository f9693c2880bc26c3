//! The middle of the hexagon: what a tool is, who may call it, and when a token is acceptable.
//!
//! A tour, in the order of a request:
//!
//! 1. A [`BearerToken`] arrives. A [`TokenVerifier`] (a port) proves who signed it and returns its [`Claims`].
//! 2. [`TokenPolicy::admit`] judges the claims at the [`Clock`]'s (a port) present time. A [`Principal`] cannot be had
//!    any other way.
//! 3. [`ScopePolicy::permit`] compares the principal's [`ScopeSet`] with what a tool requires.
//! 4. A [`Tool`] (a port) from the [`ToolCatalog`] runs.
//!
//! [`Service`] is the one door to all of it. This crate does no I/O and knows no HTTP, no JSON-RPC and no Auth0.

pub mod catalog;
pub mod policy;
pub mod principal;
pub mod schema;
pub mod scope;
pub mod service;
pub mod strict_json;
pub mod time;
pub mod token;
pub mod tool;
pub mod tools;

pub use catalog::{CatalogError, ToolCatalog};
pub use policy::{Denied, Permit, PolicyError, ScopePolicy};
pub use principal::{Principal, Rejection, ScopeAuthority, TokenPolicy};
pub use schema::{Schema, SchemaError};
pub use scope::{InvalidScope, Scope, ScopeSet};
pub use service::{AuthError, CallError, Service};
pub use time::{Clock, UnixMillis, UnixSeconds};
pub use token::{BearerToken, Claims, NotReady, TokenVerifier, Untrusted, VerifyError};
pub use tool::{Content, SpecError, Tool, ToolCall, ToolError, ToolName, ToolOutput, ToolSpec};
