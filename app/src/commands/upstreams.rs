//! Upstreams as `check` and `dev` show them: which of their tools are on offer, and why the others are not.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Catalog, DynTool, Provider as _};
use serde::Serialize;
use upstream_mcp::{ReportedDecision, ReportedTool};

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
    /// What the tools on offer are called there, in the same order.
    #[serde(skip)]
    pub(super) upstream_names: Vec<String>,
    /// Rules that fit nothing.
    #[serde(skip)]
    pub(super) misfits: Vec<Misfit>,
}

/// A tool of an upstream's that is not on offer.
#[derive(Serialize)]
pub(super) struct NotOffered {
    /// Its name at the upstream.
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
    UpstreamReport {
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
        let count = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            count => Some(format!("{count} {what}s")),
        };
        let counts = [
            count(self.tools.len(), "tool"),
            count(self.resources, "resource"),
            count(self.resource_templates, "resource template"),
            count(self.prompts, "prompt"),
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
