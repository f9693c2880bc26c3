//! The rules of upstreams against the tools that there are: which rule decides on a tool, and which rule fits none.

use std::collections::BTreeMap;

use domain::{ScopeSet, ToolHints};
use upstream_mcp::rules::{Decision, Pattern, Rules, ToolRule};
use upstream_mcp::{Options, Report, ReportedTool, Upstream};

use crate::config::{Problem, Settings, name_like, shown_key};

/// The maximum number of tools that a warning lists.
const MAX_LISTED: usize = 20;

/// A rule of an upstream's that fits none of its tools.
pub(crate) struct Misfit {
    pub(crate) message: String,
    /// Whether it hides one tool, or says its scopes: that tool, if it is there under another name, is not protected as was meant.
    pub(crate) is_fault: bool,
}

/// A rule for tools, as the configuration has it.
struct Written<'a> {
    pattern: &'a str,
    source: &'a str,
    keys: Vec<&'a str>,
}

/// Returns the rules of an upstream that fit no tool of it; none as long as its tools are not known.
pub(crate) fn misfits(settings: &Settings, report: &Report) -> Vec<Misfit> {
    let options = settings.upstreams.iter().find(|options| options.name == report.name);
    let Some(options) = options.filter(|_| is_there(report)) else { return Vec::new() };
    let fits_none = |rule: &Written<'_>| {
        let pattern = Pattern::new(rule.pattern);
        !report.tools.iter().any(|tool| pattern.fits(&tool.upstream_name))
    };
    let misfits = written(settings, &options.name).into_iter().filter(fits_none);
    misfits.map(|rule| misfit(options, &report.tools, &rule)).collect()
}

fn is_there(report: &Report) -> bool {
    report.problem.is_none() && report.protocol.is_some()
}

fn misfit(options: &Options, tools: &[ReportedTool], rule: &Written<'_>) -> Misfit {
    let is_name = !rule.pattern.contains('*');
    let upstream = &options.name;
    let what = if is_name {
        format!("the upstream {upstream} has no such tool")
    } else {
        format!("no tool of the upstream {upstream} fits")
    };
    let problem = Problem {
        key: rule_key(upstream, rule.pattern),
        source: Some(rule.source.to_owned()),
        message: format!("{what}; {}", advice(options, tools, rule.pattern)),
    };
    let protects = rule.keys.iter().any(|key| ["hidden", "scopes"].contains(key));
    Misfit { message: problem.to_string(), is_fault: is_name && protects }
}

/// Returns what was probably meant by a rule that fits no tool.
fn advice(options: &Options, tools: &[ReportedTool], text: &str) -> String {
    let pattern = Pattern::new(text);
    // A tool's name is the upstream's own to choose.
    let quoted = |name: &str| shown_key(&[name.to_owned()]);
    if let Some(tool) = tools.iter().find(|tool| pattern.fits(&tool.name)) {
        let meant = match text.strip_prefix(&options.prefix) {
            Some(rest) if text.contains('*') && Pattern::new(rest).fits(&tool.upstream_name) => rest,
            _ => &tool.upstream_name,
        };
        return format!("rules name tools as the upstream does: {}", quoted(meant));
    }
    let names = || tools.iter().map(|tool| tool.upstream_name.as_str());
    match (name_like(text, names()), tools.len()) {
        (Some(meant), _) => format!("did you mean {}?", quoted(meant)),
        (None, 0) => "it has none".to_owned(),
        (None, count) => {
            let listed: Vec<String> = names().take(MAX_LISTED).map(quoted).collect();
            let more = if count > MAX_LISTED { ", ..." } else { "" };
            format!("its tools are {}{more}", listed.join(", "))
        }
    }
}

/// Returns the rules for tools of an upstream.
fn written<'a>(settings: &'a Settings, upstream: &str) -> Vec<Written<'a>> {
    let mut rules: BTreeMap<&str, Written<'a>> = BTreeMap::new();
    for effective in &settings.effective {
        if let [section, name, tools, pattern, key] = effective.path.as_slice()
            && (section.as_str(), name.as_str(), tools.as_str()) == ("upstreams", upstream, "tools")
        {
            let rule = Written { pattern, source: &effective.source, keys: Vec::new() };
            rules.entry(pattern).or_insert(rule).keys.push(key);
        }
    }
    rules.into_values().collect()
}

fn rule_key(upstream: &str, pattern: &str) -> String {
    shown_key(&["upstreams", upstream, "tools", pattern].map(str::to_owned))
}

/// Returns the key by which a tool of an upstream is offered: that of the most specific rule with scopes, or of its kind.
pub(crate) fn deciding_key(settings: &Settings, upstream: &str, tool: &str, hints: ToolHints) -> String {
    // Rules that say nothing but which they are, decided on as the true ones are.
    let named = |rule: &Written<'_>| {
        let name = Some(rule.pattern.to_owned());
        let scopes = Some(ScopeSet::default());
        (Pattern::new(rule.pattern), ToolRule { scopes, name, ..ToolRule::default() })
    };
    let with_scopes = written(settings, upstream).into_iter().filter(|rule| rule.keys.contains(&"scopes"));
    let rules = Rules { tools: with_scopes.map(|rule| named(&rule)).collect(), ..Rules::default() };
    if let Decision::Offered(offered) = rules.tool(tool, hints)
        && let Some(pattern) = offered.name
    {
        return rule_key(upstream, &pattern);
    }
    let options = settings.upstreams.iter().find(|options| options.name == upstream);
    let has_destructive = options.is_some_and(|options| options.rules.destructive.is_some());
    let kind = match (hints.read_only, hints.destructive && has_destructive) {
        (true, _) => "read",
        (false, true) => "destructive",
        (false, false) => "write",
    };
    shown_key(&["upstreams", upstream, "scopes", kind].map(str::to_owned))
}

/// The warnings of a running server of rules that fit nothing: each is said once, until it ceases to be true.
#[derive(Default)]
pub(crate) struct RuleWarnings {
    upstreams: Vec<Upstream>,
    /// What was said last, by the upstream's name.
    said: BTreeMap<String, Vec<String>>,
}

impl RuleWarnings {
    pub(crate) fn new(upstreams: Vec<Upstream>) -> Self {
        Self { upstreams, said: BTreeMap::new() }
    }

    /// Returns what is to be said now.
    pub(crate) fn news(&mut self, settings: &Settings) -> Vec<String> {
        let mut news = Vec::new();
        for upstream in &self.upstreams {
            let report = upstream.report();
            if !is_there(&report) {
                continue;
            }
            let now = misfits(settings, &report).into_iter().map(|misfit| misfit.message);
            let now: Vec<String> = now.collect();
            let before = self.said.entry(report.name).or_default();
            news.extend(now.iter().filter(|message| !before.contains(message)).cloned());
            *before = now;
        }
        news
    }

    /// Logs what is to be said now.
    pub(crate) fn log(&mut self, settings: &Settings) {
        for warning in self.news(settings) {
            tracing::warn!("{warning}");
        }
    }
}
