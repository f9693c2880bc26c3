//! Responses of older clients that reach another replica than the one whose call waits for them, by a port that knows no Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Context, ElicitResult, MessageReceiver, ReplicaId, Replicas, Tool, ToolError, Unreachable};
use serde_json::{Value, json};

use crate::harness::{ADMIN, Answer, Choices, Harness};
use crate::streams::Stream;

/// Asks once.
struct Ask;

impl Tool for Ask {
    const NAME: &'static str = "ask";
    const DESCRIPTION: &'static str = "Asks.";
    type Input = ();
    type Output = String;

    async fn call(&self, (): (), context: Context<'_>) -> Result<String, ToolError> {
        match context.elicit("who", "Who are you?", json!({"type": "object"}))? {
            ElicitResult::Accept(form) => Ok(format!("{}", form["name"])),
            ElicitResult::Decline | ElicitResult::Cancel => Err(ToolError::new("nobody")),
        }
    }
}

/// What all replicas share, in this process.
#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<String, (usize, Duration)>>,
    receivers: Mutex<HashMap<usize, MessageReceiver>>,
    found: Mutex<Vec<bool>>,
    sent: Mutex<Vec<Vec<u8>>>,
    is_away: Mutex<bool>,
}

/// One replica's way to the others.
struct Way(Arc<Shared>, usize);

#[async_trait]
impl Replicas for Way {
    async fn wait_for(&self, key: &str, at_most: Duration) {
        self.0.waiting.lock().unwrap().insert(key.to_owned(), (self.1, at_most));
    }

    fn forget(&self, key: &str) {
        self.0.waiting.lock().unwrap().remove(key);
    }

    async fn find(&self, key: &str) -> Result<Option<ReplicaId>, Unreachable> {
        if *self.0.is_away.lock().unwrap() {
            return Err(Unreachable);
        }
        let replica =
            self.0.waiting.lock().unwrap().get(key).map(|(replica, _)| ReplicaId(replica.to_string()));
        self.0.found.lock().unwrap().push(replica.is_some());
        Ok(replica)
    }

    async fn send(&self, to: &ReplicaId, key: &str, message: &[u8]) -> Result<(), Unreachable> {
        self.0.sent.lock().unwrap().push(message.to_vec());
        let receivers = self.0.receivers.lock().unwrap();
        let receiver = receivers.get(&to.0.parse().unwrap()).ok_or(Unreachable)?;
        receiver(key, message);
        Ok(())
    }

    fn on_message(&self, receiver: MessageReceiver) {
        self.0.receivers.lock().unwrap().insert(self.1, receiver);
    }
}

/// Two replicas that share their keys.
async fn two(set: impl Fn(Choices) -> Choices) -> (Harness, Harness, Arc<Shared>) {
    let shared = Arc::new(Shared::default());
    let start = async |number: usize| {
        let way = Arc::new(Way(Arc::clone(&shared), number));
        let choices = set(Choices::new().tool(Arc::new(Ask)))
            .set("mcp.state_keys", vec![STANDARD.encode([1; 32])])
            .ports_with(|ports| ports.replicas = Some(way));
        let harness = choices.start().await;
        harness.token("ada", |claims| claims.subject = "ada".into());
        harness.token("bob", |claims| claims.subject = "bob".into());
        harness.token("other-client", |claims| {
            claims.subject = "ada".into();
            claims.client_id = Some("other".into());
        });
        harness
    };
    let (one, other) = (start(1).await, start(2).await);
    (one, other, shared)
}

/// Calls the tool at a replica, and returns the stream with the id of what it asks.
async fn ask(harness: &Harness) -> (Stream, String) {
    let body = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "ask"}});
    let mut stream = Stream::open(harness, "ada", "tools/call", None, &body.to_string()).await;
    let id = stream.message(0).await["id"].as_str().unwrap().to_owned();
    (stream, id)
}

fn response(id: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {"name": "Ada Lovelace"}}})
}

fn text(answer: &Value) -> &Value {
    &answer["result"]["content"][0]["text"]
}

