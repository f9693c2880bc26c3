//! CORS (Fetch standard): which pages may read which answers.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderName,
    HeaderValue, VARY,
};

use crate::authority::Caller;

/// The headers that clients send: MCP's own, a session's, which is ignored, and the usual ones. `Mcp-Param-*` tells people; to
/// browsers it is one name, so those that a preflight asks for are repeated below.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, \
                               Mcp-Param-*, Mcp-Session-Id, Last-Event-ID";
/// The headers that clients read.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("WWW-Authenticate, Retry-After, X-Request-Id");
/// In seconds; browsers keep a preflight's answer no longer anyway.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
/// How many `Mcp-Param-*` names of one preflight are repeated.
const MOST_PARAMS: usize = 32;

/// Who may read a route's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Any page: the answer is the same for everyone.
    Anyone,
    /// Pages of origins that may call.
    KnownOrigins,
}

/// Lets the calling page read the answer, an error as much as a success.
pub(crate) fn allow(readers: Readers, caller: Caller<'_>, response: &mut HeaderMap) {
    match readers {
        Readers::Anyone => {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        Readers::KnownOrigins => {
            response.insert(VARY, HeaderValue::from_static("Origin"));
            if let Caller::Known(origin) = caller
                && let Ok(origin) = HeaderValue::from_str(origin)
            {
                response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            }
        }
    }
    response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
}

/// Adds what a preflight asks for.
pub(crate) fn preflight(methods: &'static str, request: &HeaderMap, response: &mut HeaderMap) {
    response.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    response.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(request));
    response.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}

/// CORS knows no `Mcp-Param-*` pattern, so the names that a client asks for are repeated.
fn allowed_headers(request: &HeaderMap) -> HeaderValue {
    let requested =
        request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
    let params = requested.flat_map(|list| list.split(',')).map(str::trim).filter(|name| is_param(name));
    let mut names = ALLOWED_HEADERS.to_owned();
    for name in params.take(MOST_PARAMS) {
        names.push_str(", ");
        names.push_str(name);
    }
    HeaderValue::try_from(names).unwrap_or_else(|_| HeaderValue::from_static(ALLOWED_HEADERS))
}

fn is_param(name: &str) -> bool {
    let prefix = name.get(.."mcp-param-".len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case("mcp-param-"))
        && HeaderName::try_from(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_headers_are_repeated_and_nothing_else_is() {
        let mut request = HeaderMap::new();
        let asked = "authorization, Mcp-Param-Region, x-evil, mcp-param-a b, mcp-param-z";
        request.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static(asked));
        let allowed = allowed_headers(&request);
        assert_eq!(allowed, format!("{ALLOWED_HEADERS}, Mcp-Param-Region, mcp-param-z"));
    }
}
