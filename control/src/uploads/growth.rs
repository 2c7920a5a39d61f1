//! How large an upload may become: what it has reserved, and more of it.

use common::rpc::{GrowUpload, Grown};
use common::{Error, Kind, Result};

use super::Uploads;

impl Uploads {
    /// Has an upload of unknown length reserve more.
    ///
    /// # Errors
    /// 413 when there is no room for it, 409 for an upload that was given up, 503 while Keystone is away.
    pub(crate) async fn grow(&self, message: GrowUpload) -> Result<Grown> {
        let GrowUpload { upload_id, size, last } = message;
        let id = upload_id.clone();
        let intent = self.shared.db.look_up(move |catalog| catalog.upload(&id)).await?.ok_or_else(given_up)?;
        let share = self.shared.limits.of_running(intent.quota_project.as_deref()).await?;
        let size_max = self.shared.config.api.image_size_max;
        let grown = self.shared.db.write(move |catalog| {
            let intent = catalog.upload(&upload_id)?.filter(|intent| !intent.doomed).ok_or_else(given_up)?;
            let reserved = share.grow(catalog, &intent, (size, last), size_max)?;
            if intent.reserved != Some(reserved) && !catalog.reserve_for_upload(&upload_id, reserved)? {
                return Err(given_up());
            }
            Ok(Grown { reserved })
        });
        grown.await
    }
}

/// Refuses more bytes than an image may have.
pub(super) fn check_cap(size: Option<u64>, size_max: u64) -> Result<()> {
    match size {
        Some(size) if size > size_max => {
            let text = "The incoming image is too large: The provided image is too large.";
            Err(Error::new(Kind::TooLarge, text))
        }
        _ => Ok(()),
    }
}

/// The error for an upload that is not open any more.
pub(super) fn given_up() -> Error {
    Error::conflict("The upload was given up by the server. Try again.")
}
