//! Spans of requests: their tree, their parents, what they say, and what they never do.

use std::sync::Arc;
use std::time::Duration;

use domain::trace::{AttributeValue, SpanKind};
use domain::{
    CallToolResult, DynTool, Outcome, SpanData, SpecError, ToolCall, ToolResult, ToolSpec, TraceContext,
    Tracer, Untrusted, async_trait,
};
use fakes::{Behaviour, ManualClock, RecordingTool, RecordingTracer};
use http_body_util::Full;
use serde_json::{Value, json};
use upstream_mcp::Upstream;
use upstream_mcp::options::{Connect, Http, Options};

use crate::harness::{ADMIN, Answer, Choices, Harness, MODERN, NOW, USER, soon};
use crate::streams::{Stream, chatty, everything};
use crate::upstreams::{options, scopes};

/// The W3C's example, and another span of another trace.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const VERSION: &str = "mcp-protocol-version";
/// A text that must be in no span.
const CANARY: &str = "canary-7f3a";

struct Traced {
    harness: Harness,
    tracer: Arc<RecordingTracer>,
}

impl Traced {
    async fn start(choices: Choices) -> Self {
        Self::start_with(choices, RecordingTracer::new(true)).await
    }

    async fn start_with(choices: Choices, tracer: RecordingTracer) -> Self {
        let tracer = Arc::new(tracer);
        let port: Arc<dyn Tracer> = Arc::clone(&tracer) as _;
        let harness = choices.ports_with(move |ports| ports.tracer = Some(port)).start().await;
        Self { harness, tracer }
    }

    /// Sends a legacy message with further header fields.
    async fn post(&self, token: &str, message: Value, fields: &[(&str, &str)]) -> Answer {
        let request = self.harness.post(token);
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.harness.send(request.body(message.to_string().into()).unwrap()).await
    }

    /// Calls a tool, and returns the spans of that.
    async fn call(&self, token: &str, tool: &str, arguments: Value) -> Vec<SpanData> {
        self.harness.modern(token, "tools/call", json!({"name": tool, "arguments": arguments})).await;
        self.tracer.take()
    }
}

fn call(id: impl Into<Value>, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": params})
}

/// The names of spans, those of children indented below their parents', with what went wrong.
fn tree(spans: &[SpanData]) -> Vec<String> {
    let is_inner = |span: &&SpanData| spans.iter().any(|other| Some(other.context.span_id()) == span.parent);
    let mut lines = Vec::new();
    for span in spans.iter().filter(|span| !is_inner(span)) {
        branch(spans, span, 0, &mut lines);
    }
    lines
}

fn branch(spans: &[SpanData], span: &SpanData, depth: usize, lines: &mut Vec<String>) {
    let error = span.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    lines.push(format!("{}{}{error}", "  ".repeat(depth), span.name));
    for child in spans.iter().filter(|child| child.parent == Some(span.context.span_id())) {
        assert_eq!(child.context.trace_id(), span.context.trace_id());
        branch(spans, child, depth + 1, lines);
    }
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let mut values = span.attributes.iter().filter(|(key, _)| *key == name).map(|(_, value)| value);
    let value = values.next()?;
    assert!(values.next().is_none(), "{name} is there twice");
    Some(match value {
        AttributeValue::Text(text) => text.to_string(),
        AttributeValue::Number(number) => number.to_string(),
    })
}

/// The only server span.
#[track_caller]
fn server(spans: &[SpanData]) -> &SpanData {
    let mut servers = spans.iter().filter(|span| span.kind == SpanKind::Server);
    let server = servers.next().expect("a server span");
    assert!(servers.next().is_none(), "{:?}", tree(spans));
    server
}

