//! Protections that are easy to lose: each is held by one line of the server, and by a test here.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    CallToolResult, Completion, Context, DynTool, ElicitResult, GetPromptResult, InputRequest, InputRequired,
    Message, Outcome, Prompt, PromptCall, PromptSpec, ReadCall, ReadResourceResult, Resource, ResourceBody,
    ResourceContents, ResourceSpec, ResourceSpecError, Role, SpecError, ToolCall, ToolResult, ToolSpec,
};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Answer, Choices, Harness, MODERN, NOBODY};

/// A tool, a prompt and a resource of one name, which ask before they answer.
const NAME: &str = "x:ask";
const TOOL: &str = "ask";

fn asked(context: &Context<'_>) -> Option<InputRequired> {
    if let Some(ElicitResult::Accept(_)) = context.input_responses.elicit_result("q") {
        return None;
    }
    let schema = json!({"type": "object", "properties": {}});
    Some(InputRequired::new("q", InputRequest::Elicit { message: "?".into(), schema }).with_state(json!(1)))
}

struct AskingTool;

#[async_trait]
impl DynTool for AskingTool {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::with_schema(TOOL, "Ask", "A tool.", json!({"type": "object"}))
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        match asked(&call.context) {
            Some(input) => input.into(),
            None => CallToolResult::of(["done"]),
        }
    }
}

