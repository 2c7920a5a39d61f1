//! `vitrine bench store`: how fast the stores of a configuration are, by the calls that the service itself makes.
//!
//! The work is the data plane's ([`dataplane::bench`]); here is the command line, what is seen meanwhile, and what is kept.

mod page;
mod report;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::{Args, builder::PossibleValuesParser};
use common::config::{Config, Overrides};
use dataplane::bench::{Plan, Watch, Work};

use self::report::{Figures, StoreReport};
use super::args::Progress;
use super::progress::Display;
use super::verdict::mib;
use super::{End, Stops, mix, run};
use crate::error::During;
use crate::{cpu, size};

/// How often what is seen is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Most workers.
const PARALLEL_MAX: i64 = 256;

/// Bytes of the measuring thread's stack: those of a main thread, on which the service's first core runs.
const STACK_BYTES: usize = 8 << 20;

/// Measure the stores of a configuration, without the service
///
/// Objects named vitrine-bench-… are written, read and deleted by the calls that the service itself makes, on one core. They are
/// removed at the end, also after Ctrl-C. The service may run meanwhile.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    /// Configuration file in the format of glance-api.conf; may be repeated, the later wins
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// The service's data directory, where what is left of killed runs is on record [default: ./vitrine-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Store to measure, by its id; may be repeated [default: all that can be written to]
    #[arg(long, value_name = "ID")]
    store: Vec<String>,
    /// Kinds of work
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', help_heading = "Load",
        default_values_t = Work::ALL.map(|work| work.name().to_owned()), value_parser = PossibleValuesParser::new(Work::ALL.map(Work::name)))]
    work: Vec<String>,
    /// Size of every object
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size::parse, help_heading = "Load")]
    size: u64,
    /// Objects that each phase writes or reads
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Load")]
    objects: u32,
    /// Workers of the parallel phases; 1: none
    #[arg(long, short, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=PARALLEL_MAX), help_heading = "Load")]
    parallel: u32,
    /// Size of the ranges that are read at random places
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size::parse, help_heading = "Load")]
    range: u64,
    /// Buffers of 256 KiB of one worker that are on their way at once; a store may need more [default: as configured]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=256), help_heading = "Load")]
    depth: Option<u32>,
    /// After this time a phase begins nothing more
    #[arg(long, short, value_name = "TIME", default_value = "1m", value_parser = mix::duration, help_heading = "Load")]
    duration: Duration,
    /// Seed of all that is random: data, and where ranges lie
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = "Load")]
    seed: u64,
    /// Show the figures of an earlier run beside these: a file of --json; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Outcome")]
    with: Vec<PathBuf>,
    /// Measure nothing: only show the figures of --with
    #[arg(long, requires = "with", help_heading = "Outcome")]
    only_show: bool,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", help_heading = "Outcome")]
    json: Option<PathBuf>,
    /// Write a page with plots
    #[arg(long, value_name = "FILE", help_heading = "Outcome")]
    html: Option<PathBuf>,
    /// How progress is shown, on standard error
    #[arg(long, value_enum, default_value = "auto", help_heading = "Outcome")]
    progress: Progress,
    /// Only remove what killed runs have left
    #[arg(long, conflicts_with_all = ["with", "json", "html"])]
    clean: bool,
}

