//! One connection to each cluster, for the life of the process, and the threads that wait for it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use common::config::RbdStore;

use super::claims::Claim;
use super::sys::{FEATURE_LAYERING, Failed, Image, Library, Pool, Rados, Step};
use crate::io::{Full, Length, Offload, OffloadConfig};
use crate::store::StoreError;

/// Threads for short calls of one cluster: opening, making, publishing. They hang when the cluster does, and nobody else then.
const CALL_THREADS: usize = 4;

/// Threads for long ones: removing, copying.
const LONG_THREADS: usize = 2;

/// Threads for closing what nobody uses any more.
const CLOSING_THREADS: usize = 4;

/// Calls that may hang at a time.
const OUTSTANDING_MAX: usize = 128;

/// How the libraries are used.
const SETTINGS: [(&str, &str); 9] = [
    // Our buffers do not change while they are written, and nothing is read twice.
    ("rbd_disable_zero_copy_writes", "false"),
    ("rbd_cache", "false"),
    // Nothing is written twice either; and librbd 16 uses its scheduler of writes after the image is closed.
    ("rbd_io_scheduler", "none"),
    // When an image is closed, librbd 16 wakes who goes on with that, and then looks at the image once more: on a busy machine it is
    // gone by then, and the process dies of it. One thread does one thing after the other.
    ("librados_thread_count", "1"),
    // More would raise the other.
    ("rbd_op_threads", "1"),
    // A core must never wait for it.
    ("rbd_non_blocking_aio", "true"),
    // A download changes nothing.
    ("rbd_atime_update_interval", "0"),
    // What goes wrong is told in our log, by who it happens to.
    ("log_to_stderr", "false"),
    ("err_to_stderr", "false"),
];

/// Options by which a cluster's library is told how long to wait.
const TIMEOUTS: [&str; 3] = ["rados_osd_op_timeout", "rados_mon_op_timeout", "client_mount_timeout"];

/// What makes two stores use one connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    conf: Option<PathBuf>,
    user: Option<String>,
    /// What the operator wants, for all operations.
    timeout: Option<Duration>,
    /// What is better than waiting for ever.
    fallback: Duration,
}

/// A cluster, connected or not.
pub(super) struct Cluster {
    key: Key,
    threads: OnceLock<Result<Offload, String>>,
    connection: Mutex<Option<Arc<Connection>>>,
    /// Held while one thread connects: others would not be quicker. When the last attempt that failed ended, and why it failed.
    connecting: Mutex<Option<(Instant, Failed)>>,
}

/// A connection, of which everything else holds a part.
pub(super) struct Connection {
    rados: Arc<Rados>,
    fsid: String,
    /// Features of new images.
    features: u64,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
}

/// What is let go of on the cluster's threads, wherever it was held: that may take as long as the cluster does.
pub(super) struct Held<T: Send + 'static> {
    value: Option<T>,
    threads: Offload,
}

impl<T: Send + 'static> Held<T> {
    pub(super) fn new(value: T, threads: Offload) -> Self {
        Held { value: Some(value), threads }
    }

    /// The thing itself.
    pub(super) fn value(&self) -> &T {
        self.value.as_ref().expect("present until the drop")
    }

    /// Where it is let go of.
    pub(super) fn threads(&self) -> &Offload {
        &self.threads
    }
}

/// A pool in use, and the cluster that it is of.
pub(super) struct Tie {
    cluster: Arc<Cluster>,
    /// The last one who has it may be the last of the connection, which ends on the cluster's threads.
    pool: Arc<Held<Arc<Pool>>>,
}

impl Tie {
    pub(super) fn new(cluster: &Arc<Cluster>, pool: Arc<Held<Arc<Pool>>>) -> Self {
        Tie { cluster: Arc::clone(cluster), pool }
    }

    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The pool, for calls that block.
    pub(super) fn pool(&self) -> Arc<Held<Arc<Pool>>> {
        Arc::clone(&self.pool)
    }

    /// See [`Cluster::lost`].
    pub(super) fn lost(&self, failed: Failed) -> StoreError {
        self.cluster.lost(failed, self.pool.value().rados())
    }
}

impl std::fmt::Debug for Tie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tie").field("key", &self.cluster.key).finish_non_exhaustive()
    }
}

impl Held<Opened> {
    /// The image, for calls that block.
    pub(super) fn get(&self) -> &Image {
        &self.value().image
    }
}

impl AsRef<Image> for Held<Opened> {
    fn as_ref(&self) -> &Image {
        self.get()
    }
}

/// An open image, and the name that is in use until it is closed.
pub(super) struct Opened {
    // Dropped in this order.
    pub(super) image: Image,
    pub(super) _claim: Option<Claim>,
}

