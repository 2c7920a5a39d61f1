//! What Vitrine promises, as a table, and whether a run has kept it.

use serde::Serialize;

use super::ledger::{Ledger, Line};
use super::metric::Metric;
use crate::stats::Summary;

/// One promise: a figure of one contender in one row stays within a bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise {
    /// What it is about, in a word or two: the heading under which it stands in `docs/performance.md`.
    pub topic: &'static str,
    /// The row.
    pub row: &'static str,
    /// Who promises.
    pub contender: &'static str,
    /// Which figure.
    pub metric: Metric,
    /// The bound.
    pub bound: Bound,
}

/// Between which limits a figure must lie. Those with a name compare with another contender of the same row, round by
/// round: a name stands for every contender whose name it begins (`nginx` for `nginx 2m`), and the best of them counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// The median is at most this.
    AtMost(f64),
    /// No round is above this.
    Never(f64),
    /// The median is at most this many times the other's.
    AtMostTimes(f64, &'static str),
    /// The median is at least this many times the other's.
    AtLeastTimes(f64, &'static str),
    /// The median is at most this much above the other's.
    AtMostAbove(f64, &'static str),
}

/// Whether a promise was kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// What it is about.
    pub topic: &'static str,
    /// The row.
    pub row: &'static str,
    /// Who promised.
    pub contender: &'static str,
    /// The figure.
    pub metric: Metric,
    /// The promise in words.
    pub promised: String,
    /// Against whom it was measured, if it is a comparison.
    pub against: Option<String>,
    /// What was measured, in the promise's own terms: the figure, the ratio or the difference. `None` if the run did not measure it.
    pub measured: Option<Summary>,
    /// Whether it was kept; `None` if it was not measured.
    pub kept: Option<bool>,
}

impl Bound {
    fn words(self, metric: Metric) -> String {
        let unit = metric.unit();
        match self {
            Self::AtMost(limit) => format!("at most {limit} {unit}"),
            Self::Never(limit) => format!("never above {limit} {unit}"),
            Self::AtMostTimes(limit, other) => format!("at most {} x {other}", times(limit)),
            Self::AtLeastTimes(limit, other) => format!("at least {} x {other}", times(limit)),
            Self::AtMostAbove(limit, other) => format!("at most {limit} {unit} above {other}"),
        }
    }

    fn other(self) -> Option<&'static str> {
        match self {
            Self::AtMost(_) | Self::Never(_) => None,
            Self::AtMostTimes(_, other) | Self::AtLeastTimes(_, other) | Self::AtMostAbove(_, other) => Some(other),
        }
    }

    fn kept_by(self, measured: &Summary) -> bool {
        match self {
            Self::Never(limit) => measured.max <= limit,
            Self::AtMost(limit) | Self::AtMostTimes(limit, _) | Self::AtMostAbove(limit, _) => measured.median <= limit,
            Self::AtLeastTimes(limit, _) => measured.median >= limit,
        }
    }
}

/// A multiple in words; a small one as the part that it is.
fn times(limit: f64) -> String {
    if limit < 0.1 { format!("1/{:.0}", 1.0 / limit) } else { format!("{limit:.2}") }
}

impl Promise {
    /// Judges the promise by what was measured.
    #[must_use]
    pub fn judge(&self, ledger: &Ledger) -> Verdict {
        let lines = ledger.lines(self.row);
        let own = lines.iter().find(|line| line.contender == self.contender).map(|line| line.values(self.metric));
        let other = self.bound.other().map(|name| self.best(lines, name));
        let (against, measured) = match (own, other) {
            (Some(own), None) => (None, Summary::of(own)),
            (Some(own), Some(Some(other))) => {
                let pair = |(own, other): (&f64, &f64)| match self.bound {
                    Bound::AtMostAbove(..) => own - other,
                    _ => own / other,
                };
                let values: Vec<f64> = own.iter().zip(other.values(self.metric)).map(pair).collect();
                (Some(other.contender.clone()), Summary::of(&values))
            }
            _ => (None, None),
        };
        Verdict {
            topic: self.topic,
            row: self.row,
            contender: self.contender,
            metric: self.metric,
            promised: self.bound.words(self.metric),
            against,
            kept: measured.as_ref().map(|measured| self.bound.kept_by(measured)),
            measured,
        }
    }

