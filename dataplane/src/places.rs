//! Places for connections: how many there are, and who goes when one more wants in.
//!
//! A connection that waits for a request may go at any time: HTTP lets a server close it then, and a client that had
//! something to ask connects again. So when all places are taken, the connection that has waited longest gives way.
//! However many are opened to say nothing, or to begin a head and never end it, they push out each other and keep
//! nobody else out; only when every place has a request that is being answered is a newcomer turned away.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use crate::io::{Conn, Notify};

/// The places of one listener on one core.
pub(crate) struct Places {
    /// How many there are.
    count: usize,
    taken: Cell<usize>,
    /// Connections that wait for a request, by when they began to.
    waiting: RefCell<BTreeMap<u64, Rc<Seat>>>,
    next: Cell<u64>,
    evicted: Cell<u64>,
    /// Told whenever a place becomes free.
    freed: Notify,
}

/// A connection and whether it still has its place.
struct Seat {
    conn: Conn,
    lost: Cell<bool>,
}

/// A place that a connection holds; free again when dropped, also by a panic.
pub(crate) struct Place {
    places: Rc<Places>,
    seat: Rc<Seat>,
}

/// While it lives, its connection may lose its place.
pub(crate) struct Waiting<'a> {
    place: &'a Place,
    since: u64,
}

impl Places {
    /// `count` free places, at least one.
    pub(crate) fn new(count: usize) -> Rc<Self> {
        Rc::new(Places {
            count: count.max(1),
            taken: Cell::new(0),
            waiting: RefCell::default(),
            next: Cell::new(0),
            evicted: Cell::new(0),
            freed: Notify::new(),
        })
    }

    /// A place for `conn`: a free one, or that of the connection that has waited longest for a request. `None`, and
    /// `conn` is closed, when nobody waits.
    pub(crate) fn take(self: &Rc<Self>, conn: Conn) -> Option<Place> {
        if self.taken.get() >= self.count && !self.evict() {
            return None;
        }
        self.taken.set(self.taken.get() + 1);
        Some(Place { places: Rc::clone(self), seat: Rc::new(Seat { conn, lost: Cell::new(false) }) })
    }

    /// Closes the connection that has waited longest for a request; `false` when nobody waits.
    pub(crate) fn evict(&self) -> bool {
        let Some((_, seat)) = self.waiting.borrow_mut().pop_first() else { return false };
        seat.lost.set(true);
        self.taken.set(self.taken.get().saturating_sub(1));
        self.evicted.set(self.evicted.get() + 1);
        // Its task reads the end of the stream and ends as if the client had gone.
        seat.conn.abort();
        true
    }

    /// Places that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.get()
    }

    /// Connections that were closed in favour of others, since the start.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.get()
    }

    /// Waits until a place may have become free.
    pub(crate) async fn freed(&self) {
        self.freed.wait().await;
    }
}

impl Place {
    /// The connection.
    pub(crate) fn conn(&self) -> &Conn {
        &self.seat.conn
    }

    /// To be held while the connection waits for a request, from before its first byte to the end of its head.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        let since = self.places.next.get();
        self.places.next.set(since.wrapping_add(1));
        self.places.waiting.borrow_mut().insert(since, Rc::clone(&self.seat));
        Waiting { place: self, since }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.seat.lost.get() {
            self.places.taken.set(self.places.taken.get().saturating_sub(1));
        }
        self.places.freed.notify();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.place.places.waiting.borrow_mut().remove(&self.since);
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("count", &self.count).field("taken", &self.taken.get()).finish_non_exhaustive()
    }
}
