//! When to fetch keys, and what a request with an unknown key may hope for. Decisions only: the present is passed in,
//! and nothing here waits, fetches or logs.
//!
//! The rules:
//! - Fetches never overlap, and no two start within `min_fetch_interval` of each other, whatever arrives.
//! - A fetch is due `refresh_every` after a success; after failures in a row, after growing and jittered waits.
//! - A request whose `kid` is unknown makes a fetch due at the first permitted moment. Only a successful fetch that
//!   started after the `kid` was first asked for can prove that nobody published it: until then the answer is "not
//!   available", never "not valid", so that a token signed with a rotated key is not thrown away.
//! - A `kid` proved unknown stays so for `unknown_kid_memory` without another fetch.

use std::collections::HashMap;
use std::time::Duration;

use crate::Options;

/// The most kids that are remembered. Beyond it they are forgotten, which costs fetches within the limits above.
const MAX_STRANGERS: usize = 1024;

/// No client is told to come back sooner.
const LEAST_RETRY: Duration = Duration::from_secs(1);

/// A keyed hash of a `kid`, so that what a stranger sent takes no memory here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KidHash(pub(crate) u64);

/// The number of a fetch, from 1. Held by a request, it names the first fetch whose success answers the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FetchNumber(u64);

/// What a waiting request should do, provided that its key is still not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A fetch under way or permitted before the deadline may bring the key.
    Wait,
    /// A fetch has shown that nobody published the key.
    Unknown,
    /// No fetch can answer before the deadline.
    Unavailable {
        /// When one may have answered.
        retry_after: Duration,
    },
}

/// The state of fetching.
#[derive(Debug)]
pub(crate) struct Schedule {
    refresh_every: Duration,
    min_fetch_interval: Duration,
    fetch_timeout: Duration,
    unknown_kid_memory: Duration,
    /// The number of the newest fetch, and when it started.
    started: Option<(FetchNumber, Duration)>,
    under_way: bool,
    succeeded: FetchNumber,
    failures_in_a_row: u32,
    /// When the next fetch is due although nobody demands one.
    due: Duration,
    demanded: bool,
    strangers: HashMap<KidHash, Stranger>,
}

/// A `kid` that was asked for and is in no key set.
#[derive(Debug, Clone, Copy)]
enum Stranger {
    /// This fetch, or a later one, will tell.
    Asked(FetchNumber),
    /// A fetch told at that time.
    Unknown(Duration),
}

impl Schedule {
    /// Nothing fetched; the first fetch is due at once.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            refresh_every: options.refresh_every,
            min_fetch_interval: options.min_fetch_interval,
            fetch_timeout: options.fetch_timeout,
            unknown_kid_memory: options.unknown_kid_memory,
            started: None,
            under_way: false,
            succeeded: FetchNumber(0),
            failures_in_a_row: 0,
            due: Duration::ZERO,
            demanded: false,
            strangers: HashMap::new(),
        }
    }

    /// How long to wait before the next fetch starts, if nothing is demanded meanwhile.
    pub(crate) fn until_start(&self, now: Duration) -> Duration {
        let due = if self.demanded { Duration::ZERO } else { self.due };
        due.max(self.permitted()).saturating_sub(now)
    }

    /// A fetch starts now.
    pub(crate) fn start(&mut self, now: Duration) {
        self.started = Some((self.next_number(), now));
        self.under_way = true;
        self.demanded = false;
    }

    /// The fetch under way brought these keys.
    pub(crate) fn succeed(&mut self, now: Duration, brought: impl IntoIterator<Item = KidHash>) {
        self.under_way = false;
        self.failures_in_a_row = 0;
        self.due = now.saturating_add(self.refresh_every);
        self.succeeded = self.newest();
        for kid in brought {
            self.strangers.remove(&kid);
        }
        let (succeeded, memory) = (self.succeeded, self.unknown_kid_memory);
        self.strangers.retain(|_, stranger| match *stranger {
            Stranger::Asked(answer) if answer <= succeeded => {
                *stranger = Stranger::Unknown(now);
                true
            }
            Stranger::Asked(_) => true,
            Stranger::Unknown(since) => now.saturating_sub(since) < memory,
        });
    }

    /// The fetch under way failed. `jitter` is a random number; the wait until the next one is returned.
    pub(crate) fn fail(&mut self, now: Duration, jitter: u64) -> Duration {
        self.under_way = false;
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let doubled = 2_u32.saturating_pow(self.failures_in_a_row);
        let longest = self.min_fetch_interval.saturating_mul(doubled).min(self.refresh_every);
        // Half of it is random, so that servers which lost the issuer together don't come back together.
        let wait = longest / 2 + (longest / 2).mul_f64(fraction(jitter));
        self.due = now.saturating_add(wait);
        self.until_start(now)
    }

    /// A request asks for a `kid` that is not in the key set; `None` if it is remembered as unknown.
    pub(crate) fn ask(&mut self, kid: KidHash, now: Duration) -> Option<FetchNumber> {
        match self.strangers.get(&kid) {
            Some(Stranger::Asked(answer)) => return Some(*answer),
            Some(Stranger::Unknown(since)) if now.saturating_sub(*since) < self.unknown_kid_memory => {
                return None;
            }
            Some(Stranger::Unknown(_)) | None => {}
        }
        let answer = self.next_number();
        if self.strangers.len() < MAX_STRANGERS || self.strangers.contains_key(&kid) {
            self.strangers.insert(kid, Stranger::Asked(answer));
        }
        Some(answer)
    }

    /// What a request should do that still lacks its key and gives up at `deadline`. Demands a fetch if one is needed.
    pub(crate) fn judge(&mut self, answer: FetchNumber, now: Duration, deadline: Duration) -> Verdict {
        if self.succeeded >= answer {
            return Verdict::Unknown;
        }
        // The fetch under way may have started too early to prove the kid unknown, but not too early to bring it.
        if !self.under_way {
            self.demanded = true;
        }
        if now < deadline && (self.under_way || self.permitted() < deadline) {
            return Verdict::Wait;
        }
        Verdict::Unavailable { retry_after: self.retry_after(now) }
    }

    fn retry_after(&self, now: Duration) -> Duration {
        let started = self.started.map_or(now, |(_, at)| at);
        let over = if self.under_way { started.saturating_add(self.fetch_timeout) } else { self.permitted() };
        over.saturating_sub(now).max(LEAST_RETRY)
    }

    fn permitted(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |(_, at)| at.saturating_add(self.min_fetch_interval))
    }

    fn newest(&self) -> FetchNumber {
        self.started.map_or(FetchNumber(0), |(number, _)| number)
    }

    fn next_number(&self) -> FetchNumber {
        FetchNumber(self.newest().0 + 1)
    }
}

