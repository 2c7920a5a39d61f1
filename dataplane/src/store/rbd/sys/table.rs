//! The functions of the libraries, looked up by their names.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use libc::{iovec, size_t, ssize_t};

/// `rados_t`
pub(super) type RadosHandle = *mut c_void;
/// `rados_ioctx_t`
pub(super) type PoolHandle = *mut c_void;
/// `rbd_image_t`
pub(super) type ImageHandle = *mut c_void;
/// `rbd_completion_t`
pub(super) type Completion = *mut c_void;
/// `rbd_lock_mode_t`
pub(super) type LockMode = c_uint;

/// `EVENT_TYPE_EVENTFD`
pub(super) const EVENT_TYPE_EVENTFD: c_int = 2;
/// `RBD_FEATURE_LAYERING`
pub(in super::super) const FEATURE_LAYERING: u64 = 1 << 0;
/// `RBD_FEATURE_EXCLUSIVE_LOCK`
pub(in super::super) const FEATURE_EXCLUSIVE_LOCK: u64 = 1 << 2;
/// `RBD_LOCK_MODE_EXCLUSIVE`
pub(super) const LOCK_MODE_EXCLUSIVE: LockMode = 0;
/// `RBD_FEATURE_FAST_DIFF`
pub(in super::super) const FEATURE_FAST_DIFF: u64 = 1 << 4;

/// `struct rados_cluster_stat_t`: how full a cluster is.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct ClusterStat {
    pub(super) kb: u64,
    pub(super) kb_used: u64,
    pub(super) kb_avail: u64,
    pub(super) num_objects: u64,
}

/// The libraries by their names: those of the stable interface, which every release of Ceph since 2012 has.
const RADOS: &CStr = c"librados.so.2";
const RBD: &CStr = c"librbd.so.1";

