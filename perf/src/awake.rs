//! Keeps virtual cores awake during a run.
//!
//! An idle virtual core is given back to the hypervisor, and waking it takes longer than many a request: a single
//! connection then measures wake-ups, not servers. A spinner of the idle scheduling class on each core prevents that
//! and gives way to any other process at once.

use std::env;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::getppid;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::cpu;
use crate::error::{During, Error, Result};

/// Name of the subcommand that [`Awake::start`] runs once for each core.
pub const SUBCOMMAND: &str = "spin";
/// Turns between two looks at whether the parent still lives: a few milliseconds.
const TURNS: u32 = 1 << 20;

/// The spinners of a run; they end with it.
#[derive(Debug)]
pub struct Awake(Vec<Child>);

impl Awake {
    /// Starts a spinner on each core, as the subcommand [`SUBCOMMAND`] of this very program.
    ///
    /// # Errors
    /// `chrt` (util-linux) cannot be run.
    pub fn start() -> Result<Self> {
        let program = env::current_exe().during(|| "path of this program")?;
        let cores = thread::available_parallelism().during(|| "number of cores")?.get();
        let mut awake = Self(Vec::with_capacity(cores));
        for core in 0..cores {
            let mut command = Command::new("chrt");
            command.args(["--idle", "0"]).arg(&program).args([SUBCOMMAND, &core.to_string()]);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            awake.0.push(command.spawn().during(|| "starting an idle-class spinner (chrt)")?);
        }
        Ok(awake)
    }

    /// CPU time so far of all spinners: time that the cores would have slept.
    ///
    /// # Errors
    /// A spinner is gone.
    pub fn cpu(&self) -> Result<Duration> {
        self.0.iter().map(|child| cpu::tree(child.id())).sum()
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // An error means that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Spins on one core until the parent process is gone.
///
/// # Errors
/// The machine has no such core.
pub fn spin(core: usize) -> Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(Error::Setup(format!("there is no core {core}")));
    }
    let mut cpus = CpuSet::new();
    cpus.set(core);
    sched_setaffinity(None, &cpus).during(|| format!("pinning to core {core}"))?;
    let parent = getppid();
    while getppid() == parent {
        for turn in 0..TURNS {
            std::hint::black_box(turn);
        }
    }
    Ok(())
}
