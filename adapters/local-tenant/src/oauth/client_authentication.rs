//! How a client authenticates (RFC 6749 section 2.3).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use crate::model::client::ClientRecord;
use crate::model::directory::Settings;
use crate::oauth::client_assertion;
use crate::oauth::error::OAuthError;
use crate::oauth::parameters::Parameters;
use crate::oauth::tenant::Tenant;

/// Authenticates the client by its `client_id` alone, by its secret, in the form or in the `Authorization` header, or by an
/// assertion that it signed.
///
/// # Errors
/// `invalid_client`, or `invalid_request` if it uses both ways.
pub(crate) fn authenticate(
    tenant: &Tenant,
    settings: &Settings,
    form: &Parameters,
    authorization: Option<&str>,
    issuer: &str,
) -> Result<Arc<ClientRecord>, OAuthError> {
    let refused = |why: &str| OAuthError::new("invalid_client", why);
    if let Some(assertion) = form.one("client_assertion")? {
        if authorization.is_some() || form.one("client_secret")?.is_some() {
            return Err(OAuthError::new("invalid_request", "the client authenticates in two ways at once"));
        }
        return by_assertion(tenant, settings, form, assertion, issuer);
    }
    let (id, secret) = (form.one("client_id")?, form.one("client_secret")?);
    let (id, secret) = match authorization {
        None => (id.map(str::to_owned), secret.map(str::to_owned)),
        Some(_) if secret.is_some() => {
            return Err(OAuthError::new("invalid_request", "the client authenticates in two ways at once"));
        }
        Some(header) => {
            let (name, secret) = parse_basic(header)
                .ok_or_else(|| refused("the Authorization header does not have valid Basic credentials"))?;
            if id.is_some_and(|id| id != name) {
                return Err(refused("the Authorization header names another client than the form"));
            }
            (Some(name), Some(secret))
        }
    };
    let id = id.ok_or_else(|| refused("client_id is missing"))?;
    let client = tenant.clients.lookup(&id, settings).map_err(|error| refused(&error.to_string()))?;
    if client.assertion_key.is_some() {
        return Err(refused("this client proves itself by an assertion (private_key_jwt)"));
    }
    match secret {
        None if client.has_secret() => Err(refused("this client is confidential: its secret is missing")),
        None => Ok(client),
        Some(_) if !client.has_secret() => Err(refused("this client is public: it has no secret")),
        Some(given) if client.secret.as_ref().is_some_and(|secret| secret.matches(&given)) => Ok(client),
        Some(_) => Err(refused("the client secret is wrong")),
    }
}

fn by_assertion(
    tenant: &Tenant,
    settings: &Settings,
    form: &Parameters,
    assertion: &str,
    issuer: &str,
) -> Result<Arc<ClientRecord>, OAuthError> {
    let refused = |why: &str| OAuthError::new("invalid_client", why);
    if form.one("client_assertion_type")? != Some(client_assertion::TYPE) {
        return Err(OAuthError::new("invalid_request", "client_assertion_type is not that of a JWT"));
    }
    let named = client_assertion::unverified_client(assertion);
    let id = form.one("client_id")?.map(str::to_owned).or(named);
    let id = id.ok_or_else(|| refused("the client assertion is no JWT of a client's"))?;
    let client = tenant.clients.lookup(&id, settings).map_err(|error| refused(&error.to_string()))?;
    let key = client.assertion_key.as_ref();
    let key = key.ok_or_else(|| refused("this client has no key that an assertion could be signed with"))?;
    client_assertion::check(assertion, &client.id, key, issuer, tenant.now()).map_err(refused)?;
    Ok(client)
}

/// Parses Basic credentials, in which id and secret are form-encoded (RFC 6749 section 2.3.1).
fn parse_basic(header: &str) -> Option<(String, String)> {
    let (scheme, credentials) = header.split_once(' ')?;
    let credentials =
        STANDARD.decode(credentials.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let credentials = String::from_utf8(credentials).ok()?;
    let (id, secret) = credentials.split_once(':')?;
    // Some clients do not encode: characters that separate form fields are taken literally.
    let decoded = |text: &str| {
        let whole = text.replace('=', "%3D").replace('&', "%26");
        let name = form_urlencoded::parse(whole.as_bytes()).next().map(|(name, _)| name.into_owned());
        name.unwrap_or_default()
    };
    Some((decoded(id), decoded(secret)))
}