struct AskingPrompt(&'static str, &'static [&'static str]);

#[async_trait]
impl Prompt for AskingPrompt {
    fn spec(&self) -> Result<PromptSpec, domain::InvalidScope> {
        PromptSpec::new(self.0, "Ask", "A prompt.").requires(self.1.iter().copied())
    }

    async fn get(&self, call: PromptCall<'_>) -> GetPromptResult {
        match asked(&call.context) {
            Some(input) => input.into(),
            None => {
                Ok(Outcome::Complete(vec![Message { role: Role::User, content: "done".to_owned().into() }]))
            }
        }
    }

    async fn complete(&self, _: Context<'_>, _: &str, _: &str) -> Completion {
        Completion { values: vec!["a secret".into()], ..Completion::default() }
    }
}

/// At the template `secret://{id}`, which takes a scope, and at [`NAME`], which takes none.
struct AskingResource(&'static str);

#[async_trait]
impl Resource for AskingResource {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        if self.0.contains('{') {
            return ResourceSpec::template(self.0, "secrets", "Secrets", "By id.")?.requires(["tool:greet"]);
        }
        Ok(ResourceSpec::at(self.0, "ask", "Ask", "A resource."))
    }

    async fn read(&self, call: ReadCall<'_>) -> ReadResourceResult {
        match asked(&call.context) {
            Some(input) => input.into(),
            None => Ok(Outcome::Complete(vec![ResourceContents {
                uri: call.uri.to_owned(),
                mime_type: None,
                body: ResourceBody::Text("done".into()),
            }])),
        }
    }

    async fn complete(&self, _: Context<'_>, _: &str, _: &str) -> Completion {
        Completion { values: vec!["a secret".into()], ..Completion::default() }
    }
}

async fn start() -> Harness {
    let choices = Choices::new()
        .tool(Arc::new(AskingTool))
        .prompt(Arc::new(AskingPrompt(TOOL, &[])))
        .prompt(Arc::new(AskingPrompt("secret", &["tool:greet"])))
        .resource(Arc::new(AskingResource(NAME)))
        .resource(Arc::new(AskingResource(TOOL)))
        .resource(Arc::new(AskingResource("secret://{id}")));
    choices.start().await
}

async fn legacy(harness: &Harness, token: &str, method: &str, params: Value) -> Answer {
    harness.legacy(token, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await
}

#[tokio::test]
async fn completions_need_the_scopes_of_what_they_complete() {
    let harness = start().await;
    for reference in [
        json!({"type": "ref/resource", "uri": "secret://{id}"}),
        json!({"type": "ref/prompt", "name": "secret"}),
    ] {
        let params = json!({"ref": reference, "argument": {"name": "id", "value": ""}});
        for (token, status) in [(ADMIN, 200), (NOBODY, 403)] {
            let old = legacy(&harness, token, "completion/complete", params.clone()).await;
            let new = harness.modern(token, "completion/complete", params.clone()).await;
            for answer in [old, new] {
                assert_eq!(answer.status, status, "{token} {reference}");
                let shows_it = String::from_utf8_lossy(&answer.body).contains("a secret");
                assert_eq!(shows_it, status == 200);
            }
        }
    }
}

#[tokio::test]
async fn a_state_is_good_for_the_client_and_the_method_that_it_was_made_for() {
    let harness = start().await;
    harness.token("other-client", |claims| claims.client_id = Some("other".into()));
    let params = |state: &Value| {
        json!({"name": TOOL, "uri": TOOL, "requestState": state,
            "inputResponses": {"q": {"action": "accept", "content": {}}}})
    };
    let methods = ["tools/call", "prompts/get", "resources/read"];
    for made_for in methods {
        let first = harness.modern(ADMIN, made_for, json!({"name": TOOL, "uri": TOOL})).await.json();
        let state = &first["result"]["requestState"];
        assert!(state.is_string(), "{made_for}: {first}");
        for used_for in methods {
            let answer = harness.modern(ADMIN, used_for, params(state)).await.json();
            let is_good = made_for == used_for;
            assert_eq!(
                answer["result"]["resultType"] == "complete",
                is_good,
                "{made_for} {used_for}: {answer}"
            );
            assert_eq!(answer["error"]["code"] == -32602, !is_good, "{made_for} {used_for}: {answer}");
        }
        let stolen = harness.modern("other-client", made_for, params(state)).await;
        assert_eq!(stolen.code(), -32602, "the same subject, another client");
    }
}

#[tokio::test]
async fn mcp_name_says_what_the_body_says_for_prompts_and_resources_in_both_eras() {
    let harness = start().await;
    for (method, member) in [("prompts/get", "name"), ("resources/read", "uri"), ("tools/call", "name")] {
        for version in ["2025-11-25", MODERN] {
            for (header, agrees) in [(TOOL, true), ("other", false)] {
                let mut params = json!({(member): TOOL});
                if version == MODERN {
                    params["_meta"] = json!({
                        "io.modelcontextprotocol/protocolVersion": MODERN,
                        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
                    });
                }
                let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
                // Who takes no stream is not asked, and gets an answer at once.
                let request = harness
                    .request("POST", "/mcp")
                    .header("authorization", format!("Bearer {ADMIN}"))
                    .header("content-type", "application/json")
                    .header("mcp-protocol-version", version)
                    .header("mcp-method", method)
                    .header("mcp-name", header);
                let answer = harness.send(request.body(Full::from(body.to_string())).unwrap()).await;
                let refused = answer.status == 400 && answer.json()["error"]["code"] == -32020;
                assert_eq!(refused, !agrees, "{method} {version} {header}: {:?}", answer.body);
            }
        }
    }
}

#[tokio::test]
async fn a_foreign_origin_learns_nothing_of_which_paths_there_are() {
    let harness = start().await;
    for path in ["/mcp", "/nothing", "/mcp/more"] {
        let request = |origin: &str| {
            harness.request("POST", path).header("origin", origin.to_owned()).body(Full::default()).unwrap()
        };
        assert_eq!(harness.send(request("https://evil.example")).await.status, 403, "{path}");
        let known = harness.send(request("http://localhost:1")).await.status;
        assert_eq!(known, if path == "/mcp" { 401 } else { 404 }, "{path}");
    }
}

/// What of a client's text comes back is cut, and nothing else comes back.
#[tokio::test]
async fn echoes_are_cut() {
    let harness = start().await;
    let long = "a".repeat(10_000);
    let data = |answer: &Answer, member: &str| answer.json()["error"]["data"][member].as_str().map(str::len);

    let request = harness.post(ADMIN).header("mcp-protocol-version", &long);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let answer = harness.send(request.body(Full::from(ping)).unwrap()).await;
    assert_eq!(data(&answer, "requested"), Some(64));

    let uri = format!("x:{long}");
    for method in ["resources/read", "resources/subscribe"] {
        let old = legacy(&harness, ADMIN, method, json!({"uri": uri})).await;
        assert_eq!(data(&old, "uri"), Some(2048), "{method}");
    }
    let new = harness.modern(ADMIN, "resources/read", json!({"uri": uri})).await;
    assert_eq!(data(&new, "uri"), Some(2048));

    let (tool, method) = (format!("secret {long}"), format!("tools/{long}"));
    for answer in [
        legacy(&harness, ADMIN, "tools/call", json!({"name": tool})).await,
        harness.modern(ADMIN, "tools/call", json!({"name": tool})).await,
        legacy(&harness, ADMIN, "prompts/get", json!({"name": long})).await,
        legacy(&harness, ADMIN, &method, json!({})).await,
        harness.modern(ADMIN, &method, json!({})).await,
        legacy(&harness, ADMIN, "tools/list", json!({"cursor": long})).await,
        legacy(&harness, ADMIN, "logging/setLevel", json!({"level": long})).await,
    ] {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("\"error\"") && text.len() < 300 && !text.contains("aaaa"), "{text}");
    }
}

/// A tool whose ten arguments are numbers.
struct Ten;

#[async_trait]
impl DynTool for Ten {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let properties: serde_json::Map<_, _> =
            (0..10).map(|n| (format!("n{n}"), json!({"type": "integer"}))).collect();
        ToolSpec::with_schema("ten", "Ten", "A tool.", json!({"type": "object", "properties": properties}))
    }

    async fn run(&self, _: ToolCall<'_>) -> ToolResult {
        CallToolResult::of(["done"])
    }
}

#[tokio::test]
async fn what_is_wrong_with_arguments_is_told_briefly_and_without_their_values() {
    let harness = Choices::new().tool(Arc::new(Ten)).start().await;
    let text = |answer: &Answer| answer.json()["result"]["content"][0]["text"].as_str().unwrap().to_owned();
    let secrets: serde_json::Map<_, _> = (0..10).map(|n| (format!("n{n}"), json!("secret"))).collect();
    let long_name = json!({"a".repeat(10_000): 1});
    for (tool, arguments, parts) in [("ten", Value::Object(secrets), 5), ("greet", long_name, 1)] {
        let params = json!({"name": tool, "arguments": arguments});
        let answers = [
            legacy(&harness, ADMIN, "tools/call", params.clone()).await,
            harness.modern(ADMIN, "tools/call", params).await,
        ];
        for answer in answers {
            let text = text(&answer);
            assert_eq!(text.split("; ").count(), parts, "{text}");
            assert!(text.len() < parts * 202 + 30 && !text.contains("secret"), "{text}");
        }
    }
}
