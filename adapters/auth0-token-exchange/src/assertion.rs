//! `private_key_jwt` (RFC 7523 section 2.2, OpenID Connect Core section 9): a short-lived JWT by which the client proves that it
//! has the key. The private key leaves this file as signatures only.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::UnixSeconds;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject as _};
use serde_json::json;

/// The life of an assertion in seconds; Auth0 takes up to five minutes.
const LIFE: i64 = 60;
/// The length of a `jti`, in bytes.
const ID_BYTES: usize = 16;

/// The signing algorithms that Auth0 takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PSS with SHA-256.
    Ps256,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Ps256 => "PS256",
        }
    }

    const fn encoding(self) -> &'static dyn RsaEncoding {
        match self {
            Self::Rs256 => &RSA_PKCS1_SHA256,
            Self::Rs384 => &RSA_PKCS1_SHA384,
            Self::Ps256 => &RSA_PSS_SHA256,
        }
    }
}

/// An RSA key that signs assertions. `Debug` leaves it out; two are equal if texts, ids and algorithms are.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<KeyPair>,
    fingerprint: [u8; 32],
    algorithm: Algorithm,
    id: Option<String>,
}

/// A key that can't be used. No message has a text of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text has none.
    #[error("has no private key in PEM; an encrypted one can't be read")]
    NoKey,
    /// It is malformed, or of another kind.
    #[error("has no RSA key of 2048 to 8192 bits that can be read")]
    Unusable,
}

/// Why there is no assertion: the operating system provides no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system provides no random numbers")]
pub(crate) struct NoRandomness;

impl SigningKey {
    /// Reads a key in PEM, as PKCS #8 or PKCS #1. The id is the `kid` that the assertion's header names, if any.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(pem: &[u8], algorithm: Algorithm, id: Option<String>) -> Result<Self, KeyError> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            pem::Error::NoItemsFound => KeyError::NoKey,
            // The others repeat what they could not read.
            _ => KeyError::Unusable,
        })?;
        let pair = match &key {
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err(KeyError::Unusable),
        };
        let pair = Arc::new(pair.map_err(|_| KeyError::Unusable)?);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, key.secret_der()).as_ref());
        Ok(Self { pair, fingerprint, algorithm, id })
    }

    /// Returns an assertion of this client for the authorization server of this issuer.
    pub(crate) fn assertion(
        &self,
        client_id: &str,
        issuer: &str,
        now: UnixSeconds,
    ) -> Result<String, NoRandomness> {
        let random = SystemRandom::new();
        let mut id = [0; ID_BYTES];
        aws_lc_rs::rand::SecureRandom::fill(&random, &mut id).map_err(|_| NoRandomness)?;
        let mut header = json!({"alg": self.algorithm.name(), "typ": "JWT"});
        if let Some(id) = &self.id {
            header["kid"] = id.as_str().into();
        }
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": issuer,
            "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now.0,
            "exp": now.0.saturating_add(LIFE),
        });
        let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let encoding = self.algorithm.encoding();
        self.pair.sign(encoding, &random, signed.as_bytes(), &mut signature).map_err(|_| NoRandomness)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        (self.fingerprint, self.algorithm, &self.id) == (other.fingerprint, other.algorithm, &other.id)
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, id, .. } = self;
        formatter
            .debug_struct("SigningKey")
            .field("algorithm", algorithm)
            .field("id", id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        self, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA256,
    };
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// A new key, in PEM.
    pub(crate) fn pem() -> (KeyPair, String) {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let text = STANDARD.encode(pkcs8.as_ref());
        (pair, format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
    }

    fn part(text: &str) -> serde_json::Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn an_assertion_names_the_client_and_the_issuer_for_a_minute_and_is_signed() {
        let (pair, pem) = pem();
        let cases: [(Algorithm, &dyn signature::VerificationAlgorithm); 3] = [
            (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
            (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
            (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
        ];
        let mut ids = Vec::new();
        for (algorithm, verification) in cases {
            let key = SigningKey::from_pem(pem.as_bytes(), algorithm, Some("k".into())).unwrap();
            let jwt = key.assertion("client", "https://t.example/", UnixSeconds(1000)).unwrap();
            let [header, claims, signed] = jwt.split('.').collect::<Vec<_>>()[..] else { panic!("{jwt}") };
            assert_eq!(part(header), json!({"alg": algorithm.name(), "typ": "JWT", "kid": "k"}));
            let mut claims_value = part(claims);
            ids.push(claims_value["jti"].take());
            let expected = json!({
                "iss": "client", "sub": "client", "aud": "https://t.example/", "jti": null, "iat": 1000, "exp": 1060,
            });
            assert_eq!(claims_value, expected);
            let signature = URL_SAFE_NO_PAD.decode(signed).unwrap();
            let message = format!("{header}.{claims}");
            let public = pair.public_key().as_ref();
            let verified = signature::UnparsedPublicKey::new(verification, public);
            verified.verify(message.as_bytes(), &signature).unwrap();
        }
        assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    }

    #[test]
    fn a_key_that_cannot_be_used_is_refused_and_no_text_of_it_repeated() {
        let (_, good) = pem();
        let from = |text: &str| SigningKey::from_pem(text.as_bytes(), Algorithm::Rs256, None);
        assert_eq!(from("").unwrap_err(), KeyError::NoKey);
        assert_eq!(from("a-client-secret").unwrap_err(), KeyError::NoKey);
        let ec = "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n";
        assert_eq!(from(ec).unwrap_err(), KeyError::Unusable);
        assert_eq!(from(&good.replace("MII", "MIJ")).unwrap_err(), KeyError::Unusable);
        let (one, same, other) = (from(&good).unwrap(), from(&good).unwrap(), from(&pem().1).unwrap());
        assert!(one == same && one != other);
        assert_eq!(format!("{one:?}"), "SigningKey { algorithm: Rs256, id: None, .. }");
    }
}
