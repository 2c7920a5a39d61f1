//! From options to [`Config`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::options::{self, State};
use super::problem::{Problem, Warning};
use super::resolved::{
    Api, Auth, Browsers, Config, Control, Database, Dataplane, Driver, Flavor, HashLanes, Health, Listen, Logging,
    Overrides, Paths, PolicyFiles, ProtectionFile, ProtectionFormat, SendPath,
};
use super::settings::{Environment, Settings};
use super::{plugins, resolve_keystone, resolve_services, resolve_stores, resolve_tls};
use crate::outbound::Filter;

/// The data directory when none is named, relative to the working directory.
pub(super) const DEFAULT_DATA_DIR: &str = "vitrine-data";
/// The admin listener when none is named.
pub(super) const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9293);
/// File of the catalog in the data directory.
const CATALOG_FILE: &str = "catalog.sqlite";
/// The flavors of Glance's shipped pipelines, and what they authenticate.
const FLAVORS: [(&str, Flavor); 6] = [
    ("", Flavor::None),
    ("keystone", Flavor::Keystone),
    ("caching", Flavor::None),
    ("cachemanagement", Flavor::None),
    ("keystone+caching", Flavor::Keystone),
    ("keystone+cachemanagement", Flavor::Keystone),
];
const IMPORT_METHODS: [&str; 4] = ["glance-direct", "web-download", "copy-image", "glance-download"];

impl Config {
    /// Reads `files` in order (later ones win), the environment and `overrides`.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(files: &[PathBuf], overrides: &Overrides) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
        Self::load_with(files, overrides, &|name| std::env::var_os(name))
    }

    /// [`Config::load`] with another environment.
    pub(super) fn load_with(
        files: &[PathBuf],
        overrides: &Overrides,
        environment: Environment<'_>,
    ) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
        let settings = Settings::read(files, environment);
        let config = resolve(&settings, files, overrides);
        let problems = settings.problems.into_inner();
        match config {
            Some(config) if problems.is_empty() => Ok((config, settings.warnings.into_inner())),
            _ => Err(problems),
        }
    }
}

const SECONDS_OF_AN_HOUR: u64 = 3600;

/// The configuration, or `None` when a part cannot be built; then there is a problem that says why.
pub(super) fn resolve(settings: &Settings<'_>, files: &[PathBuf], overrides: &Overrides) -> Option<Config> {
    let Overrides { data_dir, listen, admin_listen } = overrides;
    let data_dir = data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let data_dir = absolute(settings, &data_dir);
    let (stores, staging_dir) = resolve_stores::resolve(settings, &data_dir);
    let bind_host = settings.text("DEFAULT", "bind_host");
    let listen = Listen {
        api: (*listen)
            .or_else(|| listen_address(settings, bind_host.as_deref()?))
            .unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
        admin: admin_listen.unwrap_or(DEFAULT_ADMIN),
    };
    for row in options::rows().filter(|row| matches!(row.state, State::Refused(_))) {
        // Asked for its problem only.
        settings.value(row.group, row.name);
    }
    let control = control(settings);
    let auth = auth(settings, listen.api);
    let keystone = auth.as_ref().and_then(|auth| auth.keystone.as_ref());
    let (key_manager, cache) = (resolve_services::key_manager(settings, keystone), resolve_services::cache(settings));
    let store_ids: Vec<String> = settings.pairs("DEFAULT", "enabled_backends").into_iter().map(|(id, _)| id).collect();
    let sections = [resolve_keystone::GROUP, resolve_keystone::LIMIT_GROUP]
        .map(|group| (group, settings.text(group, "auth_section").unwrap_or_else(|| group.to_owned())));
    settings.warn_of_unread(&store_ids, &sections);
    let limits = match settings.bool("DEFAULT", "use_keystone_limits") {
        true => Some(resolve_keystone::limits(settings)),
        false => None,
    };
    let (mut api, plugins) = (api(settings), plugins::resolve(settings));
    if limits.is_some() {
        api.user_storage_quota = None;
    }
    Some(Config {
        outbound: outbound(settings),
        browsers: browsers(settings, bind_host.as_deref(), api.public_endpoint.as_deref()),
        api,
        plugins,
        policy: policy(settings, files),
        protections: protections(settings, files),
        database: Database { sqlite: database(settings, &data_dir) },
        health: Health { disable_by_file: settings.text("healthcheck", "disable_by_file_path").map(PathBuf::from) },
        logging: logging(settings),
        dataplane: dataplane(settings),
        paths: Paths { metadefs_dir: metadefs_dir(settings), data_dir, staging_dir },
        listen,
        control,
        limits: match limits {
            Some(limits) => Some(limits?),
            None => None,
        },
        key_manager,
        cache,
        auth: auth?,
        stores: stores?,
    })
}

