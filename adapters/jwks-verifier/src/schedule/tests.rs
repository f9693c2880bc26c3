use super::bucket::FETCH_BURST;
use super::kids::{MAX_UNKNOWN_KIDS, MAX_WITHDRAWN_KIDS};
use super::*;
use crate::provider::testing::TestProvider;

const MIN_JITTER: u64 = 0;
const MAX_JITTER: u64 = u64::MAX;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn cold() -> Schedule {
    Schedule::new(&Options::for_issuer(&TestProvider, &"https://t.example/".parse().unwrap()).unwrap())
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
fn register(schedule: &mut Schedule, kid: u64, at: Duration) -> PendingRequest {
    schedule.register(KidHash(kid), at).expect("not known to be unknown")
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
    let request = register(&mut schedule, 1, s(601));
    assert_eq!(judge(&mut schedule, &request, s(601)), Verdict::Wait);
    assert_eq!(schedule.until_start(s(601)), None);
    schedule.succeed(number, s(602), HashSet::new());
    assert_eq!(judge(&mut schedule, &request, s(602)), Verdict::Wait);
    assert_eq!(schedule.until_start(s(602)), Some(Duration::ZERO));
}

#[test]
fn failures_with_keys_wait_longer_each_time_up_to_refresh_every() {
    for (jitter, expected) in
        [(MIN_JITTER, [5, 10, 20, 40, 80, 160, 300, 300]), (MAX_JITTER, [10, 20, 40, 80, 160, 320, 600, 600])]
    {
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
        let request = register(&mut schedule, millis, now);
        let _ = judge(&mut schedule, &request, now);
        if schedule.until_start(now) == Some(Duration::ZERO) {
            fetch(&mut schedule, now, &[]);
            starts.push(now);
        }
    }
    assert_eq!(starts, [s(0), ms(0), ms(1), s(5), s(10), s(15)]);
    assert!(schedule.kids.unknown.len() <= MAX_UNKNOWN_KIDS);
    // A quiet time fills it, and not beyond.
    for at in [s(500), s(500), s(500)] {
        let request = register(&mut schedule, u64::MAX - u64::try_from(starts.len()).unwrap(), at);
        assert_eq!(judge(&mut schedule, &request, at), Verdict::Wait);
        fetch(&mut schedule, at, &[]);
        starts.push(at);
    }
    let request = register(&mut schedule, u64::MAX, s(500));
    assert_eq!(judge(&mut schedule, &request, s(500)), Verdict::UnknownKid);
}

// What becomes of requests.

#[test]
fn a_kid_is_proved_unknown_only_by_a_fetch_that_started_after_the_request() {
    let mut schedule = warm();
    let number = start(&mut schedule, s(600));
    let request = register(&mut schedule, 1, s(601));
    assert_eq!(judge(&mut schedule, &request, s(601)), Verdict::Wait, "the fetch may bring it");
    schedule.succeed(number, s(602), HashSet::new());
    assert_eq!(judge(&mut schedule, &request, s(602)), Verdict::Wait, "another one is demanded");
    fetch(&mut schedule, s(602), &[]);
    assert_eq!(judge(&mut schedule, &request, s(602)), Verdict::UnknownKid);
    assert_eq!(schedule.register(KidHash(1), s(602)), None, "and stays so");
}

#[test]
fn an_unknown_kid_starts_a_fetch_at_once_also_just_after_the_last_one() {
    for at in [0, 1, 2, 5, 100] {
        let mut schedule = warm();
        let request = register(&mut schedule, 1, s(at));
        assert_eq!(schedule.until_start(s(at)), Some(s(600 - at)), "registering alone demands nothing");
        assert_eq!(judge(&mut schedule, &request, s(at)), Verdict::Wait, "at {at} s");
        assert_eq!(request.deadline, s(at + 3));
        fetch(&mut schedule, s(at), &[]);
        assert_eq!(judge(&mut schedule, &request, s(at)), Verdict::UnknownKid);
    }
}

#[test]
fn a_remembered_kid_demands_nothing_until_it_is_forgotten() {
    let mut schedule = warm();
    let request = register(&mut schedule, 1, s(10));
    assert_eq!(judge(&mut schedule, &request, s(10)), Verdict::Wait);
    fetch(&mut schedule, s(10), &[]);
    assert_eq!(schedule.register(KidHash(1), s(69)), None);
    assert_eq!(schedule.until_start(s(69)), Some(s(541)));
    let again = register(&mut schedule, 1, s(70));
    assert_eq!(judge(&mut schedule, &again, s(70)), Verdict::Wait);
    assert_eq!(schedule.until_start(s(70)), Some(Duration::ZERO));
}

#[test]
fn a_key_that_arrives_is_not_unknown() {
    let mut schedule = warm();
    let request = register(&mut schedule, 1, s(1));
    let _ = judge(&mut schedule, &request, s(1));
    fetch(&mut schedule, s(1), &[1]);
    assert!(schedule.kids.unknown.is_empty());
    let _ = register(&mut schedule, 1, s(6));
}

/// A bucket that was emptied at 5 s, so that the next token comes at 10 s.
fn spent() -> Schedule {
    let mut schedule = warm();
    for (kid, at) in [(11, s(5)), (12, s(5)), (13, s(5))] {
        let request = register(&mut schedule, kid, at);
        assert_eq!(judge(&mut schedule, &request, at), Verdict::Wait);
        fetch(&mut schedule, at, &[]);
    }
    schedule
}

#[test]
fn without_a_budget_a_request_waits_less_than_a_second_and_is_at_fault() {
    let mut schedule = spent();
    let request = register(&mut schedule, 1, s(6));
    assert_eq!(request.deadline, s(6) + BRIEF_WAIT);
    assert_eq!(judge(&mut schedule, &request, s(6)), Verdict::UnknownKid);
    assert_eq!(schedule.until_start(s(6)), Some(s(599)), "and demands nothing");
    // Just before the next token it waits for the fetch.
    let request = register(&mut schedule, 2, ms(9300));
    assert_eq!(judge(&mut schedule, &request, ms(9300)), Verdict::Wait);
    assert_eq!(schedule.until_start(ms(9300)), Some(ms(700)));
    // So it does while the fetch that took the last token is under way.
    start(&mut schedule, s(10));
    let late = register(&mut schedule, 3, s(10));
    assert_eq!(judge(&mut schedule, &late, s(10)), Verdict::Wait);
    assert_eq!(judge(&mut schedule, &late, ms(10_749)), Verdict::Wait);
    assert_eq!(judge(&mut schedule, &late, ms(10_750)), HANGS);
}

#[test]
fn a_request_that_may_not_wait_is_at_fault_unless_the_issuer_is() {
    let mut schedule = warm();
    let request = register(&mut schedule, 1, s(10));
    assert_eq!(schedule.judge(&request, s(10), false), Verdict::UnknownKid);
    assert!(!schedule.is_demanded());
    start(&mut schedule, s(600));
    let request = register(&mut schedule, 1, s(600));
    assert_eq!(schedule.judge(&request, s(600), false), Verdict::UnknownKid);
    assert_eq!(schedule.judge(&request, ms(600_749), false), Verdict::UnknownKid);
    assert_eq!(schedule.judge(&request, ms(600_750), false), HANGS);
    schedule.fail(FetchNumber(2), s(601), MAX_JITTER);
    assert_eq!(schedule.judge(&request, s(601), false), unavailable(1));
}

#[test]
fn a_failed_fetch_proves_nothing_about_a_kid() {
    let mut schedule = warm();
    let request = register(&mut schedule, 1, s(100));
    assert_eq!(judge(&mut schedule, &request, s(100)), Verdict::Wait);
    fail(&mut schedule, s(100));
    assert_eq!(judge(&mut schedule, &request, s(100)), unavailable(1));
    assert!(!schedule.is_demanded(), "one request empties no bucket");
    let again = register(&mut schedule, 1, s(101));
    assert_eq!(judge(&mut schedule, &again, s(101)), Verdict::Wait, "a second request gets a fetch");
    fail(&mut schedule, s(101));
    let again = register(&mut schedule, 1, s(101));
    assert_eq!(judge(&mut schedule, &again, s(101)), Verdict::Wait);
    fail(&mut schedule, s(101));
    let again = register(&mut schedule, 1, s(102));
    assert_eq!(judge(&mut schedule, &again, s(102)), unavailable(3), "the bucket is empty until 105 s");
    let again = register(&mut schedule, 1, s(105));
    assert_eq!(judge(&mut schedule, &again, s(105)), Verdict::Wait);
    fetch(&mut schedule, s(105), &[]);
    assert_eq!(judge(&mut schedule, &again, s(105)), Verdict::UnknownKid);
}

#[test]
fn at_the_deadline_of_a_hanging_fetch_a_request_is_unavailable_until_the_fetch_ends() {
    let mut schedule = warm();
    start(&mut schedule, s(600));
    let request = register(&mut schedule, 1, s(600));
    assert_eq!(judge(&mut schedule, &request, ms(602_999)), Verdict::Wait);
    assert_eq!(judge(&mut schedule, &request, s(603)), unavailable(2), "the fetch's timeout");
    assert_eq!(judge(&mut schedule, &request, s(610)), unavailable(1), "never at once");
}

#[test]
fn without_keys_a_request_waits_for_the_scheduled_fetch_and_is_never_at_fault() {
    let mut schedule = cold();
    let request = register(&mut schedule, 1, s(0));
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
        let request = register(&mut schedule, 1, now);
        assert_eq!(judge(&mut schedule, &request, now), Verdict::Wait);
        fail(&mut schedule, now);
        assert_ne!(judge(&mut schedule, &request, now), Verdict::Wait);
    }
    let request = register(&mut schedule, 1, now);
    assert_eq!(judge(&mut schedule, &request, now), unavailable(5));
    assert_eq!(schedule.due, due, "the scheduled fetch stays where it was");
}

