//! How much room directories have. The question may take for ever on a network file system, so it is asked on a thread of
//! its own, one at a time for each directory, and not waited for longer than a while.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

/// A directory that does not tell within this time is not used.
const WAIT: Duration = Duration::from_secs(2);

/// Directories that were asked about.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// A directory's one turn: while it is taken, a thread waits for the answer.
    turns: Mutex<HashMap<PathBuf, Arc<Semaphore>>>,
}

impl Room {
    /// Bytes that may still be written below each of `directories`; `None` where nobody can tell.
    pub(super) async fn of(&self, directories: &[&Path]) -> Vec<Option<u64>> {
        let asked: Vec<_> = directories
            .iter()
            .map(|directory| {
                let (directory, turn) = (directory.to_path_buf(), self.turn(directory));
                tokio::spawn(tokio::time::timeout(WAIT, async move {
                    let turn = turn.acquire_owned().await.ok()?;
                    let free = tokio::task::spawn_blocking(move || {
                        let free = free_bytes(&directory);
                        drop(turn);
                        free
                    });
                    free.await.ok()?
                }))
            })
            .collect();
        let mut answers = Vec::with_capacity(asked.len());
        for (directory, answer) in directories.iter().zip(asked) {
            answers.push(match answer.await {
                Ok(Ok(free)) => free,
                _ => {
                    tracing::warn!("the store directory {} does not answer, it is not used", directory.display());
                    None
                }
            });
        }
        answers
    }

    fn turn(&self, directory: &Path) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(directory.to_path_buf()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
    }
}

fn free_bytes(path: &Path) -> Option<u64> {
    match rustix::fs::statvfs(path) {
        Ok(figures) => Some(figures.f_bavail.saturating_mul(figures.f_frsize)),
        Err(error) => {
            tracing::warn!("the store directory {} cannot be used: {error}", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_that_hangs_holds_up_nobody() {
        let (good, hangs) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        let room = Room::default();
        // As if a thread were stuck in it.
        let stuck = room.turn(hangs.path()).acquire_owned().await.expect("open");
        let gone = Path::new("/no/such/directory");
        let begun = tokio::time::Instant::now();
        let answers = room.of(&[good.path(), hangs.path(), gone]).await;
        assert!(answers[0].is_some_and(|free| free > 0), "{answers:?}");
        assert_eq!(answers[1..], [None, None]);
        assert!(begun.elapsed() < WAIT * 2, "{:?}", begun.elapsed());
        drop(stuck);
        assert!(room.of(&[hangs.path()]).await[0].is_some(), "it is back");
    }
}
