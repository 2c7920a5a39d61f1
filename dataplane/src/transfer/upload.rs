//! `PUT /v2/images/{image}/file` and `…/stage`: ask control, receive, make durable, commit.
//!
//! From control's permission to its acknowledgement an [`Attempt`] stands for the upload. Whatever ends it early, the
//! bytes are removed first and control is told then, so that nothing is left behind; if we die meanwhile, control finds
//! the intent it recorded and has the same done.

use std::cell::Cell;
use std::io;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use common::error::Kind;
use common::http::head::Body as Framing;
use common::rpc::{CommitUpload, Done, OpenUpload, ToControl, UploadTarget, UploadTicket};
use common::{Error, Result};
use http::header;

use super::receive::{Interrupted, Pace, Received, receive};
use super::reservation::Reservation;
use crate::connection::{Answered, Request, answer_error};
use crate::control_client::is_away;
use crate::futures::{Either, race};
use crate::http::body::{Body, BodyError};
use crate::http::input::Input;
use crate::http::reply;
use crate::io::{Progress, sleep};
use crate::metrics::Direction;
use crate::shard::Shard;
use crate::store::{Placement, Store, Writer};

/// How long control is waited for when all bytes are here. Then the outcome is left to its search for abandoned
/// uploads.
pub(super) const CONTROL_PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two tries.
pub(super) const CONTROL_PAUSE: Duration = Duration::from_millis(50);

/// Answers an upload, which has its turn.
///
/// # Errors
/// When the connection broke; the upload is undone by then.
pub(crate) async fn answer(
    shard: &Shard,
    request: &Request<'_>,
    (image_id, target): (&str, UploadTarget),
    input: &mut Input<'_>,
    body: &mut Body,
) -> io::Result<Answered> {
    let begun = Instant::now();
    let ticket = match shard.control.call::<UploadTicket>(open_message(shard, request, image_id, target)).await {
        Ok(ticket) => ticket,
        Err(error) => return answer_error(request, input.conn(), &error, body).await,
    };
    let _running = shard.metrics.transfer(Direction::In);
    let attempt = Attempt::begin(shard, ticket);
    let progress = Progress::new();
    let outcome = attempt.run(request, input, body, &progress).await;
    let conn = input.conn();
    tracing::info!(
        request_id = request.id,
        bytes = progress.get(),
        milliseconds = begun.elapsed().as_millis(),
        tls = conn.tls().map_or("none", |facts| facts.version.label()),
        outcome = match &outcome {
            Ok(()) => "stored",
            Err(Failed::Answer(_)) => "refused",
            Err(Failed::Lost(_)) => "lost",
        },
        "upload of image {image_id}"
    );
    match outcome {
        Ok(()) => {
            let keep = request.keep && body.is_done();
            reply::send_no_content(conn, &request.id, keep).await?;
            Ok(Answered { status: 204, keep })
        }
        Err(Failed::Answer(error)) => answer_error(request, conn, &error, body).await,
        Err(Failed::Lost(error)) => Err(error),
    }
}

fn open_message(shard: &Shard, request: &Request<'_>, image_id: &str, target: UploadTarget) -> ToControl {
    let head = request.head;
    ToControl::OpenUpload(OpenUpload {
        instance: shard.shared.instance.clone(),
        image_id: image_id.to_owned(),
        proof: request.proof(),
        request_id: request.id.clone(),
        content_type: head.header(&header::CONTENT_TYPE).map(str::to_owned),
        image_size: head.header_named("x-openstack-image-size").map(str::to_owned),
        content_length: match head.body {
            Framing::Length(length) => Some(length),
            Framing::None => Some(0),
            Framing::Chunked => None,
        },
        store: head.header_named("x-image-meta-store").map(str::to_owned),
        target,
    })
}

/// Why there is no image.
enum Failed {
    /// The client is told this.
    Answer(Error),
    /// There is nobody to tell.
    Lost(io::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Answer(error)
    }
}

/// An upload that control knows of.
struct Attempt<'a> {
    shard: &'a Shard,
    ticket: UploadTicket,
    /// Whether the bytes lie under the image's name: before that, whatever lies there is not ours.
    published: Cell<bool>,
}

impl<'a> Attempt<'a> {
    fn begin(shard: &'a Shard, ticket: UploadTicket) -> Self {
        shard.begin_upload(&ticket.upload_id);
        Attempt { shard, ticket, published: Cell::new(false) }
    }

    async fn run(
        &self,
        request: &Request<'_>,
        input: &mut Input<'_>,
        body: &mut Body,
        progress: &Progress,
    ) -> Result<(), Failed> {
        let Some(store) = self.shard.shared.stores.by_id(&self.ticket.store) else {
            let error = Error::internal(format!("control named the unknown store {}", self.ticket.store));
            self.tell_abort(&error).await;
            return Err(error.into());
        };
        let failed = match self.transfer(store, request, input, body, progress).await {
            Ok(commit) => match self.commit(commit).await {
                Ok(()) => return Ok(()),
                // Control did not say whether it committed, so the bytes may belong to an image: it clears up itself.
                Err(error) if !is_refusal(&error) => return Err(error.into()),
                Err(error) => error.into(),
            },
            Err(failed) => failed,
        };
        self.undo(store, &failed).await;
        Err(failed)
    }

