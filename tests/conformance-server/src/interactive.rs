//! The suite's tools that ask before they answer. None of them knows which era it serves.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    CallToolResult, CreateMessageParams, DynTool, ElicitResult, InputRequest, InputRequired, Message,
    Outcome, Role, SpecError, ToolCall, ToolError, ToolResult, ToolSpec,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::tools::plain;

/// Every such tool.
pub(crate) fn all() -> Vec<Arc<dyn DynTool>> {
    let mut tools: Vec<Arc<dyn DynTool>> = vec![
        Arc::new(Asking { name: "test_sampling", argument: Some("prompt"), run: sampling }),
        Arc::new(Asking { name: "test_elicitation", argument: Some("message"), run: elicitation }),
        Arc::new(Asking { name: "test_elicitation_sep1034_defaults", argument: None, run: defaults }),
        Arc::new(Asking { name: "test_elicitation_sep1330_enums", argument: None, run: enums }),
        Arc::new(Asking { name: "test_missing_capability", argument: None, run: needs_sampling }),
    ];
    let rounds: [(&'static str, Run); 8] = [
        ("elicitation", greets),
        ("sampling", samples),
        ("list_roots", lists_roots),
        ("request_state", remembers),
        ("multiple_inputs", asks_much),
        ("multi_round", asks_twice),
        ("tampered_state", remembers),
        ("capabilities", asks_what_can_be_answered),
    ];
    for (name, run) in rounds {
        tools.push(Arc::new(Asking {
            name: Box::leak(format!("test_input_required_result_{name}").into()),
            argument: None,
            run,
        }));
    }
    tools
}

type Run = fn(&ToolCall<'_>) -> ToolResult;

struct Asking {
    name: &'static str,
    argument: Option<&'static str>,
    run: Run,
}

#[derive(Deserialize)]
struct Arguments {
    #[serde(default)]
    prompt: String,
    #[serde(default)]
    message: String,
}

#[async_trait]
impl DynTool for Asking {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let Some(argument) = self.argument else {
            return plain(self.name);
        };
        let schema =
            json!({"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]});
        ToolSpec::with_schema(self.name, self.name, "A fixture of the conformance suite.", schema)
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        (self.run)(&call)
    }
}

fn form(message: &str, properties: impl Into<Value>, required: &[&str]) -> InputRequest {
    let properties = properties.into();
    let schema = json!({"type": "object", "properties": properties, "required": required});
    InputRequest::Elicit { message: message.to_owned(), schema }
}

fn name_form() -> InputRequest {
    form("What is your name?", json!({"name": {"type": "string"}}), &["name"])
}

fn model(prompt: &str) -> InputRequest {
    let messages = vec![Message { role: Role::User, content: prompt.into() }];
    InputRequest::CreateMessage(CreateMessageParams::new(messages, 100))
}

/// The text that a form was filled in with, if it was.
fn filled_in(call: &ToolCall<'_>, question: &str, field: &str) -> Option<String> {
    match call.context.input_responses.elicit_result(question)? {
        ElicitResult::Accept(content) => content.get(field)?.as_str().map(str::to_owned),
        ElicitResult::Decline | ElicitResult::Cancel => None,
    }
}

fn described(elicited: ElicitResult) -> (&'static str, Map<String, Value>) {
    match elicited {
        ElicitResult::Accept(content) => ("accept", content),
        ElicitResult::Decline => ("decline", Map::new()),
        ElicitResult::Cancel => ("cancel", Map::new()),
    }
}

fn sampling(call: &ToolCall<'_>) -> ToolResult {
    match call.context.input_responses.message_text("answer") {
        Some(text) => CallToolResult::of([format!("LLM response: {text}")]),
        None => InputRequired::new("answer", model(&call.arguments::<Arguments>()?.prompt)).into(),
    }
}

fn elicitation(call: &ToolCall<'_>) -> ToolResult {
    if let Some(elicited) = call.context.input_responses.elicit_result("form") {
        let (action, content) = described(elicited);
        return CallToolResult::of([format!(
            "User response: action={action}, content={}",
            Value::Object(content)
        )]);
    }
    let fields = json!({
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    });
    let message = call.arguments::<Arguments>()?.message;
    InputRequired::new("form", form(&message, fields, &["username", "email"])).into()
}

fn completed(call: &ToolCall<'_>, question: InputRequest) -> ToolResult {
    match call.context.input_responses.elicit_result("form") {
        Some(elicited) => {
            let (action, content) = described(elicited);
            let content = Value::Object(content);
            CallToolResult::of([format!("Elicitation completed: action={action}, content={content}")])
        }
        None => InputRequired::new("form", question).into(),
    }
}

fn defaults(call: &ToolCall<'_>) -> ToolResult {
    let fields = json!({
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": true},
    });
    completed(call, form("Please check the defaults.", fields, &[]))
}

fn enums(call: &ToolCall<'_>) -> ToolResult {
    let titled =
        |values: [(&str, &str); 3]| values.map(|(value, title)| json!({"const": value, "title": title}));
    let options = ["option1", "option2", "option3"];
    let values = [("value1", "First Option"), ("value2", "Second Option"), ("value3", "Third Option")];
    let choices = [("value1", "First Choice"), ("value2", "Second Choice"), ("value3", "Third Choice")];
    let fields = json!({
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled(values)},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled(choices)}},
    });
    completed(call, form("Please choose.", fields, &[]))
}

