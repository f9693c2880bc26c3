//! A bearer token before and after proof, and the [`TokenVerifier`] port between the two.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use crate::scope::ScopeSet;
use crate::time::UnixSeconds;

/// The credentials of an `Authorization: Bearer` header. Nothing prints it: `Debug` redacts, there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BearerToken(Box<[u8]>);

impl BearerToken {
    /// The longest token that is looked at, in bytes. Auth0's are in practice under 8 KiB.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Checks size and the `b64token` grammar of RFC 6750 section 2.1.
    ///
    /// # Errors
    /// [`Untrusted::TooLarge`] or [`Untrusted::Malformed`].
    pub fn new(text: impl AsRef<[u8]>) -> Result<Self, Untrusted> {
        let text = text.as_ref();
        if text.len() > Self::MAX_BYTES {
            return Err(Untrusted::TooLarge);
        }
        let mut body = text;
        while let [rest @ .., b'='] = body {
            body = rest;
        }
        let strangers = body.iter().fold(0, |strangers, byte| strangers | u8::from(!is_b64token_byte(*byte)));
        if body.is_empty() || strangers > 0 {
            return Err(Untrusted::Malformed);
        }
        Ok(Self(text.into()))
    }

    /// The token itself, for the verifier only.
    #[must_use]
    pub fn expose(&self) -> &str {
        // Of the grammar, all of which is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same as bytes.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[expect(clippy::needless_bitwise_bool, reason = "without a branch the compiler judges many bytes at once")]
const fn is_b64token_byte(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_digit_or_sign = byte.wrapping_sub(b'-') <= b'9' - b'-';
    is_letter | is_digit_or_sign | (byte == b'+') | (byte == b'_') | (byte == b'~')
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(redacted)")
    }
}

/// What a token whose signature was proved says of itself. Nobody has yet judged whether to accept it.
///
/// Claim names are those of RFC 7519 and RFC 9068; `permissions` and `azp` are Auth0's and OpenID Connect's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The `typ` header parameter, if there is one.
    pub token_type: Option<String>,
    /// `iss`.
    pub issuer: String,
    /// `aud`, whether it was a string or an array.
    pub audience: Vec<String>,
    /// `sub`. It may be empty here.
    pub subject: String,
    /// `exp`.
    pub expires_at: UnixSeconds,
    /// `nbf`.
    pub not_before: Option<UnixSeconds>,
    /// `iat`.
    pub issued_at: Option<UnixSeconds>,
    /// `client_id`.
    pub client_id: Option<String>,
    /// `azp`.
    pub authorized_party: Option<String>,
    /// `scope`: what the user consented to.
    pub scope: ScopeSet,
    /// `permissions`: what the user's roles allow (Auth0 RBAC).
    pub permissions: ScopeSet,
    /// `name`.
    pub name: Option<String>,
    /// `email`.
    pub email: Option<String>,
    /// `org_id`.
    pub organization_id: Option<String>,
    /// `jti`.
    pub token_id: Option<String>,
    /// Whether there is a `cnf` (RFC 7800): the token is good only with a proof of possession (RFC 8705, RFC 9449).
    pub sender_constrained: bool,
    /// Claims that few tokens carry; `None` if there is none of them, so that other tokens take no room for them.
    pub extra: Option<Box<ExtraClaims>>,
}

/// Claims that few tokens carry, of bounded size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtraClaims {
    /// `org_name`.
    pub organization_name: Option<String>,
    /// `act` (RFC 8693 section 4.1): the current actor first, then the prior ones. At most [`Actor::MAX_CHAIN`].
    pub actors: Vec<Actor>,
    /// `acr`.
    pub authentication_context: Option<String>,
    /// `amr`. At most [`ExtraClaims::MAX_VALUES`].
    pub authentication_methods: Vec<String>,
    /// `auth_time`.
    pub authenticated_at: Option<UnixSeconds>,
    /// `gty`, whether it was a string or an array. At most [`ExtraClaims::MAX_VALUES`].
    pub grant_types: Vec<String>,
    /// Claims named by a URL.
    pub custom: CustomClaims,
}

impl ExtraClaims {
    /// The maximum number of values of a claim that is a list.
    pub const MAX_VALUES: usize = 16;
}

/// A party that acts for the subject (RFC 8693 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `sub`.
    pub subject: String,
    /// `client_id`.
    pub client_id: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
}

impl Actor {
    /// The maximum number of actors in a chain of delegations.
    pub const MAX_CHAIN: usize = 5;
}

