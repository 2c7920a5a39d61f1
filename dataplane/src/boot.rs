//! From nothing to serving cores, and back.
//!
//! The first core starts alone: it greets control, which clears up after an earlier data plane before it answers. Only
//! then do the other cores start and clients get in.

mod alone;
mod core;
mod listen;
mod policy;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use common::authorise::Authority;
use common::browser::Doorkeeper;
use common::config::{self, Config};
use common::rpc::DATAPLANE_SOCKET;
use crossbeam_channel::Sender;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use uuid::Uuid;

pub(crate) use self::alone::run_alone;
pub(crate) use self::core::take_over;
use self::core::{CoreStart, SideDoors};
use self::listen::Sockets;
use crate::fetch::TlsClient;
use crate::hash::{Kernels, Pool};
use crate::io::{
    BUFFER_BYTES, BufferLimits, CoreConfig, Driver, MailSender, MailboxSeed, Offload, OffloadConfig, available_cpus,
    mailbox, preflight, preflight_pinning, reserve_descriptors,
};
use crate::metrics::CoreMetrics;
use crate::plugins::find_qemu_img;
use crate::shard::Shared;
use crate::spread::Spread;
use crate::store::Stores;
use crate::tls::Tls;
use crate::transfer::path;
use crate::uploads::{CoreEvent, Uploads};

/// Entries of a core's submission queue.
const RING_ENTRIES: u32 = 1024;

/// Messages that may wait for a core: connections, cancelled uploads, and the end.
const CORE_MAIL_MAX: usize = 1024;

/// Bytes of buffer memory that are pinned when the configuration does not say how many and the limit allows.
const PINNED_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// Free buffers that are kept for the next transfers, over all cores: 16 MiB.
const KEPT_BUFFERS: usize = 64;

/// Why the data plane cannot start: one line with the cause and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StartError {
    what: String,
    misconfigured: bool,
}

impl StartError {
    pub(crate) fn new(what: impl std::fmt::Display) -> Self {
        StartError { what: what.to_string(), misconfigured: false }
    }

    /// Something that an option names is not what it has to be.
    pub(crate) fn misconfigured(what: impl std::fmt::Display) -> Self {
        StartError { what: what.to_string(), misconfigured: true }
    }

