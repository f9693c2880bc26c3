//! What clients do with a connection rather than with a request: byte by byte, half-closed, pipelined, upgraded, left.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{DynTool, Progress, SpecError, ToolCall, ToolResult, ToolSpec};
use fakes::{Behaviour, RecordingTool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::{PING, answers, post, status, still_serves};
use crate::harness::{ADMIN, Choices, Harness, read_to_end, soon};

/// A whole POST of this body.
fn message(headers: &str, body: &str) -> String {
    post(&format!("content-length: {}\r\n{headers}", body.len())) + body
}

/// Sends, says that no more comes, and reads to the end.
async fn half_closed(harness: &Harness, bytes: &str) -> String {
    let mut stream = harness.connect().await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    read_to_end(stream).await
}

async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        assert_ne!(soon(stream.read_buf(&mut read)).await.unwrap(), 0, "closed before {text:?}");
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let harness = Harness::new().await;
    let chunked = format!("{:x}\r\n{PING}\r\n0\r\n\r\n", PING.len());
    for request in [message("", PING), post("transfer-encoding: chunked\r\n") + &chunked] {
        let mut stream = harness.connect().await;
        stream.set_nodelay(true).unwrap();
        for byte in request.as_bytes() {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let read = read_until(&mut stream, r#""result":{}"#).await;
        assert_eq!(status(&read), "200", "{read}");
    }
}

// A client that shuts down its write side: RFC 9112 section 9.6 lets it wait for what it asked for.

#[tokio::test]
async fn a_half_closed_client_gets_its_answers() {
    let harness = Harness::new().await;
    let ping = "GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (bytes, expected) in [
        (ping.to_owned(), 1),
        (ping.repeat(10), 10),
        ("GET /ping HTTP/1.0\r\n\r\n".to_owned(), 1),
        (message("", PING), 1),
        (message("", PING).repeat(2), 2),
        // What never ends is no request.
        (post(""), 1),
        (format!("{ping}GET /pi"), 1),
        ("GET /pi".to_owned(), 0),
        (String::new(), 0),
    ] {
        let read = half_closed(&harness, &bytes).await;
        let good = read.matches("pong").count() + read.matches(r#""result":{}"#).count();
        assert!(answers(&read) >= expected && good <= expected, "{bytes}: {read}");
    }
    for body in ["", "{\"jsonrpc\""] {
        let read = half_closed(&harness, &(post("content-length: 40\r\n") + body)).await;
        assert_eq!(status(&read), "400", "a body that broke off: {read}");
    }
    still_serves(&harness).await;
}

async fn with_waiting_tool() -> (Harness, Arc<RecordingTool>) {
    let tool = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    (Choices::new().tool(Arc::clone(&tool) as _).start().await, tool)
}

const SLOW: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow"}}"#;

#[tokio::test]
async fn a_half_closed_client_gets_the_answer_of_a_tool_that_takes_its_time() {
    let (harness, tool) = with_waiting_tool().await;
    let mut stream = harness.connect().await;
    stream.write_all(message("", SLOW).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    soon(tool.started()).await;
    harness.sleeping_until(Duration::from_secs(10)).await;
    harness.clock.advance(Duration::from_secs(9));
    tool.release();
    let read = read_to_end(stream).await;
    assert!(read.contains(r#""recorded":true"#), "{read}");
}

/// It looks the same as one that has gone: nobody knows until something is written.
#[tokio::test]
async fn what_a_client_that_has_gone_asked_for_ends_soon() {
    let tool = crate::streams::chatty(0, true);
    let harness = Choices::new().tool(Arc::clone(&tool) as _).start().await;
    let call = SLOW.replace("slow", "chatty");
    for accept in ["application/json", "application/json, text/event-stream"] {
        let mut stream = harness.connect().await;
        stream.write_all(message(&format!("accept: {accept}\r\n"), &call).as_bytes()).await.unwrap();
        // The tool's own deadline.
        harness.sleeping_until(Duration::from_mins(1)).await;
        drop(stream);
        harness.sleeping_until(Duration::from_secs(10)).await;
        assert_eq!(tool.dropped.available_permits(), 0, "it may still want its answer");
        harness.clock.advance(Duration::from_secs(10));
        soon(tool.dropped.acquire()).await.unwrap().forget();
    }
    still_serves(&harness).await;
}

/// Tells more than sockets hold, and waits.
pub struct Loud {
    pub dropped: Arc<Semaphore>,
}

#[async_trait]
impl DynTool for Loud {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::with_schema("loud", "Loud", "A tool.", serde_json::json!({"type": "object"}))
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let _given_up = self.dropped.clone().acquire_owned().await.unwrap();
        for _ in 0..16 {
            call.context.feedback.progress(Progress::new(0.0).message("x".repeat(1 << 20)));
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_after_60_s() {
    let dropped = Arc::new(Semaphore::new(1));
    let tool = Loud { dropped: Arc::clone(&dropped) };
    let harness = Choices::new().tool(Arc::new(tool)).start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(65_536).unwrap();
    let mut stream = socket.connect(harness.address).await.unwrap();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"loud","_meta":{"progressToken":1}}}"#;
    let accept = "accept: application/json, text/event-stream\r\n";
    stream.write_all(message(accept, call).as_bytes()).await.unwrap();
    // The server's turns: it sends until it can't.
    for _ in 0..20 {
        still_serves(&harness).await;
    }
    harness.clock.advance(Duration::from_secs(59));
    still_serves(&harness).await;
    assert_eq!(dropped.available_permits(), 0, "it may yet be read");
    harness.clock.advance(Duration::from_secs(1));
    soon(dropped.acquire()).await.unwrap().forget();
    still_serves(&harness).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let harness = Harness::new().await;
    let numbered = |n: usize| PING.replace(r#""id":1"#, &format!(r#""id":{n}"#));
    let mut requests: String = (1..10).map(|n| message("", &numbered(n))).collect();
    requests += &message("connection: close\r\n", &numbered(10));
    let read = harness.raw(requests.as_bytes()).await;
    let ids: Vec<&str> = read.split(r#""id":"#).skip(1).filter_map(|rest| rest.split(',').next()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"], "{read}");
}

#[tokio::test]
async fn nothing_is_answered_after_what_ends_the_connection() {
    let harness = Harness::new().await;
    let next = "GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (first, expected) in [
        (message("connection: close\r\n", PING), "200"),
        (message("", PING).replace("HTTP/1.1", "HTTP/1.0"), "200"),
        ("GET /ready HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n".to_owned(), "400"),
        (post("content-length: 2000000\r\n"), "413"),
        // Not a byte of the body has been read, and it may look like a request.
        (post(&format!("content-length: {}\r\n", 100_000)).replace(ADMIN, "unknown"), "401"),
        ("GET /\0 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), "400"),
    ] {
        let read = harness.raw(format!("{first}{next}").as_bytes()).await;
        assert_eq!((status(&read), answers(&read)), (expected, 1), "{read}");
        assert!(!read.contains("pong"), "{read}");
    }
    still_serves(&harness).await;
}

// An answer that comes before the body was read.

const LARGE: usize = 8_000_000;

/// Sends a head and a body of 8 MB without reading, in the one form or the other, and returns the whole answer.
async fn refusal(stream: TcpStream, head: &str, is_chunked: bool) -> String {
    let body = "x".repeat(LARGE);
    let framed = if is_chunked {
        format!("transfer-encoding: chunked\r\n\r\n{LARGE:x}\r\n{body}\r\n0\r\n\r\n")
    } else {
        format!("content-length: {LARGE}\r\n\r\n{body}")
    };
    let head = head.strip_suffix("\r\n").unwrap();
    send_and_read(stream, format!("{head}{framed}").as_bytes()).await
}

async fn send_and_read(mut stream: TcpStream, bytes: &[u8]) -> String {
    soon(stream.write_all(bytes)).await.expect("all is taken, and thrown away");
    let mut read = Vec::new();
    soon(stream.read_to_end(&mut read)).await.expect("closed, not reset");
    // A reset behind the end is told as an error of the socket.
    let error = stream.into_std().unwrap().take_error().unwrap();
    assert_eq!(error.map(|error| error.kind()), None);
    String::from_utf8(read).unwrap()
}

#[track_caller]
fn is_whole(read: &str, expected: &str, reason: &str) {
    assert_eq!((status(read), answers(read)), (expected, 1), "{read}");
    let (head, body) = read.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("connection: close"), "{read}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{read}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"], reason);
}

/// Were the socket closed with bytes unread, TCP would reset it, and take the answer away (RFC 9112 section 9.6).
#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let harness = Harness::new().await;
    harness.refuse("cold", domain::VerifyError::KeysUnavailable { retry_after: Duration::ZERO });
    let good = post("");
    let with = |line: &str| post(&format!("{line}\r\n"));
    for (head, expected, reason) in [
        (good.clone(), "413", "body_too_large"),
        (good.replace(ADMIN, "unknown"), "401", "invalid_token"),
        (good.replace("authorization", "x-other"), "401", "unauthorized"),
        (good.replace(ADMIN, "cold"), "503", "temporarily_unavailable"),
        (with("origin: https://evil.example"), "403", "foreign_origin"),
        (good.replace("localhost", "evil.example"), "403", "foreign_host"),
        (with("host: localhost"), "400", "bad_host"),
        (good.replace("/mcp", "/nothing"), "404", "not_found"),
        (good.replacen("POST", "PUT", 1), "405", "method_not_allowed"),
        (with("accept: text/html"), "406", "not_acceptable"),
        (good.replace("application/json", "text/plain"), "415", "unsupported_media_type"),
        (with("content-encoding: gzip"), "415", "unsupported_content_encoding"),
        (with(&format!("x: {}", "y".repeat(33_000))), "431", "head_too_large"),
    ] {
        for is_chunked in [false, true] {
            let read = refusal(harness.connect().await, &head, is_chunked).await;
            is_whole(&read, expected, reason);
        }
    }
    still_serves(&harness).await;
}

/// These are refused after a part of the body was read, or for want of a place to read it in.
#[tokio::test]
async fn a_refusal_in_the_middle_of_a_body_reaches_its_client() {
    for (requests, percent, expected, reason) in
        [(4, 25, "429", "share_exhausted"), (1, 100, "503", "overloaded")]
    {
        let choices = Choices::new().set("limits.body_bytes", 16 << 20).set("limits.memory_bytes", 1 << 30);
        let choices = choices.set("limits.requests", requests).set("limits.subject_percent", percent);
        let harness = choices.set("limits.client_percent", 100).start().await;
        let mut slow = harness.connect().await;
        let begin = post(&format!("content-length: {LARGE}\r\n")) + "begun";
        slow.write_all(begin.as_bytes()).await.unwrap();
        harness.sleeping_until(Duration::from_secs(30)).await;
        for is_chunked in [false, true] {
            let read = refusal(harness.connect().await, &post(""), is_chunked).await;
            is_whole(&read, expected, reason);
        }
        harness.clock.advance(Duration::from_secs(30));
        let read = send_and_read(slow, "x".repeat(LARGE - "begun".len()).as_bytes()).await;
        is_whole(&read, "408", "body_too_slow");
    }
}

/// Not for good, and not everything.
#[tokio::test]
async fn a_client_that_never_stops_sending_is_cut_off() {
    let harness = Harness::new().await;
    let head = post("content-length: 1000000000000\r\n");
    let mut stream = harness.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = " ".repeat(65536);
    let mut sent = 0;
    while soon(stream.write_all(chunk.as_bytes())).await.is_ok() {
        sent += chunk.len();
        assert!(sent < 64 << 20, "{sent} bytes of a refused body were taken");
    }
    let mut stream = harness.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let refused = read_until(&mut stream, "is longer than 1048576 bytes\"}").await;
    assert!(status(&refused) == "413" && refused.contains("body_too_large"), "{refused}");
    harness.sleeping_until(Duration::from_secs(5)).await;
    harness.clock.advance(Duration::from_secs(5));
    assert_eq!(read_to_end(stream).await, "");
    still_serves(&harness).await;
}

#[tokio::test]
async fn the_go_ahead_for_a_body_is_for_who_may_send_it() {
    let harness = Harness::new().await;
    let good = format!("content-length: {}\r\n", PING.len());
    for (headers, token, go_ahead, expected) in [
        (format!("{good}expect: 100-continue\r\n"), ADMIN, true, "200"),
        (format!("{good}expect: 100-Continue\r\n"), ADMIN, true, "200"),
        ("content-length: 1000000000\r\nexpect: 100-continue\r\n".to_owned(), ADMIN, false, "413"),
        (format!("{good}expect: 100-continue\r\n"), "unknown", false, "401"),
        (format!("{good}expect: 100-continue\r\nhost: b\r\n"), ADMIN, false, "400"),
        // RFC 9110 section 10.1.1 lets a server pass over what it does not know.
        (format!("{good}expect: the-unexpected\r\n"), ADMIN, false, "200"),
    ] {
        let head = post(&format!("{headers}connection: close\r\n")).replace(ADMIN, token);
        let mut stream = harness.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        if go_ahead {
            let first = read_until(&mut stream, "\r\n\r\n").await;
            assert_eq!(first, "HTTP/1.1 100 Continue\r\n\r\n", "{headers}");
        }
        if expected == "200" {
            stream.write_all(PING.as_bytes()).await.unwrap();
        }
        let read = read_to_end(stream).await;
        assert_eq!((status(&read), answers(&read)), (expected, 1), "{headers}: {read}");
    }
    // HTTP/1.0 has no interim answers (RFC 9110 section 10.1.1).
    let old = message("expect: 100-continue\r\n", PING).replace("HTTP/1.1", "HTTP/1.0");
    let read = harness.raw(old.as_bytes()).await;
    assert_eq!((status(&read), answers(&read)), ("200", 1), "{read}");
}

#[tokio::test]
async fn no_protocol_is_switched_to() {
    let harness = Harness::new().await;
    for upgrade in [
        "upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nconnection: upgrade, http2-settings\r\n",
        "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        "upgrade: TLS/1.2\r\nconnection: upgrade\r\n",
    ] {
        let first = message(upgrade, PING);
        let last = "GET /ping HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let read = harness.raw(format!("{first}{last}").as_bytes()).await;
        assert!(!read.contains(" 101 ") && !read.contains("upgrade:"), "{read}");
        assert_eq!((status(&read), answers(&read)), ("200", 2), "still HTTP/1.1: {read}");
    }
}
