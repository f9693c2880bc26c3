//! What `explain` prints: as text, and as one JSON document.

use std::fmt::Write;
use std::sync::Arc;

use domain::rules::judge;
use domain::{
    AccessRequest, AccessRules, Denial, Judged as Verdicts, Principal, Scope, ScopeAuthority, ScopePolicy,
    ScopeSet, Target, UnixSeconds,
};
use serde::Serialize;
use serde_json::Value;

use super::decoded::{Decoded, Form, Part, TimeClaim};
use super::judged::{Check, Judge, Judged, Verdict};
use crate::wiring::rules;

/// The maximum length of a part that is shown, in characters. Usual ones are far shorter.
const MAX_PART: usize = 32 * 1024;

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) accepted: bool,
    /// The reason code that the server would refuse it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Whether the issuer's key proved the signature; if not, anybody may have written the rest.
    proved: bool,
    form: Form,
    header: Value,
    payload: Value,
    times: Vec<TimeClaim>,
    checks: Vec<Check>,
    /// The URLs of the endpoints that the token is for.
    endpoints: Vec<String>,
    /// Which claims grant scopes.
    authority: &'static str,
    /// What the token grants, itself; `null` if it is refused whatever its scopes.
    granted: Option<Vec<String>>,
    tools: Vec<Item>,
    resources: Vec<Item>,
    prompts: Vec<Item>,
    methods: Vec<Item>,
    missing_scopes: Vec<MissingScope>,
    pub(super) warnings: Vec<String>,
    /// The parts as text.
    #[serde(skip)]
    shown_parts: String,
}

/// Something on offer, and whether the token suffices for it. Of a token that is refused for its time alone, whether it did.
#[derive(Serialize)]
struct Item {
    name: String,
    /// What it needs, all of it.
    scopes: Vec<String>,
    /// Whether the token may; `null` if it is refused whatever its scopes.
    may_call: Option<bool>,
    missing: Vec<String>,
    /// The broader scopes that the token has in place of those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    implied_by: Vec<String>,
    /// The reason code of a refusal by rules, and the names of the rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<String>,
    /// The rules in shadow mode that would refuse it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_refuse: Vec<String>,
    /// The rules that depend on the arguments of a call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on_arguments: Vec<String>,
}

/// A scope that something needs and the token lacks.
#[derive(Serialize)]
struct MissingScope {
    scope: String,
    /// Where it can come from.
    advice: &'static str,
}

impl Report {
    pub(super) fn new(judge: &Judge, judged: Judged, warnings: Vec<String>) -> anyhow::Result<Self> {
        let Judged { checks, decoded, now, is_proved, endpoints, principal } = judged;
        let reason = checks.iter().find_map(|check| check.reason);
        let rules = judge.settings.rules.access(&judge.settings.identity_provider);
        let offer = OnOffer { policy: judge.scopes()?, rules, judge, principal: principal.as_ref(), now };
        let (tools, resources, prompts, methods) =
            (offer.tools(), offer.resources(), offer.prompts(), offer.methods());
        let missing_scopes = offer.missing_scopes(&decoded, [&tools, &resources, &prompts, &methods]);
        Ok(Self {
            accepted: reason.is_none(),
            reason,
            proved: is_proved,
            form: decoded.form,
            header: json_of(decoded.header.as_ref()),
            payload: json_of(decoded.payload.as_ref()),
            times: decoded.times(now),
            checks,
            endpoints,
            authority: authority(judge.policy.authority),
            granted: principal.as_ref().map(|principal| texts(principal.scopes())),
            tools,
            resources,
            prompts,
            methods,
            missing_scopes,
            warnings,
            shown_parts: shown_parts(&decoded),
        })
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = self.shown_parts.clone();
        for TimeClaim { claim, time, relative } in &self.times {
            let _ = writeln!(text, "  {claim:<9} {time}, {relative}");
        }
        text.push_str("\nchecks, in the server's order\n");
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Pass => "pass",
                Verdict::Fail => "FAIL",
                Verdict::NotJudged => "not judged",
            };
            let reason = check.reason.map(|reason| format!("{reason}: ")).unwrap_or_default();
            let _ = writeln!(text, "  {verdict:<10}  {:<10}  {reason}{}", check.name, check.detail);
            if let Some(advice) = check.advice {
                let _ = writeln!(text, "  {:24}> {advice}", "");
            }
        }
        self.write_offer(&mut text);
        let _ = write!(text, "\n{}", self.summary());
        text
    }

    fn write_offer(&self, text: &mut String) {
        let Some(granted) = &self.granted else { return };
        text.push('\n');
        for endpoint in &self.endpoints {
            let _ = writeln!(text, "endpoint {endpoint}");
        }
        let granted = if granted.is_empty() { "no scope".to_owned() } else { granted.join(" ") };
        let tense = if self.accepted { "" } else { ", while the token is valid" };
        let _ = writeln!(text, "granted by {}{tense}: {granted}", self.authority);
        for (kind, items) in [
            ("tools", &self.tools),
            ("resources", &self.resources),
            ("prompts", &self.prompts),
            ("methods", &self.methods),
        ] {
            write_items(text, kind, items);
        }
        for MissingScope { scope, advice } in &self.missing_scopes {
            let _ = writeln!(text, "\nmissing {scope}\n  > {advice}");
        }
    }

    fn summary(&self) -> String {
        let may = self.tools.iter().filter(|tool| tool.may_call == Some(true)).count();
        let tools = format!("{may} of {} tools", self.tools.len());
        match (self.reason, self.proved) {
            (Some(super::advice::KEYS_UNAVAILABLE), _) => {
                format!("not accepted now: {}", super::advice::KEYS_UNAVAILABLE)
            }
            (Some(reason), _) => format!("refused: {reason} (a heading in docs/troubleshooting.md)"),
            (None, true) => format!("accepted; {tools}"),
            (None, false) => format!("accepted, if the signature is good, which was not judged; {tools}"),
        }
    }
}

