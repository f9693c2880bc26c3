//! [`Parked`]: calls whose upstream waits for input while no request of the client's is there.
//!
//! A server of the legacy eras requests input in the middle of a call. A modern client is given such a request as a result, and
//! calls again with its response: in between, the upstream's call waits here, under a key that only its caller gets, sealed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Clock, Principal};
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
}

/// The calls that wait.
pub(crate) struct Parked {
    waiting: Arc<Mutex<HashMap<String, Waiting>>>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

struct Waiting {
    call: UnderWay,
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

impl Parked {
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
    pub(crate) fn park(&self, mut call: UnderWay, principal: &Principal) -> Option<String> {
        // Those who wait for people must not hold up the others.
        call.request.place = None;
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
    pub(crate) fn take(&self, key: &str, principal: &Principal) -> Option<UnderWay> {
        let mut waiting = self.lock();
        let is_own =
            |call: &&Waiting| call.subject == principal.subject() && call.client == principal.client();
        waiting.get(key).filter(is_own)?;
        waiting.remove(key).map(|waiting| waiting.call)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random_key() -> Option<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}
