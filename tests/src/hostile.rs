//! Clients that know what the server is made of: each costs a bounded part of it, and no honest client's request.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    CallToolResult, DynTool, ElicitResult, InputRequest, InputRequired, SpecError, ToolCall, ToolResult,
    ToolSpec,
};
use fakes::{Behaviour, RecordingTool};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{ADMIN, AUDIENCE, Answer, Choices, Harness, ISSUER, MODERN, URL, read_to_end, soon};
use crate::wire::{Http2, field, flag, frame, get, kind};

const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
/// A subject that no other token has.
const BOB: &str = "bob-token";

/// Confirms a payment, remembering the amount that was asked about.
struct Pay;

#[async_trait]
impl DynTool for Pay {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::with_schema("pay", "Pay", "A tool.", json!({"type": "object"}))
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let arguments: Value = call.arguments()?;
        let amount = &arguments["amount"];
        if let (Some(ElicitResult::Accept(_)), Some(asked)) =
            (call.context.input_responses.elicit_result("sure"), call.context.request_state)
        {
            return CallToolResult::of([format!("{asked} as {amount}")]);
        }
        let schema = json!({"type": "object", "properties": {}});
        let question = InputRequest::Elicit { message: format!("Pay {amount}?"), schema };
        InputRequired::new("sure", question).with_state(amount.clone()).into()
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

async fn start(choices: Choices) -> Harness {
    let harness = choices.start().await;
    harness.token(BOB, |claims| {
        claims.subject = "auth0|bob".into();
        claims.client_id = Some("bobs-client".into());
    });
    harness
}

async fn ping(harness: &Harness, token: &str) -> Answer {
    harness.legacy(token, &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await
}

async fn call(harness: &Harness, token: &str, tool: &str, arguments: Value) -> Answer {
    let params = json!({"name": tool, "arguments": arguments});
    harness.legacy(token, &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})).await
}

/// A POST as bytes.
fn post(token: &str, headers: &str, body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[track_caller]
fn is_share(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "1"));
    assert!(answer.header("www-authenticate").is_empty());
}

