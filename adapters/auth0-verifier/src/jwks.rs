//! From a JWKS document (RFC 7517 section 5) to a [`KeySet`] of RS256 keys.
//!
//! A document is usable or not as a whole; a key that is not for RS256 signatures is left out with a reason, since
//! Auth0 may publish keys for other purposes.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::strict_json::{self, StrictJsonError};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::{object, present};

/// The most keys that a document may hold. Auth0 publishes two or three.
const MAX_KEYS: usize = 100;

/// The deepest nesting: a document, its keys, a key, its `x5c`, with room for what extensions bring.
const MAX_DEPTH: usize = 16;

/// Shorter keys are refused by RFC 7518 section 3.3, longer ones by the crypto backend.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a document can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("the document is not acceptable JSON: {0}")]
    Json(#[from] StrictJsonError),
    #[error("the document is not a JWK set: it is no object with an array of keys")]
    Shape,
    #[error("the document holds {0} keys, more than {MAX_KEYS}")]
    TooMany(usize),
    #[error("the document holds no usable RS256 key; left out: {0}")]
    NoUsableKey(String),
}

/// Public keys by their `kid`, each parsed once.
#[derive(Debug, Default)]
pub(crate) struct KeySet(BTreeMap<Box<str>, Arc<DecodingKey>>);

/// Says which key was left out of a set, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) kid: Option<String>,
    pub(crate) reason: &'static str,
}

impl KeySet {
    /// Parses a document, and says what it left out.
    ///
    /// Of keys with the same `kid` none is used, unless they are the same key: which of them signs is a guess that an
    /// attacker who can add a key would want made.
    pub(crate) fn parse(document: &[u8]) -> Result<(Self, Vec<LeftOut>), DocumentError> {
        strict_json::check(document, MAX_DEPTH)?;
        let wire: WireSet<'_> = object(document).ok_or(DocumentError::Shape)?;
        if wire.keys.len() > MAX_KEYS {
            return Err(DocumentError::TooMany(wire.keys.len()));
        }
        let mut keys = BTreeMap::new();
        let mut left_out = Vec::new();
        for raw in wire.keys {
            match usable(raw) {
                Ok((kid, key)) => keys.entry(kid).or_insert_with(Vec::new).push(key),
                Err(reason) => left_out.push(reason),
            }
        }
        let set = Self::unambiguous(keys, &mut left_out);
        if set.0.is_empty() {
            return Err(DocumentError::NoUsableKey(listed(&left_out)));
        }
        Ok((set, left_out))
    }

    fn unambiguous(keys: BTreeMap<Box<str>, Vec<RsaKey>>, left_out: &mut Vec<LeftOut>) -> Self {
        let mut set = BTreeMap::new();
        for (kid, keys) in keys {
            match keys.as_slice() {
                [key, others @ ..] if others.iter().all(|other| other == key) => {
                    set.insert(kid, Arc::new(key.decoding_key()));
                }
                _ => left_out.push(LeftOut { kid: Some(kid.into()), reason: "several keys have this kid" }),
            }
        }
        Self(set)
    }

    /// The key of that name.
    pub(crate) fn key(&self, kid: &str) -> Option<&Arc<DecodingKey>> {
        self.0.get(kid)
    }

    /// Whether both hold the same keys under the same names.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().all(|(kid, key)| {
                other
                    .key(kid)
                    .is_some_and(|same| components(key).is_some_and(|n_e| Some(n_e) == components(same)))
            })
    }

    /// The names, in order.
    pub(crate) fn kids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }
}

fn components(key: &DecodingKey) -> Option<(&[u8], &[u8])> {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => Some((n, e)),
        DecodingKeyKind::SecretOrDer(_) => None,
    }
}

/// How many keys a list names, and how many characters of each name it shows: whatever the issuer sends, a line is a line.
const MOST_LISTED: usize = 8;
const LONGEST_SHOWN: usize = 64;

