//! The upstream that `dev` is given on its command line, and what `dev` says of all upstreams.

mod name;

use std::collections::BTreeSet;

use domain::{Scope, ScopeHierarchy, ScopeSet, ToolName};
use local_tenant::LocalTenant;
use upstream_mcp::Options;
use upstream_mcp::options::Connect;

use crate::commands::upstreams::UpstreamReport;
use crate::commands::{environment, eprint};
use crate::config::Sources;
use crate::server::Profile;

/// The name in the configuration of one at an address.
const NAME: &str = "upstream";
/// Its source in messages about it.
const COMMAND_LINE: &str = "the command line of dev";
/// The variables that a command gets in a developer's own terminal. `serve` passes on those alone that its configuration names.
const INHERITED: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TERM", "TMPDIR"];
const INHERITED_PREFIX: &str = "XDG_";
/// The scopes by kind.
const SCOPES: [(&str, &str); 5] = [
    ("read", READ),
    ("write", "mcp:write"),
    ("destructive", "mcp:destructive"),
    ("resources", READ),
    ("prompts", READ),
];
const READ: &str = "mcp:read";
/// What whoever consents reads.
const DESCRIPTIONS: [(&str, &str); 3] = [
    (READ, "Use tools that only read, resources and prompts"),
    ("mcp:write", "Use tools that add or change something"),
    ("mcp:destructive", "Use tools that may undo or overwrite something"),
];
/// The role of the local tenant that may only read.
const READER: &str = "Tool User";

#[derive(Debug, clap::Args)]
pub(super) struct UpstreamArguments {
    /// An MCP server (Streamable HTTP) to offer through this one
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    upstream_url: Option<String>,
    /// A variable of this environment that COMMAND gets as well, besides PATH, HOME, USER, LANG, TMPDIR and the like
    #[arg(long, value_name = "NAME", requires = "command")]
    env: Vec<String>,
    /// The command that starts an MCP server (stdio) to offer through this one, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl UpstreamArguments {
    /// Returns whether there is an upstream on the command line.
    pub(super) fn is_given(&self) -> bool {
        self.upstream_url.is_some() || !self.command.is_empty()
    }

    /// Returns the sources with the upstream, if there is one.
    pub(super) fn set_in(&self, sources: Sources, environment: &[(String, String)]) -> Sources {
        if !self.is_given() {
            return sources;
        }
        let name = self.name();
        let key = |key: &str| format!("upstreams.{name}.{key}");
        let sources = match &self.upstream_url {
            Some(url) => sources.set(COMMAND_LINE, &key("url"), url.as_str()),
            None => sources.set(COMMAND_LINE, &key("command"), self.command.clone()).set(
                COMMAND_LINE,
                &key("inherit_env"),
                self.inherited(environment),
            ),
        };
        SCOPES.iter().fold(sources, |sources, (kind, scope)| {
            sources.set(COMMAND_LINE, &key(&format!("scopes.{kind}")), vec![*scope])
        })
    }

    /// Returns the upstream's name in the configuration.
    fn name(&self) -> String {
        if self.upstream_url.is_some() { NAME.to_owned() } else { name::of_command(&self.command) }
    }

    /// Returns the names of the variables that the command gets of its own accord, and of those that were asked for.
    fn inherited(&self, environment: &[(String, String)]) -> Vec<String> {
        let is_set = |name: &&str| environment.iter().any(|(set, _)| set == name);
        let usual = INHERITED.into_iter().filter(is_set);
        let names = environment.iter().map(|(name, _)| name.as_str());
        let prefixed: BTreeSet<&str> = names.filter(|name| name.starts_with(INHERITED_PREFIX)).collect();
        let asked = self.env.iter().map(String::as_str).filter(|name| !INHERITED.contains(name));
        usual.chain(prefixed).chain(asked).map(str::to_owned).collect()
    }

    /// Returns the configuration by which `serve` has the same upstream; nothing without one.
    fn for_serve(&self, environment: &[(String, String)]) -> Option<String> {
        let text = |text: &str| toml::Value::from(text);
        let how = match &self.upstream_url {
            // What follows the host may be secret, but it is what was typed into this terminal.
            Some(url) => format!("url = {}", text(url)),
            None if self.command.is_empty() => return None,
            None => {
                let is_set = |name: &String| environment.iter().any(|(set, _)| set == name);
                let inherited: Vec<String> = self.inherited(environment).into_iter().filter(is_set).collect();
                let mut lines = vec![
                    format!("command = {}", toml::Value::from(self.command.clone())),
                    format!("inherit_env = {}", toml::Value::from(inherited)),
                ];
                if let Some(folder) = std::env::current_dir().ok().as_ref().and_then(|folder| folder.to_str())
                {
                    lines.push(format!("cwd = {}", text(folder)));
                }
                lines.join("\n")
            }
        };
        let scopes = SCOPES.map(|(kind, scope)| format!("scopes.{kind} = [{}]\n", text(scope)));
        let name = self.name();
        Some(format!("[upstreams.{name}]\n{how}\n{}", scopes.concat()))
    }
}

