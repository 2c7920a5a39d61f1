//! What control asks of us, on `dataplane.sock`. Served by the first core.

use std::rc::Rc;

use common::error::Kind;
use common::http::head::{Head, Limits};
use common::rpc::{self, DataplaneStatus, Described, Document, Done, Envelope, Probed, ToDataplane};
use common::{Error, Result};
use http::StatusCode;
use serde::Serialize;

use crate::fetch::{self, Wanted};
use crate::http::body::{Body, BodyError};
use crate::http::input::{Input, Patience};
use crate::http::reply::{self, Sent};
use crate::io::timeout;
use crate::places::Place;
use crate::shard::Shard;
use crate::store::StoreError;
use crate::transfer::{job, rework};

/// Bounds of a request of control.
const LIMITS: Limits = Limits { head_bytes_max: 16 * 1024, header_count_max: 32, target_bytes_max: 1024 };

/// Bytes of the largest message.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Serves one connection of control.
pub(crate) async fn serve(shard: Rc<Shard>, place: Place) {
    let conn = place.conn();
    // The socket's mode keeps others out; this keeps out whoever got at it before the mode was set.
    let ours = rustix::process::geteuid().as_raw();
    if !conn.peer_uid().is_ok_and(|uid| uid == ours || uid == 0) {
        tracing::warn!("a process of another user was refused at {}", rpc::DATAPLANE_SOCKET);
        return;
    }
    let mut input = Input::new(conn);
    let head_timeout = shard.config.dataplane.head_timeout;
    loop {
        let next = input.next(&LIMITS, Patience { idle: None, head: head_timeout });
        let Some(Ok(head)) = place.while_waiting(next).await else { return };
        let mut body = Body::new(head.body);
        let collected = body.collect(&mut input, MESSAGE_BYTES_MAX, &shard.large_bodies);
        let answer = match timeout(head_timeout, collected).await {
            Ok(Ok(content)) => handle(&shard, &head, &content).await,
            Ok(Err(BodyError::Malformed(error))) => Err(error),
            Ok(Err(BodyError::Lost(_))) | Err(_) => return,
        };
        let keep = head.keep_alive && body.is_done();
        let (status, text) = match answer {
            Ok(reply) => (StatusCode::OK, reply),
            Err(error) => (error.status(), serde_json::to_vec(&error).unwrap_or_default()),
        };
        if reply::send_text(conn, status, "application/json", &text, Sent::whole(keep)).await.is_err() || !keep {
            return;
        }
    }
}

async fn handle(shard: &Shard, head: &Head, content: &[u8]) -> Result<Vec<u8>> {
    if (head.method.as_str(), head.path.as_str()) != ("POST", rpc::PATH) {
        return Err(Error::not_found(format!("This socket answers POST {} only.", rpc::PATH)));
    }
    let malformed = |error| Error::bad_request(format!("The message is not known: {error}"));
    let version = serde_json::from_slice::<Envelope<serde_json::Value>>(content).map_err(malformed)?.version;
    if version != rpc::VERSION {
        let message = format!("This data plane speaks version {} of the RPC, not {version}.", rpc::VERSION);
        return Err(Error::new(Kind::Conflict, message));
    }
    let envelope: Envelope<ToDataplane> = serde_json::from_slice(content).map_err(malformed)?;
    match envelope.message {
        ToDataplane::Status => {
            reply(&DataplaneStatus { instance: shard.shared.instance.clone(), uploads: shard.shared.uploads.running() })
        }
        ToDataplane::Remove { store, url, upload_id } => {
            remove(shard, &store, &url, upload_id.as_deref()).await?;
            reply(&Done {})
        }
        ToDataplane::CancelUpload { upload_id } => {
            shard.shared.uploads.cancel(&upload_id);
            reply(&Done {})
        }
        ToDataplane::StartJob(job) => {
            job::begin(&shard.shared, job)?;
            reply(&Done {})
        }
        ToDataplane::StartRework(started) => {
            rework::begin(&shard.shared, started)?;
            reply(&Done {})
        }
        ToDataplane::FetchDocument { url, token, bytes_max } => {
            let wanted = Wanted { token: token.as_ref(), ..Wanted::all(&url) };
            reply(&Document { text: document(shard, wanted, bytes_max).await? })
        }
        ToDataplane::Describe { store } => {
            let Some(store) = shard.shared.stores.by_id(&store) else {
                return Err(Error::not_found(format!("No store {store} is configured.")));
            };
            reply(&Described { identity: store.identity(shard).await? })
        }
        ToDataplane::CheckRemovable { store, url } => {
            let Some(store) = shard.shared.stores.holding(Some(&store), &url) else {
                return Err(Error::not_found(format!("No store {store} is configured.")));
            };
            store.check_removable(shard, &url).await?;
            reply(&Done {})
        }
        ToDataplane::Probe { store, url } => reply(&Probed { size: probe(shard, &store, &url).await? }),
    }
}

async fn remove(shard: &Shard, store: &str, url: &str, upload_id: Option<&str>) -> Result<()> {
    if upload_id.is_some_and(|id| shard.shared.uploads.is_running(id)) {
        return Err(Error::conflict("That upload still runs."));
    }
    let stores = &shard.shared.stores;
    let Some(store) = stores.holding(Some(store), url) else {
        return Err(Error::not_found(format!("No store {store} is configured.")));
    };
    // One that control has given up waiting for may still be under way, and must not hit what comes after it.
    let Some(_clearing) = shard.clear(url) else {
        return Err(Error::conflict("That place is being cleared."));
    };
    match store.remove(shard, url, upload_id).await {
        Err(StoreError::Foreign(_)) => Err(Error::not_found("No store has that place.")),
        removed => Ok(removed?),
    }
}

/// What another server says.
async fn document(shard: &Shard, wanted: Wanted<'_>, bytes_max: usize) -> Result<String> {
    let refused = |why: &dyn std::fmt::Display| {
        tracing::warn!("a document cannot be fetched: {why}");
        Error::bad_request("The document could not be fetched.")
    };
    match fetch::document(shard, wanted, bytes_max).await {
        Ok(text) => String::from_utf8(text).map_err(|error| refused(&error)),
        Err(error) => match StoreError::from(error) {
            error @ StoreError::Exhausted(_) => Err(error.into()),
            error => Err(refused(&error)),
        },
    }
}

/// Bytes at a place.
async fn probe(shard: &Shard, store: &str, url: &str) -> Result<u64> {
    let Some(store) = shard.shared.stores.holding(Some(store), url) else {
        return Err(Error::not_found(format!("No store {store} is configured.")));
    };
    match store.open(shard, url, None).await {
        // Only what it says of itself was wanted.
        Ok(source) => Ok(source.size().unwrap_or(0)),
        Err(StoreError::Foreign(_)) => Err(Error::not_found("No store has that place.")),
        Err(error) => {
            tracing::warn!("a place that a location names cannot be looked at: {error}");
            Err(error.into())
        }
    }
}

fn reply<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(Error::internal)
}
