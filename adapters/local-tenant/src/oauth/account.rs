//! The endpoints used after a login: `/userinfo` (OpenID Connect Core section 5.3), `/oauth/revoke` (RFC 7009) and
//! `/v2/logout`.

use serde::Serialize;

use crate::model::scopes::OPENID;
use crate::oauth::claims::{UserClaims, user_claims, userinfo_audience};
use crate::oauth::client_authentication::authenticate;
use crate::oauth::error::OAuthError;
use crate::oauth::parameters::Parameters;
use crate::oauth::tenant::Tenant;

/// A userinfo response.
#[derive(Serialize)]
pub(crate) struct UserInfo<'a> {
    sub: &'a str,
    #[serde(flatten)]
    user: UserClaims<'a>,
}

/// Returns the claims of the user whose access token the `Authorization` header carries.
///
/// # Errors
/// `invalid_token`, or `insufficient_scope` for a token without the scope `openid`.
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
    let claims = tenant
        .issuer
        .keys()
        .verified_claims(token)
        .ok_or_else(|| refused("the token is not this tenant's"))?;
    if claims["exp"].as_i64().is_none_or(|exp| tenant.now() >= exp) {
        return Err(refused("the token has expired"));
    }
    let audience = userinfo_audience(issuer);
    let is_for_userinfo =
        claims["aud"].as_array().is_some_and(|audiences| audiences.iter().any(|aud| *aud == audience));
    if !is_for_userinfo {
        let description = format!("the token was issued without the scope {OPENID}");
        return Err(OAuthError::new("insufficient_scope", description));
    }
    let users = &tenant.options().users;
    let user = users.iter().find(|user| claims["sub"] == user.sub.as_str());
    let user = user.ok_or_else(|| refused("the token's sub is no user of this tenant"))?;
    let scope = claims["scope"].as_str().unwrap_or_default();
    let has = |name: &str| scope.split(' ').any(|granted| granted == name);
    Ok(UserInfo { sub: &user.sub, user: user_claims(user, has) })
}

/// Revokes a refresh token. An unknown token is not an error (RFC 7009 section 2.2); access tokens are valid until they
/// expire.
pub(crate) fn revoke(
    tenant: &Tenant,
    form: &Parameters,
    authorization: Option<&str>,
) -> Result<(), OAuthError> {
    let client =
        authenticate(tenant, &tenant.directory.state().settings, form, authorization, &tenant.issuer.url())?;
    let token = form.one("token")?.ok_or_else(|| OAuthError::new("invalid_request", "token is missing"))?;
    tenant.grants.revoke(token, &client);
    Ok(())
}

/// Returns the URL to redirect to after a logout, if the request has one.
///
/// # Errors
/// An explanation for the user, if the URL is in no client's `logout_urls`.
pub(crate) fn logout(tenant: &Tenant, query: &Parameters) -> Result<Option<String>, String> {
    let return_to = query.one("returnTo").ok().flatten();
    match return_to {
        Some(url) if tenant.clients.is_logout_url(url) => Ok(Some(url.to_owned())),
        Some(url) => Err(format!("{url} is in no client's logout_urls.")),
        None => Ok(None),
    }
}
