//! Who gets which token: Auth0's rules for roles ("RBAC" with "add permissions"), for clients nobody vouched for, and its
//! four dialects. It knows no HTTP and no grants.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};

use crate::clients::{KnownClient, Trust};
use crate::faults::{Faults, TokenForm};
use crate::keys::{KeyRing, random_id};
use crate::log;
use crate::options::{Api, Dialect, GrantType, Options, User};
use crate::time::TenantClock;

/// The client that every token of the control endpoint is issued to.
const CLI_CLIENT_ID: &str = "local-tenant-cli";
/// OpenID Connect's scopes, which strict third parties never get.
const IDENTITY_SCOPES: [&str; 3] = ["openid", "profile", "email"];
const OFFLINE_ACCESS: &str = "offline_access";
/// Auth0's default lifetime of ID tokens, in seconds.
const ID_TOKEN_LIFE: i64 = 36_000;
/// How long ago a token expired that is issued expired, in seconds.
const EXPIRED_SINCE: i64 = 3600;

/// What a token is asked for, as the library and the control endpoint take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The user's key.
    pub user: String,
    /// Scopes, separated by spaces; without it, everything that is assigned; empty, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The API's identifier; without it, the one API there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// An access token and what goes with it. Its `Debug` leaves the token out.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The JWT.
    pub access_token: String,
    /// Seconds from `iat`.
    pub expires_in: u64,
    /// The granted scopes, separated by spaces: requested and assigned.
    pub scope: String,
}

/// Why no token is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No user has this key.
    #[error("there is no user {asked:?}; the tenant has {}", .known.join(", "))]
    UnknownUser {
        /// The key asked for.
        asked: String,
        /// The keys of the tenant's users.
        known: Vec<String>,
    },
    /// No API has this identifier.
    #[error("there is no API {asked:?}; the tenant has {}", .known.join(", "))]
    UnknownAudience {
        /// The identifier asked for.
        asked: String,
        /// The identifiers of the tenant's APIs.
        known: Vec<String>,
    },
    /// The API does not define the scope.
    #[error("the API does not define the scope {asked:?}; it has {}", .known.join(", "))]
    UnknownScope {
        /// The scope asked for.
        asked: String,
        /// The API's scopes.
        known: Vec<String>,
    },
    /// The machine gave no randomness, or the key did not sign.
    #[error("the token can't be signed")]
    Signing,
}

impl TokenError {
    /// OAuth's name for it.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::UnknownUser { .. } => "invalid_grant",
            // RFC 8707 section 2.
            Self::UnknownAudience { .. } => "invalid_target",
            Self::UnknownScope { .. } => "invalid_scope",
            Self::Signing => "server_error",
        }
    }
}

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The user of this key.
    User(String),
    /// The client itself.
    Client,
}

/// What a client may do, and for whom: what a code, a refresh token and in the end an access token stand for.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub(crate) subject: Subject,
    pub(crate) client: Arc<KnownClient>,
    /// Requested and assigned.
    pub(crate) scope: Vec<String>,
    /// OpenID Connect's, for the ID token.
    pub(crate) nonce: Option<String>,
    /// The API's identifier.
    pub(crate) audience: String,
    /// Under which of its names the tenant was asked.
    pub(crate) issuer: String,
}

impl Authorization {
    fn has(&self, scope: &str) -> bool {
        self.scope.iter().any(|granted| granted == scope)
    }

    /// Whether a refresh token goes with it.
    pub(crate) fn is_refreshable(&self) -> bool {
        self.has(OFFLINE_ACCESS)
    }
}

/// Auth0's `gty`: how the token came to be, if not by a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Login,
    Refresh,
    Machine,
    ControlEndpoint,
}

impl Origin {
    const fn gty(self) -> Option<&'static str> {
        match self {
            Self::Login => None,
            Self::Refresh => Some("refresh_token"),
            Self::Machine => Some("client-credentials"),
            // Auth0's for a user that no browser was involved in.
            Self::ControlEndpoint => Some("password"),
        }
    }
}

/// The tenant's identity and everything that it signs with.
pub(crate) struct Issuer {
    options: Options,
    port: u16,
    keys: KeyRing,
    clock: TenantClock,
    faults: Faults,
    cli: Arc<KnownClient>,
}