fn needs_sampling(call: &ToolCall<'_>) -> ToolResult {
    sampled(call, "capital", "What is the capital of France?")
}

fn samples(call: &ToolCall<'_>) -> ToolResult {
    sampled(call, "capital_question", "What is the capital of France?")
}

fn sampled(call: &ToolCall<'_>, name: &str, prompt: &str) -> ToolResult {
    match call.context.input_responses.message_text(name) {
        Some(text) => CallToolResult::of([format!("The model said: {text}")]),
        None => InputRequired::new(name, model(prompt)).into(),
    }
}

fn greets(call: &ToolCall<'_>) -> ToolResult {
    match filled_in(call, "user_name", "name") {
        Some(name) => CallToolResult::of([format!("Hello, {name}!")]),
        None => InputRequired::new("user_name", name_form()).into(),
    }
}

fn lists_roots(call: &ToolCall<'_>) -> ToolResult {
    match call.context.input_responses.roots("client_roots") {
        Some(roots) => CallToolResult::of([format!("Roots: {}", roots.join(", "))]),
        None => InputRequired::new("client_roots", InputRequest::ListRoots).into(),
    }
}

fn remembers(call: &ToolCall<'_>) -> ToolResult {
    let confirmed = match call.context.input_responses.elicit_result("confirm") {
        Some(ElicitResult::Accept(content)) => content.get("ok").and_then(Value::as_bool),
        _ => None,
    };
    if confirmed.is_some() && call.context.request_state == Some(&json!({"step": "confirm"})) {
        return CallToolResult::of(["state-ok"]);
    }
    let question = form("Is that all right?", json!({"ok": {"type": "boolean"}}), &["ok"]);
    InputRequired::new("confirm", question).with_state(json!({"step": "confirm"})).into()
}

fn asks_much(call: &ToolCall<'_>) -> ToolResult {
    let answers = call.context.input_responses;
    let (name, roots) = (filled_in(call, "user_name", "name"), answers.roots("client_roots"));
    if let (Some(name), Some(greeting), Some(roots)) = (name, answers.message_text("greeting"), roots) {
        return CallToolResult::of([format!("{greeting}, {name}! You work in {}.", roots.join(", "))]);
    }
    InputRequired::new("user_name", name_form())
        .and("greeting", model("Make up a greeting."))
        .and("client_roots", InputRequest::ListRoots)
        .with_state(json!({"asked": 3}))
        .into()
}

fn asks_twice(call: &ToolCall<'_>) -> ToolResult {
    let step = |state: &Value| state["step"].as_u64().unwrap_or(0);
    match call.context.request_state.map_or(0, step) {
        2 => match (filled_in(call, "step2", "color"), call.context.request_state) {
            (Some(color), Some(state)) => {
                let name = state["name"].as_str().unwrap_or_default();
                CallToolResult::of([format!("{name} likes {color}. Done.")])
            }
            _ => second_step(
                call.context.request_state.and_then(|state| state["name"].as_str()).unwrap_or_default(),
            ),
        },
        _ => match filled_in(call, "step1", "name") {
            Some(name) => second_step(&name),
            None => InputRequired::new("step1", name_form()).with_state(json!({"step": 1})).into(),
        },
    }
}

fn second_step(name: &str) -> ToolResult {
    let question = form("Which color do you like?", json!({"color": {"type": "string"}}), &["color"]);
    InputRequired::new("step2", question).with_state(json!({"step": 2, "name": name})).into()
}

fn asks_what_can_be_answered(call: &ToolCall<'_>) -> ToolResult {
    let candidates = [
        ("user_name", name_form()),
        ("greeting", model("Make up a greeting.")),
        ("client_roots", InputRequest::ListRoots),
    ];
    let can = call.context.capabilities;
    let asked = candidates.into_iter().filter(|(_, question)| can.can_answer(question));
    let unanswered = asked.filter(|(name, _)| call.context.input_responses.raw(name).is_none());
    let required =
        unanswered.fold(InputRequired::default(), |required, (name, question)| required.and(name, question));
    if required.input_requests.is_empty() {
        return CallToolResult::of(["Everything is known."]);
    }
    Ok::<_, ToolError>(Outcome::InputRequired(required))
}
