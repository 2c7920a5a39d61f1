//! What import plug-ins do to staged data: unpack it, convert it.
//!
//! All of it blocks, and all of it deals with bytes that nobody has looked at yet, so each piece of work has a thread of its own
//! ([`on_own_thread`]), reads and writes files by their paths, and is bounded in what it writes and remembers. `transfer/rework.rs`
//! leads it from a core.

mod child;
mod convert;
mod decompress;
mod output;
mod zip;

#[cfg(test)]
mod tests;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use convert::{Converter, convert, find_qemu_img};
pub(crate) use decompress::decompress;

use crate::io::mailbox;

/// Where the data is and where the result goes: files of the staging area, the second one empty.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// Is read.
    pub(crate) source: PathBuf,
    /// Is written.
    pub(crate) target: PathBuf,
    /// Largest size of the result, bytes.
    pub(crate) size_max: u64,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The data is at fault; the text is for whoever brought it.
    #[error("{0}")]
    Refused(String),
    /// The machine failed.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// It was stopped.
    #[error("it was stopped")]
    Stopped,
}

/// Lets a piece of work be stopped from another thread.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    /// Has the work end at its next look.
    pub(crate) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// [`Failure::Stopped`] once it was stopped.
    fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) { Err(Failure::Stopped) } else { Ok(()) }
    }
}

/// Does `work` on a thread that ends with it, and waits for it on this core. If the future is dropped, the work goes on.
///
/// # Errors
/// Its own, and [`Failure::Broken`] when there is no thread for it, or when it panics.
pub(crate) async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, seed) = mailbox(1)?;
    let home = seed.attach()?;
    std::thread::Builder::new().name("plug-in".to_owned()).spawn(move || {
        let done =
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(io::Error::other("a plug-in panicked").into()));
        // Never full: it has room for this one.
        drop(sender.post(done));
    })?;
    home.recv().await
}
