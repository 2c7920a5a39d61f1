//! What stands between the data plane and a program that deals with data nobody trusts: the process limits itself, then becomes
//! the program.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, nice, set_parent_process_death_signal, setrlimit};

use crate::cli::Confine;

/// Why the program did not come to run: what shells say.
const CANNOT_RUN: u8 = 127;

/// Open files that the program may have.
const OPEN_FILES_MAX: u64 = 256;

/// Seconds between the signal that the processor time is used up and the end.
const CPU_GRACE_SECONDS: u64 = 5;

/// How much the program stands back for the service.
const NICENESS: i32 = 10;

/// Becomes the program; returns only if it cannot.
pub(crate) fn run(confine: &Confine) -> ExitCode {
    let Some((program, arguments)) = confine.command.split_first() else { return ExitCode::from(CANNOT_RUN) };
    let failure = match limit(confine) {
        Ok(()) => Command::new(program).args(arguments).exec().to_string(),
        Err(error) => format!("its limits cannot be set: {error}"),
    };
    eprintln!("vitrine: {} cannot be run: {failure}", program.display());
    ExitCode::from(CANNOT_RUN)
}

fn limit(confine: &Confine) -> std::io::Result<()> {
    // It ends with the thread that started it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Pid::from_raw(confine.parent) {
        return Err(std::io::Error::other("who started it is gone"));
    }
    let limits = [
        (Resource::Core, 0, 0),
        (Resource::Nofile, OPEN_FILES_MAX, OPEN_FILES_MAX),
        (Resource::As, confine.memory_bytes, confine.memory_bytes),
        (Resource::Fsize, confine.file_bytes, confine.file_bytes),
        (Resource::Cpu, confine.cpu_seconds, confine.cpu_seconds.saturating_add(CPU_GRACE_SECONDS)),
    ];
    for (resource, current, maximum) in limits {
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    }
    nice(NICENESS)?;
    Ok(())
}
