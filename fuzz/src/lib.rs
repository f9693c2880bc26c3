//! The entry points that need more than one crate: messages answered by a whole server, and configuration files. The others
//! are the modules `fuzzing` of the crates that they look into.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use domain::{Catalog, Holder, Memory, Pool, Principal, UnixMillis};
use fakes::{ManualClock, ScriptedVerifier, claims};
use fastmcp_auth0::{Settings, Sources, wiring};
use futures_util::StreamExt as _;
use mcp_protocol::{Body, Field, McpServer, PostRequest, Reply, RequestFields, ProtocolSnapshot, Status};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use syntax::strict_json;

const ISSUER: &str = "https://tenant.example/";
const AUDIENCE: &str = "https://mcp.example/mcp";
const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// A body, with the headers of 2026-07-28 as its own method and name would have them.
///
/// # Panics
/// When an invariant does not hold.
pub fn json_rpc_modern(body: &[u8]) {
    answer(&Fields::mirroring(body), body);
}

/// A body, with the headers of 2025-11-25.
///
/// # Panics
/// When an invariant does not hold.
pub fn json_rpc_legacy(body: &[u8]) {
    answer(&Fields(BTreeMap::from([("mcp-protocol-version", LEGACY.to_owned())])), body);
}

/// JSON text inside a string inside JSON, some times over, in a member that JSON libraries may take for an instruction to
/// parse it, and in one that none does. The first three bytes choose the place in the message, the depth and the name.
///
/// # Panics
/// When an invariant does not hold.
pub fn json_nested(data: &[u8]) {
    const NAMES: [&str; 4] =
        ["$serde_json::private::RawValue", "plain", "$serde_json::private::Number", "$__toml_private_datetime"];
    let [place, depth, name, text @ ..] = data else {
        return;
    };
    let name = NAMES[usize::from(*name) % NAMES.len()];
    let mut value = Value::String(String::from_utf8_lossy(text).into_owned());
    for _ in 0..depth % 8 {
        value = Value::String(json!({(name): value}).to_string());
    }
    let message = nested_message(*place, json!({(name): value}));
    let is_refused = name.starts_with(strict_json::RESERVED_PREFIX);
    let body = message.to_string().into_bytes();
    assert_eq!(strict_json::check(&body, strict_json::MAX_DEPTH).is_err(), is_refused, "{message}");
    json_rpc_legacy(&body);
    json_rpc_modern(&body);
}

fn nested_message(place: u8, nested: Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "sampling": {}, "roots": {}},
    });
    let request = |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    match place % 8 {
        0 => request("tools/call", json!({"name": "greet", "arguments": nested, "_meta": meta})),
        1 => request(
            "tools/call",
            json!({"name": "test_input_required_result_elicitation", "inputResponses": nested, "_meta": meta}),
        ),
        2 => request("completion/complete", json!({"ref": nested, "argument": {"name": "a", "value": nested}, "_meta": meta})),
        3 => request("tools/list", json!({"_meta": {"progressToken": nested, "x": meta}})),
        4 => request("subscriptions/listen", json!({"notifications": nested, "_meta": meta})),
        5 => json!({"jsonrpc": "2.0", "id": "q", "result": nested}),
        6 => request("prompts/get", json!({"name": "test_prompt_with_arguments", "arguments": nested, "_meta": meta})),
        _ => json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "more": [nested]}),
    }
}

/// A configuration file: it is read, or refused with words for whoever wrote it.
///
/// # Panics
/// When an invariant does not hold.
pub fn config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    let catalog = CATALOG.get_or_init(|| wiring::shipped().catalog().unwrap_or_else(|error| panic!("{error}")));
    let sources = Sources::defaults().set("fuzz", "auth0.issuer", ISSUER).set("fuzz", "auth0.audience", AUDIENCE);
    match Settings::load(sources.text("file.toml", text), catalog) {
        Ok(settings) => {
            assert!(settings.token_policy().issuers.iter().all(|text| !text.is_empty()) && !settings.auth0.audience.is_empty());
            assert!(settings.tokens.leeway.as_secs() <= 300);
            assert!(settings.limits.json_depth <= strict_json::MAX_DEPTH);
            assert!(settings.limits.http.requests > 0 && settings.limits.http.connections > 0);
            assert!(settings.tools.keys().all(|name| catalog.tools.spec(name.as_str()).is_some()));
        }
        Err(problems) => assert!(!problems.problems.is_empty() && !problems.to_string().is_empty()),
    }
}

struct Fields(BTreeMap<&'static str, String>);

impl RequestFields for Fields {
    fn field(&self, name: &str) -> Field<'_> {
        self.0.get(name).map_or(Field::Absent, |value| Field::Value(value))
    }
}

/// What a client mirrors.
#[derive(Deserialize)]
struct Mirrored<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(default)]
    params: BTreeMap<Cow<'a, str>, Value>,
}

impl Fields {
    fn mirroring(body: &[u8]) -> Self {
        let mut fields = BTreeMap::from([("mcp-protocol-version", MODERN.to_owned())]);
        if let Ok(Mirrored { method, params }) = serde_json::from_slice(body) {
            let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
            fields.insert("mcp-method", method.into_owned());
            fields.extend(name.map(|name| ("mcp-name", name)));
        }
        Self(fields)
    }
}