#[test]
fn keys_that_are_too_old_are_no_keys() {
    let mut schedule = warm();
    let day = s(24 * 60 * 60);
    fail(&mut schedule, day);
    let request = register(&mut schedule, 1, day + ms(1));
    assert_eq!(schedule.judge(&request, day + ms(1), false), unavailable(1));
    assert_eq!(request.deadline, day + ms(3001), "all of the wait");
}

#[test]
fn a_withdrawn_kid_is_unknown_whether_the_issuer_answers_or_not() {
    let mut schedule = cold();
    fetch(&mut schedule, s(0), &[1, 2]);
    fetch(&mut schedule, s(600), &[2, 3]);
    for (kid, failing) in [(1, Verdict::UnknownKid), (9, unavailable(1))] {
        let request = register(&mut schedule, kid, s(700));
        assert_eq!(judge(&mut schedule, &request, s(700)), Verdict::Wait, "it may be back");
        fail(&mut schedule, s(700));
        assert_eq!(judge(&mut schedule, &request, s(700)), failing, "{kid}");
    }
    // A kid that comes back is not withdrawn.
    fetch(&mut schedule, s(1400), &[1]);
    fail(&mut schedule, s(2000));
    let withdrawn: Vec<KidHash> = schedule.kids.withdrawn.iter().copied().collect();
    assert!(!withdrawn.contains(&KidHash(1)) && withdrawn.contains(&KidHash(2)));
}