/// `kid (reason)` for each, on one line whatever the names hold.
pub(crate) fn listed(left_out: &[LeftOut]) -> String {
    if left_out.is_empty() {
        return "none".to_owned();
    }
    let shown = |kid: &str| kid.chars().take(LONGEST_SHOWN).collect::<String>().escape_debug().to_string();
    let each = left_out.iter().take(MOST_LISTED).map(|key| {
        let kid = key.kid.as_deref().map_or_else(|| "a key".to_owned(), shown);
        format!("{kid} ({})", key.reason)
    });
    let mut each: Vec<String> = each.collect();
    if left_out.len() > MOST_LISTED {
        each.push(format!("and {} more", left_out.len() - MOST_LISTED));
    }
    each.join(", ")
}

#[derive(Deserialize)]
struct WireSet<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
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

/// Big-endian numbers without leading zeros.
#[derive(Debug, PartialEq, Eq)]
struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl RsaKey {
    fn decoding_key(&self) -> DecodingKey {
        DecodingKey::from_rsa_raw_components(&self.modulus, &self.exponent)
    }
}

fn usable(raw: &RawValue) -> Result<(Box<str>, RsaKey), LeftOut> {
    let wire: WireKey = object(raw.get().as_bytes())
        .ok_or(LeftOut { kid: None, reason: "not a JWK: a member is absent or has the wrong type" })?;
    match rsa_key(&wire) {
        Ok(key) => match wire.kid {
            Some(kid) => Ok((kid.into(), key)),
            None => Err(LeftOut { kid: None, reason: "no kid" }),
        },
        Err(reason) => Err(LeftOut { kid: wire.kid, reason }),
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
    // With an exponent of 1 anyone could write signatures. The backend refuses what this does; here it has a name.
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    if !odd(&modulus) || !odd(&exponent) || exponent == [1] || bits(&exponent) > 33 {
        return Err("n and e are no RSA key");
    }
    Ok(RsaKey { modulus, exponent })
}

/// Decodes a `Base64urlUInt` (RFC 7518 section 2); leading zeros, which some producers write, don't count.
fn number(text: Option<&str>) -> Option<Vec<u8>> {
    let mut bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    Some(bytes)
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// An odd number of exactly that many bits.
    fn modulus(bits: usize) -> Vec<u8> {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= (8 - bits % 8) % 8;
        bytes
    }

    fn b64(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn jwk(change: impl FnOnce(&mut Value)) -> Value {
        let mut key = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k", "e": "AQAB",
            "n": b64(&modulus(2048)), "x5c": ["MII"], "x5t": "t"});
        change(&mut key);
        key
    }

    fn parse(keys: &[Value]) -> Result<(KeySet, Vec<LeftOut>), DocumentError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    /// One key of each kind beside a good one: it is used or left out for that reason.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), expected: Result<(), &str>) {
        let good = jwk(|key| key["kid"] = "good".into());
        let (set, left_out) = parse(&[good, jwk(change)]).unwrap();
        let reasons: Vec<&str> = left_out.iter().map(|key| key.reason).collect();
        assert!(set.key("good").is_some());
        assert_eq!(
            (set.key("k").is_some(), reasons),
            (expected.is_ok(), expected.err().into_iter().collect())
        );
    }

    fn remove(name: &'static str) -> impl FnOnce(&mut Value) {
        move |key| {
            key.as_object_mut().unwrap().remove(name);
        }
    }

    fn set(name: &'static str, value: impl Into<Value>) -> impl FnOnce(&mut Value) {
        let value = value.into();
        move |key| key[name] = value
    }

    #[test]
    fn keys_for_rs256_signatures_are_used() {
        check(|_| {}, Ok(()));
        check(remove("use"), Ok(()));
        check(remove("alg"), Ok(()));
        check(set("key_ops", json!(["sign", "verify"])), Ok(()));
        check(set("e", "Aw"), Ok(()));
    }

    #[test]
    fn keys_for_anything_else_are_left_out() {
        let not_jwk = "not a JWK: a member is absent or has the wrong type";
        check(set("kty", "EC"), Err("kty is not RSA"));
        check(set("use", "enc"), Err("use is not sig"));
        check(set("alg", "RS384"), Err("alg is not RS256"));
        check(set("alg", "HS256"), Err("alg is not RS256"));
        check(set("key_ops", json!(["encrypt"])), Err("key_ops lacks verify"));
        check(set("key_ops", json!([])), Err("key_ops lacks verify"));
        check(remove("kid"), Err("no kid"));
        check(remove("kty"), Err(not_jwk));
        for (name, value) in
            [("kid", json!(7)), ("kid", Value::Null), ("use", Value::Null), ("key_ops", json!("verify"))]
        {
            check(set(name, value), Err(not_jwk));
        }
        check(remove("n"), Err("n is not a number in base64url"));
        check(remove("e"), Err("e is not a number in base64url"));
        check(set("n", "a+b"), Err("n is not a number in base64url"));
        check(set("e", "AQAB=="), Err("e is not a number in base64url"));
    }

    #[test]
    fn the_bits_of_the_modulus_are_counted_without_leading_zeros() {
        let size = "n has not between 2048 and 8192 bits";
        let n = |bytes: &[u8]| set("n", b64(bytes));
        check(n(&modulus(2047)), Err(size));
        check(n(&modulus(1024)), Err(size));
        check(n(&[]), Err(size));
        check(n(&[&[0; 200][..], &modulus(1024)].concat()), Err(size));
        check(n(&modulus(2049)), Ok(()));
        check(n(&modulus(8192)), Ok(()));
        check(n(&modulus(8193)), Err(size));
        check(n(&[&[0][..], &modulus(2048)].concat()), Ok(()));
    }

    #[test]
    fn numbers_that_are_no_rsa_key_are_left_out() {
        let no_key = "n and e are no RSA key";
        for exponent in [&[1][..], &[2], &[], &[0], &[1, 0, 0], &[0xff; 5]] {
            check(set("e", b64(exponent)), Err(no_key));
        }
        let mut even = modulus(2048);
        even[255] = 2;
        check(set("n", b64(&even)), Err(no_key));
    }

    #[test]
    fn of_several_keys_with_one_kid_none_is_used_unless_they_are_the_same() {
        let other = || jwk(set("n", b64(&modulus(2056))));
        let (set_of_keys, left_out) = parse(&[jwk(set("kid", "good")), jwk(|_| {}), other()]).unwrap();
        assert_eq!(set_of_keys.kids().collect::<Vec<_>>(), ["good"]);
        assert_eq!(listed(&left_out), "k (several keys have this kid)");
        let strange = LeftOut { kid: Some("a\nb".into()), reason: "r" };
        assert_eq!(listed(&[strange]), "a\\nb (r)");
        let (set_of_keys, left_out) = parse(&[jwk(|_| {}), jwk(remove("alg"))]).unwrap();
        assert_eq!((set_of_keys.kids().count(), left_out.len()), (1, 0));
    }

    #[test]
    fn a_document_is_usable_as_a_whole_or_not() {
        let refused = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused("<html>"), "the document is not acceptable JSON: not JSON: line 1, column 1");
        assert!(refused(r#"{"keys":[],"keys":[]}"#).contains("two members of one name"));
        assert!(
            refused(&format!(r#"{{"keys":[{}{}]}}"#, "[".repeat(20), "]".repeat(20)))
                .contains("deeper than 16")
        );
        for shape in ["[]", "[[{}]]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, "null"] {
            assert_eq!(refused(shape), DocumentError::Shape.to_string(), "{shape}");
        }
        assert_eq!(refused(r#"{"keys":[]}"#), "the document holds no usable RS256 key; left out: none");
        assert_eq!(
            refused(r#"{"keys":[{"kty":"EC","kid":"x"},{"kty":"oct"}]}"#),
            "the document holds no usable RS256 key; left out: x (kty is not RSA), a key (kty is not RSA)"
        );
        assert_eq!(parse(&vec![json!({}); 101]).unwrap_err(), DocumentError::TooMany(101));
        let most: Vec<Value> = (0..100).map(|n| jwk(set("kid", format!("k{n}")))).collect();
        assert_eq!(parse(&most).unwrap().0.kids().count(), 100);
    }
}
