//! `vitrine serve`: both planes as child processes, restarted when they die, stopped when we are told to.
//!
//! One loop takes every event: a line or the end of a plane, a signal. A plane that ends before it was ever ready ends
//! the launcher with its exit code; later it is restarted: at once if it had been ready, ever more slowly while it dies
//! before that.

use std::fs::DirBuilder;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use common::config::Config;
use common::policy::{Policy, PolicyError};
use common::protect::Protections;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::Options;
use crate::plane::{READY, scheme};
use crate::{FAILED, Failure, MISCONFIGURED};

/// The wait before a plane that died without being ready is started again; it doubles with each further time.
const RESTART_DELAY: Duration = Duration::from_millis(100);
/// The longest wait before a restart.
const RESTART_DELAY_MAX: Duration = Duration::from_secs(5);
/// How long the planes get to stop beyond their own drain time before they are killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Everything that wakes the launcher.
enum Event {
    /// A plane wrote a line to its standard output.
    Line(Plane, String),
    /// A plane's process ended.
    Ended(Plane, ExitStatus),
    /// We got a signal.
    Signal(i32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plane {
    Control,
    Dataplane,
}

impl Plane {
    fn name(self) -> &'static str {
        match self {
            Plane::Control => "control",
            Plane::Dataplane => "dataplane",
        }
    }
}

/// Starts both planes and keeps them running until a signal ends us.
pub(crate) fn run(config: &Config, options: &Options) -> Result<(), Failure> {
    check_policy(config)?;
    prepare(&config.paths.data_dir)?;
    let (sender, events) = mpsc::channel();
    watch_signals(sender.clone())?;
    let mut launcher = Launcher {
        options: options.clone(),
        control: Slot::new(),
        dataplane: Slot::new(),
        sender,
        announced: false,
        scheme: scheme(config),
        stop_by: None,
        drain: config.dataplane.drain,
        failure: None,
    };
    launcher.start(Plane::Control)?;
    launcher.start(Plane::Dataplane)?;
    launcher.supervise(&events)
}

/// Refuses files of policy and property protections that no plane would take, so that it is said once and before anything is
/// started.
fn check_policy(config: &Config) -> Result<(), Failure> {
    let refuse = |errors: Vec<PolicyError>| Failure {
        line: Some(format!("the policy cannot be used: {}", PolicyError::in_one_line(&errors))),
        code: MISCONFIGURED,
    };
    Policy::load(&config.policy).map_err(refuse)?;
    config.protections.as_ref().map(Protections::load).transpose().map_err(refuse)?;
    Ok(())
}

/// Makes the data directory, for its owner only: it holds the sockets through which the planes trust each other.
fn prepare(data_dir: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(|error| {
        format!("the data directory {} cannot be made: {error}; choose another with --data-dir", data_dir.display())
    })?;
    let probe = data_dir.join(".writable");
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).map_err(|error| {
        format!("the data directory {} is not writable: {error}; choose another with --data-dir", data_dir.display())
    })?;
    Ok(())
}

