//! Hostile clients, byte by byte: each ends with a clean refusal or a closed connection, takes a bounded share of the
//! server, and does not keep the next client from being served.

mod body;
mod head;
mod http2;
mod smuggling;
pub mod sockets;

use serde_json::json;

use crate::harness::{ADMIN, Harness};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

async fn still_serves(harness: &Harness) {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(harness.legacy(ADMIN, &ping).await.status, 200);
}

/// A request line and the headers that every good POST has; `headers` are lines with their ends.
fn post(headers: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\n\
         content-type: application/json\r\n{headers}\r\n"
    )
}

/// How many answers there are in what was read from an HTTP/1 connection.
fn answers(read: &str) -> usize {
    read.matches("HTTP/1.1 ").count() + read.matches("HTTP/1.0 ").count()
}

/// The status of the first answer; empty when there is none.
fn status(read: &str) -> &str {
    read.split(' ').nth(1).unwrap_or_default()
}
