//! Removing images, finished or not: in the original's order, and so that what was half done is done by the next try.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use common::rbd::{Place, SNAPSHOT};

use super::clones::Snapshot;
use super::cluster::Connection;
use super::sys::{Failed, Image, Pool};
use super::{NOTE, RbdStore, unfinished_name};
use crate::io::Length;
use crate::store::StoreError;

/// How long a removal waits for the upload that writes the image to let go of it.
const LET_GO: Duration = Duration::from_secs(2);

/// Tries while an image is in use: mostly it is ourselves who close it at this moment.
const BUSY_TRIES: u32 = 20;

/// The pause between them.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

impl RbdStore {
    /// Removes what the upload wrote, under whichever name, and nothing that somebody else did.
    pub(super) async fn remove_upload(&self, url: &str, upload_id: &str) -> Result<(), StoreError> {
        let place = self.place(url)?;
        let (claims, pool, upload_id) = (Arc::clone(&self.claims), self.config.pool.clone(), upload_id.to_owned());
        let name = unfinished_name(&place.image, &upload_id);
        let removing = move |connection: &Connection, place: &Place| {
            if !claims.wait_free(&name, LET_GO) {
                return Err(Failed::new(libc::EBUSY));
            }
            let pool = connection.pool(&pool)?;
            undo_rename(&pool, &name, &place.image)?;
            remove_image(&pool, &name, Some(SNAPSHOT))?;
            match Image::open_read_only(&pool, &place.image, None).and_then(|image| image.note(NOTE)) {
                Ok(note) if note == upload_id => remove_image(&pool, &place.image, Some(SNAPSHOT)),
                Ok(_) => Ok(()),
                // Of an image that cannot be opened there may still be the name; one without a note is not ours.
                Err(failed) if failed.errno == libc::ENOENT => remove_name(&pool, &place.image),
                Err(failed) => Err(failed),
            }
        };
        self.connected(Length::Long, place, removing).await
    }

    /// Removes an image and its snapshot.
    pub(super) async fn remove_finished(&self, url: &str) -> Result<(), StoreError> {
        let pool = self.config.pool.clone();
        let removing = move |connection: &Connection, place: &Place| {
            remove_image(&connection.pool(&pool)?, &place.image, place.snapshot())
        };
        self.connected(Length::Long, self.place(url)?, removing).await
    }

    /// Fails where clones need the image.
    pub(super) async fn check_unused(&self, url: &str) -> Result<(), StoreError> {
        let pool = self.config.pool.clone();
        let checking = move |connection: &Connection, place: &Place| {
            let Some(snapshot) = place.snapshot() else { return Ok(()) };
            match Snapshot::find(&connection.pool(&pool)?, &place.image, snapshot)? {
                Some(found) if found.has_clones()? => Err(Failed::new(libc::EBUSY)),
                _ => Ok(()),
            }
        };
        self.connected(Length::Short, self.place(url)?, checking).await
    }
}

fn absent_is_fine(failed: Failed) -> Result<(), Failed> {
    if failed.errno == libc::ENOENT { Ok(()) } else { Err(failed) }
}

/// A process that dies while it renames leaves one image with two names. Then the new one goes: it was never told to anybody.
fn undo_rename(pool: &Arc<Pool>, from: &str, to: &str) -> Result<(), Failed> {
    let id = |name| match Image::open_read_only(pool, name, None).and_then(|image| image.id()) {
        Err(failed) if failed.errno == libc::ENOENT => Ok(None),
        outcome => outcome.map(Some),
    };
    match (id(from)?, id(to)?) {
        (Some(old), Some(new)) if old == new => pool.remove_object(&format!("rbd_id.{to}")).or_else(absent_is_fine),
        _ => Ok(()),
    }
}

/// Removes what names an image that is gone; of one that is there, nothing.
fn remove_name(pool: &Arc<Pool>, name: &str) -> Result<(), Failed> {
    match Image::open_read_only(pool, name, None) {
        Ok(_) => Ok(()),
        Err(failed) if failed.errno == libc::ENOENT => pool.remove_image(name).or_else(absent_is_fine),
        Err(failed) => Err(failed),
    }
}

/// Removes an image with its snapshot. Nothing there is fine, and so is the rest of what was removed half.
fn remove_image(pool: &Arc<Pool>, name: &str, snapshot: Option<&str>) -> Result<(), Failed> {
    if let Some(snapshot) = snapshot {
        remove_snapshot(pool, name, snapshot)?;
    }
    let mut tries = 0;
    loop {
        match pool.remove_image(name) {
            Err(failed) if failed.errno == libc::EBUSY && tries < BUSY_TRIES => {
                tries += 1;
                sleep(BUSY_PAUSE);
            }
            // Others have snapshots of it, or clones of its snapshot that do not need that one to be protected.
            Err(failed) if failed.errno == libc::ENOTEMPTY => {
                tracing::info!("image {name} of a Ceph cluster is needed by others and moves to the trash");
                return pool.trash_image(name);
            }
            Err(failed) if failed.errno == libc::ENOENT => return assert_absent(pool, name),
            outcome => return outcome,
        }
    }
}

/// That an image is not there librbd 16 also says where it cannot note that it goes: in a full pool.
fn assert_absent(pool: &Arc<Pool>, name: &str) -> Result<(), Failed> {
    match Image::open_read_only(pool, name, None) {
        Ok(_) => Err(Failed::new(libc::ENOSPC)),
        Err(failed) => absent_is_fine(failed),
    }
}

fn remove_snapshot(pool: &Arc<Pool>, image: &str, name: &str) -> Result<(), Failed> {
    let found = Snapshot::find(pool, image, name)?;
    if let Some(found) = &found {
        found.unprotect().or_else(absent_is_fine)?;
    }
    // Opened after that: an open image knows the protection of the moment when it was opened.
    let removed = Image::open(pool, image).and_then(|image| image.remove_snapshot(name)).or_else(absent_is_fine);
    if let (Err(_), Some(found)) = (&removed, &found) {
        found.protect_again();
    }
    removed
}
