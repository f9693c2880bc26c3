//! JSON text that means one thing only.
//!
//! `serde_json` takes the last of duplicate members and other parsers the first, so a text with duplicates can mean
//! one thing to a gateway and another here. RFC 8259 section 4 and RFC 7515 section 4 allow a receiver to refuse it. Depth
//! and the number of values are bounded before anything recurses over the text again or builds a tree of it, and the memory
//! that a tree takes is known before it is built ([`Unparsed`]).
//!
//! Member names that `serde_json` gives a meaning of its own ([`RESERVED_PREFIX`]) are refused, too: wherever a
//! [`Value`] is deserialized, it parses the text of such a member as JSON, past every bound here.

mod counts;
mod fault;
mod names;
mod reader;
mod scanner;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{DeserializeOwned, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use self::counts::Counts;
pub use self::counts::tree_bytes;
pub use self::fault::Fault;
use self::reader::Reader;

/// The maximum depth that a caller can allow. `serde_json` refuses to build a value of more than 127 levels; what is built
/// from a request or token lies at least one level deep in it.
pub const MAX_DEPTH: usize = 128;

/// The deepest nesting that [`parse`] reads: `serde_json`'s own limit.
pub const MAX_PARSED_DEPTH: usize = 127;

/// The maximum number of values in a text: objects, arrays, strings, numbers, literals.
pub const MAX_VALUES: usize = 100_000;

/// The prefix of member names that `serde_json` reads as instructions, such as `$serde_json::private::RawValue`.
pub const RESERVED_PREFIX: &str = "$serde_json::";

/// The reason why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrictJsonError {
    /// Not JSON (RFC 8259), with the line and column of the fault.
    #[error("not JSON: line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// An object has two members of one name.
    #[error("an object has two members of one name")]
    DuplicateMember,
    /// Arrays and objects nest deeper than allowed.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// There are more values than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values")]
    TooManyValues,
    /// There are more items in an array than allowed.
    #[error("more than {0} items in the array")]
    TooManyItems(usize),
    /// A member's name begins with [`RESERVED_PREFIX`].
    #[error("a member's name begins with {RESERVED_PREFIX:?}, which is reserved; rename it")]
    ReservedName,
}

/// Checks that `text` is one JSON value without duplicate members, nested at most `max_depth` levels.
///
/// # Errors
/// [`StrictJsonError`] for the first fault in the text.
pub fn check(text: &[u8], max_depth: usize) -> Result<(), StrictJsonError> {
    read::<Nothing>(text, max_depth).map(drop)
}

/// Checks `text` as [`check`] does, and returns what `M` takes of it, in one pass.
///
/// # Errors
/// [`StrictJsonError`] for the first fault in the text.
pub fn read<'de, M: Members<'de>>(
    text: &'de [u8],
    max_depth: usize,
) -> Result<Json<'de, M>, StrictJsonError> {
    read_on(text, max_depth, &mut Counts::default())
}

/// Why a text is not a `T`.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The text is not strict JSON.
    #[error(transparent)]
    Text(#[from] StrictJsonError),
    /// The JSON is not a `T`.
    #[error(transparent)]
    Type(#[from] serde_json::Error),
}

/// Checks `text` as [`check`] does, at most [`MAX_PARSED_DEPTH`] levels deep, then deserializes it.
///
/// # Errors
/// [`ParseError`].
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, ParseError> {
    check(text, MAX_PARSED_DEPTH)?;
    Ok(serde_json::from_slice(text)?)
}

/// The items of an array: the text of each, and what was read of it.
pub type Items<'de, M> = Vec<(&'de [u8], Result<Json<'de, M>, StrictJsonError>)>;

/// Reads the items of an array one by one, each as [`read`] does, so that a fault in one does not affect the others. Depth is
/// counted from the array, and values are counted in all items together.
///
/// # Errors
/// [`StrictJsonError`] if the text is not an array, or has more than `max_items` items or too many values.
pub fn read_items<'de, M: Members<'de>>(
    text: &'de [u8],
    max_depth: usize,
    max_items: usize,
) -> Result<Items<'de, M>, StrictJsonError> {
    // The array is a value, too.
    let mut counts = Counts { values: 1, ..Counts::default() };
    let mut read = Vec::new();
    for item in split(text, max_items)? {
        let item = item.get().as_bytes();
        let outcome = read_on(item, max_depth.saturating_sub(1), &mut counts);
        if matches!(outcome, Err(StrictJsonError::TooManyValues)) {
            return Err(StrictJsonError::TooManyValues);
        }
        read.push((item, outcome));
    }
    Ok(read)
}

