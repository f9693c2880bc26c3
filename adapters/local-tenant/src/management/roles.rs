//! `/roles`, their permissions and their users.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::answer::Answer;
use super::body::Body;
use super::error::{ApiError, Entity};
use super::query::Paging;
use super::{Call, MAX_NAME_CHARS, check_room, new_id, users};
use crate::model::directory::{Permission, Role, State};

const MAX_DESCRIPTION_CHARS: usize = 1024;
const MAX_PERMISSIONS: usize = 1000;
const MAX_USERS: usize = 1000;
const MAX_ID_CHARS: usize = 300;

pub(super) fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let filter = call.query.one("name_filter")?.map(str::to_lowercase);
    let is_asked = |role: &&Role| {
        filter.as_ref().is_none_or(|filter| role.name.to_lowercase().contains(filter.as_str()))
    };
    let found = call.state().roles.iter().filter(is_asked).map(shown).collect();
    call.query.answer(found, "roles", Paging::Pages)
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    present(&call.state(), call.id()).map(|role| Answer::ok(&shown(role)))
}

pub(super) fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    let mut role = Role {
        id: new_id("rol_")?,
        name: body.require_text("name", MAX_NAME_CHARS)?,
        description: None,
        permissions: BTreeSet::new(),
    };
    apply(&mut role, &mut body)?;
    body.finish()?;
    call.change(|state| {
        check_room(&state.roles, "roles")?;
        check_name(state, &role)?;
        // 200, as Auth0 has it here.
        let answer = Answer::ok(&shown(&role));
        state.roles.push(role);
        Ok(answer)
    })
}

pub(super) fn update(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    call.change(|state| {
        let mut role = find(state, call.id())?.clone();
        if let Some(name) = body.text("name", MAX_NAME_CHARS)? {
            role.name = name;
        }
        apply(&mut role, &mut body)?;
        body.finish()?;
        check_name(state, &role)?;
        let answer = Answer::ok(&shown(&role));
        *find(state, call.id())? = role;
        Ok(answer)
    })
}

/// Deletes a role, which its users no longer have.
pub(super) fn delete(call: &Call<'_>) -> Result<Answer, ApiError> {
    call.change(|state| {
        let id = find(state, call.id())?.id.clone();
        state.roles.retain(|role| role.id != id);
        for roles in state.assignments.values_mut() {
            roles.remove(&id);
        }
        // 200, as Auth0 has it here.
        Ok(Answer::ok(&json!({})))
    })
}

pub(super) fn permissions(call: &Call<'_>) -> Result<Answer, ApiError> {
    let state = call.state();
    let role = present(&state, call.id())?;
    let found = role.permissions.iter().map(|permission| described(&state, permission)).collect();
    call.query.answer(found, "permissions", Paging::Pages)
}

pub(super) fn add_permissions(call: &Call<'_>) -> Result<Answer, ApiError> {
    let added = permissions_of(call)?;
    call.change(|state| {
        find(state, call.id())?;
        for permission in &added {
            check_permission(state, permission)?;
        }
        let permissions = &mut find(state, call.id())?.permissions;
        permissions.extend(added);
        if permissions.len() > MAX_PERMISSIONS {
            return Err(ApiError::too_many_entities(format!(
                "a role has at most {MAX_PERMISSIONS} permissions"
            )));
        }
        Ok(Answer::created(&json!({})))
    })
}

/// Removes permissions, also those whose API or scope is gone.
pub(super) fn remove_permissions(call: &Call<'_>) -> Result<Answer, ApiError> {
    let removed: BTreeSet<Permission> = permissions_of(call)?.into_iter().collect();
    call.change(|state| {
        find(state, call.id())?.permissions.retain(|permission| !removed.contains(permission));
        Ok(Answer::no_content())
    })
}

pub(super) fn users(call: &Call<'_>) -> Result<Answer, ApiError> {
    let state = call.state();
    let role = present(&state, call.id())?;
    let has_role = |sub: &str| state.assignments.get(sub).is_some_and(|roles| roles.contains(&role.id));
    let members = call.tenant.options().users.iter().filter(|user| has_role(&user.sub));
    let found = members.map(users::summary).collect();
    call.query.answer(found, "users", Paging::PagesOrCheckpoints)
}

pub(super) fn add_users(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    let subs = body.texts("users", MAX_USERS, MAX_ID_CHARS)?.unwrap_or_default();
    body.finish()?;
    if subs.is_empty() {
        return Err(ApiError::property("users", "Array is too short"));
    }
    for sub in &subs {
        users::find(call, sub)?;
    }
    call.change(|state| {
        let id = find(state, call.id())?.id.clone();
        for sub in subs {
            state.assignments.entry(sub).or_default().insert(id.clone());
        }
        Ok(Answer::ok(&json!({})))
    })
}

/// Returns a role as the API shows it, without its permissions.
pub(super) fn shown(role: &Role) -> Value {
    let mut shown = json!({"id": role.id, "name": role.name});
    if let Some(description) = &role.description {
        shown["description"] = description.as_str().into();
    }
    shown
}

/// Returns a permission with the names and the description that its API has.
pub(super) fn described(state: &State, permission: &Permission) -> Value {
    let identifier = &permission.resource_server_identifier;
    let mut shown =
        json!({"resource_server_identifier": identifier, "permission_name": permission.permission_name});
    if let Some(api) = state.apis.iter().find(|api| api.identifier == *identifier) {
        shown["resource_server_name"] = api.name.as_str().into();
        let scope = api.scopes.iter().find(|scope| scope.value == permission.permission_name);
        shown["description"] = scope.and_then(|scope| scope.description.clone()).unwrap_or_default().into();
    }
    shown
}

pub(super) fn present<'a>(state: &'a State, id: &str) -> Result<&'a Role, ApiError> {
    state.roles.iter().find(|role| role.id == id).ok_or_else(|| ApiError::no_such(Entity::Role))
}

fn find<'a>(state: &'a mut State, id: &str) -> Result<&'a mut Role, ApiError> {
    state.roles.iter_mut().find(|role| role.id == id).ok_or_else(|| ApiError::no_such(Entity::Role))
}

fn apply(role: &mut Role, body: &mut Body) -> Result<(), ApiError> {
    if let Some(description) = body.take_text("description", MAX_DESCRIPTION_CHARS)? {
        role.description = Some(description);
    }
    Ok(())
}

fn check_name(state: &State, role: &Role) -> Result<(), ApiError> {
    if state.roles.iter().any(|known| known.name == role.name && known.id != role.id) {
        return Err(ApiError::conflict("A role with the same name already exists"));
    }
    Ok(())
}

fn permissions_of(call: &Call<'_>) -> Result<Vec<Permission>, ApiError> {
    let mut body = call.body()?;
    let permissions: Vec<Permission> = body.require("permissions")?;
    body.finish()?;
    if permissions.is_empty() || permissions.len() > MAX_PERMISSIONS {
        let why = format!("Array does not have from 1 to {MAX_PERMISSIONS} items");
        return Err(ApiError::property("permissions", why));
    }
    Ok(permissions)
}

/// Checks that a permission is a scope of an API.
fn check_permission(state: &State, permission: &Permission) -> Result<(), ApiError> {
    let api = state.apis.iter().find(|api| api.identifier == permission.resource_server_identifier);
    let api = api.ok_or_else(|| ApiError::no_such(Entity::Api))?;
    if api.scopes.iter().any(|scope| scope.value == permission.permission_name) {
        return Ok(());
    }
    let name: String = permission.permission_name.chars().take(100).collect();
    Err(ApiError::property("permissions", format!("The resource server defines no permission {name}")))
}
