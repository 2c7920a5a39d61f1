//! Stores: the mode of one store and that of `enabled_backends`, folded into one list.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::options::{BACKEND_DEFAULTS, STAGING_GROUP, STORE_GROUP};
use super::problem::Problem;
use super::resolve::absolute;
use super::resolved::{DataDir, FileStore, Learnt, RbdStore, STAGING_STORE, StoreConfig, StoreKind, Stores};
use super::settings::Settings;
use super::value::Value;

/// Group of the single store.
const SINGLE_GROUP: &str = "glance_store";
/// Ids that begin so are Glance's own.
const RESERVED_PREFIX: &str = "os_glance_";
/// Store kinds by all names that Glance gives them in `stores`, `default_store` and `enabled_backends`.
const KINDS: [(&str, &[&str]); 7] = [
    ("file", &["file", "filesystem"]),
    ("http", &["http", "https"]),
    ("rbd", &["rbd"]),
    ("s3", &["s3", "s3+http", "s3+https"]),
    ("swift", &["swift", "swift+http", "swift+https", "swift+config"]),
    ("cinder", &["cinder"]),
    ("vmware", &["vmware", "vsphere"]),
];

/// The stores and the staging directory. `None`: there is a problem that says why.
pub(super) fn resolve(settings: &Settings<'_>, data_dir: &Path) -> (Option<Stores>, PathBuf) {
    let backends = settings.pairs("DEFAULT", "enabled_backends");
    let staging = data_dir.join("staging");
    // Both modes' options are read, so that a mistake is found in either.
    let single_staging = settings.text("DEFAULT", "node_staging_uri");
    let multi_staging = settings.text(STAGING_GROUP, "filesystem_store_datadir");
    let default_backend = settings.text(SINGLE_GROUP, "default_backend");
    let default_store = settings.text(SINGLE_GROUP, "default_store").unwrap_or_default();
    let kinds = settings.list(SINGLE_GROUP, "stores");
    let (list, path) = if backends.is_empty() {
        let path = single_staging.map_or(staging, |uri| staging_path(settings, &uri));
        (single(settings, data_dir, &kinds, &default_store), path)
    } else {
        let path = multi_staging.map_or(staging, |path| absolute(settings, Path::new(&path)));
        (several(settings, data_dir, &backends, default_backend), path)
    };
    let stores = list.map(|Listed { multi, default, list }| {
        let staging = staging_store(&path);
        reject_shared_directories(settings, list.iter().chain([&staging]));
        Stores { multi, default, list, staging }
    });
    (stores, path)
}

/// The stores of the API.
struct Listed {
    multi: bool,
    default: String,
    list: Vec<StoreConfig>,
}

/// A file store for what waits for its import.
fn staging_store(path: &Path) -> StoreConfig {
    let dirs = vec![DataDir { path: path.to_owned(), priority: 0 }];
    let file = FileStore { dirs, file_mode: None, thin_provisioning: false, chunk_bytes: 0 };
    StoreConfig { id: STAGING_STORE.to_owned(), kind: StoreKind::File(file), weight: 0, description: None }
}

fn kind_of(name: &str) -> Option<&'static str> {
    KINDS.iter().find(|(_, names)| names.contains(&name)).map(|(kind, _)| *kind)
}

fn kind_names() -> String {
    KINDS.map(|(kind, _)| kind).join(", ")
}

fn staging_path(settings: &Settings<'_>, uri: &str) -> PathBuf {
    match uri.strip_prefix("file://").filter(|path| path.starts_with('/')) {
        Some(path) => PathBuf::from(path),
        None => {
            settings.bad("DEFAULT", &["DEFAULT"], "node_staging_uri", uri, "file:///absolute/path");
            PathBuf::new()
        }
    }
}

