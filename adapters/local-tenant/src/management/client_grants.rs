//! `/client-grants`.

use std::collections::HashSet;

use super::answer::{Answer, value};
use super::body::{Body, Kind, read};
use super::error::{ApiError, Entity};
use super::query::Paging;
use super::{Call, MAX_NAME_CHARS, check_room, new_id};
use crate::model::directory::{ClientGrant, State, SubjectType};
use crate::model::options::THIRD_PARTY_CLIENTS;

const MAX_SCOPES: usize = 1000;
const MAX_TEXT_CHARS: usize = 600;

/// What is kept as it is sent, and decides nothing here.
const OTHERS: &[(&str, Kind)] = &[
    ("organization_usage", Kind::Text),
    ("allow_any_organization", Kind::Flag),
    ("authorization_details_types", Kind::List),
];

pub(super) fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let filter = |name| call.query.one(name);
    let (audience, client_id, default_for) =
        (filter("audience")?, filter("client_id")?, filter("default_for")?);
    let subject_type: Option<SubjectType> = filter("subject_type")?
        .map(|text| read("subject_type", text.into()))
        .transpose()
        .map_err(|_| ApiError::invalid_query("subject_type", "Expected one of client, user"))?;
    let is_asked = |grant: &&ClientGrant| {
        audience.is_none_or(|audience| grant.audience == audience)
            && client_id.is_none_or(|id| grant.client_id.as_deref() == Some(id))
            && default_for.is_none_or(|kind| grant.default_for.as_deref() == Some(kind))
            && subject_type.is_none_or(|kind| grant.subject_type == kind)
    };
    let found = call.state().grants.iter().filter(is_asked).map(value).collect();
    call.query.answer(found, "client_grants", Paging::PagesOrCheckpoints)
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    let state = call.state();
    let grant = state.grants.iter().find(|grant| grant.id == call.id());
    grant.map(Answer::ok).ok_or_else(|| ApiError::no_such(Entity::ClientGrant))
}

pub(super) fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    let mut grant = ClientGrant {
        id: new_id("cgr_")?,
        client_id: body.text("client_id", MAX_TEXT_CHARS)?,
        default_for: body.text("default_for", MAX_NAME_CHARS)?,
        audience: body.require_text("audience", MAX_TEXT_CHARS)?,
        scope: Vec::new(),
        allow_all_scopes: false,
        // Not `user`: a grant for logins has to say so.
        subject_type: body.take("subject_type")?.unwrap_or(SubjectType::Client),
        others: serde_json::Map::new(),
    };
    check_grantee(call, &grant)?;
    if !body.has("scope") && !body.has("allow_all_scopes") {
        return Err(ApiError::property("scope", "One of scope and allow_all_scopes is required"));
    }
    apply_scopes(&mut grant, &mut body)?;
    body.keep(OTHERS, &mut grant.others)?;
    body.finish()?;
    call.change(|state| {
        check_room(&state.grants, "client grants")?;
        check_scopes(state, &grant)?;
        if state.grants.iter().any(|known| is_same(known, &grant)) {
            return Err(ApiError::conflict(
                "A client grant for this client, audience and subject type already exists",
            ));
        }
        let answer = Answer::created(&grant);
        state.grants.push(grant);
        Ok(answer)
    })
}

pub(super) fn update(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    call.change(|state| {
        let position = position(state, call.id())?;
        let mut grant = state.grants[position].clone();
        apply_scopes(&mut grant, &mut body)?;
        body.keep(OTHERS, &mut grant.others)?;
        body.finish()?;
        check_scopes(state, &grant)?;
        let answer = Answer::ok(&grant);
        state.grants[position] = grant;
        Ok(answer)
    })
}

pub(super) fn delete(call: &Call<'_>) -> Result<Answer, ApiError> {
    call.change(|state| {
        let position = position(state, call.id())?;
        state.grants.remove(position);
        Ok(Answer::no_content())
    })
}

fn position(state: &State, id: &str) -> Result<usize, ApiError> {
    let position = state.grants.iter().position(|grant| grant.id == id);
    position.ok_or_else(|| ApiError::no_such(Entity::ClientGrant))
}

/// Checks that a grant is for one client that exists, or for all third-party clients.
fn check_grantee(call: &Call<'_>, grant: &ClientGrant) -> Result<(), ApiError> {
    match (grant.client_id.as_deref(), grant.default_for.as_deref()) {
        (Some(id), None) if call.tenant.clients.get(id).is_some() => Ok(()),
        (Some(_), None) => Err(ApiError::no_such(Entity::Client)),
        (None, Some(THIRD_PARTY_CLIENTS)) => Ok(()),
        (None, Some(_)) => Err(ApiError::property("default_for", format!("Expected {THIRD_PARTY_CLIENTS}"))),
        _ => Err(ApiError::property("client_id", "Expected either client_id or default_for")),
    }
}

/// Applies `scope` or `allow_all_scopes`, of which a grant has one. Null leaves it as it is.
fn apply_scopes(grant: &mut ClientGrant, body: &mut Body) -> Result<(), ApiError> {
    let scope = body.take::<Option<Vec<String>>>("scope")?.flatten();
    let allow_all = body.take::<Option<bool>>("allow_all_scopes")?.flatten();
    match (scope, allow_all) {
        (Some(_), Some(true)) => Err(ApiError::property("scope", "Not allowed beside allow_all_scopes")),
        (Some(scope), _) => {
            if scope.len() > MAX_SCOPES || scope.iter().collect::<HashSet<_>>().len() < scope.len() {
                return Err(ApiError::property("scope", "Array has too many or equal items"));
            }
            (grant.scope, grant.allow_all_scopes) = (scope, false);
            Ok(())
        }
        (None, Some(true)) => {
            (grant.scope, grant.allow_all_scopes) = (Vec::new(), true);
            Ok(())
        }
        (None, Some(false)) => {
            grant.allow_all_scopes = false;
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

/// Checks that the grant's API exists and defines its scopes.
fn check_scopes(state: &State, grant: &ClientGrant) -> Result<(), ApiError> {
    let api = state.apis.iter().find(|api| api.identifier == grant.audience);
    let api = api.ok_or_else(|| ApiError::no_such(Entity::Api))?;
    let defined: HashSet<&str> = api.scopes.iter().map(|scope| scope.value.as_str()).collect();
    match grant.scope.iter().find(|scope| !defined.contains(scope.as_str())) {
        None => Ok(()),
        Some(scope) => {
            let scope: String = scope.chars().take(100).collect();
            Err(ApiError::property("scope", format!("The resource server defines no scope {scope}")))
        }
    }
}

fn is_same(one: &ClientGrant, other: &ClientGrant) -> bool {
    one.client_id == other.client_id
        && one.default_for == other.default_for
        && one.audience == other.audience
        && one.subject_type == other.subject_type
}
