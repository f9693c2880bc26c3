//! The issuer: signs access tokens and ID tokens. It knows no HTTP, and decides nothing about scopes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;
use serde_json::Value;

use crate::model::client::ClientRecord;
use crate::model::clock::TenantClock;
use crate::model::directory::{ResourceServer, SigningAlg, State};
use crate::model::faults::{Faults, TokenForm};
use crate::model::keys::KeyRing;
use crate::model::options::{DAY, Dialect, Options, User};
use crate::model::random::random_id;
use crate::model::scopes::OPENID;
use crate::oauth::authorization::{Authorization, IssuedVia, Subject};
use crate::oauth::claims::{Act, Audience, Claims, IdClaims, ProfileClaims, user_claims, userinfo_audience};
use crate::oauth::scopes::permissions;
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

    /// Returns the user with this key.
    pub(crate) fn user(&self, key: &str) -> Result<&User, TokenError> {
        self.options.user(key).ok_or_else(|| TokenError::UnknownUser {
            asked: key.to_owned(),
            known: self.options.user_keys().into_iter().map(str::to_owned).collect(),
        })
    }

    /// Issues an access token in the form that the API has, unless the active faults demand another one. Without an API it is
    /// for userinfo, and opaque, as at Auth0.
    pub(crate) fn access_token(
        &self,
        state: &State,
        api: Option<&ResourceServer>,
        authorization: &Authorization,
        via: IssuedVia,
    ) -> Result<IssuedToken, TokenError> {
        let scope = authorization.scope.join(" ");
        let expires_in = api.map_or(DAY, |api| token_lifetime(api, &authorization.client));
        let access_token = match (self.form(api), api) {
            (TokenForm::Opaque, _) | (_, None) => opaque()?,
            (TokenForm::Encrypted, _) => encrypted(&authorization.issuer)?,
            (form @ (TokenForm::Jwt | TokenForm::Expired), Some(api)) => {
                let now = self.clock.now();
                let lifetime = i64::try_from(expires_in).unwrap_or(i64::MAX);
                let iat = if form == TokenForm::Jwt {
                    now
                } else {
                    now.saturating_sub(EXPIRED_FOR_SECONDS + lifetime)
                };
                let times = (iat, iat.saturating_add(lifetime));
                let claims = self.claims((state, api), authorization, via, &scope, times)?;
                self.sign(api.signing_alg, dialect(api).typ(), &claims)?
            }
        };
        Ok(IssuedToken { access_token, expires_in, scope })
    }

    fn form(&self, api: Option<&ResourceServer>) -> TokenForm {
        match self.faults.active().tokens {
            TokenForm::Jwt if api.is_some_and(|api| api.token_encryption.is_some()) => TokenForm::Encrypted,
            form => form,
        }
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
        self.sign(SigningAlg::RS256, "JWT", &claims).map(Some)
    }

    /// Returns the user that an authorization is by, unless it is a client's own.
    pub(crate) fn user_of(&self, authorization: &Authorization) -> Option<&User> {
        match &authorization.subject {
            Subject::User(key) => self.options.user(key),
            Subject::Client => None,
        }
    }

    fn claims<'a>(
        &'a self,
        (state, api): (&'a State, &'a ResourceServer),
        authorization: &'a Authorization,
        via: IssuedVia,
        scope: &'a str,
        (iat, exp): (i64, i64),
    ) -> Result<Claims<'a>, TokenError> {
        let (dialect, client, issuer) = (dialect(api), &authorization.client, &authorization.issuer);
        let user = self.user_of(authorization);
        let sub = match (&authorization.subject, user) {
            (Subject::User(_), Some(user)) => Cow::Borrowed(user.sub.as_str()),
            (Subject::User(key), None) => return Err(self.user(key).err().unwrap_or(TokenError::Signing)),
            (Subject::Client, _) => Cow::Owned(format!("{}@clients", client.id)),
        };
        let aud = if authorization.has(OPENID) {
            Audience::WithUserinfo([api.identifier.clone(), userinfo_audience(issuer)])
        } else {
            Audience::Api(&api.identifier)
        };
        Ok(Claims {
            iss: issuer,
            sub,
            aud,
            iat,
            exp,
            scope,
            profile: ProfileClaims::of(dialect, &client.id, via).ok_or(TokenError::Signing)?,
            permissions: dialect.has_permissions().then(|| permissions(state, api, client, user)),
            user: user.map(|user| user_claims(user, |_| true)).unwrap_or_default(),
            org_id: user.and_then(|user| user.org_id.as_deref()),
            custom: self.custom_claims(user, authorization),
            act: Act::of(&authorization.actors),
        })
    }

    /// Returns what an Action of the tenant's would add.
    fn custom_claims<'a>(
        &'a self,
        user: Option<&'a User>,
        authorization: &Authorization,
    ) -> BTreeMap<&'a str, Value> {
        let of_user = user.into_iter().flat_map(|user| &user.claims);
        let of_user = of_user.map(|(name, value)| (name.as_str(), value.clone()));
        let name = self.options.auth_time_claim.as_str();
        let login = authorization.authenticated_at.filter(|_| !name.is_empty());
        of_user.chain(login.map(|at| (name, at.into()))).collect()
    }

    fn sign(&self, alg: SigningAlg, typ: &str, claims: &impl Serialize) -> Result<String, TokenError> {
        let key = self.keys.current();
        let algorithm = match alg {
            SigningAlg::RS256 => Algorithm::RS256,
            SigningAlg::RS512 => Algorithm::RS512,
            SigningAlg::PS256 => Algorithm::PS256,
            SigningAlg::HS256 => Algorithm::HS256,
        };
        let mut header = Header::new(algorithm);
        header.typ = Some(typ.to_owned());
        // No published key verifies HS256, so none is named.
        let key_for_alg = if alg == SigningAlg::HS256 {
            key.secret()
        } else {
            header.kid = Some(key.kid().to_owned());
            key.private()
        };
        jsonwebtoken::encode(&header, claims, key_for_alg).map_err(|error| {
            tracing::error!(%error, "can't sign a token");
            TokenError::Signing
        })
    }
}

fn token_lifetime(api: &ResourceServer, client: &ClientRecord) -> u64 {
    if client.is_third_party() { api.third_party_token_lifetime } else { api.token_lifetime }
}

/// Returns an API's dialect, which is Auth0's own one until it is set.
fn dialect(api: &ResourceServer) -> Dialect {
    api.token_dialect.unwrap_or(Dialect::AccessToken)
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
