//! Sizes, times and numbers: what goes beyond is refused in words, and the next request is served.

use std::sync::Arc;
use std::time::Duration;

use domain::{UnixSeconds, tool_fn};
use fakes::{Behaviour, RecordingTool};
use http_body_util::Full;
use serde_json::json;
use system_clock::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{ADMIN, Choices, Harness, read_to_end, soon};

fn post(token: &str, headers: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n{headers}\r\n"
    )
}

async fn still_serves(harness: &Harness) {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(harness.legacy(ADMIN, &ping).await.status, 200);
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_before_it_is_read() {
    let harness = Choices::new().set("limits.body_bytes", 2048).start().await;
    // Not a byte of the body is sent, and no "100 Continue" is given.
    let answer =
        harness.raw(post(ADMIN, "content-length: 2049\r\nexpect: 100-continue\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("connection: close") && answer.contains("body_too_large"), "{answer}");
    still_serves(&harness).await;
}

#[tokio::test]
async fn a_body_in_chunks_is_counted() {
    let harness = Choices::new().set("limits.body_bytes", 2048).start().await;
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1024));
    let head = post(ADMIN, "transfer-encoding: chunked\r\n");
    let answer = harness.raw(format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let (first, rest) = ping.split_at(10);
    let body = format!("{:x}\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", first.len(), rest.len());
    let head = post(ADMIN, "transfer-encoding: chunked\r\nconnection: close\r\n");
    let answer = harness.raw(format!("{head}{body}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    still_serves(&harness).await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_431() {
    let harness = Choices::new().set("limits.header_bytes", 8192).start().await;
    for (length, status, told) in [(7000, "401", true), (8300, "431", true), (100_000, "431", false)] {
        let head = format!(
            "GET /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: {}\r\n\r\n",
            "x".repeat(length)
        );
        let answer = harness.raw(head.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{length}: {answer}");
        // Far beyond the limit hyper answers by itself, without a word.
        assert_eq!(answer.contains("x-request-id"), told, "{length}: {answer}");
    }
    still_serves(&harness).await;
}

#[tokio::test]
async fn a_head_that_arrives_too_slowly_ends_the_connection() {
    let harness = Harness::new().await;
    let mut stream = harness.connect().await;
    // The connection is idle, and waits 75 s for a request.
    harness.sleeping_until(Duration::from_secs(75)).await;
    stream.write_all(b"POST /mcp HTTP/1.1\r\nhost: lo").await.unwrap();
    harness.sleeping_until(Duration::from_secs(10)).await;
    harness.clock.advance(Duration::from_secs(10));
    assert_eq!(read_to_end(stream).await, "");
    still_serves(&harness).await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_kept_75_s() {
    let harness = Harness::new().await;
    let mut stream = harness.connect().await;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    soon(stream.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    soon(harness.clock.sleeping(1)).await;
    harness.clock.advance(Duration::from_secs(74));
    stream.write_all(b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut more = Vec::new();
    while !String::from_utf8_lossy(&more).contains("pong") {
        assert_ne!(stream.read_buf(&mut more).await.unwrap(), 0, "closed too early");
    }
    soon(harness.clock.sleeping(1)).await;
    harness.clock.advance(Duration::from_secs(75));
    assert_eq!(read_to_end(stream).await, "");
}

#[tokio::test]
async fn a_body_that_arrives_too_slowly_is_408() {
    let harness = Harness::new().await;
    let mut stream = harness.connect().await;
    stream.write_all(post(ADMIN, "content-length: 40\r\n").as_bytes()).await.unwrap();
    stream.write_all(b"{\"jsonrpc\"").await.unwrap();
    harness.sleeping_until(Duration::from_secs(30)).await;
    harness.clock.advance(Duration::from_secs(30));
    let answer = read_to_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"), "{answer}");
    still_serves(&harness).await;
}

#[tokio::test]
async fn json_is_bounded_in_depth() {
    let harness = Choices::new().set("limits.json_depth", 8).start().await;
    for (levels, status) in [(5, 200), (6, 400)] {
        // The message, params and arguments are three levels by themselves.
        let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"greet","arguments":{{"name":{nested}}}}}}}"#
        );
        let answer = harness.send(harness.post(ADMIN).body(Full::from(body)).unwrap()).await;
        assert_eq!(answer.status, status, "{levels}");
    }
}

#[tokio::test]
async fn a_tool_that_takes_too_long_fails_and_the_server_lives() {
    let tool = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let harness = Choices::new().tool(Arc::clone(&tool) as _).start().await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "slow"}});
    let answer = harness.legacy(ADMIN, &call);
    let pass_time = async {
        soon(tool.started()).await;
        harness.sleeping_until(Duration::from_mins(1)).await;
        harness.clock.advance(Duration::from_mins(1));
    };
    let (answer, ()) = tokio::join!(answer, pass_time);
    assert_eq!(answer.status, 200);
    let text = "the tool took longer than 60 s";
    assert_eq!(
        answer.json()["result"],
        json!({"content": [{"type": "text", "text": text}], "isError": true})
    );
    still_serves(&harness).await;
}

#[tokio::test]
async fn a_tool_that_is_always_busy_fails_at_its_deadline() {
    let busy = tool_fn("busy", "Never waits for anything.", |(): (), _| async {
        for _ in 0..u64::MAX {
            tokio::task::coop::consume_budget().await;
        }
        Ok("done")
    });
    let choices = Choices::new().set("limits.tool_seconds", 1).tool(Arc::new(busy));
    let harness = choices.ports_with(|ports| ports.clock = Arc::new(SystemClock::start())).start().await;
    harness.token("lasting", |claims| claims.expires_at = UnixSeconds(i64::MAX));
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "busy"}});
    let answer = harness.legacy("lasting", &call).await;
    assert_eq!(answer.json()["result"]["content"][0]["text"], "the tool took longer than 1 s");
}

#[tokio::test]
async fn a_tool_that_fails_tells_the_model_and_one_that_panics_tells_nothing() {
    for (behaviour, text) in [
        (Behaviour::Fail, "the tool said no"),
        (Behaviour::Panic, "the tool failed unexpectedly"),
        (Behaviour::BreakSchema, "the tool gave a result that does not fit its output schema"),
    ] {
        let tool = Arc::new(RecordingTool::new("odd", &[], behaviour));
        let harness = Choices::new().tool(Arc::clone(&tool) as _).start().await;
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "odd", "arguments": {"note": "n"}}});
        let answer = harness.legacy(ADMIN, &call).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.json()["result"],
            json!({"content": [{"type": "text", "text": text}], "isError": true})
        );
        assert_eq!(tool.calls(), [("auth0|abc123".to_owned(), Some("n".to_owned()))]);
        still_serves(&harness).await;
    }
}
