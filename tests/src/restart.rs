//! A restart under load loses nothing: what the server's log says was answered has arrived, whole, at a client.
//!
//! Only counts are compared, so it does not matter when the signal meets which request.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ChildStderr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::binary::Dev;

/// Connections that always have a request under way.
const CLIENTS: usize = 64;
/// Nothing takes so long; it is there so that a server that never answers fails the test.
const NEVER: Duration = Duration::from_mins(1);

/// One keep-alive connection that sends the same request again and again.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
}

/// What came after a request.
enum Received {
    Answer {
        last: bool,
    },
    /// The connection ended before the first byte of an answer.
    Nothing,
}

impl Client {
    fn connect(address: &str, token: &str, number: usize) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(NEVER)).unwrap();
        Self { stream, request: call(token, number) }
    }

    /// Calls until the server ends the connection; `answered` hears of every whole answer.
    fn run(mut self, answered: impl Fn()) {
        loop {
            // A failure to write is told by what can be read: nothing, or the connection's last answer would be lost.
            let _ = self.stream.write_all(&self.request);
            match self.receive() {
                Received::Answer { last } => {
                    answered();
                    if last {
                        assert_eq!(self.read_some(&mut [0; 1]), 0, "bytes after the last answer");
                        return;
                    }
                }
                Received::Nothing => return,
            }
        }
    }

    fn receive(&mut self) -> Received {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = self.read_some(&mut piece);
            if read == 0 {
                assert!(bytes.is_empty(), "cut short: {}", String::from_utf8_lossy(&bytes));
                return Received::Nothing;
            }
            bytes.extend_from_slice(&piece[..read]);
            if let Some(last) = complete(&bytes) {
                return Received::Answer { last };
            }
        }
    }

    /// 0 at the end. A reset is one: the kernel sends it when a request meets a connection that was just closed.
    fn read_some(&mut self, piece: &mut [u8]) -> usize {
        match self.stream.read(piece) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => 0,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Both eras in turn.
fn call(token: &str, number: usize) -> Vec<u8> {
    let (version, meta, mirrors) = if number.is_multiple_of(2) {
        ("2025-11-25", "", "")
    } else {
        let meta = r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
        ("2026-07-28", meta, "mcp-method: tools/call\r\nmcp-name: greet\r\n")
    };
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"greet","arguments":{{"name":"Ada"}}{meta}}}}}"#
    );
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: {version}\r\n{mirrors}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Whether this is a whole answer, and if so, whether it is the connection's last.
fn complete(bytes: &[u8]) -> Option<bool> {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "{text}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    if body.len() < length.parse().unwrap() {
        return None;
    }
    let answer: Value = serde_json::from_str(body).unwrap();
    assert_eq!(answer["result"]["structuredContent"]["greeting"], "Hello, Ada (auth0|local-admin)!");
    Some(head.lines().any(|line| line == "connection: close"))
}

/// How many requests the log says were answered with 200; there are no others.
fn requests_logged(log: ChildStderr) -> usize {
    let lines =
        BufReader::new(log).lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let requests = lines.filter(|line| line["message"] == "request");
    requests.inspect(|line| assert_eq!(line["status"], 200, "{line}")).count()
}

/// Stops a loaded server after so many answers, and compares its books with its clients'.
fn restart_after(answers: usize) {
    let mut dev = Dev::start();
    let log = dev.take_log();
    let logged = thread::spawn(|| requests_logged(log));
    let (address, token) = (dev.address(), dev.token("admin"));
    let count = AtomicUsize::new(0);
    let answered = || {
        if count.fetch_add(1, Ordering::Relaxed) + 1 == answers {
            dev.signal("TERM");
        }
    };
    let clients: Vec<_> = (0..CLIENTS).map(|number| Client::connect(&address, &token, number)).collect();
    thread::scope(|scope| {
        for client in clients {
            scope.spawn(|| client.run(answered));
        }
    });
    assert_eq!(logged.join().unwrap(), count.load(Ordering::Relaxed), "logged, and whole at a client");
    assert_eq!(dev.exit_code(), Some(0));
}

/// A request of which the server has the head, and has said that it waits for the body.
fn begun(address: &str, token: &str, number: usize) -> (Client, Vec<u8>) {
    let mut client = Client::connect(address, token, number);
    let whole = String::from_utf8(std::mem::take(&mut client.request)).unwrap();
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    client.stream.write_all(format!("{head}\r\nexpect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    client.stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    (client, body.into())
}

/// A connection that has had its answer and waits.
fn idle(address: &str, token: &str, number: usize) -> Client {
    let mut client = Client::connect(address, token, number);
    client.stream.write_all(&client.request).unwrap();
    assert!(matches!(client.receive(), Received::Answer { last: false }));
    client
}

#[test]
fn a_request_under_way_is_answered_and_an_idle_connection_is_closed_in_order() {
    let mut dev = Dev::start();
    let log = dev.take_log();
    let logged = thread::spawn(|| requests_logged(log));
    let (address, token) = (dev.address(), dev.token("admin"));
    let begun: Vec<_> = (0..CLIENTS).map(|number| begun(&address, &token, number)).collect();
    let idle: Vec<_> = (0..CLIENTS).map(|number| idle(&address, &token, number)).collect();
    dev.signal("TERM");
    for mut client in idle {
        assert_eq!(client.stream.read(&mut [0; 1]).unwrap(), 0, "closed, not reset");
    }
    assert!(TcpStream::connect(&address).is_err(), "nothing new is accepted");
    for (mut client, body) in begun {
        client.stream.write_all(&body).unwrap();
        assert!(matches!(client.receive(), Received::Answer { last: true }));
    }
    assert_eq!(logged.join().unwrap(), 2 * CLIENTS);
    assert_eq!(dev.exit_code(), Some(0));
}

#[test]
fn a_restart_under_load_loses_no_answer() {
    for answers in [1, 64, 1000, 4000] {
        restart_after(answers);
    }
}
