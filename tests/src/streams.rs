//! What takes its time and talks meanwhile: progress, log messages, questions, subscriptions; and what is read, not called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{
    CallToolResult, Change, Completion, DynTool, ElicitResult, GetPromptResult, InputRequest, InputRequired,
    LogLevel, LogMessage, Message, Outcome, Progress, Prompt, PromptCall, PromptSpec, ReadCall, ReadError,
    ReadResourceResult, Resource, ResourceBody, ResourceContents, ResourceSpec, ResourceSpecError, Role,
    SpecError, ToolCall, ToolResult, ToolSpec, UnixSeconds,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::harness::{ADMIN, Answer, Choices, Harness, NOBODY, NOW, USER, soon};

const VERSION: &str = "2026-07-28";

/// Says how it goes, then waits if it was told to; notes when it is given up.
pub struct Chatty {
    messages: u32,
    waits: bool,
    pub dropped: Semaphore,
}

struct OnDrop<'a>(&'a Semaphore);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

pub fn chatty(messages: u32, waits: bool) -> Arc<Chatty> {
    Arc::new(Chatty { messages, waits, dropped: Semaphore::new(0) })
}

fn spec(name: &str, scopes: &[&'static str]) -> Result<ToolSpec, SpecError> {
    let schema =
        json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
    ToolSpec::with_schema(name, name, "A tool.", schema)?.requires(scopes.iter().copied())
}

#[async_trait]
impl DynTool for Chatty {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        spec("chatty", &[])
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let guard = OnDrop(&self.dropped);
        for n in 1..=self.messages {
            call.context.feedback.progress(Progress::new(f64::from(n)).message("on it"));
            for level in [LogLevel::Debug, LogLevel::Warning] {
                call.context.feedback.log(LogMessage::new(level, n).logger("chatty"));
            }
        }
        if self.waits {
            std::future::pending::<()>().await;
        }
        drop(guard);
        CallToolResult::of(["done"])
    }
}

/// Asks for a name, remembering what it was asked for.
struct Asker(&'static str);

#[async_trait]
impl DynTool for Asker {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        spec(self.0, &["tool:whoami"])
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        if let Some(ElicitResult::Accept(content)) = call.context.input_responses.elicit_result("name") {
            assert_eq!(
                call.context.request_state,
                Some(&json!({"asked": true})),
                "what was remembered comes back"
            );
            return CallToolResult::of([format!("Hello, {}!", content["name"].as_str().unwrap_or("?"))]);
        }
        let schema =
            json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
        let question = InputRequest::Elicit { message: "Your name?".into(), schema };
        InputRequired::new("name", question).with_state(json!({"asked": true})).into()
    }
}

struct Note(&'static str);

#[async_trait]
impl Resource for Note {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        if self.0.contains('{') {
            return Ok(ResourceSpec::template(self.0, "notes", "Notes", "By number.")?.of_type("text/plain"));
        }
        ResourceSpec::at(self.0, "note", "Note", "A note.").of_type("text/plain").requires(["tool:greet"])
    }

    async fn read(&self, call: ReadCall<'_>) -> ReadResourceResult {
        let text = call.variables.get("id").cloned().unwrap_or_else(|| "the note".into());
        if text == "404" {
            return Err(ReadError::NotFound);
        }
        let contents = ResourceContents {
            uri: call.uri.to_owned(),
            mime_type: Some("text/plain".into()),
            body: ResourceBody::Text(text),
        };
        Ok(Outcome::Complete(vec![contents]))
    }
}

struct Poem;

#[async_trait]
impl Prompt for Poem {
    fn spec(&self) -> Result<PromptSpec, domain::InvalidScope> {
        PromptSpec::new("poem", "Poem", "Asks for a poem.")
            .takes("about", "What about.")
            .requires(["tool:greet"])
    }

    async fn get(&self, call: PromptCall<'_>) -> GetPromptResult {
        let text = format!("A poem about {}, please.", call.arguments["about"]);
        Ok(Outcome::Complete(vec![Message { role: Role::User, content: text.into() }]))
    }

    async fn complete(&self, _context: domain::Context<'_>, argument: &str, typed: &str) -> Completion {
        let values = (0..150).map(|n| format!("{argument}-{typed}{n}")).collect();
        Completion { values, total: Some(150), has_more: false }
    }
}

pub fn everything() -> Choices {
    Choices::new()
        .tool(Arc::new(Asker("asker")))
        .tool(Arc::new(Asker("other")))
        .resource(Arc::new(Note("note://one")))
        .resource(Arc::new(Note("note://by/{id}")))
        .prompt(Arc::new(Poem))
}