/// `path` made absolute against the working directory, without looking at the file system.
pub(super) fn absolute(settings: &Settings<'_>, path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|error| {
        settings.problem(Problem::Unreadable { file: path.to_owned(), reason: error.to_string() });
        path.to_owned()
    })
}

fn metadefs_dir(settings: &Settings<'_>) -> PathBuf {
    absolute(settings, Path::new(&settings.text("DEFAULT", "metadata_source_path").unwrap_or_default()))
}

fn listen_address(settings: &Settings<'_>, host: &str) -> Option<SocketAddr> {
    let port = settings.count::<u16>("DEFAULT", "bind_port");
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, port));
    }
    let found = (host, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    if found.is_none() {
        settings.bad("DEFAULT", &["DEFAULT"], "bind_host", host, "an IP address, or a host name that can be resolved");
    }
    found
}

fn api(settings: &Settings<'_>) -> Api {
    let flag = |name| settings.bool("DEFAULT", name);
    let quota = |name| settings.int("DEFAULT", name).and_then(|number| u64::try_from(number).ok());
    Api {
        public_endpoint: settings.text("DEFAULT", "public_endpoint").map(|url| url.trim_end_matches('/').to_owned()),
        trust_proxy_headers: settings.bool("oslo_middleware", "enable_proxy_headers_parsing"),
        request_id_length_max: settings.count("DEFAULT", "max_request_id_length"),
        page_default: settings.count("DEFAULT", "limit_param_default"),
        page_max: settings.count("DEFAULT", "api_limit_max"),
        show_image_direct_url: flag("show_image_direct_url"),
        show_multiple_locations: flag("show_multiple_locations"),
        member_quota: quota("image_member_quota"),
        property_quota: quota("image_property_quota"),
        tag_quota: quota("image_tag_quota"),
        location_quota: quota("image_location_quota"),
        image_size_max: settings.count("DEFAULT", "image_size_cap"),
        user_storage_quota: quota("user_storage_quota").filter(|bytes| *bytes > 0),
        hashing_algorithm: settings.text("DEFAULT", "hashing_algorithm").unwrap_or_default(),
        do_secure_hash: flag("do_secure_hash"),
        hash_retries: settings.count("DEFAULT", "http_retries"),
        enabled_import_methods: import_methods(settings),
        remote_properties: settings.list("glance_download_properties", "extra_properties"),
        task_time_to_live: Duration::from_secs(
            settings.count::<u64>("task", "task_time_to_live").saturating_mul(SECONDS_OF_AN_HOUR),
        ),
        imports_at_a_time: settings.count("taskflow_executor", "max_workers"),
        container_formats: settings.list("image_format", "container_formats"),
        disk_formats: settings.list("image_format", "disk_formats"),
        require_image_format_match: settings.bool("image_format", "require_image_format_match"),
        gpt_safety_checks_nonfatal: settings.list("image_format", "gpt_safety_checks_nonfatal"),
    }
}

fn browsers(settings: &Settings<'_>, bind_host: Option<&str>, public_endpoint: Option<&str>) -> Browsers {
    const GROUP: &str = "cors";
    let endpoint = public_endpoint.and_then(|url| Some(crate::browser::host(url.split_once("://")?.1)));
    Browsers {
        allowed_origins: settings.list(GROUP, "allowed_origin"),
        allow_credentials: settings.bool(GROUP, "allow_credentials"),
        expose_headers: settings.list(GROUP, "expose_headers"),
        max_age_seconds: settings.count(GROUP, "max_age"),
        allow_methods: settings.list(GROUP, "allow_methods"),
        allow_headers: settings.list(GROUP, "allow_headers"),
        server_names: bind_host.into_iter().chain(endpoint).map(str::to_ascii_lowercase).collect(),
    }
}

