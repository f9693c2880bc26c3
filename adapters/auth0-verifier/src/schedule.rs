//! When to fetch keys, and what a request with an unknown key may hope for. Decisions only: the present is passed in,
//! and nothing here waits, fetches or logs.
//!
//! The rules:
//! - Cold start: until the first keys arrive, fetches start at short, jittered intervals, whatever became of the earlier
//!   ones, and up to [`MAX_COLD_FETCHES`] overlap, so that an issuer that hangs delays nothing. After about 20 s the
//!   intervals double, up to `refresh_every`.
//! - From then on fetches never overlap, and each takes a token from a bucket: [`FETCH_BURST`] at once, then one per
//!   `min_fetch_interval`. The fetch that brings the first keys takes one, too.
//! - A fetch is due `refresh_every` after a success; after failures in a row, after growing and jittered waits.
//! - A request whose `kid` is unknown demands a fetch if the bucket permits one before the request's deadline. A
//!   successful fetch that started after the `kid` was first asked for proves that nobody published it; for
//!   `unknown_kid_memory` no further fetch is made for it.
//! - A request that can't wait, or can't any longer, is told "unknown key" while there are usable keys and the issuer
//!   answers: the token is at fault. Without usable keys, or if the newest fetch failed or hangs, it is told "not
//!   available", since a key that was rotated meanwhile may have signed the token. A key that a fetch has shown to be
//!   withdrawn is unknown in any case.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::Options;

/// The maximum number of fetches at once, after a quiet time.
pub(crate) const FETCH_BURST: u32 = 3;

/// The maximum number of overlapping fetches, all of them before the first keys.
pub(crate) const MAX_COLD_FETCHES: usize = 10;

/// The shortest and the longest interval between the first fetches of a cold start.
const MIN_COLD_INTERVAL: Duration = Duration::from_millis(100);
const MAX_COLD_INTERVAL: Duration = Duration::from_millis(800);

/// The number of fetches of a cold start after which the intervals grow beyond [`MAX_COLD_INTERVAL`].
const QUICK_COLD_FETCHES: u32 = 32;

/// The maximum timeout of a fetch of a cold start while another one has the full timeout, for a slow issuer.
const OVERLAPPING_FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum wait of a request that arrives when the bucket is empty, and the time after which a fetch counts as
/// hanging.
const BRIEF_WAIT: Duration = Duration::from_millis(750);

/// The maximum number of unknown kids that are remembered. Beyond it they are forgotten, which costs fetches within the
/// limits above.
const MAX_UNKNOWN_KIDS: usize = 1024;

/// The maximum number of withdrawn kids that are remembered.
const MAX_WITHDRAWN_KIDS: usize = 128;

/// No client is told to come back sooner.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A keyed hash of a `kid`, so that untrusted text takes no memory here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KidHash(pub(crate) u64);

/// The number of a fetch, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct FetchNumber(u64);

/// A fetch that starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) number: FetchNumber,
    pub(crate) timeout: Duration,
}

/// A request that lacks its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PendingRequest {
    kid: KidHash,
    /// The first fetch whose success proves that nobody published the `kid`.
    answer: FetchNumber,
    /// When the request gives up.
    pub(crate) deadline: Duration,
}

/// What a pending request should do, provided that its key is still not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A fetch under way or permitted before the deadline may bring the key.
    Wait,
    /// The token is at fault.
    Unknown,
    /// The issuer is at fault; the token may be good.
    Unavailable {
        /// When a fetch may have answered.
        retry_after: Duration,
    },
}

/// The state of fetching.
#[derive(Debug)]
pub(crate) struct Schedule {
    refresh_every: Duration,
    keep_through_outage: Duration,
    wait_for_keys: Duration,
    fetch_timeout: Duration,
    unknown_kid_memory: Duration,
    bucket: TokenBucket,
    /// The newest fetch, and when it started.
    newest: FetchNumber,
    newest_started: Duration,
    in_flight: usize,
    /// The fetch under way that has the full timeout.
    patient: Option<FetchNumber>,
    /// Scheduled fetches of the cold start.
    cold_fetches: u32,
    succeeded: FetchNumber,
    failed: FetchNumber,
    failures_in_a_row: u32,
    /// Until when the keys may be used; `None` before the first ones.
    usable_until: Option<Duration>,
    /// When the next fetch is due although no request demands one.
    due: Duration,
    demanded: bool,
    unknown: HashMap<KidHash, Lookup>,
    published: HashSet<KidHash>,
    withdrawn: VecDeque<KidHash>,
}

