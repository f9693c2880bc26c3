//! The serving thread. It has a runtime of its own, so that a tenant that tests share outlives the runtime of the test that
//! started it, and so that the socket is closed for certain when the thread has ended.

mod listener;
mod router;
mod sender;

use std::io;
use std::net::TcpListener as BoundListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::oauth::tenant::Tenant;

/// A serving thread. Dropping it stops the thread and waits for its end.
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
                    () = listener::accept(listener, tenant) => {}
                }
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    });
    // Closes the connections, and does not wait for documents that are being fetched.
    runtime.shutdown_background();
}
