//! Stopping in order.

use std::sync::Arc;
use std::time::Duration;

use fakes::{Behaviour, RecordingTool};
use hyper_transport::Drained;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ADMIN, Choices, Harness, read_to_end, soon};
use crate::wire::{Http2, get};

async fn with_waiting_tool() -> (Harness, Arc<RecordingTool>) {
    let tool = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    (Choices::new().tool(Arc::clone(&tool) as _).start().await, tool)
}

/// Begins a call of the waiting tool on a connection that stays open.
async fn begin_call(harness: &Harness, tool: &RecordingTool) -> TcpStream {
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "slow"}}).to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = harness.connect().await;
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    soon(tool.started()).await;
    stream
}

#[tokio::test]
async fn what_is_under_way_is_finished_and_nothing_new_is_accepted() {
    let (mut harness, tool) = with_waiting_tool().await;
    let call = begin_call(&harness, &tool).await;
    // An idle connection, which must end at once, and does so before the call is answered.
    let mut idle = harness.connect().await;
    idle.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();

    harness.begin_stop();
    read_to_end(idle).await;
    assert!(TcpStream::connect(harness.address).await.is_err(), "the listening socket is closed");
    tool.release();
    let answer = read_to_end(call).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"recorded\":true"), "{answer}");
    assert_eq!(harness.stopped().await, Drained::Complete);
}

/// TCP resets a connection that is closed with bytes unread, and what is on its way to the client may be lost with it.
#[tokio::test]
async fn a_request_too_late_takes_no_answer_with_it() {
    let (mut harness, tool) = with_waiting_tool().await;
    let mut call = begin_call(&harness, &tool).await;
    call.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    harness.begin_stop();
    while TcpStream::connect(harness.address).await.is_ok() {}
    tool.release();
    let mut answer = Vec::new();
    soon(call.read_to_end(&mut answer)).await.expect("closed, not reset");
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("\"recorded\":true") && answer.contains("connection: close"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "the late one is not answered: {answer}");
    // A reset behind the end is told as an error of the socket.
    let call = call.into_std().unwrap();
    assert_eq!(call.take_error().unwrap().map(|error| error.kind()), None);
    drop(call);
    assert_eq!(harness.stopped().await, Drained::Complete);
}

#[tokio::test]
async fn what_is_not_finished_in_30_s_is_closed() {
    let (mut harness, tool) = with_waiting_tool().await;
    let call = begin_call(&harness, &tool).await;
    harness.begin_stop();
    harness.sleeping_until(Duration::from_secs(30)).await;
    harness.clock.advance(Duration::from_secs(30));
    assert_eq!(harness.stopped().await, Drained::Abandoned(1));
    assert_eq!(read_to_end(call).await, "");
}

/// While a load balancer has yet to notice, its requests are answered, and their connections end in order.
#[tokio::test]
async fn in_the_drain_delay_requests_are_answered_and_connections_end_with_their_answers() {
    let mut harness = Choices::new().set("limits.drain_delay_seconds", 5_i64).start().await;
    let mut kept = harness.connect().await;
    kept.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    kept.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    harness.begin_stop();
    harness.sleeping_until(Duration::from_secs(5)).await;

    kept.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let rest = read_to_end(kept).await;
    assert!(rest.contains("HTTP/1.1 200 OK") && rest.contains("connection: close"), "{rest}");
    let ready = harness.get("/ready").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["reason"]), (503, &"draining".into()));
    let called = harness.legacy(ADMIN, &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await;
    assert_eq!((called.status.as_u16(), called.header("connection")), (200, "close"));

    harness.clock.advance(Duration::from_secs(5));
    assert_eq!(harness.stopped().await, Drained::Complete);
    assert!(TcpStream::connect(harness.address).await.is_err(), "the listening socket is closed");
}

/// A proxy that has connected, and not yet sent its request, does not send it again elsewhere.
#[tokio::test]
async fn a_connection_that_was_made_before_the_end_gets_its_first_answer() {
    let mut harness = Harness::new().await;
    let (mut early, silent) = (harness.connect().await, harness.connect().await);
    harness.begin_stop();
    while TcpStream::connect(harness.address).await.is_ok() {}
    early.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let answer = read_to_end(early).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    harness.sleeping_until(Duration::from_secs(1)).await;
    harness.clock.advance(Duration::from_secs(1));
    assert_eq!(read_to_end(silent).await, "");
    assert_eq!(harness.stopped().await, Drained::Complete);
}

/// A proxy that keeps connections may use one at the very moment of the end.
#[tokio::test]
async fn after_a_drain_delay_connections_that_were_kept_get_a_last_answer() {
    let mut harness = Choices::new().set("limits.drain_delay_seconds", 5_i64).start().await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = harness.connect().await;
        stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        kept.push(stream);
    }
    let (mut used, unused) = (kept.remove(0), kept.remove(0));
    harness.begin_stop();
    harness.sleeping_until(Duration::from_secs(5)).await;
    harness.clock.advance(Duration::from_secs(5));
    while TcpStream::connect(harness.address).await.is_ok() {}
    used.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let rest = read_to_end(used).await;
    assert!(rest.contains("HTTP/1.1 200 OK") && rest.contains("connection: close"), "{rest}");
    harness.sleeping_until(Duration::from_secs(1)).await;
    harness.clock.advance(Duration::from_secs(1));
    assert!(!read_to_end(unused).await.contains("connection: close"));
    assert_eq!(harness.stopped().await, Drained::Complete);
}

/// Nothing tells it of the end any more, and it would hold the server until the drain time is up.
#[tokio::test]
async fn a_subscription_that_comes_after_the_end_is_ended_at_once() {
    let mut harness = Harness::new().await;
    let mut early = harness.connect().await;
    harness.begin_stop();
    while TcpStream::connect(harness.address).await.is_ok() {}
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "notifications": {"toolsListChanged": true},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }})
    .to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
         mcp-method: subscriptions/listen\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    early.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let answer = read_to_end(early).await;
    assert!(answer.contains("\"resultType\":\"complete\""), "{answer}");
    assert_eq!(harness.stopped().await, Drained::Complete);
}

/// An HTTP/2 connection lives until its client has confirmed the notice to go away. This one does not.
#[tokio::test]
async fn a_draining_server_says_that_it_is_not_ready() {
    let mut harness = Harness::new().await;
    let mut client = Http2::open(&harness, &[]).await;
    client.send(&get(1, "/ready")).await;
    client.until_data(r#"{"status":"ready"}"#).await;
    harness.begin_stop();
    while TcpStream::connect(harness.address).await.is_ok() {}
    client.send(&get(3, "/ready")).await;
    client.until_data(r#""reason":"draining""#).await;
    drop(client);
    assert_eq!(harness.stopped().await, Drained::Complete);
}
