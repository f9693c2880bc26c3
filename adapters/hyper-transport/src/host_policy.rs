//! The policy for `Host` and `Origin`, which protects a local server from web pages whose own name resolves to it (DNS
//! rebinding; MCP 2026-07-28, basic/transports/streamable-http, "Security & Endpoint").

use std::str::FromStr;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::Authority;
use syntax::loopback::is_loopback_host;
use syntax::port::parse_port;
use url::{Position, Url};

use crate::allow_list::{AllowedHost, AllowedOrigin};
use crate::head::Single;
use crate::problem::Problem;
use crate::settings::{HttpSettings, PublicEndpoint};

/// The hosts and origins that requests may name.
#[derive(Debug, Clone)]
pub(crate) struct HostPolicy {
    own_hosts: Vec<String>,
    /// The public endpoints' hosts and ports as clients write them.
    own_authorities: Vec<Authority>,
    own_origins: Vec<String>,
    hosts: Vec<AllowedHost>,
    origins: Vec<AllowedOrigin>,
}

/// The host that a request names.
pub(crate) struct NamedHost {
    pub(crate) authority: Authority,
    /// It is a public endpoint's, with its port, as that is written in the configuration.
    is_own: bool,
}

/// The sender of a request, by its `Origin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller<'a> {
    /// No browser, or one that stays on this origin.
    Direct,
    /// A page of this origin, which may call.
    AllowedOrigin(&'a str),
}

impl HostPolicy {
    pub(crate) fn new(settings: &HttpSettings) -> Self {
        Self {
            own_hosts: settings
                .endpoints()
                .map(|endpoint| endpoint.base.host_str().unwrap_or_default().to_ascii_lowercase())
                .collect(),
            own_authorities: settings
                .endpoints()
                .filter_map(|endpoint| parse(host_and_port(&endpoint.base)))
                .collect(),
            own_origins: settings.endpoints().map(PublicEndpoint::origin).collect(),
            hosts: settings.allowed_hosts.clone(),
            origins: settings.allowed_origins.clone(),
        }
    }

    /// Returns the host that a request names. RFC 9112 section 3.2: one `Host`, which an absolute target (or HTTP/2's
    /// `:authority`) may repeat.
    ///
    /// # Errors
    /// [`Problem::BadHost`] for none, several or contradicting ones.
    pub(crate) fn named_host(&self, host: Single<'_>, target: &Uri) -> Result<NamedHost, Problem> {
        let host = match host {
            Single::Absent => None,
            Single::Once(value) => Some(self.parsed(value).ok_or(Problem::BadHost)?),
            Single::Repeated => return Err(Problem::BadHost),
        };
        match (host, target.authority()) {
            (Some(host), None) => Ok(host),
            (None, Some(target)) => {
                let authority = parse(target.as_str()).ok_or(Problem::BadHost)?;
                Ok(NamedHost { authority, is_own: false })
            }
            (Some(host), Some(target)) if host.authority.as_str().eq_ignore_ascii_case(target.as_str()) => {
                Ok(host)
            }
            (Some(_), Some(_)) | (None, None) => Err(Problem::BadHost),
        }
    }

    /// Parses a host; those that nearly every request names are parsed already.
    fn parsed(&self, host: &HeaderValue) -> Option<NamedHost> {
        match self.own_authorities.iter().find(|own| own.as_str() == host) {
            Some(own) => Some(NamedHost { authority: own.clone(), is_own: true }),
            None => Some(NamedHost { authority: parse(host.to_str().ok()?)?, is_own: false }),
        }
    }

    /// Checks that the server answers to a host.
    ///
    /// # Errors
    /// [`Problem::ForeignHost`].
    pub(crate) fn check_host(&self, NamedHost { authority, is_own }: &NamedHost) -> Result<(), Problem> {
        if *is_own {
            return Ok(());
        }
        let host = authority.host();
        let is = |own: &str| host.eq_ignore_ascii_case(own);
        let is_listed = |allowed: &AllowedHost| allowed.matches(host, authority.port_u16());
        let is_allowed = is_loopback_host(host)
            || self.own_hosts.iter().any(|own| is(own))
            || self.hosts.iter().any(is_listed);
        if is_allowed { Ok(()) } else { Err(Problem::ForeignHost) }
    }

    /// Checks the `Origin` header.
    ///
    /// # Errors
    /// [`Problem::ForeignOrigin`], for `null` and malformed ones too.
    pub(crate) fn check_origin<'h>(&self, origin: Single<'h>) -> Result<Caller<'h>, Problem> {
        let origin = match origin {
            Single::Absent => return Ok(Caller::Direct),
            Single::Once(value) => value.to_str().ok().filter(|origin| self.allows_origin(origin)),
            Single::Repeated => None,
        };
        origin.map(Caller::AllowedOrigin).ok_or(Problem::ForeignOrigin)
    }

    fn allows_origin(&self, origin: &str) -> bool {
        let lower = origin.to_ascii_lowercase();
        if self.origins.iter().any(|allowed| allowed.matches(&lower)) {
            return true;
        }
        let Ok(url) = Url::parse(origin) else {
            return false;
        };
        let serialized = url.origin().ascii_serialization();
        // An origin is no more than scheme, host and port: anything else is not what a browser sends.
        if serialized != lower {
            return false;
        }
        let web = matches!(url.scheme(), "http" | "https");
        (web && url.host_str().is_some_and(is_loopback_host)) || self.own_origins.contains(&serialized)
    }
}

