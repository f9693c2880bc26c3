//! How much is taken on at a time: connections, requests, streams. What goes beyond is refused at once, and costs little.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::problem::Problem;
use crate::settings::Limits;

/// Connections beyond the limit that are served for probes alone, so that a server at its limit is not taken for dead.
const SPARE_CONNECTIONS: usize = 64;
/// The longest that one of those may be idle, or at its head: they are few.
pub(crate) const SPARE_PATIENCE: Duration = Duration::from_secs(5);

/// The places there are.
pub(crate) struct Capacity {
    connections: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    requests: Semaphore,
    streams: Arc<Semaphore>,
    refused: Spoken,
}

/// A connection's place, given back when dropped.
pub(crate) struct Place {
    /// For probes alone.
    pub(crate) is_spare: bool,
    _permit: OwnedSemaphorePermit,
}

impl Capacity {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(limits.connections)),
            spare: Arc::new(Semaphore::new(SPARE_CONNECTIONS)),
            requests: Semaphore::new(limits.requests),
            streams: Arc::new(Semaphore::new(limits.streams)),
            refused: Spoken::default(),
        }
    }

    /// A place for a connection; `None` when even the spare ones are taken.
    pub(crate) fn connection(&self, now: Duration) -> Option<Place> {
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            return Some(Place { is_spare: false, _permit: permit });
        }
        if self.refused.may_speak(now) {
            tracing::warn!("more connections than limits.connections: new ones are served for probes alone");
        }
        let permit = Arc::clone(&self.spare).try_acquire_owned().ok()?;
        Some(Place { is_spare: true, _permit: permit })
    }

    /// A place for a request to the endpoint, until its answer is made or has become a stream.
    ///
    /// # Errors
    /// [`Problem::Overloaded`].
    pub(crate) fn request(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.requests.try_acquire().map_err(|_| Problem::Overloaded)
    }

    /// A place for a stream, until it ends. Streams may last for hours, so they take no requests' places.
    ///
    /// # Errors
    /// [`Problem::Overloaded`].
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Problem::Overloaded)
    }
}

/// Once a second at most: a flood must not drown the log.
#[derive(Default)]
struct Spoken(AtomicU64);

impl Spoken {
    fn may_speak(&self, now: Duration) -> bool {
        // Counted from 1, so that the first second is not the one that nothing was said in.
        let second = now.as_secs() + 1;
        self.0.swap(second, Ordering::Relaxed) != second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_given_once_a_second() {
        let spoken = Spoken::default();
        let said =
            [0, 10, 999, 1000, 1500, 5000].map(|millis| spoken.may_speak(Duration::from_millis(millis)));
        assert_eq!(said, [true, false, false, true, false, true]);
    }
}
