//! Accepting connections, and their bounds.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Administered;
use crate::router::respond;

/// Connections at a time: some scrapers, some probes, an operator. Whatever else comes waits in the kernel's queue.
const CONNECTIONS: usize = 16;
/// How long a connection lasts, which has one request: reading it, and having its answer taken.
const LIFETIME: Duration = Duration::from_secs(10);
/// The longest head.
const HEAD_BYTES: usize = 16 * 1024;
/// How long connections have to end once the server ends.
const DRAIN: Duration = Duration::from_secs(1);
/// The pause after a failed accept, usually for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The operator's server on a listening socket.
pub struct AdminServer {
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    administered: Arc<dyn Administered>,
}

impl AdminServer {
    /// Creates a server that has not yet accepted anything.
    #[must_use]
    pub fn new(listener: TcpListener, clock: Arc<dyn Clock>, administered: Arc<dyn Administered>) -> Self {
        Self { listener, clock, administered }
    }

    /// Returns the address that it listens on.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` completes, and then the requests under way for a moment.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        tokio::pin!(stop);
        loop {
            let (stream, place) = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = self.accept(&places) => accepted,
            };
            let (clock, administered) = (Arc::clone(&self.clock), Arc::clone(&self.administered));
            let closing = closing.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = serve(stream, administered) => {}
                    () = clock.sleep(LIFETIME) => {}
                    () = closing.cancelled() => {}
                }
                drop(place);
            });
        }
        drop(self.listener);
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = self.clock.sleep(DRAIN) => {
                closing.cancel();
                tasks.wait().await;
            }
        }
    }

    /// Accepts the next connection once there is a place for it.
    async fn accept(&self, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
        loop {
            let Ok(place) = Arc::clone(places).acquire_owned().await else {
                // Nobody closes the semaphore.
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, place),
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection of the admin listener");
                    self.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves the one request of a connection.
async fn serve(stream: TcpStream, administered: Arc<dyn Administered>) {
    let service = service_fn(|request: Request<Incoming>| {
        let administered = Arc::clone(&administered);
        async move { Ok::<_, Infallible>(respond(administered.as_ref(), request).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        // The connection's lifetime bounds it, by the clock.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection of the admin listener ended early");
    }
}
