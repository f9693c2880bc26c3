//! The legacy era on the wire.

use fakes::{Behaviour, RecordingTool};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Choices, Harness, NOBODY};

fn request(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

async fn call(harness: &Harness, token: &str, name: &str, arguments: Value) -> Value {
    let answer =
        harness.legacy(token, &request("tools/call", json!({"name": name, "arguments": arguments}))).await;
    assert_eq!(answer.status, 200);
    answer.json()["result"].clone()
}

#[tokio::test]
async fn initialize_answers_with_the_asked_version_or_the_newest() {
    let harness = Harness::new().await;
    for (asked, answered) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
        ("2026-07-28", "2025-11-25"),
        ("1.0", "2025-11-25"),
    ] {
        let params = json!({"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let request =
            harness.post(ADMIN).body(Full::from(request("initialize", params).to_string())).unwrap();
        let answer = harness.send(request).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("mcp-session-id"), "", "there are no sessions");
        assert_eq!(
            answer.json(),
            json!({"jsonrpc": "2.0", "id": 7, "result": {
                "protocolVersion": answered,
                "capabilities": {"tools": {"listChanged": false}, "logging": {}},
                "serverInfo": {"name": "fastmcp-auth0", "title": "FastMCP Auth0", "version": env!("CARGO_PKG_VERSION")},
            }})
        );
    }
}

#[tokio::test]
async fn no_session_is_needed_and_one_that_is_sent_is_ignored() {
    let harness = Harness::new().await;
    let body = request("ping", json!({})).to_string();
    let request = harness.post(ADMIN).header("mcp-session-id", "made-up").header("last-event-id", "5");
    let answer = harness.send(request.body(Full::from(body)).unwrap()).await;
    assert_eq!(answer.json(), json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
}

#[tokio::test]
async fn the_list_is_exact_and_in_order() {
    let harness = Harness::new().await;
    let answer = harness.legacy(ADMIN, &request("tools/list", json!({}))).await.json();
    let tools = &answer["result"]["tools"];
    assert_eq!(
        tools[0],
        json!({
            "name": "greet",
            "title": "Greet User",
            "description": "Greets the authenticated user, by name if one is given, and shows that authentication works.",
            "inputSchema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "The name to greet; without it, \"there\".", "examples": ["Ada"]},
                },
            },
            "outputSchema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {
                    "greeting": {"type": "string", "description": "The greeting itself."},
                    "sub": {"type": "string", "description": "Who was greeted: the token's subject."},
                },
                "required": ["greeting", "sub"],
            },
            "annotations": {
                "title": "Greet User",
                "readOnlyHint": true,
                "destructiveHint": false,
                "idempotentHint": true,
                "openWorldHint": false,
            },
        })
    );
    assert_eq!((&tools[1]["name"], &tools[1]["title"]), (&json!("whoami"), &json!("Who Am I?")));
    assert_eq!((&tools[2]["name"], &tools[2]["title"]), (&json!("get_datetime"), &json!("Get DateTime")));
    for tool in tools.as_array().unwrap() {
        assert!(tool["inputSchema"]["properties"].is_object(), "some clients refuse a schema without it");
        let mut annotations = tools[0]["annotations"].clone();
        annotations["title"] = tool["title"].clone();
        assert_eq!(tool["annotations"], annotations);
    }
    let text = tools.to_string();
    assert!(!text.contains("additionalProperties") && !text.contains("null"), "some clients refuse these");
    assert_eq!(answer["result"].as_object().unwrap().len(), 1, "nothing of the other era");
}

#[tokio::test]
async fn greet_says_hello() {
    let harness = Harness::new().await;
    let result = call(&harness, ADMIN, "greet", json!({"name": "Ada"})).await;
    let text = result["content"][0]["text"].as_str().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[1], lines.len()), ("Hello, Ada (auth0|abc123)!", "", 4));
    assert_eq!(result["content"][0]["type"], "text");
    assert_eq!(result["isError"], json!(false));
    let structured = json!({"greeting": "Hello, Ada (auth0|abc123)!", "sub": "auth0|abc123"});
    assert_eq!(result["structuredContent"], structured);
    for nameless in [json!({}), json!({"name": ""}), json!({"name": null})] {
        let result = call(&harness, ADMIN, "greet", nameless).await;
        assert_eq!(result["structuredContent"]["greeting"], "Hello, there (auth0|abc123)!");
    }
}

