use serde_json::{Value, json};

use super::*;

fn problems(tenant: Value) -> Vec<String> {
    let options: Options = serde_json::from_value(tenant).unwrap();
    options.validate().err().unwrap_or_default()
}

#[test]
fn an_empty_table_is_the_sample_tenant() {
    let options: Options = serde_json::from_value(json!({})).unwrap();
    assert_eq!(options, Options::default());
    assert_eq!(options.validate(), Ok(()));
}

#[test]
fn each_contradiction_is_named() {
    let user = |key: &str, sub: &str, roles: &[&str]| json!({"key": key, "sub": sub, "roles": roles});
    let scope = |name: &str| json!({"name": name, "description": "d"});
    let cases = [
        (json!({"users": []}), "tenant.users is empty; nobody could log in"),
        (
            json!({"users": [user("a", "s", &["Boss"])]}),
            "tenant.users: `a` has the role `Boss`, which tenant.roles does not define",
        ),
        (
            json!({"users": [{"key": "a", "sub": "s", "claims": {"plan": 1}}]}),
            "tenant.users: `a` has the claim `plan`; custom claims are named by an https or http URL",
        ),
        (
            json!({"auth_time_claim": "at"}),
            "tenant.auth_time_claim is not named by an https or http URL, as custom claims are",
        ),
        (json!({"users": [user("", "s", &[])]}), "tenant.users: the user with the sub `s` has no key"),
        (json!({"users": [user("a", " ", &[])]}), "tenant.users: `a` has no sub"),
        (
            json!({"users": [user("a", "s", &[]), user("a", "t", &[])]}),
            "tenant.users: the key `a` is there more than once",
        ),
        (
            json!({"users": [user("a", "s", &[]), user("b", "s", &[]), user("c", "s", &[])]}),
            "tenant.users: the sub `s` is there more than once",
        ),
        (
            json!({"users": [user("a", "s", &[])], "roles": [{"name": "R", "permissions": ["tool:fly"]}]}),
            "tenant.roles: `R` has the permission `tool:fly`, which tenant.api.scopes does not define",
        ),
        (
            json!({"users": [user("a", "s", &[])],
                "roles": [{"name": "R", "permissions": []}, {"name": "R", "permissions": []}]}),
            "tenant.roles: `R` is there more than once",
        ),
        (
            json!({"users": [user("a", "s", &[])], "roles": [{"name": "", "permissions": []}]}),
            "tenant.roles: a role has no name",
        ),
        (
            json!({"roles": [], "users": [user("a", "s", &[])], "api": {"scopes": [scope("x"), scope("x")]}}),
            "tenant.api.scopes: `x` is there more than once",
        ),
        (
            json!({"roles": [], "users": [user("a", "s", &[])], "api": {"scopes": [scope("a b")]}}),
            "tenant.api.scopes: \"a b\" is no scope: printable ASCII without spaces, quotes and backslashes",
        ),
        (json!({"redirect_status": 307}), "tenant.redirect_status is 307; it is 302 or 303"),
        (json!({"api": {"name": ""}}), "tenant.api.name is empty"),
        (json!({"other_apis": [{}]}), "tenant.other_apis: an API has no identifier"),
        (
            json!({"other_apis": [{"identifier": "x"}, {"identifier": "x"}]}),
            "tenant.other_apis: the identifier `x` is there more than once",
        ),
        (
            json!({"api": {"token_lifetime_seconds": 0}}),
            "tenant.api.token_lifetime_seconds is 0; it goes from 1 to 2592000 (30 days)",
        ),
        (
            json!({"api": {"token_lifetime_seconds": 2_592_001}}),
            "tenant.api.token_lifetime_seconds is 2592001; it goes from 1 to 2592000 (30 days)",
        ),
    ];
    for (tenant, expected) in cases {
        assert_eq!(problems(tenant.clone()), [expected], "{tenant}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let found = problems(json!({
        "users": [{"key": "a", "sub": "s", "roles": ["Boss", "Chief"]}],
        "roles": [{"name": "R", "permissions": ["tool:fly"]}],
        "api": {"name": " ", "token_lifetime_seconds": 0},
    }));
    assert_eq!(found.len(), 5, "{found:?}");
}

#[test]
fn an_empty_identifier_is_refused() {
    let problems = Options::default().with_api_identifier("").validate();
    assert_eq!(problems, Err(vec!["the API's identifier is empty".to_owned()]));
}

#[test]
fn keys_that_mean_nothing_are_refused() {
    for tenant in [
        json!({"port": 1}),
        json!({"host": "0.0.0.0"}),
        json!({"api": {"dialect": "opaque"}}),
        json!({"third_party_security_mode": "off"}),
        json!({"users": [{"key": "a", "sub": "s", "password": "p"}]}),
        json!({"users": [{"key": "a"}]}),
        json!({"roles": [{"name": "R"}]}),
        json!({"api": {"token_lifetime_seconds": -1}}),
    ] {
        assert!(serde_json::from_value::<Options>(tenant.clone()).is_err(), "{tenant}");
    }
}