/// Does what the command line says.
pub(super) fn main(args: &StoreArgs) -> Result<(), End> {
    let mut shown = Vec::new();
    for path in &args.with {
        let mut report = StoreReport::load(path)?;
        report.name_after(path);
        shown.push(report);
    }
    if args.only_show {
        return tell(args, &shown, None);
    }
    let overrides = Overrides { data_dir: args.data_dir.clone(), ..Overrides::default() };
    let (config, warnings) = Config::load(&args.config, &overrides)
        .map_err(|problems| End::Usage(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    warnings.iter().for_each(|warning| eprintln!("vitrine bench: {warning}"));
    let config = Arc::new(config);
    if args.clean {
        return clean(&config);
    }
    let plan = plan(args, &config)?;
    let report = measure(args, &config, &plan)?;
    let interrupted = report.interrupted;
    let (left, failed) = (report.left.clone(), report.failures());
    shown.insert(0, report);
    let told = tell(args, &shown, shown.first());
    if let Some(first) = left.first() {
        let text = format!("{} objects are left, the first is {first}; --clean tries again", left.len());
        return Err(End::Failed(text));
    }
    told?;
    match failed {
        0 => Ok(()),
        _ if interrupted => Ok(()),
        failed => Err(End::Failed(format!("{failed} operations failed"))),
    }
}

fn plan(args: &StoreArgs, config: &Config) -> Result<Plan, End> {
    let writable = config.stores.list.iter().filter(|store| store.kind.is_writable()).map(|store| store.id.clone());
    let mut stores: Vec<String> = Vec::new();
    for store in if args.store.is_empty() { writable.collect() } else { args.store.clone() } {
        if !stores.contains(&store) {
            stores.push(store);
        }
    }
    if let Some(unknown) = stores.iter().find(|id| !config.stores.list.iter().any(|store| store.id == **id)) {
        let known: Vec<&str> = config.stores.list.iter().map(|store| store.id.as_str()).collect();
        return Err(End::Usage(format!("--store {unknown}: there is none; accepted is {}", known.join(", "))));
    }
    Ok(Plan {
        stores,
        works: Work::ALL.into_iter().filter(|work| args.work.iter().any(|name| name == work.name())).collect(),
        size: args.size,
        objects: args.objects as usize,
        parallel: args.parallel as usize,
        range_bytes: args.range.min(args.size),
        depth: args.depth.map(|depth| depth as usize),
        duration: args.duration,
        seed: args.seed,
    })
}

/// What is measured, in words.
fn load(plan: &Plan) -> String {
    format!(
        "{} objects of {}, {} at a time where it is parallel, ranges of {}, {}",
        plan.objects,
        run::human(plan.size),
        plan.parallel,
        run::human(plan.range_bytes),
        plan.depth.map_or_else(
            || "buffers as configured".to_owned(),
            |depth| format!("{depth} buffers each, or as many as a store needs")
        ),
    )
}

fn measure(args: &StoreArgs, config: &Arc<Config>, plan: &Plan) -> Result<StoreReport, End> {
    let most = plan.size.saturating_mul(plan.objects as u64);
    eprintln!("vitrine bench: {}; {} are stored at a time", load(plan), run::human(most));
    let stops = Stops::listen()?;
    let watch = Arc::new(Watch::default());
    let started = jiff::Timestamp::now();
    let (work, seen, wanted) = (config.clone(), watch.clone(), plan.clone());
    let (sender, ended) = mpsc::channel();
    let thread = std::thread::Builder::new().name("bench-store".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let cpu = || cpu::own().map(|time| time.as_secs_f64()).unwrap_or_default();
        // Whoever waits has not gone.
        let _ = sender.send(dataplane::bench::run(&work, wanted, seen, cpu));
    });
    let thread = thread.during(|| "starting a thread")?;
    let mut display = Display::new(args.progress);
    let mut view = View::default();
    let outcome = loop {
        match ended.recv_timeout(LOOK) {
            Ok(outcome) => break outcome,
            Err(RecvTimeoutError::Disconnected) => return Err(End::Failed("the measurement has panicked".to_owned())),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if stops.stop.load(Relaxed) {
            watch.stop.store(true, Relaxed);
        }
        if stops.abort.load(Relaxed) {
            return Err(End::Failed("left behind what was made; --clean removes it".to_owned()));
        }
        view.show(&mut display, &watch);
    };
    display.end();
    drop(thread.join());
    let outcome = outcome.map_err(|error| match error.is_misconfiguration() {
        true => End::Usage(error.to_string()),
        false => End::Failed(error.to_string()),
    })?;
    Ok(StoreReport::of(&outcome, started.to_string(), load(plan), watch.stop.load(Relaxed)))
}

/// What is seen of a phase.
#[derive(Default)]
struct View {
    label: String,
    begun: Option<Instant>,
}

impl View {
    fn show(&mut self, display: &mut Display, watch: &Watch) {
        let (label, bytes, all) = watch.now();
        if label != self.label {
            self.label.clone_from(&label);
            self.begun = Some(Instant::now());
            display.begin_bytes(&label, all);
        }
        let seconds = self.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        let rate = if seconds > 0.0 { mib(bytes) / seconds } else { 0.0 };
        display.show_bytes(bytes, &format!("{label}: {:.0} of {:.0} MiB, {rate:.0} MiB/s", mib(bytes), mib(all)));
    }
}

fn clean(config: &Arc<Config>) -> Result<(), End> {
    let (removed, left) = dataplane::bench::clean(config).map_err(|error| End::Failed(error.to_string()))?;
    println!("{removed} objects were removed");
    match left.first() {
        None => Ok(()),
        Some(first) => Err(End::Failed(format!("{} objects are left, the first is {first}", left.len()))),
    }
}

fn tell(args: &StoreArgs, shown: &[StoreReport], own: Option<&StoreReport>) -> Result<(), End> {
    print!("{}", table::text(shown));
    if let (Some(path), Some(own)) = (&args.json, own) {
        own.save(path)?;
    }
    if let Some(path) = &args.html {
        std::fs::write(path, page::page(shown)).during(|| path.display().to_string())?;
    }
    Ok(())
}

/// One line of the table and of the page: the figures of one store in one report.
fn columns(reports: &[StoreReport]) -> Vec<(String, &StoreReport, &str)> {
    let several = reports.len() > 1;
    let of = |report: &'_ StoreReport, store: &str| match (several, report.name.as_str()) {
        (true, "") => format!("{store} (now)"),
        (true, name) => format!("{store} ({name})"),
        (false, _) => store.to_owned(),
    };
    let stores = reports.iter().flat_map(|report| report.stores().into_iter().map(move |store| (report, store)));
    stores.map(|(report, store)| (of(report, store), report, store)).collect()
}

/// The figures of a store for a kind of work.
fn find<'r>(report: &'r StoreReport, store: &str, work: &str, workers: usize) -> Option<&'r Figures> {
    report.phases.iter().find(|phase| phase.store == store && phase.work == work && phase.workers == workers)
}
