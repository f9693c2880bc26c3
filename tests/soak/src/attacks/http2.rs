//! HTTP/2 connections for clients that do not behave: many requests at once, any body, any window.

use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2;
use hyper::http::response::Parts;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;

use super::Target;
use crate::wire::connect;

/// An HTTP/2 connection. It closes when dropped.
pub(super) struct Http2<B> {
    sender: http2::SendRequest<B>,
    task: JoinHandle<()>,
}

impl<B> Http2<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    /// Opens a connection on which the server may send `window` bytes of each answer before they are read; hyper's usual
    /// number without it.
    pub(super) async fn open(address: SocketAddr, window: Option<u32>) -> anyhow::Result<Self> {
        let io = TokioIo::new(connect(address).await?);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(io).await?;
        let task = tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, task })
    }

    /// A way to send on this connection. It does not keep it open.
    pub(super) fn sender(&self) -> Sender<B> {
        Sender(self.sender.clone())
    }
}

impl<B> Drop for Http2<B> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends requests on a connection.
#[derive(Clone)]
pub(super) struct Sender<B>(http2::SendRequest<B>);

impl<B: Body + 'static> Sender<B> {
    /// Sends a request, and counts it and the head of its answer. The body is yet to come.
    pub(super) async fn begin(
        &mut self,
        target: &Target,
        request: Request<B>,
    ) -> anyhow::Result<(Parts, Incoming)> {
        target.journal.sent();
        let answer = self.response(request).await;
        match &answer {
            Ok((head, _)) => target.journal.began(head),
            Err(_) => target.journal.closed(),
        }
        answer
    }

    async fn response(&mut self, request: Request<B>) -> anyhow::Result<(Parts, Incoming)> {
        self.0.ready().await?;
        Ok(self.0.send_request(request).await.map(Response::into_parts)?)
    }
}
