//! What projects use of their quotas, and what uploads under way have reserved. A project of `None` owns the images without
//! an owner.

use super::fault::{corrupt, failed};
use super::rows::to_column;
use super::{Changes, Purpose, Queries};
use crate::Result;

/// Of uploads under way, those that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// All.
    All,
    /// Those into the staging area.
    Staging,
    /// Those into stores.
    Stores,
}

impl Awaited {
    /// What counts beside an upload for `purpose`, where the staging area has a quota of its own.
    pub fn beside(purpose: Purpose) -> Self {
        if purpose == Purpose::Staging { Awaited::Staging } else { Awaited::Stores }
    }

    fn condition(self) -> &'static str {
        match self {
            Awaited::All => "1",
            Awaited::Staging => "purpose = 'staging'",
            Awaited::Stores => "purpose <> 'staging'",
        }
    }
}

/// Images that count for quotas at all.
const COUNTED: &str = "+images.deleted = 0 AND images.status NOT IN ('killed', 'deleted', 'pending_delete')";

/// Images that are being copied from store to store.
const COPYING: &str = "EXISTS (SELECT 1 FROM image_properties AS p WHERE p.image_id = images.id \
     AND p.name = 'os_glance_importing_to_stores' AND p.value <> '' AND +p.deleted = 0)";

impl Queries<'_> {
    /// Bytes of the images of `owner`, each counted once per live location, as `user_storage_quota` counts them.
    pub fn storage_used(&self, owner: Option<&str>) -> Result<u64> {
        let sql = format!(
            "SELECT sum(images.size) FROM images JOIN image_locations AS l ON l.image_id = images.id \
             WHERE images.owner IS ?1 AND {COUNTED} AND +l.deleted = 0 AND l.status <> 'deleted'"
        );
        self.total(&sql, [owner])
    }

    /// Bytes of the images of `owner` whose data is in the staging area, or passes through it while it is copied.
    pub fn staging_used(&self, owner: Option<&str>) -> Result<u64> {
        let sql = format!(
            "SELECT sum(images.size) FROM images WHERE images.owner IS ?1 AND {COUNTED} \
             AND (images.status IN ('uploading', 'importing') OR {COPYING})"
        );
        self.total(&sql, [owner])
    }

    /// How many images `owner` has.
    pub fn images_of(&self, owner: Option<&str>) -> Result<u64> {
        self.total(&format!("SELECT count(*) FROM images WHERE images.owner IS ?1 AND {COUNTED}"), [owner])
    }

    /// How many images of `owner` are being uploaded, imported or copied.
    pub fn images_moving_of(&self, owner: Option<&str>) -> Result<u64> {
        let sql = format!(
            "SELECT count(*) FROM images WHERE images.owner IS ?1 AND {COUNTED} \
             AND (images.status IN ('saving', 'uploading', 'importing') OR {COPYING})"
        );
        self.total(&sql, [owner])
    }

    /// Bytes that open uploads of `project` have reserved, but for the upload `besides`.
    pub fn storage_awaited(&self, project: Option<&str>, which: Awaited, besides: Option<&str>) -> Result<u64> {
        let sql = format!(
            "SELECT sum(expected_size) FROM vitrine_uploads WHERE quota_project IS ?1 AND committed_at IS NULL \
             AND doomed = 0 AND upload_id IS NOT ?2 AND {}",
            which.condition()
        );
        self.total(&sql, (project, besides))
    }

    /// Whether an upload of `project` that was opened after `upload_id` has reserved something, of another job if it is one of a job.
    pub fn is_followed(&self, upload_id: &str, project: Option<&str>, which: Awaited) -> Result<bool> {
        let sql = format!(
            "SELECT 1 FROM vitrine_uploads WHERE quota_project IS ?1 AND committed_at IS NULL AND doomed = 0 \
             AND expected_size > 0 AND {} \
             AND (job_id IS NULL OR job_id IS NOT (SELECT job_id FROM vitrine_uploads WHERE upload_id = ?2)) AND rowid > (SELECT rowid FROM vitrine_uploads WHERE upload_id = ?2)",
            which.condition()
        );
        Ok(self.one(&sql, (project, upload_id), |_| Ok(()))?.is_some())
    }

    fn total(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<u64> {
        let sum: Option<i64> = self.one(sql, parameters, |row| row.get(0).map_err(failed))?.flatten();
        let sum = sum.unwrap_or(0);
        u64::try_from(sum).map_err(|_| corrupt("what a project uses", &sum.to_string()))
    }
}

impl Changes<'_> {
    /// Has the open upload count with `bytes` from now on. `false` when it is not open any more, or given up.
    pub fn reserve_for_upload(&self, upload_id: &str, bytes: u64) -> Result<bool> {
        let changed = self.execute(
            "UPDATE vitrine_uploads SET expected_size = ?2 \
             WHERE upload_id = ?1 AND committed_at IS NULL AND doomed = 0",
            &[&upload_id, &to_column(bytes)?],
        )?;
        Ok(changed > 0)
    }
}
