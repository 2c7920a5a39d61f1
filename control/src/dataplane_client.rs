//! What we ask of the data plane, over its unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use common::rpc::{self, Envelope, ToDataplane};
use common::{Error, Result};
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// Bytes of the largest reply: the ids of all running uploads.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// The data plane as control sees it. Messages are few, so each has a connection of its own: no state to lose when
/// either plane restarts.
#[derive(Debug, Clone)]
pub(crate) struct DataplaneClient {
    socket: PathBuf,
    timeout: Duration,
    retry_after_seconds: u64,
}

impl DataplaneClient {
    /// A client of the data plane that works in `data_dir`. `timeout` is the longest wait for an answer.
    pub(crate) fn new(data_dir: &Path, timeout: Duration, retry_after_seconds: u64) -> Self {
        DataplaneClient { socket: data_dir.join(rpc::DATAPLANE_SOCKET), timeout, retry_after_seconds }
    }

    /// Sends `message` and decodes the reply.
    ///
    /// # Errors
    /// The data plane's own; 503 while it is not there or does not answer in time. Nothing is known then about what it
    /// did.
    pub(crate) async fn call<R: DeserializeOwned>(&self, message: ToDataplane) -> Result<R> {
        let body = serde_json::to_vec(&Envelope::new(message)).map_err(Error::internal)?;
        match tokio::time::timeout(self.timeout, self.exchange(body)).await {
            Ok(Ok((StatusCode::OK, reply))) => serde_json::from_slice(&reply)
                .map_err(|error| Error::internal(format_args!("reply of the data plane: {error}"))),
            Ok(Ok((status, reply))) => Err(serde_json::from_slice(&reply)
                .unwrap_or_else(|_| Error::internal(format_args!("the data plane answered {status}")))),
            Ok(Err(cause)) => Err(self.away(cause)),
            Err(_) => Err(self.away(format_args!("no answer within {:?}", self.timeout))),
        }
    }

    async fn exchange(&self, body: Vec<u8>) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::post(rpc::PATH)
            .header(HOST, "vitrine")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let reply = Limited::new(response.into_body(), REPLY_BYTES_MAX).collect().await?.to_bytes();
            Ok((status, reply))
        };
        tokio::pin!(answer, connection);
        // The connection moves the bytes; it ends with the answer, or before it when the data plane dies.
        tokio::select! {
            answer = &mut answer => answer,
            ended = &mut connection => {
                ended?;
                answer.await
            }
        }
    }

    fn away(&self, cause: impl std::fmt::Display) -> Error {
        Error::unavailable("The data plane is temporarily unavailable.", self.retry_after_seconds)
            .caused_by(format_args!("{}: {cause}", self.socket.display()))
    }
}
