//! The entries of `http.allowed_hosts` and `http.allowed_origins`: exact names, and wildcards for the subdomains of a domain.
//!
//! A wildcard is written `*.example.com`. It stands for one label or more, so it never matches the bare domain, nor a name
//! that merely ends with the same letters. Names are compared without regard to case, in their ASCII form (Punycode).

use syntax::port;
use url::{Host, Url};

/// A host that requests may name: `name`, `name:port`, or either with a wildcard. Without a port it matches every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    name: Name,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Exact(String),
    /// The domain with a dot before it.
    SubdomainsOf(String),
}

/// A web origin that may call: one origin, the subdomains of a domain by one scheme and port, or any origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin(Pattern);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    Exact(String),
    SubdomainsOf {
        scheme: String,
        /// The domain with a dot before it.
        suffix: String,
        port: Option<u16>,
    },
}

/// Why a text can't be an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AllowListError {
    /// Not a host, with or without a port.
    #[error(
        "is not a host; write a name or name:port, such as mcp.internal:8080, without a scheme and a path"
    )]
    NotAHost,
    /// Not the serialization of an origin (RFC 6454 section 6.2).
    #[error(
        "is not an origin; write scheme, host and port, such as https://app.example.com, without a slash at the end"
    )]
    NotAnOrigin,
    /// The wildcard is no whole first label, or there are several.
    #[error("has a wildcard in the wrong place; only the whole first label can be one, as in *.example.com")]
    MisplacedWildcard,
    /// The wildcard stands right under a top-level domain.
    #[error(
        "has a wildcard that is too broad; the domain after it needs at least two labels, as in *.example.com, because \
         anybody can register a name right under a top-level domain"
    )]
    BroadWildcard,
    /// `*` among the hosts.
    #[error(
        "would let any web page reach the server under a name of the page's own (DNS rebinding); list the hosts, or the \
         subdomains of a domain, as in *.example.com"
    )]
    AnyHost,
}

impl AllowedHost {
    /// Parses an entry of `http.allowed_hosts`.
    ///
    /// # Errors
    /// [`AllowListError`].
    pub fn parse(text: &str) -> Result<Self, AllowListError> {
        let (name, port) = match text.rsplit_once(':') {
            // Part of an IPv6 address in brackets.
            Some((_, rest)) if rest.ends_with(']') => (text, None),
            Some((name, port)) => (name, Some(parse_port(port)?)),
            None => (text, None),
        };
        if name == "*" {
            return Err(AllowListError::AnyHost);
        }
        let name = match name.strip_prefix("*.") {
            Some(domain) => Name::SubdomainsOf(suffix(domain, AllowListError::NotAHost)?),
            None if name.contains('*') => return Err(AllowListError::MisplacedWildcard),
            None => Name::Exact(Host::parse(name).map_err(|_| AllowListError::NotAHost)?.to_string()),
        };
        Ok(Self { name, port })
    }

    /// Returns whether a request may name this host and port.
    pub(crate) fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let is_name = match &self.name {
            Name::Exact(name) => host.eq_ignore_ascii_case(name),
            Name::SubdomainsOf(suffix) => is_subdomain(&host.to_ascii_lowercase(), suffix),
        };
        is_name && (self.port.is_none() || self.port == port)
    }
}

impl AllowedOrigin {
    /// Parses an entry of `http.allowed_origins`.
    ///
    /// # Errors
    /// [`AllowListError`].
    pub fn parse(text: &str) -> Result<Self, AllowListError> {
        if text == "*" {
            return Ok(Self(Pattern::Any));
        }
        let text = text.to_ascii_lowercase();
        if text.contains('*') {
            return subdomains_of(&text).map(Self);
        }
        if is_origin(&text) { Ok(Self(Pattern::Exact(text))) } else { Err(AllowListError::NotAnOrigin) }
    }

    /// Returns whether this is every origin there is.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0 == Pattern::Any
    }

    /// Returns whether pages of this origin may call. `origin` is a header's value in lower case.
    pub(crate) fn matches(&self, origin: &str) -> bool {
        match &self.0 {
            Pattern::Any => is_origin(origin),
            Pattern::Exact(exact) => exact == origin,
            Pattern::SubdomainsOf { scheme, suffix, port } => {
                is_origin(origin)
                    && Url::parse(origin).is_ok_and(|url| {
                        url.scheme() == scheme
                            && url.port() == *port
                            && url.host_str().is_some_and(|host| is_subdomain(host, suffix))
                    })
            }
        }
    }
}

