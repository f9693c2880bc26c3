//! Who gets in, and what the others are told: exact challenges.

use std::time::Duration;

use domain::{ScopeSet, UnixMillis, UnixSeconds, Untrusted, VerifyError};
use http_body_util::Full;
use serde_json::json;

use crate::harness::{ADMIN, Answer, Choices, Harness, NOBODY, NOW, USER, soon};

const METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
const SCOPES: &str = "tool:greet tool:whoami";

async fn ping(harness: &Harness, token: &str) -> Answer {
    harness.legacy(token, &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await
}

#[track_caller]
fn rejected(answer: &Answer, code: &str, text: &str) {
    assert_eq!(answer.status, 401, "{code}");
    assert_eq!(
        answer.header("www-authenticate"),
        format!(
            "Bearer error=\"invalid_token\", error_description=\"{code}: {text}\", scope=\"{SCOPES}\", \
             resource_metadata=\"{METADATA}\""
        )
    );
    assert_eq!(
        answer.json(),
        json!({"error": "invalid_token", "error_description": format!("{code}: {text}")})
    );
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn without_a_token_the_challenge_has_no_error() {
    let harness = Harness::new().await;
    for authorization in [None, Some("Basic dXNlcjpwYXNz"), Some("")] {
        let mut request = harness.request("POST", "/mcp").header("content-type", "application/json");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = harness.send(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status, 401);
        let challenge = format!("Bearer scope=\"{SCOPES}\", resource_metadata=\"{METADATA}\"");
        assert_eq!(answer.header("www-authenticate"), challenge);
    }
    let in_query = harness.request("POST", "/mcp?access_token=admin-token").body(Full::default()).unwrap();
    assert_eq!(harness.send(in_query).await.status, 401, "a token in the query is no token");
}

#[tokio::test]
async fn what_the_verifier_refuses_is_told_by_its_code() {
    let harness = Harness::new().await;
    for (reason, code, text) in [
        (Untrusted::TooLarge, "token_too_large", "the token is longer than 16 KiB"),
        (Untrusted::Malformed, "malformed_token", "the token is not a well-formed JWT"),
        (
            Untrusted::Opaque,
            "opaque_token",
            "the token is opaque or encrypted, not a signed JWT; the client asked for no API of this tenant",
        ),
        (Untrusted::Algorithm, "wrong_algorithm", "the token is not signed with RS256"),
        (
            Untrusted::CriticalHeader,
            "critical_header",
            "the token's header demands an extension (crit) that is not supported",
        ),
        (
            Untrusted::UnknownKey,
            "unknown_key",
            "the token is signed with a key that the issuer does not publish",
        ),
        (Untrusted::Signature, "bad_signature", "the token's signature is not valid"),
        (Untrusted::MissingClaim("exp"), "missing_claim", "the token has no exp claim"),
        (Untrusted::InvalidClaim("aud"), "invalid_claim", "the token's aud claim has the wrong type"),
    ] {
        harness.refuse("t", reason);
        rejected(&ping(&harness, "t").await, code, text);
    }
}

#[tokio::test]
async fn what_the_policy_refuses_is_told_by_its_code() {
    let harness = Harness::new().await;
    let now = NOW.seconds().0;
    let check = async |code: &str, text: &str| rejected(&ping(&harness, "t").await, code, text);

    harness.token("t", |claims| claims.token_type = Some("id+jwt".into()));
    check("wrong_token_type", "the token's type is not an access token's").await;
    harness.token("t", |claims| claims.token_type = None);
    check("wrong_token_type", "the token's type is not an access token's").await;
    harness.token("t", |claims| claims.issuer = "https://tenant.example.auth0.com".into());
    check("wrong_issuer", "the token was issued by another issuer").await;
    harness.token("t", |claims| claims.audience = vec!["client-id".into()]);
    check("wrong_audience", "the token was issued for another audience").await;
    harness.token("t", |claims| claims.expires_at = UnixSeconds(now - 30));
    check("expired", "the token has expired").await;
    harness.token("t", |claims| claims.not_before = Some(UnixSeconds(now + 31)));
    check("not_yet_valid", "the token is not valid yet").await;
    harness.token("t", |claims| claims.issued_at = Some(UnixSeconds(now + 3600)));
    check("not_yet_valid", "the token is not valid yet").await;
    harness.token("t", |claims| claims.subject.clear());
    check("no_subject", "the token names no subject").await;
    harness.token("t", |claims| claims.client_id = None);
    check("no_client", "the token names no client").await;
    harness.token("t", |claims| claims.sender_constrained = true);
    let text =
        "the token is bound to a key of its client (DPoP or mTLS), and this server takes bearer tokens only";
    check("sender_constrained", text).await;
}

#[tokio::test]
async fn tokens_at_the_edge_of_the_policy_are_accepted() {
    let harness = Harness::new().await;
    let now = NOW.seconds().0;
    harness.token("a", |claims| claims.expires_at = UnixSeconds(now - 29));
    harness.token("b", |claims| claims.not_before = Some(UnixSeconds(now + 30)));
    harness
        .token("c", |claims| claims.audience.insert(0, "https://tenant.example.auth0.com/userinfo".into()));
    harness.token("d", |claims| {
        claims.token_type = Some("JWT".into());
        claims.client_id = None;
        claims.authorized_party = Some("spa".into());
    });
    for token in ["a", "b", "c", "d", ADMIN] {
        assert_eq!(ping(&harness, token).await.status, 200, "{token}");
    }
}

#[tokio::test]
async fn a_token_expires_while_the_server_runs() {
    let harness = Harness::new().await;
    assert_eq!(ping(&harness, ADMIN).await.status, 200);
    harness.clock.set(UnixMillis(NOW.0 + (3600 + 29) * 1000));
    assert_eq!(ping(&harness, ADMIN).await.status, 200);
    harness.clock.set(UnixMillis(NOW.0 + (3600 + 30) * 1000));
    rejected(&ping(&harness, ADMIN).await, "expired", "the token has expired");
}

#[tokio::test]
async fn a_token_that_expires_while_it_waits_for_keys_is_refused() {
    let harness = Harness::new().await;
    harness.verifier.hold(ADMIN);
    let meanwhile = async {
        soon(harness.verifier.waiting(1)).await;
        harness.clock.set(UnixMillis(NOW.0 + (3600 + 30) * 1000));
        harness.verifier.release();
    };
    let (answer, ()) = tokio::join!(ping(&harness, ADMIN), meanwhile);
    rejected(&answer, "expired", "the token has expired");
}

#[tokio::test]
async fn without_keys_there_is_no_challenge_but_a_time_to_come_back() {
    let harness = Harness::new().await;
    for (millis, seconds) in [(4000, "4"), (4001, "5"), (1, "1"), (0, "1")] {
        harness.refuse(ADMIN, VerifyError::KeysUnavailable { retry_after: Duration::from_millis(millis) });
        let answer = ping(&harness, ADMIN).await;
        assert_eq!(answer.status, 503);
        assert_eq!((answer.header("retry-after"), answer.header("www-authenticate")), (seconds, ""));
        assert_eq!(answer.json()["error"], "temporarily_unavailable");
    }
}

#[tokio::test]
async fn a_missing_scope_is_403_with_every_scope_that_the_tool_needs() {
    let harness =
        Choices::new().set("tools.greet.scopes", vec!["tool:whoami", "tool:greet", "extra"]).start().await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "greet"}});
    let answer = harness.legacy(USER, &call).await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.header("www-authenticate"),
        format!(
            "Bearer error=\"insufficient_scope\", \
             error_description=\"the token lacks scopes that this needs: tool:greet extra\", \
             scope=\"tool:whoami tool:greet extra\", resource_metadata=\"{METADATA}\""
        )
    );
    assert_eq!(
        answer.json(),
        json!({
            "error": "insufficient_scope",
            "error_description": "the token lacks scopes that this needs: tool:greet extra",
            "scope": "tool:whoami tool:greet extra",
        })
    );
}

