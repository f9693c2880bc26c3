//! Units that all requests share, of which one subject and one client get a bounded part: requests under way, streams,
//! pending requests for input, bytes of memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::principal::Principal;
use crate::throttle::Allowance;

/// The maximum share of a pool that one subject, and one client, may hold, in percent; 100 is all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// The share of one subject (`sub`), whatever clients it uses.
    pub subject_percent: usize,
    /// The share of one OAuth client (`client_id`), whatever subjects it acts for.
    pub client_percent: usize,
}

/// A number of units, and how many of them each holder has.
#[derive(Debug)]
pub struct Pool {
    limit: usize,
    per_subject: usize,
    per_client: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    in_all: usize,
    by_holder: HashMap<u64, usize, BuildHasherDefault<IsHash>>,
}

/// How much of a limit is in use at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse {
    /// What is in use now.
    pub now: usize,
    /// The most that can be.
    pub limit: usize,
}

/// Why units can't be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// Too few are free.
    #[error("the server has as much to do as it takes on")]
    Pool,
    /// The subject or the client would exceed its share.
    #[error("this subject or client has its share of the server under way")]
    Share,
    /// The subject, the client or the address asks more often than it may.
    #[error("{}", too_often(.allowance.as_ref()))]
    Rate {
        /// When to ask again.
        retry_after: Duration,
        /// The quota that is used up, if it is known.
        allowance: Option<Allowance>,
    },
    /// How often it was asked can't be found out, and what can't be counted is refused.
    #[error("the server can't count requests at the moment")]
    Uncounted {
        /// When to ask again.
        retry_after: Duration,
    },
}

impl Exhausted {
    /// Returns the reason code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pool => "overloaded",
            Self::Share => "share_exhausted",
            Self::Rate { .. } => "rate_exceeded",
            Self::Uncounted { .. } => "quota_unavailable",
        }
    }

    /// Returns how much of the quota is left that is used up, if it is known.
    #[must_use]
    pub const fn allowance(self) -> Option<Allowance> {
        match self {
            Self::Pool | Self::Share | Self::Uncounted { .. } => None,
            Self::Rate { allowance, .. } => allowance,
        }
    }

    /// Returns when to try again; soon, where nobody knows a time.
    #[must_use]
    pub const fn retry_after(self) -> Duration {
        match self {
            Self::Pool | Self::Share => Duration::from_secs(1),
            Self::Rate { retry_after, .. } | Self::Uncounted { retry_after } => retry_after,
        }
    }
}

/// Returns the text for whoever asks too often, by what is counted.
fn too_often(allowance: Option<&Allowance>) -> &'static str {
    match allowance.map_or("", |allowance| allowance.policy) {
        "subject" => "this subject asks too often",
        "client" => "this client asks too often",
        "tool" => "this subject calls this tool too often",
        "address" => "there are too many requests from this address",
        _ => "this subject or client asks too often",
    }
}

/// A holder of units: keyed hashes of a subject and of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    subject: u64,
    client: u64,
}

impl Holder {
    /// The one holder for all requests without a principal.
    pub const NOBODY: Self = Self { subject: 0, client: 1 };

    /// Returns the holder for a principal.
    #[must_use]
    pub fn of(principal: &Principal) -> Self {
        // Different keys keep a subject apart from a client of the same name.
        static SUBJECTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        static CLIENTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self { subject: hash(&SUBJECTS, principal.subject()), client: hash(&CLIENTS, principal.client()) }
    }
}

/// Returns a text's hash. Its end needs no mark, as it would in a hash of several.
fn hash(keys: &RandomState, text: &str) -> u64 {
    let mut hasher = keys.build_hasher();
    hasher.write(text.as_bytes());
    hasher.finish()
}

