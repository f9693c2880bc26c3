//! One line per request, and the id that ties a response, its line and whatever else was logged together.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{Principal, ToolName};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Uri};
use mcp_protocol::Note;

const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// Gives out request ids: unique in a process, and unlikely to meet another replica's.
#[derive(Debug)]
pub(crate) struct RequestIds {
    /// The process's part, and a dash.
    process: String,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        let process = RandomState::new().hash_one(std::process::id()) >> 32;
        Self { process: format!("{process:08x}-"), next: AtomicU64::new(1) }
    }

    pub(crate) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(self.process.len() + 16);
        id.push_str(&self.process);
        // `format!` takes several times as long, for every request.
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
        id.extend((0..digits).rev().map(|digit| HEX[(number >> (4 * digit) & 0xf) as usize]));
        id
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
    /// Whether the request's body was read to its verified end.
    pub(crate) body_was_read: bool,
}

impl Record {
    pub(crate) fn new(request: &Parts) -> Self {
        Self { method: request.method.clone(), target: request.uri.clone(), ..Self::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_count() {
        for first in [0, 1, 15, 16, 0xdead_beef, u64::MAX] {
            let ids = RequestIds { process: "0123abcd-".into(), next: AtomicU64::new(first) };
            assert_eq!(ids.next(), format!("0123abcd-{first:x}"));
        }
        let ids = RequestIds::new();
        let (one, two) = (ids.next(), ids.next());
        assert_eq!((&one[8..], &two[8..]), ("-1", "-2"));
        assert_eq!(one[..8], two[..8]);
    }
}
