//! Tools that ask by `?`, called round by round.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::input::Outcome;
use crate::time::UnixMillis;
use crate::tool::{DynTool, SpecError, ToolCall, ToolOutput, ToolResult, ToolSpec};

/// Calls a tool with these responses and this state.
pub(crate) fn run(tool: &dyn DynTool, responses: Value, state: Option<&Value>) -> ToolResult {
    let context = Context {
        principal: &crate::properties::principal(),
        clock: &Never,
        capabilities: &ClientCapabilities::ALL,
        input_responses: &InputResponses::new(serde_json::from_value(responses).unwrap()),
        request_state: state,
        filled_arguments: &std::collections::BTreeMap::new(),
        feedback: &NoopFeedback,
        cancellation: &Cancellation::default(),
        span: &Span::OFF,
        downstream: None,
    };
    tool.run(ToolCall::new(context, &json!({}))).now_or_never().unwrap()
}

struct Never;

#[async_trait]
impl Clock for Never {
    fn now(&self) -> UnixMillis {
        UnixMillis(0)
    }
    fn uptime(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
    async fn sleep(&self, _: std::time::Duration) {}
}

fn form() -> Value {
    json!({"type": "object"})
}

/// A tool that does what a function does with its context.
struct With<F>(F);

#[async_trait]
impl<F: Fn(&Context<'_>) -> Result<String, ToolError> + Send + Sync> DynTool for With<F> {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::with_schema("with", "With", "", form())
    }
    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        Ok(Outcome::Complete((self.0)(&call.context)?.into_result()?))
    }
}

/// Returns what a tool requests, and its state.
fn asked(result: ToolResult) -> (Vec<String>, Value) {
    let required = result.unwrap_err().into_input_required().unwrap();
    (required.input_requests.into_keys().collect(), required.request_state.unwrap())
}

pub(crate) fn text(result: ToolResult) -> String {
    match result {
        Ok(Outcome::Complete(result)) => format!("{:?}", result.content),
        Ok(Outcome::Relayed(result)) => format!("{result:?}"),
        Ok(Outcome::InputRequired(_)) => "input".into(),
        Err(error) => error.to_string(),
    }
}

fn accepted(content: Value) -> Value {
    Value::from_iter([("action", "accept".into()), ("content", content)])
}

#[test]
fn a_context_asks_once_for_each_input_and_remembers_the_responses() {
    let tool = With(|context: &Context<'_>| {
        let first = context.elicit("first", "First?", form())?;
        let second = context.elicit("second", "Second?", form())?;
        Ok(format!("{first:?} {second:?}"))
    });
    let (names, state) = asked(run(&tool, json!({}), None));
    assert_eq!(names, ["first"]);
    let (names, _) = asked(run(&tool, json!({"first": {"action": "shrug"}}), Some(&state)));
    assert_eq!(names, ["first"], "asked again");
    let junk = json!({"first": {"action": "decline"}, "junk": "x".repeat(1000), "second": accepted(form())});
    let (names, state) = asked(run(&tool, junk, Some(&state)));
    assert_eq!(names, ["second"], "what was not asked for yet does not count");
    assert!(state.to_string().len() < 500, "and is not kept: {state}");
    let done = run(&tool, json!({"second": accepted(json!({"a": 1}))}), Some(&state));
    assert!(text(done).contains("Decline Accept"));
}

#[test]
fn a_response_counts_for_the_request_it_was_given_to() {
    let tool = |messages: &'static [&'static str]| {
        With(move |context: &Context<'_>| {
            for message in messages {
                context.elicit("confirm", message, form())?;
            }
            Ok("all confirmed".into())
        })
    };
    let yes = || json!({"confirm": accepted(json!({}))});
    asked(run(&tool(&["A?"]), yes(), None));
    let (_, a) = asked(run(&tool(&["A?", "B?"]), json!({}), None));
    asked(run(&tool(&["C?"]), yes(), Some(&a)));
    let (_, b) = asked(run(&tool(&["A?", "B?"]), yes(), Some(&a)));
    assert!(text(run(&tool(&["A?", "B?"]), yes(), Some(&b))).contains("all confirmed"));
}

#[test]
fn a_call_asks_so_often_and_no_more_and_not_again_after_an_error() {
    let tool = With(|context: &Context<'_>| context.elicit("a", "A?", form()).map(|_| String::new()));
    let mut state = None;
    for _ in 0..MAX_INPUT_ROUNDS {
        state = Some(asked(run(&tool, json!({"a": {"action": "shrug"}}), state.as_ref())).1);
    }
    let end = text(run(&tool, json!({"a": {"action": "shrug"}}), state.as_ref()));
    assert_eq!(end, "the call asked for input 16 times, and ends without a result");
    let (_, state) = asked(run(&tool, json!({}), None));
    assert!(
        text(run(&tool, json!({"a": null}), Some(&state)))
            .contains("answered the request for input with an error")
    );
}

#[test]
fn a_form_of_a_type_is_filled_in_or_asked_for_again() {
    #[derive(Debug, Deserialize, JsonSchema)]
    struct Table {
        day: String,
        seats: Option<u8>,
    }
    let tool = With(|context: &Context<'_>| match context.elicit_as::<Table>("table", "Which table?")? {
        ElicitResult::Accept(Table { day, seats }) => Ok(format!("{day} {seats:?}")),
        other => Ok(format!("{other:?}")),
    });
    let (_, state) = asked(run(&tool, json!({}), None));
    let run = |response: Value| run(&tool, json!({"table": response}), Some(&state));
    for misfit in [json!({}), json!({"day": 5}), json!({"day": "Friday", "seats": 1000}), json!([])] {
        assert_eq!(asked(run(accepted(misfit))).0, ["table"]);
    }
    assert!(text(run(accepted(json!({"day": "Friday", "seats": null})))).contains("Friday None"));
    assert!(text(run(json!({"action": "cancel"}))).contains("Cancel"));
}

#[test]
fn requests_for_input_are_found_in_whatever_error_they_were_wrapped_in() {
    #[derive(Debug, thiserror::Error)]
    #[error("the booking failed")]
    struct Wrapped(#[source] ToolError);
    let tool = With(|context: &Context<'_>| {
        let response = context.elicit("a", "A?", form()).map_err(Wrapped);
        response.map(|_| String::new()).map_err(|error| ToolError::caused_by("not booked", error))
    });
    assert_eq!(asked(run(&tool, json!({}), None)).0, ["a"]);
    let failure = ToolError::caused_by("not booked", Wrapped(ToolError::new("full")));
    assert_eq!(failure.into_input_required().unwrap_err().to_string(), "not booked");
}
