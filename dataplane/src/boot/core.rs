//! The life of a core's thread: arrive, serve, drain.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::error::Kind;
use common::rpc::{Done, ToControl};
use crossbeam_channel::Sender;

use super::StartError;
use crate::control_client::is_away;
use crate::futures::{Either, race};
use crate::io::{
    Conn, CoreConfig, Listener, MailSender, Mailbox, MailboxSeed, are_descriptors_scarce, is_reserved, run_core, sleep,
    spawn, timeout,
};
use crate::places::{Place, Places};
use crate::shard::{Shard, Shared};
use crate::spread::{Begun, Claim, Moving};
use crate::transfer::{job, rework};
use crate::uploads::CoreEvent;
use crate::{admin, connection, rpc_server, tls};

/// The pause between two greetings of a control plane that is not there yet.
const HELLO_PAUSE: Duration = Duration::from_millis(5);

/// The pause after descriptors or memory ran out, before connections are accepted again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often, and how long apart, a descriptor is looked for that another connection is about to give back.
const EXCHANGE_TRIES: u32 = 50;
const EXCHANGE_PAUSE: Duration = Duration::from_millis(2);

/// How long a listener that cannot accept says so once only.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Connections of control at a time. It keeps a few, and one is enough.
const RPC_CONNECTIONS_MAX: usize = 64;

/// What the first core serves besides clients.
pub(super) struct SideDoors {
    pub(super) rpc: UnixListener,
    pub(super) admin: TcpListener,
}

/// What a core's thread starts with.
pub(super) struct CoreStart {
    pub(super) index: usize,
    pub(super) core: CoreConfig,
    pub(super) seed: MailboxSeed<CoreEvent>,
    pub(super) sender: MailSender<CoreEvent>,
    pub(super) listener: TcpListener,
    pub(super) shared: Arc<Shared>,
}

impl CoreStart {
    /// Runs the first core on this thread, and from it the others. Returns when all have drained.
    pub(super) fn run_first(
        self,
        others: Vec<CoreStart>,
        side: SideDoors,
        on_ready: impl FnOnce() + 'static,
    ) -> Result<(), StartError> {
        let core = self.core.clone();
        let work = async move {
            let (shard, listener) = self.arrive().map_err(StartError::new)?;
            side.open(&shard).map_err(StartError::new)?;
            match race(greet(&shard), drain_begun(&shard)).await {
                Either::First(greeted) => greeted?,
                Either::Second(()) => return Ok(Vec::new()),
            }
            let threads = run_beside(others).map_err(StartError::new)?;
            on_ready();
            serve(shard, listener).await;
            Ok(threads)
        };
        let threads: Vec<JoinHandle<()>> = run_core(core, work).map_err(StartError::new)??;
        threads.into_iter().for_each(|thread| drop(thread.join()));
        Ok(())
    }

    /// Runs the core on a thread of its own. What became of its start goes to `arrivals`.
    fn run_beside(self, arrivals: Sender<io::Result<()>>) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name(format!("core-{}", self.index)).spawn(move || {
            let (core, index, spread) = (self.core.clone(), self.index, Arc::clone(&self.shared.spread));
            let arrived = arrivals.clone();
            let work = async move {
                let (shard, listener) = self.arrive()?;
                let _ = arrived.send(Ok(()));
                serve(shard, listener).await;
                io::Result::Ok(())
            };
            if let Err(error) = run_core(core, work).and_then(|served| served) {
                spread.retire(index);
                tracing::error!("core {index} cannot run: {error}");
                let _ = arrivals.send(Err(error));
            }
        })
    }

    /// Becomes a core: from here on its mail is read.
    fn arrive(self) -> io::Result<(Rc<Shard>, Listener)> {
        let shard = Shard::new(self.index, &self.shared, self.sender);
        shard.metrics.this_thread();
        let mail = self.seed.attach()?;
        drop(spawn(read_mail(Rc::clone(&shard), mail)));
        Ok((shard, Listener::new(self.listener)?))
    }
}

