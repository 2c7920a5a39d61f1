//! The configuration as the program uses it: plain values, checked once, never changed.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::plugins::Plugins;
pub use super::resolved_keystone::{
    KeystoneAccess, KeystoneAuth, LimitsEndpoint, Scope, ServiceCredentials, UnifiedLimits,
};
use super::services::{ImageCache, KeyManagerKind};
use crate::outbound::Filter;

/// What the command line says, above everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--admin-listen`.
    pub admin_listen: Option<SocketAddr>,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` in.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for where it is used.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Our own directories.
    pub paths: Paths,
    /// Addresses.
    pub listen: Listen,
    /// Behaviour of the Images API.
    pub api: Api,
    /// What is done to imported data before it goes into stores.
    pub plugins: Plugins,
    /// Where the bytes are.
    pub stores: Stores,
    /// Who calls.
    pub auth: Auth,
    /// Which web pages may use the API.
    pub browsers: Browsers,
    /// What users may have fetched.
    pub outbound: Filter,
    /// Who may do what.
    pub policy: PolicyFiles,
    /// Where the certificates of signed images are.
    pub key_manager: KeyManagerKind,
    /// The image cache; `None`: the site has none.
    pub cache: Option<ImageCache>,
    /// Who may do what with which property; `None`: the policy alone decides.
    pub protections: Option<ProtectionFile>,
    /// Where Keystone's unified limits are read; `None`: they do not count.
    pub limits: Option<UnifiedLimits>,
    /// The catalog.
    pub database: Database,
    /// The health check.
    pub health: Health,
    /// The log.
    pub logging: Logging,
    /// The data plane.
    pub dataplane: Dataplane,
    /// The control plane.
    pub control: Control,
}

/// Directories; all absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Sockets, the catalog and the images, unless configured elsewhere.
    pub data_dir: PathBuf,
    /// Data of imports before it goes into a store.
    pub staging_dir: PathBuf,
    /// Files with metadata definitions.
    pub metadefs_dir: PathBuf,
}

/// Addresses to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// The API.
    pub api: SocketAddr,
    /// Metrics and health for operators.
    pub admin: SocketAddr,
}

/// Behaviour of the Images API. A quota of `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Base URL in version links, without a slash at the end; else the request's host.
    pub public_endpoint: Option<String>,
    /// Whether `Forwarded` and `X-Forwarded-*` are believed.
    pub trust_proxy_headers: bool,
    /// Characters of the longest accepted request id.
    pub request_id_length_max: usize,
    /// Images of a page without `limit`.
    pub page_default: usize,
    /// Images of the largest page.
    pub page_max: usize,
    /// Whether `direct_url` is shown.
    pub show_image_direct_url: bool,
    /// Whether `locations` are shown and may be changed.
    pub show_multiple_locations: bool,
    /// Members of an image.
    pub member_quota: Option<u64>,
    /// Properties of an image.
    pub property_quota: Option<u64>,
    /// Tags of an image.
    pub tag_quota: Option<u64>,
    /// Locations of an image.
    pub location_quota: Option<u64>,
    /// Bytes of the largest image.
    pub image_size_max: u64,
    /// Bytes of all images of a project. None where [`Config::limits`] says more.
    pub user_storage_quota: Option<u64>,
    /// Algorithm of `os_hash_value` of new images, by the name that `os_hash_algo` shows.
    pub hashing_algorithm: String,
    /// Whether the data of a location that is added is read for its digests.
    pub do_secure_hash: bool,
    /// Further tries of that, where the data cannot be read.
    pub hash_retries: u32,
    /// Import methods that clients may use.
    pub enabled_import_methods: Vec<String>,
    /// How the names of properties begin that come with an image of another region.
    pub remote_properties: Vec<String>,
    /// How long a task that is over is remembered.
    pub task_time_to_live: Duration,
    /// Imports that move data at a time.
    pub imports_at_a_time: usize,
    /// Container formats that images may have.
    pub container_formats: Vec<String>,
    /// Disk formats that images may have.
    pub disk_formats: Vec<String>,
    /// Whether uploaded data must be of the image's disk format.
    pub require_image_format_match: bool,
    /// Checks of partition tables whose failure is only logged.
    pub gpt_safety_checks_nonfatal: Vec<String>,
}

/// Which web pages may use the API; see [`crate::browser`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browsers {
    /// Origins such as `https://horizon.example`, or `*` for all.
    pub allowed_origins: Vec<String>,
    /// Whether browsers may send what they know of the user along.
    pub allow_credentials: bool,
    /// Headers of answers that pages may read.
    pub expose_headers: Vec<String>,
    /// Seconds for which browsers remember what is allowed.
    pub max_age_seconds: u64,
    /// Methods that pages may use.
    pub allow_methods: Vec<String>,
    /// Headers that pages may send, beside those that every page may.
    pub allow_headers: Vec<String>,
    /// Names that this server goes by in the configuration: of `bind_host` and `public_endpoint`, lower case.
    pub server_names: Vec<String>,
}

