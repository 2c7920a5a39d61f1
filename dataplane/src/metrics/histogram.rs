//! A histogram of times with one writer and any number of readers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::metrics::Exposition;

/// Upper bounds in seconds for what should take milliseconds.
const LATENCY: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Upper bounds in seconds for what may take minutes.
const DURATION: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];

/// Times by bucket.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds: the last takes what lies beyond them.
    buckets: Vec<AtomicU64>,
    sum_nanoseconds: AtomicU64,
}

impl Histogram {
    /// For latencies: 0.1 ms to 2.5 s.
    pub(crate) fn latency() -> Self {
        Self::new(LATENCY)
    }

    /// For whole transfers: 1 ms to 2 h.
    pub(crate) fn duration() -> Self {
        Self::new(DURATION)
    }

    fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, buckets, sum_nanoseconds: AtomicU64::new(0) }
    }

    /// Counts `took`.
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let index = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        self.buckets[index].fetch_add(1, Relaxed);
        self.sum_nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Upper bounds of the buckets, in seconds; the last bucket has none.
    pub(crate) fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// How many times fell into the bucket of this index, not cumulative.
    pub(crate) fn bucket(&self, index: usize) -> u64 {
        self.buckets.get(index).map_or(0, |bucket| bucket.load(Relaxed))
    }

    /// The sum of all times, in seconds.
    pub(crate) fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_nanoseconds.load(Relaxed)).as_secs_f64()
    }
}

/// One series of a histogram: its labels and the parts that are added up.
pub(crate) type Series<'a> = (&'a [(&'a str, &'a str)], Vec<&'a Histogram>);

/// Writes a whole family of histograms.
pub(crate) fn expose(out: &mut Exposition, name: &'static str, help: &str, series: &[Series<'_>]) {
    out.family(name, "histogram", help);
    for (labels, parts) in series {
        let Some(first) = parts.first() else { continue };
        let mut total = 0;
        for (index, bound) in first.bounds().iter().map(Some).chain([None]).enumerate() {
            total += parts.iter().map(|part| part.bucket(index)).sum::<u64>();
            let bound = bound.map_or("+Inf".to_owned(), f64::to_string);
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            out.sample("_bucket", &labels, total);
        }
        out.sample("_sum", labels, parts.iter().map(|part| part.sum_seconds()).sum::<f64>());
        out.sample("_count", labels, total);
    }
}
