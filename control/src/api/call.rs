//! One request on its way to a handler.

use std::sync::Arc;

use common::config::Config;
use common::http::query;
use common::identity::Identity;
use common::{Error, Result};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::request::Parts;
use serde_json::Value;

use super::Api;
use crate::app::App;

/// An authenticated request with its decoded path.
pub(crate) struct Call<'a> {
    /// What it works with.
    pub(crate) api: &'a Arc<Api>,
    /// Who sends it.
    pub(crate) caller: &'a Identity,
    /// Its head.
    pub(crate) parts: &'a Parts,
    /// The variables of its path, in order.
    pub(crate) params: &'a [String],
    /// Its body.
    pub(crate) body: &'a [u8],
}

impl Call<'_> {
    /// The application.
    pub(crate) fn app(&self) -> &App {
        &self.api.app
    }

    /// Variable number `index` of the path.
    ///
    /// # Errors
    /// 500 if the route has no such variable.
    pub(crate) fn param(&self, index: usize) -> Result<String> {
        self.params.get(index).cloned().ok_or_else(|| Error::internal(format!("the route has no variable {index}")))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// 400 without a body, for what is not JSON, and for a JSON value that is neither object nor list.
    pub(crate) fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Err(Error::bad_request("Body expected in request."));
        }
        // Depth is bounded by the parser, which refuses what nests deeper than 128 levels.
        match serde_json::from_slice(self.body) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
            Ok(_) => Err(Error::bad_request("Unexpected body type. Expected list/dict.")),
            Err(error) => Err(Error::bad_request("Malformed JSON in request body.").caused_by(error)),
        }
    }

    /// Refuses a body where none belongs.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn refuse_body(&self) -> Result<()> {
        if self.body.is_empty() {
            return Ok(());
        }
        Err(Error::bad_request("A body is not expected with this request."))
    }

    /// The parameters of the query.
    ///
    /// # Errors
    /// 400 if one does not decode to UTF-8.
    pub(crate) fn query(&self) -> Result<Vec<(String, String)>> {
        query::parse_query(self.parts.uri.query().unwrap_or(""))
            .ok_or_else(|| Error::bad_request("The query is not UTF-8."))
    }

    /// `Content-Type`.
    pub(crate) fn content_type(&self) -> Option<&str> {
        self.parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }
}

/// `Accept`.
pub(crate) fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok())
}

/// `http://host:port`, or `https:` where clients are served over TLS, as the client sees this server.
pub(crate) fn base_url(headers: &HeaderMap, config: &Config) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let trusted = |name: &str| if config.api.trust_proxy_headers { text(name) } else { None };
    let first = |value: &str| value.split(',').next().unwrap_or("").trim().to_owned();
    let host = trusted("x-forwarded-host")
        .map(first)
        .or_else(|| text(HOST.as_str()).map(str::to_owned))
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| config.listen.api.to_string());
    let scheme = match trusted("x-forwarded-proto").map(first).as_deref() {
        Some("https") => "https",
        None if config.dataplane.tls.is_some() => "https",
        _ => "http",
    };
    format!("{scheme}://{host}")
}
