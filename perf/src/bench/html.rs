//! The page of `--html`: everything of a run in one file, without scripts or anything from elsewhere.

use std::fmt::Write;

use super::ledger::Kind;
use super::result::{Endpoint, Operation, Report, Round};
use super::svg::{self, Axis, Line, Scale, escape};
use super::table::{number, time};
use super::verdict::mib;

/// Readable in light and in dark, on paper too.
pub(super) const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2530;--soft:#5b6675;--paper:#fff;--card:#f5f7fa;--rule:#d9dfe7;\
--c0:#1f6feb;--c1:#c2410c;--c2:#15803d;--c3:#7c3aed;--c4:#b45309;--c5:#0e7490;--good:#15803d;--bad:#b91c1c}\
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf2;--soft:#9aa7b8;--paper:#10151c;--card:#182029;--rule:#2c3744;\
--c0:#5aa2ff;--c1:#ff9a5c;--c2:#4ade80;--c3:#b794ff;--c4:#fbbf24;--c5:#22d3ee;--good:#4ade80;--bad:#ff7b7b}}\
body{margin:0 auto;max-width:1180px;padding:28px 20px 48px;background:var(--paper);color:var(--ink);\
font:15px/1.5 system-ui,sans-serif}\
h1{font-size:24px;margin:0}h2{font-size:18px;margin:36px 0 10px}h3{font-size:14px;margin:0 0 6px;font-weight:600}\
p{margin:4px 0}.soft{color:var(--soft)}.bad{color:var(--bad);font-weight:600}.good{color:var(--good);font-weight:600}\
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:18px 0}\
.tile,.plot{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px 14px;break-inside:avoid}\
.tile b{display:block;font-size:22px;line-height:1.3;font-variant-numeric:tabular-nums}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(480px,100%),1fr));gap:14px}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}\
th,td{padding:5px 9px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}\
th{color:var(--soft);font-weight:500}th:first-child,td:first-child,td.text,th.text{text-align:left}\
svg{display:block;width:100%;height:auto}.grid{stroke:var(--rule)}.axis{stroke:var(--soft)}\
.tick{fill:var(--soft);font-size:13px}.title{fill:var(--soft);font-size:13px}\
.line{fill:none;stroke-width:2;stroke-linejoin:round}.dash{stroke-dasharray:5 4}\
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 0 6px;font-size:13px}\
.legend i{display:inline-block;width:18px;height:0;border-top:3px solid;vertical-align:middle;margin-right:6px}\
.legend i.dash{border-top-style:dashed}\
line.c0,.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}.line.c3{stroke:var(--c3)}\
.line.c4{stroke:var(--c4)}.line.c5{stroke:var(--c5)}\
.dot.c0,.bar.c0{fill:var(--c0)}.dot.c1,.bar.c1{fill:var(--c1)}.dot.c2,.bar.c2{fill:var(--c2)}\
.dot.c3,.bar.c3{fill:var(--c3)}.dot.c4,.bar.c4{fill:var(--c4)}.dot.c5,.bar.c5{fill:var(--c5)}\
i.c0{border-color:var(--c0)}i.c1{border-color:var(--c1)}i.c2{border-color:var(--c2)}i.c3{border-color:var(--c3)}\
i.c4{border-color:var(--c4)}i.c5{border-color:var(--c5)}";
/// Colours of the style.
pub(super) const COLOURS: usize = 6;

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = format!("vitrine bench {}", report.workload);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{0}</title><style>{STYLE}</style></head><body>\n<h1>{0}</h1>\n",
        escape(&title)
    );
    let started = report.started.split('.').next().unwrap_or_default().replace('T', " ");
    let _ = writeln!(
        out,
        "<p>{}</p><p class=\"soft\">run {}, started {} UTC, from {}</p>",
        escape(&report.load),
        escape(&report.run),
        escape(started.trim_end_matches('Z')),
        escape(&report.client)
    );
    if report.interrupted {
        out.push_str("<p class=\"bad\">Interrupted: the figures are those until then.</p>\n");
    }
    if !report.comparison.is_empty() {
        out.push_str(&comparison(report));
    }
    for endpoint in &report.endpoints {
        out.push_str(&section(report, endpoint));
    }
    let _ = writeln!(out, "<h2>Over time</h2><div class=\"plots\">{}</div>", over_time(report));
    let _ = writeln!(out, "<h2>Latencies</h2><div class=\"plots\">{}</div>", latencies(report));
    out.push_str("</body></html>\n");
    out
}

