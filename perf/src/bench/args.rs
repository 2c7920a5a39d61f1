//! The command line of `vitrine bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::mix::{self, Mix};
use super::place::Wanted;
use super::schedule::{self, Arrival};
use super::store::StoreArgs;
use super::url::Url;
use crate::size;

/// Most requests at a time: each has a thread.
const CONCURRENCY_MAX: i64 = 4096;
/// Most connections.
const CONNECTIONS_MAX: i64 = 20_000;
/// Most rounds of one run.
const ROUNDS_MAX: i64 = 100;

/// Load an Image service, measure it, and compare
///
/// The endpoint is given as a URL, or found as other OpenStack clients find it: by --os-cloud and clouds.yaml, or by OS_*
/// variables. What the load needs is made on the service and deleted at the end, also after Ctrl-C.
#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Download images, whole or random ranges of them
    Pull {
        #[command(flatten)]
        sizes: Sizes,
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        run: Run,
    },
    /// Upload images: create, upload, verify, delete
    Push {
        #[command(flatten)]
        sizes: Sizes,
        #[command(flatten)]
        run: Run,
    },
    /// Download, upload and ask for metadata at once
    Mixed {
        /// Shares: pull, push, metadata, or show, list, create, patch, delete one by one
        #[arg(long, value_name = "NAME=WEIGHT,…", default_value = "pull=70,push=10,metadata=20", value_parser = Mix::parse)]
        mix: Mix,
        #[command(flatten)]
        sizes: Sizes,
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        run: Run,
    },
    /// Show, list, create, patch and delete images without data
    Metadata {
        /// Shares of show, list, create, patch, delete
        #[arg(long, value_name = "NAME=WEIGHT,…", default_value = "metadata=1", value_parser = Mix::parse)]
        mix: Mix,
        #[command(flatten)]
        run: Run,
    },
    /// Measure the stores of a configuration, without the service
    Store(Box<StoreArgs>),
    /// Compare two reports written by --json, and say whether they differ
    Compare {
        /// Report of the first run
        a: PathBuf,
        /// Report of the second run
        b: PathBuf,
    },
    /// Delete what earlier runs have left behind
    Clean {
        #[command(flatten)]
        place: PlaceArgs,
        /// Only images of this run
        #[arg(long, value_name = "ID", value_parser = run_id)]
        run: Option<String>,
        /// Only tell what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which service, and as whom.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// URL of the Image service [default: as OS_* variables or clouds.yaml say]
    #[arg(value_name = "ENDPOINT", value_parser = Url::parse)]
    place: Option<Url>,
    /// The same as an option
    #[arg(long, value_name = "URL", conflicts_with = "place", value_parser = Url::parse)]
    endpoint: Option<Url>,
    /// Cloud of clouds.yaml
    #[arg(long, value_name = "NAME", help_heading = "Who asks")]
    os_cloud: Option<String>,
    /// Send no token, whatever the environment says
    #[arg(long, conflicts_with = "os_cloud", help_heading = "Who asks")]
    no_auth: bool,
    /// Region of the endpoint in Keystone's catalog
    #[arg(long, value_name = "NAME", help_heading = "Who asks")]
    region: Option<String>,
    /// Interface of the endpoint in Keystone's catalog [default: public]
    #[arg(long, value_name = "NAME", help_heading = "Who asks")]
    interface: Option<String>,
    /// Do not check certificates
    #[arg(long, help_heading = "Who asks")]
    insecure: bool,
    /// Certificates to believe instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "Who asks")]
    cacert: Option<PathBuf>,
    /// How long the service may be silent within a request
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    timeout: Duration,
}

impl PlaceArgs {
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            endpoint: self.place.clone().or_else(|| self.endpoint.clone()),
            cloud: self.os_cloud.clone(),
            no_auth: self.no_auth,
            insecure: self.insecure,
            cacert: self.cacert.clone(),
            region: self.region.clone(),
            interface: self.interface.clone(),
            timeout: self.timeout,
        }
    }
}

