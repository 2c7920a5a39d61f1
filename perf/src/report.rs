//! The outcome of a comparison: an aligned table to read, and JSON to keep.

use serde::Serialize;

use crate::machine::Machine;
use crate::servers::Kind;
use crate::stats::Summary;

/// Servers that stand for nginx at its best: the better figure of them counts.
const NGINX: [Kind; 2] = [Kind::Nginx, Kind::NginxNopush];
/// Servers that stand for Glance.
const GLANCE: [Kind; 1] = [Kind::Glance];

/// What a scenario moves, and so the units of its figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Rate in GiB/s, cost in CPU seconds per GiB.
    Gib,
    /// Rate in requests/s, cost in CPU microseconds per request.
    Request,
}

impl Unit {
    fn rate(self) -> &'static str {
        match self {
            Self::Gib => "GiB/s",
            Self::Request => "req/s",
        }
    }

    fn cost(self) -> &'static str {
        match self {
            Self::Gib => "s/GiB",
            Self::Request => "us/req",
        }
    }
}

/// The figures of one server in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was done.
    pub scenario: String,
    /// Name of the server that did it.
    pub server: &'static str,
    /// Units of the figures.
    pub unit: Unit,
    /// Work per second.
    pub rate: Summary,
    /// CPU time of the server's processes (user and system) per unit of work.
    pub server_cpu: Summary,
    /// CPU time of the load generator per unit of work.
    pub client_cpu: Summary,
    /// Median latency of a request in microseconds, where requests are what is measured.
    pub p50_us: Option<Summary>,
    /// Latency that 99 % of the requests did not exceed, in microseconds.
    pub p99_us: Option<Summary>,
    /// Share of the machine (0 to 1) that others used or the hypervisor took while this was measured.
    pub foreign: Summary,
}

/// A whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Where it was made.
    pub machine: Machine,
    /// Seconds since the epoch when it ended.
    pub finished: u64,
    /// How it was made, in words.
    pub method: String,
    /// The figures, grouped by scenario.
    pub rows: Vec<Row>,
    /// Milliseconds from the start of Vitrine's process to its ready line, with an existing database.
    pub start_ms: Option<Summary>,
}

impl Report {
    /// The table, with the machine above and what disturbed it below.
    #[must_use]
    pub fn text(&self) -> String {
        let head = [
            "",
            "server",
            "rate",
            "(min .. max)",
            "server CPU",
            "(min .. max)",
            "client CPU",
            "x nginx rate",
            "CPU",
            "x glance rate",
            "CPU",
            "p50 us",
            "p99 us",
        ];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        let mut last = None;
        for row in &self.rows {
            let repeated = last == Some(&row.scenario);
            lines.push(self.cells(row, repeated));
            last = Some(&row.scenario);
        }
        let disturbed = self.rows.iter().map(|row| row.foreign.max).fold(0.0, f64::max);
        let start = self.start_ms.map(|start| {
            format!("vitrine starts on an existing database in {} ms {}\n\n", figure(start.median), spread(&start))
        });
        format!(
            "{}\n{}\n\n{}\n{}Medians of the rounds; ratios are to the better of the nginx rows. Others used up to {:.0} % of the machine during a measurement.\n",
            self.machine.line(),
            self.method,
            align(&lines),
            start.unwrap_or_default(),
            disturbed * 100.0
        )
    }

    /// The best rate and the lowest CPU cost of servers of `family` in the scenario of `row`, which is not one of them.
    fn best(&self, row: &Row, family: &[Kind]) -> (Option<&Summary>, Option<&Summary>) {
        let kin = |row: &Row| family.iter().any(|kind| kind.name() == row.server);
        let member = |other: &&Row| kin(other) && other.scenario == row.scenario && !kin(row);
        let others = || self.rows.iter().filter(member);
        let rate = others().map(|other| &other.rate).max_by(|a, b| a.median.total_cmp(&b.median));
        let cost = others().map(|other| &other.server_cpu).min_by(|a, b| a.median.total_cmp(&b.median));
        (rate, cost)
    }

