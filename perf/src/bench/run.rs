//! One run of a load: prepare, measure in turns, delete, report.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::args::{Command, Run, SourceArgs};
use super::cost::Meter;
use super::drive::{self, Costs, Pace, Shape};
use super::ledger::{Ledger, Records, Troubles, merge};
use super::mix::{Action, Mix};
use super::pattern::Pattern;
use super::place::{Place, Wanted};
use super::progress::Display;
use super::result::{Endpoint, FORMAT, Operation, Report, Round, VERSION};
use super::stage::{self, Plan, Stage};
use super::verdict::{self, mib};
use super::work::Worker;
use super::{End, Stops, html, table, variable};
use crate::cpu;
use crate::error::During;

/// Most bytes that a run stores at a time on one endpoint.
const STORED_MAX: u64 = 1 << 40;
/// How often the cleaning up is looked at.
const LOOK_UP: Duration = Duration::from_millis(50);

/// An endpoint with what was measured on it so far.
struct Side {
    name: &'static str,
    stage: Stage,
    meter: Meter,
    records: Records,
    troubles: Troubles,
}

/// A load as the command line describes it.
struct Wish<'a> {
    name: &'static str,
    mix: Mix,
    sizes: Vec<(u64, u64)>,
    source: Option<&'a SourceArgs>,
    run: &'a Run,
}

impl<'a> Wish<'a> {
    fn of(command: &'a Command) -> Result<Self, End> {
        let (name, mix, sizes, source, run) = match command {
            Command::Pull { sizes, source, run } => ("pull", Mix::only(Action::Pull), Some(sizes), Some(source), run),
            Command::Push { sizes, run } => ("push", Mix::only(Action::Push), Some(sizes), None, run),
            Command::Mixed { mix, sizes, source, run } => ("mixed", mix.clone(), Some(sizes), Some(source), run),
            Command::Metadata { mix, run } => ("metadata", mix.clone(), None, None, run),
            Command::Store(_) | Command::Compare { .. } | Command::Clean { .. } => {
                return Err(End::Usage("no load".into()));
            }
        };
        if name == "metadata" && (mix.has(Action::Pull) || mix.has(Action::Push)) {
            return Err(End::Usage("metadata moves no data: `vitrine bench mixed` does".into()));
        }
        if !(0.0..=100.0).contains(&run.errors_allowed) {
            return Err(End::Usage(format!("--errors-allowed {} is no percentage", run.errors_allowed)));
        }
        let sizes = sizes.map_or_else(|| Ok(Vec::new()), |sizes| sizes.list()).map_err(End::Usage)?;
        Ok(Self { name, mix, sizes, source, run })
    }

    fn plan(&self, workers: usize) -> Plan {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Plan {
            run: id[..12].to_owned(),
            mix: self.mix.clone(),
            sizes: self.sizes.clone(),
            images: self.source.map_or(1, |source| source.images),
            foreign: self.source.map(|source| source.image.clone()).unwrap_or_default(),
            range: self.source.and_then(|source| source.range),
            verify: !self.run.no_verify,
            workers,
            pattern: Pattern::new(self.run.seed),
        }
    }

    fn shape(&self) -> Shape {
        let run = self.run;
        Shape {
            pace: run.rate.map_or(Pace::Closed, |rate| Pace::Open { rate, arrival: run.arrival }),
            warmup: run.warmup(),
            duration: run.duration(),
            count: run.count,
            ramp: run.ramp,
            drop_after: run.drop_after,
            grace: run.grace,
            seed: run.seed,
        }
    }

    /// What is done, in words.
    fn workload(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(|(size, _)| human(*size)).collect();
        let what = match (self.name, self.source.map(|source| (source.range, source.image.len()))) {
            ("metadata", _) => String::new(),
            (_, Some((range, foreign))) => {
                let range = range.map(|range| format!(" random ranges of {}", human(range))).unwrap_or_default();
                let of = if range.is_empty() { "" } else { " of" };
                if foreign > 0 {
                    format!("{range}{of} {foreign} images that were there")
                } else {
                    format!("{range}{of} images of {}", sizes.join(", "))
                }
            }
            _ => format!(" images of {}", sizes.join(", ")),
        };
        format!("{}{what}", self.name)
    }

    /// The load, in words.
    fn load(&self, workers: usize, connections: usize) -> String {
        let run = self.run;
        let pace = match run.rate {
            Some(rate) => format!("open loop, {} arrivals/s ({:?})", table::number(rate), run.arrival).to_lowercase(),
            None => "closed loop".to_owned(),
        };
        let end = match run.count {
            Some(count) => format!("{count} arrivals"),
            None => format!("{:?} after {:?} of warm-up", run.duration(), run.warmup()),
        };
        format!("{pace}, {workers} at a time on {connections} connections, {end}")
    }
}

