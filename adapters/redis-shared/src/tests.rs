//! Against a small server in this process, which says what Redis says, and what it should not. What Redis itself does is tried by
//! `.ci/run`, against Redis.

mod fake;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{
    Allowance, Announcer, Answer, Change, Claims, Clock, Event, Exhausted, NoopObserver, Observer, Operation,
    Principal, Rate, Rates, Replicas as _, ScopeAuthority, ScopeSet, Throttle, TokenPolicy, ToolName,
    ToolQuota, UnixMillis, UnixSeconds, Unreachable,
};
use fakes::ManualClock;

use self::fake::{Fake, Mood};
use crate::connection::{CONNECT, FIRST_WAIT, HEARTBEAT};
use crate::{Address, NotAnAddress, Options, Redis, SharedQuotas, WhenAway};

const TIMEOUT: Duration = Duration::from_millis(50);

struct Setting {
    fake: Fake,
    clock: Arc<ManualClock>,
}

impl Setting {
    async fn new() -> Self {
        Self { fake: Fake::start().await, clock: Arc::new(ManualClock::at(UnixMillis(0))) }
    }

    /// Starts another replica's connection.
    async fn redis(&self) -> Redis {
        let address = self.fake.address();
        let options = Options { address, prefix: "p".into(), timeout: TIMEOUT, message_bytes: 100 };
        let redis = Redis::start(options, Arc::clone(&self.clock) as Arc<dyn Clock>).unwrap();
        redis.tried().await;
        redis
    }

    /// Waits until a replica that lost its connection has it again.
    async fn reconnected(&self, redis: &Redis) {
        self.clock.sleeping_until(FIRST_WAIT).await;
        self.clock.advance(FIRST_WAIT);
        redis.shared.connected().await;
    }
}

fn principal(subject: &str) -> Principal {
    let claims = Claims {
        token_type: Some("JWT".into()),
        issuer: "i".into(),
        audience: vec!["a".into()],
        subject: subject.into(),
        expires_at: UnixSeconds(1),
        not_before: None,
        issued_at: None,
        client_id: Some("client".into()),
        authorized_party: None,
        scope: ScopeSet::EMPTY,
        permissions: ScopeSet::EMPTY,
        name: None,
        email: None,
        organization_id: None,
        token_id: None,
        sender_constrained: false,
        extra: None,
    };
    let policy = TokenPolicy {
        issuers: vec!["i".into()],
        resources: vec!["a".into()],
        additional_audiences: Vec::new(),
        leeway: Duration::ZERO,
        authority: ScopeAuthority::Scope,
        hierarchy: Arc::default(),
        token_types: &["JWT"],
    };
    policy.admit(&Arc::new(claims), &"a".into(), UnixSeconds(0)).unwrap()
}

fn rate(text: &str) -> Rate {
    Rate::parse(text).unwrap()
}

fn rates() -> Rates {
    let tool = ToolQuota { subject: Some(rate("2/minute")), weight: 3 };
    Rates {
        subject: Some(rate("6/minute")),
        client: Some(rate("60/minute")),
        address: Some(rate("1/second")),
        tools: [(ToolName::parse("greet").unwrap(), tool)].into(),
    }
}

fn quotas(redis: &Redis, when_away: WhenAway) -> SharedQuotas {
    SharedQuotas::new(rates(), redis.clone(), &[7; 32], when_away, Arc::new(NoopObserver))
}

const UNCOUNTED: Exhausted = Exhausted::Uncounted { retry_after: Duration::from_secs(1) };

/// Counts what it is asked.
#[derive(Default)]
struct Here(Mutex<u32>);

impl Throttle for Here {
    fn take<'a>(&'a self, _: &'a Principal, _: Operation<'a>) -> Answer<'a> {
        self.take_address(IpAddr::from([127, 0, 0, 1]))
    }

    fn take_address(&self, _: IpAddr) -> Answer<'_> {
        *self.0.lock().unwrap() += 1;
        Answer::Now(Ok(None))
    }
}

