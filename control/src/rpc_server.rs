//! Messages of the data plane. What they mean stands in [`common::rpc`].

use std::sync::Arc;

use common::authorise::Authority;
use common::config::Config;
use common::metrics;
use common::rpc::{Authenticated, Done, MetricsText, ToControl};
use common::{Error, Result};
use prometheus::Registry;
use serde::Serialize;

use crate::auth::{Authenticator, Known, is_anonymous};
use crate::db::Db;
use crate::imports::Imports;
use crate::limits::Limits;
use crate::outbound::Gate;
use crate::signature::Signatures;
use crate::uploads::{Uploads, request};

/// What messages are answered with.
#[derive(Clone)]
pub(crate) struct RpcContext {
    authority: Arc<Authority>,
    authenticator: Arc<Authenticator>,
    uploads: Uploads,
    imports: Imports,
    gate: Gate,
    registry: Registry,
}

impl RpcContext {
    /// Also starts the task that clears up after dead uploads, and goes on with imports; so this must be called inside a runtime.
    /// Messages may be handled at once. The metrics of `registry` are what [`ToControl::Metrics`] is answered with.
    pub(crate) fn new(
        config: Arc<Config>,
        db: Db,
        authority: Arc<Authority>,
        authenticator: Arc<Authenticator>,
        (limits, signatures): (Limits, Signatures),
        registry: Registry,
    ) -> Self {
        let uploads = Uploads::new(config.clone(), db.clone(), limits, signatures, &registry);
        tokio::spawn(uploads.clone().reap());
        tokio::spawn(uploads.clone().meet_stores());
        let gate = Gate::new(config.clone());
        let imports = Imports::new(config, db, uploads.clone(), authority.clone(), authenticator.clone());
        tokio::spawn(imports.clone().resume());
        RpcContext { authority, authenticator, uploads, imports, gate, registry }
    }

    /// Uploads under way and bytes to remove.
    pub(crate) fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// The gate to what is not ours.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Imports under way.
    pub(crate) fn imports(&self) -> &Imports {
        &self.imports
    }
}

/// Does what `message` asks; the reply as JSON.
///
/// # Errors
/// Those of the message's meaning; see [`ToControl`].
pub(crate) async fn handle(context: &RpcContext, message: ToControl) -> Result<serde_json::Value> {
    match message {
        ToControl::Hello { instance } => {
            context.uploads.hello(instance).await?;
            context.imports.wake();
            reply(&Done {})
        }
        ToControl::Authenticate { proof } => {
            let Known { identity, holds_for } = context.authenticator.know(&proof).await?;
            reply(&Authenticated { identity, holds_for_ms: holds_for.as_millis().try_into().unwrap_or(u64::MAX) })
        }
        ToControl::OpenUpload(message) => {
            let caller = context.authenticator.identify(&message.proof).await?;
            if is_anonymous(&caller) {
                return Err(Error::forbidden("Callers without a token may only read."));
            }
            let wanted = request::decode(&message)?;
            reply(&context.uploads.open(&message, wanted, caller, context.authority.clone()).await?)
        }
        ToControl::CommitUpload(message) => {
            context.uploads.commit(message).await?;
            reply(&Done {})
        }
        ToControl::AbortUpload { upload_id, reason } => {
            context.uploads.abort(upload_id, &reason).await?;
            reply(&Done {})
        }
        ToControl::GrowUpload(message) => reply(&context.uploads.grow(message).await?),
        ToControl::JobProgress { job_id, bytes } => {
            context.imports.progress(job_id, bytes).await?;
            reply(&Done {})
        }
        ToControl::EndJob(end) => {
            context.imports.end(end).await?;
            reply(&Done {})
        }
        ToControl::Locate { url } => reply(&context.gate.locate(&url).await?),
        ToControl::Metrics => {
            reply(&MetricsText { text: metrics::encode(&context.registry) + &metrics::process("control") })
        }
    }
}

fn reply<T: Serialize>(value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(Error::internal)
}
