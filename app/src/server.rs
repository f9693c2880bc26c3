//! [`Server`]: an MCP server of its builder's tools, with everything that the binary has around it.

use std::any::type_name;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use domain::{
    Announcer, Catalog, Clock, DynTool, Method, Prompt, Provider, Resource, TokenVerifier, ToolSpec,
};
use futures_util::future::join_all;
use hyper_transport::Drained;
use jwks_verifier::IdentityProvider;
use serde::de::DeserializeOwned;
use system_clock::SystemClock;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use upstream_mcp::{StartError, Upstream};

use crate::admin::{self, Admin};
use crate::config::{OwnSections, Section, Settings, Sources, merged_defaults};
use crate::live::{Changes, Live};
use crate::specified_tool::SpecifiedTool;
use crate::upstream_rules::RuleWarnings;
use crate::wiring::{self, Offer, Ports};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type SetupFn = Box<dyn FnOnce(Setup) -> BoxFuture<anyhow::Result<Setup>> + Send>;
type ShutdownFn = Box<dyn FnOnce() -> BoxFuture<()> + Send>;

/// A server that was built: it has its settings and everything on offer, and serves a socket.
pub struct Server {
    pub(crate) settings: Settings,
    pub(crate) ports: Ports,
    pub(crate) shutdown: Shutdown,
    /// Whether the builder set the verifier.
    pub(crate) has_own_verifier: bool,
    /// What is said of upstreams' rules.
    pub(crate) rule_warnings: RuleWarnings,
}

/// Says what a server is called, what it has on offer, and how it is set up.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use fastmcp_auth0::{Json, Principal, Server, tool_fn};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Input {
///     /// The text to count.
///     text: String,
/// }
///
/// #[derive(serde::Serialize, schemars::JsonSchema)]
/// struct Output {
///     /// The number of words.
///     words: usize,
/// }
///
/// fn main() -> ExitCode {
///     let count = tool_fn("count_words", "Counts the words of a text.", |input: Input, _: Principal| async move {
///         Ok(Json(Output { words: input.text.split_whitespace().count() }))
///     });
///     Server::builder()
///         .identity(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
///         .tool(count.scopes(&["text:count"]))
///         .run()
/// }
/// ```
pub struct ServerBuilder {
    pub(crate) profile: Profile,
    pub(crate) offer: Offer,
    samples: Vec<Arc<dyn DynTool>>,
    setups: Vec<SetupFn>,
    verifier: Option<Arc<dyn TokenVerifier>>,
    clock: Option<Arc<dyn Clock>>,
    pub(crate) shutdown: Shutdown,
}

/// What a server is called, and what its configuration has beside ours.
#[derive(Clone)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// TOML texts, in order; a later one wins.
    defaults: Vec<&'static str>,
    sections: Vec<Section>,
    secrets: Vec<&'static str>,
    provider: Option<Arc<dyn IdentityProvider>>,
    /// Descriptions of scopes, for whoever consents.
    pub(crate) scope_descriptions: Vec<(&'static str, &'static str)>,
    /// Permissions of the local tenant's roles, beside those that local.toml gives.
    pub(crate) local_permissions: Vec<(&'static str, &'static str)>,
}

/// What a set-up works with: the configuration, and the offer that it adds to.
pub struct Setup {
    sections: OwnSections,
    clock: Arc<dyn Clock>,
    announcer: Announcer,
    offer: Offer,
    shutdown: Shutdown,
}

/// What is to be done once the last request has been answered, the last registered first.
#[derive(Clone, Default)]
pub(crate) struct Shutdown(Arc<Mutex<Vec<ShutdownFn>>>);

