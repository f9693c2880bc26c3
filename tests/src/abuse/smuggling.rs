//! Requests whose end is in doubt (RFC 9112 sections 6 and 11.2): whatever a proxy in front of the server makes of them,
//! the server never answers a request that hides in the bytes of another.

use super::{PING, answers, post, status, still_serves};
use crate::harness::{ADMIN, Harness};

/// What an attacker wants answered as a request of somebody else's.
const SMUGGLED: &str = "GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// The request is answered so, the connection is closed, and the server lives.
async fn check(harness: &Harness, request: &str, expected: &str) {
    let read = harness.raw(format!("{request}{SMUGGLED}").as_bytes()).await;
    let name = &request[..request.len().min(400)];
    assert_eq!(status(&read), expected, "{name:?}: {read}");
    assert!(answers(&read) <= 1, "a smuggled request was answered: {name:?}: {read}");
    assert!(!read.contains("pong"), "a smuggled request was answered: {name:?}: {read}");
    still_serves(harness).await;
}

/// A request that is refused at its head.
fn anonymous(headers: &str) -> String {
    post(headers).replace(ADMIN, "unknown")
}

/// The ping in one chunk.
fn chunked() -> String {
    format!("{:x}\r\n{PING}\r\n0\r\n\r\n", PING.len())
}

#[tokio::test]
async fn a_length_besides_chunks_ends_the_connection() {
    let harness = Harness::new().await;
    let te = "transfer-encoding: chunked\r\n";
    for headers in [
        format!("content-length: 5\r\n{te}"),
        format!("{te}content-length: 5\r\n"),
        format!("{te}content-length: nonsense\r\n"),
        format!("{te}content-length: 1\r\ncontent-length: 2\r\n"),
        format!("content-length: 0\r\n{te}"),
    ] {
        check(&harness, &(post(&headers) + &chunked()), "200").await;
        check(&harness, &(anonymous(&headers) + &chunked()), "401").await;
    }
}

#[tokio::test]
async fn a_length_is_one_number() {
    let harness = Harness::new().await;
    let length = PING.len();
    for value in [
        format!("{length}\r\ncontent-length: {}", length + 1),
        format!("{length}\r\ncontent-length: 0"),
        format!("+{length}"),
        format!("-{length}"),
        format!("{length} 1"),
        format!("0x{length:x}"),
        format!("{length}, {length}"),
        format!("{length},"),
        format!("{length}.0"),
        "18446744073709551616".to_owned(),
        "99999999999999999999999999999999999999".to_owned(),
        String::new(),
        "\"1\"".to_owned(),
        "\u{661}".to_owned(),
    ] {
        check(&harness, &(post(&format!("content-length: {value}\r\n")) + PING), "400").await;
    }
}

