//! Everything that is not image data: handed to control as it came, and control's answer handed back.

use std::borrow::Cow;
use std::io;

use common::error::Kind;
use common::http::head::{Body as Framing, Head};
use common::rpc;
use common::{Error, Result};
use http::header;

use crate::connection::proof;
use crate::control_client::{Answer, Response};
use crate::http::body::{Body, BodyError};
use crate::http::input::Input;
use crate::http::reply::{self, ReplyHead};
use crate::io::timeout;
use crate::shard::Shard;

/// Headers that end at this hop, or that we write ourselves.
const NOT_FORWARDED: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "expect",
];

/// Headers by which an authenticating proxy would tell who the caller is. We are the first to look: a client's own are
/// dropped, in every mode.
fn claims_identity(name: &str) -> bool {
    const PREFIXES: [&str; 9] = [
        "x-identity-",
        "x-user",
        "x-project",
        "x-tenant",
        "x-role",
        "x-service-",
        "x-domain",
        "x-is-admin",
        "x-system-",
    ];
    name != "x-service-token" && PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a client's header is passed on to control.
fn is_forwarded(name: &str) -> bool {
    // A header with an underscore could be taken for the dashed one by a careless reader behind us.
    !name.contains('_')
        && !NOT_FORWARDED.contains(&name)
        && !claims_identity(name)
        && name != "x-openstack-request-id"
        && name != rpc::FORWARDED_FOR
}

/// Receives the whole body of a request that has one.
///
/// # Errors
/// 400, 413 and 415 for the body, 401 where the client waits to be told to send it and is not known, 408.
pub(crate) async fn receive(
    shard: &Shard,
    head: &Head,
    input: &mut Input<'_>,
    body: &mut Body,
) -> Result<Vec<u8>, Failure> {
    let limits = &shard.config.dataplane;
    body.check_announced(limits.metadata_body_bytes_max)?;
    if !has_plain_body(head) {
        let message = "The request body has a Content-Encoding. Send it as it is.";
        return Err(Error::new(Kind::UnsupportedMedia, message).into());
    }
    if head.expects_continue {
        // Who is not known here is told so before the body is sent.
        shard.identities.identify(proof(head), &shard.control).await?;
        input.conn().send_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(Failure::Lost)?;
    }
    let collected = body.collect(input, limits.metadata_body_bytes_max, &shard.large_bodies);
    // The deadline is for all of it: one that arrives byte by byte holds its connection no longer.
    let content =
        timeout(limits.head_timeout, collected).await.map_err(|elapsed| BodyError::Lost(elapsed.into()))??;
    Ok(content)
}

/// Sends the request with its whole body to control and reads the head of the answer.
///
/// # Errors
/// 503 when control is away.
pub(crate) async fn ask(
    shard: &Shard,
    head: &Head,
    request_id: &str,
    input: &Input<'_>,
    content: &[u8],
) -> Result<Response, Failure> {
    let text = request_head(head, request_id, input, content.len());
    let answer = if head.method == "HEAD" { Answer::HeadOnly } else { Answer::WithBody };
    Ok(shard.control.exchange(&text, content, answer).await?)
}

/// Whether the body is what it says, not something packed that nobody behind us would unpack.
fn has_plain_body(head: &Head) -> bool {
    head.headers.get(header::CONTENT_ENCODING).is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Why a forwarded request has no answer of control.
#[derive(Debug)]
pub(crate) enum Failure {
    /// We answer this.
    Answer(Error),
    /// The client is gone.
    Lost(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Answer(error)
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Malformed(error) => Failure::Answer(error),
            BodyError::Lost(error) if error.kind() == io::ErrorKind::TimedOut => {
                Failure::Answer(Error::new(Kind::RequestTimeout, "The request body took too long."))
            }
            BodyError::Lost(error) => Failure::Lost(error),
        }
    }
}

fn request_head(head: &Head, request_id: &str, input: &Input<'_>, length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(format!("{} {} HTTP/1.1\r\n", head.method, escaped(&head.target())).as_bytes());
    if !head.headers.contains_key(header::HOST) {
        text.extend_from_slice(b"host: localhost\r\n");
    }
    for (name, value) in head.headers.iter().filter(|(name, _)| is_forwarded(name.as_str())) {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    let client = input.conn().peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
    let framing = match head.body {
        // Whether there was a body matters to control, also when it turned out to be empty.
        Framing::None if !head.headers.contains_key(header::CONTENT_LENGTH) => String::new(),
        _ => format!("content-length: {length}\r\n"),
    };
    let ours = format!("x-openstack-request-id: {request_id}\r\n{}: {client}\r\n{framing}\r\n", rpc::FORWARDED_FOR);
    text.extend_from_slice(ours.as_bytes());
    text
}

/// `target` with those characters as escapes that URIs do not have and clients send all the same: control's HTTP library
/// refuses them. They mean the same.
fn escaped(target: &str) -> Cow<'_, str> {
    if !target.contains(NOT_IN_URIS) {
        return Cow::Borrowed(target);
    }
    let mut text = String::with_capacity(target.len() + 16);
    for c in target.chars() {
        match NOT_IN_URIS.contains(&c) {
            true => text.push_str(&format!("%{:02X}", u32::from(c))),
            false => text.push(c),
        }
    }
    Cow::Owned(text)
}

/// Printable characters that RFC 3986 leaves out.
const NOT_IN_URIS: [char; 8] = ['"', '<', '>', '^', '`', '{', '|', '}'];

/// Sends control's answer to the client. One of ordinary size was received whole by then ([`ControlClient::exchange`]),
/// so that a client that reads slowly holds no connection to control.
///
/// [`ControlClient::exchange`]: crate::control_client::ControlClient::exchange
///
/// # Errors
/// When either side breaks; the connection is closed then, and the client sees that the answer is not whole.
pub(crate) async fn relay(shard: &Shard, mut response: Response, input: &Input<'_>, keep: bool) -> io::Result<()> {
    let mut head = ReplyHead::new(response.status);
    for (name, value) in &response.headers {
        head = head.header(name, String::from_utf8_lossy(value));
    }
    if !reply::is_bodiless(response.status) {
        // To HEAD there is no body, and control says so with a length of 0.
        head = head.header("content-length", response.length());
    }
    let head = head.connection(keep).finish();
    let first = std::mem::take(&mut response.begun);
    shard.control.release(&mut response);
    input.conn().send_parts(&[&head, &first]).await?;
    while let Some(bytes) = timeout(shard.config.control.rpc_timeout, response.receive()).await?? {
        input.conn().send_all(&bytes).await?;
    }
    shard.control.release(&mut response);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_never_taken_from_a_client() {
        for name in [
            "x-identity-status",
            "x-service-identity-status",
            "x-user-id",
            "x-user",
            "x-user-domain-id",
            "x-project-id",
            "x-tenant-id",
            "x-tenant",
            "x-roles",
            "x-role",
            "x-service-roles",
            "x-service-catalog",
            "x-domain-id",
            "x-is-admin-project",
            "x-system-scope",
            "x_roles",
            "x-vitrine-client",
            "x-openstack-request-id",
        ] {
            assert!(!is_forwarded(name), "{name}");
        }
        for name in ["x-auth-token", "x-service-token", "accept", "content-type", "host", "x-image-meta-store"] {
            assert!(is_forwarded(name), "{name}");
        }
    }
}
