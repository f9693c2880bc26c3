//! One line per request, and the id that ties a response, its line and whatever else was logged together.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{Principal, ToolName};
use hyper::{Method, Request, StatusCode, Uri};
use mcp_protocol::Note;

/// Gives out request ids: unique in a process, and unlikely to meet another replica's.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        let bytes = RandomState::new().hash_one(std::process::id()).to_be_bytes();
        Self {
            process: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            next: AtomicU64::new(1),
        }
    }

    pub(crate) fn next(&self) -> String {
        format!("{:08x}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a request's line will say. A request's query, headers and body never get here.
#[derive(Debug, Default)]
pub(crate) struct Record {
    method: Method,
    target: Uri,
    /// Of an authenticated request.
    pub(crate) principal: Option<Principal>,
    pub(crate) note: Note,
    /// Why the transport refused.
    pub(crate) refused: Option<&'static str>,
}

impl Record {
    pub(crate) fn new<B>(request: &Request<B>) -> Self {
        Self { method: request.method().clone(), target: request.uri().clone(), ..Self::default() }
    }

    pub(crate) fn log(&self, id: &str, status: StatusCode, took: Duration) {
        let principal = self.principal.as_ref();
        tracing::info!(
            id,
            method = cut(self.method.as_str(), 16),
            path = cut(self.target.path(), 256),
            status = status.as_u16(),
            ms = (took.as_secs_f64() * 1e6).round() / 1e3,
            sub = principal.map(Principal::subject),
            client_id = principal.map(Principal::client),
            rpc = self.note.method,
            tool = self.note.tool.as_ref().map(ToolName::as_str),
            reason = self.refused.or(self.note.reason),
            "request"
        );
    }
}

/// A client chooses its path and method, so both are cut.
fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}
