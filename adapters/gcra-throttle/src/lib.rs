//! The [`Throttle`] port by GCRA, in process: how often one subject, one OAuth client, one subject at one tool, and one address
//! may ask.
//!
//! [`Ledger`] has what was used, and outlives a reload; [`Quotas`] are rates over it. A request is counted by all of its quotas
//! or by none. Code of our own rather than the crate governor, whose limiters can neither change their rate nor be asked
//! together, and whose store is not bounded.

mod rate;
mod table;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Allowance, Answer, Clock, Exhausted, Operation, Principal, Throttle, ToolName, Verdict};

pub use rate::{NotARate, Rate};

use table::{Count, Table};

/// The most holders of one kind that are remembered.
pub const MAX_HOLDERS: usize = 100_000;

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

impl Rates {
    /// Returns whether anything is counted.
    #[must_use]
    pub fn are_any(&self) -> bool {
        let tool = self.tools.values().any(|tool| tool.subject.is_some());
        tool || self.subject.is_some() || self.client.is_some() || self.address.is_some()
    }
}

/// What was used of all quotas. Clones share it.
#[derive(Clone)]
pub struct Ledger(Arc<Used>);

struct Used {
    clock: Arc<dyn Clock>,
    /// So that nobody can choose names that are taken for each other.
    hasher: RandomState,
    principals: Mutex<Principals>,
    addresses: Mutex<Table>,
}

struct Principals {
    subjects: Table,
    clients: Table,
    tools: Table,
}

impl Ledger {
    /// Creates a ledger without entries.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let table = || Table::new(MAX_HOLDERS);
        let principals = Principals { subjects: table(), clients: table(), tools: table() };
        Self(Arc::new(Used {
            clock,
            hasher: RandomState::new(),
            principals: Mutex::new(principals),
            addresses: Mutex::new(table()),
        }))
    }
}

/// Rates, and what was used of them.
pub struct Quotas {
    rates: Rates,
    ledger: Ledger,
}

impl Quotas {
    /// Creates the quotas of a configuration. What others counted in the ledger counts here, too.
    #[must_use]
    pub fn new(rates: Rates, ledger: Ledger) -> Self {
        Self { rates, ledger }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.ledger.0.clock.uptime().as_nanos()).unwrap_or(u64::MAX)
    }

    fn take_now(&self, principal: &Principal, operation: Operation<'_>) -> Verdict {
        let (rates, used) = (&self.rates, &*self.ledger.0);
        let quota = operation.tool.and_then(|tool| Some((tool, rates.tools.get(tool)?)));
        let weight = quota.map_or(1, |(_, quota)| quota.weight);
        let per_tool = quota.and_then(|(tool, quota)| Some((tool, quota.subject?)));
        if rates.subject.is_none() && rates.client.is_none() && per_tool.is_none() {
            return Ok(None);
        }
        let (subject, client) = (principal.subject(), principal.client());
        let hash = |key: (&str, &str)| used.hasher.hash_one(key);
        let (by_subject, by_client) = (hash((subject, "")), hash((client, "")));
        let by_tool = per_tool.map(|(tool, rate)| (hash((subject, tool.as_str())), rate));
        let mut tables = locked(&used.principals);
        let Principals { subjects, clients, tools } = &mut *tables;
        // Within the lock, so that times follow one another.
        let now = self.now();
        let mut counts = [
            rates.subject.map(|rate| Part::new("subject", subjects, (by_subject, rate), weight, now)),
            rates.client.map(|rate| Part::new("client", clients, (by_client, rate), weight, now)),
            by_tool.map(|by_tool| Part::new("tool", tools, by_tool, 1, now)),
        ];
        count_all(counts.iter_mut().flatten(), now)
    }
}

/// One of the quotas that a request counts by.
struct Part<'t> {
    policy: &'static str,
    table: &'t mut Table,
    count: Count,
}

impl<'t> Part<'t> {
    fn new(
        policy: &'static str,
        table: &'t mut Table,
        (key, rate): (u64, Rate),
        weight: u32,
        now: u64,
    ) -> Self {
        let count = table.weigh(key, rate, weight, now);
        Self { policy, table, count }
    }

    fn allowance(&self, now: u64) -> Allowance {
        Allowance {
            policy: self.policy,
            quota: self.count.rate.burst(),
            window: whole_seconds(self.count.rate.window()),
            remaining: self.count.left(now),
            reset: whole_seconds(Duration::from_nanos(self.count.reset(now))),
        }
    }

