//! Connections: hyper's for whoever behaves, plain TCP for whoever does not.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::requests::Answer;

/// A connection of either version. It closes when dropped.
pub(crate) struct Connection {
    sender: Sender,
    task: JoinHandle<()>,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, version: Version) -> anyhow::Result<Self> {
        let io = TokioIo::new(connect(address).await?);
        if version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            let task = tokio::spawn(async { drop(connection.await) });
            return Ok(Self { sender: Sender::Two(sender), task });
        }
        let (sender, connection) = http1::handshake(io).await?;
        let task = tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender: Sender::One(sender), task })
    }

    pub(crate) const fn version(&self) -> Version {
        match self.sender {
            Sender::One(_) => Version::HTTP_11,
            Sender::Two(_) => Version::HTTP_2,
        }
    }

    /// The answer's head; its body is yet to come.
    pub(crate) async fn begin(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<Response<Incoming>> {
        Ok(match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }

    pub(crate) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let (head, body) = self.begin(request).await?.into_parts();
        let (retry_after, challenge) =
            (head.headers.contains_key(RETRY_AFTER), head.headers.contains_key(WWW_AUTHENTICATE));
        let closes = head.headers.get(CONNECTION).is_some_and(|value| value == "close");
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), retry_after, challenge, closes, body })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Without delays: a request is written at once.
pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The answer on a connection that closes after it.
pub(crate) async fn last_answer(stream: &mut TcpStream) -> anyhow::Result<Answer> {
    let mut bytes = Vec::new();
    // What came before a reset counts.
    let ended = stream.read_to_end(&mut bytes).await;
    parsed(&bytes)
        .ok_or_else(|| anyhow::anyhow!("no whole answer but {ended:?}: {}", String::from_utf8_lossy(&bytes)))
}

/// The first answer, and the connection stays open.
pub(crate) async fn first_answer(stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Answer> {
    let mut bytes = Vec::new();
    loop {
        anyhow::ensure!(
            stream.read_buf(&mut bytes).await? > 0,
            "no answer: {}",
            String::from_utf8_lossy(&bytes)
        );
        if let Some(answer) = parsed(&bytes) {
            return Ok(answer);
        }
    }
}

/// A whole answer with a length.
fn parsed(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let status = head.strip_prefix("http/1.1 ")?.get(..3)?.parse().ok()?;
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let body = Bytes::copy_from_slice(body.as_bytes().get(..length)?);
    let has = |name: &str| head.contains(&format!("\r\n{name}: "));
    let (retry_after, challenge) = (has("retry-after"), has("www-authenticate"));
    Some(Answer { status, retry_after, challenge, closes: head.contains("\r\nconnection: close"), body })
}
