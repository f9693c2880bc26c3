//! What the transport can be told, validated by whoever builds it.

use std::time::Duration;

use domain::Shares;
use url::Url;

use crate::allow_list::{AllowedHost, AllowedOrigin};

/// Where the server is reachable, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The origin under which clients reach the server, without a path. Every absolute URL starts with it; forwarded
    /// headers are never read.
    pub public_url: Url,
    /// The protected resource's identifier (RFC 9728 `resource`, RFC 8707): the Auth0 API identifier.
    pub resource: String,
    /// The protected resource's name for people (RFC 9728 `resource_name`).
    pub resource_name: String,
    /// The authorization server's issuer identifier, with Auth0's trailing slash.
    pub issuer: String,
    /// Web origins that may call the endpoint besides loopback ones and the server's own.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Hosts that the server answers to besides loopback ones and its own.
    pub allowed_hosts: Vec<AllowedHost>,
}

/// Bounds on what one client, and all of them, can take. They are read at the start only.
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
    /// Answers at a time that have become streams. Beyond it subscriptions get 503, calls keep their request's place.
    pub streams: usize,
    /// Memory of all requests together, in bytes: bodies, what is parsed of them, answers that wait to be taken. Beyond it:
    /// 503. Each request's first [`domain::Memory::FREE_BYTES`] are not counted.
    pub memory_bytes: usize,
    /// What one subject, and one client, may have of requests, streams and memory. Beyond it: 429.
    pub shares: Shares,
    /// How long requests under way may take once the server is told to stop.
    pub drain: Duration,
}

impl HttpSettings {
    /// The origin as text, without a trailing slash.
    #[must_use]
    pub fn origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }

    /// The MCP endpoint's URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}/mcp", self.origin())
    }

    /// Where the endpoint's metadata document is (RFC 9728 section 3.1: the well-known path goes before the
    /// resource's own).
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!("{}/.well-known/oauth-protected-resource/mcp", self.origin())
    }
}
