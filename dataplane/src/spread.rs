//! Which core serves a connection.
//!
//! A connection is cheapest to serve on the processor that its packets come in on: what the network stack and the client (if it is
//! on this machine) touch is in that processor's cache. On a Xeon it costs a third there of what it costs on the other one. The
//! kernel gives a new connection to the listener of that processor; but many may come from one processor, and a client may move.
//! So a core that has too many passes new ones on, and a connection whose packets come in elsewhere follows them when it asks for
//! image data, as long as no core gets many more than another.
//!
//! A download of a whole image keeps its core for long, and shares it with the others there. So those are counted by themselves, and
//! begin where there are fewest, as far as connections allow that: eight of them get equal shares of two cores.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::http::head::Head;

use crate::io::{Detached, MailSender};
use crate::uploads::CoreEvent;

/// The part of all connections by which two cores may differ, and the least number.
const SLACK_DIVISOR: usize = 8;
const SLACK_MIN: usize = 2;

/// The part of all downloads by which a core may have more than another when one more begins there.
const DOWNLOADS_SLACK_DIVISOR: usize = 32;

/// What a core counts that does not run.
const RETIRED: usize = usize::MAX / 4;

/// What a core has, on a cache line of its own: each is written once when it comes and once when it goes.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Load {
    connections: AtomicUsize,
    /// Of whole images.
    downloads: AtomicUsize,
}

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

/// A download of a whole image, counted at its core until dropped.
pub(crate) struct Download {
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
    /// Where it is counted, if it is one of those.
    pub(crate) download: Option<Download>,
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
        let running = |core: &usize| self.loads.get(*core).is_some_and(|load| load.connections.load(Relaxed) < RETIRED);
        let core = (0..self.mail.len()).map(|step| (turn + step) % self.mail.len()).find(running)?;
        Some((core, self.mail.get(core)?))
    }

    /// The core does not run: it gets no connections.
    pub(crate) fn retire(&self, core: usize) {
        if let Some(load) = self.loads.get(core) {
            load.connections.fetch_add(RETIRED, Relaxed);
        }
    }

    /// A place for a connection that core `here` has accepted: there, unless it has too many.
    pub(crate) fn place(self: &Arc<Self>, here: usize) -> Claim {
        let loads = self.loads.iter().map(|load| load.connections.load(Relaxed));
        let least = loads.enumerate().min_by_key(|(_, load)| *load).map_or(here, |(core, _)| core);
        self.claim(if self.is_fair(self.connections(), least, here) { here } else { least })
    }

    /// A place on the core of the processor `cpu` for a connection that has one elsewhere; `None` if it has it there already,
    /// if there is no such core, or if that has too many.
    pub(crate) fn follow(self: &Arc<Self>, claim: &Claim, cpu: usize) -> Option<Claim> {
        let core = self.cpus.iter().position(|have| *have == cpu)?;
        (core != claim.core && self.is_fair(self.connections(), claim.core, core)).then(|| self.claim(core))
    }

    /// Counts the download of a whole image by a connection of core `here` whose packets come in on the processor `cpu`: there or
    /// here, if no core has [noticeably](DOWNLOADS_SLACK_DIVISOR) fewer of them, else where there are fewest. With a place there for
    /// the connection, if it has to move; it does not unless it `may`.
    pub(crate) fn download(self: &Arc<Self>, here: usize, cpu: Option<usize>, may: bool) -> (Option<Claim>, Download) {
        let downloads = |core: usize| self.loads.get(core).map_or(0, |load| load.downloads.load(Relaxed));
        let all = self.connections();
        let is_open = |core: &usize| *core == here || may && self.is_fair(all, here, *core);
        let open = || (0..self.loads.len()).filter(is_open);
        let fewest = open().min_by_key(|core| downloads(*core)).unwrap_or(here);
        let bound = downloads(fewest) + open().map(downloads).sum::<usize>() / DOWNLOADS_SLACK_DIVISOR;
        let near = cpu.and_then(|cpu| self.cpus.iter().position(|have| *have == cpu)).filter(is_open);
        let core = near.into_iter().chain([here]).find(|core| downloads(*core) <= bound).unwrap_or(fewest);
        if let Some(load) = self.loads.get(core) {
            load.downloads.fetch_add(1, Relaxed);
        }
        ((core != here).then(|| self.claim(core)), Download { spread: Arc::clone(self), core })
    }

    /// Connections of all cores that run.
    fn connections(&self) -> usize {
        self.loads.iter().map(|load| load.connections.load(Relaxed)).filter(|load| *load < RETIRED).sum()
    }

    /// Whether one connection more at `to` instead of `from`, of `all` connections, leaves them near enough to each other.
    fn is_fair(&self, all: usize, from: usize, to: usize) -> bool {
        let load = |core: usize| self.loads.get(core).map_or(0, |load| load.connections.load(Relaxed));
        load(to) < load(from) + (all / SLACK_DIVISOR).max(SLACK_MIN)
    }

    fn claim(self: &Arc<Self>, core: usize) -> Claim {
        if let Some(load) = self.loads.get(core) {
            load.connections.fetch_add(1, Relaxed);
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
            load.connections.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some(load) = self.spread.loads.get(self.core) {
            load.downloads.fetch_sub(1, Relaxed);
        }
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("core", &self.core).finish_non_exhaustive()
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
        [0, 1].map(|core| spread.loads[core].connections.load(Relaxed))
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

    /// How many downloads each core has when connections begin one each, with packets on the given processors.
    fn downloads(spread: &Arc<Spread>, claims: &mut [Claim], cpus: &[usize]) -> ([usize; 2], Vec<Download>) {
        let counted = claims.iter_mut().zip(cpus).map(|(claim, cpu)| {
            let (place, download) = spread.download(claim.core(), Some(*cpu), true);
            if let Some(place) = place {
                *claim = place;
            }
            assert_eq!(claim.core(), download.core);
            download
        });
        let counted: Vec<_> = counted.collect();
        ([0, 1].map(|core| spread.loads[core].downloads.load(Relaxed)), counted)
    }

    #[test]
    fn downloads_are_shared_out_equally_wherever_their_packets_come_in() {
        for cpus in [[0; 8], [1; 8], [0, 0, 0, 0, 1, 1, 1, 1], [7; 8]] {
            for idle in [0, 11] {
                let spread = spread();
                let _idle: Vec<_> = (0..idle).map(|_| spread.place(1)).collect();
                let mut claims: Vec<_> = (0..8).map(|_| spread.place(0)).collect();
                let (counts, counted) = downloads(&spread, &mut claims, &cpus);
                assert_eq!(counts, [4, 4], "{cpus:?}, {idle} idle: {:?}", loads(&spread));
                drop(counted);
                assert_eq!([0, 1].map(|core| spread.loads[core].downloads.load(Relaxed)), [0, 0]);
            }
        }
    }

    #[test]
    fn a_download_is_near_its_packets_while_nobody_loses_by_it() {
        let spread = spread();
        let mut claims: Vec<_> = (0..2).map(|_| spread.place(0)).collect();
        let (_, counted) = downloads(&spread, &mut claims, &[1, 0]);
        assert_eq!(counted.iter().map(|download| download.core).collect::<Vec<_>>(), [1, 0]);
        assert!(spread.download(claims[0].core(), Some(1), false).0.is_none(), "it may not move");
    }
}
