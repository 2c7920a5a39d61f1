//! The head of a request: where it ends, what it says, and how its body is framed.
//!
//! Source: RFC 9110 and RFC 9112. Stricter than they allow wherever two parsers could read one message differently:
//! such a message is refused and its connection closed. [`Scanner`] finds the end of a head as bytes arrive, looking
//! at each byte once; [`parse`] reads a complete head.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Kind, Result};

/// Bounds of a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head.
    pub head_bytes_max: usize,
    /// Number of header fields, at most [`HEADER_COUNT_CEILING`].
    pub header_count_max: usize,
    /// Bytes of the request target.
    pub target_bytes_max: usize,
}

/// The largest number of header fields that can be configured: with those that the front door adds, as many as control's
/// HTTP library takes.
pub const HEADER_COUNT_CEILING: usize = 96;

/// Empty lines tolerated before a request, as robustness towards old clients asks for.
const LEADING_EMPTY_LINES_MAX: usize = 2;

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// `Content-Length`, bytes; never 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A request without its body.
#[derive(Debug, Clone)]
pub struct Head {
    /// As sent; methods are case-sensitive.
    pub method: String,
    /// Path of the target, still percent-encoded; `*` for `OPTIONS *`.
    pub path: String,
    /// Query of the target without the question mark.
    pub query: Option<String>,
    /// Header fields.
    pub headers: HeaderMap,
    /// Framing of what follows.
    pub body: Body,
    /// Whether the client wants to send further requests on the connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the client speaks HTTP/1.0: it gets no 1xx and no chunked answer.
    pub http_1_0: bool,
}

impl Head {
    /// The value of a header as text; `None` where it is absent or not ASCII.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The same by its lower-case name.
    pub fn header_named(&self, name: &'static str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `path?query`, as it was sent.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// Finds the end of a head.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scanner {
    /// Bytes looked at.
    scanned: usize,
    /// Where the current line begins.
    line: usize,
    /// Empty lines before the request line.
    leading: usize,
    /// Where the request line begins.
    start: usize,
    /// Whether a request line was seen.
    begun: bool,
}

impl Scanner {
    /// Whether any byte of a request has arrived.
    pub fn has_begun(&self) -> bool {
        self.scanned > 0
    }

    /// Looks at the bytes that arrived since the last call; `bytes` begins where it always began. `Some((start, end))`
    /// once the head is complete: `bytes[start..end]` is it.
    ///
    /// # Errors
    /// 400 for line ends other than CR LF and for control characters, 414 and 431 beyond `limits`.
    pub fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<(usize, usize)>> {
        while let Some(&byte) = bytes.get(self.scanned) {
            let after_cr = self.scanned > 0 && bytes[self.scanned - 1] == b'\r';
            if (byte == b'\n') != after_cr {
                return Err(Error::bad_request("Lines of a request end with CR LF."));
            }
            if byte == 0 {
                return Err(Error::bad_request("A request head holds a NUL."));
            }
            self.scanned += 1;
            if byte == b'\n' && self.end_of_line()? {
                return Ok(Some((self.start, self.scanned)));
            }
            self.check_size(limits)?;
        }
        Ok(None)
    }

    /// Whether the line that ends here is the empty one after the header fields.
    fn end_of_line(&mut self) -> Result<bool> {
        let empty = self.scanned - self.line == 2;
        self.line = self.scanned;
        if empty && self.begun {
            return Ok(true);
        }
        if empty {
            self.leading += 1;
            self.start = self.scanned;
            if self.leading > LEADING_EMPTY_LINES_MAX {
                return Err(Error::bad_request("Empty lines stand before the request."));
            }
        } else {
            self.begun = true;
        }
        Ok(false)
    }

    fn check_size(&self, limits: &Limits) -> Result<()> {
        if !self.begun && self.scanned - self.start > limits.target_bytes_max.saturating_add(REQUEST_LINE_REST) {
            let message = format!("The request target is longer than {} bytes.", limits.target_bytes_max);
            return Err(Error::new(Kind::UriTooLong, message));
        }
        if self.scanned - self.start > limits.head_bytes_max {
            let message = format!("The request head is longer than {} bytes.", limits.head_bytes_max);
            return Err(Error::new(Kind::HeadersTooLarge, message));
        }
        Ok(())
    }
}

/// Bytes of a request line beside its target: a method of at most 17 bytes, two spaces and the version.
const REQUEST_LINE_REST: usize = 17 + 2 + 8;

/// Reads the complete head `bytes`, as found by a [`Scanner`].
///
/// # Errors
/// 400 for what is malformed or ambiguous, 414 and 431 beyond `limits`, 417 for an unknown expectation, 501 for TRACE and
/// CONNECT, 505 for another version than HTTP/1.0 and 1.1. After any of them the connection must be closed.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Head> {
    let mut fields = [httparse::EMPTY_HEADER; HEADER_COUNT_CEILING];
    let count = limits.header_count_max.min(HEADER_COUNT_CEILING);
    let mut request = httparse::Request::new(&mut fields[..count]);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Error::bad_request("The request head is not complete.")),
        Err(problem) => return Err(syntax(problem, bytes, count)),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Error::bad_request("The request line is malformed."));
    };
    if target.len() > limits.target_bytes_max {
        let message = format!("The request target is longer than {} bytes.", limits.target_bytes_max);
        return Err(Error::new(Kind::UriTooLong, message));
    }
    if REFUSED_METHODS.contains(&method) {
        return Err(Error::new(Kind::NotImplemented, format!("The method {method} is not implemented.")));
    }
    let mut headers = collect(request.headers)?;
    let http_1_0 = version == 0;
    let (path, query) = split_target(method, target, &mut headers, http_1_0)?;
    Ok(Head {
        method: method.to_owned(),
        path,
        query,
        body: framing(&headers, http_1_0)?,
        keep_alive: !http_1_0 && !connection_says(&headers, "close"),
        expects_continue: expectation(&headers, http_1_0)?,
        http_1_0,
        headers,
    })
}

