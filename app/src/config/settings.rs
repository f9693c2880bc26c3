//! The validated configuration. Whoever holds [`Settings`] need not check anything again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::Value;
use domain::{
    Catalog, Icon, LoginScopes, ScopeAuthority, ScopeSet, Shares, TokenPolicy, ToolCatalog, ToolName,
};
use hyper_transport::{AllowListError, AllowedHost, AllowedOrigin, Limits};
use jwks_verifier::{Hints, IdentityProvider, Options as KeyOptions};
use mcp_protocol::{Identity, McpSettings};
use tracing::Level;
use url::Url;

use super::addresses::Issuer;
use super::own::OwnSections;
use super::problem::Problems;
use super::reader::{Effective, Reader};
use super::scopes::scopes;
use super::secrets::{StateKeys, state_keys};
use super::sources::Sources;
use super::{addresses, shown};

/// Everything that can be configured, validated.
#[derive(Debug)]
pub struct Settings {
    /// The address to listen on.
    pub bind: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The URL below which clients reach the server, if it is not `http://localhost:PORT`.
    pub url: Option<Url>,
    /// The MCP endpoint's path below it; empty for the URL itself.
    pub path: String,
    /// The protected resource's identifier: what tokens must have in `aud`.
    pub audience: Arc<str>,
    /// Further addresses under which clients reach the server.
    pub endpoints: Vec<NamedEndpoint>,
    /// The identity provider that the issuer belongs to.
    pub identity_provider: Arc<dyn IdentityProvider>,
    /// The issuer whose keys are used, as `iss` must name it.
    pub issuer: String,
    /// When a token is acceptable.
    pub tokens: TokenPolicy,
    /// How keys are fetched.
    pub keys: KeyOptions,
    /// Web origins that may call, besides loopback ones and the server's own.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Hosts that are answered to, besides loopback ones and the server's own.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Bounds of the transport.
    pub limits: Limits,
    /// How many questions of tools to clients of 2025-11-25 and before may be open at a time.
    pub questions: usize,
    /// How long one tool call may take.
    pub tool_deadline: Duration,
    /// What the protocol can be told.
    pub mcp: McpSettings,
    /// Keys that seal what a tool wants remembered, the newest first; none, and the process makes one.
    pub state_keys: StateKeys,
    /// Deviations from what the tools themselves say.
    pub tools: BTreeMap<ToolName, ToolRule>,
    /// Which scopes a first login asks for.
    pub login: LoginScopes,
    /// How to log.
    pub log: LogSettings,
    /// Every value in force, in the order of config/default.toml.
    pub effective: Vec<Effective>,
    /// The `[tenant]` table, for `dev`.
    pub tenant: Option<Value>,
    /// The tables of the server's own.
    pub own: OwnSections,
    /// What is probably not meant, a line each.
    pub warnings: Vec<String>,
}

/// Whether a catalog has everything that rules may name: not before the set-up has run, and never where tools come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completeness {
    /// Rules for unknown names are faults.
    Complete,
    /// Rules for unknown names wait for what they name.
    Partial,
}

/// A further address under which clients reach the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// Its name in the configuration.
    pub name: String,
    /// The URL below which clients reach the server.
    pub url: Url,
    /// The protected resource's identifier there, if it is another one.
    pub audience: Option<Arc<str>>,
}

/// What the configuration says of one tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRule {
    /// The scopes it needs instead of those it asks for.
    pub scopes: Option<ScopeSet>,
    /// Whether it is on offer.
    pub enabled: bool,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The form of a line.
    pub format: LogFormat,
    /// The least important lines that are written.
    pub level: Level,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human in a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// For programs.
    Json,
}

impl Settings {
    /// Reads the sources. `catalog` has the tools that rules may name, and everything whose scopes may be named.
    ///
    /// # Errors
    /// [`Problems`], all of them.
    pub fn load(sources: Sources, catalog: &Catalog) -> Result<Self, Problems> {
        Self::load_with(sources, catalog, Completeness::Complete)
    }

    /// Reads the sources for a catalog that does not have everything that rules may name.
    ///
    /// # Errors
    /// [`Problems`], but not those of unknown names.
    pub fn load_partial(sources: Sources, catalog: &Catalog) -> Result<Self, Problems> {
        Self::load_with(sources, catalog, Completeness::Partial)
    }

