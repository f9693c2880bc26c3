//! `/clients`, also those that are registered by the URL of their metadata document (`/clients/cimd`).

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::body::{Body, Kind};
use super::error::{ApiError, Entity};
use super::query::Paging;
use super::routes::Document;
use super::{Call, MAX_NAME_CHARS, new_id};
use crate::model::client::{AppType, AuthMethod, ClientRecord, Trust};
use crate::model::options::{GrantType, Secret, ThirdPartySecurityMode};
use crate::model::redirect_uri::{self, ACCEPTED_REDIRECT_URIS};
use crate::oauth::clients::InsertError;

const READ_SECRETS: &str = "read:client_keys";
const MAX_DESCRIPTION_CHARS: usize = 140;
const MAX_URLS: usize = 100;
const MAX_URL_CHARS: usize = 2048;
/// Auth0's maximum, in bytes.
const MAX_DOCUMENT_URL: usize = 120;
/// The maximum length of a client, as JSON.
const MAX_CLIENT_BYTES: usize = 32 * 1024;

/// What is kept as it is sent, and decides nothing here.
const OTHERS: &[(&str, Kind)] = &[
    ("logo_uri", Kind::Text),
    ("oidc_logout", Kind::Object),
    ("oidc_backchannel_logout", Kind::Object),
    ("session_transfer", Kind::Object),
    ("allowed_origins", Kind::List),
    ("web_origins", Kind::List),
    ("client_aliases", Kind::List),
    ("allowed_clients", Kind::List),
    ("is_token_endpoint_ip_header_trusted", Kind::Flag),
    ("oidc_conformant", Kind::Flag),
    ("jwt_configuration", Kind::Object),
    ("sso", Kind::Flag),
    ("cross_origin_authentication", Kind::Flag),
    ("cross_origin_loc", Kind::Text),
    ("sso_disabled", Kind::Flag),
    ("custom_login_page_on", Kind::Flag),
    ("custom_login_page", Kind::Text),
    ("custom_login_page_preview", Kind::Text),
    ("form_template", Kind::Text),
    ("addons", Kind::Object),
    ("client_metadata", Kind::Object),
    ("mobile", Kind::Object),
    ("initiate_login_uri", Kind::Text),
    ("native_social_login", Kind::Object),
    ("fedcm_login", Kind::Object),
    ("refresh_token", Kind::Object),
    ("default_organization", Kind::Object),
    ("organization_usage", Kind::Text),
    ("organization_require_behavior", Kind::Text),
    ("organization_discovery_methods", Kind::List),
    ("require_pushed_authorization_requests", Kind::Flag),
    ("require_proof_of_possession", Kind::Flag),
    ("compliance_level", Kind::Text),
    ("skip_non_verifiable_callback_uri_confirmation_prompt", Kind::Flag),
    ("token_exchange", Kind::Object),
    ("par_request_expiry", Kind::Number),
    ("token_quota", Kind::Object),
    ("anonymous_sessions", Kind::Object),
    ("redirection_policy", Kind::Text),
    ("my_organization_configuration", Kind::Object),
    ("async_approval_notification_channels", Kind::List),
];

/// What can be set at creation only.
const FIXED_OTHERS: &[(&str, Kind)] = &[("resource_server_identifier", Kind::Text)];

pub(super) fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let is_first_party = call.query.flag("is_first_party")?;
    let is_global = call.query.flag("is_global")?.unwrap_or(false);
    let app_types = call.query.one("app_type")?;
    let external = call.query.one("external_client_id")?;
    let is_asked = |client: &&ClientRecord| {
        !is_global
            && is_first_party.is_none_or(|first_party| first_party != client.is_third_party())
            && external.is_none_or(|url| client.external_client_id.as_deref() == Some(url))
            && app_types.is_none_or(|asked| has_type(client, asked))
    };
    let clients = call.tenant.clients.all();
    let found =
        clients.iter().map(AsRef::as_ref).filter(is_asked).map(|client| shown(call, client)).collect();
    call.query.answer(found, "clients", Paging::Pages)
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    let client = call.tenant.clients.get(call.id()).ok_or_else(|| ApiError::no_such(Entity::Client))?;
    Ok(Answer::ok(&shown(call, &client)))
}

