//! What to compare, how often, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::size::{GIB, gib};

/// Servers to compare with each other. Vitrine is always one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Who {
    /// This project's.
    Vitrine,
    /// The best static file server, in a few settings.
    Nginx,
    /// OpenStack's own.
    Glance,
}

/// What to compare, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The servers.
    pub servers: Vec<Who>,
    /// Names of the scenarios and rows to measure; all if empty.
    pub only: Vec<String>,
    /// Vitrine's binary.
    pub vitrine: PathBuf,
    /// Vitrine's binary built without digests, if there is one.
    pub undigested: Option<PathBuf>,
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
    /// Whether everything is made so small that it only shows that the scenarios work: nothing is judged.
    pub quick: bool,
}

impl Default for Plan {
    /// Everything, as a full run does it, with binaries where they usually are.
    fn default() -> Self {
        Self {
            servers: vec![Who::Vitrine, Who::Nginx, Who::Glance],
            only: Vec::new(),
            vitrine: "target/release/vitrine".into(),
            undigested: None,
            nginx: "/usr/sbin/nginx".into(),
            glance: "glance".into(),
            work: "perf-work".into(),
            size: 2 * GIB,
            upload_size: GIB,
            rounds: 3,
            time: Duration::from_secs(3),
            busy_ok: false,
            keep_awake: true,
            quick: false,
        }
    }
}

impl Plan {
    /// Makes everything so small that all of it takes a few seconds.
    pub fn shrink(&mut self) {
        self.quick = true;
        self.size = 32 << 20;
        self.upload_size = 4 << 20;
        self.rounds = 1;
        self.time = Duration::from_millis(100);
        self.busy_ok = true;
        self.keep_awake = false;
    }

    /// `full`, or `small` in a run that only shows that it works.
    pub fn pick<T>(&self, full: T, small: T) -> T {
        if self.quick { small } else { full }
    }

    /// Whether a row of a scenario is to be measured: `--only` names scenarios, rows, or beginnings of rows.
    #[must_use]
    pub fn wants(&self, scenario: &str, row: &str) -> bool {
        let named = |name: &String| name == scenario || row.starts_with(name.as_str());
        self.only.is_empty() || self.only.iter().any(named)
    }

    /// Passes over the image that each of `connections` makes in one measured download. CPU time is counted in ticks of 10 ms:
    /// 8 GiB take more than a hundred of them.
    #[must_use]
    pub fn passes(&self, connections: usize) -> usize {
        let least = self.pick(8 * GIB, self.size);
        usize::try_from(least.div_ceil(self.size.saturating_mul(connections as u64))).unwrap_or(1).max(1)
    }

    /// The conditions in words.
    #[must_use]
    pub fn method(&self) -> String {
        format!(
            "image {:.2} GiB (one file), uploads of {:.2} GiB; {} rounds, servers in turn; over loopback; cores {} from sleeping{}",
            gib(self.size),
            gib(self.upload_size),
            self.rounds,
            if self.keep_awake { "kept" } else { "not kept" },
            self.pick("", "; QUICK RUN, only to see that it works")
        )
    }
}
