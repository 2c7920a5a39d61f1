//! Open files are a bound of the machine that no option of ours can lift. The last of them are kept for operators and for
//! the way to control: work that would take them is turned away, and the server says that it is not ready.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The part of all descriptors that is kept back, and its bounds.
const RESERVE_DIVISOR: u64 = 8;
const RESERVE_MIN: u64 = 24;
const RESERVE_MAX: u64 = 1024;

/// Descriptors that a new client's transfer takes: its own, and a file's for the ring and for the pool.
pub(crate) const PER_TRANSFER: u64 = 3;

/// How many descriptors this process may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors {
    /// From this number on they are kept back.
    reserved_from: u64,
}

impl Descriptors {
    /// Raises the soft limit of open files to the hard one: the soft one protects programs that use `select`. Warns when
    /// `connections_max` connections are more than it allows.
    pub(crate) fn raise(connections_max: usize) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        let ours = Descriptors::of(current);
        if ours.reserved_from < connections_max as u64 {
            tracing::warn!(
                "RLIMIT_NOFILE is {}: too few for {connections_max} connections; raise it (LimitNOFILE= of the unit, \
                 `ulimit -Hn`), or lower `[dataplane] max_connections`",
                current.unwrap_or(u64::MAX)
            );
        }
        ours
    }

    /// Those of a process that may have `limit` of them; `None`: any number.
    fn of(limit: Option<u64>) -> Self {
        let reserved_from = limit
            .map_or(u64::MAX, |limit| limit.saturating_sub((limit / RESERVE_DIVISOR).clamp(RESERVE_MIN, RESERVE_MAX)));
        Descriptors { reserved_from }
    }

    /// Whether a descriptor that was just made is one of those that are kept back. The kernel gives the lowest free
    /// number, so all below it are taken.
    pub(crate) fn is_reserved(self, made: &impl AsFd) -> bool {
        u64::try_from(made.as_fd().as_raw_fd()).is_ok_and(|number| number >= self.reserved_from)
    }

    /// Whether `more` descriptors cannot be made without those that are kept back.
    pub(crate) fn are_scarce(self, more: u64) -> bool {
        match rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 0) {
            Ok(made) => {
                let next = u64::try_from(made.as_raw_fd()).unwrap_or(u64::MAX);
                next.saturating_add(more) > self.reserved_from
            }
            Err(errno) => matches!(errno, Errno::MFILE | Errno::NFILE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_kept_back_and_never_all() {
        for (limit, from) in [(64, 40), (1024, 896), (20_000, 18_976), (10, 0)] {
            assert_eq!(Descriptors::of(Some(limit)).reserved_from, from, "{limit}");
        }
        assert!(!Descriptors::of(None).are_scarce(1000));
        assert!(!Descriptors::of(Some(100_000)).are_scarce(3));
        assert!(Descriptors::of(Some(100_000)).are_scarce(100_000));
        assert!(Descriptors::of(Some(3)).are_scarce(0));
    }
}