fn comparison(report: &Report) -> String {
    let mut out = format!(
        "<h2>B against A, {} rounds in turn</h2><div class=\"scroll\"><table><tr><th></th><th>A</th><th>B</th>\
         <th class=\"text\">unit</th><th>B/A</th><th>95 % CI</th><th class=\"text\">verdict</th></tr>",
        report.rounds_of("A").count()
    );
    for each in &report.comparison {
        let class = match (each.differs, each.text.starts_with("faster") || each.text.starts_with("better")) {
            (false, _) => "text soft",
            (true, true) => "text good",
            (true, false) => "text bad",
        };
        let interval = each.interval.map_or("-".to_owned(), |(low, high)| format!("{low:.3} .. {high:.3}"));
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"text\">{}</td><td>{:.3}</td><td>{interval}</td>\
             <td class=\"{class}\">{}</td></tr>",
            escape(&each.metric),
            number(each.a),
            number(each.b),
            escape(&each.unit),
            each.ratio,
            escape(&each.text)
        );
    }
    out.push_str("</table></div>\n");
    out
}

/// The rounds of an endpoint one after the other, as points of time and value.
fn series(rounds: &[&Round], value: impl Fn(&super::result::Part) -> Option<f64>) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut begin = 0.0;
    for part in rounds.iter().flat_map(|round| &round.slices) {
        if let Some(value) = value(part) {
            points.push((begin + part.seconds / 2.0, value));
        }
        begin += part.seconds;
    }
    points
}

fn over_time(report: &Report) -> String {
    let several = report.endpoints.len() > 1;
    let mut throughput = Vec::new();
    let mut requests = Vec::new();
    let mut cpu = Vec::new();
    for (number, endpoint) in report.endpoints.iter().enumerate() {
        let rounds: Vec<&Round> = report.rounds_of(&endpoint.name).collect();
        let name = |what: &str| if several { format!("{} {what}", endpoint.name) } else { what.to_owned() };
        let line = |what: &str, dashed, points| Line { name: name(what), colour: number, dashed, points };
        let rate = |bytes: u64, seconds: f64| Some(mib(bytes) / seconds.max(1e-9));
        if rounds.iter().any(|round| round.bytes_down > 0) {
            throughput.push(line("down", false, series(&rounds, |part| rate(part.down, part.seconds))));
        }
        if rounds.iter().any(|round| round.bytes_up > 0) {
            throughput.push(line("up", true, series(&rounds, |part| rate(part.up, part.seconds))));
        }
        let done = series(&rounds, |part| {
            let of = part.operations.iter().filter(|(name, _)| *name != Kind::Push.name());
            Some(of.map(|(_, (count, ..))| count).sum::<u64>() as f64 / part.seconds.max(1e-9))
        });
        requests.push(line("requests", false, done));
        let cores = |seconds: Option<f64>, of: f64| seconds.map(|cpu| cpu / of.max(1e-9));
        if endpoint.cpu_source.is_some() {
            cpu.push(line("service", false, series(&rounds, |part| cores(part.server_cpu, part.seconds))));
        }
        cpu.push(line("client", true, series(&rounds, |part| cores(Some(part.client_cpu), part.seconds))));
    }
    let mut out = String::new();
    for (title, unit, lines) in
        [("Throughput", "MiB/s", throughput), ("Requests", "requests/s", requests), ("CPU", "cores", cpu)]
    {
        if lines.iter().any(|line| !line.points.is_empty()) {
            let all = || lines.iter().flat_map(|line| &line.points);
            let x = Axis::around("seconds of measured time", Scale::Linear, all().map(|point| point.0), number_short);
            let y = Axis::around(unit, Scale::Linear, all().map(|point| point.1), number_short);
            out.push_str(&plot(title, &legend(&lines), &svg::lines(title, &x, &y, &lines)));
        }
    }
    out
}

