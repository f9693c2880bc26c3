//! `dev`: the server and a local tenant in one process, on loopback, ready to be tried.

mod fresh;
mod upstream;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use config::Value;
use domain::{Catalog, Scope, ScopeSet, ToolName, ToolSpec};
use local_tenant::{LocalTenant, Options, StartError};
use serde_json::json;
use tokio::net::TcpListener;

use super::running_dev::{self, RunningDev};
use super::{early_warnings, environment, listen, print, run_until_stopped, runtime, upstreams};
use crate::admin::{self, Admin};
use crate::config::{LOCAL, Problem, Problems, Settings, Sources};
use crate::live::{Changes, Live};
use crate::logging;
use crate::server::{Profile, Server, ServerBuilder, SetUp};
use crate::signals::StopSignals;
use crate::wiring::{self, rules, without_switched_off};

/// Where the server listens unless told otherwise.
const PORT: u16 = 3001;
/// Where the local tenant listens unless told otherwise.
pub(super) const TENANT_PORT: u16 = 3002;
/// The version of MCP Inspector that this server is tested with.
const INSPECTOR: &str = "@modelcontextprotocol/inspector@2.12.0";
const PORT_HINT: &str = "is another `dev` running? `--port 0 --tenant-port 0` takes free ports";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The names in `[endpoints]` of the addresses that `localhost` may mean.
const IPV4: &str = "ipv4";
const IPV6: &str = "ipv6";
/// What this command sets by itself, in messages about it.
const DEV: &str = "set by dev";
/// The client that exchanges callers' tokens at the local tenant. Its secret is none: whoever reaches the tenant gets any token.
const EXCHANGE_CLIENT: &str = "local-exchange";
const EXCHANGE_SECRET: &str = "not-a-secret";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The MCP server's port on loopback, both IPv4 and IPv6; 0 takes a free one
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// The local tenant's port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = TENANT_PORT)]
    tenant_port: u16,
    /// A user of the local tenant who logs in and consents at once, for clients without a browser
    #[arg(long, value_name = "USER")]
    auto_consent: Option<String>,
    /// A TOML file with other users, roles or limits than config/local.toml has
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Begin with a tenant as a new one of Auth0's is, where no client can log in yet; `tenant apply` sets it up
    #[cfg_attr(feature = "tenant", arg(long, conflicts_with_all = ["upstream_url", "command"]))]
    #[cfg_attr(not(feature = "tenant"), arg(skip))]
    fresh_tenant: bool,
    #[command(flatten)]
    upstream: upstream::UpstreamArguments,
}

pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(dev(builder, arguments))
}

async fn dev(mut builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::catch()?;
    let (listener, ipv6) = listen_on_loopback(arguments.port).await.context(PORT_HINT)?;

    let sources = sources(&builder.profile, arguments.config.as_deref());
    // In a new tenant there is no such client.
    let sources = if arguments.fresh_tenant { sources } else { with_exchange_client(sources) };
    let sources = arguments.upstream.set_in(sources, &environment());
    if arguments.upstream.is_given() {
        upstream::grant(&mut builder.profile);
    }
    let settings = builder.first_settings(stand_in(&sources))?;
    refuse(&settings)?;
    logging::start(settings.log)?;
    let said = early_warnings(&settings);
    upstream::announce(&settings.upstreams);
    let shutdown = builder.shutdown.clone();
    let outcome = match signals.unless_stopped(builder.set_up(stand_in(&sources))).await {
        Some(Ok(set_up)) => {
            serve_beside_tenant(set_up, sources, &said, (listener, ipv6), signals, arguments).await
        }
        Some(Err(error)) => Err(error),
        None => Ok(ExitCode::SUCCESS),
    };
    shutdown.run().await;
    outcome
}

