//! Runs the cases: through criterion with a table at the end, or as a test.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use criterion::{Criterion, Throughput};

/// What one call of a case's work comes to, for the rate in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    /// So many operations (requests, images, messages).
    Operations(u64),
    /// So many bytes.
    Bytes(u64),
}

/// Takes cases one by one.
pub(crate) struct Runner {
    mode: Mode,
}

enum Mode {
    Measure { criterion: Box<Criterion>, results: PathBuf, rows: Vec<Row> },
    Smoke { filters: Vec<String>, list: bool, passed: usize, failed: Vec<String>, filtered: usize },
}

/// A case that was measured.
struct Row {
    name: String,
    amount: Amount,
}

impl Runner {
    /// As the command line says: cargo passes `--bench` when it is to be measured.
    pub(crate) fn from_args() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let mode = if args.iter().any(|arg| arg == "--bench") {
            let results = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
            let criterion = Criterion::default()
                .warm_up_time(Duration::from_millis(300))
                .measurement_time(Duration::from_secs(1))
                .sample_size(30)
                .output_directory(&results)
                .configure_from_args();
            Mode::Measure { criterion: Box::new(criterion), results, rows: Vec::new() }
        } else {
            let filters = args.iter().filter(|arg| !arg.starts_with('-')).cloned().collect();
            let list = args.iter().any(|arg| arg == "--list");
            Mode::Smoke { filters, list, passed: 0, failed: Vec::new(), filtered: 0 }
        };
        Runner { mode }
    }

    /// `full` where figures count, `small` where only the way there does.
    pub(crate) fn size<T>(&self, full: T, small: T) -> T {
        if matches!(self.mode, Mode::Measure { .. }) { full } else { small }
    }

    /// One case, named `group/what`. `setup` runs once, if the case was asked for at all, and gives the work that is
    /// measured; the work panics when its result is wrong.
    pub(crate) fn case<W, R>(&mut self, name: &str, amount: Amount, setup: impl FnOnce() -> W)
    where
        W: FnMut() -> R,
    {
        // criterion names files after cases, and would write these in another way than the table reads them.
        assert!(!name.contains(['?', '"', '\\', '*', '<', '>', ':', '|', '^']), "{name}");
        match &mut self.mode {
            Mode::Measure { criterion, rows, .. } => {
                let (group, what) = name.split_once('/').expect("a case is named group/what");
                let (mut setup, mut work) = (Some(setup), None);
                let mut group = criterion.benchmark_group(group);
                group.throughput(match amount {
                    Amount::Operations(count) => Throughput::Elements(count),
                    Amount::Bytes(count) => Throughput::Bytes(count),
                });
                group.bench_function(what, |bencher| {
                    if let Some(setup) = setup.take() {
                        work = Some(setup());
                    }
                    bencher.iter(work.as_mut().expect("set up above"));
                });
                group.finish();
                if work.is_some() {
                    rows.push(Row { name: name.to_owned(), amount });
                }
            }
            Mode::Smoke { list: true, .. } => println!("{name}: benchmark"),
            Mode::Smoke { filters, filtered, .. }
                if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter)) =>
            {
                *filtered += 1;
            }
            Mode::Smoke { passed, failed, .. } => {
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    let mut work = setup();
                    // Once more, for what a first call leaves behind.
                    black_box(work());
                    black_box(work());
                }));
                println!("bench {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
                match outcome {
                    Ok(()) => *passed += 1,
                    Err(_) => failed.push(name.to_owned()),
                }
            }
        }
    }

    /// Prints the table, or the line that test binaries end with.
    pub(crate) fn finish(self) -> ExitCode {
        match self.mode {
            Mode::Measure { criterion, results, rows } => {
                criterion.final_summary();
                table(&results, &rows);
                ExitCode::SUCCESS
            }
            Mode::Smoke { list: true, .. } => ExitCode::SUCCESS,
            Mode::Smoke { passed, failed, filtered, .. } => {
                let (word, code) =
                    if failed.is_empty() { ("ok", ExitCode::SUCCESS) } else { ("FAILED", ExitCode::FAILURE) };
                if !failed.is_empty() {
                    println!("\nfailures: {}", failed.join(", "));
                }
                println!(
                    "\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; {filtered} filtered out",
                    failed.len()
                );
                code
            }
        }
    }
}

fn table(results: &Path, rows: &[Row]) {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    println!("\n{:width$}  {:>12}  {:>27}  {:>14}", "case", "median", "95 % confidence interval", "rate");
    for row in rows {
        // Not there after `--list` or `--test` and its like.
        let Some([median, low, high]) = estimate(&results.join(&row.name).join("new/estimates.json")) else { continue };
        let interval = format!("{} … {}", duration(low), duration(high));
        println!("{:width$}  {:>12}  {interval:>27}  {:>14}", row.name, duration(median), rate(row.amount, median));
    }
}

/// Median and the bounds of its confidence interval, nanoseconds.
fn estimate(file: &Path) -> Option<[f64; 3]> {
    let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let median = estimates.get("median")?;
    let interval = median.get("confidence_interval")?;
    let number = |value: &serde_json::Value, key: &str| value.get(key).and_then(serde_json::Value::as_f64);
    Some([number(median, "point_estimate")?, number(interval, "lower_bound")?, number(interval, "upper_bound")?])
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate of three digits")]
fn rate(amount: Amount, nanoseconds: f64) -> String {
    const GIB: f64 = (1_u64 << 30) as f64;
    match amount {
        Amount::Operations(count) => match count as f64 * 1e9 / nanoseconds {
            rate if rate < 1e4 => format!("{rate:.0} /s"),
            rate if rate < 1e6 => format!("{:.1} k/s", rate / 1e3),
            rate => format!("{:.2} M/s", rate / 1e6),
        },
        Amount::Bytes(count) => format!("{:.2} GiB/s", count as f64 * 1e9 / nanoseconds / GIB),
    }
}
