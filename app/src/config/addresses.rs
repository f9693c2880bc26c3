//! URLs, hosts and paths: what can be known to be wrong with one without asking anybody.

use jwks_verifier::IdentityProvider;
use url::{Host, Url};

use super::reader::Reader;
use super::shown;

/// Parts of texts, in lower case, that templates and examples leave for somebody to replace.
const PLACEHOLDERS: [&str; 16] = [
    "${",
    "$(",
    "{{",
    "<",
    "your_domain",
    "your-domain",
    "yourdomain",
    "your_tenant",
    "your-tenant",
    "yourtenant",
    "your_api",
    "your-api",
    "example-tenant",
    "changeme",
    "change-me",
    "replace-me",
];
/// Names that are reserved for documentation (RFC 2606).
const DOCUMENTATION: [&str; 5] = ["example.com", "example.net", "example.org", "example", "invalid"];

/// Returns `http://localhost/`.
#[expect(clippy::expect_used, reason = "a literal")]
pub(super) fn localhost() -> Url {
    Url::parse("http://localhost/").expect("a URL")
}

/// Parses the URL below which a server with the endpoint `path` is reached.
pub(super) fn base(read: &mut Reader, key: &str, text: &str, path: &str) -> Option<Url> {
    if refuse_placeholder(read, key, text) {
        return None;
    }
    let url = Url::parse(text).ok().filter(|url| is_http(url) && has_host_name(url));
    let url = url.filter(|url| is_free_path(url.path().trim_end_matches('/')));
    let Some(url) = url else {
        let value = shown::text(text);
        read.problem(
            key,
            format!(
                "must be an http or https URL, such as https://mcp.example.com, or with the path below which a proxy \
                 serves it, such as https://example.com/team, which is none of the server's own paths, not {value}"
            ),
        );
        return None;
    };
    warn_of_documentation(read, key, &url);
    let prefix = url.path().trim_end_matches('/');
    if !path.is_empty() && prefix.ends_with(path) {
        let value = shown::text(&format!("{}{prefix}{path}", url.origin().ascii_serialization()));
        read.warn(
            key,
            format!("ends with {path}, so the endpoint is {value}: leave out what server.path adds"),
        );
    }
    Some(url)
}

/// Returns whether a path is plain, and does not begin like one of the server's own.
pub(super) fn is_free_path(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    is_plain_path(path) && !["health", "ready", "ping", ".well-known"].contains(&first)
}

/// Whether a path is empty, or segments of unreserved characters (RFC 3986 section 2.3), which no proxy rewrites.
fn is_plain_path(path: &str) -> bool {
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
    };
    path.is_empty() || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))
}

/// An issuer as its tokens name it, and as a URL, which may have a slash more.
pub(super) struct Issuer {
    pub(super) text: String,
    pub(super) url: Url,
}

impl Issuer {
    /// Returns the issuer at an origin's root, as the provider writes it.
    pub(super) fn at(url: Url, provider: &dyn IdentityProvider) -> Self {
        let text = url.as_str();
        let bare = text.strip_suffix('/').filter(|_| !provider.issuers_end_with_slash());
        Self { text: bare.unwrap_or(text).to_owned(), url }
    }
}

/// Parses an issuer.
pub(super) fn issuer_at(
    read: &mut Reader,
    key: &str,
    text: &str,
    provider: &dyn IdentityProvider,
) -> Option<Issuer> {
    if refuse_placeholder(read, key, text) {
        return None;
    }
    let url = Url::parse(text).ok().filter(|url| is_http(url) && has_host_name(url));
    // Tokens are compared with the text, byte for byte: what a URL parser would change never matches. All that it may add
    // is the slash of an origin.
    let is_same = |url: &Url| {
        url.as_str() == text || (url.path() == "/" && url.as_str().strip_suffix('/') == Some(text))
    };
    let needs_slash = provider.issuers_end_with_slash();
    let url = url.filter(|url| is_same(url) && (!needs_slash || text.ends_with('/')));
    if url.is_none() {
        let value = shown::text(text);
        let example = if needs_slash {
            "https://login.example.com/, with the slash"
        } else {
            "https://login.example.com"
        };
        read.problem(key, format!("must be an issuer URL as tokens name it, such as {example}, not {value}"));
    }
    url.map(|url| Issuer { text: text.to_owned(), url })
}

/// Notes a problem if nobody has replaced what a template or an example left.
pub(super) fn refuse_placeholder(read: &mut Reader, key: &str, text: &str) -> bool {
    let found = has_placeholder(text);
    if found {
        let value = shown::text(text);
        read.problem(key, format!("is a placeholder that nobody has replaced: {value}"));
    }
    found
}

/// Returns whether nobody has replaced what a template or an example left.
pub(super) fn has_placeholder(text: &str) -> bool {
    let lower = text.to_lowercase();
    PLACEHOLDERS.iter().any(|placeholder| lower.contains(placeholder))
}

/// Notes a warning if the host of a URL is from examples.
pub(super) fn warn_of_documentation(read: &mut Reader, key: &str, url: &Url) {
    let host = url.host_str().unwrap_or_default();
    let within =
        |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if DOCUMENTATION.iter().any(|domain| within(domain)) {
        let value = shown::text(url.as_str());
        read.warn(key, format!("{value} is a name from examples, which nobody can reach"));
    }
}

/// Returns whether it is a URL of http or https without anything after its host and port.
pub(super) fn is_origin(url: &Url) -> bool {
    is_http(url) && url.path() == "/" && has_host_name(url)
}

/// Whether it is a URL of http or https without a query, a fragment and a user.
fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && (url.query(), url.fragment()) == (None, None)
        && (url.username(), url.password()) == ("", None)
}

/// Whether the host is an address, or a name that the DNS can have (RFC 1123 section 2.1). URL parsers take more.
fn has_host_name(url: &Url) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match url.host() {
        Some(Host::Domain(name)) => name.len() <= 253 && name.split('.').all(is_label),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    }
}
