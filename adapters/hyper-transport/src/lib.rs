//! MCP's Streamable HTTP over raw hyper, HTTP/1.1 and HTTP/2 without TLS.
//!
//! What HTTP has to say is said here: routes, limits, CORS, `Host` and `Origin`, bearer credentials and challenges
//! (RFC 6750), metadata documents (RFC 9728, RFC 8414), drain. What a message means is `mcp-protocol`'s business, who
//! may do what is the domain's.

mod access_log;
mod activity;
mod allow_list;
mod answer_body;
mod body;
mod challenge;
mod cors;
mod credentials;
mod documents;
mod endpoint;
mod error_response;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod head;
mod host_policy;
mod limiter;
mod outbox;
mod problem;
mod public;
mod router;
mod server;
mod settings;
mod shared;

pub use allow_list::{AllowListError, AllowedHost, AllowedOrigin};
pub use server::{Drained, ReloadHandle, Server};
pub use settings::{HttpSettings, Limits, PublicEndpoint};
