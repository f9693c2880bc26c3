//! `/resource-servers`.

use std::collections::HashSet;

use syntax::scope_token::is_scope_token;

use super::answer::{Answer, value};
use super::body::{Body, Kind};
use super::error::{ApiError, Entity};
use super::query::Paging;
use super::{Call, MAX_NAME_CHARS, check_room, new_id};
use crate::model::directory::{
    AccessPolicy, ResourceServer, ResourceServerScope, SigningAlg, State, SubjectTypeAuthorization,
};

const MAX_IDENTIFIER_CHARS: usize = 600;
const MAX_IDENTIFIERS: usize = 10;
const MAX_SCOPES: usize = 1000;
const MAX_SCOPE_CHARS: usize = 280;
const MAX_DESCRIPTION_CHARS: usize = 500;
const DAY: u64 = 24 * 60 * 60;
const MAX_LIFETIME: u64 = 30 * DAY;
const THIRD_PARTY_LIFETIME: u64 = 60 * 60;

/// What is kept as it is sent, and decides nothing here.
const OTHERS: &[(&str, Kind)] = &[
    ("allow_online_access", Kind::Flag),
    ("allow_online_access_with_ephemeral_sessions", Kind::Flag),
    ("token_lifetime_for_anonymous_access_tokens", Kind::Number),
    ("consent_policy", Kind::Text),
    ("authorization_details", Kind::List),
    ("proof_of_possession", Kind::Object),
    ("authorization_policy", Kind::Object),
];

pub(super) fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let identifiers: HashSet<&str> = call.query.all("identifiers").collect();
    if identifiers.len() > MAX_IDENTIFIERS {
        return Err(ApiError::invalid_query(
            "identifiers",
            format!("Array has more than {MAX_IDENTIFIERS} items"),
        ));
    }
    let state = call.state();
    let is_asked =
        |api: &&ResourceServer| identifiers.is_empty() || identifiers.contains(api.identifier.as_str());
    let found = state.apis.iter().filter(is_asked).map(value).collect();
    call.query.answer(found, "resource_servers", Paging::Pages)
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    let state = call.state();
    let api = state.apis.iter().find(|api| is_named(api, call.id()));
    api.map(Answer::ok).ok_or_else(|| ApiError::no_such(Entity::Api))
}

pub(super) fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    let identifier = body.require_text("identifier", MAX_IDENTIFIER_CHARS)?;
    let mut api = ResourceServer {
        id: new_id("")?,
        // What Auth0 does without a name is not documented.
        name: identifier.clone(),
        identifier,
        is_system: false,
        scopes: Vec::new(),
        signing_alg: SigningAlg::default(),
        token_dialect: None,
        enforce_policies: false,
        allow_offline_access: false,
        skip_consent_for_verifiable_first_party_clients: false,
        token_lifetime: DAY,
        subject_type_authorization: SubjectTypeAuthorization::default(),
        token_encryption: None,
        third_party_token_lifetime: THIRD_PARTY_LIFETIME,
        refresh_token_lifetime: MAX_LIFETIME,
        others: serde_json::Map::new(),
    };
    apply(&mut api, &mut body)?;
    body.finish()?;
    call.change(|state| {
        check_room(&state.apis, "APIs")?;
        if state.apis.iter().any(|known| known.identifier == api.identifier) {
            return Err(ApiError::conflict("A resource server with the same identifier already exists"));
        }
        let answer = Answer::created(&api);
        state.apis.push(api);
        Ok(answer)
    })
}

pub(super) fn update(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    call.change(|state| {
        let api = changeable(state, call.id())?;
        apply(api, &mut body)?;
        // The identifier, too: it is fixed at creation.
        body.finish()?;
        Ok(Answer::ok(api))
    })
}

/// Deletes an API with its grants and with the permissions that roles have of it.
pub(super) fn delete(call: &Call<'_>) -> Result<Answer, ApiError> {
    call.change(|state| {
        let identifier = changeable(state, call.id())?.identifier.clone();
        state.apis.retain(|api| api.identifier != identifier);
        state.grants.retain(|grant| grant.audience != identifier);
        for role in &mut state.roles {
            role.permissions.retain(|permission| permission.resource_server_identifier != identifier);
        }
        Ok(Answer::no_content())
    })
}

