//! The control plane's process: opens everything, serves the socket, stops in order.

mod listener;
mod policy;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use common::catalog::OpenError;
use common::config::Config;
use common::http::errors;
use common::rpc::{self, Envelope, ToControl};
use common::{Error, Kind, Result};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use prometheus::Registry;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::Api;
use crate::app::App;
use crate::auth::Authenticator;
use crate::db::{Db, DbOptions};
use crate::limits::Limits;
use crate::metrics::RequestMetrics;
use crate::rpc_server::{self, RpcContext};
use crate::signature::Signatures;
use listener::Listener;
use policy::Keeper;

/// Bytes of the largest message of the data plane.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Longest wait, when stopping, for requests that are being answered.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Why the control plane cannot start: one line for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The catalog cannot be opened.
    #[error(transparent)]
    Catalog(#[from] OpenError),
    /// The policy files are wrong.
    #[error("the policy cannot be used: {0}")]
    Policy(String),
    /// What authentication needs is not usable.
    #[error("authentication cannot be set up: {0}")]
    Authentication(String),
    /// What the way to Keystone's limits needs is not usable.
    #[error("limits cannot be set up: {0}")]
    Limits(String),
    /// What the verification of signatures needs is not usable.
    #[error("image signatures cannot be verified: {0}")]
    Signatures(String),
    /// The socket cannot be listened on.
    #[error("cannot listen on {}: {source}; the directory must be writable and its path short", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A signal handler cannot be installed.
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    /// Two metrics have one name.
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl StartError {
    /// Whether the configuration is to blame.
    pub fn is_misconfiguration(&self) -> bool {
        matches!(self, StartError::Policy(_))
    }
}

/// Runs the control plane until `SIGTERM` or `SIGINT`; `SIGHUP` has the policy read again. `on_ready` is called once requests
/// are answered.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(config: Arc<Config>, on_ready: impl FnOnce()) -> Result<(), StartError> {
    let stop = stop_signal().map_err(StartError::Signals)?;
    let hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    let path = config.paths.data_dir.join(rpc::CONTROL_SOCKET);
    let (control, keeper) = Control::open(config.clone())?;
    let control = Arc::new(control);
    let listener = Listener::bind(&path, config.control.max_connections)
        .map_err(|source| StartError::Socket { path: path.clone(), source })?;
    let router = Router::new().fallback(serve).with_state(control);
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        stop.await;
        let _ = stopping.send(true);
    });
    tokio::spawn(keeper.run(hangup));
    on_ready();
    let late = async {
        // Fails only when the server has ended.
        let _ = stopped.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(STOP_WAIT).await;
    };
    tokio::select! {
        _ = server => {}
        () = late => tracing::warn!("requests were cut off after {STOP_WAIT:?}"),
    }
    let _ = std::fs::remove_file(&path);
    Ok(())
}

/// Ends with the first signal to stop.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// What requests are answered with.
struct Control {
    config: Arc<Config>,
    api: Arc<Api>,
    rpc: RpcContext,
}

impl Control {
    fn open(config: Arc<Config>) -> Result<(Self, Keeper), StartError> {
        let registry = Registry::new();
        let options = DbOptions {
            readers: config.control.read_connections,
            commit_batch_max: config.control.commit_batch_max,
            retry_after_seconds: config.control.retry_after_seconds,
        };
        let db = Db::open(&config.database.sqlite, &options, &registry)?;
        let keeper = Keeper::load(&config)?;
        let authority = keeper.authority.clone();
        let authenticator = Authenticator::new(&config, authority.clone())
            .map_err(|error| StartError::Authentication(error.cause.unwrap_or(error.message)))?;
        let authenticator = Arc::new(authenticator);
        let limits = Limits::new(&config).map_err(|error| StartError::Limits(error.cause.unwrap_or(error.message)))?;
        let signatures =
            Signatures::new(&config).map_err(|error| StartError::Signatures(error.cause.unwrap_or(error.message)))?;
        let (who, what) = (authenticator.clone(), (limits.clone(), signatures.clone()));
        let rpc = RpcContext::new(config.clone(), db.clone(), authority.clone(), who, what, registry.clone());
        let (uploads, imports, gate) = (rpc.uploads().clone(), rpc.imports().clone(), rpc.gate().clone());
        let app = App { config: config.clone(), authority, db, limits, uploads, imports, gate, signatures };
        let api = Arc::new(Api::new(app, authenticator, RequestMetrics::register(&registry)?));
        Ok((Control { config, api, rpc }, keeper))
    }
}

