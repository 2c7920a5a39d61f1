//! Uploads: the intent before bytes move, the commit after they are durable.
//!
//! The row of an upload is its intent as long as `committed_at` is empty: its image is in `saving` or `uploading`, or a job
//! fills one of its places, and bytes may lie there. A doomed upload can only be aborted: somebody is about to remove its bytes. A committed upload is remembered for a while, so that a commit whose answer was lost can be repeated.

use rusqlite::Row;
use serde_json::{Map, Value};

use super::fault::failed;
use super::rows::{self, to_column};
use super::{Changes, Queries};
use crate::model::Status;
use crate::time::Timestamp;
use crate::{Error, Result};

/// What the data of an upload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A client brings the data of an image.
    Store,
    /// A client brings data that will be imported.
    Staging,
    /// A job brings it.
    Job,
}

impl Purpose {
    const ALL: [Purpose; 3] = [Purpose::Store, Purpose::Staging, Purpose::Job];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Purpose::Store => "store",
            Purpose::Staging => "staging",
            Purpose::Job => "job",
        }
    }

    /// The status of the image meanwhile, where the upload decides it.
    fn status(self) -> Option<Status> {
        match self {
            Purpose::Store => Some(Status::Saving),
            Purpose::Staging => Some(Status::Uploading),
            Purpose::Job => None,
        }
    }
}

impl std::str::FromStr for Purpose {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == text).ok_or(())
    }
}

/// An upload that may begin.
#[derive(Debug, Clone)]
pub struct NewUpload<'a> {
    /// A fresh UUID.
    pub upload_id: &'a str,
    /// The image.
    pub image_id: &'a str,
    /// The data plane that will write.
    pub instance: &'a str,
    /// The store.
    pub store: &'a str,
    /// The place, as a store URI.
    pub url: &'a str,
    /// Metadata of the location to come: `{"store": …}` in multi-store mode, else empty.
    pub location_metadata: &'a Map<String, Value>,
    /// Name of the digest beside MD5; empty where nothing is hashed.
    pub hash_algo: &'a str,
    /// The project whose quota the data counts for.
    pub quota_project: Option<&'a str>,
    /// Bytes that count for the quota while it runs, and that it may have; `None`: nothing is counted.
    pub reserved: Option<u64>,
    /// What the signature of the data is verified by, a text of its owner's; `None`: it is not signed.
    pub signature: Option<&'a str>,
}

/// An upload that was opened and neither committed nor aborted: bytes may lie at `url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Names the upload.
    pub upload_id: String,
    /// The image.
    pub image_id: String,
    /// The data plane that writes, or wrote.
    pub instance: String,
    /// The store.
    pub store: String,
    /// The place, as a store URI.
    pub url: String,
    /// The project whose quota the data counts for.
    pub quota_project: Option<String>,
    /// Bytes that count for it, and that the upload may have; `None`: nothing is counted.
    pub reserved: Option<u64>,
    /// What the data is for.
    pub purpose: Purpose,
    /// Whether it was given up: it cannot be committed any more.
    pub doomed: bool,
    /// Whether the image is deleted.
    pub image_deleted: bool,
    /// When it was opened.
    pub started_at: Timestamp,
    /// The job that it belongs to.
    pub job_id: Option<String>,
    /// What the signature of the data is verified by, as its owner wrote it; `None`: it is not signed.
    pub signature: Option<String>,
}

/// The data of an upload is durable: what is known of it.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    /// Names the upload.
    pub upload_id: &'a str,
    /// Bytes.
    pub size: u64,
    /// What was found out about it; nothing about what is staged.
    pub findings: Option<CommitFindings<'a>>,
}

/// What was found out about the data of an upload.
#[derive(Debug, Clone, Copy)]
pub struct CommitFindings<'a> {
    /// Bytes of the disk that the data describes, where known.
    pub virtual_size: Option<u64>,
    /// MD5, hexadecimal.
    pub checksum: &'a str,
    /// The other digest, hexadecimal.
    pub hash_value: &'a str,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The image is `active` now.
    Now,
    /// It was committed before: a repetition.
    Before,
    /// The image was deleted, or taken out of `saving` or `uploading`, while the data came. The intent stays: the bytes must be
    /// removed, then the upload aborted.
    ImageGone,
    /// No such upload: it was given up, aborted or never opened. Its bytes must be removed.
    Unknown,
}

