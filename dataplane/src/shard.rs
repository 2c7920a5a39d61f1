//! What one core has: its own connections to everything, its own counters, nothing that another core writes.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use common::authorise::Authority;
use common::browser::Doorkeeper;
use common::catalog::{Queries, Reader};
use common::config::{Config, Flavor};
use common::http::routes::Offered;
use common::{Error, Result};

use crate::control_client::ControlClient;
use crate::fetch::TlsClient;
use crate::hash::Pool;
use crate::identity::Identities;
use crate::io::{Frozen, MailSender, Notify, Semaphore};
use crate::metrics::CoreMetrics;
use crate::places::Places;
use crate::spread::Spread;
use crate::store::{Stores, Turns};
use crate::tls::Tls;
use crate::transfer::path;
use crate::uploads::{CoreEvent, Uploads};

/// Idle connections to control that a core keeps.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// Large bodies that are not image data and are received at a time on one core.
const LARGE_BODIES_MAX: usize = 32;

/// What all cores share. Nothing in it is written per request, let alone per buffer; but see [`Spread`] for downloads of whole images.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) doorkeeper: Doorkeeper,
    /// This process, for control: a fresh UUID.
    pub(crate) instance: String,
    pub(crate) stores: Stores,
    pub(crate) hashes: Pool<Frozen>,
    pub(crate) uploads: Uploads,
    /// Where connections are served.
    pub(crate) spread: Arc<Spread>,
    /// How downloads are sent.
    pub(crate) send_settings: path::Settings,
    /// The program that converts images; `None`: none are.
    pub(crate) qemu_img: Option<PathBuf>,
    /// How clients are served over TLS; `None`: they are not.
    pub(crate) tls: Option<Tls>,
    /// How we are served by others.
    pub(crate) tls_client: TlsClient,
    /// The counters of all cores, for the scrape.
    pub(crate) metrics: Vec<Arc<CoreMetrics>>,
}

/// One core.
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: Arc<Config>,
    pub(crate) control: ControlClient,
    pub(crate) identities: Identities,
    pub(crate) metrics: Arc<CoreMetrics>,
    /// Which versions of the API stand in paths.
    pub(crate) offered: Offered,
    /// Turns for uploads: with the buffers of one upload they bound the core's memory.
    pub(crate) upload_turns: Semaphore,
    /// Turns for calls of stores, by their indexes.
    pub(crate) store_turns: Vec<Turns>,
    /// Turns for large bodies that are not image data: they bound the memory of all of them.
    pub(crate) large_bodies: Semaphore,
    /// Places for connections of clients on this core.
    pub(crate) places: Rc<Places>,
    /// Set once we are stopping: connections end with their present request.
    pub(crate) draining: Cell<bool>,
    /// Wakes connections that wait for a request when draining begins.
    pub(crate) changed: Notify,
    /// Where other threads reach this core.
    mail: MailSender<CoreEvent>,
    cancellations: RefCell<HashMap<String, Rc<Cancellation>>>,
    /// Places whose bytes are being removed on this core.
    clearing: RefCell<HashSet<String>>,
    catalog: OnceCell<Reader>,
}

impl Shard {
    /// The core `index`, on its own thread. `mail`: where other threads reach it.
    pub(crate) fn new(index: usize, shared: &Arc<Shared>, mail: MailSender<CoreEvent>) -> Rc<Self> {
        let config = Arc::clone(&shared.config);
        let cores = shared.metrics.len().max(1);
        let socket = config.paths.data_dir.join(common::rpc::CONTROL_SOCKET);
        let fixed = match config.auth.flavor {
            Flavor::None => Some(common::identity::Identity::everybody()),
            Flavor::Keystone => None,
        };
        Rc::new(Shard {
            index,
            control: ControlClient::new(
                socket,
                (config.control.max_connections / (2 * cores)).clamp(1, IDLE_CONNECTIONS_MAX),
                config.control.rpc_timeout,
                config.control.retry_after_seconds,
            ),
            identities: Identities::new(fixed, Arc::clone(&shared.authority)),
            metrics: Arc::clone(&shared.metrics[index]),
            offered: Offered { multi_store: config.stores.multi, cache: config.cache.is_some() },
            upload_turns: Semaphore::new((config.dataplane.uploads_max / cores).max(1)),
            store_turns: shared.stores.turns(),
            large_bodies: Semaphore::new(LARGE_BODIES_MAX),
            places: Places::new(config.dataplane.max_connections / cores),
            draining: Cell::new(false),
            changed: Notify::new(),
            mail,
            cancellations: RefCell::default(),
            clearing: RefCell::default(),
            catalog: OnceCell::new(),
            shared: Arc::clone(shared),
            config,
        })
    }

    /// Reads the catalog inline: a few indexed look-ups in memory that is mapped already, cheaper than a hop.
    ///
    /// # Errors
    /// 503 while the catalog is not there.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Queries<'_>) -> Result<T>) -> Result<T> {
        let reader = match self.catalog.get() {
            Some(reader) => reader,
            None => {
                let reader = Reader::open(&self.config.database.sqlite).map_err(|error| {
                    let retry = self.config.control.retry_after_seconds;
                    Error::unavailable("The catalog is not available.", retry).caused_by(error)
                })?;
                self.catalog.get_or_init(|| reader)
            }
        };
        let begun = Instant::now();
        let result = reader.read(read);
        self.metrics.catalog(begun.elapsed());
        result
    }
}

/// Uploads of this core.
impl Shard {
    /// Notes a running upload, here for its cancellation and in [`Shared`] for control.
    pub(crate) fn begin_upload(&self, upload_id: &str) {
        self.cancellations.borrow_mut().insert(upload_id.to_owned(), Rc::new(Cancellation::default()));
        self.shared.uploads.begin(upload_id, self.mail.clone());
    }

    /// Forgets it.
    pub(crate) fn end_upload(&self, upload_id: &str) {
        self.cancellations.borrow_mut().remove(upload_id);
        self.shared.uploads.end(upload_id);
    }

    /// Stops the upload, if it runs here.
    pub(crate) fn cancel_upload(&self, upload_id: &str) {
        if let Some(cancellation) = self.cancellations.borrow().get(upload_id) {
            cancellation.cancelled.set(true);
            cancellation.changed.notify();
        }
    }

    /// Waits until the upload is to stop.
    pub(crate) async fn upload_cancelled(&self, upload_id: &str) {
        let cancellation = self.cancellations.borrow().get(upload_id).cloned();
        match cancellation {
            Some(cancellation) => {
                while !cancellation.cancelled.get() {
                    cancellation.changed.wait().await;
                }
            }
            None => std::future::pending().await,
        }
    }
}

/// A place whose bytes are being removed, until dropped.
pub(crate) struct Clearing<'a> {
    shard: &'a Shard,
    url: &'a str,
}

impl Shard {
    /// Notes that the bytes at `url` are being removed; `None` while they already are.
    pub(crate) fn clear<'a>(&'a self, url: &'a str) -> Option<Clearing<'a>> {
        let is_first = self.clearing.borrow_mut().insert(url.to_owned());
        // Made only then: dropping one lets go of the place.
        is_first.then(|| Clearing { shard: self, url })
    }
}

impl Drop for Clearing<'_> {
    fn drop(&mut self) {
        self.shard.clearing.borrow_mut().remove(self.url);
    }
}

/// Whether an upload is to stop.
#[derive(Debug, Default)]
pub(crate) struct Cancellation {
    cancelled: Cell<bool>,
    changed: Notify,
}
