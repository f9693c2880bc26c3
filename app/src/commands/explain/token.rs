//! The token, as it is given: on the command line or on standard input.

use std::fmt;
use std::io::{IsTerminal, Read};
use std::str::FromStr;

use anyhow::Context;

use crate::commands::eprint;

/// The maximum length of what is read, in bytes. The server looks at no token as long.
const MAX_BYTES: u64 = 64 * 1024;
const IN_THE_OPEN: &str = "warning: the token is in this shell's history now, and in the list of processes while this runs; \
                           give it on standard input instead";

/// A word of the command line that may be a token. `Debug` does not show it.
#[derive(Clone)]
pub(super) struct Word(String);

impl FromStr for Word {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Word(redacted)")
    }
}

/// Returns the token of the command line, or else that on standard input. An unquoted `Bearer` makes it several words.
pub(super) fn take(words: &[Word]) -> anyhow::Result<String> {
    let words: Vec<&str> = words.iter().map(|word| word.0.as_str()).collect();
    let given = match words.as_slice() {
        [] | ["-"] => read()?,
        words => {
            eprint(IN_THE_OPEN);
            words.join(" ")
        }
    };
    let token = without_scheme(&given);
    anyhow::ensure!(!token.is_empty(), "there is no token: give one on standard input, or as TOKEN");
    Ok(token.to_owned())
}

fn read() -> anyhow::Result<String> {
    let mut input = std::io::stdin();
    if input.is_terminal() {
        eprint("paste the token, then press Enter and Ctrl-D");
    }
    bounded(&mut input)
}

fn bounded(input: &mut impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes).context("standard input can't be read")?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    anyhow::ensure!(length <= MAX_BYTES, "standard input has more than 64 KiB: that is no token");
    // What is no UTF-8 is no token either, and the first check says so.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the token without what an `Authorization` header has before it.
fn without_scheme(text: &str) -> &str {
    let text = after("authorization:", text.trim()).unwrap_or(text).trim();
    let credentials =
        after("bearer", text).filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
    credentials.unwrap_or(text).trim()
}

/// Returns what follows a prefix, in whatever case it is written.
fn after<'a>(prefix: &str, text: &'a str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_has_before_the_token_is_taken_off() {
        for given in [
            "a.b.c",
            "  a.b.c\r\n",
            "Bearer a.b.c",
            "bearer\ta.b.c\n",
            "Authorization: Bearer a.b.c",
            "AUTHORIZATION:bearer  a.b.c ",
        ] {
            assert_eq!(without_scheme(given), "a.b.c", "{given:?}");
        }
        for (given, left) in
            [("Bearer", ""), ("bearertoken", "bearertoken"), ("é", "é"), ("", ""), ("Basic x", "Basic x")]
        {
            assert_eq!(without_scheme(given), left);
        }
    }

    #[test]
    fn what_is_read_is_bounded() {
        let just = "a".repeat(64 * 1024);
        assert_eq!(bounded(&mut just.as_bytes()).unwrap(), just);
        assert!(bounded(&mut format!("{just}a").as_bytes()).is_err());
        assert_eq!(bounded(&mut &[b'a', 0xff][..]).unwrap(), "a\u{fffd}");
    }

    #[test]
    fn debug_never_shows_the_token() {
        assert_eq!(format!("{:?}", "eyJh.eyJz.c2ln".parse::<Word>()), "Ok(Word(redacted))");
    }
}
