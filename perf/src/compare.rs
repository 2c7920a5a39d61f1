//! The comparison: all servers run at once, and take turns on each piece of work, round after round.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::awake::Awake;
use crate::cpu;
use crate::error::{During, Error, Result};
use crate::http::Connection;
use crate::images;
use crate::load::Done;
use crate::load::metadata::Ask;
use crate::load::pull::{self, Pull};
use crate::load::push::Push;
use crate::machine::{Machine, Times};
use crate::payload::Payload;
use crate::report::{Report, Row, Unit};
use crate::servers::{Kind, Server, glance, nginx, vitrine};
use crate::size::{GIB, gib};
use crate::stats::Summary;

/// Least amount of data in one measured download, in bytes. CPU time is counted in ticks of 10 ms; this many bytes
/// take more than a hundred of them.
const PULL_MIN: u64 = 8 * GIB;
/// How often the start is timed.
const RESTARTS: usize = 5;
/// Images that are shown and listed.
const IMAGES: usize = 100;
/// Connections that ask for metadata.
const ASKERS: usize = 8;
/// Time for the disk and the servers to come to rest before a measurement.
const REST: Duration = Duration::from_millis(300);
/// How long metadata is asked for before the first measured round.
const WARM_UP: Duration = Duration::from_millis(500);

/// How often a turn of Glance's is taken again after a failure of its own: with several writers on SQLite it answers 500
/// ("database is locked") now and then.
const GLANCE_RETRIES: usize = 5;
/// By how much each of Glance's uploads begins after the one before, for the same reason: begun at once, they nearly always
/// collide. Little beside the many seconds that they take; the clock runs from the first.
const GLANCE_STAGGER: Duration = Duration::from_millis(100);

/// Kinds of work, to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// Image data out.
    Download,
    /// Image data in.
    Upload,
    /// One image's record.
    Show,
    /// The records of many images.
    List,
}

/// What to compare, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The servers, in the order of their turns.
    pub servers: Vec<Kind>,
    /// The work to do; all of it if empty.
    pub groups: Vec<Group>,
    /// Vitrine's binary.
    pub vitrine: PathBuf,
    /// nginx's binary.
    pub nginx: PathBuf,
    /// Virtual environment that holds Glance and uWSGI.
    pub glance: PathBuf,
    /// Directory for all data of the run, made and removed by it.
    pub work: PathBuf,
    /// Size of the downloaded image in bytes.
    pub size: u64,
    /// Size of each uploaded image in bytes.
    pub upload_size: u64,
    /// How often each server does each piece of work.
    pub rounds: usize,
    /// How long metadata is asked for in each round.
    pub time: Duration,
    /// Whether to measure although others are at work.
    pub busy_ok: bool,
    /// Whether idle cores are kept from sleeping.
    pub keep_awake: bool,
}

impl Plan {
    fn wants(&self, scenario: Scenario) -> bool {
        self.groups.is_empty() || self.groups.contains(&scenario.group())
    }
}

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Pull { connections: usize },
    Push { streams: usize },
    Show,
    List,
}

impl Scenario {
    const ALL: [Self; 6] = [
        Self::Pull { connections: 1 },
        Self::Pull { connections: 8 },
        Self::Push { streams: 1 },
        Self::Push { streams: 4 },
        Self::Show,
        Self::List,
    ];

    fn name(self) -> String {
        let plural = |count| if count == 1 { "" } else { "s" };
        match self {
            Self::Pull { connections } => format!("download, {connections} connection{}", plural(connections)),
            Self::Push { streams } => format!("upload, {streams} stream{}", plural(streams)),
            Self::Show => "show".to_owned(),
            Self::List => format!("list of {IMAGES}"),
        }
    }

    fn unit(self) -> Unit {
        match self {
            Self::Pull { .. } | Self::Push { .. } => Unit::Gib,
            Self::Show | Self::List => Unit::Request,
        }
    }

    fn group(self) -> Group {
        match self {
            Self::Pull { .. } => Group::Download,
            Self::Push { .. } => Group::Upload,
            Self::Show => Group::Show,
            Self::List => Group::List,
        }
    }

    fn suits(self, server: Kind) -> bool {
        self.group() == Group::Download || server.has_images_api()
    }
}

