//! JSON-RPC batches, which 2025-03-26 has and later revisions do not.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{CallToolResult, DynTool, SpecError, ToolCall, ToolResult, ToolSpec};
use fakes::{Behaviour, RecordingTool};
use serde_json::{Value, json};

use crate::harness::{ADMIN, Answer, Choices, Harness, MODERN, NOBODY, USER, soon};

fn request(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

fn call(id: impl Into<Value>, name: &str) -> Value {
    request(id, "tools/call", json!({"name": name}))
}

fn ping(id: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "ping"})
}

fn initialized() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

async fn send(harness: &Harness, token: &str, version: Option<&str>, batch: Value) -> Answer {
    let request = harness.post(token);
    let request =
        version.into_iter().fold(request, |request, version| request.header("mcp-protocol-version", version));
    harness.send(request.body(batch.to_string().into()).unwrap()).await
}

/// Sends a batch in 2025-03-26, which is answered with an array.
async fn answers(harness: &Harness, token: &str, batch: Value) -> Vec<Value> {
    let answer = send(harness, token, None, batch).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    answer.json().as_array().unwrap().clone()
}

fn ids(answers: &[Value]) -> Vec<Value> {
    answers.iter().map(|answer| answer["id"].clone()).collect()
}

#[tokio::test]
async fn requests_are_answered_in_one_array_in_order() {
    let harness = Harness::new().await;
    let batch = json!([ping(1), initialized(), call("b", "get_datetime"), request(3, "nope", json!({}))]);
    for version in [None, Some("2025-03-26"), Some("2024-11-05")] {
        let answer = send(&harness, ADMIN, version, batch.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
        let answers = answer.json();
        assert_eq!(answers[0], json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
        assert_eq!(answers[1]["result"]["content"][0]["text"], "2026-11-23T01:04:37.985Z");
        assert_eq!((&answers[2]["id"], &answers[2]["error"]["code"]), (&json!(3), &json!(-32601)));
        assert_eq!(ids(answers.as_array().unwrap()), [json!(1), json!("b"), json!(3)], "{version:?}");
    }
    assert_eq!(ids(&answers(&harness, ADMIN, json!([ping(1)])).await), [1], "one is an array, too");
}

#[tokio::test]
async fn what_asks_for_no_answer_gets_none() {
    let harness = Harness::new().await;
    let response = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    for batch in [json!([initialized()]), json!([initialized(), initialized()]), json!([response, response])]
    {
        let answer = send(&harness, ADMIN, None, batch).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    }
}

#[tokio::test]
async fn other_revisions_have_no_batches() {
    let harness = Harness::new().await;
    for (version, code) in
        [("2025-06-18", -32600), ("2025-11-25", -32600), (MODERN, -32600), ("2027-01-01", -32022)]
    {
        for batch in [json!([ping(1)]), json!([initialized()])] {
            let answer = send(&harness, ADMIN, Some(version), batch).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{version}");
        }
    }
    let mut modern = ping(1);
    modern["params"] = json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }});
    let answers = answers(&harness, ADMIN, json!([modern, ping(2)])).await;
    assert_eq!((&answers[0]["error"]["code"], &answers[1]["result"]), (&json!(-32020), &json!({})));
}

#[tokio::test]
async fn a_batch_has_one_message_at_least_and_16_at_most() {
    let harness = Harness::new().await;
    let pings = |count: usize| Value::Array((0..count).map(ping).collect());
    assert_eq!(answers(&harness, ADMIN, pings(16)).await.len(), 16);
    for (count, text) in [(0, "an empty batch"), (17, "a batch of more than 16 messages")] {
        let answer = send(&harness, ADMIN, None, pings(count)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, -32600));
        assert_eq!(answer.json()["error"]["message"], text);
    }
}

#[tokio::test]
async fn each_part_is_judged_alone() {
    let harness = Harness::new().await;
    let handshake = request("i", "initialize", json!({"protocolVersion": "2025-03-26"}));
    let no_object = json!({"jsonrpc": "2.0", "id": "p", "method": "ping", "params": []});
    let answers = answers(&harness, ADMIN, json!([handshake, no_object, 5, ping(1)])).await;
    let codes: Vec<&Value> = answers.iter().map(|answer| &answer["error"]["code"]).collect();
    assert_eq!(codes, [&json!(-32600), &json!(-32600), &json!(-32600), &Value::Null]);
    assert_eq!(ids(&answers), [json!("i"), json!("p"), Value::Null, json!(1)]);
    assert!(answers[2].get("id").is_none(), "there was none to read");
    let alone = send(&harness, ADMIN, None, json!([handshake])).await.json();
    assert_eq!(alone[0]["error"]["message"], "initialize must not be part of a batch: send it alone");

    let broken = send(&harness, ADMIN, None, json!([1, {}])).await;
    assert_eq!((broken.status.as_u16(), broken.json().as_array().unwrap().len()), (400, 2));
    let twice =
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping","a":1,"a":2},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#;
    let answer = harness.send(harness.post(ADMIN).body(twice.into()).unwrap()).await.json();
    assert_eq!((&answer[0]["error"]["code"], &answer[0]["id"]), (&json!(-32600), &json!(1)));
    assert_eq!((&answer[1]["result"], &answer[1]["id"]), (&json!({}), &json!(2)));
}

