//! The issuer's keys: an atomic snapshot that one background task keeps fresh.
//!
//! A request whose key is in the snapshot takes no lock and does not wait. Only the task starts fetches; [`Schedule`]
//! decides when, and whether a request whose key is missing waits for one. The number of requests that wait is bounded:
//! they are not authenticated yet.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use domain::{BearerToken, Claims, Clock, NotReady, Untrusted, VerifyError};
use tokio::select;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::Options;
use crate::fetch::{FetchError, Fetcher};
use crate::jwk::RsaKey;
use crate::jwks::KeySet;
use crate::proofs::{Fingerprint, Fingerprints, Proofs};
use crate::schedule::{FetchNumber, KidHash, PendingRequest, Schedule, Verdict};
use crate::skipped::{SkippedKeys, json_list};

/// A failure that repeats itself is logged again only if the next retry is at least this far away.
const MIN_LOGGED_RETRY: Duration = Duration::from_secs(1);

/// The state of fetching, for operators and for tests that await a fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The number of fetches that started.
    pub started: u64,
    /// The number of fetches that brought keys.
    pub succeeded: u64,
    /// The number of fetches that failed.
    pub failed: u64,
    /// Why the newest fetch failed, unless it succeeded.
    pub last_failure: Option<String>,
    /// The kids of the keys that the last successful fetch brought, in order.
    pub kids: Vec<String>,
}

impl Status {
    /// Returns the number of fetches that succeeded or failed; the keys that they brought are in use by then. Fetches that
    /// were abandoned, because another one brought the first keys, are not counted.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.succeeded + self.failed
    }
}

/// The keys, and the state of fetching them.
pub(crate) struct KeyStore {
    clock: Arc<dyn Clock>,
    fetcher: Arc<Fetcher>,
    keep_through_outage: Duration,
    remembered_tokens: usize,
    /// `None` without randomness: no token is remembered then.
    fingerprints: Option<Fingerprints>,
    snapshot: ArcSwapOption<Snapshot>,
    /// Locked for a decision only, never across an await.
    schedule: Mutex<Schedule>,
    demand: Notify,
    waiting: Semaphore,
    status: watch::Sender<Status>,
    random: RandomState,
}

struct Snapshot {
    keys: KeySet,
    /// Proofs by these keys; a set of other keys starts with none.
    proofs: Arc<Proofs>,
    fetched_at: Duration,
    /// The keys of the document that are not used, as logged.
    skipped: String,
}

/// The key of a token, and the store for proofs by it.
pub(crate) struct ResolvedKey {
    pub(crate) key: Arc<RsaKey>,
    pub(crate) proofs: Arc<Proofs>,
}

/// The result of a fetch.
type FetchResult = Result<(KeySet, SkippedKeys), FetchError>;

/// Fetches under way. Dropping it abandons them.
type Fetches = JoinSet<(FetchNumber, FetchResult)>;

impl KeyStore {
    pub(crate) fn new(options: &Options, clock: Arc<dyn Clock>) -> Self {
        let fingerprints = Fingerprints::with_random_key();
        if fingerprints.is_none() {
            warn!("the machine gives no randomness: every request costs the proof of a signature");
        }
        Self {
            clock,
            fetcher: Arc::new(Fetcher::new(options)),
            keep_through_outage: options.keep_through_outage,
            remembered_tokens: options.remembered_tokens,
            fingerprints,
            snapshot: ArcSwapOption::empty(),
            schedule: Mutex::new(Schedule::new(options)),
            demand: Notify::new(),
            waiting: Semaphore::new(options.max_waiting),
            status: watch::Sender::default(),
            random: RandomState::new(),
        }
    }

    /// Returns the key with that `kid`, from the snapshot if it is there, or else as soon as a fetch brings it.
    pub(crate) async fn resolve(&self, kid: &str) -> Result<ResolvedKey, VerifyError> {
        match self.find(kid) {
            Some(key) => Ok(key),
            None => self.wait_for(kid).await,
        }
    }

    /// Returns what a token is remembered by.
    pub(crate) fn fingerprint(&self, token: &BearerToken) -> Option<Fingerprint> {
        self.fingerprints.as_ref()?.of(token)
    }

    /// Returns the claims of a token that was proved with a key of the snapshot, while the snapshot may be used.
    pub(crate) fn proved_claims(&self, fingerprint: &Fingerprint) -> Option<Arc<Claims>> {
        let snapshot = self.snapshot.load();
        let snapshot = snapshot.as_ref().filter(|snapshot| self.is_usable(snapshot))?;
        snapshot.proofs.get(fingerprint)
    }

    /// Returns `Ok` while there are keys that may be used.
    pub(crate) fn ready(&self) -> Result<(), NotReady> {
        let lack = match &*self.snapshot.load() {
            Some(snapshot) if self.is_usable(snapshot) => return Ok(()),
            Some(_) => format!("the keys are older than {} s", self.keep_through_outage.as_secs()),
            None => "no keys yet".to_owned(),
        };
        let status = self.status.borrow();
        let cause = status.last_failure.as_deref().unwrap_or("a fetch is under way");
        Err(NotReady(format!("{lack}: {cause}")))
    }

    /// Returns how long ago the keys were fetched, whether or not they may still be used.
    pub(crate) fn age(&self) -> Option<Duration> {
        let snapshot = self.snapshot.load();
        Some(self.clock.uptime().saturating_sub(snapshot.as_ref()?.fetched_at))
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Fetches whenever a fetch is due, for as long as it is polled.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        let mut fetches = Fetches::new();
        loop {
            select! {
                () = self.until_due() => self.start_fetch(&mut fetches),
                Some(Ok((number, result))) = fetches.join_next() => match result {
                    Ok((keys, skipped)) => {
                        fetches = Fetches::new();
                        self.install(number, keys, &skipped);
                    }
                    Err(error) => self.record_failure(number, &error),
                },
            }
        }
    }

