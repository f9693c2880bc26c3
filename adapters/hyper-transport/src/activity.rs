//! What a connection is doing, so that one that does nothing, or too slowly, can be closed.
//!
//! hyper has one timer for the time between requests and for a request's head; clients need 75 s of the one and should
//! not get 75 s for the other.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use domain::Clock;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::sync::Notify;

use crate::settings::Limits;

/// A connection's state, shared by its I/O, its requests and its watch.
pub(crate) struct Activity {
    clock: Arc<dyn Clock>,
    header_read: Duration,
    keep_alive: Duration,
    state: Mutex<State>,
    /// Told when a deadline came nearer.
    sooner: Notify,
}

struct State {
    phase: Phase,
    /// Since when, by the clock's uptime.
    since: Duration,
    /// Requests whose answers are not yet made.
    requests: usize,
    multiplexed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is under way.
    Idle,
    /// A head has begun and not ended.
    Head,
    /// A request is being answered; it has deadlines of its own.
    Busy,
}

impl Activity {
    pub(crate) fn new(clock: Arc<dyn Clock>, limits: &Limits) -> Self {
        let since = clock.uptime();
        Self {
            clock,
            header_read: limits.header_read,
            keep_alive: limits.keep_alive,
            state: Mutex::new(State { phase: Phase::Idle, since, requests: 0, multiplexed: false }),
            sooner: Notify::new(),
        }
    }

    /// Completes when the connection has been idle, or at a head, for too long.
    pub(crate) async fn expired(&self) {
        loop {
            let sooner = self.sooner.notified();
            let Some(left) = self.time_left() else {
                return;
            };
            tokio::select! {
                () = self.clock.sleep(left) => {}
                () = sooner => {}
            }
        }
    }

    /// How long until the state should be looked at again; `None` when its time is up.
    fn time_left(&self) -> Option<Duration> {
        let state = self.state();
        let allowed = match state.phase {
            Phase::Idle => self.keep_alive,
            Phase::Head => self.header_read,
            // Nothing ends here, and whatever comes next starts afresh.
            Phase::Busy => return Some(self.keep_alive),
        };
        let until = state.since + allowed;
        until.checked_sub(self.clock.uptime()).filter(|left| !left.is_zero())
    }

    /// A request's head has been read. Its answer is made when the returned guard is dropped.
    pub(crate) fn request_began(self: &Arc<Self>, multiplexed: bool) -> RequestGuard {
        let mut state = self.state();
        state.phase = Phase::Busy;
        state.requests += 1;
        state.multiplexed = multiplexed;
        RequestGuard(Arc::clone(self))
    }

    fn bytes_read(&self) {
        let mut state = self.state();
        // Between HTTP/2 requests come frames that are no heads.
        if state.phase == Phase::Idle && !state.multiplexed {
            state.phase = Phase::Head;
            state.since = self.clock.uptime();
        }
    }

    /// hyper waits for more of a head: only now does its deadline matter.
    fn starved(&self) {
        if self.state().phase == Phase::Head {
            self.sooner.notify_one();
        }
    }

    /// A slow reader is not idle. In HTTP/2 answers to pings are written, too, and mean nothing.
    fn bytes_written(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle && !state.multiplexed {
            state.since = self.clock.uptime();
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way.
pub(crate) struct RequestGuard(Arc<Activity>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        if state.requests == 0 {
            state.phase = Phase::Idle;
            state.since = self.0.clock.uptime();
        }
    }
}

/// A connection's I/O that notes what happens on it.
pub(crate) struct WatchedIo<I> {
    io: I,
    activity: Arc<Activity>,
}

impl<I> WatchedIo<I> {
    pub(crate) fn new(io: I, activity: Arc<Activity>) -> Self {
        Self { io, activity }
    }
}

impl<I: Read + Unpin> Read for WatchedIo<I> {
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

impl<I: Write + Unpin> Write for WatchedIo<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        if written.is_ready() {
            self.activity.bytes_written();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        if written.is_ready() {
            self.activity.bytes_written();
        }
        written
    }
}