async fn sent(harness: &Harness, bytes: &str) -> TcpStream {
    let mut stream = harness.connect().await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let more = soon(stream.read_buf(&mut read)).await.unwrap();
        assert_ne!(more, 0, "closed before {text:?}: {}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}

// What is hidden in JSON.

/// `serde_json` parses the text of such a member as JSON wherever it makes a value of one, past every bound.
#[tokio::test]
async fn a_member_name_that_serde_json_obeys_is_refused_wherever_it_stands() {
    let harness = start(Choices::new()).await;
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let twice = json!({"$serde_json::private::RawValue": r#"{"a":1,"a":2}"#}).to_string();
    for text in ["1", &deep, &twice] {
        let hidden = json!({"$serde_json::private::RawValue": text});
        let nested = json!({"a": [{"b": hidden}]});
        let mut messages = Vec::new();
        for value in [&hidden, &nested] {
            for (method, member) in [
                ("tools/call", "arguments"),
                ("prompts/get", "arguments"),
                ("tools/call", "inputResponses"),
                ("completion/complete", "ref"),
                ("completion/complete", "argument"),
                ("subscriptions/listen", "notifications"),
                ("tools/call", "_meta"),
                ("ping", "unknown"),
            ] {
                let params = json!({"name": "greet", (member): value});
                messages.push(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
            }
            messages.push(json!({"jsonrpc": "2.0", "id": "q", "result": value}));
            messages.push(json!({"jsonrpc": "2.0", "id": "q", "error": value}));
            messages.push(json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "unknown": value}));
        }
        for message in messages {
            for version in ["2025-11-25", MODERN] {
                let request = harness.post(ADMIN).header("mcp-protocol-version", version);
                let answer = harness.send(request.body(Full::from(message.to_string())).unwrap()).await;
                assert_eq!((answer.status.as_u16(), answer.code()), (400, -32600), "{version} {message}");
            }
        }
    }
    assert_eq!(ping(&harness, ADMIN).await.status, 200);
}

#[tokio::test]
async fn values_are_counted_before_anything_is_made_of_them() {
    let harness = start(Choices::new()).await;
    for (values, status) in [(90_000, 200), (100_001, 400)] {
        let list = format!("[{}0]", "0,".repeat(values - 1));
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":{list}}}}}"#);
        let answer = harness.send(harness.post(ADMIN).body(Full::from(body)).unwrap()).await;
        assert_eq!(answer.status, status, "{values}");
        let list: Value = serde_json::from_str(&list).unwrap();
        let modern = harness.modern(ADMIN, "tools/list", json!({"x": list})).await;
        assert_eq!(modern.status, status, "{values}");
        for refused in [answer, modern].iter().filter(|answer| answer.status == 400) {
            assert_eq!(refused.code(), -32600);
        }
    }
}

/// A megabyte of objects would take 90 MB as a tree.
#[tokio::test]
async fn a_tree_is_built_only_where_there_is_memory_for_it() {
    let harness = start(Choices::new().tool(Arc::new(Pay))).await;
    let objects = |count: usize| Value::Array(vec![json!({"a": 0}); count]);
    let answer = call(&harness, ADMIN, "pay", json!({"amount": 1, "x": objects(45_000)})).await;
    is_share(&answer);
    assert_eq!(answer.json()["error"]["code"], 429);
    let responses = json!({"name": "pay", "inputResponses": {"x": objects(45_000)}});
    is_share(&harness.modern(ADMIN, "tools/call", responses).await);
    let small = json!({"name": "pay", "arguments": {"x": objects(1000)}});
    assert_eq!(harness.modern(ADMIN, "tools/call", small).await.status, 200);
    // Who may not call does not get that far.
    let body = json!({"amount": 1, "x": objects(45_000)});
    harness.token("poor", |claims| claims.scope = domain::ScopeSet::EMPTY);
    assert_eq!(call(&harness, "poor", "greet", body).await.status, 403);
}

/// One after the other they would not fit in a share, if each kept its tree while it waits.
#[tokio::test]
async fn a_call_that_waits_for_an_answer_keeps_its_arguments_as_text() {
    let choices = Choices::new().set("limits.memory_bytes", 16 << 20).set("limits.subject_percent", 50);
    let harness = start(choices.set("limits.client_percent", 50).tool(Arc::new(Pay))).await;
    let objects = vec![json!({"a": 0}); 6000];
    let params = json!({"name": "pay", "arguments": {"amount": 1, "x": objects}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let mut waiting = Vec::new();
    for _ in 0..10 {
        let mut stream = sent(&harness, &post(ADMIN, "mcp-protocol-version: 2025-11-25\r\n", &body)).await;
        read_until(&mut stream, "elicitation/create").await;
        waiting.push(stream);
    }
    // And goes on with all of them.
    let mut last = waiting.pop().unwrap();
    let mut last_but_one = sent(&harness, &post(ADMIN, "mcp-protocol-version: 2025-11-25\r\n", &body)).await;
    let asked = read_until(&mut last_but_one, "elicitation/create").await;
    let id = asked.split(r#""id":""#).nth(1).unwrap().split('"').next().unwrap();
    let result = json!({"action": "accept", "content": {}});
    let response = json!({"jsonrpc": "2.0", "id": id, "result": result});
    assert_eq!(harness.legacy(ADMIN, &response).await.status, 202);
    read_until(&mut last_but_one, "1 as 1").await;
    last.write_all(b"").await.unwrap();
}

// Shares.

#[tokio::test]
async fn one_subject_and_one_client_get_a_share_of_the_requests() {
    let tool = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let choices = Choices::new().set("limits.requests", 4).tool(Arc::clone(&tool) as _);
    let harness = start(choices).await;
    // Of the client that everyone but Bob uses.
    for name in ["carol", "dave"] {
        harness.token(name, |claims| claims.subject = name.into());
    }
    let slow = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "slow"}});
    let version = "mcp-protocol-version: 2025-11-25\r\n";
    let mut first = sent(&harness, &post(ADMIN, version, &slow.to_string())).await;
    soon(tool.started()).await;
    let refused = ping(&harness, ADMIN).await;
    is_share(&refused);
    assert_eq!(refused.json()["error"], "share_exhausted");
    assert_eq!(ping(&harness, "carol").await.status, 200, "another subject of the same client");
    let second = sent(&harness, &post("carol", version, &slow.to_string())).await;
    soon(tool.started()).await;
    is_share(&ping(&harness, "dave").await);
    assert_eq!(ping(&harness, BOB).await.status, 200, "another client");

    tool.release();
    tool.release();
    read_until(&mut first, "recorded").await;
    assert_eq!(ping(&harness, ADMIN).await.status, 200);
    drop(second);
}

#[tokio::test]
async fn one_subject_gets_a_share_of_the_streams() {
    let harness = start(Choices::new().set("limits.streams", 4)).await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "notifications": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }})
    .to_string();
    let mirrors = format!("mcp-protocol-version: {MODERN}\r\nmcp-method: subscriptions/listen\r\n");
    let mut first = sent(&harness, &post(ADMIN, &mirrors, &body)).await;
    read_until(&mut first, "acknowledged").await;
    let mut second = sent(&harness, &post(ADMIN, &mirrors, &body)).await;
    let refused = read_until(&mut second, "share_exhausted").await;
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("retry-after: 1"), "{refused}");
    let mut bobs = sent(&harness, &post(BOB, &mirrors, &body)).await;
    read_until(&mut bobs, "acknowledged").await;
}

