//! Connections: accepted up to a limit, each served on its own.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::router;
use crate::oauth::tenant::Tenant;

/// Beyond this many, connections wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take, and an open connection may wait for its next request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum size of a request's head, in bytes; hyper answers 431 beyond it.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The pause after a failed accept, which usually means that there are no file descriptors left.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Accepts and serves connections until it is dropped.
pub(super) async fn accept(listener: TcpListener, tenant: Arc<Tenant>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn serve(tenant: &Arc<Tenant>, stream: TcpStream) {
    // Responses are small and written at once: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let requests = service_fn(async |request| Ok::<_, Infallible>(router::respond(tenant, request).await));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), requests);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the local tenant ended early");
    }
}
