//! A core that serves nobody: for work on the stores of a configuration beside the service.

use std::rc::Rc;
use std::sync::Arc;

use common::config::{self, Config};

use super::{RING_ENTRIES, StartError, buffer_limits, cpus, mailboxes, pinned_buffers, policy, share};
use crate::io::{CoreConfig, Driver, Offload, OffloadConfig, reserve_descriptors, run_core};
use crate::shard::Shard;
use crate::spread::Spread;

/// Runs `work` on one core, with the stores, the memory and the threads that a core of the service would have. Nothing listens,
/// and neither control nor the catalog is asked.
///
/// # Errors
/// [`StartError`] when something that it needs is not there.
pub(crate) fn run_alone<F: Future<Output: 'static>>(
    config: &Arc<Config>,
    work: impl FnOnce(Rc<Shard>) -> F + 'static,
) -> Result<F::Output, StartError> {
    let driver = match config.dataplane.driver {
        config::Driver::Uring => Driver::Uring,
        config::Driver::Epoll => Driver::Epoll,
    };
    reserve_descriptors(0);
    let cpu = cpus(config).into_iter().next().ok_or_else(|| StartError::new("there is no processor to run on"))?;
    let pinned = pinned_buffers(&config.dataplane, driver)?;
    let buffers = buffer_limits(&config.dataplane, pinned, 1);
    let (senders, seeds) = mailboxes(1)?;
    let (Some(sender), Some(seed)) = (senders.first().cloned(), seeds.into_iter().next()) else {
        return Err(StartError::new("a core without a mailbox"));
    };
    let (authority, _) = policy::load(&config.policy)?;
    let shared = Arc::new(share(config, None, Spread::new(vec![cpu], senders), authority)?);
    let fills = config.dataplane.offload_threads;
    let offload =
        Offload::new(OffloadConfig { calls: fills, fills, ..OffloadConfig::default() }).map_err(StartError::new)?;
    let core = CoreConfig { driver, cpu: Some(cpu), entries: RING_ENTRIES, offload, buffers, pipes: 0 };
    run_core(core, async move {
        // Nobody writes, but who writes would find it.
        let _mail = seed.attach().map_err(StartError::new)?;
        let shard = Shard::new(0, &shared, sender);
        shard.metrics.this_thread();
        Ok(work(shard).await)
    })
    .map_err(StartError::new)?
}
