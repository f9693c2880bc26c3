//! Log lines on their way to standard error, which a thread of its own writes: many with one call, and nobody who logs waits for
//! whoever reads.

use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many lines may wait, and how many bytes of them.
const MAX_LINES: usize = 8192;
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// The most that is written with one call, and that is lost where it fails, in bytes; a longer line is written alone.
const PIECE: usize = 64 * 1024;
/// The memory that is kept from one batch for the next, in bytes.
const KEPT: usize = 1024 * 1024;
/// How long a line may wait for others.
const PAUSE: Duration = Duration::from_millis(5);
/// How long [`LineQueue::flush`] waits.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// Writes lines.
#[derive(Debug)]
pub(super) struct LineQueue(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the thread that writes.
    wakes: Condvar,
    max_lines: usize,
}

/// What the thread has not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    /// Whether the thread waits for a first line. It is woken for that one, and not for those after it.
    is_idle: bool,
    /// Whether there will be no more.
    is_closed: bool,
}

/// What is written at a time.
#[derive(Debug, Default)]
struct Batch {
    /// Whole lines, one after the other.
    text: Vec<u8>,
    lines: usize,
    /// The number of lines that found no room.
    lost: u64,
    /// Whom to tell when it was written.
    flushed: Vec<Sender<()>>,
}

impl LineQueue {
    /// Starts the thread that writes.
    pub(super) fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_room_for(MAX_LINES, to)
    }

    fn with_room_for(max_lines: usize, to: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(Queue { waiting: Mutex::default(), wakes: Condvar::new(), max_lines });
        let of_thread = Arc::clone(&queue);
        thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.write_all(to))?;
        Ok(Self(queue))
    }

    /// Waits until everything before is written, for some seconds at most.
    pub(super) fn flush(&self) {
        let (done, written) = channel();
        self.0.lock().batch.flushed.push(done);
        self.0.wakes.notify_one();
        let _ = written.recv_timeout(FLUSH_PATIENCE);
    }
}

/// What waits is still written.
impl Drop for LineQueue {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.wakes.notify_one();
    }
}

/// Takes a whole line with each call. A line that finds no room is lost, and counted.
impl Write for &LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that is done under the lock panics.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.batch.lines >= self.max_lines || waiting.batch.text.len() + line.len() > MAX_BYTES {
            waiting.batch.lost += 1;
            return;
        }
        waiting.batch.text.extend_from_slice(line);
        waiting.batch.lines += 1;
        let was_idle = std::mem::take(&mut waiting.is_idle);
        drop(waiting);
        if was_idle {
            self.wakes.notify_one();
        }
    }

    /// Writes what comes until nothing will.
    fn write_all(&self, to: impl Write) {
        let mut batch = Batch::default();
        let mut output = Output { to, is_torn: false };
        let mut lost = 0;
        while self.take(&mut batch) {
            lost += batch.lost;
            let mut reads_on = false;
            for piece in batch.pieces() {
                let unwritten = output.write(piece);
                reads_on |= unwritten.len() < piece.len();
                lost += lines_of(unwritten);
            }
            for done in batch.flushed.drain(..) {
                let _ = done.send(());
            }
            // Nobody could be told where nothing can be written.
            if lost > 0 && reads_on {
                tracing::error!(lost, "log lines were lost: whoever reads standard error is too slow");
                lost = 0;
            }
        }
    }

    /// Takes what has come within [`PAUSE`], or else waits for a line and for what comes within that time after it. Returns
    /// false when nothing will come. Under load the thread finds lines after each pause, and nobody has to wake it.
    fn take(&self, batch: &mut Batch) -> bool {
        // Its memory is used again.
        batch.text.clear();
        batch.text.shrink_to(KEPT);
        (batch.lines, batch.lost) = (0, 0);
        let mut waiting = self.lock();
        loop {
            let pause = self.wakes.wait_timeout_while(waiting, PAUSE, |waiting| !waiting.hurries());
            waiting = pause.unwrap_or_else(PoisonError::into_inner).0;
            if !waiting.batch.is_empty() {
                std::mem::swap(&mut waiting.batch, batch);
                return true;
            }
            if waiting.is_closed {
                return false;
            }
            // What an idle log keeps of its busy times is nothing.
            *batch = Batch::default();
            waiting.batch = Batch::default();
            waiting.is_idle = true;
            let first = self.wakes.wait_while(waiting, |waiting| waiting.is_idle && !waiting.hurries());
            waiting = first.unwrap_or_else(PoisonError::into_inner);
            waiting.is_idle = false;
        }
    }
}

impl Waiting {
    /// Whether no more lines are to be waited for.
    fn hurries(&self) -> bool {
        self.is_closed || !self.batch.flushed.is_empty()
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.lines == 0 && self.lost == 0 && self.flushed.is_empty()
    }