#[tokio::test]
async fn a_call_has_a_span_with_one_for_each_step() {
    let traced = Traced::start(Choices::new()).await;
    let spans = traced.call(ADMIN, "greet", json!({"name": "Ada"})).await;
    assert_eq!(tree(&spans), ["tools/call greet", "  verify", "  admit", "  policy", "  tool"]);
    let server = server(&spans);
    let said: Vec<(&str, String)> =
        server.attributes.iter().map(|(name, _)| (*name, attribute(server, name).unwrap())).collect();
    let expected = [
        ("network.transport", "tcp"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("fastmcp_auth0.request_id", &attribute(server, "fastmcp_auth0.request_id").unwrap()),
        ("fastmcp_auth0.client_id", "client-1"),
        ("mcp.method.name", "tools/call"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "greet"),
        ("jsonrpc.request.id", "1"),
        ("mcp.protocol.version", MODERN),
    ];
    assert_eq!(said, expected.map(|(name, value)| (name, value.to_owned())));
    assert_eq!((server.parent, server.is_parent_remote), (None, false));
    assert_eq!(attribute(&spans[3], "gen_ai.tool.name").as_deref(), Some("greet"));
    assert!(spans.iter().all(|span| span.kind == SpanKind::Internal || span.name == server.name));
    // The calendar's present, which stands still here.
    let now = Duration::from_millis(NOW.0.try_into().unwrap());
    assert!(spans.iter().all(|span| span.began == now && span.ended == now));
}

#[tokio::test]
async fn what_is_no_call_has_its_own_steps() {
    let traced = Traced::start(everything()).await;
    for (method, params, expected) in [
        ("tools/list", json!({}), &["tools/list", "  verify", "  admit"][..]),
        (
            "resources/read",
            json!({"uri": "note://one"}),
            &["resources/read", "  verify", "  admit", "  policy", "  resource"],
        ),
        (
            "prompts/get",
            json!({"name": "poem", "arguments": {"about": "ice"}}),
            &["prompts/get poem", "  verify", "  admit", "  policy", "  prompt"],
        ),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "poem"}, "argument": {"name": "about", "value": "i"}}),
            &["completion/complete", "  verify", "  admit", "  policy", "  completion"],
        ),
        (CANARY, json!({}), &["_OTHER: -32601", "  verify", "  admit"]),
    ] {
        traced.harness.modern(ADMIN, method, params).await;
        assert_eq!(tree(&traced.tracer.take()), expected, "{method}");
    }
    for (uri, said) in
        [("note://one", Some("note://one")), ("note://by/7", Some("note://by/{id}")), ("note://none", None)]
    {
        traced.harness.modern(ADMIN, "resources/read", json!({"uri": uri})).await;
        let spans = traced.tracer.take();
        assert_eq!(attribute(server(&spans), "mcp.resource.uri").as_deref(), said);
    }
}

#[tokio::test]
async fn the_parent_is_the_messages_or_else_the_headers_which_is_linked_otherwise() {
    let traced = Traced::start(Choices::new()).await;
    let message = |parent: Value| call(1, json!({"name": "get_datetime", "_meta": {"traceparent": parent}}));
    let span_of = |parent: &str| TraceContext::parse(parent, None).unwrap().span_id();
    for (in_message, in_header, parent, link) in [
        (json!(PARENT), None, Some(PARENT), None),
        (json!(PARENT), Some(OTHER), Some(PARENT), Some(OTHER)),
        (json!(PARENT), Some(PARENT), Some(PARENT), None),
        (json!(PARENT), Some("00-what-ever-01"), Some(PARENT), None),
        (Value::Null, Some(OTHER), Some(OTHER), None),
        (json!("00-what-ever-01"), Some(OTHER), Some(OTHER), None),
        (json!(7), Some(OTHER), Some(OTHER), None),
        (json!({"a": []}), None, None, None),
        (Value::Null, None, None, None),
    ] {
        let fields: Vec<_> = in_header.iter().map(|parent| ("traceparent", *parent)).collect();
        let answer = traced.post(ADMIN, message(in_message.clone()), &fields).await;
        assert_eq!(answer.status, 200);
        let spans = traced.tracer.take();
        let server = server(&spans);
        assert_eq!(server.parent, parent.map(span_of), "{in_message} {in_header:?}");
        assert_eq!(server.is_parent_remote, parent.is_some());
        let links: Vec<_> = server.links.iter().map(TraceContext::traceparent).collect();
        assert_eq!(
            links,
            link.map(str::to_owned).into_iter().collect::<Vec<_>>(),
            "{in_message} {in_header:?}"
        );
        assert!(spans.iter().all(|span| span.context.trace_id() == server.context.trace_id()));
        assert_eq!(tree(&spans).len(), 5);
    }
}

