//! Settings and ports become a server: the same way in the binary and in tests.

use std::sync::Arc;

use anyhow::Context;
use auth0_verifier::Auth0Verifier;
use domain::{
    Announcer, Catalog, Clock, Method, MethodCatalog, Pool, Prompt, PromptCatalog, Resource, ResourceCatalog,
    ScopePolicy, ScopeSet, Service, TokenVerifier, Tool, ToolCatalog, ToolName,
};
use hyper_transport::{HttpSettings, PublicEndpoint, Server};
use mcp_protocol::{McpServer, ProtocolSnapshot, SealingKeys};
use system_clock::SystemClock;
use tokio::net::TcpListener;
use url::Url;

use crate::config::Settings;

/// What the hexagon is plugged into. Clones share everything.
#[derive(Clone)]
pub struct Ports {
    /// Proves tokens.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Can be called.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Can be read.
    pub resources: Vec<Arc<dyn Resource>>,
    /// Conversations can start from them.
    pub prompts: Vec<Arc<dyn Prompt>>,
    /// Methods of the server's own, beside MCP's.
    pub methods: Vec<Arc<dyn Method>>,
    /// Tells clients that listen of changes; tools that change something announce it here.
    pub announcer: Announcer,
}

impl Ports {
    /// Tools, and nothing to read or to start from.
    #[must_use]
    pub fn new(verifier: Arc<dyn TokenVerifier>, clock: Arc<dyn Clock>, tools: Vec<Arc<dyn Tool>>) -> Self {
        let announcer = Announcer::default();
        Self {
            verifier,
            clock,
            tools,
            resources: Vec::new(),
            prompts: Vec::new(),
            methods: Vec::new(),
            announcer,
        }
    }

    /// The real ones: the tenant's keys, the machine's clock, the shipped tools. Must be called within a tokio runtime.
    #[must_use]
    pub fn real(settings: &Settings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let verifier = Auth0Verifier::start(&settings.keys, Arc::clone(&clock));
        let ports = Self::new(Arc::new(verifier), clock, domain::tools::shipped());
        Self { resources: shipped_resources(), prompts: shipped_prompts(), ..ports }
    }

    /// What is on offer says of itself.
    ///
    /// # Errors
    /// When a description is at fault.
    pub fn catalog(&self) -> anyhow::Result<Catalog> {
        catalog(self.tools.clone(), self.resources.clone(), self.prompts.clone(), self.methods.clone())
    }
}

/// The resources on offer, beside the tools: none until you name yours here.
fn shipped_resources() -> Vec<Arc<dyn Resource>> {
    Vec::new()
}

/// The prompts on offer, beside the tools: none until you name yours here.
fn shipped_prompts() -> Vec<Arc<dyn Prompt>> {
    Vec::new()
}

/// What is shipped, for settings to name.
///
/// # Errors
/// When a description is at fault.
pub fn shipped_catalog() -> anyhow::Result<Catalog> {
    catalog(domain::tools::shipped(), shipped_resources(), shipped_prompts(), Vec::new())
}

fn catalog(
    tools: Vec<Arc<dyn Tool>>,
    resources: Vec<Arc<dyn Resource>>,
    prompts: Vec<Arc<dyn Prompt>>,
    methods: Vec<Arc<dyn Method>>,
) -> anyhow::Result<Catalog> {
    Ok(Catalog {
        tools: ToolCatalog::new(tools).context("the tools can't be offered")?,
        resources: ResourceCatalog::new(resources).context("the resources can't be offered")?,
        prompts: PromptCatalog::new(prompts).context("the prompts can't be offered")?,
        methods: MethodCatalog::new(methods).context("the methods can't be served")?,
    })
}

/// Plugs everything together on a listening socket.
///
/// # Errors
/// When tools and rules do not fit together, or the socket is gone.
pub fn server(listener: TcpListener, settings: &Settings, ports: Ports) -> anyhow::Result<Server> {
    let port = listener.local_addr().context("the listening socket is gone")?.port();
    let questions = Pool::new(settings.questions, settings.limits.shares);
    let mcp = McpServer::new(ports.announcer.clone(), Arc::new(questions));
    let snapshot = snapshot(settings, ports, sealing_keys(settings))?;
    let http = http_settings(settings, port);
    Ok(Server::new(listener, &http, settings.limits.clone(), Arc::new(mcp), snapshot))
}

