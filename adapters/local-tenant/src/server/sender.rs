//! Checks of a request's sender: the `Host` that it names, and whether it is a browser.

use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Request};
use syntax::loopback::is_redirect_host;
use syntax::port::parse_port;

use crate::http::problem::Problem;

/// Returns the host that a request names, if it is a loopback host. A web page can have its own host name resolve to 127.0.0.1
/// (DNS rebinding), but its requests still name that host.
///
/// # Errors
/// [`Problem::BadHost`] or [`Problem::ForeignHost`].
pub(super) fn check_host<B>(request: &Request<B>) -> Result<&str, Problem> {
    let host = one_host(request.headers())?;
    let target = request.uri().authority().map(hyper::http::uri::Authority::as_str);
    if target.is_some_and(|target| !target.eq_ignore_ascii_case(host)) {
        return Err(Problem::BadHost);
    }
    if is_loopback(host) { Ok(host) } else { Err(Problem::ForeignHost) }
}

fn one_host(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(HOST).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(host)), None) => Ok(host),
        _ => Err(Problem::BadHost),
    }
}

/// Returns whether a `Host` field names one of the three loopback hosts, with any port: a tunnel or a container may forward
/// another one.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // A colon inside the brackets of an IPv6 address.
        Some((_, rest)) if rest.ends_with(']') => (host, None),
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    is_redirect_host(name) && port.is_none_or(|port| parse_port(port).is_some())
}

/// Returns whether a browser sent the request: only browsers send `Origin`, `Referer` and Fetch Metadata, with one exception.
/// Node's `fetch` sends `Sec-Fetch-Mode: cors` alone, which browsers never send without `Sec-Fetch-Site`.
pub(super) fn is_from_browser(headers: &HeaderMap) -> bool {
    headers.iter().any(|(name, value)| match name.as_str() {
        "origin" | "referer" => true,
        "sec-fetch-mode" => value != "cors",
        name => name.starts_with("sec-fetch-"),
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

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
            "localhost:+80",
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
            check_host(&request).map(str::to_owned)
        };
        assert_eq!(check(&["localhost"], "/"), Ok("localhost".to_owned()));
        assert_eq!(check(&["localhost"], "http://localhost/"), Ok("localhost".to_owned()));
        assert_eq!(check(&["localhost"], "http://evil.test/"), Err(Problem::BadHost));
        assert_eq!(check(&["evil.test"], "http://evil.test/"), Err(Problem::ForeignHost));
        assert_eq!(check(&["localhost", "localhost"], "/"), Err(Problem::BadHost));
        assert_eq!(check(&[], "/"), Err(Problem::BadHost));
    }

    #[test]
    fn a_browser_is_known_by_what_only_browsers_send() {
        let from_browser = |headers: &[(&'static str, &'static str)]| {
            is_from_browser(
                &headers
                    .iter()
                    .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                    .collect(),
            )
        };
        for browser in [
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-user", "?1"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-storage-access", "none"),
            ("origin", "null"),
            ("referer", "https://a.test/"),
        ] {
            assert!(from_browser(&[browser]), "{browser:?}");
            assert!(from_browser(&[("sec-fetch-mode", "cors"), browser]), "{browser:?}");
        }
        assert!(!from_browser(&[]));
        assert!(!from_browser(&[("accept", "*/*"), ("sec-fetch-mode", "cors"), ("user-agent", "node")]));
    }
}
