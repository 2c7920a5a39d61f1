//! Responses that we make ourselves.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;

use common::Error;
use common::http::errors;
use common::time::Timestamp;
use http::StatusCode;

use super::extra;
use crate::io::Conn;

/// The head of a response in the making.
#[derive(Debug)]
pub(crate) struct ReplyHead {
    text: String,
}

impl ReplyHead {
    /// A head with the status line and `Date`.
    pub(crate) fn new(status: StatusCode) -> Self {
        let mut text = String::with_capacity(512);
        let reason = status.canonical_reason().unwrap_or("Unknown");
        let _ = write!(text, "HTTP/1.1 {} {reason}\r\nDate: ", status.as_u16());
        with_date(|date| text.push_str(date));
        text.push_str("\r\n");
        extra::write_lines(|lines| text.push_str(lines));
        ReplyHead { text }
    }

    /// Adds a header. Line ends in `value` would begin another header, so they are dropped.
    pub(crate) fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.text.push_str(name);
        self.text.push_str(": ");
        let _ = write!(Clean(&mut self.text), "{value}");
        self.text.push_str("\r\n");
        self
    }

    /// Adds `Connection: close` unless the connection is kept.
    pub(crate) fn connection(self, keep: bool) -> Self {
        if keep { self } else { self.header("Connection", "close") }
    }

    /// The bytes of the finished head.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.text.push_str("\r\n");
        self.text.into_bytes()
    }
}

/// Text without its control characters.
struct Clean<'a>(&'a mut String);

impl std::fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend(text.split(char::is_control));
        Ok(())
    }
}

/// How a response ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Whether the connection takes another request.
    pub(crate) keep: bool,
    /// Whether the body stays away, although its length is told: the answer to `HEAD`.
    pub(crate) head_only: bool,
}

impl Sent {
    /// A response with its body.
    pub(crate) fn whole(keep: bool) -> Self {
        Sent { keep, head_only: false }
    }
}

/// Sends `error` as Glance would: its shape follows `accept`. A request that was refused before it got an id has none.
pub(crate) async fn send_error(
    conn: &Conn,
    error: &Error,
    accept: Option<&str>,
    request_id: Option<&str>,
    sent: Sent,
) -> io::Result<()> {
    let (content_type, body) = errors::render(error, accept);
    let mut head =
        ReplyHead::new(error.status()).header("Content-Type", content_type).header("Content-Length", body.len());
    for (name, value) in &error.headers {
        head = head.header(name, value);
    }
    if let Some(id) = request_id {
        head = head.header("x-openstack-request-id", id);
    }
    let body = if sent.head_only { "" } else { &body };
    conn.send_parts(&[&head.connection(sent.keep).finish(), body.as_bytes()]).await
}

/// Whether a response with this status never has a body. A length of zero would be a second framing, which RFC 9110
/// (8.6) forbids.
pub(crate) fn is_bodiless(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Sends 204. As Glance does, it names a content type all the same.
pub(crate) async fn send_no_content(conn: &Conn, request_id: &str, keep: bool) -> io::Result<()> {
    let head = ReplyHead::new(StatusCode::NO_CONTENT)
        .header("Content-Type", "text/html; charset=UTF-8")
        .header("x-openstack-request-id", request_id)
        .connection(keep);
    conn.send_all(&head.finish()).await
}

/// Sends a small body of our own.
pub(crate) async fn send_text(
    conn: &Conn,
    status: StatusCode,
    content_type: &str,
    body: &[u8],
    sent: Sent,
) -> io::Result<()> {
    let head = ReplyHead::new(status)
        .header("Content-Type", content_type)
        .header("Content-Length", body.len())
        .connection(sent.keep);
    let body = if sent.head_only { &[] } else { body };
    conn.send_parts(&[&head.finish(), body]).await
}

/// Gives `read` the present date in the form of HTTP, written once a second and core.
fn with_date(read: impl FnOnce(&str)) {
    thread_local! {
        static DATE: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let now = Timestamp::now();
    DATE.with_borrow_mut(|(second, date)| {
        if *second != now.as_seconds() {
            *second = now.as_seconds();
            *date = now.to_http();
        }
        read(date);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_text_cannot_split_a_response() {
        let head = ReplyHead::new(StatusCode::NOT_FOUND).header("X", "a\r\nSet-Cookie: b\0").connection(false).finish();
        let text = String::from_utf8(head).expect("UTF-8");
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\nDate: "), "{text}");
        assert!(text.ends_with("X: aSet-Cookie: b\r\nConnection: close\r\n\r\n"), "{text}");
    }
}
