//! Every behaviour of the room, on both drivers; and a guard for each known fault of the runtime.

mod files;
mod memory;
mod network;
mod scheduling;
mod tls;

use std::future::Future;
use std::time::Duration;

use super::{BufferLimits, CoreConfig, Driver, Offload, OffloadConfig, run_core, timeout};

/// No test of this room takes longer; a lost wake-up shows as this.
const TOO_LONG: Duration = Duration::from_secs(30);

/// Runs `test` on a core of its own, once per driver.
pub(super) fn on_both<F, Fut>(test: F)
where
    F: Fn(Driver) -> Fut + Copy + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    for driver in [Driver::Uring, Driver::Epoll] {
        on_core(driver, move || test(driver));
    }
}

/// Runs the future that `test` makes on a new core, in a new thread, and returns what it returns.
pub(super) fn on_core<F, Fut, T>(driver: Driver, test: F) -> T
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    on_core_with(driver, BufferLimits::default(), test)
}

/// The same on a core that has so much memory for buffers.
pub(super) fn on_core_with<F, Fut, T>(driver: Driver, buffers: BufferLimits, test: F) -> T
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let core = std::thread::spawn(move || {
        let offload = Offload::new(OffloadConfig::default()).unwrap();
        let config = CoreConfig { driver, cpu: None, entries: 256, offload, buffers, pipes: 4 };
        run_core(config, async move { timeout(TOO_LONG, test()).await })
    });
    core.join()
        .unwrap()
        .unwrap_or_else(|error| panic!("{driver}: {error}"))
        .unwrap_or_else(|late| panic!("{driver}: {late}"))
}

/// Waits for a thread while the core goes on: on the ring a connection is closed in the next round, so a core that blocked here
/// would wait for a client that waits for the end of its stream.
pub(super) async fn joined<T: Send + 'static>(thread: std::thread::JoinHandle<T>) -> T {
    Offload::current().run(|| thread.join()).await.unwrap()
}

/// Bytes that differ from place to place, so that a shifted or repeated piece shows.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
