//! Counters and histograms for whoever exports them: atomics alone, so that counting never waits for a reader.
//!
//! In: what happened, a relaxed addition or three each. Out: [`Counter::value`] and [`Histogram::read`]. What they are
//! called outside is the exporter's business.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Something that only becomes more.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// All that was added.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a value lay between which bounds.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds, each belonging to its own bucket; rising.
    bounds: &'static [u64],
    /// One more than bounds: the last is for what lies above all of them.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// Raw units in a base unit.
    scale: f64,
}

/// A histogram as it stands, in base units: seconds, or things.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Upper bound of each bucket, itself included, and how many values lie in it and in none before; the last bound
    /// is [`f64::MAX`].
    pub buckets: Vec<(f64, u64)>,
    /// The values' sum.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
}

/// From a tenth of a millisecond to a few seconds, in nanoseconds: a frame at 25 fps lasts 40 ms.
const TIMES: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    20_000_000,
    40_000_000,
    80_000_000,
    160_000_000,
    320_000_000,
    1_000_000_000,
    2_500_000_000,
];

/// Up to the most requests that a ring carries in a batch.
const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64];

impl Histogram {
    /// For lengths of time.
    pub fn of_times() -> Self {
        Self::new(TIMES, 1e9)
    }

    /// For small numbers of things.
    pub fn of_sizes() -> Self {
        Self::new(SIZES, 1.0)
    }

    fn new(bounds: &'static [u64], scale: f64) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0), scale }
    }

    /// Notes a length of time.
    pub fn time(&self, time: Duration) {
        self.note(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Notes a number of things.
    pub fn size(&self, size: usize) {
        self.note(size as u64);
    }

    fn note(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// As it stands. While somebody counts, the sum may be a value behind the buckets.
    pub fn read(&self) -> Reading {
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / self.scale).chain([f64::MAX]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Reading { buckets, sum: self.sum.load(Ordering::Relaxed) as f64 / self.scale, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_first_bucket_that_reaches_it() {
        let sizes = Histogram::of_sizes();
        [1, 2, 3, 4, 5, 64, 65].into_iter().for_each(|size| sizes.size(size));
        let Reading { buckets, sum, count } = sizes.read();
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 1, 2, 1, 0, 0, 1, 1]);
        assert_eq!((buckets[2].0, buckets[7].0), (4.0, f64::MAX));
        assert_eq!((sum, count), (144.0, 7));
    }

    #[test]
    fn times_are_told_in_seconds() {
        let times = Histogram::of_times();
        times.time(Duration::from_millis(40));
        times.time(Duration::from_millis(41));
        let Reading { buckets, sum, .. } = times.read();
        assert!(buckets.contains(&(0.04, 1)) && buckets.contains(&(0.08, 1)), "{buckets:?}");
        assert!((sum - 0.081).abs() < 1e-9);
    }

    #[test]
    fn threads_count_together() {
        let (counter, times) = (Counter::default(), Histogram::of_times());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counter.add(1);
                        times.time(Duration::from_micros(300));
                    }
                });
            }
        });
        assert_eq!((counter.value(), times.read().count), (4000, 4000));
    }
}