/// Custom claims: those named by an https or http URL, as Auth0's Actions add them, in the JSON text of the token.
///
/// A token whose custom claims are longer than [`CustomClaims::MAX_BYTES`] together is accepted, but none of them is
/// kept, and reading any fails: nobody takes a claim for absent that was there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CustomClaims {
    /// Every name and its JSON text, one after the other, so that they take no more room than in the token.
    text: String,
    /// Where each name and its JSON text end.
    ends: Vec<(u16, u16)>,
    is_too_large: bool,
}

/// Why a custom claim can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustomClaimError {
    /// The claim's JSON does not fit the type that was asked for.
    #[error("the token's custom claim {0} has another type than this tool expects")]
    WrongType(String),
    /// The token's custom claims are too long, so that none was kept.
    #[error(
        "the token's custom claims are longer than {} bytes together, and none of them can be read; \
         the issuer must put less into the token",
        CustomClaims::MAX_BYTES
    )]
    TooLarge,
}

impl CustomClaims {
    /// The maximum length of all names and JSON texts together.
    pub const MAX_BYTES: usize = 4096;

    /// Returns whether a claim of this name is a custom one.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        name.starts_with("https://") || name.starts_with("http://")
    }

    /// Adds a claim. Its name must not be there yet, and `json` must be one JSON value without duplicate members.
    pub fn insert(&mut self, name: &str, json: &str) {
        let name_end = self.text.len().saturating_add(name.len());
        let end = name_end.saturating_add(json.len());
        self.is_too_large |= end > Self::MAX_BYTES;
        match (u16::try_from(name_end), u16::try_from(end)) {
            (Ok(name_end), Ok(end)) if !self.is_too_large => {
                self.text.push_str(name);
                self.text.push_str(json);
                self.ends.push((name_end, end));
            }
            _ => (self.text, self.ends) = (String::new(), Vec::new()),
        }
    }

    /// Returns the claim of that name as a `T`, for example a [`serde_json::Value`]; `None` if it is absent or null.
    ///
    /// # Errors
    /// [`CustomClaimError`].
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CustomClaimError> {
        if self.is_too_large {
            return Err(CustomClaimError::TooLarge);
        }
        let claim = self.iter().find(|(known, _)| *known == name);
        // What the parser has to say may repeat a part of the token.
        let read = claim.map(|(_, json)| serde_json::from_str::<Option<T>>(json)).transpose();
        read.map(Option::flatten).map_err(|_| CustomClaimError::WrongType(name.to_owned()))
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().filter_map(move |(name_end, end)| {
            let (name_end, end) = (usize::from(*name_end), usize::from(*end));
            let claim = (self.text.get(start..name_end)?, self.text.get(name_end..end)?);
            start = end;
            Some(claim)
        })
    }
}

