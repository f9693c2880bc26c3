//! The grant `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693) as Auth0 has it: its On-Behalf-Of Token Exchange. The
//! client of an API exchanges a user's token for that API for one of another API. The statuses are Auth0's; of the error codes
//! it documents one, for a chain of actors that is too long.

use std::sync::Arc;

use serde_json::Value;

use crate::model::client::ClientRecord;
use crate::model::directory::State;
use crate::model::options::User;
use crate::oauth::access::Access;
use crate::oauth::authorization::{Authorization, Subject};
use crate::oauth::error::OAuthError;
use crate::oauth::parameters::Parameters;
use crate::oauth::scopes::grantable;
use crate::oauth::tenant::Tenant;

pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 8693 section 3.
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Auth0's maximum length of a chain of actors.
const MAX_ACTORS: usize = 5;

/// A token that a client exchanges: whom it is of, and who acted for them.
struct SubjectToken {
    sub: String,
    /// The client that it was issued to, and those before, the last one first.
    actors: Vec<String>,
}

/// Decides on the exchange that a form asks for, and returns what the new token stands for.
///
/// # Errors
/// An [`OAuthError`] with the status that Auth0 documents.
pub(crate) fn exchange(
    tenant: &Tenant,
    state: &State,
    client: Arc<ClientRecord>,
    form: &Parameters,
    issuer: String,
) -> Result<Authorization, OAuthError> {
    let required = |name: &'static str| {
        form.one(name)?.ok_or_else(|| OAuthError::new("invalid_request", format!("{name} is missing")))
    };
    let (token, audience) = (required("subject_token")?, required("audience")?);
    for name in ["subject_token_type", "requested_token_type"] {
        if required(name)? != ACCESS_TOKEN {
            return Err(OAuthError::new("invalid_request", format!("{name} must be {ACCESS_TOKEN}")));
        }
    }
    let own_api = check_client(&client)?;
    let subject = subject_token(tenant, token, own_api, &issuer)?;
    let user = user_of(tenant, &subject.sub)?;
    let access = Access::for_exchange(state, &client, audience)?;
    let actors: Vec<String> = std::iter::once(client.id.clone()).chain(subject.actors).collect();
    if actors.len() > MAX_ACTORS {
        let description =
            format!("Delegation chain (`act` claim) depth exceeds the maximum allowed limit of {MAX_ACTORS}");
        return Err(OAuthError::new("invalid_request", description));
    }
    let asked = form.one("scope")?;
    let scope = grantable(state, access, user, &client, asked);
    if asked.is_some() && scope.is_empty() {
        let description = "the user does not have the requested scopes for the target audience";
        return Err(OAuthError::new("access_denied", description));
    }
    Ok(Authorization {
        subject: Subject::User(user.key.clone()),
        client,
        scope,
        nonce: None,
        audience: Some(audience.to_owned()),
        issuer,
        actors,
        // An Action sees no login in an exchange.
        authenticated_at: None,
    })
}

/// Checks that a client is an API's and may exchange tokens, and returns that API's identifier.
fn check_client(client: &ClientRecord) -> Result<&str, OAuthError> {
    let refused = |why: &str| OAuthError::new("unauthorized_client", why).with_status(403);
    if !client.is_confidential() {
        return Err(refused("a client that proves nothing may not exchange tokens"));
    }
    if !client.may_exchange_tokens() {
        return Err(refused("the client's token_exchange does not allow on_behalf_of_token_exchange"));
    }
    client.resource_server().ok_or_else(|| {
        refused("only the client of an API may exchange tokens: app_type resource_server, with its resource_server_identifier")
    })
}

fn subject_token(
    tenant: &Tenant,
    token: &str,
    own_api: &str,
    issuer: &str,
) -> Result<SubjectToken, OAuthError> {
    let refused = |why: &str| OAuthError::invalid_grant(why).with_status(401);
    let claims = tenant.issuer.keys().verified_claims(token);
    let claims = claims.ok_or_else(|| refused("the subject token is no token of this tenant"))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(issuer) {
        return Err(refused("the subject token was issued under another name of this tenant"));
    }
    let is_for_it = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(|audience| audience.as_str() == Some(own_api)),
        Some(audience) => audience.as_str() == Some(own_api),
        None => false,
    };
    if !is_for_it {
        return Err(refused("the subject token is not for the client's own API"));
    }
    if claims.get("exp").and_then(Value::as_i64).is_none_or(|exp| exp <= tenant.now()) {
        return Err(refused("the subject token has expired"));
    }
    let client = text("client_id").or(text("azp")).unwrap_or_default();
    let mut actors = Vec::new();
    let mut actor = claims.get("act");
    while let Some(act) = actor {
        actors.extend(act.get("sub").and_then(Value::as_str).map(str::to_owned));
        actor = act.get("act");
    }
    if actors.is_empty() {
        actors.push(client.to_owned());
    }
    Ok(SubjectToken { sub: text("sub").unwrap_or_default().to_owned(), actors })
}

fn user_of<'a>(tenant: &'a Tenant, sub: &str) -> Result<&'a User, OAuthError> {
    let user = tenant.options().users.iter().find(|user| user.sub == sub);
    user.ok_or_else(|| OAuthError::new("access_denied", "the subject token is no user's"))
}
