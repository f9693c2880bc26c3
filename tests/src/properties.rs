//! Rules that hold for any input, in both eras: what is listed is what can be called, and ids come back as they were sent.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use domain::{
    Announcer, Catalog, DynTool, Holder, LoginScopes, Memory, NoopAuditor, NoopObserver, PolicyVersion, Pool,
    Scope, ScopeHierarchy, ScopePolicy, ScopeSet, Service, ToolCatalog, ToolName, UnixSeconds,
};
use fakes::{Behaviour, ManualClock, RecordingTool, ScriptedVerifier};
use fastmcp_auth0::{Settings, Sources, wiring};
use futures_util::StreamExt as _;
use mcp_protocol::{
    Body, Field, McpServer, PostRequest, ProtocolSnapshot, Reply, RequestFields, SealingKeys, Status,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::harness::{AUDIENCE, ISSUER, NOW, good_claims};
use crate::streams;

const TOOLS: [&str; 4] = ["first", "second", "third", "fourth"];
const SCOPES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Era {
    Legacy,
    Modern,
}

fn eras() -> impl Strategy<Value = Era> {
    select(&[Era::Legacy, Era::Modern][..])
}

struct Fields(Vec<(&'static str, String)>);

impl RequestFields for Fields {
    fn field(&self, name: &str) -> Field<'_> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map_or(Field::Absent, |(_, value)| Field::Value(value))
    }
}

/// A server, what it serves, and where its requests count their memory.
type Served = (Arc<McpServer>, Arc<ProtocolSnapshot>, Settings, Arc<Pool>);

fn server(rules: &[Vec<&'static str>], more: Vec<Arc<dyn DynTool>>) -> Served {
    let sources =
        Sources::defaults().set("test", "auth0.issuer", ISSUER).set("test", "auth0.audience", AUDIENCE);
    let settings = Settings::load(sources, &wiring::shipped().catalog().unwrap()).unwrap();
    let tool = |name| Arc::new(RecordingTool::new(name, &[], Behaviour::Answer)) as Arc<dyn DynTool>;
    let tools = ToolCatalog::new(TOOLS.map(tool).into_iter().chain(more)).unwrap();
    let mut scopes = ScopePolicy::as_specified(&tools);
    for (name, rule) in TOOLS.into_iter().zip(rules) {
        scopes.insert(ToolName::parse(name).unwrap(), set(rule));
    }
    let catalog = Catalog { tools, ..Catalog::default() };
    let scopes = ScopePolicy::new(scopes, &catalog, &ScopeHierarchy::default(), LoginScopes::All).unwrap();
    let service = Service {
        verifier: Arc::new(ScriptedVerifier::new()),
        clock: Arc::new(ManualClock::at(NOW)),
        observer: Arc::new(NoopObserver),
        throttle: None,
        auditor: Arc::new(NoopAuditor),
        tracer: None,
        policy_version: PolicyVersion::of(&settings.token_policy(), &catalog, &scopes, None),
        tokens: settings.token_policy(),
        scopes,
        rules: None,
        catalog,
        tool_deadline: settings.limits.tool_deadline,
        downstream: None,
        providers: Vec::new(),
    };
    let keys = Arc::new(SealingKeys::of_this_process());
    let snapshot = ProtocolSnapshot::new(Arc::new(service), settings.protocol(), keys).unwrap();
    let pool = Arc::new(Pool::new(1 << 26, settings.limits.http.shares));
    let server = McpServer::new(Announcer::default(), Arc::clone(&pool));
    (Arc::new(server), Arc::new(snapshot), settings, pool)
}

fn set(scopes: &[&str]) -> ScopeSet {
    ScopeSet::parse_all(scopes.iter().copied()).unwrap()
}

/// `id` and `token` are JSON texts.
fn ask(
    (server, snapshot, settings, pool): &Served,
    scopes: &[&str],
    era: Era,
    method: &str,
    params: Value,
    (id, token): (&str, &str),
) -> Reply {
    let claims =
        domain::Claims { expires_at: UnixSeconds(NOW.seconds().0 + 60), ..good_claims(&scopes.join(" ")) };
    let who =
        settings.token_policy().admit(&Arc::new(claims), &settings.auth0.audience, NOW.seconds()).unwrap();
    let version = if era == Era::Modern { "2026-07-28" } else { "2025-11-25" };
    let mut fields = Fields(vec![("mcp-protocol-version", version.into()), ("mcp-method", method.into())]);
    fields.0.extend(params["name"].as_str().map(|name| ("mcp-name", name.into())));
    let mut params = params;
    if era == Era::Modern {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
    }
    params["_meta"]["progressToken"] = "TOKEN".into();
    let params = params.to_string().replacen("\"TOKEN\"", token, 1);
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
    let memory = Memory::of_request(pool, Holder::of(&who));
    let post = PostRequest {
        principal: &who,
        fields: &fields,
        body: body.as_bytes(),
        may_stream: true,
        request_id: "",
        memory,
        trace: None,
    };
    at_once(server.answer(snapshot, post))
}

/// What needs neither time nor a client to come about.
fn at_once<T>(what: impl Future<Output = T>) -> T {
    match pin!(what).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

/// Every message that comes by itself.
fn messages(reply: Reply) -> Vec<Vec<u8>> {
    match reply.body {
        Body::Empty => Vec::new(),
        Body::Whole(bytes) => vec![bytes],
        Body::Stream(mut messages) => {
            let mut context = Context::from_waker(Waker::noop());
            let mut seen = Vec::new();
            while let Poll::Ready(Some(bytes)) = messages.stream.poll_next_unpin(&mut context) {
                seen.push(bytes);
            }
            seen
        }
    }
}

fn listed(server: &Served, granted: &[&str], era: Era) -> Vec<String> {
    let reply = ask(server, granted, era, "tools/list", json!({}), ("1", "1"));
    let list: Value = serde_json::from_slice(&messages(reply).concat()).unwrap();
    let names = list["result"]["tools"].as_array().unwrap().iter();
    names.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[derive(Deserialize)]
struct Echoes<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<EchoedParams<'a>>,
    #[serde(borrow)]
    result: Option<EchoedParams<'a>>,
}

#[derive(Deserialize)]
struct EchoedParams<'a> {
    #[serde(borrow, rename = "progressToken")]
    token: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<EchoedMeta<'a>>,
}

#[derive(Deserialize)]
struct EchoedMeta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/subscriptionId")]
    subscription: Option<&'a RawValue>,
}

/// The texts of all ids and of all progress tokens.
fn echoed(messages: &[Vec<u8>]) -> (Vec<&str>, Vec<&str>) {
    let messages: Vec<Echoes<'_>> =
        messages.iter().map(|bytes| serde_json::from_slice(bytes).unwrap()).collect();
    let metas = messages.iter().flat_map(|message| [&message.params, &message.result]).flatten();
    let subscriptions = metas.filter_map(|params| params.meta.as_ref()?.subscription);
    let ids = messages.iter().filter_map(|message| message.id).chain(subscriptions);
    let tokens = messages.iter().filter_map(|message| message.params.as_ref()?.token);
    (ids.map(RawValue::get).collect(), tokens.map(RawValue::get).collect())
}

/// A JSON string or number, as somebody could write it: with escapes that need not be, and with digits that no type holds.
fn id() -> impl Strategy<Value = String> {
    let escaped = ".{0,12}".prop_map(|text| {
        let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
        format!("\"{}\"", units.collect::<String>())
    });
    prop_oneof![
        ".{0,12}".prop_map(|text| Value::from(text).to_string()),
        escaped,
        "-?(0|[1-9][0-9]{0,40})",
        "-?[1-9][0-9]{0,4}\\.[0-9]{1,30}",
        "-?[0-9](\\.[0-9]{1,3})?[eE][+-]?[0-9]{1,2}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_listed_can_be_called_and_nothing_else(
        rules in prop::collection::vec(subsequence(&SCOPES[..], 0..=3), TOOLS.len()),
        granted in subsequence(&SCOPES[..], 0..=4), era in eras(),
    ) {
        let server = server(&rules, Vec::new());
        let listed = listed(&server, &granted, era);
        for (name, rule) in TOOLS.into_iter().zip(&rules) {
            let is_listed = listed.iter().any(|it| it == name);
            prop_assert_eq!(is_listed, rule.iter().all(|scope| granted.contains(scope)), "{}", name);
            let reply = ask(&server, &granted, era, "tools/call", json!({"name": name}), ("1", "1"));
            match reply.status {
                Status::Ok => prop_assert!(is_listed, "{} was called unlisted", name),
                Status::Denied(denial) => {
                    let denied = denial.lacking().unwrap();
                    prop_assert!(!is_listed && !denied.missing.is_empty(), "{} is listed and refused", name);
                    prop_assert_eq!(&denied.required, &set(rule));
                    // What a legacy client asks for, or a modern one asks for besides what it has, is enough.
                    let asked: Vec<&str> = denied.to_request.iter().map(Scope::as_str).chain(granted.iter().copied()).collect();
                    prop_assert!(self::listed(&server, &asked, era).iter().any(|it| it == name));
                }
                other => prop_assert!(false, "{}: {:?}", name, other),
            }
        }
    }

    #[test]
    fn ids_and_progress_tokens_come_back_as_they_were_written(id in id(), token in id(), era in eras()) {
        let server = server(&[], vec![streams::chatty(2, false)]);
        let call = |method: &str, params: Value| messages(ask(&server, &[], era, method, params, (&id, &token)));
        for (method, params) in [
            ("tools/list", json!({})),
            ("tools/call", json!({"name": "first"})),
            ("tools/call", json!({"name": "none"})),
            ("made/up", json!({})),
        ] {
            let answer = call(method, params);
            prop_assert_eq!(echoed(&answer).0, [id.as_str()], "{}", method);
        }
        let chatted = call("tools/call", json!({"name": "chatty"}));
        prop_assert_eq!(echoed(&chatted), (vec![id.as_str()], vec![token.as_str(); 2]));
        if era == Era::Modern {
            let listening = call("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
            prop_assert_eq!(echoed(&listening).0, [id.as_str()]);
        }
    }

    #[test]
    fn what_is_no_id_is_no_request(
        id in select(&["null", "true", "false", "[]", "[1]", "{}", "{\"id\":1}"][..]), era in eras(),
    ) {
        let server = server(&[], Vec::new());
        let reply = ask(&server, &[], era, "tools/list", json!({}), (id, "1"));
        prop_assert_eq!(&reply.status, &Status::BadRequest);
        let messages = messages(reply);
        prop_assert_eq!(echoed(&messages).0, Vec::<&str>::new());
        let answer: Value = serde_json::from_slice(&messages.concat()).unwrap();
        prop_assert_eq!(&answer["error"]["code"], &json!(-32600));
    }
}
