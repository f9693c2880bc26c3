//! JSON text that means one thing only.
//!
//! `serde_json` takes the last of duplicate members and other parsers the first, so a text with duplicates can mean
//! one thing to a gateway and another here. RFC 8259 section 4 and RFC 7515 section 4 let a receiver refuse it; tokens
//! and requests are refused. Depth and the number of values are bounded before anything recurses over the text again, or
//! builds a tree of it, and what a tree would take in memory is known before it is built ([`Unparsed`]).
//!
//! Member names that `serde_json` gives a meaning of its own ([`RESERVED_PREFIX`]) are refused, too: wherever a
//! [`Value`] is deserialized, it parses the text of such a member as JSON, past every bound here.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

pub use serde::de::MapAccess;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The deepest nesting that can be asked for. `serde_json` refuses to build a value of more than 127 levels; what is
/// built from a request or token lies at least one level deep in it.
pub const MAX_DEPTH: usize = 128;

/// The maximum number of values in a text: objects, arrays, strings, numbers, literals.
pub const MAX_VALUES: usize = 100_000;

/// The prefix of member names that `serde_json` reads as instructions, such as `$serde_json::private::RawValue`.
pub const RESERVED_PREFIX: &str = "$serde_json::";

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
    /// There are more values than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values")]
    TooManyValues,
    /// There are more items in an array than allowed.
    #[error("more than {0} items in the array")]
    TooManyItems(usize),
    /// A member's name begins with [`RESERVED_PREFIX`].
    #[error("a member's name begins with {RESERVED_PREFIX:?}")]
    ReservedName,
}

/// Checks that `text` is one JSON value without duplicate members, nested at most `max_depth` levels.
///
/// # Errors
/// [`StrictJsonError`] for the first fault in the text.
pub fn check(text: &[u8], max_depth: usize) -> Result<(), StrictJsonError> {
    walk::<Nothing>(text, max_depth).map(drop)
}

/// Checks `text` as [`check`] does, and keeps of it what `M` takes, in one pass.
///
/// # Errors
/// [`StrictJsonError`] for the first fault in the text.
pub fn read<'de, M: Members<'de>>(
    text: &'de [u8],
    max_depth: usize,
) -> Result<Json<'de, M>, StrictJsonError> {
    // What is kept as it is written is read ahead, so a fault in it may hide one before it.
    walk(text, max_depth).map_err(|error| check(text, max_depth).err().unwrap_or(error))
}

/// An array's items: the text of each, and what was read of it.
pub type Items<'de, M> = Vec<(&'de [u8], Result<Json<'de, M>, StrictJsonError>)>;

/// Reads the items of an array, each as [`read`] does, so that a fault in one says nothing of the others. Depth is counted
/// from the array, and values are counted in all of it together.
///
/// # Errors
/// [`StrictJsonError`] for what is no array, and for one with more than `max_items` items or too many values.
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

/// The texts of an array's items. Nothing in them recurses.
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

/// Walks `text`, counting on from `state`.
fn walk_on<'de, M: Members<'de>>(
    text: &'de [u8],
    max_depth: usize,
    state: &mut State,
) -> Result<Json<'de, M>, StrictJsonError> {
    let limit = max_depth.min(MAX_DEPTH);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // The walk counts for itself, so that the message can say what the limit is.
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

/// A value, of which no more is kept than was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json<'a, M = Nothing> {
    /// `null`.
    Null,
    /// A string, borrowed from the text where it holds no escape.
    Text(Cow<'a, str>),
    /// An object, and what was taken of its members.
    Object(M),
    /// A number, a boolean or an array.
    Other,
}

impl<M> Json<'_, M> {
    /// A string's text.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// What was taken of an object.
    pub fn object(self) -> Option<M> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }
}

/// What is wanted of an object.
pub trait Members<'de>: Default {
    /// Takes one member. What it does not read is read for it, and checked.
    ///
    /// # Errors
    /// Those of reading `value`, and no others: a member of an unexpected kind is something to remember, not a fault of
    /// the text.
    fn take<A: MapAccess<'de>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error>;
}

