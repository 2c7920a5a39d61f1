//! What projects use of their quotas.

use super::Queries;
use super::fault::{corrupt, failed};
use crate::Result;

fn total(sum: Option<i64>) -> Result<u64> {
    let sum = sum.unwrap_or(0);
    u64::try_from(sum).map_err(|_| corrupt("the sum of image sizes", &sum.to_string()))
}

impl Queries<'_> {
    /// Bytes of the images of `owner`, each counted once per live location, as `user_storage_quota` counts them.
    pub fn storage_used(&self, owner: &str) -> Result<u64> {
        let sum: Option<i64> = self
            .one(
                "SELECT sum(images.size) FROM images JOIN image_locations AS l ON l.image_id = images.id \
             WHERE images.owner = ?1 AND +images.deleted = 0 \
             AND images.status NOT IN ('killed', 'deleted', 'pending_delete') \
             AND +l.deleted = 0 AND l.status <> 'deleted'",
                [owner],
                |row| row.get(0).map_err(failed),
            )?
            .flatten();
        total(sum)
    }

    /// Bytes that open uploads of `project` said they would bring, but for the upload `besides`.
    pub fn storage_awaited(&self, project: &str, besides: Option<&str>) -> Result<u64> {
        let sum: Option<i64> = self
            .one(
                "SELECT sum(expected_size) FROM vitrine_uploads \
                 WHERE quota_project = ?1 AND committed_at IS NULL AND doomed = 0 AND upload_id IS NOT ?2",
                (project, besides),
                |row| row.get(0).map_err(failed),
            )?
            .flatten();
        total(sum)
    }
}
