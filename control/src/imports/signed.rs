//! Imports of signed images.

use common::rpc::{EndJob, JobOutcome};
use common::{Error, Kind, Result};

use super::{Imports, Plan, Verification};
use crate::signature;

impl Imports {
    /// Whether the data is what was signed; if not, why, for the user.
    pub(super) async fn verify(&self, end: &EndJob) -> Result<std::result::Result<(), String>> {
        let JobOutcome::Stored { findings, .. } = &end.outcome else { return Ok(Ok(())) };
        let job_id = end.job_id.clone();
        let Some(job) = self.shared.db.look_up(move |catalog| catalog.job(&job_id)).await? else { return Ok(Ok(())) };
        let plan = Plan::from_record(&job)?;
        let Some(Verification::By(statement)) = plan.signature else { return Ok(Ok(())) };
        // What is only staged is looked at when it goes into stores.
        if !plan.steps.is_empty() {
            return Ok(Ok(()));
        }
        let digest = findings.signed_hash_value.as_deref();
        let digest = digest.ok_or_else(|| Error::internal("the digest of a signature is missing"))?;
        match signature::verify(statement, digest, &job.image_id).await {
            Err(error) if error.kind == Kind::BadRequest => Ok(Err(error.message)),
            outcome => outcome.map(Ok),
        }
    }
}