pub(super) fn plot(title: &str, legend: &str, svg: &str) -> String {
    format!("<div class=\"plot\"><h3>{}</h3>{legend}{svg}</div>", escape(title))
}

pub(super) fn legend(lines: &[Line]) -> String {
    let items: Vec<String> = lines
        .iter()
        .map(|line| {
            let dash = if line.dashed { " dash" } else { "" };
            format!("<span><i class=\"c{}{dash}\"></i>{}</span>", line.colour, escape(&line.name))
        })
        .collect();
    format!("<div class=\"legend\">{}</div>", items.join(""))
}

fn section(report: &Report, endpoint: &Endpoint) -> String {
    let rounds: Vec<&Round> = report.rounds_of(&endpoint.name).collect();
    let name = if report.endpoints.len() > 1 { format!("{}: ", endpoint.name) } else { String::new() };
    let mut out = format!("<h2>{name}{}</h2>", escape(&endpoint.url));
    out.push_str(&tiles(report, endpoint, &rounds));
    out.push_str(&operations(endpoint));
    for (label, first) in &endpoint.faults {
        let _ = write!(out, "<p class=\"bad\">first {}: {}</p>", escape(label), escape(first));
    }
    for each in &endpoint.wrong_first {
        let _ = write!(out, "<p class=\"bad\">wrong bytes: {}</p>", escape(each));
    }
    out
}

/// Curves of all operations, or of each operation on both endpoints; then the histograms.
fn latencies(report: &Report) -> String {
    let several = report.endpoints.len() > 1;
    let mut plots: Vec<(String, Vec<Line>)> = Vec::new();
    let mut histograms = String::new();
    for (side, endpoint) in report.endpoints.iter().enumerate() {
        for (number, operation) in endpoint.operations.iter().filter(|each| each.requests > 0).enumerate() {
            let points = operation.curve.iter().map(|(at, micros)| (*at, micros / 1e3)).collect();
            let (name, title, number) = if several {
                (endpoint.name.clone(), format!("Latency of {} by percentile", operation.name), side)
            } else {
                (operation.name.clone(), "Latency by percentile".to_owned(), number)
            };
            let line = Line { name, colour: number % COLOURS, dashed: number >= COLOURS, points };
            match plots.iter_mut().find(|(known, _)| *known == title) {
                Some((_, lines)) => lines.push(line),
                None => plots.push((title, vec![line])),
            }
            let prefix = if several { format!("{}: ", endpoint.name) } else { String::new() };
            histograms.push_str(&histogram(&prefix, operation, number % COLOURS));
        }
    }
    let curves = plots.iter().map(|(title, lines)| {
        let x = Axis::around("percentile", Scale::Tail, std::iter::empty(), percent);
        let all = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
        let y = Axis::around("latency, ms", Scale::Log, all, number_short);
        plot(title, &legend(lines), &svg::lines(title, &x, &y, lines))
    });
    curves.collect::<String>() + &histograms
}