/// The methods that add to `self.offer`, of the builder and of the set-up.
macro_rules! adds_to_offer {
    () => {
        /// Adds a tool: a [`Tool`](domain::Tool), one made by [`tool_fn`](domain::tool_fn), or a [`DynTool`].
        #[must_use]
        pub fn tool(mut self, tool: impl DynTool + 'static) -> Self {
            self.offer.tools.push(Arc::new(SpecifiedTool::new(tool)));
            self
        }

        /// Adds a source of tools that come and go.
        #[must_use]
        pub fn provider(mut self, provider: impl Provider + 'static) -> Self {
            self.offer.providers.push(Arc::new(provider));
            self
        }

        /// Adds a resource.
        #[must_use]
        pub fn resource(mut self, resource: impl Resource + 'static) -> Self {
            self.offer.resources.push(Arc::new(resource));
            self
        }

        /// Adds a prompt.
        #[must_use]
        pub fn prompt(mut self, prompt: impl Prompt + 'static) -> Self {
            self.offer.prompts.push(Arc::new(prompt));
            self
        }

        /// Adds a method of the protocol, beside MCP's own.
        #[must_use]
        pub fn method(mut self, method: impl Method + 'static) -> Self {
            self.offer.methods.push(Arc::new(method));
            self
        }
    };
}

impl Server {
    /// Creates a builder.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        let profile = Profile {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            defaults: Vec::new(),
            sections: Vec::new(),
            secrets: Vec::new(),
            provider: None,
            scope_descriptions: Vec::new(),
            local_permissions: Vec::new(),
        };
        ServerBuilder {
            profile,
            offer: Offer::default(),
            samples: Vec::new(),
            setups: Vec::new(),
            verifier: None,
            clock: None,
            shutdown: Shutdown::default(),
        }
    }

    /// Returns its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Serves a socket until `stop` completes, finishes what is under way, and then shuts down what the set-up registered.
    ///
    /// # Errors
    /// When tools and rules do not fit together, the socket is gone, or that of `admin.bind` is not to be had.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Drained> {
        let Self { settings, ports, shutdown, mut rule_warnings, .. } = self;
        rule_warnings.log(&settings);
        let drained = serve(settings, ports, rule_warnings, listener, stop).await;
        shutdown.run().await;
        drained
    }
}

