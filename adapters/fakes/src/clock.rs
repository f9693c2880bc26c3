//! [`ManualClock`]: time that moves only when told.

use std::time::Duration;

use async_trait::async_trait;
use domain::{Clock, UnixMillis};
use tokio::sync::watch;

/// A clock that stands at an instant until [`ManualClock::advance`] or [`ManualClock::set`] moves it.
#[derive(Debug)]
pub struct ManualClock {
    /// The calendar's offset from uptime, so that one number moves both.
    time: watch::Sender<Time>,
    sleepers: watch::Sender<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Time {
    now: UnixMillis,
    uptime: Duration,
}

impl ManualClock {
    /// A clock that stands at `now`, with an uptime of zero.
    #[must_use]
    pub fn at(now: UnixMillis) -> Self {
        Self {
            time: watch::Sender::new(Time { now, uptime: Duration::ZERO }),
            sleepers: watch::Sender::new(0),
        }
    }

    /// Moves the calendar and uptime forward, and wakes whoever slept until then.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.time.send_modify(|time| {
            time.now = UnixMillis(time.now.0.saturating_add(millis));
            time.uptime += by;
        });
    }

    /// Sets the calendar alone, as an administrator would: intervals do not notice.
    pub fn set(&self, now: UnixMillis) {
        self.time.send_modify(|time| time.now = now);
    }

    /// Completes once at least `count` sleeps are under way: what a test awaits before it moves time.
    pub async fn sleeping(&self, count: usize) {
        let mut sleepers = self.sleepers.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = sleepers.wait_for(|now| *now >= count).await;
    }
}

/// Counts a sleep for as long as it is under way, cancelled or not.
struct Sleeping<'a>(&'a watch::Sender<usize>);

impl Drop for Sleeping<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        self.time.borrow().now
    }

    fn uptime(&self) -> Duration {
        self.time.borrow().uptime
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.uptime() + duration;
        self.sleepers.send_modify(|count| *count += 1);
        let _sleeping = Sleeping(&self.sleepers);
        let mut time = self.time.subscribe();
        let _ = time.wait_for(|time| time.uptime >= until).await;
    }
}
