//! The public endpoints: which of them a request is for, and what its path names there.

use std::cmp::Reverse;
use std::sync::Arc;

use domain::ScopeSet;
use hyper::http::uri::Authority;
use url::Url;

use crate::challenge::Challenges;
use crate::cors::Readers;
use crate::documents::Documents;
use crate::settings::{HttpSettings, METADATA_PATH, PublicEndpoint};

/// Every public endpoint, rendered once, the main one first.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    main: Endpoint,
    others: Vec<Endpoint>,
}

/// A public endpoint with its challenges and documents.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    base: Url,
    prefix: String,
    path: String,
    /// The identifier of the protected resource, which a token must have in `aud`.
    pub(crate) resource: Arc<str>,
    pub(crate) challenges: Challenges,
    pub(crate) documents: Documents,
}

/// The resource that a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Endpoint,
    ProtectedResource,
    AuthorizationServer,
    Health,
    Ready,
    Ping,
}

impl Endpoints {
    pub(crate) fn new(settings: &HttpSettings, scopes: &ScopeSet) -> Self {
        let endpoint = |public: &PublicEndpoint| Endpoint {
            base: public.base.clone(),
            prefix: public.prefix().to_owned(),
            path: public.path.clone(),
            resource: Arc::clone(&public.resource),
            challenges: Challenges::new(public.metadata_url(), scopes.clone()),
            documents: Documents::render(settings, public, scopes),
        };
        Self { main: endpoint(&settings.main), others: settings.others.iter().map(endpoint).collect() }
    }

    /// Returns every endpoint, the main one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.main).chain(&self.others)
    }

    /// Returns the endpoint that a request is for: one of the host that it names, or of the main one's where that is no
    /// endpoint's. Of several the port decides, then the longest prefix that its path begins with; of equals it is the first.
    pub(crate) fn find(&self, authority: Option<&Authority>, path: &str) -> &Endpoint {
        if self.others.is_empty() {
            return &self.main;
        }
        let all = self.iter().enumerate();
        // What a proxy does to the host and the path is its operator's choice, so that neither must fit. But no path leads to
        // another host's endpoint, and to the audience of that.
        let fit = |endpoint: &Endpoint| {
            let (is_host, is_port) = authority.map_or((false, false), |authority| endpoint.is_at(authority));
            let is_main_host = endpoint.base.host() == self.main.base.host();
            (is_host, is_main_host, is_port, endpoint.prefix_of(path).map(str::len))
        };
        let best = all.max_by_key(|(index, endpoint)| (fit(endpoint), Reverse(*index)));
        best.map_or(&self.main, |(_, endpoint)| endpoint)
    }
}

impl Endpoint {
    /// Returns whether an authority names the endpoint's host, and its port, too.
    fn is_at(&self, authority: &Authority) -> (bool, bool) {
        let is_host = self.base.host_str().is_some_and(|host| host.eq_ignore_ascii_case(authority.host()));
        let port = authority.port_u16();
        let is_default = port.is_some() && port == self.base.port_or_known_default();
        (is_host, is_host && (is_default || port == self.base.port()))
    }

    /// Returns the prefix, if the path, or the one whose metadata it names, begins with it.
    fn prefix_of(&self, path: &str) -> Option<&str> {
        let path = path.strip_prefix(METADATA_PATH).unwrap_or(path);
        without_prefix(path, &self.prefix).map(|_| self.prefix.as_str())
    }

    /// Returns what a path names, whether or not a proxy kept the prefix.
    pub(crate) fn route(&self, path: &str) -> Option<Route> {
        if self.is_endpoint(path) {
            return Some(Route::Endpoint);
        }
        let path = without_prefix(path, &self.prefix).unwrap_or(path);
        if let Some(resource) = path.strip_prefix(METADATA_PATH) {
            let is_here = resource.is_empty() || self.is_endpoint(resource);
            return is_here.then_some(Route::ProtectedResource);
        }
        Some(match path {
            "/.well-known/oauth-authorization-server" => Route::AuthorizationServer,
            "/health" => Route::Health,
            "/ready" => Route::Ready,
            "/ping" => Route::Ping,
            _ => return None,
        })
    }

    /// Returns whether a path is the MCP endpoint's, with or without a slash at its end.
    fn is_endpoint(&self, path: &str) -> bool {
        let path = path.strip_suffix('/').unwrap_or(path);
        path == self.path || without_prefix(path, &self.prefix) == Some(self.path.as_str())
    }

    /// Returns the MCP endpoint's path as its clients know it.
    pub(crate) fn public_path(&self) -> String {
        format!("{}{}", self.prefix, if self.path.is_empty() { "/" } else { &self.path })
    }
}

impl Route {
    /// Returns the methods, for a preflight.
    pub(crate) const fn methods(self) -> &'static str {
        match self {
            Self::Endpoint => "POST, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// Returns the pages that may read the answers: metadata is for everyone, probes are for operators.
    pub(crate) const fn readers(self) -> Readers {
        match self {
            Self::ProtectedResource | Self::AuthorizationServer => Readers::Anyone,
            _ => Readers::AllowedOrigins,
        }
    }

    /// Returns whether this is a probe: those come from orchestrators and load balancers that name the instance's own address.
    pub(crate) const fn is_probe(self) -> bool {
        matches!(self, Self::Health | Self::Ready | Self::Ping)
    }
}

/// Returns what follows a prefix of whole segments.
fn without_prefix<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(base: &str, path: &str) -> PublicEndpoint {
        PublicEndpoint { base: Url::parse(base).unwrap(), path: path.into(), resource: base.into() }
    }

