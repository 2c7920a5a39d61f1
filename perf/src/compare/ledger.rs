//! Every figure of a run, by row, contender and metric, one value for each round.

use serde::Serialize;

use super::metric::Metric;

/// All figures of a run, in the order in which they first came.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ledger {
    /// The rows.
    pub rows: Vec<Row>,
}

/// A piece of work, and what each contender made of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was done.
    pub name: String,
    /// Who did it.
    pub lines: Vec<Line>,
}

/// The figures of one contender in one row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Name of the contender.
    pub contender: String,
    /// Its figures.
    pub figures: Vec<Figure>,
}

/// One kind of figure, with its value in each round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it says.
    pub metric: Metric,
    /// The values, in the order of the rounds.
    pub values: Vec<f64>,
}

impl Ledger {
    /// Adds the value of one round.
    pub fn add(&mut self, row: &str, contender: &str, metric: Metric, value: f64) {
        let row = at(&mut self.rows, |known| known.name == row, || Row { name: row.to_owned(), lines: Vec::new() });
        let line = at(
            &mut row.lines,
            |known| known.contender == contender,
            || Line { contender: contender.to_owned(), figures: Vec::new() },
        );
        let figure = at(&mut line.figures, |known| known.metric == metric, || Figure { metric, values: Vec::new() });
        figure.values.push(value);
    }

    /// The lines of a row; none if it was not measured.
    #[must_use]
    pub fn lines(&self, row: &str) -> &[Line] {
        self.rows.iter().find(|known| known.name == row).map_or(&[], |row| &row.lines)
    }

    /// Takes out all that was measured of some rows.
    pub fn forget(&mut self, rows: &[&str]) {
        self.rows.retain(|row| !rows.contains(&row.name.as_str()));
    }

    /// The largest value of a metric anywhere; 0 if there is none.
    #[must_use]
    pub fn largest(&self, metric: Metric) -> f64 {
        let lines = self.rows.iter().flat_map(|row| &row.lines);
        lines.flat_map(|line| line.values(metric)).copied().fold(0.0, f64::max)
    }
}

impl Line {
    /// The values of one metric; none if it was not measured.
    #[must_use]
    pub fn values(&self, metric: Metric) -> &[f64] {
        self.figures.iter().find(|figure| figure.metric == metric).map_or(&[], |figure| &figure.values)
    }
}

/// The first of `all` that `is` it, made by `make` if there is none.
fn at<T>(all: &mut Vec<T>, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &mut T {
    let index = all.iter().position(is).unwrap_or_else(|| {
        all.push(make());
        all.len() - 1
    });
    &mut all[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_by_row_contender_and_metric() {
        let mut ledger = Ledger::default();
        for value in [1.0, 2.0] {
            ledger.add("download", "vitrine", Metric::Rate, value);
            ledger.add("download", "nginx", Metric::Rate, 10.0 * value);
            ledger.add("upload", "vitrine", Metric::P99, 100.0 * value);
        }
        let lines = ledger.lines("download");
        assert_eq!(lines.iter().map(|line| line.contender.as_str()).collect::<Vec<_>>(), ["vitrine", "nginx"]);
        assert_eq!(lines[1].values(Metric::Rate), [10.0, 20.0]);
        assert_eq!(lines[1].values(Metric::P99), [0.0; 0]);
        assert!((ledger.largest(Metric::P99) - 200.0).abs() < 1e-9);
        ledger.forget(&["download"]);
        assert!(ledger.lines("download").is_empty() && !ledger.lines("upload").is_empty());
    }
}