#[test]
fn an_address_is_a_url_and_shows_neither_user_nor_password() {
    for (url, shown) in [
        ("redis://host", "host:6379"),
        ("redis://ada:secret@host:7000/2", "host:7000"),
        ("rediss://:secret@host", "host:6379"),
        ("valkey://host", "host:6379"),
        ("unix:///run/redis.sock?user=ada&pass=secret&db=1", "/run/redis.sock"),
    ] {
        let address = Address::parse(url).unwrap();
        assert_eq!(
            (address.to_string().as_str(), format!("{address:?}")),
            (shown, format!("Address({shown})"))
        );
    }
    for bad in [
        "",
        "host",
        "http://host",
        "redis://",
        "redis://host/x",
        "redis://host:x",
        "redis://0.0.0.0",
        "unix:",
    ] {
        assert_eq!(Address::parse(bad).err(), Some(NotAnAddress::Form), "{bad}");
    }
    assert_eq!(Address::parse("rediss://host/#insecure").err(), Some(NotAnAddress::Insecure));
}

#[tokio::test]
async fn a_request_is_one_script_over_all_of_its_quotas_and_no_name_tells_whose() {
    let setting = Setting::new().await;
    let quotas = quotas(&setting.redis().await, WhenAway::Refuse);
    let tool = &ToolName::parse("greet").unwrap();
    let operation = Operation { method: None, tool: Some(tool) };
    let left = quotas.take(&principal("auth0|ada"), operation).verdict().await.unwrap();
    let tightest = Allowance { policy: "tool", quota: 2, window: 60, remaining: 1, reset: 30 };
    assert_eq!(left, Some(tightest));
    let call = &setting.fake.got("EVALSHA", 1).await[0];
    assert_eq!(call[2], "3");
    for (key, policy) in call[3..6].iter().zip(["subject", "client", "tool"]) {
        let hash = key.strip_prefix(&format!("p:quota:{policy}:")).unwrap();
        assert_eq!(hash.len(), 22);
    }
    let seconds = |count: u64| (count * 1_000_000_000).to_string();
    let of_subject = [seconds(10), seconds(60), seconds(30)];
    assert_eq!(call[6..9], of_subject, "one of six a minute, a burst of six, a weight of three");
    assert!(!call.iter().any(|text| text.contains("ada") || text.contains("greet")), "{call:?}");
    let address = quotas.take_address([1, 2, 3, 4].into()).verdict().await.unwrap();
    assert_eq!(address.unwrap().policy, "address");
    assert!(!setting.fake.got("EVALSHA", 2).await[1].iter().any(|text| text.contains("1.2.3.4")));
}

#[tokio::test]
async fn what_is_beyond_a_burst_is_refused_by_the_quota_that_takes_longest() {
    let setting = Setting::new().await;
    let quotas = quotas(&setting.redis().await, WhenAway::Allow);
    setting.fake.is(Mood::Says("*4\r\n:1\r\n:0\r\n:70000000000\r\n:61000000000\r\n"));
    let ada = principal("ada");
    let refused = quotas.take(&ada, Operation::default()).verdict().await.unwrap_err();
    let allowance = Allowance { policy: "subject", quota: 6, window: 60, remaining: 0, reset: 10 };
    let retry_after = Duration::from_secs(10);
    assert_eq!(refused, Exhausted::Rate { retry_after, allowance: Some(allowance) });
}

#[tokio::test]
async fn a_script_that_redis_has_forgotten_is_told_again() {
    let setting = Setting::new().await;
    let redis = setting.redis().await;
    let quotas = quotas(&redis, WhenAway::Refuse);
    setting.fake.is(Mood::Forgot);
    assert!(quotas.take(&principal("ada"), Operation::default()).verdict().await.is_ok());
    assert_eq!(setting.fake.got("SCRIPT", 1).await.len(), 1);
    assert!(redis.is_connected());
}

