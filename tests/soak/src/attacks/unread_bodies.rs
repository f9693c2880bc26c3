//! Requests whose bodies the server has no reason to read, with an end that is none (RFC 9112 section 7.1: CRLF ends a chunked
//! body), and smuggled requests after it. Where that body ends, a proxy may see otherwise; so nothing after it may be answered.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Target;
use crate::wire::connect;

const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(50);
/// From the first part of a request to the rest, where they come apart.
const APART: Duration = Duration::from_millis(20);
/// The time after which nothing more is expected.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for, and answered before its body is read.
const HEADS: [&str; 6] = [
    "POST /mcp HTTP/1.1\r\ncontent-type: application/json\r\n",
    "POST /nowhere HTTP/1.1\r\n",
    "OPTIONS /mcp HTTP/1.1\r\norigin: http://localhost\r\naccess-control-request-method: POST\r\n",
    "GET /ping HTTP/1.1\r\n",
    "GET /mcp HTTP/1.1\r\n",
    "HEAD /health HTTP/1.1\r\n",
];
/// Chunked bodies without a proper end.
const BODIES: [&str; 6] = [
    "0\r\n\n",
    "5\r\nhello\r\n0\r\n\n",
    "0\r\nx: y\r\n\n",
    "0\r\nx: y\n\n",
    "0\n\n",
    "5\r\nhello\n0\r\n\r\n",
];
/// Two requests: one may be taken for trailers, and the other for a request.
const SMUGGLED: &str = "GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n\
    GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Sends all combinations in turn.
pub(super) async fn run(target: Target) {
    let mut clients = JoinSet::new();
    for first in 0..CLIENTS {
        let target = target.clone();
        clients.spawn(async move {
            for number in (first..).step_by(CLIENTS) {
                smuggle(&target, number).await;
                sleep(PAUSE).await;
            }
        });
    }
    clients.join_all().await;
}

async fn smuggle(target: &Target, number: usize) {
    let head = HEADS[number % HEADS.len()];
    let body = BODIES[number / HEADS.len() % BODIES.len()];
    let head = format!("{head}host: localhost\r\ntransfer-encoding: chunked\r\n\r\n");
    let is_whole = (number / HEADS.len() / BODIES.len()).is_multiple_of(2);
    target.journal.sent();
    let Ok(read) = exchange(target, &head, body, is_whole).await else {
        return target.journal.closed();
    };
    let mut statuses = statuses(&read);
    match statuses.next() {
        Some(status) => {
            target.journal.answered(status, read.to_ascii_lowercase().contains("\r\nretry-after: "));
        }
        None => target.journal.closed(),
    }
    if let Some(status) = statuses.next() {
        target.journal.violation(&format!("a smuggled request got {status} after {head:?} {body:?}"));
    }
}

/// Everything that the server sends until it closes, or for as long as anything can be expected.
async fn exchange(target: &Target, head: &str, body: &str, is_whole: bool) -> anyhow::Result<String> {
    let mut stream = connect(target.address).await?;
    let rest = format!("{body}{SMUGGLED}");
    if is_whole {
        stream.write_all(format!("{head}{rest}").as_bytes()).await?;
    } else {
        stream.write_all(head.as_bytes()).await?;
        sleep(APART).await;
        // The server may have closed; what it has sent counts.
        let _ = stream.write_all(rest.as_bytes()).await;
    }
    let mut read = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut read)).await;
    Ok(String::from_utf8_lossy(&read).into_owned())
}

fn statuses(read: &str) -> impl Iterator<Item = u16> {
    read.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_their_status_lines() {
        let read = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(statuses(read).collect::<Vec<_>>(), [401, 200]);
        assert_eq!(statuses("").count(), 0);
    }
}
