//! Responses.

use axum::body::Body;
use common::Error;
use common::http::errors;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

/// The media type of every document.
const JSON: &str = "application/json";

/// The media type that the original gives to responses without a body.
const NOTHING: &str = "text/html; charset=UTF-8";

/// A response before it is put on the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole body.
    pub(crate) body: String,
}

impl Reply {
    fn new(status: StatusCode, content_type: &'static str, body: String) -> Self {
        Reply { status, headers: vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))], body }
    }

    /// A document.
    pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Self {
        // Fails only for maps whose keys are no texts, which there are none of.
        Reply::new(status, JSON, serde_json::to_string(document).unwrap_or_default())
    }

    /// A document that is written already.
    pub(crate) fn json_text(document: &str) -> Self {
        Reply::new(StatusCode::OK, JSON, document.to_owned())
    }

    /// Words for people.
    pub(crate) fn text(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Self {
        Reply::new(status, content_type, body.into())
    }

    /// 204.
    pub(crate) fn no_content() -> Self {
        Reply::new(StatusCode::NO_CONTENT, NOTHING, String::new())
    }

    /// 202: something was begun.
    pub(crate) fn accepted() -> Self {
        Reply::new(StatusCode::ACCEPTED, NOTHING, String::new())
    }

    /// 200 without a word.
    pub(crate) fn done() -> Self {
        Reply::new(StatusCode::OK, NOTHING, String::new())
    }

    /// A response of nothing but a status.
    pub(crate) fn bare(status: StatusCode) -> Self {
        Reply { status, headers: Vec::new(), body: String::new() }
    }

    /// A failure, in the form that the client accepts.
    pub(crate) fn error(error: &Error, accept: Option<&str>) -> Self {
        let (content_type, body) = errors::render(error, accept);
        let mut reply = Reply::new(error.status(), content_type, body);
        for (name, value) in &error.headers {
            if let Ok(name) = HeaderName::try_from(name.as_str()) {
                reply = reply.header(name, value);
            }
        }
        reply
    }

    /// With one more header. A value that cannot stand in one is left out.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The response for the wire; `head`: without its body, and a refusal then with the type of nothing, as in the original.
    pub(crate) fn into_response(mut self, head: bool) -> Response<Body> {
        if head && (self.status.is_client_error() || self.status.is_server_error()) {
            self.headers.retain(|(name, _)| name != CONTENT_TYPE);
            self.headers.push((CONTENT_TYPE, HeaderValue::from_static(NOTHING)));
        }
        let body = if head { Body::empty() } else { Body::from(self.body) };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
    }
}
