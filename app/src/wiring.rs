//! Makes a server of settings and ports, for the binary and for tests.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use anyhow::Context;
use audit_log::AuditLog;
use auth0_token_exchange::Auth0TokenExchange;
use domain::{
    Announcer, Auditor, Catalog, Change, Clock, Downstream, DynTool, Event, Method, MethodCatalog,
    NoopAuditor, NoopObserver, Observer, PolicyVersion, Pool, Prompt, PromptCatalog, Provider, Replicas,
    Resource, ResourceCatalog, ScopePolicy, ScopeSet, Service, Throttle, TokenExchange, TokenVerifier,
    ToolCatalog, ToolName, Tracer,
};
use futures_util::future;
use futures_util::stream::{BoxStream, SelectAll, StreamExt, select_all};
use gcra_throttle::{Ledger, Quotas};
use hyper_transport::{HttpSettings, Listener, PublicEndpoint, Server};
use jwks_verifier::{IdentityProvider, JwksVerifier, Status};
use mcp_protocol::{McpServer, ProtocolSnapshot, SealingKeys, check_tool};
use otlp_traces::OtlpTraces;
use prometheus_metrics::Metrics;
use redis_shared::{Redis, SharedQuotas, WhenAway};
use system_clock::SystemClock;
use tokio::runtime::Handle;
use tokio::sync::watch;
use upstream_mcp::Upstream;
use url::Url;

use crate::certificates;
use crate::commit::COMMIT;
use crate::config::settings::quota::WhenRedisIsAway;
use crate::config::{Fingerprint, Settings, Sources};

/// What a server has on offer. Clones share everything.
#[derive(Clone, Default)]
pub struct Offer {
    /// Tools, in the order in which clients see them.
    pub tools: Vec<Arc<dyn DynTool>>,
    /// Sources of what comes and goes.
    pub providers: Vec<Arc<dyn Provider>>,
    /// Other servers: as providers, and by their names in the log.
    pub upstreams: Vec<Upstream>,
    /// Resources.
    pub resources: Vec<Arc<dyn Resource>>,
    /// Prompts.
    pub prompts: Vec<Arc<dyn Prompt>>,
    /// Methods of the server's own, beside MCP's.
    pub methods: Vec<Arc<dyn Method>>,
}

impl Offer {
    /// Creates the offer of these tools alone.
    #[must_use]
    pub fn of_tools(tools: Vec<Arc<dyn DynTool>>) -> Self {
        Self { tools, ..Self::default() }
    }

    /// Returns the catalog of all specs. A provider's tool that can't be offered is left out with a warning in the log: it may
    /// be another server's.
    ///
    /// # Errors
    /// When another spec is at fault.
    pub fn catalog(&self) -> anyhow::Result<Catalog> {
        let mut tools = ToolCatalog::new(self.tools.clone()).context("the tools can't be offered")?;
        let mut resources =
            ResourceCatalog::new(self.resources.clone()).context("the resources can't be offered")?;
        let mut prompts = PromptCatalog::new(self.prompts.clone()).context("the prompts can't be offered")?;
        add_all("tool", self.provided(|provider| provider.tools()), |tool| add_provided(&mut tools, tool));
        add_all("resource", self.provided(|provider| provider.resources()), |resource| {
            Ok(resources.add(resource)?)
        });
        add_all("prompt", self.provided(|provider| provider.prompts()), |prompt| Ok(prompts.add(prompt)?));
        Ok(Catalog {
            tools,
            resources,
            prompts,
            methods: MethodCatalog::new(self.methods.clone()).context("the methods can't be served")?,
        })
    }

    /// Reads settings for the offer; where tools come and go, rules may name what is not there, with a warning.
    ///
    /// # Errors
    /// When a spec or the configuration is at fault.
    pub fn settings(&self, sources: Sources) -> anyhow::Result<Settings> {
        let catalog = self.catalog()?;
        if self.providers.is_empty() && self.upstreams.is_empty() {
            return Ok(Settings::load(sources, &catalog)?);
        }
        let fixed = ToolCatalog::new(self.tools.clone()).context("the tools can't be offered")?;
        Ok(Settings::load_changing(sources, &catalog, &fixed)?)
    }

