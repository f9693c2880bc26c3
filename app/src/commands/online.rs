//! What clients see of the tenant and of the deployed server: asked for by their public addresses, without a token.

use anyhow::Context;
use domain::{Clock, ScopeSet};
use hyper_transport::{Published, published};
use online_checks::{Check, Endpoint, Finding, Outcome, Severity, Subject};
use system_clock::SystemClock;
use url::Url;

use super::print;
use crate::config::Settings;
use crate::wiring::{covers, http_settings};

/// Asks for everything that a client meets before it has a token, and compares it with what a server of these settings sends,
/// if a first login asks for `login_scopes`. Blocks.
pub(super) fn run(settings: &Settings, login_scopes: &ScopeSet) -> anyhow::Result<Vec<Check>> {
    let subject = subject(settings, login_scopes)?;
    let clock = SystemClock::start();
    Ok(online_checks::run(&subject, &|| clock.now().seconds().0))
}

fn subject(settings: &Settings, login_scopes: &ScopeSet) -> anyhow::Result<Subject> {
    let http = http_settings(settings, settings.server.port);
    let endpoints: anyhow::Result<Vec<Endpoint>> =
        published(&http, login_scopes).iter().map(endpoint).collect();
    Ok(Subject {
        issuer: http.issuer,
        additional_issuers: settings.auth0.additional_issuers.clone(),
        jwks_url: settings.keys.jwks_url.as_url().clone(),
        leeway_seconds: settings.tokens.leeway.as_secs().try_into().unwrap_or(i64::MAX),
        endpoints: endpoints?,
    })
}

fn endpoint(published: &Published) -> anyhow::Result<Endpoint> {
    let endpoint = &published.endpoint;
    let url = |text: String| Url::parse(&text).with_context(|| format!("{text} is no URL"));
    Ok(Endpoint {
        url: url(endpoint.url())?,
        metadata_url: url(endpoint.metadata_url())?,
        audience: endpoint.resource.to_string(),
        is_covered: covers(&endpoint.resource, &endpoint.url()),
        metadata: serde_json::from_slice(&published.metadata).context("the metadata can't be read")?,
        challenge: published.challenge.clone(),
    })
}

/// Prints checks for people, those of one address together.
pub(super) fn show(checks: &[Check]) {
    let mut target = None;
    for check in checks {
        if target != Some(&check.target) {
            print(&check.target);
            target = Some(&check.target);
        }
        match &check.outcome {
            Outcome::Fine { seen } => print(&format!("  ok       {}: {seen}", check.name)),
            Outcome::NotJudged { why } => print(&format!("  unknown  {}: {why}", check.name)),
            Outcome::Finding(finding) => show_finding(check.name, finding),
        }
    }
}

fn show_finding(name: &str, finding: &Finding) {
    let severity = match finding.severity {
        Severity::Problem => "problem",
        Severity::Warning => "warning",
    };
    print(&format!("  {severity}  {name}: {} ({})", finding.seen, finding.fault.id()));
    print(&format!("             users meet: {}", finding.symptom));
    for way in &finding.mend {
        print(&format!("             mend: {way}"));
    }
}
