//! From nothing to serving cores, and back.
//!
//! The first core starts alone: it greets control, which clears up after an earlier data plane before it answers. Only
//! then do the other cores start and clients get in.

mod core;
mod listen;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use common::authorise::Authority;
use common::browser::Doorkeeper;
use common::config::{self, Config};
use common::policy::Policy;
use common::rpc::DATAPLANE_SOCKET;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use uuid::Uuid;

use self::core::{CoreStart, SideDoors};
use self::listen::Sockets;
use crate::hash::Pool;
use crate::io::{
    CoreConfig, Driver, MailSender, MailboxSeed, Offload, OffloadConfig, available_cpus, mailbox, preflight,
};
use crate::metrics::CoreMetrics;
use crate::shard::Shared;
use crate::store::Stores;
use crate::uploads::{CoreEvent, Uploads};

/// Entries of a core's submission queue.
const RING_ENTRIES: u32 = 1024;

/// Messages that may wait for a core: cancelled uploads, and the end.
const CORE_MAIL_MAX: usize = 1024;

/// Why the data plane cannot start: one line with the cause and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl StartError {
    fn new(what: impl std::fmt::Display) -> Self {
        StartError(what.to_string())
    }
}

/// Runs the data plane until a signal ends it. `on_ready` is called with the addresses of the API and of the admin
/// listener once requests are served.
///
/// # Errors
/// [`StartError`] when something that it needs is not there.
pub fn run(
    config: Arc<Config>,
    on_ready: impl FnOnce(SocketAddr, SocketAddr) + Send + 'static,
) -> Result<(), StartError> {
    let driver = match config.dataplane.driver {
        config::Driver::Uring => Driver::Uring,
        config::Driver::Epoll => Driver::Epoll,
    };
    preflight(driver).map_err(StartError::new)?;
    let cpus = cpus(&config);
    let sockets = Sockets::open(&config, cpus.len())?;
    let shared = Arc::new(share(&config, cpus.len())?);
    let (senders, seeds) = mailboxes(cpus.len())?;
    watch_signals(senders.clone())?;
    let addresses = (sockets.api_address, sockets.admin_address);
    let fills = config.dataplane.offload_threads;
    let offload = Offload::new(OffloadConfig { calls: fills, fills }).map_err(StartError::new)?;
    let mut cores = cpus.into_iter().zip(seeds).zip(sockets.api).zip(senders).enumerate().map(
        |(index, (((cpu, seed), listener), sender))| CoreStart {
            index,
            core: CoreConfig { driver, cpu: Some(cpu), entries: RING_ENTRIES, offload: offload.clone() },
            seed,
            sender,
            listener,
            shared: Arc::clone(&shared),
        },
    );
    let Some(first) = cores.next() else { return Err(StartError::new("there is no processor to run on")) };
    let others: Vec<CoreStart> = cores.collect();
    let side = SideDoors { rpc: sockets.rpc, admin: sockets.admin };
    let outcome = first.run_first(others, side, move || on_ready(addresses.0, addresses.1));
    let _ = fs::remove_file(config.paths.data_dir.join(DATAPLANE_SOCKET));
    outcome
}

/// The processors to run on, one core each.
fn cpus(config: &Config) -> Vec<usize> {
    let mut cpus = available_cpus();
    if let Some(count) = config.dataplane.cores {
        cpus.truncate(count.max(1));
    }
    cpus
}

fn share(config: &Arc<Config>, cores: usize) -> Result<Shared, StartError> {
    // Control tells the warnings.
    let (policy, _) = Policy::load(&config.policy).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        StartError(lines.join("; "))
    })?;
    let stores = Stores::new(&config.stores.list);
    stores.prepare().map_err(StartError::new)?;
    let workers = config.dataplane.hash_threads.and_then(NonZeroUsize::new).or(NonZeroUsize::new(cores));
    let hashes = Pool::new(workers.unwrap_or(NonZeroUsize::MIN)).map_err(StartError::new)?;
    let metrics = (0..cores).map(|_| Arc::new(CoreMetrics::new(config.stores.list.len()))).collect();
    Ok(Shared {
        config: Arc::clone(config),
        authority: Authority::new(policy, config.policy.enforce_new_defaults),
        doorkeeper: Doorkeeper::new(config),
        instance: Uuid::new_v4().to_string(),
        stores,
        hashes,
        uploads: Uploads::default(),
        metrics,
    })
}

type Mail = (Vec<MailSender<CoreEvent>>, Vec<MailboxSeed<CoreEvent>>);

fn mailboxes(count: usize) -> Result<Mail, StartError> {
    let pairs: io::Result<Vec<_>> = (0..count).map(|_| mailbox(CORE_MAIL_MAX)).collect();
    Ok(pairs.map_err(StartError::new)?.into_iter().unzip())
}

/// A signal to end reaches every core as a message.
fn watch_signals(cores: Vec<MailSender<CoreEvent>>) -> Result<(), StartError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(StartError::new)?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            // Reloading has nothing to reload here yet, but must not end us.
            if signal != SIGHUP {
                for core in &cores {
                    let _ = core.post(CoreEvent::Drain);
                }
            }
        }
    });
    Ok(())
}