    fn cells(&self, row: &Row, repeated: bool) -> Vec<String> {
        let (rate, cost) = (row.unit.rate(), row.unit.cost());
        let mut cells = vec![
            if repeated { String::new() } else { row.scenario.clone() },
            row.server.to_owned(),
            format!("{} {rate}", figure(row.rate.median)),
            spread(&row.rate),
            format!("{} {cost}", figure(row.server_cpu.median)),
            spread(&row.server_cpu),
            format!("{} {cost}", figure(row.client_cpu.median)),
        ];
        for family in [&NGINX[..], &GLANCE] {
            let (rate, cost) = self.best(row, family);
            cells.push(ratio(rate.and_then(|rate| row.rate.ratio(rate))));
            cells.push(ratio(cost.and_then(|cost| row.server_cpu.ratio(cost))));
        }
        for latency in [row.p50_us, row.p99_us] {
            cells.push(latency.map_or_else(absent, |latency| figure(latency.median)));
        }
        cells
    }
}

fn absent() -> String {
    "-".to_owned()
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(absent, figure)
}

fn spread(summary: &Summary) -> String {
    format!("({} .. {})", figure(summary.min), figure(summary.max))
}

/// A figure with about three digits that count.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.01 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

/// Columns two spaces apart: the first two to the left, figures to the right.
fn align(lines: &[Vec<String>]) -> String {
    const LEFT: usize = 2;
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < LEFT { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(value: f64) -> Summary {
        Summary { median: value, min: value, max: value }
    }

    fn row(server: &'static str, rate: f64, cpu: f64) -> Row {
        Row {
            scenario: "download".into(),
            server,
            unit: Unit::Gib,
            rate: same(rate),
            server_cpu: same(cpu),
            client_cpu: same(0.1),
            p50_us: None,
            p99_us: (server == "glance").then(|| same(1234.0)),
            foreign: same(if server == "nginx" { 0.25 } else { 0.0 }),
        }
    }

    fn report() -> Report {
        Report {
            machine: Machine {
                processor: "p".into(),
                cores: 2,
                kernel: "6.1".into(),
                memory: 1 << 33,
                load: [0.5, 0.25, 0.125],
                busy: 0.01,
                stolen: 0.0,
            },
            finished: 1,
            method: "so".into(),
            rows: vec![row("vitrine", 6.0, 0.15), row("nginx", 3.0, 0.3), row("glance", 2.0, 0.6)],
            start_ms: Some(same(123.0)),
        }
    }

    #[test]
    fn the_table_has_figures_and_ratios() {
        let text = report().text();
        let line = |server: &str| text.lines().find(|line| line.contains(server)).unwrap_or_default().to_owned();
        let words = |server: &str| line(server).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let vitrine = words("vitrine  ");
        assert_eq!(vitrine[..4], ["download", "vitrine", "6.00", "GiB/s"]);
        assert_eq!(vitrine[vitrine.len() - 6..], ["2.00", "0.500", "3.00", "0.250", "-", "-"]);
        let glance = words("glance  ");
        assert_eq!(glance[0], "glance", "a scenario is named once: {text}");
        assert_eq!(glance[glance.len() - 6..], ["0.667", "2.00", "-", "-", "-", "1234"]);
        assert!(text.contains("existing database in 123 ms"), "{text}");
        assert!(text.contains("up to 25 % of the machine"), "{text}");
    }

    #[test]
    fn the_better_nginx_counts() {
        let mut report = report();
        report.rows.push(row("nginx-nopush", 4.0, 0.6));
        let (rate, cost) = report.best(&report.rows[0], &NGINX);
        assert_eq!((rate.map(|rate| rate.median), cost.map(|cost| cost.median)), (Some(4.0), Some(0.3)));
    }

    #[test]
    fn columns_are_aligned() {
        let lines = [vec!["a".to_owned(), "b".into(), "1".into()], vec!["aa".into(), "b".into(), "22".into()]];
        assert_eq!(align(&lines), "a   b   1\naa  b  22\n");
    }

    #[test]
    fn figures_keep_three_digits() {
        for (value, text) in [(12_345.6, "12346"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123"), (0.0, "0.0000")]
        {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn json_has_the_same_rows() -> serde_json::Result<()> {
        let value = serde_json::to_value(report())?;
        assert_eq!(value["rows"][1]["server"], "nginx");
        assert_eq!(value["rows"][1]["server_cpu"]["median"], 0.3);
        assert_eq!(value["machine"]["cores"], 2);
        Ok(())
    }
}
