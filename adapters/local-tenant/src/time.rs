//! The one reader of the system's clock in this crate.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, as JWT dates are counted (RFC 7519 section 2, `NumericDate`).
#[expect(clippy::disallowed_methods, reason = "the tenant depends on nothing of ours, so on no Clock port")]
pub(crate) fn unix_seconds() -> u64 {
    // A machine whose clock is before 1970 gets tokens that nobody accepts, not a panic.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
