//! JSON text that means one thing only.
//!
//! `serde_json` takes the last of duplicate members and other parsers the first, so a text with duplicates can mean
//! one thing to a gateway and another here. RFC 8259 section 4 and RFC 7515 section 4 let a receiver refuse it; tokens
//! and requests are refused. Depth is bounded before anything recurses over the text again.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// The deepest nesting that can be asked for. `serde_json` refuses to build a value of more than 127 levels; what is
/// built from a request or token lies at least one level deep in it.
pub const MAX_DEPTH: usize = 128;

/// Why a text is refused.
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
    /// A member stands twice in one object.
    #[error("an object has two members of one name")]
    DuplicateMember,
    /// Arrays and objects nest deeper than allowed.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
}

/// Checks that `text` is one JSON value without duplicate members, nested at most `max_depth` levels.
///
/// # Errors
/// [`StrictJsonError`] for the first fault in the text.
pub fn check(text: &[u8], max_depth: usize) -> Result<(), StrictJsonError> {
    let limit = max_depth.min(MAX_DEPTH);
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // The walk counts for itself, so that the message can say what the limit is.
    deserializer.disable_recursion_limit();
    let walked = Walk { remaining: limit, fault: &mut fault }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match (walked, fault) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(Fault::Depth)) => Err(StrictJsonError::TooDeep(limit)),
        (Err(_), Some(Fault::Duplicate)) => Err(StrictJsonError::DuplicateMember),
        (Err(error), None) => Err(StrictJsonError::Syntax { line: error.line(), column: error.column() }),
    }
}

enum Fault {
    Depth,
    Duplicate,
}

/// Walks a value without building it; `fault` says what stopped the walk, where it was not the syntax.
struct Walk<'f> {
    remaining: usize,
    fault: &'f mut Option<Fault>,
}

impl Walk<'_> {
    fn inner<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        self.remaining.checked_sub(1).ok_or_else(|| {
            *self.fault = Some(Fault::Depth);
            E::custom("too deep")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let remaining = self.inner()?;
        while items.next_element_seed(Walk { remaining, fault: self.fault })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let remaining = self.inner()?;
        let mut names = Names::default();
        while let Some(name) = members.next_key_seed(Name)? {
            if !names.insert(name) {
                *self.fault = Some(Fault::Duplicate);
                return Err(A::Error::custom("duplicate member"));
            }
            members.next_value_seed(Walk { remaining, fault: self.fault })?;
        }
        Ok(())
    }
}

/// A member's name, borrowed from the text where it holds no escape.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }
    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// The names of one object: a short list is compared, a long one hashed, so that no text costs quadratic time.
#[derive(Default)]
struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    const FEW: usize = 16;

    fn insert(&mut self, name: Cow<'de, str>) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(name);
            return true;
        }
        self.many.insert(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StrictJsonError as E;

    #[track_caller]
    fn refused(text: &str, expected: &E) {
        assert_eq!(check(text.as_bytes(), MAX_DEPTH).as_ref(), Err(expected), "{text}");
    }

    #[test]
    fn any_json_value_passes() {
        for text in ["null", "true", "-1", "1e3", "\"\\u00e9\"", "[]", "{\"a\":{\"a\":[1,2.5,\"x\"]}}"] {
            assert_eq!(check(text.as_bytes(), MAX_DEPTH), Ok(()), "{text}");
        }
    }

    #[test]
    fn duplicates_are_refused_at_any_depth_and_in_any_spelling() {
        refused(r#"{"a":1,"a":1}"#, &E::DuplicateMember);
        refused(r#"[{"x":{"b":1,"c":2,"b":3}}]"#, &E::DuplicateMember);
        refused(r#"{"a":1,"\u0061":1}"#, &E::DuplicateMember);
        let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":0")).collect();
        refused(&format!("{{{},\"k50\":0}}", many.join(",")), &E::DuplicateMember);
        refused(&format!("{{{},\"k3\":0}}", many.join(",")), &E::DuplicateMember);
        assert_eq!(check(format!("{{{}}}", many.join(",")).as_bytes(), MAX_DEPTH), Ok(()));
    }

    #[test]
    fn depth_is_counted_in_arrays_and_objects() {
        assert_eq!(check(b"[{\"a\":[]}]", 3), Ok(()));
        assert_eq!(check(b"[{\"a\":[[]]}]", 3), Err(E::TooDeep(3)));
        assert_eq!(check("[".repeat(100_000).as_bytes(), usize::MAX), Err(E::TooDeep(MAX_DEPTH)));
        let just = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(check(just.as_bytes(), MAX_DEPTH), Ok(()));
    }

    #[test]
    fn syntax_faults_name_their_place() {
        refused("{\"a\":\n tru}", &E::Syntax { line: 2, column: 5 });
        for text in ["", "{", "[1,]", "{\"a\"}", "1 2", "'a'", "\"\\ud800\"", "nul", "[1]x"] {
            assert!(matches!(check(text.as_bytes(), MAX_DEPTH), Err(E::Syntax { .. })), "{text}");
        }
        assert!(matches!(check(b"\"\xff\"", MAX_DEPTH), Err(E::Syntax { .. })));
    }
}
