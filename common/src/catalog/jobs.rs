//! Jobs: what the data plane is to move for an import, so that it is resumed or undone after any crash.
//!
//! The row of a job stands from the request until its task is over. Each place that it fills is an upload of its own
//! ([`super::uploads`]), and what is undone is undone as uploads are. A job with a failure is being undone: when the last of
//! its uploads is gone, its task ends.

use serde_json::{Map, Value};

use super::fault::failed;
use super::uploads::{Purpose, insert_upload};
use super::{Changes, Intent, NewUpload, Queries, rows};
use crate::model::Status;
use crate::time::Timestamp;
use crate::{Error, Result};

/// A job on record.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// Its task's id.
    pub job_id: String,
    /// The image.
    pub image_id: String,
    /// What was asked for, as its owner wrote it.
    pub plan: Value,
    /// Why it failed: it is being undone.
    pub failure: Option<String>,
}

/// What an import has found out about the data of an image.
#[derive(Debug, Clone)]
pub struct ImportedData<'a> {
    /// Bytes.
    pub size: u64,
    /// Bytes of the disk that the data describes, where known.
    pub virtual_size: Option<u64>,
    /// MD5, hexadecimal.
    pub checksum: &'a str,
    /// Id of one of the sinks that hold it: its record names the other digest.
    pub sink: &'a str,
    /// The other digest, hexadecimal.
    pub hash_value: &'a str,
}

impl Queries<'_> {
    /// The job `job_id`.
    pub fn job(&self, job_id: &str) -> Result<Option<JobRecord>> {
        self.one("SELECT job_id, image_id, plan, failure FROM vitrine_jobs WHERE job_id = ?1", [job_id], record)
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> Result<Vec<JobRecord>> {
        self.all("SELECT job_id, image_id, plan, failure FROM vitrine_jobs ORDER BY recorded_at, job_id", [], record)
    }

    /// The open uploads of a job.
    pub fn uploads_of_job(&self, job_id: &str) -> Result<Vec<Intent>> {
        let sql =
            format!("{} WHERE job_id = ?1 AND committed_at IS NULL ORDER BY rowid", super::uploads::SELECT_INTENT);
        self.all(&sql, [job_id], super::uploads::intent)
    }

    /// Whether the data of a job's sink was committed.
    pub fn is_sink_committed(&self, job_id: &str, upload_id: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM vitrine_uploads WHERE upload_id = ?1 AND job_id = ?2 AND committed_at IS NOT NULL";
        Ok(self.one(sql, [upload_id, job_id], |_| Ok(()))?.is_some())
    }

    /// Whether an open upload owns the place `url`, or what lay there is still to be removed.
    pub fn is_occupied(&self, url: &str) -> Result<bool> {
        let sql = "SELECT 1 WHERE EXISTS (SELECT 1 FROM vitrine_uploads WHERE url = ?1 AND committed_at IS NULL) \
                   OR EXISTS (SELECT 1 FROM vitrine_removals WHERE url = ?1)";
        Ok(self.one(sql, [url], |_| Ok(()))?.is_some())
    }
}

