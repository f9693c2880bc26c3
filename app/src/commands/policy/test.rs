//! `policy test`: a table of cases, and what the configuration decides of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use domain::{AccessRequest, CustomClaims, ExtraClaims, ScopeSet, Target, UnixSeconds};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::judge::{Caller, Policy, Refusal};
use crate::commands::loading::{json, load, print_refusal};
use crate::commands::{ServiceArguments, print, runtime};
use crate::config::Settings;
use crate::config::settings::rules::Rules;
use crate::server::ServerBuilder;

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Arguments {
    /// A TOML file of [[case]] tables (docs/rules.md has one)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    service: ServiceArguments,
    /// Print one JSON document, also about a configuration that can't be used
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default, rename = "case")]
    cases: Vec<Case>,
}

/// Who asks for what, and what should come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    tool: Option<String>,
    resource: Option<String>,
    prompt: Option<String>,
    method: Option<String>,
    subject: Option<String>,
    client_id: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    organization: Option<String>,
    /// Custom claims, by their URLs.
    #[serde(default)]
    claims: BTreeMap<String, Value>,
    /// How long ago the user logged in; without it, the token does not say.
    login_seconds_ago: Option<u32>,
    acr: Option<String>,
    /// Of a tool; without them, no rule on arguments may matter.
    arguments: Option<Map<String, Value>>,
    expect: Expected,
    /// The reason code of a denial, if that matters.
    reason: Option<String>,
    /// The names of the rules that deny, if that matters.
    rules: Option<Vec<String>>,
    /// The names of the rules in shadow mode that would deny, if that matters.
    would_refuse: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Deny,
}

#[derive(Serialize)]
struct Report {
    passed: usize,
    failed: usize,
    cases: Vec<CaseReport>,
}

#[derive(Serialize)]
struct CaseReport {
    name: String,
    passed: bool,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Expected>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_refuse: Vec<String>,
}

/// What the configuration decides of a case.
struct Outcome {
    refusal: Option<Refusal>,
    would_refuse: Vec<String>,
}

/// Prints the cases that are not decided as expected. Succeeds if all are.
pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let cases = read(&arguments.file)?;
    let sources = arguments.service.sources(&builder.profile);
    let judged = runtime()?.block_on(load(builder, sources, async |set_up, settings, catalog| {
        let policy = Policy::new(&settings, catalog)?;
        let now = set_up.clock.now().seconds();
        Ok(cases.into_iter().map(|case| case.judge(&policy, &settings, now)).collect::<Vec<_>>())
    }));
    let cases = match judged {
        Ok(cases) => cases,
        Err(error) => {
            if arguments.json {
                print_refusal(&error)?;
            }
            return Err(error);
        }
    };
    let passed = cases.iter().filter(|case| case.passed).count();
    let report = Report { passed, failed: cases.len() - passed, cases };
    print(&if arguments.json { json(&report)? } else { report.to_text() });
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> anyhow::Result<Vec<Case>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    let Cases { cases } =
        toml::from_str(&text).with_context(|| format!("{} is no table of cases", file.display()))?;
    anyhow::ensure!(!cases.is_empty(), "{} has no [[case]]", file.display());
    Ok(cases)
}

impl Report {
    fn to_text(&self) -> String {
        let failed = self.cases.iter().filter(|case| !case.passed);
        let failed = failed.map(|case| format!("FAIL  {}: {}\n", case.name, case.problems.join("; ")));
        let total = self.cases.len();
        format!("{}{} of {total} cases are decided as expected", failed.collect::<String>(), self.passed)
    }
}

impl Case {
    fn judge(self, policy: &Policy, settings: &Settings, now: UnixSeconds) -> CaseReport {
        let (problems, outcome) = match self.outcome(policy, settings, now) {
            Ok(outcome) => (self.differences(&outcome), Some(outcome)),
            Err(problem) => (vec![problem], None),
        };
        let verdict = outcome.as_ref().map(Outcome::verdict);
        let (refusal, would_refuse) =
            outcome.map(|outcome| (outcome.refusal, outcome.would_refuse)).unwrap_or_default();
        let (reason, rules) = refusal.map(|refusal| (refusal.reason, refusal.rules)).unzip();
        CaseReport {
            name: self.name,
            passed: problems.is_empty(),
            problems,
            verdict,
            reason,
            rules: rules.unwrap_or_default(),
            would_refuse,
        }
    }

