//! `vitrine-perf`: the comparison as a command. `perf/run` builds, installs and calls it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use perf::compare::{self, Group, Plan};
use perf::error::During;
use perf::report::Report;
use perf::servers::Kind;
use perf::{Result, awake, size};

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
    /// Keep one core awake until the parent process ends.
    #[command(name = awake::SUBCOMMAND, hide = true)]
    Spin {
        /// Number of the core.
        core: usize,
    },
}

#[derive(Debug, clap::Args)]
struct Compare {
    /// Servers to compare, in the order of their turns.
    #[arg(long, value_delimiter = ',', default_value = "vitrine,nginx,nginx-nopush,glance", value_name = "NAMES")]
    servers: Vec<Kind>,
    /// Kinds of work to do [default: all].
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    only: Vec<Group>,
    /// Vitrine's binary.
    #[arg(long, default_value = "target/release/vitrine", value_name = "FILE")]
    vitrine: PathBuf,
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
    #[arg(long, default_value_t = 3, value_name = "NUMBER")]
    rounds: usize,
    /// How long metadata is asked for in each turn.
    #[arg(long, default_value_t = 3, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure although the machine is busy; the report says so.
    #[arg(long)]
    busy_ok: bool,
    /// Let idle cores sleep: on virtual machines this measures their wake-ups.
    #[arg(long)]
    let_sleep: bool,
    /// Also write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Compare(arguments) => run(arguments),
        Command::Spin { core } => awake::spin(core),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vitrine-perf: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(arguments: Compare) -> Result<()> {
    let absolute = |path: &Path| std::path::absolute(path).during(|| path.display().to_string());
    let plan = Plan {
        servers: arguments.servers,
        groups: arguments.only,
        vitrine: absolute(&arguments.vitrine)?,
        nginx: arguments.nginx,
        glance: absolute(&arguments.glance)?,
        work: absolute(&arguments.work)?,
        size: arguments.size,
        upload_size: arguments.upload_size,
        rounds: arguments.rounds,
        time: Duration::from_secs(arguments.seconds),
        busy_ok: arguments.busy_ok,
        keep_awake: !arguments.let_sleep,
    };
    let report = compare::run(&plan, |line| eprintln!("vitrine-perf: {line}"))?;
    println!("{}", report.text());
    arguments.json.map_or(Ok(()), |path| save(&report, &path))
}

fn save(report: &Report, path: &Path) -> Result<()> {
    let what = || path.display().to_string();
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).during(what)?;
    }
    let mut text = serde_json::to_string_pretty(report).map_err(std::io::Error::other).during(what)?;
    text.push('\n');
    fs::write(path, text).during(what)
}
