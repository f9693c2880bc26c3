//! The control endpoints: a token without a login, for the `token` command, and faults on demand. Commands on this
//! machine reach them, web pages do not: a request that carries an `Origin` was refused before it comes here.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use syntax::strict_json;

use crate::faults::Fault;
use crate::problem::Problem;
use crate::tenant::Tenant;
use crate::tokens::{IssuedToken, TokenRequest};

/// Where a token is had.
pub(crate) const TOKEN_PATH: &str = "/local-tenant/token";
/// Where faults are made.
pub(crate) const FAULT_PATH: &str = "/local-tenant/fault";

/// RFC 6749 section 5.1's answer, as it is sent and as the client reads it.
#[derive(Serialize, Deserialize)]
pub(crate) struct TokenResponse {
    access_token: String,
    token_type: String,
    expires_in: u64,
    scope: String,
}

/// Issues what the body asks for.
pub(crate) fn token(tenant: &Tenant, body: &[u8], issuer: String) -> Result<TokenResponse, Problem> {
    let wanted: TokenRequest = parsed(body, "{\"user\", \"scope\"?, \"audience\"?}")?;
    tenant.issuer.issue(&wanted, issuer).map(TokenResponse::from).map_err(Problem::Token)
}

/// Does what the body asks for.
pub(crate) async fn fault(tenant: &std::sync::Arc<Tenant>, body: &[u8]) -> Result<(), Problem> {
    let fault: Fault = parsed(body, "{\"fault\", ...}")?;
    let tenant = std::sync::Arc::clone(tenant);
    // Making a key takes a while; requests are served meanwhile. It does not panic.
    let _ = tokio::task::spawn_blocking(move || tenant.inject(&fault)).await;
    Ok(())
}

fn parsed<T: DeserializeOwned>(body: &[u8], shape: &str) -> Result<T, Problem> {
    strict_json::parse(body)
        .map_err(|error| Problem::BadRequest(format!("the body is {shape} as JSON: {error}")))
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
