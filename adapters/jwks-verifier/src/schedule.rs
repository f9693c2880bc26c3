//! When to fetch keys, and whether a request with an unknown key waits for a fetch. Decisions only: the present time is
//! passed in, and nothing here waits, fetches or logs.
//!
//! The rules:
//! - Cold start: until the first keys arrive, fetches start at short, jittered intervals, whether or not the earlier ones
//!   have ended, and up to [`MAX_COLD_FETCHES`] overlap, so that an issuer that hangs delays nothing. After about 20 s the
//!   intervals double, up to `refresh_every`.
//! - From then on fetches never overlap, and each takes a token from a bucket: [`bucket::FETCH_BURST`] at once, then one per
//!   `min_fetch_interval`. The fetch that brings the first keys takes one, too.
//! - A fetch is due `refresh_every` after a success; after failures in a row, after growing and jittered waits.
//! - A request whose `kid` is unknown demands a fetch if the bucket permits one before the request's deadline. A
//!   successful fetch that started after the first request for the `kid` proves that it is not published; for
//!   `unknown_kid_memory` no further fetch is made for it.
//! - A request that can't wait, or can't any longer, fails with "unknown key" while there are usable keys and the issuer
//!   answers: the token is at fault. Without usable keys, or if the newest fetch failed or hangs, it fails with "keys
//!   unavailable", since a key that was rotated meanwhile may have signed the token. A key that a fetch has shown to be
//!   withdrawn is unknown in any case.

mod bucket;
mod kids;

use std::collections::HashSet;
use std::time::Duration;

use crate::Options;

use bucket::TokenBucket;
pub(crate) use kids::KidHash;
use kids::KidHistory;

/// The maximum number of overlapping fetches, all of them before the first keys.
pub(crate) const MAX_COLD_FETCHES: usize = 10;

/// The shortest and the longest interval between the first fetches of a cold start.
const MIN_COLD_INTERVAL: Duration = Duration::from_millis(100);
const MAX_COLD_INTERVAL: Duration = Duration::from_millis(800);

/// The number of fetches of a cold start after which the intervals grow beyond [`MAX_COLD_INTERVAL`].
const QUICK_COLD_FETCHES: u32 = 32;

/// The maximum timeout of a fetch of a cold start while another one has the full timeout, for a slow issuer.
const OVERLAPPING_FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum wait of a request that arrives when the bucket is empty, and the time after which a fetch counts as
/// hanging.
const BRIEF_WAIT: Duration = Duration::from_millis(750);

/// The minimum of `retry_after`.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The number of a fetch, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct FetchNumber(u64);

/// A fetch that starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) number: FetchNumber,
    pub(crate) timeout: Duration,
}

/// A request that lacks its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PendingRequest {
    kid: KidHash,
    /// The first fetch whose success proves that the `kid` is not published.
    decided_by: FetchNumber,
    /// When the request gives up.
    pub(crate) deadline: Duration,
}

/// The decision about a pending request whose key is still missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A fetch under way or permitted before the deadline may bring the key.
    Wait,
    /// The token is at fault.
    UnknownKid,
    /// The issuer is at fault; the token may be good.
    Unavailable {
        /// The wait after which a fetch may have succeeded.
        retry_after: Duration,
    },
}

/// The state of fetching.
#[derive(Debug)]
pub(crate) struct Schedule {
    refresh_every: Duration,
    keep_through_outage: Duration,
    wait_for_keys: Duration,
    fetch_timeout: Duration,
    bucket: TokenBucket,
    /// The newest fetch, and when it started.
    newest: FetchNumber,
    newest_started: Duration,
    in_flight: usize,
    /// The fetch under way that has the full timeout.
    with_full_timeout: Option<FetchNumber>,
    /// The number of scheduled fetches of the cold start.
    cold_fetches: u32,
    succeeded: FetchNumber,
    failed: FetchNumber,
    failures_in_a_row: u32,
    /// Until when the keys may be used; `None` before the first ones.
    usable_until: Option<Duration>,
    /// When the next fetch is due although no request demands one.
    due: Duration,
    demanded: bool,
    kids: KidHistory,
}

