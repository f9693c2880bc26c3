//! Rates, as the configuration has them: `600/minute`, `600/minute burst 50`.

use std::fmt;
use std::time::Duration;

/// How many may come in a time, and how many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Period,
    burst: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
    Day,
}

const PERIODS: [(&str, Period); 4] =
    [("second", Period::Second), ("minute", Period::Minute), ("hour", Period::Hour), ("day", Period::Day)];

/// The text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a rate, such as \"600/minute\" or \"600/minute burst 50\": 1 to {max} per second, minute, hour or day, and a burst that comes \
     back within a year",
    max = Rate::MAX
)]
pub struct NotARate;

impl Rate {
    /// The most that a rate, or its burst, can have.
    pub const MAX: u32 = 1_000_000;

    /// Reads a rate. Without a burst as many may come at once as in the whole period.
    ///
    /// # Errors
    /// [`NotARate`].
    pub fn parse(text: &str) -> Result<Self, NotARate> {
        let mut words = text.split_ascii_whitespace();
        let (count, period) = words.next().and_then(|rate| rate.split_once('/')).ok_or(NotARate)?;
        let count = number(count)?;
        let period = PERIODS.iter().find(|(name, _)| *name == period).ok_or(NotARate)?.1;
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => count,
            (Some("burst"), Some(burst), None) => number(burst)?,
            _ => return Err(NotARate),
        };
        let rate = Self { count, period, burst };
        if rate.window() > MAX_WINDOW { Err(NotARate) } else { Ok(rate) }
    }

    /// Returns how many may come at once, after a pause.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// Returns the time in which as many come back as may come at once; whole seconds, rounded up.
    #[must_use]
    pub fn window(self) -> Duration {
        let seconds = u64::from(self.burst) * (self.period.nanos() / NANOS);
        Duration::from_secs(seconds.div_ceil(u64::from(self.count)))
    }

    /// Returns the nanoseconds from one to the next at a steady pace, rounded up: never more come than the rate says.
    pub(crate) fn interval(self) -> u64 {
        self.period.nanos().div_ceil(u64::from(self.count))
    }

    /// Returns the nanoseconds that a whole burst is ahead of the steady pace.
    pub(crate) fn tolerance(self) -> u64 {
        self.interval() * u64::from(self.burst)
    }
}

const NANOS: u64 = 1_000_000_000;
/// A burst that comes back more slowly is a mistake, and its nanoseconds might not fit.
const MAX_WINDOW: Duration = Duration::from_hours(366 * 24);

impl Period {
    const fn nanos(self) -> u64 {
        NANOS
            * match self {
                Self::Second => 1,
                Self::Minute => 60,
                Self::Hour => 60 * 60,
                Self::Day => 24 * 60 * 60,
            }
    }
}

fn number(text: &str) -> Result<u32, NotARate> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (1..=Rate::MAX).contains(number));
    number.ok_or(NotARate)
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PERIODS.iter().find(|(_, period)| *period == self.period).map_or("", |(name, _)| *name);
        write!(formatter, "{}/{name} burst {}", self.count, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let rate = Rate::parse("600/minute").unwrap();
        assert_eq!(
            (rate.burst(), rate.window(), rate.interval()),
            (600, Duration::from_mins(1), 100_000_000)
        );
        let rate = Rate::parse(" 7/day  burst 2 ").unwrap();
        assert_eq!((rate.burst(), rate.to_string().as_str()), (2, "7/day burst 2"));
        assert_eq!(rate.window().as_secs(), 24_686, "two of seven parts of a day, rounded up");
        assert_eq!(Rate::parse("7/second").unwrap().interval(), 142_857_143, "rounded up");
        assert_eq!(Rate::parse("7/minute").unwrap().window().as_secs(), 60);
        for bad in [
            "",
            "600",
            "/minute",
            "600/",
            "0/minute",
            "600/min",
            "-1/day",
            "+1/day",
            "1.5/second",
            "1000001/day",
            "600/minute burst",
            "600/minute burst 0",
            "600/minute 50",
            "600/minute burst 5 6",
            "600 / minute",
            "1/day burst 367",
        ] {
            assert_eq!(Rate::parse(bad), Err(NotARate), "{bad}");
        }
    }
}
