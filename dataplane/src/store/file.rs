//! Images as files in directories of this machine, where Glance's own file driver puts them.
//!
//! Source of the layout: glance_store's filesystem driver: `<datadir>/<image id>`, URI `file://` and the absolute path
//! without encoding. Unlike it, an image is written as `.<image id>.<upload id>.part` and linked to its name when it is
//! durable: no half-written file ever bears an image's name, and an existing one is never overwritten.

use std::fs::{self, File as StdFile, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::config::{self, DataDir};
use common::http::range::ByteRange;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::contract::{Capabilities, Contract, Pending, Placement, Writing};
use super::{Source, StoreError};
use crate::io::{self as runtime, CreateOptions, File, Frozen, Offload};
use crate::metrics;
use crate::shard::Shard;

/// Schemes of URIs that we read; the first is the one that control writes.
const SCHEMES: [&str; 2] = ["file://", "filesystem://"];

/// Permission bits of a new file, before the umask: what a plain `open` asks for.
const DEFAULT_MODE: u32 = 0o666;

/// Bytes that are set aside for an upload before any has arrived; beyond them its file grows as it is written. A claim
/// is cheap, so it must not take the whole disk.
const PREALLOCATE_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// The attribute of a file that says which upload has written it: what bears an image's name without it is not ours to undo.
const UPLOAD_NOTE: &str = "user.vitrine.upload";

/// Bytes of such a note, at most: a UUID has 36.
const NOTE_BYTES_MAX: usize = 64;

/// The driver.
#[derive(Debug)]
pub(crate) struct FileStore {
    dirs: Vec<DataDir>,
    file_mode: Option<u32>,
    thin: bool,
}

/// An image that is being written.
#[derive(Debug)]
pub(crate) struct FileWriter {
    file: File,
    unfinished: PathBuf,
    finished: PathBuf,
    upload_id: String,
    file_mode: Option<u32>,
    thin: bool,
}

impl FileStore {
    pub(crate) fn new(config: &config::FileStore) -> Self {
        FileStore { dirs: config.dirs.clone(), file_mode: config.file_mode, thin: config.thin_provisioning }
    }

    /// Makes the directories, which `option` names.
    pub(crate) fn prepare(&self, option: &str) -> Result<(), String> {
        self.dirs.iter().try_for_each(|dir| {
            fs::create_dir_all(&dir.path).map_err(|error| {
                format!("{option} {} cannot be made: {error}; name another or permit it", dir.path.display())
            })
        })
    }

    /// Device and number of each directory: the same ones are one directory, whatever its names.
    pub(crate) fn identities(&self) -> Result<Vec<(u64, u64)>, String> {
        let identity = |dir: &DataDir| match fs::metadata(&dir.path) {
            Ok(metadata) => Ok((metadata.dev(), metadata.ino())),
            Err(error) => Err(format!("{} cannot be looked at: {error}", dir.path.display())),
        };
        self.dirs.iter().map(identity).collect()
    }

    /// The path of `url`. Only plain names right in a configured directory exist for us: no URI leads anywhere else.
    fn path(&self, url: &str) -> Result<PathBuf, StoreError> {
        let foreign = || StoreError::Foreign(url.to_owned());
        let path = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)).ok_or_else(foreign)?;
        let path = Path::new(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(foreign()) };
        let ours = self.dirs.iter().find(|dir| dir.path == parent).ok_or_else(foreign)?;
        Ok(ours.path.join(name))
    }
}

impl Contract for FileStore {
    type Writer = FileWriter;

    fn capabilities(&self) -> Capabilities {
        Capabilities::LOCAL
    }

    /// Whether `url` is a file right in one of our directories.
    fn has_place(&self, url: &str) -> bool {
        self.path(url).is_ok()
    }

    fn local_path(&self, url: &str) -> Result<PathBuf, StoreError> {
        self.path(url)
    }

    async fn open(&self, _: &Shard, url: &str, _: Option<ByteRange>) -> Result<Source, StoreError> {
        let file = File::open(self.path(url)?).await?;
        let size = file.opened_len();
        Ok(Source::File { file, size })
    }

    async fn new_place(&self, name: &str) -> Result<String, StoreError> {
        let first = self.dirs.first().and_then(|dir| dir.path.to_str());
        let directory = first.ok_or_else(|| StoreError::Foreign(name.to_owned()))?;
        Ok(format!("{}{directory}/{name}", SCHEMES[0]))
    }

    async fn create(&self, placement: Placement<'_>) -> Result<FileWriter, StoreError> {
        let finished = self.path(placement.url)?;
        let unfinished = unfinished_name(&finished, placement.upload_id);
        let options = CreateOptions {
            direct: placement.direct,
            // Holes cannot be left in what is allocated already.
            preallocate: placement.size.filter(|_| !self.thin).map(|size| size.min(PREALLOCATE_BYTES_MAX)),
            mode: DEFAULT_MODE,
        };
        let file = File::create(unfinished.clone(), options).await.map_err(no_directory)?;
        let upload_id = placement.upload_id.to_owned();
        Ok(FileWriter { file, unfinished, finished, upload_id, file_mode: self.file_mode, thin: self.thin })
    }

