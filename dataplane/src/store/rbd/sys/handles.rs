//! Clusters, pools and images. Every call here may block for as long as the cluster takes: none is for a core's thread.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;

use super::table::{
    ClusterStat, EVENT_TYPE_EVENTFD, ImageHandle, LOCK_MODE_EXCLUSIVE, Library, PoolHandle, RadosHandle,
};

/// Bytes of the longest value that is asked for: ids, configuration values.
const VALUE_BYTES: usize = 4096;

/// What was being done when something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Step {
    /// Reading `ceph.conf`.
    Configuration,
    /// Connecting to the cluster.
    Connection,
    /// Opening the pool.
    Pool,
    /// Anything else.
    Work,
}

/// A call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Failed {
    /// What it was for.
    pub(in super::super) step: Step,
    /// `errno`, positive.
    pub(in super::super) errno: i32,
}

impl Failed {
    pub(in super::super) fn new(errno: i32) -> Self {
        Failed { step: Step::Work, errno }
    }

    fn at(self, step: Step) -> Self {
        Failed { step, ..self }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.errno).fmt(f)
    }
}

type Result<T> = std::result::Result<T, Failed>;

/// The libraries' way to tell: what is negative is an error.
fn check(code: c_int) -> Result<c_int> {
    if code < 0 { Err(Failed::new(code.saturating_neg())) } else { Ok(code) }
}

/// `text` for the libraries; no name with a zero byte exists.
fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Failed::new(libc::ENOENT))
}

fn optional(text: Option<&str>) -> Result<Option<CString>> {
    text.map(c_string).transpose()
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
}

