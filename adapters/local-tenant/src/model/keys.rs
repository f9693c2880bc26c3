//! The signing keys, as Auth0 publishes them: the current and the next RSA-2048 key, and previous ones until they are
//! revoked. Private keys leave this file as an [`EncodingKey`] only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde_json::{Value, json};
use syntax::strict_json::{self, MAX_PARSED_DEPTH};

use crate::model::random::random_id;

/// The DER tags of PKCS#8.
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// An RSA key pair: the private key for `jsonwebtoken`, the public one as JWK values; and a secret for the APIs that have
/// HS256.
#[cfg_attr(test, derive(Clone))]
pub(crate) struct SigningKey {
    kid: String,
    private: EncodingKey,
    secret: EncodingKey,
    modulus: String,
    exponent: String,
}

impl SigningKey {
    /// Generates a key with a random id; `None` if the operating system provides no random numbers. Blocks for as long as
    /// finding primes takes.
    pub(crate) fn generate() -> Option<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
        let private = EncodingKey::from_rsa_der(rsa_private_key(pkcs8.as_ref())?);
        let public = pair.public_key();
        Some(Self {
            kid: random_id()?,
            private,
            secret: EncodingKey::from_secret(random_id()?.as_bytes()),
            modulus: URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            exponent: URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        })
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) const fn private(&self) -> &EncodingKey {
        &self.private
    }

    /// Returns the key for HS256, which nobody else knows.
    pub(crate) const fn secret(&self) -> &EncodingKey {
        &self.secret
    }

    fn jwk(&self) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "n": self.modulus, "e": self.exponent, "kid": self.kid, "alg": "RS256",
        })
    }
}

/// The keys by their roles.
pub(crate) struct KeyRing(Mutex<KeyRoles>);

struct KeyRoles {
    current: Arc<SigningKey>,
    next: Arc<SigningKey>,
    previous: Vec<Arc<SigningKey>>,
}

impl KeyRing {
    pub(crate) fn new(current: SigningKey, next: SigningKey) -> Self {
        let roles = KeyRoles { current: Arc::new(current), next: Arc::new(next), previous: Vec::new() };
        Self(Mutex::new(roles))
    }

    /// Returns the key that signs.
    pub(crate) fn current(&self) -> Arc<SigningKey> {
        Arc::clone(&self.roles().current)
    }

    /// Returns the published key set (RFC 7517 section 5): the current, the next and the previous keys.
    pub(crate) fn jwks(&self) -> Value {
        let roles = self.roles();
        let keys = [&roles.current, &roles.next].into_iter().chain(&roles.previous);
        json!({"keys": keys.map(|key| key.jwk()).collect::<Vec<_>>()})
    }

    /// Returns the ids of the published keys, each with its role: `current`, `next` or `previous`.
    pub(crate) fn kids(&self) -> Vec<(String, &'static str)> {
        let roles = self.roles();
        let previous = roles.previous.iter().map(|key| (key, "previous"));
        let keys = [(&roles.current, "current"), (&roles.next, "next")].into_iter().chain(previous);
        keys.map(|(key, role)| (key.kid.clone(), role)).collect()
    }

    /// Makes the next key the current one, and the current one a previous one. If no new next key can be made, nothing changes.
    pub(crate) fn rotate(&self) {
        // Before the lock is taken, so that requests are served meanwhile.
        let Some(fresh) = SigningKey::generate() else {
            tracing::error!("can't make a signing key; the keys stay as they are");
            return;
        };
        let mut roles = self.roles();
        let current = std::mem::replace(&mut roles.next, Arc::new(fresh));
        let previous = std::mem::replace(&mut roles.current, current);
        roles.previous.push(previous);
    }

    /// Returns the claims of a token that is signed by a published key. The caller has to check expiry and audience.
    pub(crate) fn verified_claims(&self, token: &str) -> Option<Value> {
        // The header may be anyone's text. The claims need no such check: a valid signature means that they are the tenant's.
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
        strict_json::check(&header, MAX_PARSED_DEPTH).ok()?;
        let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
        let key = {
            let roles = self.roles();
            let mut published = [&roles.current, &roles.next].into_iter().chain(&roles.previous);
            Arc::clone(published.find(|key| key.kid == kid)?)
        };
        let public = DecodingKey::from_rsa_components(&key.modulus, &key.exponent).ok()?;
        let mut validation = Validation::new(Algorithm::RS256);
        // The caller checks them, by the tenant's clock.
        (validation.validate_exp, validation.validate_aud) = (false, false);
        validation.required_spec_claims.clear();
        jsonwebtoken::decode(token, &public, &validation).ok().map(|data| data.claims)
    }

    /// Removes the previous keys.
    pub(crate) fn revoke_previous(&self) {
        self.roles().previous.clear();
    }

    /// No code panics while it holds the lock, so the value in a poisoned one is consistent.
    fn roles(&self) -> MutexGuard<'_, KeyRoles> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the `RSAPrivateKey` (RFC 8017 appendix A.1.2) in a PKCS#8 structure (RFC 5208 section 5): aws-lc-rs exports the
/// latter, and jsonwebtoken takes the former.
fn rsa_private_key(pkcs8: &[u8]) -> Option<&[u8]> {
    let (info, _) = element(SEQUENCE, pkcs8)?;
    let (_version, rest) = element(INTEGER, info)?;
    let (_algorithm, rest) = element(SEQUENCE, rest)?;
    let (key, _) = element(OCTET_STRING, rest)?;
    Some(key)
}

/// Returns the content of a DER element, and the bytes after it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    if *found != tag {
        return None;
    }
    if *first < 0x80 {
        return rest.split_at_checked(usize::from(*first));
    }
    let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
    let length = length.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kids(ring: &KeyRing) -> Vec<String> {
        let published = ring.jwks();
        let keys = published["keys"].as_array().unwrap();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn rotation_keeps_the_old_key_published_until_it_is_revoked() {
        let ring = KeyRing::new(SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let before = kids(&ring);
        assert_eq!(before.len(), 2);
        assert_eq!(ring.current().kid(), before[0]);

        ring.rotate();
        let after = kids(&ring);
        assert_eq!(ring.current().kid(), before[1], "next signs");
        assert_eq!((after.len(), &after[0], &after[2]), (3, &before[1], &before[0]));
        assert!(!before.contains(&after[1]), "a new next key");

        ring.revoke_previous();
        assert_eq!(kids(&ring), after[..2]);
    }

    #[test]
    fn a_token_whose_header_has_a_reserved_name_is_not_opened() {
        let ring = KeyRing::new(SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let key = ring.current();
        let token = |member: &str| {
            let header = format!(r#"{{"alg":"RS256","kid":{:?},{member}}}"#, key.kid());
            let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"));
            let signature =
                jsonwebtoken::crypto::sign(signed.as_bytes(), key.private(), Algorithm::RS256).unwrap();
            format!("{signed}.{signature}")
        };
        assert_eq!(ring.verified_claims(&token(r#""x":{"y":1}"#)), Some(json!({})));
        let reserved = token(r#""x":{"$serde_json::private::RawValue":"1"}"#);
        assert_eq!(ring.verified_claims(&reserved), None);
    }

    #[test]
    fn what_is_no_pkcs8_yields_no_key() {
        let cases: [&[u8]; 6] =
            [&[], &[0x30], &[0x30, 0x82], &[0x30, 0x05, 0x02], &[0x04, 0x00], &[0x30, 0xff, 0xff]];
        for der in cases {
            assert_eq!(rsa_private_key(der), None, "{der:x?}");
        }
    }
}