#[tokio::test]
async fn scopes_come_from_the_claims_that_the_configuration_names() {
    let permissions = |claims: &mut domain::Claims| {
        claims.scope = ScopeSet::granted_by(["tool:whoami"]);
        claims.permissions = ScopeSet::granted_by(["tool:greet"]);
    };
    let greet = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "greet"}});
    let whoami = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}});
    for (authority, greets, knows) in
        [("scope", 403, 200), ("permissions", 200, 403), ("both", 403, 403), ("either", 200, 200)]
    {
        let harness = Choices::new().set("tokens.authority", authority).start().await;
        harness.token("t", permissions);
        assert_eq!(harness.legacy("t", &greet).await.status, greets, "{authority}");
        assert_eq!(harness.legacy("t", &whoami).await.status, knows, "{authority}");
    }
}

#[tokio::test]
async fn a_second_issuer_and_audience_are_accepted_when_configured() {
    let harness = Choices::new()
        .set("auth0.additional_issuers", vec!["https://login.example.com/"])
        .set("auth0.additional_audiences", vec!["urn:old"])
        .start()
        .await;
    harness.token("t", |claims| {
        claims.issuer = "https://login.example.com/".into();
        claims.audience = vec!["urn:old".into()];
    });
    assert_eq!(ping(&harness, "t").await.status, 200);
}

#[tokio::test]
async fn two_authorization_headers_are_a_bad_request() {
    let harness = Harness::new().await;
    let request = harness.post(ADMIN).header("authorization", "Bearer other").body(Full::default()).unwrap();
    let answer = harness.send(request).await;
    assert_eq!(answer.status, 400);
    assert!(answer.header("www-authenticate").starts_with("Bearer error=\"invalid_request\""));
}

#[tokio::test]
async fn a_challenge_never_repeats_what_the_client_sent() {
    let harness = Harness::new().await;
    for token in ["\"injected", "a,b", "x realm=evil", "%0d%0aset-cookie:x", "\u{e9}"] {
        let request =
            harness.request("POST", "/mcp").header("authorization", format!("Bearer {token}").into_bytes());
        let answer = harness.send(request.body(Full::default()).unwrap()).await;
        rejected(&answer, "malformed_token", "the token is not a well-formed JWT");
    }
}

#[tokio::test]
async fn authentication_comes_before_the_body_and_its_type() {
    let harness = Harness::new().await;
    // The body never comes: only an answer that does not wait for it arrives.
    let head = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
    let answer = harness.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn lists_hold_what_the_token_allows_and_nothing_else_can_be_called() {
    let harness = Harness::new().await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let every = ["greet", "whoami", "get_datetime"];
    for (token, expected) in [(ADMIN, &every[..]), (USER, &every[1..]), (NOBODY, &every[2..])] {
        let answer = harness.legacy(token, &list).await.json();
        let names: Vec<&str> = answer["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected);
        for name in every {
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}});
            let status = if expected.contains(&name) { 200 } else { 403 };
            assert_eq!(harness.legacy(token, &call).await.status, status, "{token} {name}");
        }
    }
}
