//! The modern era on the wire.

use http_body_util::Full;
use hyper::http::request::Builder;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Answer, Choices, Harness, NOBODY, USER};

const VERSION: &str = "2026-07-28";

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

fn message(method: &str, mut params: Value) -> Value {
    params["_meta"] = meta();
    json!({"jsonrpc": "2.0", "id": "a-1", "method": method, "params": params})
}

fn headers(request: Builder, method: &str) -> Builder {
    request.header("mcp-protocol-version", VERSION).header("mcp-method", method)
}

async fn send(harness: &Harness, request: Builder, message: &Value) -> Answer {
    harness.send(request.body(Full::from(message.to_string())).unwrap()).await
}

/// Sends a request as a client of this era does.
async fn ask(harness: &Harness, token: &str, method: &str, params: Value) -> Answer {
    let mut request = headers(harness.post(token), method);
    if let Some(name) = params["name"].as_str() {
        request = request.header("mcp-name", name);
    }
    send(harness, request, &message(method, params)).await
}

fn server_info() -> Value {
    let info =
        json!({"name": "fastmcp-auth0", "title": "FastMCP Auth0", "version": env!("CARGO_PKG_VERSION")});
    json!({"io.modelcontextprotocol/serverInfo": info})
}

#[tokio::test]
async fn discover_tells_what_the_server_is() {
    let harness = Choices::new().set("mcp.instructions", "Be kind.").start().await;
    let answer = ask(&harness, ADMIN, "server/discover", json!({})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"jsonrpc": "2.0", "id": "a-1", "result": {
            "resultType": "complete",
            "supportedVersions": [VERSION, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"],
            "capabilities": {"tools": {"listChanged": true}, "logging": {}},
            "instructions": "Be kind.",
            "ttlMs": 60000,
            "cacheScope": "private",
            "_meta": server_info(),
        }})
    );
}

#[tokio::test]
async fn lists_are_private_and_say_how_long_they_keep() {
    let harness = Choices::new().set("mcp.list_ttl_ms", 5).start().await;
    for (token, count) in [(ADMIN, 3), (USER, 2), (NOBODY, 1)] {
        let result = &ask(&harness, token, "tools/list", json!({})).await.json()["result"];
        assert_eq!(result["tools"].as_array().unwrap().len(), count);
        assert_eq!(result["resultType"], "complete");
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(5), &json!("private")));
        assert_eq!(result["_meta"], server_info());
    }
}

#[tokio::test]
async fn calls_are_complete_and_identified() {
    let harness = Harness::new().await;
    let answer = ask(&harness, ADMIN, "tools/call", json!({"name": "get_datetime", "arguments": {}})).await;
    assert_eq!(
        answer.json()["result"],
        json!({
            "resultType": "complete",
            "content": [{"type": "text", "text": "2026-11-23T01:04:37.985Z"}],
            "structuredContent": {"datetime": "2026-11-23T01:04:37.985Z"},
            "isError": false,
            "_meta": server_info(),
        })
    );
    let failed = ask(&harness, ADMIN, "tools/call", json!({"name": "greet", "arguments": {"name": 1}})).await;
    assert_eq!((failed.status.as_u16(), &failed.json()["result"]["isError"]), (200, &json!(true)));
    assert_eq!(ask(&harness, USER, "tools/call", json!({"name": "greet"})).await.status, 403);
    let unknown = ask(&harness, ADMIN, "tools/call", json!({"name": "nope"})).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (200, -32602));
}

#[tokio::test]
async fn methods_that_are_not_served_are_404_the_legacy_ones_too() {
    let harness = Harness::new().await;
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/list", "nope"]
    {
        let answer = ask(&harness, ADMIN, method, json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, -32601), "{method}");
        assert_eq!(answer.json()["id"], "a-1");
    }
}

