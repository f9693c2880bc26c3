//! One line per request, of which the observer is told, too, and the id that ties a response, its line and whatever else was
//! logged together.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{
    BearerToken, Denial, Event, Holder, Observer, Principal, RequestTrace, Scope, Service, ToolName,
    UnverifiedClaims,
};
use hyper::header::{HOST, HeaderName, ORIGIN};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, Uri};
use mcp_protocol::LogFields;

use crate::credentials::bearer_token;
use crate::head::Fields;
use crate::problem::{Cause, ErrorFacts};
use crate::socket::Peer;

/// The maximum length of a text that its client chose, in characters, and of the items of a list.
const MAX_TEXT: usize = 128;
const MAX_ITEM: usize = 64;
/// The maximum number of items of a list.
const MAX_ITEMS: usize = 16;

const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// The source of request ids: unique in a process, and unlikely to be another replica's.
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

/// The maximum length of a request id that a client sends, in characters.
const MAX_ID: usize = 64;

/// Returns whether a client's text can be a request id: of an alphabet that no log, shell or page gives a meaning to.
pub(crate) fn is_id(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_good)
}

/// The content of a request's line. It has nothing of the query and the body, and of the headers only what a refusal is about.
/// When it is dropped, the request is over.
pub(crate) struct Record {
    /// The id of the request; empty until its fields were read.
    pub(crate) id: String,
    observer: Arc<dyn Observer>,
    /// The other end of the connection: the client, or the proxy before the server.
    pub(crate) peer: Peer,
    /// The principal of an authenticated request.
    pub(crate) principal: Option<Principal>,
    /// Whose share its memory and its work count for.
    pub(crate) holder: Holder,
    pub(crate) protocol: LogFields,
    /// The reason for which the transport refused.
    pub(crate) refused: Option<&'static str>,
    details: Option<Box<Details>>,
    pub(crate) is_probe: bool,
    pub(crate) is_stream: bool,
    pub(crate) body: BodyRead,
    /// What is traced of it; `None` where nothing is.
    pub(crate) trace: Option<Box<RequestTrace>>,
}

/// How much of a request's body was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyRead {
    Nothing,
    Begun,
    /// To its verified end.
    Whole,
}

/// The details of a refusal: escaped, cut, and lists as JSON. The claims of a token are unverified.
#[derive(Debug, Default)]
struct Details {
    host: Option<String>,
    origin: Option<String>,
    held_scopes: Option<String>,
    missing_scopes: Option<String>,
    unverified_iss: Option<String>,
    unverified_aud: Option<String>,
    unverified_kid: Option<String>,
}

impl Record {
    pub(crate) fn new(peer: Peer, observer: &Arc<dyn Observer>) -> Self {
        observer.observe(Event::RequestBegan);
        Self {
            id: String::new(),
            observer: Arc::clone(observer),
            peer,
            principal: None,
            holder: Holder::NOBODY,
            protocol: LogFields::default(),
            refused: None,
            details: None,
            is_probe: false,
            is_stream: false,
            body: BodyRead::Nothing,
            trace: None,
        }
    }