/// What is on offer, and to whom.
struct OnOffer<'a> {
    judge: &'a Judge,
    policy: ScopePolicy,
    rules: Option<Arc<dyn AccessRules>>,
    principal: Option<&'a Principal>,
    now: UnixSeconds,
}

impl OnOffer<'_> {
    fn tools(&self) -> Vec<Item> {
        let rules = rules(&self.judge.settings, &self.judge.catalog.tools);
        let scopes =
            |name: &domain::ToolName| rules.iter().find(|(tool, _)| tool == name).map(|(_, scopes)| scopes);
        let specs = self.judge.catalog.tools.specs();
        specs
            .map(|spec| {
                self.item(Target::Tool(spec.name.as_str()), scopes(&spec.name).unwrap_or(&spec.scopes))
            })
            .collect()
    }

    fn resources(&self) -> Vec<Item> {
        let specs = self.judge.catalog.resources.specs();
        specs.map(|spec| self.item(Target::Resource(spec.address.as_str()), &spec.scopes)).collect()
    }

    fn prompts(&self) -> Vec<Item> {
        let specs = self.judge.catalog.prompts.specs();
        specs.map(|spec| self.item(Target::Prompt(&spec.name), &spec.scopes)).collect()
    }

    fn methods(&self) -> Vec<Item> {
        let specs = self.judge.catalog.methods.specs();
        specs.map(|spec| self.item(Target::Method(spec.name()), &spec.scopes)).collect()
    }

    fn item(&self, target: Target<'_>, scopes: &ScopeSet) -> Item {
        let judged = self.principal.map(|principal| {
            let now = self.now;
            let request = || AccessRequest { principal, is_token_whole: true, target, arguments: None, now };
            judge(&self.policy, self.rules.as_deref(), Some(scopes), principal, request)
        });
        let may_call = judged.as_ref().map(|judged| judged.denial.is_none());
        let Verdicts { denial, would_refuse, undecided } = judged.unwrap_or_default();
        let denial = denial.as_ref();
        let rules = denial.map(Denial::rules).unwrap_or_default();
        Item {
            name: target.name().to_owned(),
            scopes: texts(scopes),
            may_call,
            missing: denial
                .and_then(Denial::lacking)
                .map(|denied| texts(&denied.missing))
                .unwrap_or_default(),
            reason: denial.filter(|_| !rules.is_empty()).map(Denial::code),
            rules: names(rules),
            would_refuse: names(&would_refuse),
            depends_on_arguments: names(&undecided),
            implied_by: scopes
                .iter()
                .filter_map(|scope| self.stand_in(scope))
                .map(ToString::to_string)
                .collect(),
        }
    }

    /// Returns the broader scope that the token has in place of one.
    fn stand_in(&self, scope: &Scope) -> Option<&Scope> {
        let granted = self.principal?.scopes();
        let mut broader = self.judge.policy.hierarchy.broader(scope);
        broader.find(|broader| granted.contains(broader) && !granted.contains(scope))
    }

    /// Says where the scopes can come from that are missing anywhere.
    fn missing_scopes(&self, decoded: &Decoded, items: [&Vec<Item>; 4]) -> Vec<MissingScope> {
        let mut missing: Vec<MissingScope> = Vec::new();
        for scope in items.into_iter().flatten().flat_map(|item| &item.missing) {
            if missing.iter().all(|known| known.scope != *scope) {
                let advice = origin(scope, decoded, self.judge.policy.authority);
                missing.push(MissingScope { scope: scope.clone(), advice });
            }
        }
        missing
    }
}

