//! What comes after a login: `/userinfo` (OpenID Connect Core section 5.3), `/oauth/revoke` (RFC 7009), `/v2/logout`.

use serde::Serialize;

use crate::oauth::claims::{Person, person, userinfo_audience};
use crate::oauth::client_authentication::authenticate;
use crate::oauth::error::OAuthError;
use crate::oauth::parameters::Parameters;
use crate::oauth::tenant::Tenant;

/// A user's claims.
#[derive(Serialize)]
pub(crate) struct UserInfo<'a> {
    sub: &'a str,
    #[serde(flatten)]
    person: Person<'a>,
}

/// Who the bearer's token speaks for.
pub(crate) fn userinfo<'a>(
    tenant: &'a Tenant,
    authorization: Option<&str>,
    issuer: &str,
) -> Result<UserInfo<'a>, OAuthError> {
    let refused = |why: &str| OAuthError::new("invalid_token", why);
    let bearer = authorization.and_then(|header| header.split_once(' '));
    let token =
        bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let token = token.ok_or_else(|| refused("an access token is missing"))?;
    let claims =
        tenant.issuer.keys().opened(token).ok_or_else(|| refused("the token is not this tenant's"))?;
    if claims["exp"].as_i64().is_none_or(|exp| tenant.now() >= exp) {
        return Err(refused("the token has expired"));
    }
    let own = userinfo_audience(issuer);
    let is_for_us = claims["aud"].as_array().is_some_and(|audiences| audiences.iter().any(|aud| *aud == own));
    if !is_for_us {
        return Err(OAuthError::new("insufficient_scope", "the token was issued without the scope openid"));
    }
    let users = &tenant.options().users;
    let user = users.iter().find(|user| claims["sub"] == user.sub.as_str());
    let user = user.ok_or_else(|| refused("the token speaks for no user"))?;
    let scope = claims["scope"].as_str().unwrap_or_default();
    let has = |name: &str| scope.split(' ').any(|granted| granted == name);
    Ok(UserInfo { sub: &user.sub, person: person(user, has) })
}

/// Revokes a refresh token. RFC 7009 section 2.2: a token that is not known is as good as revoked; access tokens stand by
/// themselves until they expire.
pub(crate) fn revoke(
    tenant: &Tenant,
    form: &Parameters,
    authorization: Option<&str>,
) -> Result<(), OAuthError> {
    let client = authenticate(tenant, form, authorization)?;
    let token = form.one("token")?.ok_or_else(|| OAuthError::new("invalid_request", "token is missing"))?;
    tenant.grants.revoke(token, &client);
    Ok(())
}

/// Where to go after a logout, if a client of the options may send people there.
pub(crate) fn logout(tenant: &Tenant, query: &Parameters) -> Result<Option<String>, String> {
    let asked = query.one("returnTo").ok().flatten();
    match asked {
        Some(url) if tenant.clients.may_return_to(url) => Ok(Some(url.to_owned())),
        Some(url) => Err(format!("{url} is in no client's logout_urls.")),
        None => Ok(None),
    }
}
