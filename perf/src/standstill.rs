//! Moments in which the whole machine stood still.
//!
//! A hypervisor that limits how much of its processors a virtual machine may use stops all of them at once, for tens of milliseconds of
//! every tenth of a second, and what it does for the machine's disks counts as use. Nobody inside can do anything about it, so that it
//! is no part of any server's latency.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{During, Error, Result};
use crate::priority;

/// How often each core is looked at.
const PERIOD: Duration = Duration::from_millis(1);
/// A look that comes so much later than the one before found its core stopped, or in a system call of somebody's.
const LATE: Duration = Duration::from_millis(3);

/// From one moment to another.
pub type Span = Range<Instant>;

/// A look at every core, every millisecond.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    cores: Vec<JoinHandle<Result<Vec<Span>>>>,
}

impl Watch {
    /// Starts to look, in the real-time class where this user may; without it nothing is found.
    ///
    /// # Errors
    /// The cores cannot be told.
    pub fn start() -> Result<Self> {
        let allowed = sched_getaffinity(None).during(|| "cores of this process")?;
        let stop = Arc::new(AtomicBool::new(false));
        let cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let cores = cores.map(|core| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || look(core, &stop))
        });
        Ok(Self { cores: cores.collect(), stop })
    }

    /// When all cores stood still.
    ///
    /// # Errors
    /// A core could not be looked at.
    pub fn finish(self) -> Result<Vec<Span>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut common: Option<Vec<Span>> = None;
        for core in self.cores {
            let late = core.join().unwrap_or_else(|_| Err(Error::Setup("a watcher panicked".into())))?;
            common = Some(match common {
                Some(common) => intersection(&common, &late),
                None => late,
            });
        }
        Ok(common.unwrap_or_default())
    }
}

fn look(core: usize, stop: &AtomicBool) -> Result<Vec<Span>> {
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).during(|| "pinning a watcher")?;
    let mut late = Vec::new();
    if !priority::take_precedence() {
        return Ok(late);
    }
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(PERIOD);
        let now = Instant::now();
        if now - last > LATE {
            late.push(last..now);
        }
        last = now;
    }
    Ok(late)
}

fn intersection(left: &[Span], right: &[Span]) -> Vec<Span> {
    let both = |left: &Span| {
        let left = left.clone();
        right.iter().map(move |right| left.start.max(right.start)..left.end.min(right.end))
    };
    left.iter().flat_map(both).filter(|span| !span.is_empty()).collect()
}

/// How long `span` took, without the time in which the machine stood `still`.
pub fn without(span: &Span, still: &[Span]) -> Duration {
    let stood: Duration = intersection(std::slice::from_ref(span), still).iter().map(length).sum();
    length(span).saturating_sub(stood)
}

/// How long it took.
pub fn length(span: &Span) -> Duration {
    span.end - span.start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_cores_saw_is_taken_off() {
        let zero = Instant::now();
        let span = |from: u64, to: u64| zero + Duration::from_millis(from)..zero + Duration::from_millis(to);
        let still = intersection(&[span(0, 10), span(100, 140)], &[span(20, 30), span(105, 120), span(130, 150)]);
        assert_eq!(still, [span(105, 120), span(130, 140)]);
        let still = [span(105, 140)];
        assert_eq!(without(&span(100, 141), &still), Duration::from_millis(6));
        assert_eq!(without(&span(110, 120), &still), Duration::ZERO);
        assert_eq!(without(&span(0, 30), &still), Duration::from_millis(30));
    }

    #[test]
    fn a_watch_ends() {
        let watch = Watch::start().expect("cores");
        thread::sleep(Duration::from_millis(20));
        watch.finish().expect("spans");
    }
}