#[tokio::test]
async fn whoami_tells_the_claims_that_are_there_in_order() {
    let harness = Harness::new().await;
    let result = call(&harness, ADMIN, "whoami", json!({})).await;
    assert_eq!(
        result["content"][0]["text"],
        "{\n  \"user\": {\n    \"sub\": \"auth0|abc123\",\n    \"client_id\": \"client-1\"\n  },\n  \
         \"scopes\": [\n    \"tool:greet\",\n    \"tool:whoami\"\n  ]\n}"
    );
    harness.token("full", |claims| {
        claims.authorized_party = Some("azp-1".into());
        claims.name = Some("Ada".into());
        claims.email = Some("ada@example.com".into());
        claims.organization_id = Some("org_1".into());
        let actor = |subject: &str, client: Option<&str>| domain::Actor {
            subject: subject.into(),
            client_id: client.map(Into::into),
            issuer: None,
        };
        claims.extra = Some(Box::new(domain::ExtraClaims {
            organization_name: Some("acme".into()),
            actors: vec![actor("agent", Some("client-2")), actor("prior", None)],
            ..domain::ExtraClaims::default()
        }));
    });
    let result = call(&harness, "full", "whoami", json!({})).await;
    let user = json!({
        "sub": "auth0|abc123", "client_id": "client-1", "azp": "azp-1", "name": "Ada", "email": "ada@example.com",
        "org_id": "org_1", "org_name": "acme", "act": {"sub": "agent", "client_id": "client-2"}
    });
    let structured = json!({"user": user, "scopes": ["tool:greet", "tool:whoami"]});
    assert_eq!(result["structuredContent"], structured);
    let text = result["content"][0]["text"].as_str().unwrap();
    let places: Vec<usize> = ["\"sub\"", "\"email\"", "\"org_id\"", "\"org_name\"", "\"act\"", "\"scopes\""]
        .iter()
        .map(|name| text.find(name).unwrap())
        .collect();
    assert!(places.is_sorted(), "{text}");
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), structured);
}

#[tokio::test]
async fn get_datetime_reads_the_clock_and_needs_no_scope() {
    let harness = Harness::new().await;
    let result = call(&harness, NOBODY, "get_datetime", json!({})).await;
    assert_eq!(result["content"][0]["text"], "2026-11-23T01:04:37.985Z");
    assert_eq!(result["structuredContent"], json!({"datetime": "2026-11-23T01:04:37.985Z"}));
}

#[tokio::test]
async fn absent_and_null_arguments_mean_none() {
    let harness = Harness::new().await;
    for params in [json!({"name": "greet"}), json!({"name": "greet", "arguments": null})] {
        let answer = harness.legacy(ADMIN, &request("tools/call", params)).await;
        assert_eq!(answer.json()["result"]["isError"], json!(false));
    }
}

