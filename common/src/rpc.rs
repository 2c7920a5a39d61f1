//! What the planes say to each other.
//!
//! Both directions are HTTP/1.1 over a unix socket in the data directory (mode 0600): `POST /rpc` with an [`Envelope`]
//! as JSON body. The answer is `200` with the reply's JSON, or an error status with an [`Error`](crate::Error) as
//! JSON. A peer of another [`VERSION`] is refused with `409` before anything is done. For example:
//!
//! ```text
//! curl --unix-socket vitrine-data/dataplane.sock http://vitrine/rpc \
//!      -H 'Content-Type: application/json' -d '{"version":6,"message":{"type":"status"}}'
//! ```

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::identity::{Identity, Proof, Token};

/// The version of this protocol. Raised whenever a message changes its meaning.
pub const VERSION: u32 = 6;

/// The path that takes messages on either socket.
pub const PATH: &str = "/rpc";

/// Control's socket in the data directory: forwarded API requests and [`ToControl`] messages.
pub const CONTROL_SOCKET: &str = "control.sock";

/// The data plane's socket in the data directory: [`ToDataplane`] messages.
pub const DATAPLANE_SOCKET: &str = "dataplane.sock";

/// Header of a forwarded request that carries the address of the client, for the log.
pub const FORWARDED_FOR: &str = "x-vitrine-client";

/// A message with the version its sender speaks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope<M> {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// The message.
    pub message: M,
}

impl<M> Envelope<M> {
    /// `message` in this program's version.
    pub fn new(message: M) -> Self {
        Envelope { version: VERSION, message }
    }
}

/// What the data plane asks of control.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToControl {
    /// First message of a data plane, before it accepts a client. When it is answered no upload of an earlier instance
    /// can be committed any more; control has their bytes removed by [`ToDataplane::Remove`] as soon as this one
    /// answers. Replied to with [`Done`].
    Hello {
        /// The data plane's process: a fresh UUID at each start.
        instance: String,
    },
    /// Who is the holder of these tokens? Legal at any time. Replied to with [`Authenticated`].
    Authenticate {
        /// The tokens.
        proof: Proof,
    },
    /// May this upload begin? Legal at any time after [`ToControl::Hello`]. Moves the image from `queued` to `saving`, or to
    /// `uploading` for the staging area, and records the intent. Replied to with [`UploadTicket`].
    OpenUpload(OpenUpload),
    /// The data of an opened upload is durable. Legal once per upload; repeating it after a lost answer is harmless.
    /// Replied to with [`Done`] once the image is `active`, or its data is staged.
    CommitUpload(CommitUpload),
    /// An opened upload failed and its bytes are removed: the image becomes `queued` again. Repeating it is harmless.
    /// Replied to with [`Done`].
    AbortUpload {
        /// From the ticket.
        upload_id: String,
        /// Why, for the log.
        reason: String,
    },
    /// A job goes on. Legal while it runs; one that control does not know is ignored. Replied to with [`Done`].
    JobProgress {
        /// From [`ToDataplane::StartJob`].
        job_id: String,
        /// Bytes that were read so far.
        bytes: u64,
    },
    /// A job is over. Legal once per job; repeating it after a lost answer is harmless. Replied to with [`Done`] when the
    /// outcome is on record: control then knows which bytes belong to an image, and has the others removed.
    EndJob(EndJob),
    /// Where may this URL be asked for? Legal at any time; each redirect is another question. Replied to with [`Located`]; with 403
    /// when it may not, or nowhere.
    Locate {
        /// The URL.
        url: String,
    },
    /// Control's metrics. Legal at any time. Replied to with [`MetricsText`].
    Metrics,
    /// An upload brings more than it has reserved. Legal while it runs; what comes beyond the reservation may be taken once this
    /// is replied to, with [`Grown`]. Refused with 413 when that is more than is left.
    GrowUpload(GrowUpload),
}

/// Reply to [`ToControl::Authenticate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authenticated {
    /// The holder.
    pub identity: Identity,
    /// Milliseconds from the question on for which this may be believed: the rest of the time for which control itself
    /// believes it. 0: for this one request.
    pub holds_for_ms: u64,
}

/// Reply to [`ToControl::Locate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The addresses that the host has and that may be connected to; at least one. No others may be.
    pub addresses: Vec<IpAddr>,
}

/// See [`ToControl::OpenUpload`]. Header values come as the client sent them: control checks them, in Glance's order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenUpload {
    /// The data plane's instance, so that its uploads can be told from those of a dead one.
    pub instance: String,
    /// From the URL.
    pub image_id: String,
    /// Who sends it.
    pub proof: Proof,
    /// `x-openstack-request-id` of the request.
    pub request_id: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `x-openstack-image-size`.
    pub image_size: Option<String>,
    /// `Content-Length`, bytes; `None` for a chunked body.
    pub content_length: Option<u64>,
    /// `x-image-meta-store`.
    pub store: Option<String>,
    /// Where the data goes.
    pub target: UploadTarget,
}