fn single(settings: &Settings<'_>, data_dir: &Path, kinds: &[String], default: &str) -> Option<Listed> {
    let groups = [SINGLE_GROUP];
    let Some(default_kind) = kind_of(default) else {
        settings.bad(SINGLE_GROUP, &groups, "default_store", default, &kind_names());
        return None;
    };
    // A file store is always there to be the default: the original lists it unless told otherwise.
    let mut wanted = vec![default_kind];
    for name in kinds {
        match kind_of(name) {
            Some(kind) if !wanted.contains(&kind) => wanted.push(kind),
            Some(_) => {}
            None => settings.bad(SINGLE_GROUP, &groups, "stores", name, &kind_names()),
        }
    }
    let mut list = Vec::new();
    for kind in wanted {
        let (option, name) = match kinds.iter().find(|name| kind_of(name) == Some(kind)) {
            _ if kind == default_kind => ("default_store", default),
            Some(name) => ("stores", name.as_str()),
            None => ("stores", kind),
        };
        match store(settings, kind, kind, &groups, data_dir) {
            Made::Store(store) if kind == default_kind && !store.kind.is_writable() => {
                settings.unsupported(SINGLE_GROUP, option, name, "nothing can be written there");
                return None;
            }
            Made::Store(store) => list.push(store),
            Made::Problem => return None,
            Made::Unknown => {
                settings.unsupported(SINGLE_GROUP, option, name, &format!("only {} are there", made_names()));
                if kind == default_kind {
                    return None;
                }
            }
        }
    }
    Some(Listed { multi: false, default: default_kind.to_owned(), list })
}

/// What came of a store's options.
enum Made {
    Store(StoreConfig),
    /// There is a problem that says why there is none.
    Problem,
    /// There are no stores of this kind.
    Unknown,
}

/// The kinds of stores that there are.
fn made_names() -> &'static str {
    "stores of the kinds file, http and rbd"
}

/// The store `id` of a kind.
fn store(settings: &Settings<'_>, kind: &str, id: &str, groups: &[&str], data_dir: &Path) -> Made {
    let made = match kind {
        "file" => file_store(settings, groups, data_dir).map(StoreKind::File),
        "http" => Some(StoreKind::Http),
        "rbd" => rbd_store(settings, groups).map(StoreKind::Rbd),
        _ => return Made::Unknown,
    };
    let weight = number(settings, groups, "weight");
    let description = settings.text_in(STORE_GROUP, groups, "store_description");
    made.map_or(Made::Problem, |kind| Made::Store(StoreConfig { id: id.to_owned(), kind, weight, description }))
}

fn number(settings: &Settings<'_>, groups: &[&str], name: &'static str) -> i64 {
    match settings.value_in(STORE_GROUP, groups, name) {
        Some(Value::Int(number)) => number,
        _ => 0,
    }
}

fn is_set(settings: &Settings<'_>, groups: &[&str], name: &'static str) -> bool {
    settings.value_in(STORE_GROUP, groups, name) == Some(Value::Bool(true))
}

fn several(
    settings: &Settings<'_>,
    data_dir: &Path,
    backends: &[(String, String)],
    default: Option<String>,
) -> Option<Listed> {
    let bad = |value: &str, accepted: &str| settings.bad("DEFAULT", &["DEFAULT"], "enabled_backends", value, accepted);
    let mut list = Vec::new();
    for (id, name) in backends {
        if id.is_empty() || id.starts_with(RESERVED_PREFIX) {
            bad(id, &format!("ids that are not empty and do not begin with {RESERVED_PREFIX}"));
            continue;
        }
        match kind_of(name) {
            Some(kind) => match store(settings, kind, id, &[id, BACKEND_DEFAULTS], data_dir) {
                Made::Store(store) => list.push(store),
                Made::Problem => {}
                Made::Unknown => {
                    let reason = format!("store {id}: only {} are there, no {kind}", made_names());
                    settings.unsupported("DEFAULT", "enabled_backends", &format!("{id}:{name}"), &reason);
                }
            },
            None => bad(&format!("{id}:{name}"), &format!("stores of the kinds {}", kind_names())),
        }
    }
    let Some(default) = default else {
        let reason = "enabled_backends needs a store for new images".to_owned();
        settings.problem(Problem::Missing {
            group: SINGLE_GROUP.to_owned(),
            option: "default_backend".to_owned(),
            reason,
        });
        return None;
    };
    if !backends.iter().any(|(id, _)| *id == default) {
        let ids: Vec<_> = backends.iter().map(|(id, _)| id.as_str()).collect();
        settings.bad(
            SINGLE_GROUP,
            &[SINGLE_GROUP],
            "default_backend",
            &default,
            &format!("an id of enabled_backends: {}", ids.join(", ")),
        );
        return None;
    }
    (list.len() == backends.len()).then_some(Listed { multi: true, default, list })
}

