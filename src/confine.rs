//! What stands between the data plane and a program that deals with data nobody trusts: the process limits itself, then becomes
//! the program.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
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

/// The newest interface of Landlock that is made use of. An older kernel does as much of it as it can.
const LANDLOCK: ABI = ABI::V6;

/// What programs are made of, and what their libraries ask about the machine; no data and no secret is there.
const SYSTEM: [&str; 13] = [
    "/usr",
    "/bin",
    "/lib",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/gnutls",
    "/etc/ssl/openssl.cnf",
    "/etc/localtime",
    "/proc/self",
    "/proc/sys",
    "/sys/devices/system",
    "/dev/urandom",
];

/// Where programs throw things away.
const NULL: &str = "/dev/null";

/// Becomes the program; returns only if it cannot.
pub(crate) fn run(confine: &Confine) -> ExitCode {
    let Some((program, arguments)) = confine.command.split_first() else { return ExitCode::from(CANNOT_RUN) };
    let limited = limit(confine).map_err(|error| error.to_string());
    let failure = match limited.and_then(|()| shut_in(confine, program.as_ref()).map_err(|error| error.to_string())) {
        Ok(()) => Command::new(program).args(arguments).exec().to_string(),
        Err(error) => format!("its limits cannot be set: {error}"),
    };
    eprintln!("vitrine: {} cannot be run: {failure}", program.display());
    ExitCode::from(CANNOT_RUN)
}

/// Leaves the program the files that it works on, and no network.
fn shut_in(confine: &Confine, program: &Path) -> Result<(), RulesetError> {
    let write = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, AccessFs::from_read(LANDLOCK)))?
        .add_rules(path_beneath_rules([program], AccessFs::ReadFile | AccessFs::Execute))?
        .add_rules(path_beneath_rules(&confine.read, AccessFs::ReadFile))?
        .add_rules(path_beneath_rules(&confine.write, write))?
        .add_rules(path_beneath_rules([NULL], write))?
        .restrict_self()?;
    Ok(())
}

fn limit(confine: &Confine) -> io::Result<()> {
    // It ends with the thread that started it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Pid::from_raw(confine.parent) {
        return Err(io::Error::other("who started it is gone"));
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
