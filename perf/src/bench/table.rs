//! The table at the end of a run.

use super::result::{Endpoint, Operation, Report, Round};
use super::verdict::{Verdict, mib};

const HEAD: [&str; 13] =
    ["", "requests", "/s", "failed", "MiB/s", "p50", "p90", "p99", "p99.9", "max", "mean", "first byte p50", "p99"];

/// The whole text.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = format!("{}: {}; {}\n", report.run, report.workload, report.load);
    for endpoint in &report.endpoints {
        out.push('\n');
        out.push_str(&of_endpoint(report, endpoint));
    }
    if !report.comparison.is_empty() {
        out.push_str(&format!(
            "\nB against A ({} rounds):\n{}",
            report.rounds_of("A").count(),
            verdicts(&report.comparison)
        ));
    }
    out
}

fn of_endpoint(report: &Report, endpoint: &Endpoint) -> String {
    let rounds: Vec<&Round> = report.rounds_of(&endpoint.name).collect();
    let seconds: f64 = rounds.iter().map(|round| round.seconds).sum();
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for operation in &endpoint.operations {
        rows.push(row(operation, &rounds, seconds));
    }
    let name = if report.endpoints.len() > 1 { format!("{} = ", endpoint.name) } else { String::new() };
    let plural = if rounds.len() == 1 { String::new() } else { format!(" in {} rounds", rounds.len()) };
    let mut out = format!("{name}{}: {seconds:.1} s measured{plural}\n{}", endpoint.url, align(&rows));
    for line in notes(report, endpoint, &rounds, seconds) {
        out.push_str(&format!("  {line}\n"));
    }
    out
}

fn row(operation: &Operation, rounds: &[&Round], seconds: f64) -> Vec<String> {
    let in_time: u64 = rounds
        .iter()
        .flat_map(|round| &round.operations)
        .filter(|each| each.name == operation.name)
        .map(|each| each.requests)
        .sum();
    let moved: u64 = match operation.name.as_str() {
        "pull" => rounds.iter().map(|round| round.bytes_down).sum(),
        "push.upload" => rounds.iter().map(|round| round.bytes_up).sum(),
        _ => 0,
    };
    let errors: Vec<String> = operation.errors.iter().map(|(label, count)| format!("{count} x {label}")).collect();
    let figures = &operation.latency_us;
    let mut row = vec![
        operation.name.clone(),
        operation.requests.to_string(),
        number(in_time as f64 / seconds),
        if errors.is_empty() { "0".to_owned() } else { errors.join(", ") },
        if moved > 0 { number(mib(moved) / seconds) } else { "-".to_owned() },
    ];
    let of = [figures.p50, figures.p90, figures.p99, figures.p999, figures.max, figures.mean];
    row.extend(of.map(|micros| if operation.requests > 0 { time(micros) } else { "-".to_owned() }));
    match &operation.first_byte_us {
        Some(first) if operation.requests > 0 => row.extend([time(first.p50), time(first.p99)]),
        _ => row.extend(["-".to_owned(), "-".to_owned()]),
    }
    row
}

fn notes(report: &Report, endpoint: &Endpoint, rounds: &[&Round], seconds: f64) -> Vec<String> {
    let sum = |of: fn(&Round) -> u64| rounds.iter().map(|round| of(round)).sum::<u64>();
    let bytes = sum(|round| round.bytes_down) + sum(|round| round.bytes_up);
    let cost = |cpu: f64| {
        let cores = format!("{:.2} cores", cpu / seconds);
        if bytes > 0 { format!("{:.3} s/GiB, {cores}", cpu / (mib(bytes) / 1024.0)) } else { cores }
    };
    let mut notes = Vec::new();
    let server: Option<f64> = rounds.iter().map(|round| round.server_cpu).sum();
    notes.push(match (server, &endpoint.cpu_source) {
        (Some(cpu), Some(source)) => format!("service CPU: {} ({source})", cost(cpu)),
        _ => "service CPU: not seen (--server-pid or --metrics)".to_owned(),
    });
    if let Some(busy) = rounds.iter().map(|round| round.server_busy).sum::<Option<f64>>() {
        notes.push(format!("service cores awake: {busy:.2} s"));
    }
    notes.push(format!("client CPU: {}", cost(rounds.iter().map(|round| round.client_cpu).sum())));
    let (late, dropped) = (sum(|round| round.late), sum(|round| round.dropped));
    if late + dropped > 0 {
        notes.push(format!(
            "arrivals: {late} began late (more than 10 ms), {dropped} were dropped: no connection was free"
        ));
    }
    let unfinished = sum(|round| round.unfinished);
    if unfinished > 0 {
        notes.push(format!("{unfinished} requests were cut off at the end"));
    }
    for (label, first) in &endpoint.faults {
        notes.push(format!("first {label}: {first}"));
    }
    if endpoint.wrong > 0 {
        notes.push(format!("WRONG BYTES in {} answers:", endpoint.wrong));
        notes.extend(endpoint.wrong_first.iter().map(|each| format!("  {each}")));
    } else if report.verified {
        notes.push("bytes were compared: none was wrong".to_owned());
    } else {
        notes.push("bytes were not compared (--no-verify)".to_owned());
    }
    notes
}

/// A table of verdicts.
#[must_use]
pub fn verdicts(verdicts: &[Verdict]) -> String {
    let mut rows = vec![["", "A", "B", "unit", "B/A", "verdict"].map(str::to_owned).to_vec()];
    for each in verdicts {
        rows.push(vec![
            each.metric.clone(),
            number(each.a),
            number(each.b),
            each.unit.clone(),
            format!("{:.3}", each.ratio),
            each.text.clone(),
        ]);
    }
    align(&rows)
}

/// Rows under each other: names and texts to the left, numbers to the right.
pub(super) fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 || cell.contains(' ') || cell == "verdict" {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        out.push_str(&format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().replace('\n', " "));
        out.push('\n');
    }
    out
}

/// Three digits that matter.
pub(super) fn number(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "-".to_owned(),
        _ if value.abs() >= 100.0 => format!("{value:.0}"),
        _ if value.abs() >= 10.0 => format!("{value:.1}"),
        _ if value.abs() >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A time in the unit that suits it.
pub(super) fn time(micros: f64) -> String {
    match micros {
        _ if micros >= 1e6 => format!("{}s", number(micros / 1e6)),
        _ if micros >= 1e3 => format!("{}ms", number(micros / 1e3)),
        _ => format!("{micros:.0}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!([1234.5, 56.78, 1.234, 0.1234, f64::NAN].map(number), ["1234", "56.8", "1.23", "0.123", "-"]);
        assert_eq!([12.0, 1_500.0, 2.5e6].map(time), ["12us", "1.50ms", "2.50s"]);
    }

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [vec!["".into(), "n".into()], vec!["pull".into(), "1234".into()]];
        assert_eq!(align(&rows), "           n\n  pull  1234\n");
    }
}
