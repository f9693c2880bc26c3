//! What a connection is doing, so that one that does nothing, or too slowly, can be closed.
//!
//! hyper has one timer for the time between requests and for a request's head; clients need 75 s of the one and should
//! not get 75 s for the other. It also closes at once, both when a client has sent all that it will, which may well wait
//! for its answer, and when it has not, which then loses its answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use domain::{Clock, Lease};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::outbox::{Delivery, FREE_UNSENT, MAX_UNSENT, Outbox, Stall, StreamHandle};
use crate::problem::Problem;
use crate::settings::Limits;

/// How long a client that has shut its side down is worked for. It may wait for its answer (RFC 9112 section 9.6) or be
/// gone, and nobody knows which before something is written.
const HALF_CLOSED: Duration = Duration::from_secs(10);
/// How long a connection is kept for a request that may be on its way when the server stops.
const LAST_REQUEST_PATIENCE: Duration = Duration::from_secs(1);
/// How long, and how much, is read and thrown away of a request that was refused, or came too late. TCP resets a connection
/// that is closed with bytes unread, and the client loses the answer that is on its way (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(5);
const MAX_LINGERED: usize = 8 * 1024 * 1024;

/// A connection's state, shared by its I/O, its requests and its watch.
pub(crate) struct Activity {
    clock: Arc<dyn Clock>,
    header_read: Duration,
    keep_alive: Duration,
    answer_stall: Duration,
    state: Mutex<State>,
    /// Its `sooner` is notified of every deadline that came nearer, here as there.
    outbox: Arc<Outbox>,
}

struct State {
    phase: Phase,
    /// Since when, by the clock's uptime.
    since: Duration,
    /// Requests whose answers are not yet made.
    requests: usize,
    /// Requests so far.
    total: usize,
    multiplexed: bool,
    /// When a client that has shut its side down is given up.
    half_closed_until: Option<Duration>,
    /// Since when the client has taken nothing of what is to be sent.
    blocked_since: Option<Duration>,
    /// An answer under way is a stream.
    streams: bool,
    /// The last request was refused, perhaps before the end of its body.
    left_unread: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is under way.
    Idle,
    /// A head has begun and not ended.
    Head,
    /// A request is being answered; it has deadlines of its own.
    Busy,
    /// Everything is answered; what still comes is thrown away.
    Lingering,
}

impl Activity {
    /// No phase but a request's own takes longer than `patience`.
    pub(crate) fn new(clock: Arc<dyn Clock>, limits: &Limits, patience: Duration) -> Self {
        let since = clock.uptime();
        let answer_stall = limits.answer_stall.min(patience);
        Self {
            outbox: Arc::new(Outbox::new(Arc::clone(&clock), answer_stall)),
            answer_stall,
            clock,
            header_read: limits.header_read.min(patience),
            keep_alive: limits.keep_alive.min(patience),
            state: Mutex::new(State {
                phase: Phase::Idle,
                since,
                requests: 0,
                total: 0,
                multiplexed: false,
                half_closed_until: None,
                blocked_since: None,
                streams: false,
                left_unread: false,
            }),
        }
    }

    /// Completes when the connection has been idle, or at a head, for too long.
    pub(crate) async fn expired(&self) {
        loop {
            let sooner = self.outbox.sooner.notified();
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
        let now = self.clock.uptime();
        let outbox = self.outbox.judge(now);
        let state = self.state();
        let until = match (state.phase, outbox) {
            (_, Stall::Close) => return None,
            // An answer is being taken: that is no idle connection, however slowly it goes.
            (Phase::Idle, Stall::Until(until)) => until,
            (Phase::Idle, Stall::NoneSince(since)) => state.since.max(since) + self.keep_alive,
            (phase, outbox) => self.phase_until(phase, &state, now).min(outbox.until()),
        };
        // Whatever else the client does meanwhile: who reads nothing has so long.
        let blocked = state.blocked_since.map_or(Duration::MAX, |since| since + self.answer_stall);
        until.min(blocked).checked_sub(now).filter(|left| !left.is_zero())
    }

    fn phase_until(&self, phase: Phase, state: &State, now: Duration) -> Duration {
        match phase {
            Phase::Idle => state.since + self.keep_alive,
            Phase::Head => state.since + self.header_read,
            Phase::Lingering => state.since + LINGER,
            // Without a half-close nothing ends here, and whatever comes next starts afresh.
            Phase::Busy => state.half_closed_until.unwrap_or(now + self.keep_alive),
        }
    }

    /// A request's head has been read. Its answer is made when the returned guard is dropped.
    pub(crate) fn request_began(self: &Arc<Self>, multiplexed: bool) -> RequestGuard {
        let mut state = self.state();
        state.phase = Phase::Busy;
        state.requests += 1;
        state.total = state.total.saturating_add(1);
        state.multiplexed = multiplexed;
        state.left_unread = false;
        RequestGuard { activity: Arc::clone(self), multiplexed }
    }

    /// How long the connection outlives the end of listening without a request. One may be on its way, and a proxy does not
    /// send it again: a client that has connected has the time to send its first one, and where there is a drain delay, so
    /// has a connection that waits for its next, since a proxy that finds nobody listening uses up the connections that it
    /// has. HTTP/2 says which of its requests came too late.
    pub(crate) fn last_request_patience(&self, drain_delay: Duration) -> Duration {
        let state = self.state();
        match (state.total, state.multiplexed) {
            (0, _) => LAST_REQUEST_PATIENCE,
            (_, true) => Duration::ZERO,
            (_, false) => LAST_REQUEST_PATIENCE.min(drain_delay),
        }
    }

    /// Whether it matters that a client shuts its side down. Between requests hyper sees it, as does HTTP/2 always.
    fn awaits_half_close(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Busy && !state.multiplexed && state.half_closed_until.is_none()
    }

    /// To close a stream is how a modern client cancels what it tells of: that is not put off.
    fn half_closed(&self, patience: Duration) {
        let mut state = self.state();
        let patience = if state.streams { Duration::ZERO } else { patience };
        state.half_closed_until = Some(self.clock.uptime() + patience);
        self.outbox.sooner.notify_one();
    }

    /// The answers are sent. Whether what still comes is to be read: after a head that hyper refused, a body that we did, or a
    /// request that is there although the answer before it was the last, as it is when the server stops.
    fn lingers(&self, is_more_there: bool) -> bool {
        let mut state = self.state();
        let came_too_late = is_more_there && !state.multiplexed;
        if state.phase == Phase::Head || state.left_unread || came_too_late {
            state.phase = Phase::Lingering;
            state.since = self.clock.uptime();
            self.outbox.sooner.notify_one();
        }
        state.phase == Phase::Lingering
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
            self.outbox.sooner.notify_one();
        }
    }

