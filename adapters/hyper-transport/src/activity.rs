//! The activity of a connection, so that an idle or a slow one can be closed.
//!
//! hyper has one timer for the time between requests and for a request's head; clients need 75 s of the one and should
//! not get 75 s for the other. It also closes at once, both when a client has sent all that it will, which may well wait
//! for its answer, and when it has not, which then loses its answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Clock, Lease};

use crate::outbox::{Delivery, FREE_UNSENT, MAX_UNSENT, Outbox, Stall, StreamHandle};
use crate::problem::Problem;
use crate::settings::Limits;

/// How long a connection is kept for a request that may be on its way when the server stops.
const LAST_REQUEST_PATIENCE: Duration = Duration::from_secs(1);
/// How long is read and thrown away of a request that was refused, or came too late. TCP resets a connection that is closed
/// with bytes unread, and the client loses the answer that is on its way (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(5);

/// A connection's state, shared by its I/O, its requests and its watch.
pub(crate) struct Activity {
    clock: Arc<dyn Clock>,
    header_read: Duration,
    keep_alive: Duration,
    answer_stall: Duration,
    state: Mutex<State>,
    /// Its `sooner` is notified of every deadline that came nearer, of the activity, too.
    outbox: Arc<Outbox>,
}

struct State {
    phase: Phase,
    /// The beginning of the phase, in the clock's uptime; `None`: a moment ago, in this poll of the connection. A request makes
    /// several beginnings, and the time is looked at once, when the connection has nothing more to do.
    since: Option<Duration>,
    /// The number of requests without an answer.
    requests: usize,
    /// The number of requests so far.
    total: usize,
    multiplexed: bool,
    /// The deadline after the client has shut its side down.
    half_closed_until: Option<Duration>,
    /// Since when the client takes none of the bytes that are to be sent.
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
    /// Creates the activity of a new connection. No phase but that of a request takes longer than `patience`.
    pub(crate) fn new(clock: Arc<dyn Clock>, limits: &Limits, patience: Duration) -> Self {
        let since = Some(clock.uptime());
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

    /// Returns the time until the state must be checked again; `None` when the connection's time is up.
    fn time_left(&self) -> Option<Duration> {
        let now = self.clock.uptime();
        let outbox = self.outbox.judge(now);
        let mut state = self.state();
        let began = *state.since.get_or_insert(now);
        let until = match (state.phase, outbox) {
            (_, Stall::Close) => return None,
            // An answer is being taken: that is no idle connection, however slowly it goes.
            (Phase::Idle, Stall::Until(until)) => until,
            (Phase::Idle, Stall::NoneSince(since)) => began.max(since) + self.keep_alive,
            (phase, outbox) => {
                self.phase_until(phase, began, state.half_closed_until, now).min(outbox.until())
            }
        };
        // A client that reads nothing has this long, whatever else it does.
        let blocked = state.blocked_since.map_or(Duration::MAX, |since| since + self.answer_stall);
        until.min(blocked).checked_sub(now).filter(|left| !left.is_zero())
    }

    fn phase_until(
        &self,
        phase: Phase,
        began: Duration,
        half_closed_until: Option<Duration>,
        now: Duration,
    ) -> Duration {
        match phase {
            Phase::Idle => began + self.keep_alive,
            Phase::Head => began + self.header_read,
            Phase::Lingering => began + LINGER,
            // Without a half-close nothing ends here, and the next phase begins a new interval.
            Phase::Busy => half_closed_until.unwrap_or(now + self.keep_alive),
        }
    }

    /// Notes that a request's head was read. Its answer is complete when the returned guard is dropped.
    pub(crate) fn request_began(self: &Arc<Self>, multiplexed: bool) -> RequestGuard {
        let mut state = self.state();
        state.phase = Phase::Busy;
        state.requests += 1;
        state.total = state.total.saturating_add(1);
        state.multiplexed = multiplexed;
        state.left_unread = false;
        RequestGuard { activity: Arc::clone(self), multiplexed }
    }

    /// Returns how long an idle connection is kept after the end of listening. A request may be on its way, and a proxy does
    /// not send it again: a new connection has time for its first request, and where there is a drain delay, a kept one has
    /// time for its next, since a proxy that can't connect uses the connections that it has. HTTP/2 tells a client which of
    /// its requests came too late.
    pub(crate) fn last_request_patience(&self, drain_delay: Duration) -> Duration {
        let state = self.state();
        match (state.total, state.multiplexed) {
            (0, _) => LAST_REQUEST_PATIENCE,
            (_, true) => Duration::ZERO,
            (_, false) => LAST_REQUEST_PATIENCE.min(drain_delay),
        }
    }

    /// Returns whether a half-close must be looked for: between requests, and in HTTP/2, hyper does it.
    pub(crate) fn awaits_half_close(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Busy && !state.multiplexed && state.half_closed_until.is_none()
    }

    /// Notes a half-close. A modern client cancels a call by closing its stream, which takes effect at once.
    pub(crate) fn half_closed(&self, patience: Duration) {
        let mut state = self.state();
        let patience = if state.streams { Duration::ZERO } else { patience };
        state.half_closed_until = Some(self.clock.uptime() + patience);
        self.outbox.sooner.notify_one();
    }

    /// Returns whether further bytes are to be read once the answers are sent: after a head that hyper refused, after a body
    /// that was refused here, or for a request that arrived after the last answer, as when the server stops.
    pub(crate) fn lingers(&self, is_more_there: bool) -> bool {
        let mut state = self.state();
        let came_too_late = is_more_there && !state.multiplexed;
        if state.phase == Phase::Head || state.left_unread || came_too_late {
            state.phase = Phase::Lingering;
            state.since = Some(self.clock.uptime());
            self.outbox.sooner.notify_one();
        }
        state.phase == Phase::Lingering
    }

    pub(crate) fn bytes_read(&self) {
        let mut state = self.state();
        // HTTP/2 has frames between requests that are no heads.
        if state.phase == Phase::Idle && !state.multiplexed {
            state.phase = Phase::Head;
            state.since = None;
        }
    }

    /// Notes that hyper waits for bytes. The deadline of a head matters now.
    pub(crate) fn starved(&self) {
        let mut state = self.state();
        if state.since.is_none() {
            state.since = Some(self.clock.uptime());
        }
        if state.phase == Phase::Head {
            self.outbox.sooner.notify_one();
        }
    }

    /// Notes progress of a write: a slow reader is not idle. In HTTP/2 replies to pings are written, too, and do not count.
    pub(crate) fn bytes_written(&self) {
        let mut state = self.state();
        state.blocked_since = None;
        if state.phase == Phase::Idle && !state.multiplexed {
            state.since = None;
        }
    }

    /// Notes that the client reads nothing.
    pub(crate) fn blocked(&self) {
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
    /// Notes that the request's body was not read to its end.
    pub(crate) fn left_unread(&self) {
        self.activity.state().left_unread = true;
    }

    /// Returns whether so much is unsent on the connection that further requests are refused.
    pub(crate) fn must_read_first(&self) -> bool {
        self.multiplexed && self.activity.outbox.unsent() >= MAX_UNSENT
    }

    /// Returns the outbox that watches the connection's answers.
    pub(crate) fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.activity.outbox)
    }

    /// Begins to watch an answer of so many bytes, where it could be held: in HTTP/2, where each waits for its own window,
    /// and where it is large. `lease` is called for bytes beyond the connection's free ones.
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

    /// Notes that the answer is a stream.
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
            state.since = None;
        }
    }
}
