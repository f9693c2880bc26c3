//! A decision as a line of JSON.

use domain::{Decision, Principal, Scope, ScopeSet};
use syntax::json_object::{self, JsonObject};

/// Has the line handed on, with its end. What is not known is left out.
pub(crate) fn with_line<T>(decision: &Decision<'_>, hand_on: impl FnOnce(&str) -> T) -> T {
    json_object::with_line(|line| add_all(line, decision), hand_on)
}

fn add_all(line: &mut JsonObject<'_>, decision: &Decision<'_>) {
    line.member("time").plain(|text| decision.at.push_rfc3339(text));
    line.member("request_id").string(decision.request_id);
    line.member("verdict").json(if decision.refused.is_some() { "\"deny\"" } else { "\"allow\"" });
    if let Some(reason) = decision.refused {
        line.member("reason").string(reason);
    }
    if let Some(principal) = decision.principal {
        add_principal(line, principal);
    }
    line.member("audience").string(decision.audience);
    if let Some(method) = decision.method {
        line.member("method").string(method);
    }
    if let Some(target) = decision.target {
        line.member("target").string(target);
    }
    add_scopes(line, decision);
    for (name, rules) in [("rules", decision.rules), ("would_refuse", decision.would_refuse)] {
        if !rules.is_empty() {
            line.member(name).strings(rules.iter().map(AsRef::as_ref));
        }
    }
    // Hexadecimal digits.
    line.member("policy").plain(|text| text.push_str(decision.policy.as_str()));
}

fn add_principal(line: &mut JsonObject<'_>, principal: &Principal) {
    line.member("sub").string(principal.subject());
    line.member("client_id").string(principal.client());
    line.member("iss").string(principal.issuer());
    if let Some(organization) = principal.organization_id() {
        line.member("org_id").string(organization);
    }
}

fn add_scopes(line: &mut JsonObject<'_>, decision: &Decision<'_>) {
    if let Some(needed) = decision.needed {
        line.member("scopes_needed").strings(texts(needed));
    }
    let missing = decision.missing();
    if !missing.is_empty() {
        line.member("scopes_missing").strings(texts(&missing));
    }
    if let Some(principal) = decision.principal {
        line.member("scopes_held").strings(texts(principal.scopes()));
    }
}

fn texts(scopes: &ScopeSet) -> impl Iterator<Item = &str> {
    scopes.iter().map(Scope::as_str)
}
