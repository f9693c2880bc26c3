//! From a request to its answer: `Host` first, then the route, `Origin` where it matters, then the method.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::control;
use crate::documents;
use crate::problem::Problem;
use crate::tokens::Issuer;

/// Auth0's. A tenant that starts again on the same port has other keys, so no longer than this.
const DOCUMENT_CACHING: HeaderValue = HeaderValue::from_static("public, max-age=15");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// No credentials are involved, so `*` covers every header but the one that it never covers (Fetch section 3.3.4).
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("*, Authorization");
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Discovery,
    Keys,
    Control,
    /// Pages call it with fetch; not there yet.
    FutureEndpoint,
    /// A browser goes there; not there yet. No page may ever read it: it will hold a consent form.
    FuturePage,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => {
                Self::Discovery
            }
            "/.well-known/jwks.json" => Self::Keys,
            control::PATH => Self::Control,
            "/oauth/token" | "/oauth/revoke" | "/oidc/register" | "/userinfo" => Self::FutureEndpoint,
            "/authorize" | "/v2/logout" => Self::FuturePage,
            _ => return None,
        })
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Discovery | Self::Keys => "GET, HEAD, OPTIONS",
            Self::Control => "POST",
            Self::FutureEndpoint => "GET, POST, OPTIONS",
            Self::FuturePage => "GET, POST",
        }
    }

    /// Whether any web page may read the answer.
    const fn is_readable_by_pages(self) -> bool {
        matches!(self, Self::Discovery | Self::Keys | Self::FutureEndpoint)
    }
}

/// Answers a request, whatever it is.
pub(crate) async fn respond(issuer: &Issuer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let route = Route::of(request.uri().path());
    let mut response = answer(issuer, route, request).await.unwrap_or_else(Problem::into_response);
    if route.is_some_and(Route::is_readable_by_pages) {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

async fn answer(
    issuer: &Issuer,
    route: Option<Route>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Problem> {
    check_host(&request)?;
    let route = route.ok_or(Problem::NotFound)?;
    if route == Route::Control && request.headers().contains_key(ORIGIN) {
        return Err(Problem::WebPage);
    }
    let (method, allow) = (request.method(), route.methods());
    if *method == Method::OPTIONS && route.is_readable_by_pages() {
        return Ok(preflight(allow));
    }
    if !allow.split(", ").any(|allowed| method == allowed) {
        return Err(Problem::MethodNotAllowed { allow });
    }
    match route {
        Route::Discovery => Ok(json(&documents::discovery(issuer.url()), DOCUMENT_CACHING)),
        Route::Keys => Ok(json(&issuer.keys().published(), DOCUMENT_CACHING)),
        Route::Control => control::answer(issuer, request).await.map(|token| json(&token, NO_STORE)),
        Route::FutureEndpoint | Route::FuturePage => Err(Problem::NotBuilt),
    }
}

/// A web page can have its own name resolve to 127.0.0.1 (DNS rebinding) and then read and post as it likes; its
/// requests still name its own host.
fn check_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let host = one_host(request.headers())?;
    let target = request.uri().authority().map(hyper::http::uri::Authority::as_str);
    if target.is_some_and(|target| !target.eq_ignore_ascii_case(host)) {
        return Err(Problem::BadHost);
    }
    if is_loopback(host) { Ok(()) } else { Err(Problem::ForeignHost) }
}

fn one_host(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(HOST).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(host)), None) => Ok(host),
        _ => Err(Problem::BadHost),
    }
}

/// One of the three names, and perhaps a port: whichever one a tunnel or a container forwards.
fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .filter_map(|name| host.strip_prefix(name))
        .any(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
}

fn preflight(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}

fn json(body: &impl Serialize, caching: HeaderValue) -> Response<Full<Bytes>> {
    // Strings, numbers and arrays of them: rendering them can't fail.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, caching);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        for good in ["localhost", "LOCALHOST:3002", "127.0.0.1:1", "127.0.0.1", "[::1]", "[::1]:65535"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            ":3002",
            "evil.test",
            "localhost.evil.test",
            "localhost.",
            "127.0.0.1.evil.test",
            "localhost:",
            "localhost:65536",
            "localhost:1@evil.test",
            "user@localhost",
            "[::2]",
            "0.0.0.0",
            "127.0.0.2",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let check = |hosts: &[&'static str], target: &str| {
            let mut request = Request::builder().uri(target).body(()).unwrap();
            for host in hosts {
                request.headers_mut().append(HOST, HeaderValue::from_static(host));
            }
            check_host(&request)
        };
        assert_eq!(check(&["localhost"], "/"), Ok(()));
        assert_eq!(check(&["localhost"], "http://localhost/"), Ok(()));
        assert_eq!(check(&["localhost"], "http://evil.test/"), Err(Problem::BadHost));
        assert_eq!(check(&["evil.test"], "http://evil.test/"), Err(Problem::ForeignHost));
        assert_eq!(check(&["localhost", "localhost"], "/"), Err(Problem::BadHost));
        assert_eq!(check(&[], "/"), Err(Problem::BadHost));
    }

    #[test]
    fn pages_never_read_the_control_endpoint_or_a_consent_page() {
        for path in [control::PATH, "/authorize", "/v2/logout"] {
            assert!(!Route::of(path).unwrap().is_readable_by_pages(), "{path}");
        }
    }
}