async fn serve_beside_tenant(
    set_up: SetUp,
    sources: Sources,
    said: &[String],
    (listener, ipv6): (TcpListener, Option<TcpListener>),
    signals: StopSignals,
    arguments: &Arguments,
) -> anyhow::Result<ExitCode> {
    let unreached: Vec<String> = set_up.unreached().collect();
    anyhow::ensure!(unreached.is_empty(), "{}", unreached.join("; "));
    let port = listener.local_addr()?.port();
    let settings = set_up.settings(stand_in(&sources))?;
    let endpoints = Endpoints::new(&settings, port, ipv6.is_some());
    let options = tenant_options(&set_up, settings, arguments)?;
    let options =
        if arguments.fresh_tenant { options.with_fresh_state() } else { endpoints.known_to(options) };
    let options = options.with_port(arguments.tenant_port);
    let tenant = LocalTenant::start(options).await.map_err(|error| match error {
        StartError::Listen { .. } => anyhow::Error::new(error).context(PORT_HINT),
        error => error.into(),
    })?;
    let sources = endpoints.set_in(sources, tenant.issuer(), port);
    let upstreams = upstreams_banner(&set_up, &sources, arguments, &tenant)?;
    let Server { settings, ports, mut rule_warnings, .. } = set_up.build(sources)?;
    // The banner says it.
    drop(rule_warnings.news(&settings));
    for warning in settings.warnings.iter().filter(|warning| !said.contains(warning)) {
        tracing::warn!("{warning}");
    }
    let admin = admin::listen(&settings).await?;
    ports.tried().await;
    let changes = Changes::of(&ports);
    let mut server = wiring::server(listener, &settings, ports.clone())?;
    if let Some(listener) = ipv6 {
        server = server.also_on(listener);
    }
    let admin = Admin::start(admin, server.status(), &ports)?;
    let calls = example_calls(&settings, &without_switched_off(&settings, ports.offer.catalog()?));
    let path = settings.server.path.clone();
    let role = settings.managed_tenant.administrator_role.clone();
    let live = Live::new(server.reload_handle(), port, settings, ports, changes, rule_warnings);
    tokio::spawn(live.follow_providers());
    let has_upstream = arguments.upstream.is_given();
    let running =
        RunningDev::announce(running_dev::Ports { tenant: tenant.port(), server: port, has_upstream });
    print(&if arguments.fresh_tenant {
        fresh::banner(&endpoints.main, &path, &tenant, arguments.config.as_deref(), role.as_deref())?
    } else {
        banner(&endpoints, &tenant, &calls, &upstreams)?
    });
    let code = run_until_stopped(server, admin, signals).await;
    drop(running);
    Ok(code)
}

/// Listens on both families, since a client may take either for `localhost`; on a machine without IPv6, on one.
async fn listen_on_loopback(port: u16) -> anyhow::Result<(TcpListener, Option<TcpListener>)> {
    // A free port of one family may be taken in the other.
    let attempts = if port == 0 { 8 } else { 1 };
    for _ in 1..attempts {
        if let Ok(listeners) = listen_on_port(port).await {
            return Ok(listeners);
        }
    }
    listen_on_port(port).await
}

async fn listen_on_port(port: u16) -> anyhow::Result<(TcpListener, Option<TcpListener>)> {
    let ipv4 = listen(LOOPBACK, port).await?;
    let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, ipv4.local_addr()?.port()));
    match TcpListener::bind(ipv6).await {
        Ok(ipv6) => Ok((ipv4, Some(ipv6))),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(error).with_context(|| format!("can't listen on {ipv6}"))
        }
        Err(_) => Ok((ipv4, None)),
    }
}

/// The endpoints of the server: `localhost`, the addresses that this may mean, and those of the configuration. Clients compare
/// an audience with the address that they were given, so each endpoint has its own.
struct Endpoints {
    /// The endpoint of `localhost`.
    main: String,
    others: Vec<Other>,
}

struct Other {
    /// The name in `[endpoints]`.
    name: String,
    base: String,
    audience: String,
}

