//! Calls that need input, round by round: they end, whatever the client answers, and what they keep meanwhile is bounded.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    CallToolResult, Context, DynTool, ElicitResult, InputRequest, InputRequired, MAX_INPUT_ROUNDS, SpecError,
    Tool, ToolCall, ToolError, ToolResult, ToolSpec,
};
use serde_json::{Value, json};

use crate::harness::{ADMIN, Choices, Harness};
use crate::streams::Stream;

/// Asks for two things by `?`.
struct Helped;

impl Tool for Helped {
    const NAME: &'static str = "helped";
    const DESCRIPTION: &'static str = "Asks twice.";
    type Input = ();
    type Output = String;

    async fn call(&self, (): (), context: Context<'_>) -> Result<String, ToolError> {
        let form = json!({"type": "object", "properties": {}});
        let first = context.elicit("first", "First?", form.clone())?;
        let second = context.elicit("second", "Second?", form)?;
        let is_yes = |result| matches!(result, ElicitResult::Accept(_));
        Ok(format!("{} {}", is_yes(first), is_yes(second)))
    }
}

/// Asks by hand until the response is a form, and keeps a state of this many bytes.
struct ByHand(usize);

#[async_trait]
impl DynTool for ByHand {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::with_schema("by_hand", "By hand", "Asks.", json!({"type": "object"}))
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        if call.context.input_responses.elicit_result("first").is_some() {
            return CallToolResult::of(["done"]);
        }
        let request = InputRequest::Elicit { message: "First?".into(), schema: json!({"type": "object"}) };
        InputRequired::new("first", request).with_state("x".repeat(self.0).into()).into()
    }
}

/// Asks for this many things at once.
struct Many(usize);

#[async_trait]
impl DynTool for Many {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::with_schema("many", "Many", "Asks for much.", json!({"type": "object"}))
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let names = (0..self.0).map(|n| n.to_string());
        let is_answered = |name: &String| call.context.input_responses.elicit_result(name).is_some();
        let (answered, missing): (Vec<_>, Vec<_>) = names.partition(is_answered);
        if missing.is_empty() {
            return CallToolResult::of([format!("{} answers", answered.len())]);
        }
        let request = InputRequest::Elicit { message: "?".into(), schema: json!({"type": "object"}) };
        let all = missing.iter().fold(InputRequired::default(), |all, name| all.and(name, request.clone()));
        all.into()
    }
}

async fn start() -> Harness {
    Choices::new().tool(Arc::new(Helped)).tool(Arc::new(ByHand(1))).start().await
}

/// Asks in code that has another error type.
struct Wrapping;

impl Tool for Wrapping {
    const NAME: &'static str = "wrapping";
    const DESCRIPTION: &'static str = "Asks.";
    type Input = ();
    type Output = &'static str;

    async fn call(&self, (): (), context: Context<'_>) -> Result<&'static str, ToolError> {
        let ask = |name: &str| -> anyhow::Result<()> {
            context.elicit(name, "?", json!({"type": "object"}))?;
            Ok(())
        };
        ask("first").map_err(|error| ToolError::caused_by("failed", error))?;
        ask("second").map_err(|error| ToolError::caused_by("failed", error.context("asking")))?;
        Ok("done")
    }
}

/// A call of a client of 2025-11-25, and the number of messages read.
struct Legacy<'h> {
    harness: &'h Harness,
    stream: Stream,
    read: usize,
}

impl<'h> Legacy<'h> {
    async fn call(harness: &'h Harness, tool: &str) -> Self {
        let body = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": tool}});
        let stream = Stream::open(harness, ADMIN, "tools/call", None, &body.to_string()).await;
        Self { harness, stream, read: 0 }
    }

    async fn message(&mut self) -> Value {
        self.read += 1;
        self.stream.message(self.read - 1).await
    }

    /// Responds to the request in a message, with a result or an error.
    async fn respond(&self, request: &Value, member: &str, value: Value) {
        let response = json!({"jsonrpc": "2.0", "id": request["id"], member: value});
        assert_eq!(self.harness.legacy(ADMIN, &response).await.status, 202);
    }

