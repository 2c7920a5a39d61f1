//! What a load costs the service, where that can be seen: a process of this machine and its children, or the service's
//! own metrics.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::place::Place;
use super::target::Target;
use super::url::Url;
use super::wire::Wire;
use crate::cpu::{self, Stat};
use crate::error::{Error, Result};

/// How long metrics may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// The sample of Prometheus' client libraries; one for each process or plane.
const PROCESS: &str = "process_cpu_seconds_total";
/// How long Vitrine's cores were not asleep. Counts busy waiting, so it is only told beside.
const BUSY: &str = "vitrine_dataplane_core_busy_seconds_total";

/// Something that tells CPU time.
#[derive(Debug)]
pub enum Meter {
    /// A process and its descendants.
    Process {
        /// The root of the tree.
        pid: u32,
        /// How it was found.
        found: String,
    },
    /// A page of metrics.
    Metrics(Box<Wire>),
    /// Nothing is seen.
    None,
}

impl Meter {
    /// What can be seen of a service: the process `pid`, or the metrics at `metrics`, or, if neither is given, the process
    /// that listens at the service's address, if that is one of this machine.
    ///
    /// # Errors
    /// What is given does not work.
    pub fn find(place: &Place, pid: Option<u32>, metrics: Option<&Url>) -> Result<Self> {
        if let Some(pid) = pid {
            cpu::tree(pid)?;
            return Ok(Self::Process { pid, found: format!("process {pid} and its children") });
        }
        if let Some(url) = metrics {
            let target = Target::new(url.clone(), None, PATIENCE)?;
            let mut wire = Wire::new(Arc::new(target), Arc::default(), Arc::default());
            if scrape(&mut wire, PROCESS).is_none() {
                return Err(Error::Setup(format!("{url} has no sample {PROCESS}")));
            }
            return Ok(Self::Metrics(Box::new(wire)));
        }
        let local = place.target.addresses().iter().all(|address| address.ip().is_loopback());
        let found = if local { listener(place.target.url.port) } else { None };
        Ok(found.map_or(Self::None, |pid| Self::Process {
            pid,
            found: format!("process {pid} and its children (it listens at port {})", place.target.url.port),
        }))
    }

    /// How the service is seen, if it is.
    #[must_use]
    pub fn source(&self) -> Option<String> {
        match self {
            Self::Process { found, .. } => Some(found.clone()),
            Self::Metrics(wire) => Some(format!("{PROCESS} of {}", wire.target().url)),
            Self::None => None,
        }
    }

    /// CPU seconds so far.
    pub fn read(&mut self) -> Option<f64> {
        match self {
            Self::Process { pid, .. } => cpu::tree(*pid).ok().map(|time| time.as_secs_f64()),
            Self::Metrics(wire) => scrape(wire, PROCESS),
            Self::None => None,
        }
    }

    /// Seconds so far in which the service's cores were not asleep, where it tells.
    pub fn read_busy(&mut self) -> Option<f64> {
        match self {
            Self::Metrics(wire) => scrape(wire, BUSY),
            _ => None,
        }
    }
}

/// The sum of all samples of this name.
fn scrape(wire: &mut Wire, name: &str) -> Option<f64> {
    let head = wire.request("GET", "", &[], None).ok()?;
    let body = wire.body(&head).ok()?;
    if head.status == 200 { sum(&String::from_utf8_lossy(&body), name) } else { None }
}

fn sum(text: &str, name: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
        rest.strip_prefix(' ')?.split_whitespace().next()?.parse::<f64>().ok()
    });
    let values: Vec<f64> = samples.collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// The process that listens at a TCP port of this machine: the oldest ancestor that runs the same program, since a
/// service is often a parent with children.
fn listener(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<String> = tables.iter().flat_map(|table| listening(table, port)).collect();
    let mut pid = fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let mut open = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        open.any(|fd| {
            fs::read_link(fd.path()).is_ok_and(|link| {
                let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
                inode.is_some_and(|inode| inodes.iter().any(|known| known == inode))
            })
        })
        .then_some(pid)
    })?;
    let program = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let parent = |pid: u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Stat::parse(&line).map(|stat| stat.parent)
    };
    while let Some(above) = parent(pid).filter(|above| *above > 1 && *above != std::process::id()) {
        if program(above).is_none() || program(above) != program(pid) {
            break;
        }
        pid = above;
    }
    Some(pid)
}

/// Inodes of the sockets that listen at `port`, of a table of `/proc/net/tcp` (proc(5)).
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let end = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(1).is_some_and(|local| local.ends_with(&end)) && row.get(3) == Some(&LISTEN))
        .filter_map(|row| row.get(9).map(|inode| (*inode).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_name_are_added_up() {
        let text = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total{plane=\"a b\"} 1.5\n\
                    process_cpu_seconds_total{plane=\"c\"} 2 1700000\nprocess_cpu_seconds_total_x 9\n";
        assert_eq!(sum(text, PROCESS), Some(3.5));
        assert_eq!(sum(text, BUSY), None);
        assert_eq!(sum("process_cpu_seconds_total 4e1\n", PROCESS), Some(40.0));
    }

    #[test]
    fn sockets_that_listen_are_found_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:244C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100\n\
             1: 0100007F:244C 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4343 1 0 100\n\
             2: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4444 1 0 100\n";
        assert_eq!(listening(table, 9292), ["4242"]);
    }

    #[test]
    fn our_own_listening_socket_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let found = listener(port).expect("a process");
        // This process, or a parent that runs the same program.
        assert!(cpu::members(found).expect("a tree").contains(&std::process::id()));
    }
}
