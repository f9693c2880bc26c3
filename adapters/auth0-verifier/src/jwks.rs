//! From a JWKS document (RFC 7517 section 5) to a [`KeySet`] of RS256 keys.
//!
//! The document is refused as a whole if it is not JSON, or has no array of keys. The keys in it are judged one by one:
//! a key that is malformed, ambiguous or not for RS256 signatures is left out with a reason, and takes no other with it.
//! How many keys there are is bounded by the length of the document alone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use syntax::strict_json::{self, StrictJsonError};

use crate::wire::{object, present};

/// The maximum nesting of a key: the key, its `x5c`, with room for what extensions bring.
const MAX_DEPTH: usize = 16;

/// Shorter keys are refused by RFC 7518 section 3.3, longer ones by the crypto backend.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a document can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("the document is not acceptable JSON: {0}")]
    Json(StrictJsonError),
    #[error("the document is not a JWK set: it is no object with an array of keys")]
    Shape,
    #[error("the document is not a JWK set: it has two members named keys")]
    TwoArrays,
    #[error("the document holds no usable RS256 key; left out: {0}")]
    NoUsableKey(String),
}

/// Public keys by their `kid`, each parsed once.
#[derive(Debug, Default)]
pub(crate) struct KeySet(BTreeMap<Box<str>, Arc<DecodingKey>>);

/// Which keys were left out of a set, and why. It names the first ones and counts the others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    first: Vec<String>,
    others: usize,
}

impl LeftOut {
    fn push(&mut self, kid: Option<&str>, reason: &str) {
        if self.first.len() == MAX_LISTED {
            self.others += 1;
        } else {
            let kid = kid.map_or_else(|| "a key".to_owned(), shown);
            self.first.push(format!("{kid} ({reason})"));
        }
    }
}

/// On one line, whatever the names hold; empty if nothing was left out.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join(", "))?;
        if self.others > 0 { write!(f, ", and {} more", self.others) } else { Ok(()) }
    }
}

impl KeySet {
    /// Parses a document, and says what it left out.
    ///
    /// Of keys with the same `kid` none is used, unless they are the same key: which of them signs is a guess that an
    /// attacker who can add a key would want made.
    pub(crate) fn parse(document: &[u8]) -> Result<(Self, LeftOut), DocumentError> {
        let mut found = Found::default();
        let mut deserializer = serde_json::Deserializer::from_slice(document);
        let read = Document(&mut found).deserialize(&mut deserializer).and_then(|()| deserializer.end());
        read.map_err(|error| found.explain(&error))?;
        let Found { keys, mut left_out, .. } = found;
        let set = Self::unambiguous(keys, &mut left_out);
        if set.0.is_empty() {
            let left_out = if left_out.first.is_empty() { "none".to_owned() } else { left_out.to_string() };
            return Err(DocumentError::NoUsableKey(left_out));
        }
        Ok((set, left_out))
    }

    fn unambiguous(keys: BTreeMap<Box<str>, Candidate>, left_out: &mut LeftOut) -> Self {
        let mut set = BTreeMap::new();
        for (kid, candidate) in keys {
            match candidate {
                Candidate::One(key) => drop(set.insert(kid, Arc::new(key.decoding_key()))),
                Candidate::Ambiguous => left_out.push(Some(&kid), "several keys have this kid"),
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

/// What a walk through a document found.
#[derive(Default)]
struct Found {
    has_array: bool,
    has_two_arrays: bool,
    keys: BTreeMap<Box<str>, Candidate>,
    left_out: LeftOut,
}

/// The usable keys of one `kid`.
enum Candidate {
    /// One key, however often.
    One(RsaKey),
    /// Different keys.
    Ambiguous,
}

impl Found {
    fn judge(&mut self, raw: &RawValue) {
        match usable(raw) {
            Ok((kid, key)) => {
                let candidate = self.keys.entry(kid).or_insert_with(|| Candidate::One(key.clone()));
                if matches!(candidate, Candidate::One(other) if *other != key) {
                    *candidate = Candidate::Ambiguous;
                }
            }
            Err((kid, reason)) => self.left_out.push(kid.as_deref(), reason),
        }
    }

    fn explain(&self, error: &serde_json::Error) -> DocumentError {
        match error.classify() {
            _ if self.has_two_arrays => DocumentError::TwoArrays,
            Category::Data => DocumentError::Shape,
            Category::Io | Category::Syntax | Category::Eof => {
                DocumentError::Json(StrictJsonError::Syntax { line: error.line(), column: error.column() })
            }
        }
    }
}

/// Walks the document. Of its members only `keys` is read, so that no other can take a key with it.
struct Document<'f>(&'f mut Found);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an array of keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            if name != "keys" {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            if self.0.has_array {
                self.0.has_two_arrays = true;
                return Err(A::Error::custom("two members named keys"));
            }
            members.next_value_seed(Keys(self.0))?;
        }
        if self.0.has_array { Ok(()) } else { Err(A::Error::missing_field("keys")) }
    }
}

/// Walks the array of keys. Each is taken as it is written, and read strictly by itself.
struct Keys<'f>(&'f mut Found);

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.has_array = true;
        while let Some(raw) = items.next_element::<&RawValue>()? {
            self.0.judge(raw);
        }
        Ok(())
    }
}