/// A token's claims; which of the optional ones are there is the dialect's and the user's.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: Cow<'a, str>,
    aud: Audience<'a>,
    iat: i64,
    exp: i64,
    scope: &'a str,
    #[serde(flatten)]
    profile: Profile<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<&'a str>>,
    #[serde(flatten)]
    person: Person<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<&'a str>,
}

/// A user's record, as far as it is told.
#[derive(Default, Serialize)]
pub(crate) struct Person<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    Api(&'a str),
    WithUserinfo([String; 2]),
}

/// The claims that only one of the two profiles has.
#[derive(Serialize)]
#[serde(untagged)]
enum Profile<'a> {
    Auth0 {
        azp: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        gty: Option<&'static str>,
    },
    Rfc9068 {
        client_id: &'a str,
        jti: String,
    },
}

/// OpenID Connect Core section 2.
#[derive(Serialize)]
struct IdClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(flatten)]
    person: Person<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<&'a str>,
}

impl Issuer {
    pub(crate) fn new(options: Options, port: u16, keys: KeyRing) -> Self {
        Self {
            options,
            port,
            keys,
            clock: TenantClock::default(),
            faults: Faults::default(),
            cli: Arc::new(cli_client()),
        }
    }

    /// With the trailing slash.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// The issuer for who asked under this `Host`.
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

    pub(crate) fn scopes_of(&self, user_key: &str) -> Vec<String> {
        let user = self.options.user(user_key);
        let assigned = user.map(|user| self.options.assigned_to(user, &self.options.api));
        owned(&assigned.unwrap_or_default())
    }

    /// A token without a login, for the library and the control endpoint.
    pub(crate) fn issue(&self, request: &TokenRequest, issuer: String) -> Result<IssuedToken, TokenError> {
        let user = self.named(&request.user)?;
        let api = self.api(request.audience.as_deref())?;
        let scope = self.granted_strictly(api, request.scope.as_deref(), user)?;
        let (subject, client) = (Subject::User(user.key.clone()), Arc::clone(&self.cli));
        let audience = api.identifier.clone().unwrap_or_default();
        let authorization = Authorization { subject, client, scope, nonce: None, audience, issuer };
        let token = self.access_token(&authorization, Origin::ControlEndpoint)?;
        log::token_issued(&authorization, Origin::ControlEndpoint, false, false);
        Ok(token)
    }

    /// What a user can grant a client of what it asks for: Auth0 drops the rest without a word. Without a request, it is
    /// everything that the API assigns (RFC 6749 section 3.3).
    pub(crate) fn grantable(
        &self,
        api: &Api,
        user: &User,
        client: &KnownClient,
        requested: Option<&str>,
    ) -> Vec<String> {
        let assigned = self.options.assigned_to(user, api);
        let Some(requested) = requested else {
            return owned(&assigned);
        };
        let requested: BTreeSet<&str> = requested.split_ascii_whitespace().collect();
        let identity = IDENTITY_SCOPES.into_iter().filter(|_| client.may_identify_users());
        let offline = Some(OFFLINE_ACCESS).filter(|_| may_be_offline(api, client));
        let possible = assigned.into_iter().chain(identity).chain(offline);
        possible.filter(|scope| requested.contains(scope)).map(str::to_owned).collect()
    }

    /// The API of this identifier; without one, the server's.
    pub(crate) fn api(&self, audience: Option<&str>) -> Result<&Api, TokenError> {
        let Some(asked) = audience else {
            return Ok(&self.options.api);
        };
        self.options.apis().find(|api| api.identifier.as_deref() == Some(asked)).ok_or_else(|| {
            let known = self.options.apis().filter_map(|api| api.identifier.clone()).collect();
            TokenError::UnknownAudience { asked: asked.to_owned(), known }
        })
    }

    pub(crate) fn access_token(
        &self,
        authorization: &Authorization,
        origin: Origin,
    ) -> Result<IssuedToken, TokenError> {
        let scope = authorization.scope.join(" ");
        let api = self.api(Some(&authorization.audience))?;
        let expires_in = lifetime(api, &authorization.client);
        let access_token = match self.faults.active().tokens {
            TokenForm::Opaque => opaque()?,
            TokenForm::Encrypted => encrypted(&authorization.issuer)?,
            form @ (TokenForm::Jwt | TokenForm::Expired) => {
                let now = self.clock.now();
                let life = i64::try_from(expires_in).unwrap_or(i64::MAX);
                let iat = if form == TokenForm::Jwt { now } else { now.saturating_sub(EXPIRED_SINCE + life) };
                let times = (iat, iat.saturating_add(life));
                let claims = self.claims(api, authorization, origin, &scope, times)?;
                self.sign(api.dialect.typ(), &claims)?
            }
        };
        Ok(IssuedToken { access_token, expires_in, scope })
    }