fn modern_body(method: &str, mut params: Value, meta: Value) -> String {
    let mut all = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
    });
    all.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
    params["_meta"] = all;
    json!({"jsonrpc": "2.0", "id": "m-1", "method": method, "params": params}).to_string()
}

/// Sends a modern request with the headers that it needs; the answer is read to its end.
async fn modern_with(harness: &Harness, token: &str, method: &str, params: Value, meta: Value) -> Answer {
    let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
    let mut request =
        harness.post(token).header("mcp-protocol-version", VERSION).header("mcp-method", method);
    if let Some(name) = name {
        request = request.header("mcp-name", name);
    }
    harness.send(request.body(modern_body(method, params, meta).into()).unwrap()).await
}

async fn modern(harness: &Harness, token: &str, method: &str, params: Value) -> Answer {
    modern_with(harness, token, method, params, json!({})).await
}

async fn legacy(harness: &Harness, token: &str, method: &str, params: Value) -> Answer {
    harness.legacy(token, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await
}

/// The messages of a stream.
fn events(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn methods(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["method"].as_str().unwrap_or("answer")).collect()
}

/// An open stream, read message by message.
pub struct Stream(TcpStream, String);

impl Stream {
    pub async fn open(harness: &Harness, token: &str, method: &str, name: Option<&str>, body: &str) -> Self {
        Self::open_at(harness.address, token, method, name, body).await
    }

    async fn open_at(address: SocketAddr, token: &str, method: &str, name: Option<&str>, body: &str) -> Self {
        let version = if body.contains("_meta") { VERSION } else { "2025-11-25" };
        Self::open_version(address, token, version, method, name, body).await
    }

    /// A call of a client of 2025-11-25, which may have a progress token.
    pub async fn open_legacy(harness: &Harness, token: &str, body: &str) -> Self {
        Self::open_version(harness.address, token, "2025-11-25", "tools/call", None, body).await
    }

    async fn open_version(
        address: SocketAddr,
        token: &str,
        version: &str,
        method: &str,
        name: Option<&str>,
        body: &str,
    ) -> Self {
        let mut head = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: {version}\r\nmcp-method: {method}\r\n\
             content-length: {}\r\n",
            body.len()
        );
        if let Some(name) = name {
            head = format!("{head}mcp-name: {name}\r\n");
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        Self(stream, String::new())
    }

    /// Everything read so far, once it holds `text`.
    pub async fn until(&mut self, text: &str) -> &str {
        while !self.1.contains(text) {
            let mut more = [0; 4096];
            let read = soon(self.0.read(&mut more)).await.unwrap();
            assert_ne!(read, 0, "closed before {text:?}: {}", self.1);
            self.1.push_str(&String::from_utf8_lossy(&more[..read]));
        }
        &self.1
    }

    /// The next message after the first `read` ones.
    pub async fn message(&mut self, read: usize) -> Value {
        loop {
            let complete = self.1.rsplit_once("\n\n").map_or("", |(complete, _)| complete);
            if let Some(message) = events(complete).into_iter().nth(read) {
                return message;
            }
            let mut more = [0; 4096];
            let length = soon(self.0.read(&mut more)).await.unwrap();
            assert_ne!(length, 0, "closed: {}", self.1);
            self.1.push_str(&String::from_utf8_lossy(&more[..length]));
        }
    }

    /// The last message read.
    fn last(&self) -> Value {
        let data = self.1.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
        serde_json::from_str(data.unwrap()).unwrap()
    }
}

// Progress and log messages.

#[tokio::test]
async fn progress_and_logs_are_told_to_those_who_asked_and_before_the_answer() {
    let harness = Choices::new().tool(chatty(2, false)).start().await;
    let call = json!({"name": "chatty"});
    let quiet = modern(&harness, ADMIN, "tools/call", call.clone()).await;
    assert_eq!(quiet.header("content-type"), "application/json", "nothing was asked for, so nothing is told");

    let progress =
        modern_with(&harness, ADMIN, "tools/call", call.clone(), json!({"progressToken": "p"})).await;
    assert_eq!(progress.header("content-type"), "text/event-stream");
    assert_eq!((progress.header("x-accel-buffering"), progress.header("cache-control")), ("no", "no-store"));
    let events_ = events(&String::from_utf8_lossy(&progress.body));
    assert_eq!(methods(&events_), ["notifications/progress", "notifications/progress", "answer"]);
    assert_eq!(events_[0]["params"], json!({"progressToken": "p", "progress": 1.0, "message": "on it"}));
    assert_eq!(
        (&events_[2]["id"], &events_[2]["result"]["content"][0]["text"]),
        (&json!("m-1"), &json!("done"))
    );

    let level = |level: &str| json!({"io.modelcontextprotocol/logLevel": level});
    let logs = modern_with(&harness, ADMIN, "tools/call", call.clone(), level("warning")).await;
    let events_ = events(&String::from_utf8_lossy(&logs.body));
    assert_eq!(methods(&events_), ["notifications/message", "notifications/message", "answer"]);
    assert_eq!(events_[0]["params"], json!({"level": "warning", "logger": "chatty", "data": 1}));
    let unknown = modern_with(&harness, ADMIN, "tools/call", call, level("loud")).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (200, -32602));

    let old =
        legacy(&harness, ADMIN, "tools/call", json!({"name": "chatty", "_meta": {"progressToken": 7}})).await;
    let events_ = events(&String::from_utf8_lossy(&old.body));
    assert_eq!(events_[0]["params"]["progressToken"], 7);
    assert_eq!(
        events_.iter().filter(|event| event["method"] == "notifications/message").count(),
        2,
        "info and above"
    );
}

