//! Whose turn it is where client and server share the cores.
//!
//! A client on another machine takes no time from the server. Here it does: bulk clients give way to the servers, and what measures
//! latencies comes before everything, so that a latency is the server's and not the wait for a core.

use std::process::{Command, Stdio};

use rustix::process::setpriority_process;
use rustix::thread::gettid;

use crate::error::{During, Result};

/// How much a thread gives way: half of the way to the lowest priority.
const GIVE_WAY: i32 = 10;

/// How much a thread is preferred: half of the way to the highest priority.
const PREFER: i32 = -10;

/// Prefers the calling thread to servers and to those that give way, as far as this user may.
///
/// # Errors
/// None: a user who may not stays as they are.
pub fn prefer() -> Result<()> {
    let _ = setpriority_process(None, PREFER);
    Ok(())
}

/// Makes the calling thread give way to servers.
///
/// # Errors
/// The system refuses.
pub fn give_way() -> Result<()> {
    // On Linux this is of a thread; none given means the calling one (setpriority(2)).
    setpriority_process(None, GIVE_WAY).during(|| "giving way to servers")
}

/// Puts the calling thread before everything else; `false` if this user may not.
pub fn take_precedence() -> bool {
    let mut command = Command::new("chrt");
    command.args(["--fifo", "--pid", "1", &gettid().as_raw_nonzero().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
