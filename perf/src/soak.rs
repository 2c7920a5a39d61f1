//! Memory over a long time of mixed load: does it stay flat?

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::compare::context::{Context, Work};
use crate::compare::plan::Plan;
use crate::error::{Error, Result};
use crate::load::probe::Probe;
use crate::load::pull::Pull;
use crate::load::push::Push;
use crate::memory;
use crate::payload::Payload;
use crate::report::figure;

/// The load: whole downloads, connections that fetch ranges, uploads at a time.
const DOWNLOADS: usize = 4;
const RANGES: usize = 4;
const UPLOADS: usize = 2;
/// Size of each upload: several buffers, and thousands of them in an hour.
const UPLOAD: u64 = 32 << 20;
/// Samples of a run, and the shortest time between two.
const SAMPLES: u32 = 240;
const STEP_MIN: Duration = Duration::from_millis(500);
/// First part of a run that does not count: caches fill, and the allocator finds its size.
const WARM_UP: f64 = 0.25;
/// Growth after the warm-up that counts as flat, however long the run: the allocator's mood. A leak shows sooner or later.
const GROWTH_MAX_MIB: f64 = 6.0;

const MIB: f64 = 1_048_576.0;

/// What a soak has seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Soak {
    /// Seconds since the start and memory in MiB.
    pub samples: Vec<(f64, f64)>,
    /// Growth in MiB per hour after the warm-up: the median slope between any two samples.
    pub growth: f64,
    /// Whether memory stayed flat.
    pub flat: bool,
}

/// Runs a mixed load for `time` on a fresh server and watches its memory.
///
/// # Errors
/// The server does not start, or fails a request.
pub fn run(plan: &Plan, time: Duration, mut say: impl FnMut(&str)) -> Result<Soak> {
    memory::raise_descriptors(0)?;
    let work = Work::make(PathBuf::from(&plan.work))?;
    let mut quiet = |line: &str| say(line);
    let mut context = Context::new(plan, work.path(), &mut quiet)?;
    let contender = context.vitrine()?;
    let (address, size, data) = (contender.server.address, plan.size, contender.data.as_str());
    let upload = Payload::in_memory(UPLOAD)?;
    let probe = Probe { address, data: Some((data, size)), records: &contender.records };
    let stop = Arc::new(AtomicBool::new(false));
    let whole = Pull::whole(address, data, size, DOWNLOADS, 1)?.until(&stop);
    let ranges = Pull::ranges(address, data, size, RANGES, (1000, 1 << 20))?.until(&stop);
    let samples = thread::scope(|scope| {
        let loads = [
            scope.spawn(|| whole.run().map(drop)),
            scope.spawn(|| ranges.run().map(drop)),
            scope.spawn(|| probe.run(&stop).map(drop)),
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut push = Push::prepare(address, &upload, UPLOADS, Duration::ZERO)?;
                    push.run()?;
                    push.verify_and_delete()?;
                }
                Ok(())
            }),
        ];
        let samples =
            watch(contender.server.root(), time, &mut context, || loads.iter().any(|load| load.is_finished()));
        stop.store(true, Ordering::Relaxed);
        for load in loads {
            load.join().unwrap_or_else(|_| Err(Error::Setup("a load panicked".into())))?;
        }
        samples
    });
    let samples = samples.map_err(|error| contender.server.explain(&error))?;
    Ok(judge(samples))
}

fn watch(root: u32, time: Duration, context: &mut Context<'_>, failed: impl Fn() -> bool) -> Result<Vec<(f64, f64)>> {
    let step = (time / SAMPLES).max(STEP_MIN);
    let (begin, mut samples) = (Instant::now(), Vec::new());
    while begin.elapsed() < time && !failed() {
        thread::sleep(step);
        samples.push((begin.elapsed().as_secs_f64(), memory::of_tree(root)? as f64 / MIB));
        if samples.len() % 20 == 0 {
            let (at, memory) = samples[samples.len() - 1];
            context.say(&format!("soak: {at:.0} s, {memory:.1} MiB"));
        }
    }
    Ok(samples)
}