/// A number from 0 to 1.
fn fraction(random: u64) -> f64 {
    f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST_JITTER: u64 = 0;
    const MOST_JITTER: u64 = u64::MAX;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn schedule() -> Schedule {
        Schedule::new(&Options::for_issuer(&"https://t.example/".parse().unwrap()).unwrap())
    }

    /// A schedule whose first fetch succeeded at once, at zero.
    fn fetched() -> Schedule {
        let mut schedule = schedule();
        fetch(&mut schedule, s(0), &[]);
        schedule
    }

    fn fetch(schedule: &mut Schedule, at: Duration, brought: &[u64]) {
        assert_eq!(schedule.until_start(at), Duration::ZERO, "a fetch is due at {at:?}");
        schedule.start(at);
        schedule.succeed(at, brought.iter().copied().map(KidHash));
    }

    #[test]
    fn the_first_fetch_is_due_at_once_and_the_next_after_refresh_every() {
        let mut schedule = schedule();
        assert_eq!(schedule.until_start(s(7)), Duration::ZERO);
        schedule.start(s(7));
        schedule.succeed(s(9), []);
        assert_eq!(schedule.until_start(s(9)), s(600));
        assert_eq!(schedule.until_start(s(608)), s(1));
        assert_eq!(schedule.until_start(s(700)), Duration::ZERO);
    }

    #[test]
    fn failures_wait_longer_each_time_up_to_refresh_every() {
        for (jitter, expected) in [
            (LEAST_JITTER, [5, 10, 20, 40, 80, 160, 300, 300]),
            (MOST_JITTER, [10, 20, 40, 80, 160, 320, 600, 600]),
        ] {
            let mut schedule = schedule();
            let mut now = s(100);
            for seconds in expected {
                schedule.start(now);
                let wait = schedule.fail(now, jitter);
                assert_eq!(wait, s(seconds));
                now += wait;
            }
            fetch(&mut schedule, now, &[]);
            schedule.start(now);
            assert_eq!(schedule.fail(now, jitter), s(expected[0]), "a success ends the row");
        }
    }

    #[test]
    fn jitter_lies_between_half_and_whole() {
        let mut schedule = schedule();
        schedule.start(s(0));
        let wait = schedule.fail(s(0), u64::from(u32::MAX / 2) << 32);
        assert!(s(7) < wait && wait < s(8), "{wait:?}");
    }

    #[test]
    fn a_kid_is_unknown_only_by_a_fetch_that_started_after_it_was_asked_for() {
        let mut schedule = fetched();
        schedule.start(s(600));
        let answer = schedule.ask(KidHash(1), s(601)).unwrap();
        assert_eq!(schedule.judge(answer, s(601), s(604)), Verdict::Wait, "the fetch under way may bring it");
        schedule.succeed(s(603), []);
        assert_eq!(schedule.judge(answer, s(603), s(604)), Verdict::Unavailable { retry_after: s(2) });
        assert_eq!(schedule.until_start(s(603)), s(2), "one is demanded");
        fetch(&mut schedule, s(605), &[]);
        assert_eq!(schedule.judge(answer, s(605), s(608)), Verdict::Unknown);
        assert_eq!(schedule.ask(KidHash(1), s(605)), None, "and stays so");
    }

    #[test]
    fn an_unknown_kid_demands_one_fetch_at_the_first_permitted_moment() {
        for (asked, verdict, start) in [
            (1, Verdict::Unavailable { retry_after: s(4) }, 4),
            (2, Verdict::Unavailable { retry_after: s(3) }, 3),
            (3, Verdict::Wait, 2),
            (5, Verdict::Wait, 0),
            (100, Verdict::Wait, 0),
        ] {
            let mut schedule = fetched();
            let now = s(asked);
            let answer = schedule.ask(KidHash(1), now).unwrap();
            assert_eq!(schedule.until_start(now), s(600 - asked), "asking alone demands nothing");
            assert_eq!(schedule.judge(answer, now, s(asked + 3)), verdict, "asked at {now:?}");
            assert_eq!(schedule.until_start(now), s(start), "asked at {now:?}");
        }
    }

    #[test]
    fn no_flood_of_kids_starts_fetches_more_often_than_permitted() {
        let mut schedule = fetched();
        let mut starts = vec![s(0)];
        for millis in 0..60_000_u64 {
            let now = Duration::from_millis(millis);
            if let Some(answer) = schedule.ask(KidHash(millis), now) {
                let _ = schedule.judge(answer, now, now + s(3));
            }
            if schedule.until_start(now).is_zero() {
                schedule.start(now);
                starts.push(now);
                let _ = schedule.fail(now, LEAST_JITTER);
            }
        }
        assert_eq!(starts.len(), 12);
        assert!(starts.windows(2).all(|pair| pair[0] + s(5) <= pair[1]), "{starts:?}");
        assert_eq!(schedule.strangers.len(), MAX_STRANGERS);
    }

    #[test]
    fn a_remembered_kid_demands_nothing_until_it_is_forgotten() {
        let mut schedule = fetched();
        let answer = schedule.ask(KidHash(1), s(10)).unwrap();
        assert_eq!(schedule.judge(answer, s(10), s(13)), Verdict::Wait);
        fetch(&mut schedule, s(10), &[]);
        assert_eq!(schedule.ask(KidHash(1), s(69)), None);
        assert_eq!(schedule.until_start(s(69)), s(541));
        let again = schedule.ask(KidHash(1), s(70)).unwrap();
        assert_eq!(schedule.judge(again, s(70), s(73)), Verdict::Wait);
        assert_eq!(schedule.until_start(s(70)), Duration::ZERO);
    }

    #[test]
    fn a_key_that_arrives_is_no_stranger() {
        let mut schedule = fetched();
        let answer = schedule.ask(KidHash(1), s(1)).unwrap();
        let _ = schedule.judge(answer, s(1), s(4));
        fetch(&mut schedule, s(5), &[1]);
        assert!(schedule.strangers.is_empty());
        assert!(schedule.ask(KidHash(1), s(6)).is_some(), "were it revoked, it would be asked for again");
    }

    #[test]
    fn a_failed_fetch_proves_nothing_about_a_kid() {
        let mut schedule = fetched();
        let answer = schedule.ask(KidHash(1), s(10)).unwrap();
        assert_eq!(schedule.judge(answer, s(10), s(13)), Verdict::Wait);
        schedule.start(s(10));
        let _ = schedule.fail(s(11), MOST_JITTER);
        assert_eq!(schedule.judge(answer, s(11), s(13)), Verdict::Unavailable { retry_after: s(4) });
        assert_eq!(schedule.ask(KidHash(1), s(12)), Some(answer), "not remembered as unknown");
        assert_eq!(schedule.until_start(s(12)), s(3), "who asked gets a fetch before the backoff ends");
    }

    #[test]
    fn whoever_reaches_the_deadline_is_told_when_to_come_back() {
        let mut schedule = fetched();
        schedule.start(s(600));
        let answer = schedule.ask(KidHash(1), s(600)).unwrap();
        let at = |schedule: &mut Schedule, now| schedule.judge(answer, now, s(603));
        assert_eq!(
            at(&mut schedule, s(603)),
            Verdict::Unavailable { retry_after: s(2) },
            "the fetch's timeout"
        );
        assert_eq!(at(&mut schedule, s(610)), Verdict::Unavailable { retry_after: s(1) }, "never at once");
    }

    #[test]
    fn strangers_are_bounded_and_the_forgotten_are_asked_for_again() {
        let mut schedule = fetched();
        for kid in 0..5_000 {
            assert!(schedule.ask(KidHash(kid), s(5)).is_some());
        }
        assert_eq!(schedule.strangers.len(), MAX_STRANGERS);
        let answer = schedule.ask(KidHash(4_999), s(5)).unwrap();
        let _ = schedule.judge(answer, s(5), s(8));
        fetch(&mut schedule, s(5), &[]);
        assert_eq!(schedule.ask(KidHash(0), s(6)), None);
        assert!(schedule.ask(KidHash(4_999), s(6)).is_some());
        let _ = schedule.judge(FetchNumber(3), s(70), s(73));
        fetch(&mut schedule, s(70), &[]);
        assert!(schedule.strangers.len() <= 1, "the old ones made room: {}", schedule.strangers.len());
    }
}
