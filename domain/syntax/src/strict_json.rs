//! JSON text that means one thing only.
//!
//! `serde_json` takes the last of duplicate members and other parsers the first, so a text with duplicates can mean
//! one thing to a gateway and another here. RFC 8259 section 4 and RFC 7515 section 4 allow a receiver to refuse it. Depth
//! and the number of values are bounded before anything recurses over the text again or builds a tree of it, and the memory
//! that a tree takes is known before it is built ([`Unparsed`]).
//!
//! Member names that `serde_json` gives a meaning of its own ([`RESERVED_PREFIX`]) are refused, too: wherever a
//! [`Value`] is deserialized, it parses the text of such a member as JSON, past every bound here.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

pub use serde::de::MapAccess;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

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
    walk::<Nothing>(text, max_depth).map(drop)
}

/// Checks `text` as [`check`] does, and returns what `M` takes of it, in one pass.
///
/// # Errors
/// [`StrictJsonError`] for the first fault in the text.
pub fn read<'de, M: Members<'de>>(
    text: &'de [u8],
    max_depth: usize,
) -> Result<Json<'de, M>, StrictJsonError> {
    // Raw values are read before they are checked, so a fault in one may hide an earlier fault.
    walk(text, max_depth).map_err(|error| check(text, max_depth).err().unwrap_or(error))
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
    let mut values = 1;
    let mut read = Vec::new();
    for item in split(text, max_items)? {
        let (item, limit) = (item.get().as_bytes(), max_depth.saturating_sub(1));
        let mut state = State { values, ..State::default() };
        let outcome = walk_on(item, limit, &mut state);
        if matches!(outcome, Err(StrictJsonError::TooManyValues)) {
            return Err(StrictJsonError::TooManyValues);
        }
        values = state.values;
        read.push((item, outcome.map_err(|error| check(item, limit).err().unwrap_or(error))));
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

fn walk<'de, M: Members<'de>>(text: &'de [u8], max_depth: usize) -> Result<Json<'de, M>, StrictJsonError> {
    walk_on(text, max_depth, &mut State::default())
}

/// Walks `text` and adds to the counts of `state`.
fn walk_on<'de, M: Members<'de>>(
    text: &'de [u8],
    max_depth: usize,
    state: &mut State,
) -> Result<Json<'de, M>, StrictJsonError> {
    let limit = max_depth.min(MAX_DEPTH);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // The walk checks the depth itself, so that the error can name the limit.
    deserializer.disable_recursion_limit();
    let walked = Walk::new(limit, state)
        .deserialize(&mut deserializer)
        .and_then(|json| deserializer.end().map(|()| json));
    walked.map_err(|error| match state.fault {
        Some(Fault::Depth) => StrictJsonError::TooDeep(limit),
        Some(Fault::Duplicate) => StrictJsonError::DuplicateMember,
        Some(Fault::Values) => StrictJsonError::TooManyValues,
        Some(Fault::Reserved) => StrictJsonError::ReservedName,
        None => StrictJsonError::Syntax { line: error.line(), column: error.column() },
    })
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
    fn take<A: MapAccess<'de>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error>;
}

/// Takes no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nothing;

impl<'de> Members<'de> for Nothing {
    fn take<A: MapAccess<'de>>(&mut self, _: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
        value.skip()
    }
}

/// A member's value that is not read yet.
pub struct Unread<'r, A> {
    members: &'r mut A,
    remaining: usize,
    state: &'r mut State,
}

impl<'de, A: MapAccess<'de>> Unread<'_, A> {
    /// Checks the value and drops it.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn skip(self) -> Result<(), A::Error> {
        self.read::<Nothing>().map(drop)
    }

    /// Returns a string, or what `M` takes of an object.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn read<M: Members<'de>>(self) -> Result<Json<'de, M>, A::Error> {
        self.members.next_value_seed(Walk::new(self.remaining, self.state))
    }

    /// Returns the whole value.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn value(self) -> Result<Value, A::Error> {
        self.members.next_value_seed(Tree { remaining: self.remaining, state: self.state })
    }

    /// Returns the value's text.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn raw(self) -> Result<&'de RawValue, A::Error> {
        let raw = self.members.next_value::<&RawValue>()?;
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        deserializer.disable_recursion_limit();
        let walk = Walk::<Nothing>::new(self.remaining, self.state);
        walk.deserialize(&mut deserializer).map_err(A::Error::custom)?;
        Ok(raw)
    }

    /// Returns the value's text, to be parsed later.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn unparsed(self) -> Result<Unparsed<&'de RawValue>, A::Error> {
        let Self { members, remaining, state } = self;
        let before = state.tree_bytes;
        let text = Unread { members, remaining, state: &mut *state }.raw()?;
        Ok(Unparsed { text, tree_bytes: state.tree_bytes - before })
    }
}