/// The thing itself, for who lets go of it where that may block.
impl<T: Send + 'static> From<Held<T>> for Option<T> {
    fn from(mut held: Held<T>) -> Self {
        held.value.take()
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.threads.detach(move || drop(value));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// The cluster of a store. Stores with the same options have the same.
    pub(super) fn of(store: &RbdStore, fallback: Duration) -> Arc<Cluster> {
        static CLUSTERS: Mutex<Vec<Arc<Cluster>>> = Mutex::new(Vec::new());
        let key = Key { conf: store.conf.clone(), user: store.user.clone(), timeout: store.timeout, fallback };
        let mut clusters = lock(&CLUSTERS);
        if let Some(known) = clusters.iter().find(|cluster| cluster.key == key) {
            return Arc::clone(known);
        }
        let cluster = Arc::new(Cluster {
            key,
            threads: OnceLock::new(),
            connection: Mutex::new(None),
            connecting: Mutex::default(),
        });
        clusters.push(Arc::clone(&cluster));
        cluster
    }

    /// Its threads, started when they are first needed.
    pub(super) fn threads(&self) -> Result<&Offload, StoreError> {
        let threads = self.threads.get_or_init(|| {
            let config = OffloadConfig {
                calls: CALL_THREADS,
                fills: LONG_THREADS,
                detached: CLOSING_THREADS,
                outstanding_max: OUTSTANDING_MAX,
            };
            Offload::new(config).map_err(|error| error.to_string())
        });
        threads.as_ref().map_err(|error| StoreError::Exhausted(std::io::Error::other(error.clone())))
    }

    /// Runs `call`, which may block, on the cluster's threads.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        length: Length,
        call: impl FnOnce(&Arc<Cluster>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let cluster = Arc::clone(self);
        match self.threads()?.try_run(length, move || call(&cluster)).await {
            Ok(outcome) => outcome,
            Err(Full) => Err(StoreError::Away("too many calls of the cluster hang".to_owned())),
        }
    }

    /// The connection; connects if there is none. Blocks.
    pub(super) fn connect(&self) -> Result<Arc<Connection>, StoreError> {
        if let Some(connection) = &*lock(&self.connection) {
            return Ok(Arc::clone(connection));
        }
        let asked = Instant::now();
        let mut last_failed = lock(&self.connecting);
        if let Some(connection) = &*lock(&self.connection) {
            return Ok(Arc::clone(connection));
        }
        // Who waited while others tried knows as much as they do; else each would wait for a cluster that is away, one after the other.
        if let Some((ended, failed)) = *last_failed
            && ended > asked
        {
            return Err(store_error(failed));
        }
        let library = Library::get().map_err(StoreError::Away)?;
        match self.try_connect(library) {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *lock(&self.connection) = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(failed) => {
                *last_failed = Some((Instant::now(), failed));
                Err(store_error(failed))
            }
        }
    }

    fn try_connect(&self, library: &'static Library) -> Result<Connection, Failed> {
        let rados = self.configure(library)?;
        rados.connect()?;
        let fsid = rados.fsid()?;
        let features = rados.get("rbd_default_features").and_then(|value| value.parse().ok());
        let features = features.filter(|features| *features != 0).unwrap_or(FEATURE_LAYERING);
        Ok(Connection { rados: Arc::new(rados), fsid, features, pools: Mutex::default() })
    }

    fn configure(&self, library: &'static Library) -> Result<Rados, Failed> {
        let conf = self.key.conf.as_ref().map(|path| path.to_string_lossy().into_owned());
        let rados = Rados::configure(library, self.key.user.as_deref(), conf.as_deref())?;
        for (name, value) in SETTINGS {
            // Not every version of the library has all of them.
            if let Err(failed) = rados.set(name, value)
                && failed.errno != libc::ENOENT
            {
                return Err(failed);
            }
        }
        for name in TIMEOUTS {
            let seconds = match self.key.timeout {
                Some(wanted) => Some(wanted),
                // The library waits for ever by default, and for five minutes to connect.
                None => {
                    let is_set = name != "client_mount_timeout"
                        && rados.get(name).and_then(|value| value.parse::<f64>().ok()).is_some_and(|value| value > 0.0);
                    (!is_set).then_some(self.key.fallback)
                }
            };
            if let Some(seconds) = seconds {
                rados.set(name, &seconds.as_secs().to_string())?;
            }
        }
        Ok(rados)
    }

    /// What a failed call means, after what it means for the connection that it was made by: a client that the cluster has locked out
    /// has to come again as another one.
    pub(super) fn lost(&self, failed: Failed, by: &Arc<Rados>) -> StoreError {
        if matches!(failed.errno, libc::ESHUTDOWN | libc::ENOTCONN) {
            let old = lock(&self.connection).take_if(|connection| Arc::ptr_eq(&connection.rados, by));
            if let (Some(old), Ok(threads)) = (old, self.threads()) {
                tracing::warn!(
                    "the connection to a Ceph cluster is given up: {failed}; the next one is made when it is needed"
                );
                drop(Held::new(old, threads.clone()));
            }
        }
        store_error(failed)
    }

    /// The connection, for whoever asks for an image: that there is none says nothing of the image.
    pub(super) fn reach(&self) -> Result<Arc<Connection>, StoreError> {
        self.connect().map_err(|error| match error {
            StoreError::NotFound => {
                StoreError::Away("the cluster, its configuration or the key is not there".to_owned())
            }
            other => other,
        })
    }

    /// Why a store of this cluster cannot be used: one line for the operator; `None`: it can, or the cluster does not answer now.
    /// Blocks.
    pub(super) fn problem(&self, pool: &str) -> Option<String> {
        let library = match Library::get() {
            Ok(library) => library,
            Err(problem) => return Some(problem),
        };
        let conf = self.key.conf.as_ref().map_or("(unset)".to_owned(), |path| path.display().to_string());
        let user = self.key.user.as_deref().unwrap_or("admin");
        let rados = match self.configure(library) {
            Ok(rados) => rados,
            Err(failed) => return Some(format!("rbd_store_ceph_conf = {conf}: it cannot be read: {failed}")),
        };
        let keyring = rados.get("keyring").unwrap_or_default();
        drop(rados);
        match self.connect().and_then(|connection| self.usable(&connection, pool)) {
            Ok(()) => None,
            Err(StoreError::NotFound) => Some(format!(
                "rbd_store_user = {user}: there is no key for client.{user} (looked for in {keyring}, as {conf} says)"
            )),
            Err(StoreError::Denied(error)) => Some(format!(
                "rbd_store_user = {user}: the cluster refuses client.{user} with the key in {keyring}: {error}"
            )),
            Err(StoreError::Foreign(_)) => Some(format!(
                "rbd_store_pool = {pool}: the cluster has no pool of this name, or client.{user} may not use it"
            )),
            Err(StoreError::Away(error)) => {
                tracing::warn!("a Ceph cluster does not answer ({conf}): {error}; it is tried again when it is needed");
                None
            }
            Err(error) => Some(format!("rbd_store_ceph_conf = {conf}: the cluster cannot be used: {error}")),
        }
    }

    /// Whether the pool is there and may be looked into.
    fn usable(&self, connection: &Connection, pool: &str) -> Result<(), StoreError> {
        let missing = |_| StoreError::Foreign(pool.to_owned());
        let opened = connection.pool(pool).map_err(|failed| match failed.errno {
            libc::ENOENT | libc::EPERM | libc::EACCES => missing(failed),
            _ => self.lost(failed, connection.rados()),
        })?;
        match Image::open_read_only(&opened, ".vitrine-is-not-there", None) {
            Err(failed) if matches!(failed.errno, libc::EPERM | libc::EACCES) => Err(missing(failed)),
            Err(failed) if failed.errno == libc::ENOENT => Ok(()),
            Err(failed) => Err(self.lost(failed, connection.rados())),
            Ok(image) => {
                drop(image);
                Ok(())
            }
        }
    }
}