/// The string at the start of `bytes`.
fn text(bytes: &[u8]) -> String {
    CStr::from_bytes_until_nul(bytes).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A connection to a cluster.
pub(in super::super) struct Rados {
    library: &'static Library,
    handle: RadosHandle,
}

// SAFETY: librados may be called from any number of threads at a time ("thread-safe" by its documentation).
unsafe impl Send for Rados {}
// SAFETY: the same.
unsafe impl Sync for Rados {}

impl Rados {
    /// A handle that has read its configuration: `file`, or the one that Ceph looks for itself. `user` is without `client.`.
    pub(in super::super) fn configure(
        library: &'static Library,
        user: Option<&str>,
        file: Option<&str>,
    ) -> Result<Self> {
        let (user, file) = (optional(user)?, optional(file)?);
        let mut handle = ptr::null_mut();
        // SAFETY: the place for the handle and the name, which may be null, are valid for the call.
        check(unsafe { (library.rados.rados_create)(&raw mut handle, pointer(&user)) })?;
        let rados = Rados { library, handle };
        // SAFETY: the handle is valid, the path is a string or null.
        let read = check(unsafe { (library.rados.rados_conf_read_file)(handle, pointer(&file)) });
        read.map_err(|failed| failed.at(Step::Configuration))?;
        Ok(rados)
    }

    /// Sets a value of the configuration.
    pub(in super::super) fn set(&self, name: &str, value: &str) -> Result<()> {
        let (name, value) = (c_string(name)?, c_string(value)?);
        // SAFETY: the handle is valid, both are strings.
        let set = check(unsafe { (self.library.rados.rados_conf_set)(self.handle, name.as_ptr(), value.as_ptr()) });
        set.map(drop).map_err(|failed| failed.at(Step::Configuration))
    }

    /// A value of the configuration; `None` for one that there is not.
    pub(in super::super) fn get(&self, name: &str) -> Option<String> {
        let name = c_string(name).ok()?;
        let mut value = [0u8; VALUE_BYTES];
        // SAFETY: the handle is valid, the value has room for as many bytes as are told.
        let got = unsafe {
            (self.library.rados.rados_conf_get)(self.handle, name.as_ptr(), value.as_mut_ptr().cast(), VALUE_BYTES)
        };
        (got == 0).then(|| text(&value))
    }

    /// Connects.
    pub(in super::super) fn connect(&self) -> Result<()> {
        // SAFETY: the handle is valid and, by its configuration, complete.
        let connected = check(unsafe { (self.library.rados.rados_connect)(self.handle) });
        connected.map(drop).map_err(|failed| failed.at(Step::Connection))
    }

    /// The cluster's id.
    pub(in super::super) fn fsid(&self) -> Result<String> {
        let mut id = [0u8; VALUE_BYTES];
        // SAFETY: the handle is connected, the id has room for as many bytes as are told.
        check(unsafe { (self.library.rados.rados_cluster_fsid)(self.handle, id.as_mut_ptr().cast(), VALUE_BYTES) })?;
        Ok(text(&id))
    }

    /// Bytes that are free in the whole cluster.
    pub(in super::super) fn free_bytes(&self) -> Result<u64> {
        let mut stat = ClusterStat::default();
        // SAFETY: the handle is connected, the struct is the library's.
        check(unsafe { (self.library.rados.rados_cluster_stat)(self.handle, &raw mut stat) })?;
        Ok(stat.kb_avail.saturating_mul(1024))
    }

    /// Waits until the cluster's newest map is known, for as long as its monitors take.
    pub(in super::super) fn wait_for_newest_map(&self) -> Result<()> {
        // SAFETY: the handle is connected.
        check(unsafe { (self.library.rados.rados_wait_for_latest_osdmap)(self.handle) }).map(drop)
    }

    /// The names of all pools by the map that is known.
    pub(in super::super) fn pool_names(&self) -> Result<Vec<String>> {
        let mut names = vec![0u8; VALUE_BYTES];
        loop {
            // SAFETY: the handle is connected, there is room for as many bytes as are told.
            let needed = check(unsafe {
                (self.library.rados.rados_pool_list)(self.handle, names.as_mut_ptr().cast(), names.len())
            })?;
            let needed = usize::try_from(needed).unwrap_or(0);
            if needed <= names.len() {
                break;
            }
            names.resize(needed, 0);
        }
        // Each ends in a zero byte, and the last one is empty.
        let names = names.split(|byte| *byte == 0).take_while(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }
}

impl Drop for Rados {
    fn drop(&mut self) {
        // SAFETY: whoever has something of this connection holds on to it, so nothing is left that uses it.
        unsafe { (self.library.rados.rados_shutdown)(self.handle) };
    }
}

/// A pool of a cluster.
pub(in super::super) struct Pool {
    rados: Arc<Rados>,
    handle: PoolHandle,
}

// SAFETY: librados may be called from any number of threads at a time; the only setter of an ioctx that is used is called before it is shared.
unsafe impl Send for Pool {}
// SAFETY: the same.
unsafe impl Sync for Pool {}

impl Pool {
    /// The pool named `name`. Changes of a full one fail at once, and what makes room can be done: else all of them wait until somebody has
    /// made some.
    pub(in super::super) fn open(rados: &Arc<Rados>, name: &str) -> Result<Self> {
        let name = c_string(name)?;
        let mut handle = ptr::null_mut();
        // SAFETY: the cluster is connected, the place for the handle is valid.
        let opened =
            check(unsafe { (rados.library.rados.rados_ioctx_create)(rados.handle, name.as_ptr(), &raw mut handle) });
        opened.map_err(|failed| failed.at(Step::Pool))?;
        // SAFETY: the pool is open, and nobody else has it yet.
        unsafe { (rados.library.rados.rados_set_pool_full_try)(handle) };
        Ok(Pool { rados: Arc::clone(rados), handle })
    }

    fn library(&self) -> &'static Library {
        self.rados.library
    }

    /// The connection that it belongs to.
    pub(in super::super) fn rados(&self) -> &Arc<Rados> {
        &self.rados
    }

    /// The id, which stays whatever the name is.
    pub(in super::super) fn id(&self) -> i64 {
        // SAFETY: the pool is open.
        unsafe { (self.library().rados.rados_ioctx_get_id)(self.handle) }
    }

    /// Whether it only caches what another pool has.
    pub(in super::super) fn is_cache(&self) -> Result<bool> {
        let (id, mut base) = (self.id(), 0);
        // SAFETY: the cluster is connected, the place for the id is valid.
        check(unsafe { (self.library().rados.rados_pool_get_base_tier)(self.rados.handle, id, &raw mut base) })?;
        Ok(base != id)
    }

    /// Has the osd run `method` of `class` on an object; how many bytes of `output` it has filled. `ERANGE`: there are more.
    pub(in super::super) fn execute(
        &self,
        object: &str,
        (class, method): (&CStr, &CStr),
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize> {
        let object = c_string(object)?;
        // SAFETY: the pool is open, the names are strings, and input and output have as many bytes as are told.
        let filled = check(unsafe {
            (self.library().rados.rados_exec)(
                self.handle,
                object.as_ptr(),
                class.as_ptr(),
                method.as_ptr(),
                input.as_ptr().cast(),
                input.len(),
                output.as_mut_ptr().cast(),
                output.len(),
            )
        })?;
        Ok(usize::try_from(filled).unwrap_or(0).min(output.len()))
    }

    /// Makes an image of objects of 2^`order` bytes.
    pub(in super::super) fn create_image(&self, name: &str, size: u64, features: u64, order: u8) -> Result<()> {
        let name = c_string(name)?;
        let mut order = c_int::from(order);
        // SAFETY: the pool is open, the order is read and written during the call only.
        check(unsafe { (self.library().rbd.rbd_create2)(self.handle, name.as_ptr(), size, features, &raw mut order) })?;
        Ok(())
    }

    /// Removes an image that has no snapshots.
    pub(in super::super) fn remove_image(&self, name: &str) -> Result<()> {
        let name = c_string(name)?;
        // SAFETY: the pool is open.
        check(unsafe { (self.library().rbd.rbd_remove)(self.handle, name.as_ptr()) }).map(drop)
    }

    /// Gives an image another name, which must be free.
    pub(in super::super) fn rename_image(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (c_string(from)?, c_string(to)?);
        // SAFETY: the pool is open.
        check(unsafe { (self.library().rbd.rbd_rename)(self.handle, from.as_ptr(), to.as_ptr()) }).map(drop)
    }

    /// Moves an image to the pool's trash, to be purged at any time.
    pub(in super::super) fn trash_image(&self, name: &str) -> Result<()> {
        let name = c_string(name)?;
        // SAFETY: the pool is open.
        check(unsafe { (self.library().rbd.rbd_trash_move)(self.handle, name.as_ptr(), 0) }).map(drop)
    }

    /// Removes a single object.
    pub(in super::super) fn remove_object(&self, name: &str) -> Result<()> {
        let name = c_string(name)?;
        // SAFETY: the pool is open.
        check(unsafe { (self.library().rados.rados_remove)(self.handle, name.as_ptr()) }).map(drop)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: images hold on to their pool, so nothing is left that uses it.
        unsafe { (self.library().rados.rados_ioctx_destroy)(self.handle) };
    }
}

/// An open image.
pub(in super::super) struct Image {
    pool: Arc<Pool>,
    handle: ImageHandle,
    /// What the library rings when an operation is done: it knows the number, so this must outlive the image.
    _bell: Option<OwnedFd>,
}

// SAFETY: librbd may be called from any number of threads at a time, also on one image.
unsafe impl Send for Image {}
// SAFETY: the same.
unsafe impl Sync for Image {}

impl Image {
    /// The connection that it belongs to.
    pub(in super::super) fn rados(&self) -> &Arc<Rados> {
        self.pool.rados()
    }

    /// Opens an image for reading and writing.
    pub(in super::super) fn open(pool: &Arc<Pool>, name: &str) -> Result<Self> {
        Self::open_by(pool, pool.library().rbd.rbd_open, name, None)
    }

    /// Opens an image, or one of its snapshots, for reading. Nobody is told of it: the image may be removed.
    pub(in super::super) fn open_read_only(pool: &Arc<Pool>, name: &str, snapshot: Option<&str>) -> Result<Self> {
        Self::open_by(pool, pool.library().rbd.rbd_open_read_only, name, snapshot)
    }

    fn open_by(
        pool: &Arc<Pool>,
        open: unsafe extern "C" fn(PoolHandle, *const c_char, *mut ImageHandle, *const c_char) -> c_int,
        name: &str,
        snapshot: Option<&str>,
    ) -> Result<Self> {
        let (name, snapshot) = (c_string(name)?, optional(snapshot)?);
        let mut handle = ptr::null_mut();
        // SAFETY: `open` is one of the two functions of this type that open images; the pool is open, the place for the handle is
        // valid, the snapshot is a string or null.
        check(unsafe { open(pool.handle, name.as_ptr(), &raw mut handle, pointer(&snapshot)) })?;
        Ok(Image { pool: Arc::clone(pool), handle, _bell: None })
    }

    /// Has the library ring `bell`, an eventfd, when operations are done. Once, before the first one.
    pub(in super::super) fn ring(mut self, bell: OwnedFd) -> Result<Self> {
        // SAFETY: the image is open, and keeps the descriptor for as long as it is.
        check(unsafe {
            (self.library().rbd.rbd_set_image_notification)(self.handle, bell.as_raw_fd(), EVENT_TYPE_EVENTFD)
        })?;
        self._bell = Some(bell);
        Ok(self)
    }

    pub(super) fn library(&self) -> &'static Library {
        self.pool.library()
    }

    pub(super) fn handle(&self) -> ImageHandle {
        self.handle
    }

    /// Bytes.
    pub(in super::super) fn size(&self) -> Result<u64> {
        let mut size = 0;
        // SAFETY: the image is open.
        check(unsafe { (self.library().rbd.rbd_get_size)(self.handle, &raw mut size) })?;
        Ok(size)
    }

    /// Bits of the features.
    pub(in super::super) fn features(&self) -> Result<u64> {
        let mut features = 0;
        // SAFETY: the image is open.
        check(unsafe { (self.library().rbd.rbd_get_features)(self.handle, &raw mut features) })?;
        Ok(features)
    }

    /// The id, which stays whatever the name is.
    pub(in super::super) fn id(&self) -> Result<String> {
        let mut id = [0u8; VALUE_BYTES];
        // SAFETY: the image is open, the id has room for as many bytes as are told.
        check(unsafe { (self.library().rbd.rbd_get_id)(self.handle, id.as_mut_ptr().cast(), VALUE_BYTES) })?;
        Ok(text(&id))
    }

    /// Makes it longer or shorter.
    pub(in super::super) fn resize(&self, size: u64) -> Result<()> {
        // SAFETY: the image is open.
        check(unsafe { (self.library().rbd.rbd_resize)(self.handle, size) }).map(drop)
    }

    /// Takes the image's lock until it is closed, where images have one. Writes that wait for it are forgotten when the cluster hangs or
    /// locks us out (librbd 16), and what they lend never comes back.
    pub(in super::super) fn lock(&self) -> Result<()> {
        // SAFETY: the image is open.
        check(unsafe { (self.library().rbd.rbd_lock_acquire)(self.handle, LOCK_MODE_EXCLUSIVE) }).map(drop)
    }

    /// Makes what was written durable.
    pub(in super::super) fn flush(&self) -> Result<()> {
        // SAFETY: the image is open.
        check(unsafe { (self.library().rbd.rbd_flush)(self.handle) }).map(drop)
    }

    /// A note that was left on the image.
    pub(in super::super) fn note(&self, key: &str) -> Result<String> {
        let key = c_string(key)?;
        let mut value = [0u8; VALUE_BYTES];
        let mut room = VALUE_BYTES;
        // SAFETY: the image is open, the value has room for as many bytes as are told.
        check(unsafe {
            (self.library().rbd.rbd_metadata_get)(self.handle, key.as_ptr(), value.as_mut_ptr().cast(), &raw mut room)
        })?;
        Ok(text(&value))
    }

    /// Leaves a note on the image.
    pub(in super::super) fn set_note(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (c_string(key)?, c_string(value)?);
        // SAFETY: the image is open.
        check(unsafe { (self.library().rbd.rbd_metadata_set)(self.handle, key.as_ptr(), value.as_ptr()) }).map(drop)
    }

    fn snapshot_call(
        &self,
        call: unsafe extern "C" fn(ImageHandle, *const c_char) -> c_int,
        snapshot: &str,
    ) -> Result<()> {
        let snapshot = c_string(snapshot)?;
        // SAFETY: `call` is one of the functions that take an open image and the name of a snapshot.
        check(unsafe { call(self.handle, snapshot.as_ptr()) }).map(drop)
    }

    /// Takes a snapshot.
    pub(in super::super) fn take_snapshot(&self, name: &str) -> Result<()> {
        self.snapshot_call(self.library().rbd.rbd_snap_create, name)
    }

    /// Removes a snapshot that is not protected.
    pub(in super::super) fn remove_snapshot(&self, name: &str) -> Result<()> {
        self.snapshot_call(self.library().rbd.rbd_snap_remove, name)
    }

    /// Lets a snapshot be cloned.
    pub(in super::super) fn protect_snapshot(&self, name: &str) -> Result<()> {
        self.snapshot_call(self.library().rbd.rbd_snap_protect, name)
    }

    /// The id of a snapshot.
    pub(in super::super) fn snapshot_id(&self, name: &str) -> Result<u64> {
        let (name, mut id) = (c_string(name)?, 0);
        // SAFETY: the image is open, the name is a string, the place for the id is valid.
        check(unsafe { (self.library().rbd.rbd_snap_get_id)(self.handle, name.as_ptr(), &raw mut id) })?;
        Ok(id)
    }

    /// Where before `end` there is data, by whole objects, in order; at most `count_max` extents, what comes behind them counts as
    /// data. `None`: the library tells them out of order, as before 16.2.8, and maybe not all.
    pub(in super::super) fn extents(&self, end: u64, count_max: usize) -> Result<Option<Vec<Range<u64>>>> {
        let mut found = Extents { list: Vec::new(), count_max, end, in_order: true };
        // SAFETY: the image is open; the callback gets the pointer to `found`, which nobody else uses until the call is over.
        check(unsafe {
            (self.library().rbd.rbd_diff_iterate2)(
                self.handle,
                ptr::null(),
                0,
                end,
                1,
                1,
                note_extent,
                (&raw mut found).cast(),
            )
        })?;
        Ok(found.in_order.then_some(found.list))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: operations hold on to their image, so none is left. What was to be durable was flushed, and its result looked at.
        unsafe { (self.library().rbd.rbd_close)(self.handle) };
    }
}

struct Extents {
    list: Vec<Range<u64>>,
    count_max: usize,
    end: u64,
    in_order: bool,
}

/// Takes down one extent. It must not unwind into the library, and has nothing that could.
extern "C" fn note_extent(offset: u64, length: usize, exists: c_int, found: *mut c_void) -> c_int {
    // SAFETY: the pointer is the one that `Image::extents` gave to the library for the time of its call.
    let found = unsafe { &mut *found.cast::<Extents>() };
    if exists == 0 {
        return 0;
    }
    let end = offset.saturating_add(length as u64);
    let is_full = found.list.len() >= found.count_max;
    match found.list.last_mut() {
        Some(last) if offset < last.start => found.in_order = false,
        Some(last) if last.end >= offset => last.end = last.end.max(end),
        Some(last) if is_full => last.end = found.end,
        _ => found.list.push(offset..end),
    }
    0
}