    /// All bytes from the client into the store, durable, or none.
    async fn transfer(
        &self,
        store: &Store,
        request: &Request<'_>,
        input: &mut Input<'_>,
        body: &mut Body,
        progress: &Progress,
    ) -> Result<CommitUpload, Failed> {
        let metrics = &self.shard.metrics;
        let config = &self.shard.config.dataplane;
        let placement = Placement {
            url: &self.ticket.url,
            upload_id: &self.ticket.upload_id,
            size: self.ticket.expected_size,
            direct: config.upload_direct_io,
        };
        let writer = store.create(self.shard, placement).await.map_err(Error::from)?;
        if request.head.expects_continue && request.head.body != Framing::None {
            input.conn().send_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(Failed::Lost)?;
        }
        let received = self.receive(&writer, input, body, progress).await;
        metrics.bytes(store.index, writer.path(), progress.get());
        let Received { size, findings } = received?;
        writer.commit(size).await.map_err(Error::from)?;
        self.published.set(true);
        Ok(CommitUpload { upload_id: self.ticket.upload_id.clone(), size, findings })
    }

    async fn receive(
        &self,
        writer: &Writer<'_>,
        input: &mut Input<'_>,
        body: &mut Body,
        progress: &Progress,
    ) -> Result<Received, Failed> {
        let config = &self.shard.config.dataplane;
        let buffers = config.upload_buffers_count.max(writer.depth());
        let buffers = NonZeroUsize::new(buffers).unwrap_or(NonZeroUsize::MIN);
        let hashes = &self.shard.shared.hashes;
        let pace = Pace::new(config.body_min_rate_bytes_per_second, progress);
        let api = &self.shard.config.api;
        let reservation = Reservation::new(&self.shard.control, &self.ticket.upload_id, self.ticket.reserved);
        let all = receive((&self.ticket, reservation), buffers, hashes, api, writer, (input, body), pace);
        match race(all, self.shard.upload_cancelled(&self.ticket.upload_id)).await {
            Either::First(received) => received.map_err(failed),
            Either::Second(()) => Err(gone(&self.ticket).into()),
        }
    }

    /// Control takes the data for the image's. While it restarts we hold on: the bytes are here and safe.
    async fn commit(&self, commit: CommitUpload) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.shard.control.call::<Done>(ToControl::CommitUpload(commit.clone())).await {
                Err(error) if is_away(&error) && begun.elapsed() < CONTROL_PATIENCE => sleep(CONTROL_PAUSE).await,
                outcome => return outcome.map(|Done {}| ()),
            }
        }
    }

    /// Bytes first, then the record of them.
    async fn undo(&self, store: &Store, why: &Failed) {
        let (url, upload_id, shard) = (&self.ticket.url, self.ticket.upload_id.as_str(), self.shard);
        let removed = match self.published.get() {
            true => store.remove(shard, url, Some(upload_id)).await,
            false => store.discard(shard, url, upload_id).await,
        };
        match removed {
            Ok(()) => {
                let reason = match why {
                    Failed::Answer(error) => error.clone(),
                    Failed::Lost(error) => Error::internal(error),
                };
                self.tell_abort(&reason).await;
            }
            // The record stays, so control tries again later.
            Err(error) => tracing::error!("upload {}: its bytes cannot be removed: {error}", self.ticket.upload_id),
        }
    }

    async fn tell_abort(&self, why: &Error) {
        let begun = Instant::now();
        loop {
            let abort = ToControl::AbortUpload { upload_id: self.ticket.upload_id.clone(), reason: why.to_string() };
            match self.shard.control.call::<Done>(abort).await {
                Ok(Done {}) => return,
                Err(error) if is_away(&error) && begun.elapsed() < CONTROL_PATIENCE => sleep(CONTROL_PAUSE).await,
                Err(error) => {
                    tracing::error!("upload {}: control does not take its end: {error}", self.ticket.upload_id);
                    return;
                }
            }
        }
    }
}

impl Drop for Attempt<'_> {
    /// Only now may control take what is left of this upload for abandoned.
    fn drop(&mut self) {
        self.shard.end_upload(&self.ticket.upload_id);
    }
}

/// Whether control said that it did not and will not commit. Anything else may hide a commit whose answer was lost.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind, Kind::Gone | Kind::Conflict | Kind::TooLarge | Kind::BadRequest)
}

fn failed(interrupted: Interrupted) -> Failed {
    match interrupted {
        Interrupted::Client(BodyError::Malformed(error)) | Interrupted::Refused(error) => Failed::Answer(error),
        Interrupted::Client(BodyError::Lost(error)) => Failed::Lost(error),
        Interrupted::Slow => {
            let message = "The image data arrives too slowly.";
            Failed::Answer(Error::new(Kind::RequestTimeout, message))
        }
        Interrupted::Store(error) => Failed::Answer(error.into()),
        Interrupted::Broken(error) => Failed::Answer(Error::internal(error)),
    }
}

fn gone(ticket: &UploadTicket) -> Error {
    let message = "The image was deleted while its data was being uploaded.";
    Error::new(Kind::Gone, message).caused_by(format!("upload {} was cancelled", ticket.upload_id))
}
