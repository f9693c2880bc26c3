//! The grammar of RFC 8259, up to the nesting of values: white space, literals, numbers, strings. Nothing here recurses, and
//! only a string with escapes is copied.

use std::borrow::Cow;

use super::fault::Fault;

/// No number of so many bytes is out of the range of a double, unless it has an exponent.
const MAX_PLAIN_NUMBER: usize = 300;

/// A text, and how far it is read.
#[derive(Debug)]
pub(super) struct Scanner<'de> {
    text: &'de str,
    at: usize,
}

/// A string that was scanned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'de> {
    /// As it stands between the quotes.
    written: &'de str,
    /// The length of what it stands for, in bytes. Every escape is longer than its character.
    length: usize,
}

impl<'de> Text<'de> {
    /// Returns the length of what it stands for, in bytes.
    pub(super) fn len(self) -> usize {
        self.length
    }

    /// Returns what it stands for as it is written; `None` if it has an escape.
    pub(super) fn plain(self) -> Option<&'de str> {
        (self.length == self.written.len()).then_some(self.written)
    }

    /// Returns what it stands for, borrowed where it has no escape.
    pub(super) fn read(self) -> Cow<'de, str> {
        self.plain().map_or_else(|| self.unescaped().into(), Cow::Borrowed)
    }

    /// Returns what it stands for.
    #[cold]
    pub(super) fn unescaped(self) -> String {
        let mut text = String::with_capacity(self.length);
        let mut scanner = Scanner::new(self.written);
        loop {
            let start = scanner.at;
            scanner.at = plain_end(self.written.as_bytes(), start);
            text.push_str(scanner.since(start));
            // The escapes were read before, so the first that can't be read is the end.
            match scanner.escape() {
                Ok(char) => text.push(char),
                Err(_) => return text,
            }
        }
    }
}