    async fn discard(&self, url: &str, upload_id: &str) -> Result<(), StoreError> {
        let paths = vec![unfinished_name(&self.path(url)?, upload_id)];
        Ok(Offload::current().run(move || remove_blocking(paths)).await?)
    }

    async fn remove(&self, url: &str, upload_id: Option<&str>) -> Result<(), StoreError> {
        let finished = self.path(url)?;
        let upload = upload_id.map(|id| (unfinished_name(&finished, id), id.to_owned()));
        let work = move || match upload {
            None => remove_blocking(vec![finished]),
            // It never came to its name: what has that is another's.
            Some((unfinished, id)) if is_anothers(&finished, &unfinished, &id) => remove_blocking(vec![unfinished]),
            Some((unfinished, _)) => remove_blocking(vec![finished, unfinished]),
        };
        Ok(Offload::current().run(work).await?)
    }

    async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        let dirs: Vec<PathBuf> = self.dirs.iter().map(|dir| dir.path.clone()).collect();
        Ok(Some(Offload::current().run(move || free_blocking(&dirs)).await?))
    }
}

impl Writing for FileWriter {
    type Pending = runtime::Writing;

    fn path(&self) -> metrics::Path {
        if self.file.is_direct() { metrics::Path::Direct } else { metrics::Path::Buffered }
    }

    fn local_path(&self) -> Option<&Path> {
        Some(&self.unfinished)
    }

    /// `None`: there is nothing to write, the hole says it.
    async fn start_write(&self, bytes: Frozen, offset: u64) -> Result<Option<runtime::Writing>, StoreError> {
        if self.thin && bytes.is_zero() {
            return Ok(None);
        }
        Ok(Some(self.file.start_write(bytes, offset).await?))
    }

    /// Data first, then the name, then the directory: whatever instant the machine stops at, the name stands for all of
    /// the data or does not exist.
    async fn commit(&self, size: u64) -> Result<(), StoreError> {
        self.file.finish(size).await?;
        let (unfinished, finished, mode) = (self.unfinished.clone(), self.finished.clone(), self.file_mode);
        let upload_id = self.upload_id.clone();
        Offload::current().run(move || publish_blocking(&unfinished, &finished, &upload_id, mode)).await?;
        Ok(())
    }
}

impl Pending for runtime::Writing {
    /// Nobody asks: a file system answers or never will.
    fn started(&self) -> Option<Instant> {
        None
    }

    async fn done(&mut self) -> Result<(), StoreError> {
        Ok(runtime::Writing::done(self).await?)
    }
}

/// Bytes that fit into directories, those of one file system once.
fn free_blocking(dirs: &[PathBuf]) -> io::Result<u64> {
    let mut seen = Vec::with_capacity(dirs.len());
    let mut free = 0u64;
    for dir in dirs {
        let device = fs::metadata(dir)?.dev();
        if !seen.contains(&device) {
            seen.push(device);
            let system = rustix::fs::statvfs(dir)?;
            free = free.saturating_add(system.f_bavail.saturating_mul(system.f_frsize));
        }
    }
    Ok(free)
}

/// Where a file was to be made, what is not found is its directory: no image is missing.
fn no_directory(error: io::Error) -> StoreError {
    match StoreError::from(error) {
        StoreError::NotFound => StoreError::Denied(io::Error::other("its directory is not there")),
        other => other,
    }
}

/// The name of an image while it is being written: a dot keeps it out of sight, and the id of the upload lets a later
/// process remove just this.
fn unfinished_name(finished: &Path, upload_id: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(finished.file_name().unwrap_or_default());
    name.push(format!(".{upload_id}.part"));
    finished.with_file_name(name)
}

fn publish_blocking(unfinished: &Path, finished: &Path, upload_id: &str, mode: Option<u32>) -> io::Result<()> {
    note_upload(unfinished, upload_id)?;
    if let Some(mode) = mode {
        fs::set_permissions(unfinished, Permissions::from_mode(mode))?;
    }
    // Unlike rename(2), link(2) never replaces what is there.
    fs::hard_link(unfinished, finished)?;
    let settled = fs::remove_file(unfinished).and_then(|()| sync_directory_of(finished));
    if settled.is_err() {
        let _ = fs::remove_file(finished);
    }
    settled
}

