//! [`Parked`]: calls whose upstream waits for input while no request of the client's is there.
//!
//! A server of the legacy eras requests input in the middle of a call. A modern client is given such a request as a result, and
//! calls again with its response: in between, the upstream's call waits here, under a key that only its caller gets, sealed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Clock, Principal, Span};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::connection::Request;
use crate::options::Limits;

/// A call that is under way at the upstream.
pub(crate) struct UnderWay {
    pub(crate) request: Request,
    /// The requests for input that the client was given, by the names that it knows them under.
    pub(crate) asked: BTreeMap<String, oneshot::Sender<Option<Value>>>,
    /// The call's span, from its beginning to its result, however many requests of the client's that takes.
    pub(crate) span: Span,
}

/// The calls that wait.
pub(crate) struct Parked<C = UnderWay> {
    waiting: Arc<Mutex<HashMap<String, Waiting<C>>>>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

struct Waiting<C> {
    call: C,
    subject: String,
    client: String,
    _expiry: Expiry,
}

/// A task that ends when this is dropped.
struct Expiry(AbortHandle);

impl Drop for Expiry {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<C: Send + 'static> Parked<C> {
    pub(crate) fn new(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self { waiting: Arc::default(), clock, limits }
    }

    /// Returns whether a call of this principal may wait: there is room, and it does not have more than a quarter of it already.
    pub(crate) fn has_room(&self, principal: &Principal) -> bool {
        let waiting = self.lock();
        let own = waiting.values().filter(|call| call.subject == principal.subject()).count();
        waiting.len() < self.limits.parked_calls && own < self.limits.parked_calls.div_ceil(4)
    }

    /// Has a call wait, and returns the key under which it is taken again; `None` if the machine gives no randomness. Must be
    /// called within a tokio runtime.
    pub(crate) fn park(&self, call: C, principal: &Principal) -> Option<String> {
        let key = random_key()?;
        let (waiting, clock, expired) = (Arc::downgrade(&self.waiting), Arc::clone(&self.clock), key.clone());
        let patience = self.limits.parked;
        let expiry = tokio::spawn(async move {
            clock.sleep(patience).await;
            if let Some(waiting) = waiting.upgrade() {
                let call = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&expired);
                // Dropped without the lock.
                drop(call);
            }
        });
        let (subject, client) = (principal.subject().to_owned(), principal.client().to_owned());
        let waiting = Waiting { call, subject, client, _expiry: Expiry(expiry.abort_handle()) };
        self.lock().insert(key.clone(), waiting);
        Some(key)
    }

    /// Returns the principal's call of this key; of another's there is none.
    pub(crate) fn take(&self, key: &str, principal: &Principal) -> Option<C> {
        let mut waiting = self.lock();
        let is_own =
            |call: &&Waiting<C>| call.subject == principal.subject() && call.client == principal.client();
        waiting.get(key).filter(is_own)?;
        waiting.remove(key).map(|waiting| waiting.call)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting<C>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random_key() -> Option<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::{ScopeAuthority, TokenPolicy, UnixMillis, UnixSeconds};
    use fakes::ManualClock;

    use super::*;

    fn principal(subject: &str, client: &str) -> Principal {
        let mut claims = fakes::claims("i", "a", UnixSeconds(100), "");
        (claims.subject, claims.client_id) = (subject.into(), Some(client.into()));
        let policy = TokenPolicy {
            token_types: &["JWT", "at+jwt"],
            issuers: vec!["i".into()],
            resources: vec!["a".into()],
            additional_audiences: Vec::new(),
            leeway: Duration::ZERO,
            authority: ScopeAuthority::Scope,
            hierarchy: Arc::default(),
        };
        policy.admit(&Arc::new(claims), &"a".into(), UnixSeconds(0)).unwrap()
    }

    fn parked(clock: &Arc<ManualClock>) -> Parked<u8> {
        let limits = Limits { parked_calls: 8, ..Limits::default() };
        Parked::new(Arc::clone(clock) as _, limits)
    }

    #[tokio::test]
    async fn a_call_is_its_callers_and_is_taken_once() {
        let parked = parked(&Arc::new(ManualClock::at(UnixMillis(0))));
        let own = principal("s", "c");
        let key = parked.park(7, &own).unwrap();
        for other in [principal("other", "c"), principal("s", "other")] {
            assert_eq!(parked.take(&key, &other), None);
        }
        assert_eq!(parked.take("another key", &own), None);
        assert_eq!(parked.take(&key, &own), Some(7));
        assert_eq!(parked.take(&key, &own), None);
    }

    #[tokio::test]
    async fn a_subject_has_a_quarter_of_the_places_and_a_call_its_time() {
        let clock = Arc::new(ManualClock::at(UnixMillis(0)));
        let parked = parked(&clock);
        let (own, other) = (principal("s", "c"), principal("other", "c"));
        for call in 0..2 {
            parked.park(call, &own).unwrap();
        }
        assert!(!parked.has_room(&own) && parked.has_room(&other));
        for subject in ["a", "b", "d"] {
            for call in 0..2 {
                parked.park(call, &principal(subject, "c")).unwrap();
            }
        }
        assert!(!parked.has_room(&other), "all places are taken");
        clock.sleeping_until(Limits::default().parked).await;
        clock.advance(Limits::default().parked);
        while !parked.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(parked.has_room(&own));
    }
}
