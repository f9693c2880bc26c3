//! A token bucket, by the tenant's clock.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many requests are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// At once.
    pub(crate) burst: u32,
    /// In the long run.
    pub(crate) per_second: u32,
}

/// A bucket that is filled again every second.
#[derive(Debug, Default)]
pub(crate) struct RateLimit(Mutex<Option<Bucket>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: Rate,
    left: u32,
    filled_at: i64,
}

/// What a request found in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) is_exceeded: bool,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// When there is more again, in seconds since 1970.
    pub(crate) reset: i64,
}

impl RateLimit {
    /// Takes a request out of the bucket. Another rate than that of the request before begins with a full bucket.
    pub(crate) fn take(&self, now: i64, rate: Rate) -> Quota {
        let mut slot = self.lock();
        let full = Bucket { rate, left: rate.burst, filled_at: now };
        let mut bucket = slot.filter(|bucket| bucket.rate == rate).unwrap_or(full);
        // None when the clock was set back.
        let seconds = u32::try_from(now.saturating_sub(bucket.filled_at)).unwrap_or_default();
        bucket.left = bucket.left.saturating_add(seconds.saturating_mul(rate.per_second)).min(rate.burst);
        bucket.filled_at = now;
        let is_exceeded = bucket.left == 0;
        bucket.left = bucket.left.saturating_sub(1);
        *slot = Some(bucket);
        Quota { is_exceeded, limit: rate.burst, remaining: bucket.left, reset: now.saturating_add(1) }
    }

    /// No code panics while it holds the lock, so the value in a poisoned one is consistent.
    fn lock(&self) -> MutexGuard<'_, Option<Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, per_second: 2 };

    #[test]
    fn a_burst_is_allowed_and_then_so_many_a_second() {
        let limit = RateLimit::default();
        let remaining: Vec<u32> = (0..3).map(|_| limit.take(100, RATE).remaining).collect();
        assert_eq!(remaining, [2, 1, 0]);
        let refused = limit.take(100, RATE);
        assert_eq!(refused, Quota { is_exceeded: true, limit: 3, remaining: 0, reset: 101 });
        assert!(!limit.take(101, RATE).is_exceeded);
        assert!(!limit.take(101, RATE).is_exceeded);
        assert!(limit.take(101, RATE).is_exceeded);
        assert_eq!(limit.take(1000, RATE).remaining, 2, "no more than a burst is saved");
    }

    #[test]
    fn a_clock_that_is_set_back_fills_nothing_and_locks_nobody_out() {
        let limit = RateLimit::default();
        for _ in 0..3 {
            limit.take(1000, RATE);
        }
        assert!(limit.take(10, RATE).is_exceeded);
        assert!(!limit.take(11, RATE).is_exceeded);
    }

    #[test]
    fn another_rate_begins_with_a_full_bucket() {
        let limit = RateLimit::default();
        limit.take(1, Rate { burst: 1, per_second: 1 });
        assert!(limit.take(1, Rate { burst: 1, per_second: 1 }).is_exceeded);
        assert!(!limit.take(1, RATE).is_exceeded);
        assert!(limit.take(1, Rate { burst: 0, per_second: 1 }).is_exceeded);
    }
}