    fn refusal(&self, wait: u64) -> Exhausted {
        let retry_after = Duration::from_nanos(wait);
        let allowance = Allowance { remaining: 0, reset: whole_seconds(retry_after), ..self.allowance(0) };
        Exhausted::Rate { retry_after, allowance: Some(allowance) }
    }
}

/// Returns a time in whole seconds, never too short.
fn whole_seconds(time: Duration) -> u32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// Counts by all or, if one of them has too little left, by none.
fn count_all<'p, 't: 'p>(parts: impl Iterator<Item = &'p mut Part<'t>>, now: u64) -> Verdict {
    let parts: [Option<&mut Part<'t>>; 3] = first_three(parts);
    let longest = parts.iter().flatten().max_by_key(|part| part.count.early_by);
    if let Some(part) = longest.filter(|part| part.count.early_by > 0) {
        return Err(part.refusal(part.count.early_by));
    }
    let mut tightest: Option<Allowance> = None;
    for part in parts.into_iter().flatten() {
        // Nobody is counted for twice: what was counted before a table has no room stays so, and errs on the safe side.
        part.table.count(part.count, now).map_err(|wait| part.refusal(wait))?;
        let allowance = part.allowance(now);
        if tightest.is_none_or(|tightest| allowance.remaining < tightest.remaining) {
            tightest = Some(allowance);
        }
    }
    Ok(tightest)
}

fn first_three<T>(items: impl Iterator<Item = T>) -> [Option<T>; 3] {
    let mut items = items.fuse();
    std::array::from_fn(|_| items.next())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Throttle for Quotas {
    fn take(&self, principal: &Principal, operation: Operation<'_>) -> Answer<'_> {
        Answer::Now(self.take_now(principal, operation))
    }

    fn take_address(&self, address: IpAddr) -> Answer<'_> {
        let Some(rate) = self.rates.address else { return Answer::Now(Ok(None)) };
        let key = self.ledger.0.hasher.hash_one(address);
        let mut addresses = locked(&self.ledger.0.addresses);
        let now = self.now();
        let mut part = Part::new("address", &mut addresses, (key, rate), 1, now);
        Answer::Now(count_all(std::iter::once(&mut part), now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Counts by one key of each table, at time 0.
    fn take(tables: &mut [(&'static str, Table, &str)], weight: u32) -> Verdict {
        let parts = tables.iter_mut().map(|(policy, table, rate)| {
            Part::new(policy, table, (1, Rate::parse(rate).unwrap()), weight, 0)
        });
        count_all(parts.collect::<Vec<_>>().iter_mut(), 0)
    }

    #[test]
    fn the_tightest_is_told_and_of_those_used_up_the_one_to_wait_for_longest() {
        let mut tables = [
            ("subject", Table::new(9), "1/second burst 3"),
            ("client", Table::new(9), "1/minute burst 2"),
            ("tool", Table::new(9), "1/second burst 2"),
        ];
        let told =
            |verdict: Verdict| verdict.map(|allowance| allowance.map(|told| (told.policy, told.remaining)));
        assert_eq!(told(take(&mut tables, 1)), Ok(Some(("client", 1))));
        assert_eq!(told(take(&mut tables, 1)), Ok(Some(("client", 0))));
        let refused = take(&mut tables, 1).unwrap_err();
        assert_eq!(refused.retry_after(), 60 * SECOND);
        let allowance = refused.allowance().unwrap();
        assert_eq!((allowance.policy, allowance.remaining, allowance.reset), ("client", 0, 60));
        // The subject has one left, which the refusal did not take.
        assert_eq!(take(&mut tables[..1], 1).unwrap().unwrap().remaining, 0);
        assert!(take(&mut tables[..1], 1).is_err());
    }

    #[test]
    fn a_nanosecond_too_early_is_too_early() {
        let (mut table, rate) = (Table::new(9), Rate::parse("1/second burst 1").unwrap());
        let mut take = |now| count_all([Part::new("subject", &mut table, (1, rate), 1, now)].iter_mut(), now);
        take(0).unwrap();
        assert_eq!(take(999_999_999).unwrap_err().retry_after(), Duration::from_nanos(1));
        take(1_000_000_000).unwrap();
    }

    #[test]
    fn who_finds_no_room_is_refused() {
        let (mut table, rate) = (Table::new(1), Rate::parse("1/second burst 1").unwrap());
        let mut take = |key| count_all([Part::new("address", &mut table, (key, rate), 1, 0)].iter_mut(), 0);
        take(1).unwrap();
        let refused = take(2).unwrap_err();
        assert_eq!((refused.retry_after(), refused.allowance().unwrap().policy), (SECOND, "address"));
    }
}