impl Connection {
    /// What tells it from others.
    pub(super) fn rados(&self) -> &Arc<Rados> {
        &self.rados
    }

    /// The cluster's id.
    pub(super) fn fsid(&self) -> &str {
        &self.fsid
    }

    /// Features of new images: what the cluster's configuration says.
    pub(super) fn features(&self) -> u64 {
        self.features
    }

    /// Bytes that are free in the cluster. Blocks.
    pub(super) fn free_bytes(&self) -> Result<u64, Failed> {
        self.rados.free_bytes()
    }

    /// The pool named `name`, opened once. Blocks.
    pub(super) fn pool(&self, name: &str) -> Result<Arc<Pool>, Failed> {
        let mut pools = lock(&self.pools);
        if let Some(pool) = pools.get(name) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(Pool::open(&self.rados, name)?);
        pools.insert(name.to_owned(), Arc::clone(&pool));
        Ok(pool)
    }
}

/// What a failed call of the libraries means.
fn store_error(failed: Failed) -> StoreError {
    let error = std::io::Error::from(failed);
    match failed.errno {
        libc::ETIMEDOUT | libc::ESHUTDOWN | libc::ENOTCONN | libc::ECONNREFUSED | libc::EHOSTUNREACH => {
            StoreError::Away(error.to_string())
        }
        libc::EBUSY => StoreError::InUse(error.to_string()),
        libc::ENOENT if failed.step == Step::Pool => StoreError::Foreign("the pool is not there".to_owned()),
        _ => StoreError::from(error),
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("key", &self.key).finish_non_exhaustive()
    }
}
