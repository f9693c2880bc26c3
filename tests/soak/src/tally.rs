//! What was answered, and what was wrong: counted, with the first few told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::requests::Kind;

/// So many of a kind are told; all are counted.
const TOLD: u64 = 3;

#[derive(Default)]
pub(crate) struct Counts {
    /// By kind and by what came of it: a status, or a word.
    pub(crate) outcomes: BTreeMap<Kind, BTreeMap<String, u64>>,
    pub(crate) wrong: BTreeMap<Kind, u64>,
    pub(crate) told: Vec<String>,
    /// How long requests took that are one request and one answer.
    pub(crate) latencies: Vec<Duration>,
}

#[derive(Default)]
pub(crate) struct Tally(Mutex<Counts>);

impl Tally {
    pub(crate) fn count(&self, kind: Kind, outcome: String) {
        *self.lock().outcomes.entry(kind).or_default().entry(outcome).or_default() += 1;
    }

    pub(crate) fn wrong(&self, kind: Kind, what: &str) {
        let mut counts = self.lock();
        let wrong = counts.wrong.entry(kind).or_default();
        *wrong += 1;
        if *wrong <= TOLD {
            counts.told.push(format!("{kind:?}: {what}"));
        }
    }

    pub(crate) fn took(&self, latency: Duration) {
        self.lock().latencies.push(latency);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
