//! What is there mostly to be read: prompts, rules and hooks, custom domains, signing keys and logs.

use serde_json::{Value, json};

use super::answer::Answer;
use super::error::{ApiError, Entity};
use super::query::Paging;
use super::{Call, MAX_NAME_CHARS, check_room};

const RULE: &str = "rul_";
const HOOK: &str = "hook_";
const MAX_SCRIPT_CHARS: usize = 100_000;

pub(super) fn prompts(call: &Call<'_>) -> Answer {
    Answer::ok(&call.state().prompts)
}

pub(super) fn update_prompts(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    call.change(|state| {
        let prompts = &mut state.prompts;
        if let Some(experience) = body.take("universal_login_experience")? {
            prompts.universal_login_experience = experience;
        }
        for (name, flag) in [
            ("identifier_first", &mut prompts.identifier_first),
            ("webauthn_platform_first_factor", &mut prompts.webauthn_platform_first_factor),
        ] {
            if let Some(value) = body.take(name)? {
                *flag = value;
            }
        }
        body.finish()?;
        Ok(Answer::ok(prompts))
    })
}

pub(super) fn rules(call: &Call<'_>) -> Result<Answer, ApiError> {
    let found = call.state().rules.iter().map(|name| rule(name)).collect();
    call.query.answer(found, "rules", Paging::Pages)
}

pub(super) fn create_rule(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    body.take::<f64>("order")?;
    let name = script(&mut body)?;
    body.finish()?;
    call.change(|state| add(&mut state.rules, &name, "rules"))?;
    Ok(Answer::created(&rule(&name)))
}

pub(super) fn delete_rule(call: &Call<'_>) -> Result<Answer, ApiError> {
    call.change(|state| remove(&mut state.rules, call.id(), RULE, Entity::Rule))
}

pub(super) fn hooks(call: &Call<'_>) -> Result<Answer, ApiError> {
    let found = call.state().hooks.iter().map(|name| hook(name)).collect();
    call.query.answer(found, "hooks", Paging::Pages)
}

pub(super) fn create_hook(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    body.take::<serde_json::Map<String, Value>>("dependencies")?;
    body.require_text("triggerId", MAX_NAME_CHARS)?;
    let name = script(&mut body)?;
    body.finish()?;
    call.change(|state| add(&mut state.hooks, &name, "hooks"))?;
    Ok(Answer::created(&hook(&name)))
}

pub(super) fn delete_hook(call: &Call<'_>) -> Result<Answer, ApiError> {
    call.change(|state| remove(&mut state.hooks, call.id(), HOOK, Entity::Hook))
}

pub(super) fn custom_domains() -> Answer {
    Answer::ok(&json!([]))
}

/// Lists the published keys. Their certificates are empty: the tenant's keys have none.
pub(super) fn signing_keys(call: &Call<'_>) -> Answer {
    let roles = call.tenant.issuer.keys().kids();
    let shown = |kid: String, role: &str| {
        json!({
            "kid": kid, "current": role == "current", "next": role == "next", "previous": role == "previous",
            "revoked": false, "cert": "", "fingerprint": "", "thumbprint": "",
        })
    };
    let keys: Vec<Value> = roles.into_iter().map(|(kid, role)| shown(kid, role)).collect();
    Answer::ok(&keys)
}

/// Lists no events, whatever is searched for: the tenant's log is its output.
pub(super) fn logs(call: &Call<'_>) -> Result<Answer, ApiError> {
    if call.query.flag("include_totals")? == Some(true) {
        return call.query.answer(Vec::new(), "logs", Paging::Pages);
    }
    Ok(Answer::ok(&json!([])))
}

/// Takes the members that rules and hooks have in common. Only their names matter here, and only enabled ones are kept.
fn script(body: &mut super::body::Body) -> Result<String, ApiError> {
    let name = body.require_text("name", MAX_NAME_CHARS)?;
    body.require_text("script", MAX_SCRIPT_CHARS)?;
    match body.take("enabled")? {
        None | Some(true) => Ok(name),
        Some(false) => Err(ApiError::property("enabled", "The local tenant keeps enabled ones only")),
    }
}

fn add(names: &mut Vec<String>, name: &str, kind: &str) -> Result<(), ApiError> {
    check_room(names, kind)?;
    if names.iter().any(|known| known == name) {
        return Err(ApiError::conflict(format!("Among the {kind}, one has the same name already")));
    }
    names.push(name.to_owned());
    Ok(())
}

fn remove(names: &mut Vec<String>, id: &str, prefix: &str, entity: Entity) -> Result<Answer, ApiError> {
    let name = id.strip_prefix(prefix);
    let position = names.iter().position(|known| Some(known.as_str()) == name);
    names.remove(position.ok_or_else(|| ApiError::no_such(entity))?);
    Ok(Answer::no_content())
}

fn rule(name: &str) -> Value {
    json!({"id": format!("{RULE}{name}"), "name": name, "enabled": true, "stage": "login_success"})
}

fn hook(name: &str) -> Value {
    json!({"id": format!("{HOOK}{name}"), "name": name, "enabled": true})
}