    fn load_with(
        mut sources: Sources,
        catalog: &Catalog,
        completeness: Completeness,
    ) -> Result<Self, Problems> {
        let warnings = sources.take_warnings();
        let (sections, secrets) = (sources.sections.clone(), sources.secrets.clone());
        let provider = sources.provider();
        let read = || {
            let whole: Vec<&str> = sections.iter().map(|section| section.name).chain(["tenant"]).collect();
            let mut reader = Reader::new(sources.merge()?, &whole);
            reader.read_own(&sections, &secrets);
            Self::read(reader, provider, catalog, completeness)
        };
        match read() {
            Ok(settings) => {
                let warnings = warnings.into_iter().chain(settings.warnings).collect();
                Ok(Self { warnings, ..settings })
            }
            Err(problems) => Err(problems.with_warnings(warnings)),
        }
    }

    fn read(
        mut reader: Reader,
        provider: Arc<dyn IdentityProvider>,
        catalog: &Catalog,
        completeness: Completeness,
    ) -> Result<Self, Problems> {
        let (read, hints) = (&mut reader, provider.hints());
        let bind = addresses::bind(read);
        let (port, path) = (read.whole("server.port", 0..=65_535), addresses::endpoint_path(read));
        let url = addresses::public_base(read, bind, &path);
        let issuer = addresses::issuer(read, &*provider);
        let audience = audience(read, hints);
        let mut tokens = tokens(read, issuer.as_ref(), &*provider);
        let endpoints = endpoints(read, &base_url(url.as_ref(), port), &path);
        let others = endpoints.iter().filter_map(|endpoint| endpoint.audience.clone());
        tokens.resources = std::iter::once(Arc::clone(&audience)).chain(others).collect();
        // A placeholder keeps the reading going; with the problem noted, it is never used.
        let Issuer { text: issuer, url: issuer_url } =
            issuer.unwrap_or_else(|| Issuer::at(placeholder(), &*provider));
        let keys = keys(read, &provider, &issuer_url);
        let allowed_origins = allowed_origins(read);
        let allowed_hosts = allow_list(read, "http.allowed_hosts", AllowedHost::parse);
        let (limits, tool_deadline, json_depth) = limits(read);
        let questions = read.whole("limits.questions", 1..=1_000_000);
        let mcp = mcp(read, json_depth);
        let state_keys = state_keys(read);
        let log = log(read);
        let tools = tools(read, &catalog.tools, completeness);
        let (hierarchy, login) = scopes(read, hints, &tools, catalog, completeness);
        tokens.hierarchy = Arc::new(hierarchy);
        let (tenant, own) = (read.take("tenant"), read.own_sections());
        let (effective, warnings) = reader.finish()?;
        let Some(keys) = keys else {
            return Err(Problems::new(Vec::new()));
        };
        Ok(Self {
            bind,
            port,
            url,
            path,
            audience,
            endpoints,
            identity_provider: provider,
            issuer,
            tokens,
            keys,
            allowed_origins,
            allowed_hosts,
            limits,
            questions,
            tool_deadline,
            mcp,
            state_keys,
            tools,
            login,
            log,
            effective,
            tenant,
            own,
            warnings,
        })
    }

    /// The URL below which clients reach the server, once its port is known.
    #[must_use]
    pub fn base_url(&self, port: u16) -> Url {
        base_url(self.url.as_ref(), port)
    }
}

fn base_url(url: Option<&Url>, port: u16) -> Url {
    url.cloned().unwrap_or_else(|| {
        let mut url = placeholder();
        // An http URL with a host takes any port.
        let _ = url.set_port(Some(port));
        url
    })
}

/// `http://localhost/`.
#[expect(clippy::expect_used, reason = "a literal")]
fn placeholder() -> Url {
    Url::parse("http://localhost/").expect("a URL")
}

fn audience(read: &mut Reader, hints: Hints) -> Arc<str> {
    let audience = read.text("auth0.audience");
    if audience.is_empty() {
        read.problem(
            "auth0.audience",
            format!("is not set: AUTH0_AUDIENCE is your {}, best the endpoint's own URL", hints.audience),
        );
    }
    addresses::refuse_placeholder(read, "auth0.audience", &audience);
    audience.into()
}

