//! The control endpoint: a token without a login, for the `token` command. Commands on this machine reach it, web pages
//! do not: a request that carries an `Origin` was refused before it comes here.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Request};
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::tokens::{IssuedToken, Issuer, TokenRequest};

/// Where it is.
pub(crate) const PATH: &str = "/local-tenant/token";
/// A body's size and time.
const BODY_BYTES: usize = 64 * 1024;
const BODY_READ: Duration = Duration::from_secs(10);

/// RFC 6749 section 5.1's answer, as it is sent and as the client reads it.
#[derive(Serialize, Deserialize)]
pub(crate) struct TokenResponse {
    access_token: String,
    token_type: String,
    expires_in: u64,
    scope: String,
}

/// Answers a request.
pub(crate) async fn answer(issuer: &Issuer, request: Request<Incoming>) -> Result<TokenResponse, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::UnsupportedMediaType);
    }
    let body = read(request.into_body()).await?;
    let wanted: TokenRequest = serde_json::from_slice(&body).map_err(|error| {
        Problem::BadRequest(format!("the body is {{\"user\", \"scope\"?, \"audience\"?}} as JSON: {error}"))
    })?;
    issuer.issue(&wanted).map(TokenResponse::from).map_err(Problem::Token)
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

/// A form or plain text, which a page could send without a preflight, is not.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

async fn read(body: Incoming) -> Result<Bytes, Problem> {
    // Not reading is also not sending "100 Continue".
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(Problem::BodyTooLarge { limit: BODY_BYTES });
    }
    tokio::time::timeout(BODY_READ, collect(body)).await.unwrap_or(Err(Problem::BodyTooSlow))
}

async fn collect(mut body: Incoming) -> Result<Bytes, Problem> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::BodyBroken)?.into_data() else {
            continue;
        };
        if collected.len() + data.len() > BODY_BYTES {
            return Err(Problem::BodyTooLarge { limit: BODY_BYTES });
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}