/// Returns the texts of an array's items, without recursion.
fn split(text: &[u8], max_items: usize) -> Result<Vec<&RawValue>, StrictJsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let mut has_more = false;
    let split = deserializer.deserialize_seq(Split { max_items, has_more: &mut has_more });
    let split = split.and_then(|items| deserializer.end().map(|()| items));
    split.map_err(|error| {
        if has_more {
            StrictJsonError::TooManyItems(max_items)
        } else {
            StrictJsonError::Syntax { line: error.line(), column: error.column() }
        }
    })
}

struct Split<'f> {
    max_items: usize,
    has_more: &'f mut bool,
}

impl<'de> Visitor<'de> for Split<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut split = Vec::new();
        while let Some(item) = items.next_element::<&RawValue>()? {
            if split.len() == self.max_items {
                *self.has_more = true;
                return Err(A::Error::custom("refused"));
            }
            split.push(item);
        }
        Ok(split)
    }
}

/// Reads `text` and adds to `counts`.
fn read_on<'de, M: Members<'de>>(
    text: &'de [u8],
    max_depth: usize,
    counts: &mut Counts,
) -> Result<Json<'de, M>, StrictJsonError> {
    let max_depth = max_depth.min(MAX_DEPTH);
    let (valid, is_valid) = match std::str::from_utf8(text) {
        Ok(valid) => (valid, true),
        // What stands before the first byte that is not UTF-8 may have a fault of its own.
        Err(_) => (text.utf8_chunks().next().map_or("", |chunk| chunk.valid()), false),
    };
    let mut reader = Reader::new(valid, max_depth, *counts);
    let read = reader.read_to_end();
    *counts = reader.counts;
    let read = if is_valid { read } else { read.and(Err(Fault::SYNTAX)) };
    read.map_err(|fault| fault.explained(text, reader.position(), max_depth))
}

/// A JSON value, reduced to what the caller takes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json<'a, M = Nothing> {
    /// `null`.
    Null,
    /// A string, borrowed from the text where it holds no escape.
    Text(Cow<'a, str>),
    /// An object, reduced to the members that were taken.
    Object(M),
    /// A number, a boolean or an array.
    Other,
}

impl<M> Json<'_, M> {
    /// Returns the text of a string.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Returns what was taken of an object.
    pub fn object(self) -> Option<M> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }
}

/// A type that takes some members of an object.
pub trait Members<'de>: Default {
    /// Takes or skips one member, by consuming its `value`.
    ///
    /// # Errors
    /// Only those of reading `value`. A member of an unexpected type is not an error of the text; the implementation has to
    /// record it.
    fn take(&mut self, name: &str, value: Unread<'_, 'de>) -> Result<(), Fault>;
}

/// Takes no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nothing;

impl<'de> Members<'de> for Nothing {
    fn take(&mut self, _: &str, value: Unread<'_, 'de>) -> Result<(), Fault> {
        value.skip()
    }
}

/// A member's value that is not read yet. What is not read at all is a fault of the text.
pub struct Unread<'r, 'de>(&'r mut Reader<'de>);

impl<'de> Unread<'_, 'de> {
    /// Checks the value and drops it.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn skip(self) -> Result<(), Fault> {
        self.0.skip()
    }

    /// Returns a string, or what `M` takes of an object.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn read<M: Members<'de>>(self) -> Result<Json<'de, M>, Fault> {
        self.0.read()
    }

    /// Returns the whole value.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn value(self) -> Result<Value, Fault> {
        self.0.tree()
    }

    /// Returns the value's text.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn raw(self) -> Result<&'de RawValue, Fault> {
        serde_json::from_str(self.0.raw()?).map_err(|_| Fault::SYNTAX)
    }

    /// Returns the value's text, to be parsed later.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn unparsed(self) -> Result<Unparsed<&'de str>, Fault> {
        let before = self.0.counts.tree_bytes;
        let text = self.0.raw()?;
        Ok(Unparsed { text, tree_bytes: self.0.counts.tree_bytes - before })
    }
}

/// A checked JSON text, and the memory that its tree takes.
#[derive(Debug, Clone)]
pub struct Unparsed<T> {
    text: T,
    tree_bytes: usize,
}

impl<T: Deref<Target = str>> Unparsed<T> {
    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns an upper bound of the memory that [`Unparsed::parse`] allocates, in bytes.
    pub fn tree_bytes(&self) -> usize {
        self.tree_bytes
    }

    /// Builds the tree.
    pub fn parse(&self) -> Value {
        // The text was checked when it was read, with no more depth and values than are allowed here.
        Reader::new(self.text(), MAX_DEPTH, Counts::default()).tree().unwrap_or_default()
    }
}

impl Unparsed<&str> {
    /// Returns a copy that does not borrow from the text.
    #[must_use]
    pub fn to_owned(&self) -> Unparsed<Box<str>> {
        Unparsed { text: self.text.into(), tree_bytes: self.tree_bytes }
    }
}

#[cfg(test)]
mod tests;
