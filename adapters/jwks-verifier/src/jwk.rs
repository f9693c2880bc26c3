//! One JWK (RFC 7517 section 4): an RSA key for RS256 signatures, or the reason why it is none.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::JwtVerifier;
use jsonwebtoken::signature::{self, Verifier};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use syntax::strict_json::{self, StrictJsonError};

use crate::skipped::SkippedKey;

/// The maximum nesting of a key: the key, its `x5c`, with room for what extensions bring.
const MAX_DEPTH: usize = 16;

/// Shorter keys are refused by RFC 7518 section 3.3, longer ones by the crypto backend.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A public key that verifies RS256 signatures: [`JwtVerifier`] on the backend that `jsonwebtoken` has, whose own verifiers make a
/// key of its numbers for each signature, which is a sixth of what a signature takes. Here that is done once.
#[derive(Debug)]
pub(crate) struct RsaKey(ParsedPublicKey);

impl RsaKey {
    /// Reads one key of a document, strictly, and returns it with its `kid`.
    pub(crate) fn parse(raw: &RawValue) -> Result<(Box<str>, Arc<Self>), SkippedKey> {
        let skipped = |kid, reason| SkippedKey { kid, reason };
        let json = raw.get().as_bytes();
        strict_json::check(json, MAX_DEPTH).map_err(|error| skipped(None, explain(&error)))?;
        let wire: WireKey =
            object(json).ok_or(skipped(None, "not a JWK: a member is absent or has the wrong type"))?;
        match rsa_key(&wire) {
            Ok(key) => wire.kid.map(|kid| (kid.into(), Arc::new(key))).ok_or(skipped(None, "no kid")),
            Err(reason) => Err(skipped(wire.kid, reason)),
        }
    }

    /// Makes a key of its numbers, big-endian and without leading zeros; `None`, if they are none.
    pub(crate) fn from_components(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let components = RsaPublicKeyComponents { n: modulus, e: exponent };
        components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok().map(Self)
    }
}

impl PartialEq for RsaKey {
    fn eq(&self, other: &Self) -> bool {
        // The key as a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
        self.0.as_ref() == other.0.as_ref()
    }
}

impl Verifier<Vec<u8>> for RsaKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        // Digest first: the backend's way from the message on makes some objects more for each signature.
        self.0.verify_digest_sig(&digest(&SHA256, message), signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RsaKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

#[derive(Deserialize)]
struct WireKey {
    kty: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(default, rename = "use", deserialize_with = "present")]
    purpose: Option<String>,
    #[serde(default, deserialize_with = "present")]
    alg: Option<String>,
    #[serde(default, deserialize_with = "present")]
    key_ops: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    n: Option<String>,
    #[serde(default, deserialize_with = "present")]
    e: Option<String>,
}

fn explain(error: &StrictJsonError) -> &'static str {
    if *error == StrictJsonError::DuplicateMember {
        "an object has two members of one name"
    } else if matches!(error, StrictJsonError::TooDeep(_)) {
        "nested too deep"
    } else {
        "not acceptable JSON"
    }
}

fn rsa_key(wire: &WireKey) -> Result<RsaKey, &'static str> {
    if wire.kty != "RSA" {
        return Err("kty is not RSA");
    }
    if wire.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return Err("use is not sig");
    }
    if wire.alg.as_deref().is_some_and(|alg| alg != "RS256") {
        return Err("alg is not RS256");
    }
    if wire.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
        return Err("key_ops lacks verify");
    }
    let modulus = number(wire.n.as_deref()).ok_or("n is not a number in base64url")?;
    let exponent = number(wire.e.as_deref()).ok_or("e is not a number in base64url")?;
    if !MODULUS_BITS.contains(&bits(&modulus)) {
        return Err("n has not between 2048 and 8192 bits");
    }
    // With an exponent of 1 anyone could make signatures. The backend would refuse all of these, too, without a reason.
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    if !odd(&modulus) || !odd(&exponent) || exponent == [1] || bits(&exponent) > 33 {
        return Err("n and e are no RSA key");
    }
    RsaKey::from_components(&modulus, &exponent).ok_or("n and e are no RSA key")
}

/// Decodes a `Base64urlUInt` (RFC 7518 section 2), without the leading zeros that some producers write.
fn number(text: Option<&str>) -> Option<Vec<u8>> {
    let mut bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    Some(bytes)
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// Reads one JSON object. A derived `Deserialize` would also take an array of the members' values.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// Reads a member that is there, `null` included: `Option` alone would take `null` for absence. For
/// `#[serde(default, deserialize_with = "present")]`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(input: D) -> Result<Option<T>, D::Error> {
    T::deserialize(input).map(Some)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{
        KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    };
    use jsonwebtoken::DecodingKey;

    use super::*;

    /// A key pair, and its public key for the library's verifier and for this one.
    fn keys() -> (KeyPair, DecodingKey, RsaKey) {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let library_key = DecodingKey::from_rsa_raw_components(&n, &e);
        (pair, library_key, RsaKey::from_components(&n, &e).unwrap())
    }

    #[test]
    fn a_signature_is_good_where_the_librarys_own_verifier_says_so() {
        let (pair, library_key, key) = keys();
        let (_, other_library_key, other_key) = keys();
        let message = b"header.payload";
        let sign = |encoding| {
            let mut signature = vec![0; 256];
            pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        };
        let bytes = sign(&RSA_PKCS1_SHA256);
        let mut signatures: Vec<(Vec<u8>, bool)> = vec![
            (bytes.clone(), true),
            (Vec::new(), false),
            (bytes[1..].to_vec(), false),
            (bytes[..255].to_vec(), false),
            ([&[0], &bytes[..]].concat(), false),
            ([&bytes[..], &[0]].concat(), false),
            (vec![0; 256], false),
            (vec![0xff; 256], false),
        ];
        for other_algorithm in [&RSA_PKCS1_SHA384, &RSA_PKCS1_SHA512, &RSA_PSS_SHA256] {
            signatures.push((sign(other_algorithm), false));
        }
        for bit in (0..2048).step_by(37) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            signatures.push((flipped, false));
        }
        let library = |signature: &[u8], message: &[u8], key: &DecodingKey| {
            jsonwebtoken::crypto::verify(&URL_SAFE_NO_PAD.encode(signature), message, key, Algorithm::RS256)
                .unwrap()
        };
        for (signature, expected) in &signatures {
            assert_eq!(key.verify(message, signature).is_ok(), *expected, "{signature:02x?}");
            assert_eq!(library(signature, message, &library_key), *expected, "{signature:02x?}");
        }
        for other_message in [&b"header.payloae"[..], b"header.payload.", b""] {
            assert!(key.verify(other_message, &bytes).is_err());
            assert!(!library(&bytes, other_message, &library_key));
        }
        assert!(other_key.verify(message, &bytes).is_err());
        assert!(!library(&bytes, message, &other_library_key));
    }

    #[test]
    fn keys_are_the_same_by_their_numbers() {
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(
            KeyPair::generate(KeySize::Rsa2048).unwrap().public_key(),
        );
        let key = |modulus: &[u8], exponent: &[u8]| RsaKey::from_components(modulus, exponent).unwrap();
        assert_eq!(key(&n, &e), key(&n, &e));
        assert_ne!(key(&n, &e), key(&n, &[3]));
        let mut other = n.clone();
        other[100] ^= 1;
        assert_ne!(key(&n, &e), key(&other, &e));
    }
}