/// Answers one request, an API request or a message, within the time that the data plane waits.
async fn serve(State(control): State<Arc<Control>>, request: Request) -> Response<Body> {
    let limit = control.config.control.rpc_timeout;
    let (parts, body) = request.into_parts();
    // What was forwarded comes from a client, whatever its path: only the data plane itself sends messages.
    let is_forwarded = parts.headers.contains_key(rpc::FORWARDED_FOR);
    let is_message = !is_forwarded && parts.method == Method::POST && parts.uri.path() == rpc::PATH;
    let answer = async {
        if is_message { serve_message(&control, body).await } else { serve_api(&control, &parts, body).await }
    };
    match tokio::time::timeout(limit, answer).await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!(method = %parts.method, path = parts.uri.path(), "no answer within {limit:?}");
            let retry = control.config.control.retry_after_seconds;
            late(&Error::unavailable("The request took too long.", retry), &parts, is_message)
        }
    }
}

async fn serve_api(control: &Control, parts: &Parts, body: Body) -> Response<Body> {
    let body = read(body, control.config.dataplane.metadata_body_bytes_max).await;
    let body = body.as_ref().map(|bytes| &bytes[..]).map_err(Clone::clone);
    control.api.answer(parts, body).await
}

async fn serve_message(control: &Control, body: Body) -> Response<Body> {
    let outcome = match read(body, MESSAGE_BYTES_MAX).await {
        Ok(bytes) => message(&control.rpc, &bytes).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(value) => document(StatusCode::OK, value.to_string()),
        Err(error) => {
            // Its cause stays here, so it is logged here.
            match error.kind {
                Kind::Internal | Kind::Unavailable if error.cause.is_some() => {
                    tracing::error!("message failed: {error}")
                }
                _ => tracing::debug!("message refused: {error}"),
            }
            failure(&error)
        }
    }
}

async fn message(context: &RpcContext, bytes: &[u8]) -> Result<serde_json::Value> {
    /// What every version of the protocol has.
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let unreadable = |error: serde_json::Error| Error::bad_request(format!("Not a message: {error}"));
    let Versioned { version } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if version != rpc::VERSION {
        return Err(Error::conflict(format!("Version {version} of the protocol is not {}.", rpc::VERSION)));
    }
    let envelope: Envelope<ToControl> = serde_json::from_slice(bytes).map_err(unreadable)?;
    rpc_server::handle(context, envelope.message).await
}

/// The whole body.
async fn read(body: Body, limit: usize) -> Result<axum::body::Bytes> {
    to_bytes(body, limit).await.map_err(|error| {
        Error::new(Kind::TooLarge, format!("The request body is larger than {limit} bytes.")).caused_by(error)
    })
}

fn late(error: &Error, parts: &Parts, is_message: bool) -> Response<Body> {
    if is_message {
        return failure(error);
    }
    let accept = parts.headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok());
    let (content_type, body) = errors::render(error, accept);
    let mut response = document(error.status(), body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in &error.headers {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name.as_str()), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A failure for the data plane.
fn failure(error: &Error) -> Response<Body> {
    let body = serde_json::to_string(error).unwrap_or_default();
    document(error.status(), body)
}

fn document(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The API of a new site in `data_dir`, with this text as its configuration file.
#[cfg(test)]
pub(crate) fn test_api(data_dir: &std::path::Path, text: &str) -> Arc<Api> {
    let file = data_dir.join("test.conf");
    std::fs::write(&file, text).expect("the configuration is written");
    let overrides = common::config::Overrides { data_dir: Some(data_dir.to_owned()), ..Default::default() };
    let (config, _) = Config::load(&[file], &overrides).expect("a good configuration");
    Control::open(Arc::new(config)).expect("a new site").0.api
}
