//! `/organizations`.

use super::answer::{Answer, value};
use super::body::{Body, Kind};
use super::error::{ApiError, Entity};
use super::query::Paging;
use super::{Call, MAX_NAME_CHARS, check_room, new_id};
use crate::model::directory::{Organization, State, ThirdPartyClientAccess};

const MAX_ORGANIZATION_CHARS: usize = 50;

/// What is kept as it is sent, and decides nothing here.
const OTHERS: &[(&str, Kind)] = &[
    ("display_name", Kind::Text),
    ("branding", Kind::Object),
    ("metadata", Kind::Object),
    ("enabled_connections", Kind::List),
    ("token_quota", Kind::Object),
    ("is_app_entitlement_active", Kind::Flag),
];

pub(super) fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let found = call.state().organizations.iter().map(value).collect();
    call.query.answer(found, "organizations", Paging::PagesOrCheckpoints)
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    let state = call.state();
    let organization = state.organizations.iter().find(|organization| organization.id == call.id());
    organization.map(Answer::ok).ok_or_else(|| ApiError::no_such(Entity::Organization))
}

pub(super) fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    let mut organization = Organization {
        id: new_id("org_")?,
        name: String::new(),
        third_party_client_access: ThirdPartyClientAccess::default(),
        others: serde_json::Map::new(),
    };
    if !body.has("name") {
        body.require_text("name", MAX_NAME_CHARS)?;
    }
    apply(&mut organization, &mut body)?;
    body.finish()?;
    call.change(|state| {
        check_room(&state.organizations, "organizations")?;
        check_name(state, &organization)?;
        let answer = Answer::created(&organization);
        state.organizations.push(organization);
        Ok(answer)
    })
}

pub(super) fn update(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    call.change(|state| {
        let position = position(state, call.id())?;
        let mut organization = state.organizations[position].clone();
        apply(&mut organization, &mut body)?;
        body.finish()?;
        check_name(state, &organization)?;
        let answer = Answer::ok(&organization);
        state.organizations[position] = organization;
        Ok(answer)
    })
}

pub(super) fn delete(call: &Call<'_>) -> Result<Answer, ApiError> {
    call.change(|state| {
        let position = position(state, call.id())?;
        state.organizations.remove(position);
        Ok(Answer::no_content())
    })
}

fn position(state: &State, id: &str) -> Result<usize, ApiError> {
    let position = state.organizations.iter().position(|organization| organization.id == id);
    position.ok_or_else(|| ApiError::no_such(Entity::Organization))
}

fn apply(organization: &mut Organization, body: &mut Body) -> Result<(), ApiError> {
    if let Some(name) = body.text("name", MAX_ORGANIZATION_CHARS)? {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !name.bytes().all(is_allowed) {
            return Err(ApiError::property("name", "Expected lower-case letters, digits, - and _"));
        }
        organization.name = name;
    }
    if let Some(access) = body.take("third_party_client_access")? {
        organization.third_party_client_access = access;
    }
    body.keep(OTHERS, &mut organization.others)
}

fn check_name(state: &State, organization: &Organization) -> Result<(), ApiError> {
    let is_taken = |known: &Organization| known.name == organization.name && known.id != organization.id;
    if state.organizations.iter().any(is_taken) {
        return Err(ApiError::conflict("An organization with the same name already exists"));
    }
    Ok(())
}