    /// Whether the configuration is to blame.
    pub fn is_misconfiguration(&self) -> bool {
        self.misconfigured
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
    let tls = config.dataplane.tls.as_ref().map(Tls::load).transpose().map_err(StartError::misconfigured)?;
    reserve_descriptors(config.dataplane.max_connections);
    let cpus = cpus(&config);
    let pinned = pinned_buffers(&config.dataplane, driver)?;
    let buffers = buffer_limits(&config.dataplane, pinned, cpus.len());
    let sockets = Sockets::open(&config, &cpus)?;
    let (senders, seeds) = mailboxes(cpus.len())?;
    let spread = Spread::new(cpus.clone(), senders.clone());
    let (authority, watch) = policy::load(&config.policy)?;
    let shared = Arc::new(share(&config, tls, spread, authority)?);
    let policy = policy::keep(Arc::clone(&shared.authority), watch)?;
    watch_signals(senders.clone(), Arc::clone(&shared), policy)?;
    let addresses = (sockets.api_address, sockets.admin_address);
    let fills = config.dataplane.offload_threads;
    let offload =
        Offload::new(OffloadConfig { calls: fills, fills, ..OffloadConfig::default() }).map_err(StartError::new)?;
    let pipes = config.dataplane.send_pipes_count.div_ceil(cpus.len());
    let mut cores = cpus.into_iter().zip(seeds).zip(sockets.api).zip(senders).enumerate().map(
        |(index, (((cpu, seed), listener), sender))| CoreStart {
            index,
            core: CoreConfig {
                driver,
                cpu: Some(cpu),
                entries: RING_ENTRIES,
                offload: offload.clone(),
                buffers,
                pipes,
            },
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

/// Buffers to pin, over all cores, after the driver and the limit on locked memory have been tried.
fn pinned_buffers(config: &config::Dataplane, driver: Driver) -> Result<usize, StartError> {
    preflight(driver).map_err(StartError::new)?;
    let buffers = |bytes: u64| usize::try_from(bytes / BUFFER_BYTES as u64).unwrap_or(usize::MAX);
    match config.pinned_memory_bytes {
        _ if driver == Driver::Epoll => Ok(0),
        None => Ok(buffers(PINNED_BYTES_DEFAULT)),
        Some(bytes) => {
            let wanted = buffers(bytes);
            preflight_pinning(wanted).map_err(StartError::new)?;
            Ok(wanted)
        }
    }
}

fn buffer_limits(config: &config::Dataplane, pinned: usize, cores: usize) -> BufferLimits {
    let share = |count: usize| (count / cores.max(1)).max(1);
    let in_use = usize::try_from(config.buffer_memory_bytes_max / BUFFER_BYTES as u64).unwrap_or(usize::MAX);
    BufferLimits {
        in_use_max: share(in_use),
        kept_max: share(KEPT_BUFFERS),
        pinned_max: u16::try_from(if pinned == 0 { 0 } else { share(pinned) }).unwrap_or(u16::MAX),
    }
}

/// Bytes of memory of this machine.
fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    // The type is that of the C library, `u32` on some machines.
    #[allow(clippy::useless_conversion)]
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}

fn share(
    config: &Arc<Config>,
    tls: Option<Tls>,
    spread: Arc<Spread>,
    authority: Arc<Authority>,
) -> Result<Shared, StartError> {
    let cores = spread.cores();
    let stores = Stores::new(config).map_err(StartError::misconfigured)?;
    stores.prepare().map_err(StartError::misconfigured)?;
    let qemu_img = match config.plugins.convert() {
        true => Some(find_qemu_img().ok_or_else(no_qemu_img)?),
        false => None,
    };
    let workers = config.dataplane.hash_threads.and_then(NonZeroUsize::new).or(NonZeroUsize::new(cores));
    let kernels = match config.dataplane.hash_lanes {
        config::HashLanes::Auto => Kernels::best(),
        config::HashLanes::Scalar => Kernels::serial(),
    };
    let hashes = Pool::with_kernels(workers.unwrap_or(NonZeroUsize::MIN), kernels).map_err(StartError::new)?;
    let metrics = (0..cores).map(|_| Arc::new(CoreMetrics::new(stores.count()))).collect();
    Ok(Shared {
        config: Arc::clone(config),
        authority,
        doorkeeper: Doorkeeper::new(config),
        instance: Uuid::new_v4().to_string(),
        stores,
        hashes,
        uploads: Uploads::default(),
        spread,
        send_settings: path::Settings::new(&config.dataplane, memory_bytes()),
        qemu_img,
        tls,
        tls_client: TlsClient::default(),
        metrics,
    })
}

fn no_qemu_img() -> StartError {
    StartError::misconfigured(
        "[image_import_opts] image_import_plugins = image_conversion needs the program qemu-img, which PATH does not lead to: install \
         it (package qemu-utils or qemu-img), or take the plug-in out",
    )
}

type Mail = (Vec<MailSender<CoreEvent>>, Vec<MailboxSeed<CoreEvent>>);

fn mailboxes(count: usize) -> Result<Mail, StartError> {
    let pairs: io::Result<Vec<_>> = (0..count).map(|_| mailbox(CORE_MAIL_MAX)).collect();
    Ok(pairs.map_err(StartError::new)?.into_iter().unzip())
}

/// A signal to end reaches every core as a message. SIGHUP reads the certificate again, on this thread, which may block, and has
/// the policy read again.
fn watch_signals(cores: Vec<MailSender<CoreEvent>>, shared: Arc<Shared>, policy: Sender<()>) -> Result<(), StartError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(StartError::new)?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                // Full: it was asked already.
                let _ = policy.try_send(());
                if let Some(tls) = &shared.tls {
                    tls.reload();
                }
                continue;
            }
            for core in &cores {
                let _ = core.post(CoreEvent::Drain);
            }
        }
    });
    Ok(())
}