/// Runs the load of a command.
pub(super) fn run(command: &Command) -> Result<(), End> {
    let wish = Wish::of(command)?;
    let (workers, connections) = wish.run.workers().map_err(End::Usage)?;
    let plan = Arc::new(wish.plan(workers));
    if plan.stored_max() > STORED_MAX {
        return Err(End::Usage(format!(
            "this would store up to {} at a time, more than {}: fewer or smaller images",
            human(plan.stored_max()),
            human(STORED_MAX)
        )));
    }
    let stops = Stops::listen()?;
    let mut display = Display::new(wish.run.progress);
    let seats = seats(wish.run, &stops)?;
    announce(&plan, &seats);
    display.say("computing the data to upload");
    let contents = Arc::new(stage::contents(&plan));
    let mut sides = Vec::new();
    for Seat { name, place, meter } in seats {
        let stage = Stage::new(place, plan.clone(), contents.clone());
        sides.push(Side { name, stage, meter, records: Records::new(), troubles: Troubles::default() });
    }
    let started = jiff::Timestamp::now();
    let outcome = measure(&wish, (workers, connections), &mut sides, &stops, &mut display);
    display.say("deleting what was made");
    let left = clean_up(&sides, &stops);
    display.end();
    let interrupted = stops.stop.load(Ordering::Relaxed);
    let rounds = match outcome {
        Ok(rounds) => rounds,
        Err(_) if interrupted => return Err(End::Failed(format!("interrupted before the load began{}", told(&left)))),
        Err(End::Failed(text)) => return Err(End::Failed(format!("{text}{}", told(&left)))),
        Err(other) => return Err(other),
    };
    let comparison = if sides.len() == 2 {
        let of = |name: &str| rounds.iter().filter(|round| round.endpoint == name).cloned().collect::<Vec<_>>();
        verdict::compare(&of("A"), &of("B"), true)
    } else {
        Vec::new()
    };
    let report = Report {
        format: FORMAT.to_owned(),
        version: VERSION,
        run: plan.run.clone(),
        started: started.to_string(),
        workload: wish.workload(),
        load: wish.load(workers, connections),
        client: client(),
        verified: plan.verify,
        interrupted,
        endpoints: sides.iter().map(endpoint).collect(),
        rounds,
        left: left.iter().map(|(id, why)| format!("{id}: {why}")).collect(),
        comparison,
    };
    tell(&report, wish.run)
}

/// A service with what is seen of its cost.
struct Seat {
    name: &'static str,
    place: Place,
    meter: Meter,
}

/// The services of a run.
fn seats(run: &Run, stops: &Stops) -> Result<Vec<Seat>, End> {
    let wanted = run.place.wanted();
    let place = Place::find(&wanted, &variable, &stops.cut)?;
    let meter = Meter::find(&place, run.server_pid, run.metrics.as_ref())?;
    let session = place.session.clone();
    let mut seats = vec![Seat { name: "A", place, meter }];
    let against = &run.against;
    if against.is_given() {
        let place = if let Some(cloud) = &against.cloud {
            let wanted =
                Wanted { endpoint: against.endpoint.clone(), cloud: Some(cloud.clone()), no_auth: false, ..wanted };
            Place::find(&wanted, &variable, &stops.cut)?
        } else {
            // Who asks the first asks the second.
            let wanted = Wanted { endpoint: against.endpoint.clone(), ..wanted };
            Place { session, ..Place::find(&wanted, &variable, &stops.cut)? }
        };
        let meter = Meter::find(&place, against.server_pid, against.metrics.as_ref())?;
        seats.push(Seat { name: "B", place, meter });
    }
    Ok(seats)
}

/// Says what will be made, before it is.
fn announce(plan: &Plan, seats: &[Seat]) {
    for Seat { place, .. } in seats {
        let who = if place.session.is_authenticated() { "with a token" } else { "without a token" };
        let stores = match plan.stored_max() {
            0 => "stores no data there".to_owned(),
            most => format!("stores up to {} there at a time", human(most)),
        };
        eprintln!(
            "vitrine bench: run {} on {} {who}; {stores}, and deletes what it made at the end",
            plan.run, place.target.url
        );
    }
}

/// Prepares all sides and lets them take turns.
fn measure(
    wish: &Wish<'_>,
    (workers, connections): (usize, usize),
    sides: &mut [Side],
    stops: &Stops,
    display: &mut Display,
) -> Result<Vec<Round>, End> {
    for side in sides.iter_mut() {
        side.stage.prepare(&stops.cut, &mut |text| display.say(text))?;
    }
    let mut rounds = Vec::new();
    for number in 0..wish.run.rounds() {
        let shape = Shape { seed: wish.run.seed.wrapping_add(u64::from(number)), ..wish.shape() };
        for side in sides.iter_mut() {
            if stops.stop.load(Ordering::Relaxed) {
                break;
            }
            display.begin(&format!("{} {}", side.name, number + 1), shape.warmup + shape.duration);
            rounds.push(turn(side, &shape, workers, connections, stops, display));
        }
    }
    // A turn that a signal has cut short is no round beside whole ones, but better than nothing.
    Ok(rounds)
}

