//! The limits of what is served at a time: connections, requests, streams, memory. What exceeds them is refused at once, at
//! little cost. One subject and one client get a bounded share of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{Clock, Exhausted, Holder, InUse, Lease, Memory, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;
use crate::settings::Limits;

/// Connections beyond the limit that are served for probes alone, so that a server at its limit is not taken for dead.
const SPARE_CONNECTIONS: usize = 64;
/// The longest that one of those may be idle, or at its head: they are few, and a probe is one packet.
pub(crate) const SPARE_PATIENCE: Duration = Duration::from_secs(5);

/// The limits of the server, and what is left of them.
pub(crate) struct Limiter {
    clock: Arc<dyn Clock>,
    max_connections: usize,
    connections: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    /// Requests whose bodies are there.
    requests: Arc<Pool>,
    /// Requests whose bodies are on their way.
    receiving: Arc<Pool>,
    streams: Arc<Pool>,
    memory: Arc<Pool>,
    warnings: Warnings,
}

/// How much of each limit is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Connections.
    pub connections: InUse,
    /// Requests whose bodies are there.
    pub requests: InUse,
    /// Requests whose bodies are on their way.
    pub receiving: InUse,
    /// Answers that have become streams: subscriptions and calls.
    pub streams: InUse,
    /// Questions of tools that clients have yet to answer.
    pub questions: InUse,
    /// Memory, in bytes.
    pub memory_bytes: InUse,
}

/// Permission for a connection, released when dropped.
pub(crate) struct ConnectionPermit {
    /// For probes alone.
    pub(crate) is_spare: bool,
    _permit: OwnedSemaphorePermit,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        let pool = |limit| Arc::new(Pool::new(limit, limits.shares));
        Self {
            clock,
            max_connections: limits.connections,
            connections: Arc::new(Semaphore::new(limits.connections)),
            spare: Arc::new(Semaphore::new(SPARE_CONNECTIONS)),
            requests: pool(limits.requests),
            receiving: pool(limits.requests),
            streams: pool(limits.streams),
            memory: pool(limits.memory_bytes),
            warnings: Warnings::default(),
        }
    }

    /// Returns how much of each limit is in use; the questions are counted elsewhere.
    pub(crate) fn usage(&self, questions: InUse) -> Usage {
        let (limit, left) = (self.max_connections, self.connections.available_permits());
        Usage {
            connections: InUse { now: limit.saturating_sub(left), limit },
            requests: self.requests.usage(),
            receiving: self.receiving.usage(),
            streams: self.streams.usage(),
            questions,
            memory_bytes: self.memory.usage(),
        }
    }

    /// Acquires a permit for a connection; `None` when even the spare ones are taken.
    pub(crate) fn try_acquire_connection(&self) -> Option<ConnectionPermit> {
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            return Some(ConnectionPermit { is_spare: false, _permit: permit });
        }
        self.warn("limits.connections");
        let permit = Arc::clone(&self.spare).try_acquire_owned().ok()?;
        Some(ConnectionPermit { is_spare: true, _permit: permit })
    }

    /// Acquires a lease for a request whose body is there, until its answer is made or has become a stream. A request that
    /// waits for keys or for its body has none: slow senders, and those whose token can't be verified, take none from others.
    ///
    /// # Errors
    /// [`Problem::Exhausted`].
    pub(crate) fn try_acquire_request(&self, holder: Holder) -> Result<Lease, Problem> {
        self.lease(&self.requests, "limits.requests", holder)
    }

    /// Acquires a lease for a request whose body did not come with its head, until it is there.
    ///
    /// # Errors
    /// [`Problem::Exhausted`].
    pub(crate) fn try_acquire_receiving(&self, holder: Holder) -> Result<Lease, Problem> {
        self.lease(&self.receiving, "limits.requests", holder)
    }

    /// Acquires a lease for a subscription instead of its request's: it may last for hours, and calls go on without it.
    ///
    /// # Errors
    /// [`Problem::Exhausted`].
    pub(crate) fn try_acquire_subscription(&self, holder: Holder) -> Result<Lease, Problem> {
        self.lease(&self.streams, "limits.streams", holder)
    }

    /// Returns a lease for a call that has become a stream, or else its request's: its work has begun, and goes on.
    pub(crate) fn streaming_call(&self, holder: Holder, request: Lease) -> Lease {
        self.streams.lease(holder, 1).unwrap_or(request)
    }

    /// Returns the account of a request's memory.
    pub(crate) fn memory(&self, holder: Holder) -> Memory {
        Memory::of_request(&self.memory, holder)
    }

    /// Acquires a lease for an answer of so many bytes that waits to be taken. One that is larger than a share counts as a
    /// share: it is sent if its holder has nothing else.
    ///
    /// # Errors
    /// [`Problem::Exhausted`].
    pub(crate) fn try_acquire_unsent(&self, holder: Holder, bytes: usize) -> Result<Lease, Problem> {
        let bytes = bytes.min(self.memory.share());
        let lease = self.memory.lease(holder, bytes);
        lease.map_err(|exhausted| self.refused("limits.memory_bytes", exhausted))
    }

    fn lease(&self, pool: &Arc<Pool>, limit: &'static str, holder: Holder) -> Result<Lease, Problem> {
        pool.lease(holder, 1).map_err(|exhausted| self.refused(limit, exhausted))
    }

    /// Returns the problem of an exhausted pool, which is logged.
    pub(crate) fn refused(&self, limit: &'static str, exhausted: Exhausted) -> Problem {
        if exhausted == Exhausted::Pool {
            self.warn(limit);
        }
        Problem::Exhausted(exhausted)
    }

    fn warn(&self, limit: &'static str) {
        if self.warnings.is_due(self.clock.uptime()) {
            tracing::warn!(limit, "overloaded: the limit is reached");
        }
    }
}

/// Limits warnings to one a second, since a flood must not drown the log.
#[derive(Default)]
struct Warnings {
    /// The second of the last one, counted from 1.
    last: AtomicU64,
}

impl Warnings {
    fn is_due(&self, now: Duration) -> bool {
        let second = now.as_secs() + 1;
        self.last.fetch_max(second, Ordering::Relaxed) < second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_given_once_a_second() {
        let warnings = Warnings::default();
        let due =
            [0, 10, 999, 1000, 900, 1500, 5000].map(|millis| warnings.is_due(Duration::from_millis(millis)));
        assert_eq!(due, [true, false, false, true, false, false, true]);
    }
}