#[tokio::test]
async fn who_takes_no_stream_gets_one_document() {
    let harness = Choices::new().tool(chatty(2, false)).start().await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "chatty", "_meta": {"progressToken": 7}}});
    let mut request = harness.post(ADMIN).body(body.to_string().into()).unwrap();
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    let answer = harness.send(request).await;
    assert_eq!(answer.json()["result"]["content"][0]["text"], "done");
}

#[tokio::test]
async fn closing_the_stream_cancels_the_call() {
    let tool = chatty(1, true);
    let harness = Choices::new().tool(Arc::clone(&tool) as _).start().await;
    let body = modern_body("tools/call", json!({"name": "chatty"}), json!({"progressToken": 1}));
    let mut stream = Stream::open(&harness, ADMIN, "tools/call", Some("chatty"), &body).await;
    stream.until("notifications/progress").await;
    assert_eq!(tool.dropped.available_permits(), 0, "it still works");
    drop(stream);
    soon(tool.dropped.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn a_reader_that_never_reads_costs_a_bounded_backlog() {
    let harness = Choices::new().tool(chatty(100_000, false)).start().await;
    let call = json!({"name": "chatty"});
    let answer = modern_with(&harness, ADMIN, "tools/call", call, json!({"progressToken": "p"})).await;
    let events_ = events(&String::from_utf8_lossy(&answer.body));
    assert!(events_.len() < 100, "{} of 100000 were kept for a client that was slower", events_.len());
    assert_eq!(events_.last().unwrap()["result"]["content"][0]["text"], "done", "the answer is never lost");
}

// Questions.

#[tokio::test]
async fn a_legacy_client_is_asked_on_the_stream_and_only_it_can_answer() {
    let harness = everything().start().await;
    let body =
        json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "asker"}}).to_string();
    let mut stream = Stream::open(&harness, ADMIN, "tools/call", None, &body).await;
    stream.until("elicitation/create").await;
    stream.until("\n\n").await;
    let asked = stream.last();
    let id = asked["id"].as_str().unwrap();
    assert!(id.len() >= 20, "unguessable: {id}");
    assert_eq!(asked["params"]["requestedSchema"]["required"], json!(["name"]));
    let answer = |name: &str| json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {"name": name}}});
    harness.token("stranger", |claims| claims.subject = "auth0|other".into());
    harness.token("elsewhere", |claims| claims.client_id = Some("client-2".into()));
    for stranger in ["stranger", "elsewhere"] {
        assert_eq!(harness.legacy(stranger, &answer("Mallory")).await.status, 202, "it learns nothing");
    }
    assert_eq!(harness.legacy(ADMIN, &answer("Ada")).await.status, 202);
    stream.until("Hello, Ada!").await;
    assert_eq!(stream.last()["id"], 9);
    assert!(!stream.1.contains("Mallory"));
}

