//! [`Parser`]: server-sent events of bounded length, by the rules of the HTML standard.
//!
//! Unlike `sse-stream`'s it goes on after an event that is too long, and says whose answer that was: that one call fails, and
//! the stream does not begin anew with the same event.

use std::collections::VecDeque;

use rmcp::model::RequestId;
use sse_stream::Sse;

use crate::scan::Scanner;

/// What was read of a stream.
#[derive(Debug, Clone, PartialEq)]
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

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};
    use proptest::prelude::*;
    use sse_stream::SseStream;

    use super::*;

    fn parse(text: &[u8], max_bytes: usize, chunk: usize) -> Vec<Parsed> {
        let mut parser = Parser::new(max_bytes);
        let mut parsed = VecDeque::new();
        text.chunks(chunk).for_each(|part| parser.feed(part, &mut parsed));
        parsed.into()
    }

    /// The events of a text, however it is cut.
    fn events(text: &str) -> Vec<Sse> {
        let whole = parse(text.as_bytes(), 1000, text.len().max(1));
        assert_eq!(whole, parse(text.as_bytes(), 1000, 1));
        let event = |parsed| match parsed {
            Parsed::Event(event) => event,
            Parsed::TooLong { .. } => panic!("too long"),
        };
        whole.into_iter().map(event).collect()
    }

    fn data(data: &str) -> Sse {
        Sse::default().data(data)
    }

    #[test]
    fn fields_make_an_event() {
        let text = "id: 1\nevent: message\nretry: 50\ndata: a\ndata:b\ndata:  c\n\n";
        assert_eq!(events(text), [data("a\nb\n c").id("1").event("message").retry(50)]);
        assert_eq!(events("data\n\n"), [data("")]);
        assert_eq!(events("data: a\ndata\n\ndata: b\n\n"), [data("a\n"), data("b")]);
    }

    #[test]
    fn lines_end_in_any_way_and_what_is_unknown_is_ignored() {
        assert_eq!(events("data: a\r\ndata: b\r\rdata: c\r\n\r\n\n\n"), [data("a\nb"), data("c")]);
        assert_eq!(events("\u{feff}data: a\n\n"), [data("a")]);
        assert_eq!(events(": comment\nno colon\nother: x\ndata: a\n\n"), [data("a")]);
        assert_eq!(events("retry: soon\nretry: -1\ndata: a\n\n"), [data("a")]);
        assert_eq!(events("id: a\0b\ndata: a\n\n"), [data("a")]);
        assert_eq!(parse(b"data: \xff\n\n", 100, 1), [Parsed::Event(data("\u{fffd}"))]);
    }

    #[test]
    fn an_event_without_its_end_is_none() {
        assert_eq!(events("data: a\n\ndata: b\n"), [data("a")]);
    }

    #[test]
    fn an_event_that_is_too_long_is_named_by_its_id_and_the_next_is_read() {
        let long = format!(r#"{{"jsonrpc":"2.0","result":{{"a":"{}"}},"id":4}}"#, "x".repeat(500));
        let too_long =
            |answers, has_method| Parsed::TooLong { event: Sse::default().id("9"), answers, has_method };
        let answer = too_long(Some(RequestId::Number(4)), false);
        let next = Parsed::Event(data("b"));
        for chunk in [1, 7, 100_000] {
            let text = format!("id: 9\ndata: {long}\n\ndata: b\n\n");
            assert_eq!(parse(text.as_bytes(), 100, chunk), [&answer, &next].map(Clone::clone));
            // On several lines; the id before it, and after it.
            let lines = long.replace(",\"", "\ndata: ,\"");
            let text = format!("data: {lines}\nid: 9\n\ndata: b\n\n");
            assert_eq!(parse(text.as_bytes(), 100, chunk), [&answer, &next].map(Clone::clone));
            let method = long.replace("result", "method").replace("{\"a\":", "").replace("},", ",");
            let text = format!("id: 9\ndata: {method}\n\ndata: b\n\n");
            assert_eq!(parse(text.as_bytes(), 100, chunk), [too_long(None, true), next.clone()]);
        }
    }

    #[test]
    fn an_event_of_the_maximum_length_is_kept_and_comments_do_not_count() {
        let text = format!(":{}\ndata: {}\n\n", "c".repeat(1000), "a".repeat(94));
        assert_eq!(parse(text.as_bytes(), 100, 10), [Parsed::Event(data(&"a".repeat(94)))]);
        assert!(matches!(parse(text.as_bytes(), 99, 10)[..], [Parsed::TooLong { .. }]));
        let text = format!("{}\n", "data: a\n".repeat(100));
        assert!(matches!(parse(text.as_bytes(), 100, 10)[..], [Parsed::TooLong { .. }]));
    }

    #[test]
    fn a_long_event_costs_no_memory() {
        let mut parser = Parser::new(1000);
        let mut parsed = VecDeque::new();
        for part in ["data: ", "event: ", "id: ", "other: ", ": "] {
            parser.feed(part.as_bytes(), &mut parsed);
            (0..100).for_each(|_| parser.feed(&[b'a'; 500], &mut parsed));
            assert!(parser.line.capacity() < 4000);
            parser.feed(b"\n", &mut parsed);
        }
        assert!(parsed.is_empty());
        assert!(parser.length() <= 1000);
    }

    proptest! {
        #[test]
        fn it_reads_what_sse_stream_reads(
            lines in prop::collection::vec("(data: ?[a{\u{e9}]{0,3}|id: [12]|retry: [0-9]{1,3}|: c|event: e|)", 0..12),
            ends in prop::collection::vec(prop::sample::select(&["\n", "\r\n", "\r"][..]), 12),
            chunk in 1..20_usize,
        ) {
            let lines = lines.iter().zip(ends).map(|(line, end)| format!("{line}{end}"));
            let text = lines.collect::<String>();
            let bytes = bytes::Bytes::from(text.clone());
            let theirs = SseStream::new(http_body_util::Full::new(bytes)).collect::<Vec<_>>().now_or_never();
            // It refuses an event that has a field twice.
            let theirs: Result<Vec<Sse>, _> = theirs.unwrap().into_iter().collect();
            if let Ok(theirs) = theirs {
                let ours = parse(text.as_bytes(), 1000, chunk);
                prop_assert_eq!(ours, theirs.into_iter().map(Parsed::Event).collect::<Vec<_>>());
            }
        }

        #[test]
        fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..200), chunk in 1..50_usize) {
            parse(&bytes, 20, chunk);
        }
    }
}
