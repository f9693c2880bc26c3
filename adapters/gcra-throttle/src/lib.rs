//! The [`Throttle`] port by GCRA, in process: how often one subject, one OAuth client, one subject at one tool, and one address
//! may ask.
//!
//! [`Ledger`] has what was used, and outlives a reload; [`Quotas`] are rates over it. A request is counted by all of its quotas
//! or by none. Code of our own rather than the crate governor, whose limiters can neither change their rate nor be asked
//! together, and whose store is not bounded.

mod table;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Answer, Clock, Operation, Principal, Quota, Rate, Rates, Standing, Throttle, Verdict};

use table::{Count, Table};

/// The most holders of one kind that are remembered.
pub const MAX_HOLDERS: usize = 100_000;

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
        let [subject, client, tool] = self.rates.quotas(principal, operation);
        if subject.is_none() && client.is_none() && tool.is_none() {
            return Ok(None);
        }
        let used = &*self.ledger.0;
        let mut tables = locked(&used.principals);
        let Principals { subjects, clients, tools } = &mut *tables;
        // Within the lock, so that times follow one another.
        let now = self.now();
        let part = |quota: Option<Quota<'_>>, table| {
            let quota = quota?;
            let Quota { policy, holder: [holder, of], rate, weight } = quota;
            Some(Part::new(policy, table, (used.hasher.hash_one((holder, of)), rate), weight, now))
        };
        count_all([part(subject, subjects), part(client, clients), part(tool, tools)], now)
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

    fn standing(&self) -> Standing {
        Standing { policy: self.policy, rate: self.count.rate, ahead: self.count.ahead }
    }
}

/// Counts by all or, if one of them has too little left, by none.
fn count_all<const N: usize>(parts: [Option<Part<'_>>; N], now: u64) -> Verdict {
    let left = Standing::judge(parts.iter().flatten().map(Part::standing))?;
    for part in parts.into_iter().flatten() {
        let standing = part.standing();
        // Nobody is counted for twice: what was counted before a table has no room stays so, and errs on the safe side.
        part.table.count(part.count, now).map_err(|wait| standing.refusal(wait))?;
    }
    Ok(left)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Throttle for Quotas {
    fn take<'a>(&'a self, principal: &'a Principal, operation: Operation<'a>) -> Answer<'a> {
        Answer::Now(self.take_now(principal, operation))
    }

    fn take_address(&self, address: IpAddr) -> Answer<'_> {
        let Some(rate) = self.rates.address else { return Answer::Now(Ok(None)) };
        let key = self.ledger.0.hasher.hash_one(address);
        let mut addresses = locked(&self.ledger.0.addresses);
        let now = self.now();
        Answer::Now(count_all([Some(Part::new("address", &mut addresses, (key, rate), 1, now))], now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    type Counted = (&'static str, Table, &'static str);

    /// Counts by one key of each table, at time 0.
    fn take<const N: usize>(tables: &mut [Counted; N]) -> Verdict {
        count_all(tables.each_mut().map(|(policy, table, rate)| Some(part_of(policy, table, 1, rate, 0))), 0)
    }

    fn part_of<'t>(policy: &'static str, table: &'t mut Table, key: u64, rate: &str, now: u64) -> Part<'t> {
        Part::new(policy, table, (key, Rate::parse(rate).unwrap()), 1, now)
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
        assert_eq!(told(take(&mut tables)), Ok(Some(("client", 1))));
        assert_eq!(told(take(&mut tables)), Ok(Some(("client", 0))));
        let refused = take(&mut tables).unwrap_err();
        assert_eq!(refused.retry_after(), 60 * SECOND);
        let allowance = refused.allowance().unwrap();
        assert_eq!((allowance.policy, allowance.remaining, allowance.reset), ("client", 0, 60));
        // The subject has one left, which the refusal did not take.
        let [subject, ..] = tables;
        let mut subject = [subject];
        assert_eq!(take(&mut subject).unwrap().unwrap().remaining, 0);
        assert!(take(&mut subject).is_err());
    }

    #[test]
    fn a_nanosecond_too_early_is_too_early() {
        let mut table = Table::new(9);
        let mut take =
            |now| count_all([Some(part_of("subject", &mut table, 1, "1/second burst 1", now))], now);
        take(0).unwrap();
        assert_eq!(take(999_999_999).unwrap_err().retry_after(), Duration::from_nanos(1));
        take(1_000_000_000).unwrap();
    }

    #[test]
    fn who_finds_no_room_is_refused() {
        let mut table = Table::new(1);
        let mut take = |key| count_all([Some(part_of("address", &mut table, key, "1/second burst 1", 0))], 0);
        take(1).unwrap();
        let refused = take(2).unwrap_err();
        assert_eq!((refused.retry_after(), refused.allowance().unwrap().policy), (SECOND, "address"));
    }
}
