//! What projects may have: the configuration's `user_storage_quota`, or Keystone's unified limits.
//!
//! `unified` asks Keystone, `wire` knows its documents, and `share` decides, inside of the transaction that takes what it allows.

mod share;
mod unified;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use common::Result;
use common::config::Config;

use share::Rule;
pub(crate) use share::{Share, Usage};
use unified::Unified;

/// What limits projects. Clones are the same.
#[derive(Clone)]
pub(crate) struct Limits {
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// Nothing does.
    Unlimited,
    /// Bytes of all images of a project.
    Storage(u64),
    /// Keystone says it.
    Unified(Arc<Unified>),
}

impl Limits {
    /// As configured. Asks nothing yet.
    ///
    /// # Errors
    /// A certificate or key file that cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let source = match (&config.limits, config.api.user_storage_quota) {
            (Some(limits), _) => Source::Unified(Arc::new(Unified::new(limits, &config.control)?)),
            (None, Some(bytes)) => Source::Storage(bytes),
            (None, None) => Source::Unlimited,
        };
        Ok(Limits { source })
    }

    /// What `project` may have.
    ///
    /// # Errors
    /// 503 while Keystone does not answer, 500 when it does not know our endpoint or refuses to tell.
    pub(crate) async fn of(&self, project: Option<&str>) -> Result<Share> {
        let rule = match &self.source {
            Source::Unlimited => Rule::Unlimited,
            Source::Storage(bytes) => Rule::Storage(*bytes),
            Source::Unified(unified) => Rule::Unified(unified.of(project).await?),
        };
        Ok(Share::new(project, rule))
    }

    /// What `project` may have of data that lies at places which clients name: Keystone's limits say nothing of it.
    pub(crate) fn of_located(&self, project: Option<&str>) -> Share {
        let rule = match &self.source {
            Source::Storage(bytes) => Rule::Storage(*bytes),
            Source::Unlimited | Source::Unified(_) => Rule::Unlimited,
        };
        Share::new(project, rule)
    }

    /// As [`Limits::of`], for what has begun: while Keystone is away, what it said last goes on to count.
    ///
    /// # Errors
    /// The same, where it never said anything.
    pub(crate) async fn of_running(&self, project: Option<&str>) -> Result<Share> {
        match (self.of(project).await, &self.source) {
            (Err(error), Source::Unified(unified)) => {
                let last = unified.last(project).ok_or(error)?;
                Ok(Share::new(project, Rule::Unified(last)))
            }
            (share, _) => share,
        }
    }
}
