//! `check`: what would be in force, and where it comes from.

use std::collections::BTreeMap;
use std::process::ExitCode;

use domain::{
    Catalog, Clock, PolicyVersion, Scope, ScopeHierarchy, ScopeSet, ToolCatalog, ToolSpec, UnixSeconds,
};
use hyper_transport::PublicEndpoint;
use online_checks::Check;
use serde::Serialize;
use system_clock::SystemClock;

use super::loading::{json, load, print_refusal};
use super::upstreams::{self, UpstreamReport};
use super::{ServiceArguments, eprint, online, print, runtime};
use crate::certificates::Certificate;
use crate::config::settings::tls::TlsFiles;
use crate::config::{Settings, shown_key};
use crate::server::ServerBuilder;
use crate::upstream_rules::deciding_key;
use crate::wiring::{audience_warnings, http_settings, rules, scopes, without_switched_off};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    service: ServiceArguments,
    /// Print one JSON document, also about a configuration that can't be used
    #[arg(long)]
    json: bool,
    /// Also ask the tenant, and the deployed server by its public URLs, as clients do; no token is sent
    #[arg(long)]
    online: bool,
}

/// A configuration that can be used.
#[derive(Serialize)]
struct Report {
    valid: bool,
    issuer: String,
    /// The main one first.
    endpoints: Vec<EndpointReport>,
    values: Vec<ValueReport>,
    tools: Vec<ToolReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    upstreams: Vec<UpstreamReport>,
    /// What a first login asks for.
    login_scopes: Vec<String>,
    /// The version of the rules, as audit events have it.
    policy_version: String,
    /// The certificate of the listening sockets, if they have TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateReport>,
    warnings: Vec<String>,
    /// What was asked for over the network, and what came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<Vec<Check>>,
}

#[derive(Serialize)]
struct EndpointReport {
    url: String,
    metadata: String,
    audience: String,
}

impl EndpointReport {
    fn of(endpoint: &PublicEndpoint) -> Self {
        let (url, metadata) = (endpoint.url(), endpoint.metadata_url());
        Self { url, metadata, audience: endpoint.resource.to_string() }
    }
}

#[derive(Serialize)]
struct CertificateReport {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
    /// Why clients would refuse it, or the server can't use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// They are among those of the report.
    #[serde(skip)]
    warnings: Vec<String>,
}

impl CertificateReport {
    fn of(files: &TlsFiles, now: UnixSeconds) -> Self {
        let file = files.certificate.display().to_string();
        match Certificate::read(files) {
            Ok(certificate) => {
                let (from, until) = certificate.validity();
                Self {
                    file,
                    valid_from: Some(from),
                    valid_until: Some(until),
                    problem: certificate.fault(now),
                    warnings: certificate.warnings(files, now),
                }
            }
            Err(error) => {
                let problem = Some(format!("{error:#}"));
                Self { file, valid_from: None, valid_until: None, problem, warnings: Vec::new() }
            }
        }
    }
}

#[derive(Serialize)]
struct ValueReport {
    key: String,
    value: serde_json::Value,
    source: String,
}

#[derive(Serialize)]
struct ToolReport {
    name: String,
    enabled: bool,
    /// What a call needs, all of it.
    scopes: Vec<String>,
    /// The broader scopes that stand for one of these, for each that has any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    implied_by: BTreeMap<String, Vec<String>>,
    /// Where the scopes come from, if not from the tool itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// The key of the upstream's rule that says them, unless `source` is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// The upstream that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    /// Its name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_name: Option<String>,
    /// Whether that differs from its name here by more than the prefix.
    #[serde(skip)]
    is_renamed: bool,
}

impl ToolReport {
    /// Returns what decides on its scopes, and its name at the upstream, if it has another there.
    fn shown_source(&self) -> Option<String> {
        let source = self.source.as_ref().or(self.rule.as_ref())?;
        let upstream_name = self.upstream_name.as_ref().filter(|_| self.is_renamed);
        Some(match upstream_name {
            Some(name) => format!("{source}: {name}"),
            None => source.clone(),
        })
    }
}