impl Endpoints {
    fn new(settings: &Settings, port: u16, has_ipv6: bool) -> Self {
        let path = &settings.server.path;
        let own = |name: &str, host: &str| {
            let base = format!("http://{host}:{port}");
            Other { name: name.to_owned(), audience: format!("{base}{path}"), base }
        };
        let configured = settings.endpoints.iter().map(|endpoint| {
            let base = endpoint.url.as_str().trim_end_matches('/').to_owned();
            let audience =
                endpoint.audience.as_ref().map_or_else(|| format!("{base}{path}"), ToString::to_string);
            Other { name: endpoint.name.clone(), base, audience }
        });
        let loopback = [Some(own(IPV4, "127.0.0.1")), has_ipv6.then(|| own(IPV6, "[::1]"))];
        Self {
            main: format!("http://localhost:{port}{path}"),
            others: loopback.into_iter().flatten().chain(configured).collect(),
        }
    }

    /// Returns the tenant's options with an API for each.
    fn known_to(&self, options: Options) -> Options {
        let options = options.with_api_identifier(&self.main);
        self.others.iter().fold(options, |options, other| options.with_same_api(&other.audience))
    }

    /// Returns the sources with what this command decides.
    fn set_in(&self, sources: Sources, issuer: &str, port: u16) -> Sources {
        let sources = sources
            .set(DEV, "auth0.domain", "")
            .set(DEV, "auth0.issuer", issuer)
            .set(DEV, "auth0.audience", self.main.as_str())
            .set(DEV, "server.url", format!("http://localhost:{port}"))
            .set(DEV, "server.port", i64::from(port));
        self.others.iter().fold(sources, |sources, Other { name, base, audience }| {
            sources.set(DEV, &format!("endpoints.{name}.url"), base.as_str()).set(
                DEV,
                &format!("endpoints.{name}.audience"),
                audience.as_str(),
            )
        })
    }
}

/// The real tenant's variables and `.env` are left alone: whoever has them set may still want to try `dev`.
fn sources(profile: &Profile, file: Option<&Path>) -> Sources {
    let sources = profile.sources().text("config/local.toml, built in", LOCAL);
    let sources = match file {
        Some(file) => sources.file(file),
        None => sources,
    };
    sources.environment_without_tenant(&environment())
}

/// Returns where the newest `dev` is running, or else where one would be.
pub(super) fn running_ports() -> running_dev::Ports {
    let usual = running_dev::Ports { tenant: TENANT_PORT, server: PORT, has_upstream: false };
    running_dev::ports().unwrap_or(usual)
}

/// Returns the sources of a running `dev` that was given this file and no upstream.
pub(super) fn running_sources(
    builder: &ServerBuilder,
    file: Option<&Path>,
    ports: running_dev::Ports,
) -> anyhow::Result<Sources> {
    let sources = with_exchange_client(sources(&builder.profile, file));
    let settings = builder.first_settings(stand_in(&sources))?;
    // Where it has no IPv6, its tenant has no tokens for that address either.
    let endpoints = Endpoints::new(&settings, ports.server, true);
    Ok(endpoints.set_in(sources, &format!("http://127.0.0.1:{}/", ports.tenant), ports.server))
}

/// The client that exchanges callers' tokens is the tenant's own, whatever the configuration has for another one.
fn with_exchange_client(sources: Sources) -> Sources {
    sources
        .set(DEV, "downstream.client_id", EXCHANGE_CLIENT)
        .set(DEV, "downstream.client_secret", EXCHANGE_SECRET)
        .set(DEV, "downstream.client_secret_file", "")
        .set(DEV, "downstream.private_key_file", "")
}

/// Everything is checked before the tenant starts, with addresses that only stand in for it.
fn stand_in(sources: &Sources) -> Sources {
    let nowhere = Endpoints { main: "http://localhost/mcp".to_owned(), others: Vec::new() };
    nowhere.set_in(sources.clone(), "http://127.0.0.1:1/", 1)
}