fn is_named(api: &ResourceServer, id: &str) -> bool {
    api.id == id || api.identifier == id
}

fn changeable<'a>(state: &'a mut State, id: &str) -> Result<&'a mut ResourceServer, ApiError> {
    let api = state.apis.iter_mut().find(|api| is_named(api, id));
    let api = api.ok_or_else(|| ApiError::no_such(Entity::Api))?;
    if api.is_system { Err(ApiError::forbidden("A system API can't be changed or deleted")) } else { Ok(api) }
}

/// Applies what a new API and a changed one have in common. Roles and grants keep a scope that the API no longer has: whether
/// Auth0 removes it from them is not documented. It is in no token either way.
fn apply(api: &mut ResourceServer, body: &mut Body) -> Result<(), ApiError> {
    if let Some(name) = body.text("name", MAX_NAME_CHARS)? {
        api.name = name;
    }
    if let Some(scopes) = body.take("scopes")? {
        api.scopes = checked_scopes(scopes)?;
    }
    if let Some(alg) = body.take("signing_alg")? {
        api.signing_alg = alg;
    }
    // A symmetric key, which nothing here signs with.
    body.text("signing_secret", MAX_NAME_CHARS)?;
    if let Some(dialect) = body.take("token_dialect")? {
        api.token_dialect = dialect;
    }
    for (name, flag) in [
        ("enforce_policies", &mut api.enforce_policies),
        ("allow_offline_access", &mut api.allow_offline_access),
        (
            "skip_consent_for_verifiable_first_party_clients",
            &mut api.skip_consent_for_verifiable_first_party_clients,
        ),
    ] {
        if let Some(value) = body.take(name)? {
            *flag = value;
        }
    }
    if let Some(lifetime) = body.take("token_lifetime")? {
        if !(1..=MAX_LIFETIME).contains(&lifetime) {
            return Err(ApiError::property(
                "token_lifetime",
                format!("Value is not from 1 to {MAX_LIFETIME}"),
            ));
        }
        api.token_lifetime = lifetime;
    }
    if let Some(policies) = body.take("subject_type_authorization")? {
        api.subject_type_authorization = checked_policies(policies)?;
    }
    if let Some(encryption) = body.take::<Option<serde_json::Map<_, _>>>("token_encryption")? {
        api.token_encryption = encryption.map(serde_json::Value::Object);
    }
    body.keep(OTHERS, &mut api.others)
}

fn checked_scopes(scopes: Vec<ResourceServerScope>) -> Result<Vec<ResourceServerScope>, ApiError> {
    if scopes.len() > MAX_SCOPES {
        let message = format!("an API has at most {MAX_SCOPES} scopes");
        return Err(ApiError::too_many_entities(message));
    }
    let mut names = HashSet::new();
    for scope in &scopes {
        let description = scope.description.as_deref().unwrap_or_default();
        let why = if scope.value.chars().count() > MAX_SCOPE_CHARS || !is_scope_token(&scope.value) {
            format!("A value is no scope of at most {MAX_SCOPE_CHARS} characters")
        } else if description.chars().count() > MAX_DESCRIPTION_CHARS {
            format!("A description is longer than {MAX_DESCRIPTION_CHARS} characters")
        } else if !names.insert(scope.value.as_str()) {
            "A scope occurs twice".to_owned()
        } else {
            continue;
        };
        return Err(ApiError::property("scopes", why));
    }
    Ok(scopes)
}

fn checked_policies(policies: SubjectTypeAuthorization) -> Result<SubjectTypeAuthorization, ApiError> {
    if policies.client.policy == AccessPolicy::AllowAll {
        let why = "Expected client.policy to be one of deny_all, require_client_grant";
        return Err(ApiError::property("subject_type_authorization", why));
    }
    Ok(policies)
}
