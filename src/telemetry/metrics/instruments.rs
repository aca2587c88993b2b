//! What is counted with on the hot path: relaxed additions, no locks, no lookups.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of a latency histogram's buckets, in seconds; one more holds the rest.
pub(crate) const LATENCY_BOUNDS_SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that is so, or is not.
#[derive(Debug, Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn set(&self, so: bool) {
        self.0.store(so, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long things took.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; LATENCY_BOUNDS_SECONDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = LATENCY_BOUNDS_SECONDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many were at most as long as each bound, all of them last.
    pub(crate) fn cumulative(&self) -> [u64; LATENCY_BOUNDS_SECONDS.len() + 1] {
        let mut below = 0;
        std::array::from_fn(|bucket| {
            below += self.buckets[bucket].load(Ordering::Relaxed);
            below
        })
    }

    pub(crate) fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let histogram = Histogram::default();
        for millis in [1, 5, 5_000, 90_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let at = |bound: f64| {
            let bucket = LATENCY_BOUNDS_SECONDS.iter().position(|b| *b == bound).unwrap();
            histogram.cumulative()[bucket]
        };
        assert_eq!([at(0.0005), at(0.001), at(0.005), at(5.0), at(60.0)], [0, 1, 2, 3, 3]);
        assert_eq!(histogram.cumulative()[LATENCY_BOUNDS_SECONDS.len()], 4);
        assert_eq!(histogram.sum_seconds(), 95.006);
    }
}