    /// Responds alike to every request, and returns their number and the end.
    async fn always(mut self, member: &str, value: &Value) -> (usize, Value) {
        loop {
            let message = self.message().await;
            if message["method"].is_null() {
                return (self.read - 1, message);
            }
            self.respond(&message, member, value.clone()).await;
        }
    }
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

fn accept(content: Value) -> Value {
    json!({"action": "accept", "content": content})
}

async fn modern(harness: &Harness, tool: &str, responses: Value, state: &Value) -> Value {
    let mut params = json!({"name": tool, "arguments": {}, "inputResponses": responses});
    if !state.is_null() {
        params["requestState"] = state.clone();
    }
    harness.modern(ADMIN, "tools/call", params).await.json()
}

#[tokio::test]
async fn more_questions_than_may_be_queued_arrive_one_after_the_other() {
    let choices = Choices::new().set("limits.subject_percent", 50).tool(Arc::new(Many(100)));
    let harness = choices.start().await;
    let call = Legacy::call(&harness, "many").await;
    let (asked, end) = call.always("result", &accept(json!({}))).await;
    assert_eq!((asked, text(&end)), (100, "100 answers"));
}

#[tokio::test]
async fn a_legacy_client_that_can_not_answer_is_asked_once() {
    let harness = start().await;
    let error = json!({"code": -32601, "message": "Method not found"});
    for tool in ["helped", "by_hand"] {
        let (requests, end) = Legacy::call(&harness, tool).await.always("error", &error).await;
        assert_eq!((requests, &end["result"]["isError"]), (1, &json!(true)), "{tool}: {end}");
        assert!(text(&end).contains("answered the request for input with an error"), "{end}");
    }
}

#[tokio::test]
async fn malformed_responses_end_a_call_in_both_eras() {
    let harness = start().await;
    let shrug = json!({"action": "shrug"});
    for tool in ["helped", "by_hand"] {
        let (requests, end) = Legacy::call(&harness, tool).await.always("result", &shrug).await;
        assert_eq!((requests, &end["result"]["isError"]), (MAX_INPUT_ROUNDS, &json!(true)), "{tool}: {end}");
        assert!(text(&end).contains("asked for input 16 times"), "{end}");
    }
    let mut state = Value::Null;
    for _ in 0..MAX_INPUT_ROUNDS {
        let asked = modern(&harness, "helped", json!({"first": shrug}), &state).await;
        state = asked["result"]["requestState"].clone();
        assert!(state.is_string(), "{asked}");
    }
    let end = modern(&harness, "helped", json!({"first": shrug}), &state).await;
    assert!(text(&end).contains("asked for input 16 times"), "{end}");
}

#[tokio::test]
async fn a_legacy_client_has_one_time_to_answer_for_all_rounds() {
    let harness = start().await;
    let mut call = Legacy::call(&harness, "helped").await;
    let first = call.message().await;
    harness.sleeping_until(Duration::from_mins(5)).await;
    harness.clock.advance(Duration::from_mins(4));
    call.respond(&first, "result", accept(json!({}))).await;
    assert_eq!(call.message().await["params"]["message"], "Second?");
    harness.sleeping_until(Duration::from_mins(1)).await;
    harness.clock.advance(Duration::from_mins(1));
    let end = call.message().await;
    assert_eq!(end["error"]["message"], "the client did not answer within 300 s", "{end}");
}

#[tokio::test]
async fn what_a_call_keeps_of_responses_counts_as_its_memory() {
    let harness = start().await;
    // Of 16 MiB that one subject has; each takes 1.6 MB as a tree, for 16 kB of text.
    let large = accept(json!({"a": vec![json!({"a": {}}); 1800]}));
    let mut waiting = Vec::new();
    let refused = loop {
        let mut call = Legacy::call(&harness, "helped").await;
        let first = call.message().await;
        call.respond(&first, "result", large.clone()).await;
        let next = call.message().await;
        if next["method"].is_null() {
            break next;
        }
        waiting.push((call, next));
        assert!(waiting.len() < 12, "not counted");
    };
    assert!(refused["error"]["code"].is_i64(), "{refused}");
    assert!(waiting.len() > 3, "{}: {refused}", waiting.len());
    for (mut call, second) in waiting {
        call.respond(&second, "result", accept(json!({}))).await;
        assert_eq!(text(&call.message().await), "true true");
    }
    let mut call = Legacy::call(&harness, "helped").await;
    let first = call.message().await;
    call.respond(&first, "result", large).await;
    assert_eq!(call.message().await["params"]["message"], "Second?", "it was given back");
}

#[tokio::test]
async fn only_what_was_asked_for_is_kept_and_not_too_much() {
    let harness = start().await;
    let junk = json!({"junk": "x".repeat(100_000), "second": accept(json!({}))});
    let asked = modern(&harness, "helped", junk.clone(), &Value::Null).await;
    let state = &asked["result"]["requestState"];
    assert!(state.as_str().unwrap().len() < 1000, "nothing was asked for");
    let mut responses = junk;
    responses["first"] = accept(json!({}));
    let without = modern(&harness, "helped", responses.clone(), &Value::Null).await;
    assert!(without["result"]["inputRequests"]["first"].is_object(), "without the state no response counts");
    let asked = modern(&harness, "helped", responses.clone(), state).await;
    assert!(asked["result"]["inputRequests"]["second"].is_object(), "{asked}");
    assert!(asked["result"]["requestState"].as_str().unwrap().len() < 1000);

    responses["first"] = accept(json!({"a": "x".repeat(70_000)}));
    let end = modern(&harness, "helped", responses, state).await;
    assert!(text(&end).contains("more than 65536 bytes"), "{end}");
}

#[tokio::test]
async fn a_request_that_went_through_another_error_type_is_made() {
    let harness = Choices::new().tool(Arc::new(Wrapping)).start().await;
    let asked = modern(&harness, "wrapping", json!({}), &Value::Null).await;
    assert!(asked["result"]["inputRequests"]["first"].is_object(), "{asked}");
    let state = &asked["result"]["requestState"];
    let asked = modern(&harness, "wrapping", json!({"first": accept(json!({}))}), state).await;
    let state = &asked["result"]["requestState"];
    let done = modern(&harness, "wrapping", json!({"second": accept(json!({}))}), state).await;
    assert_eq!(text(&done), "done");
}

#[tokio::test]
async fn a_state_of_the_tools_own_has_the_same_bound() {
    let harness = Choices::new().tool(Arc::new(ByHand(70_000))).start().await;
    let end = modern(&harness, "by_hand", json!({}), &Value::Null).await;
    assert!(text(&end).contains("more than 65536 bytes"), "{end}");
}
