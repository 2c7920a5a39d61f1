//! Which kernel interface drives a core, and whether this machine allows it.

use std::fmt;
use std::io;

use rustix::io::Errno;

use super::buffer::BUFFER_BYTES;
use super::ring;

/// Entries of the submission queue used when the ring is tried at start.
const PREFLIGHT_ENTRIES: u32 = 256;

/// Completion queue entries per submission entry. Every connection keeps about one operation in flight, so completions come in
/// larger bursts than submissions.
const COMPLETIONS_PER_ENTRY: u32 = 4;

/// What drives a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring: receives, polls, file reads, writes and syncs are operations of one ring per core.
    Uring,
    /// epoll, for machines and containers where io_uring is forbidden; file operations go to the [`Offload`](super::Offload) pool.
    Epoll,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        })
    }
}

/// Why a driver cannot be used here. Displays as one line: cause, live value, remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    cause: String,
    remedy: String,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; remedy: {}", self.cause, self.remedy)
    }
}

impl std::error::Error for Diagnosis {}

/// Live values that tell one cause of a refused ring from another.
struct Facts {
    /// `kernel.io_uring_disabled`: 0 allowed, 1 privileged processes only, 2 nobody. `None` before Linux 6.6.
    disabled: Option<u32>,
    /// A seccomp filter is installed on this process.
    filtered: bool,
    /// Soft RLIMIT_MEMLOCK in bytes, `None` for unlimited.
    memlock: Option<u64>,
    /// Soft RLIMIT_NOFILE, `None` for unlimited.
    nofile: Option<u64>,
    release: String,
}

impl Facts {
    fn read() -> Self {
        use rustix::process::{Resource, getrlimit};
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        Self {
            disabled: disabled.and_then(|value| value.trim().parse().ok()),
            filtered: seccomp.is_some_and(|mode| mode.trim() != "0"),
            memlock: getrlimit(Resource::Memlock).current,
            nofile: getrlimit(Resource::Nofile).current,
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
        }
    }
}

/// The flags of every ring of ours: completions are run when the thread enters the kernel anyway instead of interrupting it,
/// and only the thread of the core submits.
pub(super) fn ring_builder(entries: u32) -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
    builder
        .setup_coop_taskrun()
        .setup_single_issuer()
        .setup_cqsize(entries.saturating_mul(COMPLETIONS_PER_ENTRY))
        .dontfork();
    builder
}

/// Proves that `driver` works on this machine with the flags that [`run_core`](super::run_core) uses.
///
/// # Errors
/// A [`Diagnosis`] that names the cause, its live value and the remedy.
pub fn preflight(driver: Driver) -> Result<(), Diagnosis> {
    match driver {
        Driver::Epoll => rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC)
            .map(drop)
            .map_err(|errno| diagnose("epoll cannot be set up", errno, &Facts::read())),
        Driver::Uring => try_ring().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            diagnose("an io_uring ring cannot be set up", errno, &Facts::read())
        }),
    }
}

/// Proves that `count` buffers can be pinned.
///
/// # Errors
/// A [`Diagnosis`] that names the limit on locked memory and the remedy.
pub fn preflight_pinning(count: usize) -> Result<(), Diagnosis> {
    ring::try_pinning(count).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let what = format!("{} bytes of buffers cannot be pinned", count.saturating_mul(BUFFER_BYTES));
        diagnose(&what, errno, &Facts::read())
    })
}

fn try_ring() -> io::Result<()> {
    let ring = ring_builder(PREFLIGHT_ENTRIES).build(PREFLIGHT_ENTRIES)?;
    let mut probe = io_uring::Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    use io_uring::opcode::{AsyncCancel, Close, Fsync, PollAdd, Read, ReadFixed, Recv, SendZc, Write, WriteFixed};
    let loops = [AsyncCancel::CODE, Close::CODE, PollAdd::CODE, Recv::CODE];
    let storage = [Fsync::CODE, Read::CODE, ReadFixed::CODE, SendZc::CODE, Write::CODE, WriteFixed::CODE];
    if !loops.iter().chain(&storage).all(|&code| probe.is_supported(code)) {
        return Err(Errno::NOSYS.into());
    }
    // Some filters let the ring be made and refuse to enter it.
    ring.submit().map(drop)
}