#[tokio::test]
async fn arguments_that_a_tool_does_not_know_are_ignored_unless_it_is_strict() {
    let strict = std::sync::Arc::new(RecordingTool::new("strict", &[], Behaviour::Answer));
    let harness = Choices::new().tool(std::sync::Arc::clone(&strict) as _).start().await;
    let more = json!({"name": "Ada", "sessionId": "x", "toolCallId": null});
    for tool in ["greet", "whoami", "get_datetime"] {
        assert_eq!(call(&harness, ADMIN, tool, more.clone()).await["isError"], json!(false), "{tool}");
    }
    let result =
        call(&harness, ADMIN, "strict", json!({"note": "a", "sessionId": "x", "chatInput": "y"})).await;
    let text = "invalid arguments: arguments: Additional properties are not allowed ('chatInput', 'sessionId' were unexpected)";
    assert_eq!(result, json!({"content": [{"type": "text", "text": text}], "isError": true}));
    assert!(strict.calls().is_empty());
    assert_eq!(call(&harness, ADMIN, "strict", json!({"note": null})).await["isError"], json!(false));
    assert_eq!(strict.calls(), [("auth0|abc123".to_owned(), None)], "null is absence");
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_an_error_that_the_model_can_read() {
    let harness = Harness::new().await;
    for (tool, arguments, text) in [
        ("greet", json!({"name": 5}), "invalid arguments: /name: the value is not of type \"string\""),
        (
            "greet",
            json!({"name": ["Ada"], "more": 1}),
            "invalid arguments: /name: the value is not of type \"string\"",
        ),
    ] {
        let result = call(&harness, ADMIN, tool, arguments).await;
        assert_eq!(result, json!({"content": [{"type": "text", "text": text}], "isError": true}));
    }
}

#[tokio::test]
async fn what_is_not_served_is_a_protocol_error_in_a_200() {
    let harness = Harness::new().await;
    for (method, params, code) in [
        ("tools/call", json!({"name": "nope"}), -32602),
        ("tools/call", json!({"name": "a b"}), -32602),
        ("tools/call", json!({"name": 5}), -32602),
        ("tools/call", json!({}), -32602),
        ("tools/call", json!({"name": "greet", "arguments": []}), -32602),
        ("tools/list", json!({"cursor": "x"}), -32602),
        ("initialize", json!({}), -32602),
        ("resources/list", json!({}), -32601),
        ("server/discover", json!({}), -32601),
        ("nope", json!({}), -32601),
    ] {
        let answer = harness.legacy(ADMIN, &request(method, params.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (200, code), "{method} {params}");
        assert_eq!(answer.json()["id"], 7);
    }
}

#[tokio::test]
async fn notifications_and_responses_are_accepted_without_a_body() {
    let harness = Harness::new().await;
    for message in [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "no"}}),
    ] {
        let answer = harness.legacy(ADMIN, &message).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0), "{message}");
    }
}

#[tokio::test]
async fn broken_messages_are_400_with_a_code() {
    let harness = Harness::new().await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("\"\\ud800\"", -32700),
        ("[", -32700),
        ("[]", -32600),
        ("5", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":1,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", -32600),
        (&deep[1..], -32700),
    ] {
        let request = harness.post(ADMIN).body(Full::from(body.to_owned())).unwrap();
        let answer = harness.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{}", &body[..body.len().min(80)]);
        assert_eq!(answer.json().get("id"), None);
    }
}