    /// Returns what the providers have now of one kind; nothing of one that panics.
    fn provided<T>(&self, of: impl Fn(&dyn Provider) -> Vec<T>) -> Vec<(Owner<'_>, T)> {
        let provided = |owner: Owner<'_>| guarded(|| Ok(of(owner.provider()))).unwrap_or_default();
        self.owners().flat_map(|owner| provided(owner).into_iter().map(move |it| (owner, it))).collect()
    }

    fn owners(&self) -> impl Iterator<Item = Owner<'_>> {
        let providers = self.providers.iter().map(|provider| Owner::Provider(provider.as_ref()));
        providers.chain(self.upstreams.iter().map(Owner::Upstream))
    }

    fn into_providers(self) -> Vec<Arc<dyn Provider>> {
        let upstreams = self.upstreams.into_iter().map(|upstream| Arc::new(upstream) as Arc<dyn Provider>);
        self.providers.into_iter().chain(upstreams).collect()
    }

    /// Returns a hash of what the providers have now.
    pub(crate) fn provided_now(&self) -> Fingerprint {
        let specs = |provider: &dyn Provider| {
            let tools = provider.tools().into_iter().map(|tool| format!("{:?}", tool.spec()));
            let resources = provider.resources().into_iter().map(|resource| format!("{:?}", resource.spec()));
            let prompts = provider.prompts().into_iter().map(|prompt| format!("{:?}", prompt.spec()));
            tools.chain(resources).chain(prompts).collect()
        };
        let all: Vec<String> = self.provided(specs).into_iter().map(|(_, spec)| spec).collect();
        Fingerprint::of(&all)
    }

    /// Returns a stream with an item for every change of what a provider has after this call.
    pub(crate) fn changes(&self) -> SelectAll<BoxStream<'static, Change>> {
        let streams = self.owners().filter_map(|owner| guarded(|| Ok(owner.provider().changes())).ok());
        select_all(streams.map(|changes| {
            let changes = AssertUnwindSafe(changes).catch_unwind();
            changes
                .filter_map(|change| future::ready(change.inspect_err(|_| tracing::error!(PANICKED)).ok()))
                .boxed()
        }))
    }
}

/// How many of a kind are named that are left out.
const MAX_LOGGED: usize = 20;
const PANICKED: &str = "a provider panicked";

/// Adds what providers have, and logs what can't be: by name the first of it, which may be another server's text.
fn add_all<T>(what: &str, provided: Vec<(Owner<'_>, T)>, mut add: impl FnMut(T) -> anyhow::Result<()>) {
    let mut left_out = 0;
    for (owner, one) in provided {
        let Err(error) = guarded(|| add(one)) else { continue };
        left_out += 1;
        if left_out <= MAX_LOGGED {
            let error: String = format!("{error:#}").chars().take(500).collect();
            owner.log_left_out(what, &error.escape_debug().to_string());
        }
    }
    if left_out > MAX_LOGGED {
        tracing::warn!(count = left_out, "this many {what}s of providers are left out");
    }
}

/// Whose something is that comes and goes.
#[derive(Clone, Copy)]
enum Owner<'a> {
    Provider(&'a dyn Provider),
    Upstream(&'a Upstream),
}

impl<'a> Owner<'a> {
    fn provider(self) -> &'a dyn Provider {
        match self {
            Self::Provider(provider) => provider,
            Self::Upstream(upstream) => upstream,
        }
    }

    /// Logs what could not be added to what is on offer.
    fn log_left_out(self, what: &str, error: &str) {
        match self {
            Self::Provider(_) => tracing::warn!("a provider's {what} is left out: {error}"),
            Self::Upstream(upstream) => {
                let upstream = upstream.report().name;
                tracing::warn!(upstream, "a {what} of the upstream {upstream} is left out: {error}");
            }
        }
    }
}

fn add_provided(tools: &mut ToolCatalog, tool: Arc<dyn DynTool>) -> anyhow::Result<()> {
    check_tool(&tool.spec()?)?;
    Ok(tools.add(tool)?)
}

/// Returns why a provider's tool is left out, whatever else is on offer.
pub(crate) fn fault_of(tool: &dyn DynTool) -> Option<String> {
    guarded(|| Ok(check_tool(&tool.spec()?)?)).err().map(|error| format!("{error:#}"))
}

/// Runs a provider's code: a panic in it is logged, and an error here.
fn guarded<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!(PANICKED);
        anyhow::bail!(PANICKED)
    })
}