#[tokio::test]
async fn while_redis_is_away_the_policy_decides_and_is_counted() {
    #[derive(Default)]
    struct Outcomes(Mutex<Vec<&'static str>>);
    impl Observer for Outcomes {
        fn observe(&self, event: Event<'_>) {
            if let Event::QuotaNotShared { outcome } = event {
                self.0.lock().unwrap().push(outcome);
            }
        }
    }
    let setting = Setting::new().await;
    let redis = setting.redis().await;
    let (outcomes, here) = (Arc::new(Outcomes::default()), Arc::new(Here::default()));
    let with = |when_away| {
        SharedQuotas::new(
            rates(),
            redis.clone(),
            &[7; 32],
            when_away,
            Arc::clone(&outcomes) as Arc<dyn Observer>,
        )
    };
    let policies =
        [WhenAway::Allow, WhenAway::Refuse, WhenAway::Count(Arc::clone(&here) as Arc<dyn Throttle>)]
            .map(with);
    let ada = principal("ada");
    setting.fake.is(Mood::Fails("OOM command not allowed when used memory > 'maxmemory'."));
    // The first one finds out, and none of the others waits for Redis.
    for (quotas, expected) in policies.iter().zip([Ok(None), Err(UNCOUNTED), Ok(None)]) {
        assert_eq!(quotas.take(&ada, Operation::default()).verdict().await, expected);
        assert_eq!(quotas.take_address([1, 1, 1, 1].into()).verdict().await, expected);
        assert!(!redis.is_connected());
    }
    assert_eq!(setting.fake.got("EVALSHA", 1).await.len(), 1);
    let expected = ["allow", "allow", "refuse", "refuse", "count_here", "count_here"];
    assert_eq!((&*outcomes.0.lock().unwrap(), *here.0.lock().unwrap()), (&expected.to_vec(), 2));
    // It is there again only once it takes writes.
    setting.clock.sleeping_until(FIRST_WAIT).await;
    setting.clock.advance(FIRST_WAIT);
    setting.clock.sleeping_until(2 * FIRST_WAIT).await;
    assert!(!redis.is_connected());
    setting.fake.is(Mood::Works);
    setting.clock.advance(2 * FIRST_WAIT);
    redis.shared.connected().await;
    assert!(policies[1].take(&ada, Operation::default()).verdict().await.is_ok());
}

#[tokio::test]
async fn a_redis_that_hangs_costs_one_request_its_time() {
    let setting = Setting::new().await;
    let redis = setting.redis().await;
    let quotas = quotas(&redis, WhenAway::Refuse);
    setting.fake.is(Mood::Hangs);
    let ada = principal("ada");
    let first = quotas.take(&ada, Operation::default()).verdict();
    let time = async {
        setting.clock.sleeping_until(TIMEOUT).await;
        setting.clock.advance(TIMEOUT);
    };
    assert_eq!(tokio::join!(first, time).0, Err(UNCOUNTED));
    assert_eq!(quotas.take(&ada, Operation::default()).verdict().await, Err(UNCOUNTED));
    // Connecting is bounded as well.
    setting.clock.sleeping_until(FIRST_WAIT).await;
    setting.clock.advance(FIRST_WAIT);
    setting.clock.sleeping_until(CONNECT).await;
    setting.clock.advance(CONNECT);
    setting.clock.sleeping_until(2 * FIRST_WAIT).await;
    assert!(!redis.is_connected());
}

#[tokio::test]
async fn an_answer_that_is_late_loses_the_connection_only_where_there_was_no_other() {
    let setting = Setting::new().await;
    let redis = setting.redis().await;
    let late = || redis.shared.with::<()>(async |_| std::future::pending().await);
    for there_is_another in [true, false] {
        let time = async {
            setting.clock.sleeping_until(TIMEOUT).await;
            if there_is_another {
                redis.find("key").await.unwrap();
            }
            setting.clock.advance(TIMEOUT);
        };
        assert_eq!(tokio::join!(late(), time).0, Err(Unreachable));
        assert_eq!(redis.is_connected(), there_is_another);
    }
}

#[tokio::test]
async fn what_is_still_waited_for_is_written_again_to_a_redis_that_came_back() {
    let setting = Setting::new().await;
    let redis = setting.redis().await;
    redis.wait_for("kept", Duration::from_mins(5)).await;
    redis.wait_for("forgotten", Duration::from_mins(5)).await;
    redis.forget("forgotten");
    setting.fake.close_all();
    setting.reconnected(&redis).await;
    // One of connecting before each.
    let written = setting.fake.got("SET", 5).await;
    assert_eq!(written[4][1], "p:waiting:kept");
    assert_eq!(written[4][3..], ["PX", "299900"], "the time that is left");
    setting.fake.close_all();
    redis.forget("kept");
    redis.wait_for("another", Duration::from_mins(5)).await;
    setting.clock.sleeping_until(2 * FIRST_WAIT).await;
    setting.clock.advance(2 * FIRST_WAIT);
    assert_eq!(setting.fake.got("SET", 7).await[6][1], "p:waiting:another");
}

#[tokio::test]
async fn an_answer_that_no_script_gives_is_none() {
    let setting = Setting::new().await;
    for answer in [
        "*2\r\n:1\r\n:1\r\n",
        "*0\r\n",
        "+OK\r\n",
        ":1\r\n",
        "*3\r\n:1\r\n:1\r\n:-1\r\n",
        "$-1\r\n",
        "*1\r\n$1\r\nx\r\n",
    ] {
        let redis = setting.redis().await;
        let quotas = quotas(&redis, WhenAway::Refuse);
        setting.fake.is(Mood::Says(answer));
        assert_eq!(
            quotas.take(&principal("ada"), Operation::default()).verdict().await,
            Err(UNCOUNTED),
            "{answer}"
        );
        setting.fake.is(Mood::Works);
    }
}

/// An announcer that shares by Redis, and what is heard of it.
fn announcer(
    redis: &Redis,
) -> (Announcer, tokio::sync::mpsc::UnboundedReceiver<Change>, domain::Subscription) {
    let announcer = Announcer::default();
    let (sender, heard) = tokio::sync::mpsc::unbounded_channel();
    let subscription =
        announcer.subscribe(["note://1", "a:b"], move |change| drop(sender.send(change.clone())));
    redis.share(&announcer);
    (announcer, heard, subscription)
}

#[tokio::test]
async fn a_change_reaches_every_replica_once() {
    let setting = Setting::new().await;
    let (one, other) = (setting.redis().await, setting.redis().await);
    let ((announcer, mut here, _here), (_, mut there, _there)) =
        (self::announcer(&one), self::announcer(&other));
    let changes = [Change::Resource("note://1".into()), Change::Tools];
    for change in &changes {
        announcer.announce(change);
    }
    for change in changes {
        assert_eq!((here.recv().await, there.recv().await), (Some(change.clone()), Some(change)));
    }
    // No echo, and what is delivered goes nowhere: the next thing that arrives is what was sent last.
    announcer.deliver(&Change::Prompts);
    announcer.announce(&Change::Resources);
    assert_eq!((here.recv().await, here.recv().await), (Some(Change::Prompts), Some(Change::Resources)));
    assert_eq!(there.recv().await, Some(Change::Resources));
    assert!(here.try_recv().is_err());
}

#[tokio::test]
async fn junk_on_the_channels_is_dropped() {
    let setting = Setting::new().await;
    let redis = setting.redis().await;
    let (_announcer, mut heard, _subscription) = announcer(&redis);
    let messages = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&messages);
    redis.on_message(Box::new(move |key, message| {
        received.lock().unwrap().push((key.to_owned(), message.to_vec()));
    }));
    let own = format!("p:replica:{}", redis.shared.replica);
    let long = [b"key ", &[b'x'; 100][..]].concat();
    for junk in [&b""[..], b"\xff", b"x", b"x ending", b"x resource ", &long] {
        assert_eq!((setting.fake.publish("p:changes", junk), setting.fake.publish(&own, junk)), (1, 1));
    }
    setting.fake.publish(&own, b"key sealed \xff");
    setting.fake.publish("p:changes", b"x tools");
    assert_eq!(heard.recv().await, Some(Change::Tools), "the first that is a change");
    // "x ending" is a message by the key x; whoever gets it finds that nothing waits for it.
    let expected: Vec<(String, Vec<u8>)> = vec![
        ("x".into(), b"ending".to_vec()),
        ("x".into(), b"resource ".to_vec()),
        ("key".into(), b"sealed \xff".to_vec()),
    ];
    assert_eq!(*messages.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_message_finds_the_replica_that_waits_for_it() {
    let setting = Setting::new().await;
    let (asking, other) = (setting.redis().await, setting.redis().await);
    let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
    asking.on_message(Box::new(move |key, message| drop(sender.send((key.to_owned(), message.to_vec())))));
    asking.wait_for("key", Duration::from_mins(5)).await;
    assert_eq!(setting.fake.got("SET", 3).await[2][3..], ["PX", "300000"]);
    let replica = other.find("key").await.unwrap().unwrap();
    assert_eq!(other.find("another").await, Ok(None));
    assert_eq!(asking.find("key").await, Ok(None), "it waits itself, so it knows");
    assert_eq!(other.send(&replica, "key", b"sealed").await, Ok(()));
    assert_eq!(messages.recv().await, Some(("key".to_owned(), b"sealed".to_vec())));
    asking.forget("key");
    setting.fake.got("DEL", 1).await;
    assert_eq!(other.find("key").await, Ok(None));
    setting.fake.close_all();
    assert_eq!(other.send(&replica, "key", b"sealed").await, Err(Unreachable));
    assert_eq!(other.find("key").await, Err(Unreachable));
}

#[tokio::test]
async fn a_place_in_redis_that_names_no_replica_is_none() {
    let setting = Setting::new().await;
    let redis = setting.redis().await;
    for (key, id) in [("a", ""), ("b", "x y"), ("c", "x:y"), ("d", &"x".repeat(65))] {
        setting.fake.set(&format!("p:waiting:{key}"), id);
        assert_eq!(redis.find(key).await, Ok(None), "{id}");
    }
}

#[tokio::test]
async fn who_was_away_tells_its_own_subscribers_of_every_list() {
    let setting = Setting::new().await;
    let redis = setting.redis().await;
    let (announcer, mut heard, _subscription) = announcer(&redis);
    setting.fake.close_all();
    setting.reconnected(&redis).await;
    for change in [Change::Tools, Change::Prompts, Change::Resources] {
        assert_eq!(heard.recv().await, Some(change));
    }
    // It shares and hears again.
    announcer.announce(&Change::Tools);
    assert_eq!(setting.fake.got("PUBLISH", 1).await[0][1], "p:changes");
    setting.fake.publish("p:changes", b"x resource a:b");
    assert_eq!(
        (heard.recv().await, heard.recv().await),
        (Some(Change::Tools), Some(Change::Resource("a:b".into())))
    );
}

#[tokio::test]
async fn a_subscription_that_is_dead_without_a_word_is_noticed() {
    let setting = Setting::new().await;
    let redis = setting.redis().await;
    let (_announcer, mut heard, _subscription) = announcer(&redis);
    setting.clock.sleeping_until(HEARTBEAT).await;
    setting.clock.advance(HEARTBEAT);
    let beat = setting.fake.got("PUBLISH", 1).await;
    assert_eq!(beat[0][1..], [format!("p:replica:{}", redis.shared.replica), String::new()]);
    setting.clock.sleeping_until(HEARTBEAT).await;
    // What comes after the heartbeat on its connection was heard, and so was that.
    setting.fake.publish("p:changes", b"x tools");
    assert_eq!(heard.recv().await, Some(Change::Tools));
    setting.fake.unsubscribe_all();
    setting.clock.advance(HEARTBEAT);
    setting.fake.got("PUBLISH", 2).await;
    setting.clock.sleeping_until(HEARTBEAT).await;
    assert!(redis.is_connected(), "nobody heard the second, which is known at the third");
    setting.clock.advance(HEARTBEAT);
    setting.reconnected(&redis).await;
}

#[tokio::test]
async fn the_connection_ends_with_the_last_who_has_it() {
    let setting = Setting::new().await;
    let redis = setting.redis().await;
    let shared = Arc::downgrade(&redis.shared);
    let (_announcer, _heard, _subscription) = announcer(&redis);
    let quotas = quotas(&redis, WhenAway::Allow);
    drop(redis);
    assert!(quotas.take(&principal("ada"), Operation::default()).verdict().await.unwrap().is_some());
    drop(quotas);
    tokio::task::yield_now().await;
    assert!(shared.upgrade().is_none());
}
