//! [`log`]: what a child writes to its standard error, as lines of the log.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::quota::Quota;

/// The maximum length of a line, in bytes; the rest of it is left out.
const MAX_LINE: usize = 1024;
/// How many lines are logged in how long.
const MAX_LINES: u32 = 100;
const INTERVAL: Duration = Duration::from_secs(10);

/// Logs lines until the end. It always reads on, so that the child never waits for it.
pub(crate) async fn log(name: Arc<str>, stderr: impl AsyncRead + Unpin, clock: Arc<dyn Clock>) {
    let mut log = Log {
        write: |line: &str| tracing::info!(upstream = &*name, "{line}"),
        quota: Quota::new(MAX_LINES, INTERVAL),
        line: Vec::new(),
        is_cut: false,
    };
    log.read(stderr, clock.as_ref()).await;
}

struct Log<W> {
    write: W,
    quota: Quota,
    line: Vec<u8>,
    is_cut: bool,
}

impl<W: FnMut(&str)> Log<W> {
    async fn read(&mut self, stderr: impl AsyncRead + Unpin, clock: &dyn Clock) {
        let mut reader = BufReader::new(stderr);
        while let Ok(bytes) = reader.fill_buf().await
            && !bytes.is_empty()
        {
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                self.keep(part.strip_suffix(b"\n").unwrap_or(part));
                if part.ends_with(b"\n") {
                    self.line_ends(clock.uptime());
                }
            }
            let read = bytes.len();
            reader.consume(read);
        }
        self.line_ends(clock.uptime());
        let dropped = self.quota.take_refused();
        self.tell_of(dropped);
    }

    fn keep(&mut self, part: &[u8]) {
        let room = MAX_LINE - self.line.len();
        self.is_cut |= part.len() > room;
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn line_ends(&mut self, uptime: Duration) {
        let mut line = printable(self.line.trim_ascii_end());
        self.line.clear();
        if std::mem::take(&mut self.is_cut) {
            line.push('…');
        }
        if line.is_empty() {
            return;
        }
        if let Some(dropped) = self.quota.admit(uptime) {
            self.tell_of(dropped);
            (self.write)(&line);
        }
    }

    fn tell_of(&mut self, dropped: u64) {
        if dropped > 0 {
            (self.write)(&format!("{dropped} more lines, which are not logged"));
        }
    }
}

/// Returns the beginning of a text of the upstream's, for the log or a terminal.
pub(crate) fn shown(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_LINE);
    let mut shown = printable(&text.as_bytes()[..end]);
    if end < text.len() {
        shown.push('…');
    }
    shown
}

/// Returns a text in which nothing controls a terminal or passes for another line.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for char in String::from_utf8_lossy(bytes).chars() {
        let is_format =
            matches!(char, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || is_format {
            // Writing to a `String` can't fail.
            let _ = write!(text, "{}", char.escape_default());
        } else {
            text.push(char);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use domain::UnixMillis;
    use fakes::ManualClock;

    use super::*;

    async fn logged(text: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut log = Log {
            write: |line: &str| lines.push(line.to_owned()),
            quota: Quota::new(MAX_LINES, INTERVAL),
            line: Vec::new(),
            is_cut: false,
        };
        log.read(text, &ManualClock::at(UnixMillis(0))).await;
        lines
    }

    #[tokio::test]
    async fn each_line_is_logged_and_blank_ones_are_not() {
        assert_eq!(logged(b"one\r\n\n  \n two \nlast").await, ["one", " two", "last"]);
    }

    #[tokio::test]
    async fn a_long_line_is_cut() {
        let text = [&[b'a'; MAX_LINE + 5000][..], b"\nb\n", &[b'c'; MAX_LINE]].concat();
        let lines = logged(&text).await;
        assert_eq!(lines, [format!("{}…", "a".repeat(MAX_LINE)), "b".to_owned(), "c".repeat(MAX_LINE)]);
    }

    #[tokio::test]
    async fn what_is_no_text_is_escaped() {
        let lines = logged("a\x1b[2Jb\rc\t\u{202e}d\0é\n".as_bytes()).await;
        assert_eq!(lines, [r"a\u{1b}[2Jb\rc\t\u{202e}d\u{0}é"]);
        assert_eq!(logged(b"\xff\xfe\n").await, ["\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn a_text_is_shown_cut_and_escaped() {
        assert_eq!(shown("one\ntwo\u{1b}[2J"), r"one\ntwo\u{1b}[2J");
        let long = shown(&"é".repeat(MAX_LINE));
        assert_eq!((long.chars().count(), long.ends_with('…')), (MAX_LINE / 2 + 1, true));
    }

    #[tokio::test]
    async fn a_flood_is_counted() {
        let lines = logged("flood\n".repeat(100_000).as_bytes()).await;
        assert_eq!(lines.len(), 101);
        assert_eq!(lines[100], "99900 more lines, which are not logged");
    }
}