/// What is known about a `kid` that is in no key set.
#[derive(Debug, Clone, Copy)]
enum Lookup {
    /// The success of this fetch, or of a later one, will prove it unknown.
    Pending(FetchNumber),
    /// A fetch proved it unknown at that time.
    Unknown(Duration),
}

impl Schedule {
    /// Returns the schedule of a cold start; the first fetch is due at once.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            refresh_every: options.refresh_every,
            keep_through_outage: options.keep_through_outage,
            wait_for_keys: options.wait_for_keys,
            fetch_timeout: options.fetch_timeout,
            unknown_kid_memory: options.unknown_kid_memory,
            bucket: TokenBucket { interval: options.min_fetch_interval, full_at: Duration::ZERO },
            newest: FetchNumber::default(),
            newest_started: Duration::ZERO,
            in_flight: 0,
            patient: None,
            cold_fetches: 0,
            succeeded: FetchNumber::default(),
            failed: FetchNumber::default(),
            failures_in_a_row: 0,
            usable_until: None,
            due: Duration::ZERO,
            demanded: false,
            unknown: HashMap::new(),
            published: HashSet::new(),
            withdrawn: VecDeque::new(),
        }
    }

    /// Returns how long to wait before the next fetch starts if nothing happens meanwhile; `None` if it waits for the
    /// end of a fetch.
    pub(crate) fn until_start(&self, now: Duration) -> Option<Duration> {
        let max_in_flight = if self.is_cold() { MAX_COLD_FETCHES } else { 1 };
        let start =
            if self.demanded { self.bucket.permits_at().min(self.scheduled()) } else { self.scheduled() };
        (self.in_flight < max_in_flight).then(|| start.saturating_sub(now))
    }

    /// Notes that a fetch starts now. `jitter` is a random number.
    pub(crate) fn start(&mut self, now: Duration, jitter: u64) -> Fetch {
        self.newest = self.next_number();
        self.newest_started = now;
        self.in_flight += 1;
        self.demanded = false;
        if self.is_cold() && self.due <= now {
            self.due = now.saturating_add(jittered(self.cold_interval(), jitter));
            self.cold_fetches = self.cold_fetches.saturating_add(1);
        } else {
            self.bucket.take(now);
        }
        let timeout = if self.patient.is_some() {
            self.fetch_timeout.min(OVERLAPPING_FETCH_TIMEOUT)
        } else {
            self.patient = Some(self.newest);
            self.fetch_timeout
        };
        Fetch { number: self.newest, timeout }
    }

    /// Notes that a fetch brought keys with these kids. Other fetches under way are abandoned.
    pub(crate) fn succeed(&mut self, number: FetchNumber, now: Duration, kids: HashSet<KidHash>) {
        if self.is_cold() {
            self.bucket.take(now);
        }
        self.in_flight = 0;
        self.patient = None;
        self.failures_in_a_row = 0;
        self.usable_until = Some(now.saturating_add(self.keep_through_outage));
        self.due = now.saturating_add(self.refresh_every);
        self.succeeded = number;
        self.publish(kids);
        let memory = self.unknown_kid_memory;
        let published = &self.published;
        self.unknown.retain(|kid, lookup| match *lookup {
            _ if published.contains(kid) => false,
            Lookup::Pending(answer) if answer <= number => {
                *lookup = Lookup::Unknown(now);
                true
            }
            Lookup::Pending(_) => true,
            Lookup::Unknown(since) => now.saturating_sub(since) < memory,
        });
    }

    fn publish(&mut self, kids: HashSet<KidHash>) {
        self.withdrawn.retain(|kid| !kids.contains(kid));
        self.withdrawn.extend(self.published.difference(&kids));
        let excess = self.withdrawn.len().saturating_sub(MAX_WITHDRAWN_KIDS);
        self.withdrawn.drain(..excess);
        self.published = kids;
    }

    /// Notes that a fetch failed, and returns the wait until the next one. `jitter` is a random number.
    pub(crate) fn fail(&mut self, number: FetchNumber, now: Duration, jitter: u64) -> Duration {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.patient = self.patient.filter(|patient| *patient != number);
        self.failed = self.failed.max(number);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if !self.is_cold() {
            let doubled = 2_u32.saturating_pow(self.failures_in_a_row);
            let longest = self.bucket.interval.saturating_mul(doubled).min(self.refresh_every);
            self.due = now.saturating_add(jittered(longest, jitter));
        }
        self.until_start(now).unwrap_or_default()
    }

    /// Registers a request whose `kid` is not in the key set; `None` if a fetch proved a while ago that it is unknown.
    pub(crate) fn ask(&mut self, kid: KidHash, now: Duration) -> Option<PendingRequest> {
        let known = match self.unknown.get(&kid) {
            Some(Lookup::Unknown(since)) if now.saturating_sub(*since) < self.unknown_kid_memory => {
                return None;
            }
            Some(Lookup::Pending(answer)) if *answer > self.failed => Some(*answer),
            _ => None,
        };
        let answer = known.unwrap_or(self.next_number());
        if self.unknown.len() < MAX_UNKNOWN_KIDS || self.unknown.contains_key(&kid) {
            self.unknown.insert(kid, Lookup::Pending(answer));
        }
        let is_brief = self.has_keys(now) && self.bucket.permits_at() > now;
        let wait = if is_brief { self.wait_for_keys.min(BRIEF_WAIT) } else { self.wait_for_keys };
        Some(PendingRequest { kid, answer, deadline: now.saturating_add(wait) })
    }

    /// Judges a request that still lacks its key. Demands a fetch if one is needed and permitted in time.
    pub(crate) fn judge(&mut self, request: &PendingRequest, now: Duration, may_wait: bool) -> Verdict {
        if self.succeeded >= request.answer {
            return Verdict::Unknown;
        }
        if may_wait && now < request.deadline && self.may_be_answered(request, now) {
            return Verdict::Wait;
        }
        let is_failing = self.failures_in_a_row > 0 || self.is_hanging(now);
        if self.withdrawn.contains(&request.kid) || (self.has_keys(now) && !is_failing) {
            return Verdict::Unknown;
        }
        Verdict::Unavailable { retry_after: self.retry_after(now) }
    }

    fn may_be_answered(&mut self, request: &PendingRequest, now: Duration) -> bool {
        let has_failed = self.failed >= request.answer;
        if has_failed && self.has_keys(now) {
            // It has had its fetch; another one at once would only empty the bucket.
            return false;
        }
        if self.in_flight > 0 {
            // It may have started too early to prove the kid unknown, but not too early to bring the key.
            return true;
        }
        let is_due_soon = self.is_cold() && self.due.saturating_sub(now) <= MAX_COLD_INTERVAL;
        if !has_failed && !is_due_soon && self.bucket.permits_at() < request.deadline {
            self.demanded = true;
            return true;
        }
        self.scheduled() < request.deadline
    }

    /// Whether a fetch is to start for a request's sake.
    pub(crate) fn is_demanded(&self) -> bool {
        self.demanded
    }

    fn is_cold(&self) -> bool {
        self.usable_until.is_none()
    }

    fn has_keys(&self, now: Duration) -> bool {
        self.usable_until.is_some_and(|until| now <= until)
    }

    /// An issuer that lets a fetch wait for so long may be down.
    fn is_hanging(&self, now: Duration) -> bool {
        self.in_flight > 0 && now.saturating_sub(self.newest_started) >= BRIEF_WAIT
    }

    /// When the next fetch starts if no request demands one.
    fn scheduled(&self) -> Duration {
        if self.is_cold() { self.due } else { self.due.max(self.bucket.permits_at()) }
    }

    fn cold_interval(&self) -> Duration {
        let quick =
            MIN_COLD_INTERVAL.saturating_mul(2_u32.saturating_pow(self.cold_fetches)).min(MAX_COLD_INTERVAL);
        let slow = self.cold_fetches.saturating_sub(QUICK_COLD_FETCHES);
        quick.saturating_mul(2_u32.saturating_pow(slow)).min(self.refresh_every)
    }

    fn retry_after(&self, now: Duration) -> Duration {
        let next = if self.in_flight > 0 && !self.is_cold() {
            self.newest_started.saturating_add(self.fetch_timeout)
        } else {
            self.scheduled().min(self.bucket.permits_at())
        };
        next.saturating_sub(now).max(MIN_RETRY_AFTER)
    }

    fn next_number(&self) -> FetchNumber {
        FetchNumber(self.newest.0 + 1)
    }
}

