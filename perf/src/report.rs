//! The outcome of a comparison: a table to read, JSON to keep, and a page with plots.

mod html;
mod text;

use serde::Serialize;

use crate::compare::ledger::Ledger;
use crate::compare::promise::Verdict;
use crate::machine::Machine;

/// A whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Where it was made.
    pub machine: Machine,
    /// Seconds since the epoch when it ended.
    pub finished: u64,
    /// How it was made, in words.
    pub method: String,
    /// The figures.
    #[serde(flatten)]
    pub ledger: Ledger,
    /// The promises, judged; none in a quick run.
    pub verdicts: Vec<Verdict>,
    /// What a reader must know: contenders that were left out, turns that were taken again.
    pub notes: Vec<String>,
    /// Scenarios that failed: they have no figures.
    pub failures: Vec<String>,
}

impl Report {
    /// The table: each row with its figures and the promises made of it, then what was noted.
    #[must_use]
    pub fn text(&self) -> String {
        text::table(self)
    }

    /// A page of its own with a plot for each row.
    #[must_use]
    pub fn html(&self) -> String {
        html::page(self)
    }
}

/// A figure with about three digits that count.
#[must_use]
pub fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.01 => 3,
        0.0 => 0,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::metric::Metric;
    use crate::compare::promise::{Bound, Promise};

    pub(super) fn report() -> Report {
        let mut ledger = Ledger::default();
        for (contender, cpu) in [("vitrine", [0.15, 0.16, 0.14]), ("nginx 2m", [0.1, 0.1, 0.1])] {
            for value in cpu {
                ledger.add("download <1>", contender, Metric::ServerCpu, value);
                ledger.add("download <1>", contender, Metric::Others, 25.0);
            }
        }
        let promise = |row, bound| {
            Promise { topic: "warm", row, contender: "vitrine", metric: Metric::ServerCpu, bound }.judge(&ledger)
        };
        let verdicts = vec![
            promise("download <1>", Bound::AtMostTimes(0.9, "nginx")),
            promise("download <1>", Bound::AtMost(0.2)),
            promise("another", Bound::AtMost(1.0)),
        ];
        let machine = Machine {
            processor: "p".into(),
            cores: 2,
            kernel: "6.1".into(),
            memory: 1 << 33,
            load: [0.5, 0.25, 0.125],
            busy: 0.01,
            stolen: 0.0,
        };
        let (notes, failures) = (vec!["a note".into()], vec!["cold: broke".into()]);
        Report { machine, finished: 1, method: "so".into(), ledger, verdicts, notes, failures }
    }

    #[test]
    fn figures_keep_three_digits() {
        for (value, text) in [(12_345.6, "12346"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123"), (0.0, "0")] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn json_has_every_value() -> serde_json::Result<()> {
        let value = serde_json::to_value(report())?;
        assert_eq!(value["rows"][0]["lines"][1]["contender"], "nginx 2m");
        assert_eq!(value["rows"][0]["lines"][0]["figures"][0]["values"][2], 0.14);
        assert_eq!(value["verdicts"][0]["kept"], false);
        assert_eq!(value["machine"]["cores"], 2);
        Ok(())
    }
}
