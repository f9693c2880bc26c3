//! Lines on their way to the thread that writes. Whoever adds one waits for a lock alone, and wakes the thread only where it has
//! nothing to do or has to hurry.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;

/// How long an event may wait for others, where no request waits for it.
const PAUSE: Duration = Duration::from_millis(5);

/// What waits to be written, with a bound. Lines about nobody cost their senders nothing, so that a flood of them is easy: they get
/// half of the places, and no other line is lost by them.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the thread.
    wakes: Condvar,
    max_lines: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Batches that end with the file being opened anew: what comes later goes to the next one.
    ended: VecDeque<Batch>,
    batch: Batch,
    /// The number of lines in all of them and in the batch that is being written, and of those about nobody.
    lines: usize,
    anonymous: usize,
    thread: Thread,
    /// Whether there will be no more.
    is_closed: bool,
    /// Whether nobody writes any more.
    is_abandoned: bool,
}

/// What the thread does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Thread {
    /// It writes, or is about to look for more.
    #[default]
    Works,
    /// It waits for more lines to come, for a bounded time.
    Gathers,
    /// It waits for a first line.
    Idles,
}

/// Lines, and what comes after them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The lines, one after the other.
    pub(crate) text: Vec<u8>,
    lines: usize,
    anonymous: usize,
    /// Whom to tell whether they were written.
    pub(crate) asks: Vec<oneshot::Sender<bool>>,
    /// Whom to tell that they are behind.
    pub(crate) flushed: Vec<Sender<()>>,
    /// Whether the file is opened anew after them.
    pub(crate) reopens: bool,
}

impl Queue {
    pub(crate) fn with_room_for(max_lines: usize) -> Self {
        Self { waiting: Mutex::default(), wakes: Condvar::new(), max_lines }
    }

    /// Adds a line, and returns whether there was room for it.
    pub(crate) fn add(&self, line: &str, is_anonymous: bool, asks: Option<oneshot::Sender<bool>>) -> bool {
        let mut waiting = self.lock();
        let is_flood = is_anonymous && waiting.anonymous >= self.max_lines / 2;
        if waiting.is_closed || is_flood || waiting.lines >= self.max_lines {
            return false;
        }
        waiting.lines += 1;
        waiting.anonymous += usize::from(is_anonymous);
        let batch = &mut waiting.batch;
        batch.lines += 1;
        batch.anonymous += usize::from(is_anonymous);
        batch.text.extend_from_slice(line.as_bytes());
        batch.asks.extend(asks);
        self.wake(waiting);
        true
    }

    /// Has the file opened anew, after what came before.
    pub(crate) fn reopen(&self) {
        let mut waiting = self.lock();
        let mut batch = std::mem::take(&mut waiting.batch);
        batch.reopens = true;
        waiting.ended.push_back(batch);
        self.wake(waiting);
    }

    /// Has it said when everything before was written; at once where nobody writes any more.
    pub(crate) fn flush(&self, done: Sender<()>) {
        let mut waiting = self.lock();
        if waiting.is_abandoned {
            return;
        }
        waiting.batch.flushed.push(done);
        self.wake(waiting);
    }

    /// Ends the thread once it has written what waits.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        self.wake(waiting);
    }

    /// Drops what waits, and takes nothing from now on: nobody writes any more.
    pub(crate) fn abandon(&self) {
        let left = std::mem::replace(
            &mut *self.lock(),
            Waiting { is_closed: true, is_abandoned: true, ..Waiting::default() },
        );
        drop(left);
    }

    /// Takes what is to be written next: what has come within [`PAUSE`], or at once where somebody waits for it. Returns false
    /// when nothing will come. Under load the thread finds lines after each pause, and nobody has to wake it. `batch` is the one
    /// that was written last, whose lines had their places until now.
    pub(crate) fn take(&self, batch: &mut Batch) -> bool {
        let mut waiting = self.lock();
        waiting.lines -= batch.lines;
        waiting.anonymous -= batch.anonymous;
        // Its memory is used again.
        batch.clear();
        loop {
            waiting.thread = Thread::Gathers;
            let pause = self.wakes.wait_timeout_while(waiting, PAUSE, |waiting| !self.hurries(waiting));
            waiting = pause.unwrap_or_else(PoisonError::into_inner).0;
            waiting.thread = Thread::Works;
            if let Some(ended) = waiting.ended.pop_front() {
                *batch = ended;
            } else {
                std::mem::swap(&mut waiting.batch, batch);
            }
            if !batch.is_empty() {
                return true;
            }
            if waiting.is_closed {
                return false;
            }
            // What an idle queue keeps of its busy times is nothing.
            *batch = Batch::default();
            waiting.batch = Batch::default();
            waiting.thread = Thread::Idles;
            let first = self.wakes.wait_while(waiting, |waiting| waiting.is_empty());
            waiting = first.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that is done under the lock panics.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread, if it waits for what has come; once for all that comes before it is awake.
    fn wake(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let must_wake = match waiting.thread {
            Thread::Works => false,
            Thread::Gathers => self.hurries(&waiting),
            Thread::Idles => true,
        };
        if must_wake {
            waiting.thread = Thread::Works;
        }
        drop(waiting);
        if must_wake {
            self.wakes.notify_one();
        }
    }

    /// Whether no more lines are to be waited for: somebody waits, or there is little room left.
    fn hurries(&self, waiting: &Waiting) -> bool {
        let batch = &waiting.batch;
        let is_awaited = !batch.asks.is_empty() || !batch.flushed.is_empty() || !waiting.ended.is_empty();
        is_awaited || waiting.is_closed || waiting.lines > self.max_lines / 2
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.ended.is_empty() && !self.is_closed
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.lines == 0 && self.flushed.is_empty() && !self.reopens
    }

    fn clear(&mut self) {
        self.text.clear();
        self.asks.clear();
        self.flushed.clear();
        (self.lines, self.anonymous, self.reopens) = (0, 0, false);
    }
}
