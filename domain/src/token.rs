//! A bearer token before and after proof, and the [`TokenVerifier`] port between the two.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::scope::ScopeSet;
use crate::time::UnixSeconds;

/// The credentials of an `Authorization: Bearer` header. Nothing prints it: `Debug` redacts, there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BearerToken(Box<str>);

impl BearerToken {
    /// The longest token that is looked at, in bytes. Auth0's are in practice under 8 KiB.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Checks size and the `b64token` grammar of RFC 6750 section 2.1.
    ///
    /// # Errors
    /// [`Untrusted::TooLarge`] or [`Untrusted::Malformed`].
    pub fn new(text: &str) -> Result<Self, Untrusted> {
        if text.len() > Self::MAX_BYTES {
            return Err(Untrusted::TooLarge);
        }
        let body = text.trim_end_matches('=');
        let strangers = body.bytes().fold(0, |strangers, byte| strangers | u8::from(!is_b64token_byte(byte)));
        if body.is_empty() || strangers > 0 {
            return Err(Untrusted::Malformed);
        }
        Ok(Self(text.into()))
    }

    /// The token itself, for the verifier only.
    #[must_use]
    pub fn expose(&self) -> &str {
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
    /// Whether there is a `cnf` (RFC 7800): the token is good only with a proof of possession (RFC 8705, RFC 9449).
    pub sender_constrained: bool,
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

    /// Whether tokens can be verified now.
    ///
    /// # Errors
    /// [`NotReady`] with the reason.
    fn ready(&self) -> Result<(), NotReady> {
        Ok(())
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
    fn only_b64tokens_up_to_16_kib_are_tokens() {
        assert!(BearerToken::new("abc-._~+/09==").is_ok());
        for byte in 0..=0x7f_u8 {
            let is_one = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(BearerToken::new(&format!("{}", char::from(byte))).is_ok(), is_one, "{byte:#x}");
        }
        for bad in ["", "=", "a b", "a=b", "a,b", "é", "a\u{0}"] {
            assert_eq!(BearerToken::new(bad), Err(Untrusted::Malformed), "{bad:?}");
        }
        assert!(BearerToken::new(&"a".repeat(BearerToken::MAX_BYTES)).is_ok());
        assert_eq!(BearerToken::new(&"a".repeat(BearerToken::MAX_BYTES + 1)), Err(Untrusted::TooLarge));
    }
}
