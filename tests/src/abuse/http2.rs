//! HTTP/2 by hand: floods of frames that cost their sender little, and requests that HTTP/2 can say and must not.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use fakes::{Behaviour, RecordingTool};
use tokio::io::AsyncWriteExt;

use super::still_serves;
use crate::harness::{ADMIN, Choices, Harness, soon};
use crate::wire::{Http2, field, flag, frame, get, kind};

const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
/// `:status: 431`, the digits in Huffman code (RFC 7541 section 5.2).
const STATUS_431: &[u8] = b"\x48\x83\x69\x90\xff";
/// What the two ends' socket buffers hold on loopback, or what is thrown away of a refused connection, and some.
const MOST_TAKEN: usize = 24 << 20;

/// A POST to the endpoint whose body is to come.
fn post(stream: u32) -> Vec<u8> {
    let bearer = format!("Bearer {ADMIN}");
    let fields = [
        (":path", "/mcp"),
        (":authority", "localhost"),
        ("authorization", &bearer),
        ("content-type", "application/json"),
    ];
    let fields: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(kind::HEADERS, flag::END_HEADERS, stream, &[b"\x83\x86", &*fields].concat())
}

fn call(stream: u32, body: &str) -> Vec<u8> {
    [post(stream), frame(kind::DATA, flag::END_STREAM, stream, body.as_bytes())].concat()
}

/// What comes back first: "reset" or "goaway" with its code (RFC 9113 section 7), an answer's error or status, "431"
/// where h2 says so itself, "a document", or "closed".
async fn outcome(client: &mut Http2) -> String {
    let Some(frame) = client.next_that_tells().await else {
        return "closed".to_owned();
    };
    match (frame.kind, frame.error()) {
        (kind::GOAWAY, Some(error)) => format!("goaway {error}"),
        (_, Some(error)) => format!("reset {error}"),
        (kind::HEADERS, None) if frame.payload.starts_with(STATUS_431) => "431".to_owned(),
        (_, None) => {
            let body: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap();
            body["error"].as_str().or(body["status"].as_str()).unwrap_or("a document").to_owned()
        }
    }
}

