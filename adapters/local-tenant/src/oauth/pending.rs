//! Authorization requests that were found good, and wait for a decision.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::model::client::ClientRecord;
use crate::model::random::random_id;

/// Decisions that are waited for at a time; the oldest makes room.
const MOST_PENDING: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// How long a decision is waited for, in seconds.
const PATIENCE: i64 = 600;
/// A good request.
#[derive(Debug, Clone)]
pub(crate) struct AuthorizationRequest {
    pub(crate) client: Arc<ClientRecord>,
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) challenge: String,
    pub(crate) nonce: Option<String>,
    pub(crate) audience: String,
    pub(crate) issuer: String,
}

/// Requests by their transaction.
pub(crate) struct Pending(Mutex<LruCache<String, (i64, AuthorizationRequest)>>);

impl Pending {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MOST_PENDING)))
    }

    /// Keeps a request, for a while; the unguessable name that it is kept under, or `None` without randomness.
    pub(crate) fn keep(&self, request: AuthorizationRequest, now: i64) -> Option<String> {
        let transaction = random_id()?;
        self.lock().put(transaction.clone(), (now.saturating_add(PATIENCE), request));
        Some(transaction)
    }

    /// Takes a request out, if it has not waited for too long.
    pub(crate) fn take(&self, transaction: &str, now: i64) -> Option<AuthorizationRequest> {
        let (until, request) = self.lock().pop(transaction)?;
        (now < until).then_some(request)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, (i64, AuthorizationRequest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
