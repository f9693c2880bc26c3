//! How exchanges ended, for as long as that holds, and the exchanges under way: one of either for a caller's token, an API and
//! scopes.
//!
//! A token leaves when it is not good any more, and when there is no room for it. The keys are digests: of callers' tokens nothing
//! is kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use domain::{DownstreamError, DownstreamToken, ExchangeRequest, UnixSeconds};
use futures_util::future::{BoxFuture, Shared};

/// How long a token is not exchanged anew because the API refuses it that was itself a replacement, in seconds: one that refuses
/// whatever it gets costs an exchange in this time, and not one for each call.
const REPLACED_SECONDS: i64 = 60;

/// How an exchange ends.
pub(crate) type Outcome = Result<DownstreamToken, DownstreamError>;
/// An exchange under way, for whoever waits for it.
pub(crate) type Flight = Shared<BoxFuture<'static, Outcome>>;

/// What a token is kept under: nobody can make two requests that have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// Returns the key of a request: of the caller's token, the API, and the scopes in whichever order.
    pub(crate) fn of(request: &ExchangeRequest<'_>) -> Self {
        let mut scopes: Vec<&str> = request.scopes.iter().map(domain::Scope::as_str).collect();
        scopes.sort_unstable();
        // None of the parts but the last can have a zero byte: it is in no token's grammar, and digests have one length.
        let audience = digest(&SHA256, request.api.audience.as_bytes());
        let (token, scopes) = (request.subject_token.expose(), scopes.join(" "));
        let parts = [token.as_bytes(), b"\0", audience.as_ref(), scopes.as_bytes()];
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
        Self(key)
    }
}

/// What is there for a key.
pub(crate) enum Found {
    /// How an exchange ended: with a token that is good for a while, or with a refusal that is not asked for again yet.
    Ended(Outcome),
    /// An exchange.
    Flight(Flight),
    /// Nothing, and there is no room for another exchange.
    Full,
}

pub(crate) struct Store {
    capacity: usize,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_key: HashMap<Key, Slot>,
    /// The outcomes among them, the first to end first.
    by_end: BTreeSet<(UnixSeconds, Key)>,
}

/// With when it was begun, if it is for another token than one that the API refused.
enum Slot {
    Flight { flight: Flight, replaced: Option<UnixSeconds> },
    Ended { outcome: Outcome, until: UnixSeconds, replaced: Option<UnixSeconds> },
}

impl Store {
    /// Creates a store for so many tokens and exchanges.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { capacity, slots: Mutex::default() }
    }

    /// Returns what is there, other than the refused token, or else begins an exchange by `begin`.
    pub(crate) fn find_or_begin(
        &self,
        key: Key,
        refused: Option<&DownstreamToken>,
        now: UnixSeconds,
        begin: impl FnOnce() -> Result<Flight, DownstreamError>,
    ) -> Result<Found, DownstreamError> {
        let mut slots = self.lock();
        slots.remove_ended(now);
        let mut replaced = None;
        match slots.by_key.get(&key) {
            Some(Slot::Flight { flight, .. }) => return Ok(Found::Flight(flight.clone())),
            Some(Slot::Ended { outcome, replaced: before, .. }) => {
                let is_refused = outcome.as_ref().is_ok_and(|token| Some(token) == refused);
                let is_new = before.is_some_and(|at| now.0.saturating_sub(at.0) < REPLACED_SECONDS);
                if !is_refused || is_new {
                    return Ok(Found::Ended(outcome.clone()));
                }
                replaced = Some(now);
            }
            None => {}
        }
        let is_full = |slots: &Slots| slots.by_key.len() >= self.capacity;
        if replaced.is_none() && is_full(&slots) && slots.by_end.is_empty() {
            return Ok(Found::Full);
        }
        // First: where none can be begun, nothing makes room for it.
        let flight = begin()?;
        slots.remove(&key);
        if is_full(&slots) {
            slots.remove_first_to_end();
        }
        slots.by_key.insert(key, Slot::Flight { flight: flight.clone(), replaced });
        Ok(Found::Flight(flight))
    }

    /// Puts the outcome of an exchange in its place, until then; or, without one, nothing.
    pub(crate) fn land(&self, key: Key, outcome: Option<(&Outcome, UnixSeconds)>) {
        let mut slots = self.lock();
        let replaced = match slots.by_key.get(&key) {
            Some(Slot::Flight { replaced, .. }) => *replaced,
            _ => None,
        };
        slots.remove(&key);
        if let Some((outcome, until)) = outcome {
            slots.by_end.insert((until, key));
            slots.by_key.insert(key, Slot::Ended { outcome: outcome.clone(), until, replaced });
        }
    }

    /// No code panics while it holds the lock, so the value in a poisoned one is consistent.
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let slots = self.lock();
        assert!(slots.by_end.len() <= slots.by_key.len());
        slots.by_key.len()
    }
}

impl Slots {
    fn remove(&mut self, key: &Key) {
        if let Some(Slot::Ended { until, .. }) = self.by_key.remove(key) {
            self.by_end.remove(&(until, *key));
        }
    }

    fn remove_ended(&mut self, now: UnixSeconds) {
        while self.by_end.first().is_some_and(|(until, _)| *until <= now) {
            self.remove_first_to_end();
        }
    }

    /// Makes room; not by ending an exchange.
    fn remove_first_to_end(&mut self) -> bool {
        let first = self.by_end.pop_first();
        first.is_some_and(|(_, key)| self.by_key.remove(&key).is_some())
    }
}