/// Returns whether a text in lower case is an origin as browsers send it; `null` is not.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| match url.scheme() {
        "http" | "https" => url.origin().ascii_serialization() == text,
        // Schemes of applications, such as vscode-webview, have origins that no parser serializes.
        _ => {
            let has_more = !url.username().is_empty() || url.query().is_some() || url.fragment().is_some();
            url.has_host() && url.path().is_empty() && !has_more
        }
    })
}

/// Parses `scheme://*.domain[:port]`, in lower case.
fn subdomains_of(text: &str) -> Result<Pattern, AllowListError> {
    let Some((scheme @ ("http" | "https"), host)) = text.split_once("://") else {
        return Err(AllowListError::MisplacedWildcard);
    };
    let Some(domain) = host.strip_prefix("*.").filter(|domain| !domain.contains('*')) else {
        return Err(AllowListError::MisplacedWildcard);
    };
    let bare = format!("{scheme}://{domain}");
    let url = Url::parse(&bare).ok().filter(|_| is_origin(&bare)).ok_or(AllowListError::NotAnOrigin)?;
    let suffix = suffix(url.host_str().unwrap_or_default(), AllowListError::NotAnOrigin)?;
    Ok(Pattern::SubdomainsOf { scheme: scheme.to_owned(), suffix, port: url.port() })
}

/// Returns the domain behind a wildcard in its ASCII form, with a dot before it.
fn suffix(domain: &str, otherwise: AllowListError) -> Result<String, AllowListError> {
    if domain.contains('*') {
        return Err(AllowListError::MisplacedWildcard);
    }
    let Ok(Host::Domain(domain)) = Host::parse(domain) else {
        return Err(otherwise);
    };
    if domain.split('.').any(str::is_empty) {
        return Err(otherwise);
    }
    if domain.contains('.') { Ok(format!(".{domain}")) } else { Err(AllowListError::BroadWildcard) }
}

/// Returns whether a name is one label or more before `suffix`, which begins with a dot.
fn is_subdomain(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|labels| labels.split('.').all(|label| !label.is_empty()))
}

