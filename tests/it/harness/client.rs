//! A small HTTP/1.1 client over a plain socket. It is strict about what the server sends, and lets a test send
//! anything.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long a test waits for bytes of the server before it fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// What one read from the socket takes at most, in bytes.
const READ: usize = 256 * 1024;

/// A reply, whole.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether `100 Continue` came before it.
    pub(crate) continued: bool,
}

impl Response {
    /// The value of a header, by its name in lower case; a header that must be single is checked to be so.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "header {name} stands twice in {self:?}");
        first
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The reply itself, if it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Response {
        assert!(self.status == status, "expected {status}, got {}: {}", self.status, self.text());
        self
    }
}

/// What a connection runs over: a socket, or TLS over one.
pub(crate) trait Stream: Read + Write + Send {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// One connection to a server.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    /// Received, not yet consumed.
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Connection {
        Connection::try_open(address).unwrap_or_else(|error| panic!("connecting to {address}: {error}"))
    }

    pub(crate) fn try_open(address: SocketAddr) -> io::Result<Connection> {
        Ok(Connection::over(socket(address)?))
    }

    /// A connection over a stream that is open already.
    pub(crate) fn over(stream: impl Stream + 'static) -> Connection {
        Connection { stream: Box::new(stream), buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// How long the next reads wait.
    pub(crate) fn patience(&mut self, limit: Duration) {
        self.stream.socket().set_read_timeout(Some(limit)).expect("a timeout above zero");
    }

    /// One read from the socket; `Ok(0)` at its end.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        let mut piece = vec![0; READ];
        let count = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// What was received and not consumed yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.buffer
    }

    /// Tells the server that nothing more is sent.
    pub(crate) fn finish_sending(&mut self) {
        let _ = self.stream.socket().shutdown(std::net::Shutdown::Write);
    }

    /// Whether the server closes the connection, without sending anything more, within `limit`.
    pub(crate) fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.patience(limit);
        match self.fill() {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }

    /// Sends a request with a body (none: no framing header) and reads the reply.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> io::Result<Response> {
        let mut bytes = head(method, path, headers, body.map(<[u8]>::len));
        bytes.extend_from_slice(body.unwrap_or_default());
        // A server may answer and close before it has read everything: then the answer is what counts.
        let sent = self.send(&bytes);
        match self.response(method) {
            Err(error) => Err(sent.err().unwrap_or(error)),
            reply => reply,
        }
    }

    /// Reads one reply to `method`. Everything that RFC 9112 forbids is an error.
    pub(crate) fn response(&mut self, method: &str) -> io::Result<Response> {
        let mut continued = false;
        loop {
            let mut reply = self.read_head()?;
            if reply.status == 100 {
                assert!(!continued, "100 Continue twice");
                continued = true;
                continue;
            }
            reply.continued = continued;
            reply.body = self.read_body(method, &reply)?;
            return Ok(reply);
        }
    }

    /// Reads the next head: a reply's, or that of an interim one.
    pub(crate) fn read_head(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            assert!(self.buffer.len() < 64 * 1024, "a head of the server without end");
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let text = String::from_utf8(self.buffer[..end].to_vec()).expect("a head in ASCII");
        self.buffer.drain(..end + 4);
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = status_of(first).unwrap_or_else(|| panic!("not a status line: {first:?}"));
        let headers = lines.map(header_of).collect();
        Ok(Response { status, headers, body: Vec::new(), continued: false })
    }

    fn read_body(&mut self, method: &str, reply: &Response) -> io::Result<Vec<u8>> {
        let length = reply.header("content-length");
        let coding = reply.header("transfer-encoding");
        assert!(length.is_none() || coding.is_none(), "two framings: {reply:?}");
        let is_bare = reply.status == 204 && length.is_some();
        assert!(!is_bare || super::server::is_foreign(), "a 204 with a length: {reply:?}");
        if method == "HEAD" || reply.status == 204 || reply.status == 304 {
            return Ok(Vec::new());
        }
        if let Some(coding) = coding {
            assert_eq!(coding, "chunked");
            return self.read_chunks();
        }
        if let Some(length) = length {
            let length: usize = length.parse().expect("a length in digits");
            return self.take(length);
        }
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Exactly `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            while find(&self.buffer, b"\r\n").is_none() {
                if self.fill()? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let end = find(&self.buffer, b"\r\n").expect("looked for above");
            let line = self.take(end + 2)?;
            let size = std::str::from_utf8(&line[..end]).expect("a chunk size in ASCII");
            let size = usize::from_str_radix(size, 16).expect("a chunk size in hex");
            let mut chunk = self.take(size + 2)?;
            assert!(chunk.ends_with(b"\r\n"), "a chunk without end");
            chunk.truncate(size);
            if size == 0 {
                return Ok(body);
            }
            body.append(&mut chunk);
        }
    }
}

/// A socket connected to `address`.
pub(crate) fn socket(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The head of a request as bytes. `Host` is added unless given; `length` adds `Content-Length`.
pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)], length: Option<usize>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text += "Host: localhost\r\n";
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    for (name, value) in super::server::extra_headers() {
        text += &format!("{name}: {value}\r\n");
    }
    if let Some(length) = length {
        text += &format!("Content-Length: {length}\r\n");
    }
    (text + "\r\n").into_bytes()
}

/// A body in chunks of these sizes, over and over, with its end.
pub(crate) fn chunked(data: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 8 + 64);
    let mut rest = data;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, more) = rest.split_at(rest.len().min(*size));
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
        rest = more;
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn status_of(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let (digits, _reason) = rest.split_once(' ')?;
    (digits.len() == 3).then(|| digits.parse().ok()).flatten()
}

fn header_of(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a header without colon: {line:?}"));
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    assert!(!name.is_empty() && name.chars().all(is_token), "a bad header name: {line:?}");
    assert!(!value.contains(|c: char| c.is_control() && c != '\t'), "a control character: {line:?}");
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

/// Where `needle` stands in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
