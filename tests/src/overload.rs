//! More than the server takes on: refused at once and in words, while probes are answered.

use std::sync::Arc;
use std::time::Duration;

use domain::UnixSeconds;
use fakes::{Behaviour, RecordingTool};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ADMIN, Choices, Harness, NOW, read_to_end, soon};
use crate::streams::chatty;
use crate::wire::{Http2, get, kind};

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// As many connections as are served for probes when all others are taken.
const SPARE: usize = 64;

fn refused(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1")
}

fn call(tool: &str) -> String {
    let meta = json!({"progressToken": 1});
    let params = json!({"name": tool, "_meta": meta});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    request(ADMIN, &body.to_string(), "mcp-protocol-version: 2025-11-25\r\n")
}

fn listen(token: &str) -> String {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "notifications": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }});
    let mirrors = "mcp-protocol-version: 2026-07-28\r\nmcp-method: subscriptions/listen\r\n";
    request(token, &body.to_string(), mirrors)
}

fn request(token: &str, body: &str, more: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n{more}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A connection on which something was sent and the beginning of an answer came back.
async fn begun(harness: &Harness, request: &[u8], answer: &str) -> TcpStream {
    let mut stream = harness.connect().await;
    stream.write_all(request).await.unwrap();
    read_until(&mut stream, answer).await;
    stream
}

async fn read_until(stream: &mut TcpStream, answer: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(answer) {
        let more = soon(stream.read_buf(&mut read)).await.unwrap();
        assert_ne!(more, 0, "closed before {answer:?}: {}", String::from_utf8_lossy(&read));
    }
}

async fn ping(harness: &Harness) -> u16 {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    harness.legacy(ADMIN, &ping).await.status.as_u16()
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_come_back_once_their_body_is_there() {
    let tool = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let harness = Choices::new().set("limits.requests", 1).tool(Arc::clone(&tool) as _).start().await;
    let mut first = harness.connect().await;
    first.write_all(call("slow").as_bytes()).await.unwrap();
    soon(tool.started()).await;

    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let answer = harness.legacy(ADMIN, &ping).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.json()["error"], "overloaded");
    assert_eq!(harness.legacy("nobody-knows-it", &ping).await.status, 401, "who has no token is told so");
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
async fn a_subscription_takes_a_place_among_streams_and_none_among_requests() {
    let harness = Choices::new().set("limits.requests", 1).set("limits.streams", 1).start().await;
    harness.token("short", |claims| claims.expires_at = UnixSeconds(NOW.0 / 1000 + 60));
    let mut first = begun(&harness, listen("short").as_bytes(), "acknowledged").await;
    assert_eq!(ping(&harness).await, 200);

    let mut second = harness.connect().await;
    second.write_all(listen(ADMIN).as_bytes()).await.unwrap();
    read_until(&mut second, r#""error":"overloaded""#).await;
    assert_eq!(ping(&harness).await, 200, "and gives its request's place back");

    // It ends with its token, and its place is free.
    harness.clock.advance(Duration::from_mins(1));
    read_until(&mut first, "\r\n0\r\n\r\n").await;
    second.write_all(listen(ADMIN).as_bytes()).await.unwrap();
    read_until(&mut second, "acknowledged").await;
}

#[tokio::test]
async fn a_call_that_streams_keeps_its_requests_place_rather_than_be_thrown_away() {
    let tool = chatty(1, true);
    let choices = Choices::new().set("limits.requests", 1).set("limits.streams", 1);
    let harness = choices.tool(Arc::clone(&tool) as _).start().await;
    let among_streams = begun(&harness, call("chatty").as_bytes(), "notifications/progress").await;
    assert_eq!(ping(&harness).await, 200);
    let among_requests = begun(&harness, call("chatty").as_bytes(), "notifications/progress").await;
    assert_eq!(ping(&harness).await, 503);
    assert_eq!(harness.get("/health").await.status, 200);

    drop(among_requests);
    soon(tool.dropped.acquire()).await.unwrap().forget();
    assert_eq!(ping(&harness).await, 200);
    drop(among_streams);
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
    for other in [call("slow").as_str(), metadata] {
        let answer = harness.raw(other.as_bytes()).await;
        assert!(refused(&answer) && answer.contains("connection: close"), "{answer}");
        assert!(answer.contains(r#""error":"overloaded""#), "{answer}");
    }
    drop(first);
}

#[tokio::test]
async fn a_spare_connection_of_http_2_ends_with_its_first_request() {
    let harness = Choices::new().set("limits.connections", 1).start().await;
    let _first = begun(&harness, HEALTH, "HTTP/1.1 200").await;
    for (path, answer) in [("/health", r#"{"status":"ok"}"#), ("/mcp", r#""error":"overloaded""#)] {
        let mut spare = Http2::open(&harness, &[]).await;
        spare.send(&get(1, path)).await;
        // In either order.
        let (mut answered, mut ended) = (false, false);
        while !(answered && ended) {
            let frame = spare.next().await.expect("closed before");
            answered |= String::from_utf8_lossy(&frame.payload).contains(answer);
            ended |= frame.kind == kind::GOAWAY;
        }
    }
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
