//! The token endpoint (OAuth 2.1 section 3.2): the grants `authorization_code`, `refresh_token` and `client_credentials`, and the
//! answer of `token-exchange`.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::model::client::ClientRecord;
use crate::model::directory::State;
use crate::model::options::GrantType;
use crate::oauth::access::{Access, api, check_organization};
use crate::oauth::authorization::{Authorization, IssuedVia, Subject};
use crate::oauth::client_authentication::authenticate;
use crate::oauth::error::OAuthError;
use crate::oauth::log;
use crate::oauth::parameters::Parameters;
use crate::oauth::scopes::{grantable, grantable_to_client};
use crate::oauth::target::{target, target_or_default};
use crate::oauth::tenant::Tenant;
use crate::oauth::token_exchange;

/// A token response (RFC 6749 section 5.1, OpenID Connect Core section 3.1.3.3).
#[derive(Serialize)]
pub(crate) struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    /// Of an exchanged token (RFC 8693 section 2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
}

/// Answers a token request, which the client may authenticate by its `Authorization` header.
///
/// # Errors
/// The error response of RFC 6749 section 5.2.
pub(crate) fn handle(
    tenant: &Tenant,
    form: &Parameters,
    authorization: Option<&str>,
    issuer: String,
) -> Result<TokenResponse, OAuthError> {
    log::token_requested(form);
    if form.one("grant_type")? == Some(token_exchange::GRANT) {
        return exchange(tenant, form, authorization, issuer);
    }
    let grant_type = match form.one("grant_type")? {
        Some("authorization_code") => GrantType::AuthorizationCode,
        Some("refresh_token") => GrantType::RefreshToken,
        Some("client_credentials") => GrantType::ClientCredentials,
        Some(_) => {
            let known =
                "the grants are authorization_code, refresh_token, client_credentials and token-exchange";
            return Err(OAuthError::new("unsupported_grant_type", known));
        }
        None => return Err(OAuthError::new("invalid_request", "grant_type is missing")),
    };
    let state = tenant.directory.state();
    let client = authenticate(tenant, &state.settings, form, authorization, &issuer)?;
    if !client.grant_types.contains(&grant_type) {
        return Err(OAuthError::new("unauthorized_client", "this client may not use this grant"));
    }
    // An unknown target is refused before a code or a refresh token is used up.
    if let Some(target) = target(form, &state.settings)? {
        api(&state, target)?;
    }
    let request = Request { tenant, state: &state, form };
    match grant_type {
        GrantType::AuthorizationCode => request.redeem_code(&client),
        GrantType::RefreshToken => request.refresh(&client),
        GrantType::ClientCredentials => request.client_credentials(client, issuer),
    }
}

/// Answers a request to exchange a token.
fn exchange(
    tenant: &Tenant,
    form: &Parameters,
    authorization: Option<&str>,
    issuer: String,
) -> Result<TokenResponse, OAuthError> {
    let state = tenant.directory.state();
    let client = authenticate(tenant, &state.settings, form, authorization, &issuer)?;
    let exchanged = token_exchange::exchange(tenant, &state, client, form, issuer)?;
    let api = exchanged.audience.as_deref().map(|audience| api(&state, audience)).transpose()?;
    let token = tenant.issuer.access_token(&state, api, &exchanged, IssuedVia::TokenExchange)?;
    log::token_issued(&exchanged, IssuedVia::TokenExchange, false, false);
    // Where they are those that were asked for, Auth0 does not say so.
    let is_as_asked = form.one("scope")?.is_some_and(|asked| {
        let count = asked.split_ascii_whitespace().count();
        count == exchanged.scope.len() && asked.split_ascii_whitespace().all(|scope| exchanged.has(scope))
    });
    Ok(TokenResponse {
        access_token: token.access_token,
        token_type: "Bearer",
        expires_in: token.expires_in,
        scope: (!is_as_asked).then_some(token.scope),
        refresh_token: None,
        id_token: None,
        issued_token_type: Some(token_exchange::ACCESS_TOKEN),
    })
}

/// A request of an authenticated client that may use the grant.
struct Request<'a> {
    tenant: &'a Tenant,
    /// What the whole request is decided by.
    state: &'a State,
    form: &'a Parameters,
}

