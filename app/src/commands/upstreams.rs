//! Upstreams as `check` and `dev` show them: which of their tools are on offer, and why the others are not.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Catalog, DynTool, Provider as _, ScopeSet};
use serde::Serialize;
use upstream_mcp::{ReportedDecision, ReportedTool, Uncovered};

use crate::config::{Settings, shown_key};
use crate::server::{SetUp, StartedUpstream};
use crate::upstream_rules::{Misfit, misfits};
use crate::wiring::fault_of;

/// An upstream, and what becomes of what it has.
#[derive(Serialize)]
pub(super) struct UpstreamReport {
    pub(super) name: String,
    /// What it calls itself, with its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    /// The protocol revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<String>,
    /// Why it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// The names, here, of its tools on offer.
    pub(super) tools: Vec<String>,
    pub(super) not_offered: Vec<NotOffered>,
    pub(super) resources: usize,
    pub(super) resource_templates: usize,
    pub(super) prompts: usize,
    /// What reading a resource on offer needs; nothing if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_scopes: Option<Vec<String>>,
    /// What getting a prompt on offer needs; nothing if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_scopes: Option<Vec<String>>,
    /// What the tools on offer are called there, in the same order.
    #[serde(skip)]
    pub(super) upstream_names: Vec<String>,
    /// Rules that fit nothing.
    #[serde(skip)]
    pub(super) misfits: Vec<Misfit>,
}

/// A tool of an upstream's that is not on offer, or how many resources, templates or prompts are not.
#[derive(Serialize)]
pub(super) struct NotOffered {
    /// The tool's name at the upstream, or what it is and how many there are.
    pub(super) name: String,
    pub(super) reason: String,
}

/// Reports on the upstreams of a server that was set up; `catalog` is all that it has on offer.
pub(super) fn reports(set_up: &SetUp, settings: &Settings, catalog: &Catalog) -> Vec<UpstreamReport> {
    // A name is of the server's own tool, or else of the first upstream's that has it.
    let own = set_up.offer.tools.iter().filter_map(|tool| Some(tool.spec().ok()?.name.to_string()));
    let mut taken: BTreeSet<String> = own.collect();
    let report = |started: &StartedUpstream| report(started, settings, catalog, &mut taken);
    set_up.upstreams.iter().map(report).collect()
}

fn report(
    StartedUpstream { upstream, problem }: &StartedUpstream,
    settings: &Settings,
    catalog: &Catalog,
    taken: &mut BTreeSet<String>,
) -> UpstreamReport {
    let report = upstream.report();
    let offered: Vec<Arc<dyn DynTool>> = upstream.tools();
    let misfits = misfits(settings, &report);
    let (mut tools, mut upstream_names, mut not_offered) = (Vec::new(), Vec::new(), Vec::new());
    for tool in report.tools {
        match refusal(&report.name, &tool, settings, catalog, taken) {
            None => {
                taken.insert(tool.name.clone());
                tools.push(tool.name);
                upstream_names.push(tool.upstream_name);
            }
            Some(refusal) => {
                let reason = match refusal {
                    Refusal::Because(reason) => reason,
                    Refusal::Definition => fault(&offered, &tool.name),
                };
                not_offered.push(NotOffered { name: tool.upstream_name, reason });
            }
        }
    }
    not_offered.extend(uncovered(&report.name, report.uncovered));
    let rules = settings.upstreams.iter().find(|options| options.name == report.name);
    let rules = rules.map(|options| &options.rules);
    let scopes_of = |scopes: Option<&ScopeSet>, count: usize| {
        let scopes = scopes.filter(|_| count > 0)?;
        Some(scopes.iter().map(ToString::to_string).collect())
    };
    let resources = report.resources + report.templates;
    UpstreamReport {
        resource_scopes: scopes_of(rules.and_then(|rules| rules.resources.as_ref()), resources),
        prompt_scopes: scopes_of(rules.and_then(|rules| rules.prompts.as_ref()), report.prompts),
        problem: report.problem.or_else(|| problem.as_ref().map(ToString::to_string)),
        name: report.name,
        server: report.server,
        protocol: report.protocol,
        tools,
        not_offered,
        resources: report.resources,
        resource_templates: report.templates,
        prompts: report.prompts,
        upstream_names,
        misfits,
    }
}

