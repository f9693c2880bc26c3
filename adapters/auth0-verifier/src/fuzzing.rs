//! What must hold for any bytes: called by the fuzz targets of `fuzz/` and by tests. It is in no other build.

use domain::{Actor, Claims, CustomClaimError, CustomClaims, ExtraClaims, ScopeSet, UnixSeconds, Untrusted};
use jwks_verifier::claims::MAX_DEPTH;
use serde_json::Value;
use syntax::strict_json;

use crate::claims;

/// Takes the bytes as a payload: every claim is read as the bytes say, with its type, and an error names the claim at fault.
///
/// # Panics
/// When an invariant does not hold.
pub fn claims(data: &[u8]) {
    if strict_json::check(data, MAX_DEPTH).is_err() {
        return;
    }
    let value: Value =
        serde_json::from_slice(data).unwrap_or_else(|error| panic!("strict, but no JSON: {error}"));
    if !value.is_object() {
        assert_eq!(claims::read(data, None), Err(Untrusted::Malformed));
        return;
    }
    match claims::read(data, None) {
        Ok(claims) => assert_is(&claims, &value),
        Err(Untrusted::MissingClaim(name)) => assert_eq!(value.get(name), None),
        Err(Untrusted::InvalidClaim(name)) => assert!(!has_its_type(name, &value[name]), "{name}: {value}"),
        Err(other) => panic!("{other}"),
    }
}

fn assert_is(claims: &Claims, value: &Value) {
    let text = |name: &str| there(value, name).map(|value| value.as_str().unwrap_or_default().to_owned());
    assert_eq!(Some(&claims.issuer), text("iss").as_ref());
    assert_eq!(Some(&claims.subject), text("sub").as_ref());
    assert_eq!(claims.client_id, text("client_id"));
    assert_eq!(claims.authorized_party, text("azp"));
    assert_eq!(claims.name, text("name"));
    assert_eq!(claims.email, text("email"));
    assert_eq!(claims.organization_id, text("org_id"));
    assert_eq!(claims.token_id, text("jti"));
    assert_eq!(claims.audience, texts(&value["aud"]));
    assert_eq!(claims.scope, ScopeSet::granted_by(text("scope").unwrap_or_default().split(' ')));
    let permissions = texts(&value["permissions"]);
    assert_eq!(claims.permissions, ScopeSet::granted_by(permissions.iter().map(String::as_str)));
    assert_eq!(claims.sender_constrained, value.get("cnf").is_some());
    assert!(is_at_most(claims.expires_at, &value["exp"]));
    for (start, name) in [(claims.not_before, "nbf"), (claims.issued_at, "iat")] {
        assert_eq!(start.is_some(), there(value, name).is_some());
        assert!(start.is_none_or(|start| start == UnixSeconds(i64::MAX) || !is_below(start, &value[name])));
    }
    for name in CLAIMS {
        assert!(value.get(name).is_none_or(|value| has_its_type(name, value)), "{name}");
    }
    match &claims.extra {
        Some(extra) => assert_is_extra(extra, value),
        None => assert!(EXTRA.iter().all(|name| value.get(name).is_none())),
    }
}

fn assert_is_extra(extra: &ExtraClaims, value: &Value) {
    let text = |name: &str| there(value, name).map(|value| value.as_str().unwrap_or_default().to_owned());
    assert_eq!(extra.organization_name, text("org_name"));
    assert_eq!(extra.authentication_context, text("acr"));
    assert_eq!(extra.authentication_methods, texts(&value["amr"]));
    assert_eq!(extra.grant_types, texts(&value["gty"]));
    assert_eq!(extra.authenticated_at.is_some(), there(value, "auth_time").is_some());
    assert!(extra.authenticated_at.is_none_or(|instant| is_at_most(instant, &value["auth_time"])));
    let mut act = there(value, "act");
    for actor in &extra.actors {
        assert_eq!(Some(actor.subject.as_str()), act.and_then(|act| act["sub"].as_str()));
        act = act.and_then(|act| there(act, "act"));
    }
    assert_eq!(act, None);
    for (name, claim) in
        value.as_object().into_iter().flatten().filter(|(name, _)| CustomClaims::is_name(name))
    {
        match extra.custom.get::<Value>(name) {
            Ok(read) => assert_eq!(read.as_ref(), Some(claim).filter(|claim| !claim.is_null())),
            Err(error) => assert_eq!(error, CustomClaimError::TooLarge),
        }
    }
}