    fn endpoints(path: &str, bases: &[&str]) -> Endpoints {
        let settings = HttpSettings {
            main: public(bases[0], path),
            others: bases[1..].iter().map(|base| public(base, path)).collect(),
            resource_name: String::new(),
            issuer: String::new(),
            authorization_server: serde_json::Map::new(),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: crate::client_address::TrustedProxies::default(),
        };
        Endpoints::new(&settings, &ScopeSet::EMPTY)
    }

    #[test]
    fn the_endpoint_that_a_request_names_is_found() {
        let (one, two, team, other) = (
            "https://one.example/",
            "http://two.example:3001/",
            "https://one.example/team",
            "https://one.example:8443/",
        );
        let elsewhere = "https://else.example/else";
        let endpoints = endpoints("/mcp", &[one, two, team, other, elsewhere]);
        for (host, path, expected) in [
            ("one.example", "/mcp", one),
            ("ONE.example:443", "/mcp", one),
            ("two.example:3001", "/mcp", two),
            ("two.example", "/mcp", two),
            ("two.example:9", "/mcp", two),
            ("one.example:8443", "/mcp", other),
            ("one.example:8443", "/team/mcp", other),
            ("one.example:9", "/mcp", one),
            ("one.example", "/team/mcp", team),
            ("one.example", "/team", team),
            ("one.example", "/teams/mcp", one),
            ("one.example", "/.well-known/oauth-protected-resource/team/mcp", team),
            ("one.example", "/.well-known/oauth-protected-resource/mcp", one),
            ("one.example", "/.well-known/oauth-protected-resource", one),
            ("127.0.0.1:3001", "/mcp", one),
            ("127.0.0.1:3001", "/team/mcp", team),
            ("none.one.example", "/mcp", one),
            ("127.0.0.1:3001", "/else/mcp", one),
            ("else.example", "/else/mcp", elsewhere),
            ("two.example:3001", "/else/mcp", two),
        ] {
            let authority: Authority = host.parse().unwrap();
            assert_eq!(endpoints.find(Some(&authority), path).resource.as_ref(), expected, "{host}{path}");
        }
        assert_eq!(endpoints.find(None, "/mcp").resource.as_ref(), one);
    }

    #[test]
    fn paths_name_the_same_whether_or_not_a_proxy_kept_the_prefix() {
        let prefixed = endpoints("/v1/tools", &["https://one.example/team"]);
        for (path, expected) in [
            ("/v1/tools", Some(Route::Endpoint)),
            ("/v1/tools/", Some(Route::Endpoint)),
            ("/team/v1/tools", Some(Route::Endpoint)),
            ("/team/v1/tools/", Some(Route::Endpoint)),
            ("/.well-known/oauth-protected-resource", Some(Route::ProtectedResource)),
            ("/.well-known/oauth-protected-resource/", None),
            ("/.well-known/oauth-protected-resource/team/v1/tools", Some(Route::ProtectedResource)),
            ("/.well-known/oauth-protected-resource/team/v1/tools/", Some(Route::ProtectedResource)),
            ("/.well-known/oauth-protected-resource/v1/tools", Some(Route::ProtectedResource)),
            ("/team/.well-known/oauth-protected-resource", Some(Route::ProtectedResource)),
            ("/.well-known/oauth-authorization-server", Some(Route::AuthorizationServer)),
            ("/team/health", Some(Route::Health)),
            ("/health", Some(Route::Health)),
            ("/ready", Some(Route::Ready)),
            ("/ping", Some(Route::Ping)),
            ("/mcp", None),
            ("/", None),
            ("/team", None),
            ("/teams/v1/tools", None),
            ("/v1/tools//", None),
            ("/v1/tools/more", None),
            ("/.well-known/oauth-protected-resource/mcp", None),
            ("/.well-known/oauth-protected-resourceful", None),
        ] {
            assert_eq!(prefixed.main.route(path), expected, "{path}");
        }
    }

    #[test]
    fn a_prefix_is_there_once() {
        let same = endpoints("/mcp", &["https://one.example/mcp"]);
        let team = endpoints("/mcp", &["https://one.example/team"]);
        for (endpoints, path, expected) in [
            (&same, "/mcp/mcp", Some(Route::Endpoint)),
            (&same, "/mcp", Some(Route::Endpoint)),
            (&same, "/mcp/mcp/mcp", None),
            (&team, "/team/team/mcp", None),
        ] {
            assert_eq!(endpoints.main.route(path), expected, "{path}");
        }
    }

    #[test]
    fn the_base_itself_can_be_the_endpoint() {
        let plain = endpoints("", &["https://one.example"]);
        let prefixed = endpoints("", &["https://one.example/team"]);
        assert_eq!(plain.main.route("/"), Some(Route::Endpoint));
        assert_eq!(plain.main.public_path(), "/");
        for path in ["/", "/team", "/team/"] {
            assert_eq!(prefixed.main.route(path), Some(Route::Endpoint), "{path}");
        }
        assert_eq!(
            prefixed.main.route("/.well-known/oauth-protected-resource/team"),
            Some(Route::ProtectedResource)
        );
    }

    #[test]
    fn urls_are_those_of_rfc_9728() {
        for (base, path, url, metadata) in [
            (
                "https://one.example",
                "/mcp",
                "https://one.example/mcp",
                "https://one.example/.well-known/oauth-protected-resource/mcp",
            ),
            (
                "https://one.example/team/",
                "/mcp",
                "https://one.example/team/mcp",
                "https://one.example/.well-known/oauth-protected-resource/team/mcp",
            ),
            (
                "http://[::1]:3001",
                "",
                "http://[::1]:3001",
                "http://[::1]:3001/.well-known/oauth-protected-resource",
            ),
        ] {
            let endpoint = public(base, path);
            assert_eq!((endpoint.url().as_str(), endpoint.metadata_url().as_str()), (url, metadata));
        }
    }
}
