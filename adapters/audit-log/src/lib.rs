//! The [`Auditor`] port by lines of JSON, to a file or to standard output: an event for each decision.
//!
//! `event.rs` says what a line has, `output.rs` writes lines with one call, and a thread of its own does that, so that no request
//! waits for the disk unless it may not go on without its event. What waits for the thread is bounded.

mod event;
mod output;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use domain::{Auditor, Decision, Event, NotRecorded, Observer, Recording};
use futures_channel::oneshot;

use crate::output::Output;

/// How long an event may wait for others, where no request waits for it.
const PAUSE: Duration = Duration::from_millis(5);
/// The size from which on events are written without more of them, in bytes.
const MAX_BATCH: usize = 64 * 1024;
/// How long [`AuditLog::flush`] waits for what is left.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// What is written where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where events go.
    pub to: Destination,
    /// What happens when one can't be written.
    pub on_failure: OnFailure,
    /// How many may wait to be written; half of them are for decisions about whoever is authenticated.
    pub queued_events: usize,
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To standard output.
    Stdout,
    /// To the end of this file.
    File(PathBuf),
}

/// What happens when an event can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It is counted as lost, and the request goes on.
    Count,
    /// What it is about is refused.
    Refuse,
}

/// Writes events. Clones share everything.
#[derive(Debug, Clone)]
pub struct AuditLog {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    on_failure: OnFailure,
    /// How many events about nobody may wait.
    anonymous_limit: usize,
}

/// What the writing thread is told.
#[derive(Debug)]
enum Message {
    /// A line to write.
    Line(Line),
    /// To open the file anew: what came before is written to the one before.
    Reopen,
    /// To say when everything before was written.
    Flush(Sender<()>),
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    /// Whom to tell whether it was written.
    asks: Option<oneshot::Sender<bool>>,
    /// The place that it takes among those about nobody, if it is one.
    place: Option<Place>,
}

/// A place among the events about nobody that wait.
#[derive(Debug)]
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.anonymous.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What requests and the writing thread have in common.
struct Shared {
    observer: Arc<dyn Observer>,
    must_reopen: AtomicBool,
    /// The number of events about nobody that wait.
    anonymous: AtomicUsize,
    /// The number of events lost since one was written.
    lost: AtomicU64,
}

impl AuditLog {
    /// Opens the file and starts the thread that writes.
    ///
    /// # Errors
    /// When the file can't be opened, or no thread started.
    pub fn start(options: &Options, observer: &Arc<dyn Observer>) -> io::Result<Self> {
        let output = Output::open(&options.to)?;
        let (queue, messages) = sync_channel(options.queued_events);
        let shared = Arc::new(Shared {
            observer: Arc::clone(observer),
            must_reopen: AtomicBool::new(false),
            anonymous: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        });
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || write_all(&messages, output, &of_thread))?;
        let anonymous_limit = options.queued_events / 2;
        Ok(Self { queue, shared, on_failure: options.on_failure, anonymous_limit })
    }

    /// Has the file opened anew, since it may have been renamed.
    pub fn reopen(&self) {
        if self.queue.try_send(Message::Reopen).is_err() {
            // The queue is full: the thread is at work, and sees it.
            self.shared.must_reopen.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until what is queued was written, for some seconds at most.
    pub fn flush(&self) {
        let (done, written) = channel();
        let queue = self.queue.clone();
        // Of its own: where writing has come to a stop, the queue may have no room.
        if thread::Builder::new().spawn(move || queue.send(Message::Flush(done))).is_ok() {
            let _ = written.recv_timeout(FLUSH_PATIENCE);
        }
    }

    /// Queues an event, and returns whether it had a place; one that has none is lost. Those about nobody cost their senders
    /// nothing, so that a flood of them is easy: they get half of the places, and no other event is lost by them.
    fn queue(&self, decision: &Decision<'_>, asks: Option<oneshot::Sender<bool>>) -> bool {
        let is_anonymous = decision.principal.is_none();
        let place = if is_anonymous { self.place() } else { None };
        let is_queued = place.is_some() == is_anonymous && {
            let line = Line { text: event::line(decision), asks, place };
            self.queue.try_send(Message::Line(line)).is_ok()
        };
        if !is_queued {
            self.shared.lose(&"as many as audit.queued_events has places for wait to be written");
        }
        is_queued
    }

    /// Takes a place among the events about nobody, if there is one.
    fn place(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.shared));
        let taken = self.shared.anonymous.fetch_add(1, Ordering::Relaxed);
        (taken < self.anonymous_limit).then_some(place)
    }
}