    /// The ID token, when `openid` was granted.
    pub(crate) fn id_token(&self, authorization: &Authorization) -> Result<Option<String>, TokenError> {
        let (true, Some(user)) = (authorization.has("openid"), self.user_of(authorization)) else {
            return Ok(None);
        };
        let iat = self.clock.now();
        let claims = IdClaims {
            iss: &authorization.issuer,
            sub: &user.sub,
            aud: &authorization.client.id,
            iat,
            exp: iat.saturating_add(ID_TOKEN_LIFE),
            nonce: authorization.nonce.as_deref(),
            person: person(user, |scope| authorization.has(scope)),
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

    fn named(&self, key: &str) -> Result<&User, TokenError> {
        self.options.user(key).ok_or_else(|| TokenError::UnknownUser {
            asked: key.to_owned(),
            known: owned(&self.options.user_keys()),
        })
    }

    /// Requested and assigned, in the API's order. What the API does not define is an error here, where Auth0 drops
    /// it without a word: a typing mistake should not become a token that lacks something.
    fn granted_strictly(
        &self,
        api: &Api,
        requested: Option<&str>,
        user: &User,
    ) -> Result<Vec<String>, TokenError> {
        let assigned = self.options.assigned_to(user, api);
        let Some(requested) = requested else {
            return Ok(owned(&assigned));
        };
        let requested: BTreeSet<&str> = requested.split_ascii_whitespace().collect();
        let defined: Vec<&str> = api.scope_names().collect();
        if let Some(unknown) = requested.iter().find(|scope| !defined.contains(scope)) {
            return Err(TokenError::UnknownScope { asked: (*unknown).to_owned(), known: owned(&defined) });
        }
        Ok(assigned
            .iter()
            .filter(|scope| requested.contains(*scope))
            .map(|&scope| scope.to_owned())
            .collect())
    }

    fn claims<'a>(
        &'a self,
        api: &'a Api,
        authorization: &'a Authorization,
        origin: Origin,
        scope: &'a str,
        (iat, exp): (i64, i64),
    ) -> Result<Claims<'a>, TokenError> {
        let (dialect, client, issuer) = (api.dialect, &authorization.client, &authorization.issuer);
        let user = self.user_of(authorization);
        let sub = match (&authorization.subject, user) {
            (Subject::User(_), Some(user)) => Cow::Borrowed(user.sub.as_str()),
            (Subject::User(key), None) => return Err(self.named(key).err().unwrap_or(TokenError::Signing)),
            (Subject::Client, _) => Cow::Owned(format!("{}@clients", client.id)),
        };
        let permissions = user.map_or_else(
            || api.scope_names().filter(|scope| client.permissions.iter().any(|it| it == scope)).collect(),
            |user| self.options.assigned_to(user, api),
        );
        let aud = if authorization.has("openid") {
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
            profile: Profile::of(dialect, &client.id, origin).ok_or(TokenError::Signing)?,
            permissions: dialect.has_permissions().then_some(permissions),
            person: user.map(|user| person(user, |_| true)).unwrap_or_default(),
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

/// Whether a client can have refresh tokens for an API.
pub(crate) fn may_be_offline(api: &Api, client: &KnownClient) -> bool {
    api.allow_offline_access && client.grant_types.contains(&GrantType::RefreshToken)
}

/// Why a user's grant lacks a scope that a client asked for.
pub(crate) fn why_not_granted(api: &Api, client: &KnownClient, scope: &str) -> &'static str {
    if scope == OFFLINE_ACCESS && !may_be_offline(api, client) {
        return if api.allow_offline_access {
            "the client has no grant refresh_token"
        } else {
            "the API has allow_offline_access off"
        };
    }
    if IDENTITY_SCOPES.contains(&scope) && !client.may_identify_users() {
        return "third parties do not get it in strict mode";
    }
    if api.scope_names().any(|defined| defined == scope) {
        "no role of the user assigns it"
    } else {
        "the API does not define it"
    }
}

/// What a client gets on its own behalf of what it asks for.
pub(crate) fn grantable_to_machine(api: &Api, client: &KnownClient, requested: Option<&str>) -> Vec<String> {
    let requested: Option<BTreeSet<&str>> = requested.map(|scopes| scopes.split_ascii_whitespace().collect());
    let is_asked_for = |scope: &&str| requested.as_ref().is_none_or(|asked| asked.contains(scope));
    let is_permitted = |scope: &&str| client.permissions.iter().any(|permitted| permitted == scope);
    api.scope_names().filter(is_permitted).filter(is_asked_for).map(str::to_owned).collect()
}

fn lifetime(api: &Api, client: &KnownClient) -> u64 {
    if client.is_third_party() { api.third_party_token_lifetime_seconds } else { api.token_lifetime_seconds }
}

/// The audience of `/userinfo`.
pub(crate) fn userinfo_audience(issuer: &str) -> String {
    format!("{issuer}userinfo")
}

/// What the record says, as far as the scopes of OpenID Connect Core section 5.4 let it be told.
pub(crate) fn person(user: &User, has: impl Fn(&str) -> bool) -> Person<'_> {
    Person {
        name: user.name.as_deref().filter(|_| has("profile")),
        email: user.email.as_deref().filter(|_| has("email")),
    }
}

fn cli_client() -> KnownClient {
    KnownClient {
        id: CLI_CLIENT_ID.to_owned(),
        name: CLI_CLIENT_ID.to_owned(),
        secret: None,
        redirect_uris: Vec::new(),
        logout_urls: Vec::new(),
        grant_types: Vec::new(),
        permissions: Vec::new(),
        trust: Trust::FirstParty,
    }
}

fn opaque() -> Result<String, TokenError> {
    let mut token = random_id().ok_or(TokenError::Signing)?;
    token.push_str(&random_id().ok_or(TokenError::Signing)?);
    token.truncate(32);
    Ok(token)
}

/// Five parts (RFC 7516 section 7.1), of which nothing can be read but the header.
fn encrypted(issuer: &str) -> Result<String, TokenError> {
    let header = serde_json::json!({"alg": "dir", "enc": "A256GCM", "iss": issuer}).to_string();
    let part = || random_id().ok_or(TokenError::Signing);
    Ok(format!("{}..{}.{}{}.{}", URL_SAFE_NO_PAD.encode(header), part()?, part()?, part()?, part()?))
}

impl Dialect {
    const fn typ(self) -> &'static str {
        match self {
            Self::AccessToken | Self::AccessTokenAuthz => "JWT",
            Self::Rfc9068Profile | Self::Rfc9068ProfileAuthz => "at+jwt",
        }
    }

