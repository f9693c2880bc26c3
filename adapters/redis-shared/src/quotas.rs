//! The port [`Throttle`] by GCRA in Redis: one script judges a request by all of its quotas, and counts it by all or none.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use domain::{
    Answer, Event, Exhausted, Observer, Operation, Principal, Quota, Rate, Rates, Standing, Throttle,
    Unreachable, Verdict,
};
use redis::Script;

use crate::connection::Redis;
use crate::names::HolderHash;

static GCRA: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("gcra.lua")));

/// When to ask again what can't be counted.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What happens to requests while Redis is away.
#[derive(Clone)]
pub enum WhenAway {
    /// They go on, uncounted.
    Allow,
    /// They are refused.
    Refuse,
    /// They are counted by this.
    Count(Arc<dyn Throttle>),
}

/// Rates, and what was used of them in all replicas.
pub struct SharedQuotas {
    rates: Rates,
    redis: Redis,
    holders: HolderHash,
    when_away: WhenAway,
    observer: Arc<dyn Observer>,
}

/// What Redis says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// When it was judged, by Redis' clock, in time since 1970.
    pub at: Duration,
    /// Whether it counts.
    pub verdict: Verdict,
}

/// One of the quotas of a request, with the key of what its holder has used.
struct Part {
    key: String,
    policy: &'static str,
    rate: Rate,
    weight: u32,
}

impl SharedQuotas {
    /// Creates the quotas of a configuration. All replicas need the same secret: whose use is counted is hashed with it.
    #[must_use]
    pub fn new(
        rates: Rates,
        redis: Redis,
        secret: &[u8],
        when_away: WhenAway,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self { rates, redis, holders: HolderHash::new(secret), when_away, observer }
    }

    /// Judges a request as [`Throttle::take`] does, and tells when; `None` if it has no quota.
    ///
    /// # Errors
    /// [`Unreachable`], while Redis is away.
    pub async fn judge(
        &self,
        principal: &Principal,
        operation: Operation<'_>,
    ) -> Result<Option<Judged>, Unreachable> {
        let parts = self.parts(principal, operation);
        if parts.is_empty() { Ok(None) } else { self.count(&parts).await.map(Some) }
    }

    fn parts(&self, principal: &Principal, operation: Operation<'_>) -> Vec<Part> {
        let quotas = self.rates.quotas(principal, operation);
        let part = |Quota { policy, holder: [holder, of], rate, weight }| {
            self.part(policy, [holder.as_bytes(), of.as_bytes()], rate, weight)
        };
        quotas.into_iter().flatten().map(part).collect()
    }

    fn part(&self, policy: &'static str, holder: [&[u8]; 2], rate: Rate, weight: u32) -> Part {
        let key = self.redis.shared.names.quota(policy, &self.holders.of(policy, holder));
        Part { key, policy, rate, weight }
    }

    async fn count(&self, parts: &[Part]) -> Result<Judged, Unreachable> {
        let mut call = GCRA.prepare_invoke();
        for Part { key, rate, weight, .. } in parts {
            let interval = rate.interval();
            call.key(key).arg(interval).arg(rate.tolerance()).arg(u64::from(*weight) * interval);
        }
        let answer: Vec<u64> =
            self.redis.shared.with(async |connection| call.invoke_async(connection).await).await?;
        // The script is ours, but who answers may be anything.
        let [seconds, nanos, ahead @ ..] = &answer[..] else { return Err(Unreachable) };
        if ahead.len() != parts.len() {
            return Err(Unreachable);
        }
        let standing =
            |(part, ahead): (&Part, &u64)| Standing { policy: part.policy, rate: part.rate, ahead: *ahead };
        let verdict = Standing::judge(parts.iter().zip(ahead).map(standing));
        let at = Duration::from_secs(*seconds).saturating_add(Duration::from_nanos(*nanos));
        Ok(Judged { at, verdict })
    }

    /// Counts, or has `here` asked while Redis is away, if that is what counts then.
    fn answer<'a>(
        &'a self,
        parts: Vec<Part>,
        here: impl FnOnce(&'a dyn Throttle) -> Answer<'a> + Send + 'a,
    ) -> Answer<'a> {
        if !self.redis.is_connected() {
            return self.without_redis(here);
        }
        Answer::Later(Box::pin(async move {
            match self.count(&parts).await {
                Ok(judged) => judged.verdict,
                Err(Unreachable) => self.without_redis(here).verdict().await,
            }
        }))
    }

    fn without_redis<'a>(&'a self, here: impl FnOnce(&'a dyn Throttle) -> Answer<'a>) -> Answer<'a> {
        let (outcome, answer) = match &self.when_away {
            WhenAway::Allow => ("allow", Answer::Now(Ok(None))),
            WhenAway::Refuse => {
                ("refuse", Answer::Now(Err(Exhausted::Uncounted { retry_after: RETRY_AFTER })))
            }
            WhenAway::Count(throttle) => ("count_here", here(&**throttle)),
        };
        self.observer.observe(Event::QuotaNotShared { outcome });
        answer
    }
}

impl Throttle for SharedQuotas {
    fn take<'a>(&'a self, principal: &'a Principal, operation: Operation<'a>) -> Answer<'a> {
        let parts = self.parts(principal, operation);
        if parts.is_empty() {
            return Answer::Now(Ok(None));
        }
        self.answer(parts, move |throttle| throttle.take(principal, operation))
    }

    fn take_address(&self, address: IpAddr) -> Answer<'_> {
        let Some(rate) = self.rates.address else { return Answer::Now(Ok(None)) };
        let part = match address {
            IpAddr::V4(address) => self.part("address", [&address.octets(), b""], rate, 1),
            IpAddr::V6(address) => self.part("address", [&address.octets(), b""], rate, 1),
        };
        self.answer(vec![part], move |throttle| throttle.take_address(address))
    }
}
