//! How much is taken on at a time: connections, requests, streams. What goes beyond is refused at once, and costs little.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;
use crate::settings::Limits;

/// Connections beyond the limit that are served for probes alone, so that a server at its limit is not taken for dead.
const SPARE_CONNECTIONS: usize = 64;
/// The longest that one of those may be idle, or at its head: they are few, and a probe is one packet.
pub(crate) const SPARE_PATIENCE: Duration = Duration::from_secs(5);

/// The places there are.
pub(crate) struct Capacity {
    clock: Arc<dyn Clock>,
    connections: Places,
    spare: Arc<Semaphore>,
    requests: Places,
    streams: Places,
}

/// A connection's place, given back when dropped.
pub(crate) struct ConnectionPlace {
    /// For probes alone.
    pub(crate) is_spare: bool,
    _place: Place,
}

/// A place, given back when dropped.
pub(crate) type Place = OwnedSemaphorePermit;

impl Capacity {
    pub(crate) fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            connections: Places::new("limits.connections", limits.connections),
            spare: Arc::new(Semaphore::new(SPARE_CONNECTIONS)),
            requests: Places::new("limits.requests", limits.requests),
            streams: Places::new("limits.streams", limits.streams),
        }
    }

    /// A place for a connection; `None` when even the spare ones are taken.
    pub(crate) fn connection(&self) -> Option<ConnectionPlace> {
        if let Some(place) = self.connections.take(&*self.clock) {
            return Some(ConnectionPlace { is_spare: false, _place: place });
        }
        let place = Arc::clone(&self.spare).try_acquire_owned().ok()?;
        Some(ConnectionPlace { is_spare: true, _place: place })
    }

    /// A place for a request to the endpoint, until its answer is made or has become a stream. While an answer is sent, its
    /// connection's place bounds it: a client that reads slowly takes no other's.
    ///
    /// # Errors
    /// [`Problem::Overloaded`].
    pub(crate) fn request(&self) -> Result<Place, Problem> {
        self.requests.take(&*self.clock).ok_or(Problem::Overloaded)
    }

    /// A place for a subscription instead of its request's: it may last for hours, and calls go on without it.
    ///
    /// # Errors
    /// [`Problem::Overloaded`].
    pub(crate) fn subscription(&self) -> Result<Place, Problem> {
        self.streams.take(&*self.clock).ok_or(Problem::Overloaded)
    }

    /// A place for a call that has become a stream: its work has begun, and is not thrown away for want of one.
    pub(crate) fn streaming_call(&self, request: Place) -> Place {
        self.streams.take(&*self.clock).unwrap_or(request)
    }
}

/// So many places, and a word when they are all taken: once a second at most, since a flood must not drown the log.
struct Places {
    limit: &'static str,
    free: Arc<Semaphore>,
    /// The second of the last word, counted from 1.
    spoke: AtomicU64,
}

impl Places {
    fn new(limit: &'static str, places: usize) -> Self {
        Self { limit, free: Arc::new(Semaphore::new(places)), spoke: AtomicU64::new(0) }
    }

    fn take(&self, clock: &dyn Clock) -> Option<Place> {
        let place = Arc::clone(&self.free).try_acquire_owned().ok();
        if place.is_none() && self.may_speak(clock.uptime()) {
            tracing::warn!(limit = self.limit, "overloaded: no place is left");
        }
        place
    }

    fn may_speak(&self, now: Duration) -> bool {
        let second = now.as_secs() + 1;
        self.spoke.fetch_max(second, Ordering::Relaxed) < second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_given_once_a_second() {
        let places = Places::new("limits.test", 0);
        let said =
            [0, 10, 999, 1000, 900, 1500, 5000].map(|millis| places.may_speak(Duration::from_millis(millis)));
        assert_eq!(said, [true, false, false, true, false, false, true]);
    }
}