    /// The contender of the family `name` with the best median.
    fn best<'a>(&self, lines: &'a [Line], name: &str) -> Option<&'a Line> {
        let kin = |line: &&Line| {
            line.contender.strip_prefix(name).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        let median = |line: &Line| Summary::of(line.values(self.metric)).map(|summary| summary.median);
        let measured = lines.iter().filter(kin).filter_map(|line| Some((median(line)?, line)));
        let order = |a: &(f64, &Line), b: &(f64, &Line)| a.0.total_cmp(&b.0);
        let best = match self.bound {
            Bound::AtLeastTimes(..) => measured.max_by(order),
            _ => measured.min_by(order),
        };
        best.map(|(_, line)| line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(bound: Bound) -> Promise {
        Promise { topic: "t", row: "r", contender: "vitrine", metric: Metric::ServerCpu, bound }
    }

    fn ledger(lines: &[(&str, &[f64])]) -> Ledger {
        let mut ledger = Ledger::default();
        for (contender, values) in lines {
            for value in *values {
                ledger.add("r", contender, Metric::ServerCpu, *value);
            }
        }
        ledger
    }

    fn kept(bound: Bound, lines: &[(&str, &[f64])]) -> Option<bool> {
        promise(bound).judge(&ledger(lines)).kept
    }

    #[test]
    fn a_plain_limit_is_for_the_median_or_for_every_round() {
        let lines: &[(&str, &[f64])] = &[("vitrine", &[1.0, 2.0, 9.0])];
        assert_eq!(kept(Bound::AtMost(2.0), lines), Some(true));
        assert_eq!(kept(Bound::AtMost(1.9), lines), Some(false));
        assert_eq!(kept(Bound::Never(9.0), lines), Some(true));
        assert_eq!(kept(Bound::Never(8.9), lines), Some(false));
    }

    #[test]
    fn comparisons_are_made_round_by_round() {
        // The machine was three times as slow in the last round, for both.
        let lines: &[(&str, &[f64])] = &[("vitrine", &[0.75, 1.5, 2.25]), ("nginx 2m", &[1.0, 2.0, 3.0])];
        let verdict = promise(Bound::AtMostTimes(0.75, "nginx")).judge(&ledger(lines));
        assert_eq!(verdict.kept, Some(true), "{verdict:?}");
        assert!(verdict.measured.is_some_and(|ratio| ratio.max - ratio.min < 1e-9));
        assert_eq!(kept(Bound::AtMostTimes(0.74, "nginx"), lines), Some(false));
        assert_eq!(kept(Bound::AtLeastTimes(0.75, "nginx"), lines), Some(true));
        assert_eq!(kept(Bound::AtLeastTimes(0.76, "nginx"), lines), Some(false));
        assert_eq!(kept(Bound::AtMostAbove(-0.5, "nginx"), lines), Some(true));
        assert_eq!(kept(Bound::AtMostAbove(-0.51, "nginx"), lines), Some(false));
    }

    #[test]
    fn the_best_of_a_family_counts() {
        let lines: &[(&str, &[f64])] =
            &[("vitrine", &[2.0]), ("nginx 2m", &[4.0]), ("nginx 512k", &[2.5]), ("nginxy", &[1.0])];
        let against = |bound| promise(bound).judge(&ledger(lines)).against;
        assert_eq!(against(Bound::AtMostTimes(1.0, "nginx")).as_deref(), Some("nginx 512k"));
        assert_eq!(against(Bound::AtLeastTimes(1.0, "nginx")).as_deref(), Some("nginx 2m"));
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert_eq!(kept(Bound::AtMost(1.0), &[]), None);
        assert_eq!(kept(Bound::AtMostTimes(1.0, "nginx"), &[("vitrine", &[1.0])]), None);
    }
}
