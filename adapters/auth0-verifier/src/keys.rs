//! The issuer's keys as requests see them: an atomic snapshot that one background task keeps fresh.
//!
//! A request whose key is in the snapshot takes no lock and waits for nobody. The task alone fetches, so fetches never
//! overlap; [`Schedule`] decides when, and what a request may hope for that has to wait.

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use domain::{Claims, Clock, NotReady, Untrusted, VerifyError};
use jsonwebtoken::DecodingKey;
use tokio::select;
use tokio::sync::{Notify, Semaphore, watch};
use tracing::{debug, info, warn};

use crate::Options;
use crate::fetch::{FetchError, Fetcher};
use crate::jwks::{KeySet, LeftOut, listed};
use crate::proofs::{Proofs, TokenDigest};
use crate::schedule::{FetchNumber, KidHash, Schedule, Verdict};

/// How many requests may wait for keys at a time. Nobody has vouched for those that wait, and each takes memory.
const MOST_WAITING: usize = 1024;

/// How fetching goes, for operators and for tests that await a fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Fetches begun.
    pub started: u64,
    /// Fetches that brought keys.
    pub succeeded: u64,
    /// Fetches that brought none.
    pub failed: u64,
    /// Why the newest fetch failed, unless it succeeded.
    pub last_failure: Option<String>,
    /// The names of the keys that the last successful fetch brought, in order.
    pub kids: Vec<String>,
}

impl Status {
    /// Fetches that ended, one way or the other. What they brought is in use by then.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.succeeded + self.failed
    }
}

/// The keys, and what is known about getting them.
pub(crate) struct KeyStore {
    clock: Arc<dyn Clock>,
    fetcher: Arc<Fetcher>,
    keep_through_outage: Duration,
    wait_for_keys: Duration,
    remembered_tokens: usize,
    snapshot: ArcSwapOption<Snapshot>,
    /// Held for a decision only, never across an await.
    schedule: Mutex<Schedule>,
    demand: Notify,
    waiting: Semaphore,
    status: watch::Sender<Status>,
    random: RandomState,
}

struct Snapshot {
    keys: KeySet,
    /// Of these keys: a set with others begins without any.
    proofs: Arc<Proofs>,
    fetched_at: Duration,
}

/// A key, and where to remember what was proved with it.
pub(crate) struct Known {
    pub(crate) key: Arc<DecodingKey>,
    pub(crate) proofs: Arc<Proofs>,
}

