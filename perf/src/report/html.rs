//! The table as a page of its own: for each row and metric, bars of the medians with whiskers from the smallest to the largest round.

use std::fmt::Write;

use super::{Report, figure};
use crate::compare::ledger::Row;
use crate::compare::metric::Metric;
use crate::compare::promise::Verdict;
use crate::stats::Summary;

/// Metrics that say something about the measurement only.
const HIDDEN: [Metric; 1] = [Metric::Others];
/// Pixels: of a bar's line, of the names, of the longest bar, of the figures behind it.
const LINE: u32 = 22;
const NAMES: f64 = 230.0;
const BAR: f64 = 420.0;
const FIGURES: f64 = 220.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{margin:2.2rem 0 .2rem;font-size:1.15rem}h3{margin:.8rem 0 .1rem;font-size:.95rem;font-weight:normal;color:#555}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
.kept{color:#15703a}.missed{color:#b3261e;font-weight:bold}.none{color:#777}svg text{font:13px system-ui,sans-serif}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}h3{color:#aaa}svg text{fill:#ddd}.kept{color:#62c98b}.missed{color:#ff8a80}}";

pub(super) fn page(report: &Report) -> String {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Vitrine: figures</title>\n");
    let count = |kept: bool| report.verdicts.iter().filter(|verdict| verdict.kept == Some(kept)).count();
    add(&mut page, format_args!("<style>{STYLE}</style>\n<h1>Vitrine: figures</h1>\n"));
    add(&mut page, format_args!("<p>{}<br>{}</p>\n", escape(&report.machine.line()), escape(&report.method)));
    add(&mut page, format_args!("<p>{} promises kept, {} missed.</p>\n", count(true), count(false)));
    for (class, lines) in [("none", &report.notes), ("missed", &report.failures)] {
        for line in lines {
            add(&mut page, format_args!("<p class=\"{class}\">{}</p>\n", escape(line)));
        }
    }
    if !report.verdicts.is_empty() {
        page.push_str("<table><tr><th>row<th>promise<th>measured<th>\n");
        report.verdicts.iter().for_each(|verdict| promise(&mut page, verdict));
        page.push_str("</table>\n");
    }
    for row in &report.ledger.rows {
        add(&mut page, format_args!("<h2>{}</h2>\n", escape(&row.name)));
        plots(&mut page, row);
    }
    page.push_str("</html>\n");
    page
}

fn promise(page: &mut String, verdict: &Verdict) {
    let (class, word) = match verdict.kept {
        Some(true) => ("kept", "kept"),
        Some(false) => ("missed", "missed"),
        None => ("none", "not measured"),
    };
    let measured = verdict.measured.as_ref().map_or_else(String::new, |measured| {
        format!("{} ({} .. {})", figure(measured.median), figure(measured.min), figure(measured.max))
    });
    let against = verdict.against.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    add(
        page,
        format_args!(
            "<tr><td>{}<td>{} {} {}{}<td>{measured}<td class=\"{class}\">{word}\n",
            escape(verdict.row),
            escape(verdict.contender),
            verdict.metric.label(),
            escape(&verdict.promised),
            escape(&against)
        ),
    );
}

fn plots(page: &mut String, row: &Row) {
    let mut metrics: Vec<Metric> = Vec::new();
    for figure in row.lines.iter().flat_map(|line| &line.figures) {
        if !HIDDEN.contains(&figure.metric) && !metrics.contains(&figure.metric) {
            metrics.push(figure.metric);
        }
    }
    for metric in metrics {
        let bars: Vec<(&str, Summary)> = row
            .lines
            .iter()
            .filter_map(|line| Some((line.contender.as_str(), Summary::of(line.values(metric))?)))
            .collect();
        add(page, format_args!("<h3>{}, {}</h3>\n", metric.label(), metric.unit()));
        plot(page, &bars);
    }
}

fn plot(page: &mut String, bars: &[(&str, Summary)]) {
    let longest = bars.iter().map(|(_, summary)| summary.max).fold(0.0, f64::max);
    let scale = if longest > 0.0 { BAR / longest } else { 0.0 };
    let height = LINE.saturating_mul(u32::try_from(bars.len()).unwrap_or(u32::MAX));
    add(page, format_args!("<svg width=\"{}\" height=\"{height}\" role=\"img\">\n", NAMES + BAR + FIGURES));
    for (number, (name, summary)) in (0_u32..).zip(bars) {
        let top = f64::from(number * LINE);
        let (low, middle, high) =
            (summary.min.max(0.0) * scale, summary.median.max(0.0) * scale, summary.max.max(0.0) * scale);
        let colour = if name.starts_with("vitrine") { "#3b76d1" } else { "#9a9a9a" };
        let (base, centre) = (top + 15.0, top + 10.0);
        add(page, format_args!("<text x=\"0\" y=\"{base}\">{}</text>\n", escape(name)));
        add(
            page,
            format_args!(
                "<rect x=\"{NAMES}\" y=\"{}\" width=\"{middle:.1}\" height=\"16\" fill=\"{colour}\"/>\n",
                top + 2.0
            ),
        );
        add(
            page,
            format_args!(
                "<path d=\"M{a:.1} {centre}H{b:.1}M{a:.1} {}v8M{b:.1} {}v8\" stroke=\"#d17f3b\" stroke-width=\"2\"/>\n",
                centre - 4.0,
                centre - 4.0,
                a = NAMES + low,
                b = NAMES + high,
            ),
        );
        add(
            page,
            format_args!(
                "<text x=\"{:.1}\" y=\"{base}\">{} ({} .. {})</text>\n",
                NAMES + high + 8.0,
                figure(summary.median),
                figure(summary.min),
                figure(summary.max)
            ),
        );
    }
    page.push_str("</svg>\n");
}

/// Adds text, which a string always takes.
fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(text);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_plots_and_needs_nothing_else() {
        let page = page(&super::super::tests::report());
        assert_eq!(page.matches("<svg").count(), 1, "one metric is shown");
        assert_eq!(page.matches("<rect").count(), 2, "one bar for each contender");
        assert!(page.contains("<h2>download &lt;1&gt;</h2>"));
        assert!(page.contains("missed\">missed") && page.contains("kept\">kept") && page.contains("not measured"));
        assert!(!page.contains("http"), "nothing is loaded from elsewhere");
    }
}
