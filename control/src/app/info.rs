//! What the site offers.

use common::config::StoreConfig;
use common::identity::Identity;
use common::{Error, Result};

use super::App;
use crate::limits::Usage;

impl App {
    /// The stores that clients may name, in the order of the configuration.
    ///
    /// # Errors
    /// 404 when the site has one store without a name.
    pub(crate) fn stores(&self) -> Result<&[StoreConfig]> {
        if self.config.stores.multi {
            Ok(&self.config.stores.list)
        } else {
            Err(Error::not_found("Multi backend is not supported at this site."))
        }
    }

    /// As [`App::stores`], for whoever may see how they are set up.
    ///
    /// # Errors
    /// 404 as there, 403 by policy.
    pub(crate) fn stores_detail(&self, caller: &Identity) -> Result<&[StoreConfig]> {
        let stores = self.stores()?;
        self.authority.enforce("stores_info_detail", caller, &())?;
        Ok(stores)
    }

    /// Keystone's limits for the caller's project, and what is used of them; nothing where they do not count.
    ///
    /// # Errors
    /// 503 while Keystone is away.
    pub(crate) async fn usage(&self, caller: &Identity) -> Result<Vec<Usage>> {
        let share = self.limits.of(caller.project_id.as_deref()).await?;
        Ok(self.db.read(move |catalog| share.usage(catalog)).await?.unwrap_or_default())
    }
}