fn components(key: &DecodingKey) -> Option<(&[u8], &[u8])> {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => Some((n, e)),
        DecodingKeyKind::SecretOrDer(_) => None,
    }
}

/// The maximum number of keys that a list names, and of characters of each name: whatever the issuer sends, a line is a
/// line.
const MAX_LISTED: usize = 8;
const MAX_SHOWN_CHARS: usize = 64;

fn shown(kid: &str) -> String {
    kid.chars().take(MAX_SHOWN_CHARS).collect::<String>().escape_debug().to_string()
}

/// Returns the first names as a JSON list, on one line whatever they hold.
pub(crate) fn listed<'a>(kids: impl Iterator<Item = &'a str>) -> String {
    let mut kids = kids.fuse();
    let mut each: Vec<String> = kids.by_ref().take(MAX_LISTED).map(shown).collect();
    let others = kids.count();
    if others > 0 {
        each.push(format!("and {others} more"));
    }
    // Strings: rendering them can't fail.
    serde_json::to_string(&each).unwrap_or_default()
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
#[derive(Debug, Clone, PartialEq, Eq)]
struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl RsaKey {
    fn decoding_key(&self) -> DecodingKey {
        DecodingKey::from_rsa_raw_components(&self.modulus, &self.exponent)
    }
}

/// The `kid` of a key, if it can be told, and the reason why the key can't be used.
type Unusable = (Option<String>, &'static str);

/// Returns the key and its `kid`.
fn usable(raw: &RawValue) -> Result<(Box<str>, RsaKey), Unusable> {
    let json = raw.get().as_bytes();
    strict_json::check(json, MAX_DEPTH).map_err(|error| (None, explain(&error)))?;
    let wire: WireKey = object(json).ok_or((None, "not a JWK: a member is absent or has the wrong type"))?;
    match rsa_key(&wire) {
        Ok(key) => wire.kid.map(|kid| (kid.into(), key)).ok_or((None, "no kid")),
        Err(reason) => Err((wire.kid, reason)),
    }
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

    fn parse(keys: &[Value]) -> Result<(KeySet, LeftOut), DocumentError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    /// One key of each kind beside a good one: it is used or left out for that reason.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), expected: Result<(), &str>) {
        check_text(&jwk(change).to_string(), expected);
    }

    #[track_caller]
    fn check_text(key: &str, expected: Result<(), &str>) {
        let good = jwk(|key| key["kid"] = "good".into());
        for keys in [format!("{good},{key}"), format!("{key},{good}")] {
            let (set, left_out) = KeySet::parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes()).unwrap();
            assert!(set.key("good").is_some());
            assert_eq!(set.key("k").is_some(), expected.is_ok());
            let line = left_out.to_string();
            match expected {
                Ok(()) => assert_eq!(line, ""),
                Err(reason) => assert!(line.ends_with(&format!(" ({reason})")), "{line}"),
            }
        }
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
    fn a_key_that_is_malformed_takes_no_other_with_it() {
        let good = jwk(|_| {}).to_string();
        let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
        let deep = format!(r#""x":{}{}"#, "[".repeat(16), "]".repeat(16));
        let abyss = format!(r#""x":{}{}"#, "[".repeat(100_000), "]".repeat(100_000));
        for (key, reason) in [
            (with(r#""kid":"good""#), "an object has two members of one name"),
            (with(r#""x":{"y":1,"y":1}"#), "an object has two members of one name"),
            (with(r#""\u006b\u0074\u0079":"RSA""#), "an object has two members of one name"),
            (with(&deep), "nested too deep"),
            (with(&abyss), "nested too deep"),
            (with(r#""x":"\ud800""#), "not acceptable JSON"),
            ("1".to_owned(), "not a JWK: a member is absent or has the wrong type"),
            ("null".to_owned(), "not a JWK: a member is absent or has the wrong type"),
            (format!("[{good}]"), "not a JWK: a member is absent or has the wrong type"),
        ] {
            check_text(&key, Err(reason));
        }
        check_text(&with(&deep.replacen("[]", "", 1)), Ok(()));
    }

    #[test]
    fn of_several_keys_with_one_kid_none_is_used_unless_they_are_the_same() {
        let other = |bits| jwk(set("n", b64(&modulus(bits))));
        for keys in [
            vec![jwk(|_| {}), other(2056)],
            vec![jwk(|_| {}), jwk(|_| {}), other(2056)],
            vec![other(2056), jwk(|_| {}), jwk(|_| {})],
            vec![other(2056), other(2064), jwk(|_| {}), other(2056)],
        ] {
            let (keys, left_out) = parse(&[vec![jwk(set("kid", "good"))], keys].concat()).unwrap();
            assert_eq!(keys.kids().collect::<Vec<_>>(), ["good"]);
            assert_eq!(left_out.to_string(), "k (several keys have this kid)");
        }
        let (keys, left_out) = parse(&[jwk(|_| {}), jwk(remove("alg"))]).unwrap();
        assert_eq!((keys.kids().count(), left_out.to_string()), (1, String::new()));
        // A key that verifies nothing makes no other ambiguous.
        let (keys, _) = parse(&[jwk(|_| {}), jwk(set("use", "enc"))]).unwrap();
        assert_eq!(keys.kids().count(), 1);
    }

    #[test]
    fn what_is_left_out_is_one_short_line() {
        let mut left_out = LeftOut::default();
        left_out.push(Some(&format!("a\n{}", "x".repeat(1000))), "r");
        assert_eq!(left_out.to_string(), format!("a\\n{} (r)", "x".repeat(62)));
        for _ in 0..1_000_000 {
            left_out.push(None, "r");
        }
        let line = left_out.to_string();
        assert!(line.ends_with("a key (r), and 999993 more") && line.len() < 500, "{line}");
        let names: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
        let first = r#"["k0","k1","k2","k3","k4","k5","k6","k7","and 2 more"]"#;
        assert_eq!(listed(names.iter().map(String::as_str)), first);
        assert_eq!(listed(std::iter::empty()), "[]");
    }

    #[test]
    fn a_document_without_an_array_of_keys_is_refused_as_a_whole() {
        let refused = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err().to_string();
        let key = jwk(|_| {});
        assert_eq!(refused("<html>"), "the document is not acceptable JSON: not JSON: line 1, column 1");
        for cut in [
            format!(r#"{{"keys":[{key}]"#),
            format!(r#"{{"keys":[{key}]}}x"#),
            format!(r#"{{"keys":[{key},]}}"#),
        ] {
            assert!(refused(&cut).starts_with("the document is not acceptable JSON: "), "{cut}");
        }
        let two = format!(r#"{{"keys":[{key}],"\u006beys":[{key}]}}"#);
        assert_eq!(refused(&two), DocumentError::TwoArrays.to_string());
        for shape in ["[]", "[[{}]]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, "null", r#""keys""#] {
            assert_eq!(refused(shape), DocumentError::Shape.to_string(), "{shape}");
        }
        assert_eq!(refused(r#"{"keys":[]}"#), "the document holds no usable RS256 key; left out: none");
        assert_eq!(
            refused(r#"{"keys":[{"kty":"EC","kid":"x"},{"kty":"oct"}]}"#),
            "the document holds no usable RS256 key; left out: x (kty is not RSA), a key (kty is not RSA)"
        );
    }

    #[test]
    fn other_members_of_a_document_and_the_number_of_keys_do_not_matter() {
        let key = jwk(|_| {});
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in [
            format!(r#"{{"x":1,"x":{{"y":1,"y":1}},"keys":[{key}],"x":null}}"#),
            format!(r#"{{"x":{deep},"keys":[{key}]}}"#),
            format!(r#"{{"$serde_json::private::RawValue":"{{\"keys\":[]}}","keys":[{key}]}}"#),
        ] {
            assert_eq!(KeySet::parse(text.as_bytes()).unwrap().0.kids().count(), 1);
        }
        let useless = vec![json!({}); 300];
        let many: Vec<Value> = (0..300).map(|n| jwk(set("kid", format!("k{n}")))).collect();
        assert_eq!(parse(&[useless, many].concat()).unwrap().0.kids().count(), 300);
    }
}
