//! The table at the end.

use super::report::{Figures, StoreReport};
use super::{columns, find};
use crate::bench::table::{align, number, time};

const HEAD: [&str; 13] = [
    "",
    "store",
    "operations",
    "failed",
    "MiB/s",
    "/s",
    "p50",
    "p90",
    "p99",
    "max",
    "first byte",
    "commit",
    "CPU s/GiB",
];

/// The whole text: stores under each other for each kind of work.
pub(super) fn text(reports: &[StoreReport]) -> String {
    let columns = columns(reports);
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for (work, workers) in kinds(reports) {
        for (name, report, store) in &columns {
            if let Some(figures) = find(report, store, &work, workers) {
                rows.push(row(&work, workers, name, figures));
            }
        }
    }
    let mut out = String::new();
    for report in reports {
        let name = if report.name.is_empty() { String::new() } else { format!("{}: ", report.name) };
        let cut = if report.interrupted { "; interrupted" } else { "" };
        out.push_str(&format!("{name}{}, on {}{cut}\n", report.load, report.machine));
    }
    out.push_str(&align(&rows));
    for (name, report, store) in &columns {
        for phase in report.phases.iter().filter(|phase| phase.store == *store) {
            for (why, count) in &phase.failures {
                out.push_str(&format!("  {name}, {}: {count} x {why}\n", phase.work));
            }
        }
    }
    out
}

/// The kinds of work and the workers of each, in the order of the phases.
pub(super) fn kinds(reports: &[StoreReport]) -> Vec<(String, usize)> {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for phase in reports.iter().flat_map(|report| &report.phases) {
        let kind = (phase.work.clone(), phase.workers);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

fn row(work: &str, workers: usize, name: &str, figures: &Figures) -> Vec<String> {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut row = vec![
        format!("{work} x {workers}"),
        name.to_owned(),
        figures.operations.to_string(),
        figures.failures.values().sum::<u64>().to_string(),
        or_none(figures.throughput().map(number)),
        number(figures.rate()),
    ];
    let latency = &figures.latency_us;
    let of = [latency.p50, latency.p90, latency.p99, latency.max];
    row.extend(of.map(|micros| if figures.operations > 0 { time(micros) } else { "-".to_owned() }));
    row.push(or_none(figures.first_byte_us.as_ref().map(|first| time(first.p50))));
    row.push(or_none(figures.commit_us.as_ref().map(|commit| time(commit.p50))));
    row.push(or_none(figures.cost().map(number)));
    row
}
