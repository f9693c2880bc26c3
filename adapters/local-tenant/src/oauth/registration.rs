//! Dynamic client registration (RFC 7591), as Auth0's `/oidc/register` does it: every client is a third party.

use serde::{Deserialize, Serialize};
use syntax::strict_json;

use crate::model::client::{AuthMethod, ClientRecord, Trust};
use crate::model::directory::Settings;
use crate::model::options::{GrantType, Secret};
use crate::model::random::random_id;
use crate::model::redirect_uri;
use crate::oauth::clients::Clients;
use crate::oauth::error::OAuthError;
use crate::oauth::log;

/// The consent page shows the name in full.
const MAX_NAME_BYTES: usize = 200;
const MAX_REDIRECT_URIS: usize = 32;
const MAX_REDIRECT_URI_BYTES: usize = 2048;

/// The client metadata that matter here. Others are ignored, as RFC 7591 section 2 demands.
#[derive(Deserialize)]
struct RequestedMetadata {
    #[serde(default)]
    client_name: Option<String>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default)]
    grant_types: Option<Vec<String>>,
    #[serde(default)]
    response_types: Option<Vec<String>>,
    #[serde(default)]
    token_endpoint_auth_method: Option<AuthMethod>,
}

/// A client information response (RFC 7591 section 3.2.1).
#[derive(Serialize)]
pub(crate) struct Registered {
    client_id: String,
    client_id_issued_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u64>,
    client_name: String,
    redirect_uris: Vec<String>,
    grant_types: Vec<GrantType>,
    response_types: [&'static str; 1],
    token_endpoint_auth_method: AuthMethod,
}

/// Registers the client that the body describes.
///
/// # Errors
/// The error response of RFC 7591 section 3.2.2, or `access_denied` where the settings forbid it.
pub(crate) fn register(
    clients: &Clients,
    settings: &Settings,
    body: &[u8],
    now: i64,
) -> Result<Registered, OAuthError> {
    if !settings.flags.enable_dynamic_client_registration {
        return Err(OAuthError::new(
            "access_denied",
            "dynamic client registration is not enabled (flags.enable_dynamic_client_registration is off)",
        ));
    }
    let requested: RequestedMetadata = strict_json::parse(body).map_err(|error| {
        invalid_metadata(format!("the body is not client metadata (RFC 7591 section 2): {error}"))
    })?;
    check_redirect_uris(&requested.redirect_uris)?;
    let grant_types = grant_types(&requested)?;
    let name = requested.client_name.unwrap_or_else(|| "an application without a name".to_owned());
    if name.len() > MAX_NAME_BYTES {
        return Err(invalid_metadata(format!("client_name is longer than {MAX_NAME_BYTES} bytes")));
    }
    // The default of RFC 7591 section 2.
    let method = requested.token_endpoint_auth_method.unwrap_or(AuthMethod::ClientSecretBasic);
    let secret = if method == AuthMethod::None {
        None
    } else {
        Some(random_id().ok_or_else(OAuthError::no_randomness)?)
    };
    let trust = Trust::ThirdParty(settings.dynamic_client_registration_security_mode);
    let client = clients.register(ClientRecord {
        token_endpoint_auth_method: method,
        secret: secret.as_deref().map(Secret::new),
        redirect_uris: requested.redirect_uris,
        grant_types,
        ..ClientRecord::new(&trust.new_id().ok_or_else(OAuthError::no_randomness)?, &name, trust)
    });
    log::client_registered(&client);
    Ok(Registered {
        client_id: client.id.clone(),
        client_id_issued_at: now,
        client_secret_expires_at: secret.is_some().then_some(0),
        client_secret: secret,
        client_name: client.name.clone(),
        redirect_uris: client.redirect_uris.clone(),
        grant_types: client.grant_types.clone(),
        response_types: ["code"],
        token_endpoint_auth_method: method,
    })
}

fn check_redirect_uris(uris: &[String]) -> Result<(), OAuthError> {
    let invalid = |description: String| Err(OAuthError::new("invalid_redirect_uri", description));
    if uris.is_empty() || uris.len() > MAX_REDIRECT_URIS {
        return invalid(format!("redirect_uris must have from 1 to {MAX_REDIRECT_URIS} URIs"));
    }
    match uris.iter().find(|uri| uri.len() > MAX_REDIRECT_URI_BYTES || !redirect_uri::is_acceptable(uri)) {
        Some(uri) => {
            let shown: String = uri.chars().take(100).collect();
            invalid(format!(
                "{shown:?} is not an acceptable redirect URI; {}",
                redirect_uri::ACCEPTED_REDIRECT_URIS
            ))
        }
        None => Ok(()),
    }
}

/// Returns the grants that a client gets. `client_credentials` is not among them: only clients of the options have it.
fn grant_types(requested: &RequestedMetadata) -> Result<Vec<GrantType>, OAuthError> {
    if requested.response_types.as_ref().is_some_and(|types| !types.iter().any(|kind| kind == "code")) {
        return Err(invalid_metadata("response_types must hold \"code\""));
    }
    let Some(requested) = &requested.grant_types else {
        return Ok(vec![GrantType::AuthorizationCode, GrantType::RefreshToken]);
    };
    if !requested.iter().any(|grant| grant == "authorization_code") {
        return Err(invalid_metadata("grant_types must hold \"authorization_code\""));
    }
    let mut granted = vec![GrantType::AuthorizationCode];
    if requested.iter().any(|grant| grant == "refresh_token") {
        granted.push(GrantType::RefreshToken);
    }
    Ok(granted)
}

fn invalid_metadata(description: impl Into<String>) -> OAuthError {
    OAuthError::new("invalid_client_metadata", description)
}