#[tokio::test]
async fn a_refused_request_has_a_span_with_the_reason() {
    let traced = Traced::start(Choices::new()).await;
    traced.harness.refuse("forged", Untrusted::Signature);
    let message = || call(1, json!({"name": "greet", "arguments": {"name": "Ada"}}));
    let status = traced.post("forged", message(), &[("traceparent", PARENT)]).await.status.as_u16();
    let spans = traced.tracer.take();
    assert_eq!(
        (status, tree(&spans)),
        (401, owned(&["POST /mcp: bad_signature", "  verify: bad_signature"]))
    );
    let server = server(&spans);
    assert_eq!(server.parent, Some(TraceContext::parse(PARENT, None).unwrap().span_id()));
    for (name, value) in
        [("http.request.method", "POST"), ("http.route", "/mcp"), ("http.response.status_code", "401")]
    {
        assert_eq!(attribute(server, name).as_deref(), Some(value));
    }
    // Expired: verified, and not admitted.
    traced.harness.token("old", |claims| claims.expires_at = domain::UnixSeconds(0));
    traced.post("old", message(), &[]).await;
    let expected = ["POST /mcp: expired", "  verify", "  admit: expired"];
    assert_eq!(tree(&traced.tracer.take()), expected);

    let request = traced.harness.request("POST", "/mcp").body(Full::default()).unwrap();
    assert_eq!(traced.harness.send(request).await.status, 401);
    assert_eq!(tree(&traced.tracer.take()), ["POST /mcp: no_token"]);
    let request = traced.harness.request("BREW", "/mcp").header("authorization", format!("Bearer {ADMIN}"));
    assert_eq!(traced.harness.send(request.body(Full::default()).unwrap()).await.status, 405);
    assert_eq!(tree(&traced.tracer.take())[0], "HTTP /mcp: method_not_allowed");
    traced.post(ADMIN, message(), &[("origin", "https://evil.example")]).await;
    assert_eq!(tree(&traced.tracer.take()), ["POST /mcp: foreign_origin"]);

    assert_eq!(traced.post(USER, message(), &[]).await.status, 403);
    let expected =
        ["tools/call greet: insufficient_scope", "  verify", "  admit", "  policy: insufficient_scope"];
    assert_eq!(tree(&traced.tracer.take()), expected);
    let malformed = traced.harness.post(ADMIN).body("{".into()).unwrap();
    assert_eq!(traced.harness.send(malformed).await.status, 400);
    assert_eq!(tree(&traced.tracer.take())[0], "POST /mcp: parse_error");

    // A probe, a document and a notification are no requests of MCP's.
    traced.harness.get("/health").await;
    traced.harness.get("/.well-known/oauth-protected-resource/mcp").await;
    traced.post(ADMIN, json!({"jsonrpc": "2.0", "method": "notifications/initialized"}), &[]).await;
    assert_eq!(tree(&traced.tracer.take()), [""; 0]);
}

