//! [`Parser`]: server-sent events of bounded length, by the rules of the HTML standard.
//!
//! Unlike `sse-stream`'s it goes on after an event that is too long, and says whose answer that was: that one call fails, and
//! the stream does not begin anew with the same event.

use std::collections::VecDeque;

use rmcp::model::RequestId;
use sse_stream::Sse;

use crate::scan::Scanner;

/// What was read of a stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Parsed {
    Event(Sse),
    /// An event whose data were too long to keep.
    TooLong {
        /// The event without its data.
        event: Sse,
        /// The request that it answers, as far as that is to be seen.
        answers: Option<RequestId>,
        /// Whether it is no response for certain.
        has_method: bool,
    },
}

/// Reads events.
pub(crate) struct Parser {
    max_bytes: usize,
    line: Vec<u8>,
    rest: Rest,
    after_cr: bool,
    is_first_line: bool,
    event: Sse,
    /// The length of the event's fields so far.
    bytes: usize,
    too_long: Option<Scanner>,
}

/// What becomes of the rest of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Kept,
    /// It is data of an event that is too long.
    Scanned,
    Ignored,
}

impl Parser {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            line: Vec::new(),
            rest: Rest::Kept,
            after_cr: false,
            is_first_line: true,
            event: Sse::default(),
            bytes: 0,
            too_long: None,
        }
    }

    /// Reads on; complete events are added to `parsed`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], parsed: &mut VecDeque<Parsed>) {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.part(bytes);
                return;
            };
            self.part(&bytes[..end]);
            self.after_cr = bytes[end] == b'\r';
            self.line_ends(parsed);
            bytes = &bytes[end + 1..];
        }
    }

    /// Takes a part of a line.
    fn part(&mut self, part: &[u8]) {
        match self.rest {
            Rest::Ignored => {}
            Rest::Scanned => {
                if let Some(scanner) = &mut self.too_long {
                    scanner.feed(part);
                }
            }
            // A comment may have any length.
            Rest::Kept if self.line.is_empty() && part.starts_with(b":") => self.rest = Rest::Ignored,
            Rest::Kept => {
                self.line.extend_from_slice(part);
                if self.bytes + self.line.len() > self.max_bytes {
                    self.line_is_too_long();
                }
            }
        }
    }

    fn line_is_too_long(&mut self) {
        let line = std::mem::take(&mut self.line);
        let (name, value) = field(&line);
        self.rest = if name == b"data" { Rest::Scanned } else { Rest::Ignored };
        self.event_is_too_long();
        if let Some(scanner) = self.too_long.as_mut().filter(|_| name == b"data") {
            scanner.feed(value);
        }
    }

    fn event_is_too_long(&mut self) {
        let data = self.event.data.take().unwrap_or_default();
        self.too_long.get_or_insert_default().feed(data.as_bytes());
        // What follows may be as long again, and is not kept either.
        self.bytes = 0;
    }

    fn line_ends(&mut self, parsed: &mut VecDeque<Parsed>) {
        if std::mem::replace(&mut self.rest, Rest::Kept) != Rest::Kept {
            self.is_first_line = false;
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_first_line) && line.starts_with("\u{feff}".as_bytes()) {
            line.drain(.."\u{feff}".len());
        }
        if line.is_empty() {
            self.event_ends(parsed);
        } else {
            let (name, value) = field(&line);
            self.field(name, value);
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match (name, &mut self.too_long) {
            (b"data", Some(scanner)) => scanner.feed(value),
            (b"data", None) => match &mut self.event.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(&text());
                }
                data => *data = Some(text()),
            },
            (b"event", _) => self.event.event = Some(text()),
            (b"id", _) if !value.contains(&0) => self.event.id = Some(text()),
            (b"retry", _) => self.event.retry = text().parse().ok().or(self.event.retry),
            _ => {}
        }
        self.bytes = self.length();
    }

    fn length(&self) -> usize {
        let Sse { data, event, id, .. } = &self.event;
        [data, event, id].into_iter().flatten().map(String::len).sum()
    }

    fn event_ends(&mut self, parsed: &mut VecDeque<Parsed>) {
        let event = std::mem::take(&mut self.event);
        self.bytes = 0;
        if let Some(scanner) = self.too_long.take() {
            let (answers, has_method) = (scanner.answers(), scanner.has_method());
            parsed.push_back(Parsed::TooLong { event, answers, has_method });
        } else if event != Sse::default() {
            parsed.push_back(Parsed::Event(event));
        }
    }
}

/// Splits a line into a field's name and its value.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b':') {
        None => (line, b""),
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
    }
}
