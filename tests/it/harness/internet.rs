//! An internet of a test's own: a network namespace in which every address leads to this machine, so that a server can listen on those
//! of clouds and private networks, and on public ones.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Makes all of both protocols' addresses local ones. It waits, so that the namespace is there to be entered.
const SCRIPT: &str = "ip link set lo up && ip route add local default dev lo && ip -6 route add local default dev lo && echo ready && read -r _";

/// Runs `test` in it: what it connects to, listens on and starts is in there, and nothing of this machine changes.
pub(crate) fn inside(test: impl FnOnce() + Send) {
    let begin = || {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is part of the system");
        let mut line = String::new();
        let _ = BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut line);
        assert_eq!(line, "ready\n", "tests/run runs as root, and installs iproute2");
        let namespace = File::open(format!("/proc/{}/ns/net", holder.id())).expect("it waits");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
        // The end of its input.
        drop(holder.stdin.take());
        let _ = holder.wait();
        test();
    };
    // A thread of its own: only it is moved, and what it starts.
    let ended = std::thread::scope(|scope| scope.spawn(begin).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
