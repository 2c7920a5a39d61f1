//! Resident memory of processes, and how many files this one may open.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cpu;
use crate::error::{During, Error, Result};

/// Resident bytes of process `root` and all its descendants: the sum of their proportional set sizes, in which a page that several share
/// counts once.
///
/// # Errors
/// The process is gone, or belongs to another user.
pub fn of_tree(root: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in cpu::members(root)? {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = match fs::read_to_string(&path) {
            // One that ends just now has nothing any more.
            Err(error) if pid != root && error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.during(|| path.clone())?,
        };
        sum += proportional(&text).ok_or_else(|| Error::Setup(format!("{path} is not understood")))?;
    }
    if sum == 0 { Err(Error::Setup(format!("process {root} is gone"))) } else { Ok(sum) }
}

/// The line `Pss:` of `/proc/PID/smaps_rollup` (proc_pid_smaps(5)), in bytes.
fn proportional(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Lets this process and those it starts open as many files as the system allows it.
///
/// # Errors
/// The system refuses, or allows fewer than `needed`.
pub fn raise_descriptors(needed: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .during(|| "RLIMIT_NOFILE")?;
    match limit.maximum {
        Some(allowed) if allowed < needed => {
            Err(Error::Setup(format!("only {allowed} open files are allowed and {needed} needed: raise `ulimit -Hn`")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_proportional_size() {
        let text = "55e0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:    900 kB\nPss:                 321 kB\nPss_Dirty: 5 kB\n";
        assert_eq!(proportional(text), Some(321 * 1024));
        assert_eq!(proportional("Rss: 1 kB\n"), None);
    }

    #[test]
    fn this_process_has_some() -> Result<()> {
        assert!(of_tree(std::process::id())? > 100_000);
        Ok(())
    }
}