/// How large images are.
#[derive(Debug, Args)]
pub(super) struct Sizes {
    /// Size of every image
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size::parse, help_heading = "Images")]
    size: u64,
    /// Several sizes, with weights if they are not asked for equally often: 1MiB=9,1GiB=1
    #[arg(long, value_name = "SIZE[=WEIGHT],…", conflicts_with = "size", help_heading = "Images")]
    sizes: Option<String>,
}

impl Sizes {
    pub(super) fn list(&self) -> Result<Vec<(u64, u64)>, String> {
        self.sizes.as_deref().map_or_else(|| Ok(vec![(self.size, 1)]), mix::sizes)
    }
}

/// What is downloaded.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// Images to make of each size, for downloads
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000), help_heading = "Images")]
    pub(super) images: u64,
    /// Download this image, which is there already, instead; may be repeated
    #[arg(long, value_name = "ID", value_parser = image_id, help_heading = "Images")]
    pub(super) image: Vec<String>,
    /// Download random ranges of this size instead of whole images
    #[arg(long, value_name = "SIZE", value_parser = size::parse, help_heading = "Images")]
    pub(super) range: Option<u64>,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Progress {
    /// A bar if standard error is a terminal, else nothing.
    Auto,
    /// A line every two seconds.
    Plain,
    /// Nothing.
    None,
}

/// What every load takes.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// Open loop: so many arrivals a second, whatever the service does (100, 100/s, 30/m) [default: closed loop]
    #[arg(long, value_name = "RATE", value_parser = schedule::rate, help_heading = "Load")]
    pub(super) rate: Option<f64>,
    /// Distances between arrivals
    #[arg(long, value_enum, default_value = "constant", requires = "rate", help_heading = "Load")]
    pub(super) arrival: Arrival,
    /// Give up arrivals that cannot begin within this time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = mix::duration, requires = "rate", help_heading = "Load")]
    pub(super) drop_after: Duration,
    /// Requests at a time, at most [default: 8, or as many as connections]
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=CONCURRENCY_MAX), help_heading = "Load")]
    concurrency: Option<u32>,
    /// Connections that carry them, in turn [default: as many as requests at a time]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX), help_heading = "Load")]
    connections: Option<u32>,
    /// How long is measured
    #[arg(long, short, value_name = "TIME", value_parser = some_time, help_heading = "Load")]
    duration: Option<Duration>,
    /// End after so many arrivals [default: no end but the duration's]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Load")]
    pub(super) count: Option<u64>,
    /// Load before the measurement begins [default: 1s, none with --count]
    #[arg(long, value_name = "TIME", value_parser = mix::duration, help_heading = "Load")]
    warmup: Option<Duration>,
    /// Begin with one connection and take this time to come to all
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = mix::duration, help_heading = "Load")]
    pub(super) ramp: Duration,
    /// How long requests on their way at the end may take to end
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = mix::duration, help_heading = "Load")]
    pub(super) grace: Duration,
    /// How often the measurement is repeated [default: 1, or 5 with --against]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=ROUNDS_MAX), help_heading = "Load")]
    rounds: Option<u32>,
    /// Seed of all that is random: data, choices, distances
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = "Load")]
    pub(super) seed: u64,
    /// Neither compare nor look at bytes: the leanest client
    #[arg(long, help_heading = "Images")]
    pub(super) no_verify: bool,
    /// Do not fail as long as no more than this share of the requests does, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, help_heading = "Outcome")]
    pub(super) errors_allowed: f64,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", help_heading = "Outcome")]
    pub(super) json: Option<PathBuf>,
    /// Write a page with plots
    #[arg(long, value_name = "FILE", help_heading = "Outcome")]
    pub(super) html: Option<PathBuf>,
    /// How progress is shown, on standard error
    #[arg(long, value_enum, default_value = "auto", help_heading = "Outcome")]
    pub(super) progress: Progress,
    /// Process of the service, whose CPU time counts with that of its children [default: who listens, on this machine]
    #[arg(long, value_name = "PID", help_heading = "Outcome")]
    pub(super) server_pid: Option<u32>,
    /// Page of metrics (Prometheus) that tells the service's CPU time
    #[arg(long, value_name = "URL", conflicts_with = "server_pid", value_parser = Url::parse, help_heading = "Outcome")]
    pub(super) metrics: Option<Url>,
    #[command(flatten)]
    pub(super) against: Against,
}