/// Reads `[endpoints]`. Each has a URL of its own, so that a request can tell which it is for.
fn endpoints(read: &mut Reader, main: &Url, path: &str) -> Vec<NamedEndpoint> {
    // A slash at the end makes no other endpoint.
    let plain = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    let mut taken = vec![plain(main)];
    let mut endpoints: Vec<NamedEndpoint> = Vec::new();
    for name in read.tables("endpoints") {
        let at = |key: &str| vec!["endpoints".to_owned(), name.clone(), key.to_owned()];
        let key = shown::key(&at("url"));
        let (text, audience) = (read.text_at(&at("url")), read.text_at(&at("audience")));
        let Some(url) = addresses::base(read, &key, &text.unwrap_or_default(), path) else {
            continue;
        };
        if taken.contains(&plain(&url)) {
            read.problem(&key, "is the URL of another endpoint, too: each needs its own");
        }
        let key = shown::key(&at("audience"));
        if audience.as_deref().is_some_and(str::is_empty) {
            read.problem(&key, "must not be empty; without it, it is auth0.audience");
        }
        addresses::refuse_placeholder(read, &key, audience.as_deref().unwrap_or_default());
        taken.push(plain(&url));
        endpoints.push(NamedEndpoint { name, url, audience: audience.map(Into::into) });
    }
    endpoints
}

fn tokens(read: &mut Reader, issuer: Option<&Issuer>, provider: &dyn IdentityProvider) -> TokenPolicy {
    let mut issuers: Vec<String> = issuer.map(|issuer| issuer.text.clone()).into_iter().collect();
    for text in read.texts("auth0.additional_issuers") {
        addresses::issuer_at(read, "auth0.additional_issuers", &text, provider);
        issuers.push(text);
    }
    let words = [
        ("scope", ScopeAuthority::Scope),
        ("permissions", ScopeAuthority::Permissions),
        ("both", ScopeAuthority::Both),
        ("either", ScopeAuthority::Either),
    ];
    TokenPolicy {
        token_types: provider.token_types(),
        issuers,
        resources: Vec::new(),
        additional_audiences: read.texts("auth0.additional_audiences"),
        leeway: read.seconds("tokens.leeway_seconds", 0..=300),
        authority: read.choice("tokens.authority", &words, ScopeAuthority::Scope),
        hierarchy: Arc::default(),
    }
}

fn keys(read: &mut Reader, provider: &Arc<dyn IdentityProvider>, issuer: &Url) -> Option<KeyOptions> {
    const DAY: u64 = 24 * 60 * 60;
    let refresh_every = read.seconds("keys.refresh_seconds", 10..=DAY);
    let min_fetch_interval = read.seconds("keys.min_fetch_interval_seconds", 1..=3600);
    let keep_through_outage = read.seconds("keys.keep_through_outage_seconds", 60..=7 * DAY);
    let wait_for_keys = read.seconds("keys.wait_seconds", 1..=60);
    let max_waiting = read.whole("keys.max_waiting", 1..=10_000);
    let unknown_kid_memory = read.seconds("keys.unknown_kid_memory_seconds", 1..=3600);
    let fetch_timeout = read.seconds("keys.fetch_timeout_seconds", 1..=60);
    let remembered_tokens = read.whole("keys.remembered_tokens", 0..=1_000_000);
    let max_document_bytes = read.whole("keys.max_document_bytes", 1024..=16 * 1024 * 1024);
    match KeyOptions::for_issuer(provider, issuer) {
        Ok(defaults) => Some(KeyOptions {
            jwks_url: defaults.jwks_url,
            refresh_every,
            min_fetch_interval,
            keep_through_outage,
            wait_for_keys,
            max_waiting,
            unknown_kid_memory,
            fetch_timeout,
            max_document_bytes,
            remembered_tokens,
        }),
        Err(error) => {
            read.problem("auth0.issuer", error.to_string());
            None
        }
    }
}

fn allowed_origins(read: &mut Reader) -> Vec<AllowedOrigin> {
    const KEY: &str = "http.allowed_origins";
    let origins = allow_list(read, KEY, AllowedOrigin::parse);
    if origins.iter().any(AllowedOrigin::is_any) {
        read.warn(
            KEY,
            "has *: every web page may call the endpoint and read its answers. It still needs an access token of its own,              because browsers attach none by themselves; list the origins if you know them"
                .to_owned(),
        );
    }
    origins
}

/// Reads a list of hosts or origins; each entry that is none is a problem of its own.
fn allow_list<T>(read: &mut Reader, key: &str, parse: fn(&str) -> Result<T, AllowListError>) -> Vec<T> {
    let mut entries = Vec::new();
    for text in read.texts(key) {
        match parse(&text) {
            Ok(entry) => entries.push(entry),
            Err(error) => read.problem(key, format!("{} {error}", shown::text(&text))),
        }
    }
    entries
}

/// What a body of the largest size takes while it is read and parsed, in bodies.
const BODIES_IN_A_SHARE: usize = 4;