pub(super) fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    let trust = trust(&mut body)?;
    let name = body.require_text("name", MAX_NAME_CHARS)?;
    let id = trust.new_id().ok_or_else(ApiError::no_randomness)?;
    let mut client = ClientRecord::new(&id, &name, trust);
    client.app_type = body.take("app_type")?;
    client.token_endpoint_auth_method = default_method(client.app_type);
    let asked_grants = body.has("grant_types");
    apply(&mut client, &mut body)?;
    body.keep(FIXED_OTHERS, &mut client.others)?;
    body.finish()?;
    if !asked_grants {
        client.grant_types = default_grants(&client);
    }
    check_size(&client)?;
    let client = call.tenant.clients.insert(client).map_err(refused)?;
    Ok(Answer::created(&with_secret(&client)))
}

/// Changes a client. Whether it is a third party, and its security mode, are fixed at creation.
pub(super) fn update(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    let updated = call.tenant.clients.update(call.id(), |client| {
        if let Some(name) = body.text("name", MAX_NAME_CHARS)? {
            client.name = name;
        }
        if let Some(app_type) = body.take("app_type")? {
            client.app_type = Some(app_type);
        }
        apply(client, &mut body)?;
        std::mem::take(&mut body).finish()?;
        check_size(client)
    })?;
    let client = updated.ok_or_else(|| ApiError::no_such(Entity::Client))?;
    Ok(Answer::ok(&shown(call, &client)))
}

/// Deletes a client with its grants.
pub(super) fn delete(call: &Call<'_>) -> Result<Answer, ApiError> {
    let client = call.tenant.clients.remove(call.id()).ok_or_else(|| ApiError::no_such(Entity::Client))?;
    call.change(|state| {
        state.grants.retain(|grant| grant.client_id.as_deref() != Some(client.id.as_str()));
        for connection in &mut state.connections {
            connection.enabled_clients.retain(|id| *id != client.id);
        }
        Ok(Answer::no_content())
    })
}

/// Fetches the document that the body names.
pub(super) async fn fetch_document(call: &Call<'_>) -> Result<Document, ApiError> {
    let mut body = call.body()?;
    let url = body.require_text("external_client_id", MAX_URL_CHARS)?;
    body.finish()?;
    if url.len() > MAX_DOCUMENT_URL {
        let why = format!("String is longer than {MAX_DOCUMENT_URL} bytes");
        return Err(ApiError::property("external_client_id", why));
    }
    // The caller is no browser: those send an `Origin` with a POST.
    let fetched = call.tenant.clients.fetch_document(&url, false).await;
    Ok((url, fetched))
}

/// Says what registering a document would do, and what is wrong with it.
pub(super) fn preview(call: &Call<'_>, (url, document): Document) -> Answer {
    let mut answer = match document {
        Ok(client) => json!({"validation": valid(), "mapped_fields": mapped(&client)}),
        Err(error) if error.is_of_document() => {
            json!({"validation": {"valid": false, "violations": [error.to_string()], "warnings": []}})
        }
        // There is nothing to validate.
        Err(error) => json!({"errors": [error.to_string()]}),
    };
    if let Some(client) = registered(call, &url) {
        answer["client_id"] = client.into();
    }
    Answer::ok(&answer)
}