    const fn has_permissions(self) -> bool {
        match self {
            Self::AccessToken | Self::Rfc9068Profile => false,
            Self::AccessTokenAuthz | Self::Rfc9068ProfileAuthz => true,
        }
    }
}

impl<'a> Profile<'a> {
    /// `None` if the machine gives no randomness.
    fn of(dialect: Dialect, client_id: &'a str, origin: Origin) -> Option<Self> {
        match dialect {
            Dialect::AccessToken | Dialect::AccessTokenAuthz => {
                Some(Self::Auth0 { azp: client_id, gty: origin.gty() })
            }
            Dialect::Rfc9068Profile | Dialect::Rfc9068ProfileAuthz => {
                random_id().map(|jti| Self::Rfc9068 { client_id, jti })
            }
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Issuer").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IssuedToken")
            .field("access_token", &"[redacted]")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish()
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::keys::SigningKey;

    const AUDIENCE: &str = "http://localhost:3001/mcp";

    fn issuer(options: Options) -> Issuer {
        let keys = KeyRing::new(SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        Issuer::new(options.with_api_identifier(AUDIENCE), 3002, keys)
    }

    fn request(user: &str, scope: Option<&str>) -> TokenRequest {
        TokenRequest { user: user.into(), scope: scope.map(Into::into), audience: None }
    }

    /// Header and claims; the end-to-end tests verify the signature.
    fn opened(token: &IssuedToken) -> [Value; 2] {
        let mut parts = token.access_token.split('.');
        [(); 2].map(|()| {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap()).unwrap()
        })
    }

    #[test]
    fn scope_is_requested_and_assigned_permissions_are_all_assigned() {
        let issuer = issuer(Options::default());
        let both = ["tool:whoami", "tool:greet"];
        let one = ["tool:whoami"];
        let cases: [(&str, Option<&str>, &str, &[&str]); 8] = [
            ("admin", None, "tool:whoami tool:greet", &both),
            ("admin", Some("tool:greet tool:whoami"), "tool:whoami tool:greet", &both),
            ("admin", Some("tool:greet"), "tool:greet", &both),
            ("admin", Some(" tool:greet  tool:greet "), "tool:greet", &both),
            ("admin", Some(""), "", &both),
            ("user", None, "tool:whoami", &one),
            ("user", Some("tool:whoami tool:greet"), "tool:whoami", &one),
            ("user", Some("tool:greet"), "", &one),
        ];
        for (user, asked, scope, permissions) in cases {
            let token = issuer.issue(&request(user, asked), issuer.url()).unwrap();
            let [_, claims] = opened(&token);
            assert_eq!(token.scope, scope, "{user} {asked:?}");
            assert_eq!(claims["scope"], scope, "{user} {asked:?}");
            assert_eq!(claims["permissions"], serde_json::json!(permissions), "{user} {asked:?}");
        }
    }

    #[test]
    fn what_does_not_exist_is_refused_with_what_does() {
        let issuer = issuer(Options::default());
        let elsewhere = TokenRequest { audience: Some("https://x.test".into()), ..request("admin", None) };
        let cases = [
            (request("bob", None), "there is no user \"bob\"; the tenant has admin, user"),
            (request("a\u{1b}[2J", None), "there is no user \"a\\u{1b}[2J\"; the tenant has admin, user"),
            (elsewhere, "there is no API \"https://x.test\"; the tenant has http://localhost:3001/mcp"),
            (
                request("admin", Some("tool:whoami openid")),
                "the API does not define the scope \"openid\"; it has tool:whoami, tool:greet",
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(issuer.issue(&request, issuer.url()).err().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn each_dialect_has_its_type_and_its_claims() {
        let common = ["aud", "email", "exp", "iat", "iss", "name", "scope", "sub"];
        let cases: [(&str, &str, &[&str]); 4] = [
            ("access_token", "JWT", &["azp", "gty"]),
            ("access_token_authz", "JWT", &["azp", "gty", "permissions"]),
            ("rfc9068_profile", "at+jwt", &["client_id", "jti"]),
            ("rfc9068_profile_authz", "at+jwt", &["client_id", "jti", "permissions"]),
        ];
        let mut issuer = issuer(Options::default());
        for (dialect, typ, own) in cases {
            issuer.options.api.dialect = serde_json::from_value(dialect.into()).unwrap();
            let [header, claims] = opened(&issuer.issue(&request("admin", None), issuer.url()).unwrap());
            assert_eq!((&header["alg"], &header["typ"]), (&"RS256".into(), &typ.into()), "{dialect}");
            let mut expected = [&common[..], own].concat();
            expected.sort_unstable();
            let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
            names.sort_unstable();
            assert_eq!(names, expected, "{dialect}");
        }
    }

    #[test]
    fn a_token_is_not_in_its_debug_text() {
        let token = IssuedToken { access_token: "ey.secret".into(), expires_in: 1, scope: "a".into() };
        let text = "IssuedToken { access_token: \"[redacted]\", expires_in: 1, scope: \"a\" }";
        assert_eq!(format!("{token:?}"), text);
    }

    #[test]
    fn what_the_users_record_lacks_the_token_lacks() {
        let mut options = Options::default();
        options.users[0].name = None;
        options.users[0].email = None;
        options.users[1].org_id = Some("org_1".into());
        let issuer = issuer(options);
        let claims = |user| opened(&issuer.issue(&request(user, None), issuer.url()).unwrap())[1].clone();
        assert_eq!((claims("admin").get("name"), claims("admin").get("email")), (None, None));
        assert_eq!(claims("admin").get("org_id"), None);
        assert_eq!(claims("user")["org_id"], "org_1");
    }
}
