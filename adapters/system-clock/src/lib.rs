//! The [`Clock`] port by the operating system: the only place that reads the machine's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use domain::{Clock, UnixMillis};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

/// Calendar time from the system, intervals and waiting from tokio's monotonic timer.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose uptime begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this crate is where time comes from")]
    fn now(&self) -> UnixMillis {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        UnixMillis(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        })
    }

    fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        // Without a part in the task's cooperative budget: a timer with one never fires in a task where something else, polled
        // before it, spends the budget in every poll, and a deadline has to end just that.
        unconstrained(tokio::time::sleep(duration)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_this_century() {
        let now = SystemClock::start().now();
        assert!(now > UnixMillis(1_767_225_600_000), "after the start of 2026: {now:?}");
        assert!(now < UnixMillis(4_102_444_800_000), "before 2100: {now:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn sleeping_takes_as_long_as_uptime_says() {
        let clock = SystemClock::start();
        clock.sleep(Duration::from_secs(90)).await;
        let slept = clock.uptime();
        assert!(slept >= Duration::from_secs(90) && slept < Duration::from_secs(91), "{slept:?}");
    }

    #[tokio::test]
    async fn sleeping_ends_beside_work_that_is_always_ready() {
        let clock = SystemClock::start();
        // Far longer than the deadline, and not for ever.
        let busy = async {
            for _ in 0..10_000_000 {
                tokio::task::coop::consume_budget().await;
            }
        };
        let ended_by_the_deadline = tokio::select! {
            biased;
            () = busy => false,
            () = clock.sleep(Duration::from_millis(10)) => true,
        };
        assert!(ended_by_the_deadline);
    }
}
