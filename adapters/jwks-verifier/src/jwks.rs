//! From a JWKS document (RFC 7517 section 5) to a [`KeySet`] of RS256 keys.
//!
//! The document is refused as a whole if it is not JSON, or has no array of keys. The keys in it are judged one by one:
//! a key that is malformed, ambiguous or not for RS256 signatures is skipped with a reason, and the others are used.
//! The number of keys is bounded by the length of the document alone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use syntax::strict_json::StrictJsonError;

use crate::jwk::RsaKey;
use crate::skipped::{SkippedKey, SkippedKeys};

/// Why a document can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("the document is not acceptable JSON: {0}")]
    Json(StrictJsonError),
    #[error("the document is not a JWK set: it is no object with an array of keys")]
    Shape,
    #[error("the document is not a JWK set: it has two members named keys")]
    TwoArrays,
    #[error("the document holds no usable RS256 key; skipped: {0}")]
    NoUsableKey(String),
}

/// Public keys by their `kid`, each parsed once.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct KeySet(BTreeMap<Box<str>, Arc<RsaKey>>);

impl KeySet {
    /// Parses a document, and returns its keys and those that were skipped.
    ///
    /// Different keys with the same `kid` are all skipped: with a guess which of them signs, an attacker who can add a key
    /// to the document could replace another one.
    pub(crate) fn parse(document: &[u8]) -> Result<(Self, SkippedKeys), DocumentError> {
        let mut contents = Contents::default();
        let mut deserializer = serde_json::Deserializer::from_slice(document);
        let read = Document(&mut contents).deserialize(&mut deserializer).and_then(|()| deserializer.end());
        read.map_err(|error| contents.explain(&error))?;
        let Contents { keys, mut skipped, .. } = contents;
        let set = Self::unambiguous(keys, &mut skipped);
        if set.0.is_empty() {
            let skipped = if skipped.is_empty() { "none".to_owned() } else { skipped.to_string() };
            return Err(DocumentError::NoUsableKey(skipped));
        }
        Ok((set, skipped))
    }

    fn unambiguous(keys: BTreeMap<Box<str>, Candidate>, skipped: &mut SkippedKeys) -> Self {
        let mut set = BTreeMap::new();
        for (kid, candidate) in keys {
            match candidate {
                Candidate::One(key) => drop(set.insert(kid, key)),
                Candidate::Ambiguous => {
                    let reason = "several keys have this kid";
                    skipped.push(SkippedKey { kid: Some(kid.into()), reason });
                }
            }
        }
        Self(set)
    }

    /// Returns the key with that `kid`.
    pub(crate) fn key(&self, kid: &str) -> Option<&Arc<RsaKey>> {
        self.0.get(kid)
    }

    /// Returns the kids, in order.
    pub(crate) fn kids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }
}

/// What a document contains.
#[derive(Default)]
struct Contents {
    has_array: bool,
    has_two_arrays: bool,
    keys: BTreeMap<Box<str>, Candidate>,
    skipped: SkippedKeys,
}

/// The usable keys of one `kid`.
enum Candidate {
    /// One key, one or more times.
    One(Arc<RsaKey>),
    /// Different keys.
    Ambiguous,
}

impl Contents {
    fn add(&mut self, raw: &RawValue) {
        match RsaKey::parse(raw) {
            Ok((kid, key)) => {
                let candidate = self.keys.entry(kid).or_insert_with(|| Candidate::One(Arc::clone(&key)));
                if matches!(candidate, Candidate::One(other) if *other != key) {
                    *candidate = Candidate::Ambiguous;
                }
            }
            Err(key) => self.skipped.push(key),
        }
    }

    fn explain(&self, error: &serde_json::Error) -> DocumentError {
        match error.classify() {
            _ if self.has_two_arrays => DocumentError::TwoArrays,
            Category::Data => DocumentError::Shape,
            Category::Io | Category::Syntax | Category::Eof => {
                DocumentError::Json(StrictJsonError::Syntax { line: error.line(), column: error.column() })
            }
        }
    }
}

/// Walks the document. Of its members only `keys` is read, so that a fault in another one costs no key.
struct Document<'f>(&'f mut Contents);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an array of keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            if name != "keys" {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            if self.0.has_array {
                self.0.has_two_arrays = true;
                return Err(A::Error::custom("two members named keys"));
            }
            members.next_value_seed(Keys(self.0))?;
        }
        if self.0.has_array { Ok(()) } else { Err(A::Error::missing_field("keys")) }
    }
}

/// Walks the array of keys. The text of each is taken as it is, and read strictly by itself.
struct Keys<'f>(&'f mut Contents);

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.has_array = true;
        while let Some(raw) = items.next_element::<&RawValue>()? {
            self.0.add(raw);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