/// Prints every value with its source, and every tool with its scopes. The set-up runs, as it would before serving, and what
/// it made is shut down. Fails if an upstream is not there: the configuration is good, but not all that it names; and if an
/// online check finds a problem.
pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let sources = arguments.service.sources(&builder.profile);
    let loaded = runtime()?.block_on(load(builder, sources, async |set_up, settings, catalog| {
        let upstreams = upstreams::reports(set_up, &settings, &catalog);
        Ok((settings, catalog, upstreams))
    }));
    let (settings, catalog, upstreams) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            if arguments.json {
                print_refusal(&error)?;
            }
            return Err(error);
        }
    };
    let all_there = upstreams.iter().all(|upstream| upstream.problem.is_none());
    let mut misfits = upstreams.iter().flat_map(|upstream| &upstream.misfits);
    let all_fit = !misfits.any(|misfit| misfit.is_fault);
    let report = report(&settings, catalog, upstreams, arguments.online)?;
    let no_problem = !report.online.iter().flatten().any(Check::is_problem);
    let certificate_problem =
        report.certificate.as_ref().and_then(|certificate| certificate.problem.as_ref());
    if arguments.json {
        print(&json(&report)?);
    } else {
        show(&settings, &report);
    }
    if !all_fit {
        eprint("error: a rule with `scopes` or `hidden` names a tool that the upstream does not have");
    }
    if let Some(problem) = certificate_problem {
        eprint(&format!("error: {problem}"));
    }
    Ok(if all_there && all_fit && no_problem && certificate_problem.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn report(
    settings: &Settings,
    catalog: Catalog,
    upstreams: Vec<UpstreamReport>,
    asks_online: bool,
) -> anyhow::Result<Report> {
    let http = http_settings(settings, settings.server.port);
    let now = SystemClock::start().now().seconds();
    let certificate = settings.tls.as_ref().map(|files| CertificateReport::of(files, now));
    let warnings = settings.warnings.iter().cloned().chain(audience_warnings(settings, &http));
    let warnings = warnings.chain(certificate.iter().flat_map(|certificate| certificate.warnings.clone()));
    let misfits = upstreams.iter().flat_map(|upstream| &upstream.misfits);
    let warnings = warnings.chain(misfits.map(|misfit| misfit.message.clone())).collect();
    let values = settings.effective.iter().map(|effective| ValueReport {
        key: effective.key.clone(),
        value: effective.json.clone(),
        source: effective.source.clone(),
    });
    let tools = tools(settings, &catalog.tools, &upstreams);
    let catalog = without_switched_off(settings, catalog);
    let policy = scopes(settings, &catalog)?;
    let policy_version = PolicyVersion::of(
        &settings.token_policy(),
        &catalog,
        &policy,
        settings.rules.access(&settings.identity_provider).as_deref(),
    );
    let login = policy.login_scopes();
    Ok(Report {
        valid: true,
        issuer: http.issuer.clone(),
        endpoints: http.endpoints().map(EndpointReport::of).collect(),
        values: values.collect(),
        tools,
        upstreams,
        login_scopes: texts(login.iter()),
        policy_version: policy_version.to_string(),
        certificate,
        warnings,
        online: if asks_online { Some(online::run(settings, login)?) } else { None },
    })
}

fn tools(settings: &Settings, catalog: &ToolCatalog, upstreams: &[UpstreamReport]) -> Vec<ToolReport> {
    let rules = rules(settings, catalog);
    let report = |spec: &ToolSpec| {
        let name = &spec.name;
        let rule = rules.iter().find(|(tool, _)| tool == name);
        let scopes = rule.map(|(_, scopes)| scopes.clone()).unwrap_or_default();
        let key = shown_key(&["tools".to_owned(), name.to_string(), "scopes".to_owned()]);
        let source = settings.effective.iter().find(|effective| effective.key == key);
        let its_name = |upstream: &'_ UpstreamReport| {
            let mut names = upstream.tools.iter().zip(&upstream.upstream_names);
            let (_, upstream_name) = names.find(|(tool, _)| *tool == name.as_str())?;
            Some((upstream.name.clone(), upstream_name.clone()))
        };
        let (upstream, upstream_name) = upstreams.iter().find_map(its_name).unzip();
        let key = upstream.as_ref().zip(upstream_name.as_ref()).filter(|_| source.is_none());
        let key = key.map(|(upstream, tool)| deciding_key(settings, upstream, tool, spec.hints));
        let prefix = settings.upstreams.iter().find(|options| Some(&options.name) == upstream.as_ref());
        let prefix = prefix.map(|options| options.prefix.as_str()).unwrap_or_default();
        let is_renamed = upstream_name
            .as_ref()
            .is_some_and(|upstream_name| name.as_str().strip_prefix(prefix) != Some(upstream_name.as_str()));
        ToolReport {
            rule: key,
            upstream,
            upstream_name,
            is_renamed,
            name: name.to_string(),
            enabled: settings.tools.get(name).is_none_or(|rule| rule.enabled),
            scopes: texts(scopes.iter()),
            implied_by: implied_by(&settings.scopes.hierarchy, &scopes),
            source: source.map(|effective| effective.source.clone()),
        }
    };
    catalog.specs().map(report).collect()
}

