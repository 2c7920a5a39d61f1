//! The `vitrine` binary: reads the command line and the configuration, then becomes the launcher, one of the planes, the
//! load generator, a tool for metadata definitions or the answer to a question about the policy.
//!
//! Exit codes: 0 fine, 1 failed, 2 usage or configuration.
#![forbid(unsafe_code)]

mod cli;
mod confine;
mod launcher;
mod log;
mod metadefs;
mod plane;
mod policy;

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use common::config::Config;

use cli::{Cli, Command, Options};

/// The operation failed.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const MISCONFIGURED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Serve(cli.options));
    match command {
        Command::Serve(options) => configured(&options, |config| launcher::run(&config, &options)),
        Command::Control(options) => configured(&options, |config| plane::control(config, options.supervised)),
        Command::Dataplane(options) => configured(&options, |config| plane::dataplane(config, options.supervised)),
        Command::Policy(policy) => policy::run(&policy),
        Command::Metadefs(command) => metadefs::run(&command),
        Command::Confine(confine) => confine::run(&confine),
        // A client: it has no configuration and no log.
        Command::Bench(bench) => ExitCode::from(perf::bench::main(&bench)),
    }
}

/// Runs a part of the service with its configuration.
fn configured(options: &Options, run: impl FnOnce(Arc<Config>) -> Result<(), Failure>) -> ExitCode {
    let Some((config, log)) = load(options) else { return ExitCode::from(MISCONFIGURED) };
    let outcome = run(config);
    // What was logged comes before the line that ends it all.
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(line) = failure.line {
                eprintln!("vitrine: {line}");
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Why the program ends without success.
#[derive(Debug)]
struct Failure {
    /// One line with the cause and the remedy; `None` where a plane has already told it.
    line: Option<String>,
    code: u8,
}

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure { line: Some(error.to_string()), code: FAILED }
    }
}

/// The configuration, with the log set up as it says. Problems are told all at once; warnings once, by the first process.
fn load(options: &Options) -> Option<(Arc<Config>, Option<log::Guard>)> {
    match Config::load(&options.config, &options.overrides()) {
        Ok((config, warnings)) => {
            let log = start_log(&config);
            if !options.supervised {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
            }
            Some((Arc::new(config), log))
        }
        Err(problems) => {
            for problem in problems {
                eprintln!("vitrine: {problem}");
            }
            None
        }
    }
}

/// Starts the log on a thread of its own: whoever logs, a core above all, never waits for whoever reads. Lines that wait
/// are written when the guard is dropped.
fn start_log(config: &Config) -> Option<log::Guard> {
    let file = config.logging.file.as_ref().map(|path| (path, File::options().create(true).append(true).open(path)));
    let (writer, trouble): (Box<dyn Write + Send>, _) = match file {
        None => (Box::new(std::io::stderr()), None),
        Some((_, Ok(file))) => (Box::new(file), None),
        Some((path, Err(error))) => (Box::new(std::io::stderr()), Some((path, error))),
    };
    let (queue, guard) = match log::start(writer) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("vitrine: there is no log: {error}");
            return None;
        }
    };
    let lost = queue.clone();
    common::metrics::count_lost_log_lines(move || lost.lost());
    let level = if config.logging.debug { tracing::Level::DEBUG } else { tracing::Level::INFO };
    tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(move || queue.clone()).init();
    if let Some((path, error)) = trouble {
        tracing::warn!("the log goes to standard error: {} cannot be written: {error}", path.display());
    }
    Some(guard)
}
