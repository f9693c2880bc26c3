//! `tenant doctor` and `tenant drift`: what is not as it should be, what users meet, and how to mend it.

use std::process::ExitCode;

use anyhow::Context as _;
use auth0_management::Reading;
use serde::Serialize;
use tenant::{Finding, ManagementScopes, Severity, findings};

use super::access::how_to_get_access;
use super::load::{Loaded, blocking, load};
use super::plan::{connected, with_scopes};
use super::{DIFFERENT, TenantArguments};
use crate::commands::{eprint, print};
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

/// What is known of the tenant's settings.
#[derive(Serialize)]
struct Report {
    findings: Vec<Finding>,
    /// What could not be judged, and why.
    not_judged: Vec<String>,
}

pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = load(builder, &arguments.tenant)?;
    let report = blocking(|| report(&loaded))?;
    if arguments.json {
        print(&serde_json::to_string_pretty(&report).context("the findings can't be shown as JSON")?);
    } else {
        show(&report, loaded.credentials.is_some());
    }
    let has_problem = report.findings.iter().any(|finding| finding.severity == Severity::Problem);
    Ok(if has_problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(super) fn drift(builder: ServerBuilder, arguments: &DriftArguments) -> anyhow::Result<ExitCode> {
    let loaded = load(builder, &arguments.tenant)?;
    let Report { findings: found, not_judged } = blocking(|| judged(&loaded))?;
    for what in &not_judged {
        eprint(&format!("not judged: {what}"));
    }
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
    if loaded.credentials.is_some() {
        return judged(loaded);
    }
    let scopes = ManagementScopes::to_plan(&loaded.wanted).and(&ManagementScopes::to_diagnose());
    let not_judged = vec![format!("the tenant's settings: {}", how_to_get_access(&scopes.to_string()))];
    Ok(Report { findings: Vec::new(), not_judged })
}

/// Reads the tenant and judges it.
fn judged(loaded: &Loaded) -> anyhow::Result<Report> {
    let mut management = connected(loaded)?;
    let present = management.read(&loaded.wanted, Reading::Diagnosis);
    let present = present.map_err(|error| with_scopes(error, &ManagementScopes::to_plan(&loaded.wanted)))?;
    let not_judged = present.unread.iter().map(|scope| format!("what takes the Management scope {scope}"));
    Ok(Report { findings: findings(&loaded.wanted, &present), not_judged: not_judged.collect() })
}

fn show(report: &Report, has_access: bool) {
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Problem => "problem",
            Severity::Warning => "warning",
        };
        print(&format!(
            "{severity:<8} {}: {}\n  users meet  {}\n  dashboard   {}\n  command     {}\n",
            tenant::safe(&finding.target),
            tenant::safe(&finding.seen),
            finding.symptom,
            finding.dashboard,
            finding.command
        ));
    }
    for what in &report.not_judged {
        print(&format!("not judged: {what}"));
    }
    if has_access && report.findings.is_empty() {
        print("The tenant is as the server needs it, as far as it was judged.");
    }
}
