//! Quotas: who asks too often is told when to ask again, and nobody else notices.

use std::time::Duration;

use fastmcp_auth0::{Settings, Sources};
use serde_json::{Value, json};

use crate::harness::{ADMIN, AUDIENCE, Answer, Choices, Harness, ISSUER, URL, USER};

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

fn call(tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
}

/// A value of the type that a file has.
fn as_is(key: &str, value: &str) -> config::ValueKind {
    match value.parse::<i64>() {
        Ok(number) => number.into(),
        Err(_) if key == "quota.trusted_proxies" => value.split(", ").collect::<Vec<_>>().into(),
        Err(_) => value.into(),
    }
}

async fn server(quotas: &[(&str, &str)]) -> Harness {
    let choices =
        quotas.iter().fold(Choices::new(), |choices, (key, value)| choices.set(key, as_is(key, value)));
    let harness = choices.start().await;
    harness.token("ada", |claims| claims.subject = "ada".into());
    harness.token("bob", |claims| claims.subject = "bob".into());
    harness
}

fn fields(answer: &Answer) -> (u16, &str, &str, &str) {
    let [retry, policy, left] =
        ["retry-after", "ratelimit-policy", "ratelimit"].map(|name| answer.header(name));
    (answer.status.as_u16(), retry, policy, left)
}

#[tokio::test]
async fn a_subject_gets_its_rate_and_is_told_when_to_come_again() {
    let harness = server(&[("quota.subject", "6/minute burst 2")]).await;
    let policy = "\"subject\";q=2;w=20";
    assert_eq!(fields(&harness.legacy("ada", &ping()).await), (200, "", policy, "\"subject\";r=1;t=10"));
    assert_eq!(fields(&harness.legacy("ada", &ping()).await), (200, "", policy, "\"subject\";r=0;t=10"));
    let refused = harness.legacy("ada", &ping()).await;
    assert_eq!(fields(&refused), (429, "10", policy, "\"subject\";r=0;t=10"));
    assert_eq!((refused.code(), refused.json()["id"].clone()), (429, json!(1)));
    assert_eq!(refused.json()["error"]["message"], "this subject asks too often; try again");
    assert_eq!(harness.legacy("bob", &ping()).await.status, 200, "another one");
    harness.clock.advance(Duration::from_millis(9_999));
    assert_eq!(fields(&harness.legacy("ada", &ping()).await).1, "1");
    harness.clock.advance(Duration::from_millis(1));
    assert_eq!(harness.legacy("ada", &ping()).await.status, 200);
    assert_eq!(harness.legacy("ada", &ping()).await.status, 429);
    assert_eq!(harness.get("/health").await.status, 200);
    assert_eq!(harness.get("/.well-known/oauth-protected-resource/mcp").await.status, 200);
}

#[tokio::test]
async fn a_client_gets_its_rate_whoever_it_acts_for() {
    let harness = server(&[("quota.client", "2/minute")]).await;
    assert_eq!(harness.legacy("ada", &ping()).await.status, 200);
    assert_eq!(harness.legacy("bob", &ping()).await.status, 200);
    let refused = harness.legacy("ada", &ping()).await;
    assert_eq!(fields(&refused), (429, "30", "\"client\";q=2;w=60", "\"client\";r=0;t=30"));
    harness.token("other", |claims| claims.client_id = Some("other".into()));
    assert_eq!(harness.legacy("other", &ping()).await.status, 200);
}

#[tokio::test]
async fn a_tool_has_a_rate_and_a_weight_and_a_refused_call_counts_nowhere() {
    let harness = server(&[
        ("quota.subject", "60/hour burst 7"),
        ("quota.tools.whoami.subject", "2/minute"),
        ("quota.tools.greet.weight", "3"),
    ])
    .await;
    for _ in 0..2 {
        assert_eq!(harness.legacy("ada", &call("whoami")).await.status, 200);
    }
    for _ in 0..3 {
        let refused = harness.legacy("ada", &call("whoami")).await;
        assert_eq!(fields(&refused), (429, "30", "\"tool\";q=2;w=60", "\"tool\";r=0;t=30"));
    }
    assert_eq!(harness.legacy("bob", &call("whoami")).await.status, 200);
    // Five are left: one call of three, and no second one.
    assert_eq!(fields(&harness.legacy("ada", &call("greet")).await).3, "\"subject\";r=2;t=60");
    assert_eq!(fields(&harness.legacy("ada", &call("greet")).await).1, "60");
    assert_eq!(harness.legacy("ada", &ping()).await.status, 200);
}

