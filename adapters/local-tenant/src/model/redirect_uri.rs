//! Redirect URIs: which ones clients may register, and which ones requests may use (OAuth 2.1 section 2.3, RFC 8252).

use syntax::loopback::is_redirect_host;
use url::Url;

/// What [`is_acceptable`] accepts, for messages.
pub(crate) const ACCEPTED_REDIRECT_URIS: &str = "a redirect URI is an https URL, an http URL on loopback, or has an application's own scheme, and has no fragment";

/// Returns whether clients may register this redirect URI.
pub(crate) fn is_acceptable(uri: &str) -> bool {
    let Ok(url) = Url::parse(uri) else {
        return false;
    };
    if url.fragment().is_some() || uri.chars().any(char::is_control) {
        return false;
    }
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(&url),
        // Browsers handle these themselves, and would run or show their content in the tenant's name.
        "javascript" | "data" | "vbscript" | "file" | "blob" | "about" | "ftp" | "ws" | "wss" => false,
        // An application's own scheme is a reversed domain name (RFC 8252 section 7.1), or has an authority. Other schemes
        // belong to browsers and operating systems.
        scheme => scheme.contains('.') || url.has_authority(),
    }
}

/// Returns whether a requested redirect URI is the registered one. On loopback the port may differ (RFC 8252 section 7.3),
/// because a native application learns it only when it listens.
pub(crate) fn matches(registered: &str, requested: &str) -> bool {
    if registered == requested {
        return true;
    }
    let (Ok(mut registered), Ok(mut requested_url)) = (Url::parse(registered), Url::parse(requested)) else {
        return false;
    };
    // A URI that the parser changes is ambiguous.
    if requested_url.as_str() != requested || !is_loopback(&registered) || !is_loopback(&requested_url) {
        return false;
    }
    let ports_removed = registered.set_port(None).is_ok() && requested_url.set_port(None).is_ok();
    ports_removed && registered == requested_url
}

/// Returns whether a response goes to an application on this machine, by a loopback address or a private scheme, and not to
/// a web site.
pub(crate) fn is_local(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| match url.scheme() {
        "http" => is_loopback(&url),
        "https" => false,
        _ => is_acceptable(uri),
    })
}

/// Returns where a response goes, for people: the origin of a web address, otherwise the scheme.
pub(crate) fn destination(uri: &str) -> String {
    match Url::parse(uri) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url.origin().ascii_serialization(),
        Ok(url) => format!("{}:", url.scheme()),
        Err(_) => String::new(),
    }
}

/// Returns a CSP source that allows a form's response to redirect to this URI. Browsers apply `form-action` to every redirect
/// of the chain, and a client may redirect to another of its hosts, so the source is the scheme alone. That also keeps
/// the client's text out of the header.
pub(crate) fn form_action_source(uri: &str) -> String {
    Url::parse(uri).map_or_else(|_| String::new(), |url| format!("{}:", url.scheme()))
}

/// Returns the URI with parameters added to its query.
pub(crate) fn with_parameters(uri: &str, parameters: &[(&str, &str)]) -> String {
    let Ok(mut url) = Url::parse(uri) else {
        return uri.to_owned();
    };
    url.query_pairs_mut().extend_pairs(parameters);
    url.into()
}

fn is_loopback(url: &Url) -> bool {
    url.scheme() == "http"
        && url.username().is_empty()
        && url.password().is_none()
        && url.host_str().is_some_and(is_redirect_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_or_a_stranger_could_abuse_is_not_acceptable() {
        for good in [
            "https://app.example.com/callback",
            "http://localhost/cb",
            "http://127.0.0.1:3000/cb",
            "http://[::1]/cb",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "com.example.app:/cb",
        ] {
            assert!(is_acceptable(good), "{good}");
        }
        for bad in [
            "",
            "/cb",
            "http://app.example.com/cb",
            "http://127.0.0.2/cb",
            "http://localhost.evil.test/cb",
            "http://user@localhost/cb",
            "https://a.test/cb#x",
            "https://a.test/cb#",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "https://a.test/\ncb",
            "view-source:https://a.test/",
            "filesystem:https://a.test/",
            "search-ms:x",
            "mailto:a@b.test",
        ] {
            assert!(!is_acceptable(bad), "{bad}");
        }
    }

    #[test]
    fn a_redirect_uri_matches_exactly_but_for_a_loopback_port() {
        let cases = [
            ("https://a.test/cb", "https://a.test/cb", true),
            ("https://a.test/cb", "https://a.test/cb/", false),
            ("https://a.test/cb", "https://a.test:443/cb", false),
            ("https://a.test/cb", "https://a.test:8443/cb", false),
            ("https://a.test/cb", "https://A.test/cb", false),
            ("https://a.test/cb", "https://a.test/cb?x=1", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:49152/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true),
            ("http://localhost:1/cb", "http://localhost:2/cb", true),
            ("http://[::1]:1/cb", "http://[::1]:2/cb", true),
            ("http://127.0.0.1/cb", "http://localhost:1/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1/other", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb?x", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1/x/../cb", false),
            ("http://127.0.0.1/cb", "http://user@127.0.0.1:1/cb", false),
            ("http://127.0.0.1/cb", "http://127.1:1/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb#x", false),
            ("http://127.0.0.1/cb", "https://127.0.0.1:1/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.test/cb", false),
            ("com.example:/cb", "com.example:/cb", true),
            ("com.example:/cb", "com.example:/cd", false),
        ];
        for (registered, requested, expected) in cases {
            assert_eq!(matches(registered, requested), expected, "{registered} {requested}");
        }
    }

    #[test]
    fn only_loopback_and_private_schemes_are_local() {
        for local in ["http://127.0.0.1:1/cb", "http://localhost/cb", "cursor://x/cb", "com.example:/cb"] {
            assert!(is_local(local), "{local}");
        }
        for other in [
            "",
            "https://a.test/cb",
            "https://127.0.0.1/cb",
            "https://localhost/cb",
            "http://a.test/cb",
            "data:x",
        ] {
            assert!(!is_local(other), "{other}");
        }
    }

    #[test]
    fn a_response_keeps_the_query_that_was_registered() {
        let parameters = [("code", "a b&c"), ("state", "é")];
        let expected = "https://a.test/cb?x=1&code=a+b%26c&state=%C3%A9";
        assert_eq!(with_parameters("https://a.test/cb?x=1", &parameters), expected);
        assert_eq!(with_parameters("app:/cb", &[("code", "1")]), "app:/cb?code=1");
    }

    #[test]
    fn a_destination_is_an_origin_or_a_scheme() {
        assert_eq!(destination("https://a.test/cb?x"), "https://a.test");
        assert_eq!(destination("http://127.0.0.1:1/cb"), "http://127.0.0.1:1");
        assert_eq!(destination("cursor://x/y"), "cursor:");
        assert_eq!(form_action_source("http://localhost:1/cb"), "http:");
        assert_eq!(form_action_source("https://x;sandbox/cb"), "https:");
    }
}
