//! The [`Auditor`] port by lines of JSON, to a file or to standard output: an event for each decision.
//!
//! `event.rs` says what a line has, `output.rs` writes lines with one call, and a thread of its own does that, so that no request
//! waits for the disk unless it may not go on without its event. What waits for the thread, in `queue.rs`, is bounded.

mod event;
mod output;
mod queue;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use domain::{Auditor, Decision, Event, NotRecorded, Observer, Recording};
use futures_channel::oneshot;

use crate::output::Output;
use crate::queue::{Batch, Queue};

/// The most that is written with one call, in bytes, unless one line has more.
const MAX_WRITE: usize = 64 * 1024;
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
    entrance: Arc<Entrance>,
    shared: Arc<Shared>,
    on_failure: OnFailure,
}

/// Where events get into the queue. When it is gone, the thread ends.
#[derive(Debug)]
struct Entrance(Arc<Queue>);

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Where the thread takes events. When it is gone, so after a panic as well, nobody waits for it.
struct Exit(Arc<Queue>);

impl Drop for Exit {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// What requests and the writing thread have in common.
struct Shared {
    observer: Arc<dyn Observer>,
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
        let queue = Arc::new(Queue::with_room_for(options.queued_events));
        let shared = Arc::new(Shared { observer: Arc::clone(observer), lost: AtomicU64::new(0) });
        let (exit, of_thread) = (Exit(Arc::clone(&queue)), Arc::clone(&shared));
        let entrance = Arc::new(Entrance(queue));
        thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || write_all(&exit.0, output, &of_thread))?;
        Ok(Self { entrance, shared, on_failure: options.on_failure })
    }

    /// Has the file opened anew, since it may have been renamed.
    pub fn reopen(&self) {
        self.entrance.0.reopen();
    }

    /// Waits until what is queued was written, for some seconds at most.
    pub fn flush(&self) {
        let (done, written) = channel();
        self.entrance.0.flush(done);
        let _ = written.recv_timeout(FLUSH_PATIENCE);
    }

    /// Queues an event, and returns whether it had a place; one that has none is lost.
    fn queue(&self, decision: &Decision<'_>, asks: Option<oneshot::Sender<bool>>) -> bool {
        let is_anonymous = decision.principal.is_none();
        let is_queued = event::with_line(decision, |line| self.entrance.0.add(line, is_anonymous, asks));
        if !is_queued {
            self.shared.lose(&"as many as audit.queued_events has places for wait to be written");
        }
        is_queued
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

/// Writes what comes until nothing will.
fn write_all(queue: &Queue, mut output: Output, shared: &Shared) {
    let mut batch = Batch::default();
    while queue.take(&mut batch) {
        write(&mut batch, &mut output, shared);
        if batch.reopens {
            reopen(&mut output);
        }
    }
}

fn reopen(output: &mut Output) {
    if let Err(error) = output.reopen() {
        tracing::error!("the audit file can't be opened anew, the one before is kept: {error}");
    }
}

/// Writes a batch, and tells whoever asked.
fn write(batch: &mut Batch, output: &mut Output, shared: &Shared) {
    let mut rest = &batch.text[..];
    while !rest.is_empty() {
        let (lines, later) = rest.split_at(for_one_call(rest));
        rest = later;
        let outcome = output.write(lines);
        let count = || lines.split_inclusive(|byte| *byte == b'\n').count();
        match &outcome {
            Ok(()) => shared.written(),
            Err(error) => (0..count()).for_each(|_| shared.lose(error)),
        }
        // Where one asks, each does.
        let asked = if batch.asks.is_empty() { 0 } else { count().min(batch.asks.len()) };
        for asks in batch.asks.drain(..asked) {
            let _ = asks.send(outcome.is_ok());
        }
    }
    for done in batch.flushed.drain(..) {
        let _ = done.send(());
    }
}

/// Returns how many bytes of lines are written with one call.
fn for_one_call(lines: &[u8]) -> usize {
    if lines.len() <= MAX_WRITE {
        return lines.len();
    }
    let is_end = |byte: &u8| *byte == b'\n';
    let last = lines[..MAX_WRITE].iter().rposition(is_end);
    last.or_else(|| lines.iter().position(is_end)).map_or(lines.len(), |end| end + 1)
}

#[cfg(test)]
mod tests;