    /// A slow reader is not idle. In HTTP/2 answers to pings are written, too, and mean nothing.
    fn bytes_written(&self) {
        let mut state = self.state();
        state.blocked_since = None;
        if state.phase == Phase::Idle && !state.multiplexed {
            state.since = self.clock.uptime();
        }
    }

    /// The client reads nothing, and a stream would wait for it without end.
    fn blocked(&self) {
        let mut state = self.state();
        if state.blocked_since.is_none() {
            state.blocked_since = Some(self.clock.uptime());
            self.outbox.sooner.notify_one();
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way.
pub(crate) struct RequestGuard {
    activity: Arc<Activity>,
    multiplexed: bool,
}

impl RequestGuard {
    /// The request's body was not read to its end.
    pub(crate) fn left_unread(&self) {
        self.activity.state().left_unread = true;
    }

    /// Whether so much is unsent on the connection that nothing more is done for it.
    pub(crate) fn must_read_first(&self) -> bool {
        self.multiplexed && self.activity.outbox.unsent() >= MAX_UNSENT
    }

    /// Where the connection's answers are watched.
    pub(crate) fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.activity.outbox)
    }

    /// Begins to watch an answer of so many bytes, where it could be held: in HTTP/2, where each waits for its own window,
    /// and where it is large. `lease` is asked for what the connection does not have free.
    ///
    /// # Errors
    /// [`Problem::NotTaken`], and those of `lease`.
    pub(crate) fn deliver(
        &self,
        bytes: usize,
        lease: impl FnOnce(usize) -> Result<Lease, Problem>,
    ) -> Result<Option<Arc<Delivery>>, Problem> {
        if bytes == 0 || (!self.multiplexed && bytes <= FREE_UNSENT) {
            return Ok(None);
        }
        let outbox = &self.activity.outbox;
        let unsent = outbox.unsent();
        if self.multiplexed && unsent > 0 && unsent + bytes > MAX_UNSENT {
            return Err(Problem::NotTaken);
        }
        let lease = if unsent + bytes > FREE_UNSENT { Some(lease(bytes)?) } else { None };
        Ok(Some(outbox.deliver(bytes, lease, StreamHandle::current())))
    }

    /// The answer is a stream.
    pub(crate) fn streams(&self) {
        let half_closed = {
            let mut state = self.activity.state();
            state.streams = true;
            state.half_closed_until.is_some()
        };
        if half_closed {
            self.activity.half_closed(Duration::ZERO);
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.requests -= 1;
        if state.requests == 0 {
            state.streams = false;
            state.phase = Phase::Idle;
            state.since = self.activity.clock.uptime();
        }
    }
}

/// A connection's I/O that notes what happens on it.
pub(crate) struct WatchedIo {
    io: TokioIo<TcpStream>,
    activity: Arc<Activity>,
    /// How much was thrown away since our side was shut down.
    lingered: Option<usize>,
}

impl WatchedIo {
    pub(crate) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { io: TokioIo::new(stream), activity, lingered: None }
    }

    /// Looks whether the client has shut its side down, and has the task woken when it does. While it answers, hyper either
    /// ends the connection then, or (`half_close`) does not look.
    fn watch_for_half_close(&self, cx: &mut Context<'_>) {
        if !self.activity.awaits_half_close() {
            return;
        }
        match self.poll_peek(cx) {
            Poll::Ready(Ok(0)) => self.activity.half_closed(HALF_CLOSED),
            Poll::Ready(Err(_)) => self.activity.half_closed(Duration::ZERO),
            Poll::Ready(Ok(_)) | Poll::Pending => {}
        }
    }

    fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.io.inner().poll_peek(cx, &mut ReadBuf::new(&mut [0]))
    }

    /// Throws away what the client still sends, until it has seen our end and closes, or it is too much.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waste = [0; 8192];
        while self.lingered.is_some_and(|bytes| bytes <= MAX_LINGERED) {
            let mut buf = ReadBuf::new(&mut waste);
            std::task::ready!(Pin::new(self.io.inner_mut()).poll_read(cx, &mut buf))?;
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
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        match &written {
            Poll::Ready(_) => self.activity.bytes_written(),
            Poll::Pending => self.activity.blocked(),
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch_for_half_close(cx);
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingered.is_none() {
            std::task::ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            let is_more_there = matches!(self.poll_peek(cx), Poll::Ready(Ok(bytes)) if bytes > 0);
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
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        match &written {
            Poll::Ready(_) => self.activity.bytes_written(),
            Poll::Pending => self.activity.blocked(),
        }
        written
    }
}