async fn serve(
    settings: Settings,
    ports: Ports,
    rule_warnings: RuleWarnings,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Drained> {
    let port = listener.local_addr().context("the listening socket is gone")?.port();
    let admin = admin::listen(&settings).await?;
    ports.tried().await;
    let changes = Changes::of(&ports);
    let server = wiring::server(listener, &settings, ports.clone())?;
    let admin = Admin::start(admin, server.status(), &ports)?;
    let live = Live::new(server.reload_handle(), port, settings, ports, changes, rule_warnings);
    // Dropped with this future, it ends.
    let mut following = JoinSet::new();
    following.spawn(live.follow_providers());
    let drained = server.run(stop).await;
    admin.stop().await;
    Ok(drained)
}

impl ServerBuilder {
    /// Sets the name and the version: of the program, of its configuration's defaults (`mcp.name`, `mcp.title`), and of what
    /// clients are told. `env!("CARGO_PKG_NAME")` and `env!("CARGO_PKG_VERSION")` are yours.
    #[must_use]
    pub fn identity(mut self, name: &'static str, version: &'static str) -> Self {
        (self.profile.name, self.profile.version) = (name, version);
        self
    }

    /// Adds defaults of the configuration, as TOML: for sections of your own, and other defaults for ours. Files and the
    /// environment win over them.
    #[must_use]
    pub fn defaults(mut self, toml: &'static str) -> Self {
        self.profile.defaults.push(toml);
        self
    }

    /// Declares a section of the configuration, read into `T` by the time of the set-up: a key that `T` does not have, or
    /// misses, stops the start with the key's name and source, and so does a section by the name of one of our own. Its
    /// variables begin with `FASTMCP__` and the section's name.
    #[must_use]
    pub fn section<T: DeserializeOwned + Send + Sync + 'static>(mut self, name: &'static str) -> Self {
        self.profile.sections.push(Section::of::<T>(name));
        self
    }

    /// Declares a key of such a section, as `section.key`, whose value is never shown. `section.list.key` is a key of each table
    /// of a list, and `section.*.key` one of each table, whatever its name.
    #[must_use]
    pub fn secret(mut self, key: &'static str) -> Self {
        self.profile.secrets.push(key);
        self
    }

    /// Sets the identity provider whose issuers are configured, instead of Auth0.
    #[must_use]
    pub fn identity_provider(mut self, provider: impl IdentityProvider + 'static) -> Self {
        self.profile.provider = Some(Arc::new(provider));
        self
    }

    /// Sets the verifier of tokens, instead of the tenant's. It stays whatever a reload says of the issuer.
    #[must_use]
    pub fn verifier(mut self, verifier: Arc<dyn TokenVerifier>) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Sets the clock, instead of the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    adds_to_offer!();

    /// Adds a tool that shows what tools are: it is on offer as long as no upstream is configured.
    #[must_use]
    pub fn sample(mut self, tool: impl DynTool + 'static) -> Self {
        self.samples.push(Arc::new(SpecifiedTool::new(tool)));
        self
    }

    /// Describes a scope for whoever is asked to consent.
    #[must_use]
    pub fn describe_scope(mut self, scope: &'static str, description: &'static str) -> Self {
        self.profile.scope_descriptions.push((scope, description));
        self
    }

    /// Gives a role of the local tenant a scope. Its administrator has every scope that something on offer asks for.
    #[must_use]
    pub fn local_permission(mut self, role: &'static str, scope: &'static str) -> Self {
        self.profile.local_permissions.push((role, scope));
        self
    }

    /// Adds a step of the set-up: it runs once the configuration is read and before the server is ready, and adds to the offer
    /// what needs a connection, a pool, or whatever else takes time. An error stops the start.
    #[must_use]
    pub fn setup<F, R>(mut self, setup: F) -> Self
    where
        F: FnOnce(Setup) -> R + Send + 'static,
        R: Future<Output = anyhow::Result<Setup>> + Send + 'static,
    {
        self.setups.push(Box::new(|cx| Box::pin(setup(cx))));
        self
    }

    /// Reads the configuration, runs the set-up and builds the server, for a program that has its own command line and
    /// runtime. [`ServerBuilder::sources`] begins the sources. An upstream that can't be reached is an error in the log.
    ///
    /// # Errors
    /// When the configuration or the set-up is at fault.
    pub async fn build(self, sources: Sources) -> anyhow::Result<Server> {
        let shutdown = self.shutdown.clone();
        let built = match self.set_up(sources.clone()).await {
            Ok(set_up) => {
                for problem in set_up.unreached() {
                    tracing::error!(
                        "{problem}; it is tried again, and what it has is offered once it is there"
                    );
                }
                set_up.build(sources)
            }
            Err(error) => Err(error),
        };
        if built.is_err() {
            shutdown.run().await;
        }
        built
    }

    /// Returns the sources that come with the program: the defaults, ours and yours.
    #[must_use]
    pub fn sources(&self) -> Sources {
        self.profile.sources()
    }

    /// Reads the configuration as far as that is possible before the set-up.
    pub(crate) fn first_settings(&self, sources: Sources) -> anyhow::Result<Settings> {
        let has_upstreams = sources.has_any_of("upstreams");
        let offer = self.first_offer(has_upstreams);
        if self.setups.is_empty() && !has_upstreams {
            return self.profile.named(offer.settings(sources)?);
        }
        self.profile.named(Settings::load_partial(sources, &offer.catalog()?)?)
    }

    /// Returns what is on offer before the set-up.
    fn first_offer(&self, has_upstreams: bool) -> Offer {
        let mut offer = self.offer.clone();
        if !has_upstreams {
            offer.tools.extend_from_slice(&self.samples);
        }
        offer
    }

    /// Runs the set-up, while upstreams are reached. Whatever comes of it, the builder's [`Shutdown`] has what was registered.
    pub(crate) async fn set_up(self, sources: Sources) -> anyhow::Result<SetUp> {
        let Settings { own: sections, upstreams, .. } = self.first_settings(sources)?;
        let mut offer = self.first_offer(!upstreams.is_empty());
        let Self { profile, setups, verifier, clock, shutdown, .. } = self;
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::start()));
        let upstreams: Vec<Upstream> =
            upstreams.into_iter().map(|options| Upstream::start(options, Arc::clone(&clock))).collect();
        shutdown.stops(&upstreams);
        offer.upstreams.clone_from(&upstreams);
        let mut setup =
            Setup { sections, clock, announcer: Announcer::default(), offer, shutdown: shutdown.clone() };
        for step in setups {
            setup = step(setup).await.context("the set-up failed")?;
        }
        let Setup { clock, announcer, offer, .. } = setup;
        let upstreams = join_all(upstreams.into_iter().map(started)).await;
        Ok(SetUp { profile, clock, announcer, offer, shutdown, verifier, upstreams })
    }
}

