//! Methods of a server's own, beside MCP's: served in both eras, and judged by their scopes.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    Context, ElicitResult, Holder, InputRequest, InputRequired, Memory, Method, MethodCall, MethodError,
    MethodResult, MethodSpec, MethodSpecError, Outcome, Pool, Progress, ToolError,
};
use fastmcp_auth0::wiring;
use http_body_util::Full;
use mcp_protocol::{Field, McpServer, PostRequest, RequestFields};
use serde_json::{Map, Value, json};

use crate::harness::{ADMIN, Choices, Harness, NOW, USER, good_claims};

const NAME: &str = "com.example/report";

/// A method of this name that does what `params.action` says.
struct Report(&'static str);

#[async_trait]
impl Method for Report {
    fn spec(&self) -> Result<MethodSpec, MethodSpecError> {
        MethodSpec::new(self.0)?.requires(["tool:greet"])
    }

    async fn call(&self, call: MethodCall<'_>) -> MethodResult {
        let MethodCall { context, params, .. } = call;
        match params.get("action").and_then(Value::as_str) {
            Some("fail") => Err(ToolError::new("the printer is on fire").into()),
            Some("panic") => panic!("the printer is on fire"),
            Some("refuse") => Err(MethodError::InvalidParams("no such action".into())),
            Some("progress") => {
                context.feedback.progress(Progress::new(1.0));
                Ok(Outcome::Complete(Map::new()))
            }
            Some("ask") => ask(&context, params),
            _ => {
                let subject = context.principal.subject();
                let odd = json!({"_meta": "m", "resultType": "odd", "subject": subject, "params": params});
                Ok(Outcome::Complete(object(odd)))
            }
        }
    }
}

fn ask(context: &Context<'_>, params: &Map<String, Value>) -> MethodResult {
    if let Some(ElicitResult::Accept(form)) = context.input_responses.elicit_result("title") {
        let result = json!({"form": form, "state": context.request_state, "params": params});
        return Ok(Outcome::Complete(object(result)));
    }
    let request = InputRequest::Elicit { message: "Title?".into(), schema: json!({}) };
    InputRequired::new("title", request).with_state(json!(7)).into()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

async fn harness() -> Harness {
    Choices::new().method(Arc::new(Report(NAME))).start().await
}

fn message(params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": NAME, "params": params})
}

#[tokio::test]
async fn a_method_is_served_in_both_eras_and_gets_its_params() {
    let harness = harness().await;
    let params = json!({"month": "2026-11", "list": [1, {"a": null}]});
    let legacy = harness.legacy(ADMIN, &message(params.clone())).await.json();
    assert_eq!(legacy["result"]["params"], params);
    assert_eq!(legacy["result"]["subject"], "auth0|abc123");
    assert_eq!(legacy["result"]["_meta"], "m", "what the method says is its own business");

    let modern = harness.modern(ADMIN, NAME, params.clone()).await;
    assert_eq!(modern.status, 200);
    let text = String::from_utf8(modern.body.to_vec()).unwrap();
    assert_eq!((text.matches("_meta").count(), text.matches("resultType").count()), (1, 1), "{text}");
    let modern = modern.json();
    assert_eq!(modern["result"]["params"], params, "without what is the protocol's");
    assert_eq!(modern["result"]["resultType"], "complete");
    assert!(modern["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"].is_string());

    for none in [json!({"jsonrpc": "2.0", "id": 1, "method": NAME}), message(Value::Null)] {
        assert_eq!(harness.legacy(ADMIN, &none).await.json()["result"]["params"], json!({}));
    }
}

#[tokio::test]
async fn the_headers_of_a_modern_request_mirror_it_as_those_of_any_other() {
    let harness = harness().await;
    let params = json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }});
    let request = harness.post(ADMIN).header("mcp-protocol-version", "2026-07-28");
    let request = request.header("mcp-method", "tools/list");
    let answer = harness.send(request.body(Full::from(message(params).to_string())).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, -32020));
}

#[tokio::test]
async fn missing_scopes_are_refused_with_a_challenge_in_both_eras_and_before_the_params_are_read() {
    let harness = harness().await;
    for (answer, scopes) in [
        (harness.modern(USER, NAME, json!({"action": "panic"})).await, "tool:greet"),
        (harness.legacy(USER, &message(json!({"action": "panic"}))).await, "tool:whoami tool:greet"),
    ] {
        assert_eq!(answer.status, 403);
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert!(challenge.contains(&format!("scope=\"{scopes}\"")), "{challenge}");
        assert_eq!(answer.json()["error"], "insufficient_scope");
    }
}

#[tokio::test]
async fn what_a_method_asks_for_is_asked_for_at_a_first_login() {
    struct Own;
    #[async_trait]
    impl Method for Own {
        fn spec(&self) -> Result<MethodSpec, MethodSpecError> {
            MethodSpec::new("acme/own")?.requires(["own:call"])
        }
        async fn call(&self, _: MethodCall<'_>) -> MethodResult {
            Ok(Outcome::Complete(Map::new()))
        }
    }
    let harness = Choices::new().method(Arc::new(Own)).start().await;
    let metadata = harness.get("/.well-known/oauth-protected-resource").await.json();
    assert!(metadata["scopes_supported"].as_array().unwrap().contains(&json!("own:call")), "{metadata}");
}