fn import_methods(settings: &Settings<'_>) -> Vec<String> {
    let methods = settings.list("DEFAULT", "enabled_import_methods");
    for method in methods.iter().filter(|method| !IMPORT_METHODS.contains(&method.as_str())) {
        let accepted = format!("a list in brackets of {}", IMPORT_METHODS.join(", "));
        settings.bad("DEFAULT", &["DEFAULT"], "enabled_import_methods", method, &accepted);
    }
    methods
}

/// What users may have fetched.
fn outbound(settings: &Settings<'_>) -> Filter {
    const GROUP: &str = "import_filtering_opts";
    let ports = |name| {
        let port = |text: &String| {
            let port = text.parse::<u16>().ok().filter(|port| *port > 0);
            if port.is_none() {
                settings.bad(GROUP, &[GROUP], name, text, "a list in brackets of ports from 1 to 65535");
            }
            port
        };
        settings.list(GROUP, name).iter().filter_map(port).collect()
    };
    Filter {
        allowed_schemes: settings.list(GROUP, "allowed_schemes"),
        disallowed_schemes: settings.list(GROUP, "disallowed_schemes"),
        allowed_hosts: settings.list(GROUP, "allowed_hosts"),
        disallowed_hosts: settings.list(GROUP, "disallowed_hosts"),
        allowed_ports: ports("allowed_ports"),
        disallowed_ports: ports("disallowed_ports"),
    }
}

fn auth(settings: &Settings<'_>, listen: SocketAddr) -> Option<Auth> {
    let name = settings.text("paste_deploy", "flavor").unwrap_or_default();
    let flavor = FLAVORS.iter().find(|(known, _)| *known == name);
    let Some((_, flavor)) = flavor.copied() else {
        let known: Vec<_> = FLAVORS.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        let accepted = format!("empty, {}", known.join(", "));
        settings.bad("paste_deploy", &["paste_deploy"], "flavor", &name, &accepted);
        return None;
    };
    let allow_anonymous_access = settings.bool("DEFAULT", "allow_anonymous_access");
    let remote = settings.bool("control", "allow_remote_unauthenticated");
    let keystone = match flavor {
        Flavor::Keystone => Some(resolve_keystone::resolve(settings)?),
        Flavor::None => {
            if settings.is_set(resolve_keystone::GROUP, &[resolve_keystone::GROUP], "auth_url") {
                settings
                    .note("[keystone_authtoken] is not used: [paste_deploy] flavor says that nobody is authenticated");
            }
            if !listen.ip().is_loopback() && !remote {
                settings.problem(Problem::Conflict(format!(
                    "without authentication everybody who reaches {listen} could do everything: set [paste_deploy] flavor = \
                     keystone, listen on 127.0.0.1, or set [control] allow_remote_unauthenticated = true"
                )));
            }
            None
        }
    };
    Some(Auth { flavor, allow_anonymous_access, keystone })
}

fn database(settings: &Settings<'_>, data_dir: &Path) -> PathBuf {
    const ACCEPTED: &str = "sqlite:////absolute/path or sqlite:///relative/path";
    let Some(url) = settings.text("database", "connection") else {
        return data_dir.join(CATALOG_FILE);
    };
    let (scheme, rest) = url.split_once("://").unwrap_or((url.as_str(), ""));
    let dialect = scheme.split('+').next().unwrap_or_default();
    let shown = format!("{dialect}://***");
    if matches!(dialect, "mysql" | "mariadb" | "postgresql") {
        let reason = format!("network databases are not there yet; use {ACCEPTED}");
        settings.unsupported("database", "connection", &shown, &reason);
        return PathBuf::new();
    }
    let path = rest.strip_prefix('/').map(|path| path.split('?').next().unwrap_or_default());
    match path.filter(|path| dialect == "sqlite" && !path.is_empty() && *path != ":memory:") {
        Some(path) => absolute(settings, Path::new(path)),
        None => {
            settings.bad("database", &["database"], "connection", &shown, ACCEPTED);
            PathBuf::new()
        }
    }
}

