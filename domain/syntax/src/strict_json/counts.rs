//! What is counted of a text: its values, and the memory that a tree of it takes.

use serde_json::Value;

use super::fault::Fault;
use super::{MAX_VALUES, RESERVED_PREFIX};

/// The memory of a value in a tree: its slot in a `Vec` that grew by doubling (a `Value` has 32 bytes).
const VALUE_BYTES: usize = 64;
/// A string's allocation beyond its content.
const ALLOCATION_BYTES: usize = 32;
/// An array's allocation beyond its items' slots: the first item makes it four slots at once, of which two are the item's.
const ARRAY_BYTES: usize = 64 + ALLOCATION_BYTES;
/// The memory of a node of a `BTreeMap<String, Value>`: 11 slots of 56 bytes, its header, and its share of the inner nodes.
const NODE_BYTES: usize = 704;
/// The minimum number of members in a node, except in a tree of one node.
const MEMBERS_PER_NODE: usize = 5;

/// The counts so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) values: usize,
    /// An upper bound of the memory of a tree, in bytes.
    pub(super) tree_bytes: usize,
}

impl Counts {
    /// Counts a number, a literal or an object.
    #[inline]
    pub(super) fn value(&mut self) -> Result<(), Fault> {
        self.values += 1;
        self.tree_bytes += VALUE_BYTES;
        if self.values > MAX_VALUES { Err(Fault::VALUES) } else { Ok(()) }
    }

    /// Counts a string of this length.
    #[inline]
    pub(super) fn text(&mut self, length: usize) -> Result<(), Fault> {
        self.tree_bytes += ALLOCATION_BYTES + length;
        self.value()
    }

    /// Counts an array.
    pub(super) fn array(&mut self) -> Result<(), Fault> {
        self.tree_bytes += ARRAY_BYTES;
        self.value()
    }

    /// Counts the name of an object's `index`th member.
    #[inline]
    pub(super) fn name(&mut self, name: &str, index: usize) -> Result<(), Fault> {
        let node = if index.is_multiple_of(MEMBERS_PER_NODE) { NODE_BYTES } else { 0 };
        self.tree_bytes += node + ALLOCATION_BYTES + name.len();
        if name.starts_with(RESERVED_PREFIX) { Err(Fault::RESERVED) } else { Ok(()) }
    }
}

/// Returns the memory that a tree takes, in bytes, by the same count as [`super::Unparsed::tree_bytes`].
#[must_use]
pub fn tree_bytes(tree: &Value) -> usize {
    VALUE_BYTES
        + match tree {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => ALLOCATION_BYTES + text.len(),
            Value::Array(items) => ARRAY_BYTES + items.iter().map(tree_bytes).sum::<usize>(),
            Value::Object(members) => {
                let member =
                    |(name, value): (&String, &Value)| ALLOCATION_BYTES + name.len() + tree_bytes(value);
                members.len().div_ceil(MEMBERS_PER_NODE) * NODE_BYTES
                    + members.iter().map(member).sum::<usize>()
            }
        }
}