#[tokio::test]
async fn a_weight_counts_by_client_too() {
    let harness = server(&[("quota.client", "60/hour burst 7"), ("quota.tools.greet.weight", "3")]).await;
    assert_eq!(fields(&harness.legacy("ada", &call("greet")).await).3, "\"client\";r=4;t=60");
    assert_eq!(fields(&harness.legacy("bob", &call("whoami")).await).3, "\"client\";r=3;t=60");
}

#[tokio::test]
async fn each_tool_has_a_count_of_its_own() {
    let rates =
        [("quota.tools.whoami.subject", "1/minute"), ("quota.tools.get_datetime.subject", "1/minute")];
    let harness = server(&rates).await;
    assert_eq!(harness.legacy("ada", &call("whoami")).await.status, 200);
    assert_eq!(harness.legacy("ada", &call("get_datetime")).await.status, 200);
    assert_eq!(harness.legacy("ada", &call("whoami")).await.status, 429);
    assert_eq!(harness.legacy("ada", &call("get_datetime")).await.status, 429);
}

#[tokio::test]
async fn parts_of_a_batch_count_one_by_one() {
    let harness = server(&[("quota.subject", "2/minute")]).await;
    let batch = json!([ping(), ping(), ping()]).to_string();
    let request = harness.post("ada").header("mcp-protocol-version", "2025-03-26");
    let answer = harness.send(request.body(batch.into()).unwrap()).await;
    let codes: Vec<Value> =
        answer.json().as_array().unwrap().iter().map(|part| part["error"]["code"].clone()).collect();
    assert_eq!(codes, [Value::Null, Value::Null, json!(429)]);
    assert_eq!(fields(&answer), (200, "", "\"subject\";q=2;w=60", "\"subject\";r=0;t=30"));
}

async fn from(harness: &Harness, forwarded: &[&str]) -> Answer {
    let request = harness.post("unknown");
    let request = forwarded.iter().fold(request, |request, value| request.header("x-forwarded-for", *value));
    harness.send(request.body(ping().to_string().into()).unwrap()).await
}

#[tokio::test]
async fn an_address_is_counted_before_authentication() {
    let harness = server(&[("quota.address", "2/minute")]).await;
    assert_eq!(from(&harness, &["1.1.1.1"]).await.status, 401);
    assert_eq!(from(&harness, &["1.1.1.2"]).await.status, 401);
    let refused = from(&harness, &["1.1.1.3"]).await;
    assert_eq!(fields(&refused), (429, "30", "\"address\";q=2;w=60", "\"address\";r=0;t=30"));
    assert_eq!(refused.json()["error"], "rate_exceeded");
    assert_eq!(harness.legacy(ADMIN, &ping()).await.status, 429, "whatever token comes from there");
    for path in ["/health", "/ready", "/ping", "/.well-known/oauth-protected-resource/mcp"] {
        assert_eq!(harness.get(path).await.status, 200, "{path}");
    }
    harness.clock.advance(Duration::from_secs(30));
    assert_eq!(harness.legacy(ADMIN, &ping()).await.status, 200);
}

#[tokio::test]
async fn what_a_trusted_proxy_says_counts_and_nothing_before_it() {
    let harness =
        server(&[("quota.address", "1/minute"), ("quota.trusted_proxies", "127.0.0.0/8, 10.0.0.0/8")]).await;
    assert_eq!(from(&harness, &["1.1.1.1"]).await.status, 401);
    assert_eq!(from(&harness, &["2.2.2.2, 1.1.1.1"]).await.status, 429, "a spoofed one in front");
    assert_eq!(from(&harness, &["2.2.2.2", "1.1.1.1, 10.0.0.1"]).await.status, 429);
    assert_eq!(from(&harness, &["2.2.2.2"]).await.status, 401, "another client");
    assert_eq!(from(&harness, &["2001:db8::1"]).await.status, 401);
    assert_eq!(from(&harness, &["2001:db8::2"]).await.status, 429, "of one network");
    assert_eq!(from(&harness, &["2001:db8:0:1::2"]).await.status, 401);
    // A network of IPv4 in IPv6's spelling.
    let harness =
        server(&[("quota.address", "1/minute"), ("quota.trusted_proxies", "::ffff:127.0.0.0/104")]).await;
    assert_eq!(from(&harness, &["1.1.1.1"]).await.status, 401);
    assert_eq!(from(&harness, &["2.2.2.2"]).await.status, 401);
}

