//! The page of `--html`: stores beside each other.

use std::fmt::Write;

use super::report::{Figures, StoreReport};
use super::table::kinds;
use super::{columns, find};
use crate::bench::html::{COLOURS, STYLE, legend, number_short, percent, plot};
use crate::bench::svg::{self, Axis, Line, Scale, escape};
use crate::bench::table::{number, time};

/// Bars of a width that says how much it is.
const BARS: &str = "\
.bars{display:grid;grid-template-columns:max-content 1fr max-content;gap:5px 12px;align-items:center;font-size:14px}\
.bars i{display:block;height:14px;border-radius:3px;min-width:2px}\
.bars i.c0{background:var(--c0)}.bars i.c1{background:var(--c1)}.bars i.c2{background:var(--c2)}\
.bars i.c3{background:var(--c3)}.bars i.c4{background:var(--c4)}.bars i.c5{background:var(--c5)}";

/// The whole page.
pub(super) fn page(reports: &[StoreReport]) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>vitrine bench store</title><style>{STYLE}{BARS}</style></head><body>\n<h1>vitrine bench store</h1>\n"
    );
    for report in reports {
        let name = if report.name.is_empty() { String::new() } else { format!("{}: ", report.name) };
        let started = report.started.split('.').next().unwrap_or_default().replace('T', " ");
        let _ = writeln!(
            out,
            "<p>{}{}</p><p class=\"soft\">{} UTC, on {}</p>",
            escape(&name),
            escape(&report.load),
            escape(started.trim_end_matches('Z')),
            escape(&report.machine)
        );
        if report.interrupted {
            out.push_str("<p class=\"bad\">Interrupted: the figures are those until then.</p>\n");
        }
    }
    let columns = columns(reports);
    let kinds = kinds(reports);
    let _ = writeln!(out, "<h2>Throughput</h2><div class=\"plots\">{}</div>", throughput(&columns, &kinds));
    let _ = writeln!(out, "<h2>All figures</h2>{}", figures(&columns, &kinds));
    let _ = writeln!(out, "<h2>Latencies</h2><div class=\"plots\">{}</div>", latencies(&columns, &kinds));
    let _ = writeln!(out, "<h2>Over time</h2><div class=\"plots\">{}</div>", over_time(&columns, &kinds));
    out.push_str("</body></html>\n");
    out
}

/// Name, report and store of each line.
type Columns<'r> = [(String, &'r StoreReport, &'r str)];
/// Work and workers.
type Kinds = [(String, usize)];

fn of_kind<'r>(
    columns: &'r Columns<'r>,
    kind: &'r (String, usize),
) -> impl Iterator<Item = (usize, &'r str, &'r Figures)> {
    let found = move |(index, (name, report, store)): (usize, &'r (String, &'r StoreReport, &'r str))| {
        Some((index, name.as_str(), find(report, store, &kind.0, kind.1)?))
    };
    columns.iter().enumerate().filter_map(found)
}

fn throughput(columns: &Columns<'_>, kinds: &Kinds) -> String {
    let mut out = String::new();
    for kind in kinds {
        let found: Vec<_> = of_kind(columns, kind).collect();
        let value = |figures: &Figures| figures.throughput().unwrap_or_else(|| figures.rate());
        let most = found.iter().map(|(_, _, figures)| value(figures)).fold(0.0, f64::max);
        let unit = if found.iter().any(|(_, _, figures)| figures.throughput().is_some()) { "MiB/s" } else { "/s" };
        let rows = found.iter().map(|(index, name, figures)| {
            let width = if most > 0.0 { value(figures) / most * 100.0 } else { 0.0 };
            format!(
                "<span>{}</span><i class=\"c{}\" style=\"width:{width:.1}%\"></i><b>{} {unit}</b>",
                escape(name),
                index % COLOURS,
                number(value(figures))
            )
        });
        let bars = format!("<div class=\"bars\">{}</div>", rows.collect::<String>());
        out.push_str(&plot(&title(kind), "", &bars));
    }
    out
}