/// The adapters behind the domain's ports. Clones share everything.
#[derive(Clone)]
pub struct Ports {
    /// Verifies tokens.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What is on offer.
    pub offer: Offer,
    /// Announces changes to clients that subscribed to them; tools that change something announce it here.
    pub announcer: Announcer,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Bounds how often a principal, and an address, may ask; `None`: the settings do (`[quota]`).
    pub throttle: Option<Arc<dyn Throttle>>,
    /// What was used of the settings' quotas. It outlives a reload.
    pub ledger: Ledger,
    /// What replicas share, if anything; it is for the settings' quotas and for the announcer.
    pub redis: Option<Redis>,
    /// The way to the other replicas, if there is one.
    pub replicas: Option<Arc<dyn Replicas>>,
    /// Keeps decisions.
    pub auditor: Arc<dyn Auditor>,
    /// Records spans; `None`: there are none.
    pub tracer: Option<Arc<dyn Tracer>>,
    /// Exchanges callers' tokens for those of other APIs, where the settings have such. It keeps tokens, and outlives a reload
    /// that changes nothing of it.
    pub exchange: Option<Arc<dyn TokenExchange>>,
    /// The observer, where it counts for the admin listener.
    pub metrics: Option<Metrics>,
    /// The auditor, where it writes events.
    pub audit_log: Option<AuditLog>,
    /// The tracer, where it sends spans.
    pub traces: Option<OtlpTraces>,
}

impl Ports {
    /// Creates the ports, with an announcer of their own. Nothing is observed.
    #[must_use]
    pub fn new(verifier: Arc<dyn TokenVerifier>, clock: Arc<dyn Clock>, offer: Offer) -> Self {
        let ledger = Ledger::new(Arc::clone(&clock));
        Self {
            verifier,
            clock,
            offer,
            announcer: Announcer::default(),
            observer: Arc::new(NoopObserver),
            throttle: None,
            ledger,
            redis: None,
            replicas: None,
            auditor: Arc::new(NoopAuditor),
            tracer: None,
            exchange: None,
            metrics: None,
            audit_log: None,
            traces: None,
        }
    }

    /// Creates the ports that settings ask for, with this verifier, or else that of the tenant's keys.
    ///
    /// # Errors
    /// Outside a tokio runtime, when the file of audit events can't be opened, and without randomness.
    pub fn configured(
        settings: &Settings,
        verifier: Option<Arc<dyn TokenVerifier>>,
        clock: Arc<dyn Clock>,
        offer: Offer,
    ) -> anyhow::Result<Self> {
        Handle::try_current().context("a server needs a tokio runtime")?;
        let metrics =
            settings.admin.bind.map(|_| Metrics::new(env!("CARGO_PKG_VERSION"), COMMIT, clock.now()));
        let observer: Arc<dyn Observer> = match &metrics {
            Some(metrics) => Arc::new(metrics.clone()),
            None => Arc::new(NoopObserver),
        };
        let of_tenant = || Arc::new(self::verifier(settings, Arc::clone(&clock), &observer)) as _;
        let verifier = verifier.unwrap_or_else(of_tenant);
        let audit_log = settings.audit.as_ref().map(|options| AuditLog::start(options, &observer));
        let audit_log = audit_log.transpose().context("audit events can't be written")?;
        let auditor: Arc<dyn Auditor> = match &audit_log {
            Some(log) => Arc::new(log.clone()),
            None => Arc::new(NoopAuditor),
        };
        let traces = settings.traces.as_ref().map(|options| OtlpTraces::start(options, &observer));
        let redis =
            settings.redis.clone().map(|options| Redis::start(options, Arc::clone(&clock))).transpose()?;
        let replicas = redis.clone().map(|redis| Arc::new(redis) as _);
        Ok(Self {
            observer,
            redis,
            replicas,
            exchange: token_exchange(settings, &clock),
            auditor,
            tracer: traces.clone().map(|traces| Arc::new(traces) as Arc<dyn Tracer>),
            metrics,
            audit_log,
            traces,
            ..Self::new(verifier, clock, offer)
        })
    }