/// Registers the client that a document describes, or brings the registered one up to date.
pub(super) fn register(call: &Call<'_>, (url, document): Document) -> Result<Answer, ApiError> {
    let known = registered(call, &url);
    call.access.require_any(&[if known.is_some() { "update:clients" } else { "create:clients" }])?;
    let mut client = document.map_err(|error| ApiError::property("external_client_id", error.to_string()))?;
    check_size(&client)?;
    let mut answer = json!({"mapped_fields": mapped(&client), "validation": valid()});
    let Some(id) = known else {
        client.id = client.trust.new_id().ok_or_else(ApiError::no_randomness)?;
        let client = call.tenant.clients.insert(client).map_err(refused)?;
        answer["client_id"] = client.id.as_str().into();
        return Ok(Answer::created(&answer));
    };
    call.tenant.clients.update(&id, |present| {
        present.name = client.name;
        present.redirect_uris = client.redirect_uris;
        present.grant_types = client.grant_types;
        Ok::<(), ApiError>(())
    })?;
    answer["client_id"] = id.into();
    Ok(Answer::ok(&answer))
}

/// Returns the id of the client that is registered with this document.
fn registered(call: &Call<'_>, url: &str) -> Option<String> {
    let clients = call.tenant.clients.all();
    let known = clients.iter().find(|client| client.external_client_id.as_deref() == Some(url));
    known.map(|client| client.id.clone())
}

fn valid() -> Value {
    json!({"valid": true, "violations": [], "warnings": []})
}

fn mapped(client: &ClientRecord) -> Value {
    json!({
        "external_client_id": client.external_client_id,
        "name": client.name,
        "callbacks": client.redirect_uris,
        "grant_types": client.grant_types,
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
    })
}

fn refused(error: InsertError) -> ApiError {
    match error {
        InsertError::Exists => ApiError::conflict(error.to_string()),
        InsertError::Full => ApiError::too_many_entities(error.to_string()),
    }
}

/// Takes what decides whether a client is a third party. Those are strict unless they ask for the other mode, which Auth0
/// grants to some accounts only.
fn trust(body: &mut Body) -> Result<Trust, ApiError> {
    let is_first_party = body.take("is_first_party")?.unwrap_or(true);
    let mode: Option<ThirdPartySecurityMode> = body.take("third_party_security_mode")?;
    match (is_first_party, mode) {
        (true, None) => Ok(Trust::FirstParty),
        (true, Some(_)) => {
            Err(ApiError::property("third_party_security_mode", "Only allowed when is_first_party is false"))
        }
        (false, mode) => Ok(Trust::ThirdParty(mode.unwrap_or(ThirdPartySecurityMode::Strict))),
    }
}

/// Applies what a new client and a changed one have in common.
fn apply(client: &mut ClientRecord, body: &mut Body) -> Result<(), ApiError> {
    if let Some(description) = body.take_text("description", MAX_DESCRIPTION_CHARS)? {
        client.description = Some(description).filter(|text| !text.is_empty());
    }
    if let Some(callbacks) = body.texts("callbacks", MAX_URLS, MAX_URL_CHARS)? {
        if let Some(bad) = callbacks.iter().find(|uri| !redirect_uri::is_acceptable(uri)) {
            let bad: String = bad.chars().take(100).collect();
            return Err(ApiError::property(
                "callbacks",
                format!("{bad} is no redirect URI; {ACCEPTED_REDIRECT_URIS}"),
            ));
        }
        client.redirect_uris = callbacks;
    }
    if let Some(urls) = body.texts("allowed_logout_urls", MAX_URLS, MAX_URL_CHARS)? {
        if !urls.iter().all(|url| redirect_uri::is_acceptable(url)) {
            return Err(ApiError::property("allowed_logout_urls", ACCEPTED_REDIRECT_URIS));
        }
        client.logout_urls = urls;
    }
    if let Some(grants) = body.take::<Vec<GrantType>>("grant_types")? {
        client.grant_types = without_repetitions(grants);
    }
    if let Some(method) = body.take::<Option<AuthMethod>>("token_endpoint_auth_method")? {
        client.token_endpoint_auth_method = method.unwrap_or_else(|| default_method(client.app_type));
    }
    apply_secret(client, body)?;
    body.keep(OTHERS, &mut client.others)
}

