//! Auth0's Management API v2, as far as it sets a tenant up for an MCP server: [`Management`] reads what a tenant has
//! ([`Management::read`]) and carries operations out ([`Management::carry_out`]). What is to be done, the crate `tenant` decides.
//!
//! Requests go one after another, and block. Rate limits are honored: an answer that says that nothing is left, or 429, makes the
//! next request wait as long as it says. Nothing but a refusal by 429 is sent again.
//!
//! - `client`: authentication, requests, limits, pages
//! - `read`: what a tenant has
//! - `operations`: one write each
//! - `error`: what went wrong, for whoever has to mend it

mod client;
mod error;
mod operations;
mod read;
mod secret;

pub use client::{Credentials, Management, Progress};
pub use error::ManagementError;
pub use read::Reading;
pub use secret::Secret;
