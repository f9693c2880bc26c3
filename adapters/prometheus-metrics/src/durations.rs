//! A histogram of durations, of atomics alone: the library's own has a lock around each observation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds; beyond them there is one more.
const BOUNDS: [u64; 10] =
    [1_000, 5_000, 25_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000, 60_000_000];

/// How many durations there were up to each bound, and their sum.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Durations {
    pub(crate) fn add(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Returns the sum in seconds, the count, and each bucket's upper bound and count.
    pub(crate) fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let bounds = BOUNDS.iter().map(|micros| seconds(*micros)).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // Of the buckets that were read, so that the two agree.
        let count = buckets.iter().map(|(_, count)| count).sum();
        (seconds(self.sum_micros.load(Ordering::Relaxed)), count, buckets)
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_it_fits_in() {
        let durations = Durations::default();
        for micros in [0, 1_000, 1_001, 60_000_000, 60_000_001] {
            durations.add(Duration::from_micros(micros));
        }
        let (sum, count, buckets) = durations.read();
        assert!((sum - 120.002_002).abs() < 1e-9, "{sum}");
        assert_eq!(count, 5);
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!(buckets[10].0.is_infinite() && (buckets[0].0 - 0.001).abs() < 1e-12);
        durations.add(Duration::MAX);
        assert_eq!(durations.read().1, 6);
    }
}
