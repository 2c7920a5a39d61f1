//! Services beside the Images API, as the configuration names them: the key manager and the image cache.

use std::path::PathBuf;

/// Where the certificates of signed images are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyManagerKind {
    /// Barbican.
    Barbican(BarbicanOptions),
    /// One that cannot be asked: signed images are refused.
    Unsupported,
}

/// How Barbican is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarbicanOptions {
    /// Its address, without a slash at the end; `None`: as the catalog says.
    pub endpoint: Option<String>,
    /// Keystone's address, for the catalog, without `/v3`; `None`: there is no Keystone.
    pub keystone: Option<String>,
    /// Which address of the catalog: `public`, `internal` or `admin`.
    pub interface: String,
    /// Its region in the catalog; `None`: any.
    pub region: Option<String>,
    /// CA certificates; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether its certificate goes unchecked.
    pub insecure: bool,
}

/// The image cache, where `image_cache_dir` asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageCache {
    /// Whether the nodes know of each other's caches (`image_cache_driver = centralized_db`).
    pub is_centralized: bool,
    /// Whether the older interface is served, which only some flavors have.
    pub has_older_interface: bool,
}