#[tokio::test]
async fn a_request_beyond_a_quota_has_its_reason() {
    let choices = Choices::new().set("quota.client", "1/minute burst 1");
    let traced = Traced::start(choices).await;
    traced.call(ADMIN, "get_datetime", json!({})).await;
    let answer = traced.harness.modern(ADMIN, "tools/call", json!({"name": "get_datetime"})).await;
    assert_eq!(answer.status, 429);
    let spans = traced.tracer.take();
    assert_eq!(tree(&spans)[0], "tools/call get_datetime: rate_exceeded");
    assert_eq!(attribute(server(&spans), "fastmcp_auth0.reason").as_deref(), Some("rate_exceeded"));
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// Says that its result is an error.
struct Sorry;

#[async_trait]
impl DynTool for Sorry {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::with_schema("sorry", "Sorry", "A tool.", json!({"type": "object"}))
    }

    async fn run(&self, _: ToolCall<'_>) -> ToolResult {
        let Outcome::Complete(result) = CallToolResult::of(["sorry"])? else { unreachable!() };
        Ok(Outcome::Complete(CallToolResult { is_error: true, ..result }))
    }
}

#[tokio::test]
async fn a_call_that_fails_says_so_by_the_conventions_and_by_the_reason_code() {
    let tool = |name, behaviour| Arc::new(RecordingTool::new(name, &[], behaviour));
    let choices = Choices::new()
        .tool(tool("fails", Behaviour::Fail))
        .tool(tool("panics", Behaviour::Panic))
        .tool(Arc::new(Sorry));
    let traced = Traced::start(choices).await;
    for (tool, at_tool, at_server, reason, code) in [
        ("fails", Some("tool_failed"), "tool_error", Some("tool_failed"), None),
        ("panics", Some("tool_panicked"), "tool_error", Some("tool_panicked"), None),
        ("sorry", Some("tool_error"), "tool_error", None, None),
        (CANARY, None, "-32602", Some("unknown_tool"), Some("-32602")),
    ] {
        let spans = traced.call(ADMIN, tool, json!({})).await;
        let ran = spans.iter().find(|span| span.name == "tool");
        assert_eq!(ran.and_then(|span| span.error.as_deref()), at_tool, "{tool}");
        let server = server(&spans);
        assert_eq!(server.error.as_deref(), Some(at_server), "{tool}");
        assert_eq!(attribute(server, "fastmcp_auth0.reason").as_deref(), reason, "{tool}");
        assert_eq!(attribute(server, "rpc.response.status_code").as_deref(), code, "{tool}");
    }
}

#[tokio::test]
async fn a_batch_has_a_span_for_each_request_and_the_first_has_what_came_before() {
    let traced = Traced::start(Choices::new()).await;
    let batch = json!([
        call("a", json!({"name": "get_datetime", "_meta": {"traceparent": PARENT}})),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        call("b", json!({"name": "greet", "arguments": {"name": "Ada"}})),
        {"jsonrpc": "2.0", "id": 3, "method": "initialize"},
    ]);
    assert_eq!(traced.post(USER, batch, &[("traceparent", OTHER)]).await.status, 200);
    let spans = traced.tracer.take();
    let mut servers = spans.iter().filter(|span| span.kind == SpanKind::Server);
    let (first, second) = (servers.next().unwrap(), servers.next().unwrap());
    let parents = [first, second].map(|span| span.parent.unwrap().to_string());
    assert_eq!(parents, ["00f067aa0ba902b7", "b7ad6b7169203331"]);
    let expected = [
        "tools/call get_datetime",
        "  verify",
        "  admit",
        "  policy",
        "  tool",
        "tools/call greet: insufficient_scope",
        "  policy: insufficient_scope",
        "initialize: -32600",
    ];
    assert_eq!(tree(&spans), expected);
}

#[tokio::test]
async fn a_call_whose_client_goes_away_ends_as_cancelled() {
    let traced = Traced::start(Choices::new().tool(chatty(1, true))).await;
    let message = call(1, json!({"name": "chatty", "_meta": {"progressToken": 1}}));
    let mut stream = Stream::open_legacy(&traced.harness, ADMIN, &message.to_string()).await;
    stream.until("notifications/progress").await;
    // Verified and permitted; the tool is still at it.
    assert_eq!(traced.tracer.take().len(), 3);
    drop(stream);
    let spans = soon(traced.tracer.ended(2)).await;
    assert_eq!(tree(&spans), ["tools/call chatty: cancelled", "  tool: cancelled"]);
}

