//! The kids of tokens and key sets: which were published, withdrawn or proved unknown. Bounded, whatever tokens name.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::FetchNumber;

/// The maximum number of unknown kids that are remembered. Beyond it they are forgotten, which costs fetches within their
/// budget.
pub(super) const MAX_UNKNOWN_KIDS: usize = 1024;

/// The maximum number of withdrawn kids that are remembered.
pub(super) const MAX_WITHDRAWN_KIDS: usize = 128;

/// A keyed hash of a `kid`, so that untrusted text is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KidHash(pub(crate) u64);

/// What is known about a `kid` that is in no key set.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lookup {
    /// The success of this fetch, or of a later one, will prove it unknown.
    Pending(FetchNumber),
    /// A fetch proved it unknown at that time.
    Unknown(Duration),
}

/// What successful fetches showed about kids.
#[derive(Debug)]
pub(super) struct KidHistory {
    /// How long an unknown kid is remembered.
    memory: Duration,
    pub(super) unknown: HashMap<KidHash, Lookup>,
    published: HashSet<KidHash>,
    pub(super) withdrawn: VecDeque<KidHash>,
}

impl KidHistory {
    /// Returns an empty history.
    pub(super) fn new(memory: Duration) -> Self {
        Self { memory, unknown: HashMap::new(), published: HashSet::new(), withdrawn: VecDeque::new() }
    }

    /// Notes the kids that a successful fetch brought, which proves other ones unknown.
    pub(super) fn publish(&mut self, kids: HashSet<KidHash>, number: FetchNumber, now: Duration) {
        self.withdrawn.retain(|kid| !kids.contains(kid));
        self.withdrawn.extend(self.published.difference(&kids));
        let excess = self.withdrawn.len().saturating_sub(MAX_WITHDRAWN_KIDS);
        self.withdrawn.drain(..excess);
        self.published = kids;
        let (memory, published) = (self.memory, &self.published);
        self.unknown.retain(|kid, lookup| match *lookup {
            _ if published.contains(kid) => false,
            Lookup::Pending(answer) if answer <= number => {
                *lookup = Lookup::Unknown(now);
                true
            }
            Lookup::Pending(_) => true,
            Lookup::Unknown(since) => now.saturating_sub(since) < memory,
        });
    }

    /// Notes that a request needs this kid, and returns the first fetch whose success proves that it is not published;
    /// `None` if a fetch proved that a while ago. `failed` is the newest fetch that failed, `next` the one to come.
    pub(super) fn register(
        &mut self,
        kid: KidHash,
        now: Duration,
        failed: FetchNumber,
        next: FetchNumber,
    ) -> Option<FetchNumber> {
        let answer = match self.unknown.get(&kid) {
            Some(Lookup::Unknown(since)) if now.saturating_sub(*since) < self.memory => return None,
            Some(Lookup::Pending(answer)) if *answer > failed => *answer,
            _ => next,
        };
        if self.unknown.len() < MAX_UNKNOWN_KIDS || self.unknown.contains_key(&kid) {
            self.unknown.insert(kid, Lookup::Pending(answer));
        }
        Some(answer)
    }

    /// Returns whether a successful fetch no longer brought this kid.
    pub(super) fn is_withdrawn(&self, kid: KidHash) -> bool {
        self.withdrawn.contains(&kid)
    }
}