/// Waits until an upstream is there, or its time to start is up.
async fn started(upstream: Upstream) -> StartedUpstream {
    let problem = upstream.first_lists().await.err();
    StartedUpstream { upstream, problem }
}

/// A server whose set-up has run, and whose settings are yet to be read as a whole.
pub(crate) struct SetUp {
    pub(crate) profile: Profile,
    pub(crate) clock: Arc<dyn Clock>,
    announcer: Announcer,
    pub(crate) offer: Offer,
    shutdown: Shutdown,
    pub(crate) verifier: Option<Arc<dyn TokenVerifier>>,
    pub(crate) upstreams: Vec<StartedUpstream>,
}

/// An upstream, and why it is not there yet.
pub(crate) struct StartedUpstream {
    pub(crate) upstream: Upstream,
    pub(crate) problem: Option<StartError>,
}

impl SetUp {
    /// Returns what is wrong with each upstream that could not be reached.
    pub(crate) fn unreached(&self) -> impl Iterator<Item = String> {
        self.upstreams.iter().filter_map(|started| Some(started.problem.as_ref()?.to_string()))
    }

    pub(crate) fn settings(&self, sources: Sources) -> anyhow::Result<Settings> {
        self.profile.settings(&self.offer, sources)
    }

    /// Must be called within a tokio runtime.
    pub(crate) fn build(self, sources: Sources) -> anyhow::Result<Server> {
        let settings = self.settings(sources)?;
        let Self { clock, announcer, offer, shutdown, verifier, upstreams, .. } = self;
        let upstreams = upstreams.into_iter().map(|started| started.upstream);
        let rule_warnings = RuleWarnings::new(upstreams.collect());
        let has_own_verifier = verifier.is_some();
        let ports = Ports { announcer, ..Ports::configured(&settings, verifier, clock, offer)? };
        if let Some(log) = ports.audit_log.clone() {
            shutdown.flushes(move || log.flush());
        }
        if let Some(traces) = ports.traces.clone() {
            shutdown.flushes(move || traces.flush());
        }
        Ok(Server { settings, ports, shutdown, has_own_verifier, rule_warnings })
    }
}

impl Profile {
    fn is_named(&self) -> bool {
        self.name != env!("CARGO_PKG_NAME")
    }

    pub(crate) fn sources(&self) -> Sources {
        let mut sources = Sources::defaults();
        if self.is_named() {
            let place = format!("{}, built in", self.name);
            sources = sources.set(&place, "mcp.name", self.name).set(&place, "mcp.title", self.name);
        }
        for toml in &self.defaults {
            sources = sources.text(&format!("{}'s defaults, built in", self.name), toml);
        }
        self.declared(sources)
    }