/// Says where a missing scope can come from, by the claims that have it.
fn origin(scope: &str, decoded: &Decoded, authority: ScopeAuthority) -> &'static str {
    let requested = decoded.claim("scope").and_then(Value::as_str).unwrap_or_default();
    let is_requested = requested.split(' ').any(|granted| granted == scope);
    let permissions = decoded.claim("permissions").and_then(Value::as_array);
    let is_assigned = permissions.map(|permissions| permissions.iter().any(|permission| permission == scope));
    let reads_permissions = !matches!(authority, ScopeAuthority::Scope);
    match (is_requested, is_assigned) {
        (_, None) if reads_permissions => {
            "the token has no `permissions` claim: set the API's token profile (token_dialect) to one with _authz"
        }
        (false, Some(true)) => {
            "the user's roles allow it (`permissions`), but `scope` lacks it: the client did not ask for it, or \
             may not; let it ask, and log in again"
        }
        (true, _) => {
            "`scope` has it, but the user's roles do not allow it (`permissions`): give a role of the user's this permission, \
             and log in again"
        }
        (false, Some(false)) => {
            "no role of the user's has this permission of the API (`permissions`): give it to one, and log in again"
        }
        (false, None) => {
            "the client did not ask for it, or the user's roles do not allow it (the token has no `permissions` claim to tell): \
             look at both, and log in again"
        }
    }
}

const fn authority(authority: ScopeAuthority) -> &'static str {
    match authority {
        ScopeAuthority::Scope => "scope",
        ScopeAuthority::Permissions => "permissions",
        ScopeAuthority::Both => "both scope and permissions",
        ScopeAuthority::Either => "scope or permissions",
    }
}

fn names(rules: &[Arc<str>]) -> Vec<String> {
    rules.iter().map(ToString::to_string).collect()
}

fn texts(scopes: &ScopeSet) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}

fn write_items(text: &mut String, kind: &str, items: &[Item]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{kind}");
    let width = items.iter().map(|item| item.name.chars().count()).max().unwrap_or_default().min(60);
    for item in items {
        let Item {
            name,
            scopes,
            may_call,
            missing,
            implied_by,
            reason,
            rules,
            would_refuse,
            depends_on_arguments,
        } = item;
        let may = if *may_call == Some(true) { "may call" } else { "may not" };
        let mut why = match (missing.as_slice(), scopes.as_slice()) {
            ([], []) => "(needs no scope)".to_owned(),
            ([], scopes) => scopes.join(" "),
            (missing, _) => format!("lacks {}", missing.join(" ")),
        };
        if !implied_by.is_empty() {
            let _ = write!(why, " (by {})", implied_by.join(" "));
        }
        if let Some(reason) = reason {
            let _ = write!(why, "; {reason}: refused by the rule {}", rules.join(", "));
        }
        for (what, rules) in [
            ("in shadow mode, refused by", would_refuse),
            ("depends on the arguments, by", depends_on_arguments),
        ] {
            if !rules.is_empty() {
                let _ = write!(why, "; {what} the rule {}", rules.join(", "));
            }
        }
        let _ = writeln!(text, "  {may:<8}  {name:width$}  {why}");
    }
}

fn json_of(part: Option<&Part>) -> Value {
    part.and_then(Part::json).cloned().unwrap_or_default()
}

fn shown_parts(decoded: &Decoded) -> String {
    let mut text = String::new();
    for (name, part) in [("header", &decoded.header), ("payload", &decoded.payload)] {
        let Some(part) = part else { continue };
        let shown = match part {
            Part::Json(value) => format!("{value:#}"),
            Part::Faulty { problem, text: Some(text) } => format!("({problem})\n{}", text.escape_debug()),
            Part::Faulty { problem, text: None } => format!("({problem})"),
        };
        let _ = writeln!(text, "{name}\n{}", cut(&shown));
    }
    if text.is_empty() {
        text.push_str("nothing of this token can be decoded\n");
    }
    text
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_PART) {
        Some((end, _)) => format!("{}\n... (cut)", &text[..end]),
        None => text.to_owned(),
    }
}