#[tokio::test]
async fn values_are_counted_in_the_whole_batch() {
    let harness = Harness::new().await;
    let part = request(1, "ping", json!({"a": vec![0; 50_000]}));
    assert_eq!(answers(&harness, ADMIN, json!([part])).await.len(), 1);
    let answer = send(&harness, ADMIN, None, json!([part, part])).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, -32600));
}

#[tokio::test]
async fn a_part_without_its_scopes_is_refused_in_its_place_and_a_batch_of_such_parts_by_http() {
    let tool = Arc::new(RecordingTool::new("guarded", &["tool:greet"], Behaviour::Answer));
    let harness = Choices::new().tool(Arc::clone(&tool) as _).start().await;
    let answers_ =
        answers(&harness, USER, json!([call(1, "guarded"), call(2, "whoami"), initialized()])).await;
    assert_eq!(
        answers_[0],
        json!({"jsonrpc": "2.0", "id": 1, "error": {
            "code": 403,
            "message": "the token lacks scopes that this needs: tool:greet",
            "data": {"error": "insufficient_scope", "scope": "tool:whoami tool:greet"},
        }})
    );
    assert_eq!(answers_[1]["result"]["isError"], false);
    // What every part lacks is asked for at once.
    let denied = send(&harness, NOBODY, None, json!([call(1, "whoami"), call(2, "guarded")])).await;
    assert!(denied.header("www-authenticate").contains("scope=\"tool:whoami tool:greet\""), "{denied:?}");
    // An answer was taken, so that the batch must not come again.
    let response = json!({"jsonrpc": "2.0", "id": 9, "result": {}});
    let taken = send(&harness, USER, None, json!([response, call(1, "guarded")])).await;
    assert_eq!((taken.status.as_u16(), &taken.json()[0]["error"]["code"]), (200, &json!(403)));
    for batch in [json!([call(1, "guarded")]), json!([call(1, "guarded"), call(2, "greet"), initialized()])] {
        let denied = send(&harness, USER, None, batch).await;
        assert_eq!(denied.status, 403);
        assert!(denied.header("www-authenticate").contains("scope=\"tool:whoami tool:greet\""));
    }
    assert!(tool.calls().is_empty());
    assert_eq!(answers(&harness, ADMIN, json!([call(1, "guarded")])).await[0]["result"]["isError"], false);
}

#[tokio::test]
async fn parts_run_one_after_another_in_one_requests_place() {
    let tool = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let choices = Choices::new().set("limits.requests", 1).tool(Arc::clone(&tool) as _);
    let harness = Arc::new(choices.start().await);
    let batch = json!([call(1, "slow"), call(2, "slow")]);
    let asking = Arc::clone(&harness);
    let answering = tokio::spawn(async move { answers(&asking, ADMIN, batch).await });
    soon(tool.started()).await;
    assert_eq!(send(&harness, ADMIN, None, json!([ping(1)])).await.status, 503, "the place is taken");
    assert_eq!(tool.calls().len(), 1, "the second waits for the first");
    tool.release();
    soon(tool.started()).await;
    tool.release();
    assert_eq!(ids(&soon(answering).await.unwrap()), [1, 2]);
}

#[tokio::test]
async fn headers_that_mirror_a_message_must_agree_with_every_part() {
    let harness = Harness::new().await;
    let batch = json!([call(1, "whoami"), call(2, "greet"), ping(3)]);
    let request = harness.post(ADMIN).header("mcp-method", "tools/call").header("mcp-name", "whoami");
    let answers = harness.send(request.body(batch.to_string().into()).unwrap()).await.json();
    assert_eq!(answers[0]["result"]["isError"], false);
    for index in [1, 2] {
        assert_eq!(answers[index]["error"]["code"], -32020);
    }
}

/// Gives back so many bytes.
struct Large(usize);

#[async_trait]
impl DynTool for Large {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::with_schema("large", "Large", "A tool.", json!({"type": "object"}))
    }

    async fn run(&self, _: ToolCall<'_>) -> ToolResult {
        CallToolResult::of(["x".repeat(self.0)])
    }
}

#[tokio::test]
async fn answers_are_counted_as_memory_of_the_request() {
    let choices = Choices::new()
        .set("limits.memory_bytes", 1 << 20)
        .set("limits.subject_percent", 50)
        .set("limits.body_bytes", 4096);
    let harness = choices.tool(Arc::new(Large(100_000))).start().await;
    let batch = Value::Array((0..16).map(|id| call(id, "large")).collect());
    let answers = answers(&harness, ADMIN, batch).await;
    assert_eq!(ids(&answers), (0..16).map(Value::from).collect::<Vec<_>>());
    let (held, refused): (Vec<&Value>, Vec<&Value>) =
        answers.iter().partition(|answer| answer.get("result").is_some());
    assert_eq!((held.len(), refused.len()), (5, 11), "half of the memory is a subject's share");
    assert!(refused.iter().all(|answer| answer["error"]["code"] == 429));
}