/// A second endpoint, in turn with the first.
#[derive(Debug, Args)]
#[command(next_help_heading = "Comparison")]
pub(super) struct Against {
    /// A second endpoint: both take turns (A B A B …), and the report says whether they differ
    #[arg(id = "against", long = "against", value_name = "URL", value_parser = Url::parse)]
    pub(super) endpoint: Option<Url>,
    /// Cloud of the second endpoint [default: who asks the first asks the second]
    #[arg(id = "against_cloud", long = "against-cloud", value_name = "NAME")]
    pub(super) cloud: Option<String>,
    /// Process of the second endpoint
    #[arg(id = "against_server_pid", long = "against-server-pid", value_name = "PID")]
    pub(super) server_pid: Option<u32>,
    /// Page of metrics of the second endpoint
    #[arg(id = "against_metrics", long = "against-metrics", value_name = "URL", value_parser = Url::parse, conflicts_with = "against_server_pid")]
    pub(super) metrics: Option<Url>,
}

impl Against {
    pub(super) fn is_given(&self) -> bool {
        self.endpoint.is_some() || self.cloud.is_some()
    }
}

impl Run {
    /// Requests at a time, and connections.
    pub(super) fn workers(&self) -> Result<(usize, usize), String> {
        let workers = self.concurrency.or(self.connections.map(|most| most.min(4096))).unwrap_or(8);
        let connections = self.connections.unwrap_or(workers);
        if connections < workers {
            return Err(format!("--connections {connections} cannot carry --concurrency {workers}"));
        }
        Ok((workers as usize, connections as usize))
    }

    /// How long is measured: without a word ten seconds, or an hour at most if a count ends it.
    pub(super) fn duration(&self) -> Duration {
        self.duration.unwrap_or(Duration::from_secs(if self.count.is_some() { 3600 } else { 10 }))
    }

    pub(super) fn warmup(&self) -> Duration {
        self.warmup.unwrap_or(Duration::from_secs(u64::from(self.count.is_none())))
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.against.is_given() { 5 } else { 1 })
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    mix::duration(text).and_then(|time| {
        if time < Duration::from_secs(1) { Err(format!("'{text}' is shorter than a second")) } else { Ok(time) }
    })
}

fn some_time(text: &str) -> Result<Duration, String> {
    mix::duration(text).and_then(|time| {
        if time < Duration::from_millis(100) { Err(format!("'{text}' is shorter than 100ms")) } else { Ok(time) }
    })
}

fn image_id(text: &str) -> Result<String, String> {
    let fine = (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if fine { Ok(text.to_owned()) } else { Err(format!("'{text}' is no id of an image: letters, digits and -")) }
}

fn run_id(text: &str) -> Result<String, String> {
    let fine = (1..=32).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric());
    if fine { Ok(text.to_owned()) } else { Err(format!("'{text}' is no id of a run: letters and digits")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        bench: Bench,
    }

    fn parse(line: &str) -> Result<Bench, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.bench)
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn both_endpoints_keep_their_own_options() {
        let line = "bench pull http://a:1 --server-pid 7 --against http://b:2 --against-server-pid 8 --size 1MiB";
        let Command::Pull { run, sizes, .. } = parse(line).expect("a command line").command else {
            panic!("another command")
        };
        assert_eq!(run.place.wanted().endpoint.map(|url| url.to_string()).as_deref(), Some("http://a:1"));
        assert_eq!(run.against.endpoint.as_ref().map(Url::to_string).as_deref(), Some("http://b:2"));
        assert_eq!((run.server_pid, run.against.server_pid), (Some(7), Some(8)));
        assert_eq!((run.rounds(), run.workers(), sizes.list()), (5, Ok((8, 8)), Ok(vec![(1 << 20, 1)])));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "bench pull http://a:1 --endpoint http://b:1",
            "bench pull http://a:1 --arrival poisson",
            "bench pull http://a:1 --no-auth --os-cloud x",
            "bench pull http://a:1 --size 1 --sizes 2",
            "bench push http://a:1 --range 1MiB",
            "bench metadata http://a:1 --size 1MiB",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
