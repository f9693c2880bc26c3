//! [`Options`]: where another server is, what of it is offered to whom, and how much of anything there may be.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};
use url::Url;

use crate::rules::Rules;

/// One upstream: another MCP server that is offered through this one.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name, in the log, in errors and in what is said of readiness.
    pub name: String,
    /// How it is reached.
    pub connect: Connect,
    /// The protocol revisions to speak to it.
    pub era: Era,
    /// What is put before the names of its tools and prompts.
    pub prefix: String,
    /// What is offered, under which names and scopes.
    pub rules: Rules,
    /// What it is told of the caller.
    pub caller: CallerIdentity,
    /// The API, by its name, for which requests of callers carry a token that is exchanged for theirs; over HTTP.
    pub downstream: Option<String>,
    /// How much of anything there may be, and for how long.
    pub limits: Limits,
}

/// How an upstream is reached.
#[derive(Debug, Clone)]
pub enum Connect {
    /// By a child process's standard input and output.
    Child(Child),
    /// By Streamable HTTP.
    Http(Http),
}

/// A child process. It inherits nothing of this process's environment.
#[derive(Clone)]
pub struct Child {
    /// The program: a path, or a name to look up in the `PATH` of `environment`.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: BTreeMap<OsString, OsString>,
    /// Its working folder; this process's own if there is none.
    pub folder: Option<PathBuf>,
}

/// Arguments and variables may be secret.
impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("program", &self.program).finish_non_exhaustive()
    }
}

/// An address, and what every request to it carries.
#[derive(Clone)]
pub struct Http {
    /// The MCP endpoint.
    pub url: Url,
    /// Further header fields, such as an API key of this server's own.
    pub headers: HeaderMap,
}

/// Why a header field can't be one of an upstream's requests. It repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The name is none of a header field.
    #[error("is no name of a header field")]
    Name,
    /// The value has characters that no header field has.
    #[error("must be visible characters and spaces of ASCII")]
    Value,
    /// The connection or the protocol sets the field.
    #[error("is a field that the connection or the protocol sets by itself")]
    Reserved,
}

/// The fields that the connection sets, or that are of one connection alone (RFC 9110 section 7.6.1), and one of MCP's; the
/// others of MCP and those about the caller are known by their beginnings.
const RESERVED: [HeaderName; 11] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("last-event-id"),
];

impl Http {
    /// Creates an address without header fields.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self { url, headers: HeaderMap::new() }
    }

    /// Adds a header field to every request.
    ///
    /// # Errors
    /// [`HeaderError`] when there is no such field, or it is not the operator's to set.
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), HeaderError> {
        let name: HeaderName = name.parse().map_err(|_| HeaderError::Name)?;
        let is_reserved = |prefix| name.as_str().starts_with(prefix);
        if RESERVED.contains(&name) || is_reserved("mcp-") || is_reserved("fastmcp-auth0-") {
            return Err(HeaderError::Reserved);
        }
        let is_text = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let mut value = HeaderValue::from_str(value).ok().filter(|_| is_text).ok_or(HeaderError::Value)?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }
}

/// Header fields, and the URL's user and query, may be secret.
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("origin", &self.url.origin().ascii_serialization())
            .finish_non_exhaustive()
    }
}

/// Which protocol revisions are spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Era {
    /// 2026-07-28 if it speaks that, and else what it negotiates by `initialize`.
    #[default]
    Any,
    /// 2026-07-28 alone.
    Modern,
    /// Those with `initialize` alone, for a server that `server/discover` disturbs.
    Legacy,
}

/// What an upstream is told of the caller. The caller's own token never goes there.
#[derive(Clone, Default)]
pub enum CallerIdentity {
    /// Nothing.
    #[default]
    None,
    /// A JWT of a minute's life, signed with HS256 under this secret.
    Jwt(Secret),
    /// Plain fields, beside this secret.
    Fields(Secret),
}

impl fmt::Debug for CallerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Jwt(_) => "Jwt",
            Self::Fields(_) => "Fields",
        })
    }
}

/// A secret that an upstream shares with this server.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The minimum length, in bytes: that of HS256's output (RFC 7518 section 3.2).
    pub const MIN_BYTES: usize = 32;

    /// Creates a secret; `None` if it is too short, or not of visible ASCII, which a header field can carry.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_usable = text.len() >= Self::MIN_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_usable.then(|| Self(text.to_owned()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// How much of anything there may be, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For connecting to it, and for its lists.
    pub start: Duration,
    /// For one round of a call.
    pub call: Duration,
    /// For a child to end once its standard input is closed, and again once it has SIGTERM; then it is killed.
    pub stop: Duration,
    /// The length of one message of the upstream's, in bytes.
    pub message_bytes: usize,
    /// The number of calls at a time; others wait.
    pub calls: usize,
    /// The number of calls that wait for a client's input between two of its requests.
    pub parked_calls: usize,
    /// How long such a call waits.
    pub parked: Duration,
    /// The number of tools, of resources, of templates and of prompts. The rest of a list is left out, and what is beyond
    /// `message_bytes` in all.
    pub listed: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(30),
            call: Duration::from_mins(1),
            stop: Duration::from_secs(5),
            message_bytes: 8 << 20,
            calls: 64,
            parked_calls: 64,
            parked: Duration::from_mins(5),
            listed: 1000,
        }
    }
}