macro_rules! functions {
    ($(#[$doc:meta])* $name:ident { $(fn $function:ident($($argument:ty),*) $(-> $result:ty)?;)* }) => {
        $(#[$doc])*
        pub(super) struct $name { $(pub(super) $function: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl $name {
            /// Names and addresses, for the test that compares them with the headers.
            #[cfg(test)]
            pub(super) const DECLARED: &[(&str, &str)] =
                &[$((stringify!($function), stringify!(($($argument),*) $(-> $result)?)),)*];

            fn look_up(library: *mut c_void) -> Result<Self, String> {
                Ok($name { $($function: {
                    let address = symbol(library, concat!(stringify!($function), "\0"))?;
                    // SAFETY: the address is that of the function of this name, whose type is that of its declaration in the
                    // library's header: its interface does not change within the major version that the file name states.
                    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(address) }
                },)* })
            }
        }
    };
}

functions!(
    /// librados
    RadosFunctions {
        fn rados_create(*mut RadosHandle, *const c_char) -> c_int;
        fn rados_shutdown(RadosHandle);
        fn rados_conf_read_file(RadosHandle, *const c_char) -> c_int;
        fn rados_conf_set(RadosHandle, *const c_char, *const c_char) -> c_int;
        fn rados_conf_get(RadosHandle, *const c_char, *mut c_char, size_t) -> c_int;
        fn rados_connect(RadosHandle) -> c_int;
        fn rados_cluster_fsid(RadosHandle, *mut c_char, size_t) -> c_int;
        fn rados_cluster_stat(RadosHandle, *mut ClusterStat) -> c_int;
        fn rados_ioctx_create(RadosHandle, *const c_char, *mut PoolHandle) -> c_int;
        fn rados_ioctx_destroy(PoolHandle);
        fn rados_ioctx_get_id(PoolHandle) -> i64;
        fn rados_pool_list(RadosHandle, *mut c_char, size_t) -> c_int;
        fn rados_pool_get_base_tier(RadosHandle, i64, *mut i64) -> c_int;
        fn rados_wait_for_latest_osdmap(RadosHandle) -> c_int;
        fn rados_set_pool_full_try(PoolHandle);
        fn rados_remove(PoolHandle, *const c_char) -> c_int;
        fn rados_exec(PoolHandle, *const c_char, *const c_char, *const c_char, *const c_char, size_t, *mut c_char, size_t) -> c_int;
    }
);

functions!(
    /// librbd
    RbdFunctions {
        fn rbd_create2(PoolHandle, *const c_char, u64, u64, *mut c_int) -> c_int;
        fn rbd_open(PoolHandle, *const c_char, *mut ImageHandle, *const c_char) -> c_int;
        fn rbd_open_read_only(PoolHandle, *const c_char, *mut ImageHandle, *const c_char) -> c_int;
        fn rbd_close(ImageHandle) -> c_int;
        fn rbd_remove(PoolHandle, *const c_char) -> c_int;
        fn rbd_rename(PoolHandle, *const c_char, *const c_char) -> c_int;
        fn rbd_trash_move(PoolHandle, *const c_char, u64) -> c_int;
        fn rbd_resize(ImageHandle, u64) -> c_int;
        fn rbd_get_size(ImageHandle, *mut u64) -> c_int;
        fn rbd_get_features(ImageHandle, *mut u64) -> c_int;
        fn rbd_get_id(ImageHandle, *mut c_char, size_t) -> c_int;
        fn rbd_flush(ImageHandle) -> c_int;
        fn rbd_lock_acquire(ImageHandle, LockMode) -> c_int;
        fn rbd_metadata_get(ImageHandle, *const c_char, *mut c_char, *mut size_t) -> c_int;
        fn rbd_metadata_set(ImageHandle, *const c_char, *const c_char) -> c_int;
        fn rbd_snap_create(ImageHandle, *const c_char) -> c_int;
        fn rbd_snap_remove(ImageHandle, *const c_char) -> c_int;
        fn rbd_snap_protect(ImageHandle, *const c_char) -> c_int;
        fn rbd_snap_get_id(ImageHandle, *const c_char, *mut u64) -> c_int;
        fn rbd_diff_iterate2(ImageHandle, *const c_char, u64, u64, u8, u8, extern "C" fn(u64, size_t, c_int, *mut c_void) -> c_int, *mut c_void) -> c_int;
        fn rbd_set_image_notification(ImageHandle, c_int, c_int) -> c_int;
        fn rbd_poll_io_events(ImageHandle, *mut Completion, c_int) -> c_int;
        fn rbd_aio_create_completion(*mut c_void, Option<extern "C" fn(Completion, *mut c_void)>, *mut Completion) -> c_int;
        fn rbd_aio_readv(ImageHandle, *const iovec, c_int, u64, Completion) -> c_int;
        fn rbd_aio_writev(ImageHandle, *const iovec, c_int, u64, Completion) -> c_int;
        fn rbd_aio_get_arg(Completion) -> *mut c_void;
        fn rbd_aio_get_return_value(Completion) -> ssize_t;
        fn rbd_aio_release(Completion);
    }
);

/// Both libraries, open until the process ends.
pub(in super::super) struct Library {
    pub(super) rados: RadosFunctions,
    pub(super) rbd: RbdFunctions,
}

impl Library {
    /// The libraries of this machine, opened at the first call.
    ///
    /// # Errors
    /// One line with the cause and the remedy.
    pub(in super::super) fn get() -> Result<&'static Library, String> {
        static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
        let opened = LIBRARY.get_or_init(|| {
            let opened = open(RADOS).and_then(|rados| {
                let rbd = open(RBD)?;
                Ok(Library { rados: RadosFunctions::look_up(rados)?, rbd: RbdFunctions::look_up(rbd)? })
            });
            opened.map_err(|cause| {
                format!("Ceph's client libraries cannot be used: {cause}; install librbd (package librbd1), or take the store out")
            })
        });
        opened.as_ref().map_err(Clone::clone)
    }
}

fn open(name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: the name is a string with its end; what the libraries do when they are loaded is theirs to answer for.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() { Err(last_error()) } else { Ok(handle) }
}

/// The address of a function. `name` ends in a zero byte.
fn symbol(library: *mut c_void, name: &str) -> Result<*mut c_void, String> {
    // SAFETY: the library is open, and is never closed; the name ends in a zero byte.
    let address = unsafe { libc::dlsym(library, name.as_ptr().cast()) };
    if address.is_null() { Err(last_error()) } else { Ok(address) }
}

fn last_error() -> String {
    // SAFETY: the text is valid until this thread calls the loader again.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "the loader does not say why".to_owned();
    }
    // SAFETY: not null, so it is a string with its end.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
