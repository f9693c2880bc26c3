//! What browsers send, which are refused: a page may make a browser on the operator's machine or network ask what the page itself
//! can't reach.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

/// Returns whether a browser sent this on behalf of a page. `Origin` comes with what is sent to another origin, and with every
/// method but GET and HEAD; `Sec-Fetch-*` with everything that goes to loopback or by https.
pub(crate) fn is_from_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

/// Returns whether a request names the server by an address or as `localhost`. A page that had a name of its own resolve to the
/// server (DNS rebinding) has that name in `Host`, whatever else its browser leaves out.
pub(crate) fn is_addressed(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_browsers_headers_give_it_away() {
        for name in ["Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "sec-fetch-dest", "SEC-FETCH-USER"] {
            assert!(is_from_page(&headers(&[("host", "localhost"), (name, "")])), "{name}");
        }
        assert!(!is_from_page(&headers(&[("host", "localhost"), ("accept", "*/*"), ("sec-gpc", "1")])));
    }

    #[test]
    fn addresses_and_localhost_are_no_pages_names() {
        for host in ["127.0.0.1:9464", "10.0.0.7", "[::1]:9464", "[::1]", "localhost", "LocalHost:9464"] {
            assert!(is_addressed(&headers(&[("host", host)])), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[evil]",
        ] {
            assert!(!is_addressed(&headers(&[("host", host)])), "{host}");
        }
        assert!(!is_addressed(&headers(&[])));
        let mut twice = headers(&[("host", "localhost")]);
        twice.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(!is_addressed(&twice));
    }
}