fn texts<'a>(scopes: impl Iterator<Item = &'a Scope>) -> Vec<String> {
    scopes.map(ToString::to_string).collect()
}

fn implied_by(hierarchy: &ScopeHierarchy, scopes: &ScopeSet) -> BTreeMap<String, Vec<String>> {
    let broader = scopes.iter().map(|scope| (scope.to_string(), texts(hierarchy.broader(scope))));
    broader.filter(|(_, broader)| !broader.is_empty()).collect()
}

/// A tool's scopes, each with those that stand for it.
fn shown_scopes(tool: &ToolReport) -> String {
    let shown = |scope: &String| match tool.implied_by.get(scope) {
        Some(broader) => format!("{scope} (or {})", broader.join(", ")),
        None => scope.clone(),
    };
    tool.scopes.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn show(settings: &Settings, report: &Report) {
    let lines = settings.effective.iter().map(|effective| {
        (format!("{} = {}", effective.key, effective.value), Some(effective.source.as_str()))
    });
    print_columns(&lines.collect::<Vec<_>>());
    print("\ntools and the scopes that a call needs");
    let name_width = report.tools.iter().map(|tool| tool.name.len()).max().unwrap_or_default();
    let lines = report.tools.iter().map(|tool| {
        let scopes = match (tool.enabled, tool.scopes.as_slice()) {
            (false, _) => "(switched off)".to_owned(),
            (true, []) => "(none: every accepted token will do)".to_owned(),
            (true, _) => shown_scopes(tool),
        };
        (format!("  {:name_width$}  {scopes}", tool.name), tool.shown_source())
    });
    let lines: Vec<(String, Option<String>)> = lines.collect();
    let lines = lines.iter().map(|(line, source)| (line.clone(), source.as_deref()));
    print_columns(&lines.collect::<Vec<_>>());
    for upstream in &report.upstreams {
        print(&format!("\nupstream {}: {}", upstream.name, upstream.summary()));
        let lines = upstream.not_offered_lines();
        if !lines.is_empty() {
            print(&format!("not offered of it\n{}", lines.join("\n")));
        }
    }
    print(&match report.login_scopes.as_slice() {
        [] => "\na first login asks for no scope".to_owned(),
        scopes => format!("\na first login asks for {}", scopes.join(" ")),
    });
    print(&format!("\nissuer {}", report.issuer));
    for EndpointReport { url, audience, .. } in &report.endpoints {
        print(&format!("endpoint {url}, audience {audience}"));
    }
    print(&format!("policy version {}", report.policy_version));
    if let Some(CertificateReport { file, valid_until: Some(until), .. }) = &report.certificate {
        print(&format!("certificate {file}, valid until {until}"));
    }
    for warning in &report.warnings {
        eprint(&format!("warning: {warning}"));
    }
    if let Some(checks) = &report.online {
        print("\nwhat clients see");
        online::show(checks);
    }
}

/// Prints lines with their sources below each other.
fn print_columns(lines: &[(String, Option<&str>)]) {
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
    for (line, source) in lines {
        let gap = " ".repeat(width.saturating_sub(line.len()).min(60));
        match source {
            Some(source) => print(&format!("{line}{gap}  # {source}")),
            None => print(line),
        }
    }
}
