//! Accepting connections, serving them, and ending in order.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use mcp_protocol::{McpServer, ProtocolSnapshot, SealingKeys};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::Activity;
use crate::limiter::{ConnectionPermit, SPARE_PATIENCE, Usage};
use crate::listener::Listener;
use crate::outbox::StreamExecutor;
use crate::router::respond;
use crate::settings::{HttpSettings, Limits};
use crate::shared::Shared;
use crate::socket::{Peer, Socket};
use crate::tls::TlsIdentity;
use crate::watched_io::{Stream, WatchedIo, WatchedSocket};
use crate::when_woken::WhenWoken;

/// How far a head may exceed the limit and still be read, so that its answer explains the refusal: hyper's own 431, for longer
/// ones, has no body and no log line.
const HEAD_SLACK: usize = 8 * 1024;
/// The maximum number of concurrent requests of an HTTP/2 connection: RFC 9113 section 6.5.2 advises against fewer than 100.
const MAX_STREAMS: u32 = 100;
/// The maximum of unread bytes of one request's body, and of all on a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// The pause after a failed accept, usually for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The response on a connection beyond the limit and the spare ones.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// An HTTP server on listening sockets.
pub struct Server {
    listeners: Vec<Listener>,
    shared: Arc<Shared>,
}

/// Changes what a running server serves.
pub struct ReloadHandle(Arc<Shared>);

impl ReloadHandle {
    /// Serves by other settings and another snapshot from now on, all of it at once; subscribers are notified of what differs.
    /// Requests under way go on with the snapshot that they began with.
    pub fn replace(&self, settings: &HttpSettings, snapshot: ProtocolSnapshot) {
        self.0.replace(settings, snapshot);
    }

    /// Has new connections see another certificate; those that there are go on. Returns false if it is the present one.
    #[must_use]
    pub fn replace_tls(&self, identity: TlsIdentity) -> bool {
        let is_other = self.0.tls().is_none_or(|present| *present != identity);
        if is_other {
            self.0.set_tls(identity);
        }
        is_other
    }

    /// Returns the present snapshot's keys, for the next one.
    #[must_use]
    pub fn sealing_keys(&self) -> Arc<SealingKeys> {
        Arc::clone(self.0.snapshot().protocol.sealing_keys())
    }
}

/// Tells the state of a running server, for operators.
#[derive(Clone)]
pub struct ServerStatus(Arc<Shared>);

impl ServerStatus {
    /// Returns why the server is not ready, as `/ready` does; `None` when it is.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        self.0.not_ready(&self.0.snapshot())
    }

    /// Returns how much of each limit is in use.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.0.limiter.usage(self.0.mcp.pending_input_requests())
    }

    /// Returns the age of the issuer's keys, where there are any.
    #[must_use]
    pub fn keys_age(&self) -> Option<Duration> {
        self.0.snapshot().service().verifier.keys_age()
    }
}

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request under way was answered.
    Complete,
    /// The drain limit was reached; this many connections were closed.
    Abandoned(usize),
}

impl Server {
    /// Creates a server that has not yet accepted anything.
    #[must_use]
    pub fn new(
        listener: impl Into<Listener>,
        settings: &HttpSettings,
        limits: Limits,
        mcp: Arc<McpServer>,
        snapshot: ProtocolSnapshot,
    ) -> Self {
        let shared = Arc::new(Shared::new(settings, limits, mcp, snapshot));
        Self { listeners: vec![listener.into()], shared }
    }

    /// Listens on another socket, too.
    #[must_use]
    pub fn also_on(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// Serves TLS, and nothing else, on all of its sockets.
    #[must_use]
    pub fn with_tls(self, identity: TlsIdentity) -> Self {
        self.shared.set_tls(identity);
        self
    }

    /// Returns a handle that changes what the running server serves.
    #[must_use]
    pub fn reload_handle(&self) -> ReloadHandle {
        ReloadHandle(Arc::clone(&self.shared))
    }

    /// Returns a handle that tells the server's state, also while it drains and when it has ended.
    #[must_use]
    pub fn status(&self) -> ServerStatus {
        ServerStatus(Arc::clone(&self.shared))
    }

    /// Returns the first TCP address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listeners.iter().find_map(Listener::tcp_address)
    }