/// Describes the scopes, and gives the tenant's user those for reading; its administrator has every scope.
pub(super) fn grant(profile: &mut Profile) {
    profile.scope_descriptions.extend(DESCRIPTIONS);
    profile.local_permissions.push((READER, READ));
}

/// Returns the banner's part about upstreams; empty without any.
pub(super) fn banner(
    arguments: &UpstreamArguments,
    reports: &[UpstreamReport],
    scopes: &[(ToolName, ScopeSet)],
    tenant: &LocalTenant,
    hierarchy: &ScopeHierarchy,
) -> String {
    let mut blocks: Vec<String> =
        reports.iter().map(|report| block(report, scopes, tenant, hierarchy)).collect();
    let toml = arguments
        .for_serve(&environment())
        .map(|toml| format!("The same for `serve`, in its --config file:\n{}\n", indented(&toml)));
    blocks.extend(toml);
    blocks.extend(advice(scopes, tenant, hierarchy));
    // A blank line after each.
    blocks.push(String::new());
    blocks.join("\n")
}

/// Returns what to do for users who may call no tool.
fn advice(
    scopes: &[(ToolName, ScopeSet)],
    tenant: &LocalTenant,
    hierarchy: &ScopeHierarchy,
) -> Option<String> {
    let may_nothing = |user: &&local_tenant::User| {
        let granted = tenant.scopes_of(&user.key);
        !scopes.iter().any(|(_, scopes)| scopes.iter().all(|scope| holds(&granted, scope, hierarchy)))
    };
    let users: Vec<&local_tenant::User> = tenant.users().iter().filter(may_nothing).collect();
    let names: Vec<&str> = users.iter().map(|user| user.key.as_str()).collect();
    let roles: BTreeSet<String> =
        users.iter().flat_map(|user| &user.roles).map(|role| format!("{role:?}")).collect();
    let role = if roles.is_empty() { "a role".to_owned() } else { Vec::from_iter(roles).join(", ") };
    (!names.is_empty() && !scopes.is_empty()).then(|| {
        format!(
            "No tool is for {}: give {role} the scopes as `permissions`, in [[tenant.roles]] of the --config file; \
             see docs/add-a-tool.md\n",
            names.join(", ")
        )
    })
}

/// Says which upstreams are started now, as that may take a while.
pub(super) fn announce(upstreams: &[Options]) {
    for Options { connect, limits, .. } in upstreams {
        let seconds = limits.start.as_secs();
        eprint(&match connect {
            Connect::Child(child) => {
                let program = name::file_name(&child.program.to_string_lossy()).to_owned();
                let downloads = if name::downloads(&program) {
                    format!("; {program} downloads at its first start")
                } else {
                    String::new()
                };
                format!("Starting {program} ... (at most {seconds} s{downloads})")
            }
            Connect::Http(http) => {
                let origin = http.url.origin().ascii_serialization();
                format!("Connecting to {origin} ... (at most {seconds} s)")
            }
        });
    }
}

fn block(
    report: &UpstreamReport,
    scopes: &[(ToolName, ScopeSet)],
    tenant: &LocalTenant,
    hierarchy: &ScopeHierarchy,
) -> String {
    let rows: Vec<(&str, String, String)> = report
        .tools
        .iter()
        .map(|name| {
            let scopes = scopes.iter().find(|(tool, _)| tool.as_str() == name).map(|(_, scopes)| scopes);
            let users = tenant.users().iter().map(|user| user.key.as_str());
            let may = users.filter(|user| {
                let granted = tenant.scopes_of(user);
                scopes.is_some_and(|scopes| scopes.iter().all(|scope| holds(&granted, scope, hierarchy)))
            });
            let scopes = scopes.map(ToString::to_string).filter(|scopes| !scopes.is_empty());
            let may: Vec<&str> = may.collect();
            let may = if may.is_empty() { "nobody".to_owned() } else { may.join(", ") };
            (name.as_str(), scopes.unwrap_or_else(|| "(any token)".to_owned()), may)
        })
        .collect();
    let width = |of: fn(&(&str, String, String)) -> usize| rows.iter().map(of).max().unwrap_or_default();
    let (names, needed) = (width(|row| row.0.len()), width(|row| row.1.len()));
    let row =
        |(name, scopes, may): &(&str, String, String)| format!("  {name:names$}  {scopes:needed$}  {may}\n");
    let rows = rows.iter().map(row).collect::<Vec<_>>().concat();
    let not_offered = match report.not_offered_lines().as_slice() {
        [] => String::new(),
        lines => format!("Not offered of it\n{}\n", lines.join("\n")),
    };
    let misfits = report.misfits.iter().map(|misfit| format!("  {}\n", misfit.message));
    let misfits = match misfits.collect::<String>() {
        none if none.is_empty() => none,
        lines => format!("Rules that fit nothing\n{lines}"),
    };
    format!("Upstream       {}: {}\n{rows}{not_offered}{misfits}", report.name, report.summary())
}

fn holds(granted: &[impl AsRef<str>], scope: &Scope, hierarchy: &ScopeHierarchy) -> bool {
    let is_granted = |scope: &Scope| granted.iter().any(|granted| granted.as_ref() == scope.as_str());
    is_granted(scope) || hierarchy.broader(scope).any(is_granted)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
