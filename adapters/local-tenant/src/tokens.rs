//! Who gets which access token: Auth0's rules for roles ("RBAC" with "add permissions"), and its four dialects.
//! It knows no HTTP.

use std::collections::BTreeSet;
use std::fmt;

use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};

use crate::keys::{KeyRing, random_id};
use crate::options::{Dialect, Options, User};
use crate::time::unix_seconds;

/// The client that every token of the control endpoint is issued to.
const CLIENT_ID: &str = "local-tenant-cli";
/// Auth0's `gty` of a token for a user that no browser was involved in.
const GRANT_TYPE: &str = "password";

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
    #[error("there is no API {asked:?}; the tenant's is {known}")]
    UnknownAudience {
        /// The identifier asked for.
        asked: String,
        /// The API's.
        known: String,
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

/// The tenant's identity and everything that it signs with.
pub(crate) struct Issuer {
    options: Options,
    audience: String,
    port: u16,
    url: String,
    keys: KeyRing,
}

/// A token's claims; which of the optional ones are there is the dialect's and the user's.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    scope: &'a str,
    #[serde(flatten)]
    profile: Profile,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<&'a str>,
}

/// The claims that only one of the two profiles has.
#[derive(Serialize)]
#[serde(untagged)]
enum Profile {
    Auth0 { azp: &'static str, gty: &'static str },
    Rfc9068 { client_id: &'static str, jti: String },
}

impl Issuer {
    pub(crate) fn new(options: Options, audience: String, port: u16, keys: KeyRing) -> Self {
        Self { options, audience, port, url: format!("http://127.0.0.1:{port}/"), keys }
    }

    /// With the trailing slash.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn users(&self) -> &[User] {
        &self.options.users
    }

    pub(crate) const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    pub(crate) fn scopes_of(&self, user_key: &str) -> Vec<String> {
        let assigned = self.options.user(user_key).map(|user| self.options.assigned_to(user));
        owned(&assigned.unwrap_or_default())
    }

    pub(crate) fn issue(&self, request: &TokenRequest) -> Result<IssuedToken, TokenError> {
        let user = self.named(&request.user)?;
        self.check_audience(request.audience.as_deref())?;
        let assigned = self.options.assigned_to(user);
        let scope = self.granted(request.scope.as_deref(), &assigned)?.join(" ");
        let access_token = self.sign(&self.claims(user, &scope, assigned)?)?;
        Ok(IssuedToken { access_token, expires_in: self.options.api.token_lifetime_seconds, scope })
    }

    fn named(&self, key: &str) -> Result<&User, TokenError> {
        self.options.user(key).ok_or_else(|| TokenError::UnknownUser {
            asked: key.to_owned(),
            known: owned(&self.options.user_keys()),
        })
    }

    fn check_audience(&self, asked: Option<&str>) -> Result<(), TokenError> {
        match asked {
            Some(asked) if asked != self.audience => {
                Err(TokenError::UnknownAudience { asked: asked.to_owned(), known: self.audience.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Requested and assigned, in the API's order. What the API does not define is an error here, where Auth0 drops
    /// it without a word: a typing mistake should not become a token that lacks something.
    fn granted<'a>(&self, requested: Option<&str>, assigned: &[&'a str]) -> Result<Vec<&'a str>, TokenError> {
        let Some(requested) = requested else {
            return Ok(assigned.to_vec());
        };
        let requested: BTreeSet<&str> = requested.split_ascii_whitespace().collect();
        let defined: Vec<&str> = self.options.api.scope_names().collect();
        if let Some(unknown) = requested.iter().find(|scope| !defined.contains(scope)) {
            return Err(TokenError::UnknownScope { asked: (*unknown).to_owned(), known: owned(&defined) });
        }
        Ok(assigned.iter().copied().filter(|scope| requested.contains(scope)).collect())
    }

    fn claims<'a>(
        &'a self,
        user: &'a User,
        scope: &'a str,
        assigned: Vec<&'a str>,
    ) -> Result<Claims<'a>, TokenError> {
        let (dialect, iat) = (self.options.api.dialect, unix_seconds());
        Ok(Claims {
            iss: &self.url,
            sub: &user.sub,
            aud: &self.audience,
            iat,
            exp: iat.saturating_add(self.options.api.token_lifetime_seconds),
            scope,
            profile: Profile::of(dialect).ok_or(TokenError::Signing)?,
            permissions: dialect.has_permissions().then_some(assigned),
            name: user.name.as_deref(),
            email: user.email.as_deref(),
            org_id: user.org_id.as_deref(),
        })
    }

    fn sign(&self, claims: &Claims<'_>) -> Result<String, TokenError> {
        let key = self.keys.current();
        let mut header = Header::new(Algorithm::RS256);
        header.typ = Some(self.options.api.dialect.typ().to_owned());
        header.kid = Some(key.kid().to_owned());
        jsonwebtoken::encode(&header, claims, key.private()).map_err(|error| {
            tracing::error!(%error, "can't sign a token");
            TokenError::Signing
        })
    }
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

impl Profile {
    /// `None` if the machine gives no randomness.
    fn of(dialect: Dialect) -> Option<Self> {
        match dialect {
            Dialect::AccessToken | Dialect::AccessTokenAuthz => {
                Some(Self::Auth0 { azp: CLIENT_ID, gty: GRANT_TYPE })
            }
            Dialect::Rfc9068Profile | Dialect::Rfc9068ProfileAuthz => {
                random_id().map(|jti| Self::Rfc9068 { client_id: CLIENT_ID, jti })
            }
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Issuer").field("url", &self.url).finish_non_exhaustive()
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
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::Value;

    use super::*;
    use crate::keys::SigningKey;

    const AUDIENCE: &str = "http://localhost:3001/mcp";

    fn issuer(options: Options) -> Issuer {
        let keys = KeyRing::new(SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        Issuer::new(options, AUDIENCE.into(), 3002, keys)
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
            let token = issuer.issue(&request(user, asked)).unwrap();
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
            (elsewhere, "there is no API \"https://x.test\"; the tenant's is http://localhost:3001/mcp"),
            (
                request("admin", Some("tool:whoami openid")),
                "the API does not define the scope \"openid\"; it has tool:whoami, tool:greet",
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(issuer.issue(&request).err().unwrap().to_string(), expected);
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
            let [header, claims] = opened(&issuer.issue(&request("admin", None)).unwrap());
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
        let claims = |user| opened(&issuer.issue(&request(user, None)).unwrap())[1].clone();
        assert_eq!((claims("admin").get("name"), claims("admin").get("email")), (None, None));
        assert_eq!(claims("admin").get("org_id"), None);
        assert_eq!(claims("user")["org_id"], "org_1");
    }
}