impl Pool {
    /// Creates a pool of `limit` units.
    #[must_use]
    pub fn new(limit: usize, shares: Shares) -> Self {
        let share = |percent: usize| {
            if percent >= 100 { limit } else { (limit / 100 * percent + limit % 100 * percent / 100).max(1) }
        };
        Self {
            limit,
            per_subject: share(shares.subject_percent),
            per_client: share(shares.client_percent),
            held: Mutex::default(),
        }
    }

    /// Leases units for as long as the lease is kept.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn lease(self: &Arc<Self>, holder: Holder, units: usize) -> Result<Lease, Exhausted> {
        let mut lease = Lease { pool: Arc::clone(self), holder, units: 0 };
        lease.grow(units)?;
        Ok(lease)
    }

    /// Returns the maximum that one holder can have.
    #[must_use]
    pub fn share(&self) -> usize {
        self.per_subject.min(self.per_client)
    }

    /// Returns the number of units that are held now, by all holders together.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.held().in_all
    }

    /// Returns that number beside the limit.
    #[must_use]
    pub fn usage(&self) -> InUse {
        InUse { now: self.in_use(), limit: self.limit }
    }

    fn take(&self, holder: Holder, units: usize) -> Result<(), Exhausted> {
        let mut held = self.held();
        let of = |key: u64| held.by_holder.get(&key).copied().unwrap_or(0);
        if self.limit - held.in_all < units {
            return Err(Exhausted::Pool);
        }
        if self.per_subject.saturating_sub(of(holder.subject)) < units
            || self.per_client.saturating_sub(of(holder.client)) < units
        {
            return Err(Exhausted::Share);
        }
        held.in_all += units;
        for key in [holder.subject, holder.client] {
            *held.by_holder.entry(key).or_default() += units;
        }
        Ok(())
    }

    fn give_back(&self, holder: Holder, units: usize) {
        let mut held = self.held();
        held.in_all -= units;
        for key in [holder.subject, holder.client] {
            if let Some(left) = held.by_holder.get_mut(&key) {
                *left -= units;
                if *left == 0 {
                    held.by_holder.remove(&key);
                }
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Units of a pool, returned when dropped.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    holder: Holder,
    units: usize,
}

impl Lease {
    /// Takes more units.
    ///
    /// # Errors
    /// [`Exhausted`]; then the lease is as it was.
    pub fn grow(&mut self, units: usize) -> Result<(), Exhausted> {
        if units > 0 {
            self.pool.take(self.holder, units)?;
            self.units += units;
        }
        Ok(())
    }

    /// Returns units to the pool, so that at most `units` are left.
    pub fn shrink_to(&mut self, units: usize) {
        if let Some(more) = self.units.checked_sub(units).filter(|more| *more > 0) {
            self.pool.give_back(self.holder, more);
            self.units = units;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// The memory of one request: its first [`Memory::FREE_BYTES`] are not counted, since the number of requests bounds them;
/// the rest is leased from a pool of bytes.
#[derive(Debug)]
pub struct Memory {
    lease: Lease,
    bytes: usize,
}

impl Memory {
    /// The memory that a request may use without a lease, in bytes: nearly all requests need no more.
    pub const FREE_BYTES: usize = 16 * 1024;

    /// Creates the account of a request that has used nothing yet.
    #[must_use]
    pub fn of_request(pool: &Arc<Pool>, holder: Holder) -> Self {
        Self { lease: Lease { pool: Arc::clone(pool), holder, units: 0 }, bytes: 0 }
    }

    /// Creates an account for a separate part of the same request's work: every byte of it is leased, since the request has
    /// its free bytes once.
    #[must_use]
    pub fn part(&self) -> Self {
        let lease = Lease { pool: Arc::clone(&self.lease.pool), holder: self.lease.holder, units: 0 };
        Self { lease, bytes: Self::FREE_BYTES }
    }

    /// Adds `bytes`, before they are allocated.
    ///
    /// # Errors
    /// [`Exhausted`]; then nothing is counted.
    pub fn add(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let units = (self.bytes + bytes).saturating_sub(Self::FREE_BYTES);
        self.lease.grow(units - self.lease.units)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Removes `bytes`, after they were freed.
    pub fn remove(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.lease.shrink_to(self.bytes.saturating_sub(Self::FREE_BYTES));
    }
}

/// A hasher for keys that are hashes.
#[derive(Default)]
struct IsHash(u64);

impl Hasher for IsHash {
    fn write(&mut self, bytes: &[u8]) {
        // Only numbers are hashed; anything else would be slow, and not wrong.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Holder = Holder { subject: 1, client: 100 };
    const BOB: Holder = Holder { subject: 2, client: 100 };
    const EVE: Holder = Holder { subject: 3, client: 200 };

    fn pool(limit: usize, subject_percent: usize, client_percent: usize) -> Arc<Pool> {
        Arc::new(Pool::new(limit, Shares { subject_percent, client_percent }))
    }

    #[test]
    fn a_subject_and_a_client_get_their_share_and_no_more() {
        let pool = pool(100, 25, 50);
        let mut ada = pool.lease(ADA, 25).unwrap();
        assert_eq!(pool.lease(ADA, 1).err(), Some(Exhausted::Share), "the subject's");
        let bob = pool.lease(BOB, 25).unwrap();
        assert_eq!(ada.grow(1), Err(Exhausted::Share));
        let other = Holder { subject: 4, ..ADA };
        assert_eq!(pool.lease(other, 1).err(), Some(Exhausted::Share), "the client's");
        let _eve = pool.lease(EVE, 25).unwrap();
        drop(bob);
        ada.shrink_to(5);
        assert!(ada.grow(20).is_ok() && ada.grow(1).is_err());
        drop(ada);
        assert_eq!((pool.in_use(), pool.held().by_holder.len()), (25, 2));
    }

    #[test]
    fn units_that_are_not_free_are_not_leased() {
        let pool = pool(10, 100, 100);
        let ada = pool.lease(ADA, 9).unwrap();
        assert_eq!(pool.lease(EVE, 2).err(), Some(Exhausted::Pool));
        let _eve = pool.lease(EVE, 1).unwrap();
        assert_eq!(pool.lease(BOB, 1).err(), Some(Exhausted::Pool));
        drop(ada);
        assert!(pool.lease(BOB, 9).is_ok());
        assert!(pool.lease(BOB, usize::MAX).is_err());
    }

    #[test]
    fn a_share_of_little_is_one() {
        for (limit, percent, share) in
            [(1, 25, 1), (3, 25, 1), (8, 25, 2), (1024, 25, 256), (7, 100, 7), (199, 50, 99)]
        {
            assert_eq!(pool(limit, percent, 100).share(), share, "{percent} % of {limit}");
        }
        assert_eq!(pool(usize::MAX, 50, 100).share(), usize::MAX / 100 * 50 + usize::MAX % 100 / 2);
    }

    #[test]
    fn memory_is_leased_beyond_the_free_bytes() {
        let pool = pool(1000, 100, 100);
        let mut memory = Memory::of_request(&pool, ADA);
        memory.add(Memory::FREE_BYTES).unwrap();
        assert_eq!(pool.in_use(), 0);
        memory.add(600).unwrap();
        assert_eq!((memory.add(401), pool.in_use()), (Err(Exhausted::Pool), 600));
        memory.remove(1000);
        assert_eq!(pool.in_use(), 0);
        memory.add(1000).unwrap();
        assert_eq!(pool.in_use(), 600);
        let mut part = memory.part();
        part.add(400).unwrap();
        assert_eq!((pool.in_use(), part.add(1)), (1000, Err(Exhausted::Pool)), "a part has no free bytes");
        drop(part);
        assert_eq!(pool.in_use(), 600);
        drop(memory);
        assert_eq!(pool.in_use(), 0);
    }
}
