//! Time as the domain sees it: instants as numbers, and the [`Clock`] port that tells the present one.

use std::time::Duration;

use async_trait::async_trait;

/// Whole seconds since 1970-01-01T00:00:00Z: RFC 7519's `NumericDate` without its fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub i64);

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The second this instant lies in.
    #[must_use]
    pub const fn seconds(self) -> UnixSeconds {
        UnixSeconds(self.0.div_euclid(1000))
    }

    /// RFC 3339 in UTC with three fractional digits, as in `2026-11-23T01:04:37.985Z`.
    ///
    /// Instants beyond the years -9999 to 9999 are shown as the nearest one inside.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let nearest = if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        format!("{:.3}", jiff::Timestamp::from_millisecond(self.0).unwrap_or(nearest))
    }
}

/// The port through which everything learns the time and waits for it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present, by the calendar. It may jump; claims are judged by it.
    fn now(&self) -> UnixMillis;

    /// Time since an arbitrary origin, never going back; intervals are measured by it.
    fn uptime(&self) -> Duration;

    /// Completes once [`Clock::uptime`] has grown by `duration`.
    async fn sleep(&self, duration: Duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_has_three_digits_and_survives_any_input() {
        assert_eq!(UnixMillis(1_795_395_877_985).to_rfc3339(), "2026-11-23T01:04:37.985Z");
        assert_eq!(UnixMillis(0).to_rfc3339(), "1970-01-01T00:00:00.000Z");
        assert!(UnixMillis(i64::MAX).to_rfc3339().starts_with("9999-12-30T"));
        assert!(UnixMillis(i64::MIN).to_rfc3339().starts_with("-009999-01-02T"));
    }

    #[test]
    fn seconds_round_down_before_the_epoch_too() {
        assert_eq!(UnixMillis(1_999).seconds(), UnixSeconds(1));
        assert_eq!(UnixMillis(-1).seconds(), UnixSeconds(-1));
    }
}