impl Schedule {
    /// Returns the schedule of a cold start; the first fetch is due at once.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            refresh_every: options.refresh_every,
            keep_through_outage: options.keep_through_outage,
            wait_for_keys: options.wait_for_keys,
            fetch_timeout: options.fetch_timeout,
            bucket: TokenBucket::new(options.min_fetch_interval),
            newest: FetchNumber::default(),
            newest_started: Duration::ZERO,
            in_flight: 0,
            with_full_timeout: None,
            cold_fetches: 0,
            succeeded: FetchNumber::default(),
            failed: FetchNumber::default(),
            failures_in_a_row: 0,
            usable_until: None,
            due: Duration::ZERO,
            demanded: false,
            kids: KidHistory::new(options.unknown_kid_memory),
        }
    }

    /// Returns how long to wait before the next fetch starts if nothing happens meanwhile; `None` if it waits for the
    /// end of a fetch.
    pub(crate) fn until_start(&self, now: Duration) -> Option<Duration> {
        let max_in_flight = if self.is_cold() { MAX_COLD_FETCHES } else { 1 };
        let start =
            if self.demanded { self.bucket.permits_at().min(self.scheduled()) } else { self.scheduled() };
        (self.in_flight < max_in_flight).then(|| start.saturating_sub(now))
    }

    /// Notes that a fetch starts now. `jitter` is a random number.
    pub(crate) fn start(&mut self, now: Duration, jitter: u64) -> Fetch {
        self.newest = self.next_number();
        self.newest_started = now;
        self.in_flight += 1;
        self.demanded = false;
        if self.is_cold() && self.due <= now {
            self.due = now.saturating_add(jittered(self.cold_interval(), jitter));
            self.cold_fetches = self.cold_fetches.saturating_add(1);
        } else {
            self.bucket.take(now);
        }
        let timeout = if self.with_full_timeout.is_some() {
            self.fetch_timeout.min(OVERLAPPING_FETCH_TIMEOUT)
        } else {
            self.with_full_timeout = Some(self.newest);
            self.fetch_timeout
        };
        Fetch { number: self.newest, timeout }
    }

    /// Notes that a fetch brought keys with these kids. Other fetches under way are abandoned.
    pub(crate) fn succeed(&mut self, number: FetchNumber, now: Duration, kids: HashSet<KidHash>) {
        if self.is_cold() {
            self.bucket.take(now);
        }
        self.in_flight = 0;
        self.with_full_timeout = None;
        self.failures_in_a_row = 0;
        self.usable_until = Some(now.saturating_add(self.keep_through_outage));
        self.due = now.saturating_add(self.refresh_every);
        self.succeeded = number;
        self.kids.publish(kids, number, now);
    }

    /// Notes that a fetch failed, and returns the wait until the next one. `jitter` is a random number.
    pub(crate) fn fail(&mut self, number: FetchNumber, now: Duration, jitter: u64) -> Duration {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.with_full_timeout = self.with_full_timeout.filter(|fetch| *fetch != number);
        self.failed = self.failed.max(number);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if !self.is_cold() {
            let doubled = 2_u32.saturating_pow(self.failures_in_a_row);
            let longest = self.bucket.interval.saturating_mul(doubled).min(self.refresh_every);
            self.due = now.saturating_add(jittered(longest, jitter));
        }
        self.until_start(now).unwrap_or_default()
    }

    /// Registers a request whose `kid` is not in the key set; `None` if a fetch proved a while ago that it is unknown.
    pub(crate) fn register(&mut self, kid: KidHash, now: Duration) -> Option<PendingRequest> {
        let decided_by = self.kids.register(kid, now, self.failed, self.next_number())?;
        let is_brief = self.has_keys(now) && self.bucket.permits_at() > now;
        let wait = if is_brief { self.wait_for_keys.min(BRIEF_WAIT) } else { self.wait_for_keys };
        Some(PendingRequest { kid, decided_by, deadline: now.saturating_add(wait) })
    }

    /// Judges a request that still lacks its key. Demands a fetch if one is needed and permitted in time.
    pub(crate) fn judge(&mut self, request: &PendingRequest, now: Duration, may_wait: bool) -> Verdict {
        if self.succeeded >= request.decided_by {
            return Verdict::UnknownKid;
        }
        if may_wait && now < request.deadline && self.may_be_resolved(request, now) {
            return Verdict::Wait;
        }
        let is_failing = self.failures_in_a_row > 0 || self.is_hanging(now);
        if self.kids.is_withdrawn(request.kid) || (self.has_keys(now) && !is_failing) {
            return Verdict::UnknownKid;
        }
        Verdict::Unavailable { retry_after: self.retry_after(now) }
    }

    fn may_be_resolved(&mut self, request: &PendingRequest, now: Duration) -> bool {
        let has_failed = self.failed >= request.decided_by;
        if has_failed && self.has_keys(now) {
            // Its fetch has failed; another one at once would only empty the bucket.
            return false;
        }
        if self.in_flight > 0 {
            // It may have started too early to prove the kid unknown, but not too early to bring the key.
            return true;
        }
        let is_due_soon = self.is_cold() && self.due.saturating_sub(now) <= MAX_COLD_INTERVAL;
        if !has_failed && !is_due_soon && self.bucket.permits_at() < request.deadline {
            self.demanded = true;
            return true;
        }
        self.scheduled() < request.deadline
    }

    /// Returns whether a request demands a fetch.
    pub(crate) fn is_demanded(&self) -> bool {
        self.demanded
    }

    fn is_cold(&self) -> bool {
        self.usable_until.is_none()
    }

    fn has_keys(&self, now: Duration) -> bool {
        self.usable_until.is_some_and(|until| now <= until)
    }

    /// Returns whether a fetch takes so long that the issuer may be down.
    fn is_hanging(&self, now: Duration) -> bool {
        self.in_flight > 0 && now.saturating_sub(self.newest_started) >= BRIEF_WAIT
    }

    /// Returns when the next fetch starts if no request demands one.
    fn scheduled(&self) -> Duration {
        if self.is_cold() { self.due } else { self.due.max(self.bucket.permits_at()) }
    }

    fn cold_interval(&self) -> Duration {
        let quick =
            MIN_COLD_INTERVAL.saturating_mul(2_u32.saturating_pow(self.cold_fetches)).min(MAX_COLD_INTERVAL);
        let slow = self.cold_fetches.saturating_sub(QUICK_COLD_FETCHES);
        quick.saturating_mul(2_u32.saturating_pow(slow)).min(self.refresh_every)
    }

    fn retry_after(&self, now: Duration) -> Duration {
        let next = if self.in_flight > 0 && !self.is_cold() {
            self.newest_started.saturating_add(self.fetch_timeout)
        } else {
            self.scheduled().min(self.bucket.permits_at())
        };
        next.saturating_sub(now).max(MIN_RETRY_AFTER)
    }

    fn next_number(&self) -> FetchNumber {
        FetchNumber(self.newest.0 + 1)
    }
}

/// Returns a wait between half of `longest` and all of it, so that servers that lost the issuer at the same time do not
/// return at the same time.
fn jittered(longest: Duration, random: u64) -> Duration {
    let fraction = f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    longest / 2 + (longest / 2).mul_f64(fraction)
}

#[cfg(test)]
mod tests;