/// All stores. There is at least one, and `default` names one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stores {
    /// Whether `enabled_backends` is set: store ids are then part of the API.
    pub multi: bool,
    /// Id of the store for new images.
    pub default: String,
    /// The stores, in the order of the file. In the mode of a single store its id is the kind, `file`.
    pub list: Vec<StoreConfig>,
    /// Where data waits for its import: no store of the API.
    pub staging: StoreConfig,
}

/// Id of [`Stores::staging`].
pub const STAGING_STORE: &str = "os_glance_staging_store";

/// One store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Its id in the API and in locations.
    pub id: String,
    /// What it is.
    pub kind: StoreKind,
    /// Of an image's locations the one in the store with the highest weight is read.
    pub weight: i64,
    /// Text for people.
    pub description: Option<String>,
}

/// Kinds of stores that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// Files in directories of this machine.
    File(FileStore),
    /// Data that others have: whatever `http:` and `https:` URLs lead to. Nothing can be written there.
    Http,
    /// Images in a pool of a Ceph cluster.
    Rbd(RbdStore),
}

impl StoreKind {
    /// Whether images can be put there.
    pub fn is_writable(&self) -> bool {
        match self {
            StoreKind::File(_) | StoreKind::Rbd(_) => true,
            StoreKind::Http => false,
        }
    }
}

/// Files in directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStore {
    /// Directories, highest priority first; at least one.
    pub dirs: Vec<DataDir>,
    /// Permission bits of image files; `None`: what the umask leaves.
    pub file_mode: Option<u32>,
    /// Whether zeros become holes.
    pub thin_provisioning: bool,
    /// Bytes that are looked at together for that.
    pub chunk_bytes: u64,
}

/// Images in a pool of a Ceph cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RbdStore {
    /// The pool.
    pub pool: String,
    /// Who we are to the cluster, without `client.`; `None`: the library's default, `admin`.
    pub user: Option<String>,
    /// Its `ceph.conf`; `None`: where the library looks for it.
    pub conf: Option<PathBuf>,
    /// Bytes of the objects of new images, a power of two.
    pub chunk_bytes: u64,
    /// Longest time of an operation; `None`: as `ceph.conf` says.
    pub timeout: Option<Duration>,
    /// Whether zeros are not stored.
    pub thin_provisioning: bool,
    /// The cluster's id, which is part of locations.
    pub fsid: Learnt,
}

/// What is not configured but learnt once, of whoever knows it, and the same from then on. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Learnt(Arc<OnceLock<String>>);

impl Learnt {
    /// It, if it is known by now.
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Takes it down; the first one counts.
    pub fn learn(&self, value: String) {
        let _ = self.0.set(value);
    }
}

impl PartialEq for Learnt {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Learnt {}

/// A directory of a file store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    /// Absolute path.
    pub path: PathBuf,
    /// Higher is taken first, while there is room.
    pub priority: i64,
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// Not at all: everybody is the administrator.
    None,
    /// By tokens of Keystone.
    Keystone,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// The kind of proof.
    pub flavor: Flavor,
    /// Whether callers without a valid token may read public images.
    pub allow_anonymous_access: bool,
    /// Set exactly when the flavor is [`Flavor::Keystone`].
    pub keystone: Option<KeystoneAuth>,
}

/// Where policy rules are read from; see [`crate::policy::Policy::load`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFiles {
    /// Where the policy file may be: the first that exists is it.
    pub file: Vec<PathBuf>,
    /// Where each directory of further files may be: the first of its places that exists.
    pub dirs: Vec<Vec<PathBuf>>,
    /// Rule that stands in for rules that do not exist.
    pub default_rule: String,
    /// `false`: what an older default allowed stays allowed.
    pub enforce_new_defaults: bool,
}

/// Where property protections are read from; see [`crate::protect::Protections::load`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectionFile {
    /// The file.
    pub file: PathBuf,
    /// What its permissions are.
    pub format: ProtectionFormat,
}

/// What a permission of a property protection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtectionFormat {
    /// Names of roles.
    Roles,
    /// The name of a rule of the policy.
    Policies,
}

/// The catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// SQLite file; absolute.
    pub sqlite: PathBuf,
}

/// The health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// While this file exists, the answer is 503.
    pub disable_by_file: Option<PathBuf>,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Whether to log more.
    pub debug: bool,
    /// File; `None`: standard error.
    pub file: Option<PathBuf>,
}

/// How the data plane waits for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

/// How checksums of several uploads are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashLanes {
    /// Side by side, as far as the processor can and it pays.
    Auto,
    /// One after the other.
    Scalar,
}