#[tokio::test]
async fn one_subject_gets_a_share_of_the_open_questions() {
    let harness = start(Choices::new().set("limits.questions", 4).tool(Arc::new(Pay))).await;
    let params = json!({"name": "pay", "arguments": {"amount": 1}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let version = "mcp-protocol-version: 2025-11-25\r\n";
    let mut first = sent(&harness, &post(ADMIN, version, &body)).await;
    read_until(&mut first, "elicitation/create").await;
    is_share(&call(&harness, ADMIN, "pay", json!({"amount": 1})).await);
    let mut bobs = sent(&harness, &post(BOB, version, &body)).await;
    read_until(&mut bobs, "elicitation/create").await;
    // A question that nobody waits for any more is not open.
    drop(first);
    let mut next = sent(&harness, &post(ADMIN, version, &body)).await;
    let answer = read_until(&mut next, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 429 "), "{answer}");
}

/// Each sends one byte and waits: they share what is there for slow bodies, and nobody else waits for it.
#[tokio::test]
async fn slow_senders_hold_no_place_of_others() {
    let harness = start(Choices::new().set("limits.requests", 4)).await;
    let slow = |token: &str| {
        let whole = post(token, "", PING);
        whole[..=whole.len() - PING.len()].to_owned()
    };
    let mut first = sent(&harness, &slow(ADMIN)).await;
    harness.sleeping_until(Duration::from_secs(30)).await;
    let refused = read_to_end(sent(&harness, &slow(ADMIN)).await).await;
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("share_exhausted"), "{refused}");
    assert!(refused.contains("connection: close"), "{refused}");
    assert_eq!(ping(&harness, ADMIN).await.status, 200, "a body that is there at once waits for nobody");
    assert_eq!(ping(&harness, BOB).await.status, 200);
    first.write_all(&PING.as_bytes()[1..]).await.unwrap();
    assert!(read_until(&mut first, "result").await.starts_with("HTTP/1.1 200 "));
}

/// Nobody has vouched for those that wait.
#[tokio::test]
async fn requests_that_wait_for_keys_hold_no_place() {
    let harness = start(Choices::new().set("limits.requests", 1)).await;
    harness.verifier.hold("made-up");
    let mut waiting = Vec::new();
    for count in 1..=10 {
        waiting.push(sent(&harness, &post("made-up", "", PING)).await);
        soon(harness.verifier.waiting(count)).await;
    }
    assert_eq!(ping(&harness, ADMIN).await.status, 200);
    harness.verifier.release();
    for mut stream in waiting {
        assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 401 "));
    }
}

// Answers that nobody takes.

/// An HTTP/2 `HEAD /ping`.
fn head(stream: u32) -> Vec<u8> {
    let fields = [(":method", "HEAD"), (":scheme", "http"), (":path", "/ping"), (":authority", "localhost")];
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(kind::HEADERS, flag::WHOLE, stream, &block)
}

fn http2_call(stream: u32, tool: &str) -> Vec<u8> {
    let bearer = format!("Bearer {ADMIN}");
    let fields = [
        (":path", "/mcp"),
        (":authority", "localhost"),
        ("authorization", &bearer),
        ("content-type", "application/json"),
    ];
    let fields: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}});
    let head = frame(kind::HEADERS, flag::END_HEADERS, stream, &[b"\x83\x86", &*fields].concat());
    [head, frame(kind::DATA, flag::END_STREAM, stream, body.to_string().as_bytes())].concat()
}