#[tokio::test]
async fn a_refused_request_is_answered_under_its_id() {
    let harness = Harness::new().await;
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let many = format!("[{}1]", "1,".repeat(100_000));
    for rest in [
        r#""jsonrpc":"1.0","method":"ping""#.to_owned(),
        r#""jsonrpc":"2.0","method":5"#.to_owned(),
        r#""jsonrpc":"2.0","method":"ping","method":"ping""#.to_owned(),
        r#""jsonrpc":"2.0","method":"ping","params":"x""#.to_owned(),
        r#""jsonrpc":"2.0","method":"ping","params":{"a":1,"a":2}"#.to_owned(),
        r#""jsonrpc":"2.0","method":"ping","params":{"$serde_json::x":1}"#.to_owned(),
        format!(r#""jsonrpc":"2.0","method":"ping","params":{deep}"#),
        format!(r#""jsonrpc":"2.0","method":"ping","params":{many}"#),
    ] {
        for body in [format!(r#"{{"id":1e3,{rest}}}"#), format!(r#"{{{rest},"id":1e3}}"#)] {
            let answer = harness.send(harness.post(ADMIN).body(Full::from(body)).unwrap()).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (400, -32600), "{}", &rest[..40]);
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(text.starts_with(r#"{"jsonrpc":"2.0","id":1e3,"error""#), "{text}");
        }
    }
    for id in [r#""\ud800""#, "1e999", "01", "null", "{}"] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"ping","a":1,"a":1,"id":{id}}}"#);
        let answer = harness.send(harness.post(ADMIN).body(Full::from(body)).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, -32600), "{id}");
        assert_eq!(answer.json().get("id"), None, "{id}");
    }
}

#[tokio::test]
async fn params_that_are_null_are_none() {
    let harness = Harness::new().await;
    let answer = harness.legacy(ADMIN, &request("tools/list", Value::Null)).await;
    assert_eq!(answer.json()["result"]["tools"].as_array().map(Vec::len), Some(3));
    let call = harness.legacy(ADMIN, &request("tools/call", Value::Null)).await;
    assert_eq!((call.status.as_u16(), call.code(), &call.json()["id"]), (200, -32602, &json!(7)));
    let told = json!({"jsonrpc": "2.0", "method": "notifications/initialized", "params": null});
    assert_eq!(harness.legacy(ADMIN, &told).await.status, 202);
}

/// Gateways may route and limit by these headers, whatever the era.
#[tokio::test]
async fn headers_of_the_other_era_must_agree_with_the_body() {
    let harness = Harness::new().await;
    let call = request("tools/call", json!({"name": "whoami"})).to_string();
    for (method, name, status) in
        [("tools/call", "whoami", 200), ("tools/list", "whoami", 400), ("tools/call", "get_datetime", 400)]
    {
        let request = harness.post(ADMIN).header("mcp-method", method).header("mcp-name", name);
        let answer = harness.send(request.body(Full::from(call.clone())).unwrap()).await;
        assert_eq!(answer.status, status, "{method} {name}");
        if status == 400 {
            assert_eq!(answer.code(), -32020);
        }
    }
}

#[tokio::test]
async fn an_unserved_version_header_is_400_and_a_missing_one_is_2025_03_26() {
    let harness = Harness::new().await;
    let body = request("ping", json!({})).to_string();
    for (versions, status) in [
        (&[][..], 200),
        (&["2025-03-26"], 200),
        (&["2025-06-18"], 200),
        (&["2024-11-05"], 200),
        (&["2026-07-29"], 400),
        (&["2027-01-01"], 400),
        (&["nonsense"], 400),
        (&["2025-06-18", "2025-06-18"], 400),
    ] {
        let mut request = harness.post(ADMIN);
        for version in versions {
            request = request.header("mcp-protocol-version", *version);
        }
        let answer = harness.send(request.body(Full::from(body.clone())).unwrap()).await;
        assert_eq!(answer.status, status, "{versions:?}");
        if status == 400 {
            assert_eq!(answer.json()["id"], 7, "{versions:?}");
        }
    }
}

#[tokio::test]
async fn initialize_is_of_this_era_whatever_version_its_header_names() {
    let harness = Harness::new().await;
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let body = request("initialize", params).to_string();
    for versions in [
        &[][..],
        &["2025-11-25"],
        &["2026-07-28"],
        &["2027-01-01"],
        &["nonsense"],
        &["2025-06-18", "2025-06-18"],
    ] {
        let post = versions
            .iter()
            .fold(harness.post(ADMIN), |request, version| request.header("mcp-protocol-version", *version));
        let answer = harness.send(post.body(Full::from(body.clone())).unwrap()).await;
        assert_eq!(answer.status, 200, "{versions:?}");
        assert_eq!(answer.json()["result"]["protocolVersion"], "2025-06-18", "{versions:?}");
    }
}

#[tokio::test]
async fn every_other_message_of_an_unknown_version_is_told_the_served_ones() {
    let harness = Harness::new().await;
    let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]);
    for version in ["2027-01-01", "2024-10-07", "DRAFT-2026-v1", "x"] {
        for params in [
            json!({}),
            Value::Null,
            json!({"_meta": {"progressToken": 1}}),
            json!({"_meta": {"io.modelcontextprotocol/clientCapabilities": {}}}),
            json!({"_meta": {"io.modelcontextprotocol/protocolVersion": version,
                "io.modelcontextprotocol/clientCapabilities": {}}}),
        ] {
            for method in ["ping", "tools/list", "server/discover", "nope"] {
                let post =
                    harness.post(ADMIN).header("mcp-protocol-version", version).header("mcp-method", method);
                let body = request(method, params.clone()).to_string();
                let answer = harness.send(post.body(Full::from(body)).unwrap()).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.code()),
                    (400, -32022),
                    "{version} {method} {params}"
                );
                assert_eq!(answer.json()["id"], 7);
                let data = json!({"supported": supported, "requested": version});
                assert_eq!(answer.json()["error"]["data"], data);
            }
        }
        for message in [
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
        ] {
            let post = harness.post(ADMIN).header("mcp-protocol-version", version);
            let answer = harness.send(post.body(Full::from(message.to_string())).unwrap()).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (400, -32022), "{version} {message}");
            assert_eq!(answer.json().get("id"), None);
        }
    }
}