/// A server with what there is on it to ask for.
struct Contender {
    server: Server,
    /// Path of the image's data.
    data: String,
    /// Paths of the images' records.
    records: Vec<String>,
}

/// The figures of one turn.
#[derive(Debug, Clone, Copy)]
struct Turn {
    rate: f64,
    server_cpu: f64,
    client_cpu: f64,
    foreign: f64,
    latency: Option<(f64, f64)>,
}

/// Runs the whole comparison; `say` hears what is going on.
///
/// # Errors
/// The machine is busy, a server does not start, or any measurement fails or moves wrong bytes: there is no table of
/// what went wrong.
pub fn run(plan: &Plan, mut say: impl FnMut(&str)) -> Result<Report> {
    if plan.rounds == 0 || plan.servers.is_empty() {
        return Err(Error::Setup("nothing to measure: no rounds or no servers".into()));
    }
    let machine = Machine::observe()?;
    if !plan.busy_ok {
        machine.require_idle()?;
    }
    let work = Work::make(plan.work.clone())?;
    let outcome = measure_all(plan, &work, &mut say).and_then(|rows| Ok((rows, restarts(plan, &work, &mut say)?)));
    drop(work);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (rows, start_ms) = outcome?;
    Ok(Report { machine, finished: now.as_secs(), method: method(plan), rows, start_ms })
}

/// What every turn needs.
struct Bench<'a> {
    plan: &'a Plan,
    upload: &'a Payload,
    awake: Option<Awake>,
}

fn measure_all(plan: &Plan, work: &Work, say: &mut impl FnMut(&str)) -> Result<Vec<Row>> {
    say("making the images to move");
    let image_path = work.0.join("image");
    let image = Payload::on_disk(&image_path, plan.size)?;
    let upload = Payload::in_memory(plan.upload_size)?;
    let mut contenders = Vec::new();
    for kind in &plan.servers {
        say(&format!("{kind}: starting and filling"));
        contenders.push(prepare(plan, work, *kind, &image)?);
    }
    for contender in &contenders {
        say(&format!("{}: warming up, verifying every byte", contender.server.kind));
        warm_up(contender, &image)?;
    }
    let awake = if plan.keep_awake { Some(Awake::start()?) } else { None };
    let bench = Bench { plan, upload: &upload, awake };
    let mut turns: Vec<(Scenario, Kind, Turn)> = Vec::new();
    for round in 1..=plan.rounds {
        for scenario in Scenario::ALL.into_iter().filter(|scenario| plan.wants(*scenario)) {
            for contender in contenders.iter().filter(|contender| scenario.suits(contender.server.kind)) {
                let turn = bench.take_turn_or_retry(scenario, contender, say)?;
                let (name, kind) = (scenario.name(), contender.server.kind);
                say(&format!("round {round}: {name}, {kind}: {:.3} at {:.6} CPU", turn.rate, turn.server_cpu));
                turns.push((scenario, kind, turn));
            }
        }
    }
    Ok(rows(plan, &turns))
}

/// Starts a server and puts the image on it: the same file for all.
fn prepare(plan: &Plan, work: &Work, kind: Kind, image: &Payload) -> Result<Contender> {
    let directory = work.0.join(kind.name());
    let source = work.0.join("image");
    let server = match kind {
        Kind::Vitrine => vitrine::start(&plan.vitrine, &directory)?,
        Kind::Glance => glance::start(&plan.glance, &directory)?,
        Kind::Nginx | Kind::NginxNopush => {
            let server = nginx::start(&plan.nginx, &directory, &source, kind)?;
            return Ok(Contender { server, data: nginx::TARGET.to_owned(), records: Vec::new() });
        }
    };
    let mut push = Push::prepare(server.address, image, 1, Duration::ZERO)?;
    push.run()?;
    let id = push.verify_and_keep()?;
    server.share(&source, image.size)?;
    let mut connection = Connection::to(server.address);
    let record = |number| {
        let image = images::create(&mut connection, &format!("perf-{number}"))?;
        Ok(format!("/v2/images/{}", image.id))
    };
    let records = (0..IMAGES).map(record).collect::<Result<_>>()?;
    Ok(Contender { server, data: images::data_target(&id), records })
}