/// Returns what no rule covers, beside tools.
fn uncovered(upstream: &str, uncovered: Uncovered) -> Vec<NotOffered> {
    let not_offered = |(number, what, key): (usize, &str, &str)| {
        let them = if number == 1 { "it" } else { "them" };
        let key = shown_key(&path(upstream, &["scopes", key]));
        Some(NotOffered { name: count(number, what)?, reason: format!("no rule covers {them}: {key}") })
    };
    let all = [
        (uncovered.resources, "resource", "resources"),
        (uncovered.templates, "resource template", "resources"),
        (uncovered.prompts, "prompt", "prompts"),
    ];
    all.into_iter().filter_map(not_offered).collect()
}

/// Returns a number of things, unless there are none.
fn count(count: usize, what: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    }
}

/// Why a tool is not on offer.
enum Refusal {
    Because(String),
    /// Its definition is at fault.
    Definition,
}

/// Returns why a tool is not on offer, if so.
fn refusal(
    upstream: &str,
    tool: &ReportedTool,
    settings: &Settings,
    catalog: &Catalog,
    taken: &BTreeSet<String>,
) -> Option<Refusal> {
    let rule = |key: &str| shown_key(&path(upstream, &["tools", &tool.upstream_name, key]));
    let is_off = || settings.tools.iter().any(|(name, rule)| name.as_str() == tool.name && !rule.enabled);
    let reason = match &tool.decision {
        ReportedDecision::Hidden => format!("a rule hides it: {}", rule("hidden")),
        ReportedDecision::Uncovered => {
            format!("no rule covers it: {}.scopes, or {}", table(upstream), rule("scopes"))
        }
        ReportedDecision::Unusable(reason) => reason.clone(),
        ReportedDecision::Offered if taken.contains(&tool.name) => {
            format!("another tool is called {}: {}.prefix, or {}", tool.name, table(upstream), rule("name"))
        }
        ReportedDecision::Offered if is_off() => {
            format!("it is switched off: {}", shown_key(&["tools", &tool.name, "enabled"].map(str::to_owned)))
        }
        ReportedDecision::Offered if catalog.tools.spec(&tool.name).is_none() => {
            return Some(Refusal::Definition);
        }
        // It is in the catalog.
        _ => return None,
    };
    Some(Refusal::Because(reason))
}

/// Returns why the definition of a tool can't be offered.
fn fault(offered: &[Arc<dyn DynTool>], name: &str) -> String {
    let is_named = |tool: &&Arc<dyn DynTool>| tool.spec().is_ok_and(|spec| spec.name.as_str() == name);
    let fault = offered.iter().find(is_named).and_then(|tool| fault_of(tool.as_ref()));
    fault.unwrap_or_else(|| "its definition can't be offered".to_owned())
}

fn table(upstream: &str) -> String {
    shown_key(&path(upstream, &[]))
}

fn path(upstream: &str, rest: &[&str]) -> Vec<String> {
    ["upstreams", upstream].iter().chain(rest).map(|part| (*part).to_owned()).collect()
}

impl UpstreamReport {
    /// Returns what it is and how much of it there is, on a line.
    pub(super) fn summary(&self) -> String {
        if let Some(problem) = &self.problem {
            return format!("not there: {problem}");
        }
        let server = self.server.as_deref().unwrap_or("a server without a name");
        let protocol =
            self.protocol.as_deref().map(|protocol| format!(", MCP {protocol}")).unwrap_or_default();
        let with_scopes = |number: usize, what: &str, scopes: &Option<Vec<String>>| {
            let scopes = match scopes.as_deref().unwrap_or_default() {
                [] => "any token".to_owned(),
                scopes => scopes.join(" "),
            };
            count(number, what).map(|count| format!("{count} ({scopes})"))
        };
        let counts = [
            count(self.tools.len(), "tool"),
            with_scopes(self.resources, "resource", &self.resource_scopes),
            with_scopes(self.resource_templates, "resource template", &self.resource_scopes),
            with_scopes(self.prompts, "prompt", &self.prompt_scopes),
        ];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        let counts = if counts.is_empty() { "nothing on offer".to_owned() } else { counts.join(", ") };
        format!("{server}{protocol}: {counts}")
    }

    /// Returns a line for each thing that is not on offer.
    pub(super) fn not_offered_lines(&self) -> Vec<String> {
        let width = self.not_offered.iter().map(|it| it.name.chars().count()).max().unwrap_or_default();
        let line = |it: &NotOffered| format!("  {:width$}  {}", it.name, it.reason);
        self.not_offered.iter().map(line).collect()
    }
}
