//! Key documents (RFC 7517): which keys a server that accepts RS256 can use. The server's own judgment is stricter.

use serde_json::Value;

/// The shortest modulus of 2048 bits in base64url.
const MIN_MODULUS_CHARS: usize = 342;

/// Returns the key ids of the usable keys; nothing where there is no list of keys.
pub(crate) fn usable(document: &Value) -> Option<Vec<&str>> {
    let keys = document.get("keys")?.as_array()?;
    Some(keys.iter().filter(|key| is_usable(key)).filter_map(|key| text(key, "kid")).collect())
}

fn is_usable(key: &Value) -> bool {
    let is_absent_or = |name: &str, expected: &str| key.get(name).is_none_or(|value| value == expected);
    let verifies = |operations: &Value| {
        operations
            .as_array()
            .is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    };
    text(key, "kty") == Some("RSA")
        && is_absent_or("use", "sig")
        && is_absent_or("alg", "RS256")
        && key.get("key_ops").is_none_or(verifies)
        && text(key, "n").is_some_and(|modulus| modulus.len() >= MIN_MODULUS_CHARS && is_base64url(modulus))
        && text(key, "e").is_some_and(|exponent| !exponent.is_empty() && is_base64url(exponent))
}

fn text<'a>(key: &'a Value, name: &str) -> Option<&'a str> {
    key.get(name).and_then(Value::as_str)
}

fn is_base64url(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_usable_key_is_for_rs256_and_has_a_name() {
        let good = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k", "n": "A".repeat(342), "e": "AQAB"});
        let usable_with = |name: &str, value: Value| {
            let mut key = good.clone();
            key[name] = value;
            usable(&json!({ "keys": [key] })).unwrap().len()
        };
        assert_eq!(usable_with("x5t", json!("x")), 1);
        assert_eq!(usable_with("key_ops", json!(["verify"])), 1);
        for (name, value) in [
            ("kty", json!("EC")),
            ("use", json!("enc")),
            ("alg", json!("RS512")),
            ("key_ops", json!(["sign"])),
            ("kid", json!(null)),
            ("n", json!("A".repeat(341))),
            ("n", json!("+".repeat(342))),
            ("e", json!("")),
        ] {
            assert_eq!(usable_with(name, value.clone()), 0, "{name}: {value}");
        }
        assert_eq!(usable(&json!({"keys": {}})), None);
        assert_eq!(usable(&json!([])), None);
    }
}
