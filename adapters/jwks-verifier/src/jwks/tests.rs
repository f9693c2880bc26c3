use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

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

fn parse(keys: &[Value]) -> Result<(KeySet, SkippedKeys), DocumentError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

/// One key of each kind beside a good one: it is used or skipped for that reason.
#[track_caller]
fn check(change: impl FnOnce(&mut Value), expected: Result<(), &str>) {
    check_text(&jwk(change).to_string(), expected);
}

#[track_caller]
fn check_text(key: &str, expected: Result<(), &str>) {
    let good = jwk(|key| key["kid"] = "good".into());
    for keys in [format!("{good},{key}"), format!("{key},{good}")] {
        let (set, skipped) = KeySet::parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes()).unwrap();
        assert!(set.key("good").is_some());
        assert_eq!(set.key("k").is_some(), expected.is_ok());
        let line = skipped.to_string();
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
fn keys_for_anything_else_are_skipped() {
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
fn numbers_that_are_no_rsa_key_are_skipped() {
    let no_key = "n and e are no RSA key";
    for exponent in [&[1][..], &[2], &[], &[0], &[1, 0, 0], &[0xff; 5]] {
        check(set("e", b64(exponent)), Err(no_key));
    }
    let mut even = modulus(2048);
    even[255] = 2;
    check(set("n", b64(&even)), Err(no_key));
}

#[test]
fn a_malformed_key_does_not_affect_the_others() {
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
fn different_keys_with_one_kid_are_all_skipped() {
    let other = |bits| jwk(set("n", b64(&modulus(bits))));
    for keys in [
        vec![jwk(|_| {}), other(2056)],
        vec![jwk(|_| {}), jwk(|_| {}), other(2056)],
        vec![other(2056), jwk(|_| {}), jwk(|_| {})],
        vec![other(2056), other(2064), jwk(|_| {}), other(2056)],
    ] {
        let (keys, skipped) = parse(&[vec![jwk(set("kid", "good"))], keys].concat()).unwrap();
        assert_eq!(keys.kids().collect::<Vec<_>>(), ["good"]);
        assert_eq!(skipped.to_string(), "k (several keys have this kid)");
    }
    let (keys, skipped) = parse(&[jwk(|_| {}), jwk(remove("alg"))]).unwrap();
    assert_eq!((keys.kids().count(), skipped.to_string()), (1, String::new()));
    // A key that verifies nothing makes no other ambiguous.
    let (keys, _) = parse(&[jwk(|_| {}), jwk(set("use", "enc"))]).unwrap();
    assert_eq!(keys.kids().count(), 1);
}

#[test]
fn a_document_without_an_array_of_keys_is_refused_as_a_whole() {
    let refused = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err().to_string();
    let key = jwk(|_| {});
    assert_eq!(refused("<html>"), "the document is not acceptable JSON: not JSON: line 1, column 1");
    for cut in
        [format!(r#"{{"keys":[{key}]"#), format!(r#"{{"keys":[{key}]}}x"#), format!(r#"{{"keys":[{key},]}}"#)]
    {
        assert!(refused(&cut).starts_with("the document is not acceptable JSON: "), "{cut}");
    }
    let two = format!(r#"{{"keys":[{key}],"\u006beys":[{key}]}}"#);
    assert_eq!(refused(&two), DocumentError::TwoArrays.to_string());
    for shape in ["[]", "[[{}]]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, "null", r#""keys""#] {
        assert_eq!(refused(shape), DocumentError::Shape.to_string(), "{shape}");
    }
    assert_eq!(refused(r#"{"keys":[]}"#), "the document holds no usable RS256 key; skipped: none");
    assert_eq!(
        refused(r#"{"keys":[{"kty":"EC","kid":"x"},{"kty":"oct"}]}"#),
        "the document holds no usable RS256 key; skipped: x (kty is not RSA), a key (kty is not RSA)"
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
