//! Where a job's data comes from: a place of ours, or another server.

use common::Error;
use common::rpc::JobSource;

use super::receive::{Interrupted, Pace, fill};
use crate::fetch::{self, Answer, Wanted};
use crate::http::body::Body;
use crate::http::input::Input;
use crate::io::{Buffer, BufferPool, File, Progress};
use crate::shard::Shard;
use crate::store::{Source, StoreError};

/// What users are told whose URL does not give the data, whatever the reason: they are not to learn what we can reach.
const NOT_FETCHED: &str = "The image data could not be fetched from the given URI.";

/// A source that is open.
pub(super) enum Origin {
    /// A file, which nobody reads again: past the page cache where that is possible.
    File(File),
    /// The answer of another server.
    Web(Box<Answer>),
}

impl Origin {
    /// Opens `source`.
    ///
    /// # Errors
    /// [`Interrupted`]; with [`StoreError::Exhausted`] when another time may do.
    pub(super) async fn open(shard: &Shard, source: &JobSource) -> Result<Self, Interrupted> {
        match source {
            JobSource::Place { store, url } => {
                let Some(store) = shard.shared.stores.holding(Some(store), url) else {
                    return Err(StoreError::Foreign(url.clone()).into());
                };
                Ok(match store.open(shard, url, None).await? {
                    Source::File { file, .. } => Origin::File(file.direct_if_possible()),
                    Source::Web(answer) => Origin::Web(answer),
                })
            }
            JobSource::Web { url, token } => {
                let wanted = Wanted { token: token.as_ref(), ..Wanted::all(url) };
                match fetch::get(shard, wanted).await.map_err(StoreError::from) {
                    Ok(answer) => Ok(Origin::Web(Box::new(answer))),
                    Err(error @ StoreError::Exhausted(_)) => Err(error.into()),
                    Err(error) => Err(lost(&error)),
                }
            }
        }
    }

    /// Bytes to come, where they are known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Origin::File(_) => None,
            Origin::Web(answer) => answer.length(),
        }
    }

    /// Begins to read; once. At least `rate` bytes a second must come from another server.
    pub(super) fn read<'a>(&'a mut self, rate: u64, progress: &'a Progress) -> Reading<'a> {
        let way = match self {
            Origin::File(file) => Way::File(file, progress),
            Origin::Web(answer) => return Reading::web(answer, rate, progress),
        };
        Reading { way, memory: None }
    }
}

/// A source that is being read.
pub(super) struct Reading<'a> {
    way: Way<'a>,
    /// The memory of the next piece.
    memory: Option<Buffer>,
}

enum Way<'a> {
    File(&'a File, &'a Progress),
    Web(Box<(Input<'a>, Body, Pace<'a>)>),
}

impl<'a> Reading<'a> {
    /// Begins to read the answer of another server; once.
    pub(super) fn web(answer: &'a mut Answer, rate: u64, progress: &'a Progress) -> Self {
        let rest = answer.take_rest();
        let (input, body) = answer.read(rest);
        Reading { way: Way::Web(Box::new((input, body, Pace::new(rate, progress)))), memory: None }
    }

    /// Takes the memory of the next piece from `pool`, if it has some; whether it has.
    pub(super) fn is_ready(&mut self, pool: &BufferPool) -> bool {
        self.memory = self.memory.take().or_else(|| pool.try_get());
        self.memory.is_some()
    }

    /// Waits until `pool` has the memory of the next piece. May be dropped at any time.
    pub(super) async fn ready(&mut self, pool: &BufferPool) {
        if !self.is_ready(pool) {
            self.memory = Some(pool.get().await);
        }
    }

    /// What lies at `offset`, where the last piece ended, once its memory is [ready](Reading::ready). Less than a buffer has room for
    /// is the end.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(super) async fn next(&mut self, offset: u64) -> Result<Buffer, Interrupted> {
        let Some(buffer) = self.memory.take() else {
            return Err(Interrupted::Broken(std::io::Error::other("a piece is read without memory for it")));
        };
        match &mut self.way {
            Way::File(file, progress) => {
                let (count, buffer) = file.read_at(buffer, offset).await?;
                progress.add(count as u64);
                Ok(buffer)
            }
            Way::Web(web) => {
                let (input, body, pace) = &mut **web;
                fill(buffer, input, body, pace).await.map_err(|error| match error {
                    Interrupted::Slow => lost(&"it comes too slowly"),
                    Interrupted::Client(error) => lost(&format!("{error:?}")),
                    error => error,
                })
            }
        }
    }
}

/// For the operator why; for the user that.
pub(super) fn lost(why: &dyn std::fmt::Display) -> Interrupted {
    tracing::warn!("the data of an import cannot be fetched: {why}");
    Interrupted::Refused(Error::bad_request(NOT_FETCHED))
}
