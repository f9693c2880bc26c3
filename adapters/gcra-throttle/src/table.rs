//! What was used, by holder: bounded, and nobody who has used up a quota is forgotten for others.

use domain::Rate;
use indexmap::IndexMap;

/// How many entries are looked at to make room for one; see [`Table::make_room`].
const LOOKED_AT: usize = 64;

/// What each holder has used of one kind of quota.
#[derive(Debug)]
pub(crate) struct Table {
    entries: IndexMap<u64, Used>,
    limit: usize,
    /// Where the next look for entries that can go begins.
    cursor: usize,
}

/// What one holder has used: how far it is ahead of the steady pace, by the theoretical arrival time (TAT) of GCRA.
#[derive(Debug, Clone, Copy)]
struct Used {
    /// When nothing will be left of it, in nanoseconds of uptime.
    until: u64,
    /// The rate that it was counted by.
    rate: Rate,
}

/// A quota that a request is to be counted by, and what would be used of it then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) key: u64,
    pub(crate) rate: Rate,
    /// How far the holder would be ahead of the steady pace, in nanoseconds.
    pub(crate) ahead: u64,
}

impl Table {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: IndexMap::new(), limit, cursor: 0 }
    }

    /// Returns what a request of this weight would use; nothing is counted yet.
    pub(crate) fn weigh(&self, key: u64, rate: Rate, weight: u32, now: u64) -> Count {
        let ahead = self.entries.get(&key).map_or(0, |used| used.ahead(rate, now));
        let ahead = ahead.saturating_add(u64::from(weight).saturating_mul(rate.interval()));
        Count { key, rate, ahead }
    }

    /// Counts a request that was weighed at the same time.
    ///
    /// # Errors
    /// The nanoseconds until there is room for a holder that is not known yet.
    pub(crate) fn count(&mut self, count: Count, now: u64) -> Result<(), u64> {
        if !self.entries.contains_key(&count.key) {
            self.make_room(now)?;
        }
        self.entries.insert(count.key, Used { until: now.saturating_add(count.ahead), rate: count.rate });
        Ok(())
    }

    /// Removes entries that mean nothing any longer, two at least for each new one, so that there are about as many as holders
    /// that ask. If there is still no room, the one of 64 goes that would first mean nothing; unless that one has used its
    /// quota up: then nobody new is let in until it recovers, so that a flood of holders frees none that is kept out.
    fn make_room(&mut self, now: u64) -> Result<(), u64> {
        let is_full = self.entries.len() >= self.limit;
        let mut first: Option<(u64, Used)> = None;
        let looks = if is_full { LOOKED_AT } else { 2 };
        for _ in 0..looks {
            if self.cursor >= self.entries.len() {
                self.cursor = 0;
            }
            let Some((&key, &used)) = self.entries.get_index(self.cursor) else { break };
            if used.until <= now {
                self.entries.swap_remove_index(self.cursor);
                continue;
            }
            if first.is_none_or(|(_, first)| used.until < first.until) {
                first = Some((key, used));
            }
            self.cursor += 1;
        }
        let Some((key, used)) = first.filter(|_| self.entries.len() >= self.limit) else { return Ok(()) };
        match used.spent_for(now) {
            0 => {
                self.entries.swap_remove(&key);
                Ok(())
            }
            wait => Err(wait),
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Used {
    /// Returns how far the holder is ahead of the steady pace of a rate. What was counted by another rate stays as many
    /// requests as it was.
    fn ahead(&self, rate: Rate, now: u64) -> u64 {
        let ahead = self.until.saturating_sub(now);
        if self.rate == rate {
            return ahead;
        }
        let scaled = u128::from(ahead) * u128::from(rate.interval()) / u128::from(self.rate.interval());
        // More than a burst is used of none: with a smaller one, there is nothing left.
        u64::try_from(scaled).unwrap_or(u64::MAX).min(rate.tolerance())
    }

    /// Returns the nanoseconds until one more request may come; 0: it may now.
    fn spent_for(&self, now: u64) -> u64 {
        (self.until.saturating_sub(now) + self.rate.interval()).saturating_sub(self.rate.tolerance())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(table: &mut Table, key: u64, rate: Rate, weight: u32, now: u64) -> Result<(), u64> {
        let count = table.weigh(key, rate, weight, now);
        match early_by(count) {
            0 => table.count(count, now),
            early_by => Err(early_by),
        }
    }

    fn early_by(count: Count) -> u64 {
        count.ahead.saturating_sub(count.rate.tolerance())
    }

    fn rate(text: &str) -> Rate {
        Rate::parse(text).unwrap()
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn as_many_come_as_burst_and_rate_say_to_the_nanosecond() {
        let (mut table, rate) = (Table::new(10), rate("1/second burst 3"));
        for _ in 0..3 {
            assert_eq!(take(&mut table, 1, rate, 1, 5), Ok(()));
        }
        assert_eq!(take(&mut table, 1, rate, 1, 5), Err(SECOND));
        assert_eq!(take(&mut table, 1, rate, 1, 5 + SECOND - 1), Err(1));
        assert_eq!(take(&mut table, 1, rate, 1, 5 + SECOND), Ok(()));
        assert_eq!(take(&mut table, 1, rate, 1, 5 + SECOND), Err(SECOND), "a refused one counts nothing");
        assert_eq!(take(&mut table, 2, rate, 1, 5 + SECOND), Ok(()), "another holder");
        let later = 100 * SECOND;
        assert!((0..3).all(|_| take(&mut table, 1, rate, 1, later).is_ok()));
        assert_eq!(take(&mut table, 1, rate, 1, later), Err(SECOND), "a pause saves up no more than a burst");
    }

    #[test]
    fn a_weight_counts_as_as_many() {
        let (mut table, rate) = (Table::new(10), rate("1/second burst 5"));
        assert_eq!(take(&mut table, 1, rate, 4, 0), Ok(()));
        assert_eq!(take(&mut table, 1, rate, 2, 0), Err(SECOND));
        assert_eq!(take(&mut table, 1, rate, 1, 0), Ok(()));
        assert_eq!(take(&mut table, 2, rate, 5, 0), Ok(()), "a whole burst");
        assert_eq!(take(&mut table, 2, rate, 1, 0), Err(SECOND));
    }

    #[test]
    fn another_rate_forgets_nothing_of_what_was_used() {
        let (mut table, fast, slow) = (Table::new(10), rate("10/second burst 10"), rate("1/second burst 10"));
        for _ in 0..8 {
            take(&mut table, 1, fast, 1, 0).unwrap();
        }
        assert_eq!(table.weigh(1, slow, 1, 0).ahead, 9 * SECOND, "one of ten is left");
        assert_eq!(
            early_by(table.weigh(1, rate("1/second burst 5"), 1, 0)),
            SECOND,
            "and keeps nobody out for longer"
        );
        take(&mut table, 1, slow, 2, 0).unwrap();
        assert_eq!(early_by(table.weigh(1, fast, 1, 0)), SECOND / 10);
    }

    #[test]
    fn the_number_of_holders_is_bounded_and_a_flood_of_them_frees_none_that_is_kept_out() {
        let (mut table, rate) = (Table::new(100), rate("1/second burst 2"));
        for _ in 0..2 {
            take(&mut table, 0, rate, 1, 0).unwrap();
        }
        for key in 1..10_000 {
            assert_eq!(take(&mut table, key, rate, 1, 0), Ok(()));
            assert!(table.len() <= 100);
            assert!(take(&mut table, 0, rate, 1, 0).is_err(), "freed by {key}");
        }
        // All of them kept out: the next one waits for the first that recovers.
        let mut full = Table::new(100);
        for key in 0..100 {
            take(&mut full, key, rate, 2, key).unwrap();
        }
        assert!(take(&mut full, 1000, rate, 1, 100).is_err_and(|wait| (1..=SECOND).contains(&wait)));
        assert_eq!(take(&mut full, 1000, rate, 1, 100 + SECOND), Ok(()));
        assert_eq!(full.len(), 100);
        // The first that are looked at are kept out, but not all.
        let mut mixed = Table::new(8);
        for key in 0..8 {
            take(&mut mixed, key, rate, if key < 6 { 2 } else { 1 }, 0).unwrap();
        }
        mixed.cursor = 0;
        assert_eq!(take(&mut mixed, 1000, rate, 1, 0), Ok(()));
        assert!((0..6).all(|key| take(&mut mixed, key, rate, 1, 0).is_err()));
        // What means nothing any longer goes.
        for key in 0..200 {
            take(&mut full, 2000 + key, rate, 1, 100 * SECOND * (key + 1)).unwrap();
        }
        assert!(full.len() <= 2, "{}", full.len());
    }
}
