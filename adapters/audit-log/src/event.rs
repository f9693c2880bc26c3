//! A decision as a line of JSON.

use std::sync::Arc;

use domain::{Decision, Principal, Scope, ScopeSet};
use serde::{Serialize, Serializer};

/// The members of a line, in their order. What is not known is left out.
#[derive(Serialize)]
struct Line<'d> {
    time: String,
    request_id: &'d str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<&'d str>,
    audience: &'d str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_needed: Option<Scopes<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_missing: Option<Scopes<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_held: Option<Scopes<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<Names<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_refuse: Option<Names<'d>>,
    policy: &'d str,
}

/// Returns the line, with its end.
pub(crate) fn line(decision: &Decision<'_>) -> Vec<u8> {
    let missing = decision.missing();
    let principal = decision.principal;
    let line = Line {
        time: decision.at.to_rfc3339(),
        request_id: decision.request_id,
        verdict: if decision.refused.is_some() { "deny" } else { "allow" },
        reason: decision.refused,
        sub: principal.map(Principal::subject),
        client_id: principal.map(Principal::client),
        iss: principal.map(Principal::issuer),
        org_id: principal.and_then(Principal::organization_id),
        audience: decision.audience,
        method: decision.method,
        target: decision.target,
        scopes_needed: decision.needed.map(Scopes),
        scopes_missing: (!missing.is_empty()).then_some(Scopes(&missing)),
        scopes_held: principal.map(|principal| Scopes(principal.scopes())),
        rules: (!decision.rules.is_empty()).then_some(Names(decision.rules)),
        would_refuse: (!decision.would_refuse.is_empty()).then_some(Names(decision.would_refuse)),
        policy: decision.policy.as_str(),
    };
    // Texts: rendering them can't fail.
    let mut text = Vec::with_capacity(512);
    let _ = serde_json::to_writer(&mut text, &line);
    text.push(b'\n');
    text
}

/// A list of scopes.
struct Scopes<'d>(&'d ScopeSet);

impl Serialize for Scopes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Scope::as_str))
    }
}

/// A list of names of rules.
struct Names<'d>(&'d [Arc<str>]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(AsRef::<str>::as_ref))
    }
}
