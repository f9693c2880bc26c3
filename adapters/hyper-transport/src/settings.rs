//! The settings of the transport, which their creator has validated.

use std::sync::Arc;
use std::time::Duration;

use domain::Shares;
use serde_json::{Map, Value};
use url::Url;

use crate::allow_list::{AllowedHost, AllowedOrigin};
use crate::client_address::TrustedProxies;

/// The well-known path of protected resource metadata (RFC 9728 section 3).
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// Where the server is reachable, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The public endpoint that answers requests which name no other one.
    pub main: PublicEndpoint,
    /// Further public endpoints.
    pub others: Vec<PublicEndpoint>,
    /// The protected resource's name for people (RFC 9728 `resource_name`).
    pub resource_name: String,
    /// The authorization server's issuer identifier.
    pub issuer: String,
    /// What the authorization server's metadata says (RFC 8414), without `scopes_supported`.
    pub authorization_server: Map<String, Value>,
    /// Web origins that may call the endpoint besides loopback ones and the server's own.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Hosts that the server answers to besides loopback ones and its own.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Who is believed what it says of a client's address; for quotas alone.
    pub trusted_proxies: TrustedProxies,
}

/// An address under which clients reach the server. Every absolute URL starts with a configured one; no
/// forwarded header is read for it, and a request's `Host` only selects among these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicEndpoint {
    /// The URL below which the server is reachable: an origin, and a path where a proxy serves it below one.
    pub base: Url,
    /// The MCP endpoint's path below the base, such as `/mcp`; empty for the base itself.
    pub path: String,
    /// The protected resource's identifier (RFC 9728 `resource`, RFC 8707), which tokens for this endpoint must have in
    /// `aud`.
    pub resource: Arc<str>,
}

/// The limits of one client, and of all together. They are read at the start only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A request's body, in bytes. Beyond it: 413.
    pub body_bytes: usize,
    /// A request's head, in bytes; at least 8 KiB. Beyond it: 431.
    pub header_bytes: usize,
    /// From a request's first byte to the end of its head. Beyond it the connection is closed.
    pub header_read: Duration,
    /// For a request's whole body. Beyond it: 408.
    pub body_read: Duration,
    /// A connection without a request under way is closed after this.
    pub keep_alive: Duration,
    /// How long an answer may wait without its client taking a byte of it. Beyond it its stream, or else its connection,
    /// is closed.
    pub answer_stall: Duration,
    /// Connections at a time. Beyond it a few are served for probes alone, everything else: 503 and close.
    pub connections: usize,
    /// Requests to the endpoint under way at a time, streams apart. Beyond it: 503.
    pub requests: usize,
    /// Answers at a time that have become streams. Beyond it subscriptions get 503, calls keep their request's lease.
    pub streams: usize,
    /// Memory of all requests together, in bytes: bodies, what is parsed of them, answers that wait to be taken. Beyond it:
    /// 503. Each request's first [`domain::Memory::FREE_BYTES`] are not counted.
    pub memory_bytes: usize,
    /// The share of one subject, and of one client, of requests, streams and memory. Beyond it: 429.
    pub shares: Shares,
    /// How long connections are accepted after the server was told to stop, and reports that it is not ready.
    pub drain_delay: Duration,
    /// How long requests under way may take after that.
    pub drain: Duration,
}

impl HttpSettings {
    /// Returns every public endpoint, the main one first.
    pub fn endpoints(&self) -> impl Iterator<Item = &PublicEndpoint> {
        std::iter::once(&self.main).chain(&self.others)
    }
}

impl PublicEndpoint {
    /// Returns the origin as text, without a trailing slash.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Returns the path of the base without a trailing slash; empty for an origin.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.base.path().trim_end_matches('/')
    }

    /// Returns the MCP endpoint's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}{}", self.origin(), self.prefix(), self.path)
    }

    /// Returns the URL of the endpoint's metadata document (RFC 9728 section 3.1: the well-known path goes between the host
    /// and the resource's own path).
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!("{}{}{}{}", self.origin(), METADATA_PATH, self.prefix(), self.path)
    }
}
