//! `dev`: the server and a local tenant in one process, on loopback, ready to be tried.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use config::Value;
use domain::Scope;
use local_tenant::{LocalTenant, Options, StartError};

use super::{environment, listen, run_until_stopped, runtime, say};
use crate::config::{LOCAL, Problem, Problems, Settings, Sources};
use crate::logging;
use crate::signals::StopSignals;
use crate::wiring::{Ports, http_settings, rules, server, shipped_catalog};

/// Where the local tenant listens unless told otherwise.
pub(super) const TENANT_PORT: u16 = 3002;
/// The version of MCP Inspector that this server is tested with.
const INSPECTOR: &str = "@modelcontextprotocol/inspector@2.12.0";
const PORT_HINT: &str = "is another `dev` running? `--port 0 --tenant-port 0` takes free ports";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// What this command sets by itself, in messages about it.
const DEV: &str = "set by dev";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The MCP server's port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 3001)]
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
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(dev(arguments))
}

async fn dev(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let signals = StopSignals::catch()?;
    let listener = listen(LOOPBACK, arguments.port).await.context(PORT_HINT)?;
    let port = listener.local_addr()?.port();
    let endpoint = format!("http://localhost:{port}/mcp");

    let (sources, mut options) = tenant_options(arguments.config.as_deref())?;
    options.auto_consent.clone_from(&arguments.auto_consent);
    let defined: Vec<String> = options.api.scopes.iter().map(|scope| scope.name.clone()).collect();
    let options = options.with_api_identifier(&endpoint).with_port(arguments.tenant_port);
    let tenant = LocalTenant::start(options).await.map_err(|error| match error {
        StartError::Listen { .. } => anyhow::Error::new(error).context(PORT_HINT),
        error => error.into(),
    })?;
    let settings = load(sources, tenant.issuer(), &endpoint, port)?;

    logging::start(settings.log);
    warn_of_unreachable_tools(&settings, &defined)?;
    let server = server(listener, &settings, Ports::real(&settings))?;
    debug_assert_eq!(http_settings(&settings, port).endpoint(), endpoint);
    say(&banner(&endpoint, &tenant)?);
    Ok(run_until_stopped(server, signals).await)
}

/// A tool that asks for a scope that nobody can be granted, nor one that implies it, is a typing mistake, or a line that was
/// forgotten.
fn warn_of_unreachable_tools(settings: &Settings, defined: &[String]) -> anyhow::Result<()> {
    let is_defined = |scope: &Scope| defined.iter().any(|defined| defined == scope.as_str());
    let hierarchy = &settings.tokens.hierarchy;
    for (tool, scopes) in rules(settings, &shipped_catalog()?.tools) {
        for scope in
            scopes.iter().filter(|scope| !is_defined(scope) && !hierarchy.broader(scope).any(is_defined))
        {
            tracing::warn!(
                "the tool {tool} needs the scope {scope}, which the local tenant does not define: nobody can call it; \
                 add it to tenant.api.scopes and to a role in config/local.toml, or in the --config file"
            );
        }
    }
    Ok(())
}

/// The real tenant's variables and `.env` are left alone: whoever has them set may still want to try `dev`.
fn sources(file: Option<&Path>) -> Sources {
    let sources = Sources::defaults().text("config/local.toml, built in", LOCAL);
    let sources = match file {
        Some(file) => sources.file(file),
        None => sources,
    };
    sources.environment_without_tenant(&environment())
}

fn tenant_options(file: Option<&Path>) -> anyhow::Result<(Sources, Options)> {
    let sources = sources(file);
    // Everything is checked before the tenant starts, with addresses that only stand in for it.
    let settings = load(sources.clone(), "http://127.0.0.1:1/", "http://localhost/mcp", 1)?;
    if !settings.bind.is_loopback() {
        let message = format!("dev listens on loopback only, not on {}", settings.bind);
        return Err(Problems::new(vec![Problem { key: "server.bind".into(), source: None, message }]).into());
    }
    let tenant = settings.tenant.context("the configuration has no [tenant]")?;
    Ok((sources, options(tenant)?))
}

fn options(tenant: Value) -> Result<Options, Problems> {
    let problem = |message| Problem { key: "tenant".into(), source: None, message };
    let options: Options =
        tenant.try_deserialize().map_err(|error| Problems::new(vec![problem(error.to_string())]))?;
    if options.api.identifier.is_some() {
        let message = "tenant.api.identifier can't be set: it is the MCP endpoint's own URL".to_owned();
        return Err(Problems::new(vec![problem(message)]));
    }
    options.validate().map_err(|messages| Problems::new(messages.into_iter().map(problem).collect()))?;
    Ok(options)
}

fn load(sources: Sources, issuer: &str, endpoint: &str, port: u16) -> anyhow::Result<Settings> {
    let origin = endpoint.trim_end_matches("/mcp");
    let sources = sources
        .set(DEV, "auth0.domain", "")
        .set(DEV, "auth0.issuer", issuer)
        .set(DEV, "auth0.audience", endpoint)
        .set(DEV, "server.url", origin)
        .set(DEV, "server.port", i64::from(port));
    Ok(Settings::load(sources, &shipped_catalog()?)?)
}

/// What to do now, to be pasted.
fn banner(endpoint: &str, tenant: &LocalTenant) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let program = program.to_str().context("this program's own path is not text")?;
    let port = match tenant.port() {
        TENANT_PORT => String::new(),
        other => format!(" --tenant-port {other}"),
    };
    let token = |user: &str| format!("{} token --user {user}{port}", quoted(program));
    let users: Vec<String> = tenant.users().iter().map(|user| user_line(tenant, user)).collect();
    let (first, tool) = caller(tenant);
    let bearer = format!("\"Authorization: Bearer $({})\"", token(first));
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{tool}}}"#);
    Ok(format!(
        "MCP endpoint   {endpoint}\n\
         Issuer         {issuer}   (a local tenant for development; nothing is kept)\n\
         \n\
         Users\n{users}\n\
         \n\
         A token:\n  {token}\n\
         \n\
         Call a tool:\n  curl -s {endpoint} -H {bearer} -H 'Content-Type: application/json' -d '{call}'\n\
         \n\
         MCP Inspector:\n  npx {INSPECTOR} --cli --server-url {endpoint} --transport http --header {bearer} --method tools/list\n\
         \n\
         Log in as a user would: give an MCP client the endpoint and no token; its browser shows the tenant's page.\n\
         \n\
         Ctrl-C stops both.",
        issuer = tenant.issuer(),
        users = users.join("\n"),
        token = token(first),
    ))
}

/// A user, and the parameters of a call that the user may make.
fn caller(tenant: &LocalTenant) -> (&str, &str) {
    let may_greet =
        |user: &&local_tenant::User| tenant.scopes_of(&user.key).iter().any(|scope| scope == "tool:greet");
    match (tenant.users().iter().find(may_greet), tenant.users().first()) {
        (Some(user), _) => (&user.key, r#"{"name":"greet","arguments":{"name":"Ada"}}"#),
        (None, Some(user)) => (&user.key, r#"{"name":"get_datetime"}"#),
        (None, None) => ("admin", r#"{"name":"get_datetime"}"#),
    }
}

fn user_line(tenant: &LocalTenant, user: &local_tenant::User) -> String {
    format!("  {:<8} {:<24} {}", user.key, user.sub, tenant.scopes_of(&user.key).join(" "))
}

/// For a POSIX shell, also within double quotes and `$( )`.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}
