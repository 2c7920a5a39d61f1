//! What scenarios share in a run: the plan, the image, the servers, the figures so far.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use super::ledger::Ledger;
use super::metric::Metric;
use super::plan::{Plan, Who};
use crate::awake::Awake;
use crate::cpu;
use crate::error::{During, Error, Result};
use crate::http::Connection;
use crate::images;
use crate::load::Done;
use crate::load::metadata::Ask;
use crate::load::pull;
use crate::load::push::Push;
use crate::machine::Times;
use crate::payload::Payload;
use crate::servers::vitrine::Variant;
use crate::servers::{Server, glance, nginx, vitrine};
use crate::size::gib;
use crate::stats::Latencies;

/// Images that are shown and listed.
pub const IMAGES: usize = 100;
/// Connections that ask for metadata.
pub const ASKERS: usize = 8;
/// Time for the disk and the servers to come to rest before a measurement.
const REST: Duration = Duration::from_millis(300);
/// How long metadata is asked for before the first measured round.
const WARM_UP: Duration = Duration::from_millis(500);

/// A server with what there is on it to ask for.
#[derive(Debug)]
pub struct Contender {
    /// The server.
    pub server: Server,
    /// Path of the image's data.
    pub data: String,
    /// Paths of the images' records; none on a server of files only.
    pub records: Vec<String>,
}

impl Contender {
    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.server.name
    }
}

/// CPU time used while something ran.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// By the server's processes.
    pub server: Duration,
    /// By this process.
    pub client: Duration,
    /// By others: their part of the machine (0 to 1).
    pub others: f64,
}

impl Used {
    /// Of so many cores those that the load generator, which is this process, left to the server in `wall`, on average; `None` if it
    /// left nothing.
    #[must_use]
    pub fn cores_left(&self, cores: usize, wall: Duration) -> Option<f64> {
        let left = cores as f64 - self.client.as_secs_f64() / wall.as_secs_f64();
        (left > 0.0).then_some(left)
    }
}

/// What scenarios share in a run.
pub struct Context<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// The figures so far.
    pub ledger: Ledger,
    /// What a reader of the report must know.
    pub notes: Vec<String>,
    /// The scenario that is run.
    pub scenario: &'static str,
    work: &'a Path,
    say: &'a mut dyn FnMut(&str),
    awake: Option<Awake>,
    image: Option<Rc<Payload>>,
    servers: Vec<Rc<Contender>>,
    started: usize,
    cores: usize,
}

impl<'a> Context<'a> {
    /// A context without servers, whose data goes to the directory `work`.
    ///
    /// # Errors
    /// The spinners that keep cores awake cannot be started, or nobody knows how many cores there are.
    pub fn new(plan: &'a Plan, work: &'a Path, say: &'a mut dyn FnMut(&str)) -> Result<Self> {
        let awake = if plan.keep_awake { Some(Awake::start()?) } else { None };
        let cores = thread::available_parallelism().during(|| "number of cores")?.get();
        let (ledger, notes, servers) = (Ledger::default(), Vec::new(), Vec::new());
        Ok(Self { plan, ledger, notes, scenario: "", work, say, awake, image: None, servers, started: 0, cores })
    }

    /// Whether a row of the scenario that is run is to be measured.
    #[must_use]
    pub fn wants(&self, row: &str) -> bool {
        self.plan.wants(self.scenario, row)
    }

    /// Tells whoever watches what is going on.
    pub fn say(&mut self, line: &str) {
        (self.say)(line);
    }

    /// Tells it to whoever reads the report, too; once.
    pub fn note(&mut self, line: String) {
        (self.say)(&line);
        if !self.notes.contains(&line) {
            self.notes.push(line);
        }
    }

    /// A name in the run's directory that nothing has yet.
    pub fn place(&mut self, name: &str) -> PathBuf {
        self.started += 1;
        self.work.join(format!("{}-{}", self.started, name.replace(' ', "-")))
    }

