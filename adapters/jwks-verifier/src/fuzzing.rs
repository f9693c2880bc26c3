//! What must hold for any bytes: called by the fuzz targets of `fuzz/` and by tests. It is in no other build.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Untrusted;
use serde_json::Value;

use crate::jwk::RsaKey;
use crate::jws::{Header, Jws};

/// Takes the bytes as a token, and as a token's header: what is read is what the bytes say, and no signature is valid for a
/// key that signed nothing.
///
/// # Panics
/// When an invariant does not hold.
pub fn jws(data: &[u8]) {
    if let Ok(token) = std::str::from_utf8(data)
        && let Ok(jws) = Jws::split(token)
    {
        assert_eq!(token.matches('.').count(), 2);
        let _ = jws.header();
        let refused = UNRELATED_KEY.as_ref().is_some_and(|key| jws.prove(key).is_err());
        assert!(refused, "a valid signature without its key");
    }
    let token = format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(data));
    let read = Jws::split(&token).and_then(|jws| jws.header());
    let value = serde_json::from_slice::<Value>(data).ok().filter(Value::is_object);
    match (read, value) {
        (Ok(header), value) => assert_eq!(Some(header), value.as_ref().and_then(good_header)),
        // Duplicates, depth and invalid UTF-8 are refused beyond what a tree says.
        (Err(Untrusted::Malformed), _) => {}
        (Err(error), value) => assert_eq!(value.as_ref().and_then(good_header), None, "{error}"),
    }
}

/// The header that can be used, read from a tree instead of into a type.
fn good_header(value: &Value) -> Option<Header> {
    let kid = value["kid"].as_str()?.to_owned();
    let token_type = match value.get("typ") {
        None => None,
        Some(typ) => Some(typ.as_str()?.to_owned()),
    };
    (value["alg"] == "RS256" && value.get("crit").is_none()).then_some(Header { kid, token_type })
}

/// An RSA key of 2048 bits whose private part nobody has.
static UNRELATED_KEY: LazyLock<Option<RsaKey>> = LazyLock::new(|| {
    let mut modulus = [0xa5; 256];
    modulus[255] |= 1;
    RsaKey::from_components(&modulus, &[1, 0, 1])
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_seeds_hold() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/jws");
        for seed in std::fs::read_dir(folder).unwrap() {
            jws(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }

    /// Of every JSON kind.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[ a-c\"\\\\é]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]{1,2}", inner, 0..3).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn headers_of_any_parameters_hold(
            alg in prop_oneof![4 => Just(json!("RS256")), 1 => value()],
            more in prop::collection::btree_map(
                prop::sample::select(&["kid", "typ", "crit", "jwk", "x"][..]), value(), 0..4,
            ),
        ) {
            let mut header = json!(more);
            header["alg"] = alg;
            jws(header.to_string().as_bytes());
        }
    }
}
