//! Whether two sets of figures differ, or only chance does.
//!
//! Each round (or slice) of a run gives one value of each metric. The logarithms of their ratios are averaged, and
//! Student's t gives the interval in which the true ratio lies with 95 % confidence: with the few rounds that anyone has
//! the patience for, a bootstrap's intervals are too narrow, and rank tests of five pairs can never reach 95 %. An outlier
//! widens the interval: the error is then on the side of "no difference found". Pairs (A and B of the same round) are
//! compared as pairs; samples of two separate runs by Welch's formula, with fewer degrees of freedom when neighbours
//! resemble each other (lag-1 autocorrelation).

use serde::{Deserialize, Serialize};

use super::ledger::Kind;
use super::result::{Report, Round};

/// Fewest values on each side for a verdict.
const VALUES_MIN: usize = 3;
/// Differences smaller than this are not worth a word, however sure.
const RATIO_MIN: f64 = 0.01;

/// What a larger value of a metric means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// More is better.
    More,
    /// Less is better.
    Less,
}

/// A metric of two sets of figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was compared.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Geometric mean of the first.
    pub a: f64,
    /// Geometric mean of the second.
    pub b: f64,
    /// The second as a multiple of the first.
    pub ratio: f64,
    /// The 95 % confidence interval of the ratio.
    pub interval: Option<(f64, f64)>,
    /// Values on each side.
    pub values: (usize, usize),
    /// Whether there is a difference.
    pub differs: bool,
    /// The verdict in words.
    pub text: String,
}

/// Values of one metric on both sides.
#[derive(Debug, Clone)]
pub struct Samples {
    /// What it is.
    pub metric: String,
    /// Its unit.
    pub unit: &'static str,
    /// What a larger value means.
    pub better: Better,
    /// Of the first.
    pub a: Vec<f64>,
    /// Of the second.
    pub b: Vec<f64>,
    /// Whether the values belong together one by one.
    pub paired: bool,
}

impl Samples {
    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let logs = |values: &[f64]| -> Vec<f64> {
            values.iter().filter(|value| **value > 0.0 && value.is_finite()).map(|value| value.ln()).collect()
        };
        let (a, b) = (logs(&self.a), logs(&self.b));
        let whole = a.len() == self.a.len() && b.len() == self.b.len();
        let (mean, half) = if self.paired && whole && a.len() == b.len() {
            let pairs: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
            paired(&pairs)
        } else {
            welch(&a, &b)
        };
        let ratio = mean.exp();
        let enough = a.len() >= VALUES_MIN && b.len() >= VALUES_MIN && half.is_finite();
        let interval = enough.then(|| ((mean - half).exp(), (mean + half).exp()));
        let differs = interval.is_some_and(|(low, high)| low > 1.0 || high < 1.0) && (ratio - 1.0).abs() >= RATIO_MIN;
        Verdict {
            metric: self.metric.clone(),
            unit: self.unit.to_owned(),
            a: average(&a).exp(),
            b: average(&b).exp(),
            ratio,
            interval,
            values: (a.len(), b.len()),
            differs,
            text: self.words(ratio, interval, differs),
        }
    }

    fn words(&self, ratio: f64, interval: Option<(f64, f64)>, differs: bool) -> String {
        let Some((low, high)) = interval else {
            return format!("too few values for a verdict (at least {VALUES_MIN} on each side)");
        };
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
        if !differs {
            return format!("no difference found (95 % CI {:+.0} .. {:+.0} %)", percent(low), percent(high));
        }
        let word = match (self.better, ratio > 1.0) {
            (Better::More, true) => "more",
            (Better::More, false) | (Better::Less, false) => "less",
            (Better::Less, true) => "more",
        };
        let good = (self.better == Better::More) == (ratio > 1.0);
        // Of times and costs a decrease is told as such: "12 % less".
        let (size, near, far) = if ratio > 1.0 {
            (percent(ratio), percent(low), percent(high))
        } else {
            (-percent(ratio), -percent(high), -percent(low))
        };
        let rate = self.metric == "throughput" || self.metric == "requests";
        let name = match (rate, good) {
            (true, true) => "faster by".to_owned(),
            (true, false) => "slower by".to_owned(),
            (false, true) => format!("better: {word} by"),
            (false, false) => format!("worse: {word} by"),
        };
        format!("{name} {} % (95 % CI {}..{})", figure(size), figure(near), figure(far))
    }
}

fn figure(percent: f64) -> String {
    if percent.abs() < 10.0 { format!("{percent:.1}") } else { format!("{percent:.0}") }
}

fn average(values: &[f64]) -> f64 {
    if values.is_empty() { f64::NAN } else { values.iter().sum::<f64>() / values.len() as f64 }
}

