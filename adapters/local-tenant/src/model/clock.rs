//! The tenant's clock: the system's clock plus an offset that tests set. Nothing else in this crate reads the system's clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock in whole seconds.
#[derive(Debug, Default)]
pub(crate) struct TenantClock {
    offset: AtomicI64,
}

impl TenantClock {
    /// Returns the seconds since 1970 (`NumericDate`, RFC 7519 section 2).
    #[expect(
        clippy::disallowed_methods,
        reason = "the tenant does not depend on the domain, so it has no Clock port"
    )]
    pub(crate) fn now(&self) -> i64 {
        // With a system clock before 1970, tokens are useless, but nothing panics.
        let system = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        i64::try_from(system).unwrap_or(i64::MAX).saturating_add(self.offset.load(Ordering::Relaxed))
    }

    /// Sets how many seconds the clock is ahead of the system's; negative values set it back.
    pub(crate) fn set_offset(&self, seconds: i64) {
        self.offset.store(seconds, Ordering::Relaxed);
    }
}
