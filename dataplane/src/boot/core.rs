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

use super::StartError;
use crate::control_client::is_away;
use crate::futures::{Either, race};
use crate::io::{Conn, CoreConfig, Listener, MailSender, Mailbox, MailboxSeed, run_core, sleep, spawn, timeout};
use crate::shard::{Shard, Shared};
use crate::uploads::CoreEvent;
use crate::{admin, connection, rpc_server, tls};

/// The pause between two greetings of a control plane that is not there yet.
const HELLO_PAUSE: Duration = Duration::from_millis(5);

/// The pause after descriptors or memory ran out, before connections are accepted again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
            let threads: io::Result<Vec<_>> = others.into_iter().map(CoreStart::run_beside).collect();
            let threads = threads.map_err(StartError::new)?;
            on_ready();
            serve(shard, listener).await;
            Ok(threads)
        };
        let threads: Vec<JoinHandle<()>> = run_core(core, work).map_err(StartError::new)??;
        threads.into_iter().for_each(|thread| drop(thread.join()));
        Ok(())
    }

    /// Runs the core on a thread of its own.
    fn run_beside(self) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name(format!("core-{}", self.index)).spawn(move || {
            let (core, index) = (self.core.clone(), self.index);
            let work = async move {
                let (shard, listener) = self.arrive()?;
                serve(shard, listener).await;
                io::Result::Ok(())
            };
            if let Err(error) = run_core(core, work).and_then(|served| served) {
                tracing::error!("core {index} cannot run: {error}");
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

impl SideDoors {
    /// Serves control and operators, from before the greeting on: control may ask us back.
    fn open(self, shard: &Rc<Shard>) -> io::Result<()> {
        let rpc = Listener::new(self.rpc)?;
        let admin = Listener::new(self.admin)?;
        drop(spawn(accept_side(Rc::clone(shard), rpc, rpc_server::serve)));
        drop(spawn(accept_side(Rc::clone(shard), admin, admin::serve)));
        Ok(())
    }
}

async fn accept_side<F: Future<Output = ()> + 'static>(
    shard: Rc<Shard>,
    listener: Listener,
    serve: fn(Rc<Shard>, Conn) -> F,
) {
    loop {
        match listener.accept().await {
            Ok(conn) => drop(spawn(serve(Rc::clone(&shard), conn))),
            Err(error) => pause_accepting(&error).await,
        }
    }
}

async fn pause_accepting(error: &io::Error) {
    tracing::error!("connections cannot be accepted for the moment: {error}; raise RLIMIT_NOFILE or add memory");
    sleep(ACCEPT_PAUSE).await;
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
    let cores = shard.shared.metrics.len().max(1);
    let connections_max = (shard.config.dataplane.max_connections / cores).max(1);
    loop {
        match race(listener.accept(), drain_begun(&shard)).await {
            Either::First(Ok(conn)) if shard.connections.get() < connections_max => admit(&shard, conn),
            // Closed at once: the client's own retry is the queue.
            Either::First(Ok(_)) => shard.metrics.refused(),
            Either::First(Err(error)) => pause_accepting(&error).await,
            Either::Second(()) => break,
        }
    }
    drop(listener);
    let until = Instant::now() + shard.config.dataplane.drain;
    while shard.connections.get() > 0 {
        let left = until.saturating_duration_since(Instant::now());
        if timeout(left, shard.changed.wait()).await.is_err() && left.is_zero() {
            tracing::warn!("core {}: {} connections are cut", shard.index, shard.connections.get());
            return;
        }
    }
}

fn admit(shard: &Rc<Shard>, conn: Conn) {
    let place = Place::take(Rc::clone(shard));
    let shard = Rc::clone(shard);
    drop(spawn(async move {
        let _place = place;
        let conn = match &shard.shared.tls {
            Some(tls) => tls::secure(&shard, tls, conn).await,
            None => Some(conn),
        };
        if let Some(conn) = conn {
            connection::serve(shard, conn).await;
        }
    }));
}

/// A client's place among the connections of a core; free again when dropped, also by a panic.
struct Place(Rc<Shard>);

impl Place {
    fn take(shard: Rc<Shard>) -> Self {
        shard.connections.set(shard.connections.get() + 1);
        Place(shard)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get().saturating_sub(1));
        if self.0.draining.get() {
            self.0.changed.notify();
        }
    }
}
