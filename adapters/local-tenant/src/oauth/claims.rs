//! The claims of access tokens, in Auth0's four dialects, and of ID tokens.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::model::options::{Dialect, User};
use crate::model::random::random_id;
use crate::model::scopes::{EMAIL, PROFILE};
use crate::oauth::authorization::IssuedVia;

/// An access token's claims. The optional ones depend on the dialect and the user.
#[derive(Serialize)]
pub(crate) struct Claims<'a> {
    pub(crate) iss: &'a str,
    pub(crate) sub: Cow<'a, str>,
    pub(crate) aud: Audience<'a>,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    pub(crate) scope: &'a str,
    #[serde(flatten)]
    pub(crate) profile: ProfileClaims<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<Vec<&'a str>>,
    #[serde(flatten)]
    pub(crate) user: UserClaims<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) org_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<Act<'a>>,
    #[serde(flatten)]
    pub(crate) custom: BTreeMap<&'a str, Value>,
}

/// Who acts for the subject, and who did before (RFC 8693 section 4.1).
#[derive(Serialize)]
pub(crate) struct Act<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Box<Act<'a>>>,
}

impl<'a> Act<'a> {
    /// Returns the claim of a chain of actors, the present one first; `None` of an empty one.
    pub(crate) fn of(actors: &'a [String]) -> Option<Self> {
        let (sub, before) = actors.split_first()?;
        Some(Self { sub, act: Self::of(before).map(Box::new) })
    }
}

/// The claims about a user, as far as the scopes allow them.
#[derive(Default, Serialize)]
pub(crate) struct UserClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Audience<'a> {
    Api(&'a str),
    WithUserinfo([String; 2]),
}

/// The claims in which Auth0's profile and that of RFC 9068 differ.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum ProfileClaims<'a> {
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

/// An ID token's claims (OpenID Connect Core section 2).
#[derive(Serialize)]
pub(crate) struct IdClaims<'a> {
    pub(crate) iss: &'a str,
    pub(crate) sub: &'a str,
    pub(crate) aud: &'a str,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<&'a str>,
    #[serde(flatten)]
    pub(crate) user: UserClaims<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) org_id: Option<&'a str>,
}

/// Returns the audience of tokens for `/userinfo`.
pub(crate) fn userinfo_audience(issuer: &str) -> String {
    format!("{issuer}userinfo")
}

/// Returns the claims about a user that the scopes allow (OpenID Connect Core section 5.4).
pub(crate) fn user_claims(user: &User, has: impl Fn(&str) -> bool) -> UserClaims<'_> {
    UserClaims {
        name: user.name.as_deref().filter(|_| has(PROFILE)),
        email: user.email.as_deref().filter(|_| has(EMAIL)),
    }
}

impl Dialect {
    pub(crate) const fn typ(self) -> &'static str {
        match self {
            Self::AccessToken | Self::AccessTokenAuthz => "JWT",
            Self::Rfc9068Profile | Self::Rfc9068ProfileAuthz => "at+jwt",
        }
    }

    pub(crate) const fn has_permissions(self) -> bool {
        match self {
            Self::AccessToken | Self::Rfc9068Profile => false,
            Self::AccessTokenAuthz | Self::Rfc9068ProfileAuthz => true,
        }
    }
}

impl<'a> ProfileClaims<'a> {
    /// Returns the claims of a dialect; `None` if the operating system provides no random numbers.
    pub(crate) fn of(dialect: Dialect, client_id: &'a str, via: IssuedVia) -> Option<Self> {
        match dialect {
            Dialect::AccessToken | Dialect::AccessTokenAuthz => {
                Some(Self::Auth0 { azp: client_id, gty: via.gty() })
            }
            Dialect::Rfc9068Profile | Dialect::Rfc9068ProfileAuthz => {
                random_id().map(|jti| Self::Rfc9068 { client_id, jti })
            }
        }
    }
}