/// The data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataplane {
    /// How it waits for the kernel.
    pub driver: Driver,
    /// Threads that serve connections; `None`: one per core.
    pub cores: Option<usize>,
    /// Client connections at a time, over all cores.
    pub max_connections: usize,
    /// Connections to the admin listener at a time.
    pub admin_max_connections: usize,
    /// Length of the listen queue.
    pub listen_backlog: u32,
    /// Idle time before TCP asks whether the client is still there.
    pub tcp_keepidle: Duration,
    /// Whether a connection is kept after a response.
    pub http_keepalive: bool,
    /// Bytes of a request's line and headers together.
    pub request_head_bytes_max: usize,
    /// Headers of a request.
    pub request_header_count_max: usize,
    /// Longest time from a request's first byte to the end of its headers.
    pub head_timeout: Duration,
    /// Longest time that a connection stays without a request; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// Slowest request body that is put up with; 0: any.
    pub body_min_rate_bytes_per_second: u64,
    /// Longest time from the start of a fetch to the head of the answer, and the shortest to the report of a failure.
    pub fetch_answer_timeout: Duration,
    /// Longest time of a fetch; `None`: for ever.
    pub fetch_timeout: Option<Duration>,
    /// Longest time that a client may take nothing of a response.
    pub send_stall: Duration,
    /// Slowest client of a response that is put up with, looked at once in each `send_stall` that it was waited for; 0: any.
    pub send_min_rate_bytes_per_second: u64,
    /// Bytes of a request body that is not image data.
    pub metadata_body_bytes_max: usize,
    /// Buffers of one upload.
    pub upload_buffers_count: usize,
    /// Uploads received at a time, over all cores.
    pub uploads_max: usize,
    /// Whether image files are written past the page cache.
    pub upload_direct_io: bool,
    /// Bytes of an image in a Ceph cluster that are on their way at a time.
    pub rbd_in_flight_bytes: u64,
    /// Longest time of an operation of a Ceph cluster, where nothing else says how long.
    pub rbd_timeout: Duration,
    /// Faults of stores that tests inject.
    pub store_faults: Vec<String>,
    /// The way of downloads; `None`: decided for each.
    pub send_path: Option<SendPath>,
    /// Pipes for downloads, over all cores.
    pub send_pipes_count: usize,
    /// Size in bytes from which cold images are read past the page cache; `None`: half of the memory, 0: never.
    pub direct_read_bytes_min: Option<u64>,
    /// Buffers that a download past the page cache reads ahead.
    pub direct_read_buffers_count: usize,
    /// Whether downloads past the page cache are sent without a copy; `None`: unless the client is local.
    pub zero_copy_sends: Option<bool>,
    /// Bytes of memory for the buffers of all transfers, over all cores.
    pub buffer_memory_bytes_max: u64,
    /// Bytes of buffer memory to pin, over all cores; `None`: what the limit allows.
    pub pinned_memory_bytes: Option<u64>,
    /// Threads that compute checksums; `None`: one per core.
    pub hash_threads: Option<usize>,
    /// How they compute those of several uploads.
    pub hash_lanes: HashLanes,
    /// Threads for file operations that block.
    pub offload_threads: usize,
    /// Kernel send buffer of a client that is near, in bytes; `None`: the system's choice.
    pub send_buffer_bytes: Option<usize>,
    /// Longest time for transfers in flight to end when stopping.
    pub drain: Duration,
    /// How clients are served over TLS; `None`: they are not.
    pub tls: Option<Tls>,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM: the certificate and its chain.
    pub cert_file: PathBuf,
    /// PEM: the certificate's private key.
    pub key_file: PathBuf,
    /// PEM: what clients' certificates must lead to. Present unless [`ClientAuth::None`].
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// Whether TLS 1.2 is spoken.
    pub v1_2: bool,
    /// Whether TLS 1.3 is spoken.
    pub v1_3: bool,
    /// Longest time from a connection's accept to the end of its handshake.
    pub handshake_timeout: Duration,
    /// Whether the kernel may encrypt where it can.
    pub kernel: bool,
}

/// Whether clients of the TLS listener have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They may; one that they show must be good.
    Optional,
    /// They must.
    Required,
}

/// The way of a download's bytes from a file to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendPath {
    /// From the page cache by the kernel, through large pipes.
    Splice,
    /// From the page cache by the kernel.
    Sendfile,
    /// From the page cache through a buffer.
    Copy,
    /// Past the page cache through buffers.
    Direct,
}

/// The control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Connections of the data plane at a time.
    pub max_connections: usize,
    /// Connections to the catalog that only read.
    pub read_connections: usize,
    /// Changes that may share one transaction.
    pub commit_batch_max: usize,
    /// Time between searches for abandoned uploads.
    pub reap_interval: Duration,
    /// Longest wait of one plane for the other.
    pub rpc_timeout: Duration,
    /// Longest time for what a request has to ask Keystone, with everything that it needs.
    pub keystone_timeout: Duration,
    /// How long the limits of a project are not asked about again; zero: always ask.
    pub keystone_limits_cache: Duration,
    /// Longest time for a certificate from the key manager, with everything that it needs.
    pub key_manager_timeout: Duration,
    /// Certificates of those who may sign images, or certify those who do; `None`: everybody.
    pub signature_ca_file: Option<PathBuf>,
    /// What clients are told in `Retry-After`, in seconds.
    pub retry_after_seconds: u64,
}
