//! [`Quota`]: how much of what an upstream does gets into the log.

use std::time::Duration;

/// Admits a number of things per interval.
#[derive(Debug)]
pub(crate) struct Quota {
    max: u32,
    per: Duration,
    /// When the next interval begins, by uptime.
    end: Duration,
    admitted: u32,
    refused: u64,
}

impl Quota {
    pub(crate) const fn new(max: u32, per: Duration) -> Self {
        Self { max, per, end: Duration::ZERO, admitted: 0, refused: 0 }
    }

    /// Admits one thing, if there is room, and then returns how many were refused since that was last asked.
    pub(crate) fn admit(&mut self, uptime: Duration) -> Option<u64> {
        if uptime >= self.end {
            self.end = uptime + self.per;
            self.admitted = 0;
        }
        if self.admitted >= self.max {
            self.refused += 1;
            return None;
        }
        self.admitted += 1;
        Some(self.take_refused())
    }

    /// Returns how many were refused since that was last asked.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_admits_so_many_per_interval_and_counts_the_others() {
        let at = Duration::from_secs;
        let mut quota = Quota::new(2, at(10));
        assert_eq!([3, 4, 5, 12].map(|time| quota.admit(at(time))), [Some(0), Some(0), None, None]);
        assert_eq!([13, 14, 15].map(|time| quota.admit(at(time))), [Some(2), Some(0), None]);
        assert_eq!(quota.take_refused(), 1);
        assert_eq!(quota.take_refused(), 0);
    }
}
