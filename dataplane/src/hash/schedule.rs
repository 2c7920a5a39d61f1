//! Which buffers are hashed together, and when: the streams that wait, by algorithm, and the rule that fills lanes.
//!
//! A kernel of eight lanes costs the same for two streams as for eight, so a batch should carry as many streams as there are. A
//! batch runs as soon as one of these holds:
//!
//! - it is full, or the streams are so few that they are hashed one by one;
//! - it is a pair: where streams of MD5 and of SHA-512 are few they are hashed two by two, one of each. Half a pair waits while the
//!   other half is in a worker's hands, by the rules below; where that one has nothing either, the first is behind, and goes on by
//!   itself. The two of a lone upload have a worker each where there are three workers, so a processor more for all else that an
//!   upload takes: a pair costs less, and takes longer than either of them alone;
//! - every stream that is in use has a buffer waiting;
//! - a stream has no buffer left to receive into, or is at its end, and no batch of the algorithm is running: one that runs brings its
//!   streams back in a moment;
//! - the first stream of it has waited for [`LANE_WAIT`].
//!
//! A stream that misses a batch which ran for the last reason is not in use: a slow client. Nobody waits for it
//! again until its next buffer is there.
//!
//! This is plain data without locks and clocks; the pool adds both.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::kernels::Feed;
use super::stream::{Sink, SubmitError};
use super::{Algorithm, Digest, Kernels};

/// How long a stream waits for others to fill a batch: about as long as a full batch of SHA-512 takes, so that waiting
/// costs an upload no more than being second.
pub(super) const LANE_WAIT: Duration = Duration::from_millis(2);

/// The place of a stream in the table, valid until [`Schedule::abandon`], or until its digest is delivered.
pub(super) type Key = usize;

/// From how many workers on the two digests of a lone upload have a worker each.
const APART_WORKERS: usize = 3;

/// Every open stream.
pub(super) struct Schedule<B> {
    kernels: &'static Kernels,
    /// For how many streams of each kind there are pairs.
    pairs: RangeInclusive<usize>,
    streams: Vec<Option<Entry<B>>>,
    free: Vec<Key>,
    classes: [Class; Algorithm::COUNT],
    /// Streams without a buffer whose digest was asked for.
    ending: VecDeque<Key>,
    closed: bool,
}

/// One stream.
struct Entry<B> {
    algorithm: Algorithm,
    /// The most buffers that wait at once.
    depth: usize,
    waiting: VecDeque<B>,
    place: Place,
    /// Counted in [`Class::pressed`].
    pressed: bool,
    /// Counted in [`Class::used`] if it is the class's own.
    round: u64,
    /// Absent while a worker has it.
    digest: Option<Box<Digest>>,
    sink: Option<Sink>,
    /// The handle is gone before the end.
    abandoned: bool,
}

/// Where a stream is. Only one worker at a time has it, hence the order of its buffers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing to do.
    Idle,
    /// It stands in [`Class::ready`].
    Ready,
    /// In a worker's hands, or in [`Schedule::ending`].
    Busy,
}

/// The streams of one algorithm.
#[derive(Default)]
struct Class {
    /// Those with a buffer, in order of arrival.
    ready: VecDeque<(Key, Instant)>,
    /// How many of `ready` wait for a batch with their upload at a stop.
    pressed: usize,
    /// Streams in use: those that had a buffer since the last wait was in vain.
    used: usize,
    /// Ends with each wait in vain.
    round: u64,
    /// Streams in workers' hands.
    running: usize,
}

/// What a worker can do now.
pub(super) enum Next {
    /// The buffers are in the batch: hash them, release them, then [`Schedule::give_back`].
    Batch,
    /// Pass this digest on.
    Deliver(Box<Digest>, Sink),
    /// Nothing before this instant, unless something is submitted.
    Until(Instant),
    /// Nothing, unless something is submitted.
    Nothing,
    /// Nothing any more.
    Closed,
}

/// One buffer of one stream, in a worker's hands.
pub(super) struct Task<B> {
    pub(super) key: Key,
    pub(super) digest: Box<Digest>,
    pub(super) buffer: B,
}