/// A budget of fetches that refills.
#[derive(Debug)]
struct TokenBucket {
    /// The time in which one token refills.
    interval: Duration,
    full_at: Duration,
}

impl TokenBucket {
    /// Returns when there is a token.
    fn permits_at(&self) -> Duration {
        self.full_at.saturating_sub(self.interval.saturating_mul(FETCH_BURST - 1))
    }

    fn take(&mut self, now: Duration) {
        let empty = now.saturating_add(self.interval.saturating_mul(FETCH_BURST));
        self.full_at = self.full_at.max(now).saturating_add(self.interval).min(empty);
    }
}

/// Between half of `longest` and all of it, so that servers that lost the issuer together don't come back together.
fn jittered(longest: Duration, random: u64) -> Duration {
    let fraction = f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    longest / 2 + (longest / 2).mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN_JITTER: u64 = 0;
    const MAX_JITTER: u64 = u64::MAX;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn cold() -> Schedule {
        Schedule::new(&Options::for_issuer(&"https://t.example/".parse().unwrap()).unwrap())
    }

    /// A schedule whose first fetch succeeded at once, at zero; the bucket holds two tokens.
    fn warm() -> Schedule {
        let mut schedule = cold();
        fetch(&mut schedule, s(0), &[]);
        schedule
    }

    #[track_caller]
    fn start(schedule: &mut Schedule, at: Duration) -> FetchNumber {
        assert_eq!(schedule.until_start(at), Some(Duration::ZERO), "a fetch starts at {at:?}");
        schedule.start(at, MAX_JITTER).number
    }

    #[track_caller]
    fn fetch(schedule: &mut Schedule, at: Duration, kids: &[u64]) {
        let number = start(schedule, at);
        schedule.succeed(number, at, kids.iter().copied().map(KidHash).collect());
    }

    #[track_caller]
    fn fail(schedule: &mut Schedule, at: Duration) {
        let number = start(schedule, at);
        schedule.fail(number, at, MAX_JITTER);
    }

    #[track_caller]
    fn ask(schedule: &mut Schedule, kid: u64, at: Duration) -> PendingRequest {
        schedule.ask(KidHash(kid), at).expect("not known to be unknown")
    }

    fn judge(schedule: &mut Schedule, request: &PendingRequest, at: Duration) -> Verdict {
        schedule.judge(request, at, true)
    }

    const fn unavailable(seconds: u64) -> Verdict {
        Verdict::Unavailable { retry_after: s(seconds) }
    }

    /// A fetch has been under way for [`BRIEF_WAIT`], and its timeout is 5 s.
    const HANGS: Verdict = Verdict::Unavailable { retry_after: ms(4250) };

    // When fetches start.

    #[test]
    fn the_first_fetch_is_due_at_once_and_the_next_after_refresh_every() {
        let mut schedule = cold();
        let number = start(&mut schedule, s(7));
        schedule.succeed(number, s(9), HashSet::new());
        assert_eq!(schedule.until_start(s(9)), Some(s(600)));
        assert_eq!(schedule.until_start(s(608)), Some(s(1)));
        assert_eq!(schedule.until_start(s(700)), Some(Duration::ZERO));
    }

    #[test]
    fn cold_fetches_start_at_short_intervals_for_20_s_and_then_at_growing_ones() {
        for (jitter, longest) in [(MIN_JITTER, false), (MAX_JITTER, true)] {
            let mut schedule = cold();
            let mut now = s(100);
            let mut intervals = Vec::new();
            for _ in 0..45 {
                let fetch = schedule.start(now, jitter);
                let wait = schedule.fail(fetch.number, now, jitter);
                intervals.push(if longest { wait } else { wait * 2 });
                now += wait;
            }
            assert_eq!(intervals[..5], [ms(100), ms(200), ms(400), ms(800), ms(800)]);
            assert!(intervals[3..33].iter().all(|interval| *interval == ms(800)), "{intervals:?}");
            assert_eq!(intervals[33..36], [ms(1600), ms(3200), ms(6400)]);
            assert_eq!(intervals[44], s(600));
            let quick: Duration = intervals[..33].iter().sum();
            assert!((s(20)..s(30)).contains(&quick), "{quick:?}");
        }
    }

    #[test]
    fn cold_fetches_overlap_when_the_issuer_hangs_and_are_bounded() {
        let mut schedule = cold();
        let mut now = s(0);
        for n in 0..MAX_COLD_FETCHES {
            assert_eq!(schedule.until_start(now), Some(Duration::ZERO));
            let fetch = schedule.start(now, MAX_JITTER);
            assert_eq!(fetch.timeout, if n == 0 { s(5) } else { s(2) }, "one has all of the time");
            now = schedule.due;
        }
        assert_eq!(schedule.until_start(now), None);
        schedule.fail(FetchNumber(2), now, MAX_JITTER);
        assert_eq!(schedule.until_start(now), Some(Duration::ZERO));
        assert_eq!(schedule.start(now, MAX_JITTER).timeout, s(2));
        schedule.fail(FetchNumber(1), now, MAX_JITTER);
        assert_eq!(schedule.start(now, MAX_JITTER).timeout, s(5), "another one has all of the time");
        // The first keys end it: the others are abandoned.
        schedule.succeed(FetchNumber(3), now, HashSet::new());
        assert_eq!(schedule.until_start(now), Some(s(600)));
    }

    #[test]
    fn warm_fetches_never_overlap() {
        let mut schedule = warm();
        let number = start(&mut schedule, s(600));
        assert_eq!(schedule.until_start(s(1300)), None);
        let request = ask(&mut schedule, 1, s(601));
        assert_eq!(judge(&mut schedule, &request, s(601)), Verdict::Wait);
        assert_eq!(schedule.until_start(s(601)), None);
        schedule.succeed(number, s(602), HashSet::new());
        assert_eq!(judge(&mut schedule, &request, s(602)), Verdict::Wait);
        assert_eq!(schedule.until_start(s(602)), Some(Duration::ZERO));
    }

    #[test]
    fn failures_with_keys_wait_longer_each_time_up_to_refresh_every() {
        for (jitter, expected) in [
            (MIN_JITTER, [5, 10, 20, 40, 80, 160, 300, 300]),
            (MAX_JITTER, [10, 20, 40, 80, 160, 320, 600, 600]),
        ] {
            let mut schedule = warm();
            let mut now = s(600);
            for seconds in expected {
                let number = start(&mut schedule, now);
                let wait = schedule.fail(number, now, jitter);
                assert_eq!(wait, s(seconds));
                now += wait;
            }
            fetch(&mut schedule, now, &[]);
            let number = schedule.start(now, jitter).number;
            assert_eq!(schedule.fail(number, now, jitter), s(expected[0]), "a success ends the row");
        }
    }

    #[test]
    fn jitter_lies_between_half_and_whole() {
        let wait = jittered(s(10), u64::from(u32::MAX / 2) << 32);
        assert!(s(7) < wait && wait < s(8), "{wait:?}");
    }

    #[test]
    fn the_bucket_holds_three_fetches_and_refills_one_in_an_interval() {
        let mut schedule = warm();
        let mut starts = vec![s(0)];
        for millis in 0..20_000 {
            let now = ms(millis);
            let request = ask(&mut schedule, millis, now);
            let _ = judge(&mut schedule, &request, now);
            if schedule.until_start(now) == Some(Duration::ZERO) {
                fetch(&mut schedule, now, &[]);
                starts.push(now);
            }
        }
        assert_eq!(starts, [s(0), ms(0), ms(1), s(5), s(10), s(15)]);
        assert!(schedule.unknown.len() <= MAX_UNKNOWN_KIDS);
        // A quiet time fills it, and not beyond.
        for at in [s(500), s(500), s(500)] {
            let request = ask(&mut schedule, u64::MAX - u64::try_from(starts.len()).unwrap(), at);
            assert_eq!(judge(&mut schedule, &request, at), Verdict::Wait);
            fetch(&mut schedule, at, &[]);
            starts.push(at);
        }
        let request = ask(&mut schedule, u64::MAX, s(500));
        assert_eq!(judge(&mut schedule, &request, s(500)), Verdict::Unknown);
    }

    // What requests are told.

    #[test]
    fn a_kid_is_proved_unknown_only_by_a_fetch_that_started_after_it_was_asked_for() {
        let mut schedule = warm();
        let number = start(&mut schedule, s(600));
        let request = ask(&mut schedule, 1, s(601));
        assert_eq!(judge(&mut schedule, &request, s(601)), Verdict::Wait, "the fetch may bring it");
        schedule.succeed(number, s(602), HashSet::new());
        assert_eq!(judge(&mut schedule, &request, s(602)), Verdict::Wait, "another one is demanded");
        fetch(&mut schedule, s(602), &[]);
        assert_eq!(judge(&mut schedule, &request, s(602)), Verdict::Unknown);
        assert_eq!(schedule.ask(KidHash(1), s(602)), None, "and stays so");
    }

    #[test]
    fn an_unknown_kid_starts_a_fetch_at_once_also_just_after_the_last_one() {
        for asked in [0, 1, 2, 5, 100] {
            let mut schedule = warm();
            let request = ask(&mut schedule, 1, s(asked));
            assert_eq!(schedule.until_start(s(asked)), Some(s(600 - asked)), "asking alone demands nothing");
            assert_eq!(judge(&mut schedule, &request, s(asked)), Verdict::Wait, "asked at {asked} s");
            assert_eq!(request.deadline, s(asked + 3));
            fetch(&mut schedule, s(asked), &[]);
            assert_eq!(judge(&mut schedule, &request, s(asked)), Verdict::Unknown);
        }
    }

    #[test]
    fn a_remembered_kid_demands_nothing_until_it_is_forgotten() {
        let mut schedule = warm();
        let request = ask(&mut schedule, 1, s(10));
        assert_eq!(judge(&mut schedule, &request, s(10)), Verdict::Wait);
        fetch(&mut schedule, s(10), &[]);
        assert_eq!(schedule.ask(KidHash(1), s(69)), None);
        assert_eq!(schedule.until_start(s(69)), Some(s(541)));
        let again = ask(&mut schedule, 1, s(70));
        assert_eq!(judge(&mut schedule, &again, s(70)), Verdict::Wait);
        assert_eq!(schedule.until_start(s(70)), Some(Duration::ZERO));
    }

    #[test]
    fn a_key_that_arrives_is_not_unknown() {
        let mut schedule = warm();
        let request = ask(&mut schedule, 1, s(1));
        let _ = judge(&mut schedule, &request, s(1));
        fetch(&mut schedule, s(1), &[1]);
        assert!(schedule.unknown.is_empty());
        let _ = ask(&mut schedule, 1, s(6));
    }

    /// A bucket that was emptied at 5 s, so that the next token comes at 10 s.
    fn spent() -> Schedule {
        let mut schedule = warm();
        for (kid, at) in [(11, s(5)), (12, s(5)), (13, s(5))] {
            let request = ask(&mut schedule, kid, at);
            assert_eq!(judge(&mut schedule, &request, at), Verdict::Wait);
            fetch(&mut schedule, at, &[]);
        }
        schedule
    }

    #[test]
    fn without_a_budget_a_request_waits_less_than_a_second_and_is_at_fault() {
        let mut schedule = spent();
        let request = ask(&mut schedule, 1, s(6));
        assert_eq!(request.deadline, s(6) + BRIEF_WAIT);
        assert_eq!(judge(&mut schedule, &request, s(6)), Verdict::Unknown);
        assert_eq!(schedule.until_start(s(6)), Some(s(599)), "and demands nothing");
        // Just before the next token it waits for the fetch.
        let request = ask(&mut schedule, 2, ms(9300));
        assert_eq!(judge(&mut schedule, &request, ms(9300)), Verdict::Wait);
        assert_eq!(schedule.until_start(ms(9300)), Some(ms(700)));
        // So it does while the fetch that took the last token is under way.
        start(&mut schedule, s(10));
        let late = ask(&mut schedule, 3, s(10));
        assert_eq!(judge(&mut schedule, &late, s(10)), Verdict::Wait);
        assert_eq!(judge(&mut schedule, &late, ms(10_749)), Verdict::Wait);
        assert_eq!(judge(&mut schedule, &late, ms(10_750)), HANGS);
    }

    #[test]
    fn a_request_that_may_not_wait_is_at_fault_unless_the_issuer_is() {
        let mut schedule = warm();
        let request = ask(&mut schedule, 1, s(10));
        assert_eq!(schedule.judge(&request, s(10), false), Verdict::Unknown);
        assert!(!schedule.is_demanded());
        start(&mut schedule, s(600));
        let request = ask(&mut schedule, 1, s(600));
        assert_eq!(schedule.judge(&request, s(600), false), Verdict::Unknown);
        assert_eq!(schedule.judge(&request, ms(600_749), false), Verdict::Unknown);
        assert_eq!(schedule.judge(&request, ms(600_750), false), HANGS);
        schedule.fail(FetchNumber(2), s(601), MAX_JITTER);
        assert_eq!(schedule.judge(&request, s(601), false), unavailable(1));
    }

    #[test]
    fn a_failed_fetch_proves_nothing_about_a_kid() {
        let mut schedule = warm();
        let request = ask(&mut schedule, 1, s(100));
        assert_eq!(judge(&mut schedule, &request, s(100)), Verdict::Wait);
        fail(&mut schedule, s(100));
        assert_eq!(judge(&mut schedule, &request, s(100)), unavailable(1));
        assert!(!schedule.is_demanded(), "one request empties no bucket");
        let again = ask(&mut schedule, 1, s(101));
        assert_eq!(judge(&mut schedule, &again, s(101)), Verdict::Wait, "who comes back gets a fetch");
        fail(&mut schedule, s(101));
        let again = ask(&mut schedule, 1, s(101));
        assert_eq!(judge(&mut schedule, &again, s(101)), Verdict::Wait);
        fail(&mut schedule, s(101));
        let again = ask(&mut schedule, 1, s(102));
        assert_eq!(judge(&mut schedule, &again, s(102)), unavailable(3), "the bucket is empty until 105 s");
        let again = ask(&mut schedule, 1, s(105));
        assert_eq!(judge(&mut schedule, &again, s(105)), Verdict::Wait);
        fetch(&mut schedule, s(105), &[]);
        assert_eq!(judge(&mut schedule, &again, s(105)), Verdict::Unknown);
    }

    #[test]
    fn whoever_reaches_the_deadline_of_a_hanging_fetch_is_told_when_to_come_back() {
        let mut schedule = warm();
        start(&mut schedule, s(600));
        let request = ask(&mut schedule, 1, s(600));
        assert_eq!(judge(&mut schedule, &request, ms(602_999)), Verdict::Wait);
        assert_eq!(judge(&mut schedule, &request, s(603)), unavailable(2), "the fetch's timeout");
        assert_eq!(judge(&mut schedule, &request, s(610)), unavailable(1), "never at once");
    }

    #[test]
    fn without_keys_a_request_waits_for_the_scheduled_fetch_and_is_never_at_fault() {
        let mut schedule = cold();
        let request = ask(&mut schedule, 1, s(0));
        for at in [ms(0), ms(100), ms(300), ms(700), ms(1500)] {
            assert_eq!(judge(&mut schedule, &request, at), Verdict::Wait);
            fail(&mut schedule, at);
            assert!(!schedule.is_demanded());
        }
        assert_eq!(judge(&mut schedule, &request, s(3)), unavailable(1));
        assert_eq!(schedule.judge(&request, s(2), false), unavailable(1));
    }

    #[test]
    fn without_keys_for_long_a_request_demands_a_fetch_within_the_budget() {
        let mut schedule = cold();
        let mut now = s(0);
        for _ in 0..40 {
            fail(&mut schedule, now);
            now = schedule.due;
        }
        let due = schedule.due;
        now -= s(90);
        for _ in 0..FETCH_BURST {
            let request = ask(&mut schedule, 1, now);
            assert_eq!(judge(&mut schedule, &request, now), Verdict::Wait);
            fail(&mut schedule, now);
            assert_ne!(judge(&mut schedule, &request, now), Verdict::Wait);
        }
        let request = ask(&mut schedule, 1, now);
        assert_eq!(judge(&mut schedule, &request, now), unavailable(5));
        assert_eq!(schedule.due, due, "the scheduled fetch stays where it was");
    }

    #[test]
    fn keys_that_are_too_old_are_no_keys() {
        let mut schedule = warm();
        let day = s(24 * 60 * 60);
        fail(&mut schedule, day);
        let request = ask(&mut schedule, 1, day + ms(1));
        assert_eq!(schedule.judge(&request, day + ms(1), false), unavailable(1));
        assert_eq!(request.deadline, day + ms(3001), "all of the wait");
    }

    #[test]
    fn a_withdrawn_kid_is_unknown_whether_the_issuer_answers_or_not() {
        let mut schedule = cold();
        fetch(&mut schedule, s(0), &[1, 2]);
        fetch(&mut schedule, s(600), &[2, 3]);
        for (kid, failing) in [(1, Verdict::Unknown), (9, unavailable(1))] {
            let request = ask(&mut schedule, kid, s(700));
            assert_eq!(judge(&mut schedule, &request, s(700)), Verdict::Wait, "it may be back");
            fail(&mut schedule, s(700));
            assert_eq!(judge(&mut schedule, &request, s(700)), failing, "{kid}");
        }
        // A kid that comes back is not withdrawn.
        fetch(&mut schedule, s(1400), &[1]);
        fail(&mut schedule, s(2000));
        let withdrawn: Vec<KidHash> = schedule.withdrawn.iter().copied().collect();
        assert!(!withdrawn.contains(&KidHash(1)) && withdrawn.contains(&KidHash(2)));
    }

    #[test]
    fn what_is_remembered_of_kids_is_bounded() {
        let mut schedule = warm();
        for kid in 0..5_000 {
            let _ = ask(&mut schedule, kid, s(5));
        }
        assert_eq!(schedule.unknown.len(), MAX_UNKNOWN_KIDS);
        let request = ask(&mut schedule, 4_999, s(5));
        let _ = judge(&mut schedule, &request, s(5));
        fetch(&mut schedule, s(5), &[]);
        assert_eq!(schedule.ask(KidHash(0), s(6)), None);
        assert!(schedule.ask(KidHash(4_999), s(6)).is_some(), "the forgotten are asked for again");
        let request = ask(&mut schedule, 5_000, s(70));
        let _ = judge(&mut schedule, &request, s(70));
        fetch(&mut schedule, s(70), &[]);
        assert!(schedule.unknown.len() <= 1, "the old ones made room: {}", schedule.unknown.len());
        for round in 0..10 {
            let kids: Vec<u64> = (round * 100..(round + 1) * 100).collect();
            fetch(&mut schedule, s(1000 * (round + 1)), &kids);
        }
        assert_eq!(schedule.withdrawn.len(), MAX_WITHDRAWN_KIDS);
        assert!(schedule.withdrawn.iter().all(|kid| kid.0 >= 700), "the newest ones");
    }
}
