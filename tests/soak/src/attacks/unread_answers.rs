//! Large answers that nobody reads: HTTP/2 whose window stays shut or opens by a few bytes, HTTP/1.1 with more requests than
//! answers are read. Probes on the same connection make it look alive.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Target;
use super::http2::{Http2, Sender};
use super::message::Message;

/// Requests on one connection; with the probe, as many as the server permits at once.
const REQUESTS: usize = 99;
/// The bytes of the name to greet: with the rest of the request, just below `limits.body_bytes`. The answer has it twice.
const NAME: usize = 1_048_576 - 1024;
const PROBE: Duration = Duration::from_secs(3);
/// The time from one read of a few bytes to the next.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// The time that a connection is held.
const HOLD: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy)]
enum Client {
    /// HTTP/2 whose answers have a window of so many bytes, which opens again as they are read.
    Window(u32),
    /// HTTP/1.1, one request after the other without waiting; `reads`: a byte of the answers now and then.
    Pipelined { reads: bool },
}

const CLIENTS: [(usize, Client); 4] = [
    (2, Client::Window(0)),
    (2, Client::Window(16)),
    (12, Client::Pipelined { reads: false }),
    (12, Client::Pipelined { reads: true }),
];

pub(super) async fn run(target: Target) {
    let message = Message::call("greet", &format!(r#""arguments":{{"name":"{}"}}"#, "n".repeat(NAME)));
    let mut clients = JoinSet::new();
    for client in CLIENTS.iter().flat_map(|(count, client)| std::iter::repeat_n(*client, *count)) {
        let (target, message) = (target.clone(), message.clone());
        clients.spawn(async move {
            loop {
                let _ = match client {
                    Client::Window(window) => multiplexed(&target, &message, window).await,
                    Client::Pipelined { reads } => pipelined(&target, &message, reads).await,
                };
                sleep(PAUSE).await;
            }
        });
    }
    clients.join_all().await;
}

async fn multiplexed(target: &Target, message: &Message, window: u32) -> anyhow::Result<()> {
    let connection = Http2::open(target.address, Some(window)).await?;
    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        let request = message.request(Version::HTTP_2, &target.token)?;
        requests.spawn(unread(target.clone(), connection.sender(), request));
    }
    let until = Instant::now() + HOLD;
    while Instant::now() < until {
        sleep(PROBE).await;
        let probe = Request::head("http://localhost/ping").version(Version::HTTP_2).body(Full::default())?;
        let _answered = connection.sender().begin(target, probe).await?;
    }
    Ok(())
}

/// Sends a request, and takes a frame of its answer now and then.
async fn unread(target: Target, mut sender: Sender<Full<Bytes>>, request: Request<Full<Bytes>>) {
    if let Ok((_, body)) = sender.begin(&target, request).await {
        read_slowly(body).await;
    }
}

async fn read_slowly(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {
        sleep(READ_INTERVAL).await;
    }
}

async fn pipelined(target: &Target, message: &Message, reads: bool) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    // As little as the kernel allows, so that answers wait in the server.
    socket.set_recv_buffer_size(1)?;
    let mut stream = socket.connect(target.address).await?;
    let (mut reader, mut writer) = stream.split();
    let head = message.head(&target.token, message.body.len());
    let write = async {
        for _ in 0..REQUESTS {
            target.journal.sent();
            writer.write_all(head.as_bytes()).await?;
            writer.write_all(&message.body).await?;
        }
        std::future::pending::<std::io::Result<()>>().await
    };
    let read = async {
        loop {
            sleep(READ_INTERVAL).await;
            if reads && reader.read_u8().await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = write => target.journal.closed(),
        () = read => target.journal.closed(),
        () = sleep(HOLD) => {}
    }
    Ok(())
}