/// One turn of one side.
fn turn(
    side: &mut Side,
    shape: &Shape,
    workers: usize,
    connections: usize,
    stops: &Stops,
    display: &mut Display,
) -> Round {
    let ledger = Ledger::new(workers);
    // Of its own, so that the end of one turn cuts off nothing of the next.
    let cut = Arc::new(AtomicBool::new(false));
    let busy = side.meter.read_busy();
    let crew = (0..workers).map(|number| {
        let share = connections / workers + usize::from(number < connections % workers);
        Worker::new(number, &side.stage, &ledger, share, shape.seed, &cut)
    });
    let meter = &mut side.meter;
    let costs =
        || Costs { server: meter.read(), client: cpu::own().map(|time| time.as_secs_f64()).unwrap_or_default() };
    let measured = drive::run(shape, crew.collect(), &ledger, &stops.stop, &cut, costs, |view| {
        display.show(view, ledger.in_flight.load(Ordering::Relaxed));
    });
    let busy = side.meter.read_busy().zip(busy).map(|(now, before)| now - before);
    merge(&mut side.records, &measured.records);
    let troubles = ledger.troubles();
    for (label, text) in troubles.first {
        side.troubles.first.entry(label).or_insert(text);
    }
    side.troubles.wrong.extend(troubles.wrong);
    side.troubles.wrong_count += troubles.wrong_count;
    Round::of(side.name, &measured, &ledger, busy)
}

/// Deletes what was made on all sides, unless a second signal comes.
fn clean_up(sides: &[Side], stops: &Stops) -> Vec<(String, String)> {
    thread::scope(|scope| {
        let cleaners: Vec<_> = sides.iter().map(|side| scope.spawn(|| side.stage.clean_up(&stops.abort).1)).collect();
        while cleaners.iter().any(|cleaner| !cleaner.is_finished()) {
            thread::sleep(LOOK_UP);
        }
        cleaners.into_iter().flat_map(|cleaner| cleaner.join().unwrap_or_default()).collect()
    })
}

fn endpoint(side: &Side) -> Endpoint {
    let operations: BTreeMap<_, _> =
        side.records.iter().filter(|(_, record)| record.good() + record.bad() > 0).collect();
    Endpoint {
        name: side.name.to_owned(),
        url: side.stage.place.target.url.to_string(),
        cpu_source: side.meter.source(),
        operations: operations.into_iter().map(|(kind, record)| Operation::of(*kind, record)).collect(),
        faults: side.troubles.first.clone(),
        wrong: side.troubles.wrong_count,
        wrong_first: side.troubles.wrong.clone(),
    }
}

/// Prints and writes the report, and says how the command ends.
fn tell(report: &Report, run: &Run) -> Result<(), End> {
    print!("{}", table::text(report));
    if let Some(path) = &run.json {
        report.save(path)?;
    }
    if let Some(path) = &run.html {
        fs::write(path, html::page(report)).during(|| path.display().to_string())?;
    }
    let (good, bad) = report.counts();
    let wrong: u64 = report.endpoints.iter().map(|endpoint| endpoint.wrong).sum();
    if wrong > 0 {
        let first = report.endpoints.iter().flat_map(|endpoint| &endpoint.wrong_first).next();
        return Err(End::Failed(format!(
            "wrong bytes in {wrong} answers, first {}",
            first.cloned().unwrap_or_default()
        )));
    }
    if !report.left.is_empty() {
        return Err(End::Failed(format!(
            "{} images are left behind (`vitrine bench clean --run {}`), the first is {}",
            report.left.len(),
            report.run,
            report.left[0]
        )));
    }
    if report.interrupted {
        return Err(End::Failed("interrupted: the figures are those until then".into()));
    }
    if good + bad == 0 {
        return Err(End::Failed("no request has ended: a longer --duration or --grace".into()));
    }
    let share = bad as f64 / (good + bad) as f64 * 100.0;
    if share > run.errors_allowed {
        return Err(End::Failed(format!("{bad} of {} requests failed ({share:.2} %)", good + bad)));
    }
    Ok(())
}

fn told(left: &[(String, String)]) -> String {
    if left.is_empty() { String::new() } else { format!("; {} images are left behind", left.len()) }
}

/// A size as people write it.
pub(super) fn human(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift {
            let value = mib(bytes) * f64::from(1 << 20) / (1_u64 << shift) as f64;
            return format!("{}{unit}", (value * 100.0).round() / 100.0);
        }
    }
    format!("{bytes}B")
}

/// The machine of the client, in words.
pub(super) fn client() -> String {
    let uname = rustix::system::uname();
    format!(
        "{}, {} cores, Linux {}",
        uname.nodename().to_string_lossy(),
        thread::available_parallelism().map_or(1, std::num::NonZero::get),
        uname.release().to_string_lossy()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        assert_eq!([5, 1 << 10, 256 << 20, 3 << 29, 1 << 40].map(human), ["5B", "1KiB", "256MiB", "1.5GiB", "1TiB"]);
    }
}