fn tiles(report: &Report, endpoint: &Endpoint, rounds: &[&Round]) -> String {
    let seconds: f64 = rounds.iter().map(|round| round.seconds).sum::<f64>().max(1e-9);
    let (down, up) = rounds.iter().fold((0, 0), |sum, round| (sum.0 + round.bytes_down, sum.1 + round.bytes_up));
    let requests: u64 = rounds
        .iter()
        .flat_map(|round| &round.operations)
        .filter(|each| each.name != Kind::Push.name())
        .map(|each| each.requests)
        .sum();
    let failed: u64 =
        endpoint.operations.iter().filter(|each| each.name != Kind::Push.name()).map(Operation::bad).sum();
    let mut note = String::new();
    let mut tiles = Vec::new();
    let mut tile = |value: String, what: String| tiles.push((value, what));
    if down > 0 {
        tile(format!("{} MiB/s", number(mib(down) / seconds)), "down".into());
    }
    if up > 0 {
        tile(format!("{} MiB/s", number(mib(up) / seconds)), "up".into());
    }
    tile(format!("{}/s", number(requests as f64 / seconds)), format!("requests in {seconds:.1} s"));
    let cost = |cpu: f64| {
        if down + up > 0 {
            format!("{} s/GiB", number(cpu / (mib(down + up) / 1024.0)))
        } else {
            format!("{} cores", number(cpu / seconds))
        }
    };
    if let (Some(cpu), Some(source)) = (rounds.iter().map(|round| round.server_cpu).sum(), &endpoint.cpu_source) {
        tile(cost(cpu), "service CPU".into());
        note = format!("<p class=\"soft\">Service CPU: {}.</p>", escape(source));
    }
    tile(cost(rounds.iter().map(|round| round.client_cpu).sum()), "client CPU".into());
    let sum = |of: fn(&Round) -> u64| rounds.iter().map(|round| of(round)).sum::<u64>();
    let (late, dropped, unfinished) =
        (sum(|round| round.late), sum(|round| round.dropped), sum(|round| round.unfinished));
    if late + dropped > 0 {
        tile(dropped.to_string(), format!("arrivals dropped, {late} late"));
    }
    let cut = if unfinished > 0 { format!(", {unfinished} cut off at the end") } else { String::new() };
    tile(failed.to_string(), format!("requests failed{cut}"));
    let compared = if report.verified { "answers with wrong bytes" } else { "bytes were not compared" };
    tile(if report.verified { endpoint.wrong.to_string() } else { "-".into() }, compared.into());
    let html = tiles.iter().map(|(value, what)| {
        format!("<div class=\"tile\"><b>{}</b><span class=\"soft\">{}</span></div>", escape(value), escape(what))
    });
    format!("<div class=\"tiles\">{}</div>{note}", html.collect::<String>())
}

fn operations(endpoint: &Endpoint) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><tr><th></th><th>requests</th><th>failed</th><th>p50</th><th>p90</th><th>p99</th>\
         <th>p99.9</th><th>max</th><th>first byte p50</th><th>p99</th></tr>",
    );
    for each in &endpoint.operations {
        let errors: Vec<String> = each.errors.iter().map(|(label, count)| format!("{count} × {label}")).collect();
        let errors = if errors.is_empty() {
            "<td>0</td>".to_owned()
        } else {
            format!("<td class=\"bad\">{}</td>", escape(&errors.join(", ")))
        };
        let _ = write!(out, "<tr><td>{}</td><td>{}</td>{errors}", escape(&each.name), each.requests);
        let figures = &each.latency_us;
        let times = [figures.p50, figures.p90, figures.p99, figures.p999, figures.max];
        let first = each.first_byte_us.as_ref().map_or([f64::NAN; 2], |first| [first.p50, first.p99]);
        for micros in times.iter().chain(&first) {
            let text = if micros.is_finite() && each.requests > 0 { time(*micros) } else { "-".to_owned() };
            let _ = write!(out, "<td>{text}</td>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div>");
    out
}

fn histogram(prefix: &str, operation: &Operation, colour: usize) -> String {
    let step = 2_f64.powf(0.25);
    let bars: Vec<(f64, f64, f64)> =
        operation.histogram.iter().map(|(low, count)| (low / 1e3, low * step / 1e3, *count as f64)).collect();
    let x = Axis::around("latency, ms", Scale::Log, bars.iter().flat_map(|bar| [bar.0, bar.1]), number_short);
    let y = Axis::around("requests", Scale::Linear, bars.iter().map(|bar| bar.2), number_short);
    let title = format!("{prefix}Latencies of {}", operation.name);
    plot(&title, "", &svg::bars(&title, &x, &y, colour, &bars))
}

pub(super) fn percent(value: f64) -> String {
    format!("{value}")
}

/// A number of an axis.
pub(super) fn number_short(value: f64) -> String {
    if value >= 10_000.0 {
        return format!("{}k", value / 1_000.0);
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
