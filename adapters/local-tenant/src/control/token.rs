//! `POST /local-tenant/token`: issues access tokens without a login.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::parse;
use crate::http::problem::Problem;
use crate::model::client::{ClientRecord, Trust};
use crate::model::directory::{ResourceServer, State};
use crate::oauth::access::own_apis;
use crate::oauth::authorization::{Authorization, IssuedVia, Subject};
use crate::oauth::log;
use crate::oauth::scopes::granted_strictly;
use crate::oauth::tenant::Tenant;
use crate::oauth::token::{IssuedToken, TokenError, TokenRequest};

/// The endpoint's path.
pub(crate) const PATH: &str = "/local-tenant/token";

/// The client that the endpoint's tokens are issued to.
pub(crate) const CLI_CLIENT_ID: &str = "local-tenant-cli";

/// An access token response (RFC 6749 section 5.1), as the endpoint writes it and the command reads it.
#[derive(Serialize, Deserialize)]
pub(crate) struct TokenResponse {
    access_token: String,
    token_type: String,
    expires_in: u64,
    scope: String,
}

/// Issues the token that the body asks for.
pub(crate) fn handle(tenant: &Tenant, body: &[u8], issuer_url: String) -> Result<TokenResponse, Problem> {
    let request: TokenRequest = parse(body, "{\"user\", \"scope\"?, \"audience\"?}")?;
    issue(tenant, &request, issuer_url, CLI_CLIENT_ID)
        .map(TokenResponse::from)
        .map_err(|error| Problem::OAuth(error.into()))
}

/// Issues an access token without a login.
///
/// # Errors
/// [`TokenError`], if the user, the API or a scope does not exist.
pub(crate) fn issue(
    tenant: &Tenant,
    request: &TokenRequest,
    issuer_url: String,
    client_id: &str,
) -> Result<IssuedToken, TokenError> {
    let state = tenant.directory.state();
    let user = tenant.issuer.user(&request.user)?;
    let api = api(&state, request.audience.as_deref())?;
    let authorization = Authorization {
        actors: Vec::new(),
        subject: Subject::User(user.key.clone()),
        client: Arc::new(ClientRecord::new(client_id, client_id, Trust::FirstParty)),
        scope: granted_strictly(&state, api, request.scope.as_deref(), user)?,
        nonce: None,
        audience: Some(api.identifier.clone()),
        issuer: issuer_url,
        authenticated_at: Some(tenant.now()),
    };
    let token = tenant.issuer.access_token(&state, Some(api), &authorization, IssuedVia::TokenCommand)?;
    log::token_issued(&authorization, IssuedVia::TokenCommand, false, false);
    Ok(token)
}

/// Returns the API with this identifier, or the first one if there is no `audience`. The Management API is not for users.
fn api<'a>(state: &'a State, audience: Option<&str>) -> Result<&'a ResourceServer, TokenError> {
    let Some(audience) = audience else {
        return own_apis(state).next().ok_or(TokenError::NoApi);
    };
    own_apis(state).find(|api| api.identifier == audience).ok_or_else(|| TokenError::UnknownAudience {
        asked: audience.to_owned(),
        known: own_apis(state).map(|api| api.identifier.clone()).collect(),
    })
}

impl From<IssuedToken> for TokenResponse {
    fn from(token: IssuedToken) -> Self {
        Self {
            access_token: token.access_token,
            token_type: "Bearer".into(),
            expires_in: token.expires_in,
            scope: token.scope,
        }
    }
}

impl From<TokenResponse> for IssuedToken {
    fn from(response: TokenResponse) -> Self {
        Self { access_token: response.access_token, expires_in: response.expires_in, scope: response.scope }
    }
}

#[cfg(test)]
mod tests;
