//! `tenant doctor` and `tenant drift`: what is not as it should be, what users meet, and how to mend it.

use std::process::ExitCode;

use auth0_management::Reading;
use online_checks::Check;
use serde::Serialize;
use tenant::{Finding, ManagementScopes, Severity, findings};

use super::access::how_to_get_access;
use super::load::{Loaded, blocking, load};
use super::plan::{connected, with_scopes};
use super::{DIFFERENT, TenantArguments};
use crate::commands::loading::json;
use crate::commands::{eprint, online, print};
use crate::server::ServerBuilder;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    tenant: TenantArguments,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DriftArguments {
    #[command(flatten)]
    tenant: TenantArguments,
}

/// What the Management API is read for.
const SETTINGS: &str = "the tenant's settings";

/// What is known of the tenant.
#[derive(Serialize)]
struct Report {
    /// What clients see, without a token.
    online: Vec<Check>,
    /// What is wrong with the tenant's settings.
    findings: Vec<Finding>,
    /// What could not be judged, and why.
    not_judged: Vec<String>,
    /// Why the settings could not be read although there are credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = load(builder, &arguments.tenant)?;
    let report = blocking(|| report(&loaded))?;
    if arguments.json {
        print(&json(&report)?);
    } else {
        show(&report, loaded.program);
    }
    let is_problem = |finding: &Finding| finding.severity == Severity::Problem;
    let has_problem = report.error.is_some()
        || report.findings.iter().any(is_problem)
        || report.online.iter().any(Check::is_problem);
    Ok(if has_problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(super) fn drift(builder: ServerBuilder, arguments: &DriftArguments) -> anyhow::Result<ExitCode> {
    let loaded = load(builder, &arguments.tenant)?;
    let (found, not_judged) = blocking(|| judged(&loaded))?;
    for what in &not_judged {
        eprint(&format!("not judged: {what}"));
    }
    // Advice is no difference.
    let found: Vec<Finding> =
        found.into_iter().filter(|finding| finding.severity != Severity::Advice).collect();
    for finding in &found {
        print(&format!(
            "{} {}: {}",
            finding.setting.id(),
            tenant::safe(&finding.target),
            tenant::safe(&finding.seen)
        ));
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn report(loaded: &Loaded) -> anyhow::Result<Report> {
    let online = online::run(&loaded.settings, &loaded.login_scopes)?;
    if loaded.credentials.is_none() {
        let scopes = ManagementScopes::to_plan(&loaded.wanted).and(&ManagementScopes::to_diagnose());
        let not_judged = vec![format!("{SETTINGS}: {}", how_to_get_access(&scopes.to_string()))];
        return Ok(Report { online, findings: Vec::new(), not_judged, error: None });
    }
    // What clients see is told all the same: it may say what is wrong with the domain.
    Ok(match judged(loaded) {
        Ok((findings, not_judged)) => Report { online, findings, not_judged, error: None },
        Err(error) => {
            let not_judged = vec![SETTINGS.to_owned()];
            Report { online, findings: Vec::new(), not_judged, error: Some(format!("{error:#}")) }
        }
    })
}

/// Reads the tenant's settings and judges them. Returns what is wrong, and what could not be judged.
fn judged(loaded: &Loaded) -> anyhow::Result<(Vec<Finding>, Vec<String>)> {
    let mut management = connected(loaded)?;
    let present = management.read(&loaded.wanted, Reading::Diagnosis);
    let present = present.map_err(|error| with_scopes(error, &ManagementScopes::to_plan(&loaded.wanted)))?;
    let not_judged = present.unread.iter().map(|scope| format!("what takes the Management scope {scope}"));
    Ok((findings(&loaded.wanted, &present), not_judged.collect()))
}

fn show(report: &Report, program: &str) {
    online::show(&report.online);
    let mut target = None;
    for finding in &report.findings {
        if target != Some(&finding.target) {
            print(&tenant::safe(&finding.target));
            target = Some(&finding.target);
        }
        show_finding(finding, program);
    }
    for what in &report.not_judged {
        print(&format!("not judged: {what}"));
    }
    if let Some(error) = &report.error {
        eprint(&format!("error: {error}"));
    }
    if report.findings.is_empty() && report.not_judged.is_empty() {
        print("The tenant's settings are as the server needs them.");
    }
}

fn show_finding(finding: &Finding, program: &str) {
    let severity = match finding.severity {
        Severity::Problem => "problem",
        Severity::Warning => "warning",
        Severity::Advice => "advice ",
    };
    print(&format!("  {severity}  {} ({})", tenant::safe(&finding.seen), finding.setting.id()));
    print(&format!("             users meet: {}", finding.symptom));
    print(&format!("             mend: {}", finding.command.replace(env!("CARGO_PKG_NAME"), program)));
    print(&format!("             mend: dashboard: {}", finding.dashboard));
}