impl KeyStore {
    pub(crate) fn new(options: &Options, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            fetcher: Arc::new(Fetcher::new(options)),
            keep_through_outage: options.keep_through_outage,
            wait_for_keys: options.wait_for_keys,
            remembered_tokens: options.remembered_tokens,
            snapshot: ArcSwapOption::empty(),
            schedule: Mutex::new(Schedule::new(options)),
            demand: Notify::new(),
            waiting: Semaphore::new(MOST_WAITING),
            status: watch::Sender::default(),
            random: RandomState::new(),
        }
    }

    /// The key of that name, from the snapshot if it is there, or else once a fetch brings it.
    pub(crate) async fn key(&self, kid: &str) -> Result<Known, VerifyError> {
        match self.known(kid) {
            Some(known) => Ok(known),
            None => self.awaited(kid).await,
        }
    }

    /// What a token claims that was proved with a key of the snapshot, for as long as the snapshot may be used.
    pub(crate) fn remembered(&self, digest: &TokenDigest) -> Option<Arc<Claims>> {
        let snapshot = self.snapshot.load();
        let snapshot = snapshot.as_ref().filter(|snapshot| self.is_usable(snapshot))?;
        snapshot.proofs.get(digest)
    }

    /// `Ok` while there are keys that may be used.
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

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Fetches whenever a fetch is due, for as long as it is polled.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        loop {
            self.until_due().await;
            self.schedule().start(self.clock.uptime());
            self.status.send_modify(|status| status.started += 1);
            match self.fetch().await {
                Ok((keys, left_out)) => self.install(keys, &left_out),
                Err(error) => self.go_on_without(&error),
            }
        }
    }

    fn known(&self, kid: &str) -> Option<Known> {
        let snapshot = self.snapshot.load();
        let snapshot = snapshot.as_ref().filter(|snapshot| self.is_usable(snapshot))?;
        let key = Arc::clone(snapshot.keys.key(kid)?);
        Some(Known { key, proofs: Arc::clone(&snapshot.proofs) })
    }

    /// Keys that nobody confirmed for so long may have been revoked long ago.
    fn is_usable(&self, snapshot: &Snapshot) -> bool {
        self.clock.uptime().saturating_sub(snapshot.fetched_at) <= self.keep_through_outage
    }

    async fn awaited(&self, kid: &str) -> Result<Known, VerifyError> {
        let mut changes = self.status.subscribe();
        let now = self.clock.uptime();
        let mut deadline = now.saturating_add(self.wait_for_keys);
        let asked = self.schedule().ask(KidHash(self.random.hash_one(kid)), now);
        let mut expired = pin!(self.clock.sleep(self.wait_for_keys));
        let place = self.waiting.try_acquire();
        loop {
            let verdict = asked.map_or(Verdict::Unknown, |answer| self.judge(answer, deadline));
            // Looked up after the verdict: keys are installed before the schedule hears of them, so that a fetch that
            // ends between the two can't make its own key unknown.
            if let Some(known) = self.known(kid) {
                return Ok(known);
            }
            match verdict {
                Verdict::Unknown => return Err(Untrusted::UnknownKey.into()),
                Verdict::Unavailable { retry_after } => {
                    return Err(VerifyError::KeysUnavailable { retry_after });
                }
                Verdict::Wait if place.is_err() => {
                    return Err(VerifyError::KeysUnavailable { retry_after: self.wait_for_keys });
                }
                Verdict::Wait => {}
            }
            select! {
                _ = changes.changed() => {}
                () = &mut expired => deadline = Duration::ZERO,
            }
        }
    }

    fn judge(&self, answer: FetchNumber, deadline: Duration) -> Verdict {
        let verdict = self.schedule().judge(answer, self.clock.uptime(), deadline);
        self.demand.notify_one();
        verdict
    }

    async fn until_due(&self) {
        loop {
            let wait = self.schedule().until_start(self.clock.uptime());
            if wait.is_zero() {
                return;
            }
            select! {
                () = self.clock.sleep(wait) => {}
                () = self.demand.notified() => {}
            }
        }
    }

    async fn fetch(&self) -> Result<(KeySet, Vec<LeftOut>), FetchError> {
        let fetcher = Arc::clone(&self.fetcher);
        let fetching = tokio::task::spawn_blocking(move || fetcher.fetch());
        fetching.await.unwrap_or(Err(FetchError::Panicked))
    }

    fn install(&self, keys: KeySet, left_out: &[LeftOut]) {
        let now = self.clock.uptime();
        let kids: Vec<String> = keys.kids().map(str::to_owned).collect();
        let hashes: Vec<KidHash> = keys.kids().map(|kid| KidHash(self.random.hash_one(kid))).collect();
        let old = self.snapshot.load();
        let unchanged = old.as_ref().filter(|old| old.keys.same_as(&keys));
        log_keys(&kids, left_out, unchanged.is_some());
        let proofs = unchanged.map_or_else(
            || Arc::new(Proofs::with_room_for(self.remembered_tokens)),
            |old| Arc::clone(&old.proofs),
        );
        self.snapshot.store(Some(Arc::new(Snapshot { keys, proofs, fetched_at: now })));
        self.schedule().succeed(now, hashes);
        self.status.send_modify(|status| {
            status.succeeded += 1;
            status.last_failure = None;
            status.kids = kids;
        });
    }

    fn go_on_without(&self, error: &FetchError) {
        let now = self.clock.uptime();
        let retry_in = self.schedule().fail(now, self.random.hash_one(now));
        warn!(?retry_in, "the issuer's keys can't be fetched: {error}");
        self.status.send_modify(|status| {
            status.failed += 1;
            status.last_failure = Some(error.to_string());
        });
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_keys(kids: &[String], left_out: &[LeftOut], unchanged: bool) {
    if unchanged {
        debug!(count = kids.len(), "the issuer's keys are unchanged");
        return;
    }
    info!(count = kids.len(), ?kids, "the issuer's keys changed");
    if !left_out.is_empty() {
        warn!("keys of the issuer that are not used: {}", listed(left_out));
    }
}