#[tokio::test]
async fn a_response_reaches_the_replica_whose_call_waits_for_it() {
    let (one, other, shared) = two(|choices| choices).await;
    let (mut stream, id) = ask(&one).await;
    let waiting = shared.waiting.lock().unwrap().clone();
    assert_eq!(waiting.values().collect::<Vec<_>>(), [&(1, Duration::from_mins(5))]);
    assert!(!waiting.contains_key(&id), "what waits is known by a digest alone");
    assert_eq!(other.legacy("ada", &response(&id)).await.status, 202);
    assert_eq!(text(&stream.message(1).await), "\"Ada Lovelace\"");
    let sent = shared.sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 1);
    for secret in [&b"Ada"[..], b"ada", b"accept", id.as_bytes()] {
        assert!(!sent[0].windows(secret.len()).any(|bytes| bytes == secret), "in the clear");
    }
    assert!(shared.waiting.lock().unwrap().is_empty());
    // Where it was asked nothing leaves the replica.
    let (mut stream, id) = ask(&one).await;
    assert_eq!(one.legacy("ada", &response(&id)).await.status, 202);
    assert_eq!(text(&stream.message(1).await), "\"Ada Lovelace\"");
    assert_eq!((shared.sent.lock().unwrap().len(), &*shared.found.lock().unwrap()), (1, &vec![true]));
}

#[tokio::test]
async fn an_error_is_a_response_there_too_and_so_is_one_in_a_batch() {
    let (one, other, _) = two(|choices| choices).await;
    let (mut stream, id) = ask(&one).await;
    let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": "no"}});
    assert_eq!(other.legacy("ada", &error).await.status, 202);
    assert_eq!(stream.message(1).await["result"]["isError"], true);
    let (mut stream, id) = ask(&one).await;
    let request = other.post("ada").header("mcp-protocol-version", "2025-03-26");
    let batch = json!([response(&id)]).to_string();
    assert_eq!(other.send(request.body(batch.into()).unwrap()).await.status, 202);
    assert_eq!(text(&stream.message(1).await), "\"Ada Lovelace\"");
}

#[tokio::test]
async fn nobody_else_can_respond_at_any_replica_and_nothing_of_it_leaves_theirs() {
    let (one, other, shared) = two(|choices| choices).await;
    let (mut stream, id) = ask(&one).await;
    for token in ["bob", "other-client", ADMIN] {
        for replica in [&one, &other] {
            assert_eq!(replica.legacy(token, &response(&id)).await.status, 202);
        }
    }
    assert_eq!((&*shared.found.lock().unwrap(), shared.sent.lock().unwrap().len()), (&vec![false; 6], 0));
    assert_eq!(other.legacy("ada", &response(&id)).await.status, 202);
    assert_eq!(text(&stream.message(1).await), "\"Ada Lovelace\"");
}

#[tokio::test]
async fn ids_that_nothing_waits_for_cost_one_look_up_and_count_by_the_quota() {
    let (_, other, shared) = two(|choices| choices.set("quota.subject", "3/minute")).await;
    let answers = async |token: &str| -> Vec<Answer> {
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(other.legacy(token, &response("AAAAAAAAAAAAAAAAAAAAAA")).await);
        }
        answers
    };
    let junk = answers("ada").await;
    assert_eq!(junk.iter().map(|answer| answer.status.as_u16()).collect::<Vec<_>>(), [202, 202, 202, 429]);
    assert_eq!((junk[3].header("retry-after"), junk[3].code()), ("20", 429));
    assert_eq!((&*shared.found.lock().unwrap(), shared.sent.lock().unwrap().len()), (&vec![false; 3], 0));
    // In a batch the refusal stands where the response was.
    let request = other.post("ada").header("mcp-protocol-version", "2025-03-26");
    let answer = other.send(request.body(json!([response("x")]).to_string().into()).unwrap()).await;
    assert_eq!(answer.json()[0]["error"]["code"], 429);
}

#[tokio::test]
async fn a_response_that_can_not_be_brought_is_refused_so_that_it_can_be_sent_again() {
    let (one, other, shared) = two(|choices| choices).await;
    let (mut stream, id) = ask(&one).await;
    *shared.is_away.lock().unwrap() = true;
    let refused = other.legacy("ada", &response(&id)).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after"), refused.code()), (503, "1", 503));
    *shared.is_away.lock().unwrap() = false;
    let receiver = shared.receivers.lock().unwrap().remove(&1).unwrap();
    assert_eq!(other.legacy("ada", &response(&id)).await.status, 503, "nobody heard it");
    shared.receivers.lock().unwrap().insert(1, receiver);
    assert_eq!(other.legacy("ada", &response(&id)).await.status, 202);
    assert_eq!(text(&stream.message(1).await), "\"Ada Lovelace\"");
}