/// A member that is there and not null.
fn there<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).filter(|value| !value.is_null())
}

const REQUIRED: [&str; 4] = ["iss", "aud", "exp", "sub"];

const EXTRA: [&str; 6] = ["org_name", "act", "acr", "amr", "auth_time", "gty"];

const CLAIMS: [&str; 20] = [
    "iss",
    "aud",
    "exp",
    "sub",
    "nbf",
    "iat",
    "client_id",
    "azp",
    "scope",
    "permissions",
    "name",
    "email",
    "org_id",
    "jti",
    "org_name",
    "act",
    "acr",
    "amr",
    "auth_time",
    "gty",
];

fn texts(value: &Value) -> Vec<String> {
    let texts = |items: &Vec<Value>| items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    value.as_str().map(|one| vec![one.to_owned()]).or_else(|| value.as_array().map(texts)).unwrap_or_default()
}

fn is_at_most(instant: UnixSeconds, value: &Value) -> bool {
    match value.as_i64() {
        Some(whole) => instant.0 == whole,
        None => seconds(instant) <= value.as_f64().unwrap_or(f64::INFINITY) || instant.0 == i64::MIN,
    }
}

fn is_below(instant: UnixSeconds, value: &Value) -> bool {
    match value.as_i64() {
        Some(whole) => instant.0 != whole,
        None => seconds(instant) < value.as_f64().unwrap_or(f64::INFINITY),
    }
}

#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 both sides are rounded alike")]
fn seconds(instant: UnixSeconds) -> f64 {
    instant.0 as f64
}

fn has_its_type(name: &str, value: &Value) -> bool {
    let items = value.as_array().filter(|items| items.iter().all(Value::is_string));
    let is_short = |items: &Vec<Value>| items.len() <= ExtraClaims::MAX_VALUES;
    match name {
        _ if value.is_null() => !REQUIRED.contains(&name),
        "exp" | "nbf" | "iat" | "auth_time" => value.is_number(),
        "aud" => value.is_string() || items.is_some(),
        "permissions" => items.is_some(),
        "amr" => items.is_some_and(is_short),
        "gty" => value.is_string() || items.is_some_and(is_short),
        "act" => is_actor(value, 1),
        _ => value.is_string(),
    }
}

fn is_actor(value: &Value, depth: usize) -> bool {
    let is_text = |name: &str| there(value, name).is_none_or(Value::is_string);
    depth <= Actor::MAX_CHAIN
        && value["sub"].is_string()
        && is_text("client_id")
        && is_text("iss")
        && there(value, "act").is_none_or(|act| is_actor(act, depth + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_seeds_hold() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/claims");
        for seed in std::fs::read_dir(folder).unwrap() {
            claims(&std::fs::read(seed.unwrap().path()).unwrap());
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

    /// Names of claims, and of members of an actor, so that actors come about.
    const NAMES: [&str; 24] = [
        "iss",
        "aud",
        "exp",
        "sub",
        "nbf",
        "iat",
        "client_id",
        "azp",
        "scope",
        "permissions",
        "name",
        "email",
        "org_id",
        "jti",
        "org_name",
        "act",
        "acr",
        "amr",
        "auth_time",
        "gty",
        "cnf",
        "https://a/b",
        "http://a/c",
        "urn:x",
    ];

    /// An actor or nearly one.
    fn actor() -> impl Strategy<Value = Value> {
        let leaf = prop::collection::btree_map(prop::sample::select(&["sub", "iss", "x"][..]), value(), 0..3);
        leaf.prop_map(|members| json!(members)).prop_recursive(6, 8, 1, |inner| {
            inner.prop_map(|act| json!({"sub": "a", "client_id": "c", "act": act}))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_claim_of_a_wrong_type_is_refused_by_its_name(
            name in prop::sample::select(&CLAIMS[..]), value in prop_oneof![3 => value(), 1 => actor()],
        ) {
            let mut claims = json!({"iss": "i", "aud": "a", "exp": 1, "sub": "s"});
            claims[name] = value.clone();
            let read = claims::read(claims.to_string().as_bytes(), None);
            if has_its_type(name, &value) {
                prop_assert!(read.is_ok());
            } else {
                prop_assert_eq!(read, Err(Untrusted::InvalidClaim(name)));
            }
        }

        #[test]
        fn payloads_of_any_claims_hold(
            members in prop::collection::btree_map(prop::sample::select(&NAMES[..]), value(), 0..24),
        ) {
            claims(json!(members).to_string().as_bytes());
        }
    }
}