/// Says in a file which upload has written it.
fn note_upload(path: &Path, upload_id: &str) -> io::Result<()> {
    match rustix::fs::setxattr(path, UPLOAD_NOTE, upload_id.as_bytes(), XattrFlags::empty()) {
        // A file system without attributes, or a machine that does not permit them.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::ACCESS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether what bears the image's name is not what the upload has written.
fn is_anothers(finished: &Path, unfinished: &Path, upload_id: &str) -> bool {
    let mut note = [0; NOTE_BYTES_MAX];
    match rustix::fs::lgetxattr(finished, UPLOAD_NOTE, &mut note) {
        Ok(length) => note.get(..length) != Some(upload_id.as_bytes()),
        Err(Errno::NODATA) => true,
        // Where there are no attributes: both are there, and are not one file.
        Err(_) => {
            let identity = |path: &Path| fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
            matches!((identity(finished), identity(unfinished)), (Ok(one), Ok(other)) if one != other)
        }
    }
}

/// Whether there is certainly nothing: also below what is no directory.
fn is_absent(path: &Path) -> bool {
    let looked_at = fs::symlink_metadata(path).map_err(|error| error.kind());
    matches!(looked_at, Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

/// Removes files of one directory, durably; those that are not there are removed already.
fn remove_blocking(paths: Vec<PathBuf>) -> io::Result<()> {
    let mut removed = None;
    for path in paths {
        match fs::remove_file(&path) {
            Ok(()) => removed = Some(path),
            // Looked at only now: where nothing can be removed, as on a read-only file system, that comes before that nothing is there.
            Err(_) if is_absent(&path) => {}
            Err(error) => return Err(error),
        }
    }
    removed.map_or(Ok(()), |path| sync_directory_of(&path))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    StdFile::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &Path) -> FileStore {
        FileStore { dirs: vec![DataDir { path: dir.to_owned(), priority: 0 }], file_mode: None, thin: false }
    }

    #[test]
    fn no_uri_leads_out_of_the_directories() {
        let store = store(Path::new("/data/images"));
        assert_eq!(store.path("file:///data/images/abc").expect("ours"), Path::new("/data/images/abc"));
        assert_eq!(store.path("filesystem:///data/images/abc").expect("ours"), Path::new("/data/images/abc"));
        for url in [
            "file:///data/images2/abc",
            "file:///data/images/../secret",
            "file:///data/images/a/b",
            "file:///data/images/..",
            "file:///data/images",
            "file:///etc/passwd",
            "FILE:///data/images/abc",
            "/data/images/abc",
            "rbd://a/b/c/d",
            "",
        ] {
            assert!(matches!(store.path(url), Err(StoreError::Foreign(_))), "{url}");
        }
    }

    #[test]
    fn publishing_never_replaces() {
        let dir = tempfile::tempdir().expect("a directory");
        let (unfinished, finished) = (dir.path().join(".a.u.part"), dir.path().join("a"));
        fs::write(&unfinished, b"new").expect("writes");
        fs::write(&finished, b"old").expect("writes");
        let error = publish_blocking(&unfinished, &finished, "u", None).expect_err("exists");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&finished).expect("reads"), b"old");
        fs::remove_file(&finished).expect("removes");
        publish_blocking(&unfinished, &finished, "u", Some(0o400)).expect("publishes");
        assert_eq!(fs::read(&finished).expect("reads"), b"new");
        assert_eq!(fs::metadata(&finished).expect("is there").permissions().mode() & 0o777, 0o400);
        assert!(!unfinished.exists());
    }

    #[test]
    fn only_what_an_upload_has_written_is_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let finished = dir.path().join("a");
        let unfinished = unfinished_name(&finished, "u");
        let is_anothers = |id| is_anothers(&finished, &unfinished_name(&finished, id), id);
        assert!(!is_anothers("u"), "nothing is there");
        fs::write(&finished, b"another's").expect("writes");
        assert!(is_anothers("u"), "also when nothing of the upload is left");
        fs::remove_file(&finished).expect("removes");
        fs::write(&unfinished, b"ours").expect("writes");
        publish_blocking(&unfinished, &finished, "u", None).expect("publishes");
        assert!(!is_anothers("u"));
        assert!(is_anothers("v"), "another upload's");
    }

    #[test]
    fn removing_takes_both_names_and_is_repeatable() {
        let dir = tempfile::tempdir().expect("a directory");
        let finished = dir.path().join("a");
        let unfinished = unfinished_name(&finished, "u");
        for _ in 0..2 {
            remove_blocking(vec![finished.clone(), unfinished.clone()]).expect("removes nothing");
        }
        fs::write(&unfinished, b"x").expect("writes");
        fs::write(&finished, b"x").expect("writes");
        remove_blocking(vec![finished, unfinished]).expect("removes");
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 0);
    }

    #[test]
    fn what_cannot_be_there_is_removed_already() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("no directory");
        fs::write(&file, b"x").expect("writes");
        remove_blocking(vec![file.join("a"), dir.path().join("missing/a")]).expect("nothing is there");
        let error = remove_blocking(vec![dir.path().to_owned()]).expect_err("a directory is there");
        assert_ne!(error.kind(), io::ErrorKind::NotFound);
    }
}