    /// Serves until `stop` completes; then reports that it is not ready, accepts nothing more after the drain delay, and
    /// finishes the requests under way within the drain limit.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Drained {
        let connections = Connections::new(Arc::clone(&self.shared));
        self.accept_until(stop, &connections).await;
        self.shared.drain();
        self.accept_until(self.shared.clock().sleep(self.shared.limits.drain_delay), &connections).await;
        for listener in self.listeners {
            listener.take_last(|socket, peer| connections.take(socket, peer));
        }
        self.shared.mcp.end_subscriptions();
        connections.finish().await
    }

    async fn accept_until(&self, end: impl Future<Output = ()>, connections: &Connections) {
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                () = &mut end => return,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => connections.take(socket, peer),
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    self.shared.clock().sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        poll_fn(|cx| {
            let mut accepted = self.listeners.iter().map(|listener| listener.poll_accept(cx));
            accepted.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }
}

/// The connections that are served, and what ends them.
struct Connections {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    draining: CancellationToken,
    closing: CancellationToken,
}

impl Connections {
    fn new(shared: Arc<Shared>) -> Self {
        let (draining, closing) = (CancellationToken::new(), CancellationToken::new());
        Self { shared, tasks: TaskTracker::new(), draining, closing }
    }

    fn take(&self, socket: Socket, peer: Peer) {
        let Some(permit) = self.shared.limiter.try_acquire_connection() else {
            // The socket's buffer is empty, so this does not block; if it fails, the connection is just closed. To TLS it would
            // be noise.
            if self.shared.tls().is_none() {
                let _ = socket.try_write(BUSY);
            }
            return;
        };
        socket.set_nodelay();
        let (shared, draining, closing) =
            (Arc::clone(&self.shared), self.draining.clone(), self.closing.clone());
        self.tasks.spawn(async move {
            let closed = pin!(closing.cancelled());
            let mut closed = WhenWoken::new(closed);
            tokio::select! {
                biased;
                () = serve(shared, (socket, peer), permit, draining) => {}
                () = &mut closed => {}
            }
        });
    }

    /// Waits for the connections to end, for as long as the drain limit allows.
    async fn finish(self) -> Drained {
        self.draining.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => Drained::Complete,
            () = self.shared.clock().sleep(self.shared.limits.drain) => {
                let left = self.tasks.len();
                self.closing.cancel();
                self.tasks.wait().await;
                Drained::Abandoned(left)
            }
        }
    }
}

async fn serve(
    shared: Arc<Shared>,
    (socket, peer): (Socket, Peer),
    permit: ConnectionPermit,
    draining: CancellationToken,
) {
    let limits = &shared.limits;
    let is_spare = permit.is_spare;
    // A spare connection ends with its first request: in HTTP/1.1 by a header of the answer, in HTTP/2 by this.
    let ending = if is_spare { draining.child_token() } else { draining };
    let patience = if is_spare { SPARE_PATIENCE } else { Duration::MAX };
    let activity = Arc::new(Activity::new(shared.owned_clock(), limits, patience));
    let requests = service_fn(|request: Request<Incoming>| {
        let guard = activity.request_began(request.version() == hyper::Version::HTTP_2);
        let ending = is_spare.then(|| ending.clone());
        // In a box of its own: what a request needs is held while there is one, not by every idle connection.
        Box::pin(respond(Arc::clone(&shared), request, guard, peer, ending))
    });
    let (expired, ended) = (pin!(activity.expired()), pin!(ended(&ending, &activity, &shared)));
    let (mut expired, mut ended) = (WhenWoken::new(expired), WhenWoken::new(ended));
    let opened = tokio::select! {
        biased;
        opened = open(&shared, WatchedSocket::new(socket, Arc::clone(&activity)), patience) => opened,
        () = &mut expired => return,
        () = &mut ended => return,
    };
    let Some((is_http1, stream)) = opened else {
        return;
    };
    let io = WatchedIo::new(stream, Arc::clone(&activity));
    if is_http1 {
        // Pinned here: a connection that is moved takes its room twice.
        drive(pin!(http1(limits).serve_connection(io, requests)), expired, ended).await;
    } else {
        // In a box of its own: larger than what HTTP/1.1 needs, and rare.
        let either = either(limits);
        let mut connection = Box::pin(either.serve_connection(io, requests));
        drive(connection.as_mut(), expired, ended).await;
    }
}

