//! One user without scopes who would take every place there is: requests that send a byte a second, and subscriptions.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Version;
use hyper::body::{Body, Frame};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, interval, sleep, timeout_at};

use super::Target;
use super::http2::{Http2, Sender};
use super::message::Message;
use crate::wire::{connect, first_answer};

/// Requests on HTTP/1.1, each on a connection of its own.
const SINGLE: usize = 400;
/// HTTP/2 connections full of requests, and others full of subscriptions.
const MULTIPLEXED: usize = 7;
const LISTENING: usize = 11;
/// On each HTTP/2 connection at once: what the server permits.
const REQUESTS: usize = 100;
/// The time from one byte to the next.
const BYTE_INTERVAL: Duration = Duration::from_secs(1);
/// The length that a body announces. It takes far longer than `limits.body_read_seconds`.
const LENGTH: usize = 1000;
/// The time that subscriptions stay open.
const LISTEN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(2);

pub(super) async fn run(target: Target) {
    let mut clients = JoinSet::new();
    for _ in 0..SINGLE {
        clients.spawn(single(target.clone()));
    }
    for _ in 0..MULTIPLEXED {
        clients.spawn(multiplexed(target.clone()));
    }
    for _ in 0..LISTENING {
        clients.spawn(listening(target.clone()));
    }
    clients.join_all().await;
}

fn list() -> Message {
    Message::request_of("tools/list", None, "", "")
}

async fn single(target: Target) {
    let head = list().head(&target.token, LENGTH);
    loop {
        target.journal.sent();
        let answer = async {
            let mut stream = connect(target.address).await?;
            let (mut reader, mut writer) = stream.split();
            writer.write_all(head.as_bytes()).await?;
            tokio::select! {
                answer = first_answer(&mut reader) => answer,
                error = write_slowly(&mut writer) => Err(error.into()),
            }
        };
        target.journal.ended(&answer.await);
        sleep(PAUSE).await;
    }
}

/// Writes a byte now and then until that fails.
async fn write_slowly(writer: &mut (impl AsyncWrite + Unpin)) -> std::io::Error {
    loop {
        sleep(BYTE_INTERVAL).await;
        if let Err(error) = writer.write_all(b" ").await {
            return error;
        }
    }
}

async fn multiplexed(target: Target) {
    loop {
        if let Ok(connection) = Http2::open(target.address, None).await {
            let mut requests = JoinSet::new();
            for _ in 0..REQUESTS {
                requests.spawn(slow(target.clone(), connection.sender()));
            }
            requests.join_all().await;
        }
        sleep(PAUSE).await;
    }
}

/// Slow requests, one after the other, until the connection ends.
async fn slow(target: Target, mut sender: Sender<SlowBody>) {
    while let Ok(request) = list().request_with(Version::HTTP_2, &target.token, SlowBody::new()) {
        let Ok((_, body)) = sender.begin(&target, request).await else {
            return;
        };
        let _ = body.collect().await;
        sleep(PAUSE).await;
    }
}

/// Opens as many subscriptions as fit on a connection, and leaves them with it.
async fn listening(target: Target) {
    let message =
        Message::request_of("subscriptions/listen", None, r#""notifications":{"toolsListChanged":true}"#, "");
    loop {
        if let Ok(connection) = Http2::open(target.address, None).await {
            let until = Instant::now() + LISTEN;
            let mut streams = JoinSet::new();
            for _ in 0..REQUESTS {
                streams
                    .spawn(timeout_at(until, listen(target.clone(), connection.sender(), message.clone())));
            }
            streams.join_all().await;
        }
        sleep(PAUSE).await;
    }
}

async fn listen(target: Target, mut sender: Sender<Full<Bytes>>, message: Message) {
    let Ok(request) = message.request(Version::HTTP_2, &target.token) else {
        return;
    };
    if let Ok((_, body)) = sender.begin(&target, request).await {
        let _ = body.collect().await;
    }
}

/// A body that comes a byte at a time.
struct SlowBody {
    ticks: Interval,
    left: usize,
}

impl SlowBody {
    fn new() -> Self {
        Self { ticks: interval(BYTE_INTERVAL), left: LENGTH }
    }
}

impl Body for SlowBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        ready!(self.ticks.poll_tick(cx));
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }
}