/// What became of an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aborted {
    /// The image is `queued` again.
    Requeued,
    /// The intent is gone: it was a job's, which says what becomes of the image.
    OfJob,
    /// The intent is gone; the image was deleted or is no longer in `saving` or `uploading`, and was not touched.
    ImageGone,
    /// Nothing to do: it was aborted before, or never opened.
    Unknown,
    /// Refused: the upload was committed, its bytes belong to an image.
    Committed,
}

pub(super) const SELECT_INTENT: &str = "SELECT upload_id, image_id, instance, store, url, quota_project, doomed, \
     started_at, NOT EXISTS (SELECT 1 FROM images WHERE images.id = image_id AND +images.deleted = 0), job_id, \
     expected_size, purpose, signature FROM vitrine_uploads";

impl Queries<'_> {
    /// The open upload `upload_id`.
    pub fn upload(&self, upload_id: &str) -> Result<Option<Intent>> {
        let sql = format!("{SELECT_INTENT} WHERE upload_id = ?1 AND committed_at IS NULL");
        self.one(&sql, [upload_id], intent)
    }

    /// All open uploads, oldest first.
    pub fn uploads(&self) -> Result<Vec<Intent>> {
        let sql = format!("{SELECT_INTENT} WHERE committed_at IS NULL ORDER BY started_at, upload_id");
        self.all(&sql, [], intent)
    }

    /// Open uploads that another data plane than `instance` wrote.
    pub fn uploads_of_other_instances(&self, instance: &str) -> Result<Vec<Intent>> {
        let mut uploads = self.uploads()?;
        uploads.retain(|upload| upload.instance != instance);
        Ok(uploads)
    }
}

impl Changes<'_> {
    /// Moves the image from `queued` to the status of an upload for `purpose` and records the intent. 404 when the image is not
    /// there, 409 when it is not `queued`, or while what an earlier attempt left at the place is being removed.
    pub fn open_upload(&self, upload: &NewUpload<'_>, purpose: Purpose) -> Result<()> {
        if let Some(status) = purpose.status() {
            self.set_status(upload.image_id, &[Status::Queued], status)?;
        }
        if self.is_occupied(upload.url)? {
            let image = upload.image_id;
            return Err(Error::conflict(format!(
                "Data of an earlier attempt for image {image} is still being removed."
            )));
        }
        insert_upload(self, upload, purpose, None)
    }

    /// Makes the image `active` with its data, or notes that it is staged, and ends the intent.
    pub fn commit_upload(&self, commit: &Commit<'_>) -> Result<Committed> {
        // What was not examined cannot be an image's data.
        let purpose = if commit.findings.is_some() { Purpose::Store } else { Purpose::Staging };
        let row = self.one(
            "SELECT image_id, url, location_metadata, hash_algo, committed_at IS NOT NULL \
             FROM vitrine_uploads WHERE upload_id = ?1 AND doomed = 0 AND purpose = ?2",
            [commit.upload_id, purpose.as_str()],
            |row| row.try_into().map_err(failed),
        )?;
        let Some(row) = row else { return Ok(Committed::Unknown) };
        let (image_id, url, metadata, hash_algo, committed): (String, String, String, String, bool) = row;
        if committed {
            return Ok(Committed::Before);
        }
        let now = Timestamp::now().to_sql();
        let Some(findings) = &commit.findings else { return self.commit_staged(commit, &image_id, &now) };
        let changed = self.execute(
            "UPDATE images SET status = ?2, size = ?3, virtual_size = ?4, checksum = ?5, os_hash_algo = ?6, \
             os_hash_value = ?7, updated_at = ?8 WHERE id = ?1 AND deleted = 0 AND status = ?9",
            &[
                &image_id,
                &Status::Active.as_str(),
                &to_column(commit.size)?,
                &findings.virtual_size.map(to_column).transpose()?,
                &findings.checksum,
                &hash_algo,
                &findings.hash_value,
                &now,
                &Status::Saving.as_str(),
            ],
        )?;
        if changed == 0 {
            return Ok(Committed::ImageGone);
        }
        self.insert_location(&image_id, &url, &metadata, &now)?;
        self.execute("UPDATE vitrine_uploads SET committed_at = ?2 WHERE upload_id = ?1", &[&commit.upload_id, &now])?;
        Ok(Committed::Now)
    }

    /// The data is staged: an import may take it.
    fn commit_staged(&self, commit: &Commit<'_>, image_id: &str, now: &str) -> Result<Committed> {
        let changed = self.execute(
            "UPDATE images SET size = ?2, updated_at = ?3 WHERE id = ?1 AND deleted = 0 AND status = ?4",
            &[&image_id, &to_column(commit.size)?, &now, &Status::Uploading.as_str()],
        )?;
        if changed == 0 {
            return Ok(Committed::ImageGone);
        }
        self.execute("UPDATE vitrine_uploads SET committed_at = ?2 WHERE upload_id = ?1", &[&commit.upload_id, &now])?;
        Ok(Committed::Now)
    }

    /// Gives the open upload up: from now on it cannot be committed, so that its bytes may be removed. `false` when it is
    /// not open any more. Repeating it is harmless.
    pub fn doom_upload(&self, upload_id: &str) -> Result<bool> {
        let changed = self.execute(
            "UPDATE vitrine_uploads SET doomed = 1 WHERE upload_id = ?1 AND committed_at IS NULL",
            &[&upload_id],
        )?;
        Ok(changed > 0)
    }

    /// Ends the intent of an upload whose bytes are removed, and puts its image back to `queued`, without size and
    /// digests; that of a job's it leaves to the job.
    pub fn abort_upload(&self, upload_id: &str) -> Result<Aborted> {
        let row = self.one(
            "SELECT image_id, purpose, committed_at IS NOT NULL FROM vitrine_uploads WHERE upload_id = ?1",
            [upload_id],
            |row| {
                let image_id: String = row.get(0).map_err(failed)?;
                let purpose: Purpose = rows::parsed(row, 1, "vitrine_uploads.purpose")?;
                Ok((image_id, purpose, row.get(2).map_err(failed)?))
            },
        )?;
        let Some(row) = row else { return Ok(Aborted::Unknown) };
        let (image_id, purpose, committed): (String, Purpose, bool) = row;
        if committed {
            return Ok(Aborted::Committed);
        }
        self.execute("DELETE FROM vitrine_uploads WHERE upload_id = ?1", &[&upload_id])?;
        let Some(status) = purpose.status() else { return Ok(Aborted::OfJob) };
        let requeued = self.execute(
            "UPDATE images SET status = ?2, size = NULL, virtual_size = NULL, checksum = NULL, os_hash_algo = NULL, \
             os_hash_value = NULL, updated_at = ?3 WHERE id = ?1 AND deleted = 0 AND status = ?4",
            &[&image_id, &Status::Queued.as_str(), &Timestamp::now().to_sql(), &status.as_str()],
        )?;
        Ok(if requeued == 0 { Aborted::ImageGone } else { Aborted::Requeued })
    }

    /// Forgets uploads that were committed before `moment`: nobody repeats their commit any more. How many it were.
    pub fn forget_committed_uploads(&self, moment: Timestamp) -> Result<usize> {
        self.execute("DELETE FROM vitrine_uploads WHERE committed_at < ?1", &[&moment.to_sql()])
    }
}

