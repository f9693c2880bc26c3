//! `policy diff`: decisions that were made, judged anew. The file is read line by line, and no more of it is kept than counts and a
//! few examples.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use domain::{AccessRequest, ExtraClaims, ScopeSet, Target, UnixSeconds, Unmet};
use serde::{Deserialize, Serialize};

use super::judge::{Caller, Policy, Refusal};
use crate::commands::explain::for_terminals;
use crate::commands::loading::{json, load, print_refusal};
use crate::commands::{ServiceArguments, eprint, print, runtime};
use crate::server::ServerBuilder;

/// The exit code where decisions can't be judged because the file is not what it should be.
const BAD_FILE: u8 = 2;
/// The maximum length of a line, in bytes. The longest events have a few thousand.
const MAX_LINE: u64 = 32 * 1024;
/// The maximum number of groups, of examples in each, and of bad lines that are named.
const MAX_GROUPS: usize = 1000;
const MAX_EXAMPLES: usize = 3;
const MAX_BAD_LINES: usize = 20;

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Arguments {
    /// A file of audit events (audit.to = "file")
    #[arg(value_name = "AUDIT_FILE")]
    file: PathBuf,
    #[command(flatten)]
    service: ServiceArguments,
    /// Print one JSON document, also about a configuration that can't be used
    #[arg(long)]
    json: bool,
}

/// An audit event, as far as it is judged anew.
#[derive(Deserialize)]
struct Event {
    verdict: OldVerdict,
    reason: Option<String>,
    sub: Option<String>,
    client_id: Option<String>,
    iss: Option<String>,
    org_id: Option<String>,
    audience: Option<String>,
    method: Option<String>,
    target: Option<String>,
    scopes_held: Option<Vec<String>>,
    policy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OldVerdict {
    Allow,
    Deny,
}

#[derive(Default, Serialize)]
struct Report {
    /// The version of the rules that decides now.
    policy_version: String,
    /// The versions that decided then, at most a few of them.
    earlier_versions: Vec<String>,
    /// The events that were judged anew.
    judged: u64,
    /// The events that are about something else, such as refused tokens and used up quotas.
    skipped: u64,
    changes: Vec<Group>,
    /// The events that could not be judged, by the rules that depend on what no event has.
    undecided: BTreeMap<String, u64>,
    /// The events that rules in shadow mode would refuse, by those.
    would_refuse: BTreeMap<String, u64>,
    /// The number of lines that are no events, and the numbers of the first ones.
    bad_lines: u64,
    first_bad_lines: Vec<u64>,
    #[serde(skip)]
    groups: BTreeMap<GroupKey, (u64, Vec<Example>)>,
}

/// Decisions that change in the same way.
#[derive(Serialize)]
struct Group {
    #[serde(flatten)]
    key: GroupKey,
    count: u64,
    examples: Vec<Example>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct GroupKey {
    /// `allow` or `deny`.
    now: &'static str,
    method: String,
    target: String,
    /// The reason code of the denial, the new one or the one that goes.
    reason: String,
    /// The rules that deny now.
    rules: Vec<String>,
}

#[derive(Serialize)]
struct Example {
    line: u64,
    sub: String,
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<String>,
}

/// What the configuration decides of an event.
enum Outcome {
    Allowed,
    Denied(Refusal),
    Undecided(Vec<String>),
}

/// Prints the decisions that change. Succeeds if none does.
pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = match File::open(&arguments.file).context("the file can't be read") {
        Ok(file) => file,
        Err(error) => return Ok(unreadable(&arguments.file, &error)),
    };
    let sources = arguments.service.sources(&builder.profile);
    let policy = runtime()?.block_on(load(builder, sources, async |set_up, settings, catalog| {
        Ok((Policy::new(&settings, catalog)?, set_up.clock.now().seconds()))
    }));
    let (policy, now) = match policy {
        Ok(policy) => policy,
        Err(error) => {
            if arguments.json {
                print_refusal(&error)?;
            }
            return Err(error);
        }
    };
    let mut report = Report { policy_version: policy.version(), ..Report::default() };
    if let Err(error) = report.replay(&policy, now, BufReader::new(file)) {
        return Ok(unreadable(&arguments.file, &error));
    }
    report.finish();
    print(&for_terminals(&if arguments.json { json(&report)? } else { report.to_text() }));
    Ok(match (report.changes.is_empty(), report.bad_lines) {
        (false, _) => ExitCode::FAILURE,
        (true, 0) => ExitCode::SUCCESS,
        (true, _) => ExitCode::from(BAD_FILE),
    })
}

fn unreadable(file: &Path, error: &anyhow::Error) -> ExitCode {
    eprint(&format!("error: {}: {error:#}", file.display()));
    ExitCode::from(BAD_FILE)
}

impl Report {
    /// Judges every line of a file.
    fn replay(&mut self, policy: &Policy, now: UnixSeconds, mut lines: impl BufRead) -> anyhow::Result<()> {
        let (mut number, mut line) = (0, Vec::new());
        loop {
            line.clear();
            let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            if read.context("the file can't be read")? == 0 {
                return Ok(());
            }
            number += 1;
            let is_whole = line.ends_with(b"\n") || line.len() as u64 != MAX_LINE;
            if !is_whole {
                lines.skip_until(b'\n').context("the file can't be read")?;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match serde_json::from_slice::<Event>(&line) {
                Ok(event) if is_whole => self.judge(policy, now, number, event),
                _ => self.bad_line(number),
            }
        }
    }

    fn bad_line(&mut self, number: u64) {
        self.bad_lines += 1;
        if self.first_bad_lines.len() < MAX_BAD_LINES {
            self.first_bad_lines.push(number);
        }
    }

    fn judge(&mut self, policy: &Policy, now: UnixSeconds, number: u64, event: Event) {
        if !event.is_about_policy() {
            self.skipped += 1;
            return;
        }
        let Some((outcome, would_refuse)) = event.judge(policy, now) else {
            return self.bad_line(number);
        };
        self.judged += 1;
        self.note_version(event.policy.as_deref());
        for rule in would_refuse {
            *self.would_refuse.entry(rule).or_default() += 1;
        }
        match (event.verdict, outcome) {
            (OldVerdict::Allow, Outcome::Allowed) | (OldVerdict::Deny, Outcome::Denied(_)) => {}
            (OldVerdict::Allow, Outcome::Denied(Refusal { reason, rules })) => {
                self.change("deny", number, event, reason.to_owned(), rules);
            }
            (OldVerdict::Deny, Outcome::Allowed) => {
                let reason = event.reason.clone().unwrap_or_default();
                self.change("allow", number, event, reason, Vec::new());
            }
            (_, Outcome::Undecided(rules)) => {
                for rule in rules {
                    *self.undecided.entry(rule).or_default() += 1;
                }
            }
        }
    }

    fn note_version(&mut self, version: Option<&str>) {
        let known = &mut self.earlier_versions;
        if let Some(version) = version
            && known.len() < MAX_EXAMPLES
            && known.iter().all(|known| known != version)
        {
            known.push(version.to_owned());
        }
    }

    fn change(&mut self, now: &'static str, line: u64, event: Event, reason: String, rules: Vec<String>) {
        let (method, target) = (event.method.unwrap_or_default(), event.target.unwrap_or_default());
        let mut key = GroupKey { now, method, target, reason, rules };
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            let [method, target, reason] = ["other"; 3].map(str::to_owned);
            key = GroupKey { now, method, target, reason, rules: Vec::new() };
        }
        let (count, examples) = self.groups.entry(key).or_default();
        *count += 1;
        if examples.len() < MAX_EXAMPLES {
            let (sub, client_id) = (event.sub.unwrap_or_default(), event.client_id.unwrap_or_default());
            examples.push(Example { line, sub, client_id, org_id: event.org_id });
        }
    }