    /// Returns the reason code, for anything but success.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        self.refused.or(self.protocol.reason)
    }

    /// Records the reason and the details of a refusal.
    pub(crate) fn refuse(&mut self, facts: &ErrorFacts<'_>, request: &Parts, service: &Service) {
        self.refused = Some(facts.reason);
        let details = match facts.cause {
            Cause::Unspecific => return,
            Cause::Host => Details { host: host(request), ..Details::default() },
            Cause::Origin => Details { origin: header(&request.headers, &ORIGIN), ..Details::default() },
            Cause::Denied(denial) => Details::denied(denial, self.principal.as_ref()),
            Cause::Token => match bearer_token(&Fields::of(&request.headers)) {
                Ok(Some(token)) => Details::unverified(&token, service),
                _ => return,
            },
        };
        self.details = Some(Box::new(details));
    }

    /// Writes the line of a request for this target, at debug level for successful probes, which come every few seconds.
    pub(crate) fn log(&self, (method, target): (&Method, &Uri), status: StatusCode, took: Duration) {
        let reason = self.reason();
        let (code, is_probe, is_stream) = (status.as_u16(), self.is_probe, self.is_stream);
        self.observer.observe(Event::RequestAnswered { status: code, reason, is_probe, is_stream, took });
        let principal = self.principal.as_ref();
        let trace = self.trace.as_deref().and_then(RequestTrace::context);
        let named = self.protocol.rules.as_deref();
        let rules = named.and_then(|rules| names_list(&rules.refused));
        let would_refuse = named.and_then(|rules| names_list(&rules.would_refuse));
        macro_rules! line {
            ($level:expr $(, $more:ident = $value:expr)*) => {
                tracing::event!(
                    $level,
                    message = "request",
                    id = self.id,
                    peer = shown_peer(self.peer),
                    method = cut(method.as_str(), 16),
                    path = cut(target.path(), 256),
                    status = code,
                    ms = (took.as_secs_f64() * 1e6).round() / 1e3,
                    sub = principal.map(Principal::subject),
                    client_id = principal.map(Principal::client),
                    rpc = self.protocol.method.as_deref(),
                    tool = self.protocol.tool.as_ref().map(ToolName::as_str),
                    reason,
                    trace_id = trace.map(|trace| display(trace.trace_id())),
                    rules = rules.as_ref().map(display),
                    would_refuse = would_refuse.as_ref().map(display),
                    $($more = $value,)*
                )
            };
        }
        match &self.details {
            None if self.is_probe && self.refused.is_none() => line!(tracing::Level::DEBUG),
            None => line!(tracing::Level::INFO),
            Some(details) => line!(
                tracing::Level::INFO,
                host = details.host.as_deref(),
                origin = details.origin.as_deref(),
                held_scopes = details.held_scopes.as_ref().map(display),
                missing_scopes = details.missing_scopes.as_ref().map(display),
                unverified_iss = details.unverified_iss.as_deref(),
                unverified_aud = details.unverified_aud.as_ref().map(display),
                unverified_kid = details.unverified_kid.as_deref()
            ),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.observer.observe(Event::RequestEnded);
    }
}

impl Details {
    /// Returns held and missing scopes, if any are missing. Those that this server knows come first, since a list may be cut.
    fn denied(denial: &Denial, principal: Option<&Principal>) -> Self {
        let Some(denied) = denial.lacking() else { return Self::default() };
        let held =
            principal.map(|principal| list(denied.held.union(principal.scopes()).iter().map(Scope::as_str)));
        let missing = list(denied.missing.iter().map(Scope::as_str));
        Self { held_scopes: held, missing_scopes: Some(missing), ..Self::default() }
    }

    fn unverified(token: &BearerToken, service: &Service) -> Self {
        let UnverifiedClaims { issuer, audience, key_id } = service.verifier.unverified_claims(token);
        Self {
            unverified_iss: issuer.map(|text| shown(&text, MAX_TEXT)),
            unverified_aud: audience.map(|texts| list(texts.iter().map(String::as_str))),
            unverified_kid: key_id.map(|text| shown(&text, MAX_TEXT)),
            ..Self::default()
        }
    }
}

/// Returns the host that a request names, in whatever way; two that disagree are both shown.
fn host(request: &Parts) -> Option<String> {
    let target = request.uri.authority().map(|target| shown(without_user(target.as_str()), MAX_TEXT));
    match (header(&request.headers, &HOST), target) {
        (Some(host), Some(target)) if host != target => Some(format!("{host}, {target}")),
        (host, target) => host.or(target),
    }
}

/// Returns a header's values, without what could be a password.
fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let values: Vec<String> = values.take(2).map(|value| shown(without_user(&value), MAX_TEXT)).collect();
    Some(values.join(", ")).filter(|_| !values.is_empty())
}

fn without_user(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

/// Returns the names of rules as such a list; nothing if there are none.
fn names_list(names: &[Arc<str>]) -> Option<String> {
    (!names.is_empty()).then(|| list(names.iter().map(AsRef::as_ref)))
}

/// Returns a list as JSON, which is a list in a JSON log and readable in any.
fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut items = items.fuse();
    let mut shown: Vec<String> = items.by_ref().take(MAX_ITEMS).map(|item| shown(item, MAX_ITEM)).collect();
    let others = items.count();
    if others > 0 {
        shown.push(format!("and {others} more"));
    }
    // Strings: rendering them can't fail.
    serde_json::to_string(&shown).unwrap_or_default()
}