fn settings(harness: &Harness, quotas: &[(&str, &str)]) -> Settings {
    let sources =
        Sources::defaults().set("test", "auth0.issuer", ISSUER).set("test", "auth0.audience", AUDIENCE);
    let sources = sources.set("test", "server.url", URL);
    let sources =
        quotas.iter().fold(sources, |sources, (key, value)| sources.set("test", key, as_is(key, value)));
    Settings::load(sources, &harness.ports.offer.catalog().unwrap()).unwrap()
}

#[tokio::test]
async fn a_reload_changes_rates_and_forgets_nothing() {
    let harness = server(&[("quota.subject", "4/minute")]).await;
    for _ in 0..3 {
        assert_eq!(harness.legacy("ada", &ping()).await.status, 200);
    }
    harness.reload(&settings(&harness, &[("quota.subject", "4/hour")]));
    assert_eq!(harness.legacy("ada", &ping()).await.status, 200, "the fourth");
    assert_eq!(fields(&harness.legacy("ada", &ping()).await).1, "900");
    harness.reload(&settings(&harness, &[]));
    let free = harness.legacy("ada", &ping()).await;
    assert_eq!(fields(&free), (200, "", "", ""), "without quotas nothing is said of them");
    harness.reload(&settings(&harness, &[("quota.subject", "4/hour")]));
    assert_eq!(harness.legacy("ada", &ping()).await.status, 429, "it has not had a pause");
}

#[tokio::test]
async fn a_reload_changes_whose_word_counts_for_an_address() {
    let harness = server(&[("quota.address", "1/hour")]).await;
    assert_eq!(from(&harness, &["1.1.1.1"]).await.status, 401);
    assert_eq!(from(&harness, &["1.1.1.2"]).await.status, 429);
    let trusting = [("quota.address", "1/hour"), ("quota.trusted_proxies", "127.0.0.1")];
    harness.reload(&settings(&harness, &trusting));
    assert_eq!(from(&harness, &["1.1.1.2"]).await.status, 401);
    assert_eq!(from(&harness, &["1.1.1.2"]).await.status, 429);
    harness.reload(&settings(&harness, &[("quota.address", "1/hour")]));
    assert_eq!(from(&harness, &["1.1.1.3"]).await.status, 429, "what the proxy itself used stays used");
}

#[tokio::test]
async fn without_quotas_nothing_is_counted_or_said() {
    let harness = server(&[]).await;
    for _ in 0..50 {
        assert_eq!(fields(&harness.legacy(USER, &ping()).await), (200, "", "", ""));
    }
}

#[test]
fn what_is_no_quota_is_refused() {
    let load = |key: &str, value: &str| {
        let sources =
            Sources::defaults().set("test", "auth0.issuer", ISSUER).set("test", "auth0.audience", AUDIENCE);
        let catalog = fastmcp_auth0::wiring::shipped().catalog().unwrap();
        Settings::load(sources.set("test", key, as_is(key, value)), &catalog)
    };
    for (key, value, expected) in [
        ("quota.subject", "fast", "must be a rate, such as"),
        ("quota.address", "0/second", "must be a rate, such as"),
        ("quota.trusted_proxies", "10.0.0.0/33", "is no network"),
        ("quota.trusted_proxies", "localhost", "is no network"),
        ("quota.forwarded_field", "x-real-ip", "must be one of"),
        ("quota.when_redis_is_away", "deny", "must be one of \"count_here\", \"allow\", \"refuse\""),
        ("quota.tools.nothing.weight", "2", "there is no such tool"),
        ("quota.tools.greet.weight", "0", "a whole number from 1 to 1000"),
        ("quota.tools.greet.subject", "often", "must be a rate, such as"),
    ] {
        let problems = load(key, value).unwrap_err().to_string();
        assert!(problems.contains(expected) && problems.contains("quota."), "{key}: {problems}");
    }
    let settings = load("quota.trusted_proxies", "0.0.0.0/0").unwrap();
    assert!(settings.warnings.iter().any(|warning| warning.contains("all addresses")));
    let settings = load("quota.when_redis_is_away", "refuse").unwrap();
    assert!(settings.warnings.iter().any(|warning| warning.contains("does nothing without redis.url")));
}
