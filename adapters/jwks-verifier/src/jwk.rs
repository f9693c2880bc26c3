//! One JWK (RFC 7517 section 4): an RSA key for RS256 signatures, or the reason why it is none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use syntax::strict_json::{self, StrictJsonError};

use crate::skipped::SkippedKey;

/// The maximum nesting of a key: the key, its `x5c`, with room for what extensions bring.
const MAX_DEPTH: usize = 16;

/// Shorter keys are refused by RFC 7518 section 3.3, longer ones by the crypto backend.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A public key: big-endian numbers without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl RsaKey {
    /// Reads one key of a document, strictly, and returns it with its `kid`.
    pub(crate) fn parse(raw: &RawValue) -> Result<(Box<str>, Self), SkippedKey> {
        let skipped = |kid, reason| SkippedKey { kid, reason };
        let json = raw.get().as_bytes();
        strict_json::check(json, MAX_DEPTH).map_err(|error| skipped(None, explain(&error)))?;
        let wire: WireKey =
            object(json).ok_or(skipped(None, "not a JWK: a member is absent or has the wrong type"))?;
        match rsa_key(&wire) {
            Ok(key) => wire.kid.map(|kid| (kid.into(), key)).ok_or(skipped(None, "no kid")),
            Err(reason) => Err(skipped(wire.kid, reason)),
        }
    }

    /// Returns the key in the form that verifies signatures.
    pub(crate) fn decoding_key(&self) -> DecodingKey {
        DecodingKey::from_rsa_raw_components(&self.modulus, &self.exponent)
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
    Ok(RsaKey { modulus, exponent })
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