/// Returns a client's text with everything but printable ASCII escaped, cut to so many characters. Quotation marks are the
/// log format's to escape.
fn shown(text: &str, max: usize) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        let before = shown.len();
        match c {
            ' '..='~' => shown.push(c),
            _ => shown.extend(c.escape_default()),
        }
        if shown.len() > max {
            shown.truncate(before);
            shown.push_str("...");
            break;
        }
    }
    shown
}

/// Returns the beginning of a text that a client chose.
fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        // No text has more characters than bytes.
        return text;
    }
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

/// Returns a peer as `Display` shows it, which takes several times as long for IPv4.
fn shown_peer(peer: Peer) -> String {
    let Peer::Address(SocketAddr::V4(address)) = peer else { return peer.to_string() };
    let mut text = String::with_capacity("255.255.255.255:65535".len());
    let mut number = itoa::Buffer::new();
    for (octet, end) in address.ip().octets().into_iter().zip(["."; 3].into_iter().chain([":"])) {
        text.push_str(number.format(octet));
        text.push_str(end);
    }
    text.push_str(number.format(address.port()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_clients_are_escaped_and_cut() {
        assert_eq!(shown("https://a.example:1 \"\\", 128), "https://a.example:1 \"\\");
        assert_eq!(
            shown("a\r\n\u{1b}[31m\0\u{7f}\u{e9}\u{202e}", 128),
            r"a\r\n\u{1b}[31m\u{0}\u{7f}\u{e9}\u{202e}"
        );
        assert_eq!(shown(&"x".repeat(128), 128), "x".repeat(128));
        assert_eq!(shown(&"x".repeat(10_000), 128), format!("{}...", "x".repeat(128)));
        assert_eq!(shown(&"\n".repeat(10_000), 5), r"\n\n...");
    }

    #[test]
    fn the_beginning_of_a_text_is_so_many_characters() {
        for (text, max, expected) in [
            ("", 0, ""),
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("\u{e9}\u{e9}", 2, "\u{e9}\u{e9}"),
            ("\u{e9}b", 1, "\u{e9}"),
        ] {
            assert_eq!(cut(text, max), expected);
        }
    }

    #[test]
    fn a_peer_is_shown_as_it_is_displayed() {
        assert_eq!(shown_peer(Peer::Unix), "unix");
        for address in
            ["0.0.0.0:0", "255.255.255.255:65535", "10.0.200.9:41862", "[::1]:80", "[2001:db8::1]:65535"]
        {
            let peer = Peer::Address(address.parse().unwrap());
            assert_eq!((shown_peer(peer), peer.to_string()), (address.to_owned(), address.to_owned()));
        }
    }

    #[test]
    fn lists_are_json_and_bounded() {
        assert_eq!(list(["a", "b\"]\n"].into_iter()), r#"["a","b\"]\\n"]"#);
        assert_eq!(list(std::iter::empty()), "[]");
        let many = list(std::iter::repeat_n("x".repeat(1000).as_str(), 20));
        assert!(
            many.len() < MAX_ITEMS * (MAX_ITEM + 8) + 20 && many.ends_with(r#","and 4 more"]"#),
            "{many}"
        );
    }

    #[test]
    fn a_header_is_shown_without_user_names_and_passwords() {
        let mut headers = HeaderMap::new();
        assert_eq!(header(&headers, &ORIGIN), None);
        for value in [&b"https://user:secret@a"[..], b"b\xff", b"c"] {
            headers.append(ORIGIN, hyper::header::HeaderValue::from_bytes(value).unwrap());
        }
        assert_eq!(header(&headers, &ORIGIN).as_deref(), Some(r"a, b\u{fffd}"));
    }

    #[test]
    fn an_id_of_a_clients_has_an_alphabet_and_a_length() {
        for good in ["1", "a", "b1778e3d-14", "0af7651916cd43dd8448eb211c80319c", "A_b.C-9", &"x".repeat(64)]
        {
            assert!(is_id(good), "{good}");
        }
        let long = "x".repeat(65);
        for bad in
            ["", " ", "a b", "a\n", "a\"", "a,b", "a;b", "\u{e9}", "<b>", "$(a)", "a=b", "a:b", "a/b", &long]
        {
            assert!(!is_id(bad), "{bad}");
        }
    }

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