#[tokio::test]
async fn in_a_batch_nothing_is_streamed_and_nothing_is_asked_but_answers_are_taken() {
    let harness = everything().tool(chatty(2, false)).start().await;
    let call = |id: u8, name: &str| {
        let params = json!({"name": name, "_meta": {"progressToken": id}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    };
    let body = json!([call(1, "chatty"), call(2, "asker")]).to_string();
    let answer = harness.send(harness.post(ADMIN).body(body.into()).unwrap()).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let answers = answer.json();
    assert_eq!(answers[0]["result"]["content"][0]["text"], "done");
    let text = "this needs to ask you something: call it alone, in no batch, and accept text/event-stream";
    let expected = json!({"content": [{"type": "text", "text": text}], "isError": true});
    assert_eq!((&answers[1]["result"], answers.as_array().unwrap().len()), (&expected, 2));

    let body = call(9, "asker").to_string();
    let mut stream = Stream::open(&harness, ADMIN, "tools/call", None, &body.replace("_meta", "x")).await;
    stream.until("elicitation/create").await;
    stream.until("\n\n").await;
    let result = json!({"action": "accept", "content": {"name": "Ada"}});
    let answer = json!([{"jsonrpc": "2.0", "id": stream.last()["id"], "result": result}]).to_string();
    assert_eq!(harness.send(harness.post(ADMIN).body(answer.into()).unwrap()).await.status, 202);
    stream.until("Hello, Ada!").await;
}

#[tokio::test]
async fn a_legacy_client_has_a_while_to_answer() {
    let harness = everything().start().await;
    let body =
        json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "asker"}}).to_string();
    let mut stream = Stream::open(&harness, ADMIN, "tools/call", None, &body).await;
    stream.until("elicitation/create").await;
    harness.sleeping_until(Duration::from_mins(5)).await;
    harness.clock.advance(Duration::from_mins(5));
    stream.until("did not answer within 300 s").await;
    let mute = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "asker"}});
    let mut request = harness.post(ADMIN).body(mute.to_string().into()).unwrap();
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    assert_eq!(
        harness.send(request).await.json()["result"]["isError"],
        true,
        "who takes no stream can't be asked"
    );
}

#[tokio::test]
async fn a_modern_client_brings_answers_and_state_back_and_nobody_else_can() {
    let harness = everything().start().await;
    harness.token("stranger", |claims| claims.subject = "auth0|other".into());
    let asked = modern(&harness, ADMIN, "tools/call", json!({"name": "asker"})).await.json();
    assert_eq!(asked["result"]["resultType"], "input_required");
    let question = &asked["result"]["inputRequests"]["name"];
    assert_eq!(
        (&question["method"], &question["params"]["mode"]),
        (&json!("elicitation/create"), &json!("form"))
    );
    let state = asked["result"]["requestState"].as_str().unwrap().to_owned();
    assert!(!state.contains("asked"), "nobody can read it");
    let retry = |name: &str, state: &str| {
        json!({"name": name, "requestState": state,
            "inputResponses": {"name": {"action": "accept", "content": {"name": "Ada"}}, "more": {}}})
    };
    let good = modern(&harness, ADMIN, "tools/call", retry("asker", &state)).await.json();
    assert_eq!(good["result"]["content"][0]["text"], "Hello, Ada!", "{good}");
    let mut changed = state.clone().into_bytes();
    changed[30] = if changed[30] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for (token, tool, state) in [
        ("stranger", "asker", state.as_str()),
        (ADMIN, "other", &state),
        (ADMIN, "asker", &changed),
        (ADMIN, "asker", "made-up"),
    ] {
        let refused = modern(&harness, token, "tools/call", retry(tool, state)).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (200, -32602), "{token} {tool}");
    }
    harness.token(ADMIN, |claims| claims.expires_at = UnixSeconds(NOW.0 / 1000 + 9000));
    harness.clock.advance(Duration::from_hours(1));
    let late = modern(&harness, ADMIN, "tools/call", retry("asker", &state)).await;
    assert_eq!(late.code(), -32602, "too late");
}

#[tokio::test]
async fn replicas_with_the_same_keys_continue_each_others_calls() {
    let keys =
        ["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="];
    let replica = async |keys: Vec<&'static str>| everything().set("mcp.state_keys", keys).start().await;
    let (old, new) = (replica(vec![keys[0]]).await, replica(vec![keys[1], keys[0]]).await);
    let asked = modern(&old, ADMIN, "tools/call", json!({"name": "asker"})).await.json();
    let retry = json!({"name": "asker", "requestState": asked["result"]["requestState"],
        "inputResponses": {"name": {"action": "accept", "content": {"name": "Ada"}}}});
    let answer = modern(&new, ADMIN, "tools/call", retry.clone()).await.json();
    assert_eq!(answer["result"]["content"][0]["text"], "Hello, Ada!");
    let alone = everything().start().await;
    assert_eq!(modern(&alone, ADMIN, "tools/call", retry).await.code(), -32602);
}

#[tokio::test]
async fn what_a_client_can_not_answer_it_is_not_asked() {
    let harness = everything().start().await;
    let none = json!({"io.modelcontextprotocol/clientCapabilities": {}});
    let refused = modern_with(&harness, ADMIN, "tools/call", json!({"name": "asker"}), none).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, -32021));
    assert_eq!(refused.json()["error"]["data"], json!({"requiredCapabilities": {"elicitation": {}}}));
}