/// What a token says of itself, of which nobody has proved anything: for the log line of its refusal, and for nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnverifiedClaims {
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`, whether it is a string or an array.
    pub audience: Option<Vec<String>>,
    /// The `kid` header parameter.
    pub key_id: Option<String>,
}

/// Why nobody can vouch for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Longer than [`BearerToken::MAX_BYTES`].
    #[error("the token is longer than 16 KiB")]
    TooLarge,
    /// Not a compact JWS of strict base64url and JSON (RFC 7515 section 7.1).
    #[error("the token is not a well-formed JWT")]
    Malformed,
    /// Not a JWS: a reference token, or a five-part JWE.
    #[error("the token is opaque or encrypted, not a signed JWT; the client asked for no API of this tenant")]
    Opaque,
    /// Signed by another algorithm than RS256.
    #[error("the token is not signed with RS256")]
    Algorithm,
    /// The header has `crit` (RFC 7515 section 4.1.11), and no extension is understood here.
    #[error("the token's header demands an extension (crit) that is not supported")]
    CriticalHeader,
    /// No key of the issuer has the header's `kid`.
    #[error("the token is signed with a key that the issuer does not publish")]
    UnknownKey,
    /// The signature does not fit the key.
    #[error("the token's signature is not valid")]
    Signature,
    /// A required claim is absent.
    #[error("the token has no {0} claim")]
    MissingClaim(&'static str),
    /// A claim has the wrong JSON type.
    #[error("the token's {0} claim has the wrong type")]
    InvalidClaim(&'static str),
}

/// Why a token could not be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The token is at fault.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The issuer's keys are not to be had at the moment; the token may be good.
    #[error("the issuer's keys are not available")]
    KeysUnavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

/// Why a verifier can't verify at the moment, for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotReady(pub String);

/// The port that says who signed a token and what it claims; never whether to accept it.
#[async_trait]
pub trait TokenVerifier: Send + Sync {
    /// Proves the token's signature and returns what it claims.
    ///
    /// # Errors
    /// [`VerifyError`], as its variants say.
    async fn verify(&self, token: &BearerToken) -> Result<Arc<Claims>, VerifyError>;

    /// Returns what a refused token says of itself. It is asked after a refusal only, and decides nothing.
    fn unverified_claims(&self, _token: &BearerToken) -> UnverifiedClaims {
        UnverifiedClaims::default()
    }

    /// Whether tokens can be verified now.
    ///
    /// # Errors
    /// [`NotReady`] with the reason.
    fn ready(&self) -> Result<(), NotReady> {
        Ok(())
    }

    /// Returns the age of the keys that tokens are verified with, where there are any that age.
    fn keys_age(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_token() {
        let token = BearerToken::new("eyJh.eyJz.c2ln").unwrap();
        assert_eq!(format!("{token:?}"), "BearerToken(redacted)");
    }

    #[test]
    fn custom_claims_are_read_as_the_type_that_is_asked_for() {
        let mut claims = CustomClaims::default();
        claims.insert("https://a/team", r#""blue""#);
        claims.insert("https://a/roles", r#"["x","y"]"#);
        claims.insert("https://a/none", "null");
        assert_eq!(claims.get("https://a/team"), Ok(Some("blue".to_owned())));
        assert_eq!(claims.get("https://a/roles"), Ok(Some(vec!["x".to_owned(), "y".to_owned()])));
        assert_eq!(claims.get("https://a/roles"), Ok(Some(serde_json::json!(["x", "y"]))));
        for absent in ["https://a/none", "https://a/other", "https://a/tea", ""] {
            assert_eq!(claims.get::<String>(absent), Ok(None), "{absent}");
        }
        let error = claims.get::<u64>("https://a/team").unwrap_err();
        assert!(!error.to_string().contains("blue"), "{error}");
        assert_eq!(error, CustomClaimError::WrongType("https://a/team".into()));
    }

    #[test]
    fn custom_claims_that_are_too_long_together_are_not_taken_for_absent() {
        let json = format!("\"{}\"", "x".repeat(2000));
        let mut claims = CustomClaims::default();
        claims.insert("https://a/1", &json);
        claims.insert("https://a/2", &json);
        let room = CustomClaims::MAX_BYTES - 2 * ("https://a/1".len() + json.len());
        let mut just = claims.clone();
        just.insert("https://a/3", &"1".repeat(room - "https://a/3".len()));
        assert!(just.get::<String>("https://a/2").is_ok());
        claims.insert("https://a/3", &"1".repeat(room - "https://a/3".len() + 1));
        claims.insert("https://a/4", "1");
        for name in ["https://a/1", "https://a/4", "https://a/absent"] {
            assert_eq!(claims.get::<serde_json::Value>(name), Err(CustomClaimError::TooLarge), "{name}");
        }
        assert!(claims.text.is_empty() && claims.ends.is_empty());
    }

    #[test]
    fn custom_claims_are_named_by_a_url() {
        for (name, expected) in [
            ("https://example.com/team", true),
            ("http://example.com/team", true),
            ("https:/example.com", false),
            ("HTTPS://example.com", false),
            ("urn:team", false),
            ("team", false),
        ] {
            assert_eq!(CustomClaims::is_name(name), expected, "{name}");
        }
    }

    #[test]
    fn only_b64tokens_up_to_16_kib_are_tokens() {
        assert!(BearerToken::new("abc-._~+/09==").is_ok());
        for byte in 0..=0x7f_u8 {
            let is_one = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(BearerToken::new(format!("{}", char::from(byte))).is_ok(), is_one, "{byte:#x}");
        }
        for bad in ["", "=", "a b", "a=b", "a,b", "é", "a\u{0}"] {
            assert_eq!(BearerToken::new(bad), Err(Untrusted::Malformed), "{bad:?}");
        }
        assert!(BearerToken::new("a".repeat(BearerToken::MAX_BYTES)).is_ok());
        assert_eq!(BearerToken::new("a".repeat(BearerToken::MAX_BYTES + 1)), Err(Untrusted::TooLarge));
    }
}