impl Changes<'_> {
    /// Records a job.
    pub fn create_job(&self, job_id: &str, image_id: &str, plan: &Value) -> Result<()> {
        self.execute(
            "INSERT INTO vitrine_jobs (job_id, image_id, plan, recorded_at) VALUES (?1, ?2, ?3, ?4)",
            &[&job_id, &image_id, &plan.to_string(), &Timestamp::now().to_sql()],
        )
        .map(|_| ())
    }

    /// Notes that the job failed and is to be undone, and gives its uploads up. Repeating it keeps the first reason.
    pub fn fail_job(&self, job_id: &str, reason: &str) -> Result<()> {
        self.execute(
            "UPDATE vitrine_jobs SET failure = ?2 WHERE job_id = ?1 AND failure IS NULL",
            &[&job_id, &reason],
        )?;
        self.doom_uploads_of_job(job_id)
    }

    /// Counts an attempt at the job; how many there were.
    pub fn count_attempt(&self, job_id: &str) -> Result<i64> {
        self.execute("UPDATE vitrine_jobs SET attempts = attempts + 1 WHERE job_id = ?1", &[&job_id])?;
        let attempts = self
            .one("SELECT attempts FROM vitrine_jobs WHERE job_id = ?1", [job_id], |row| row.get(0).map_err(failed))?;
        Ok(attempts.unwrap_or_default())
    }

    /// Goes on with the job by another plan, as one that was never begun.
    pub fn replan_job(&self, job_id: &str, plan: &Value) -> Result<()> {
        self.execute("UPDATE vitrine_jobs SET plan = ?2, attempts = 0 WHERE job_id = ?1", &[&job_id, &plan.to_string()])
            .map(|_| ())
    }

    /// Gives what lies at `url` up with the job: it is undone as what the job was filling is.
    pub fn give_up_with_job(&self, job_id: &str, upload: &NewUpload<'_>) -> Result<()> {
        insert_upload(self, upload, Purpose::Job, Some(job_id))?;
        self.doom_upload(upload.upload_id).map(|_| ())
    }

    /// Gives up what a job was filling, so that it can be removed.
    pub fn doom_uploads_of_job(&self, job_id: &str) -> Result<()> {
        self.execute("UPDATE vitrine_uploads SET doomed = 1 WHERE job_id = ?1 AND committed_at IS NULL", &[&job_id])
            .map(|_| ())
    }

    /// Forgets the job.
    pub fn finish_job(&self, job_id: &str) -> Result<()> {
        self.execute("DELETE FROM vitrine_jobs WHERE job_id = ?1", &[&job_id]).map(|_| ())
    }

    /// Records a place that a job is about to fill. 409 while another upload owns it, or while it is being cleared.
    pub fn open_sink(&self, job_id: &str, upload: &NewUpload<'_>) -> Result<()> {
        if self.is_occupied(upload.url)? {
            return Err(Error::conflict(format!("{} is being filled or cleared", upload.url)));
        }
        insert_upload(self, upload, Purpose::Job, Some(job_id))
    }

    /// The data of a job's sink belongs to the image from now on. `false` when the sink is not open any more.
    pub fn commit_sink(&self, job_id: &str, upload_id: &str) -> Result<bool> {
        let row = self.one(
            "SELECT image_id, url, location_metadata FROM vitrine_uploads \
             WHERE upload_id = ?1 AND job_id = ?2 AND doomed = 0 AND committed_at IS NULL",
            [upload_id, job_id],
            |row| row.try_into().map_err(failed),
        )?;
        let Some(row) = row else { return Ok(false) };
        let (image_id, url, metadata): (String, String, String) = row;
        let now = Timestamp::now().to_sql();
        self.insert_location(&image_id, &url, &metadata, &now)?;
        self.execute("UPDATE vitrine_uploads SET committed_at = ?2 WHERE upload_id = ?1", &[&upload_id, &now])?;
        Ok(true)
    }

    /// What a job's sink holds is only for its next step. `false` when the sink is not open any more.
    pub fn commit_interim_sink(&self, job_id: &str, upload_id: &str) -> Result<bool> {
        let changed = self.execute(
            "UPDATE vitrine_uploads SET committed_at = ?3 \
             WHERE upload_id = ?1 AND job_id = ?2 AND doomed = 0 AND committed_at IS NULL",
            &[&upload_id, &job_id, &Timestamp::now().to_sql()],
        )?;
        Ok(changed > 0)
    }

    /// Makes an image active whose data was imported. 404 when it is not there, 409 when it is not `importing`.
    pub fn activate_imported(&self, image_id: &str, data: &ImportedData<'_>) -> Result<()> {
        self.set_status(image_id, &[Status::Importing], Status::Active)?;
        self.execute(
            "UPDATE images SET size = ?2, virtual_size = ?3, checksum = ?4, os_hash_value = ?6, \
                 os_hash_algo = (SELECT hash_algo FROM vitrine_uploads WHERE upload_id = ?5) \
             WHERE id = ?1",
            &[
                &image_id,
                &rows::to_column(data.size)?,
                &data.virtual_size.map(rows::to_column).transpose()?,
                &data.checksum,
                &data.sink,
                &data.hash_value,
            ],
        )
        .map(|_| ())
    }

    /// Takes the lock of imports for `task_id`; `false` when another task has it.
    pub fn lock_for_import(&self, image_id: &str, task_id: &str) -> Result<bool> {
        let now = Timestamp::now().to_sql();
        let changed = self.execute(
            "INSERT INTO image_properties (image_id, name, value, created_at, updated_at, deleted) \
             VALUES (?1, ?2, ?3, ?4, ?4, 0) \
             ON CONFLICT (image_id, name) DO UPDATE \
             SET value = excluded.value, updated_at = excluded.updated_at, deleted = 0, deleted_at = NULL \
             WHERE deleted <> 0",
            &[&image_id, &super::changes::IMPORT_LOCK, &task_id, &now],
        )?;
        Ok(changed > 0)
    }

    /// Gives the lock back, if `task_id` has it. Whether it had.
    pub fn unlock_import(&self, image_id: &str, task_id: &str) -> Result<bool> {
        let changed = self.execute(
            "UPDATE image_properties SET deleted = 1, deleted_at = ?4, updated_at = ?4 \
             WHERE image_id = ?1 AND name = ?2 AND value = ?3 AND +deleted = 0",
            &[&image_id, &super::changes::IMPORT_LOCK, &task_id, &Timestamp::now().to_sql()],
        )?;
        Ok(changed > 0)
    }

    /// Gives a property a value, whoever may change it; the image's others stay.
    pub fn set_property(&self, image_id: &str, name: &str, value: &str) -> Result<()> {
        self.execute(
            "INSERT INTO image_properties (image_id, name, value, created_at, updated_at, deleted) \
             VALUES (?1, ?2, ?3, ?4, ?4, 0) \
             ON CONFLICT (image_id, name) DO UPDATE \
             SET value = excluded.value, updated_at = excluded.updated_at, deleted = 0, deleted_at = NULL",
            &[&image_id, &name, &value, &Timestamp::now().to_sql()],
        )
        .map(|_| ())
    }
}

fn record(row: &rusqlite::Row<'_>) -> Result<JobRecord> {
    let plan: String = row.get(2).map_err(failed)?;
    Ok(JobRecord {
        job_id: row.get(0).map_err(failed)?,
        image_id: row.get(1).map_err(failed)?,
        plan: serde_json::from_str(&plan).unwrap_or_else(|_| Value::Object(Map::new())),
        failure: row.get(3).map_err(failed)?,
    })
}
