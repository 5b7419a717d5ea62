//! How often something took how long, in plain integers.
//!
//! Each owner counts in its own and whoever reads adds them up: no lock, no atomic, no clock.

use std::time::Duration;

/// The upper bounds of all buckets but the last, in milliseconds: from a hand-over on one thread to the
/// drain of a report that runs for an hour.
const BOUNDS: [u32; 13] = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000];

/// Durations by bucket, and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// One more.
    pub fn observe(&mut self, took: Duration) {
        let fits = |bound: &u32| took <= Duration::from_millis(u64::from(*bound));
        let at = BOUNDS.iter().position(fits).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(took);
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        self.sum = self.sum.saturating_add(other.sum);
        self
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How long all of them took.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The upper bound in seconds of the bucket that holds this percentile; infinite: it is in the last.
    /// `None`: there were none.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<f64> {
        let rank = self.count().saturating_mul(percent).div_ceil(100).max(1);
        let mut seen = 0_u64;
        self.buckets().into_iter().find_map(|(bound, count)| {
            seen = seen.saturating_add(count);
            (seen >= rank).then_some(bound)
        })
    }

    /// Upper bounds in seconds with how many are in that bucket alone; the last has no bound.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|bound| f64::from(*bound) / 1e3);
        bounds.chain([f64::INFINITY]).zip(self.counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_all_is_counted() {
        let mut some = Histogram::default();
        for milliseconds in [0, 1, 2, 3_600_000, 3_600_001] {
            some.observe(Duration::from_millis(milliseconds));
        }
        let counts: Vec<u64> = some.buckets().iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((some.count(), some.sum()), (5, Duration::from_millis(7_200_004)));
        let both = some.and(&some);
        assert_eq!((both.count(), both.buckets()[0]), (10, (0.001, 4)));
        assert_eq!(both.buckets().last().unwrap().0, f64::INFINITY);
    }

    #[test]
    fn a_percentile_is_the_bound_of_its_bucket() {
        assert_eq!(Histogram::default().percentile(50), None);
        let mut some = Histogram::default();
        for milliseconds in [1, 1, 1, 1, 1, 4, 4, 4, 4, 700] {
            some.observe(Duration::from_millis(milliseconds));
        }
        let cases = [(0, 0.001), (50, 0.001), (51, 0.005), (90, 0.005), (91, 1.0), (99, 1.0), (100, 1.0)];
        for (percent, bound) in cases {
            assert_eq!(some.percentile(percent), Some(bound), "{percent}");
        }
        some.observe(Duration::from_secs(4_000));
        assert_eq!(some.percentile(99), Some(f64::INFINITY));
    }
}