/// A port has no sign (RFC 3986 section 3.2.3); Rust's numbers may.
fn parse_port(text: &str) -> Result<u16, AllowListError> {
    port::parse_port(text).ok_or(AllowListError::NotAHost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use AllowListError as E;

    #[track_caller]
    fn host(entry: &str, matching: &[&str], others: &[&str]) {
        let entry = AllowedHost::parse(entry).unwrap();
        let matches = |text: &&&str| {
            let (name, port) = text.rsplit_once(':').filter(|_| !text.ends_with(']')).unwrap_or((text, ""));
            entry.matches(name, port.parse().ok())
        };
        assert_eq!(matching.iter().filter(|text| !matches(text)).collect::<Vec<_>>(), [&""; 0], "{entry:?}");
        assert_eq!(others.iter().filter(matches).collect::<Vec<_>>(), [&""; 0], "{entry:?}");
    }

    #[test]
    fn hosts_match_by_name_and_port() {
        host("Internal", &["internal", "INTERNAL:9"], &["internal.evil.com", "x.internal", "interna", ""]);
        host("edge:8443", &["edge:8443", "EDGE:8443"], &["edge", "edge:1", "edge:844", "edge.evil.com:8443"]);
        host("m\u{fc}nchen.example", &["xn--mnchen-3ya.example"], &["munchen.example"]);
        host("[2001:DB8::1]:80", &["[2001:db8::1]:80"], &["[2001:db8::1]", "[2001:db8::2]:80"]);
        host("10.0.0.7", &["10.0.0.7", "10.0.0.7:80"], &["10.0.0.70", "110.0.0.7"]);
    }

    #[test]
    fn a_wildcard_host_is_one_label_or_more_before_the_domain() {
        let others = [
            "example.com",
            ".example.com",
            "..example.com",
            "a..example.com",
            ".a.example.com",
            "evilexample.com",
            "a.evilexample.com",
            "example.com.evil.com",
            "a.example.com.evil.com",
            "a.example.co",
            "a.example.com.",
            "com",
            "",
        ];
        host("*.Example.com", &["a.example.com", "A.B.EXAMPLE.COM", "a.example.com:9"], &others);
        host("*.example.com:8443", &["a.example.com:8443"], &["a.example.com", "a.example.com:1", "b:8443"]);
        host("*.b\u{fc}cher.example", &["a.xn--bcher-kva.example"], &["xn--bcher-kva.example"]);
        host("*.B.example.com", &["a.b.example.com"], &["b.example.com", "a.example.com", "ab.example.com"]);
    }

    #[test]
    fn what_is_no_host_entry_is_refused_with_the_reason() {
        for (reason, entries) in [
            (E::AnyHost, &["*", "*:443"][..]),
            (
                E::MisplacedWildcard,
                &[
                    "a*.example.com",
                    "*a.example.com",
                    "a.*.com",
                    "*.*.example.com",
                    "**.example.com",
                    "example.*",
                ],
            ),
            (E::MisplacedWildcard, &["*.example.*", "*example.com"]),
            (E::BroadWildcard, &["*.com", "*.COM:443", "*.localhost", "*.internal"]),
            (
                E::NotAHost,
                &[
                    "",
                    "https://internal",
                    "a b",
                    "a/b",
                    "user@a",
                    "a:",
                    "a:x",
                    "a:+80",
                    "a:65536",
                    "::1",
                    "[::1",
                ],
            ),
            (E::NotAHost, &["*.", "*..com", "*.example.com.", "*.0.0.1", "*.[::1]", "*.a b.com", "a:*"]),
        ] {
            for entry in entries {
                assert_eq!(AllowedHost::parse(entry), Err(reason), "{entry}");
            }
        }
    }

    #[track_caller]
    fn origin(entry: &str, matching: &[&str], others: &[&str]) {
        let entry = AllowedOrigin::parse(entry).unwrap();
        let matches = |text: &&&str| entry.matches(&text.to_ascii_lowercase());
        assert_eq!(matching.iter().filter(|text| !matches(text)).collect::<Vec<_>>(), [&""; 0], "{entry:?}");
        assert_eq!(others.iter().filter(matches).collect::<Vec<_>>(), [&""; 0], "{entry:?}");
    }

    #[test]
    fn origins_match_whole() {
        let others =
            ["https://app.example.com:444", "http://app.example.com", "https://a.app.example.com", "null"];
        origin("https://App.example.com", &["https://app.EXAMPLE.com"], &others);
        origin(
            "vscode-webview://abc",
            &["vscode-webview://abc"],
            &["vscode-webview://abcd", "vscode-webview://"],
        );
    }

    #[test]
    fn a_wildcard_origin_is_one_label_or_more_before_the_domain_by_its_scheme_and_port() {
        let others = [
            "https://example.com",
            "https://.example.com",
            "https://a..example.com",
            "https://evilexample.com",
            "https://example.com.evil.com",
            "https://a.example.com.evil.com",
            "https://a.example.com.",
            "https://a.example.com:8443",
            "https://a.example.com/",
            "https://evil.com/.example.com",
            "https://evil.com?.example.com",
            "https://evil.com#.example.com",
            "https://user@a.example.com",
            "http://a.example.com",
            "ftp://a.example.com",
            "https://*.example.com.evil.com",
            "a.example.com",
            "null",
            "",
        ];
        origin("https://*.Example.com", &["https://a.example.com", "HTTPS://A.b.example.com"], &others);
        let others = [
            "http://a.example.com",
            "https://a.example.com:8080",
            "http://a.example.com:80",
            "http://example.com:8080",
        ];
        origin("http://*.example.com:8080", &["http://a.example.com:8080"], &others);
    }

    #[test]
    fn any_origin_is_any_that_is_one() {
        let good = [
            "https://evil.com",
            "http://a:1",
            "https://[::1]",
            "vscode-webview://abc",
            "chrome-extension://abc",
        ];
        let others =
            ["null", "", "*", "https://a/", "https://user@a", "https://a:443", "app:abc", "x://a?b", "a b"];
        origin("*", &good, &others);
        assert!(AllowedOrigin::parse("*").unwrap().is_any());
        assert!(!AllowedOrigin::parse("https://*.example.com").unwrap().is_any());
    }

    #[test]
    fn what_is_no_origin_entry_is_refused_with_the_reason() {
        for (reason, entries) in [
            (
                E::MisplacedWildcard,
                &["**", "*.example.com", "https://*", "https://a*.example.com", "https://*.*.example.com"][..],
            ),
            (
                E::MisplacedWildcard,
                &[
                    "https://example.*",
                    "https://*.example.*",
                    "https://a.*.com",
                    "*://a.example.com",
                    "x://*.example.com",
                ],
            ),
            (E::MisplacedWildcard, &["vscode-webview://*", "https://*:443", "https://a.example.com:*"]),
            (E::BroadWildcard, &["https://*.com", "http://*.localhost:3000"]),
            (
                E::NotAnOrigin,
                &[
                    "",
                    "null",
                    "app.example.com",
                    "https://a/",
                    "https://a/b",
                    "https://a:443",
                    "https://user@a",
                    "x:a",
                ],
            ),
            (
                E::NotAnOrigin,
                &["https://*.example.com/", "https://*.example.com:443", "https://*.", "https://*.0.0.1"],
            ),
        ] {
            for entry in entries {
                assert_eq!(AllowedOrigin::parse(entry), Err(reason), "{entry}");
            }
        }
    }
}