/// Where an upload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadTarget {
    /// Into a store: the image becomes active.
    Store,
    /// Into the staging area: an import will follow.
    Staging,
}

/// Permission to receive the data of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadTicket {
    /// Names this upload in commit and abort; a UUID.
    pub upload_id: String,
    /// The store to write to.
    pub store: String,
    /// Where the data must lie when it is committed, as a store URI.
    pub url: String,
    /// Bytes that must arrive, where the client said so.
    pub expected_size: Option<u64>,
    /// Largest size allowed, bytes.
    pub size_max: u64,
    /// Bytes that may arrive before [`ToControl::GrowUpload`] must ask for more; `None`: all that is allowed.
    pub reserved: Option<u64>,
    /// What is to be found out about the data on the way; `None`: nothing, as for the staging area.
    pub examination: Option<Examination>,
}

/// What is found out about data while it passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// Name of the digest beside MD5.
    pub hash_algo: String,
    /// What the image claims to be: decides how the stream is inspected.
    pub disk_format: String,
    /// The same.
    pub container_format: String,
    /// Name of the digest that the image's signature is of; `None`: it is not signed.
    pub signed_hash_algo: Option<String>,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Bytes of the disk described by the data, where known.
    pub virtual_size: Option<u64>,
    /// MD5, hexadecimal.
    pub checksum: String,
    /// The digest that was asked for, hexadecimal.
    pub hash_value: String,
    /// The digest of the signature, hexadecimal; set exactly when it was asked for.
    pub signed_hash_value: Option<String>,
}

/// See [`ToControl::CommitUpload`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitUpload {
    /// From the ticket.
    pub upload_id: String,
    /// Bytes received.
    pub size: u64,
    /// Set exactly when the ticket asked for them.
    pub findings: Option<Findings>,
}

/// See [`ToControl::GrowUpload`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowUpload {
    /// From the ticket.
    pub upload_id: String,
    /// Bytes that it has to have room for, all in all.
    pub size: u64,
    /// Whether it will not ask again for these: then there is a refusal instead of a reply that grants less.
    pub last: bool,
}

/// Reply to [`ToControl::GrowUpload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grown {
    /// Bytes that the upload may have from now on. Less than was asked for: there is no room now, and there may be some in a
    /// moment, when uploads that began later end.
    pub reserved: u64,
}

/// What users are told whose job failed for no reason of theirs, in Glance's words.
pub const JOB_INTERNAL_ERROR: &str = "Task failed due to Internal Error";

/// What users are told whose job was for an image that is gone, in Glance's words.
pub const JOB_IMAGE_GONE: &str = "Image has been deleted, aborting import.";

/// See [`ToDataplane::StartJob`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Names the job: a UUID.
    pub job_id: String,
    /// Where the data is.
    pub source: JobSource,
    /// Bytes that must come; `None`: not known.
    pub expected_size: Option<u64>,
    /// Largest size allowed, bytes.
    pub size_max: u64,
    /// What is to be found out on the way.
    pub examination: Examination,
    /// Where it goes. Nowhere: it is only to be found out about, and the job runs as an upload with its own id.
    pub sinks: Vec<JobSink>,
    /// Whether the failure of one sink ends the job; else it ends with the last.
    pub all_must_succeed: bool,
}

/// Where a job's data comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum JobSource {
    /// A place in a store, or in the staging area.
    Place {
        /// The store.
        store: String,
        /// The place, as a store URI.
        url: String,
    },
    /// Somebody else's server.
    Web {
        /// What is asked for, as its owner wrote it.
        url: String,
        /// What is sent along, to the server of `url` and to no other.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Token>,
    },
}

/// One place that a job fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSink {
    /// Names it as the upload it is: in [`DataplaneStatus::uploads`] and for its removal.
    pub upload_id: String,
    /// The store.
    pub store: String,
    /// The place, as a store URI.
    pub url: String,
    /// As in [`UploadTicket::reserved`].
    pub reserved: Option<u64>,
}

/// See [`ToDataplane::StartRework`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rework {
    /// Names the job: a UUID.
    pub job_id: String,
    /// Where the data is: a place in the staging area, by its store URI.
    pub source: String,
    /// Where the result goes: another place in the staging area.
    pub sink: JobSink,
    /// Largest size of the result, bytes; also that of the disk that it describes.
    pub size_max: u64,
    /// What is to be done.
    pub work: ReworkKind,
}

/// What is done to staged data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReworkKind {
    /// Unpack it, if it is of a format that is known by its first bytes.
    Decompress,
    /// Make it an image of another disk format.
    Convert {
        /// What the image claims to be.
        disk_format: String,
        /// What it shall be.
        output_format: String,
    },
}