/// Returns a URL's host and port, the port where it is not the scheme's own.
fn host_and_port(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

/// `host [ ":" port ]`, without user information.
fn parse(text: &str) -> Option<Authority> {
    let authority = Authority::from_str(text).ok()?;
    let rest = text.strip_prefix(authority.host())?;
    let port = rest.strip_prefix(':');
    (rest.is_empty() || port.and_then(parse_port).is_some()).then_some(authority)
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::header::HOST;

    use super::*;
    use crate::head::Fields;

    fn policy() -> HostPolicy {
        HostPolicy::new(&HttpSettings {
            main: PublicEndpoint {
                base: Url::parse("https://MCP.example.com").unwrap(),
                path: "/mcp".into(),
                resource: "".into(),
            },
            others: Vec::new(),
            resource_name: String::new(),
            issuer: String::new(),
            authorization_server: serde_json::Map::new(),
            allowed_origins: ["https://app.example.com", "vscode-webview://abc"]
                .map(|text| AllowedOrigin::parse(text).unwrap())
                .to_vec(),
            allowed_hosts: ["internal", "edge:8443"].map(|text| AllowedHost::parse(text).unwrap()).to_vec(),
            trusted_proxies: crate::client_address::TrustedProxies::default(),
        })
    }

    fn host(hosts: &[&str], target: &str) -> Result<(), Problem> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        let policy = policy();
        policy.check_host(&policy.named_host(Fields::of(&headers).host, &target.parse().unwrap())?)
    }

    #[test]
    fn loopback_own_and_configured_hosts_are_answered() {
        for good in
            ["localhost", "LOCALHOST:3001", "127.0.0.1", "127.9.9.9:80", "[::1]:3001", "mcp.example.com"]
        {
            assert_eq!(host(&[good], "/mcp"), Ok(()), "{good}");
        }
        for good in ["MCP.EXAMPLE.COM:443", "internal", "internal:9", "edge:8443"] {
            assert_eq!(host(&[good], "/mcp"), Ok(()), "{good}");
        }
        for bad in ["evil.com", "localhost.evil.com", "128.0.0.1", "[::2]", "edge", "edge:1", "0.0.0.0"] {
            assert_eq!(host(&[bad], "/mcp"), Err(Problem::ForeignHost), "{bad}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        assert_eq!(host(&[], "/mcp"), Err(Problem::BadHost));
        assert_eq!(host(&["localhost", "localhost"], "/mcp"), Err(Problem::BadHost));
        for bad in ["", "user@localhost", "a b", "localhost:x", "localhost:+80"] {
            assert_eq!(host(&[bad], "/mcp"), Err(Problem::BadHost), "{bad}");
        }
        assert_eq!(host(&["localhost"], "http://evil.com/mcp"), Err(Problem::BadHost));
        assert_eq!(host(&["localhost"], "http://localhost/mcp"), Ok(()));
        assert_eq!(host(&[], "http://localhost/mcp"), Ok(()));
        assert_eq!(host(&[], "http://evil.com/mcp"), Err(Problem::ForeignHost));
    }

    #[test]
    fn the_own_host_is_contradicted_as_any_other_is() {
        let own = "mcp.example.com";
        for same in ["/mcp", "http://mcp.example.com/mcp", "http://MCP.example.com/mcp"] {
            assert_eq!(host(&[own], same), Ok(()), "{same}");
        }
        for other in ["http://evil.com/mcp", "http://localhost/mcp", "http://mcp.example.com:81/mcp"] {
            assert_eq!(host(&[own], other), Err(Problem::BadHost), "{other}");
        }
        assert_eq!(host(&[own, own], "/mcp"), Err(Problem::BadHost));
    }

    #[test]
    fn loopback_own_and_configured_origins_may_call() {
        let policy = policy();
        for good in
            ["http://localhost:6274", "https://127.0.0.1", "http://[::1]:1", "https://mcp.example.com"]
        {
            assert!(policy.allows_origin(good), "{good}");
        }
        for good in ["https://app.example.com", "HTTPS://App.example.com", "vscode-webview://abc"] {
            assert!(policy.allows_origin(good), "{good}");
        }
        for bad in [
            "null",
            "",
            "https://evil.com",
            "http://mcp.example.com",
            "https://app.example.com:444",
            "https://app.example.com.evil.com",
            "http://localhost:1/path",
            "http://user@localhost",
            "vscode-webview://abcd",
            "vscode-webview://abc/path",
            "ftp://localhost",
            "http://localhost:1 http://evil.com",
        ] {
            assert!(!policy.allows_origin(bad), "{bad}");
        }
    }
}
