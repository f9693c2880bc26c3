//! The thread that serves. It has a runtime of its own, for two reasons: a tenant that tests share outlives the runtime
//! of the test that started it, and when the thread has ended, the socket is closed for certain.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::TcpListener as BoundListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};

use crate::http;
use crate::tenant::Tenant;

/// Beyond it, connections wait to be accepted.
const CONNECTIONS: usize = 64;
/// For a request's head, and for the next request on an open connection.
const HEADER_READ: Duration = Duration::from_secs(10);
/// A request's head, in bytes; hyper answers 431 beyond it.
const HEADER_BYTES: usize = 16 * 1024;
/// After a failed accept, usually for want of descriptors: time for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A serving thread. Dropping it ends the thread, and waits for that.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start(listener: BoundListener, tenant: Arc<Tenant>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("local-tenant".into())
            .spawn(move || run(listener, tenant, ready, stopped))?;
        let server = Self { stop: Some(stop), thread: Some(thread) };
        started.await.unwrap_or_else(|_| Err(io::Error::other("it ended at once")))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

fn run(
    listener: BoundListener,
    tenant: Arc<Tenant>,
    ready: oneshot::Sender<io::Result<()>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let _ = ready.send(Ok(()));
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, tenant) => {}
                }
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    });
    // The connections close; a document that is being fetched is not waited for.
    runtime.shutdown_background();
}

async fn accept(listener: TcpListener, tenant: Arc<Tenant>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            // Nobody closes the semaphore.
            return pending().await;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let tenant = Arc::clone(&tenant);
                tokio::spawn(async move {
                    serve(&tenant, stream).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the local tenant can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(tenant: &Arc<Tenant>, stream: TcpStream) {
    // Answers are small and whole: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let requests = service_fn(async |request| Ok::<_, Infallible>(http::respond(tenant, request).await));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), requests);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the local tenant ended early");
    }
}
