//! The validated configuration. Whoever holds [`Settings`] need not check anything again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use auth0_verifier::Options as KeyOptions;
use config::Value;
use domain::{Icon, ScopeAuthority, ScopeSet, Shares, TokenPolicy, ToolCatalog, ToolName};
use hyper_transport::Limits;
use mcp_protocol::{Identity, McpSettings};
use tracing::Level;
use url::Url;

use super::problem::Problems;
use super::reader::{Effective, Reader};
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
    /// The server's origin, if it is not `http://localhost:PORT`.
    pub url: Option<Url>,
    /// The issuer whose keys are used; its text is what `iss` must be.
    pub issuer: Url,
    /// When a token is acceptable. The first audience is the protected resource.
    pub tokens: TokenPolicy,
    /// How keys are fetched.
    pub keys: KeyOptions,
    /// Web origins that may call, besides loopback ones and the server's own.
    pub allowed_origins: Vec<String>,
    /// Hosts that are answered to, besides loopback ones and the server's own.
    pub allowed_hosts: Vec<String>,
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
    /// How to log.
    pub log: LogSettings,
    /// Every value in force, in the order of config/default.toml.
    pub effective: Vec<Effective>,
    /// The `[tenant]` table, for `dev`.
    pub tenant: Option<Value>,
    /// What is probably not meant, a line each.
    pub warnings: Vec<String>,
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
    /// Reads the sources. `catalog` has the tools that rules may name.
    ///
    /// # Errors
    /// [`Problems`], all of them.
    pub fn load(mut sources: Sources, catalog: &ToolCatalog) -> Result<Self, Problems> {
        let warnings = sources.take_warnings();
        let read = || Self::read(Reader::new(sources.merge()?, &["tenant"]), catalog);
        match read() {
            Ok(settings) => {
                let warnings = warnings.into_iter().chain(settings.warnings).collect();
                Ok(Self { warnings, ..settings })
            }
            Err(problems) => Err(problems.with_warnings(warnings)),
        }
    }

    fn read(mut reader: Reader, catalog: &ToolCatalog) -> Result<Self, Problems> {
        let read = &mut reader;
        let bind = addresses::bind(read);
        let (port, url) = (read.whole("server.port", 0..=65_535), addresses::public_origin(read, bind));
        let issuer = addresses::issuer(read);
        let tokens = tokens(read, issuer.as_ref());
        // A placeholder keeps the reading going; with the problem noted, it is never used.
        let issuer = issuer.unwrap_or_else(placeholder);
        let keys = keys(read, &issuer);
        let allowed_origins = allowed_origins(read);
        let allowed_hosts = read.texts("http.allowed_hosts");
        let (limits, tool_deadline, json_depth) = limits(read);
        let questions = read.whole("limits.questions", 1..=1_000_000);
        let mcp = mcp(read, json_depth);
        let state_keys = state_keys(read);
        let log = log(read);
        let tools = tools(read, catalog);
        let tenant = read.take("tenant");
        let (effective, warnings) = reader.finish()?;
        let Some(keys) = keys else {
            return Err(Problems::new(Vec::new()));
        };
        Ok(Self {
            bind,
            port,
            url,
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
            log,
            effective,
            tenant,
            warnings,
        })
    }

    /// The server's origin, once its port is known.
    #[must_use]
    pub fn public_url(&self, port: u16) -> Url {
        self.url.clone().unwrap_or_else(|| {
            let mut url = placeholder();
            // An http URL with a host takes any port.
            let _ = url.set_port(Some(port));
            url
        })
    }

    /// The protected resource's identifier.
    #[must_use]
    pub fn audience(&self) -> &str {
        self.tokens.audiences.first().map_or("", String::as_str)
    }
}

/// `http://localhost/`.
#[expect(clippy::expect_used, reason = "a literal")]
fn placeholder() -> Url {
    Url::parse("http://localhost/").expect("a URL")
}

fn tokens(read: &mut Reader, issuer: Option<&Url>) -> TokenPolicy {
    let audience = read.text("auth0.audience");
    if audience.is_empty() {
        read.problem(
            "auth0.audience",
            "is not set: AUTH0_AUDIENCE is your API's identifier in Auth0, best the endpoint's own URL",
        );
    }
    addresses::refuse_placeholder(read, "auth0.audience", &audience);
    let mut issuers: Vec<String> = issuer.map(ToString::to_string).into_iter().collect();
    for text in read.texts("auth0.additional_issuers") {
        addresses::issuer_url(read, "auth0.additional_issuers", &text);
        issuers.push(text);
    }
    let mut audiences = vec![audience];
    audiences.extend(read.texts("auth0.additional_audiences"));
    if audiences.iter().skip(1).any(String::is_empty) {
        read.problem("auth0.additional_audiences", "must not hold an empty text");
    }
    let words = [
        ("scope", ScopeAuthority::Scope),
        ("permissions", ScopeAuthority::Permissions),
        ("both", ScopeAuthority::Both),
        ("either", ScopeAuthority::Either),
    ];
    TokenPolicy {
        issuers,
        audiences,
        leeway: read.seconds("tokens.leeway_seconds", 0..=300),
        authority: read.choice("tokens.authority", &words, ScopeAuthority::Scope),
    }
}

fn keys(read: &mut Reader, issuer: &Url) -> Option<KeyOptions> {
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
    match KeyOptions::for_issuer(issuer) {
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

fn allowed_origins(read: &mut Reader) -> Vec<String> {
    let origins = read.texts("http.allowed_origins");
    let is_serialized = |text: &String| {
        Url::parse(text).is_ok_and(|url| match url.scheme() {
            "http" | "https" => url.origin().ascii_serialization() == text.to_ascii_lowercase(),
            // Schemes of applications, such as vscode-webview, have origins that no parser makes.
            _ => url.path().trim_matches('/').is_empty() && !text.ends_with('/'),
        })
    };
    if !origins.iter().all(is_serialized) {
        read.problem(
            "http.allowed_origins",
            "must hold origins, such as https://app.example.com, without a slash at the end",
        );
    }
    origins
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

fn tools(read: &mut Reader, catalog: &ToolCatalog) -> BTreeMap<ToolName, ToolRule> {
    let mut rules = BTreeMap::new();
    for name in read.tables("tools") {
        let Some(tool) = ToolName::parse(&name).ok().filter(|tool| catalog.spec(tool.as_str()).is_some())
        else {
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