    /// The image that is downloaded, made at the first call.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn image(&mut self) -> Result<Rc<Payload>> {
        if let Some(image) = &self.image {
            return Ok(image.clone());
        }
        self.say("making the image");
        let image = Rc::new(Payload::on_disk(&self.image_path(), self.plan.size)?);
        self.image = Some(image.clone());
        Ok(image)
    }

    /// Its file, which every server reads.
    #[must_use]
    pub fn image_path(&self) -> PathBuf {
        self.work.join("image")
    }

    /// The server of that name if it has been started for all scenarios, or what `start` gives.
    fn shared(&mut self, name: &str, start: impl FnOnce(&mut Self) -> Result<Contender>) -> Result<Rc<Contender>> {
        if let Some(known) = self.servers.iter().find(|known| known.name() == name) {
            return Ok(known.clone());
        }
        let contender = Rc::new(start(self)?);
        self.servers.push(contender.clone());
        Ok(contender)
    }

    /// Vitrine as it is installed, with image and records, warm; it stays for the whole run.
    ///
    /// # Errors
    /// It does not start or gives wrong bytes.
    pub fn vitrine(&mut self) -> Result<Rc<Contender>> {
        self.shared(Variant::PLAIN.name, |context| {
            let directory = context.place(Variant::PLAIN.name);
            context.say("vitrine: starting and filling");
            let server = vitrine::start(&context.plan.vitrine, &directory, &Variant::PLAIN)?;
            context.with_images(server)
        })
    }

    /// A Vitrine of its own for a scenario, with image and records, warm. `None`, and a note, if the binary does not know an option of
    /// the variant.
    ///
    /// # Errors
    /// It does not start or gives wrong bytes.
    pub fn variant(&mut self, variant: &Variant) -> Result<Option<Rc<Contender>>> {
        let directory = self.place(variant.name);
        if !variant.is_tls() {
            let Some(server) = self.start(variant, &directory)? else { return Ok(None) };
            return self.with_images(server).map(|contender| Some(Rc::new(contender)));
        }
        // Filled and warmed up in the clear.
        let Some(server) = self.start(&Variant::PLAIN, &directory)? else { return Ok(None) };
        let Contender { data, records, .. } = self.with_images(server)?;
        let server = self.start(variant, &directory)?;
        Ok(server.map(|server| Rc::new(Contender { server, data, records })))
    }

    /// A Vitrine of its own for a scenario, without any image. `None`, and a note, if the binary does not know an option of the
    /// variant.
    ///
    /// # Errors
    /// It does not start.
    pub fn empty(&mut self, variant: &Variant) -> Result<Option<Server>> {
        let directory = self.place(variant.name);
        self.start(variant, &directory)
    }

    fn start(&mut self, variant: &Variant, directory: &Path) -> Result<Option<Server>> {
        self.say(&format!("{}: starting", variant.name));
        let server = vitrine::start(&self.plan.vitrine, directory, variant)?;
        let unknown = vitrine::unknown_options(&server);
        if unknown.is_empty() {
            return Ok(Some(server));
        }
        self.note(format!("{} was not measured: this binary does not know {}", variant.name, unknown.join(", ")));
        Ok(None)
    }

    /// The nginxes that downloads are compared with, if the run has them.
    ///
    /// # Errors
    /// One does not start or gives wrong bytes.
    pub fn nginxes(&mut self) -> Result<Vec<Rc<Contender>>> {
        if !self.plan.servers.contains(&Who::Nginx) {
            return Ok(Vec::new());
        }
        let known = &nginx::Settings::PLAIN[..self.plan.pick(nginx::Settings::PLAIN.len(), 1)];
        known.iter().map(|settings| self.shared(settings.name, |context| context.start_nginx(settings))).collect()
    }

    /// An nginx of its own for a scenario, if the run has any.
    ///
    /// # Errors
    /// It does not start or gives wrong bytes.
    pub fn nginx_with(&mut self, settings: &nginx::Settings) -> Result<Option<Rc<Contender>>> {
        if !self.plan.servers.contains(&Who::Nginx) {
            return Ok(None);
        }
        self.start_nginx(settings).map(|contender| Some(Rc::new(contender)))
    }

    fn start_nginx(&mut self, settings: &nginx::Settings) -> Result<Contender> {
        let image = self.image()?;
        let directory = self.place(settings.name);
        let server = nginx::start(&self.plan.nginx, &directory, &self.image_path(), settings)?;
        let contender = Contender { server, data: nginx::TARGET.to_owned(), records: Vec::new() };
        if settings.tls.is_none() {
            warm_up(&contender, &image)?;
        }
        Ok(contender)
    }

    /// Glance, if the run has it.
    ///
    /// # Errors
    /// It does not start or gives wrong bytes.
    pub fn glance(&mut self) -> Result<Option<Rc<Contender>>> {
        if !self.plan.servers.contains(&Who::Glance) {
            return Ok(None);
        }
        let start = |context: &mut Self| {
            context.say("glance: starting and filling");
            let directory = context.place(glance::NAME);
            let server = glance::start(&context.plan.glance, &directory)?;
            context.with_images(server)
        };
        self.shared(glance::NAME, start).map(Some)
    }

    /// Puts the image, the same file for all, and some records on a server of the Images API, and warms it up.
    fn with_images(&mut self, server: Server) -> Result<Contender> {
        let image = self.image()?;
        let mut push = Push::prepare(server.address, &image, 1, Duration::ZERO)?;
        push.run()?;
        let id = push.verify_and_keep()?;
        server.share(&self.image_path(), image.size)?;
        let mut connection = Connection::to(server.address);
        let record = |number| {
            let image = images::create(&mut connection, &format!("perf-{number}"))?;
            Ok(format!("/v2/images/{}", image.id))
        };
        let records = (0..IMAGES).map(record).collect::<Result<_>>()?;
        let contender = Contender { server, data: images::data_target(&id), records };
        warm_up(&contender, &image)?;
        Ok(contender)
    }

    /// Does `work` on `server` and says what CPU time it took, and whose.
    ///
    /// # Errors
    /// Those of `work`, with the end of the server's log.
    pub fn measure<T>(&mut self, server: &Server, work: impl FnOnce() -> Result<T>) -> Result<(T, Used)> {
        // What an earlier turn has left to be written must not be paid by this one.
        rustix::fs::sync();
        thread::sleep(if self.plan.quick { Duration::ZERO } else { REST });
        self.watch(server, work).map_err(|error| server.explain(&error))
    }

    fn watch<T>(&self, server: &Server, work: impl FnOnce() -> Result<T>) -> Result<(T, Used)> {
        let spun = || self.awake.as_ref().map_or(Ok(Duration::ZERO), Awake::cpu);
        let (server_before, client_before) = (server.cpu()?, cpu::own()?);
        let (spun_before, all_before) = (spun()?, Times::now()?);
        let done = work()?;
        let (all, spun) = (Times::now()?.since(&all_before), spun()?.saturating_sub(spun_before));
        let client = cpu::own()?.saturating_sub(client_before);
        let server = server.cpu()?.saturating_sub(server_before);
        Ok((done, Used { server, client, others: all.foreign(server + client + spun) }))
    }

    /// Keeps what a load of bulk data has cost.
    pub fn keep_bulk(&mut self, row: &str, contender: &str, done: &Done, used: &Used) {
        let work = gib(done.bytes);
        let rate = work / done.wall.as_secs_f64();
        let (server, client) = (used.server.as_secs_f64() / work, used.client.as_secs_f64() / work);
        for (metric, value) in [(Metric::Rate, rate), (Metric::ServerCpu, server), (Metric::ClientCpu, client)] {
            self.ledger.add(row, contender, metric, value);
        }
        self.keep_others(row, contender, used);
        self.say(&format!("{row}, {contender}: {rate:.3} GiB/s, {server:.3} s/GiB (client {client:.3})"));
    }

    /// Keeps what a load of small requests has cost.
    pub fn keep_requests(&mut self, row: &str, contender: &str, done: &Done, latencies: &Latencies, used: &Used) {
        let requests = done.requests as f64;
        let rate = requests / done.wall.as_secs_f64();
        self.keep(row, contender, Metric::Requests, rate);
        self.keep(row, contender, Metric::RequestCpu, used.server.as_secs_f64() * 1e6 / requests);
        // Client and server share the cores: what a fast server could answer, a slow client would ask for on all of them.
        if let Some(left) = used.cores_left(self.cores, done.wall) {
            self.keep(row, contender, Metric::CoresLeft, left);
            self.keep(row, contender, Metric::PerCoreLeft, rate / left);
        }
        self.keep(row, contender, Metric::P50, latencies.percentile(50.0));
        self.keep(row, contender, Metric::P99, latencies.percentile(99.0));
        self.keep_others(row, contender, used);
    }

    /// Keeps how much others have disturbed a measurement.
    pub fn keep_others(&mut self, row: &str, contender: &str, used: &Used) {
        self.ledger.add(row, contender, Metric::Others, used.others * 100.0);
    }

    /// Keeps one figure.
    pub fn keep(&mut self, row: &str, contender: &str, metric: Metric, value: f64) {
        self.ledger.add(row, contender, metric, value);
        self.say(&format!("{row}, {contender}: {} {value:.3} {}", metric.label(), metric.unit()));
    }

    /// Ends what is left of a run.
    pub fn end(self) -> (Ledger, Vec<String>) {
        (self.ledger, self.notes)
    }
}

