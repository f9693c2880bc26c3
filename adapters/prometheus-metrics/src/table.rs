//! A map that many read and few add to: readers take no lock, and what was added stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// The key of what is beyond the bound. A value that has it by itself is counted together with that.
const OTHER: &str = "other";

/// Values by their keys, at most `max` of them and one for all other keys. Most tables have a few: to compare with them takes less
/// than to hash.
pub(crate) struct Table<V> {
    entries: ArcSwap<BTreeMap<Box<str>, Arc<V>>>,
    max: usize,
}

impl<V: Default> Table<V> {
    /// Creates an empty table.
    pub(crate) fn new(max: usize) -> Self {
        Self { entries: ArcSwap::default(), max }
    }

    /// Works with the value of a key, which is made if it is not there.
    pub(crate) fn with(&self, key: &str, work: impl FnOnce(&V)) {
        let entries = self.entries.load();
        let other = || entries.get(OTHER).filter(|_| entries.len() >= self.max);
        match entries.get(key).or_else(other) {
            Some(value) => work(value),
            None => work(&self.add(key)),
        }
    }

    /// Returns what is there, in order.
    pub(crate) fn all(&self) -> BTreeMap<Box<str>, Arc<V>> {
        BTreeMap::clone(&self.entries.load())
    }

    /// Adds a key, which nobody does for long: their number is bounded.
    #[cold]
    fn add(&self, key: &str) -> Arc<V> {
        let mut added = Arc::default();
        // It begins again when another thread has added one meanwhile, which may be the same.
        self.entries.rcu(|entries| {
            let mut entries = BTreeMap::clone(entries);
            let key = if entries.len() < self.max { key } else { OTHER };
            added = Arc::clone(entries.entry(key.into()).or_default());
            entries
        });
        added
    }
}
