//! What the token endpoint answers: a token, or why there is none, told apart by who has to do what about it.

use std::time::Duration;

use domain::{BearerToken, DownstreamApi, DownstreamError, DownstreamToken, ScopeSet, UnixSeconds};
use serde::Deserialize;
use syntax::strict_json;
use ureq::http::header::{DATE, RETRY_AFTER};
use ureq::http::{HeaderMap, StatusCode};

/// RFC 8693 section 3.
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The bounds of a wait that an answer names, in seconds.
const WAIT: std::ops::RangeInclusive<i64> = 1..=300;

/// An answer as it came.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A token response (RFC 8693 section 2.2.1).
#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
    scope: Option<String>,
    issued_token_type: Option<String>,
}

/// An error response (RFC 6749 section 5.2).
#[derive(Deserialize, Default)]
struct ErrorResponse {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Why an exchange brought no token: what the caller is told, and what the authorization server said, which may be any text.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: DownstreamError,
    pub(crate) said: String,
}

/// The cause of an error whose reason has a line of its own in the log.
const LOGGED: &str = "the token exchange failed; its own line in the log says why";

impl Failure {
    /// Creates a failure of the configuration, here or at the tenant.
    pub(crate) fn misconfigured(said: impl Into<String>) -> Self {
        Self { error: DownstreamError::Misconfigured { cause: LOGGED.to_owned() }, said: said.into() }
    }

    /// Creates a failure that may pass.
    pub(crate) fn unavailable(api: &DownstreamApi, said: impl Into<String>) -> Self {
        let error = DownstreamError::Unavailable { api: api.name.clone(), cause: LOGGED.to_owned() };
        Self { error, said: said.into() }
    }
}

/// Reads a token for an API that has all of these scopes.
pub(crate) fn read(
    answer: &Answer,
    api: &DownstreamApi,
    asked: &ScopeSet,
    now: UnixSeconds,
) -> Result<DownstreamToken, Failure> {
    if answer.status != StatusCode::OK {
        return Err(refusal(answer, api, asked));
    }
    // Nothing of it is repeated: it has the token.
    let response: TokenResponse = strict_json::parse(&answer.body)
        .map_err(|_| Failure::unavailable(api, "the token endpoint's answer is no token response"))?;
    if !response.token_type.eq_ignore_ascii_case("Bearer") {
        return Err(Failure::misconfigured(
            "the API's tokens are bound to a key (DPoP or mTLS), and not bearer tokens",
        ));
    }
    if response.issued_token_type.is_some_and(|issued| issued != ACCESS_TOKEN) {
        return Err(Failure::misconfigured(
            "the token endpoint issued another kind of token than an access token",
        ));
    }
    let token = BearerToken::new(&response.access_token)
        .map_err(|_| Failure::unavailable(api, "the token endpoint's answer has no usable access_token"))?;
    // Where it says nothing, they are those that were asked for (RFC 6749 section 5.1).
    let granted =
        response.scope.map_or_else(|| asked.clone(), |scope| ScopeSet::granted_by(scope.split(' ')));
    let missing: ScopeSet = asked.iter().filter(|scope| !granted.contains(scope)).cloned().collect();
    if !missing.is_empty() {
        let said = format!("granted was only {granted:?}", granted = granted.to_string());
        return Err(Failure {
            error: DownstreamError::ScopesMissing { api: api.name.clone(), missing },
            said,
        });
    }
    // What says nothing of its end is used once.
    let lifetime = i64::try_from(response.expires_in.unwrap_or(0)).unwrap_or(i64::MAX);
    Ok(DownstreamToken::new(token, UnixSeconds(now.0.saturating_add(lifetime)), granted))
}

fn refusal(answer: &Answer, api: &DownstreamApi, asked: &ScopeSet) -> Failure {
    let status = answer.status;
    let response: ErrorResponse = strict_json::parse(&answer.body).unwrap_or_default();
    let ErrorResponse { error: code, error_description } = response;
    let said = format!("HTTP status {}, {code}: {error_description}", status.as_u16());
    let of_api = || api.name.clone();
    let error = match code.as_str() {
        _ if status == StatusCode::TOO_MANY_REQUESTS => {
            DownstreamError::LimitReached { retry_after: retry_after(&answer.headers) }
        }
        _ if status.is_server_error() => return Failure::unavailable(api, said),
        "too_many_requests" => DownstreamError::LimitReached { retry_after: retry_after(&answer.headers) },
        "temporarily_unavailable" | "server_error" => return Failure::unavailable(api, said),
        "consent_required" | "interaction_required" => DownstreamError::ConsentRequired { api: of_api() },
        code if code.starts_with("mfa_") => DownstreamError::MfaRequired { api: of_api() },
        "login_required" | "invalid_grant" => DownstreamError::LoginRequired { api: of_api() },
        "invalid_scope" | "insufficient_scope" => {
            DownstreamError::ScopesMissing { api: of_api(), missing: asked.clone() }
        }
        // With 401, Auth0 says this of a client's credentials.
        "access_denied" if status != StatusCode::UNAUTHORIZED => DownstreamError::Denied { api: of_api() },
        _ => return Failure::misconfigured(said),
    };
    Failure { error, said }
}

/// Returns when to try again: what the answer says of it, or a second.
fn retry_after(headers: &HeaderMap) -> Duration {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let until_reset = || number("x-ratelimit-reset")?.checked_sub(answered_at(headers)?);
    let seconds = number(RETRY_AFTER.as_str()).or_else(until_reset).unwrap_or(1);
    Duration::from_secs(seconds.clamp(*WAIT.start(), *WAIT.end()).unsigned_abs())
}

/// Returns the tenant's own time, by which it says when the limit is reset.
fn answered_at(headers: &HeaderMap) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second())
}