    /// Completes once it was tried to reach what replicas share, so that the first requests find it.
    pub async fn tried(&self) {
        if let Some(redis) = &self.redis {
            redis.tried().await;
        }
    }

    /// Creates the ports of production: the tenant's keys and the machine's clock.
    ///
    /// # Errors
    /// As [`Ports::configured`].
    pub fn real(settings: &Settings, offer: Offer) -> anyhow::Result<Self> {
        Self::configured(settings, None, Arc::new(SystemClock::start()), offer)
    }
}

/// Starts the verifier of tokens that are signed with the issuer's keys. Must be called within a tokio runtime.
pub fn verifier(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    observer: &Arc<dyn Observer>,
) -> JwksVerifier<Arc<dyn IdentityProvider>> {
    let provider = Arc::clone(&settings.identity_provider);
    let verifier = JwksVerifier::for_provider(provider, &settings.keys, clock);
    tokio::spawn(report_fetches(verifier.status(), Arc::clone(observer)));
    verifier
}

/// Creates what exchanges callers' tokens, if the settings ask for it.
pub(crate) fn token_exchange(settings: &Settings, clock: &Arc<dyn Clock>) -> Option<Arc<dyn TokenExchange>> {
    let options = settings.downstream.as_ref()?.exchange.clone();
    Some(Arc::new(Auth0TokenExchange::new(options, Arc::clone(clock))))
}