    fn outcome(&self, policy: &Policy, settings: &Settings, now: UnixSeconds) -> Result<Outcome, String> {
        let target = self.target(policy)?;
        let caller = self.caller(settings, now)?;
        let principal =
            policy.admit(caller, now).map_err(|rejection| format!("{}: {rejection}", rejection.code()))?;
        let arguments = match (&self.arguments, target) {
            (None, _) => None,
            (Some(arguments), Target::Tool(tool)) => {
                let fitted = policy.fit(tool, Value::Object(arguments.clone()));
                Some(fitted.map_err(|error| format!("the tool's schema refuses the arguments: {error}"))?)
            }
            (Some(_), _) => return Err("arguments are of tools alone".to_owned()),
        };
        let request = AccessRequest {
            principal: &principal,
            is_token_whole: true,
            target,
            arguments: arguments.as_ref(),
            now,
        };
        let judged = policy.judge(&request).ok_or("there is nothing of that name on offer")?;
        if let ([rule, ..], None) = (judged.undecided.as_slice(), &judged.denial) {
            return Err(format!("that depends on the arguments, by the rule {rule}: name them"));
        }
        let would_refuse = judged.would_refuse.iter().map(ToString::to_string).collect();
        Ok(Outcome { refusal: judged.denial.as_ref().map(Refusal::of), would_refuse })
    }

    /// Returns what is asked for, as the catalog names it.
    fn target<'a>(&'a self, policy: &'a Policy) -> Result<Target<'a>, String> {
        match (&self.tool, &self.resource, &self.prompt, &self.method) {
            (Some(name), None, None, None) => Ok(Target::Tool(name)),
            (None, Some(uri), None, None) => {
                let resources = &policy.catalog().resources;
                let is_address = resources.specs().any(|spec| spec.address.as_str() == uri);
                let address = resources.address_of(uri).filter(|_| !is_address);
                Ok(Target::Resource(address.map_or(uri, |address| address.as_str())))
            }
            (None, None, Some(name), None) => Ok(Target::Prompt(name)),
            (None, None, None, Some(name)) => Ok(Target::Method(name)),
            _ => Err("must have one of tool, resource, prompt and method".to_owned()),
        }
    }

    fn caller(&self, settings: &Settings, now: UnixSeconds) -> Result<Caller, String> {
        let scopes = ScopeSet::parse_all(self.scopes.iter().map(String::as_str));
        Ok(Caller {
            subject: self.subject.clone().unwrap_or_else(|| "auth0|case".to_owned()),
            client_id: self.client_id.clone().unwrap_or_else(|| "case".to_owned()),
            issuer: settings.auth0.issuer.clone(),
            audience: Arc::clone(&settings.auth0.audience),
            organization: self.organization.clone(),
            scopes: scopes.map_err(|error| error.to_string())?,
            extra: self.extra(&settings.rules, now)?,
        })
    }

    /// Returns the claims about the login, where the configuration has them, and the custom ones.
    fn extra(&self, rules: &Rules, now: UnixSeconds) -> Result<ExtraClaims, String> {
        let mut extra = ExtraClaims { custom: CustomClaims::default(), ..ExtraClaims::default() };
        if let Some(name) = self.claims.keys().find(|name| !CustomClaims::is_name(name)) {
            return Err(format!(
                "the claim {name:?} is not named by an https or http URL, as custom claims are"
            ));
        }
        let mut custom = self.claims.clone();
        let at = self.login_seconds_ago.map(|ago| UnixSeconds(now.0.saturating_sub(i64::from(ago))));
        let login = rules.login_claims();
        match (&login.auth_time, at) {
            (Some(name), Some(at)) => drop(custom.insert(name.clone(), at.0.into())),
            (_, at) => extra.authenticated_at = at,
        }
        match (&login.acr, &self.acr) {
            (Some(name), Some(acr)) => drop(custom.insert(name.clone(), acr.as_str().into())),
            (_, acr) => extra.authentication_context.clone_from(acr),
        }
        for (name, value) in custom {
            extra.custom.insert(&name, &value.to_string());
        }
        Ok(extra)
    }

    fn differences(&self, outcome: &Outcome) -> Vec<String> {
        let mut differences = Vec::new();
        let reason = outcome.refusal.as_ref().map(|refusal| refusal.reason);
        let mut differs = |what: &str, expected: String, was: String| {
            if expected != was {
                differences.push(format!("{what} is {was}, and should be {expected}"));
            }
        };
        let verdict =
            |verdict: Expected| if verdict == Expected::Allow { "allow" } else { "deny" }.to_owned();
        let named = match (outcome.verdict(), reason) {
            (Expected::Deny, Some(reason)) if self.expect == Expected::Allow => format!("deny ({reason})"),
            (was, _) => verdict(was),
        };
        differs("the verdict", verdict(self.expect), named);
        if let Some(expected) = &self.reason {
            differs("the reason", expected.clone(), reason.unwrap_or("none").to_owned());
        }
        let list = |names: &[String]| format!("[{}]", names.join(", "));
        if let Some(expected) = &self.rules {
            let rules = outcome.refusal.as_ref().map(|refusal| refusal.rules.as_slice()).unwrap_or_default();
            differs("the list of rules", list(expected), list(rules));
        }
        if let Some(expected) = &self.would_refuse {
            differs("the list of rules that would refuse", list(expected), list(&outcome.would_refuse));
        }
        differences
    }
}

impl Outcome {
    const fn verdict(&self) -> Expected {
        if self.refusal.is_some() { Expected::Deny } else { Expected::Allow }
    }
}
