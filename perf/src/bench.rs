//! `vitrine bench`: a load on any Image service, measured honestly, and compared.
//!
//! [`args`] is the command line; [`place`] finds the service and who asks; [`stage`] makes there what the load needs and
//! takes it away again; [`drive`] begins requests when the [`schedule`] says, [`work`] does them, the [`ledger`] counts;
//! [`result`] is what is kept, [`table`] and [`html`] show it, [`verdict`] says whether two results differ.
//! [`store`] measures stores without a service.

pub mod api;
pub mod args;
pub mod clouds;
pub mod cost;
pub mod drive;
pub mod fault;
mod html;
mod keystone;
pub mod latency;
pub mod ledger;
pub mod mix;
pub mod pattern;
pub mod place;
mod progress;
pub mod random;
pub mod result;
mod run;
pub mod schedule;
pub mod session;
pub mod settings;
pub mod stage;
mod store;
mod svg;
pub mod table;
pub mod target;
mod tls;
pub mod truth;
pub mod url;
pub mod verdict;
pub mod wire;
pub mod work;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

pub use args::Bench;
use args::Command;
use place::Place;
use result::Report;

use crate::error::{During, Error};

/// Exit code of a run that failed.
const FAILED: u8 = 1;
/// Exit code of a command line that cannot be.
const MISUSED: u8 = 2;

/// How the command ends when it does not end well.
#[derive(Debug)]
pub(crate) enum End {
    /// The command line cannot be.
    Usage(String),
    /// It has failed; the text is one line.
    Failed(String),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Does what the command line says; the exit code.
#[must_use]
pub fn main(bench: &Bench) -> u8 {
    let outcome = match &bench.command {
        Command::Compare { a, b } => compare(a, b),
        Command::Clean { place, run, dry_run } => {
            Stops::listen().and_then(|stops| clean(&stops, &place.wanted(), run.as_deref(), *dry_run))
        }
        Command::Store(args) => store::main(args),
        load => run::run(load),
    };
    match outcome {
        Ok(()) => 0,
        Err(End::Usage(text)) => {
            eprintln!("vitrine bench: {text}");
            MISUSED
        }
        Err(End::Failed(text)) => {
            eprintln!("vitrine bench: {text}");
            FAILED
        }
    }
}

/// What signals set.
#[derive(Debug, Clone)]
pub(crate) struct Stops {
    /// No new request begins.
    pub(crate) stop: Arc<AtomicBool>,
    /// What is on its way is cut off.
    pub(crate) cut: Arc<AtomicBool>,
    /// Not even the cleaning up is waited for.
    pub(crate) abort: Arc<AtomicBool>,
}

impl Stops {
    /// The first Ctrl-C or SIGTERM ends the load, the second the cleaning up.
    fn listen() -> Result<Self, End> {
        let stops = Self { stop: Arc::default(), cut: Arc::default(), abort: Arc::default() };
        let mut signals = Signals::new([SIGINT, SIGTERM]).during(|| "waiting for signals")?;
        let flags = stops.clone();
        std::thread::spawn(move || {
            for _ in signals.forever() {
                if flags.stop.swap(true, Ordering::Relaxed) {
                    flags.abort.store(true, Ordering::Relaxed);
                } else {
                    eprintln!("vitrine bench: stopping, and deleting what was made (once more to leave it behind)");
                }
                flags.cut.store(true, Ordering::Relaxed);
            }
        });
        Ok(stops)
    }
}

fn compare(a: &Path, b: &Path) -> Result<(), End> {
    let (one, two) = (Report::load(a)?, Report::load(b)?);
    let describe = |name: &str, path: &Path, report: &Report| {
        let url = report.endpoints.first().map(|endpoint| endpoint.url.as_str()).unwrap_or_default();
        println!("{name} = {}: {} at {url}, {}; {}", path.display(), report.workload, report.started, report.load);
    };
    describe("A", a, &one);
    describe("B", b, &two);
    if one.workload != two.workload || one.load != two.load {
        println!("note: these are not the same load");
    }
    let (verdicts, single) = verdict::compare_reports(&one, &two);
    if single {
        println!(
            "note: a run of fewer than three rounds is compared by its parts; that what has changed between the two runs was \
             something else cannot be told (--rounds repeats, --against takes turns)"
        );
    }
    print!("{}", table::verdicts(&verdicts));
    Ok(())
}

fn clean(stops: &Stops, wanted: &place::Wanted, run: Option<&str>, dry_run: bool) -> Result<(), End> {
    let place = Place::find(wanted, &variable, &stops.cut)?;
    let found = stage::leftovers(&place, run, &stops.cut)?;
    for (id, name) in &found {
        println!("{id} {name}");
    }
    if dry_run {
        println!("{} images would be deleted", found.len());
        return Ok(());
    }
    let found = found.into_iter().map(|(id, _)| (id, true)).collect();
    let (deleted, left) = stage::delete_all(&place, found, stage::CLEANERS, &stops.cut);
    println!("{deleted} images were deleted");
    match left.first() {
        None => Ok(()),
        Some((id, why)) => Err(End::Failed(format!("{} images are left, the first is {id}: {why}", left.len()))),
    }
}

/// A variable of the environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
