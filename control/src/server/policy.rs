//! The policy of the control plane: from files at start, and again when they change or when somebody asks. Property
//! protections are read at start alone.

use std::sync::Arc;

use common::authorise::Authority;
use common::config::Config;
use common::policy::{LOOK_INTERVAL, Loaded, PolicyError, Watch};
use common::protect::Protections;
use tokio::signal::unix::Signal;

use super::StartError;

/// Keeps the policy as its files are.
pub(super) struct Keeper {
    /// Who decides by it.
    pub(super) authority: Arc<Authority>,
    watch: Watch,
}

impl Keeper {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be used.
    pub(super) fn load(config: &Config) -> Result<Self, StartError> {
        let refuse = |errors: Vec<PolicyError>| StartError::Policy(PolicyError::in_one_line(&errors));
        let (policy, warnings, watch) = Watch::begin(&config.policy).map_err(refuse)?;
        tell(warnings);
        let loaded = config.protections.as_ref().map(Protections::load).transpose().map_err(refuse)?;
        let protections = loaded.map(|(protections, warnings)| {
            tell(warnings);
            tell(protections.missing_rules(&policy).iter().map(|rule| {
                format!("property_protection_file names rule {rule}, which does not exist: it is taken to deny")
            }));
            protections
        });
        let authority = Authority::new(policy, config.policy.enforce_new_defaults).protecting(protections);
        Ok(Keeper { authority: Arc::new(authority), watch })
    }

    /// Reads them again when they have changed, and at each `hangup`. Ends with the runtime.
    pub(super) async fn run(mut self, mut hangup: Signal) {
        loop {
            let is_asked = tokio::select! {
                _ = hangup.recv() => true,
                () = tokio::time::sleep(LOOK_INTERVAL) => false,
            };
            // Files may lie where reading takes its time.
            let looked = tokio::task::spawn_blocking(move || {
                self.look(is_asked);
                self
            });
            match looked.await {
                Ok(keeper) => self = keeper,
                Err(error) => {
                    tracing::error!("the policy is no longer watched: {error}");
                    return;
                }
            }
        }
    }

    fn look(&mut self, is_asked: bool) {
        let loaded = if is_asked { Some(self.watch.reload()) } else { self.watch.look() };
        if let Some(loaded) = loaded {
            self.take(loaded);
        }
    }

    fn take(&self, loaded: Loaded) {
        match loaded {
            Ok((policy, warnings)) => {
                self.authority.replace(policy);
                tracing::info!("the policy as its files are now is in use");
                tell(warnings);
            }
            Err(errors) => {
                tracing::error!("the old policy stays in use: {}", PolicyError::in_one_line(&errors));
            }
        }
    }
}

fn tell<T: std::fmt::Display>(warnings: impl IntoIterator<Item = T>) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