    /// Puts the changes in order: the most frequent ones first.
    fn finish(&mut self) {
        let groups = std::mem::take(&mut self.groups).into_iter();
        self.changes = groups.map(|(key, (count, examples))| Group { key, count, examples }).collect();
        self.changes.sort_by_key(|group| std::cmp::Reverse(group.count));
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for (now, title) in [("deny", "would be denied now"), ("allow", "would be allowed now")] {
            let groups = self.changes.iter().filter(|group| group.key.now == now);
            let total: u64 = groups.clone().map(|group| group.count).sum();
            if total > 0 {
                let _ = writeln!(text, "{title}: {total}");
            }
            for Group { key, count, examples } in groups {
                let GroupKey { method, target, reason, rules, .. } = key;
                let was = if now == "allow" { "was " } else { "" };
                let by = if rules.is_empty() {
                    String::new()
                } else {
                    format!(" by the rule {}", rules.join(", "))
                };
                let _ = writeln!(text, "  {count:>6}  {method} {target}: {was}{reason}{by}");
                for Example { line, sub, client_id, org_id } in examples {
                    let org = org_id.as_ref().map(|org| format!(", organization {org}")).unwrap_or_default();
                    let _ = writeln!(text, "          line {line}: {sub} by {client_id}{org}");
                }
            }
        }
        for (rules, title) in [
            (
                &self.undecided,
                "not judged, since a rule depends on what no event has: arguments, custom claims, the login",
            ),
            (&self.would_refuse, "would be refused now, were the rule not in shadow mode"),
        ] {
            if !rules.is_empty() {
                let _ = writeln!(text, "{title}");
            }
            for (rule, count) in rules {
                let _ = writeln!(text, "  {count:>6}  {rule}");
            }
        }
        if self.bad_lines > 0 {
            let numbers: Vec<String> = self.first_bad_lines.iter().map(ToString::to_string).collect();
            let more = if self.bad_lines > self.first_bad_lines.len() as u64 { ", ..." } else { "" };
            let _ =
                writeln!(text, "no audit events: {} lines ({}{more})", self.bad_lines, numbers.join(", "));
        }
        let changed: u64 = self.changes.iter().map(|group| group.count).sum();
        let versions = if self.earlier_versions.is_empty() {
            "none".to_owned()
        } else {
            self.earlier_versions.join(", ")
        };
        let _ = write!(
            text,
            "{changed} of {} decisions change; {} events are about something else; policy {versions} -> {}",
            self.judged, self.skipped, self.policy_version
        );
        text
    }
}

impl Event {
    /// Returns whether scopes and rules decided it, and nothing else.
    fn is_about_policy(&self) -> bool {
        let is_ours = |reason: &str| {
            reason == "insufficient_scope" || Unmet::ALL.iter().any(|unmet| unmet.code() == reason)
        };
        self.method.is_some() && self.target.is_some() && self.reason.as_deref().is_none_or(is_ours)
    }

