//! Time as the domain sees it: instants as numbers, and the [`Clock`] port that tells the present one.

use std::time::Duration;

use async_trait::async_trait;
use jiff::fmt::temporal::DateTimePrinter;

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
        let mut text = String::with_capacity(RFC3339_LENGTH);
        self.push_rfc3339(&mut text);
        text
    }

    /// Adds what [`UnixMillis::to_rfc3339`] returns to a text.
    pub fn push_rfc3339(self, to: &mut String) {
        push_rfc3339(to, jiff::Timestamp::from_millisecond(self.0).ok(), self.0 < 0, 3);
    }
}

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMicros(pub i64);

impl UnixMicros {
    /// Adds RFC 3339 in UTC with six fractional digits to a text, bounded as [`UnixMillis::to_rfc3339`] is.
    pub fn push_rfc3339(self, to: &mut String) {
        push_rfc3339(to, jiff::Timestamp::from_microsecond(self.0).ok(), self.0 < 0, 6);
    }
}

/// What a present instant takes, with microseconds.
const RFC3339_LENGTH: usize = "2026-11-23T01:04:37.985000Z".len();

fn push_rfc3339(to: &mut String, at: Option<jiff::Timestamp>, is_past: bool, digits: u8) {
    let nearest = if is_past { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    // Writing to memory can't fail.
    let _ = DateTimePrinter::new().precision(Some(digits)).print_timestamp(&at.unwrap_or(nearest), to);
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
    fn microseconds_have_six_digits_and_are_added() {
        let mut text = "at ".to_owned();
        UnixMicros(1_795_395_877_985_000).push_rfc3339(&mut text);
        UnixMicros(i64::MIN).push_rfc3339(&mut text);
        assert_eq!(text, "at 2026-11-23T01:04:37.985000Z-009999-01-02T01:59:59.000000Z");
    }

    #[test]
    fn seconds_round_down_before_the_epoch_too() {
        assert_eq!(UnixMillis(1_999).seconds(), UnixSeconds(1));
        assert_eq!(UnixMillis(-1).seconds(), UnixSeconds(-1));
    }
}