/// Sends a flood until the server ends the connection, reading nothing before.
async fn flood(harness: &Harness, begin: &[u8], flood: impl Fn(u32) -> Vec<u8>) -> String {
    let mut client = Http2::open(harness, &[]).await;
    client.send(begin).await;
    let (mut taken, mut round) = (0, 0);
    loop {
        let bytes = flood(round);
        if soon(client.0.write_all(&bytes)).await.is_err() {
            return outcome(&mut client).await;
        }
        (taken, round) = (taken + bytes.len(), round + 1);
        assert!(taken < MOST_TAKEN, "{taken} bytes were taken of a flood that should have ended");
        // One thread runs both sides: the server's turn.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn floods_that_ask_for_nothing_end_the_connection() {
    let harness = Harness::new().await;
    // Rapid reset: requests that are taken back at once.
    let resets = |round: u32| {
        let reset = |stream| frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
        let streams = (0..500).map(|n| (round * 500 + n) * 2 + 1);
        streams.flat_map(|stream| [get(stream, "/ping"), reset(stream)].concat()).collect()
    };
    assert_eq!(flood(&harness, b"", resets).await, "goaway 11", "rapid reset");
    // A head that never ends.
    let begun = frame(kind::HEADERS, 0, 1, b"\x82\x86");
    for payload in [field("x", &"y".repeat(1000)), field("x", ""), Vec::new()] {
        let continuation = frame(kind::CONTINUATION, 0, 1, &payload).repeat(100);
        let end = flood(&harness, &begun, |_| continuation.clone()).await;
        assert_eq!(end, "goaway 11", "CONTINUATION with {} bytes", payload.len());
    }
    // A body that never comes nearer to its end.
    for payload in [&b""[..], b" "] {
        let data = frame(kind::DATA, 0, 1, payload).repeat(1000);
        let end = flood(&harness, &post(1), |_| data.clone()).await;
        assert_eq!(end, "goaway 11", "DATA with {} bytes", payload.len());
    }
    still_serves(&harness).await;
}

/// How much of `flood` the server takes while nobody reads its answers. One thread runs both sides: while the server
/// finds time to serve so many others, it does not read this client.
async fn taken_while_nobody_reads(harness: &Harness, client: &Http2, flood: &[u8]) -> usize {
    let (mut taken, mut turns) = (0, 0);
    while turns < 20 && taken < MOST_TAKEN {
        // Where one write ended in a frame, the next one goes on.
        match client.0.try_write(&flood[taken % flood.len()..]) {
            Ok(written) => (taken, turns) = (taken + written, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => turns += 1,
            Err(_) => break,
        }
        still_serves(harness).await;
    }
    taken
}

/// Each frame asks for an answer. Who does not read them is not read from, and closed when the time for a request is up.
#[tokio::test]
async fn floods_that_ask_for_answers_wait_for_their_reader() {
    let harness = Harness::new().await;
    for kind in [kind::PING, kind::SETTINGS] {
        let payload: &[u8] = if kind == kind::PING { &[0; 8] } else { b"" };
        let mut client = Http2::open(&harness, &[]).await;
        let flood = frame(kind, 0, 0, payload).repeat(10_000);
        let taken = taken_while_nobody_reads(&harness, &client, &flood).await;
        assert!(taken < MOST_TAKEN, "{kind}: {taken} bytes were taken and nothing was read");
        harness.clock.advance(Duration::from_secs(9));
        still_serves(&harness).await;
        let held = client.0.try_write(b"x").unwrap_err();
        assert_eq!(held.kind(), ErrorKind::WouldBlock, "{kind}: not closed, and not read from");
        harness.clock.advance(Duration::from_secs(1));
        while let Some(frame) = client.next().await {
            assert_eq!(frame.error(), None, "{kind}");
        }
    }
    still_serves(&harness).await;
}

/// Beyond 100 under way each is refused, and beyond a thousand refusals the connection ends.
#[tokio::test]
async fn requests_without_end_end_the_connection() {
    let harness = Harness::new().await;
    let mut client = Http2::open(&harness, &[]).await;
    let flood: Vec<u8> = (0..300_000).flat_map(|n| get(n * 2 + 1, "/ping")).collect();
    let taken = taken_while_nobody_reads(&harness, &client, &flood).await;
    assert!(taken < flood.len().min(MOST_TAKEN), "{taken} bytes were taken and nothing was read");
    let end = client.until(|frame| frame.kind == kind::GOAWAY).await;
    assert_eq!(end.error(), Some(11));
    still_serves(&harness).await;
}

/// The field is sent once, and costs one byte each time it comes again (RFC 7541 section 6.1).
#[tokio::test]
async fn a_field_that_unfolds_into_many_is_refused() {
    let harness = Harness::new().await;
    let large = [b"\x40\x01x\x7f\xa1\x1e".to_vec(), vec![b'y'; 4000]].concat();
    let usual = [b"\x82\x86".to_vec(), field(":path", "/ping"), field(":authority", "localhost")].concat();
    for (times, expected) in
        [(1, "pong"), (7, "pong"), (8, "431"), (30, "431"), (35, "goaway 11"), (10_000, "goaway 11")]
    {
        let mut client = Http2::open(&harness, &[]).await;
        let fields = [usual.clone(), large.clone(), vec![0xbe; times]].concat();
        client.send(&frame(kind::HEADERS, flag::WHOLE, 1, &fields)).await;
        assert_eq!(outcome(&mut client).await, expected, "{times} times");
    }
    still_serves(&harness).await;
}

#[tokio::test]
async fn windows_have_an_end() {
    let harness = Harness::new().await;
    for (stream, expected) in [(0, "goaway 3"), (1, "reset 3")] {
        let mut client = Http2::open(&harness, &[]).await;
        client.send(&post(1)).await;
        client.send(&frame(kind::WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes())).await;
        assert_eq!(outcome(&mut client).await, expected, "{stream}");
    }
    let mut client = Http2::open(&harness, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0x8000_0000)]).await;
    assert_eq!(outcome(&mut client).await, "goaway 1");
    still_serves(&harness).await;
}