/// Completes when the connection is to end, and a request that may be on its way had the time to arrive.
async fn ended(ending: &CancellationToken, activity: &Activity, shared: &Shared) {
    ending.cancelled().await;
    shared.clock().sleep(activity.last_request_patience(shared.limits.drain_delay)).await;
}

/// Waits for a connection's first bytes, and with TLS for the end of the handshake. Returns whether HTTP/1.1 follows.
async fn open(shared: &Shared, socket: WatchedSocket, patience: Duration) -> Option<(bool, Stream)> {
    let Some(identity) = shared.tls() else {
        return Some((speaks_http1(&socket).await, Stream::Plain(socket)));
    };
    // A client that is slow at its handshake is slow at its head.
    let time = shared.limits.header_read.min(patience);
    // In a box of its own: no connection without TLS has room for it.
    let accepted = tokio::select! {
        accepted = Box::pin(identity.accept(socket)) => accepted,
        () = shared.clock().sleep(time) => Err(io::ErrorKind::TimedOut.into()),
    };
    match accepted {
        Ok((is_http1, stream)) => Some((is_http1, Stream::tls(stream))),
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
    }
}

/// Returns whether the first bytes are no beginning of HTTP/2's preface (RFC 9113 section 3.4). They stay unread: hyper-util
/// would pass on those that it reads for this, and hyper, with a head in pieces, makes its buffer twice as large.
async fn speaks_http1(socket: &WatchedSocket) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut first = [0; PREFACE.len()];
    match socket.peek(&mut first).await {
        Ok(count) => !PREFACE.starts_with(first.get(..count).unwrap_or_default()),
        Err(_) => false,
    }
}

/// Serves a connection to its end.
async fn drive<C>(
    mut connection: Pin<&mut C>,
    mut expired: impl Future<Output = ()> + Unpin,
    ended: impl Future<Output = ()>,
) where
    C: GracefulConnection<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let outcome = tokio::select! {
        biased;
        outcome = connection.as_mut() => outcome,
        () = &mut expired => return,
        () = ended => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                outcome = connection.as_mut() => outcome,
                () = expired => return,
            }
        }
    };
    if let Err(error) = outcome {
        let error: Box<dyn Error + Send + Sync> = error.into();
        tracing::debug!(error, "a connection ended early");
    }
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Activity does this, and distinguishes a head from a pause.
        .header_read_timeout(None)
        // Activity does this, too: hyper takes a half-closed connection for a closed one.
        .half_close(true)
        .max_buf_size(limits.header_bytes.saturating_add(HEAD_SLACK));
    builder
}

/// HTTP/2, or HTTP/1.1 that begins like it.
fn either(limits: &Limits) -> auto::Builder<StreamExecutor> {
    let mut builder = auto::Builder::new(StreamExecutor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .half_close(true)
        .max_buf_size(limits.header_bytes.saturating_add(HEAD_SLACK));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        // What h2 holds of bodies that are not read yet; the defaults are 1 MiB each.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    builder
}