/// Starts these cores and returns when each is on its processor and listens.
///
/// The first core stands still meanwhile, for the milliseconds that a core takes to set up its ring.
///
/// # Errors
/// The first failure: a machine is served by all of its cores or not at all.
fn run_beside(cores: Vec<CoreStart>) -> io::Result<Vec<JoinHandle<()>>> {
    let count = cores.len();
    let (sender, arrivals) = crossbeam_channel::bounded(2 * count);
    let threads = cores.into_iter().map(|core| core.run_beside(sender.clone())).collect::<io::Result<Vec<_>>>()?;
    drop(sender);
    for _ in 0..count {
        arrivals.recv().unwrap_or_else(|_| Err(io::Error::other("a core ended as it started")))?;
    }
    Ok(threads)
}

impl SideDoors {
    /// Serves control and operators, from before the greeting on: control may ask us back.
    fn open(self, shard: &Rc<Shard>) -> io::Result<()> {
        let rpc = Listener::new(self.rpc)?;
        let admin = Listener::new(self.admin)?;
        let operators = Places::new(shard.config.dataplane.admin_max_connections);
        drop(spawn(accept_side(Rc::clone(shard), rpc, Places::new(RPC_CONNECTIONS_MAX), rpc_server::serve)));
        drop(spawn(accept_side(Rc::clone(shard), admin, operators, admin::serve)));
        Ok(())
    }
}

async fn accept_side<F: Future<Output = ()> + 'static>(
    shard: Rc<Shard>,
    listener: Listener,
    places: Rc<Places>,
    serve: fn(Rc<Shard>, Place) -> F,
) {
    let mut complaint = Complaint::default();
    loop {
        match listener.accept().await {
            // Without a place it is closed.
            Ok(conn) => drop(places.take(conn).map(|place| spawn(serve(Rc::clone(&shard), place)))),
            Err(error) => complaint.pause(&error).await,
        }
    }
}

/// What a listener does that cannot accept.
#[derive(Debug, Default)]
struct Complaint {
    last: Option<Instant>,
}