fn judge(samples: Vec<(f64, f64)>) -> Soak {
    let end = samples.last().map_or(0.0, |last| last.0);
    let counted: Vec<(f64, f64)> = samples.iter().copied().filter(|(at, _)| *at >= end * WARM_UP).collect();
    let slope = slope(&counted);
    let in_run = slope * end * (1.0 - WARM_UP);
    let growth = slope * 3600.0;
    Soak { flat: in_run <= GROWTH_MAX_MIB, samples, growth }
}

/// The median of the slopes between any two points (Theil and Sen): a few outliers do not move it.
fn slope(points: &[(f64, f64)]) -> f64 {
    let mut slopes: Vec<f64> = Vec::new();
    for (number, a) in points.iter().enumerate() {
        let later = points[number + 1..].iter().filter(|b| b.0 > a.0);
        slopes.extend(later.map(|b| (b.1 - a.1) / (b.0 - a.0)));
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

impl Soak {
    /// The verdict, a line that shows the course, and a few of the samples.
    #[must_use]
    pub fn text(&self) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        /// Characters of the line.
        const WIDTH: usize = 80;
        let highest = self.samples.iter().map(|sample| sample.1).fold(0.0, f64::max);
        let step = self.samples.len().div_ceil(WIDTH).max(1);
        let line: String = self
            .samples
            .iter()
            .step_by(step)
            .map(|(_, memory)| {
                let level = (1..BARS.len()).filter(|level| *level as f64 <= memory / highest * 7.0 + 0.5).count();
                BARS[level.min(BARS.len() - 1)]
            })
            .collect();
        let mut text = format!("memory, 0 to {} MiB:\n{line}\n", figure(highest));
        for (at, memory) in self.samples.iter().step_by(self.samples.len().div_ceil(10).max(1)) {
            let _ = writeln!(text, "{at:>8.0} s  {memory:>8.1} MiB");
        }
        let verdict = if self.flat { "flat" } else { "NOT FLAT" };
        let _ = write!(text, "growth after the warm-up: {} MiB/h: {verdict}", figure(self.growth));
        text
    }

    /// The course as a page of its own.
    #[must_use]
    pub fn html(&self) -> String {
        const WIDTH: f64 = 900.0;
        const HEIGHT: f64 = 300.0;
        let highest = self.samples.iter().map(|sample| sample.1).fold(1.0, f64::max);
        let end = self.samples.last().map_or(1.0, |last| last.0);
        let points: Vec<String> = self
            .samples
            .iter()
            .map(|(at, memory)| format!("{:.1},{:.1}", at / end * WIDTH, HEIGHT - memory / highest * HEIGHT))
            .collect();
        format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Vitrine: soak</title>\n\
             <h1>Memory over {end:.0} s</h1>\n<p>0 to {} MiB; growth {} MiB/h: {}</p>\n\
             <svg width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\"><polyline fill=\"none\" stroke=\"#3b76d1\" \
             stroke-width=\"2\" points=\"{}\"/></svg>\n</html>\n",
            figure(highest),
            figure(self.growth),
            if self.flat { "flat" } else { "not flat" },
            points.join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(seconds: u32, memory: impl Fn(f64) -> f64) -> Soak {
        judge((1..=seconds).map(|at| (f64::from(at), memory(f64::from(at)))).collect())
    }

    #[test]
    fn growth_at_the_beginning_and_spikes_are_flat() {
        let soak = course(200, |at| if at < 50.0 { at } else { 50.0 + if at % 20.0 == 0.0 { 30.0 } else { 0.0 } });
        assert!(soak.flat && soak.growth.abs() < 1e-9, "{}", soak.growth);
        assert!(soak.text().ends_with("flat") && soak.html().contains("polyline"));
    }

    #[test]
    fn a_leak_is_not_flat() {
        let soak = course(300, |at| 50.0 + at / 10.0);
        assert!(!soak.flat && (soak.growth - 360.0).abs() < 1.0, "{}", soak.growth);
        assert!(soak.text().ends_with("NOT FLAT"));
        assert!(!course(3600, |at| 50.0 + at * 10.0 / 3600.0).flat, "ten MiB in an hour");
        assert!(course(300, |at| 50.0 + at * 10.0 / 3600.0).flat, "less than one in five minutes");
    }

    #[test]
    fn nothing_is_flat() {
        assert!(judge(Vec::new()).flat);
    }
}