/// Takes the secret; a confidential client without one gets a random one.
fn apply_secret(client: &mut ClientRecord, body: &mut Body) -> Result<(), ApiError> {
    let secret = body.text("client_secret", MAX_NAME_CHARS)?;
    if !client.has_secret() {
        client.secret = None;
        return match secret {
            None => Ok(()),
            Some(_) => Err(ApiError::property("client_secret", "A public client has none")),
        };
    }
    if let Some(secret) = secret {
        client.secret = Some(Secret::new(&secret));
    } else if client.secret.is_none() {
        client.secret = Some(Secret::new(&format!("{}{}", new_id("")?, new_id("")?)));
    }
    Ok(())
}

fn without_repetitions(grants: Vec<GrantType>) -> Vec<GrantType> {
    let mut distinct = Vec::new();
    for grant in grants {
        if !distinct.contains(&grant) {
            distinct.push(grant);
        }
    }
    distinct
}

const fn default_method(app_type: Option<AppType>) -> AuthMethod {
    match app_type {
        Some(AppType::Native | AppType::Spa) => AuthMethod::None,
        Some(AppType::RegularWeb | AppType::NonInteractive | AppType::ResourceServer) | None => {
            AuthMethod::ClientSecretPost
        }
    }
}

fn default_grants(client: &ClientRecord) -> Vec<GrantType> {
    match client.app_type {
        Some(AppType::NonInteractive) => vec![GrantType::ClientCredentials],
        Some(AppType::ResourceServer) => Vec::new(),
        Some(AppType::Native | AppType::Spa | AppType::RegularWeb) | None => {
            vec![GrantType::AuthorizationCode, GrantType::RefreshToken]
        }
    }
}

fn check_size(client: &ClientRecord) -> Result<(), ApiError> {
    if with_secret(client).to_string().len() > MAX_CLIENT_BYTES {
        return Err(ApiError::too_many_entities(format!("a client is longer than {MAX_CLIENT_BYTES} bytes")));
    }
    Ok(())
}

fn has_type(client: &ClientRecord, asked: &str) -> bool {
    let name = client.app_type.map(|app_type| super::answer::value(&app_type));
    asked.split(',').any(|asked| name.as_ref().is_some_and(|name| name == asked))
}

/// Returns a client, with its secret for those who may read it.
fn shown(call: &Call<'_>, client: &ClientRecord) -> Value {
    let mut shown = with_secret(client);
    if call.access.require_any(&[READ_SECRETS]).is_err()
        && let Some(members) = shown.as_object_mut()
    {
        members.remove("client_secret");
    }
    shown
}

fn with_secret(client: &ClientRecord) -> Value {
    let mut shown: Map<String, Value> = client.others.clone();
    let mut set = |name: &str, value: Value| drop(shown.insert(name.to_owned(), value));
    set("client_id", client.id.as_str().into());
    set("name", client.name.as_str().into());
    set("global", false.into());
    set("is_first_party", (!client.is_third_party()).into());
    set("callbacks", json!(client.redirect_uris));
    set("allowed_logout_urls", json!(client.logout_urls));
    set("grant_types", json!(client.grant_types));
    set("token_endpoint_auth_method", json!(client.token_endpoint_auth_method));
    if let Trust::ThirdParty(mode) = client.trust {
        set("third_party_security_mode", json!(mode));
    }
    if let Some(description) = &client.description {
        set("description", description.as_str().into());
    }
    if let Some(app_type) = client.app_type {
        set("app_type", json!(app_type));
    }
    if let Some(url) = &client.external_client_id {
        set("external_client_id", url.as_str().into());
        set("external_metadata_type", "cimd".into());
    }
    if let Some(secret) = client.secret.as_ref().filter(|_| client.has_secret()) {
        set("client_secret", secret.expose().into());
    }
    Value::Object(shown)
}
