//! Quotas: at which rate somebody may ask (`600/minute`, `600/minute burst 50`), what a request counts by, and what is said of it.
//! Whoever counts keeps no more than how far each holder is ahead of the steady pace, which is the theoretical arrival time (TAT)
//! of GCRA.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::pool::Exhausted;
use crate::principal::Principal;
use crate::throttle::{Allowance, Operation, Verdict};
use crate::tool::ToolName;

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
    #[must_use]
    pub fn interval(self) -> u64 {
        self.period.nanos().div_ceil(u64::from(self.count))
    }

    /// Returns the nanoseconds that a whole burst is ahead of the steady pace.
    #[must_use]
    pub fn tolerance(self) -> u64 {
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

/// The rates of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of one subject (`sub`), whatever clients it uses.
    pub subject: Option<Rate>,
    /// Of one OAuth client, whatever subjects it acts for.
    pub client: Option<Rate>,
    /// Of one address, before authentication.
    pub address: Option<Rate>,
    /// Of tools.
    pub tools: HashMap<ToolName, ToolQuota>,
}

/// What is said of one tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolQuota {
    /// How often one subject may call it.
    pub subject: Option<Rate>,
    /// As how many requests a call counts by subject and by client.
    pub weight: u32,
}

/// One of the quotas that a request counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota<'r> {
    /// What is counted by, as [`Allowance::policy`] has it.
    pub policy: &'static str,
    /// Whose use is counted: a subject or a client, or a subject and a tool.
    pub holder: [&'r str; 2],
    /// How often the holder may ask.
    pub rate: Rate,
    /// As how many requests this one counts; at most a whole burst, since more could never come.
    pub weight: u32,
}

impl Rates {
    /// Returns whether anything is counted.
    #[must_use]
    pub fn are_any(&self) -> bool {
        let tool = self.tools.values().any(|tool| tool.subject.is_some());
        tool || self.subject.is_some() || self.client.is_some() || self.address.is_some()
    }

    /// Returns what a JSON-RPC request counts by: all of it, or none.
    #[must_use]
    pub fn quotas<'r>(&self, principal: &'r Principal, operation: Operation<'r>) -> [Option<Quota<'r>>; 3] {
        let of_tool = operation.tool.and_then(|tool| Some((tool, self.tools.get(tool)?)));
        let weight = of_tool.map_or(1, |(_, quota)| quota.weight);
        let (subject, client) = (principal.subject(), principal.client());
        let quota = |policy, holder, rate: Rate, weight: u32| {
            let weight = weight.min(rate.burst());
            Quota { policy, holder, rate, weight }
        };
        [
            self.subject.map(|rate| quota("subject", [subject, ""], rate, weight)),
            self.client.map(|rate| quota("client", [client, ""], rate, weight)),
            of_tool.and_then(|(tool, of_tool)| {
                Some(quota("tool", [subject, tool.as_str()], of_tool.subject?, 1))
            }),
        ]
    }
}

/// How a holder stands with a quota, if the request counts that is being judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What is counted by, as [`Allowance::policy`] has it.
    pub policy: &'static str,
    /// How often the holder may ask.
    pub rate: Rate,
    /// How far it is ahead of the steady pace, in nanoseconds: when nothing is used.
    pub ahead: u64,
}

impl Standing {
    /// Judges a request by all of its quotas: how much is left of the one that is nearest to its end.
    ///
    /// # Errors
    /// [`Exhausted::Rate`], by the quota that takes longest to recover.
    pub fn judge(standings: impl Iterator<Item = Self> + Clone) -> Verdict {
        let longest = standings.clone().max_by_key(Self::early_by);
        if let Some(standing) = longest.filter(|standing| standing.early_by() > 0) {
            return Err(standing.refusal(standing.early_by()));
        }
        Ok(standings.map(|standing| standing.allowance()).min_by_key(|allowance| allowance.remaining))
    }

    /// Returns the refusal for so many nanoseconds.
    #[must_use]
    pub fn refusal(&self, wait: u64) -> Exhausted {
        let retry_after = Duration::from_nanos(wait);
        let allowance = Allowance { remaining: 0, reset: whole_seconds(wait), ..self.allowance() };
        Exhausted::Rate { retry_after, allowance: Some(allowance) }
    }

    /// Returns the nanoseconds that the request is too early by; 0: it may be.
    fn early_by(&self) -> u64 {
        self.ahead.saturating_sub(self.rate.tolerance())
    }

    /// Returns how much is left once the request has counted.
    fn allowance(&self) -> Allowance {
        let (interval, tolerance) = (self.rate.interval(), self.rate.tolerance());
        let left = tolerance.saturating_sub(self.ahead) / interval;
        // Until one more may come than may now.
        let reset = left
            .saturating_add(1)
            .saturating_mul(interval)
            .saturating_add(self.ahead)
            .saturating_sub(tolerance);
        Allowance {
            policy: self.policy,
            quota: self.rate.burst(),
            window: u32::try_from(self.rate.window().as_secs()).unwrap_or(u32::MAX),
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            reset: whole_seconds(reset),
        }
    }
}

/// Returns nanoseconds in whole seconds, never too short.
fn whole_seconds(nanos: u64) -> u32 {
    u32::try_from(nanos.div_ceil(NANOS)).unwrap_or(u32::MAX)
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

    #[test]
    fn one_more_may_come_at_the_reset_and_not_before() {
        let rate = Rate::parse("1/second burst 3").unwrap();
        let told = |ahead| {
            let allowance = Standing { policy: "subject", rate, ahead }.allowance();
            (allowance.remaining, allowance.reset)
        };
        assert_eq!(told(NANOS), (2, 1));
        assert_eq!(told(2 * NANOS), (1, 1));
        assert_eq!(told(2 * NANOS + 1), (0, 1));
        assert_eq!(told(3 * NANOS), (0, 1));
        let rate = Rate::parse("1/minute burst 3").unwrap();
        let allowance = Standing { policy: "subject", rate, ahead: 90 * NANOS }.allowance();
        assert_eq!((allowance.remaining, allowance.reset), (1, 30));
    }
}