impl Request<'_> {
    fn redeem_code(&self, client: &ClientRecord) -> Result<TokenResponse, OAuthError> {
        let (tenant, form) = (self.tenant, self.form);
        let missing = |name: &str| OAuthError::new("invalid_request", format!("{name} is missing"));
        let code_text = form.one("code")?.ok_or_else(|| missing("code"))?;
        let verifier = form.one("code_verifier")?.ok_or_else(|| missing("code_verifier"))?;
        let redirect_uri = form.one("redirect_uri")?.ok_or_else(|| missing("redirect_uri"))?;
        let code = tenant.grants.take_code(code_text, tenant.now())?;
        let authorization = code.authorization;
        if authorization.client.id != client.id {
            return Err(OAuthError::invalid_grant("the code was issued to another client"));
        }
        if code.redirect_uri != redirect_uri {
            return Err(OAuthError::invalid_grant(
                "the redirect_uri is not that of the authorization request",
            ));
        }
        if URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) != code.challenge {
            return Err(OAuthError::invalid_grant("the code_verifier does not fit the code_challenge"));
        }
        self.check_target(&authorization)?;
        let access = Access::for_user(self.state, client, authorization.audience.as_deref())?;
        log::code_redeemed(client);
        let refresh_token = match access.api.filter(|_| authorization.is_refreshable()) {
            Some(api) => {
                let until = tenant.refresh_token_expiry(api);
                Some(tenant.grants.begin_family(authorization.clone(), code_text, until)?)
            }
            None => None,
        };
        self.respond(access, &authorization, IssuedVia::AuthorizationCode, refresh_token)
    }

    fn refresh(&self, client: &ClientRecord) -> Result<TokenResponse, OAuthError> {
        let (tenant, form) = (self.tenant, self.form);
        let token = form.one("refresh_token")?;
        let token = token.ok_or_else(|| OAuthError::new("invalid_request", "refresh_token is missing"))?;
        let narrowed = form.one("scope")?;
        let scope_of = |authorization: &Authorization| {
            self.check_target(authorization)?;
            let scope = narrowed.map_or_else(
                || Ok(authorization.scope.clone()),
                |asked| narrowed_scope(&authorization.scope, asked),
            )?;
            self.still_granted(client, authorization, &scope)
        };
        let (next, authorization) = tenant.grants.rotate(token, client, tenant.now(), scope_of)?;
        let access = Access::for_user(self.state, client, authorization.audience.as_deref())?;
        self.respond(access, &authorization, IssuedVia::RefreshToken, Some(next))
    }

    /// Returns those of the granted scopes that a login would still grant: a user may have lost a role meanwhile, and a
    /// client its grant.
    fn still_granted(
        &self,
        client: &ClientRecord,
        authorization: &Authorization,
        scope: &[String],
    ) -> Result<Vec<String>, OAuthError> {
        let access = Access::for_user(self.state, client, authorization.audience.as_deref())?;
        let user = self.tenant.issuer.user_of(authorization);
        let user = user.ok_or_else(|| OAuthError::invalid_grant("the user does not exist any more"))?;
        check_organization(self.state, client, user)?;
        Ok(grantable(self.state, access, user, client, Some(&scope.join(" "))))
    }

    /// Checks that a token is requested for no other resource than the user consented to (RFC 8707 section 2.2).
    fn check_target(&self, authorization: &Authorization) -> Result<(), OAuthError> {
        match target(self.form, &self.state.settings)? {
            Some(target) if Some(target) != authorization.audience.as_deref() => {
                Err(OAuthError::new("invalid_target", "the authorization is for another resource"))
            }
            _ => Ok(()),
        }
    }

    fn client_credentials(
        &self,
        client: Arc<ClientRecord>,
        issuer: String,
    ) -> Result<TokenResponse, OAuthError> {
        let audience = target_or_default(self.form, &self.state.settings)?;
        let access = Access::for_client(self.state, &client, audience)?;
        let scope = grantable_to_client(access, self.form.one("scope")?);
        let audience = access.api.map(|api| api.identifier.clone());
        let authorization = Authorization {
            subject: Subject::Client,
            client,
            scope,
            nonce: None,
            audience,
            issuer,
            authenticated_at: None,
            actors: Vec::new(),
        };
        self.respond(access, &authorization, IssuedVia::ClientCredentials, None)
    }

    fn respond(
        &self,
        access: Access<'_>,
        authorization: &Authorization,
        via: IssuedVia,
        refresh_token: Option<String>,
    ) -> Result<TokenResponse, OAuthError> {
        let issuer = &self.tenant.issuer;
        let token = issuer.access_token(self.state, access.api, authorization, via)?;
        let id_token = issuer.id_token(authorization)?;
        log::token_issued(authorization, via, refresh_token.is_some(), id_token.is_some());
        Ok(TokenResponse {
            access_token: token.access_token,
            token_type: "Bearer",
            expires_in: token.expires_in,
            scope: Some(token.scope),
            refresh_token,
            id_token,
            issued_token_type: None,
        })
    }
}

/// Returns the granted scopes that a refresh request asks for.
///
/// # Errors
/// `invalid_scope` for a scope that was not granted (RFC 6749 section 6).
fn narrowed_scope(granted: &[String], asked: &str) -> Result<Vec<String>, OAuthError> {
    let asked: Vec<&str> = asked.split_ascii_whitespace().collect();
    if !asked.iter().all(|scope| granted.iter().any(|granted| granted == scope)) {
        return Err(OAuthError::new("invalid_scope", "a scope was not granted before"));
    }
    Ok(granted.iter().filter(|scope| asked.contains(&scope.as_str())).cloned().collect())
}