fn policy(settings: &Settings<'_>, files: &[PathBuf]) -> PolicyFiles {
    const GROUP: &str = "oslo_policy";
    let name = settings.text(GROUP, "policy_file").unwrap_or_default();
    let file = places(&name, files);
    if !file.iter().any(|file| file.is_file()) && settings.is_set(GROUP, &[GROUP], "policy_file") {
        settings.note(format!("[oslo_policy] policy_file = {name}: there is no such file; the default rules apply"));
    }
    PolicyFiles {
        file,
        dirs: settings.list(GROUP, "policy_dirs").iter().map(|name| places(name, files)).collect(),
        default_rule: settings.text(GROUP, "policy_default_rule").unwrap_or_default(),
        enforce_new_defaults: settings.bool(GROUP, "enforce_new_defaults"),
    }
}

fn protections(settings: &Settings<'_>, files: &[PathBuf]) -> Option<ProtectionFile> {
    const OPTION: &str = "property_protection_file";
    let format = match settings.text("DEFAULT", "property_protection_rule_format").as_deref() {
        Some("policies") => ProtectionFormat::Policies,
        _ => ProtectionFormat::Roles,
    };
    let name = settings.text("DEFAULT", OPTION).filter(|name| !name.is_empty())?;
    let Some(file) = places(&name, files).into_iter().find(|file| file.is_file()) else {
        let accepted = "a file, by its absolute name or beside the configuration";
        settings.bad("DEFAULT", &["DEFAULT"], OPTION, &name, accepted);
        return None;
    };
    Some(ProtectionFile { file, format })
}

/// Where `name` may be: beside the configuration files, then in Glance's own directories. Without configuration files only
/// an absolute name has a place: the embedded defaults depend on nothing outside.
fn places(name: &str, files: &[PathBuf]) -> Vec<PathBuf> {
    let path = Path::new(name);
    if path.is_absolute() {
        return vec![path.to_owned()];
    }
    if name.is_empty() || files.is_empty() {
        return Vec::new();
    }
    let beside = files.iter().rev().filter_map(|file| file.parent().map(Path::to_owned));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let home = home.into_iter().flat_map(|home| [home.join(".glance"), home]);
    let system = [PathBuf::from("/etc/glance"), PathBuf::from("/etc")];
    beside.chain(home).chain(system).map(|dir| dir.join(path)).collect()
}

fn logging(settings: &Settings<'_>) -> Logging {
    let dir = settings.text("DEFAULT", "log_dir").map(PathBuf::from);
    let file = settings.text("DEFAULT", "log_file").map(PathBuf::from);
    let file = match (dir, file) {
        (Some(dir), Some(file)) => Some(dir.join(file)),
        (Some(dir), None) => Some(dir.join("glance-api.log")),
        (None, file) => file,
    };
    Logging { debug: settings.bool("DEFAULT", "debug"), file }
}