impl Complaint {
    async fn pause(&mut self, error: &io::Error) {
        if self.last.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL) {
            self.last = Some(Instant::now());
            tracing::error!(
                "connections cannot be accepted for the moment: {error}; raise RLIMIT_NOFILE or add memory"
            );
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Makes ourselves known to control, which is told apart from a dead data plane's leftovers by our instance.
async fn greet(shard: &Shard) -> Result<(), StartError> {
    loop {
        let hello = ToControl::Hello { instance: shard.shared.instance.clone() };
        match shard.control.call::<Done>(hello).await {
            Ok(Done {}) => return Ok(()),
            Err(error) if is_away(&error) => sleep(HELLO_PAUSE).await,
            Err(error) if error.kind == Kind::Conflict => {
                return Err(StartError::new(format!("{}; run both planes from one version", error.message)));
            }
            Err(error) => return Err(StartError::new(format!("the control plane refuses us: {error}"))),
        }
    }
}

async fn read_mail(shard: Rc<Shard>, mail: Mailbox<CoreEvent>) {
    loop {
        match mail.recv().await {
            CoreEvent::Drain => {
                shard.draining.set(true);
                shard.changed.notify();
            }
            CoreEvent::CancelUpload(upload_id) => shard.cancel_upload(&upload_id),
            CoreEvent::Connection(moving) => take_over(&shard, moving),
            CoreEvent::Job(job) => drop(spawn(job::run(Rc::clone(&shard), *job))),
            CoreEvent::Rework(rework) => drop(spawn(rework::run(Rc::clone(&shard), *rework))),
        }
    }
}

async fn drain_begun(shard: &Shard) {
    while !shard.draining.get() {
        shard.changed.wait().await;
    }
}

/// Accepts clients until the drain begins, then waits for those that are here, as long as the configuration allows.
async fn serve(shard: Rc<Shard>, listener: Listener) {
    let mut complaint = Complaint::default();
    loop {
        match race(listener.accept(), drain_begun(&shard)).await {
            Either::First(Ok(conn)) => admit(&shard, conn),
            Either::First(Err(error)) => {
                shard.places.evict();
                complaint.pause(&error).await;
            }
            Either::Second(()) => break,
        }
    }
    drop(listener);
    let until = Instant::now() + shard.config.dataplane.drain;
    while shard.places.taken() > 0 {
        let left = until.saturating_duration_since(Instant::now());
        if timeout(left, shard.places.freed()).await.is_err() && left.is_zero() {
            tracing::warn!("core {}: {} connections are cut", shard.index, shard.places.taken());
            return;
        }
    }
}

/// Serves a client that has connected, or passes it on to a core that has fewer of them.
fn admit(shard: &Rc<Shard>, conn: Conn) {
    // More would only mean that the core is busy with one client for longer, and that bytes leave the processor's caches before they
    // are received. For a client that is far the kernel finds out how much can be on its way.
    if let Some(bytes) = shard.config.dataplane.send_buffer_bytes
        && conn.is_near()
    {
        // Without it nothing is wrong.
        let _ = conn.set_send_buffer(bytes);
    }
    let claim = shard.shared.spread.place(shard.index);
    // Passing it on takes one more descriptor for a moment.
    if claim.core() == shard.index || are_descriptors_scarce() {
        settle(shard, conn, claim, None);
        return;
    }
    match conn.detach().map(|conn| shard.shared.spread.send(Moving { conn, claim, begun: None })) {
        Ok(Ok(())) => shard.metrics.moved(),
        Ok(Err(moving)) => take_over(shard, moving),
        Err(error) => tracing::debug!("a connection is lost on its way to another core: {error}"),
    }
}

/// Serves a connection that comes from another core.
pub(crate) fn take_over(shard: &Rc<Shard>, moving: Moving) {
    let Moving { conn, claim, begun } = moving;
    match conn.attach() {
        Ok(conn) => settle(shard, conn, claim, begun),
        Err(error) => tracing::debug!("a connection is lost on its way from another core: {error}"),
    }
}

/// Serves a client here, if there is a place and a descriptor for it. Else it is closed at once: its own retry is the queue.
fn settle(shard: &Rc<Shard>, mut conn: Conn, claim: Claim, begun: Option<Box<Begun>>) {
    if is_reserved(&conn) && !conn.renumber().unwrap_or(false) {
        // One of the last descriptors is taken only in exchange for another, and only until that one is free.
        match shard.places.evict() {
            true => drop(spawn(exchange(Rc::clone(shard), conn, claim, begun))),
            false => shard.metrics.refused(),
        }
    } else {
        sit(shard, conn, claim, begun);
    }
    shard.metrics.evicted(shard.places.evicted());
}

/// Serves a client once somebody else has given its descriptor back.
async fn exchange(shard: Rc<Shard>, mut conn: Conn, claim: Claim, begun: Option<Box<Begun>>) {
    for _ in 0..EXCHANGE_TRIES {
        if conn.renumber().unwrap_or(false) {
            sit(&shard, conn, claim, begun);
            return shard.metrics.evicted(shard.places.evicted());
        }
        sleep(EXCHANGE_PAUSE).await;
    }
    shard.metrics.refused();
}

fn sit(shard: &Rc<Shard>, conn: Conn, claim: Claim, begun: Option<Box<Begun>>) {
    let Some(place) = shard.places.reserve() else { return shard.metrics.refused() };
    let shard = Rc::clone(shard);
    drop(spawn(async move {
        if let Some(place) = seat(&shard, place, conn).await {
            connection::serve(shard, place, claim, begun).await;
        }
    }));
}

/// Makes a connection ready to serve: a handshake, where clients speak TLS. It may lose its place meanwhile.
async fn seat(shard: &Rc<Shard>, place: Place, conn: Conn) -> Option<Place> {
    let conn = match &shard.shared.tls {
        // One that comes from another core has had its handshake.
        Some(tls) if conn.tls().is_none() => {
            place.while_waiting(Box::pin(tls::secure(shard, tls, conn))).await.flatten()?
        }
        _ => conn,
    };
    place.seat(conn);
    Some(place)
}