fn warm_up(contender: &Contender, image: &Payload) -> Result<()> {
    let address = contender.server.address;
    let outcome = (|| {
        pull::verify(address, &contender.data, image)?;
        if contender.records.is_empty() {
            return Ok(());
        }
        let listed = images::count(&mut Connection::to(address), IMAGES)?;
        if listed != IMAGES {
            return Err(Error::Answer(format!("{listed} images listed instead of {IMAGES}")));
        }
        Ask::new(|| Connection::to(address), &contender.records, ASKERS, WARM_UP)?.run().map(drop)
    })();
    outcome.map_err(|error| contender.server.explain(&error))
}

/// The directory of a run; removed with it.
#[derive(Debug)]
pub struct Work(PathBuf);

impl Work {
    /// Makes it.
    ///
    /// # Errors
    /// It exists, or cannot be made.
    pub fn make(path: PathBuf) -> Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).during(|| parent.display().to_string())?;
        }
        // Never a directory that exists: it is removed in the end.
        fs::create_dir(&path).during(|| path.display().to_string())?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
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

    #[test]
    fn cores_are_left_by_the_client() {
        let used = |client| Used { server: Duration::from_secs(5), client: Duration::from_millis(client), others: 0.0 };
        let wall = Duration::from_secs(3);
        assert_eq!(used(0).cores_left(2, wall), Some(2.0));
        assert_eq!(used(1500).cores_left(2, wall), Some(1.5));
        assert_eq!(used(1500).cores_left(1, wall), Some(0.5));
        // The kernel counts in ticks: a little more than there was.
        assert_eq!(used(6010).cores_left(2, wall), None);
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
