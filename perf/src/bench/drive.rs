//! The load itself: workers that begin requests when the schedule says or when the last one has ended, never more of them
//! at a time than there are workers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::latency::Latency;
use super::ledger::{Kind, Ledger, Records, merge};
use super::schedule::{Arrival, Schedule};

/// An arrival that begins this much after its time counts as late.
const LATE: Duration = Duration::from_millis(10);
/// Longest sleep between two looks at whether the run was stopped.
const NAP: Duration = Duration::from_millis(100);
/// How often the clock thread looks.
const TICK: Duration = Duration::from_millis(25);
/// Most slices of a run; two and two become one when there are more.
const SLICES_MAX: usize = 80;
/// Shortest slice of a run.
const SLICE_MIN: Duration = Duration::from_millis(250);
/// Stack of a worker, in bytes: it needs a few buffers' worth of calls.
const STACK: usize = 512 * 1024;
/// Longest rest of a worker whose requests fail one after the other.
const REST_MAX: Duration = Duration::from_secs(1);

/// When requests begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each worker begins when its last request has ended.
    Closed,
    /// So many a second, whatever the service does.
    Open {
        /// Arrivals a second.
        rate: f64,
        /// Their distances.
        arrival: Arrival,
    },
}

/// The shape of a load.
#[derive(Debug, Clone)]
pub struct Shape {
    /// When requests begin.
    pub pace: Pace,
    /// Not measured before this.
    pub warmup: Duration,
    /// Measured for this long.
    pub duration: Duration,
    /// Ends after so many requests, those of the warm-up included.
    pub count: Option<u64>,
    /// Workers begin one after the other within this time.
    pub ramp: Duration,
    /// An arrival that cannot begin within this time is given up.
    pub drop_after: Duration,
    /// How long requests on their way at the end may take to end.
    pub grace: Duration,
    /// Seed of random distances.
    pub seed: u64,
}

/// What a worker does for one arrival.
pub trait Work: Send {
    /// Does it once. `intended` is when it should have begun. Returns whether it went well.
    fn once(&mut self, intended: Instant) -> bool;
}

/// Costs so far, where they can be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Costs {
    /// CPU seconds of the service.
    pub server: Option<f64>,
    /// CPU seconds of this process.
    pub client: f64,
}

/// A part of the measured time.
#[derive(Debug, Clone, Default)]
pub struct Slice {
    /// Its length in seconds.
    pub seconds: f64,
    /// Bytes of image data received in it.
    pub down: u64,
    /// Bytes of image data sent in it.
    pub up: u64,
    /// Costs in it.
    pub costs: Costs,
    /// Latencies of the requests that ended well in it.
    pub latency: BTreeMap<Kind, Latency>,
    /// Requests that failed in it.
    pub bad: u64,
}

impl Slice {
    fn merge(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.down += other.down;
        self.up += other.up;
        self.costs.client += other.costs.client;
        self.costs.server = self.costs.server.zip(other.costs.server).map(|(one, two)| one + two);
        for (kind, latency) in &other.latency {
            self.latency.entry(*kind).or_insert_with(|| Latency::default().coarse()).merge(latency);
        }
        self.bad += other.bad;
    }
}

/// What one run has measured.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Seconds from the end of the warm-up to the end of the load.
    pub seconds: f64,
    /// Every request that ended after the warm-up, those that ended after the load included.
    pub records: Records,
    /// The measured time in equal parts.
    pub slices: Vec<Slice>,
}

/// What is seen of a run while it goes on.
#[derive(Debug)]
pub struct View<'a> {
    /// Seconds since the start, the warm-up included.
    pub elapsed: f64,
    /// Whether it is the warm-up still.
    pub warming: bool,
    /// Whether the load has ended and only its last requests are waited for.
    pub ending: bool,
    /// Seconds of warm-up and load.
    pub total: f64,
    /// The last slice.
    pub slice: Option<&'a Slice>,
}

/// Shared by the workers.
struct Shared<'a> {
    shape: &'a Shape,
    begin: Instant,
    end: Instant,
    schedule: Mutex<Schedule>,
    left: AtomicU64,
    alive: AtomicUsize,
    stop: &'a AtomicBool,
    ledger: &'a Ledger,
}

