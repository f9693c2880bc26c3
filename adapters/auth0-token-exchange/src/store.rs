//! The tokens that are kept, and the exchanges under way: one of either for a caller's token, an API and scopes.
//!
//! A token leaves when it is not good any more, and when there is no room for it. The keys are digests: of callers' tokens nothing
//! is kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use domain::{DownstreamError, DownstreamToken, ExchangeRequest, UnixSeconds};
use futures_util::future::{BoxFuture, Shared};

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
    /// A token that is good for a while.
    Token(DownstreamToken),
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
    /// The tokens among them, the first to end first.
    by_end: BTreeSet<(UnixSeconds, Key)>,
}

enum Slot {
    Flight(Flight),
    Token { token: DownstreamToken, until: UnixSeconds },
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
        match slots.by_key.get(&key) {
            Some(Slot::Token { token, .. }) if Some(token) != refused => {
                return Ok(Found::Token(token.clone()));
            }
            Some(Slot::Flight(flight)) => return Ok(Found::Flight(flight.clone())),
            Some(Slot::Token { .. }) => slots.remove(&key),
            None => {}
        }
        if slots.by_key.len() >= self.capacity && !slots.remove_first_to_end() {
            return Ok(Found::Full);
        }
        let flight = begin()?;
        slots.by_key.insert(key, Slot::Flight(flight.clone()));
        Ok(Found::Flight(flight))
    }

    /// Puts the token of an exchange in its place, until then; or, without one, nothing.
    pub(crate) fn land(&self, key: Key, token: Option<(&DownstreamToken, UnixSeconds)>) {
        let mut slots = self.lock();
        slots.remove(&key);
        if let Some((token, until)) = token {
            slots.by_end.insert((until, key));
            slots.by_key.insert(key, Slot::Token { token: token.clone(), until });
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
        if let Some(Slot::Token { until, .. }) = self.by_key.remove(key) {
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