#[tokio::test]
async fn what_fails_is_an_error_under_the_requests_id_and_fails_nothing_else() {
    let harness = harness().await;
    for (action, code, text) in [
        ("fail", -32603, "the printer is on fire"),
        ("panic", -32603, "the tool failed unexpectedly"),
        ("refuse", -32602, "invalid arguments: no such action"),
    ] {
        for answer in [
            harness.legacy(ADMIN, &message(json!({"action": action}))).await,
            harness.modern(ADMIN, NAME, json!({"action": action})).await,
        ] {
            let answer = answer.json();
            assert_eq!((&answer["error"]["code"], &answer["error"]["message"]), (&json!(code), &json!(text)));
            assert_eq!(answer["id"], 1);
        }
    }
}

#[tokio::test]
async fn a_method_asks_for_input_as_a_tool_does() {
    let harness = harness().await;
    let asked = harness.modern(ADMIN, NAME, json!({"action": "ask"})).await.json();
    assert_eq!(asked["result"]["resultType"], "input_required");
    assert_eq!(asked["result"]["inputRequests"]["title"]["method"], "elicitation/create");
    let state = asked["result"]["requestState"].as_str().unwrap();
    let again = json!({
        "action": "ask",
        "requestState": state,
        "inputResponses": {"title": {"action": "accept", "content": {"title": "t"}}},
    });
    let given = harness.modern(ADMIN, NAME, again.clone()).await.json();
    assert_eq!(given["result"]["form"], json!({"title": "t"}));
    assert_eq!(given["result"]["state"], 7);
    assert_eq!(given["result"]["params"], json!({"action": "ask"}));
    let mut other = again;
    other["more"] = json!(1);
    let asked = harness.modern(ADMIN, NAME, other).await.json();
    assert_eq!(asked["result"]["resultType"], "input_required", "the state is for these params");
}

#[tokio::test]
async fn progress_makes_a_stream() {
    let harness = harness().await;
    let params = json!({"action": "progress", "_meta": {"progressToken": "p"}});
    let answer = harness.modern(ADMIN, NAME, params).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains("notifications/progress") && text.contains("\"id\":1"), "{text}");
}

#[tokio::test]
async fn a_method_is_a_part_of_a_batch() {
    let harness = harness().await;
    let batch = json!([message(json!({"a": 1})), message(json!({"action": "ask"}))]);
    let request = harness.post(ADMIN).header("mcp-protocol-version", "2025-03-26");
    let answer = harness.send(request.body(Full::from(batch.to_string())).unwrap()).await.json();
    assert_eq!(answer[0]["result"]["params"], json!({"a": 1}));
    assert_eq!(answer[1]["error"]["code"], -32603, "nobody can be asked in a batch");
}

#[tokio::test]
async fn a_name_that_nobody_has_is_not_found() {
    let harness = harness().await;
    let unknown = json!({"jsonrpc": "2.0", "id": 1, "method": "com.example/other"});
    assert_eq!(harness.legacy(ADMIN, &unknown).await.code(), -32601);
    let answer = harness.modern(ADMIN, "com.example/other", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, -32601));
}

struct NoFields;

impl RequestFields for NoFields {
    fn field(&self, _: &str) -> Field<'_> {
        Field::Absent
    }
}

#[tokio::test]
async fn logs_name_methods_of_the_catalog_and_nothing_that_a_client_made_up() {
    let (ports, settings) = Choices::new().method(Arc::new(Report(NAME))).ports_and_settings().unwrap();
    let claims = Arc::new(good_claims("tool:greet"));
    let principal = settings.token_policy().admit(&claims, &settings.auth0.audience, NOW.seconds()).unwrap();
    let pool = Arc::new(Pool::new(1 << 20, settings.limits.http.shares));
    let server = McpServer::new(ports.announcer.clone(), Arc::clone(&pool));
    let keys = wiring::sealing_keys(&settings);
    let snapshot = Arc::new(wiring::snapshot(&settings, ports, keys).unwrap());
    for (method, logged) in
        [(NAME, Some(NAME)), ("com.example/other", None), ("tools/list", Some("tools/list"))]
    {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string();
        let memory = Memory::of_request(&pool, Holder::of(&principal));
        let (fields, body) = (&NoFields, body.as_bytes());
        let post = PostRequest {
            principal: &principal,
            fields,
            body,
            may_stream: true,
            request_id: "",
            memory,
            trace: None,
        };
        let reply = server.answer(&snapshot, post).await;
        assert_eq!(reply.log.method.as_deref(), logged, "{method}");
    }
}

#[test]
fn malformed_and_double_names_and_those_of_mcp_stop_the_start() {
    let start = |names: &[&'static str]| {
        let choices =
            names.iter().fold(Choices::new(), |choices, name| choices.method(Arc::new(Report(name))));
        let (ports, settings) = choices.ports_and_settings()?;
        let keys = wiring::sealing_keys(&settings);
        wiring::snapshot(&settings, ports, keys).map(drop).map_err(|error| format!("{error:#}"))
    };
    assert_eq!(start(&["acme/tools", "acme.tools/call", "x/initialize"]), Ok(()));
    for reserved in [
        "tools/call",
        "Tools/other",
        "resources/x",
        "prompts/x",
        "completion/x",
        "logging/x",
        "server/x",
        "subscriptions/x",
        "initialize/x",
        "notifications/x",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
        "tasks/get",
        "rpc.discover/x",
        "io.modelcontextprotocol/x",
        "com.mcp/x",
    ] {
        let error = start(&[reserved]).unwrap_err();
        assert!(error.contains(reserved) && error.contains("namespace"), "{error}");
    }
    for malformed in ["report", "a b/c", ""] {
        assert!(start(&[malformed]).unwrap_err().contains("not a method's name"), "{malformed}");
    }
    assert!(start(&[NAME, NAME]).unwrap_err().contains("two methods are named"));
}