pub(super) fn intent(row: &Row<'_>) -> Result<Intent> {
    Ok(Intent {
        upload_id: row.get(0).map_err(failed)?,
        image_id: row.get(1).map_err(failed)?,
        instance: row.get(2).map_err(failed)?,
        store: row.get(3).map_err(failed)?,
        url: row.get(4).map_err(failed)?,
        quota_project: row.get(5).map_err(failed)?,
        doomed: row.get(6).map_err(failed)?,
        started_at: rows::timestamp(row, 7)?
            .ok_or_else(|| super::fault::corrupt("vitrine_uploads.started_at", "NULL"))?,
        image_deleted: row.get(8).map_err(failed)?,
        job_id: row.get(9).map_err(failed)?,
        reserved: rows::bytes(row, 10, "vitrine_uploads.expected_size")?,
        purpose: rows::parsed(row, 11, "vitrine_uploads.purpose")?,
        signature: row.get(12).map_err(failed)?,
    })
}

/// Records an upload.
pub(super) fn insert_upload(
    changes: &Changes<'_>,
    upload: &NewUpload<'_>,
    purpose: Purpose,
    job_id: Option<&str>,
) -> Result<()> {
    changes
        .execute(
            "INSERT INTO vitrine_uploads \
             (upload_id, image_id, instance, store, url, location_metadata, hash_algo, quota_project, expected_size, \
             started_at, purpose, job_id, signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            &[
                &upload.upload_id,
                &upload.image_id,
                &upload.instance,
                &upload.store,
                &upload.url,
                &rows::json_column(upload.location_metadata)?,
                &upload.hash_algo,
                &upload.quota_project,
                &upload.reserved.map(to_column).transpose()?,
                &Timestamp::now().to_sql(),
                &purpose.as_str(),
                &job_id,
                &upload.signature,
            ],
        )
        .map(|_| ())
}