impl Auditor for AuditLog {
    fn is_on(&self) -> bool {
        true
    }

    fn record(&self, decision: &Decision<'_>) -> Recording {
        match self.on_failure {
            OnFailure::Count => {
                self.queue(decision, None);
                Recording::GoesOn
            }
            OnFailure::Refuse => {
                let (written, is_written) = oneshot::channel();
                if !self.queue(decision, Some(written)) {
                    return Recording::Failed;
                }
                Recording::Waits(Box::pin(async {
                    if is_written.await.unwrap_or(false) { Ok(()) } else { Err(NotRecorded) }
                }))
            }
        }
    }
}

impl Shared {
    /// Counts an event that is lost, and says so in the log of the first of a row.
    fn lose(&self, why: &impl std::fmt::Display) {
        self.observer.observe(Event::AuditEventLost);
        if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!("audit events can't be written: {why}");
        }
    }

    fn written(&self) {
        if self.lost.load(Ordering::Relaxed) > 0 {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            tracing::warn!(lost, "audit events are written again; some are lost");
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Writes what comes until nobody can send any more: what waits together, and without a request that waits for it, what comes
/// within [`PAUSE`].
fn write_all(messages: &Receiver<Message>, mut output: Output, shared: &Shared) {
    let mut batch = Batch::default();
    let mut has_more = false;
    for first in messages {
        let may_wait = matches!(&first, Message::Line(line) if line.asks.is_none());
        if !std::mem::take(&mut has_more) && may_wait {
            #[expect(clippy::disallowed_methods, reason = "a thread of its own, which only writes")]
            thread::sleep(PAUSE);
        }
        for message in std::iter::once(first).chain(messages.try_iter()) {
            match message {
                Message::Line(line) => batch.add(line),
                Message::Reopen => {
                    batch.write(&mut output, shared);
                    reopen(&mut output);
                }
                Message::Flush(done) => batch.flushed.push(done),
            }
            if batch.text.len() >= MAX_BATCH {
                has_more = true;
                break;
            }
        }
        batch.write(&mut output, shared);
        if shared.must_reopen.swap(false, Ordering::Relaxed) {
            reopen(&mut output);
        }
    }
}

fn reopen(output: &mut Output) {
    if let Err(error) = output.reopen() {
        tracing::error!("the audit file can't be opened anew, the one before is kept: {error}");
    }
}

/// Lines that are written with one call: all of them, or none.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    lines: usize,
    places: Vec<Place>,
    asks: Vec<oneshot::Sender<bool>>,
    flushed: Vec<Sender<()>>,
}

impl Batch {
    fn add(&mut self, line: Line) {
        self.text.extend_from_slice(&line.text);
        self.lines += 1;
        self.places.extend(line.place);
        self.asks.extend(line.asks);
    }

    /// Writes what there is, and tells whoever asked.
    fn write(&mut self, output: &mut Output, shared: &Shared) {
        if self.lines > 0 {
            let outcome = output.write(&self.text);
            self.places.clear();
            match &outcome {
                Ok(()) => shared.written(),
                Err(error) => (0..self.lines).for_each(|_| shared.lose(error)),
            }
            for asks in self.asks.drain(..) {
                let _ = asks.send(outcome.is_ok());
            }
            self.text.clear();
            self.lines = 0;
        }
        for done in self.flushed.drain(..) {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests;