fn window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// Whether an answer's head does not begin with `:status: 200`, which is one byte (RFC 7541 appendix A).
fn is_refused(payload: &[u8]) -> bool {
    payload.first() != Some(&0x88)
}

#[tokio::test]
async fn answers_that_nobody_takes_are_reset_whatever_else_the_client_does() {
    let harness = start(Choices::new()).await;
    let mut client = Http2::open(&harness, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0)]).await;
    for stream in 0..99 {
        client.send(&get(stream * 2 + 1, "/ping")).await;
        client.until(|frame| frame.kind == kind::HEADERS).await;
    }
    // It looks alive.
    for stream in [201, 203] {
        harness.clock.advance(Duration::from_secs(29));
        client.send(&head(stream)).await;
        client.until(|frame| frame.kind == kind::HEADERS && frame.stream == stream).await;
    }
    harness.clock.advance(Duration::from_secs(2));
    for _ in 0..99 {
        let reset = client.until(|frame| frame.kind == kind::RST_STREAM).await;
        assert!(reset.stream < 200 && reset.error() == Some(8), "{reset:?}");
    }
    // The connection is as good as before.
    client.send(&[get(205, "/ping"), window(205, 1000)].concat()).await;
    client.until_data("pong").await;
}

#[tokio::test]
async fn a_large_answer_whose_window_was_opened_by_a_byte_is_reset_too() {
    let harness = start(Choices::new().tool(Arc::new(Large(1 << 20)))).await;
    let mut client = Http2::open(&harness, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0)]).await;
    client.send(&http2_call(1, "large")).await;
    client.send(&window(1, 1)).await;
    let first = client.until(|frame| frame.kind == kind::DATA).await;
    assert_eq!(first.payload.len(), 1);
    harness.clock.advance(Duration::from_mins(1));
    let reset = client.until(|frame| frame.kind == kind::RST_STREAM).await;
    assert_eq!((reset.stream, reset.error()), (1, Some(8)));
}

/// 55 s between any two bytes.
#[tokio::test]
async fn who_reads_slowly_gets_all_of_it() {
    let harness = start(Choices::new().tool(Arc::new(Large(200_000)))).await;
    let mut client = Http2::open(&harness, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0)]).await;
    client.send(&window(0, 1 << 20)).await;
    client.send(&http2_call(1, "large")).await;
    client.until(|frame| frame.kind == kind::HEADERS).await;
    let mut read = 0;
    loop {
        client.send(&window(1, 16_384)).await;
        let data = client.until(|frame| frame.kind == kind::DATA).await;
        read += data.payload.len();
        if data.flags & flag::END_STREAM != 0 {
            break;
        }
        if data.payload.len() == 16_384 {
            harness.clock.advance(Duration::from_secs(55));
        }
    }
    assert!(read > 200_000, "{read}");
}

#[tokio::test]
async fn a_connection_with_much_unsent_gets_nothing_more_done() {
    let tool = Arc::new(RecordingTool::new("counted", &[], Behaviour::Answer));
    let choices = Choices::new().tool(Arc::new(Large(1 << 20))).tool(Arc::clone(&tool) as _);
    let harness = start(choices).await;
    let mut client = Http2::open(&harness, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0)]).await;
    let mut refused = 0;
    for stream in 0..8 {
        client.send(&http2_call(stream * 2 + 1, "large")).await;
        let answer = client.until(|frame| frame.kind == kind::HEADERS).await;
        refused += usize::from(is_refused(&answer.payload));
    }
    assert_eq!(refused, 5, "3 MiB, and what goes with them, are less than 4");
    // Other connections of the same subject, and of others, go on.
    for token in [ADMIN, BOB] {
        assert_eq!(call(&harness, token, "large", json!({})).await.status, 200);
    }
    // Once it reads, it is served again.
    client.send(&[window(0, 4 << 20), window(1, 2 << 20)].concat()).await;
    client
        .until(|frame| frame.stream == 1 && frame.flags & flag::END_STREAM != 0 && frame.kind == kind::DATA)
        .await;
    client.send(&http2_call(101, "large")).await;
    let answer = client.until(|frame| frame.kind == kind::HEADERS).await;
    assert!(!is_refused(&answer.payload), "{answer:?}");
}

