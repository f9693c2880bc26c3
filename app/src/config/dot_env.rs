//! `.env` text into variables, each with its line. Faults name the line and the key, and never repeat the text.

use std::cell::Cell;
use std::io::{self, Read};

use super::key::Keys;
use super::problem::Problem;
use super::suggestions;

/// A variable of `.env`.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) value: String,
    /// Counted from 1; the last one of a value of several lines.
    pub(super) line: usize,
}

/// Hands out one line for each read, so that what was handed out is what was parsed.
struct Lines<'a> {
    rest: &'a [u8],
    begun: &'a Cell<usize>,
    in_line: bool,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |end| end + 1);
        let length = line.min(buffer.len());
        if length > 0 && !self.in_line {
            self.begun.set(self.begun.get() + 1);
        }
        self.in_line = length < line;
        let (now, rest) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.rest = rest;
        Ok(length)
    }
}

/// Parses a `.env` file's text; `file` names it in problems.
pub(super) fn parse(keys: Keys, file: &str, text: &str) -> (Vec<Entry>, Vec<Problem>) {
    let text = text.trim_start_matches('\u{feff}');
    let begun = Cell::new(0);
    let lines = Lines { rest: text.as_bytes(), begun: &begun, in_line: false };
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    for entry in dotenvy::from_read_iter(lines) {
        match entry {
            Ok((name, value)) => entries.push(Entry { name, value, line: begun.get() }),
            Err(error) => problems.push(fault(keys, file, text, first_line(&error, begun.get()))),
        }
    }
    (entries, problems)
}

/// The line that a faulty entry begins on: the error holds its text, from the fault's line on.
fn first_line(error: &dotenvy::Error, last_line: usize) -> usize {
    match error {
        dotenvy::Error::LineParse(text, _) => {
            last_line.saturating_sub(text.trim_end_matches('\n').matches('\n').count()).max(1)
        }
        _ => last_line,
    }
}

fn fault(keys: Keys, file: &str, text: &str, line: usize) -> Problem {
    let message = "must be NAME=VALUE, the value in quotes if it has spaces, '#' or quotes".to_owned();
    let start = text.lines().nth(line - 1).unwrap_or_default().trim_start();
    let start = start.strip_prefix("export ").unwrap_or(start).trim_start();
    let end = start.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(start.len());
    let name = &start[..end];
    match suggestions::key_of_variable(keys, name) {
        Some(key) => Problem { key, source: Some(format!("{file}:{line}: {name}")), message },
        None => Problem { key: format!("{file}:{line}"), source: None, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_faults_have_the_lines_they_stand_on() {
        let long = "x".repeat(20_000);
        let text = format!(
            "# comment\nA=1\n\nLONG={long}\nB='two\nlines'\nno entry\nC=3\n\
             export FASTMCP__MCP__STATE_KEYS=a b\nPORT='open\nD=4\n"
        );
        let (entries, problems) = parse(crate::config::settings::KEYS, ".env", &text);
        let found: Vec<(&str, usize)> =
            entries.iter().map(|entry| (entry.name.as_str(), entry.line)).collect();
        assert_eq!(found, [("A", 2), ("LONG", 4), ("B", 6), ("C", 8)]);
        let places: Vec<String> = problems
            .iter()
            .map(|problem| problem.to_string().split(": must").next().unwrap().to_owned())
            .collect();
        assert_eq!(
            places,
            [".env:7", "mcp.state_keys (.env:9: FASTMCP__MCP__STATE_KEYS)", "server.port (.env:10: PORT)"]
        );
    }
}
