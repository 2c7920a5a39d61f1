//! Places for connections: how many there are, and who goes when one more wants in.
//!
//! A connection that waits for a request may go at any time: HTTP lets a server close it then, and a client that had
//! something to ask connects again. So when all places are taken, the connection that has waited longest gives way.
//! However many are opened to say nothing, or to begin a request and never end it, they push out each other and keep
//! nobody else out; only when every place has a request that is being answered is a newcomer turned away.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::futures::{Either, race};
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
    /// Set once it is ready to serve: after the handshake, where there is one.
    conn: OnceCell<Conn>,
    lost: Cell<bool>,
    /// Who waits to hear that it was lost.
    waker: RefCell<Option<Waker>>,
}

/// A place that a connection holds; free again when dropped, also by a panic.
pub(crate) struct Place {
    places: Rc<Places>,
    seat: Rc<Seat>,
    /// Under which number it waits, if it does.
    waits: Cell<Option<u64>>,
}

/// While it lives, its connection may lose its place.
struct Waiting<'a>(&'a Place);

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
    /// `conn` is closed, when nobody waits. It waits for its own first request from now on.
    pub(crate) fn take(self: &Rc<Self>, conn: Conn) -> Option<Place> {
        let place = self.reserve()?;
        place.seat(conn);
        Some(place)
    }

    /// The same for a connection that is not ready yet, and may lose its place before it is: see [`Place::seat`].
    pub(crate) fn reserve(self: &Rc<Self>) -> Option<Place> {
        if self.taken.get() >= self.count && !self.evict() {
            return None;
        }
        self.taken.set(self.taken.get() + 1);
        let seat = Rc::new(Seat { conn: OnceCell::new(), lost: Cell::new(false), waker: RefCell::new(None) });
        let place = Place { places: Rc::clone(self), seat, waits: Cell::new(None) };
        place.begin_waiting();
        Some(place)
    }

    /// Closes the connection that has waited longest for a request; `false` when nobody waits.
    pub(crate) fn evict(&self) -> bool {
        let Some((_, seat)) = self.waiting.borrow_mut().pop_first() else { return false };
        seat.lost.set(true);
        self.taken.set(self.taken.get().saturating_sub(1));
        self.evicted.set(self.evicted.get() + 1);
        if let Some(conn) = seat.conn.get() {
            conn.abort();
        }
        if let Some(waker) = seat.waker.take() {
            waker.wake();
        }
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
    /// The connection, now that it is ready.
    pub(crate) fn seat(&self, conn: Conn) {
        // Only whoever reserved the place calls this, once.
        let _ = self.seat.conn.set(conn);
    }

    /// The connection.
    ///
    /// # Panics
    /// Before [`Place::seat`].
    pub(crate) fn conn(&self) -> &Conn {
        self.seat.conn.get().expect("seated")
    }

    /// Gives the place back and takes the connection elsewhere; `None` if it has lost its place.
    pub(crate) fn leave(self) -> Option<Conn> {
        self.end_waiting();
        let lost = self.seat.lost.get();
        let seat = Rc::clone(&self.seat);
        drop(self);
        let conn = Rc::into_inner(seat)?.conn.into_inner();
        conn.filter(|_| !lost)
    }

    /// Runs `work`, during which nothing is done for the client yet: it waits for a request, or for the rest of one. The
    /// place may be lost meanwhile, and `work` is dropped; `None` then, and the connection is closed.
    pub(crate) async fn while_waiting<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if self.waits.get().is_none() && !self.seat.lost.get() {
            self.begin_waiting();
        }
        let _waiting = Waiting(self);
        match race(work, self.lost()).await {
            Either::First(done) if !self.seat.lost.get() => Some(done),
            _ => None,
        }
    }

    async fn lost(&self) {
        poll_fn(|cx| {
            if self.seat.lost.get() {
                return Poll::Ready(());
            }
            self.seat.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn begin_waiting(&self) {
        let number = self.places.next.get();
        self.places.next.set(number.wrapping_add(1));
        self.places.waiting.borrow_mut().insert(number, Rc::clone(&self.seat));
        self.waits.set(Some(number));
    }

    /// Its request is here: from now on it does not lose its place. (What [runs while it waits](Place::while_waiting) ends that by itself.)
    pub(crate) fn end_waiting(&self) {
        if let Some(number) = self.waits.take() {
            self.places.waiting.borrow_mut().remove(&number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.end_waiting();
        if !self.seat.lost.get() {
            self.places.taken.set(self.places.taken.get().saturating_sub(1));
        }
        self.places.freed.notify();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.end_waiting();
        // A waker holds its whole task in memory.
        self.0.seat.waker.take();
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("count", &self.count).field("taken", &self.taken.get()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::io::{BufferLimits, CoreConfig, Driver, Listener, Offload, OffloadConfig, run_core};

    fn on_a_core<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
        let core = std::thread::spawn(|| {
            let offload = Offload::new(OffloadConfig::default()).expect("threads");
            let config = CoreConfig {
                driver: Driver::Epoll,
                cpu: None,
                entries: 256,
                offload,
                buffers: BufferLimits::default(),
                pipes: 0,
            };
            run_core(config, async move { test().await })
        });
        core.join().expect("no panic").expect("a core");
    }

    /// Connections of ours, and the clients' ends.
    async fn connections(count: usize) -> Vec<(Conn, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let listener = Listener::new(listener).expect("registered");
        let mut made = Vec::new();
        for _ in 0..count {
            let client = TcpStream::connect(address).expect("a connection");
            made.push((listener.accept().await.expect("accepted"), client));
        }
        made
    }

    fn is_open(client: &TcpStream) -> bool {
        client.set_nonblocking(true).expect("a socket");
        client.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Whether a future is ready when it is looked at once.
    async fn is_done<F: Future + Unpin>(future: &mut F) -> bool {
        poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_ready())).await
    }

    #[test]
    fn who_came_with_a_request_does_not_give_way() {
        on_a_core(|| async {
            let places = Places::new(1);
            let mut made = connections(2).await.into_iter();
            let (conn, client) = made.next().expect("made");
            let place = places.take(conn).expect("free");
            place.end_waiting();
            let (conn, newcomer) = made.next().expect("made");
            assert!(places.take(conn).is_none());
            assert!(is_open(&client) && !is_open(&newcomer));
            assert_eq!(place.while_waiting(async { 5 }).await, Some(5), "it is there for the next one");
        });
    }

    #[test]
    fn who_has_waited_longest_gives_way() {
        on_a_core(|| async {
            let places = Places::new(2);
            let mut made = connections(4).await.into_iter();
            let (conn, first) = made.next().expect("made");
            let one = places.take(conn).expect("free");
            let (conn, second) = made.next().expect("made");
            let two = places.take(conn).expect("free");
            // The first asks for something, and then waits again: now the second has waited longer.
            assert_eq!(one.while_waiting(async { 5 }).await, Some(5));
            let asleep = std::future::pending::<()>;
            let mut waiting = (Box::pin(one.while_waiting(asleep())), Box::pin(two.while_waiting(asleep())));
            assert!(!is_done(&mut waiting.0).await && !is_done(&mut waiting.1).await);
            let (conn, third) = made.next().expect("made");
            let three = places.take(conn).expect("another gives way");
            assert!(is_open(&first) && !is_open(&second) && is_open(&third));
            assert_eq!((places.taken(), places.evicted()), (2, 1));
            assert!(!is_done(&mut waiting.0).await && is_done(&mut waiting.1).await);
            drop(waiting);
            drop(two);
            assert_eq!(places.taken(), 2, "a lost place is given back once");
            drop((one, three));
            assert_eq!(places.taken(), 0);
        });
    }

    #[test]
    fn nobody_gives_way_while_all_are_answered() {
        on_a_core(|| async {
            let places = Places::new(1);
            let mut made = connections(3).await.into_iter();
            let (conn, busy) = made.next().expect("made");
            let one = places.take(conn).expect("free");
            // A request was read.
            assert_eq!(one.while_waiting(async {}).await, Some(()));
            let (conn, late) = made.next().expect("made");
            assert!(places.take(conn).is_none() && !places.evict());
            assert!(is_open(&busy) && !is_open(&late));
            drop(one);
            assert!(places.take(made.next().expect("made").0).is_some());
        });
    }
}
