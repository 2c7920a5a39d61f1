//! `[key_manager]`, `[barbican]`, and the options of the image cache.

use std::path::PathBuf;

use super::resolve_keystone::without_version;
use super::resolved::KeystoneAuth;
use super::services::{BarbicanOptions, ImageCache, KeyManagerKind};
use super::settings::Settings;

const GROUP: &str = "barbican";

/// Names of Barbican as `backend`: castellan's, and its class.
const BARBICAN: [&str; 2] = ["barbican", "castellan.key_manager.barbican_key_manager.BarbicanKeyManager"];

/// The key manager. `keystone`: how tokens are validated, where they are.
pub(super) fn key_manager(settings: &Settings<'_>, keystone: Option<&KeystoneAuth>) -> KeyManagerKind {
    let url = |name| {
        let url = settings.text(GROUP, name)?;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            settings.bad(GROUP, &[GROUP], name, &url, "a URL that begins with http:// or https://");
        }
        Some(url.trim_end_matches('/').to_owned())
    };
    let auth_endpoint = url("auth_endpoint").map(|url| without_version(&url).to_owned());
    let options = BarbicanOptions {
        endpoint: url("barbican_endpoint"),
        keystone: auth_endpoint.or_else(|| keystone.map(|keystone| keystone.access.auth_url.clone())),
        interface: settings.text(GROUP, "barbican_endpoint_type").unwrap_or_default(),
        region: settings.text(GROUP, "barbican_region_name"),
        ca_file: settings.text(GROUP, "verify_ssl_path").map(PathBuf::from),
        insecure: !settings.bool(GROUP, "verify_ssl"),
    };
    let backend = settings.text("key_manager", "backend").unwrap_or_default();
    if BARBICAN.contains(&backend.as_str()) {
        return KeyManagerKind::Barbican(options);
    }
    settings.note(format!(
        "[key_manager] backend = {backend}: only barbican can be asked for certificates; data of signed images will be refused"
    ));
    KeyManagerKind::Unsupported
}

/// The image cache: all stores are on this server, where a copy would be no nearer.
pub(super) fn cache(settings: &Settings<'_>) -> Option<ImageCache> {
    let flavor = settings.text("paste_deploy", "flavor").unwrap_or_default();
    let has_directory = settings.text("DEFAULT", "image_cache_dir").is_some();
    if has_directory || flavor.contains("caching") || flavor.contains("cachemanagement") {
        settings.note(
            "nothing is cached, images are read where they are stored; the cache's API is served where [DEFAULT] \
                       image_cache_dir is set",
        );
    }
    let driver = settings.text("DEFAULT", "image_cache_driver").unwrap_or_default();
    has_directory.then(|| ImageCache {
        is_centralized: driver == "centralized_db",
        has_older_interface: flavor.ends_with("cachemanagement"),
    })
}
