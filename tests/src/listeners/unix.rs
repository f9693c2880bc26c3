//! Unix sockets: the file, and that everything holds for their connections that holds for those of TCP.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fakes::{Behaviour, RecordingTool};
use http_body_util::Full;
use hyper_transport::{Drained, ListenError, Listener};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use crate::abuse::sockets::Loud;
use crate::harness::{ADMIN, Choices, Harness, read_to_end, send, soon};
use crate::wire::{PREFACE, frame, get, kind};

pub(super) const PING: &str = "GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A server on a Unix socket.
struct OnUnix {
    harness: Harness,
    path: PathBuf,
    _folder: TempDir,
}

impl OnUnix {
    async fn start(choices: Choices) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.sock");
        let harness = choices.on(Listener::unix(&path, 0o600).unwrap()).start().await;
        Self { harness, path, _folder: folder }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    async fn sent(&self, text: &str) -> UnixStream {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Completes when the server has answered somebody else, and so had its turns.
    async fn still_serves(&self) {
        assert!(read_some(&mut self.sent(PING).await).await.contains("pong"));
    }
}

async fn read_some(stream: &mut UnixStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"}") {
        assert_ne!(soon(stream.read_buf(&mut read)).await.unwrap(), 0, "closed before its answer");
    }
    String::from_utf8(read).unwrap()
}

pub(super) fn call(tool: &str) -> String {
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}}).to_string();
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_unix_socket_is_served_and_its_file_goes_with_it() {
    let mut server = OnUnix::start(Choices::new()).await;
    assert_eq!(mode(&server.path), 0o600);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "greet"}});
    let request = server.harness.post(ADMIN).body(Full::from(body.to_string())).unwrap();
    let answer = send(server.connect().await, request).await;
    assert_eq!(answer.json()["result"]["structuredContent"]["sub"], "auth0|abc123");

    // Who was connected is answered, and nobody else finds it.
    let mut early = server.connect().await;
    server.harness.begin_stop();
    while server.path.exists() {
        tokio::task::yield_now().await;
    }
    early.write_all(PING.as_bytes()).await.unwrap();
    let answer = read_to_end(early).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    assert_eq!(server.harness.stopped().await, Drained::Complete);
}

#[tokio::test]
async fn the_file_of_a_dead_process_is_replaced_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.sock");
    drop(StdUnixListener::bind(&path).unwrap());
    let listener = Listener::unix(&path, 0o660).unwrap();
    assert_eq!((listener.address(), mode(&path)), (format!("unix:{}", path.display()), 0o660));
    assert!(matches!(Listener::unix(&path, 0o660), Err(ListenError::InUse)));
    assert!(UnixStream::connect(&path).await.is_ok(), "the one in use goes on");

    // What is there by now is somebody else's.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "data").unwrap();
    assert!(matches!(Listener::unix(&path, 0o660), Err(ListenError::NoSocket)));
    drop(listener);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    assert!(matches!(Listener::unix(&folder.path().join("no/such"), 0o660), Err(ListenError::System(_))));
    let long = folder.path().join("x".repeat(200));
    assert!(matches!(Listener::unix(&long, 0o660), Err(ListenError::System(_))));
}

#[tokio::test]
async fn a_slow_head_is_cut_off_on_a_unix_socket_and_an_idle_connection_is_not() {
    let server = OnUnix::start(Choices::new()).await;
    let (slow, mut idle) = (server.sent("GET /ping HT").await, server.sent(PING).await);
    read_some(&mut idle).await;
    soon(server.harness.clock.sleeping_until(Duration::from_secs(10))).await;
    server.harness.clock.advance(Duration::from_secs(10));
    assert_eq!(read_to_end(slow).await, "");
    idle.write_all(PING.as_bytes()).await.unwrap();
    assert!(read_some(&mut idle).await.contains("pong"));
}

/// A call of a tool whose answer becomes a stream.
pub(super) fn streaming_call(tool: &str) -> String {
    let params = json!({"name": tool, "_meta": {"progressToken": 1}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_stream_that_nobody_reads_from_a_unix_socket_ends_after_60_s() {
    let dropped = Arc::new(Semaphore::new(1));
    let server = OnUnix::start(Choices::new().tool(Arc::new(Loud { dropped: Arc::clone(&dropped) }))).await;
    let _reader = server.sent(&streaming_call("loud")).await;
    for _ in 0..20 {
        server.still_serves().await;
    }
    server.harness.clock.advance(Duration::from_secs(59));
    server.still_serves().await;
    assert_eq!(dropped.available_permits(), 0, "it may yet be read");
    server.harness.clock.advance(Duration::from_secs(1));
    soon(dropped.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_on_a_unix_socket() {
    let server = OnUnix::start(Choices::new().set("limits.connections", 1)).await;
    let mut taken = Vec::new();
    for _ in 0..65 {
        let mut stream = server.connect().await;
        stream.write_all(b"G").await.unwrap();
        taken.push(stream);
    }
    let refused = read_to_end(server.connect().await).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1"), "{refused}");
}

#[tokio::test]
async fn a_half_closed_unix_socket_gets_its_answer_and_no_more_than_10_s() {
    let tool = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let server = OnUnix::start(Choices::new().tool(Arc::clone(&tool) as _)).await;
    let mut ping = server.sent(PING).await;
    ping.shutdown().await.unwrap();
    assert!(read_to_end(ping).await.contains("pong"));

    let mut call = server.sent(&call("slow")).await;
    soon(tool.started()).await;
    call.shutdown().await.unwrap();
    soon(server.harness.clock.sleeping_until(Duration::from_secs(10))).await;
    server.harness.clock.advance(Duration::from_secs(10));
    assert_eq!(read_to_end(call).await, "");
}

#[tokio::test]
async fn a_refused_body_is_read_so_that_its_answer_arrives_on_a_unix_socket() {
    let server = OnUnix::start(Choices::new()).await;
    let head = call("whoami").replace("content-length: ", "content-length: 99999999");
    let mut stream = server.sent(&head[..head.find("\r\n\r\n").unwrap()]).await;
    stream.write_all(b"\r\n\r\n").await.unwrap();
    stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut read = String::new();
    // A reset would take the answer with it.
    soon(stream.read_to_string(&mut read)).await.expect("closed, not reset");
    assert!(read.starts_with("HTTP/1.1 413 "), "{read}");
}

#[tokio::test]
async fn http_2_is_told_from_its_preface_on_a_unix_socket() {
    let server = OnUnix::start(Choices::new()).await;
    let mut stream = server.connect().await;
    let hello = [PREFACE, &frame(kind::SETTINGS, 0, 0, &[]), &get(1, "/ping")].concat();
    stream.write_all(&hello).await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("pong") {
        assert_ne!(soon(stream.read_buf(&mut read)).await.unwrap(), 0, "closed");
    }
}