fn limits(read: &mut Reader) -> (Limits, Duration, usize) {
    const MIB: u64 = 1024 * 1024;
    let limits = Limits {
        body_bytes: read.whole("limits.body_bytes", 1024..=1024 * MIB),
        header_bytes: read.whole("limits.header_bytes", 8192..=MIB),
        header_read: read.seconds("limits.header_read_seconds", 1..=3600),
        body_read: read.seconds("limits.body_read_seconds", 1..=3600),
        keep_alive: read.seconds("limits.keep_alive_seconds", 1..=24 * 3600),
        connections: read.whole("limits.connections", 1..=1_000_000),
        requests: read.whole("limits.requests", 1..=1_000_000),
        streams: read.whole("limits.streams", 1..=1_000_000),
        answer_stall: read.seconds("limits.answer_stall_seconds", 20..=3600),
        memory_bytes: read.whole("limits.memory_bytes", MIB..=64 * 1024 * MIB),
        shares: Shares {
            subject_percent: read.whole("limits.subject_percent", 1..=100),
            client_percent: read.whole("limits.client_percent", 1..=100),
        },
        drain_delay: read.seconds("limits.drain_delay_seconds", 0..=300),
        drain: read.seconds("limits.drain_seconds", 0..=3600),
    };
    let percent = limits.shares.subject_percent.min(limits.shares.client_percent);
    if limits.memory_bytes * percent / 100 < BODIES_IN_A_SHARE * limits.body_bytes {
        read.problem(
            "limits.memory_bytes",
            format!(
                "must be larger: {percent} percent of it, which one subject or client gets, must hold {BODIES_IN_A_SHARE} \
                 times limits.body_bytes"
            ),
        );
    }
    let tool_deadline = read.seconds("limits.tool_seconds", 1..=24 * 3600);
    (limits, tool_deadline, read.whole("limits.json_depth", 8..=128))
}

fn mcp(read: &mut Reader, json_depth: usize) -> McpSettings {
    let identity = Identity {
        name: read.text("mcp.name"),
        title: read.text("mcp.title"),
        version: env!("CARGO_PKG_VERSION").into(),
        instructions: read.text("mcp.instructions"),
        icons: read.texts("mcp.icons").iter().map(|src| Icon::new(src)).collect(),
    };
    if identity.icons.iter().any(|icon| !icon.is_acceptable()) {
        read.problem("mcp.icons", "must be https:// URLs, or data: URIs of images");
    }
    for (key, text) in [("mcp.name", &identity.name), ("mcp.title", &identity.title)] {
        if text.is_empty() {
            read.problem(key, "must not be empty");
        }
    }
    McpSettings {
        identity,
        json_depth,
        list_ttl_ms: read.whole("mcp.list_ttl_ms", 0..=24 * 3600 * 1000),
        page_size: read.whole("mcp.page_size", 1..=10_000),
        answer_timeout: read.seconds("mcp.answer_seconds", 1..=24 * 3600),
    }
}

fn log(read: &mut Reader) -> LogSettings {
    let formats = [("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    LogSettings {
        format: read.choice("log.format", &formats, LogFormat::Auto),
        level: read.choice("log.level", &levels, Level::INFO),
    }
}

fn tools(
    read: &mut Reader,
    catalog: &ToolCatalog,
    completeness: Completeness,
) -> BTreeMap<ToolName, ToolRule> {
    let mut rules = BTreeMap::new();
    for name in read.tables("tools") {
        let is_known =
            |tool: &ToolName| completeness == Completeness::Partial || catalog.spec(tool.as_str()).is_some();
        let Some(tool) = ToolName::parse(&name).ok().filter(is_known) else {
            let known: Vec<&str> = catalog.specs().map(|spec| spec.name.as_str()).collect();
            let message = format!("there is no such tool; the tools are {}", known.join(", "));
            read.reject_table(&["tools".to_owned(), name], message);
            continue;
        };
        let path = |key: &str| vec!["tools".to_owned(), name.clone(), key.to_owned()];
        let scopes = read.texts_at(&path("scopes"));
        let enabled = read.flag_at(&path("enabled")).unwrap_or(true);
        let scopes = match scopes.map(|texts| ScopeSet::parse_all(texts.iter().map(String::as_str))) {
            Some(Err(error)) => {
                read.problem(&shown::key(&path("scopes")), error.to_string());
                None
            }
            Some(Ok(scopes)) => Some(scopes),
            None => None,
        };
        rules.insert(tool, ToolRule { scopes, enabled });
    }
    rules
}
