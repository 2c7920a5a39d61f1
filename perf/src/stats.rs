//! Figures of repeated measurements, and latencies of many requests.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency a histogram tells apart; longer ones count as this.
const LATENCY_MAX: Duration = Duration::from_secs(60);
/// Decimal digits that a recorded latency keeps.
const LATENCY_DIGITS: u8 = 3;

/// Median of a few measurements of one thing, and how far they lay apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The middle value; of an even number of values, the mean of the two in the middle.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl Summary {
    /// Sums up `values`; `None` if there are none, or one is not a number.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.iter().any(|v| v.is_nan()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, min, max })
    }

    /// This median as a multiple of another's; `None` where that one is zero.
    #[must_use]
    pub fn ratio(&self, base: &Self) -> Option<f64> {
        (base.median > 0.0).then(|| self.median / base.median)
    }
}

/// Latencies of one load, with a relative error below one in a thousand.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// An empty histogram, from a microsecond to a minute.
    #[must_use]
    pub fn new() -> Self {
        let max = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
        // The bounds are constants that the histogram accepts; its fall-back grows by itself.
        let histogram = Histogram::new_with_bounds(1_000, max, LATENCY_DIGITS);
        Self(histogram.unwrap_or_else(|_| unreachable!("constant bounds of a latency histogram")))
    }

    /// Adds one latency.
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos);
    }

    /// Adds all latencies of another load.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can be out of range.
        self.0 += &other.0;
    }

    /// How many latencies were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in microseconds that the share `percent` (0 to 100) of the requests did not exceed.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> f64 {
        self.0.value_at_quantile(percent / 100.0) as f64 / 1_000.0
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_counts() {
        let odd = Summary::of(&[3.0, 1.0, 2.0]);
        assert_eq!(odd, Some(Summary { median: 2.0, min: 1.0, max: 3.0 }));
        let even = Summary::of(&[4.0, 1.0, 2.0, 3.0]);
        assert_eq!(even, Some(Summary { median: 2.5, min: 1.0, max: 4.0 }));
    }

    #[test]
    fn nothing_to_sum_up() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn ratio_of_medians() {
        let one = Summary { median: 3.0, min: 1.0, max: 9.0 };
        let base = Summary { median: 2.0, min: 0.5, max: 2.5 };
        assert_eq!(one.ratio(&base), Some(1.5));
        assert_eq!(one.ratio(&Summary { median: 0.0, min: 0.0, max: 0.0 }), None);
    }

    #[test]
    fn percentiles_within_a_thousandth() {
        let mut all = Latencies::new();
        let mut late = Latencies::new();
        for micros in 1..=500 {
            all.record(Duration::from_micros(micros));
            late.record(Duration::from_micros(micros + 500));
        }
        all.merge(&late);
        assert_eq!(all.count(), 1_000);
        for (percent, expected) in [(50.0, 500.0), (99.0, 990.0), (100.0, 1_000.0)] {
            let found = all.percentile(percent);
            assert!((found - expected).abs() <= expected / 1_000.0 + 0.001, "{percent}: {found}");
        }
    }

    #[test]
    fn a_latency_out_of_bounds_is_kept_as_the_longest() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(600));
        assert_eq!(latencies.count(), 1);
        assert!(latencies.percentile(100.0) >= 59e6);
    }
}
