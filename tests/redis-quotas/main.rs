//! The quotas in Redis against those in this process: what the one says the other says, at the same times. The times are Redis'
//! own, which the script reports, and by which the clock here is moved. `.ci/clients/redis.mjs` starts it, with the URL of Redis.

#![allow(clippy::print_stdout, reason = "a command line tool")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use domain::{
    Announcer, Claims, Clock, NoopObserver, Operation, Principal, Rate, Rates, ScopeAuthority, Throttle as _,
    TokenPolicy, ToolName, ToolQuota, UnixMillis, UnixSeconds,
};
use fakes::ManualClock;
use gcra_throttle::{Ledger, Quotas};
use redis_shared::{Address, Options, Redis, SharedQuotas, WhenAway};
use system_clock::SystemClock;

/// How many requests are compared.
const REQUESTS: usize = 20_000;
/// After how many requests the rates change.
const REQUESTS_OF_A_RATE: usize = 500;
/// How many holders at a time, and of how many requests, have to be told apart.
const AT_A_TIME: usize = 200;
const BURST: usize = 50;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("usage: redis-quotas URL")?;
    let (one, other) = (connect(&url, "compared").await?, connect(&url, "compared").await?);
    let refused = same_as_in_process(&[one, other]).await?;
    println!("{REQUESTS} requests are judged alike, {refused} of them refused");
    let (one, other) = (connect(&url, "counted").await?, connect(&url, "counted").await?);
    exactly_a_burst(&[one, other]).await?;
    println!("of {AT_A_TIME} requests at a time exactly {BURST} come");
    Ok(())
}

async fn connect(url: &str, prefix: &str) -> anyhow::Result<Redis> {
    let (address, prefix) = (Address::parse(url)?, prefix.to_owned());
    let options = Options { address, prefix, timeout: Duration::from_secs(5), message_bytes: 1000 };
    let redis = Redis::start(options, Arc::new(SystemClock::start()))?;
    redis.share(&Announcer::default());
    redis.tried().await;
    ensure!(redis.is_connected(), "Redis is not there");
    Ok(redis)
}

fn shared(rates: Rates, redis: &Redis) -> SharedQuotas {
    SharedQuotas::new(rates, redis.clone(), &[1; 32], WhenAway::Refuse, Arc::new(NoopObserver))
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % end
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Sends requests by one connection or the other, and compares each verdict with that of the quotas in this process.
async fn same_as_in_process(replicas: &[Redis; 2]) -> anyhow::Result<usize> {
    let clock = Arc::new(ManualClock::at(UnixMillis(0)));
    let ledger = Ledger::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let tools = ["greet", "whoami", "untold"].map(ToolName::parse);
    let [greet, whoami, untold] = tools;
    let tools = [greet?, whoami?, untold?];
    let principals: Vec<Principal> = ["ada", "bob", "eve"]
        .iter()
        .flat_map(|subject| ["c", "d"].map(|client| principal(subject, client)))
        .collect::<Result<_, _>>()?;
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let (mut refused, mut began) = (0, None);
    let mut quotas = None;
    for number in 0..REQUESTS {
        if number % REQUESTS_OF_A_RATE == 0 {
            let rates = rates(&mut numbers, &tools)?;
            let in_process = Quotas::new(rates.clone(), ledger.clone());
            quotas = Some((replicas.each_ref().map(|redis| shared(rates.clone(), redis)), in_process));
        }
        let Some((in_redis, in_process)) = &quotas else { continue };
        let principal = &principals[numbers.below(principals.len())];
        let tool = [None, Some(&tools[0]), Some(&tools[1]), Some(&tools[2])][numbers.below(4)];
        let operation = Operation { method: None, tool };
        let judged =
            in_redis[numbers.below(2)].judge(principal, operation).await?.context("there is a quota")?;
        let at = judged.at.checked_sub(*began.get_or_insert(judged.at)).context("Redis' clock went back")?;
        clock.advance(at.saturating_sub(clock.uptime()));
        let expected = in_process.take(principal, operation).verdict().await;
        ensure!(judged.verdict == expected, "request {number}: {:?}, not {expected:?}", judged.verdict);
        refused += usize::from(expected.is_err());
    }
    ensure!(
        refused > REQUESTS / 10 && refused < REQUESTS / 10 * 9,
        "{refused} were refused: nothing was compared"
    );
    Ok(refused)
}

/// Returns rates that requests use up, and that recover between them. Each is a power of two times another, so that what was used is
/// the same number of requests to the nanosecond.
fn rates(numbers: &mut Numbers, tools: &[ToolName; 3]) -> anyhow::Result<Rates> {
    let mut rate = || -> anyhow::Result<Rate> {
        let count = numbers.of(&[250, 500, 1000, 2000, 4000]);
        Ok(Rate::parse(&format!("{count}/second burst {}", 1 + numbers.below(8)))?)
    };
    let (subject, client) = (Some(rate()?), Some(rate()?));
    let mut quotas = HashMap::new();
    for (tool, weight) in tools.iter().zip([1, 3]) {
        quotas.insert(tool.clone(), ToolQuota { subject: Some(rate()?), weight });
    }
    Ok(Rates { subject, client, address: None, tools: quotas })
}

/// Sends many requests at a time, of which only a burst may come, whichever replica they reach.
async fn exactly_a_burst(replicas: &[Redis; 2]) -> anyhow::Result<()> {
    let rates = Rates { subject: Some(Rate::parse(&format!("1/day burst {BURST}"))?), ..Rates::default() };
    let quotas = replicas.each_ref().map(|redis| shared(rates.clone(), redis)).map(Arc::new);
    let ada = Arc::new(principal("ada", "c")?);
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..AT_A_TIME {
        let (quotas, ada) = (Arc::clone(&quotas[number % 2]), Arc::clone(&ada));
        requests.spawn(async move { quotas.take(&ada, Operation::default()).verdict().await.is_ok() });
    }
    let came = requests.join_all().await.into_iter().filter(|came| *came).count();
    ensure!(came == BURST, "{came} came");
    Ok(())
}

fn principal(subject: &str, client: &str) -> anyhow::Result<Principal> {
    let claims = fakes::claims("i", "a", UnixSeconds(1), "");
    let claims = Claims { subject: subject.into(), client_id: Some(client.into()), ..claims };
    let policy = TokenPolicy {
        issuers: vec!["i".into()],
        resources: vec!["a".into()],
        additional_audiences: Vec::new(),
        leeway: Duration::ZERO,
        authority: ScopeAuthority::Scope,
        hierarchy: Arc::default(),
        token_types: &["at+jwt"],
    };
    Ok(policy.admit(&Arc::new(claims), &"a".into(), UnixSeconds(0))?)
}