#[test]
fn what_is_remembered_of_kids_is_bounded() {
    let mut schedule = warm();
    for kid in 0..5_000 {
        let _ = register(&mut schedule, kid, s(5));
    }
    assert_eq!(schedule.kids.unknown.len(), MAX_UNKNOWN_KIDS);
    let request = register(&mut schedule, 4_999, s(5));
    let _ = judge(&mut schedule, &request, s(5));
    fetch(&mut schedule, s(5), &[]);
    assert_eq!(schedule.register(KidHash(0), s(6)), None);
    assert!(schedule.register(KidHash(4_999), s(6)).is_some(), "a forgotten kid is looked up again");
    let request = register(&mut schedule, 5_000, s(70));
    let _ = judge(&mut schedule, &request, s(70));
    fetch(&mut schedule, s(70), &[]);
    assert!(schedule.kids.unknown.len() <= 1, "expired ones are dropped: {}", schedule.kids.unknown.len());
    for round in 0..10 {
        let kids: Vec<u64> = (round * 100..(round + 1) * 100).collect();
        fetch(&mut schedule, s(1000 * (round + 1)), &kids);
    }
    assert_eq!(schedule.kids.withdrawn.len(), MAX_WITHDRAWN_KIDS);
    assert!(schedule.kids.withdrawn.iter().all(|kid| kid.0 >= 700), "the newest ones");
}
