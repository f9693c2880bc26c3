//! The issuer: signs access tokens and ID tokens. It knows no HTTP, and decides nothing about scopes.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;

use crate::model::client::ClientRecord;
use crate::model::clock::TenantClock;
use crate::model::faults::{Faults, TokenForm};
use crate::model::keys::KeyRing;
use crate::model::options::{Api, Options, User};
use crate::model::random::random_id;
use crate::model::scopes::OPENID;
use crate::oauth::authorization::{Authorization, IssuedVia, Subject};
use crate::oauth::claims::{Audience, Claims, IdClaims, ProfileClaims, user_claims, userinfo_audience};
use crate::oauth::token::{IssuedToken, TokenError};

/// Auth0's default.
const ID_TOKEN_LIFETIME_SECONDS: i64 = 36_000;
/// How long ago a token expired that [`TokenForm::Expired`] asks for.
const EXPIRED_FOR_SECONDS: i64 = 3600;

/// The tenant's options, and what it issues tokens with.
pub(crate) struct Issuer {
    options: Options,
    port: u16,
    keys: KeyRing,
    clock: TenantClock,
    faults: Faults,
}

impl Issuer {
    pub(crate) fn new(options: Options, port: u16, keys: KeyRing) -> Self {
        Self { options, port, keys, clock: TenantClock::default(), faults: Faults::default() }
    }

    /// Returns the issuer identifier, with its trailing slash.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Returns the issuer identifier for a request with this `Host`.
    pub(crate) fn url_for(&self, host: &str) -> String {
        let name = host.split(':').next().unwrap_or_default();
        if self.faults.active().second_issuer && name.eq_ignore_ascii_case("localhost") {
            format!("http://localhost:{}/", self.port)
        } else {
            self.url()
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    pub(crate) const fn clock(&self) -> &TenantClock {
        &self.clock
    }

    pub(crate) const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Returns the scopes of the first API that the user's roles assign; none for an unknown user.
    pub(crate) fn scopes_of(&self, user_key: &str) -> Vec<String> {
        let user = self.options.user(user_key);
        let assigned = user.map(|user| self.options.assigned_to(user, &self.options.api));
        assigned.unwrap_or_default().into_iter().map(str::to_owned).collect()
    }

    /// Returns the user with this key.
    pub(crate) fn user(&self, key: &str) -> Result<&User, TokenError> {
        self.options.user(key).ok_or_else(|| TokenError::UnknownUser {
            asked: key.to_owned(),
            known: self.options.user_keys().into_iter().map(str::to_owned).collect(),
        })
    }

    /// Returns the API with this identifier, or the first one if there is no `audience`.
    pub(crate) fn api(&self, audience: Option<&str>) -> Result<&Api, TokenError> {
        let Some(audience) = audience else {
            return Ok(&self.options.api);
        };
        self.options.apis().find(|api| api.identifier.as_deref() == Some(audience)).ok_or_else(|| {
            let known = self.options.apis().filter_map(|api| api.identifier.clone()).collect();
            TokenError::UnknownAudience { asked: audience.to_owned(), known }
        })
    }

    /// Issues an access token, in the form that the active faults demand.
    pub(crate) fn access_token(
        &self,
        authorization: &Authorization,
        via: IssuedVia,
    ) -> Result<IssuedToken, TokenError> {
        let scope = authorization.scope.join(" ");
        let api = self.api(Some(&authorization.audience))?;
        let expires_in = token_lifetime(api, &authorization.client);
        let access_token = match self.faults.active().tokens {
            TokenForm::Opaque => opaque()?,
            TokenForm::Encrypted => encrypted(&authorization.issuer)?,
            form @ (TokenForm::Jwt | TokenForm::Expired) => {
                let now = self.clock.now();
                let lifetime = i64::try_from(expires_in).unwrap_or(i64::MAX);
                let iat = if form == TokenForm::Jwt {
                    now
                } else {
                    now.saturating_sub(EXPIRED_FOR_SECONDS + lifetime)
                };
                let times = (iat, iat.saturating_add(lifetime));
                let claims = self.claims(api, authorization, via, &scope, times)?;
                self.sign(api.dialect.typ(), &claims)?
            }
        };
        Ok(IssuedToken { access_token, expires_in, scope })
    }

    /// Issues the ID token, if `openid` was granted.
    pub(crate) fn id_token(&self, authorization: &Authorization) -> Result<Option<String>, TokenError> {
        let (true, Some(user)) = (authorization.has(OPENID), self.user_of(authorization)) else {
            return Ok(None);
        };
        let iat = self.clock.now();
        let claims = IdClaims {
            iss: &authorization.issuer,
            sub: &user.sub,
            aud: &authorization.client.id,
            iat,
            exp: iat.saturating_add(ID_TOKEN_LIFETIME_SECONDS),
            nonce: authorization.nonce.as_deref(),
            user: user_claims(user, |scope| authorization.has(scope)),
            org_id: user.org_id.as_deref(),
        };
        self.sign("JWT", &claims).map(Some)
    }

    fn user_of(&self, authorization: &Authorization) -> Option<&User> {
        match &authorization.subject {
            Subject::User(key) => self.options.user(key),
            Subject::Client => None,
        }
    }

    fn claims<'a>(
        &'a self,
        api: &'a Api,
        authorization: &'a Authorization,
        via: IssuedVia,
        scope: &'a str,
        (iat, exp): (i64, i64),
    ) -> Result<Claims<'a>, TokenError> {
        let (dialect, client, issuer) = (api.dialect, &authorization.client, &authorization.issuer);
        let user = self.user_of(authorization);
        let sub = match (&authorization.subject, user) {
            (Subject::User(_), Some(user)) => Cow::Borrowed(user.sub.as_str()),
            (Subject::User(key), None) => return Err(self.user(key).err().unwrap_or(TokenError::Signing)),
            (Subject::Client, _) => Cow::Owned(format!("{}@clients", client.id)),
        };
        let permissions = user.map_or_else(
            || api.scope_names().filter(|scope| client.permissions.iter().any(|it| it == scope)).collect(),
            |user| self.options.assigned_to(user, api),
        );
        let aud = if authorization.has(OPENID) {
            Audience::WithUserinfo([authorization.audience.clone(), userinfo_audience(issuer)])
        } else {
            Audience::Api(&authorization.audience)
        };
        Ok(Claims {
            iss: issuer,
            sub,
            aud,
            iat,
            exp,
            scope,
            profile: ProfileClaims::of(dialect, &client.id, via).ok_or(TokenError::Signing)?,
            permissions: dialect.has_permissions().then_some(permissions),
            user: user.map(|user| user_claims(user, |_| true)).unwrap_or_default(),
            org_id: user.and_then(|user| user.org_id.as_deref()),
        })
    }

    fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, TokenError> {
        let key = self.keys.current();
        let mut header = Header::new(Algorithm::RS256);
        header.typ = Some(typ.to_owned());
        header.kid = Some(key.kid().to_owned());
        jsonwebtoken::encode(&header, claims, key.private()).map_err(|error| {
            tracing::error!(%error, "can't sign a token");
            TokenError::Signing
        })
    }
}

fn token_lifetime(api: &Api, client: &ClientRecord) -> u64 {
    if client.is_third_party() { api.third_party_token_lifetime_seconds } else { api.token_lifetime_seconds }
}

fn opaque() -> Result<String, TokenError> {
    let mut token = random_id().ok_or(TokenError::Signing)?;
    token.push_str(&random_id().ok_or(TokenError::Signing)?);
    token.truncate(32);
    Ok(token)
}

/// Returns a text of the form of a JWE (RFC 7516 section 7.1), of which only the header can be read.
fn encrypted(issuer: &str) -> Result<String, TokenError> {
    let header = serde_json::json!({"alg": "dir", "enc": "A256GCM", "iss": issuer}).to_string();
    let part = || random_id().ok_or(TokenError::Signing);
    Ok(format!("{}..{}.{}{}.{}", URL_SAFE_NO_PAD.encode(header), part()?, part()?, part()?, part()?))
}

impl fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Issuer").field("url", &self.url()).finish_non_exhaustive()
    }
}
