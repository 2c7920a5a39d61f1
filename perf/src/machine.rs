//! The machine a figure was made on, and whether anything else was at work on it.

use std::fs;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::cpu;
use crate::error::{During, Error, Result};

/// The share of all cores that others may use before a run is refused. The load average is only reported: it still
/// remembers the build a minute after it has ended.
const BUSY_MAX: f64 = 0.10;

/// The machine, as it stands in a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Model name of the processor.
    pub processor: String,
    /// Cores that this process may run on.
    pub cores: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Memory in bytes.
    pub memory: u64,
    /// Load averages over 1, 5 and 15 minutes, before the run.
    pub load: [f64; 3],
    /// Share of all cores that was in use before the run (0 to 1).
    pub busy: f64,
    /// Share of all cores that the hypervisor kept from this machine before the run (0 to 1).
    pub stolen: f64,
}

impl Machine {
    /// How long the machine is watched before a run.
    pub const WATCH: Duration = Duration::from_secs(3);

    /// Watches the machine for `time` and describes it.
    ///
    /// # Errors
    /// `/proc` cannot be read or understood.
    pub fn observe(time: Duration) -> Result<Self> {
        let before = Times::now()?;
        thread::sleep(time);
        let passed = Times::now()?.since(&before);
        let info = rustix::system::sysinfo();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").during(|| "/proc/cpuinfo")?;
        let loadavg = fs::read_to_string("/proc/loadavg").during(|| "/proc/loadavg")?;
        Ok(Self {
            processor: processor(&cpuinfo),
            cores: thread::available_parallelism().during(|| "number of cores")?.get(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            memory: (info.totalram as u64).saturating_mul(u64::from(info.mem_unit)),
            load: load(&loadavg).ok_or_else(|| Error::Setup("/proc/loadavg is not understood".into()))?,
            busy: passed.share(passed.busy),
            stolen: passed.share(passed.steal),
        })
    }

    /// Refuses a machine on which others are at work.
    ///
    /// # Errors
    /// More than a tenth of the cores was in use or stolen while the machine was watched.
    pub fn require_idle(&self) -> Result<()> {
        if !self.is_busy() {
            return Ok(());
        }
        Err(Error::Setup(format!(
            "the machine is busy: {:.0} % of its cores in use and {:.0} % stolen before the run (at most {:.0} % \
             allowed). Stop what else runs, or pass --busy-ok: the report then says so",
            self.busy * 100.0,
            self.stolen * 100.0,
            BUSY_MAX * 100.0
        )))
    }

    /// Whether others were at work on the machine while it was watched.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy + self.stolen > BUSY_MAX
    }

    /// One line for the head of a table.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{} cores of {}, {:.0} GiB, Linux {}; load average {:.2} {:.2} {:.2}; {:.0} % busy and {:.0} % stolen \
             before the run{}",
            self.cores,
            self.processor,
            crate::size::gib(self.memory),
            self.kernel,
            self.load[0],
            self.load[1],
            self.load[2],
            self.busy * 100.0,
            self.stolen * 100.0,
            if self.is_busy() { " (BUSY MACHINE, allowed by --busy-ok)" } else { "" }
        )
    }
}

/// CPU time of the whole machine, in ticks of all its cores, from the first line of `/proc/stat` (proc_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Work, in the kernel or outside.
    pub busy: u64,
    /// What the hypervisor gave to others.
    pub steal: u64,
    /// Everything, idle time included.
    pub all: u64,
}

impl Times {
    /// The times since the machine has started.
    ///
    /// # Errors
    /// `/proc/stat` cannot be read or understood.
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").during(|| "/proc/stat")?;
        Self::parse(&text).ok_or_else(|| Error::Setup("/proc/stat is not understood".into()))
    }

    /// Reads the text of `/proc/stat`; `None` if it is not that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let fields: Vec<u64> =
            line.split_ascii_whitespace().map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
        // Guest time, which may follow, is part of user time already.
        let [user, nice, system, _idle, _iowait, irq, softirq, steal] = *fields.first_chunk()?;
        let all = fields.iter().take(8).copied().fold(0, u64::saturating_add);
        let busy = [nice, system, irq, softirq].into_iter().fold(user, u64::saturating_add);
        Some(Self { busy, steal, all })
    }

    /// What has passed since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(before.busy),
            steal: self.steal.saturating_sub(before.steal),
            all: self.all.saturating_sub(before.all),
        }
    }

    /// `part` of these times as a share of all of it (0 to 1).
    #[must_use]
    pub fn share(&self, part: u64) -> f64 {
        if self.all == 0 { 0.0 } else { part as f64 / self.all as f64 }
    }

    /// The share of the machine (0 to 1) that was used or stolen by others than those who used `known` CPU time.
    #[must_use]
    pub fn foreign(&self, known: Duration) -> f64 {
        let taken = cpu::from_ticks(self.busy.saturating_add(self.steal));
        let all = cpu::from_ticks(self.all).as_secs_f64();
        if all > 0.0 { taken.saturating_sub(known).as_secs_f64() / all } else { 0.0 }
    }
}

fn processor(cpuinfo: &str) -> String {
    let value = |line: &str| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned());
    cpuinfo.lines().find_map(value).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn load(loadavg: &str) -> Option<[f64; 3]> {
    let values: Vec<f64> = loadavg.split_ascii_whitespace().take(3).filter_map(|v| v.parse().ok()).collect();
    values.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 900 50 800 7 3 5 35 60 0\ncpu0 1 2 3 4 5 6 7 8 9 0\nintr 5\n";

    #[test]
    fn reads_the_times_of_the_machine() {
        assert_eq!(Times::parse(STAT), Some(Times { busy: 1_058, steal: 35, all: 1_900 }));
        assert_eq!(Times::parse("cpu0 1 2 3 4 5 6 7 8\n"), None);
        assert_eq!(Times::parse("cpu  1 2 x 4 5 6 7 8\n"), None);
        assert_eq!(Times::parse("cpu  1 2 3\n"), None);
    }

    #[test]
    fn what_is_not_known_is_foreign() {
        let second = rustix::param::clock_ticks_per_second();
        let times = Times { busy: 5 * second, steal: second, all: 10 * second };
        assert!((times.foreign(Duration::from_secs(4)) - 0.2).abs() < 1e-9);
        assert!(times.foreign(Duration::from_secs(40)).abs() < 1e-9);
        assert!(Times { busy: 0, steal: 0, all: 0 }.foreign(Duration::ZERO).abs() < 1e-9);
    }

    #[test]
    fn reads_processor_and_load() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: Some CPU @ 2.5 GHz\n"), "Some CPU @ 2.5 GHz");
        assert_eq!(processor("nothing"), std::env::consts::ARCH);
        assert_eq!(load("0.50 0.25 1.00 1/99 1234\n"), Some([0.5, 0.25, 1.0]));
        assert_eq!(load("0.50 x"), None);
    }

    #[test]
    fn a_busy_machine_is_refused() {
        let mut machine = Machine {
            processor: "p".into(),
            cores: 2,
            kernel: "6".into(),
            memory: 1 << 30,
            load: [9.0, 9.0, 9.0],
            busy: 0.05,
            stolen: 0.01,
        };
        assert!(machine.require_idle().is_ok());
        assert!(!machine.line().contains("BUSY"));
        machine.stolen = 0.06;
        assert!(machine.require_idle().is_err());
        assert!(machine.line().contains("BUSY"));
    }
}