#[tokio::test]
async fn unsent_answers_of_one_subject_have_a_share_of_the_memory() {
    let choices = Choices::new().set("limits.memory_bytes", 16 << 20).tool(Arc::new(Large(1 << 20)));
    let harness = start(choices).await;
    let mut clients = Vec::new();
    let mut refused = 0;
    for _ in 0..6 {
        let mut client = Http2::open(&harness, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0)]).await;
        client.send(&http2_call(1, "large")).await;
        let answer = client.until(|frame| frame.kind == kind::HEADERS).await;
        refused += usize::from(is_refused(&answer.payload));
        clients.push(client);
    }
    assert_eq!(refused, 3, "a quarter of 16 MiB");
    assert_eq!(call(&harness, BOB, "large", json!({})).await.status, 200);
    drop(clients);
}

// One snapshot.

fn settings(
    change: impl FnOnce(fastmcp_auth0::Sources) -> fastmcp_auth0::Sources,
) -> fastmcp_auth0::Settings {
    let sources = fastmcp_auth0::Sources::defaults()
        .set("test", "auth0.issuer", ISSUER)
        .set("test", "auth0.audience", AUDIENCE)
        .set("test", "server.url", URL);
    let catalog = fastmcp_auth0::wiring::shipped().catalog().unwrap();
    fastmcp_auth0::Settings::load(change(sources), &catalog).unwrap()
}

#[tokio::test]
async fn a_request_is_judged_by_one_configuration_from_its_first_to_its_last_step() {
    let harness = start(Choices::new()).await;
    let other = settings(|sources| {
        let sources = sources.set("test", "tools.whoami.enabled", false);
        sources.set("test", "tools.greet.scopes", vec!["say:hello"])
    });
    harness.verifier.hold(ADMIN);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}});
    let greet = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "greet"}});
    let reload = async {
        soon(harness.verifier.waiting(2)).await;
        harness.reload(&other);
        harness.verifier.release();
    };
    let (called, greeted, ()) =
        tokio::join!(harness.legacy(ADMIN, &call), harness.legacy(ADMIN, &greet), reload);
    assert_eq!(called.json()["result"]["isError"], false, "what was there when it came");
    assert_eq!(greeted.status, 200);
    let (called, greeted) = (harness.legacy(ADMIN, &call).await, harness.legacy(ADMIN, &greet).await);
    assert_eq!((called.code(), greeted.status.as_u16()), (-32602, 403));
}

#[tokio::test]
async fn tokens_challenges_and_documents_change_as_one() {
    let harness = start(Choices::new()).await;
    let other = "https://other.example.com/mcp";
    harness.token("new", |claims| claims.audience = vec![other.into()]);
    harness.reload(&settings(|sources| {
        let sources = sources.set("test", "auth0.audience", other);
        sources.set("test", "server.url", "https://other.example.com")
    }));
    assert_eq!(ping(&harness, "new").await.status, 200);
    let refused = ping(&harness, ADMIN).await;
    assert!(refused.header("www-authenticate").contains("wrong_audience"));
    assert!(refused.header("www-authenticate").contains("https://other.example.com/.well-known/"));
    let document = harness.get("/.well-known/oauth-protected-resource").await.json();
    assert_eq!(document["resource"], other);
}

// Where a request ends.