/// Nothing is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nothing;

impl<'de> Members<'de> for Nothing {
    fn take<A: MapAccess<'de>>(&mut self, _: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
        value.skip()
    }
}

/// A member's value, still to be read.
pub struct Unread<'r, A> {
    members: &'r mut A,
    remaining: usize,
    state: &'r mut State,
}

impl<'de, A: MapAccess<'de>> Unread<'_, A> {
    /// Checks it, and forgets it.
    ///
    /// # Errors
    /// A fault of the text, as for all of these.
    pub fn skip(self) -> Result<(), A::Error> {
        self.read::<Nothing>().map(drop)
    }

    /// Keeps a string, or what `M` takes of an object.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn read<M: Members<'de>>(self) -> Result<Json<'de, M>, A::Error> {
        self.members.next_value_seed(Walk::new(self.remaining, self.state))
    }

    /// Keeps all of it.
    ///
    /// # Errors
    /// A fault of the text.
    pub fn value(self) -> Result<Value, A::Error> {
        self.members.next_value_seed(Tree { remaining: self.remaining, state: self.state })
    }

    /// Keeps it as it is written.
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

    /// Keeps it as it is written, to be parsed when it is wanted.
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

/// A checked JSON text, and the memory that its tree will take.
#[derive(Debug, Clone)]
pub struct Unparsed<T> {
    text: T,
    tree_bytes: usize,
}

impl<T: Deref<Target = RawValue>> Unparsed<T> {
    /// The text, as it was written.
    pub fn text(&self) -> &str {
        self.text.get()
    }

    /// An upper bound of the memory that [`Unparsed::parse`] allocates, in bytes.
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
    /// A copy that outlives the text that it was read from.
    #[must_use]
    pub fn to_owned(&self) -> Unparsed<Box<RawValue>> {
        Unparsed { text: self.text.to_owned(), tree_bytes: self.tree_bytes }
    }
}

/// What a walk has seen so far.
#[derive(Debug, Default)]
struct State {
    /// What stopped it, where that was not the syntax.
    fault: Option<Fault>,
    values: usize,
    /// An upper bound of what a tree of it takes, in bytes.
    tree_bytes: usize,
}

#[derive(Debug)]
enum Fault {
    Depth,
    Duplicate,
    Values,
    Reserved,
}

/// What a value costs in a tree: its place in a `Vec` that grew by doubling (a `Value` has 32 bytes).
const VALUE_BYTES: usize = 64;
/// A string's or vector's allocation beyond its content.
const ALLOCATION_BYTES: usize = 32;
/// A node of a `BTreeMap<String, Value>`: 11 places of 56 bytes, its header, and its share of the nodes above it.
const NODE_BYTES: usize = 704;
/// The fewest members that a node holds, but for the only one.
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

    /// The name of an object's member, which is the `index`th.
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

/// Walks a value and keeps what `M` takes.
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

/// Walks a value and keeps all of it.
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

