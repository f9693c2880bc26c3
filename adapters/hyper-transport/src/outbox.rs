//! Answers on their way: the bytes that a connection's client has yet to take, and since when it has taken none.
//!
//! hyper and h2 hold what a client does not take for as long as it keeps its connection: an HTTP/2 client with a window of
//! 0 could have a hundred finished answers held. So each answer that may wait is a [`Delivery`]: its memory is leased, and
//! where nothing of it is taken for too long, its HTTP/2 stream is reset, or else its connection closed, whatever else the
//! client does meanwhile.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use domain::{Clock, Lease};
use futures_util::task::AtomicWaker;
use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The maximum of unsent bytes of a multiplexed connection: then its client must take some before it sends another request. A
/// single answer may be larger.
pub(crate) const MAX_UNSENT: usize = 4 * 1024 * 1024;
/// The unsent bytes that a connection may have without a lease: about what an idle one takes anyway.
pub(crate) const FREE_UNSENT: usize = 16 * 1024;

/// The answers of one connection that were not yet taken.
pub(crate) struct Outbox {
    clock: Arc<dyn Clock>,
    stall: Duration,
    state: Mutex<State>,
    /// Notified when a deadline came nearer.
    pub(crate) sooner: Notify,
}

#[derive(Default)]
struct State {
    unsent: usize,
    /// Since when nothing waits, if nothing does.
    empty_since: Duration,
    last_id: u64,
    waiting: Vec<Waiting>,
}

/// An answer of which something was not yet taken.
struct Waiting {
    id: u64,
    bytes: usize,
    /// When something of it was taken last, in uptime.
    since: Duration,
    stream: Option<StreamHandle>,
}

/// The state of a connection's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stall {
    /// An answer waits, and its time is up then.
    Until(Duration),
    /// No answer waits, since then.
    NoneSince(Duration),
    /// An answer has waited too long, and only closing the connection frees it.
    Close,
}

impl Stall {
    /// Returns the time at which something is due.
    pub(crate) const fn until(self) -> Duration {
        match self {
            Self::Until(until) => until,
            Self::NoneSince(_) => Duration::MAX,
            Self::Close => Duration::ZERO,
        }
    }
}

impl Outbox {
    pub(crate) fn new(clock: Arc<dyn Clock>, stall: Duration) -> Self {
        Self { clock, stall, state: Mutex::default(), sooner: Notify::new() }
    }

    /// Returns the number of bytes that were not yet taken.
    pub(crate) fn unsent(&self) -> usize {
        self.state().unsent
    }

