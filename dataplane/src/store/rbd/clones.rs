//! Whether clones need a snapshot, and the protection that keeps it for them.
//!
//! What librbd does to end the protection of a snapshot, in the same order, and not by librbd: that waits for the newest map of the
//! cluster on one of its own threads, by which the answer has to come, so that as many removals at a time as there are threads hang
//! for ever (Ceph 16; "TODO add async version" in its source). Here the threads that wait are ours.
//!
//! Source of the methods and of what they take: Ceph's `src/cls/rbd/cls_rbd.cc`, since the images of format 2 (2012). Integers are
//! little-endian, a text is its length in 4 bytes and its bytes.

use std::ffi::CStr;
use std::sync::Arc;

use super::sys::{Failed, Image, Pool};

/// The class of the methods.
const CLASS: &CStr = c"rbd";

/// The object of a pool that tells the clones in it.
const CHILDREN: &str = "rbd_children";

/// Lists of the pools that are gone through, while pools come and go.
const SCANS_MAX: u32 = 3;

/// States of the protection: none, on its way to none, and clones may be made.
const UNPROTECTED: u8 = 0;
const UNPROTECTING: u8 = 1;
const PROTECTED: u8 = 2;

/// A snapshot, as the cluster knows it.
pub(super) struct Snapshot {
    pool: Arc<Pool>,
    image_id: String,
    id: u64,
}

impl Snapshot {
    /// The snapshot `name` of an image; `None`: one of the two is not there, or the image is of the first format, which has no clones.
    /// Blocks.
    pub(super) fn find(pool: &Arc<Pool>, image: &str, name: &str) -> Result<Option<Self>, Failed> {
        let found = Image::open_read_only(pool, image, None).and_then(|image| {
            let image_id = match image.id() {
                Err(failed) if failed.errno == libc::EINVAL => return Ok(None),
                id => id?,
            };
            let id = image.snapshot_id(name)?;
            Ok(Some(Snapshot { pool: Arc::clone(pool), image_id, id }))
        });
        match found {
            Err(failed) if failed.errno == libc::ENOENT => Ok(None),
            found => found,
        }
    }

    /// Whether there are clones that need the protection, as far as is known here; clones of the newer format do not. Blocks.
    pub(super) fn has_clones(&self) -> Result<bool, Failed> {
        let rados = self.pool.rados();
        for _ in 0..SCANS_MAX {
            let mut all_seen = true;
            for name in rados.pool_names()? {
                match Pool::open(rados, &name).and_then(|pool| self.has_clones_in(&pool)) {
                    Ok(false) => {}
                    // It has gone since, or has another name now, under which the next list has it.
                    Err(failed) if failed.errno == libc::ENOENT => all_seen = false,
                    found => return found,
                }
            }
            if all_seen {
                return Ok(false);
            }
        }
        Err(Failed::new(libc::EAGAIN))
    }

    fn has_clones_in(&self, pool: &Pool) -> Result<bool, Failed> {
        // What it has the pool behind it has too.
        if pool.is_cache()? {
            return Ok(false);
        }
        let length = u32::try_from(self.image_id.len()).map_err(|_| Failed::new(libc::EINVAL))?;
        let mut parent = self.pool.id().to_le_bytes().to_vec();
        parent.extend(length.to_le_bytes());
        parent.extend(self.image_id.as_bytes());
        parent.extend(self.id.to_le_bytes());
        // Only their number is of interest, which comes first.
        let mut count = [0; 4];
        match pool.execute(CHILDREN, (CLASS, c"get_children"), &parent, &mut count) {
            Ok(_) => Ok(count != [0; 4]),
            Err(failed) => match failed.errno {
                libc::ERANGE => Ok(true),
                // There has never been a clone; or the pool is of a kind that cannot have any.
                libc::ENOENT | libc::EOPNOTSUPP => Ok(false),
                _ => Err(failed),
            },
        }
    }

    /// Lets the snapshot be removed. Fails with `EBUSY` while clones need it. Blocks.
    pub(super) fn unprotect(&self) -> Result<(), Failed> {
        if self.protection()? == UNPROTECTED {
            return Ok(());
        }
        // No clone can be made from here on, so that none is missed.
        self.protect(UNPROTECTING)?;
        let newest = self.pool.rados().wait_for_newest_map();
        let ended = newest.and_then(|()| self.has_clones()).and_then(|has_clones| match has_clones {
            true => Err(Failed::new(libc::EBUSY)),
            false => self.protect(UNPROTECTED),
        });
        if ended.is_err() {
            self.protect_again();
        }
        ended
    }

    /// Takes [`Snapshot::unprotect`] back. If that fails, it is for the next try: the removal is on record. Blocks.
    pub(super) fn protect_again(&self) {
        let _ = self.protect(PROTECTED);
    }

    fn header(&self) -> String {
        format!("rbd_header.{}", self.image_id)
    }

    fn protection(&self) -> Result<u8, Failed> {
        let mut state = [0];
        self.pool.execute(&self.header(), (CLASS, c"get_protection_status"), &self.id.to_le_bytes(), &mut state)?;
        Ok(state[0])
    }

    fn protect(&self, state: u8) -> Result<(), Failed> {
        let mut input = self.id.to_le_bytes().to_vec();
        input.push(state);
        self.pool.execute(&self.header(), (CLASS, c"set_protection_status"), &input, &mut []).map(drop)
    }
}
