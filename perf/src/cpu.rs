//! CPU time of processes, from `/proc/PID/stat` (proc_pid_stat(5)).
//!
//! A server is a tree: launcher, planes, workers, helpers that come and go. Its cost is the user and system time of
//! every live process of the tree plus what each has inherited from children it has reaped, so the sum never falls
//! while the tree lives. The kernel counts in ticks (usually 10 ms): work worth measuring must take many of them.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::error::{During, Error, Result};

/// What one line of `/proc/PID/stat` says about time and descent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Process id.
    pub pid: u32,
    /// Id of the parent process.
    pub parent: u32,
    /// User and system time of all its threads, dead ones included, in ticks.
    pub own: u64,
    /// User and system time of reaped children, in ticks.
    pub reaped: u64,
}

impl Stat {
    /// Reads a line of `/proc/PID/stat`; `None` if it is not one.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        // The second field is the command in parentheses and may itself hold spaces and parentheses.
        let (pid, rest) = line.split_once(" (")?;
        let (_, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered from 1 in the manual page; `fields[0]` is its field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            pid: pid.parse().ok()?,
            parent: u32::try_from(field(4)?).ok()?,
            own: field(14)?.checked_add(field(15)?)?,
            reaped: field(16)?.checked_add(field(17)?)?,
        })
    }
}

/// CPU time so far of process `root` and all its descendants, reaped ones included.
///
/// # Errors
/// `/proc` cannot be read, or the process is gone.
pub fn tree(root: u32) -> Result<Duration> {
    let all = processes()?;
    let members = descendants(&all, root);
    if members.is_empty() {
        return Err(Error::Setup(format!("process {root} is gone")));
    }
    let ticks = members.iter().map(|stat| stat.own.saturating_add(stat.reaped));
    Ok(from_ticks(ticks.fold(0, u64::saturating_add)))
}

/// Process `root` and its live descendants, the root first.
///
/// # Errors
/// `/proc` cannot be read.
pub fn members(root: u32) -> Result<Vec<u32>> {
    let all = processes()?;
    Ok(descendants(&all, root).iter().map(|stat| stat.pid).collect())
}

/// CPU time so far of this process, its children not included.
///
/// # Errors
/// `/proc/self/stat` cannot be read.
pub fn own() -> Result<Duration> {
    let path = "/proc/self/stat";
    let line = fs::read_to_string(path).during(|| path)?;
    let stat = Stat::parse(&line).ok_or_else(|| Error::Setup(format!("{path} is not understood")))?;
    Ok(from_ticks(stat.own))
}

/// Ticks of the kernel's accounting as a duration.
#[must_use]
pub fn from_ticks(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

/// Every process of the machine that could be read; those that end meanwhile are left out.
fn processes() -> Result<Vec<Stat>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").during(|| "/proc")? {
        let entry = entry.during(|| "/proc")?;
        let numbered = entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        if !numbered {
            continue;
        }
        if let Ok(line) = fs::read_to_string(entry.path().join("stat")) {
            all.extend(Stat::parse(&line));
        }
    }
    Ok(all)
}

fn descendants(all: &[Stat], root: u32) -> Vec<Stat> {
    let mut children: HashMap<u32, Vec<Stat>> = HashMap::new();
    for stat in all {
        children.entry(stat.parent).or_default().push(*stat);
    }
    let mut found: Vec<Stat> = all.iter().filter(|stat| stat.pid == root).copied().collect();
    let mut next = 0;
    while next < found.len() {
        // Taken out, so that a table read while ids are reused cannot send this round in circles.
        found.extend(children.remove(&found[next].pid).unwrap_or_default());
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    fn stat(pid: u32, parent: u32) -> Stat {
        Stat { pid, parent, own: 1, reaped: 0 }
    }

    #[test]
    fn reads_a_line_with_an_awkward_command() {
        let line = "812 (a) R (b) S 7 812 812 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 5 0 99 1 2";
        assert_eq!(Stat::parse(line), Some(Stat { pid: 812, parent: 7, own: 200, reaped: 50 }));
    }

    #[test]
    fn refuses_what_is_no_such_line() {
        for line in ["", "812", "812 (x) S 7", "x (x) S 7 1 1 0 -1 0 1 2 3 4 5 6 7 8 20"] {
            assert_eq!(Stat::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_tree_is_the_root_and_its_descendants_only() {
        let all = [stat(1, 0), stat(5, 1), stat(6, 5), stat(7, 6), stat(8, 1)];
        let pids: Vec<u32> = descendants(&all, 5).iter().map(|stat| stat.pid).collect();
        assert_eq!(pids, [5, 6, 7]);
        assert!(descendants(&all, 99).is_empty());
    }

    #[test]
    fn a_table_with_a_ring_ends() {
        let all = [stat(5, 6), stat(6, 5)];
        assert!(descendants(&all, 5).len() <= 3);
    }

    #[test]
    fn the_work_of_a_reaped_grandchild_counts() -> std::io::Result<()> {
        // The shell waits for its child, which counts for a few tenths of a second, and then for its standard input.
        let script = "(i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done); read -r _";
        let mut shell = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let begin = Instant::now();
        let mut seen = Duration::ZERO;
        while seen < Duration::from_millis(100) && begin.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(50));
            seen = tree(shell.id()).unwrap_or_default();
        }
        shell.kill()?;
        shell.wait()?;
        assert!(seen >= Duration::from_millis(100), "{seen:?}");
        assert!(tree(shell.id()).is_err());
        Ok(())
    }
}
