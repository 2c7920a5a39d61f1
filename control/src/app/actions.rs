//! Deactivate and reactivate images.

use common::identity::Identity;
use common::model::Status;
use common::{Error, Result};

use super::{App, Seen};

/// Whether downloads are forbidden or allowed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Only administrators may download.
    Deactivate,
    /// Everybody who may get the image may download.
    Reactivate,
}

impl Action {
    /// The policy's rule, which is the action's name in messages too.
    fn rule(self) -> &'static str {
        match self {
            Action::Deactivate => "deactivate",
            Action::Reactivate => "reactivate",
        }
    }

    /// The status before and after.
    fn transition(self) -> (Status, Status) {
        match self {
            Action::Deactivate => (Status::Active, Status::Deactivated),
            Action::Reactivate => (Status::Deactivated, Status::Active),
        }
    }
}

impl App {
    /// Does `action`; nothing if it was done before.
    ///
    /// # Errors
    /// 404, 403 by policy and for images without data.
    pub(crate) async fn act(&self, caller: &Identity, id: String, action: Action) -> Result<()> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        self.db
            .write(move |catalog| {
                let seen = Seen::find(catalog, &caller, &id)?;
                seen.require(&authority, action.rule(), &caller)?;
                let (before, after) = action.transition();
                match seen.image.status {
                    status if status == after => Ok(()),
                    status if status == before => catalog.set_status(&id, &[before], after),
                    status => {
                        Err(Error::forbidden(format!("Not allowed to {} image in status '{status}'", action.rule())))
                    }
                }
            })
            .await
    }
}