/// Refuses what `serve` may be told and `dev` may not.
fn refuse(settings: &Settings) -> Result<(), Problems> {
    let refusal = |key: String, message: String| Problems::new(vec![Problem { key, source: None, message }]);
    if !settings.server.bind.is_loopback() {
        let message = format!("dev listens on loopback only, not on {}", settings.server.bind);
        return Err(refusal("server.bind".into(), message));
    }
    if let Some(bind) = settings.admin.bind.filter(|bind| !bind.ip().is_loopback()) {
        return Err(refusal("admin.bind".into(), format!("dev listens on loopback only, not on {bind}")));
    }
    if settings.tls.is_some() {
        let message = "dev has no TLS: clients reach it by http on this machine".to_owned();
        return Err(refusal("tls.certificate_file".into(), message));
    }
    let own = settings.endpoints.iter().find(|endpoint| [IPV4, IPV6].contains(&endpoint.name.as_str()));
    own.map_or(Ok(()), |endpoint| {
        let message = "dev sets it itself; give yours another name".to_owned();
        Err(refusal(format!("endpoints.{}", endpoint.name), message))
    })
}

/// The tenant of the configuration, whose API has every scope that something on offer asks for.
fn tenant_options(set_up: &SetUp, settings: Settings, arguments: &Arguments) -> anyhow::Result<Options> {
    let (auto_consent, is_fresh) = (arguments.auto_consent.as_deref(), arguments.fresh_tenant);
    let catalog = without_switched_off(&settings, set_up.offer.catalog()?);
    let asked = wiring::asked_scopes(&settings, &catalog);
    let mut options = options(settings.tenant.context("the configuration has no [tenant]")?)?;
    for scope in asked.iter() {
        let broader = settings.scopes.hierarchy.broader(scope);
        for scope in std::iter::once(scope).chain(broader).map(Scope::as_str) {
            options = options.with_scope(scope, &set_up.profile.scope_description(scope, &catalog));
        }
    }
    for (role, scope) in &set_up.profile.local_permissions {
        options = options.with_permission(role, scope);
    }
    if let Some(downstream) = settings.downstream.filter(|_| !is_fresh) {
        for api in &downstream.apis {
            options = options.with_api(&api.audience, &api.name, api.scopes.iter().map(Scope::as_str));
        }
        options = options.with_on_behalf_of_client(EXCHANGE_CLIENT, EXCHANGE_SECRET);
    }
    options.auto_consent = auto_consent.map(ToOwned::to_owned);
    options.validate().map_err(tenant_problems)?;
    Ok(options)
}

fn options(tenant: Value) -> Result<Options, Problems> {
    let options: Options =
        tenant.try_deserialize().map_err(|error| tenant_problems(vec![error.to_string()]))?;
    if options.api.identifier.is_some() {
        let message = "tenant.api.identifier can't be set: it is the MCP endpoint's own URL".to_owned();
        return Err(tenant_problems(vec![message]));
    }
    Ok(options)
}

fn tenant_problems(messages: Vec<String>) -> Problems {
    let problem = |message| Problem { key: "tenant".into(), source: None, message };
    Problems::new(messages.into_iter().map(problem).collect())
}

/// What to do now, to be pasted.
fn banner(
    endpoints: &Endpoints,
    tenant: &LocalTenant,
    calls: &[(ScopeSet, String)],
    upstreams: &str,
) -> anyhow::Result<String> {
    let endpoint = &endpoints.main;
    let others: Vec<String> =
        endpoints.others.iter().map(|other| format!("               {}\n", other.audience)).collect();
    let program = program()?;
    let port = match tenant.port() {
        TENANT_PORT => String::new(),
        other => format!(" --tenant-port {other}"),
    };
    let token = |user: &str| format!("{program} token --user {user}{port}");
    let users: Vec<String> = tenant.users().iter().map(|user| user_line(tenant, user)).collect();
    let (first, params) = caller(tenant, calls);
    let bearer = format!("\"Authorization: Bearer $({})\"", token(first));
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    Ok(format!(
        "MCP endpoint   {endpoint}\n{others}\
         Issuer         {issuer}   (a local tenant for development; nothing is kept)\n\
         \n\
         Users\n{users}\n\
         \n\
         {upstreams}A token:\n  {token}\n\
         \n\
         Call a tool:\n  curl -s {endpoint} -H {bearer} -H 'Content-Type: application/json' -d '{call}'\n\
         \n\
         MCP Inspector:\n  npx {INSPECTOR} --cli --server-url {endpoint} --transport http --header {bearer} --method tools/list\n\
         \n\
         Log in as a user would: give an MCP client the endpoint and no token; its browser shows the tenant's page.\n\
         \n\
         Ctrl-C stops both.",
        issuer = tenant.issuer(),
        others = others.concat(),
        users = users.join("\n"),
        token = token(first),
    ))
}

