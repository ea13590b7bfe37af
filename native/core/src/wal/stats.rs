//! Counters that JavaScript reads when metrics are asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets up to 0.001 × 2^0..13 seconds, as etcd's, and one beyond.
pub const BUCKETS: usize = 15;
/// Numbers that [`Stats::read`] writes.
pub const STATS_NUMBERS: usize = 2 * (BUCKETS + 1) + 1;

/// A histogram of durations; counts are per bucket, not cumulated.
#[derive(Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let limit = Duration::from_millis(1);
        let bucket = (0..BUCKETS - 1)
            .find(|&i| duration <= limit * (1 << i))
            .unwrap_or(BUCKETS - 1);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.nanoseconds
            .fetch_add(duration.as_nanos() as u64, Relaxed);
    }

    fn read(&self, into: &mut [f64]) {
        for (count, into) in self.counts.iter().zip(into.iter_mut()) {
            *into = count.load(Relaxed) as f64;
        }
        into[BUCKETS] = self.nanoseconds.load(Relaxed) as f64 / 1e9;
    }
}

/// What the log has done so far.
#[derive(Default)]
pub struct Stats {
    pub fsync: Histogram,
    pub write: Histogram,
    pub bytes: AtomicU64,
}

impl Stats {
    /// fsync counts by bucket, their sum in seconds; the same of writes; bytes written.
    pub fn read(&self, into: &mut [f64]) {
        assert!(into.len() >= STATS_NUMBERS, "stats: array too short");
        self.fsync.read(&mut into[..BUCKETS + 1]);
        self.write.read(&mut into[BUCKETS + 1..2 * (BUCKETS + 1)]);
        into[2 * (BUCKETS + 1)] = self.bytes.load(Relaxed) as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_land_in_etcds_buckets() {
        let stats = Stats::default();
        for micros in [10, 1000, 1001, 2000, 8_192_000, 8_192_001] {
            stats.fsync.observe(Duration::from_micros(micros));
        }
        stats.bytes.fetch_add(4096, Relaxed);
        let mut numbers = [0.0; STATS_NUMBERS];
        stats.read(&mut numbers);
        assert_eq!(
            (numbers[0], numbers[1], numbers[13], numbers[14]),
            (2.0, 2.0, 1.0, 1.0)
        );
        assert!((numbers[15] - 16.388_012).abs() < 1e-6);
        assert_eq!(numbers[32], 4096.0);
    }
}
