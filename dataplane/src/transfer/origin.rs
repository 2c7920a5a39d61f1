//! Where a job's data comes from: a place of ours, or another server.

use common::Error;
use common::rpc::JobSource;

use super::receive::{Interrupted, Pace, fill};
use crate::fetch::{self, Answer, Wanted};
use crate::http::body::Body;
use crate::http::input::Input;
use crate::io::{Buffer, BufferPool, File, Progress};
use crate::shard::Shard;
use crate::store::{Blocks, Piece, Reader, Source, Store, StoreError};

/// What users are told whose URL does not give the data, whatever the reason: they are not to learn what we can reach.
const NOT_FETCHED: &str = "The image data could not be fetched from the given URI.";

/// A source that is open.
pub(super) enum Origin<'a> {
    /// A file, which nobody reads again: past the page cache where that is possible.
    File(File),
    /// The answer of another server.
    Web(Box<Answer>),
    /// An image that is read in pieces, of this store.
    Blocks(&'a Store, Box<Blocks>),
}

impl<'s> Origin<'s> {
    /// Opens `source`.
    ///
    /// # Errors
    /// [`Interrupted`]; with [`StoreError::Exhausted`] when another time may do.
    pub(super) async fn open(shard: &'s Shard, source: &JobSource) -> Result<Self, Interrupted> {
        match source {
            JobSource::Place { store, url } => {
                let Some(store) = shard.shared.stores.holding(Some(store), url) else {
                    return Err(StoreError::Foreign(url.clone()).into());
                };
                Ok(match store.open(shard, url, None).await? {
                    Source::File { file, .. } => Origin::File(file.direct_if_possible()),
                    Source::Web(answer) => Origin::Web(answer),
                    Source::Blocks(blocks) => Origin::Blocks(store, blocks),
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
            Origin::Blocks(_, blocks) => Some(blocks.size()),
        }
    }

    /// Buffers that reading takes, beside those that are being written.
    pub(super) fn buffers(&self) -> usize {
        match self {
            Origin::File(_) | Origin::Web(_) => 0,
            Origin::Blocks(_, blocks) => blocks.buffers(),
        }
    }

    /// Begins to read; once. At least `rate` bytes a second must come from another server.
    pub(super) fn read<'a>(&'a mut self, shard: &'a Shard, rate: u64, progress: &'a Progress) -> Reading<'a> {
        match self {
            Origin::File(file) => Reading { way: Way::File(file, progress), memory: None },
            Origin::Web(answer) => Reading::web(answer, rate, progress),
            Origin::Blocks(store, blocks) => {
                Reading::blocks(store.read(shard, blocks, 0..blocks.size(), true), progress)
            }
        }
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
    Blocks(Box<Reader<'a>>, &'a Progress),
}

impl<'a> Reading<'a> {
    /// Begins to read the answer of another server; once.
    pub(super) fn web(answer: &'a mut Answer, rate: u64, progress: &'a Progress) -> Self {
        let rest = answer.take_rest();
        let (input, body) = answer.read(rest);
        Reading { way: Way::Web(Box::new((input, body, Pace::new(rate, progress)))), memory: None }
    }

    /// Begins to read what `reader` reads.
    pub(super) fn blocks(reader: Reader<'a>, progress: &'a Progress) -> Self {
        Reading { way: Way::Blocks(Box::new(reader), progress), memory: None }
    }

    /// Takes the memory of the next piece from `pool`, if it has some; whether it has.
    ///
    /// # Errors
    /// When the store takes no more reads.
    pub(super) fn is_ready(&mut self, pool: &BufferPool) -> Result<bool, Interrupted> {
        if let Way::Blocks(reader, _) = &mut self.way {
            return Ok(reader.is_ready(pool)?);
        }
        self.memory = self.memory.take().or_else(|| pool.try_get());
        Ok(self.memory.is_some())
    }

    /// Waits until `pool` has the memory of the next piece. May be dropped at any time.
    ///
    /// # Errors
    /// When the store takes no more reads.
    pub(super) async fn ready(&mut self, pool: &BufferPool) -> Result<(), Interrupted> {
        if let Way::Blocks(reader, _) = &mut self.way {
            return Ok(reader.ready(pool).await?);
        }
        if !self.is_ready(pool)? {
            self.memory = Some(pool.get().await);
        }
        Ok(())
    }

    /// What lies at `offset`, where the last piece ended, once its memory is [ready](Reading::ready); `None` at the end. So is what
    /// comes behind less than a buffer has room for.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(super) async fn next(&mut self, offset: u64) -> Result<Option<Piece>, Interrupted> {
        let buffer = match (&mut self.way, self.memory.take()) {
            (Way::Blocks(reader, progress), _) => {
                let piece = reader.next().await?;
                progress.add(match &piece {
                    Some(Piece::Data(buffer)) => buffer.len() as u64,
                    Some(Piece::Zeros(count)) => *count as u64,
                    None => 0,
                });
                return Ok(piece);
            }
            (_, Some(memory)) => self.fill(memory, offset).await?,
            (_, None) => {
                return Err(Interrupted::Broken(std::io::Error::other("a piece is read without memory for it")));
            }
        };
        Ok((!buffer.is_empty()).then_some(Piece::Data(buffer)))
    }

    /// Makes sure, before the last piece is believed, that what was read was the image all the time.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(super) async fn confirm(&self) -> Result<(), Interrupted> {
        match &self.way {
            Way::Blocks(reader, _) => Ok(reader.confirm().await?),
            Way::File(..) | Way::Web(_) => Ok(()),
        }
    }

    async fn fill(&mut self, buffer: Buffer, offset: u64) -> Result<Buffer, Interrupted> {
        match &mut self.way {
            Way::Blocks(..) => Ok(buffer),
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