fn watch_signals(sender: Sender<Event>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if sender.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// A plane and what is known of its process.
struct Slot {
    pid: Option<Pid>,
    /// Held open: its end tells the plane that we are gone.
    _stdin: Option<ChildStdin>,
    ready: bool,
    ever_ready: bool,
    /// Starts in a row that ended before the plane was ready.
    failed_starts: u32,
    restart_at: Option<Instant>,
    /// The plane was to read its files again while it was starting.
    reload_due: bool,
}

impl Slot {
    fn new() -> Self {
        Slot {
            pid: None,
            _stdin: None,
            ready: false,
            ever_ready: false,
            failed_starts: 0,
            restart_at: None,
            reload_due: false,
        }
    }

    /// Has the plane read its files again: certificate, key and policy. One that is not ready would be ended by the signal.
    fn reload(&mut self) {
        match self.ready {
            true => self.signal(Signal::HUP),
            false => self.reload_due = true,
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            let _ = kill_process(pid, signal);
        }
    }
}

struct Launcher {
    options: Options,
    control: Slot,
    dataplane: Slot,
    sender: Sender<Event>,
    announced: bool,
    /// Of the URL that we announce.
    scheme: &'static str,
    /// Set once we are stopping: when the planes are killed.
    stop_by: Option<Instant>,
    drain: Duration,
    failure: Option<Failure>,
}

impl Launcher {
    fn slot(&mut self, plane: Plane) -> &mut Slot {
        match plane {
            Plane::Control => &mut self.control,
            Plane::Dataplane => &mut self.dataplane,
        }
    }

    fn start(&mut self, plane: Plane) -> Result<(), Failure> {
        let own_name = std::env::args_os().next().unwrap_or_else(|| "vitrine".into());
        // The very file that we run, also after it was replaced: both planes stay of one version.
        let mut child = Command::new("/proc/self/exe")
            .arg0(own_name)
            .arg(plane.name())
            .args(self.options.to_args())
            .arg("--supervised")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal goes to us alone: the planes are stopped in our order.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("the {} plane cannot be started: {error}", plane.name()))?;
        let slot = self.slot(plane);
        slot.pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        slot._stdin = child.stdin.take();
        slot.ready = false;
        slot.restart_at = None;
        let sender = self.sender.clone();
        std::thread::spawn(move || follow(plane, child, &sender));
        Ok(())
    }

    fn supervise(mut self, events: &Receiver<Event>) -> Result<(), Failure> {
        loop {
            match events.recv_timeout(self.next_wake()) {
                Ok(Event::Line(plane, line)) => self.on_line(plane, &line),
                Ok(Event::Ended(plane, status)) => self.on_end(plane, status),
                Ok(Event::Signal(SIGHUP)) => {
                    self.control.reload();
                    self.dataplane.reload();
                }
                Ok(Event::Signal(_)) => self.stop(),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.act_on_time()?;
            if self.stop_by.is_some() && self.control.pid.is_none() && self.dataplane.pid.is_none() {
                return self.failure.map_or(Ok(()), Err);
            }
        }
    }

    fn next_wake(&self) -> Duration {
        let deadlines = [self.control.restart_at, self.dataplane.restart_at, self.stop_by];
        let next = deadlines.into_iter().flatten().min();
        next.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()))
    }

    fn on_line(&mut self, plane: Plane, line: &str) {
        let mut words = line.split(' ');
        if words.next() != Some(READY) {
            return;
        }
        let slot = self.slot(plane);
        slot.ready = true;
        slot.ever_ready = true;
        if std::mem::take(&mut slot.reload_due) {
            slot.reload();
        }
        if plane == Plane::Dataplane {
            // A later data plane must take the very addresses that clients know, also where a port was left open.
            self.options.listen = words.next().and_then(|word| word.parse().ok()).or(self.options.listen);
            self.options.admin_listen = words.next().and_then(|word| word.parse().ok()).or(self.options.admin_listen);
        }
        if self.control.ready && self.dataplane.ready && !self.announced {
            self.announced = true;
            if let Some(listen) = self.options.listen {
                println!("vitrine: ready on {}://{listen}", self.scheme);
            }
        }
    }

    fn on_end(&mut self, plane: Plane, status: ExitStatus) {
        let stopping = self.stop_by.is_some();
        let slot = self.slot(plane);
        slot.pid = None;
        let was_ready = std::mem::take(&mut slot.ready);
        if stopping {
            return;
        }
        if !slot.ever_ready {
            // It has told why on standard error.
            let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
            let line = status.code().is_none().then(|| format!("the {} plane ended: {status}", plane.name()));
            self.failure = Some(Failure { line, code: code.unwrap_or(FAILED) });
            self.stop();
            return;
        }
        slot.failed_starts = if was_ready { 0 } else { slot.failed_starts.saturating_add(1) };
        let delay = match slot.failed_starts {
            0 => Duration::ZERO,
            count => RESTART_DELAY.saturating_mul(1 << (count - 1).min(16)).min(RESTART_DELAY_MAX),
        };
        slot.restart_at = Some(Instant::now() + delay);
        tracing::error!("the {} plane ended ({status}); restarting it in {} ms", plane.name(), delay.as_millis());
    }

    /// Asks both planes to stop; the control plane last, so that transfers that end meanwhile can be committed.
    fn stop(&mut self) {
        if self.stop_by.is_none() {
            self.stop_by = Some(Instant::now() + self.drain + STOP_GRACE);
            self.control.restart_at = None;
            self.dataplane.restart_at = None;
            self.dataplane.signal(Signal::TERM);
        }
    }

    fn act_on_time(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        if let Some(stop_by) = self.stop_by {
            if self.dataplane.pid.is_none() {
                self.control.signal(Signal::TERM);
            }
            if now >= stop_by {
                self.control.signal(Signal::KILL);
                self.dataplane.signal(Signal::KILL);
                self.stop_by = Some(now + STOP_GRACE);
            }
            return Ok(());
        }
        for plane in [Plane::Control, Plane::Dataplane] {
            if self.slot(plane).restart_at.is_some_and(|at| at <= now)
                && let Err(failure) = self.start(plane)
            {
                tracing::error!("{}", failure.line.unwrap_or_default());
                self.slot(plane).restart_at = Some(now + RESTART_DELAY_MAX);
            }
        }
        Ok(())
    }
}

/// Passes on what a plane writes, then its end.
fn follow(plane: Plane, mut child: Child, sender: &Sender<Event>) {
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(Event::Line(plane, line)).is_err() {
                return;
            }
        }
    }
    if let Ok(status) = child.wait() {
        let _ = sender.send(Event::Ended(plane, status));
    }
}