    fn find(&self, kid: &str) -> Option<ResolvedKey> {
        let snapshot = self.snapshot.load();
        let snapshot = snapshot.as_ref().filter(|snapshot| self.is_usable(snapshot))?;
        let key = Arc::clone(snapshot.keys.key(kid)?);
        Some(ResolvedKey { key, proofs: Arc::clone(&snapshot.proofs) })
    }

    /// Returns whether the keys are recent enough: older ones may have been revoked meanwhile.
    fn is_usable(&self, snapshot: &Snapshot) -> bool {
        self.clock.uptime().saturating_sub(snapshot.fetched_at) <= self.keep_through_outage
    }

    async fn wait_for(&self, kid: &str) -> Result<ResolvedKey, VerifyError> {
        let mut changes = self.status.subscribe();
        let now = self.clock.uptime();
        let registered = self.schedule().register(self.hash(kid), now);
        let Some(mut request) = registered else {
            return self.find(kid).ok_or(Untrusted::UnknownKey.into());
        };
        let permit = self.waiting.try_acquire();
        let mut expired = pin!(self.clock.sleep(request.deadline.saturating_sub(now)));
        loop {
            let verdict = self.judge(&request, permit.is_ok());
            // The lookup comes after the verdict: keys are installed before the schedule is notified, so that a fetch that
            // ends between the two can't make its own key unknown.
            if let Some(key) = self.find(kid) {
                return Ok(key);
            }
            match verdict {
                Verdict::Wait => {}
                Verdict::UnknownKid => return Err(Untrusted::UnknownKey.into()),
                Verdict::Unavailable { retry_after } => {
                    return Err(VerifyError::KeysUnavailable { retry_after });
                }
            }
            select! {
                _ = changes.changed() => {}
                () = &mut expired => request.deadline = Duration::ZERO,
            }
        }
    }

    fn judge(&self, request: &PendingRequest, may_wait: bool) -> Verdict {
        let mut schedule = self.schedule();
        let verdict = schedule.judge(request, self.clock.uptime(), may_wait);
        if schedule.is_demanded() {
            self.demand.notify_one();
        }
        verdict
    }

    async fn until_due(&self) {
        loop {
            let wait = self.schedule().until_start(self.clock.uptime());
            match wait {
                Some(Duration::ZERO) => return,
                Some(wait) => select! {
                    () = self.clock.sleep(wait) => {}
                    () = self.demand.notified() => {}
                },
                None => self.demand.notified().await,
            }
        }
    }

    fn start_fetch(&self, under_way: &mut Fetches) {
        let now = self.clock.uptime();
        let fetch = self.schedule().start(now, self.random.hash_one(now));
        self.status.send_modify(|status| status.started += 1);
        let fetcher = Arc::clone(&self.fetcher);
        under_way.spawn(async move { (fetch.number, fetcher.fetch_on_thread(fetch.timeout).await) });
    }

    fn install(&self, number: FetchNumber, keys: KeySet, skipped: &SkippedKeys) {
        let now = self.clock.uptime();
        let kids: Vec<String> = keys.kids().map(str::to_owned).collect();
        let hashes: HashSet<KidHash> = keys.kids().map(|kid| self.hash(kid)).collect();
        let skipped = skipped.to_string();
        let old = self.snapshot.load();
        log_keys(old.as_deref(), &keys, &skipped);
        let unchanged = old.as_ref().filter(|old| old.keys == keys);
        let proofs = unchanged.map_or_else(
            || Arc::new(Proofs::with_capacity(self.remembered_tokens)),
            |old| Arc::clone(&old.proofs),
        );
        self.snapshot.store(Some(Arc::new(Snapshot { keys, proofs, fetched_at: now, skipped })));
        self.schedule().succeed(number, now, hashes);
        self.status.send_modify(|status| {
            status.succeeded += 1;
            status.last_failure = None;
            status.kids = kids;
        });
    }

    fn record_failure(&self, number: FetchNumber, error: &FetchError) {
        let now = self.clock.uptime();
        let retry_in = self.schedule().fail(number, now, self.random.hash_one(now));
        let failure = error.to_string();
        let is_repeated = self.status.borrow().last_failure.as_deref() == Some(&failure);
        if is_repeated && retry_in < MIN_LOGGED_RETRY {
            debug!(?retry_in, "the issuer's keys can't be fetched: {failure}");
        } else {
            warn!(?retry_in, "the issuer's keys can't be fetched: {failure}");
        }
        self.status.send_modify(|status| {
            status.failed += 1;
            status.last_failure = Some(failure);
        });
    }

    fn hash(&self, kid: &str) -> KidHash {
        KidHash(self.random.hash_one(kid))
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_keys(old: Option<&Snapshot>, keys: &KeySet, skipped: &str) {
    let count = keys.kids().count();
    if old.is_some_and(|old| old.keys == *keys) {
        debug!(count, "the issuer's keys are unchanged");
    } else {
        info!(count, kids = %json_list(keys.kids()), "the issuer's keys changed");
    }
    if !skipped.is_empty() && old.is_none_or(|old| old.skipped != skipped) {
        warn!("keys of the issuer that are not used: {skipped}");
    }
}
