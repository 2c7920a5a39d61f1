//! Uploads of signed images: what is needed to verify their data is fetched before it comes, and used when it is there.

use std::sync::Arc;

use common::Result;
use common::authorise::Authority;
use common::identity::Identity;
use common::model::{Image, Status};
use common::rpc::{CommitUpload, OpenUpload};

use super::Uploads;
use crate::app::Seen;
use crate::signature::{self, Claim, Statement};

impl Uploads {
    /// What is needed to verify the data of the image, for a caller who may send it; for others nobody is asked.
    pub(super) async fn statement(
        &self,
        message: &OpenUpload,
        caller: &Identity,
        authority: &Arc<Authority>,
    ) -> Result<Option<Statement>> {
        let (id, caller, authority) = (message.image_id.clone(), caller.clone(), authority.clone());
        let image = self.shared.db.look_up(move |catalog| {
            let seen = Seen::find(catalog, &caller, &id)?;
            seen.require(&authority, "upload_image", &caller)?;
            Ok(seen.image)
        });
        match image.await {
            Ok(image) if image.status == Status::Queued => {
                self.shared.signatures.statement(&image, &message.proof, &message.request_id).await
            }
            // Told in its turn.
            _ => Ok(None),
        }
    }

    /// Whether the data was verified by a signature.
    ///
    /// # Errors
    /// 400 when it is not what was signed.
    pub(super) async fn verify(&self, message: &CommitUpload) -> Result<bool> {
        let digest = message.findings.as_ref().and_then(|findings| findings.signed_hash_value.as_deref());
        let Some(digest) = digest else { return Ok(false) };
        let upload_id = message.upload_id.clone();
        let intent = self.shared.db.look_up(move |catalog| catalog.upload(&upload_id)).await?;
        // Without one the commit is a repetition, or in vain.
        let Some(intent) = intent else { return Ok(false) };
        let Some(record) = &intent.signature else { return Ok(false) };
        signature::verify(Statement::from_record(record)?, digest, &intent.image_id).await?;
        Ok(true)
    }
}

/// Whether `statement` is about what the image says of its signature.
pub(super) fn is_about(statement: Option<&Statement>, image: &Image) -> bool {
    match statement {
        Some(statement) => statement.is_about(image),
        None => Claim::of(image).is_none(),
    }
}