fn diagnose(what: &str, errno: Errno, facts: &Facts) -> Diagnosis {
    const EPOLL: &str = "`[dataplane] driver = epoll`";
    let kernel = &facts.release;
    let bytes = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{bytes} bytes"));
    let (cause, remedy) = match errno {
        Errno::NOSYS => (
            format!("kernel {kernel} has no io_uring, or lacks operations that are needed"),
            format!("Linux 6.1 or newer, or {EPOLL}"),
        ),
        Errno::PERM | Errno::ACCESS => match facts.disabled {
            Some(value @ (1 | 2)) => (
                format!("sysctl kernel.io_uring_disabled is {value}"),
                format!("set kernel.io_uring_disabled=0, or {EPOLL}"),
            ),
            _ if facts.filtered => (
                "a seccomp filter forbids io_uring (the default of Docker, containerd and Kubernetes)".to_owned(),
                format!(
                    "a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register, or {EPOLL}"
                ),
            ),
            _ => ("a security module forbids io_uring".to_owned(), format!("allow it for this service, or {EPOLL}")),
        },
        Errno::NOMEM => (
            format!("not enough lockable memory, RLIMIT_MEMLOCK is {}", bytes(facts.memlock)),
            format!(
                "raise it (LimitMEMLOCK= of the unit, `ulimit -l`), lower `[dataplane] pinned_memory_bytes`, or {EPOLL}"
            ),
        ),
        Errno::INVAL => (
            format!("kernel {kernel} does not know the ring flags COOP_TASKRUN and SINGLE_ISSUER"),
            format!("Linux 6.1 or newer, or {EPOLL}"),
        ),
        Errno::MFILE | Errno::NFILE => (
            format!(
                "no file descriptor left, RLIMIT_NOFILE is {}",
                facts.nofile.map_or("unlimited".into(), |n| n.to_string())
            ),
            "raise it (LimitNOFILE= of the unit, `ulimit -n`)".to_owned(),
        ),
        other => (format!("the kernel answers {other}"), EPOLL.to_owned()),
    };
    Diagnosis { cause: format!("{what}: {cause}"), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { disabled: Some(0), filtered: false, memlock: Some(65536), nofile: Some(256), release: "6.18.0".into() }
    }

    #[test]
    fn both_drivers_work_on_a_machine_that_runs_the_tests() {
        preflight(Driver::Epoll).unwrap();
        preflight(Driver::Uring).unwrap();
    }

    #[test]
    fn each_refusal_names_its_cause_its_live_value_and_the_remedy_in_one_line() {
        let line = |errno, facts: &Facts| diagnose("an io_uring ring cannot be set up", errno, facts).to_string();
        let disabled = Facts { disabled: Some(2), ..facts() };
        let filtered = Facts { filtered: true, ..facts() };
        let cases = [
            (line(Errno::NOSYS, &facts()), "kernel 6.18.0", "driver = epoll"),
            (line(Errno::PERM, &disabled), "kernel.io_uring_disabled is 2", "driver = epoll"),
            (line(Errno::PERM, &filtered), "seccomp", "driver = epoll"),
            (line(Errno::NOMEM, &facts()), "RLIMIT_MEMLOCK is 65536 bytes", "LimitMEMLOCK"),
            (line(Errno::INVAL, &facts()), "COOP_TASKRUN", "driver = epoll"),
            (line(Errno::MFILE, &facts()), "RLIMIT_NOFILE is 256", "LimitNOFILE"),
        ];
        for (line, cause, remedy) in cases {
            assert!(line.contains(cause) && line.contains(remedy), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
}