    /// Returns the lines in pieces of at most [`PIECE`] bytes.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.text.as_slice();
        std::iter::from_fn(move || {
            let most = rest.get(..PIECE).unwrap_or(rest);
            let end = most.iter().rposition(|byte| *byte == b'\n');
            let end = end.or_else(|| rest.iter().position(|byte| *byte == b'\n'));
            let (piece, others) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            rest = others;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// What lines are written to, which may fail amid a line.
struct Output<W> {
    to: W,
    /// Whether the last line is incomplete.
    is_torn: bool,
}

impl<W: Write> Output<W> {
    /// Writes a piece, as far as that succeeds, and returns the lines that were not written, or not whole.
    fn write<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        if self.is_torn && self.to.write_all(b"\n").is_err() {
            return piece;
        }
        let mut written = 0;
        while written < piece.len() {
            match self.to.write(&piece[written..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(more) => written += more,
            }
        }
        let whole = piece[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.is_torn = whole < written;
        &piece[whole..]
    }
}

fn lines_of(text: &[u8]) -> u64 {
    text.split_inclusive(|byte| *byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

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
        assert_eq!(queue.0.lock().batch.lost, 6);
        go_on.send(()).unwrap();
        assert_eq!(has_begun.recv().unwrap(), 4);
        assert_eq!(queue.0.lock().batch.lost, 0, "it was said");
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_too() {
        let (began, has_begun) = channel();
        let (go_on, waits) = channel();
        let queue = LineQueue::start(Stuck(began, waits)).unwrap();
        let mut lines = &queue;
        lines.write_all(b"first\n").unwrap();
        assert_eq!(has_begun.recv().unwrap(), 1);
        let line = [vec![b'x'; MAX_BYTES / 2 - 1], b"\n".to_vec()].concat();
        for lost in [0, 0, 1, 2] {
            lines.write_all(&line).unwrap();
            assert_eq!(queue.0.lock().batch.lost, lost);
        }
        drop(go_on);
    }

    #[test]
    fn pieces_are_of_whole_lines_and_a_long_one_is_alone() {
        let line = |length: usize| [vec![b'x'; length - 1], b"\n".to_vec()].concat();
        let lines = [line(PIECE - 10), line(10), line(PIECE + 1), line(3), line(PIECE - 2)];
        let batch = Batch { text: lines.concat(), ..Batch::default() };
        let lengths: Vec<_> = batch.pieces().map(<[u8]>::len).collect();
        assert_eq!(lengths, [PIECE, PIECE + 1, 3, PIECE - 2]);
        assert_eq!(batch.pieces().collect::<Vec<_>>().concat(), batch.text);
        assert_eq!(Batch::default().pieces().count(), 0);
    }

    /// Fails so many times, then hands on what is written.
    struct Failing(usize, Sender<Vec<u8>>);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(left) = self.0.checked_sub(1) {
                self.0 = left;
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.1.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_and_told_when_one_can_be() {
        let (sender, written) = channel();
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(Told(Arc::clone(&told))).finish();
        let queue = Queue { waiting: Mutex::default(), wakes: Condvar::new(), max_lines: MAX_LINES };
        for line in [&b"one\n"[..], b"two\n", &[b"x".repeat(PIECE), b"\n".to_vec()].concat(), b"four\n"] {
            queue.add(line);
        }
        queue.lock().is_closed = true;
        tracing::subscriber::with_default(log, || queue.write_all(Failing(2, sender)));
        assert_eq!(written.iter().flatten().collect::<Vec<u8>>(), b"four\n");
        let told = String::from_utf8(told.lock().unwrap().clone()).unwrap();
        assert!(told.contains("lost=3"), "{told}");
    }

    /// Takes so many bytes, fails once, then takes all.
    struct Narrow(Option<usize>, Vec<u8>);

    impl Write for &mut Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.0.map_or(bytes.len(), |room| room.min(bytes.len()));
            if room == 0 {
                self.0 = None;
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.1.extend_from_slice(&bytes[..room]);
            self.0 = self.0.map(|left| left - room);
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_broke_off_is_lost_and_no_other_is_glued_to_it() {
        let mut written = Narrow(Some(6), Vec::new());
        let mut output = Output { to: &mut written, is_torn: false };
        assert_eq!(output.write(b"one\ntwo\nthree\n"), b"two\nthree\n");
        assert_eq!(output.write(b"four\n"), b"");
        assert_eq!(output.write(b"five\n"), b"");
        assert_eq!(written.1, b"one\ntw\nfour\nfive\n");
    }

    /// Keeps what is logged.
    #[derive(Clone)]
    struct Told(Arc<Mutex<Vec<u8>>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Told {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
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

    #[test]
    fn lines_of_several_threads_are_whole_and_each_threads_in_their_order() {
        let (sender, written) = channel();
        let queue = LineQueue::start(Handed(sender)).unwrap();
        thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let mut lines = &queue;
                scope.spawn(move || {
                    for number in 0..1000 {
                        lines.write_all(format!("{name}{number}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        queue.flush();
        let text = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
        for name in ["a", "b", "c", "d"] {
            let numbers: Vec<usize> =
                text.lines().filter_map(|line| line.strip_prefix(name)?.parse().ok()).collect();
            assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        }
        assert_eq!(text.lines().count(), 4000);
    }

    #[test]
    fn what_waits_is_written_when_nobody_logs_any_more() {
        let (sender, written) = channel();
        let queue = LineQueue::start(Handed(sender)).unwrap();
        let mut lines = &queue;
        lines.write_all(b"one\n").unwrap();
        lines.write_all(b"two\n").unwrap();
        drop(queue);
        // It ends with the thread.
        assert_eq!(written.iter().flatten().collect::<Vec<u8>>(), b"one\ntwo\n");
    }

    #[test]
    fn the_thread_is_woken_again_after_it_had_nothing_to_do() {
        let (sender, written) = channel();
        let queue = LineQueue::start(Handed(sender)).unwrap();
        let mut lines = &queue;
        for number in 0..3 {
            lines.write_all(format!("{number}\n").as_bytes()).unwrap();
            assert_eq!(written.recv().unwrap(), format!("{number}\n").as_bytes());
            while !queue.0.lock().is_idle {
                thread::yield_now();
            }
        }
    }
}