/// A directory that belongs to two stores would let one overwrite or delete the other's files.
fn reject_shared_directories<'c>(settings: &Settings<'_>, list: impl Iterator<Item = &'c StoreConfig>) {
    let dirs = list.flat_map(|store| {
        let dirs = match &store.kind {
            StoreKind::File(file) => file.dirs.as_slice(),
            StoreKind::Http | StoreKind::Rbd(_) => &[],
        };
        dirs.iter().map(move |dir| (store, dir))
    });
    let dirs: Vec<_> = dirs.collect();
    for (index, (store, dir)) in dirs.iter().enumerate() {
        if let Some((other, _)) =
            dirs.iter().take(index).find(|(other, known)| known.path == dir.path && other.id != store.id)
        {
            settings.problem(Problem::Conflict(format!(
                "stores {} and {} have the same directory {}: set filesystem_store_datadir in [{}] and [{}]",
                other.id,
                store.id,
                dir.path.display(),
                other.id,
                store.id
            )));
        }
    }
}

fn file_store(settings: &Settings<'_>, groups: &[&str], data_dir: &Path) -> Option<FileStore> {
    let dirs = datadirs(settings, groups, data_dir)?;
    let perm = number(settings, groups, "filesystem_store_file_perm");
    // Written as decimal digits, meant as octal ones.
    let file_mode = u32::from_str_radix(&perm.to_string(), 8).unwrap_or_else(|_| {
        settings.bad(STORE_GROUP, groups, "filesystem_store_file_perm", &perm.to_string(), "octal digits, such as 640");
        0
    });
    Some(FileStore {
        dirs,
        file_mode: Some(file_mode).filter(|mode| *mode != 0),
        thin_provisioning: is_set(settings, groups, "filesystem_thin_provisioning"),
        chunk_bytes: u64::try_from(number(settings, groups, "filesystem_store_chunk_size")).unwrap_or_default(),
    })
}

fn rbd_store(settings: &Settings<'_>, groups: &[&str]) -> Option<RbdStore> {
    let text = |name| settings.text_in(STORE_GROUP, groups, name).filter(|text| !text.is_empty());
    let chunk = u64::try_from(number(settings, groups, "rbd_store_chunk_size")).unwrap_or_default();
    Some(RbdStore {
        pool: text("rbd_store_pool").unwrap_or_default(),
        user: text("rbd_store_user"),
        conf: text("rbd_store_ceph_conf").map(|path| absolute(settings, Path::new(&path))),
        chunk_bytes: chunk << 20,
        // The library waits for ever at 0, and nothing here may.
        timeout: u64::try_from(number(settings, groups, "rados_connect_timeout"))
            .ok()
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        thin_provisioning: is_set(settings, groups, "rbd_thin_provisioning"),
        fsid: Learnt::default(),
    })
}

fn datadirs(settings: &Settings<'_>, groups: &[&str], data_dir: &Path) -> Option<Vec<DataDir>> {
    const ONE: &str = "filesystem_store_datadir";
    const MANY: &str = "filesystem_store_datadirs";
    let one = settings.text_in(STORE_GROUP, groups, ONE);
    let many = match settings.value_in(STORE_GROUP, groups, MANY) {
        Some(Value::List(items)) => items,
        _ => Vec::new(),
    };
    if one.is_some() && !many.is_empty() {
        settings.bad(STORE_GROUP, groups, MANY, &many.join(", "), &format!("either {ONE} or {MANY}, not both"));
        return None;
    }
    if many.is_empty() {
        let path = one.map_or_else(|| data_dir.join("images"), |path| absolute(settings, Path::new(&path)));
        return Some(vec![DataDir { path, priority: 0 }]);
    }
    let mut dirs: Vec<DataDir> = Vec::with_capacity(many.len());
    for text in &many {
        let (path, priority) = text.rsplit_once(':').unwrap_or((text, ""));
        let (path, priority) = (path.trim(), priority.trim());
        let priority = if priority.is_empty() { Ok(0) } else { priority.parse::<i64>() };
        let path_used = dirs.iter().any(|dir| dir.path == Path::new(path));
        match priority {
            Ok(priority) if !path.is_empty() && !path_used => {
                dirs.push(DataDir { path: absolute(settings, Path::new(path)), priority });
            }
            _ => settings.bad(STORE_GROUP, groups, MANY, text, "path or path:priority, each path once"),
        }
    }
    dirs.sort_by_key(|dir| std::cmp::Reverse(dir.priority));
    Some(dirs)
}
