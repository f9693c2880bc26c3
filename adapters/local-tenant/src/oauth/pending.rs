//! Valid authorization requests that wait for the user's decision.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::model::client::ClientRecord;
use crate::model::random::random_id;

/// The maximum number of requests; the least recently used one is evicted.
const MAX_PENDING: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// How long a request waits for its decision.
const MAX_WAIT_SECONDS: i64 = 600;

/// A valid authorization request.
#[derive(Debug, Clone)]
pub(crate) struct AuthorizationRequest {
    pub(crate) client: Arc<ClientRecord>,
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) scope: Option<String>,
    /// PKCE's `code_challenge`.
    pub(crate) challenge: String,
    pub(crate) nonce: Option<String>,
    /// The API's identifier; without one, the token is for userinfo alone.
    pub(crate) audience: Option<String>,
    /// The issuer identifier that the request was sent to.
    pub(crate) issuer: String,
}

/// The waiting requests by their transaction ids.
pub(crate) struct PendingRequests(Mutex<LruCache<String, (i64, AuthorizationRequest)>>);

impl PendingRequests {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MAX_PENDING)))
    }

    /// Stores a request and returns its unguessable transaction id; `None` if the operating system provides no random
    /// numbers.
    pub(crate) fn insert(&self, request: AuthorizationRequest, now: i64) -> Option<String> {
        let transaction = random_id()?;
        self.lock().put(transaction.clone(), (now.saturating_add(MAX_WAIT_SECONDS), request));
        Some(transaction)
    }

    /// Removes a request and returns it, unless it has expired.
    pub(crate) fn take(&self, transaction: &str, now: i64) -> Option<AuthorizationRequest> {
        let (until, request) = self.lock().pop(transaction)?;
        (now < until).then_some(request)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, (i64, AuthorizationRequest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