fn syntax(problem: httparse::Error, bytes: &[u8], count: usize) -> Error {
    match problem {
        httparse::Error::TooManyHeaders => {
            Error::new(Kind::HeadersTooLarge, format!("The request has more than {count} header fields."))
        }
        httparse::Error::Version if names_a_version(bytes) => {
            Error::new(Kind::VersionNotSupported, "This server speaks HTTP/1.1 and HTTP/1.0.")
        }
        problem => Error::bad_request(format!("The request head is malformed: {problem}.")),
    }
}

/// Whether the request line has three parts, the last of which looks like a version of HTTP.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ').skip(2);
    matches!((parts.next(), parts.next()), (Some(version), None) if version.starts_with(b"HTTP/"))
}

/// Headers that say one thing. Repeated, or with octets that only some readers take for text, they would let two readers
/// take two values.
const SINGLE: [HeaderName; 13] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::RANGE,
    header::CONTENT_RANGE,
    header::IF_RANGE,
    header::EXPECT,
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-service-token"),
    HeaderName::from_static("x-openstack-image-size"),
    HeaderName::from_static("x-image-meta-store"),
];

/// Methods that no resource of ours will ever have: one echoes what it is sent, the other asks for a tunnel.
const REFUSED_METHODS: [&str; 2] = ["TRACE", "CONNECT"];

fn collect(fields: &[httparse::Header<'_>]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| Error::bad_request("A header field has a malformed name."))?;
        let value = HeaderValue::from_bytes(field.value)
            .map_err(|_| Error::bad_request(format!("The header {name} has a malformed value.")))?;
        if SINGLE.contains(&name) {
            if headers.contains_key(&name) {
                return Err(Error::bad_request(format!("The header {name} is given more than once.")));
            }
            if value.to_str().is_err() {
                return Err(Error::bad_request(format!("The header {name} holds other octets than printable ASCII.")));
            }
        }
        headers.append(name, value);
    }
    Ok(headers)
}

/// Path and query. The host of an absolute target becomes the Host header where that is missing.
fn split_target(
    method: &str,
    target: &str,
    headers: &mut HeaderMap,
    http_1_0: bool,
) -> Result<(String, Option<String>)> {
    let host = headers.get(header::HOST).map(|value| value.to_str().unwrap_or(""));
    match host {
        None if !http_1_0 => return Err(Error::bad_request("An HTTP/1.1 request needs a Host header.")),
        Some(host) if !is_authority(host) => {
            return Err(Error::bad_request("The Host header is not a host with an optional port."));
        }
        _ => {}
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) || target.contains(['#', '\\']) {
        return Err(Error::bad_request("The request target holds a character that is not allowed there."));
    }
    if target == "*" {
        return match method {
            "OPTIONS" => Ok(("*".to_owned(), None)),
            _ => Err(Error::bad_request("The target * goes with OPTIONS only.")),
        };
    }
    let with_path;
    let origin = match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if !is_authority(authority) || host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
                return Err(Error::bad_request("The host of the target is not that of the Host header."));
            }
            if host.is_none()
                && let Ok(value) = HeaderValue::from_str(authority)
            {
                headers.insert(header::HOST, value);
            }
            if path.starts_with('/') {
                path
            } else {
                with_path = format!("/{path}");
                &with_path
            }
        }
        None => target,
    };
    if !origin.starts_with('/') {
        return Err(Error::bad_request("The request target is not a path."));
    }
    Ok(match origin.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (origin.to_owned(), None),
    })
}

/// A host name or address with an optional port: nothing that could be taken for user information or a path.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (address, after.strip_prefix(':').or(after.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
    let is_host = !host.is_empty() && (text.starts_with('[') || host.bytes().all(in_name));
    // The port may be empty; one with a sign, or beyond 65535, is none.
    let is_port =
        |port: &str| port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    is_host && port.is_some_and(is_port)
}

fn framing(headers: &HeaderMap, http_1_0: bool) -> Result<Body> {
    let length = headers.get(header::CONTENT_LENGTH);
    let Some(coding) = headers.get(header::TRANSFER_ENCODING) else {
        return length.map_or(Ok(Body::None), |value| content_length(value.as_bytes()));
    };
    if length.is_some() {
        return Err(Error::bad_request("Content-Length and Transfer-Encoding do not go together."));
    }
    if http_1_0 {
        return Err(Error::bad_request("HTTP/1.0 knows no Transfer-Encoding."));
    }
    if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err(Error::bad_request("The only Transfer-Encoding is chunked."));
    }
    Ok(Body::Chunked)
}

fn content_length(value: &[u8]) -> Result<Body> {
    let malformed = || Error::bad_request("Content-Length is not a decimal number of bytes.");
    let digits = std::str::from_utf8(value).map_err(|_| malformed())?.trim_matches([' ', '\t']);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    match digits.parse().map_err(|_| malformed())? {
        0 => Ok(Body::None),
        length => Ok(Body::Length(length)),
    }
}

fn expectation(headers: &HeaderMap, http_1_0: bool) -> Result<bool> {
    match headers.get(header::EXPECT) {
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(!http_1_0),
        Some(_) => Err(Error::new(Kind::ExpectationFailed, "The only expectation known is 100-continue.")),
        None => Ok(false),
    }
}

fn connection_says(headers: &HeaderMap, option: &str) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(option))
}

#[cfg(test)]
mod tests;