/// The keys that seal what tools want remembered: the configured ones, or one that this process makes.
#[must_use]
pub fn sealing_keys(settings: &Settings) -> Arc<SealingKeys> {
    Arc::new(SealingKeys::new(&settings.state_keys.0).unwrap_or_else(SealingKeys::of_this_process))
}

/// Everything that a request is judged by, as one.
///
/// # Errors
/// When tools and rules do not fit together, or something on offer can't be shown.
pub fn snapshot(
    settings: &Settings,
    ports: Ports,
    keys: Arc<SealingKeys>,
) -> anyhow::Result<ProtocolSnapshot> {
    let service = Arc::new(service(settings, ports)?);
    ProtocolSnapshot::new(service, settings.mcp.clone(), keys)
        .context("what is on offer can't be shown to clients")
}

/// What the settings make of the ports: whom to believe, and what is on offer to whom.
///
/// # Errors
/// When tools and rules do not fit together.
pub fn service(settings: &Settings, ports: Ports) -> anyhow::Result<Service> {
    let catalog =
        without_switched_off(settings, catalog(ports.tools, ports.resources, ports.prompts, ports.methods)?);
    let scopes = scopes(settings, &catalog)?;
    Ok(Service {
        verifier: ports.verifier,
        clock: ports.clock,
        tokens: settings.tokens.clone(),
        catalog,
        scopes,
        tool_deadline: settings.tool_deadline,
    })
}

/// What is left of a catalog when the settings have switched tools off.
#[must_use]
pub fn without_switched_off(settings: &Settings, catalog: Catalog) -> Catalog {
    let tools = catalog.tools.retain(|name| settings.tools.get(name).is_none_or(|rule| rule.enabled));
    Catalog { tools, ..catalog }
}

/// Who may do what, and which scopes clients are told of.
///
/// # Errors
/// When tools and rules do not fit together.
pub fn scopes(settings: &Settings, catalog: &Catalog) -> anyhow::Result<ScopePolicy> {
    let rules = rules(settings, &catalog.tools);
    let policy = ScopePolicy::new(rules, catalog, &settings.tokens.hierarchy, settings.login.clone());
    policy.context("the tools' rules do not fit")
}

/// What the tools ask for, or the configuration instead. Rules of tools that are switched off go with them.
#[must_use]
pub fn rules(settings: &Settings, catalog: &ToolCatalog) -> Vec<(ToolName, ScopeSet)> {
    let mut rules = ScopePolicy::as_specified(catalog);
    for (name, rule) in settings.tools.iter().filter(|(_, rule)| rule.enabled) {
        if let Some(scopes) = &rule.scopes {
            rules.insert(name.clone(), scopes.clone());
        }
    }
    rules.into_iter().collect()
}

/// The transport's part of the settings, once the port is known.
#[must_use]
pub fn http_settings(settings: &Settings, port: u16) -> HttpSettings {
    let public = |base: Url, audience: Option<&Arc<str>>| PublicEndpoint {
        base,
        path: settings.path.clone(),
        resource: Arc::clone(audience.unwrap_or(&settings.audience)),
    };
    let others =
        settings.endpoints.iter().map(|endpoint| public(endpoint.url.clone(), endpoint.audience.as_ref()));
    HttpSettings {
        main: public(settings.base_url(port), None),
        others: others.collect(),
        resource_name: settings.mcp.identity.title.clone(),
        issuer: settings.issuer.to_string(),
        allowed_origins: settings.allowed_origins.clone(),
        allowed_hosts: settings.allowed_hosts.clone(),
    }
}

/// What to say of the endpoints whose resource's identifier clients may refuse (RFC 9728 section 3.3 and RFC 8707).
pub fn audience_warnings(http: &HttpSettings) -> impl Iterator<Item = String> {
    http.endpoints().filter_map(audience_warning)
}

fn audience_warning(endpoint: &PublicEndpoint) -> Option<String> {
    let (audience, endpoint) = (&endpoint.resource, endpoint.url());
    if covers(audience, &endpoint) {
        return None;
    }
    Some(format!(
        "the audience {audience:?} is neither the endpoint {endpoint} nor a prefix of it: clients that compare the two \
         (those on the official TypeScript, Python and Rust SDKs, MCP Inspector among them) will not log in; \
         make {endpoint} the API's identifier in Auth0"
    ))
}

/// Whether `audience` is the endpoint or one of its path prefixes, as clients compare them: by whole segments, and a
/// slash more than the endpoint has is too much.
fn covers(audience: &str, endpoint: &str) -> bool {
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
