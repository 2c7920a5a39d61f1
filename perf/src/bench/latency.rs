//! Latencies in HDR histograms, in microseconds.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency that is told apart; longer ones count as this.
const LONGEST: u64 = 3600 * 1_000_000;
/// Decimal digits that a latency keeps.
const DIGITS: u8 = 3;
/// The percentiles of the curve of a report.
const CURVE: [f64; 20] = [
    0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 99.99,
    100.0,
];

/// Many latencies, with a relative error of at most one in a thousand.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        // The bounds are constants that the histogram accepts.
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).unwrap_or_else(|_| unreachable!("constant bounds")))
    }
}

impl Latency {
    /// The same with two decimal digits, in as little memory as they need: for the many slices of a run.
    #[must_use]
    pub fn coarse(&self) -> Self {
        // Two is a number of digits that a histogram accepts.
        let mut coarse = Histogram::new(2).unwrap_or_else(|_| unreachable!("constant digits"));
        coarse += &self.0;
        Self(coarse)
    }

    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST));
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in microseconds that the share `percent` (0 to 100) did not exceed.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(percent / 100.0).min(self.0.max()) as f64 }
    }

    /// The figures of a report.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            mean: if self.0.is_empty() { 0.0 } else { self.0.mean() },
            p50: self.percentile(50.0),
            p90: self.percentile(90.0),
            p99: self.percentile(99.0),
            p999: self.percentile(99.9),
            max: self.percentile(100.0),
        }
    }

    /// Percentiles and their latencies in microseconds, from the shortest to the longest.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, f64)> {
        if self.0.is_empty() { Vec::new() } else { CURVE.iter().map(|at| (*at, self.percentile(*at))).collect() }
    }

    /// How many latencies lie between powers of the fourth root of two: lower bound in microseconds and count, without
    /// the empty ones.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for value in self.0.iter_recorded() {
            let step = ((value.value_iterated_to().max(1) as f64).log2() * 4.0 + 1e-9).floor();
            let low = (step / 4.0).exp2();
            let count = value.count_at_value();
            match buckets.last_mut() {
                Some((bound, sum)) if (*bound - low).abs() < 1e-9 => *sum += count,
                _ => buckets.push((low, count)),
            }
        }
        buckets
    }
}

/// What is said of latencies, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90 % were not longer.
    pub p90: f64,
    /// 99 % were not longer.
    pub p99: f64,
    /// 99.9 % were not longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_curve_and_buckets_agree() {
        let (mut one, mut other) = (Latency::default(), Latency::default());
        for micros in 1..=500 {
            one.record(Duration::from_micros(micros));
            other.record(Duration::from_micros(micros + 500));
        }
        one.merge(&other);
        let figures = one.figures();
        assert_eq!(one.count(), 1_000);
        assert!((figures.p50 - 500.0).abs() <= 1.0 && (figures.p99 - 990.0).abs() <= 1.0, "{figures:?}");
        assert!((figures.mean - 500.5).abs() < 1.0 && (figures.max - 1_000.0).abs() <= 1.0, "{figures:?}");
        assert!(one.curve().windows(2).all(|pair| pair[0].1 <= pair[1].1));
        let buckets = one.buckets();
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 1_000);
        assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0), "{buckets:?}");
        assert_eq!(Latency::default().figures(), Figures::default());
        one.record(Duration::from_secs(100_000));
        assert!(one.figures().max >= 3.59e9);
    }
}