    /// Judges it, and returns the rules in shadow mode that would refuse it, too; `None` if it lacks what every event about scopes has.
    fn judge(&self, policy: &Policy, now: UnixSeconds) -> Option<(Outcome, Vec<String>)> {
        let caller = Caller {
            subject: self.sub.clone()?,
            client_id: self.client_id.clone()?,
            issuer: self.iss.clone()?,
            audience: self.audience.as_deref()?.into(),
            organization: self.org_id.clone(),
            scopes: ScopeSet::granted_by(self.scopes_held.as_ref()?.iter().map(String::as_str)),
            extra: ExtraClaims::default(),
        };
        let target = target(policy, self.method.as_deref()?, self.target.as_deref()?);
        let principal = match policy.admit(caller, now) {
            Ok(principal) => principal,
            Err(rejection) => return Some((Outcome::denied(rejection.code()), Vec::new())),
        };
        let request =
            AccessRequest { principal: &principal, is_token_whole: false, target, arguments: None, now };
        let Some(judged) = policy.judge(&request) else {
            return Some((Outcome::denied("not_on_offer"), Vec::new()));
        };
        let names = |rules: &[std::sync::Arc<str>]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
        let outcome = match (&judged.denial, judged.undecided.is_empty()) {
            (Some(denial), _) => Outcome::Denied(Refusal::of(denial)),
            (None, true) => Outcome::Allowed,
            (None, false) => Outcome::Undecided(names(&judged.undecided)),
        };
        Some((outcome, names(&judged.would_refuse)))
    }
}

impl Outcome {
    const fn denied(reason: &'static str) -> Self {
        Self::Denied(Refusal { reason, rules: Vec::new() })
    }
}

/// Returns what an event's method and target stand for.
fn target<'a>(policy: &Policy, method: &str, name: &'a str) -> Target<'a> {
    let is_prompt = || policy.catalog().prompts.specs().any(|spec| spec.name == name);
    match method {
        "tools/call" => Target::Tool(name),
        "prompts/get" => Target::Prompt(name),
        "completion/complete" if is_prompt() => Target::Prompt(name),
        "resources/read" | "completion/complete" => Target::Resource(name),
        _ => Target::Method(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_judged_again_only_where_scopes_or_rules_decided() {
        let event =
            |more: &str| serde_json::from_str::<Event>(&format!("{{\"verdict\":\"deny\"{more}}}")).unwrap();
        let of_tool = r#","method":"tools/call","target":"pay""#;
        for (reason, expected) in [
            ("", true),
            (r#","reason":"insufficient_scope""#, true),
            (r#","reason":"login_too_old""#, true),
            (r#","reason":"rate_exceeded""#, false),
            (r#","reason":"expired""#, false),
        ] {
            assert_eq!(event(&format!("{of_tool}{reason}")).is_about_policy(), expected, "{reason}");
        }
        assert!(!event(r#","method":"tools/call","reason":"unknown_tool""#).is_about_policy());
    }

    #[test]
    fn groups_are_bounded() {
        let mut report = Report::default();
        for number in 0..3 * MAX_GROUPS as u64 {
            let event = format!(r#"{{"verdict":"allow","method":"tools/call","target":"t{number}"}}"#);
            let event = serde_json::from_str(&event).unwrap();
            report.change("deny", number, event, "insufficient_scope".into(), Vec::new());
        }
        report.finish();
        assert_eq!(report.changes.len(), MAX_GROUPS + 1);
        assert_eq!(report.changes[0].count, 2 * MAX_GROUPS as u64);
        assert!(report.changes.iter().all(|group| group.examples.len() <= MAX_EXAMPLES));
    }
}
