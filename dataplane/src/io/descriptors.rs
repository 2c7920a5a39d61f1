//! Open files are a bound of the machine that no option of ours can lift. The last of them are kept for operators and for
//! the way to control: a client's connection or file that would take one is given up at once, so that the numbers above
//! the mark stay free, and a number below it that is free is really one that can be had.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The part of all descriptors that is kept back, and its bounds.
const RESERVE_DIVISOR: u64 = 8;
const RESERVE_MIN: u64 = 24;
const RESERVE_MAX: u64 = 1024;

/// Descriptors that a new client's transfer takes at most, some of them for a moment: a file, the two ends of a pipe, an upload's
/// mailboxes, a copy on the way to another core; and those of the next clients, who are to be told.
const PER_TRANSFER: u64 = 10;

/// From this number on they are kept back. Written once, at the start.
static RESERVED_FROM: AtomicU64 = AtomicU64::new(u64::MAX);

/// Raises the soft limit of open files to the hard one (the soft one protects programs that use `select`), and keeps the
/// last of them back. Warns when `connections_max` connections are more than that allows.
pub fn reserve_descriptors(connections_max: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let from = reserved_from(current);
    RESERVED_FROM.store(from, Relaxed);
    if from < connections_max as u64 {
        tracing::warn!(
            "RLIMIT_NOFILE is {}: too few for {connections_max} connections; raise it (LimitNOFILE= of the unit, \
             `ulimit -Hn`), or lower `[dataplane] max_connections`",
            current.unwrap_or(u64::MAX)
        );
    }
}

/// The first number that is kept back of a process that may have `limit` of them; `None`: any number.
fn reserved_from(limit: Option<u64>) -> u64 {
    limit.map_or(u64::MAX, |limit| limit.saturating_sub((limit / RESERVE_DIVISOR).clamp(RESERVE_MIN, RESERVE_MAX)))
}

/// Whether `made` took one of the descriptors that are kept back. The kernel gives the lowest free number.
pub fn is_reserved(made: &impl AsFd) -> bool {
    number(made) >= RESERVED_FROM.load(Relaxed)
}

/// Fails with `EMFILE` where [`is_reserved`] holds, as the kernel does when there are none.
pub(super) fn refuse_reserved(made: &impl AsFd) -> io::Result<()> {
    if is_reserved(made) { Err(Errno::MFILE.into()) } else { Ok(()) }
}

/// Whether one more transfer finds no descriptors but those that are kept back.
pub fn are_descriptors_scarce() -> bool {
    match rustix::io::fcntl_dupfd_cloexec(io::stderr(), 0) {
        Ok(next) => is_near_reserved(&next),
        Err(errno) => matches!(errno, Errno::MFILE | Errno::NFILE),
    }
}

/// Fails with `EMFILE` where a transfer, of which `first` is the first descriptor, would find them scarce. It asks nobody.
pub(super) fn refuse_scarce(first: &impl AsFd) -> io::Result<()> {
    if is_near_reserved(first) { Err(Errno::MFILE.into()) } else { Ok(()) }
}

fn is_near_reserved(first: &impl AsFd) -> bool {
    number(first).saturating_add(PER_TRANSFER) > RESERVED_FROM.load(Relaxed)
}

fn number(made: &impl AsFd) -> u64 {
    u64::try_from(made.as_fd().as_raw_fd()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_kept_back_and_never_all() {
        for (limit, from) in [(64, 40), (1024, 896), (20_000, 18_976), (10, 0)] {
            assert_eq!(reserved_from(Some(limit)), from, "{limit}");
        }
        assert_eq!(reserved_from(None), u64::MAX);
        assert!(!are_descriptors_scarce() && refuse_reserved(&io::stderr()).is_ok());
    }
}