    /// Returns sources with what is declared of the configuration, but no value.
    pub(crate) fn declared(&self, mut sources: Sources) -> Sources {
        if let Some(provider) = &self.provider {
            sources = sources.identity_provider(Arc::clone(provider));
        }
        let sources = self.sections.iter().fold(sources, |sources, section| sources.section(*section));
        self.secrets.iter().fold(sources, |sources, key| sources.secret(key))
    }

    /// Reads settings for an offer.
    pub(crate) fn settings(&self, offer: &Offer, sources: Sources) -> anyhow::Result<Settings> {
        self.named(offer.settings(sources)?)
    }

    #[expect(clippy::unnecessary_wraps, reason = "the last step of what can fail")]
    fn named(&self, mut settings: Settings) -> anyhow::Result<Settings> {
        self.version.clone_into(&mut settings.mcp.identity.version);
        Ok(settings)
    }

    /// Returns what a scope permits, in the words of the builder.
    pub(crate) fn written_description(&self, scope: &str) -> Option<String> {
        let described = self.scope_descriptions.iter().find(|(described, _)| *described == scope);
        described.map(|(_, description)| (*description).to_owned())
    }

    /// Returns what a scope permits, for whoever consents: in the words of the builder, or else by the tools that ask for it.
    pub(crate) fn scope_description(&self, scope: &str, catalog: &Catalog) -> String {
        if let Some(description) = self.written_description(scope) {
            return description;
        }
        let asks = |spec: &&ToolSpec| spec.scopes.iter().any(|asked| asked.as_str() == scope);
        let titles: Vec<&str> = catalog.tools.specs().filter(asks).map(|spec| &*spec.title).collect();
        if titles.is_empty() { scope.to_owned() } else { format!("Use {}", titles.join(", ")) }
    }

    /// Returns every default, as `config default` prints it.
    pub(crate) fn default_toml(&self) -> String {
        let name = toml::Value::from(self.name);
        let identity = self.is_named().then(|| format!("[mcp]\nname = {name}\ntitle = {name}\n"));
        let own = self.defaults.iter().map(|toml| (*toml).to_owned());
        merged_defaults(&identity.into_iter().chain(own).collect::<Vec<_>>())
    }
}

impl Setup {
    /// Returns a section of the configuration that the builder declares.
    ///
    /// # Errors
    /// When it is not declared, or with another type than `T`.
    pub fn section<T: Clone + 'static>(&self, name: &str) -> anyhow::Result<T> {
        self.sections.get(name).with_context(|| format!("can't read {} from [{name}]", type_name::<T>()))
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Returns the announcer, by which tools tell clients that listen of changes.
    #[must_use]
    pub fn announcer(&self) -> Announcer {
        self.announcer.clone()
    }

    adds_to_offer!();

    /// Registers what is to be done once the last request has been answered; what was registered last is done first.
    #[must_use]
    pub fn on_shutdown<F, R>(self, hook: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.shutdown.hooks().push(Box::new(|| Box::pin(hook())));
        self
    }
}

impl Shutdown {
    fn hooks(&self) -> MutexGuard<'_, Vec<ShutdownFn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers that upstreams are stopped, all at a time.
    fn stops(&self, upstreams: &[Upstream]) {
        if !upstreams.is_empty() {
            let upstreams = upstreams.to_vec();
            let stop = || async move { drop(join_all(upstreams.iter().map(Upstream::stop)).await) };
            self.hooks().push(Box::new(|| Box::pin(stop())));
        }
    }

    /// Registers that what is left of audit events or spans is brought out, after everything else.
    fn flushes(&self, flush: impl FnOnce() + Send + 'static) {
        self.hooks().insert(0, Box::new(|| Box::pin(async move { flush() })));
    }

    /// Runs what was registered, once, the last first.
    pub(crate) async fn run(&self) {
        let hooks = std::mem::take(&mut *self.hooks());
        for hook in hooks.into_iter().rev() {
            hook().await;
        }
    }
}
