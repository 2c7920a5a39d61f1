//! Barbican's API, version 1: the two requests that a certificate needs, and Keystone's catalog, which says where Barbican is.

use std::fmt::Display;
use std::time::Duration;

use common::Result;
use common::config::{BarbicanOptions, Control};
use common::identity::Proof;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::keystone::tls::{self, Trust};
use crate::keystone::{CATALOG_PATH, Catalog};

/// Bytes of the largest secret that is read. Barbican's own limit is 20,000 unless it was raised.
const SECRET_BYTES_MAX: usize = 64 << 10;

/// Bytes of the largest catalog that is read.
const CATALOG_BYTES_MAX: usize = 4 << 20;

/// Of control's connections, the part (one in so many) that may wait for Barbican.
const WAITERS_SHARE: usize = 4;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No secret has that id.
    Absent,
    /// The secret is of another type, whose format is called so.
    Other(&'static str),
    /// No answer, or one that is none; why is for the log.
    Away(String),
}

/// The client.
pub(crate) struct Barbican {
    http: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    options: BarbicanOptions,
    /// Longest time for a certificate, with everything that it needs.
    timeout: Duration,
    /// Certificates that may be waited for at a time.
    waiters: Semaphore,
}

/// What Barbican says of a secret, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    secret_type: Option<String>,
    #[serde(default)]
    content_types: Option<Value>,
}

impl Barbican {
    /// A client as configured. Connects when it is first used.
    ///
    /// # Errors
    /// A file of certificates that cannot be used; the message names it.
    pub(super) fn new(options: BarbicanOptions, control: &Control) -> Result<Self> {
        let timeout = control.key_manager_timeout.min(control.rpc_timeout);
        let trust = Trust {
            group: "barbican",
            ca_file: options.ca_file.as_deref(),
            identity: None,
            insecure: options.insecure,
            // Its address may come from the catalog.
            is_used: options.endpoint.as_deref().is_none_or(|url| url.starts_with("https:")),
        };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(timeout));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(trust)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let http = Client::builder(TokioExecutor::new()).build(connector);
        let waiters = Semaphore::new((control.max_connections / WAITERS_SHARE).max(1));
        Ok(Barbican { http, options, timeout, waiters })
    }

    /// The payload of the certificate `id`.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn certificate(&self, id: Uuid, proof: &Proof) -> Result<Vec<u8>, Failure> {
        let Ok(_waiter) = self.waiters.try_acquire() else { return Err(away("too many wait for it")) };
        let token = proof.token.as_deref().filter(|token| !token.is_empty());
        let mut token = HeaderValue::try_from(token.ok_or_else(|| away("the request has no token"))?).map_err(away)?;
        token.set_sensitive(true);
        let fetched = tokio::time::timeout(self.timeout, self.fetch(id, &token)).await;
        fetched.unwrap_or_else(|_| Err(away(format!("no answer within {:?}", self.timeout))))
    }

    async fn fetch(&self, id: Uuid, token: &HeaderValue) -> Result<Vec<u8>, Failure> {
        let base = match &self.options.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => self.endpoint(token).await?,
        };
        let base = base.trim_end_matches('/');
        let secret = format!("{}/v1/secrets/{id}", base.strip_suffix("/v1").unwrap_or(base));
        let metadata = self.get(&secret, token, JSON, SECRET_BYTES_MAX).await?;
        let metadata: Metadata = serde_json::from_slice(&metadata).map_err(away)?;
        match metadata.secret_type.as_deref() {
            Some("certificate") => {}
            Some("symmetric" | "passphrase") => return Err(Failure::Other("RAW")),
            Some("public") => return Err(Failure::Other("SubjectPublicKeyInfo")),
            Some("private") => return Err(Failure::Other("PKCS8")),
            _ => return Err(Failure::Other("Opaque")),
        }
        let content_type =
            metadata.content_types.as_ref().and_then(|types| types.get("default")).and_then(Value::as_str);
        let accept = HeaderValue::try_from(content_type.unwrap_or("application/octet-stream")).map_err(away)?;
        self.get(&format!("{secret}/payload"), token, accept, SECRET_BYTES_MAX).await.map(Vec::from)
    }

    /// Where Barbican is, by the catalog of the token.
    async fn endpoint(&self, token: &HeaderValue) -> Result<String, Failure> {
        let keystone =
            self.options.keystone.as_deref().ok_or_else(|| away("neither its address nor Keystone's is known"))?;
        let catalog = self.get(&format!("{keystone}{CATALOG_PATH}"), token, JSON, CATALOG_BYTES_MAX).await;
        let catalog = catalog.map_err(|failure| away(format!("Keystone's catalog: {failure:?}")))?;
        let catalog = Catalog::parse(&catalog).map_err(away)?;
        let BarbicanOptions { interface, region, .. } = &self.options;
        let found = catalog.find("key-manager", interface, |endpoint| {
            region.as_ref().is_none_or(|wanted| endpoint.is_in(|region| region == wanted))
        });
        found.map(str::to_owned).ok_or_else(|| away("the catalog has no such endpoint of a key manager"))
    }

    async fn get(
        &self,
        url: &str,
        token: &HeaderValue,
        accept: HeaderValue,
        bytes_max: usize,
    ) -> Result<Bytes, Failure> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(url)
            .header(ACCEPT, accept)
            .header(USER_AGENT, concat!("vitrine/", env!("CARGO_PKG_VERSION")))
            .header(AUTH_TOKEN, token)
            .body(Empty::new())
            .map_err(away)?;
        let response = self.http.request(request).await.map_err(away)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Failure::Absent),
            status => return Err(away(format!("it answered {status}"))),
        }
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(away)
    }
}

fn away(cause: impl Display) -> Failure {
    Failure::Away(cause.to_string())
}
