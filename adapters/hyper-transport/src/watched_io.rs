//! A connection's I/O, which reports to its [`Activity`]: what is read above TLS, where requests are, and what is written
//! below it, since TLS holds bytes that the client has yet to take.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::activity::Activity;
use crate::socket::Socket;

/// How long a request is worked on after its client has shut its side down. The client may wait for its answer (RFC 9112
/// section 9.6) or be gone, and only a write tells.
const HALF_CLOSED: Duration = Duration::from_secs(10);
/// How much is read and thrown away at the end of a connection, for as long as its activity has it lingering.
const MAX_LINGERED: usize = 8 * 1024 * 1024;
/// What of a TLS connection is read ahead, to see whether anything comes.
const READ_AHEAD: usize = 64;

/// A socket whose writes are reported.
pub(crate) struct WatchedSocket {
    socket: Socket,
    activity: Arc<Activity>,
}

impl WatchedSocket {
    pub(crate) const fn new(socket: Socket, activity: Arc<Activity>) -> Self {
        Self { socket, activity }
    }

    /// Waits for bytes, and copies some without taking them; 0 at the end.
    pub(crate) async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(bytes).await
    }

    fn report(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(_) => self.activity.bytes_written(),
            Poll::Pending => self.activity.blocked(),
        }
        written
    }
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.report(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.report(written)
    }
}

/// A connection, with TLS or without.
pub(crate) enum Stream {
    Plain(WatchedSocket),
    /// In a box: many times as large.
    Tls(Box<BufReader<TlsStream<WatchedSocket>>>),
}

impl Stream {
    pub(crate) fn tls(stream: TlsStream<WatchedSocket>) -> Self {
        Self::Tls(Box::new(BufReader::with_capacity(READ_AHEAD, stream)))
    }

    /// Returns whether there is something to read, and not the end. With TLS the socket can't tell: it may have an alert.
    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self {
            Self::Plain(socket) => socket.socket.poll_peek(cx),
            Self::Tls(stream) => Pin::new(stream).poll_fill_buf(cx).map_ok(|bytes| !bytes.is_empty()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}

/// A connection as hyper has it.
pub(crate) struct WatchedIo {
    io: TokioIo<Stream>,
    activity: Arc<Activity>,
    /// The number of bytes that were discarded since this side was shut down.
    lingered: Option<usize>,
}

impl WatchedIo {
    pub(crate) fn new(stream: Stream, activity: Arc<Activity>) -> Self {
        Self { io: TokioIo::new(stream), activity, lingered: None }
    }

    /// Checks whether the client has shut its side down, and wakes the task when it does. During a request hyper either ends
    /// the connection then, or (`half_close`) does not check.
    fn watch_for_half_close(&mut self, cx: &mut Context<'_>) {
        if !self.activity.awaits_half_close() {
            return;
        }
        match self.io.inner_mut().poll_peek(cx) {
            Poll::Ready(Ok(false)) => self.activity.half_closed(HALF_CLOSED),
            Poll::Ready(Err(_)) => self.activity.half_closed(Duration::ZERO),
            Poll::Ready(Ok(true)) | Poll::Pending => {}
        }
    }

    /// Discards what the client still sends, until it closes, or until it is too much.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waste = [0; 8192];
        while self.lingered.is_some_and(|bytes| bytes <= MAX_LINGERED) {
            let mut buf = ReadBuf::new(&mut waste);
            ready!(Pin::new(self.io.inner_mut()).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                break;
            }
            self.lingered = self.lingered.map(|bytes| bytes + buf.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for WatchedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        match &read {
            Poll::Ready(_) => self.activity.bytes_read(),
            Poll::Pending => self.activity.starved(),
        }
        read
    }
}

impl Write for WatchedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch_for_half_close(cx);
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingered.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            let is_more_there = matches!(self.io.inner_mut().poll_peek(cx), Poll::Ready(Ok(true)));
            if !self.activity.lingers(is_more_there) {
                return Poll::Ready(Ok(()));
            }
            self.lingered = Some(0);
        }
        self.poll_linger(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