impl<B: AsRef<[u8]>> Feed for Task<B> {
    fn parts(&mut self) -> (&mut Digest, &[u8]) {
        (&mut self.digest, self.buffer.as_ref())
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

/// Streams that can run at once.
#[derive(Default)]
struct Run {
    /// Of the algorithm itself.
    count: usize,
    /// One of this algorithm as well.
    mate: Option<usize>,
    /// They have waited in vain for streams of this algorithm.
    missed: Option<usize>,
}

impl<B> Schedule<B> {
    pub(super) fn new(kernels: &'static Kernels, workers: usize) -> Self {
        let least = if workers < APART_WORKERS { 1 } else { 2 };
        Self {
            kernels,
            pairs: least..=kernels.pairs(),
            streams: Vec::new(),
            free: Vec::new(),
            classes: Default::default(),
            ending: VecDeque::new(),
            closed: false,
        }
    }

    /// Adds a stream of at most `depth` waiting buffers.
    pub(super) fn open(&mut self, algorithm: Algorithm, depth: usize) -> Key {
        let entry = Entry {
            algorithm,
            depth,
            waiting: VecDeque::with_capacity(depth),
            place: Place::Idle,
            pressed: false,
            round: u64::MAX,
            digest: Some(Box::new(Digest::new(algorithm))),
            sink: None,
            abandoned: false,
        };
        if let Some(key) = self.free.pop() {
            self.streams[key] = Some(entry);
            key
        } else {
            self.streams.push(Some(entry));
            self.streams.len() - 1
        }
    }

    /// Adds a buffer to a stream.
    ///
    /// # Errors
    /// The buffer comes back, to be released where no lock is held.
    pub(super) fn submit(&mut self, key: Key, buffer: B, now: Instant) -> Result<(), (SubmitError, B)> {
        let Some(entry) = &mut self.streams[key] else { return Err((SubmitError::Closed, buffer)) };
        if self.closed {
            return Err((SubmitError::Closed, buffer));
        }
        if entry.waiting.len() >= entry.depth {
            return Err((SubmitError::Full, buffer));
        }
        entry.waiting.push_back(buffer);
        let class = &mut self.classes[entry.algorithm.index()];
        if entry.place == Place::Idle {
            class.enqueue(key, entry, now);
        } else {
            class.press(entry);
        }
        Ok(())
    }

    /// Asks for a stream's digest.
    ///
    /// # Errors
    /// The sink comes back when the pool is closed.
    pub(super) fn finish(&mut self, key: Key, sink: Sink) -> Result<(), Sink> {
        let Some(entry) = &mut self.streams[key] else { return Err(sink) };
        if self.closed {
            return Err(sink);
        }
        entry.sink = Some(sink);
        if entry.place == Place::Idle {
            entry.place = Place::Busy;
            self.ending.push_back(key);
        } else {
            self.classes[entry.algorithm.index()].press(entry);
        }
        Ok(())
    }

    /// Removes a stream whose digest nobody wants any more. What it held comes back, to be released where no lock is held.
    pub(super) fn abandon(&mut self, key: Key) -> VecDeque<B> {
        let Some(entry) = &mut self.streams[key] else { return VecDeque::new() };
        let waiting = std::mem::take(&mut entry.waiting);
        match entry.place {
            Place::Busy => entry.abandoned = true,
            Place::Ready => {
                let class = &mut self.classes[entry.algorithm.index()];
                class.ready.retain(|(ready, _)| *ready != key);
                class.release(entry);
                self.remove(key);
            }
            Place::Idle => drop(self.remove(key)),
        }
        waiting
    }

    /// No stream takes anything any more; what it has is hashed without waiting for company.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether a worker that comes now finds something to do; if not, from when on.
    pub(super) fn work(&self, now: Instant) -> Next {
        if !self.ending.is_empty() {
            return Next::Batch;
        }
        let mut next = Next::Nothing;
        for index in 0..Algorithm::COUNT {
            if self.run(index, now).is_some() {
                return Next::Batch;
            }
            if let Some((_, since)) = self.classes[index].ready.front() {
                let due = *since + LANE_WAIT;
                next = match next {
                    Next::Until(earlier) if earlier <= due => Next::Until(earlier),
                    _ => Next::Until(due),
                };
            }
        }
        if self.closed { Next::Closed } else { next }
    }

    /// Gives a worker what there is to do. Of several batches that can run it is the one that has waited longest.
    pub(super) fn next(&mut self, now: Instant, batch: &mut Vec<Task<B>>) -> Next {
        while let Some(key) = self.ending.pop_front() {
            if let Some((digest, sink)) = self.remove(key).and_then(|entry| entry.digest.zip(entry.sink)) {
                return Next::Deliver(digest, sink);
            }
        }
        let runs = (0..Algorithm::COUNT).filter_map(|index| Some((index, self.run(index, now)?)));
        let Some((index, run)) = runs.min_by_key(|(index, _)| self.classes[*index].ready.front().map(|ready| ready.1))
        else {
            return self.work(now);
        };
        if let Some(missed) = run.missed {
            self.end_round(missed);
        }
        self.take(index, run.count, batch);
        if let Some(mate) = run.mate {
            self.take(mate, 1, batch);
        }
        Next::Batch
    }

    /// Moves the buffers of the first `count` streams of an algorithm into the batch.
    fn take(&mut self, index: usize, count: usize, batch: &mut Vec<Task<B>>) {
        let class = &mut self.classes[index];
        for _ in 0..count {
            let Some((key, _)) = class.ready.pop_front() else { break };
            let Some(entry) = &mut self.streams[key] else { continue };
            entry.place = Place::Busy;
            class.release(entry);
            if let Some((digest, buffer)) = entry.digest.take().zip(entry.waiting.pop_front()) {
                class.running += 1;
                batch.push(Task { key, digest, buffer });
            }
        }
    }

    /// Takes a stream's digest back after a buffer was hashed.
    pub(super) fn give_back(&mut self, key: Key, digest: Box<Digest>, now: Instant) {
        let Some(entry) = &mut self.streams[key] else { return };
        let class = &mut self.classes[entry.algorithm.index()];
        class.running -= 1;
        if entry.abandoned {
            self.remove(key);
            return;
        }
        entry.digest = Some(digest);
        if !entry.waiting.is_empty() {
            class.enqueue(key, entry, now);
        } else if entry.sink.is_some() {
            self.ending.push_back(key);
        } else {
            class.keep(entry);
            entry.place = Place::Idle;
        }
    }

    /// The rule: whether streams of this algorithm run now, and how many.
    fn run(&self, index: usize, now: Instant) -> Option<Run> {
        let class = &self.classes[index];
        let (_, since) = class.ready.front()?;
        let (algorithm, ready) = (Algorithm::ALL[index], class.ready.len());
        let (lanes, least) = (self.kernels.lanes(algorithm), self.kernels.break_even(algorithm));
        let overdue = now.saturating_duration_since(*since) >= LANE_WAIT;
        if let Some(mate) = self.mate(index) {
            let other = &self.classes[mate];
            if !other.ready.is_empty() {
                return Some(Run { count: 1, mate: Some(mate), missed: None });
            }
            let is_behind = other.running == 0;
            return (is_behind || overdue || self.closed).then(|| Run {
                count: 1,
                mate: None,
                missed: overdue.then_some(mate),
            });
        }
        if lanes == 1 || class.used < least {
            return Some(Run { count: 1, ..Run::default() });
        }
        let all = ready >= lanes || ready >= class.used;
        let held_up = class.pressed > 0 && class.running == 0;
        if !(all || held_up || overdue || self.closed) {
            return None;
        }
        // Too few for lanes are left to several workers.
        let count = if ready < least { 1 } else { ready.min(lanes) };
        Some(Run { count, mate: None, missed: (overdue && !all).then_some(index) })
    }

    /// The algorithm of which a stream is hashed together with one of this: another than itself, and both so few that it pays.
    fn mate(&self, index: usize) -> Option<usize> {
        let is_few = |index: &usize| self.pairs.contains(&self.classes[*index].used);
        let narrow = Algorithm::Md5.index();
        let wide = || (0..Algorithm::COUNT).filter(|index| Algorithm::ALL[*index].is_wide());
        let mates = if index == narrow {
            // The one that has waited longest, else any.
            wide().filter(is_few).min_by_key(|index| {
                self.classes[*index].ready.front().map_or((true, None), |(_, since)| (false, Some(*since)))
            })
        } else {
            Some(narrow).filter(|narrow| Algorithm::ALL[index].is_wide() && is_few(narrow))
        };
        mates.filter(|_| is_few(&index))
    }

    /// Counts the streams in use anew. Those in workers' hands count again when they come back.
    fn end_round(&mut self, index: usize) {
        let class = &mut self.classes[index];
        class.round += 1;
        class.used = 0;
        for at in 0..class.ready.len() {
            let (key, _) = class.ready[at];
            if let Some(entry) = &mut self.streams[key] {
                class.keep(entry);
            }
        }
    }

    fn remove(&mut self, key: Key) -> Option<Entry<B>> {
        let entry = self.streams[key].take()?;
        self.free.push(key);
        let class = &mut self.classes[entry.algorithm.index()];
        if entry.round == class.round {
            class.used -= 1;
        }
        Some(entry)
    }
}

impl Class {
    /// A stream has a buffer.
    fn enqueue<B>(&mut self, key: Key, entry: &mut Entry<B>, now: Instant) {
        entry.place = Place::Ready;
        self.ready.push_back((key, now));
        self.keep(entry);
        self.press(entry);
    }

    /// Notes that a stream in `ready` must not wait, if that is so.
    fn press<B>(&mut self, entry: &mut Entry<B>) {
        let must = entry.sink.is_some() || entry.waiting.len() >= entry.depth;
        if must && !entry.pressed && entry.place == Place::Ready {
            entry.pressed = true;
            self.pressed += 1;
        }
    }

    /// Forgets what [`Class::press`] noted.
    fn release<B>(&mut self, entry: &mut Entry<B>) {
        if std::mem::take(&mut entry.pressed) {
            self.pressed -= 1;
        }
    }

    /// Counts a stream as in use.
    fn keep<B>(&mut self, entry: &mut Entry<B>) {
        if entry.round != self.round {
            entry.round = self.round;
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests;