#[tokio::test]
async fn a_hundred_requests_are_under_way_at_most() {
    let tool = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let harness = Choices::new().tool(Arc::clone(&tool) as _).start().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow"}}"#;
    let mut client = Http2::open(&harness, &[]).await;
    for stream in 0..100 {
        client.send(&call(stream * 2 + 1, body)).await;
        soon(tool.started()).await;
    }
    client.send(&call(201, body)).await;
    let refused = client.until(|frame| frame.kind == kind::RST_STREAM).await;
    assert_eq!((refused.stream, refused.error()), (201, Some(7)));
    assert_eq!(tool.calls().len(), 100);
    still_serves(&harness).await;
    // One that ends makes room.
    tool.release();
    client.until_data("recorded").await;
    client.send(&call(203, body)).await;
    soon(tool.started()).await;
}

#[tokio::test]
async fn a_request_is_what_http_2_says() {
    let harness = Harness::new().await;
    let (method, scheme) = ((":method", "GET"), (":scheme", "http"));
    let (path, authority) =
        ((":path", "/.well-known/oauth-authorization-server"), (":authority", "localhost"));
    for (fields, expected) in [
        (vec![authority, ("host", "localhost")], "a document"),
        (vec![authority], "a document"),
        (vec![("host", "localhost")], "a document"),
        (vec![authority, ("te", "trailers")], "a document"),
        (vec![], "bad_host"),
        (vec![(":authority", "")], "reset 1"),
        (vec![authority, ("host", "evil.example")], "bad_host"),
        (vec![(":authority", "evil.example"), ("host", "localhost")], "bad_host"),
        (vec![authority, ("host", "localhost"), ("host", "localhost")], "bad_host"),
        (vec![(":authority", "evil.example")], "foreign_host"),
        (vec![(":authority", "user@localhost")], "bad_host"),
        (vec![authority, ("", "x")], "goaway 1"),
        (vec![authority, ("X", "x")], "goaway 1"),
        (vec![authority, ("x y", "x")], "goaway 1"),
        (vec![authority, ("x", "a\r\nb: c")], "goaway 1"),
        (vec![authority, ("x", "a\0")], "goaway 1"),
        (vec![authority, ("connection", "close")], "reset 1"),
        (vec![authority, ("keep-alive", "x")], "reset 1"),
        (vec![authority, ("proxy-connection", "x")], "reset 1"),
        (vec![authority, ("transfer-encoding", "chunked")], "reset 1"),
        (vec![authority, ("upgrade", "websocket")], "reset 1"),
        (vec![authority, ("te", "gzip")], "reset 1"),
        (vec![authority, ("content-length", "5")], "reset 1"),
        (vec![authority, (":authority", "localhost")], "reset 1"),
        (vec![authority, (":unknown", "x")], "goaway 1"),
        (vec![("x", "y"), authority], "reset 1"),
        (vec![authority, (":protocol", "websocket")], "reset 1"),
    ] {
        let all = [&[method, scheme, path][..], &fields].concat();
        let block: Vec<u8> = all.iter().flat_map(|(name, value)| field(name, value)).collect();
        let mut client = Http2::open(&harness, &[]).await;
        client.send(&frame(kind::HEADERS, flag::WHOLE, 1, &block)).await;
        assert_eq!(outcome(&mut client).await, expected, "{fields:?}");
        // The connection bears it, but for what is no HTTP at all.
        if expected != "goaway 1" {
            client.send(&get(3, "/ping")).await;
            client.until_data("pong").await;
        }
    }
    still_serves(&harness).await;
}

#[tokio::test]
async fn a_body_is_as_long_as_it_says() {
    let harness = Harness::new().await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let said = post(1);
    for length in ["5", "500", "-1", "40, 40", "1000000000000"] {
        let mut client = Http2::open(&harness, &[]).await;
        let block = [&said[9..], &field("content-length", length)].concat();
        client.send(&frame(kind::HEADERS, flag::END_HEADERS, 1, &block)).await;
        client.send(&frame(kind::DATA, flag::END_STREAM, 1, ping.as_bytes())).await;
        assert_eq!(outcome(&mut client).await, "reset 1", "{length}");
    }
    still_serves(&harness).await;
}

