//! The tenant's clock: the system's, and how far a test has set it off. The one reader of the system's clock in this crate.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock in whole seconds.
#[derive(Debug, Default)]
pub(crate) struct TenantClock {
    offset: AtomicI64,
}

impl TenantClock {
    /// Seconds since 1970, as JWT dates are counted (RFC 7519 section 2, `NumericDate`).
    #[expect(
        clippy::disallowed_methods,
        reason = "the tenant depends on nothing of ours, so on no Clock port"
    )]
    pub(crate) fn now(&self) -> i64 {
        // A machine whose clock is before 1970 gets tokens that nobody accepts, not a panic.
        let system = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        i64::try_from(system).unwrap_or(i64::MAX).saturating_add(self.offset.load(Ordering::Relaxed))
    }

    /// From now on the clock is this many seconds ahead of the system's; negative ones are behind.
    pub(crate) fn set_offset(&self, seconds: i64) {
        self.offset.store(seconds, Ordering::Relaxed);
    }
}