/// Tells the observer of every fetch of keys, for as long as there is a verifier.
async fn report_fetches(mut status: watch::Receiver<Status>, observer: Arc<dyn Observer>) {
    let mut told = Status::default();
    loop {
        let now = status.borrow_and_update().clone();
        for _ in told.succeeded..now.succeeded {
            observer.observe(Event::KeysFetched { succeeded: true });
        }
        for _ in told.failed..now.failed {
            observer.observe(Event::KeysFetched { succeeded: false });
        }
        told = now;
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Returns what this package ships.
#[must_use]
pub fn shipped() -> Offer {
    Offer::of_tools(domain::tools::shipped())
}

/// Creates the server on a listening socket, with TLS if the settings say so.
///
/// # Errors
/// When tools and rules do not fit together, or the certificate can't be used.
pub fn server(listener: impl Into<Listener>, settings: &Settings, ports: Ports) -> anyhow::Result<Server> {
    let listener = listener.into();
    let port = listener.tcp_address().map_or(settings.server.port, |address| address.port());
    let tls = settings.tls.as_ref().map(|files| certificates::first(files, ports.clock.now())).transpose()?;
    let questions = Pool::new(settings.limits.questions, settings.limits.http.shares);
    if let Some(redis) = &ports.redis {
        redis.share(&ports.announcer);
    }
    let mut mcp = McpServer::new(ports.announcer.clone(), Arc::new(questions));
    if let Some(replicas) = &ports.replicas {
        mcp = mcp.with_replicas(replicas);
    }
    let snapshot = snapshot(settings, ports, sealing_keys(settings))?;
    let http = http_settings(settings, port);
    let server = Server::new(listener, &http, settings.limits.http.clone(), Arc::new(mcp), snapshot);
    Ok(match tls {
        Some(identity) => server.with_tls(identity),
        None => server,
    })
}

/// Returns the keys that seal what tools want remembered: the configured ones, or one that this process makes.
#[must_use]
pub fn sealing_keys(settings: &Settings) -> Arc<SealingKeys> {
    Arc::new(SealingKeys::new(&settings.mcp.state_keys.0).unwrap_or_else(SealingKeys::of_this_process))
}

/// Creates the snapshot that requests are answered by.
///
/// # Errors
/// When tools and rules do not fit together, or something on offer can't be shown.
pub fn snapshot(
    settings: &Settings,
    ports: Ports,
    keys: Arc<SealingKeys>,
) -> anyhow::Result<ProtocolSnapshot> {
    let service = Arc::new(service(settings, ports)?);
    ProtocolSnapshot::new(service, settings.protocol(), keys)
        .context("what is on offer can't be shown to clients")
}

/// Creates the service: whose tokens are accepted, and what is on offer to whom.
///
/// # Errors
/// When tools and rules do not fit together.
pub fn service(settings: &Settings, ports: Ports) -> anyhow::Result<Service> {
    let catalog = without_switched_off(settings, ports.offer.catalog()?);
    let scopes = scopes(settings, &catalog)?;
    let rules = settings.rules.access(&settings.identity_provider);
    let tokens = settings.token_policy();
    let throttle = ports.throttle.clone().or_else(|| quotas(settings, &ports));
    let downstream = settings.downstream.as_ref().zip(ports.exchange);
    Ok(Service {
        verifier: ports.verifier,
        providers: ports.offer.into_providers(),
        clock: ports.clock,
        observer: ports.observer,
        throttle,
        auditor: ports.auditor,
        tracer: ports.tracer,
        policy_version: PolicyVersion::of(&tokens, &catalog, &scopes, rules.as_deref()),
        tokens,
        catalog,
        scopes,
        rules,
        tool_deadline: settings.limits.tool_deadline,
        downstream: downstream.map(|(settings, exchange)| Downstream::new(settings.apis.clone(), exchange)),
    })
}

/// Returns the settings' quotas; `None` without any, so that they cost no request anything.
fn quotas(settings: &Settings, ports: &Ports) -> Option<Arc<dyn Throttle>> {
    let rates = &settings.quota.rates;
    if !rates.are_any() {
        return None;
    }
    let here = || Arc::new(Quotas::new(rates.clone(), ports.ledger.clone())) as _;
    let Some(redis) = &ports.redis else { return Some(here()) };
    let when_away = match settings.quota.when_redis_is_away {
        WhenRedisIsAway::CountHere => WhenAway::Count(here()),
        WhenRedisIsAway::Allow => WhenAway::Allow,
        WhenRedisIsAway::Refuse => WhenAway::Refuse,
    };
    // The oldest: while a new one is put in front, replicas agree on it.
    let secret = settings.mcp.state_keys.0.last().map_or(&[][..], Vec::as_slice);
    let observer = Arc::clone(&ports.observer);
    Some(Arc::new(SharedQuotas::new(rates.clone(), redis.clone(), secret, when_away, observer)))
}

/// Returns a catalog without the tools that the settings switch off.
#[must_use]
pub fn without_switched_off(settings: &Settings, catalog: Catalog) -> Catalog {
    let tools = catalog.tools.retain(|name| settings.tools.get(name).is_none_or(|rule| rule.enabled));
    Catalog { tools, ..catalog }
}

/// Returns every scope that something on offer asks for, or that exempts from a rule.
#[must_use]
pub fn asked_scopes(settings: &Settings, catalog: &Catalog) -> ScopeSet {
    let asked = catalog.asked_scopes(|spec| {
        let configured = settings.tools.get(&spec.name).and_then(|rule| rule.scopes.as_ref());
        configured.unwrap_or(&spec.scopes)
    });
    asked.union(&settings.rules.exempting_scopes())
}

/// Creates the policy of scopes: which each operation needs, and which challenges and metadata name.
///
/// # Errors
/// When tools and rules do not fit together.
pub fn scopes(settings: &Settings, catalog: &Catalog) -> anyhow::Result<ScopePolicy> {
    let rules = rules(settings, &catalog.tools);
    let policy = ScopePolicy::new(rules, catalog, &settings.scopes.hierarchy, settings.scopes.login.clone());
    let policy = policy.context("the tools' rules do not fit")?;
    Ok(policy.knowing(&settings.rules.exempting_scopes()))
}

/// Returns the scopes that each tool needs: the configured ones, or else its own. The rules of tools that are switched off do
/// not count.
#[must_use]
pub fn rules(settings: &Settings, catalog: &ToolCatalog) -> Vec<(ToolName, ScopeSet)> {
    let mut rules = ScopePolicy::as_specified(catalog);
    for (name, scopes) in &mut rules {
        if let Some(configured) =
            settings.tools.get(name).filter(|rule| rule.enabled).and_then(|rule| rule.scopes.as_ref())
        {
            scopes.clone_from(configured);
        }
    }
    rules.into_iter().collect()
}

/// Returns the transport's part of the settings, once the port is known.
#[must_use]
pub fn http_settings(settings: &Settings, port: u16) -> HttpSettings {
    let public = |base: Url, audience: Option<&Arc<str>>| PublicEndpoint {
        base,
        path: settings.server.path.clone(),
        resource: Arc::clone(audience.unwrap_or(&settings.auth0.audience)),
    };
    let others =
        settings.endpoints.iter().map(|endpoint| public(endpoint.url.clone(), endpoint.audience.as_ref()));
    HttpSettings {
        main: public(settings.base_url(port), None),
        others: others.collect(),
        resource_name: settings.mcp.identity.title.clone(),
        issuer: settings.auth0.issuer.clone(),
        authorization_server: settings.identity_provider.metadata(&settings.auth0.issuer),
        allowed_origins: settings.http.allowed_origins.clone(),
        allowed_hosts: settings.http.allowed_hosts.clone(),
        trusted_proxies: settings.quota.trusted_proxies.clone(),
    }
}

/// Returns warnings of endpoints whose resource identifier clients may refuse (RFC 9728 section 3.3 and RFC 8707).
pub fn audience_warnings(settings: &Settings, http: &HttpSettings) -> impl Iterator<Item = String> {
    let name = settings.identity_provider.hints().audience;
    http.endpoints().filter_map(move |endpoint| audience_warning(endpoint, name))
}

/// `name` is what the audience is called at the identity provider.
fn audience_warning(endpoint: &PublicEndpoint, name: &str) -> Option<String> {
    let (audience, endpoint) = (&endpoint.resource, endpoint.url());
    if covers(audience, &endpoint) {
        return None;
    }
    Some(format!(
        "the audience {audience:?} is neither the endpoint {endpoint} nor a prefix of it: clients that compare the two \
         (those on the official TypeScript, Python and Rust SDKs, MCP Inspector among them) will not log in; \
         make {endpoint} the {name}"
    ))
}

/// Whether `audience` is the endpoint or one of its path prefixes, as clients compare them: by whole segments, and a
/// slash more than the endpoint has is too much.
pub(crate) fn covers(audience: &str, endpoint: &str) -> bool {
    let (Ok(audience), Ok(endpoint)) = (url::Url::parse(audience), url::Url::parse(endpoint)) else {
        return false;
    };
    let prefix = format!("{}/", audience.path().trim_end_matches('/'));
    let same_path = audience.path() == endpoint.path();
    audience.origin() == endpoint.origin() && (same_path || endpoint.path().starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn an_audience_covers_the_endpoint_by_whole_path_segments_of_one_origin() {
        let endpoint = "https://mcp.example.com/mcp";
        for good in ["https://mcp.example.com/mcp", "https://mcp.example.com/", "https://mcp.example.com"] {
            assert!(covers(good, endpoint), "{good}");
        }
        for bad in [
            "urn:api",
            "https://mcp.example.com/mcp/",
            "https://mcp.example.com/mc",
            "http://mcp.example.com/mcp",
            "https://mcp.example.com:8443/",
            "",
        ] {
            assert!(!covers(bad, endpoint), "{bad}");
        }
    }
}