/// Returns what it would hand on.
struct Hands;

#[async_trait]
impl DynTool for Hands {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::with_schema("hands", "Hands", "A tool.", json!({"type": "object"}))
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let context = call.context.trace_context();
        let mut step = call.context.span.child("step");
        step.set("count", 3);
        step.end(Ok(()));
        let parent = context.map_or_else(|| "none".to_owned(), TraceContext::traceparent);
        let state = context.and_then(TraceContext::tracestate).unwrap_or_default();
        CallToolResult::of([format!("{parent} {state}")])
    }
}

async fn handed_on(harness: &Harness) -> String {
    let meta = json!({"traceparent": PARENT, "tracestate": "rojo=1"});
    let answer = harness.modern(ADMIN, "tools/call", json!({"name": "hands", "_meta": meta})).await;
    answer.json()["result"]["content"][0]["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_tool_can_hand_its_context_on_and_have_steps_of_its_own() {
    let traced = Traced::start(Choices::new().tool(Arc::new(Hands))).await;
    let handed_on = handed_on(&traced.harness).await;
    let spans = traced.tracer.take();
    let tool = spans.iter().find(|span| span.name == "tool").unwrap();
    assert_eq!(handed_on, format!("{} rojo=1", tool.context.traceparent()));
    assert!(handed_on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_eq!(tree(&spans)[4..], ["  tool", "    step"]);
}

#[tokio::test]
async fn what_is_not_recorded_is_handed_on_as_such_and_where_nothing_is_traced_there_is_no_context() {
    let choices = || Choices::new().tool(Arc::new(Hands));
    let traced = Traced::start_with(choices(), RecordingTracer::new(false)).await;
    let handed_on_unsampled = handed_on(&traced.harness).await;
    assert!(handed_on_unsampled.ends_with("-00 rojo=1"), "{handed_on_unsampled}");
    assert!(traced.tracer.take().is_empty());
    assert_eq!(handed_on(&choices().start().await).await, "none ");
}

/// A server with an upstream of these options, for callers that may call all of it.
async fn gateway(options: Options) -> Traced {
    let upstream = Upstream::start(options, Arc::new(ManualClock::at(NOW)));
    soon(upstream.first_lists()).await.unwrap();
    let traced = Traced::start(Choices::new().provider(Arc::new(upstream))).await;
    traced.harness.token(ADMIN, |claims| claims.scope = scopes("up:read up:write up:destroy"));
    traced
}

/// The client span, which is the tool's only child.
fn client(spans: &[SpanData]) -> &SpanData {
    let tool = spans.iter().find(|span| span.name == "tool").unwrap();
    let client = spans.iter().find(|span| span.kind == SpanKind::Client).unwrap();
    assert_eq!(client.parent, Some(tool.context.span_id()));
    client
}

#[tokio::test]
async fn a_call_at_an_upstream_has_a_span_whose_context_goes_with_it() {
    for arguments in [&[][..], &["modern"]] {
        let traced = gateway(options(arguments)).await;
        let meta = json!({"traceparent": PARENT, "tracestate": "rojo=1"});
        let answer = traced.post(ADMIN, call(1, json!({"name": "meta", "_meta": meta})), &[]).await.json();
        let spans = traced.tracer.take();
        let client = client(&spans);
        let sent = answer["result"]["content"][0]["text"].as_str().unwrap();
        let sent: Value = serde_json::from_str(sent).unwrap();
        assert_eq!(
            (&sent["traceparent"], &sent["tracestate"]),
            (&client.context.traceparent().into(), &"rojo=1".into())
        );
        assert!(client.context.traceparent().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert_eq!(tree(&spans)[4..], ["  tool", "    tools/call meta"]);
        for (name, value) in [
            ("mcp.method.name", "tools/call"),
            ("gen_ai.tool.name", "meta"),
            ("gen_ai.operation.name", "execute_tool"),
            ("fastmcp_auth0.upstream", "up"),
            ("network.transport", "pipe"),
        ] {
            assert_eq!(attribute(client, name).as_deref(), Some(value));
        }
        assert!(
            attribute(client, "jsonrpc.request.id").is_some()
                && attribute(client, "mcp.protocol.version").is_some()
        );
    }
}

#[tokio::test]
async fn an_upstream_that_traces_is_in_the_same_trace() {
    let upstream = Traced::start(Choices::new().tool(Arc::new(Sorry))).await;
    let url = format!("http://{}/mcp", upstream.harness.address);
    let mut at = Http::new(url.parse().unwrap());
    at.add_header("authorization", &format!("Bearer {ADMIN}")).unwrap();
    let traced = gateway(Options { connect: Connect::Http(at), ..options(&[]) }).await;
    upstream.tracer.take();
    traced.post(ADMIN, call(1, json!({"name": "sorry"})), &[]).await;
    let (spans, theirs) = (traced.tracer.take(), upstream.tracer.take());
    let client = client(&spans);
    let called = theirs.iter().find(|span| span.name == "tools/call sorry").unwrap();
    assert_eq!(called.context.trace_id(), client.context.trace_id());
    assert_eq!(
        (called.parent, called.links.len()),
        (Some(client.context.span_id()), 0),
        "one parent, said twice"
    );
    assert_eq!(client.error.as_deref(), Some("tool_error"));
    assert_eq!(attribute(client, "server.address").as_deref(), Some("127.0.0.1"));
    assert_eq!(attribute(client, "server.port"), Some(upstream.harness.address.port().to_string()));
}

#[tokio::test]
async fn neither_arguments_nor_tokens_nor_subjects_are_in_any_span() {
    let choices = everything().tool(Arc::new(RecordingTool::new("fails", &[], Behaviour::Fail)));
    let traced = Traced::start(choices).await;
    traced.harness.token(CANARY, |claims| claims.subject = CANARY.into());
    traced.harness.refuse("refused-canary-7f3a", Untrusted::Signature);
    let id = json!(format!("{CANARY} {CANARY}"));
    for params in [
        json!({"name": "greet", "arguments": {"name": CANARY}}),
        json!({"name": "greet", "arguments": {"name": [CANARY]}}),
        json!({"name": "greet", "arguments": {CANARY: 1}}),
        json!({"name": "fails", "arguments": {"note": CANARY}, "_meta": {"progressToken": CANARY, "who": CANARY}}),
        json!({"name": CANARY}),
        json!({"name": "greet", "_meta": {"traceparent": CANARY, "tracestate": CANARY}}),
    ] {
        traced.post(CANARY, call(id.clone(), params), &[("traceparent", CANARY), ("baggage", CANARY)]).await;
    }
    for (method, params) in [
        ("resources/read", json!({"uri": format!("note://by/{CANARY}")})),
        ("resources/read", json!({"uri": format!("none://{CANARY}")})),
        ("prompts/get", json!({"name": "poem", "arguments": {"about": CANARY}})),
        ("prompts/get", json!({"name": CANARY})),
        (CANARY, json!({})),
        ("initialize", json!({"protocolVersion": CANARY, "clientInfo": {"name": CANARY}})),
    ] {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        traced.post(CANARY, message, &[(VERSION, "2025-11-25")]).await;
    }
    traced.post("refused-canary-7f3a", call(id, json!({})), &[("user-agent", CANARY)]).await;
    let spans = traced.tracer.take();
    assert!(spans.len() > 40, "{:?}", tree(&spans));
    for span in &spans {
        let text = format!("{span:?}");
        assert!(!text.contains(CANARY) && !text.contains("auth0|"), "{text}");
    }
}