/// The names of one object: a short list is compared, a long one hashed, so that no text costs quadratic time.
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
    fn names_that_serde_json_reads_as_instructions_are_refused() {
        for name in
            ["$serde_json::private::RawValue", "\\u0024serde_json::private::RawValue", "$serde_json::x"]
        {
            refused(&format!(r#"{{"{name}":"1"}}"#), &E::ReservedName);
            refused(&format!(r#"[{{"a":{{"b":1,"{name}":"[]"}}}}]"#), &E::ReservedName);
        }
        assert_eq!(check(br#"{"serde_json":1,"$serde":2,"x":"$serde_json::private::RawValue"}"#, 9), Ok(()));
    }

    #[test]
    fn values_are_counted() {
        let list = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
        assert_eq!(check(list(MAX_VALUES).as_bytes(), MAX_DEPTH), Ok(()));
        refused(&list(MAX_VALUES + 1), &E::TooManyValues);
        refused(&format!("[{}{{}}]", r#"{"a":[]},"#.repeat(MAX_VALUES / 2)), &E::TooManyValues);
    }

    /// Every byte that is allocated for a tree, as the standard library lays it out.
    fn allocated(value: &Value) -> usize {
        let inner = match value {
            Value::String(text) => text.capacity(),
            Value::Array(items) => {
                (items.capacity() - items.len()) * size_of::<Value>()
                    + items.iter().map(allocated).sum::<usize>()
            }
            // B-tree leaves have 11 places, and all but the root are at least 5 full.
            Value::Object(members) => {
                let nodes = if members.is_empty() { 0 } else { members.len().div_ceil(5) };
                let places = (nodes * 11).saturating_sub(members.len());
                let each = |(name, value): (&String, &Value)| {
                    size_of::<String>() + name.capacity() + allocated(value)
                };
                places * (size_of::<String>() + size_of::<Value>()) + members.iter().map(each).sum::<usize>()
            }
            _ => 0,
        };
        size_of::<Value>() + inner
    }

    #[test]
    fn a_tree_takes_no_more_than_was_said() {
        let many = |item: &str| format!("[{}]", vec![item; 1000].join(","));
        let members: Vec<String> = (0..1000).map(|n| format!("\"k{n}\":{n}")).collect();
        for inner in [
            "1".to_owned(),
            "null".to_owned(),
            "{}".to_owned(),
            r#""a string of some length""#.to_owned(),
            many("0"),
            many("[]"),
            many(r#"{"a":0}"#),
            many(r#""""#),
            many(r#"[[[{"a":{"b":{}}}]]]"#),
            format!("{{{}}}", members.join(",")),
        ] {
            let text = format!(r#"{{"unparsed":{inner}}}"#);
            let Ok(Json::Object(taken)) = read::<Taken<'_>>(text.as_bytes(), MAX_DEPTH) else {
                panic!("{text}")
            };
            let unparsed = taken.unparsed.unwrap();
            let tree = unparsed.parse();
            assert_eq!(tree, serde_json::from_str::<Value>(&inner).unwrap());
            let (said, took) = (unparsed.tree_bytes(), allocated(&tree));
            assert!(
                took <= said && said <= 120 * inner.len() + 1024,
                "{said} {took} {}",
                &inner[..inner.len().min(40)]
            );
            assert_eq!(unparsed.to_owned().text(), inner);
        }
    }

    /// Takes one member of each kind.
    #[derive(Debug, Default)]
    struct Taken<'a> {
        text: Option<Json<'a>>,
        object: Option<Json<'a, Box<Taken<'a>>>>,
        value: Option<Value>,
        raw: Option<&'a str>,
        unparsed: Option<Unparsed<&'a RawValue>>,
    }

    impl PartialEq for Taken<'_> {
        fn eq(&self, other: &Self) -> bool {
            (&self.text, &self.object, &self.value, self.raw)
                == (&other.text, &other.object, &other.value, other.raw)
        }
    }

    impl<'a> Members<'a> for Taken<'a> {
        fn take<A: MapAccess<'a>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
            match name {
                "text" => self.text = Some(value.read()?),
                "object" => self.object = Some(value.read()?),
                "value" => self.value = Some(value.value()?),
                "raw" => self.raw = Some(value.raw()?.get()),
                "unparsed" => self.unparsed = Some(value.unparsed()?),
                _ => value.skip()?,
            }
            Ok(())
        }
    }

    impl<'a> Members<'a> for Box<Taken<'a>> {
        fn take<A: MapAccess<'a>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
            self.as_mut().take(name, value)
        }
    }

    #[test]
    fn what_is_wanted_is_kept_as_it_stands() {
        let text = r#"{"x":[1],"text":"\u00e9","object":{"text":null,"raw":"\u0041"},
            "value":{"a":[1,-2,2.5,true,null,"s"]},"raw":1.50}"#;
        let Ok(Json::Object(taken)) = read::<Taken<'_>>(text.as_bytes(), MAX_DEPTH) else { panic!() };
        assert_eq!(taken.text.as_ref().and_then(Json::text), Some("é"));
        assert_eq!(taken.value, Some(serde_json::json!({"a": [1, -2, 2.5, true, null, "s"]})));
        assert_eq!(taken.raw, Some("1.50"));
        let inner = taken.object.and_then(Json::object).unwrap();
        assert_eq!((&inner.text, inner.raw), (&Some(Json::Null), Some("\"\\u0041\"")));
        assert_eq!(read::<Taken<'_>>(b"[]", MAX_DEPTH), Ok(Json::Other));
        assert_eq!(
            read::<Taken<'_>>(b"{\"text\":1}", MAX_DEPTH).unwrap().object().unwrap().text,
            Some(Json::Other)
        );
    }

    #[test]
    fn what_is_wanted_is_checked_like_the_rest() {
        for member in ["text", "object", "value", "raw", "unparsed", "x"] {
            let faults = [
                (r#"{"a":1,"\u0061":2}"#, E::DuplicateMember),
                (r#"{"$serde_json::private::RawValue":"{}"}"#, E::ReservedName),
                ("[[[[]]]]", E::TooDeep(4)),
                ("[[[[", E::TooDeep(4)),
                ("[\"\\ud800\"]", E::Syntax { line: 1, column: 21 }),
                ("01", E::Syntax { line: 1, column: 14 }),
            ];
            for (value, fault) in faults {
                // Members of one length, so that columns are the same.
                let text = format!("{{\"{member}\":{}{value}}}", " ".repeat(8 - member.len()));
                assert_eq!(read::<Taken<'_>>(text.as_bytes(), 4), Err(fault), "{text}");
                assert_eq!(
                    check(text.as_bytes(), 4),
                    read::<Taken<'_>>(text.as_bytes(), 4).map(drop),
                    "{text}"
                );
            }
            let twice = format!("{{\"{member}\":1,\"{member}\":1}}");
            assert_eq!(read::<Taken<'_>>(twice.as_bytes(), 4), Err(E::DuplicateMember));
        }
    }

    #[test]
    fn items_are_judged_one_by_one_and_counted_together() {
        let read = |text: &'static str| read_items::<Taken<'_>>(text.as_bytes(), 4, 3);
        assert_eq!(read("[]"), Ok(Vec::new()));
        let text = r#" [ {"text":"a"}, {"a":1,"a":2}, [[[[]]]] ] "#;
        let items = read(text).unwrap();
        let taken = Taken { text: Some(Json::Text("a".into())), ..Taken::default() };
        assert_eq!(items[0], (&br#"{"text":"a"}"#[..], Ok(Json::Object(taken))));
        assert_eq!(items[1].1, Err(E::DuplicateMember));
        assert_eq!(items[2].1, Err(E::TooDeep(3)), "the array is a level, too");
        assert_eq!(read("[1,2,3,4]"), Err(E::TooManyItems(3)));
        for text in ["[1,2", "[1,]", "[1]x", "{}", "1", ""] {
            assert!(matches!(read(text), Err(E::Syntax { .. })), "{text}");
        }
        assert!(matches!(read(r#"["\ud800"]"#).unwrap()[..], [(_, Err(E::Syntax { .. }))]));
        let half = format!("[{}0]", "0,".repeat(MAX_VALUES / 2));
        let one = format!("[{half}]");
        assert!(read_items::<Nothing>(one.as_bytes(), 4, 3).is_ok());
        let two = format!("[{half},{half}]");
        assert_eq!(read_items::<Nothing>(two.as_bytes(), 4, 3), Err(E::TooManyValues));
        let deep = format!("[{}", "[".repeat(1_000_000));
        assert!(read_items::<Nothing>(deep.as_bytes(), MAX_DEPTH, 3).is_err(), "without recursion");
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
