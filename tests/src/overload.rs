//! More than the server takes on: refused at once and in words, while probes are answered.

use std::sync::Arc;
use std::time::Duration;

use fakes::{Behaviour, RecordingTool};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ADMIN, Choices, Harness, read_to_end, soon};

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// As many connections as are served for probes when all others are taken.
const SPARE: usize = 64;

fn refused(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1")
}

fn call(accept: &str) -> String {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "slow"}});
    request(accept, &body.to_string(), "")
}

fn listen() -> String {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "notifications": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }});
    let mirrors = "mcp-protocol-version: 2026-07-28\r\nmcp-method: subscriptions/listen\r\n";
    request("text/event-stream, application/json", &body.to_string(), mirrors)
}

fn request(accept: &str, body: &str, more: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\naccept: {accept}\r\n\
         content-type: application/json\r\n{more}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A connection on which something was sent and the beginning of an answer came back.
async fn begun(harness: &Harness, request: &[u8], answer: &str) -> TcpStream {
    let mut stream = harness.connect().await;
    stream.write_all(request).await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(answer) {
        assert_ne!(soon(stream.read_buf(&mut read)).await.unwrap(), 0, "closed before {answer:?}");
    }
    stream
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_come_back_before_their_token_is_looked_at() {
    let tool = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let harness = Choices::new().set("limits.requests", 1).tool(Arc::clone(&tool) as _).start().await;
    let mut first = harness.connect().await;
    first.write_all(call("application/json").as_bytes()).await.unwrap();
    soon(tool.started()).await;

    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for token in [ADMIN, "nobody knows it"] {
        let answer = harness.legacy(&token.replace(' ', "-"), &ping).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
        assert_eq!(answer.json()["error"], "overloaded");
    }
    for path in ["/health", "/ready", "/ping", "/.well-known/oauth-protected-resource"] {
        assert_eq!(harness.get(path).await.status, 200, "{path}");
    }
    tool.release();
    let mut answer = Vec::new();
    soon(first.read_buf(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    assert_eq!(harness.legacy(ADMIN, &ping).await.status, 200, "the place is free again");
}

#[tokio::test]
async fn a_stream_takes_a_place_among_streams_and_none_among_requests() {
    let harness = Choices::new().set("limits.requests", 1).set("limits.streams", 1).start().await;
    let stream = begun(&harness, listen().as_bytes(), "acknowledged").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(harness.legacy(ADMIN, &ping).await.status, 200);

    let second = begun(&harness, listen().as_bytes(), "overloaded").await;
    drop((stream, second));
    // The place is free once the server has seen that its client went.
    while begun(&harness, listen().as_bytes(), "\r\n\r\n").await.peek(&mut [0]).await.is_err() {}
}

#[tokio::test]
async fn connections_beyond_the_limit_get_probes_answered_and_nothing_else() {
    let harness = Choices::new().set("limits.connections", 1).start().await;
    let first = begun(&harness, HEALTH, "HTTP/1.1 200").await;
    for path in ["health", "ready", "ping"] {
        let probe = format!("GET /{path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let answer = harness.raw(probe.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    }
    let metadata = "GET /.well-known/oauth-protected-resource HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for other in [call("*/*").as_str(), metadata] {
        let answer = harness.raw(other.as_bytes()).await;
        assert!(refused(&answer) && answer.contains("connection: close"), "{answer}");
        assert!(answer.contains(r#""error":"overloaded""#), "{answer}");
    }
    drop(first);
}

#[tokio::test]
async fn a_spare_connection_that_says_nothing_ends_after_5_s() {
    let harness = Choices::new().set("limits.connections", 1).start().await;
    let _first = begun(&harness, HEALTH, "HTTP/1.1 200").await;
    let silent = harness.connect().await;
    harness.sleeping_until(Duration::from_secs(5)).await;
    harness.clock.advance(Duration::from_secs(5));
    assert_eq!(read_to_end(silent).await, "");
}

#[tokio::test]
async fn beyond_the_spare_connections_the_refusal_comes_unasked() {
    let harness = Choices::new().set("limits.connections", 1).start().await;
    let _first = begun(&harness, HEALTH, "HTTP/1.1 200").await;
    let mut spare = Vec::new();
    for _ in 0..SPARE {
        spare.push(harness.connect().await);
    }
    let answer = read_to_end(harness.connect().await).await;
    assert!(refused(&answer), "{answer}");
    // Connections are accepted in order, so the last spare one has its place.
    let mut last = spare.pop().unwrap();
    last.write_all(HEALTH).await.unwrap();
    assert!(read_to_end(last).await.starts_with("HTTP/1.1 200 "));
}