fn warm_up(contender: &Contender, image: &Payload) -> Result<()> {
    let address = contender.server.address;
    pull::verify(address, &contender.data, image.size, &image.digests)?;
    Pull::new(address, &contender.data, image.size, 1, 1).run()?;
    if contender.server.kind.has_images_api() {
        let listed = images::count(&mut Connection::to(address), IMAGES)?;
        if listed != IMAGES {
            return Err(Error::Answer(format!("{listed} images listed instead of {IMAGES}")));
        }
        Ask::new(address, &contender.records, ASKERS, WARM_UP)?.run()?;
        Ask::new(address, &[images::list_target(IMAGES)], ASKERS, WARM_UP)?.run()?;
    }
    Ok(())
}

/// How long Vitrine takes to start on the database that the run has left, if it was one of the servers.
fn restarts(plan: &Plan, work: &Work, say: &mut impl FnMut(&str)) -> Result<Option<Summary>> {
    if !plan.servers.contains(&Kind::Vitrine) {
        return Ok(None);
    }
    say("vitrine: starting on an existing database");
    let directory = work.0.join(Kind::Vitrine.name());
    let start = |_| Ok(vitrine::restart(&plan.vitrine, &directory)?.as_secs_f64() * 1e3);
    Ok(Summary::of(&(0..RESTARTS).map(start).collect::<Result<Vec<_>>>()?))
}

impl Bench<'_> {
    fn take_turn_or_retry(
        &self,
        scenario: Scenario,
        contender: &Contender,
        say: &mut impl FnMut(&str),
    ) -> Result<Turn> {
        let server = &contender.server;
        let mut left = if server.kind == Kind::Glance { GLANCE_RETRIES } else { 0 };
        loop {
            match self.take_turn(scenario, contender) {
                Err(error) if left > 0 => say(&format!("{}: once more, after: {error}", server.kind)),
                other => return other.map_err(|error| server.explain(&error)),
            }
            left -= 1;
        }
    }

    fn take_turn(&self, scenario: Scenario, contender: &Contender) -> Result<Turn> {
        // What an earlier turn has left to be written must not be paid by this one.
        rustix::fs::sync();
        thread::sleep(REST);
        let server = &contender.server;
        match scenario {
            Scenario::Pull { connections } => {
                let size = self.plan.size;
                let passes = PULL_MIN.div_ceil(size.saturating_mul(connections as u64));
                let pull = Pull::new(server.address, &contender.data, size, connections, passes);
                let (done, used) = self.watched(server, || pull.run())?;
                Ok(used.turn(&done, gib(done.bytes), None))
            }
            Scenario::Push { streams } => {
                let stagger = if server.kind == Kind::Glance { GLANCE_STAGGER } else { Duration::ZERO };
                let mut push = Push::prepare(server.address, self.upload, streams, stagger)?;
                let (done, used) = self.watched(server, || push.run())?;
                push.verify_and_delete()?;
                Ok(used.turn(&done, gib(done.bytes), None))
            }
            Scenario::Show => self.ask(server, &contender.records),
            Scenario::List => self.ask(server, &[images::list_target(IMAGES)]),
        }
    }

    fn ask(&self, server: &Server, targets: &[String]) -> Result<Turn> {
        let ask = Ask::new(server.address, targets, ASKERS, self.plan.time)?;
        let ((done, latencies), used) = self.watched(server, || ask.run())?;
        let latency = (latencies.percentile(50.0), latencies.percentile(99.0));
        // Microseconds of CPU per request: the work is counted in millions.
        let mut turn = used.turn(&done, done.requests as f64 / 1e6, Some(latency));
        turn.rate *= 1e6;
        Ok(turn)
    }

    /// Does `work` on `server` and says what CPU time it took, and whose.
    fn watched<T>(&self, server: &Server, work: impl FnOnce() -> Result<T>) -> Result<(T, Used)> {
        let spun = || self.awake.as_ref().map_or(Ok(Duration::ZERO), Awake::cpu);
        let (server_before, client_before) = (server.cpu()?, cpu::own()?);
        let (spun_before, all_before) = (spun()?, Times::now()?);
        let done = work()?;
        let (all, spun) = (Times::now()?.since(&all_before), spun()?.saturating_sub(spun_before));
        let client = cpu::own()?.saturating_sub(client_before);
        let server = server.cpu()?.saturating_sub(server_before);
        Ok((done, Used { server, client, foreign: all.foreign(server + client + spun) }))
    }
}

