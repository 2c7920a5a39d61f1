//! The policy of the data plane: from files at start, and again when they change or when somebody asks. What there is to
//! tell an operator of them, control tells.

use std::sync::Arc;
use std::thread;

use common::authorise::Authority;
use common::config::PolicyFiles;
use common::policy::{LOOK_INTERVAL, PolicyError, Watch};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::StartError;

/// Reads the files. Who decides by them, and who knows when they change.
///
/// # Errors
/// They cannot be used.
pub(super) fn load(files: &PolicyFiles) -> Result<(Arc<Authority>, Watch), StartError> {
    let (policy, _, watch) = Watch::begin(files).map_err(|errors| {
        StartError::misconfigured(format!("the policy cannot be used: {}", PolicyError::in_one_line(&errors)))
    })?;
    Ok((Arc::new(Authority::new(policy, files.enforce_new_defaults)), watch))
}

/// Keeps `authority` as the files are, on a thread of its own. A message makes it read them at once.
///
/// # Errors
/// There is no thread to be had.
pub(super) fn keep(authority: Arc<Authority>, watch: Watch) -> Result<Sender<()>, StartError> {
    // One that waits is enough: it reads what is there when its turn comes.
    let (ask, asked) = bounded(1);
    let keeper = thread::Builder::new().name("policy".to_owned());
    keeper.spawn(move || run(&authority, watch, &asked)).map_err(StartError::new)?;
    Ok(ask)
}

fn run(authority: &Authority, mut watch: Watch, asked: &Receiver<()>) {
    loop {
        let loaded = match asked.recv_timeout(LOOK_INTERVAL) {
            Ok(()) => Some(watch.reload()),
            Err(RecvTimeoutError::Timeout) => watch.look(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match loaded {
            None => {}
            Some(Ok((policy, _))) => authority.replace(policy),
            Some(Err(errors)) => tracing::debug!("the old policy stays in use: {}", PolicyError::in_one_line(&errors)),
        }
    }
}