impl<'de> Scanner<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self { text, at: 0 }
    }

    /// Returns how far the text is read, in bytes.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Returns what was read since a position.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'de str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Reads a byte if it is this one.
    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Skips white space, and returns the byte that is next.
    #[inline]
    pub(super) fn token(&mut self) -> Option<u8> {
        match self.peek() {
            Some(byte) if byte > b' ' => Some(byte),
            _ => self.token_after_space(),
        }
    }

    fn token_after_space(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
        self.peek()
    }

    /// Reads a token of this one byte.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.token() != Some(byte) {
            return Err(Fault::SYNTAX);
        }
        self.at += 1;
        Ok(())
    }

    /// Reads what stands before the next item of an array or member of an object; `false` at the end.
    #[inline]
    pub(super) fn has_next(&mut self, end: u8, is_first: bool) -> Result<bool, Fault> {
        match self.token() {
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            Some(_) if is_first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(Fault::SYNTAX),
        }
    }

    /// Checks that nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        if self.token().is_none() { Ok(()) } else { Err(Fault::SYNTAX) }
    }

    /// Reads `null`, `true` or `false`.
    pub(super) fn literal(&mut self, literal: &str) -> Result<(), Fault> {
        if literal.bytes().all(|byte| self.take(byte)) { Ok(()) } else { Err(Fault::SYNTAX) }
    }

    /// Reads a number, and returns it as it is written.
    pub(super) fn number(&mut self) -> Result<&'de str, Fault> {
        let start = self.at;
        self.take(b'-');
        // A zero that leads is alone.
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        let has_exponent = self.take(b'e') || self.take(b'E');
        if has_exponent {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let number = self.since(start);
        let may_exceed = has_exponent || number.len() > MAX_PLAIN_NUMBER;
        // Whoever reads the text into a type, which `serde_json` does, must not find a number that it refuses.
        if may_exceed && serde_json::from_str::<f64>(number).is_err() {
            Err(self.fault_of_last())
        } else {
            Ok(number)
        }
    }

    /// Reads digits, at least one.
    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Fault::SYNTAX) }
    }

    /// Reads a string.
    #[expect(clippy::inline_always, reason = "a call and its result cost more than most strings")]
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<Text<'de>, Fault> {
        self.expect(b'"')?;
        let start = self.at;
        self.at = plain_end(self.text.as_bytes(), start);
        let escapes = if self.peek() == Some(b'"') { 0 } else { self.skip_escapes()? };
        let written = self.since(start);
        self.at += 1;
        Ok(Text { written, length: written.len() - escapes })
    }

    /// Reads a string up to its last quote, and returns by how much its escapes are longer than what they stand for.
    #[cold]
    fn skip_escapes(&mut self) -> Result<usize, Fault> {
        let mut longer = 0;
        while self.peek() != Some(b'"') {
            // A backslash, or what has to be written with one, or the end.
            let start = self.at;
            let char = self.escape()?;
            longer += self.at - start - char.len_utf8();
            self.at = plain_end(self.text.as_bytes(), self.at);
        }
        Ok(longer)
    }

    /// Reads an escape, and returns the character that it stands for.
    fn escape(&mut self) -> Result<char, Fault> {
        if !self.take(b'\\') {
            return Err(Fault::SYNTAX);
        }
        let char = match self.peek() {
            Some(b'u') => {
                self.at += 1;
                return self.code_point();
            }
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(Fault::SYNTAX),
        };
        self.at += 1;
        Ok(char)
    }

    /// Reads what follows `\u`: four digits, or a pair of surrogates. A surrogate alone is no character.
    fn code_point(&mut self) -> Result<char, Fault> {
        let first = self.code_unit()?;
        let mut second = None;
        if (0xd800..0xdc00).contains(&first) {
            if !(self.take(b'\\') && self.take(b'u')) {
                return Err(Fault::SYNTAX);
            }
            second = Some(self.code_unit()?);
        }
        match char::decode_utf16(std::iter::once(first).chain(second)).next() {
            Some(Ok(char)) => Ok(char),
            _ => Err(self.fault_of_last()),
        }
    }

    /// Reads four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u16, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or(Fault::SYNTAX)?;
            self.at += 1;
        }
        u16::try_from(unit).map_err(|_| Fault::SYNTAX)
    }

    /// Returns the fault of what was read last.
    fn fault_of_last(&mut self) -> Fault {
        self.at -= 1;
        Fault::SYNTAX
    }
}

/// Returns where the part of a string ends that is as it is written.
#[inline(never)]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let stops = stops(*word);
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| !is_stop(*byte)) {
        at += 1;
    }
    at
}

/// Returns whether a byte can't be in a string as it is: a quote, a backslash, a control character.
const fn is_stop(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// Finds such bytes in eight at once: the lowest bit that is set is the highest one of the first of them; none is set where
/// there is none.
///
/// Of bytes up to 0x7f, `b ^ 2` is less than 0x21 for a quote and for control characters alone. Where a
/// byte is less than what is subtracted from it, the highest bit is set. The next byte is one too small then, which matters to
/// none but those after the first.
const fn stops(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let word = u64::from_le_bytes(word);
    let quotes_and_controls = (word ^ (ONES * 2)).wrapping_sub(ONES * 0x21);
    let backslashes = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (quotes_and_controls | backslashes) & !word & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_found_wherever_it_stands_and_whatever_is_around_it() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for around in [b' ', b'!', b'#', b'[', b']', b'a', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut word = [around; 8];
                    word[place] = byte;
                    let found = stops(word);
                    let first = (found != 0).then(|| found.trailing_zeros() as usize / 8);
                    assert_eq!(first, is_stop(byte).then_some(place), "{word:?}");
                    // What follows the first one changes nothing.
                    for next in 0..=u8::MAX {
                        word[7] = if place == 7 { byte } else { next };
                        let first = (stops(word) != 0).then(|| stops(word).trailing_zeros() as usize / 8);
                        assert_eq!(first, word.iter().position(|byte| is_stop(*byte)), "{word:?}");
                    }
                }
            }
        }
    }
}