/// Runs a load to its end, or until `stop` is set, and tells `watch` of it now and then. `costs` are asked for at the
/// bounds of slices. `cut` is set when requests on their way at the end take longer than the grace.
pub fn run<W: Work>(
    shape: &Shape,
    workers: Vec<W>,
    ledger: &Ledger,
    stop: &AtomicBool,
    cut: &Arc<AtomicBool>,
    mut costs: impl FnMut() -> Costs,
    mut watch: impl FnMut(&View<'_>),
) -> Measured {
    let begin = Instant::now();
    let total = shape.warmup + shape.duration;
    let (rate, arrival) = match shape.pace {
        Pace::Open { rate, arrival } => (rate, arrival),
        Pace::Closed => (1.0, Arrival::Constant),
    };
    let shared = Shared {
        shape,
        begin,
        end: begin + total,
        schedule: Mutex::new(Schedule::new(rate, arrival, total, shape.count, shape.seed)),
        left: AtomicU64::new(shape.count.unwrap_or(u64::MAX)),
        alive: AtomicUsize::new(workers.len()),
        stop,
        ledger,
    };
    let count = workers.len();
    // Without a warm-up everything counts, what ends before the clock thread first looks included.
    let mark = shape.warmup.is_zero().then(|| Mark { at: begin, begin, bytes: ledger.bytes(), costs: costs() });
    thread::scope(|scope| {
        for (number, worker) in workers.into_iter().enumerate() {
            let shared = &shared;
            let wait = shape.ramp.mul_f64(number as f64 / count as f64);
            let spawned = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || {
                // Counted down even if a worker panics, so that the run ends.
                let _alive = Alive(&shared.alive);
                shared.work(worker, wait);
            });
            if spawned.is_err() {
                shared.alive.fetch_sub(1, Ordering::Relaxed);
            }
        }
        shared.measure(mark, cut, &mut costs, &mut watch)
    })
}