/// Returns the banner's part about upstreams.
fn upstreams_banner(
    set_up: &SetUp,
    sources: &Sources,
    arguments: &Arguments,
    tenant: &LocalTenant,
) -> anyhow::Result<String> {
    if set_up.upstreams.is_empty() {
        return Ok(String::new());
    }
    let settings = set_up.settings(sources.clone())?;
    let catalog = set_up.offer.catalog()?;
    let reports = upstreams::reports(set_up, &settings, &catalog);
    let scopes = rules(&settings, &catalog.tools);
    Ok(upstream::banner(&arguments.upstream, &reports, &scopes, tenant, &settings.scopes.hierarchy))
}

/// Returns a user, and the parameters of a call that the user may make: of the first tool that somebody may call.
fn caller<'a>(tenant: &'a LocalTenant, calls: &[(ScopeSet, String)]) -> (&'a str, String) {
    let permits = |user: &local_tenant::User, scopes: &ScopeSet| {
        let granted = tenant.scopes_of(&user.key);
        scopes.iter().all(|scope| granted.iter().any(|granted| granted == scope.as_str()))
    };
    let users = || tenant.users().iter();
    let found = calls.iter().find_map(|(scopes, call)| {
        users().find(|user| permits(user, scopes)).map(|user| (user.key.as_str(), call.clone()))
    });
    let nobody = || (users().next().map_or("admin", |user| &user.key), String::new());
    found.unwrap_or_else(nobody)
}

/// Returns the parameters of a call of each tool, with the scopes that it takes.
fn example_calls(settings: &Settings, catalog: &Catalog) -> Vec<(ScopeSet, String)> {
    let rules = rules(settings, &catalog.tools);
    let scopes =
        |name: &ToolName| rules.iter().find(|(tool, _)| tool == name).map(|(_, scopes)| scopes.clone());
    let call = |spec: &ToolSpec| {
        let arguments = example_arguments(spec.input.as_json());
        let params = json!({"name": spec.name.as_str(), "arguments": arguments});
        (scopes(&spec.name).unwrap_or_default(), params.to_string())
    };
    // What only reads is better tried first.
    let mut specs: Vec<&ToolSpec> = catalog.tools.specs().collect();
    specs.sort_by_key(|spec| !spec.hints.read_only);
    specs.into_iter().map(call).collect()
}

/// Returns arguments that fit a schema, as far as can be seen: those with examples, and those that are required.
fn example_arguments(schema: &serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name));
    let properties = schema["properties"].as_object().into_iter().flatten();
    let example = |(name, property): (&String, &serde_json::Value)| {
        let example = property["examples"].get(0).or_else(|| property.get("default")).cloned();
        let value = example.or_else(|| required(name).then(|| example_value(property)))?;
        Some((name.clone(), value))
    };
    properties.filter_map(example).collect()
}

fn example_value(schema: &serde_json::Value) -> serde_json::Value {
    let first = schema["enum"].get(0).cloned();
    first.unwrap_or_else(|| match schema["type"].as_str() {
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("boolean") => true.into(),
        Some("array") => json!([]),
        Some("object") => example_arguments(schema).into(),
        _ => "text".into(),
    })
}

fn user_line(tenant: &LocalTenant, user: &local_tenant::User) -> String {
    format!("  {:<8} {:<24} {}", user.key, user.sub, tenant.scopes_of(&user.key).join(" "))
}

/// Returns this program's path, for a shell.
fn program() -> anyhow::Result<String> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    Ok(quoted(program.to_str().context("this program's own path is not text")?))
}

/// For a POSIX shell, also within double quotes and `$( )`.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}
