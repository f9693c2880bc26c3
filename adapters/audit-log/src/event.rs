//! A decision as a line of JSON.

use domain::{Decision, Principal, Scope, ScopeSet};
use syntax::json_object::JsonObject;

/// Returns the line, with its end. What is not known is left out.
pub(crate) fn line(decision: &Decision<'_>) -> Vec<u8> {
    let mut text = String::with_capacity(512);
    let mut line = JsonObject::begin(&mut text);
    let time = line.name("time");
    time.push('"');
    decision.at.push_rfc3339(time);
    time.push('"');
    line.string("request_id", decision.request_id);
    line.string("verdict", if decision.refused.is_some() { "deny" } else { "allow" });
    line.string_if_any("reason", decision.refused);
    if let Some(principal) = decision.principal {
        add_principal(&mut line, principal);
    }
    line.string("audience", decision.audience);
    line.string_if_any("method", decision.method);
    line.string_if_any("target", decision.target);
    add_scopes(&mut line, decision);
    for (name, rules) in [("rules", decision.rules), ("would_refuse", decision.would_refuse)] {
        if !rules.is_empty() {
            line.strings(name, rules.iter().map(AsRef::as_ref));
        }
    }
    line.string("policy", decision.policy.as_str());
    line.end();
    text.push('\n');
    text.into_bytes()
}

fn add_principal(line: &mut JsonObject<'_>, principal: &Principal) {
    line.string("sub", principal.subject());
    line.string("client_id", principal.client());
    line.string("iss", principal.issuer());
    line.string_if_any("org_id", principal.organization_id());
}

fn add_scopes(line: &mut JsonObject<'_>, decision: &Decision<'_>) {
    let missing = decision.missing();
    if let Some(needed) = decision.needed {
        line.strings("scopes_needed", texts(needed));
    }
    if !missing.is_empty() {
        line.strings("scopes_missing", texts(&missing));
    }
    if let Some(principal) = decision.principal {
        line.strings("scopes_held", texts(principal.scopes()));
    }
}

fn texts(scopes: &ScopeSet) -> impl Iterator<Item = &str> {
    scopes.iter().map(Scope::as_str)
}