/// A checked JSON text, and the memory that its tree takes.
#[derive(Debug, Clone)]
pub struct Unparsed<T> {
    text: T,
    tree_bytes: usize,
}

impl<T: Deref<Target = RawValue>> Unparsed<T> {
    /// Returns the text.
    pub fn text(&self) -> &str {
        self.text.get()
    }

    /// Returns an upper bound of the memory that [`Unparsed::parse`] allocates, in bytes.
    pub fn tree_bytes(&self) -> usize {
        self.tree_bytes
    }

    /// Builds the tree.
    pub fn parse(&self) -> Value {
        let mut deserializer = serde_json::Deserializer::from_str(self.text());
        deserializer.disable_recursion_limit();
        let tree = Tree { remaining: MAX_DEPTH, state: &mut State::default() };
        // The text was checked when it was read, with no more depth and values than are allowed here.
        tree.deserialize(&mut deserializer).unwrap_or_default()
    }
}

impl Unparsed<&RawValue> {
    /// Returns a copy that does not borrow from the text.
    #[must_use]
    pub fn to_owned(&self) -> Unparsed<Box<RawValue>> {
        Unparsed { text: self.text.to_owned(), tree_bytes: self.tree_bytes }
    }
}

/// The counts of a walk, and why it stopped.
#[derive(Debug, Default)]
struct State {
    /// Why the walk stopped, if not for the syntax.
    fault: Option<Fault>,
    values: usize,
    /// An upper bound of the memory of a tree, in bytes.
    tree_bytes: usize,
}

#[derive(Debug)]
enum Fault {
    Depth,
    Duplicate,
    Values,
    Reserved,
}

/// The memory of a value in a tree: its slot in a `Vec` that grew by doubling (a `Value` has 32 bytes).
const VALUE_BYTES: usize = 64;
/// A string's or vector's allocation beyond its content.
const ALLOCATION_BYTES: usize = 32;
/// The memory of a node of a `BTreeMap<String, Value>`: 11 slots of 56 bytes, its header, and its share of the inner nodes.
const NODE_BYTES: usize = 704;
/// The minimum number of members in a node, except in a tree of one node.
const MEMBERS_PER_NODE: usize = 5;

impl State {
    fn value<E: serde::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.values += 1;
        self.tree_bytes += VALUE_BYTES + bytes;
        if self.values > MAX_VALUES { Err(self.fail(Fault::Values)) } else { Ok(()) }
    }

    fn string<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        self.value(ALLOCATION_BYTES + text.len())
    }

    /// Counts the name of an object's `index`th member.
    fn name<E: serde::de::Error>(&mut self, name: &str, index: usize) -> Result<(), E> {
        let node = if index.is_multiple_of(MEMBERS_PER_NODE) { NODE_BYTES } else { 0 };
        self.tree_bytes += node + ALLOCATION_BYTES + name.len();
        if name.starts_with(RESERVED_PREFIX) { Err(self.fail(Fault::Reserved)) } else { Ok(()) }
    }

    fn inner<E: serde::de::Error>(&mut self, remaining: usize) -> Result<usize, E> {
        remaining.checked_sub(1).ok_or_else(|| self.fail(Fault::Depth))
    }

    fn fail<E: serde::de::Error>(&mut self, fault: Fault) -> E {
        self.fault = Some(fault);
        E::custom("refused")
    }
}

