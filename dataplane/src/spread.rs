//! Which core serves a connection.
//!
//! A connection is cheapest to serve on the processor that its packets come in on: what the network stack and the client (if it is
//! on this machine) touch is in that processor's cache. On a Xeon it costs a third there of what it costs on the other one. The
//! kernel gives a new connection to the listener of that processor; but many may come from one processor, and a client may move.
//! So a core that has too many passes new ones on, and a connection whose packets come in elsewhere follows them when it asks for
//! image data, as long as no core gets many more than another.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::http::head::Head;

use crate::io::{Detached, MailSender};
use crate::uploads::CoreEvent;

/// The part of all connections by which two cores may differ, and the least number.
const SLACK_DIVISOR: usize = 8;
const SLACK_MIN: usize = 2;

/// What a core counts that does not run.
const RETIRED: usize = usize::MAX / 4;

/// The connections of a core, on a cache line of their own: each is written once when it comes and once when it goes.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Load(AtomicUsize);

/// All cores, as seen by whoever has a connection to place.
pub(crate) struct Spread {
    loads: Vec<Load>,
    cpus: Vec<usize>,
    mail: Vec<MailSender<CoreEvent>>,
    /// Jobs that were given to cores.
    jobs: AtomicUsize,
}

/// A connection counted at a core, until dropped.
pub(crate) struct Claim {
    spread: Arc<Spread>,
    core: usize,
}

/// A connection on its way to another core.
#[derive(Debug)]
pub(crate) struct Moving {
    pub(crate) conn: Detached,
    pub(crate) claim: Claim,
    /// A request that was read already.
    pub(crate) begun: Option<Box<Begun>>,
}

/// A request whose head was read, and what came after it.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) head: Head,
    pub(crate) rest: Vec<u8>,
}

impl Spread {
    /// Cores on the processors `cpus`, each with its mailbox.
    pub(crate) fn new(cpus: Vec<usize>, mail: Vec<MailSender<CoreEvent>>) -> Arc<Self> {
        Arc::new(Spread {
            loads: cpus.iter().map(|_| Load::default()).collect(),
            cpus,
            mail,
            jobs: AtomicUsize::new(0),
        })
    }

    /// How many cores there are.
    pub(crate) fn cores(&self) -> usize {
        self.cpus.len()
    }

    /// The core that does the next job, in turn, and its mailbox.
    pub(crate) fn next_for_a_job(&self) -> Option<(usize, &MailSender<CoreEvent>)> {
        let turn = self.jobs.fetch_add(1, Relaxed);
        let running = |core: &usize| self.loads.get(*core).is_some_and(|load| load.0.load(Relaxed) < RETIRED);
        let core = (0..self.mail.len()).map(|step| (turn + step) % self.mail.len()).find(running)?;
        Some((core, self.mail.get(core)?))
    }

    /// The core does not run: it gets no connections.
    pub(crate) fn retire(&self, core: usize) {
        if let Some(load) = self.loads.get(core) {
            load.0.fetch_add(RETIRED, Relaxed);
        }
    }

    /// A place for a connection that core `here` has accepted: there, unless it has too many.
    pub(crate) fn place(self: &Arc<Self>, here: usize) -> Claim {
        let loads = self.loads.iter().map(|load| load.0.load(Relaxed));
        let least = loads.enumerate().min_by_key(|(_, load)| *load).map_or(here, |(core, _)| core);
        self.claim(if self.is_fair(least, here) { here } else { least })
    }

    /// A place on the core of the processor `cpu` for a connection that has one elsewhere; `None` if it has it there already,
    /// if there is no such core, or if that has too many.
    pub(crate) fn follow(self: &Arc<Self>, claim: &Claim, cpu: usize) -> Option<Claim> {
        let core = self.cpus.iter().position(|have| *have == cpu)?;
        (core != claim.core && self.is_fair(claim.core, core)).then(|| self.claim(core))
    }

    /// Whether one connection more at `to` instead of `from` leaves them near enough to each other.
    fn is_fair(&self, from: usize, to: usize) -> bool {
        let load = |core: usize| self.loads.get(core).map_or(0, |load| load.0.load(Relaxed));
        let all: usize = (0..self.loads.len()).map(load).filter(|load| *load < RETIRED).sum();
        load(to) < load(from) + (all / SLACK_DIVISOR).max(SLACK_MIN)
    }

    fn claim(self: &Arc<Self>, core: usize) -> Claim {
        if let Some(load) = self.loads.get(core) {
            load.0.fetch_add(1, Relaxed);
        }
        Claim { spread: Arc::clone(self), core }
    }

    /// Sends a connection to the core that it is counted at.
    ///
    /// # Errors
    /// Gives it back when that core has too much mail.
    pub(crate) fn send(&self, moving: Moving) -> Result<(), Moving> {
        let Some(mail) = self.mail.get(moving.claim.core) else { return Err(moving) };
        mail.post(CoreEvent::Connection(moving)).map_err(|event| match event {
            CoreEvent::Connection(moving) => moving,
            CoreEvent::Drain | CoreEvent::CancelUpload(_) | CoreEvent::Job(_) | CoreEvent::Rework(_) => {
                unreachable!("what was posted comes back")
            }
        })
    }
}

impl Claim {
    /// The core it is counted at.
    pub(crate) fn core(&self) -> usize {
        self.core
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(load) = self.spread.loads.get(self.core) {
            load.0.fetch_sub(1, Relaxed);
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("core", &self.core).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread() -> Arc<Spread> {
        Spread::new(vec![0, 1], Vec::new())
    }

    fn loads(spread: &Spread) -> [usize; 2] {
        [0, 1].map(|core| spread.loads[core].0.load(Relaxed))
    }

    #[test]
    fn however_they_arrive_no_core_gets_more_than_three_fifths() {
        let spread = spread();
        let claims: Vec<_> = (0..64).map(|_| spread.place(0)).collect();
        let [first, second] = loads(&spread);
        assert!(first + second == 64 && first >= second && first * 5 <= 64 * 3, "{first} and {second}");
        drop(claims);
        assert_eq!(loads(&spread), [0, 0]);
    }

    #[test]
    fn a_connection_follows_its_packets_while_that_is_fair() {
        let spread = spread();
        let mut claims: Vec<_> = (0..8).map(|index| spread.place(index % 2)).collect();
        assert_eq!(loads(&spread), [4, 4]);
        assert!(spread.follow(&claims[0], 0).is_none(), "it is there");
        assert!(spread.follow(&claims[0], 7).is_none(), "there is no such core");
        let mut moved = 0;
        for claim in &mut claims {
            if let Some(next) = spread.follow(claim, 1) {
                *claim = next;
                moved += 1;
            }
        }
        let [first, second] = loads(&spread);
        assert!(moved > 0 && first + second == 8 && second <= first + 3, "{first} and {second}");
    }
}