fn answer(fields: &Fields, body: &[u8]) {
    static SERVER: OnceLock<(Arc<McpServer>, Arc<ProtocolSnapshot>, Arc<Pool>, Principal)> = OnceLock::new();
    let (server, snapshot, pool, who) = SERVER.get_or_init(server);
    // The clock stands: whatever waits for time, or for a client's answer, waits for ever, and is given up here.
    let mut context = Context::from_waker(Waker::noop());
    let memory = Memory::of_request(pool, Holder::of(who));
    let post = PostRequest { principal: who, fields, body, may_stream: true, request_id: "", memory, trace: None };
    let answering = pin!(server.answer(snapshot, post));
    if let Poll::Ready(reply) = answering.poll(&mut context) {
        assert_is_answer(reply, body, &mut context);
    }
}

fn assert_is_answer(reply: Reply, body: &[u8], context: &mut Context<'_>) {
    match (reply.body, &reply.status) {
        (Body::Empty, Status::Accepted | Status::Denied(_)) => {}
        (Body::Empty, status) => panic!("nothing to say with {status:?}"),
        (Body::Whole(answers), _) if answers.starts_with(b"[") => batch(&answers, body),
        (Body::Whole(answer), Status::BadRequest) => assert!(message(&answer, body).error.is_some()),
        (Body::Whole(answer), _) => drop(message(&answer, body)),
        (Body::Stream(mut messages), _) => {
            while let Poll::Ready(Some(bytes)) = messages.stream.poll_next_unpin(context) {
                message(&bytes, body);
            }
        }
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    jsonrpc: &'a str,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// One message: JSON-RPC, under the id that was asked with, byte for byte, and never the server's own failure.
fn message<'a>(bytes: &'a [u8], body: &[u8]) -> Message<'a> {
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(strict_json::check(bytes, strict_json::MAX_DEPTH), Ok(()), "{}", shown());
    let message: Message<'_> = serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", shown()));
    assert_eq!(message.jsonrpc, "2.0");
    if message.method.is_none() {
        let asked = serde_json::from_slice::<Asked<'_>>(body).ok().and_then(|asked| asked.id);
        let (asked, answered) = (asked.map(RawValue::get), message.id.map(RawValue::get));
        // Without an id only what could not be understood is answered.
        assert!(answered == asked || (answered.is_none() && message.error.is_some()), "{asked:?}: {}", shown());
        assert!(message.error.as_ref().is_none_or(|error| error["code"] != -32603), "{}", shown());
    }
    message
}

/// Answers to a batch: no more than it has messages, each under an id that stands in it.
fn batch(bytes: &[u8], body: &[u8]) {
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(strict_json::check(bytes, strict_json::MAX_DEPTH), Ok(()), "{}", shown());
    let parts = |text| -> Vec<&RawValue> { serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", shown())) };
    let (answers, asked) = (parts(bytes), parts(body));
    assert!((1..=asked.len()).contains(&answers.len()), "{}", shown());
    for answer in answers {
        let answer: Message<'_> = serde_json::from_str(answer.get()).unwrap_or_else(|error| panic!("{error}: {}", shown()));
        let is_asked = |id: &RawValue| asked.iter().any(|part| part.get().contains(id.get()));
        assert!(answer.id.map_or(answer.error.is_some(), is_asked), "{}", shown());
        assert!(answer.method.is_none() && answer.error.is_none_or(|error| error["code"] != -32603), "{}", shown());
    }
}

fn server() -> (Arc<McpServer>, Arc<ProtocolSnapshot>, Arc<Pool>, Principal) {
    let broken = |error| -> Settings { panic!("{error}") };
    let sources = Sources::defaults().set("fuzz", "auth0.issuer", ISSUER).set("fuzz", "auth0.audience", AUDIENCE);
    let catalog = wiring::shipped().catalog().unwrap_or_else(|error| panic!("{error}"));
    let settings = Settings::load(sources, &catalog).unwrap_or_else(broken);
    let now = NOW.seconds();
    let claims = claims(ISSUER, AUDIENCE, domain::UnixSeconds(now.0 + 3600), "tool:whoami tool:greet");
    let who = settings.token_policy().admit(&Arc::new(claims), &settings.auth0.audience, now).unwrap_or_else(|error| panic!("{error}"));
    let clock = Arc::new(ManualClock::at(NOW));
    let mut ports = conformance_server::ports(Arc::new(ScriptedVerifier::new()), clock);
    ports.offer.tools.extend(domain::tools::shipped());
    let announcer = ports.announcer.clone();
    let keys = wiring::sealing_keys(&settings);
    let snapshot = wiring::snapshot(&settings, ports, keys).unwrap_or_else(|error| panic!("{error:#}"));
    let pool = Arc::new(Pool::new(settings.limits.http.memory_bytes, settings.limits.http.shares));
    let server = McpServer::new(announcer, Arc::clone(&pool));
    (Arc::new(server), Arc::new(snapshot), pool, who)
}