#[tokio::test]
async fn meta_must_be_there_with_version_and_capabilities() {
    let harness = Harness::new().await;
    let version = "io.modelcontextprotocol/protocolVersion";
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    for params in [
        json!({}),
        json!({"_meta": {}}),
        json!({"_meta": []}),
        json!({"_meta": null}),
        json!({"_meta": {version: VERSION}}),
        json!({"_meta": {capabilities: {}}}),
        json!({"_meta": {version: 5, capabilities: {}}}),
        json!({"_meta": {version: VERSION, capabilities: []}}),
        json!({"_meta": {version: VERSION, capabilities: null}}),
    ] {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params});
        let answer = send(&harness, headers(harness.post(ADMIN), "tools/list"), &message).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, -32602), "{params}");
    }
    let no_params = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let null_params = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": null});
    for message in [no_params, null_params] {
        let answer = send(&harness, headers(harness.post(ADMIN), "tools/list"), &message).await;
        assert_eq!((answer.status.as_u16(), answer.code(), &answer.json()["id"]), (400, -32602, &json!(1)));
    }
    let told = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": null});
    assert_eq!(
        send(&harness, headers(harness.post(ADMIN), "notifications/cancelled"), &told).await.status,
        202
    );
}

#[tokio::test]
async fn headers_must_mirror_the_body() {
    let harness = Harness::new().await;
    let call = message("tools/call", json!({"name": "greet"}));
    let version = |request: Builder| request.header("mcp-protocol-version", VERSION);
    let post = || harness.post(ADMIN);
    let cases = [
        (headers(post(), "tools/call").header("mcp-name", "greet"), 200),
        (headers(post(), "tools/call").header("mcp-name", "=?base64?Z3JlZXQ=?="), 200),
        (headers(post(), "tools/call"), 400),
        (headers(post(), "tools/call").header("mcp-name", "whoami"), 400),
        (headers(post(), "tools/call").header("mcp-name", "Greet"), 400),
        (headers(post(), "tools/call").header("mcp-name", "=?base64?Z3JlZXQ?="), 400),
        (headers(post(), "tools/call").header("mcp-name", "greet").header("mcp-name", "greet"), 400),
        (headers(post(), "tools/call").header("mcp-name", &b"gr\xc3\xa9et"[..]), 400),
        (headers(post(), "tools/list").header("mcp-name", "greet"), 400),
        (headers(post(), "Tools/Call").header("mcp-name", "greet"), 400),
        (version(post()).header("mcp-name", "greet"), 400),
        (post().header("mcp-method", "tools/call").header("mcp-name", "greet"), 400),
        (
            post()
                .header("mcp-protocol-version", "2025-11-25")
                .header("mcp-method", "tools/call")
                .header("mcp-name", "greet"),
            400,
        ),
    ];
    for (index, (request, status)) in cases.into_iter().enumerate() {
        let answer = send(&harness, request, &call).await;
        assert_eq!(answer.status, status, "case {index}");
        if status == 400 {
            assert_eq!(answer.code(), -32020, "case {index}");
            assert_eq!(answer.json()["id"], "a-1");
        }
    }
}

#[tokio::test]
async fn a_mismatch_is_judged_before_the_version_and_the_version_before_the_method() {
    let harness = Harness::new().await;
    let mut call = message("nope", json!({}));
    call["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2027-01-01");
    let mismatch = send(&harness, headers(harness.post(ADMIN), "nope"), &call).await;
    assert_eq!((mismatch.status.as_u16(), mismatch.code()), (400, -32020));
    for version in ["2027-01-01", "v999.0.0"] {
        call["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version);
        let request =
            harness.post(ADMIN).header("mcp-protocol-version", version).header("mcp-method", "nope");
        let answer = send(&harness, request, &call).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, -32022));
        let supported = json!([VERSION, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]);
        assert_eq!(answer.json()["error"]["data"], json!({"supported": supported, "requested": version}));
    }
}

#[tokio::test]
async fn notifications_are_accepted_and_responses_are_not() {
    let harness = Harness::new().await;
    let notification =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"_meta": meta()}});
    let answer = send(&harness, headers(harness.post(ADMIN), "notifications/cancelled"), &notification).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    let response = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    let answer = send(&harness, headers(harness.post(ADMIN), "x"), &response).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, -32600));
}
