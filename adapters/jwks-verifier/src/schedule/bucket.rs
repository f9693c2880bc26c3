//! The budget of fetches: [`FETCH_BURST`] at once, then one per interval.

use std::time::Duration;

/// The maximum number of fetches at once, after a quiet time.
pub(super) const FETCH_BURST: u32 = 3;

/// A budget of fetches that refills.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// The time in which one token refills.
    pub(super) interval: Duration,
    full_at: Duration,
}

impl TokenBucket {
    /// Returns a bucket that is full.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, full_at: Duration::ZERO }
    }

    /// Returns when there is a token.
    pub(super) fn permits_at(&self) -> Duration {
        self.full_at.saturating_sub(self.interval.saturating_mul(FETCH_BURST - 1))
    }

    /// Takes a token.
    pub(super) fn take(&mut self, now: Duration) {
        let empty = now.saturating_add(self.interval.saturating_mul(FETCH_BURST));
        self.full_at = self.full_at.max(now).saturating_add(self.interval).min(empty);
    }
}