/// CPU time used while something ran.
struct Used {
    server: Duration,
    client: Duration,
    foreign: f64,
}

impl Used {
    fn turn(&self, done: &Done, work: f64, latency: Option<(f64, f64)>) -> Turn {
        Turn {
            rate: work / done.wall.as_secs_f64(),
            server_cpu: self.server.as_secs_f64() / work,
            client_cpu: self.client.as_secs_f64() / work,
            foreign: self.foreign,
            latency,
        }
    }
}

fn rows(plan: &Plan, turns: &[(Scenario, Kind, Turn)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for scenario in Scenario::ALL {
        for kind in &plan.servers {
            let mine: Vec<Turn> =
                turns.iter().filter(|turn| turn.0 == scenario && turn.1 == *kind).map(|turn| turn.2).collect();
            rows.extend(row(scenario, *kind, &mine));
        }
    }
    rows
}

fn row(scenario: Scenario, kind: Kind, turns: &[Turn]) -> Option<Row> {
    let of = |figure: fn(&Turn) -> f64| Summary::of(&turns.iter().map(figure).collect::<Vec<_>>());
    let latency = |part: fn((f64, f64)) -> f64| {
        Summary::of(&turns.iter().filter_map(|turn| turn.latency.map(part)).collect::<Vec<_>>())
    };
    Some(Row {
        scenario: scenario.name(),
        server: kind.name(),
        unit: scenario.unit(),
        rate: of(|turn| turn.rate)?,
        server_cpu: of(|turn| turn.server_cpu)?,
        client_cpu: of(|turn| turn.client_cpu)?,
        p50_us: latency(|pair| pair.0),
        p99_us: latency(|pair| pair.1),
        foreign: of(|turn| turn.foreign)?,
    })
}

fn method(plan: &Plan) -> String {
    format!(
        "image {:.2} GiB (one file, warm), uploads of {:.2} GiB; {} rounds, servers in turn; metadata on {ASKERS} \
         connections for {} s; over loopback; cores {} from sleeping",
        gib(plan.size),
        gib(plan.upload_size),
        plan.rounds,
        plan.time.as_secs_f64(),
        if plan.keep_awake { "kept" } else { "not kept" }
    )
}

/// The directory of a run; removed with it.
struct Work(PathBuf);

impl Work {
    fn make(path: PathBuf) -> Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).during(|| parent.display().to_string())?;
        }
        // Never a directory that exists: it is removed in the end.
        fs::create_dir(&path).during(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // A directory that cannot be removed is named by the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(rate: f64) -> Turn {
        Turn { rate, server_cpu: 1.0 / rate, client_cpu: 0.0, foreign: 0.0, latency: Some((rate, 2.0 * rate)) }
    }

    #[test]
    fn a_row_is_the_median_of_its_turns() {
        let row = row(Scenario::Show, Kind::Glance, &[turn(4.0), turn(1.0), turn(2.0)]);
        let figures = row.map(|row| (row.rate.median, row.server_cpu.median, row.p99_us.map(|p99| p99.median)));
        assert_eq!(figures, Some((2.0, 0.5, Some(4.0))));
    }

    #[test]
    fn no_turns_no_row() {
        assert_eq!(row(Scenario::List, Kind::Nginx, &[]), None);
    }

    #[test]
    fn cost_and_rate_are_per_unit_of_work() {
        let used = Used { server: Duration::from_secs(3), client: Duration::from_secs(1), foreign: 0.1 };
        let done = Done { bytes: 2 * GIB, requests: 1, wall: Duration::from_secs(4) };
        let turn = used.turn(&done, gib(done.bytes), None);
        assert_eq!((turn.rate, turn.server_cpu, turn.client_cpu), (0.5, 1.5, 0.5));
    }

    #[test]
    fn the_directory_of_a_run_is_new_and_goes_with_it() -> std::io::Result<()> {
        let parent = tempfile::tempdir()?;
        let path = parent.path().join("a/b");
        let work = Work::make(path.clone()).map_err(std::io::Error::other)?;
        assert!(path.is_dir());
        assert!(Work::make(path.clone()).is_err(), "an existing directory is not taken");
        assert!(path.is_dir());
        drop(work);
        assert!(!path.exists());
        Ok(())
    }
}