struct Alive<'a>(&'a AtomicUsize);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sleeps until `until`, or a stop.
    fn sleep(&self, until: Instant) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_over() {
                return;
            }
            thread::sleep(left.min(NAP));
        }
    }

    fn work(&self, mut worker: impl Work, wait: Duration) {
        self.sleep(self.begin + wait);
        let mut failures: u32 = 0;
        while !self.is_over() {
            let Some(intended) = self.next() else { return };
            self.ledger.in_flight.fetch_add(1, Ordering::Relaxed);
            let good = worker.once(intended);
            self.ledger.in_flight.fetch_sub(1, Ordering::Relaxed);
            failures = if good { 0 } else { failures.saturating_add(1) };
            if failures > 0 && self.shape.pace == Pace::Closed {
                // A service that is away is not asked a million times.
                let rest = Duration::from_millis(5).saturating_mul(1 << failures.min(8)).min(REST_MAX);
                self.sleep((Instant::now() + rest).min(self.end));
            }
        }
    }

    /// When the next request of the calling worker should begin, slept until; `None` at the end.
    fn next(&self) -> Option<Instant> {
        if self.shape.pace == Pace::Closed {
            let now = Instant::now();
            let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            return (now < self.end && taken.is_ok()).then_some(now);
        }
        loop {
            let at = self.schedule.lock().unwrap_or_else(PoisonError::into_inner).next()?;
            let intended = self.begin + at;
            self.sleep(intended);
            if self.is_over() {
                return None;
            }
            let now = Instant::now();
            let behind = now.saturating_duration_since(intended);
            let measured = at >= self.shape.warmup;
            if behind >= self.shape.drop_after || now >= self.end {
                self.ledger.dropped.fetch_add(u64::from(measured), Ordering::Relaxed);
                continue;
            }
            if behind > LATE && measured {
                self.ledger.late.fetch_add(1, Ordering::Relaxed);
            }
            return Some(intended);
        }
    }

    fn measure(
        &self,
        mut state: Option<Mark>,
        cut: &Arc<AtomicBool>,
        costs: &mut impl FnMut() -> Costs,
        watch: &mut impl FnMut(&View<'_>),
    ) -> Measured {
        let total = (self.end - self.begin).as_secs_f64();
        let warm = self.begin + self.shape.warmup;
        let mut measured = Measured::default();
        let mut length = (self.shape.duration / u32::try_from(SLICES_MAX / 2).unwrap_or(1)).max(SLICE_MIN);
        loop {
            let now = Instant::now();
            let ended = self.alive.load(Ordering::Relaxed) == 0 || now >= self.end || self.is_over();
            if now >= warm || ended {
                match &mut state {
                    // What the warm-up has counted is taken away.
                    None => {
                        drop(self.ledger.take());
                        state = Some(Mark { at: now, begin: now, bytes: self.ledger.bytes(), costs: costs() });
                    }
                    Some(mark) if ended || now.duration_since(mark.at) >= length => {
                        measured.slices.push(mark.slice(self.ledger, costs(), now, &mut measured.records));
                        measured.seconds = now.duration_since(mark.begin).as_secs_f64();
                        if measured.slices.len() > SLICES_MAX {
                            halve(&mut measured.slices);
                            length *= 2;
                        }
                    }
                    Some(_) => {}
                }
            }
            let elapsed = now.duration_since(self.begin).as_secs_f64();
            watch(&View { elapsed, warming: now < warm, ending: false, total, slice: measured.slices.last() });
            if ended && state.is_some() {
                break;
            }
            thread::sleep(TICK);
        }
        // What is left at the end is too short for figures of its own.
        if let [.., before, last] = measured.slices.as_mut_slice()
            && last.seconds < length.as_secs_f64() / 2.0
        {
            before.merge(last);
            measured.slices.pop();
        }
        self.finish(cut, watch, &mut measured, total);
        measured
    }

    /// Waits for the requests that are on their way, and cuts off those that take too long.
    fn finish(&self, cut: &Arc<AtomicBool>, watch: &mut impl FnMut(&View<'_>), measured: &mut Measured, total: f64) {
        let ended = Instant::now();
        while self.alive.load(Ordering::Relaxed) > 0 {
            if self.is_over() || ended.elapsed() >= self.shape.grace {
                cut.store(true, Ordering::Relaxed);
            }
            let elapsed = self.begin.elapsed().as_secs_f64();
            watch(&View { elapsed, warming: false, ending: true, total, slice: measured.slices.last() });
            thread::sleep(TICK);
        }
        merge(&mut measured.records, &self.ledger.take());
    }
}

/// Where the last slice has ended.
struct Mark {
    at: Instant,
    begin: Instant,
    bytes: (u64, u64),
    costs: Costs,
}

impl Mark {
    fn slice(&mut self, ledger: &Ledger, costs: Costs, now: Instant, all: &mut Records) -> Slice {
        let records = ledger.take();
        let bytes = ledger.bytes();
        let slice = Slice {
            seconds: now.duration_since(self.at).as_secs_f64(),
            down: bytes.0.saturating_sub(self.bytes.0),
            up: bytes.1.saturating_sub(self.bytes.1),
            costs: Costs {
                client: costs.client - self.costs.client,
                server: costs.server.zip(self.costs.server).map(|(now, before)| now - before),
            },
            latency: records.iter().map(|(kind, record)| (*kind, record.latency.coarse())).collect(),
            bad: records.values().map(super::ledger::Record::bad).sum(),
        };
        merge(all, &records);
        *self = Self { at: now, begin: self.begin, bytes, costs };
        slice
    }
}

fn halve(slices: &mut Vec<Slice>) {
    let halved = slices.chunks(2).map(|pair| {
        let mut one = pair[0].clone();
        pair[1..].iter().for_each(|other| one.merge(other));
        one
    });
    *slices = halved.collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a millisecond, but once half a second.
    struct Stall<'a> {
        ledger: &'a Ledger,
        number: usize,
        done: u32,
        stalls: bool,
    }

    impl Work for Stall<'_> {
        fn once(&mut self, intended: Instant) -> bool {
            self.done += 1;
            let long = self.stalls && self.done == 20;
            thread::sleep(Duration::from_millis(if long { 500 } else { 1 }));
            self.ledger.good(self.number, Kind::Show, intended.elapsed(), None, 0);
            true
        }
    }

    fn shape(pace: Pace, millis: u64) -> Shape {
        Shape {
            pace,
            warmup: Duration::ZERO,
            duration: Duration::from_millis(millis),
            count: None,
            ramp: Duration::ZERO,
            drop_after: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            seed: 1,
        }
    }

    fn drive(shape: &Shape, count: usize, stalls: bool) -> (Measured, Ledger) {
        let ledger = Ledger::new(count);
        let workers = (0..count).map(|number| Stall { ledger: &ledger, number, done: 0, stalls }).collect();
        let stop = AtomicBool::new(false);
        let measured = run(shape, workers, &ledger, &stop, &Arc::default(), Costs::default, |_| ());
        (measured, ledger)
    }

    const OPEN: Pace = Pace::Open { rate: 200.0, arrival: Arrival::Constant };

    #[test]
    fn a_stall_is_charged_with_all_that_it_kept_waiting() {
        let (open, ledger) = drive(&shape(OPEN, 2_000), 1, true);
        let open = &open.records[&Kind::Show].latency;
        // 100 arrivals fell into the stall of 500 ms, a quarter of all: their median wait was 250 ms.
        assert!(open.count() >= 350, "{}", open.count());
        assert!(open.percentile(90.0) >= 150_000.0, "{:?}", open.figures());
        assert!(ledger.late.load(Ordering::Relaxed) >= 50);
        // A closed loop sees one slow request.
        let (closed, _) = drive(&shape(Pace::Closed, 2_000), 1, true);
        let closed = &closed.records[&Kind::Show].latency;
        assert!(closed.percentile(90.0) < 100_000.0, "{:?}", closed.figures());
    }

    #[test]
    fn arrivals_that_cannot_begin_are_dropped_and_counted() {
        let mut shape = shape(Pace::Open { rate: 5_000.0, arrival: Arrival::Constant }, 500);
        shape.drop_after = Duration::from_millis(50);
        let (measured, ledger) = drive(&shape, 2, false);
        let done = measured.records[&Kind::Show].latency.count();
        let dropped = ledger.dropped.load(Ordering::Relaxed);
        assert_eq!(done + dropped, 2_500);
        assert!(dropped > 500, "two workers that take a millisecond cannot begin 5,000 a second: {dropped}");
        assert!(measured.records[&Kind::Show].latency.percentile(99.0) < 400_000.0);
    }

    #[test]
    fn a_count_and_a_stop_end_a_run() {
        let mut counted = shape(Pace::Closed, 60_000);
        counted.count = Some(37);
        let (measured, _) = drive(&counted, 4, false);
        assert_eq!(measured.records[&Kind::Show].latency.count(), 37);
        assert!(measured.seconds < 30.0);

        let ledger = Ledger::new(1);
        let stop = AtomicBool::new(false);
        let begin = Instant::now();
        let worker = Stall { ledger: &ledger, number: 0, done: 0, stalls: false };
        let shape = shape(Pace::Open { rate: 0.01, arrival: Arrival::Constant }, 60_000);
        run(&shape, vec![worker], &ledger, &stop, &Arc::default(), Costs::default, |view| {
            stop.store(view.elapsed > 0.3, Ordering::Relaxed);
        });
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn the_warm_up_is_not_measured_and_slices_add_up() {
        let mut shape = shape(OPEN, 1_000);
        shape.warmup = Duration::from_millis(500);
        let (measured, _) = drive(&shape, 2, false);
        let count = measured.records[&Kind::Show].latency.count();
        assert!((150..=210).contains(&count), "{count}");
        let sliced: u64 = measured.slices.iter().flat_map(|slice| slice.latency.values()).map(Latency::count).sum();
        assert!(count - sliced <= 2, "only what ended after the load is in no slice: {count} {sliced}");
        let seconds: f64 = measured.slices.iter().map(|slice| slice.seconds).sum();
        assert!((seconds - measured.seconds).abs() < 1e-6 && (seconds - 1.0).abs() < 0.3, "{seconds}");
    }

    #[test]
    fn slices_become_fewer_without_loss() {
        let one = |n: u64| Slice { seconds: 0.25, down: n, up: 1, ..Slice::default() };
        let mut slices: Vec<Slice> = (0..81).map(one).collect();
        halve(&mut slices);
        assert_eq!(slices.len(), 41);
        assert_eq!(slices.iter().map(|slice| slice.down).sum::<u64>(), (0..81).sum::<u64>());
    }
}
