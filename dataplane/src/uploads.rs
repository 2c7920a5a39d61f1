//! The uploads that run in this process, so that control can ask for them and stop them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::rpc::{Job, Rework};

use crate::io::MailSender;
use crate::spread::Moving;

/// What other threads tell a core.
#[derive(Debug)]
pub(crate) enum CoreEvent {
    /// Stop accepting, end idle connections, finish the transfers.
    Drain,
    /// The image of this upload was deleted: stop receiving.
    CancelUpload(String),
    /// Serve this connection, which another core has accepted.
    Connection(Moving),
    /// Do this job.
    Job(Box<Job>),
    /// Do this to staged data.
    Rework(Box<Rework>),
}

/// Running uploads by id, with the core that runs each. Touched twice per upload.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    running: Mutex<HashMap<String, MailSender<CoreEvent>>>,
}

impl Uploads {
    /// Notes that `core` runs the upload.
    pub(crate) fn begin(&self, upload_id: &str, core: MailSender<CoreEvent>) {
        self.lock().insert(upload_id.to_owned(), core);
    }

    /// Forgets it.
    pub(crate) fn end(&self, upload_id: &str) {
        self.lock().remove(upload_id);
    }

    /// The ids of all that run.
    pub(crate) fn running(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Whether the upload runs.
    pub(crate) fn is_running(&self, upload_id: &str) -> bool {
        self.lock().contains_key(upload_id)
    }

    /// Tells the core of the upload to stop receiving, if it runs.
    pub(crate) fn cancel(&self, upload_id: &str) {
        let core = self.lock().get(upload_id).cloned();
        if let Some(core) = core
            && core.post(CoreEvent::CancelUpload(upload_id.to_owned())).is_err()
        {
            tracing::warn!("upload {upload_id} could not be cancelled: its core has too many messages");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, MailSender<CoreEvent>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