/// Returns the memory that a tree takes, in bytes, by the same count as [`Unparsed::tree_bytes`].
#[must_use]
pub fn tree_bytes(tree: &Value) -> usize {
    VALUE_BYTES
        + match tree {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => ALLOCATION_BYTES + text.len(),
            Value::Array(items) => ALLOCATION_BYTES + items.iter().map(tree_bytes).sum::<usize>(),
            Value::Object(members) => {
                let member =
                    |(name, value): (&String, &Value)| ALLOCATION_BYTES + name.len() + tree_bytes(value);
                members.len().div_ceil(MEMBERS_PER_NODE) * NODE_BYTES
                    + members.iter().map(member).sum::<usize>()
            }
        }
}

/// Walks a value and returns what `M` takes.
struct Walk<'f, M> {
    remaining: usize,
    state: &'f mut State,
    members: PhantomData<M>,
}

impl<'f, M> Walk<'f, M> {
    fn new(remaining: usize, state: &'f mut State) -> Self {
        Self { remaining, state, members: PhantomData }
    }
}

impl<'de, M: Members<'de>> DeserializeSeed<'de> for Walk<'_, M> {
    type Value = Json<'de, M>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, M: Members<'de>> Visitor<'de> for Walk<'_, M> {
    type Value = Json<'de, M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.state.value(0)?;
        Ok(Json::Null)
    }
    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
        self.state.value(0)?;
        Ok(Json::Other)
    }
    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> {
        self.state.value(0)?;
        Ok(Json::Other)
    }
    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> {
        self.state.value(0)?;
        Ok(Json::Other)
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> {
        self.state.value(0)?;
        Ok(Json::Other)
    }
    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        self.state.string(text)?;
        Ok(Json::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        self.state.string(text)?;
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let remaining = self.state.inner(self.remaining)?;
        self.state.value(ALLOCATION_BYTES)?;
        while items.next_element_seed(Walk::<Nothing>::new(remaining, self.state))?.is_some() {}
        Ok(Json::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let remaining = self.state.inner(self.remaining)?;
        self.state.value(0)?;
        let (mut names, mut taken) = (Names::default(), M::default());
        while let Some(name) = members.next_key_seed(Name)? {
            self.state.name(&name, names.count())?;
            if names.holds(&name) {
                return Err(self.state.fail(Fault::Duplicate));
            }
            taken.take(&name, Unread { members: &mut members, remaining, state: self.state })?;
            names.insert(name);
        }
        Ok(Json::Object(taken))
    }
}

/// Walks a value and returns all of it.
struct Tree<'f> {
    remaining: usize,
    state: &'f mut State,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.state.value(0)?;
        Ok(Value::Null)
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.state.value(0)?;
        Ok(value.into())
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.state.value(0)?;
        Ok(value.into())
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.state.value(0)?;
        Ok(value.into())
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.state.value(0)?;
        Ok(value.into())
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.state.string(text)?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let remaining = self.state.inner(self.remaining)?;
        self.state.value(ALLOCATION_BYTES)?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Tree { remaining, state: &mut *self.state })? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let remaining = self.state.inner(self.remaining)?;
        self.state.value(0)?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.state.name(&name, object.len())?;
            let value = members.next_value_seed(Tree { remaining, state: &mut *self.state })?;
            if object.insert(name, value).is_some() {
                return Err(self.state.fail(Fault::Duplicate));
            }
        }
        Ok(Value::Object(object))
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

/// The member names of an object. Few are compared one by one and many are hashed, so that no text takes quadratic time.
#[derive(Default)]
struct Names<'de> {
    few: [Cow<'de, str>; Names::FEW],
    few_count: usize,
    many: Option<HashSet<Cow<'de, str>>>,
}

impl<'de> Names<'de> {
    const FEW: usize = 16;

    fn holds(&self, name: &str) -> bool {
        self.few.iter().take(self.few_count).any(|few| few == name)
            || self.many.as_ref().is_some_and(|many| many.contains(name))
    }

    fn count(&self) -> usize {
        self.few_count + self.many.as_ref().map_or(0, HashSet::len)
    }

    fn insert(&mut self, name: Cow<'de, str>) {
        match self.few.get_mut(self.few_count) {
            Some(free) => {
                *free = name;
                self.few_count += 1;
            }
            None => drop(self.many.get_or_insert_default().insert(name)),
        }
    }
}

#[cfg(test)]
mod tests;
