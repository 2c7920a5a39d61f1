//! Image data of other servers, over HTTP and HTTPS.
//!
//! Users say from where, so nothing here is believed: control tells for each URL, redirects too, which addresses may be connected to;
//! nothing that is ours is sent along, and a user's token to the server only that it is meant for; and a failure says nothing of why, neither by its text nor by its time. Operators find why in
//! the log.

mod answer;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use common::http::range::ByteRange;
use common::identity::Token;
use common::outbound::{Scheme, Target};
use common::rpc::{Located, ToControl};
use http::StatusCode;
use rustix::io::Errno;

pub(crate) use self::answer::Answer;
pub(crate) use self::tls::TlsClient;
use crate::control_client::is_away;
use crate::http::body::BodyError;
use crate::http::response::{self, Fields};
use crate::io::{Conn, are_descriptors_scarce, sleep, timeout};
use crate::shard::Shard;
use crate::store::StoreError;

/// The pause between two questions to control while it is away.
const CONTROL_PAUSE: Duration = Duration::from_millis(50);

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// Longest wait for one of a host's addresses, while there are others.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of the largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Answers before the answer (100, 103) that are passed over.
const INTERIM_MAX: usize = 8;

/// Receives that a head may come in: each has it read from its beginning.
const HEAD_RECEIVES_MAX: usize = 256;

/// Bytes received at a time while a head is read.
const RECEIVE_BYTES: usize = 16 * 1024;

/// Why there is no answer: for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Control does not let it pass.
    #[error("control does not allow it: {0}")]
    Refused(#[from] common::Error),
    /// It is no URL.
    #[error("{0}")]
    Malformed(#[from] common::outbound::MalformedUrl),
    /// From https to http.
    #[error("a redirect leads from https to http")]
    Downgrade,
    /// More than [`REDIRECTS_MAX`].
    #[error("more than {REDIRECTS_MAX} redirects")]
    Redirects,
    /// The server does not have it.
    #[error("the server answers {0}")]
    Status(StatusCode),
    /// The connection, or what came over it.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// There is no TLS with the server.
    #[error("no TLS: {0}")]
    Tls(String),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
}

impl From<FetchError> for StoreError {
    /// What a store is to its image that has no other answer.
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Status(StatusCode::NOT_FOUND | StatusCode::GONE) => StoreError::NotFound,
            FetchError::Refused(error) if is_away(&error) => StoreError::Exhausted(io::Error::other(error)),
            FetchError::Broken(error) => match StoreError::from(error) {
                StoreError::Exhausted(error) => StoreError::Exhausted(error),
                other => StoreError::Away(other.to_string()),
            },
            error => StoreError::Away(error.to_string()),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Where it lies.
    pub(crate) url: &'a str,
    /// A range of it; `None`: all.
    pub(crate) range: Option<ByteRange>,
    /// Sent along as `X-Auth-Token`, to the server of `url` and to none that it sends us on to.
    pub(crate) token: Option<&'a Token>,
}

impl<'a> Wanted<'a> {
    /// All of what lies at `url`, for anybody.
    pub(crate) fn all(url: &'a str) -> Self {
        Wanted { url, range: None, token: None }
    }
}

/// Asks for what is wanted, and reads the head of the answer.
///
/// # Errors
/// [`FetchError`], after the same time whatever the reason.
pub(crate) async fn get(shard: &Shard, wanted: Wanted<'_>) -> Result<Answer, FetchError> {
    same_time(shard, follow(shard, wanted)).await
}

/// Asks for a document of at most `bytes_max` bytes, and reads it.
///
/// # Errors
/// [`FetchError`], as [`get`].
pub(crate) async fn document(shard: &Shard, wanted: Wanted<'_>, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    let read = async {
        let mut answer = follow(shard, wanted).await?;
        let rest = answer.take_rest();
        let (mut input, mut body) = answer.read(rest);
        body.collect(&mut input, bytes_max, &shard.large_bodies).await.map_err(|error| match error {
            BodyError::Malformed(error) => response::malformed(&error.message).into(),
            BodyError::Lost(error) => FetchError::Broken(error),
        })
    };
    same_time(shard, read).await
}

/// What `work` comes to; a failure comes after the same time whatever the reason.
async fn same_time<T>(shard: &Shard, work: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
    let begun = Instant::now();
    if are_descriptors_scarce() {
        return Err(io::Error::from(Errno::MFILE).into());
    }
    let limit = shard.config.dataplane.fetch_answer_timeout;
    let answer = timeout(limit, work).await.unwrap_or(Err(FetchError::TimedOut));
    if answer.is_err() {
        sleep(limit.saturating_sub(begun.elapsed())).await;
    }
    answer
}