#[tokio::test]
async fn an_argument_in_a_header_must_agree() {
    let harness = everything().start().await;
    for (header, status) in [(Some("eu"), 200), (Some("us"), 400), (None, 400)] {
        let call = json!({"name": "asker", "arguments": {"region": "eu"}});
        let mut request = harness.post(ADMIN).header("mcp-protocol-version", VERSION);
        request = request.header("mcp-method", "tools/call").header("mcp-name", "asker");
        if let Some(header) = header {
            request = request.header("mcp-param-region", header);
        }
        let answer =
            harness.send(request.body(modern_body("tools/call", call, json!({})).into()).unwrap()).await;
        assert_eq!(answer.status, status, "{header:?}");
        if status == 400 {
            assert_eq!(answer.code(), -32020);
        }
    }
}

// What is read.

#[tokio::test]
async fn resources_and_prompts_are_listed_and_given_by_scope_in_both_eras() {
    let harness = everything().start().await;
    let uris = |answer: &Answer| -> Vec<String> {
        let listed = answer.json()["result"]["resources"].as_array().unwrap().clone();
        listed.iter().map(|item| item["uri"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(uris(&legacy(&harness, ADMIN, "resources/list", json!({})).await), ["note://one"]);
    assert_eq!(uris(&modern(&harness, USER, "resources/list", json!({})).await), Vec::<String>::new());
    let templates = modern(&harness, NOBODY, "resources/templates/list", json!({})).await.json();
    assert_eq!(templates["result"]["resourceTemplates"][0]["uriTemplate"], "note://by/{id}");
    assert_eq!(
        (&templates["result"]["cacheScope"], &templates["result"]["ttlMs"]),
        (&json!("private"), &json!(60000))
    );

    for uri in ["note://one", "note://by/7"] {
        for answer in [
            legacy(&harness, ADMIN, "resources/read", json!({"uri": uri})).await,
            modern(&harness, ADMIN, "resources/read", json!({"uri": uri})).await,
        ] {
            assert_eq!(answer.json()["result"]["contents"][0]["uri"], uri);
        }
    }
    let denied = modern(&harness, USER, "resources/read", json!({"uri": "note://one"})).await;
    assert_eq!(denied.status, 403);
    assert!(denied.header("www-authenticate").contains("scope=\"tool:greet\""));
    for uri in ["note://none", "note://by/404", "note://by/a/b"] {
        let (old, new) = (
            legacy(&harness, ADMIN, "resources/read", json!({"uri": uri})).await,
            modern(&harness, ADMIN, "resources/read", json!({"uri": uri})).await,
        );
        assert_eq!(
            (old.status.as_u16(), old.code(), new.status.as_u16(), new.code()),
            (200, -32002, 200, -32602)
        );
        assert_eq!(new.json()["error"]["data"]["uri"], uri);
    }
    let poem = json!({"name": "poem", "arguments": {"about": "rust"}});
    for answer in [
        legacy(&harness, ADMIN, "prompts/get", poem.clone()).await,
        modern(&harness, ADMIN, "prompts/get", poem.clone()).await,
    ] {
        let content = &answer.json()["result"]["messages"][0]["content"];
        assert_eq!(content, &json!({"type": "text", "text": "A poem about rust, please."}));
    }
    assert_eq!(legacy(&harness, USER, "prompts/get", poem).await.status, 403);
    assert_eq!(legacy(&harness, ADMIN, "prompts/get", json!({"name": "poem"})).await.code(), -32602);
    assert_eq!(legacy(&harness, ADMIN, "prompts/get", json!({"name": "nope"})).await.code(), -32602);
    assert_eq!(
        legacy(&harness, USER, "prompts/list", json!({})).await.json()["result"]["prompts"],
        json!([])
    );
    assert_eq!(
        legacy(&harness, ADMIN, "resources/subscribe", json!({"uri": "note://one"})).await.json()["result"],
        json!({})
    );
    assert_eq!(
        legacy(&harness, USER, "resources/subscribe", json!({"uri": "note://one"})).await.code(),
        -32002
    );
    let document = harness.get("/.well-known/oauth-protected-resource").await.json();
    assert_eq!(document["scopes_supported"], json!(["tool:greet", "tool:whoami"]));
}

#[tokio::test]
async fn completions_are_cut_at_100_and_need_the_scope() {
    let harness = everything().start().await;
    let typed =
        json!({"ref": {"type": "ref/prompt", "name": "poem"}, "argument": {"name": "about", "value": "ru"}});
    let completion = legacy(&harness, ADMIN, "completion/complete", typed.clone()).await.json();
    let completion = &completion["result"]["completion"];
    assert_eq!(completion["values"].as_array().unwrap().len(), 100);
    assert_eq!(
        (&completion["values"][0], &completion["total"], &completion["hasMore"]),
        (&json!("about-ru0"), &json!(150), &json!(true))
    );
    assert_eq!(modern(&harness, USER, "completion/complete", typed).await.status, 403);
    let unknown =
        json!({"ref": {"type": "ref/resource", "uri": "x"}, "argument": {"name": "a", "value": ""}});
    assert_eq!(legacy(&harness, ADMIN, "completion/complete", unknown).await.code(), -32602);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let harness = everything().set("mcp.page_size", 2).start().await;
    let (mut names, mut cursor) = (Vec::new(), json!(null));
    loop {
        let page = modern(&harness, ADMIN, "tools/list", json!({"cursor": cursor})).await.json();
        let tools = page["result"]["tools"].as_array().unwrap().clone();
        assert!(tools.len() <= 2);
        names.extend(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
        cursor = page["result"]["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(names, ["greet", "whoami", "get_datetime", "asker", "other"]);
    assert_eq!(modern(&harness, ADMIN, "tools/list", json!({"cursor": "x"})).await.code(), -32602);
}

#[tokio::test]
async fn a_cursor_of_what_is_hidden_is_a_cursor_of_nothing() {
    let harness = everything().set("mcp.page_size", 2).start().await;
    let list = async |token, method, name: &str| {
        let cursor = URL_SAFE_NO_PAD.encode(name);
        modern(&harness, token, method, json!({"cursor": cursor})).await
    };
    // What follows it in the catalog is visible.
    let answer = list(ADMIN, "tools/list", "greet").await.json();
    assert_eq!(answer["result"]["tools"][0]["name"], "whoami");
    for name in ["greet", "nothing"] {
        assert_eq!(list(USER, "tools/list", name).await.code(), -32602, "{name}");
    }
    let answer = list(USER, "tools/list", "whoami").await.json();
    assert_eq!(answer["result"]["tools"][0]["name"], "get_datetime");
    for (method, hidden) in [("resources/list", "note://one"), ("prompts/list", "poem")] {
        for name in [hidden, "nothing"] {
            assert_eq!(list(USER, method, name).await.code(), -32602, "{name}");
        }
        assert_eq!(list(ADMIN, method, hidden).await.status, 200, "{hidden}");
    }
}

// Subscriptions.

async fn listen(harness: &Harness, token: &str, filter: Value) -> Stream {
    listen_at(harness.address, token, filter).await
}

pub async fn listen_at(address: SocketAddr, token: &str, filter: Value) -> Stream {
    let body = modern_body("subscriptions/listen", json!({"notifications": filter}), json!({}));
    let mut stream = Stream::open_at(address, token, "subscriptions/listen", None, &body).await;
    stream.until("notifications/subscriptions/acknowledged").await;
    stream.until("\n\n").await;
    stream
}

#[tokio::test]
async fn a_listener_hears_what_it_asked_for_and_nothing_else() {
    let harness = everything().start().await;
    let filter = json!({"toolsListChanged": true, "resourceSubscriptions": ["note://one", "note://none"]});
    let mut stream = listen(&harness, ADMIN, filter).await;
    let acknowledged = stream.last();
    assert_eq!(
        acknowledged["params"]["notifications"],
        json!({"toolsListChanged": true, "resourceSubscriptions": ["note://one"]})
    );
    assert_eq!(acknowledged["params"]["_meta"], json!({"io.modelcontextprotocol/subscriptionId": "m-1"}));
    for change in [
        Change::Prompts,
        Change::Resource("note://by/1".into()),
        Change::Resource("note://one".into()),
        Change::Tools,
    ] {
        harness.announcer.announce(&change);
    }
    stream.until("tools/list_changed").await;
    let all = events(stream.until("\n\n").await);
    assert_eq!(methods(&all)[1..], ["notifications/resources/updated", "notifications/tools/list_changed"]);
    assert!(
        all.iter().all(|event| event["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "m-1")
    );
    let poor =
        listen(&harness, USER, json!({"resourceSubscriptions": ["note://one"], "promptsListChanged": true}))
            .await;
    assert_eq!(
        poor.last()["params"]["notifications"],
        json!({"promptsListChanged": true}),
        "only what it may read"
    );
}

#[tokio::test]
async fn silence_is_broken_so_that_proxies_stay() {
    let harness = everything().start().await;
    let mut stream = listen(&harness, ADMIN, json!({"toolsListChanged": true})).await;
    for _ in 0..2 {
        stream.1.clear();
        harness.sleeping_until(Duration::from_secs(15)).await;
        harness.clock.advance(Duration::from_secs(15));
        stream.until(": keep-alive").await;
    }
}

#[tokio::test]
async fn what_breaks_the_silence_is_put_off_by_an_event() {
    let harness = everything().start().await;
    let mut stream = listen(&harness, ADMIN, json!({"toolsListChanged": true})).await;
    harness.sleeping_until(Duration::from_secs(15)).await;
    harness.clock.advance(Duration::from_secs(10));
    harness.announcer.announce(&Change::Tools);
    stream.until("tools/list_changed").await;
    harness.clock.advance(Duration::from_secs(5));
    harness.sleeping_until(Duration::from_secs(10)).await;
    harness.clock.advance(Duration::from_secs(10));
    let all = stream.until(": keep-alive").await;
    assert_eq!(all.matches(": keep-alive").count(), 1, "{all}");
}

#[tokio::test]
async fn a_subscription_ends_with_its_token() {
    let harness = everything().start().await;
    harness.token("short", |claims| claims.expires_at = UnixSeconds(NOW.0 / 1000 + 60));
    let mut stream = listen(&harness, "short", json!({"toolsListChanged": true})).await;
    let left = Duration::from_millis(u64::try_from((NOW.0 / 1000 + 60) * 1000 - NOW.0).unwrap());
    harness.sleeping_until(left).await;
    harness.clock.advance(left);
    stream.until("\"resultType\":\"complete\"").await;
    stream.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_subscription_ends_in_order_when_the_server_does() {
    let mut harness = everything().start().await;
    let mut stream = listen(&harness, ADMIN, json!({"toolsListChanged": true})).await;
    harness.begin_stop();
    stream.until("\"resultType\":\"complete\"").await;
    let end = stream.last();
    assert_eq!(
        (&end["id"], &end["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"]),
        (&json!("m-1"), &json!("m-1"))
    );
    assert_eq!(harness.stopped().await, hyper_transport::Drained::Complete);
}

#[tokio::test]
async fn a_listener_that_takes_no_stream_is_told() {
    let harness = everything().start().await;
    let body = modern_body("subscriptions/listen", json!({"notifications": {}}), json!({}));
    let request = harness
        .post(ADMIN)
        .header("mcp-protocol-version", VERSION)
        .header("mcp-method", "subscriptions/listen");
    let mut request = request.body(body.into()).unwrap();
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    assert_eq!(harness.send(request).await.code(), -32602);
    let missing = modern(&harness, ADMIN, "subscriptions/listen", json!({})).await;
    assert_eq!(missing.code(), -32602);
}

// Another configuration while the server runs.

#[tokio::test]
async fn what_is_on_offer_can_change_and_listeners_hear_of_it() {
    let harness = everything().start().await;
    let mut stream =
        listen(&harness, ADMIN, json!({"toolsListChanged": true, "promptsListChanged": true})).await;
    let sources = fastmcp_auth0::Sources::defaults()
        .set("test", "auth0.issuer", crate::harness::ISSUER)
        .set("test", "auth0.audience", crate::harness::AUDIENCE)
        .set("test", "server.url", crate::harness::URL)
        .set("test", "tools.greet.enabled", false)
        .set("test", "tools.whoami.scopes", vec!["read:me"]);
    let catalog = fastmcp_auth0::wiring::shipped().catalog().unwrap();
    let settings = fastmcp_auth0::Settings::load(sources, &catalog).unwrap();
    harness.reload(&settings);
    stream.until("tools/list_changed").await;
    assert!(!stream.1.contains("prompts/list_changed"), "prompts did not change");
    let list = legacy(&harness, USER, "tools/list", json!({})).await.json();
    let names: Vec<&str> = list["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["get_datetime", "asker", "other"]);
    assert_eq!(legacy(&harness, ADMIN, "tools/call", json!({"name": "whoami"})).await.status, 403);
    let document = harness.get("/.well-known/oauth-protected-resource").await.json();
    assert_eq!(
        document["scopes_supported"],
        json!(["read:me", "tool:whoami", "tool:greet"]),
        "the documents follow"
    );
}

fn settings(more: &[(&str, Value)]) -> fastmcp_auth0::Settings {
    let sources = fastmcp_auth0::Sources::defaults()
        .set("test", "auth0.issuer", crate::harness::ISSUER)
        .set("test", "auth0.audience", crate::harness::AUDIENCE)
        .set("test", "server.url", crate::harness::URL);
    let sources = more.iter().fold(sources, |sources, (key, value)| match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| item.as_str().unwrap().to_owned()).collect();
            sources.set("test", key, items)
        }
        value => sources.set("test", key, value.as_str().unwrap()),
    });
    fastmcp_auth0::Settings::load(sources, &fastmcp_auth0::wiring::shipped().catalog().unwrap()).unwrap()
}

/// What a listener hears from here until `last`, which is announced after the rest.
async fn heard(harness: &Harness, stream: &mut Stream, changes: &[Change], last: &str) -> Vec<String> {
    stream.1.clear();
    for change in changes {
        harness.announcer.announce(change);
    }
    stream.until(last).await;
    let all = events(stream.until("\n\n").await);
    methods(&all).into_iter().map(|method| method.replace("notifications/", "")).collect()
}

#[tokio::test]
async fn a_resource_that_is_gone_after_a_reload_is_not_told_of() {
    let mut harness = everything().start().await;
    let filter = json!({"promptsListChanged": true, "resourcesListChanged": true,
        "resourceSubscriptions": ["note://one", "note://by/1"]});
    let mut stream = listen(&harness, ADMIN, filter).await;
    let changes =
        [Change::Resource("note://one".into()), Change::Resource("note://by/1".into()), Change::Prompts];
    let before = heard(&harness, &mut stream, &changes, "prompts/list_changed").await;
    assert_eq!(before, ["resources/updated", "resources/updated", "prompts/list_changed"]);
    harness.ports.offer.resources.remove(0);
    harness.reload(&settings(&[]));
    let after = heard(&harness, &mut stream, &changes, "prompts/list_changed").await;
    assert_eq!(after, ["resources/list_changed", "resources/updated", "prompts/list_changed"]);
    assert!(!stream.1.contains("note://one"), "{}", stream.1);
}

#[tokio::test]
async fn a_listener_whose_scopes_are_gone_after_a_reload_hears_nothing_of_what_they_were_for() {
    let harness = everything().start().await;
    let filter = json!({"toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["note://one"]});
    let mut stream = listen(&harness, ADMIN, filter).await;
    // The token has scopes, and no permissions.
    harness.reload(&settings(&[("tokens.authority", json!("permissions"))]));
    let changes = [Change::Resource("note://one".into()), Change::Prompts];
    stream.until("tools/list_changed").await;
    stream.until("prompts/list_changed").await;
    stream.until("\n\n").await;
    assert_eq!(
        heard(&harness, &mut stream, &changes, "prompts/list_changed").await,
        ["prompts/list_changed"]
    );
    harness.reload(&settings(&[]));
    stream.until("tools/list_changed").await;
    let changes = [Change::Prompts, Change::Resource("note://one".into())];
    let again = heard(&harness, &mut stream, &changes, "resources/updated").await;
    assert_eq!(again.last().unwrap(), "resources/updated", "what may be seen again is told of again");
}

#[tokio::test]
async fn a_reload_is_told_of_to_those_whose_lists_differ() {
    let harness = everything().start().await;
    let filter = json!({"toolsListChanged": true, "promptsListChanged": true});
    let (mut admin, mut user) =
        (listen(&harness, ADMIN, filter.clone()).await, listen(&harness, USER, filter).await);
    harness.reload(&settings(&[("tools.greet.scopes", json!(["say:hello"]))]));
    let heard_by_admin = heard(&harness, &mut admin, &[Change::Prompts], "prompts/list_changed").await;
    assert_eq!(heard_by_admin, ["tools/list_changed", "prompts/list_changed"]);
    user.until("prompts/list_changed").await;
    assert!(!user.1.contains("tools/list_changed"), "it never saw the tool");
}

/// Its token was judged before the reload, and it begins after it.
#[tokio::test]
async fn a_subscription_that_begins_across_a_reload_is_judged_by_the_new_configuration() {
    let harness = everything().start().await;
    harness.verifier.hold(ADMIN);
    let reload = async {
        soon(harness.verifier.waiting(1)).await;
        harness.reload(&settings(&[("auth0.audience", json!("https://mcp.example.com/other"))]));
        harness.verifier.release();
    };
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let (answer, ()) = tokio::join!(soon(harness.modern(ADMIN, "subscriptions/listen", filter)), reload);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains("\"resultType\":\"complete\"") && !text.contains("acknowledged"), "{text}");
}

#[tokio::test]
async fn a_subscription_ends_with_the_reload_that_no_longer_takes_its_token() {
    let harness = everything().start().await;
    for (key, value) in [
        ("auth0.issuer", json!("https://other.example.auth0.com/")),
        ("auth0.audience", json!("https://mcp.example.com/other")),
    ] {
        let mut stream = listen(&harness, ADMIN, json!({"toolsListChanged": true})).await;
        harness.reload(&settings(&[(key, value)]));
        stream.until("\"resultType\":\"complete\"").await;
        stream.until("0\r\n\r\n").await;
        assert!(!stream.1.contains("tools/list_changed"), "{}", stream.1);
        harness.reload(&settings(&[]));
    }
}
