//! Fingerprints of values, by which a reload sees that a value changed which is never shown.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::LazyLock;

/// Random, and the process's own: a fingerprint says nothing of its value to anyone else.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A keyed hash of a value, to be compared within this process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn of(value: &(impl Hash + ?Sized)) -> Self {
        Self(KEY.hash_one(value))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Fingerprint(redacted)")
    }
}
