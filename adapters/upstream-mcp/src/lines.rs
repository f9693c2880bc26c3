//! [`Lines`]: the messages of a child, each a line of bounded length.

use std::io;

use rmcp::model::RequestId;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::scan::Scanner;

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Reads lines.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    max_bytes: usize,
    line: Vec<u8>,
    /// What a line is read with once it is too long.
    too_long: Option<Scanner>,
    /// Whether the line is complete, and was returned.
    returned: bool,
}

/// A line, without its end.
pub(crate) enum Line<'a> {
    Text(&'a [u8]),
    /// One that was too long to keep.
    TooLong {
        /// The request that it answers, if it is a response.
        answers: Option<RequestId>,
    },
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R, max_bytes: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(CHUNK_BYTES, reader),
            max_bytes,
            line: Vec::new(),
            too_long: None,
            returned: false,
        }
    }

    /// Returns the next line; `None` at the end. A call that is dropped loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.forget_returned();
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                if self.line.is_empty() && self.too_long.is_none() {
                    return Ok(None);
                }
                break;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            keep(&mut self.line, &mut self.too_long, part, self.max_bytes);
            let read = part.len() + usize::from(end.is_some());
            self.reader.consume(read);
            if end.is_some() {
                break;
            }
        }
        self.returned = true;
        Ok(Some(match &self.too_long {
            None => Line::Text(&self.line),
            Some(scanner) => Line::TooLong { answers: scanner.answers() },
        }))
    }

    /// Reads to the end, and forgets what it reads.
    pub(crate) async fn drain(&mut self) {
        while let Ok(bytes) = self.reader.fill_buf().await
            && !bytes.is_empty()
        {
            let read = bytes.len();
            self.reader.consume(read);
        }
    }

    fn forget_returned(&mut self) {
        if std::mem::take(&mut self.returned) {
            self.too_long = None;
            self.line.clear();
            // One long message must not cost its memory for as long as the child lives.
            self.line.shrink_to(CHUNK_BYTES);
        }
    }
}

fn keep(line: &mut Vec<u8>, too_long: &mut Option<Scanner>, part: &[u8], max_bytes: usize) {
    if too_long.is_none() && line.len() + part.len() <= max_bytes {
        line.extend_from_slice(part);
        return;
    }
    let scanner = too_long.get_or_insert_with(|| {
        let mut scanner = Scanner::default();
        scanner.feed(&std::mem::take(line));
        scanner
    });
    scanner.feed(part);
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn next<R: AsyncRead + Unpin>(lines: &mut Lines<R>) -> Option<String> {
        Some(match lines.next().await.unwrap()? {
            Line::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            Line::TooLong { answers } => format!("too long: {answers:?}"),
        })
    }

    async fn all(text: &str, max_bytes: usize) -> Vec<String> {
        let mut lines = Lines::new(text.as_bytes(), max_bytes);
        let mut all = Vec::new();
        while let Some(line) = next(&mut lines).await {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn lines_are_cut_at_their_ends_and_the_last_needs_none() {
        assert_eq!(all("", 10).await, [""; 0]);
        assert_eq!(all("a\n\nbc\n", 10).await, ["a", "", "bc"]);
        assert_eq!(all("a\nb", 10).await, ["a", "b"]);
    }

    #[tokio::test]
    async fn a_line_of_the_maximum_length_is_kept_and_a_longer_one_is_named_by_its_id() {
        let answer = r#"{"id":5,"result":"aaaaaaaaa"}"#;
        assert_eq!(all(&format!("{answer}\nb\n"), answer.len()).await, [answer, "b"]);
        let too_long = "too long: Some(Number(5))";
        assert_eq!(all(&format!("{answer}\nb\n"), answer.len() - 1).await, [too_long, "b"]);
        assert_eq!(all(answer, 4).await, [too_long]);
        assert_eq!(all("aaaaaaaa\nb", 4).await, ["too long: None", "b"]);
    }

    #[tokio::test]
    async fn a_long_line_costs_no_memory_once_it_is_over() {
        let mut lines = Lines::new(tokio::io::repeat(b'a'), 1 << 20);
        assert!(futures_util::FutureExt::now_or_never(lines.next()).is_none());
        assert_eq!(lines.line.capacity(), 0);
        assert!(lines.too_long.is_some());

        let text = format!("{}\nb\n", "a".repeat(1 << 20));
        let mut lines = Lines::new(text.as_bytes(), 1 << 20);
        assert_eq!(next(&mut lines).await.unwrap().len(), 1 << 20);
        assert_eq!(next(&mut lines).await.unwrap(), "b");
        assert!(lines.line.capacity() <= CHUNK_BYTES);
    }

    #[tokio::test]
    async fn a_dropped_call_loses_nothing() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut lines = Lines::new(reader, 100);
        for part in ["on", "e l", "ine\ntwo"] {
            assert!(futures_util::FutureExt::now_or_never(lines.next()).is_none());
            writer.write_all(part.as_bytes()).await.unwrap();
        }
        assert_eq!(next(&mut lines).await.unwrap(), "one line");
        assert!(futures_util::FutureExt::now_or_never(lines.next()).is_none());
        drop(writer);
        assert_eq!(next(&mut lines).await.unwrap(), "two");
        assert!(next(&mut lines).await.is_none());
    }
}
