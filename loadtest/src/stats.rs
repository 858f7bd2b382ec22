//! Latencies in fixed memory: a histogram whose buckets are at most 1/32 of their value wide.

use std::time::Duration;

/// Steps per doubling.
const STEPS: u64 = 32;
const STEP_BITS: u32 = 5;
/// Doublings above the first `STEPS` microseconds; the last bucket ends beyond 38 hours.
const BUCKETS: usize = 32 * 33;

/// Counts durations in microseconds.
#[derive(Debug, Clone)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { buckets: vec![0; BUCKETS], count: 0, max: Duration::ZERO }
    }
}

impl Latencies {
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(micros).min(BUCKETS - 1);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.max = self.max.max(latency);
    }

    pub fn merge(&mut self, other: &Latencies) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> Duration {
        self.max
    }

    /// The nearest-rank percentile, rounded up to its bucket's end; zero when nothing was recorded.
    pub fn percentile(&self, percent: u32) -> Duration {
        let rank = self.count.saturating_mul(u64::from(percent)).div_ceil(100).max(1);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank {
                return Duration::from_micros(end_of(bucket)).min(self.max);
            }
        }
        self.max
    }
}

/// The first two doublings are exact; above, the bucket is the value's leading bits.
fn bucket_of(micros: u64) -> usize {
    let shift = micros.max(1).ilog2().saturating_sub(STEP_BITS);
    let bucket = u64::from(shift) * STEPS + (micros >> shift);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The highest value of a bucket.
fn end_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    let shift = (bucket / STEPS).saturating_sub(1);
    let lead = bucket - shift * STEPS;
    ((lead + 1) << shift) - 1
}

/// What several runs of the same gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// None of nothing. The median of an even number is the mean of the middle two.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (upper, lower) = (sorted.get(sorted.len() / 2)?, sorted.get((sorted.len() - 1) / 2)?);
        Some(Spread { median: f64::midpoint(*lower, *upper), min: *sorted.first()?, max: *sorted.last()? })
    }
}

/// A count as a float; exact below 2^53.
pub fn float(n: u64) -> f64 {
    let high = u32::try_from(n >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(n & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

/// Something per second; zero when no time passed.
pub fn per_second(n: u64, over: Duration) -> f64 {
    let seconds = over.as_secs_f64();
    if seconds > 0.0 { float(n) / seconds } else { 0.0 }
}

/// Milliseconds with their fraction.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_values_and_are_narrow() {
        for micros in [0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 1000, 999_999, 123_456_789] {
            let bucket = bucket_of(micros);
            let end = end_of(bucket);
            assert!(end >= micros && end <= micros + micros / 32, "{micros} in {bucket} to {end}");
            assert!(bucket == 0 || end_of(bucket - 1) < micros, "{micros} in {bucket}");
        }
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50), Duration::ZERO);
        for micros in 1..=50 {
            latencies.record(Duration::from_micros(micros));
        }
        assert_eq!(latencies.percentile(50), Duration::from_micros(25));
        assert_eq!(latencies.percentile(100), Duration::from_micros(50));
        latencies.record(Duration::from_secs(1));
        assert_eq!(latencies.percentile(99), Duration::from_secs(1));
        assert_eq!(latencies.count(), 51);
    }

    #[test]
    fn merging_is_recording_both() {
        let (mut one, mut two) = (Latencies::default(), Latencies::default());
        one.record(Duration::from_micros(10));
        two.record(Duration::from_micros(20));
        one.merge(&two);
        assert_eq!((one.count(), one.max()), (2, Duration::from_micros(20)));
        assert_eq!(one.percentile(50), Duration::from_micros(10));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let spread =
            |values: &[f64]| Spread::of(values).map(|spread| (spread.min, spread.median, spread.max));
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[2.0]), Some((2.0, 2.0, 2.0)));
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Some((1.0, 2.0, 9.0)));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some((1.0, 3.0, 9.0)));
    }

    #[test]
    fn floats_are_exact() {
        assert_eq!(float(0), 0.0);
        assert_eq!(float(1 << 33), 8_589_934_592.0);
        assert_eq!(per_second(10, Duration::from_secs(4)), 2.5);
    }
}