fn dataplane(settings: &Settings<'_>) -> Dataplane {
    const GROUP: &str = "dataplane";
    let count = |name| settings.count::<usize>(GROUP, name);
    let seconds = |name| Duration::from_secs(settings.count(GROUP, name));
    let word = |name| settings.text(GROUP, name).unwrap_or_default();
    let bytes = |name| settings.int(GROUP, name).and_then(|bytes| u64::try_from(bytes).ok());
    let cores = settings.int(GROUP, "cores");
    let workers = settings.int("DEFAULT", "workers");
    let idle = settings.int(GROUP, "idle_timeout_seconds");
    let socket_timeout = settings.int("DEFAULT", "client_socket_timeout");
    let idle = idle.or(socket_timeout).and_then(|seconds| u64::try_from(seconds).ok());
    Dataplane {
        driver: if word("driver") == "epoll" { Driver::Epoll } else { Driver::Uring },
        cores: positive(cores.or(workers)),
        max_connections: count("max_connections"),
        admin_max_connections: count("admin_max_connections"),
        listen_backlog: settings.count("DEFAULT", "backlog"),
        tcp_keepidle: Duration::from_secs(settings.count("DEFAULT", "tcp_keepidle")),
        http_keepalive: settings.bool("DEFAULT", "http_keepalive"),
        request_head_bytes_max: count("request_head_bytes_max").max(settings.count("DEFAULT", "max_header_line")),
        request_header_count_max: count("request_header_count_max"),
        head_timeout: seconds("head_timeout_seconds"),
        idle_timeout: idle.filter(|seconds| *seconds > 0).map(Duration::from_secs),
        body_min_rate_bytes_per_second: settings.count(GROUP, "body_min_rate_bytes_per_second"),
        // Control waits for some of what is fetched.
        fetch_answer_timeout: seconds("fetch_answer_timeout_seconds")
            .min(Duration::from_secs(settings.count("control", "rpc_timeout_seconds")) / 2),
        fetch_timeout: Some(seconds("fetch_timeout_seconds")).filter(|time| !time.is_zero()),
        send_stall: seconds("send_stall_seconds"),
        send_min_rate_bytes_per_second: settings.count(GROUP, "send_min_rate_bytes_per_second"),
        metadata_body_bytes_max: count("metadata_body_bytes_max"),
        upload_buffers_count: count("upload_buffers_count"),
        uploads_max: count("uploads_max"),
        upload_direct_io: settings.bool(GROUP, "upload_direct_io"),
        rbd_in_flight_bytes: settings.count(GROUP, "rbd_in_flight_bytes"),
        rbd_timeout: seconds("rbd_timeout_seconds"),
        store_faults: settings.list(GROUP, "store_faults"),
        send_path: match word("send_path").as_str() {
            "splice" => Some(SendPath::Splice),
            "sendfile" => Some(SendPath::Sendfile),
            "copy" => Some(SendPath::Copy),
            "direct" => Some(SendPath::Direct),
            _ => None,
        },
        send_pipes_count: count("send_pipes_count"),
        direct_read_bytes_min: bytes("direct_read_bytes_min"),
        direct_read_buffers_count: count("direct_read_buffers_count"),
        zero_copy_sends: match word("zero_copy_sends").as_str() {
            "always" => Some(true),
            "never" => Some(false),
            _ => None,
        },
        buffer_memory_bytes_max: settings.count(GROUP, "buffer_memory_bytes_max"),
        pinned_memory_bytes: bytes("pinned_memory_bytes"),
        hash_threads: positive(settings.int(GROUP, "hash_threads")),
        hash_lanes: if word("hash_lanes") == "scalar" { HashLanes::Scalar } else { HashLanes::Auto },
        offload_threads: count("offload_threads"),
        send_buffer_bytes: positive(settings.int(GROUP, "send_buffer_bytes")),
        drain: seconds("drain_seconds"),
        tls: resolve_tls::resolve(settings),
    }
}

fn positive(number: Option<i64>) -> Option<usize> {
    number.and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0)
}

fn control(settings: &Settings<'_>) -> Control {
    const GROUP: &str = "control";
    let count = |name| settings.count::<usize>(GROUP, name);
    let seconds = |name| Duration::from_secs(settings.count(GROUP, name));
    Control {
        max_connections: count("max_connections"),
        read_connections: count("read_connections"),
        commit_batch_max: count("commit_batch_max"),
        reap_interval: seconds("reap_interval_seconds"),
        rpc_timeout: seconds("rpc_timeout_seconds"),
        keystone_timeout: seconds("keystone_timeout_seconds"),
        keystone_limits_cache: seconds("keystone_limits_cache_seconds"),
        key_manager_timeout: seconds("key_manager_timeout_seconds"),
        signature_ca_file: settings.text(GROUP, "signature_ca_file").map(PathBuf::from),
        retry_after_seconds: settings.count(GROUP, "retry_after_seconds"),
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