fn title((work, workers): &(String, usize)) -> String {
    format!("{work}, {workers} at a time")
}

fn figures(columns: &Columns<'_>, kinds: &Kinds) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><tr><th></th><th class=\"text\">store</th><th>operations</th><th>failed</th><th>MiB/s</th>\
         <th>/s</th><th>p50</th><th>p90</th><th>p99</th><th>max</th><th>first byte p50</th><th>p99</th><th>commit p50</th><th>CPU s/GiB</th></tr>",
    );
    for kind in kinds {
        for (_, name, figures) in of_kind(columns, kind) {
            let failed: u64 = figures.failures.values().sum();
            let or_none = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
            let class = if failed > 0 { " class=\"bad\"" } else { "" };
            let _ = write!(
                out,
                "<tr><td>{}</td><td class=\"text\">{}</td><td>{}</td><td{class}>{failed}</td><td>{}</td><td>{}</td>",
                escape(&title(kind)),
                escape(name),
                figures.operations,
                or_none(figures.throughput()),
                number(figures.rate())
            );
            let latency = &figures.latency_us;
            let first = figures.first_byte_us.map_or([f64::NAN; 2], |first| [first.p50, first.p99]);
            let commit = figures.commit_us.map(|commit| commit.p50).unwrap_or(f64::NAN);
            for micros in [latency.p50, latency.p90, latency.p99, latency.max].iter().chain(&first).chain(&[commit]) {
                let known = micros.is_finite() && figures.operations > 0;
                let _ = write!(out, "<td>{}</td>", if known { time(*micros) } else { "-".to_owned() });
            }
            let _ = write!(out, "<td>{}</td></tr>", or_none(figures.cost()));
            for (why, count) in &figures.failures {
                let _ = write!(
                    out,
                    "<tr><td></td><td class=\"text bad\" colspan=\"13\">{count} × {}</td></tr>",
                    escape(why)
                );
            }
        }
    }
    out.push_str("</table></div>");
    out
}

fn latencies(columns: &Columns<'_>, kinds: &Kinds) -> String {
    let of = |kind: &(String, usize)| {
        let lines: Vec<Line> = of_kind(columns, kind)
            .filter(|(_, _, figures)| figures.operations > 0)
            .map(|(index, name, figures)| {
                line(index, name, figures.curve.iter().map(|(at, micros)| (*at, micros / 1e3)).collect())
            })
            .collect();
        let x = Axis::around("percentile", Scale::Tail, std::iter::empty(), percent);
        let all = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
        let y = Axis::around("latency, ms", Scale::Log, all, number_short);
        plot(&title(kind), &legend(&lines), &svg::lines(&title(kind), &x, &y, &lines))
    };
    kinds.iter().map(of).collect()
}

fn over_time(columns: &Columns<'_>, kinds: &Kinds) -> String {
    let mut out = String::new();
    for kind in kinds {
        let with_bytes = of_kind(columns, kind).filter(|(_, _, figures)| !figures.over_time.is_empty());
        let lines: Vec<Line> =
            with_bytes.map(|(index, name, figures)| line(index, name, figures.over_time.clone())).collect();
        if lines.is_empty() {
            continue;
        }
        let all = || lines.iter().flat_map(|line| &line.points);
        let x = Axis::around("seconds", Scale::Linear, all().map(|point| point.0), number_short);
        let y = Axis::around("MiB/s", Scale::Linear, all().map(|point| point.1), number_short);
        out.push_str(&plot(&title(kind), &legend(&lines), &svg::lines(&title(kind), &x, &y, &lines)));
    }
    out
}

fn line(index: usize, name: &str, points: Vec<(f64, f64)>) -> Line {
    Line { name: name.to_owned(), colour: index % COLOURS, dashed: index >= COLOURS, points }
}
