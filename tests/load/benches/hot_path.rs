//! What the parts of a request cost: `cargo bench --package load`.

#![expect(clippy::unwrap_used, reason = "a benchmark that can't be set up has failed")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use auth0_verifier::Auth0Verifier;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use domain::{Announcer, BearerToken, Clock, Holder, Memory, Pool, Principal, Shares, TokenVerifier};
use fakes::{ScriptedVerifier, claims};
use fastmcp_auth0::{Ports, Settings, Sources, wiring};
use local_tenant::{Dialect, LocalTenant, Options, TokenRequest};
use mcp_protocol::{Body, Field, McpServer, PostRequest, ProtocolSnapshot, RequestFields};
use serde_json::{Value, json};
use syntax::strict_json;
use system_clock::SystemClock;
use tokio::runtime::Runtime;

const ISSUER: &str = "https://tenant.example/";
const AUDIENCE: &str = "https://load.example/mcp";
const MODERN: &str = "2026-07-28";

fn settings(issuer: &str) -> Settings {
    let sources =
        Sources::defaults().set("bench", "auth0.issuer", issuer).set("bench", "auth0.audience", AUDIENCE);
    Settings::load(sources, &wiring::shipped().catalog().unwrap()).unwrap()
}

/// A verifier with keys, and distinct tokens that it has not seen.
async fn verifier_and_tokens(
    remembered: usize,
    count: usize,
) -> (LocalTenant, Auth0Verifier, Vec<BearerToken>) {
    let mut options = Options::default().with_api_identifier(AUDIENCE);
    options.api.dialect = Dialect::Rfc9068Profile;
    let tenant = LocalTenant::start(options).await.unwrap();
    let mut keys = settings(tenant.issuer()).keys;
    keys.remembered_tokens = remembered;
    let verifier = Auth0Verifier::start(&keys, Arc::new(SystemClock::start()));
    verifier.status().wait_for(|status| status.succeeded > 0).await.unwrap();
    let request = TokenRequest { user: "admin".into(), scope: None, audience: None };
    let token = |_| BearerToken::new(&tenant.issue_token(&request).unwrap().access_token).unwrap();
    let tokens = (0..count).map(token).collect();
    (tenant, verifier, tokens)
}

fn verify(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    for (name, remembered) in [("unseen", 0), ("seen", 10_000)] {
        let (_tenant, verifier, tokens) = runtime.block_on(verifier_and_tokens(remembered, 64));
        let mut tokens = tokens.iter().cycle();
        criterion.bench_function(&format!("verify/{name}"), |bencher| {
            bencher.iter(|| runtime.block_on(verifier.verify(black_box(tokens.next().unwrap()))).unwrap());
        });
    }
}

fn admit(criterion: &mut Criterion) {
    let clock = SystemClock::start();
    let (policy, resource) = (settings(ISSUER).token_policy(), settings(ISSUER).auth0.audience);
    let now = clock.now().seconds();
    let claims =
        Arc::new(claims(ISSUER, AUDIENCE, domain::UnixSeconds(now.0 + 3600), "tool:whoami tool:greet"));
    criterion.bench_function("admit", |bencher| {
        bencher.iter(|| policy.admit(black_box(&claims), &resource, clock.now().seconds()).unwrap());
    });
}

fn message(method: &str, mut params: Value, modern: bool) -> Vec<u8> {
    if modern {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
    }
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string().into_bytes()
}

struct Fields(Vec<(&'static str, &'static str)>);

impl RequestFields for Fields {
    fn field(&self, name: &str) -> Field<'_> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(Field::Absent, |(_, value)| Field::Value(value))
    }
}

fn fields(method: &'static str, modern: bool) -> Fields {
    if !modern {
        return Fields(vec![("mcp-protocol-version", "2025-11-25")]);
    }
    Fields(vec![("mcp-protocol-version", MODERN), ("mcp-method", method), ("mcp-name", "greet")])
}

fn server() -> (Arc<McpServer>, Arc<ProtocolSnapshot>, Principal) {
    let settings = settings(ISSUER);
    let clock = Arc::new(SystemClock::start());
    let now = clock.now().seconds();
    let claims =
        Arc::new(claims(ISSUER, AUDIENCE, domain::UnixSeconds(now.0 + 3600), "tool:whoami tool:greet"));
    let who = settings.token_policy().admit(&claims, &settings.auth0.audience, now).unwrap();
    let ports = Ports::new(Arc::new(ScriptedVerifier::new()), clock, wiring::shipped());
    let snapshot = wiring::snapshot(&settings, ports, wiring::sealing_keys(&settings)).unwrap();
    let server = McpServer::new(Announcer::default(), pool());
    (Arc::new(server), Arc::new(snapshot), who)
}

fn pool() -> Arc<Pool> {
    Arc::new(Pool::new(1 << 26, Shares { subject_percent: 25, client_percent: 50 }))
}

/// From bytes to a message: whether they mean one thing only.
fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for (era, modern) in [("2025-11-25", false), (MODERN, true)] {
        let body = message("tools/call", json!({"name": "greet", "arguments": {"name": "Ada"}}), modern);
        group.bench_function(BenchmarkId::from_parameter(era), |bencher| {
            bencher.iter(|| strict_json::check(black_box(&body), 128));
        });
    }
}

/// From a message's bytes to an answer's: parsed, judged, run, rendered.
fn answer(criterion: &mut Criterion) {
    let (runtime, (server, snapshot, who), pool) = (Runtime::new().unwrap(), server(), pool());
    let mut group = criterion.benchmark_group("answer");
    let cases =
        [("tools/call", json!({"name": "greet", "arguments": {"name": "Ada"}})), ("tools/list", json!({}))];
    for (method, params) in cases {
        for (era, modern) in [("2025-11-25", false), (MODERN, true)] {
            let mut fields = fields(method, modern);
            fields.0.retain(|(name, _)| method == "tools/call" || *name != "mcp-name");
            let body = message(method, params.clone(), modern);
            group.bench_function(BenchmarkId::new(method, era), |bencher| {
                bencher.iter(|| {
                    let memory = Memory::of_request(&pool, Holder::of(&who));
                    let body = black_box(&body);
                    let post = PostRequest {
                        principal: &who,
                        fields: &fields,
                        body,
                        may_stream: true,
                        request_id: "",
                        memory,
                        trace: None,
                    };
                    let reply = runtime.block_on(server.answer(&snapshot, post));
                    assert!(matches!(reply.body, Body::Whole(_)));
                    reply
                });
            });
        }
    }
}

criterion_group! {
    name = hot_path;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = verify, admit, parse, answer
}
criterion_main!(hot_path);
