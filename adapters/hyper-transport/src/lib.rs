//! MCP's Streamable HTTP over raw hyper: HTTP/1.1 and HTTP/2, over TCP or Unix sockets, with TLS or without.
//!
//! This crate owns what is HTTP's: routes, limits, CORS, `Host` and `Origin`, bearer credentials and challenges (RFC 6750),
//! metadata documents (RFC 9728, RFC 8414), drain. `mcp-protocol` knows what a message means, the domain who may do what. Its
//! modules use each other in no circle.

mod access_log;
mod activity;
mod allow_list;
mod answer_body;
mod body;
mod challenge;
mod client_address;
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
mod listener;
mod outbox;
mod problem;
mod public;
mod published;
mod quota_fields;
mod router;
mod server;
mod settings;
mod shared;
mod socket;
mod target;
mod tls;
mod trace;
mod watched_io;
mod when_woken;

pub use allow_list::{AllowListError, AllowedHost, AllowedOrigin};
pub use client_address::{ForwardedField, TrustedProxies};
pub use ipnet::IpNet;
pub use limiter::Usage;
pub use listener::{ListenError, Listener};
pub use published::{Published, published};
pub use server::{Drained, ReloadHandle, Server, ServerStatus};
pub use settings::{HttpSettings, Limits, PublicEndpoint};
pub use tls::{TlsIdentity, TlsIdentityError};