/// The same length twice leaves no doubt (RFC 9110 section 8.6), so what follows is a request of its own.
#[tokio::test]
async fn the_same_length_twice_is_one_length() {
    let harness = Harness::new().await;
    let length = format!("content-length: {}\r\n", PING.len());
    let first = post(&format!("{length}{length}")) + PING;
    let last = post(&format!("{length}connection: close\r\n")) + PING;
    let read = harness.raw(format!("{first}{last}").as_bytes()).await;
    assert_eq!((answers(&read), read.matches(r#""result":{}"#).count()), (2, 2), "{read}");
}

#[tokio::test]
async fn chunked_once_is_the_only_transfer_coding() {
    let harness = Harness::new().await;
    for value in [
        "chunked, chunked",
        "chunked\r\ntransfer-encoding: chunked",
        "identity",
        "identity, chunked",
        "gzip, chunked",
        "gzip\r\ntransfer-encoding: chunked",
        "chunked\r\ntransfer-encoding: identity",
        "chunked, identity",
        "xchunked",
        "chunked;x=y",
        "\"chunked\"",
        ", chunked",
        "chunked,",
        "\u{b}chunked",
        "",
    ] {
        let request = post(&format!("transfer-encoding: {value}\r\n")) + &chunked();
        check(&harness, &request, "400").await;
        // Nor by those who pass neither a body nor a token.
        let get = format!("GET /health HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: {value}\r\n\r\n");
        check(&harness, &get, "400").await;
    }
    check(&harness, &(post("transfer-encoding : chunked\r\n") + &chunked()), "400").await;
    check(&harness, &(post("transfer-encoding: CHUNKED\r\nconnection: close\r\n") + &chunked()), "200").await;
}

#[tokio::test]
async fn http_1_0_has_no_chunks() {
    let harness = Harness::new().await;
    let head = post("transfer-encoding: chunked\r\nconnection: keep-alive\r\n");
    check(&harness, &(head.replace("HTTP/1.1", "HTTP/1.0") + &chunked()), "400").await;
}

#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let harness = Harness::new().await;
    let size = format!("{:x}", PING.len());
    for body in [
        format!("ffffffffffffffff1\r\n{PING}\r\n0\r\n\r\n"),
        format!("-{size}\r\n{PING}\r\n0\r\n\r\n"),
        format!("+{size}\r\n{PING}\r\n0\r\n\r\n"),
        format!("0x{size}\r\n{PING}\r\n0\r\n\r\n"),
        format!("g\r\n{PING}\r\n0\r\n\r\n"),
        format!(" {size}\r\n{PING}\r\n0\r\n\r\n"),
        format!("\r\n{PING}\r\n0\r\n\r\n"),
        format!(";a=b\r\n{PING}\r\n0\r\n\r\n"),
        format!("{size} 1\r\n{PING}\r\n0\r\n\r\n"),
        // The chunk is shorter, or longer, than it says.
        format!("1\r\n{PING}\r\n0\r\n\r\n"),
        format!("{size}\r\n{PING}0\r\n\r\n"),
        // A bare LF where a CRLF must be, or a CR without its LF.
        format!("{size}\n{PING}\r\n0\r\n\r\n"),
        format!("{size}\r\n{PING}\n0\r\n\r\n"),
        format!("{size}\r\n{PING}\r\n0\n\r\n"),
        format!("{size}\r\n{PING}\r\n0\r\n\n"),
        format!("{size}\r{PING}\r\n0\r\n\r\n"),
        format!("{size};a\n{PING}\r\n0\r\n\r\n"),
        // Extensions and trailers beyond 16 KiB.
        format!("{size};{}\r\n{PING}\r\n0\r\n\r\n", "x".repeat(20_000)),
        format!("{}0\r\n\r\n", format!("1;{}\r\n \r\n", "x".repeat(100)).repeat(200)),
        format!("{size}\r\n{PING}\r\n0\r\nx: {}\r\n\r\n", "x".repeat(20_000)),
        format!("{size}\r\n{PING}\r\n0\r\n{}\r\n", "x: y\r\n".repeat(200)),
        format!("{size}\r\n{PING}\r\n0\r\nno colon\r\n\r\n"),
        // Trailers, whose end would be in doubt.
        format!("{size}\r\n{PING}\r\n0\r\nx: y\r\n\r\n"),
        format!("{size}\r\n{PING}\r\n0\r\nx: y\r\n\n"),
    ] {
        check(&harness, &(post("transfer-encoding: chunked\r\n") + &body), "400").await;
        // Nor does a body end elsewhere because nobody wants it.
        check(&harness, &(anonymous("transfer-encoding: chunked\r\n") + &body), "401").await;
    }
    let huge = format!("7fffffffffffffff\r\n{}", " ".repeat(2 << 20));
    check(&harness, &(post("transfer-encoding: chunked\r\n") + &huge), "413").await;
}

#[tokio::test]
async fn lines_and_fields_have_one_form() {
    let harness = Harness::new().await;
    let length = PING.len();
    for (fields, expected) in [
        ("x: y\r\n folded\r\n", "400"),
        ("x: y\r\n\tfolded\r\n", "400"),
        (" x: y\r\n", "400"),
        ("x : y\r\n", "400"),
        ("x\t: y\r\n", "400"),
        (": y\r\n", "400"),
        ("no colon\r\n", "400"),
        ("x(y): z\r\n", "400"),
        ("\u{e9}: z\r\n", "400"),
        ("x: a\0b\r\n", "400"),
        ("x: a\u{1}b\r\n", "400"),
        ("x: a\u{7f}b\r\n", "400"),
        ("x: a\rb\r\n", "400"),
        ("x: a\r\r\n", "400"),
        ("x\0: a\r\n", "400"),
        ("x: a\n y: b\r\n", "400"),
        // A recipient may take a bare LF as the end of a line (RFC 9112 section 2.2), and hyper does; no length is in doubt.
        ("x: a\nconnection: close\n", "200"),
    ] {
        let request = post(&format!("content-length: {length}\r\n{fields}")) + PING;
        check(&harness, &request, expected).await;
    }
}
