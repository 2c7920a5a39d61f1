//! Changes of an image's members.

use super::Changes;
use crate::model::{Member, MemberStatus};
use crate::time::Timestamp;
use crate::{Error, Result};

impl Changes<'_> {
    /// Offers image `image_id` to project `member`: status `pending`. The row of a former membership is used again.
    /// 409 when it is a member already. Says nothing about whether the image exists or is shared.
    pub fn add_member(&self, image_id: &str, member: &str) -> Result<Member> {
        if self.member(image_id, member)?.is_some() {
            return Err(Error::conflict(format!("Member {member} is duplicated for image {image_id}")));
        }
        let now = Timestamp::now().to_sql();
        let status = MemberStatus::Pending.as_str();
        let revived = self.execute(
            // `deleted_at` must go too: Glance's purge looks at nothing else.
            "UPDATE image_members SET deleted = 0, deleted_at = NULL, status = ?3, updated_at = ?4, can_share = 0 \
             WHERE id = (SELECT min(id) FROM image_members WHERE image_id = ?1 AND member = ?2 AND deleted = 1)",
            &[&image_id, &member, &status, &now],
        )?;
        if revived == 0 {
            self.execute(
                "INSERT INTO image_members (image_id, member, can_share, status, created_at, updated_at, deleted) \
                 VALUES (?1, ?2, 0, ?3, ?4, ?4, 0)",
                &[&image_id, &member, &status, &now],
            )?;
        }
        self.member(image_id, member)?.ok_or_else(|| Error::internal("catalog: a new member is not there"))
    }

    /// Notes what `member` made of the offer; `None` when it is no member.
    pub fn set_member_status(&self, image_id: &str, member: &str, status: MemberStatus) -> Result<Option<Member>> {
        self.execute(
            "UPDATE image_members SET status = ?3, updated_at = ?4 \
             WHERE image_id = ?1 AND member = ?2 AND +deleted = 0",
            &[&image_id, &member, &status.as_str(), &Timestamp::now().to_sql()],
        )?;
        self.member(image_id, member)
    }

    /// Withdraws the offer; `false` when `member` is no member.
    pub fn delete_member(&self, image_id: &str, member: &str) -> Result<bool> {
        let changed = self.execute(
            "UPDATE image_members SET deleted = 1, deleted_at = ?3, updated_at = ?3 \
             WHERE image_id = ?1 AND member = ?2 AND +deleted = 0",
            &[&image_id, &member, &Timestamp::now().to_sql()],
        )?;
        Ok(changed > 0)
    }
}
