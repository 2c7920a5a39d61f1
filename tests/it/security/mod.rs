//! What comes in that is not a clean request of a patient client: every row of the catalogue of HTTP robustness cases
//! (R request lines, H headers, F framing, G ranges, D slow, greedy and hostile clients) is a test with its id in the
//! name, on raw sockets. Inputs are sent whole, cut in two at every byte, and a byte at a time, and must be answered
//! alike however they arrive ([`cases`]); answers are read by a parser that knows nothing of the server
//! ([`transcript`]).

mod bodies;
mod cases;
mod conditional;
mod flood;
mod framing;
mod headers;
mod limits;
mod pipelines;
mod ranges;
mod request_lines;
mod resets;
mod sockets;
mod transcript;

use std::sync::{Arc, Mutex, Weak};

use crate::harness::Server;
use crate::harness::server::Options;

/// A server with its defaults that the tests of this module share while any of them runs.
fn shared() -> Arc<Server> {
    static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut server = SERVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    server.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Server::ours(Options::default()));
        *server = Arc::downgrade(&started);
        started
    })
}

/// Descriptors that the data plane has open.
fn open_descriptors(server: &Server) -> usize {
    let plane = server.wait_plane("dataplane");
    std::fs::read_dir(format!("/proc/{}/fd", plane.as_raw_nonzero())).map_or(0, Iterator::count)
}

/// Bytes of the data plane that are in memory.
fn resident_bytes(server: &Server) -> u64 {
    let plane = server.wait_plane("dataplane");
    let status = std::fs::read_to_string(format!("/proc/{}/status", plane.as_raw_nonzero())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}

/// Asserts that no task of the server panicked so far.
#[track_caller]
fn assert_no_panic(server: &Server) {
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
}
