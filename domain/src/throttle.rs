//! How often a principal may ask, and an address.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use crate::pool::Exhausted;
use crate::principal::Principal;
use crate::tool::ToolName;

/// The port that bounds how many requests a principal, and an address, send in a time; [`crate::Pool`] bounds what they have
/// under way. A server without one counts nothing.
pub trait Throttle: Send + Sync {
    /// Counts a JSON-RPC request of a principal, each part of a batch as one. [`Exhausted::Rate`] when it comes too early,
    /// [`Exhausted::Uncounted`] when it can't be counted, and may not go on without.
    fn take<'a>(&'a self, principal: &'a Principal, operation: Operation<'a>) -> Answer<'a>;

    /// Counts an HTTP request to the endpoint, before anything of it is believed. An IPv6 address stands for its network: the
    /// last 64 bits of it are zero.
    fn take_address(&self, _: IpAddr) -> Answer<'_> {
        Answer::Now(Ok(None))
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operation<'a> {
    /// The method, if it is one of MCP's or of the catalog.
    pub method: Option<&'a str>,
    /// The tool that is called, if it is in the catalog.
    pub tool: Option<&'a ToolName>,
}

/// What a throttle says: how much is left, if it knows.
pub type Verdict = Result<Option<Allowance>, Exhausted>;

/// A verdict, or the wait for one: what is counted in this process takes none, and no allocation for it.
pub enum Answer<'a> {
    /// It is known.
    Now(Verdict),
    /// It is being asked for.
    Later(Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>),
}

impl Answer<'_> {
    /// Returns the verdict.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub async fn verdict(self) -> Verdict {
        match self {
            Self::Now(verdict) => verdict,
            Self::Later(verdict) => verdict.await,
        }
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(verdict) => formatter.debug_tuple("Now").field(verdict).finish(),
            Self::Later(_) => formatter.write_str("Later"),
        }
    }
}

/// How much of a quota is left, of the one that is nearest to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// What is counted by: `subject`, `client`, `tool` or `address`.
    pub policy: &'static str,
    /// How many may come at once after a pause.
    pub quota: u32,
    /// The time in which as many come back, in seconds.
    pub window: u32,
    /// How many may come now.
    pub remaining: u32,
    /// When one more may come than now, in seconds from now.
    pub reset: u32,
}