/// RFC 9113 section 8.1: the answer is whole, and its client is told without an error to stop sending.
#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending_and_the_connection_lives() {
    let harness = Harness::new().await;
    let bearer = format!("Bearer {ADMIN}");
    let (path, host) = ((":path", "/mcp"), (":authority", "localhost"));
    let (good, json) = (("authorization", bearer.as_str()), ("content-type", "application/json"));
    for (fields, reason) in [
        (vec![path, host], "unauthorized"),
        (vec![path, host, ("authorization", "Bearer unknown"), json], "invalid_token"),
        (vec![path, host, good, json, ("origin", "https://evil.example")], "foreign_origin"),
        (vec![path, (":authority", "evil.example"), good, json], "foreign_host"),
        (vec![(":path", "/nothing"), host], "not_found"),
        (vec![path, host, good, json, ("content-length", "8000000")], "body_too_large"),
        (vec![path, host, good], "unsupported_media_type"),
        (vec![path, host, good, json, ("content-encoding", "gzip")], "unsupported_content_encoding"),
    ] {
        let mut client = Http2::open(&harness, &[]).await;
        let fields: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        let head = frame(kind::HEADERS, flag::END_HEADERS, 1, &[b"\x83\x86", &*fields].concat());
        // As much as the window of a stream takes.
        let body = frame(kind::DATA, 0, 1, &[b'x'; 16_000]).repeat(4);
        client.send(&[head, body].concat()).await;
        let data = client.until(|frame| frame.stream == 1 && frame.kind != kind::HEADERS).await;
        assert_eq!((data.kind, data.flags & flag::END_STREAM), (kind::DATA, flag::END_STREAM), "{reason}");
        let body: serde_json::Value = serde_json::from_slice(&data.payload).unwrap();
        assert_eq!(body["error"], reason);
        let reset = client.until(|frame| frame.stream == 1).await;
        assert_eq!((reset.kind, reset.error()), (kind::RST_STREAM, Some(0)), "{reason}");
        client.send(&get(3, "/ping")).await;
        client.until_data("pong").await;
    }
}

#[tokio::test]
async fn frames_out_of_place_end_the_connection() {
    let harness = Harness::new().await;
    for (name, bytes, expected) in [
        ("DATA of no request", frame(kind::DATA, 0, 1, b"x"), "goaway 1"),
        ("an even stream", get(2, "/ping"), "goaway 1"),
        ("HEADERS of no stream", get(0, "/ping"), "goaway 1"),
        ("CONTINUATION of nothing", frame(kind::CONTINUATION, 0, 1, b""), "goaway 1"),
        ("a head within a head", [frame(kind::HEADERS, 0, 1, b"\x82"), get(3, "/ping")].concat(), "goaway 1"),
        ("PUSH_PROMISE", frame(5, flag::END_HEADERS, 1, b"\0\0\0\x02\x82"), "goaway 1"),
        ("PING of 7 bytes", frame(kind::PING, 0, 0, &[0; 7]), "goaway 1"),
        ("WINDOW_UPDATE by 0", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), "goaway 1"),
        ("a frame beyond 16 KiB", frame(kind::DATA, 0, 1, &vec![0; 16_385]), "goaway 6"),
        (
            "a broken table index",
            frame(kind::HEADERS, flag::WHOLE, 1, b"\xff\xff\xff\xff\xff\xff"),
            "goaway 1",
        ),
        ("RST_STREAM of nothing", frame(kind::RST_STREAM, 0, 1, &[0; 4]), "goaway 1"),
    ] {
        let mut client = Http2::open(&harness, &[]).await;
        client.send(&bytes).await;
        assert_eq!(outcome(&mut client).await, expected, "{name}");
    }
    still_serves(&harness).await;
}
