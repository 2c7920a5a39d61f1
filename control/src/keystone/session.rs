//! HTTP to Keystone, with the token of our own that it needs.

use std::time::{Duration, Instant};

use common::config::{KeystoneAccess, ServiceCredentials};
use common::time::Timestamp;
use common::{Error, Result};
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Mutex;

use super::health::AWAY_HOLDS;
use super::{login, tls};

/// What clients read while Keystone does not answer.
const AWAY_TEXT: &str = "The Identity service is not available at this time.";

/// When they may try again, in seconds.
pub(super) const RETRY_AFTER_SECONDS: u64 = 5;

/// Bytes of the largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The pause before a failed request is tried again; doubles each time.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Our own token is renewed so long before it ends.
const RENEW_BEFORE_SECONDS: i64 = 120;

const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
/// The token that a question or an answer is about.
pub(crate) const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// A session with Keystone. It begins when it is first used, and is begun again when our token ends.
pub(crate) struct Session {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    access: KeystoneAccess,
    /// Longest wait for one try.
    try_timeout: Duration,
    own: Mutex<Own>,
}

/// What is known of the token of our own.
#[derive(Default)]
struct Own {
    token: Option<OwnToken>,
    /// When asking for one failed last, and why.
    failed: Option<(Instant, Error)>,
}

#[derive(Clone)]
struct OwnToken {
    value: HeaderValue,
    /// Seconds since 1970.
    expires_at: i64,
}

/// What Keystone answered.
pub(crate) struct Answer {
    /// Status.
    pub(crate) status: StatusCode,
    /// Header fields.
    headers: HeaderMap,
    /// The body, of bounded size.
    pub(crate) body: Bytes,
}

impl Session {
    /// A session as configured. Connects when it is first used. `timeout`: what a caller waits at most for everything.
    ///
    /// # Errors
    /// A certificate or key file that cannot be used.
    pub(crate) fn new(access: KeystoneAccess, timeout: Duration) -> Result<Self> {
        let try_timeout = access.connect_timeout.unwrap_or(timeout / 2);
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(try_timeout));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(&access)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Session { http, access, try_timeout, own: Mutex::default() })
    }

    /// Asks for `path`, with our own token and `headers`.
    ///
    /// # Errors
    /// 503 while Keystone does not answer, or does not accept ourselves.
    pub(crate) async fn get(&self, path: &str, headers: &[(HeaderName, HeaderValue)]) -> Result<Answer> {
        // A second time with a new token of our own, when the old one was revoked.
        let mut rejected = None;
        for _ in 0..2 {
            let own = self.own_token(rejected.as_ref()).await?;
            let mut all = vec![(AUTH_TOKEN, own.clone())];
            all.extend_from_slice(headers);
            let answer = self.request(Method::GET, path, &all, Bytes::new()).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            rejected = Some(own);
        }
        Err(away("our own token is not accepted"))
    }

    /// Asks for `path` with the token of somebody else.
    ///
    /// # Errors
    /// 503 while Keystone does not answer.
    pub(crate) async fn get_as(&self, path: &str, token: &str) -> Result<Answer> {
        let headers = [(AUTH_TOKEN, secret_header(token)?)];
        self.request(Method::GET, path, &headers, Bytes::new()).await
    }

    /// Our own token, another one than `rejected`. Whoever finds that it must be renewed does it for all who wait.
    async fn own_token(&self, rejected: Option<&HeaderValue>) -> Result<HeaderValue> {
        if let ServiceCredentials::Token(token) = &self.access.credentials {
            return secret_header(token.expose());
        }
        // Held while asking, so that one token is asked for at a time.
        let mut own = self.own.lock().await;
        let now = Timestamp::now().as_seconds();
        let is_good =
            |token: &OwnToken| Some(&token.value) != rejected && token.expires_at - RENEW_BEFORE_SECONDS > now;
        if let Some(token) = own.token.as_ref().filter(|token| is_good(token)) {
            return Ok(token.value.clone());
        }
        if let Some((_, error)) = own.failed.as_ref().filter(|(at, _)| at.elapsed() < AWAY_HOLDS) {
            return Err(error.clone());
        }
        match self.authenticate().await {
            Ok(fresh) => {
                *own = Own { token: Some(fresh.clone()), failed: None };
                Ok(fresh.value)
            }
            Err(error) => {
                own.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn authenticate(&self) -> Result<OwnToken> {
        let request = login::authentication(&self.access.credentials, &self.access.scope)
            .ok_or_else(|| Error::internal("no credentials for Keystone"))?;
        let json = HeaderValue::from_static("application/json");
        let body = Bytes::from(request.to_string());
        let answer = self.request(Method::POST, "/v3/auth/tokens?nocatalog", &[(CONTENT_TYPE, json)], body).await?;
        if answer.status != StatusCode::CREATED {
            return Err(away(format!("the service user's authentication answered {}", answer.status)));
        }
        let value = answer.headers.get(SUBJECT_TOKEN).ok_or_else(|| away("no X-Subject-Token".to_owned()))?;
        let mut value = value.clone();
        value.set_sensitive(true);
        Ok(OwnToken { value, expires_at: login::expires_at(&answer.body)? })
    }

    /// Asks, and asks again after failures to connect or to answer.
    async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Answer> {
        let mut tries = self.access.request_retries.saturating_add(1);
        let mut pause = RETRY_PAUSE;
        loop {
            tries -= 1;
            let wait = self.try_timeout;
            let once = self.request_once(method.clone(), path, headers, body.clone());
            let outcome = tokio::time::timeout(wait, once).await;
            match outcome.unwrap_or_else(|_| Err(away(format!("no answer within {wait:?}")))) {
                Ok(answer) if !answer.status.is_server_error() || tries == 0 => return Ok(answer),
                Err(error) if tries == 0 => return Err(error),
                _ => {}
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    async fn request_once(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.access.auth_url))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("vitrine/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(away)?;
        let response = self.http.request(request).await.map_err(away)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(away)?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

/// 503: Keystone does not answer, or not as it should; `cause` goes to the log.
pub(crate) fn away(cause: impl std::fmt::Display) -> Error {
    Error::unavailable(AWAY_TEXT, RETRY_AFTER_SECONDS).caused_by(cause)
}

fn secret_header(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text).map_err(|_| away("a token cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}