fn variance(values: &[f64]) -> f64 {
    let mean = average(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

/// Mean of differences, and half of the width of its interval.
fn paired(differences: &[f64]) -> (f64, f64) {
    let count = differences.len() as f64;
    (average(differences), t95(count - 1.0) * (variance(differences) / count).sqrt())
}

/// Difference of the means of two samples, and half of the width of its interval (Welch, 1947).
fn welch(a: &[f64], b: &[f64]) -> (f64, f64) {
    let (count_a, count_b) = (independent(a), independent(b));
    let (part_a, part_b) = (variance(a) / count_a, variance(b) / count_b);
    let sum = part_a + part_b;
    let freedom = if sum > 0.0 {
        sum.powi(2) / (part_a.powi(2) / (count_a - 1.0).max(0.5) + part_b.powi(2) / (count_b - 1.0).max(0.5))
    } else {
        count_a + count_b - 2.0
    };
    (average(b) - average(a), t95(freedom) * sum.sqrt())
}

/// How many independent values a series is worth whose neighbours resemble each other.
fn independent(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let (mean, spread) = (average(values), variance(values));
    if values.len() < VALUES_MIN || spread <= 0.0 {
        return count;
    }
    let common: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    let likeness = (common / (spread * (count - 1.0))).clamp(0.0, 0.95);
    (count * (1.0 - likeness) / (1.0 + likeness)).max(2.0)
}

/// The two-sided 95 % quantile of Student's t.
fn t95(freedom: f64) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    if freedom.is_nan() || freedom < 1.0 {
        return if freedom.is_nan() { f64::INFINITY } else { TABLE[0] };
    }
    if freedom < 10.0 {
        // Between whole degrees of freedom the inverse is close to linear.
        let whole = freedom.floor();
        let index = (1..=9).rev().find(|n| f64::from(*n) <= whole).map_or(0, |n: u32| n as usize - 1);
        let share = freedom - whole;
        return 1.0 / ((1.0 - share) / TABLE[index] + share / TABLE[index + 1]);
    }
    // Expansion in powers of 1/freedom (Abramowitz and Stegun 26.7.5); wrong by less than 0.001 from here on.
    let z: f64 = 1.959_964;
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    z + (z3 + z) / (4.0 * freedom)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * freedom.powi(3))
}

/// The values of one round, by metric.
fn metrics(round: &Round) -> Vec<(String, &'static str, Better, f64)> {
    let bytes = round.bytes_down + round.bytes_up;
    let mut found = Vec::new();
    if bytes > 0 {
        found.push(("throughput".to_owned(), "MiB/s", Better::More, mib(bytes) / round.seconds));
    }
    let requests: u64 =
        round.operations.iter().filter(|each| each.name != Kind::Push.name()).map(|each| each.requests).sum();
    found.push(("requests".to_owned(), "/s", Better::More, requests as f64 / round.seconds));
    for each in &round.operations {
        found.push((format!("{} p50", each.name), "ms", Better::Less, each.latency_us.p50 / 1e3));
        found.push((format!("{} p99", each.name), "ms", Better::Less, each.latency_us.p99 / 1e3));
    }
    if let Some(cpu) = round.server_cpu {
        found.push(if bytes > 0 {
            ("server CPU".to_owned(), "s/GiB", Better::Less, cpu / (mib(bytes) / 1024.0))
        } else {
            ("server CPU".to_owned(), "ms/request", Better::Less, cpu * 1e3 / (requests as f64).max(1.0))
        });
    }
    found
}

/// Bytes in MiB.
#[must_use]
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The parts of a single round as if they were rounds, for want of any.
fn split(round: &Round) -> Vec<Round> {
    let parts = round.slices.iter().map(|part| Round {
        endpoint: round.endpoint.clone(),
        seconds: part.seconds,
        bytes_down: part.down,
        bytes_up: part.up,
        late: 0,
        dropped: 0,
        unfinished: 0,
        server_cpu: part.server_cpu,
        server_busy: None,
        client_cpu: part.client_cpu,
        operations: part
            .operations
            .iter()
            .map(|(name, (requests, p50, p99))| super::result::RoundOperation {
                name: name.clone(),
                requests: *requests,
                errors: 0,
                latency_us: super::latency::Figures { p50: *p50, p99: *p99, ..Default::default() },
            })
            .collect(),
        slices: Vec::new(),
    });
    parts.collect()
}

/// Compares rounds of two endpoints.
#[must_use]
pub fn compare(a: &[Round], b: &[Round], paired: bool) -> Vec<Verdict> {
    let values = |rounds: &[Round], name: &str| -> Vec<f64> {
        let of = |round| metrics(round).into_iter().find(|each| each.0 == name).map(|each| each.3);
        rounds.iter().filter_map(of).collect()
    };
    let Some(names) = a.iter().map(metrics).max_by_key(Vec::len) else { return Vec::new() };
    let both = names.into_iter().filter_map(|(metric, unit, better, _)| {
        let (a, b) = (values(a, &metric), values(b, &metric));
        let paired = paired && a.len() == b.len();
        (!b.is_empty()).then(|| Samples { metric, unit, better, a, b, paired }.verdict())
    });
    both.collect()
}

/// Compares the first endpoints of two reports. The second value says that one of them has a single round, whose parts
/// were taken instead.
#[must_use]
pub fn compare_reports(a: &Report, b: &Report) -> (Vec<Verdict>, bool) {
    let rounds = |report: &Report| -> Vec<Round> {
        let name = report.endpoints.first().map(|endpoint| endpoint.name.clone()).unwrap_or_default();
        report.rounds_of(&name).cloned().collect()
    };
    let (mut a, mut b) = (rounds(a), rounds(b));
    let single = a.len() < VALUES_MIN || b.len() < VALUES_MIN;
    if single {
        a = a.iter().flat_map(split).collect();
        b = b.iter().flat_map(split).collect();
    }
    (compare(&a, &b, false), single)
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
