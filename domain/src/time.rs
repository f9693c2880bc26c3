//! Time as the domain sees it: instants as numbers, and the [`Clock`] port that tells the present one.

use std::cell::Cell;
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
        match Shown::of(self.0.div_euclid(1000)) {
            Some(shown) => shown.push(self.0.rem_euclid(1000) * 1000, 3, to),
            None => push_unusual(to, jiff::Timestamp::from_millisecond(self.0).ok(), self.0 < 0, 3),
        }
    }
}

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMicros(pub i64);

impl UnixMicros {
    /// Adds RFC 3339 in UTC with six fractional digits to a text, bounded as [`UnixMillis::to_rfc3339`] is.
    pub fn push_rfc3339(self, to: &mut String) {
        match Shown::of(self.0.div_euclid(1_000_000)) {
            Some(shown) => shown.push(self.0.rem_euclid(1_000_000), 6, to),
            None => push_unusual(to, jiff::Timestamp::from_microsecond(self.0).ok(), self.0 < 0, 6),
        }
    }
}

/// What a present instant takes, with microseconds.
const RFC3339_LENGTH: usize = "2026-11-23T01:04:37.985000Z".len();

/// What a second takes, without a fraction and what is behind it.
const SECOND_LENGTH: usize = "2026-11-23T01:04:37".len();
/// The seconds that take as much: from 1970 to the last day of the year 9999 that all time zones have.
const USUAL: std::ops::Range<i64> = 0..253_402_128_000;

/// A second as text, with room for microseconds.
#[derive(Clone, Copy)]
struct Shown([u8; RFC3339_LENGTH]);

thread_local! {
    /// The second that was shown last: lines of a log come many in one.
    static LATEST: Cell<(i64, Shown)> = const { Cell::new((0, Shown(*b"1970-01-01T00:00:00.000000Z"))) };
}

impl Shown {
    /// Returns a second; `None` for one that takes more than is usual.
    fn of(second: i64) -> Option<Self> {
        let (known, shown) = LATEST.get();
        if known == second {
            return Some(shown);
        }
        let shown = Self::anew(second)?;
        LATEST.set((second, shown));
        Some(shown)
    }

    #[cold]
    fn anew(second: i64) -> Option<Self> {
        let at = USUAL.contains(&second).then(|| jiff::Timestamp::from_second(second))?.ok()?;
        let mut text = String::with_capacity(RFC3339_LENGTH);
        push_unusual(&mut text, Some(at), false, 6);
        text.into_bytes().try_into().ok().map(Self)
    }

    /// Adds the second and the first digits of its microseconds to a text.
    fn push(self, micros: i64, digits: usize, to: &mut String) {
        let Self(mut text) = self;
        // Below a million.
        let mut rest = u32::try_from(micros).unwrap_or_default();
        for digit in text[SECOND_LENGTH + 1..].iter_mut().take(6).rev() {
            *digit = b"0123456789"[(rest % 10) as usize];
            rest /= 10;
        }
        let end = SECOND_LENGTH + 1 + digits;
        text[end] = b'Z';
        // It is ASCII.
        to.push_str(str::from_utf8(&text[..=end]).unwrap_or_default());
    }
}

fn push_unusual(to: &mut String, at: Option<jiff::Timestamp>, is_past: bool, digits: u8) {
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
    fn each_instant_is_shown_as_its_own_whichever_was_before_it() {
        let expected = |millis: i64| {
            let at = jiff::Timestamp::from_millisecond(millis).unwrap();
            format!("{at:.3}")
        };
        let usual_end = USUAL.end * 1000;
        let instants = [0, 1, 999, 1000, 1_795_395_877_985, 951_782_399_999, 951_782_400_000, usual_end];
        for millis in instants.into_iter().flat_map(|millis| [millis, millis - 1, millis + 1000, millis]) {
            assert_eq!(UnixMillis(millis).to_rfc3339(), expected(millis));
            let mut text = String::new();
            UnixMicros(millis * 1000 + 7).push_rfc3339(&mut text);
            assert_eq!(text, expected(millis).replace('Z', "007Z"));
        }
    }

    #[test]
    fn seconds_round_down_before_the_epoch_too() {
        assert_eq!(UnixMillis(1_999).seconds(), UnixSeconds(1));
        assert_eq!(UnixMillis(-1).seconds(), UnixSeconds(-1));
    }
}