/// See [`ToControl::EndJob`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndJob {
    /// From [`Job`], or from [`Rework`].
    pub job_id: String,
    /// Upload ids of all its sinks: they tell this run of the job from others.
    pub uploads: Vec<String>,
    /// What it came to.
    pub outcome: JobOutcome,
}

/// What a job came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum JobOutcome {
    /// The data was read whole and is durable in at least one sink, if there are any.
    Stored {
        /// Bytes.
        size: u64,
        /// What was found out.
        findings: Findings,
        /// Upload ids of the sinks that hold it; all others hold nothing that is needed.
        sinks: Vec<String>,
    },
    /// What was staged has become something else, which is durable in the sink.
    Reworked {
        /// Bytes of it.
        size: u64,
    },
    /// What was staged stays as it is: there was nothing to do. The sink holds nothing.
    Kept,
    /// It is nowhere, or not where it must be.
    Failed {
        /// Why, for the user who asked for it.
        reason: String,
        /// Upload ids of the sinks that failed by themselves.
        sinks: Vec<String>,
    },
}

/// What control asks of the data plane.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToDataplane {
    /// Which instance are you, and which uploads run? Legal at any time. Replied to with [`DataplaneStatus`].
    Status,
    /// Remove the bytes at a store URI, finished or not; absent bytes count as removed. `upload_id`: the upload that
    /// wrote them, when it never finished. Legal when no running upload owns the place. Replied to with [`Done`]; with
    /// 404 when no configured store has the place.
    Remove {
        /// The store.
        store: String,
        /// The place.
        url: String,
        /// The unfinished upload, if any.
        upload_id: Option<String>,
    },
    /// The image of this upload was deleted: stop receiving. Unknown uploads are ignored; the upload of a job's sink ends
    /// the job. Replied to with [`Done`].
    CancelUpload {
        /// From the ticket.
        upload_id: String,
    },
    /// Move data from one place to others. Legal when no upload owns a sink's place. Replied to with [`Done`] once the job
    /// runs; its end is told by [`ToControl::EndJob`].
    StartJob(Job),
    /// Make something else of staged data. Legal when no upload owns the sink's place. Replied to with [`Done`] once it runs; its
    /// end is told by [`ToControl::EndJob`].
    StartRework(Rework),
    /// What does this URL say? Legal at any time. Asked for as the data of [`JobSource::Web`] is. Replied to with [`Document`];
    /// with 400 when there is no answer, or none that is text of such a length: why is in the data plane's log.
    FetchDocument {
        /// The URL.
        url: String,
        /// As in [`JobSource::Web`].
        token: Option<Token>,
        /// Bytes of the longest one.
        bytes_max: usize,
    },
    /// What is this store, as far as the configuration does not say it? Legal at any time. Replied to with [`Described`]; with 503
    /// while the store does not answer.
    Describe {
        /// The store.
        store: String,
    },
    /// Would [`ToDataplane::Remove`] fail because others need what lies at a store URI? Legal at any time. Replied to with [`Done`]
    /// if not, also where nothing lies; with 409 if so; with 404 when no configured store has the place.
    CheckRemovable {
        /// The store.
        store: String,
        /// The place.
        url: String,
    },
    /// How many bytes lie at a store URI? Legal at any time. Replied to with [`Probed`]; with 404 when nothing lies there,
    /// or no configured store has the place.
    Probe {
        /// The store.
        store: String,
        /// The place.
        url: String,
    },
}

/// Reply to [`ToDataplane::FetchDocument`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// All of it.
    pub text: String,
}

/// Reply to [`ToDataplane::Describe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// What tells the store from others of its kind and is part of its places: of a Ceph cluster its id. `None`: there is no such thing.
    pub identity: Option<String>,
}

/// Reply to [`ToDataplane::Probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Bytes.
    pub size: u64,
}

/// Reply to [`ToDataplane::Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataplaneStatus {
    /// As in [`ToControl::Hello`].
    pub instance: String,
    /// Uploads that were opened and neither committed nor aborted, sinks of running jobs among them.
    pub uploads: Vec<String>,
}

/// Reply to [`ToControl::Metrics`]: Prometheus text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetricsText {
    /// The exposition.
    pub text: String,
}

/// The reply of messages that answer nothing but success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_documented() {
        let text = serde_json::to_string(&Envelope::new(ToDataplane::Status)).expect("serialises");
        assert_eq!(text, r#"{"version":6,"message":{"type":"status"}}"#);
        let back: Envelope<ToDataplane> = serde_json::from_str(&text).expect("and back");
        assert!(matches!(back.message, ToDataplane::Status));
    }

    #[test]
    fn a_token_is_never_printed() {
        let proof = Proof { token: Some("secret-token".into()), service_token: None };
        let message = ToControl::Authenticate { proof };
        assert!(!format!("{message:?}").contains("secret-token"));
        let source = JobSource::Web { url: "https://images".into(), token: Some(Token::new("secret-token")) };
        assert!(!format!("{source:?}").contains("secret-token"));
    }
}
