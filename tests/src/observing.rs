//! What an observer is told of, and what a throttle keeps out.

use std::sync::Arc;
use std::time::Duration;

use domain::{Event, Exhausted, Observer, Operation, Principal, Throttle};
use fakes::{Behaviour, RecordingTool};
use fastmcp_auth0::{Ports, wiring};
use fastmcp_auth0::{Settings, Sources};
use serde_json::json;
use system_clock::SystemClock;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::harness::{ADMIN, AUDIENCE, Choices, Harness, soon};
use crate::key_server::{Answer, KeyServer, SigningKey};
use crate::streams::chatty;

struct Teller(UnboundedSender<String>);

impl Observer for Teller {
    fn observe(&self, event: Event<'_>) {
        let text = match event {
            Event::RequestBegan => "began".to_owned(),
            Event::RequestAnswered { status, reason, is_probe, is_stream, took: _ } => {
                let stream = if is_stream { " stream" } else { "" };
                format!("{status} {} {is_probe}{stream}", reason.unwrap_or("-"))
            }
            Event::RequestEnded => "ended".to_owned(),
            Event::ToolCalled { tool, outcome, took } => format!("{tool} {outcome} {}", took.as_secs()),
            Event::RuleRefused { rule, is_shadow } => format!("rule {rule} {is_shadow}"),
            Event::KeysFetched { succeeded } => format!("keys {succeeded}"),
            Event::QuotaNotShared { outcome } => format!("quota {outcome}"),
            Event::AuditEventLost => "lost".to_owned(),
            Event::SpansLost { count } => format!("spans lost {count}"),
        };
        let _ = self.0.send(text);
    }
}

struct Told(UnboundedReceiver<String>);

impl Told {
    async fn are(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(soon(self.0.recv()).await.as_deref(), Some(*expected));
        }
        assert!(self.0.is_empty());
    }
}

fn teller() -> (Arc<dyn Observer>, Told) {
    let (sender, receiver) = unbounded_channel();
    (Arc::new(Teller(sender)), Told(receiver))
}

async fn observed(choices: Choices) -> (Harness, Told) {
    let (observer, told) = teller();
    (choices.ports_with(move |ports| ports.observer = observer).start().await, told)
}

#[tokio::test]
async fn an_observer_is_told_of_every_request_once() {
    let (harness, mut told) = observed(Choices::new()).await;
    harness.legacy(ADMIN, &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await;
    told.are(&["began", "200 - false", "ended"]).await;
    harness.legacy("unknown", &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await;
    told.are(&["began", "401 bad_signature false", "ended"]).await;
    harness.get("/health").await;
    told.are(&["began", "200 - true", "ended"]).await;
}

#[tokio::test]
async fn an_observer_is_told_which_answers_were_streams() {
    let (harness, mut told) = observed(Choices::new().tool(chatty(1, false))).await;
    let params = json!({"name": "chatty", "_meta": {"progressToken": 1}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let answer = harness.legacy(ADMIN, &call).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    told.are(&["began", "chatty ok 0", "200 - false stream", "ended"]).await;
}

#[tokio::test]
async fn an_observer_is_told_how_a_tool_ended_and_when_its_client_did_not_wait() {
    let slow = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let panics = Arc::new(RecordingTool::new("panics", &[], Behaviour::Panic));
    let (harness, mut told) = observed(Choices::new().tool(Arc::clone(&slow) as _).tool(panics)).await;
    let call = |name| json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}});
    harness.legacy(ADMIN, &call("whoami")).await;
    told.are(&["began", "whoami ok 0", "200 - false", "ended"]).await;
    harness.legacy(ADMIN, &call("panics")).await;
    told.are(&["began", "panics tool_panicked 0", "200 tool_panicked false", "ended"]).await;

    let body = call("slow").to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut left = harness.connect().await;
    left.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    soon(slow.started()).await;
    harness.clock.advance(Duration::from_secs(2));
    told.are(&["began"]).await;
    // A reset, not a half-close, after which it could still be answered.
    left.set_zero_linger().unwrap();
    drop(left);
    told.are(&["slow cancelled 2", "ended"]).await;
}

#[tokio::test]
async fn an_observer_is_told_of_fetches_of_keys() {
    let keys = KeyServer::start(Answer::keys(&[SigningKey::first().jwk("k1")])).await;
    let sources = Sources::defaults().set("test", "auth0.issuer", keys.issuer().as_str());
    let sources = sources.set("test", "auth0.audience", AUDIENCE);
    let settings = Settings::load(sources, &wiring::shipped().catalog().unwrap()).unwrap();
    let (observer, mut told) = teller();
    let clock = Arc::new(SystemClock::start());
    let verifier = wiring::verifier(&settings, clock, &observer);
    told.are(&["keys true"]).await;
    drop(verifier);
    // Whoever reports the fetches ends with the verifier, and lets the observer go.
    drop(observer);
    assert_eq!(soon(told.0.recv()).await, None);
    let ports = std::thread::spawn(move || Ports::real(&settings, wiring::shipped()).err());
    assert!(ports.join().unwrap().is_some(), "outside a runtime");
}

/// Admits the requests of nobody but Bob.
struct OnlyBob;

impl Throttle for OnlyBob {
    fn take<'a>(&'a self, principal: &'a Principal, _: Operation<'a>) -> domain::Answer<'a> {
        let refusal = Exhausted::Rate { retry_after: Duration::from_millis(6_100), allowance: None };
        domain::Answer::Now(if principal.subject() == "bob" { Ok(None) } else { Err(refusal) })
    }
}

#[tokio::test]
async fn what_a_throttle_refuses_is_429_with_the_time_to_wait() {
    let choices = Choices::new().ports_with(|ports| ports.throttle = Some(Arc::new(OnlyBob)));
    let (harness, mut told) = observed(choices).await;
    harness.token("bob", |claims| claims.subject = "bob".into());
    let ping = json!({"jsonrpc": "2.0", "id": "x", "method": "ping"});
    let refused = harness.legacy(ADMIN, &ping).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after"), refused.code()), (429, "7", 429));
    assert_eq!(refused.json()["id"], "x");
    told.are(&["began", "429 rate_exceeded false", "ended"]).await;
    assert_eq!(harness.legacy("bob", &ping).await.status, 200);

    let batch = json!([ping, ping]).to_string();
    let request = harness.post(ADMIN).header("mcp-protocol-version", "2025-03-26");
    let refused = harness.send(request.body(batch.into()).unwrap()).await;
    let codes: Vec<_> =
        refused.json().as_array().unwrap().iter().map(|part| part["error"]["code"].clone()).collect();
    assert_eq!(codes, [429, 429], "each part by itself");
}
