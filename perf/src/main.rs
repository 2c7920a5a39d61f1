//! `vitrine-perf`: the comparison as a command. `perf/run` builds, installs and calls it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use perf::compare::plan::{Plan, Who};
use perf::error::During;
use perf::{Result, awake, bare, compare, size, soak};

/// Exit code of a run that failed.
const FAILED: u8 = 1;

/// Figures of Vitrine beside nginx and Glance.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start all servers, let them take turns, print the table.
    Compare(Compare),
    /// Watch Vitrine's memory under a mixed load; fails if it is not flat.
    Soak(Soaking),
    /// Keep one core awake until the parent process ends.
    #[command(name = awake::SUBCOMMAND, hide = true)]
    Spin {
        /// Number of the core.
        core: usize,
    },
    /// Receive uploads with a bare loop.
    #[command(name = bare::SUBCOMMAND, hide = true)]
    Bare {
        /// Where to listen.
        address: SocketAddr,
        /// What to write to.
        file: PathBuf,
        /// Bytes of the largest upload.
        size: u64,
    },
}

#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
struct Compare {
    /// Servers to compare.
    #[arg(long, value_delimiter = ',', default_value = "vitrine,nginx,glance", value_name = "NAMES")]
    servers: Vec<Who>,
    /// Scenarios, rows, or beginnings of rows to measure, such as `warm`, `download x8` or `ranges` [default: all].
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
    /// Vitrine's binary.
    #[arg(long, default_value = "target/release/vitrine", value_name = "FILE")]
    vitrine: PathBuf,
    /// Vitrine's binary built without digests, for uploads without hashing.
    #[arg(long, value_name = "FILE")]
    undigested: Option<PathBuf>,
    /// nginx's binary.
    #[arg(long, default_value = "/usr/sbin/nginx", value_name = "FILE")]
    nginx: PathBuf,
    /// Virtual environment with Glance and uWSGI.
    #[arg(long, default_value = "glance", value_name = "DIR")]
    glance: PathBuf,
    /// Directory for the data of the run: must not exist, is removed afterwards.
    #[arg(long, default_value = "perf-work", value_name = "DIR")]
    work: PathBuf,
    /// Size of the downloaded image.
    #[arg(long, default_value = "2GiB", value_parser = size::parse)]
    size: u64,
    /// Size of each uploaded image.
    #[arg(long, default_value = "1GiB", value_parser = size::parse)]
    upload_size: u64,
    /// How often each server takes its turn.
    #[arg(long, default_value_t = 3, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// How long metadata is asked for in each turn.
    #[arg(long, default_value_t = 3, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure although the machine is busy; the report says so.
    #[arg(long)]
    busy_ok: bool,
    /// Let idle cores sleep: on virtual machines this measures their wake-ups.
    #[arg(long)]
    let_sleep: bool,
    /// Only see that everything works: small sizes, one round, no verdicts.
    #[arg(long)]
    quick: bool,
    /// Directory for the report, as text, JSON and a page with plots.
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
struct Soaking {
    /// How long.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Vitrine's binary.
    #[arg(long, default_value = "target/release/vitrine", value_name = "FILE")]
    vitrine: PathBuf,
    /// Directory for the data of the run: must not exist, is removed afterwards.
    #[arg(long, default_value = "perf-work", value_name = "DIR")]
    work: PathBuf,
    /// Size of the downloaded image.
    #[arg(long, default_value = "256MiB", value_parser = size::parse)]
    size: u64,
    /// Directory for the course of it, as text, JSON and a page with a plot.
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Compare(arguments) => run(arguments),
        Command::Soak(arguments) => soak(arguments),
        Command::Spin { core } => awake::spin(core).map(|()| true),
        Command::Bare { address, file, size } => bare::serve(address, &file, size).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("vitrine-perf: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Returns whether every scenario could be measured.
fn run(arguments: Compare) -> Result<bool> {
    let absolute = |path: &Path| std::path::absolute(path).during(|| path.display().to_string());
    let mut plan = Plan {
        servers: arguments.servers,
        only: arguments.only,
        vitrine: absolute(&arguments.vitrine)?,
        undigested: arguments.undigested.as_deref().map(absolute).transpose()?,
        nginx: arguments.nginx,
        glance: absolute(&arguments.glance)?,
        work: absolute(&arguments.work)?,
        size: arguments.size,
        upload_size: arguments.upload_size,
        rounds: arguments.rounds.into(),
        time: Duration::from_secs(arguments.seconds),
        busy_ok: arguments.busy_ok,
        keep_awake: !arguments.let_sleep,
        quick: false,
    };
    if arguments.quick {
        plan.shrink();
    }
    let report = compare::run(&plan, |line| eprintln!("vitrine-perf: {line}"))?;
    println!("{}", report.text());
    if let Some(directory) = arguments.results {
        let json =
            serde_json::to_string_pretty(&report).map_err(std::io::Error::other).during(|| "the report as JSON")?;
        save(&directory, "latest", [report.text(), json, report.html()])?;
    }
    Ok(report.failures.is_empty())
}

/// Returns whether memory stayed flat.
fn soak(arguments: Soaking) -> Result<bool> {
    let absolute = |path: &Path| std::path::absolute(path).during(|| path.display().to_string());
    let plan = Plan {
        servers: vec![Who::Vitrine],
        vitrine: absolute(&arguments.vitrine)?,
        work: absolute(&arguments.work)?,
        size: arguments.size,
        keep_awake: false,
        ..Plan::default()
    };
    let soak = soak::run(&plan, Duration::from_secs(arguments.seconds), |line| eprintln!("vitrine-perf: {line}"))?;
    println!("{}", soak.text());
    if let Some(directory) = arguments.results {
        let json = serde_json::to_string(&soak).map_err(std::io::Error::other).during(|| "the course as JSON")?;
        save(&directory, "soak", [soak.text(), json, soak.html()])?;
    }
    Ok(soak.flat)
}

/// Writes a report as text, JSON and a page.
fn save(directory: &Path, name: &str, [text, json, page]: [String; 3]) -> Result<()> {
    fs::create_dir_all(directory).during(|| directory.display().to_string())?;
    for (kind, content) in [("txt", text), ("json", json), ("html", page)] {
        let path = directory.join(name).with_extension(kind);
        fs::write(&path, content + "\n").during(|| path.display().to_string())?;
    }
    Ok(())
}