/// Requests that are answered although nobody wants their body.
const UNWANTED: [(&str, &str, u16); 12] = [
    ("POST /mcp", "", 401),
    ("POST /mcp", "authorization: Bearer wrong\r\n", 401),
    ("POST /nothing", "", 404),
    ("OPTIONS /mcp", "origin: http://localhost\r\naccess-control-request-method: POST\r\n", 204),
    ("GET /health", "", 200),
    ("GET /.well-known/oauth-protected-resource", "", 200),
    ("GET /mcp", "", 401),
    ("GET /mcp", "authorization: Bearer admin-token\r\n", 405),
    ("DELETE /mcp", "authorization: Bearer admin-token\r\n", 405),
    ("POST /mcp", "origin: http://evil.example\r\n", 403),
    ("POST /mcp", "authorization: Bearer admin-token\r\ncontent-type: text/plain\r\n", 415),
    ("POST /mcp", "authorization: Bearer admin-token\r\ncontent-encoding: gzip\r\n", 415),
];
const NEXT: &str = "GET /ping HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn unwanted(line: &str, more: &str, rest: &str) -> String {
    let json = if more.contains("content-type") { "" } else { "content-type: application/json\r\n" };
    format!("{line} HTTP/1.1\r\nhost: localhost\r\n{json}{more}{rest}{NEXT}")
}

#[tokio::test]
async fn a_connection_is_closed_after_a_body_without_a_verified_end() {
    let harness = start(Choices::new()).await;
    let large = "x".repeat(16 * 1024 + 1);
    for (line, more, status) in UNWANTED {
        for rest in [
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\n".to_owned(),
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\n".to_owned(),
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n".to_owned(),
            "transfer-encoding: chunked\r\n\r\n5\r\nhello world\r\n0\r\n\r\n".to_owned(),
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n".to_owned(),
            "transfer-encoding: chunked\r\n\r\n0\r\n\n".to_owned(),
            "transfer-encoding: chunked\r\n\r\n0\r\nx: y\n\n".to_owned(),
            "transfer-encoding: chunked\r\n\r\n0\n\n".to_owned(),
            format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len()),
            format!("content-length: {}\r\n\r\n{large}", large.len()),
            // Longer than what is there: the rest may come, and may look like a request.
            "content-length: 1000\r\n\r\nhello".to_owned(),
            "expect: 100-continue\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
        ] {
            let read = harness.raw(unwanted(line, more, &rest).as_bytes()).await;
            let shown = &rest[..rest.len().min(80)];
            assert!(read.starts_with(&format!("HTTP/1.1 {status} ")), "{line} {shown}: {read}");
            assert_eq!(read.matches("HTTP/1.1 ").count(), 1, "{line} {shown}: {read}");
            assert!(!read.contains("pong") && read.contains("connection: close"), "{line} {shown}: {read}");
        }
    }
}

/// A login begins with a 401 to a small POST: its connection serves the next request.
#[tokio::test]
async fn a_connection_is_kept_after_a_small_body_that_was_read_to_its_end() {
    let harness = start(Choices::new()).await;
    let whole = "x".repeat(16 * 1024);
    for (line, more, status) in UNWANTED {
        for rest in [
            "\r\n".to_owned(),
            "content-length: 0\r\n\r\n".to_owned(),
            "content-length: 5\r\n\r\nhello".to_owned(),
            format!("content-length: {}\r\n\r\n{whole}", whole.len()),
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n".to_owned(),
            "transfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ] {
            let read = harness.raw(unwanted(line, more, &rest).as_bytes()).await;
            let shown = &rest[..rest.len().min(80)];
            assert!(read.starts_with(&format!("HTTP/1.1 {status} ")), "{line} {shown}: {read}");
            assert_eq!(read.matches("HTTP/1.1 ").count(), 2, "{line} {shown}: {read}");
            assert!(
                read.contains("pong") && read.matches("connection: close").count() == 1,
                "{line}: {read}"
            );
        }
    }
}

/// Nobody waits for the rest of a body that is not wanted.
#[tokio::test]
async fn a_refusal_does_not_wait_for_its_body() {
    let harness = start(Choices::new()).await;
    for framing in ["content-length: 6\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n6\r\nhello"] {
        let head = format!("POST /mcp HTTP/1.1\r\nhost: localhost\r\n{framing}");
        let mut stream = sent(&harness, &head).await;
        let read = read_until(&mut stream, "no_token").await;
        assert!(read.starts_with("HTTP/1.1 401 ") && read.contains("connection: close"), "{read}");
    }
}

