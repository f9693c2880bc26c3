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
    /// When each sleep under way ends, by uptime.
    sleepers: watch::Sender<Vec<Duration>>,
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
            sleepers: watch::Sender::default(),
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
        self.sleepers_are(|ends| ends.len() >= count).await;
    }

    /// Completes once a sleep is under way that ends exactly `from_now`.
    pub async fn sleeping_until(&self, from_now: Duration) {
        let end = self.uptime() + from_now;
        self.sleepers_are(|ends| ends.contains(&end)).await;
    }

    async fn sleepers_are(&self, awaited: impl Fn(&[Duration]) -> bool) {
        let mut sleepers = self.sleepers.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = sleepers.wait_for(|ends| awaited(ends)).await;
    }
}

/// Counts a sleep for as long as it is under way, cancelled or not.
struct Sleeping<'a> {
    sleepers: &'a watch::Sender<Vec<Duration>>,
    end: Duration,
}

impl Drop for Sleeping<'_> {
    fn drop(&mut self) {
        self.sleepers.send_modify(|ends| {
            if let Some(index) = ends.iter().position(|end| *end == self.end) {
                ends.swap_remove(index);
            }
        });
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
        let end = self.uptime() + duration;
        self.sleepers.send_modify(|ends| ends.push(end));
        let _sleeping = Sleeping { sleepers: &self.sleepers, end };
        let mut time = self.time.subscribe();
        let _ = time.wait_for(|time| time.uptime >= end).await;
    }
}
