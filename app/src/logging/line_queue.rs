//! Log lines on their way to standard error, which a thread of its own writes: many with one call, and nobody who logs waits for
//! whoever reads.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// How many lines may wait.
const MAX_LINES: usize = 8192;
/// How long a line may wait for others.
const PAUSE: Duration = Duration::from_millis(5);
/// The size from which on lines are written without more of them, in bytes.
const MAX_BATCH: usize = 64 * 1024;
/// How long [`LineQueue::flush`] waits.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// Writes lines.
#[derive(Debug)]
pub(super) struct LineQueue {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// To say when everything before was written.
    Flush(Sender<()>),
}

impl LineQueue {
    /// Starts the thread that writes.
    pub(super) fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_room_for(MAX_LINES, to)
    }

    fn with_room_for(lines: usize, to: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, messages) = sync_channel(lines);
        let lost = Arc::new(AtomicU64::new(0));
        let of_thread = Arc::clone(&lost);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&messages, to, &of_thread))?;
        Ok(Self { queue, lost })
    }

    /// Waits until everything before is written, for some seconds at most.
    pub(super) fn flush(&self) {
        let (done, written) = channel();
        let queue = self.queue.clone();
        // By a thread of its own: where writing has come to a stop, the queue may have no room.
        if thread::Builder::new().spawn(move || queue.send(Message::Flush(done))).is_ok() {
            let _ = written.recv_timeout(FLUSH_PATIENCE);
        }
    }
}

/// Takes a whole line with each call, as the library writes them. A line that finds no room is lost, and counted.
impl Write for &LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what comes until nobody can send any more.
fn write_all(messages: &Receiver<Message>, mut to: impl Write, lost: &AtomicU64) {
    let mut batch = Vec::new();
    let mut flushed = Vec::new();
    let mut has_more = false;
    for first in messages {
        if !std::mem::take(&mut has_more) && matches!(first, Message::Line(_)) {
            #[expect(clippy::disallowed_methods, reason = "a thread of its own, which only writes")]
            thread::sleep(PAUSE);
        }
        for message in std::iter::once(first).chain(messages.try_iter()) {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::Flush(done) => flushed.push(done),
            }
            if batch.len() >= MAX_BATCH {
                has_more = true;
                break;
            }
        }
        write(&mut to, &mut batch);
        for done in flushed.drain(..) {
            let _ = done.send(());
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(lost, "log lines were lost: whoever reads standard error is too slow");
        }
    }
}

/// Writes lines, if anybody reads them, and forgets them.
fn write(to: &mut impl Write, lines: &mut Vec<u8>) {
    let _ = to.write_all(lines);
    lines.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands on what is written.
    struct Handed(Sender<Vec<u8>>);

    impl Write for Handed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Says that a call has begun, and waits to be let on.
    struct Stuck(Sender<usize>, Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.split(|byte| *byte == b'\n').count() - 1);
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_all_of_them_when_flush_returns() {
        let (sender, written) = channel();
        let queue = LineQueue::start(Handed(sender)).unwrap();
        let mut lines = &queue;
        for number in 0..1000 {
            writeln!(lines, "{number}").unwrap();
        }
        queue.flush();
        let bytes: Vec<u8> = written.try_iter().flatten().collect();
        let expected: String = (0..1000).map(|number| number.to_string() + "\n").collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn nobody_waits_for_a_reader_that_stands_still_and_lost_lines_are_counted() {
        let (began, has_begun) = channel();
        let (go_on, waits) = channel();
        let queue = LineQueue::with_room_for(4, Stuck(began, waits)).unwrap();
        let mut lines = &queue;
        lines.write_all(b"first\n").unwrap();
        assert_eq!(has_begun.recv().unwrap(), 1);
        for _ in 0..10 {
            lines.write_all(b"line\n").unwrap();
        }
        assert_eq!(queue.lost.load(Ordering::Relaxed), 6);
        go_on.send(()).unwrap();
        assert_eq!(has_begun.recv().unwrap(), 4);
        assert_eq!(queue.lost.load(Ordering::Relaxed), 0, "it was said");
    }

    #[test]
    fn a_reader_that_is_gone_stops_nothing() {
        let (sender, written) = channel();
        drop(written);
        let queue = LineQueue::start(Handed(sender)).unwrap();
        let mut lines = &queue;
        lines.write_all(b"line\n").unwrap();
        queue.flush();
        lines.write_all(b"line\n").unwrap();
        queue.flush();
    }
}