// Numbers, headers, states, subscriptions.

#[tokio::test]
async fn parameter_headers_agree_with_the_arguments_exactly_in_every_revision() {
    struct Mirrored;
    #[async_trait]
    impl DynTool for Mirrored {
        fn spec(&self) -> Result<ToolSpec, SpecError> {
            let schema =
                json!({"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}});
            ToolSpec::with_schema("mirrored", "Mirrored", "A tool.", schema)
        }
        async fn run(&self, _: ToolCall<'_>) -> ToolResult {
            CallToolResult::of(["done"])
        }
    }
    let harness = start(Choices::new().tool(Arc::new(Mirrored))).await;
    for (number, header, legacy, modern) in [
        ("9007199254740993", Some("9007199254740993"), 200, 200),
        ("9007199254740993", Some("9007199254740992"), 400, 400),
        ("42", Some("42.0"), 200, 200),
        ("42", Some("43"), 400, 400),
        ("42", None, 200, 400),
    ] {
        for (version, expected) in [("2025-03-26", legacy), ("2025-11-25", legacy), (MODERN, modern)] {
            let meta = format!(
                r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}}},"#
            );
            let meta = if version == MODERN { meta } else { String::new() };
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{meta}"name":"mirrored","arguments":{{"n":{number}}}}}}}"#
            );
            let request = harness.post(ADMIN).header("mcp-protocol-version", version);
            let request = request.header("mcp-method", "tools/call").header("mcp-name", "mirrored");
            let request =
                header.into_iter().fold(request, |request, value| request.header("mcp-param-n", value));
            let answer = harness.send(request.body(Full::from(body)).unwrap()).await;
            assert_eq!(answer.status, expected, "{version}: {number} {header:?}");
            if expected == 400 {
                assert_eq!(answer.code(), -32020);
            }
        }
    }
}

#[tokio::test]
async fn what_was_confirmed_is_confirmed_for_the_arguments_that_were_asked_about() {
    let harness = start(Choices::new().tool(Arc::new(Pay))).await;
    let pay = |arguments: Value, state: Option<&Value>| {
        let mut params = json!({"name": "pay", "arguments": arguments});
        if let Some(state) = state {
            params["requestState"] = state.clone();
            params["inputResponses"] = json!({"sure": {"action": "accept", "content": {}}});
        }
        harness.modern(ADMIN, "tools/call", params)
    };
    let asked = pay(json!({"amount": 5, "to": {"a": 1, "b": 2}}), None).await.json()["result"].clone();
    assert_eq!(asked["resultType"], "input_required");
    let state = Some(&asked["requestState"]);
    for changed in [json!({"amount": 5000, "to": {"a": 1, "b": 2}}), json!({"amount": 5}), json!({})] {
        let anew = pay(changed.clone(), state).await.json()["result"].clone();
        assert_eq!(anew["resultType"], "input_required", "{changed}: the call starts anew");
    }
    // The order of members says nothing.
    let reordered = serde_json::from_str(r#"{"to": {"b": 2, "a": 1}, "amount": 5}"#).unwrap();
    let paid = pay(reordered, state).await.json();
    assert_eq!(paid["result"]["content"][0]["text"], "5 as 5");
}

#[tokio::test]
async fn a_subscription_names_each_resource_once_and_not_too_many() {
    let harness = start(Choices::new()).await;
    let listen = |resources: Vec<String>| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
            "notifications": {"resourceSubscriptions": resources},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        }});
        let mirrors = format!("mcp-protocol-version: {MODERN}\r\nmcp-method: subscriptions/listen\r\n");
        post(ADMIN, &mirrors, &body.to_string())
    };
    let mut copies = sent(&harness, &listen(vec!["note://one".into(); 36_000])).await;
    read_until(&mut copies, "acknowledged").await;
    let many = |count: usize| (0..count).map(|n| format!("note://{n}")).collect::<Vec<_>>();
    let mut most = sent(&harness, &listen(many(1000))).await;
    read_until(&mut most, "acknowledged").await;
    let mut more = sent(&harness, &listen(many(1001))).await;
    let refused = read_until(&mut more, "more than 1000 resources").await;
    assert!(refused.contains("-32602"), "{refused}");
}
