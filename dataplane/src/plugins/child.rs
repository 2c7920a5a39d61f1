//! A program that deals with data nobody trusts: limited in memory, processor time, file size and time, in the files that it reaches and in its environment,
//! and gone when this process is.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::config::ConversionLimits;
use signal_hook::consts::signal::SIGXCPU;

use super::{Failure, Files, Stop};

/// Our own binary, whose hidden command sets the limits and then becomes the program.
const CONFINER: &str = "/proc/self/exe";

/// Pause between two looks at a program that runs.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a program's output, and of its complaints, that are read; one that says more is ended by it.
const SAID_BYTES_MAX: u64 = 256 * 1024;

/// What a program came to that was not stopped.
#[derive(Debug)]
pub(super) enum Ended {
    /// It went well, and said this.
    Well(Vec<u8>),
    /// It did not, and complained so.
    Badly(String),
    /// It took too long, of the clock or of the processor.
    Late,
}

/// Runs `program` and waits for its end. It reaches the source of `files`, their target if it `writes`, and no network.
///
/// # Errors
/// [`Failure::Broken`] when it cannot be started, [`Failure::Stopped`].
pub(super) fn run(
    program: &Path,
    arguments: &[OsString],
    limits: &ConversionLimits,
    files: &Files,
    writes: bool,
    stop: &Stop,
) -> Result<Ended, Failure> {
    let mut command = Command::new(CONFINER);
    command
        .arg0("vitrine")
        .arg("confine")
        .arg(format!("--parent={}", std::process::id()))
        .arg(format!("--memory-bytes={}", limits.memory_bytes))
        .arg(format!("--cpu-seconds={}", limits.cpu.as_secs()))
        .arg(format!("--file-bytes={}", files.size_max))
        .arg("--read")
        .arg(&files.source);
    if writes {
        command.arg("--write").arg(&files.target);
    }
    let mut child = command
        .arg("--")
        .arg(program)
        .args(arguments)
        .env_clear()
        .envs([("LC_ALL", "C"), ("MALLOC_ARENA_MAX", "2")])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let said = scope.spawn(move || read(stdout));
        let complaint = scope.spawn(move || read(stderr));
        // Whatever came of it, the child is gone after this, and with it the other ends of the pipes.
        let status = wait(&mut child, limits.time, stop);
        let (said, complaint) = (said.join().unwrap_or_default(), complaint.join().unwrap_or_default());
        let Some(status) = status? else { return Ok(Ended::Late) };
        let complaint = String::from_utf8_lossy(&complaint).into_owned();
        Ok(match status.code() {
            Some(0) => Ended::Well(said),
            None if status.signal() == Some(SIGXCPU) => Ended::Late,
            _ => Ended::Badly(format!("{status}: {}", complaint.trim())),
        })
    })
}

/// Waits for the end of the child, which it brings about when that is late or stopped; `None`: it was late.
fn wait(child: &mut Child, time: Duration, stop: &Stop) -> Result<Option<ExitStatus>, Failure> {
    let begun = Instant::now();
    loop {
        let outcome = match child.try_wait() {
            Ok(Some(status)) => return Ok(Some(status)),
            Ok(None) if begun.elapsed() >= time => Ok(None),
            Ok(None) => stop.check().map(|()| None),
            Err(error) => Err(error.into()),
        };
        if outcome.is_err() || begun.elapsed() >= time {
            let _ = child.kill();
            let _ = child.wait();
            return outcome;
        }
        thread::sleep(LOOK_PAUSE);
    }
}

/// The beginning of what comes out of a pipe, to its end or to the bound; then the pipe is closed.
fn read(pipe: Option<impl Read>) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(pipe) = pipe {
        let _: io::Result<usize> = pipe.take(SAID_BYTES_MAX).read_to_end(&mut said);
    }
    said
}
