//! `/users`: those of the options, and the roles that they have.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Call;
use super::answer::Answer;
use super::error::{ApiError, Entity};
use super::query::Paging;
use super::roles::{described, present, shown};
use crate::model::directory::Permission;
use crate::model::options::User;

const MAX_ROLES: usize = 1000;
const MAX_ID_CHARS: usize = 300;

/// Lists all users, whatever they are searched for, except by one field: `email:"..."`, `name:"..."` or `user_id:"..."`.
pub(super) fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let search = call.query.one("q")?.and_then(|search| search.split_once(':'));
    let search = search.map(|(field, value)| (field, value.trim_matches('"')));
    let is_asked = |user: &&User| match search {
        Some(("email" | "email.raw", email)) => user.email.as_deref() == Some(email),
        Some(("name" | "name.raw", name)) => user.name.as_deref() == Some(name),
        Some(("user_id", sub)) => user.sub == sub,
        _ => true,
    };
    let found = call.tenant.options().users.iter().filter(is_asked).map(profile).collect();
    call.query.answer(found, "users", Paging::Pages)
}

pub(super) fn by_email(call: &Call<'_>) -> Result<Answer, ApiError> {
    let email = call.query.one("email")?;
    let email = email.ok_or_else(|| ApiError::invalid_query("email", "Missing required property"))?;
    let users = call.tenant.options().users.iter();
    let found: Vec<Value> = users.filter(|user| user.email.as_deref() == Some(email)).map(profile).collect();
    Ok(Answer::ok(&found))
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    find(call, call.id()).map(|user| Answer::ok(&profile(user)))
}

pub(super) fn roles(call: &Call<'_>) -> Result<Answer, ApiError> {
    let user = find(call, call.id())?;
    let state = call.state();
    let assigned = state.assignments.get(&user.sub);
    let has = |id: &String| assigned.is_some_and(|ids| ids.contains(id));
    let found = state.roles.iter().filter(|role| has(&role.id)).map(shown).collect();
    call.query.answer(found, "roles", Paging::Pages)
}

pub(super) fn add_roles(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (sub, roles) = assignment(call)?;
    call.change(|state| {
        for id in &roles {
            present(state, id)?;
        }
        state.assignments.entry(sub).or_default().extend(roles);
        Ok(Answer::no_content())
    })
}

pub(super) fn remove_roles(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (sub, roles) = assignment(call)?;
    call.change(|state| {
        state.assignments.entry(sub).or_default().retain(|id| !roles.contains(id));
        Ok(Answer::no_content())
    })
}

/// Lists the permissions that the user's roles have. There are none of the user's own here.
pub(super) fn permissions(call: &Call<'_>) -> Result<Answer, ApiError> {
    let user = find(call, call.id())?;
    let state = call.state();
    let assigned = state.assignments.get(&user.sub);
    let roles = state.roles.iter().filter(|role| assigned.is_some_and(|ids| ids.contains(&role.id)));
    let roles: Vec<_> = roles.collect();
    let permissions: BTreeSet<&Permission> = roles.iter().flat_map(|role| &role.permissions).collect();
    let shown = permissions.into_iter().map(|permission| {
        let sources = roles.iter().filter(|role| role.permissions.contains(permission));
        let source = |role: &&&crate::model::directory::Role| {
            json!({"source_id": role.id, "source_name": role.name, "source_type": "ROLE"})
        };
        let mut shown = described(&state, permission);
        shown["sources"] = sources.map(|role| source(&role)).collect();
        shown
    });
    call.query.answer(shown.collect(), "permissions", Paging::Pages)
}

/// Returns the user with this `sub`.
pub(super) fn find<'a>(call: &'a Call<'_>, sub: &str) -> Result<&'a User, ApiError> {
    let users = &call.tenant.options().users;
    users.iter().find(|user| user.sub == sub).ok_or_else(|| ApiError::no_such(Entity::User))
}

/// Returns what lists of a role's users show.
pub(super) fn summary(user: &User) -> Value {
    let mut shown = json!({"user_id": user.sub});
    for (name, value) in [("name", &user.name), ("email", &user.email)] {
        if let Some(value) = value {
            shown[name] = value.as_str().into();
        }
    }
    shown
}

fn profile(user: &User) -> Value {
    let mut shown = summary(user);
    let (provider, id) = user.sub.split_once('|').unwrap_or(("auth0", &user.sub));
    if user.email.is_some() {
        shown["email_verified"] = true.into();
    }
    shown["nickname"] = user.key.as_str().into();
    shown["identities"] = json!([{"provider": provider, "user_id": id, "isSocial": false}]);
    shown
}

/// Reads the ids of roles for the user that the path names.
fn assignment(call: &Call<'_>) -> Result<(String, BTreeSet<String>), ApiError> {
    let mut body = call.body()?;
    let roles = body.texts("roles", MAX_ROLES, MAX_ID_CHARS)?.unwrap_or_default();
    body.finish()?;
    if roles.is_empty() {
        return Err(ApiError::property("roles", "Array is too short"));
    }
    let sub = find(call, call.id())?.sub.clone();
    Ok((sub, roles.into_iter().collect()))
}
