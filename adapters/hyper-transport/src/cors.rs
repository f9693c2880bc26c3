//! CORS (Fetch standard): which pages may read which answers.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderName,
    HeaderValue, VARY,
};

use crate::host_policy::Caller;

/// The headers that clients send: MCP's own, a session's, which is ignored, and the usual ones. `Mcp-Param-*` is for people; to
/// browsers it is one name.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, \
                               Mcp-Param-*, Mcp-Session-Id, Last-Event-ID";
/// The headers that clients read.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("WWW-Authenticate, Retry-After, X-Request-Id");
/// In seconds; browsers keep a preflight's answer no longer anyway.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
/// The maximum number of further names that are repeated to one preflight, and the maximum length of each.
const MAX_REPEATED: usize = 32;
const MAX_NAME_BYTES: usize = 128;

/// The pages that may read a route's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Any page: the answer is the same for everyone.
    Anyone,
    /// Pages of origins that may call.
    AllowedOrigins,
}

/// Lets the calling page read the answer, an error as much as a success.
pub(crate) fn allow(readers: Readers, caller: Caller<'_>, response: &mut HeaderMap) {
    match readers {
        Readers::Anyone => {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        // What is not a page's has no use for any of it, and no cache keeps these answers for one that is.
        Readers::AllowedOrigins => {
            let Caller::AllowedOrigin(origin) = caller else { return };
            response.insert(VARY, HeaderValue::from_static("Origin"));
            if let Ok(origin) = HeaderValue::from_str(origin) {
                response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            }
        }
    }
    response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
}

/// Adds what a preflight asks for.
pub(crate) fn preflight(
    methods: &'static str,
    caller: Caller<'_>,
    request: &HeaderMap,
    response: &mut HeaderMap,
) {
    response.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    response.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(caller, request));
    response.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}

/// Returns the names that a page may send: the usual ones, and those that a page of an origin that may call asks for, such as
/// `traceparent` and `Mcp-Param-*`, for which CORS has no pattern.
///
/// To repeat any name is safe. It grants the page nothing but to send a header, which every client that is no browser can do
/// anyway; the request itself is then checked as any other: its host, its origin, its token and the values of its headers. What
/// is repeated is bounded, and of the grammar of header names, so that it can be neither another header nor a wildcard.
fn allowed_headers(caller: Caller<'_>, request: &HeaderMap) -> HeaderValue {
    let mut names = ALLOWED_HEADERS.to_owned();
    if matches!(caller, Caller::AllowedOrigin(_)) {
        let requested =
            request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
        let further =
            requested.flat_map(|list| list.split(',')).map(str::trim).filter(|name| is_further(name));
        for name in further.take(MAX_REPEATED) {
            names.push_str(", ");
            names.push_str(name);
        }
    }
    HeaderValue::try_from(names).unwrap_or_else(|_| HeaderValue::from_static(ALLOWED_HEADERS))
}

/// Returns whether a text is the name of a header, and not one of the usual ones.
fn is_further(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name != "*"
        && HeaderName::try_from(name).is_ok()
        && !ALLOWED_HEADERS.split(", ").any(|usual| usual.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(caller: Caller<'_>, asked: &str, expected: &str) {
        let mut request = HeaderMap::new();
        request.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_str(asked).unwrap());
        assert_eq!(allowed_headers(caller, &request), format!("{ALLOWED_HEADERS}{expected}"), "{asked}");
    }

    #[test]
    fn names_of_the_grammar_are_repeated_to_pages_that_may_call() {
        let page = Caller::AllowedOrigin("https://app.example.com");
        check(page, "authorization,  traceparent ,tracestate, baggage", ", traceparent, tracestate, baggage");
        check(
            page,
            "Mcp-Param-Region, mcp-param-a b, x=y, \"x\", x:y, *, , x\ty, x-Z",
            ", Mcp-Param-Region, x-Z",
        );
        check(Caller::Direct, "traceparent, mcp-param-region", "");
    }

    #[test]
    fn what_is_repeated_is_bounded_in_number_and_length() {
        let page = Caller::AllowedOrigin("https://app.example.com");
        let many: Vec<String> = (0..100).map(|n| format!("x-{n}")).collect();
        check(page, &many.join(","), &format!(", {}", many[..32].join(", ")));
        let (long, too_long) = ("x".repeat(128), "y".repeat(129));
        check(page, &format!("{too_long},{long}"), &format!(", {long}"));
    }
}