async fn follow(shard: &Shard, wanted: Wanted<'_>) -> Result<Answer, FetchError> {
    let Wanted { url, range, mut token } = wanted;
    let meant_for = Target::parse(url)?;
    let mut url = url.to_owned();
    let mut secure = false;
    let begun = Instant::now();
    for _ in 0..=REDIRECTS_MAX {
        let target = Target::parse(&url)?;
        if secure && target.scheme == Scheme::Http {
            return Err(FetchError::Downgrade);
        }
        secure |= target.scheme == Scheme::Https;
        let Located { addresses } = locate(shard, url, begun).await?;
        let conn = connect(shard, &target, &addresses).await?;
        // Whoever sends us back to where it was meant for gets nothing by that.
        token = token.filter(|_| target.is_same_origin(&meant_for));
        conn.send_all(request_head(&target, range, token)?.as_bytes()).await?;
        let (status, fields, rest) = read_head(&conn).await?;
        match status {
            StatusCode::OK => {
                let answer = Answer::whole(conn, &fields, rest)?;
                // Without a length nobody knows whether the end is the end, or somebody's on the way.
                if target.scheme == Scheme::Https && !answer.tells_its_end() {
                    return Err(response::malformed("an answer without a length over TLS").into());
                }
                return Ok(answer);
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = range.ok_or(FetchError::Status(status))?;
                return Ok(Answer::of_range(conn, &fields, rest, range)?);
            }
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {
                let location = response::value(&fields, "location").and_then(|value| std::str::from_utf8(value).ok());
                url = target.join(location.ok_or(FetchError::Status(status))?);
            }
            status => return Err(FetchError::Status(status)),
        }
    }
    Err(FetchError::Redirects)
}

/// Where a URL leads to, by control. One that is being replaced is waited for, as long as half of the time for an answer, which `begun`
/// then, is left: its absence is not to be taken for the server's silence.
async fn locate(shard: &Shard, url: String, begun: Instant) -> Result<Located, common::Error> {
    let patience = shard.config.dataplane.fetch_answer_timeout / 2;
    loop {
        match shard.control.call(ToControl::Locate { url: url.clone() }).await {
            Err(error) if is_away(&error) && begun.elapsed() < patience => sleep(CONTROL_PAUSE).await,
            located => return located,
        }
    }
}

/// A connection to the first of the addresses that takes one.
async fn connect(shard: &Shard, target: &Target, addresses: &[IpAddr]) -> Result<Conn, FetchError> {
    let mut failed = FetchError::TimedOut;
    for address in addresses {
        match connect_to(shard, target, SocketAddr::new(*address, target.port)).await {
            Ok(conn) => return Ok(conn),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn connect_to(shard: &Shard, target: &Target, address: SocketAddr) -> Result<Conn, FetchError> {
    let conn = Conn::connect_tcp(address, CONNECT_TIMEOUT).await?;
    match target.scheme {
        Scheme::Http => Ok(conn),
        Scheme::Https => shard.shared.tls_client.secure(conn, &target.host, CONNECT_TIMEOUT).await,
    }
}

/// As little as will do. The data is wanted as it is, on a connection of its own.
///
/// # Errors
/// A token that cannot stand in a head.
fn request_head(target: &Target, range: Option<ByteRange>, token: Option<&Token>) -> Result<String, FetchError> {
    let token = match token.map(Token::expose) {
        None => String::new(),
        Some(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => format!("X-Auth-Token: {token}\r\n"),
        Some(_) => return Err(response::malformed("a token that cannot be sent").into()),
    };
    let range = range.map_or_else(String::new, |range| format!("Range: bytes={}-{}\r\n", range.start, range.end - 1));
    Ok(format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: vitrine/{}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\
         {token}{range}Connection: close\r\n\r\n",
        target.path,
        target.authority(),
        env!("CARGO_PKG_VERSION")
    ))
}

async fn read_head(conn: &Conn) -> io::Result<(StatusCode, Fields, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(RECEIVE_BYTES);
    let (mut interim, mut receives) = (0, 0);
    loop {
        match response::parse(&bytes)? {
            Some((status, _, used)) if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS => {
                bytes.drain(..used);
                interim += 1;
                if interim > INTERIM_MAX {
                    return Err(response::malformed("too many interim answers"));
                }
                continue;
            }
            Some((status, fields, used)) => {
                bytes.drain(..used);
                return Ok((status, fields, bytes));
            }
            None if bytes.len() > HEAD_BYTES_MAX => return Err(response::malformed("the head is too long")),
            None => {}
        }
        receives += 1;
        if receives > HEAD_RECEIVES_MAX {
            return Err(response::malformed("the head comes in too many pieces"));
        }
        bytes.reserve(RECEIVE_BYTES);
        let result;
        (result, bytes) = conn.recv(bytes).await;
        if result? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
