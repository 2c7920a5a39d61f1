//! The `vitrine` binary: reads the command line and the configuration, then becomes the launcher or one of the planes.
//!
//! Exit codes: 0 fine, 1 failed, 2 usage or configuration.
#![forbid(unsafe_code)]

mod cli;
mod launcher;
mod plane;

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
    let (Command::Serve(options) | Command::Control(options) | Command::Dataplane(options)) = &command;
    let Some(config) = load(options) else { return ExitCode::from(MISCONFIGURED) };
    let outcome = match &command {
        Command::Serve(options) => launcher::run(&config, options),
        Command::Control(options) => plane::control(config, options.supervised),
        Command::Dataplane(options) => plane::dataplane(config, options.supervised),
    };
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
fn load(options: &Options) -> Option<Arc<Config>> {
    match Config::load(&options.config, &options.overrides()) {
        Ok((config, warnings)) => {
            start_log(&config);
            if !options.supervised {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
            }
            Some(Arc::new(config))
        }
        Err(problems) => {
            for problem in problems {
                eprintln!("vitrine: {problem}");
            }
            None
        }
    }
}

fn start_log(config: &Config) {
    let level = if config.logging.debug { tracing::Level::DEBUG } else { tracing::Level::INFO };
    let log = tracing_subscriber::fmt().with_max_level(level).with_ansi(false);
    let file =
        config.logging.file.as_ref().map(|path| (path, std::fs::File::options().create(true).append(true).open(path)));
    match file {
        Some((_, Ok(file))) => log.with_writer(std::sync::Mutex::new(file)).init(),
        Some((path, Err(error))) => {
            log.with_writer(std::io::stderr).init();
            tracing::warn!("the log goes to standard error: {} cannot be written: {error}", path.display());
        }
        None => log.with_writer(std::io::stderr).init(),
    }
}
