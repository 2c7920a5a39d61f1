//! The table as text.

use super::{Report, figure};
use crate::compare::ledger::Line;
use crate::compare::metric::Metric;
use crate::compare::promise::Verdict;
use crate::stats::Summary;

pub(super) fn table(report: &Report) -> String {
    let mut lines = vec![report.machine.line(), report.method.clone(), String::new()];
    for row in &report.ledger.rows {
        lines.push(row.name.clone());
        lines.extend(align(&row.lines.iter().map(cells).collect::<Vec<_>>()));
        lines.extend(report.verdicts.iter().filter(|verdict| verdict.row == row.name).map(promise));
        lines.push(String::new());
    }
    let unmeasured: Vec<&Verdict> = report.verdicts.iter().filter(|verdict| verdict.kept.is_none()).collect();
    if !unmeasured.is_empty() {
        lines.push("promises that this run did not measure".to_owned());
        lines.extend(unmeasured.iter().map(|verdict| format!("  {}: {}", verdict.row, words(verdict))));
        lines.push(String::new());
    }
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(report.failures.iter().map(|failure| format!("FAILED: {failure}")));
    let count = |kept: bool| report.verdicts.iter().filter(|verdict| verdict.kept == Some(kept)).count();
    lines.push(format!(
        "Medians of the rounds (smallest .. largest). Others used up to {:.0} % of the machine during a measurement.",
        report.ledger.largest(Metric::Others)
    ));
    lines.push(format!("{} promises kept, {} missed, {} not measured.", count(true), count(false), unmeasured.len()));
    lines.join("\n")
}

/// The cells of one line: contender, then figures with their spread. What others did is told once, below the table.
fn cells(line: &Line) -> Vec<String> {
    let mut cells = vec![format!("  {}", line.contender)];
    for known in line.figures.iter().filter(|known| known.metric != Metric::Others) {
        let Some(summary) = Summary::of(&known.values) else { continue };
        let label = match known.metric {
            Metric::Rate | Metric::ServerCpu | Metric::Requests => String::new(),
            metric => format!("{} ", metric.label()),
        };
        cells.push(format!("{label}{} {}", figure(summary.median), known.metric.unit()));
        cells.push(if known.values.len() > 1 { spread(&summary) } else { String::new() });
    }
    cells
}

fn promise(verdict: &Verdict) -> String {
    let measured = verdict.measured.as_ref().map_or_else(
        || "not measured".to_owned(),
        |measured| format!("{} {}", figure(measured.median), spread(measured)),
    );
    let mark = match verdict.kept {
        Some(true) => "kept",
        Some(false) => "MISSED",
        None => "-",
    };
    format!("  {mark:>6}  {}: {measured}", words(verdict))
}

fn words(verdict: &Verdict) -> String {
    let against = verdict.against.as_ref().map_or_else(String::new, |name| format!(" [{name}]"));
    format!("{} {} {}{against}", verdict.contender, verdict.metric.label(), verdict.promised)
}

fn spread(summary: &Summary) -> String {
    format!("({} .. {})", figure(summary.min), figure(summary.max))
}

/// Columns two spaces apart: the first to the left, figures to the right.
fn align(lines: &[Vec<String>]) -> Vec<String> {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::ledger::Ledger;
    use crate::compare::metric::Metric::{CoresLeft, PerCoreLeft, RequestCpu, Requests};
    use crate::compare::promises::PROMISES;

    #[test]
    fn figures_promises_and_troubles_are_told() {
        let text = table(&super::super::tests::report());
        assert!(text.contains("  vitrine   0.150 s/GiB  (0.140 .. 0.160)\n"), "{text}");
        assert!(
            text.contains("  MISSED  vitrine server CPU at most 0.90 x nginx [nginx 2m]: 1.50 (1.40 .. 1.60)"),
            "{text}"
        );
        assert!(text.contains("    kept  vitrine server CPU at most 0.2 s/GiB: 0.150"), "{text}");
        assert!(text.contains("not measure\n  another: vitrine"), "{text}");
        assert!(text.contains("note: a note\nFAILED: cold: broke\n"), "{text}");
        assert!(text.contains("up to 25 % of the machine"), "{text}");
        assert!(text.ends_with("1 promises kept, 1 missed, 1 not measured."), "{text}");
    }

    #[test]
    fn requests_are_counted_by_the_cores_that_were_left() {
        let mut report = super::super::tests::report();
        report.ledger = Ledger::default();
        for (contender, rate, left, cost) in [("vitrine", 17_000.0, 1.6, 78.0), ("glance", 220.0, 2.0, 8600.0)] {
            let figures = [(Requests, rate), (RequestCpu, cost), (CoresLeft, left), (PerCoreLeft, rate / left)];
            figures.into_iter().for_each(|(metric, value)| report.ledger.add("show x8", contender, metric, value));
        }
        report.verdicts = PROMISES
            .iter()
            .filter(|promise| promise.row == "show x8")
            .map(|promise| promise.judge(&report.ledger))
            .collect();
        let text = table(&report);
        assert!(text.contains("  left 1.60 cores    per core left 10625 req/s"), "{text}");
        assert!(text.contains("kept  vitrine CPU per request at most 1/80 x glance [glance]: 0.0091"), "{text}");
        let promised = "kept  vitrine per core left at least 80.00 x glance [glance]: 96.6 (96.6 .. 96.6)\n";
        assert!(text.contains(promised), "{text}");
    }

    #[test]
    fn columns_are_aligned() {
        let lines = [vec!["a".to_owned(), "1".into(), "x".into()], vec!["aa".into(), "22".into()]];
        assert_eq!(align(&lines), ["a    1  x", "aa  22"]);
    }
}