    /// Begins to watch an answer of so many bytes.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        bytes: usize,
        lease: Option<Lease>,
        stream: Option<StreamHandle>,
    ) -> Arc<Delivery> {
        let is_multiplexed = stream.is_some();
        let mut state = self.state();
        state.last_id += 1;
        let id = state.last_id;
        state.unsent += bytes;
        // Mostly one is all that HTTP/1.1 has at a time; a vector makes room for four.
        state.waiting.reserve_exact(1);
        state.waiting.push(Waiting { id, bytes, since: self.clock.uptime(), stream });
        // The first deadline is the nearest; later ones are looked up when it passes. In HTTP/1.1 an answer waits only where the
        // socket takes nothing, which is noted by itself.
        if state.waiting.len() == 1 && is_multiplexed {
            self.sooner.notify_one();
        }
        drop(state);
        Arc::new(Delivery {
            outbox: Arc::clone(self),
            id,
            is_multiplexed,
            chunks: AtomicUsize::new(0),
            taken: AtomicWaker::new(),
            _lease: lease,
        })
    }

    /// Resets the streams whose answers have waited too long, and returns what else is due.
    pub(crate) fn judge(&self, now: Duration) -> Stall {
        let mut state = self.state();
        for waiting in state.waiting.iter_mut().filter(|waiting| waiting.since + self.stall <= now) {
            match &waiting.stream {
                Some(stream) if stream.reset() => waiting.since = now,
                _ => return Stall::Close,
            }
        }
        let next = state.waiting.iter().map(|waiting| waiting.since + self.stall).min();
        next.map_or(Stall::NoneSince(state.empty_since), Stall::Until)
    }

    fn progress(&self, id: u64) {
        let now = self.clock.uptime();
        // In HTTP/1.1 all that waits is one sequence of bytes.
        let goes_on = |waiting: &&mut Waiting| waiting.id == id || waiting.stream.is_none();
        self.state().waiting.iter_mut().filter(goes_on).for_each(|waiting| waiting.since = now);
    }

    fn done(&self, id: u64) {
        let mut state = self.state();
        if let Some(index) = state.waiting.iter().position(|waiting| waiting.id == id) {
            let waiting = state.waiting.swap_remove(index);
            state.unsent -= waiting.bytes;
            state.empty_since = self.clock.uptime();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is watched until all of it was taken, or dropped.
pub(crate) struct Delivery {
    outbox: Arc<Outbox>,
    id: u64,
    is_multiplexed: bool,
    /// The number of chunks that hyper or h2 hold.
    chunks: AtomicUsize,
    /// Wakes the task that waits for them to be taken.
    taken: AtomicWaker,
    _lease: Option<Lease>,
}

impl Delivery {
    /// Returns a part of the answer, for hyper.
    pub(crate) fn chunk(self: &Arc<Self>, bytes: Bytes) -> Chunk {
        self.chunks.fetch_add(1, Ordering::AcqRel);
        Chunk { bytes, delivery: Some(Arc::clone(self)) }
    }

    /// Returns whether another answer may be on its way beside this one: in HTTP/1.1, while little is unsent. Whoever waits until it was
    /// taken is woken once more for each answer.
    pub(crate) fn may_be_followed(&self) -> bool {
        !self.is_multiplexed && self.outbox.unsent() <= FREE_UNSENT
    }

    /// Returns ready when no part is on its way.
    pub(crate) fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.taken.register(cx.waker());
        if self.chunks.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.outbox.done(self.id);
    }
}

/// Bytes of an answer; the answer is not taken before they were written, or dropped.
pub(crate) struct Chunk {
    bytes: Bytes,
    delivery: Option<Arc<Delivery>>,
}

impl Chunk {
    /// Creates a chunk that is not watched.
    pub(crate) const fn plain(bytes: Bytes) -> Self {
        Self { bytes, delivery: None }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(delivery) = &self.delivery {
            delivery.outbox.progress(delivery.id);
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.bytes.copy_to_bytes(length)
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.chunks.fetch_sub(1, Ordering::AcqRel);
            delivery.taken.wake();
        }
    }
}

tokio::task_local! {
    static STREAM: StreamHandle;
}

/// A handle on the task that serves one HTTP/2 stream. When the task goes, h2 resets the stream, and lets go of what it
/// holds of it.
#[derive(Clone)]
pub(crate) struct StreamHandle(Arc<StreamState>);

struct StreamState {
    cancelled: CancellationToken,
    ended: AtomicBool,
}

impl StreamHandle {
    /// Returns the stream that the present task serves; `None` in HTTP/1.1.
    pub(crate) fn current() -> Option<Self> {
        STREAM.try_with(Clone::clone).ok()
    }

    /// Ends the task; returns false if it has ended, or was ended before.
    fn reset(&self) -> bool {
        if self.0.ended.load(Ordering::Acquire) || self.0.cancelled.is_cancelled() {
            return false;
        }
        self.0.cancelled.cancel();
        true
    }
}

/// Spawns hyper's tasks, one an HTTP/2 stream, so that each can be ended by its [`StreamHandle`].
#[derive(Clone)]
pub(crate) struct StreamExecutor;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, task: F) {
        let state = StreamState { cancelled: CancellationToken::new(), ended: AtomicBool::new(false) };
        let handle = StreamHandle(Arc::new(state));
        let ended = Arc::clone(&handle.0);
        tokio::spawn(STREAM.scope(handle, async move {
            // Dropped at the end of this block, which is what resets the stream.
            let mut task: Pin<&mut F> = pin!(task);
            tokio::select! {
                biased;
                () = ended.cancelled.cancelled() => {}
                () = task.as_mut() => {}
            }
            ended.ended.store(true, Ordering::Release);
        }));
    }
}
