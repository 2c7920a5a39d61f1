//! A client's connection: request after request until one of us ends it.

use std::io;
use std::rc::Rc;

use common::Error;
use common::browser::Visit;
use common::config::Dataplane;
use common::error::Kind;
use common::http::head::{Body as Framing, Head, Limits};
use common::http::routes::{self, Resolution, Route};
use common::identity::Proof;
use common::rpc::UploadTarget;
use http::header;

use crate::boot::take_over;
use crate::forward::{self, Failure};
use crate::futures::{Either, race};
use crate::http::body::Body;
use crate::http::extra::with_lines;
use crate::http::input::{Input, NoRequest, Patience};
use crate::http::reply::{self, Sent};
use crate::http::request_id;
use crate::io::{Conn, SendPatience, are_descriptors_scarce};
use crate::places::Place;
use crate::shard::Shard;
use crate::spread::{Begun, Claim, Download, Moving};
use crate::store::exhausted;
use crate::transfer::{download, upload};

/// A request on its way through the data plane.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Its head.
    pub(crate) head: &'a Head,
    /// Under which it is logged and answered.
    pub(crate) id: String,
    /// Whether the connection may take another request afterwards.
    pub(crate) keep: bool,
}

impl Request<'_> {
    /// `Accept`, which shapes error bodies.
    pub(crate) fn accept(&self) -> Option<&str> {
        self.head.header(&http::header::ACCEPT)
    }

    /// The caller's tokens.
    pub(crate) fn proof(&self) -> Proof {
        proof(self.head)
    }
}

/// The tokens that came with a request.
pub(crate) fn proof(head: &Head) -> Proof {
    Proof {
        token: head.header_named("x-auth-token").map(str::to_owned),
        service_token: head.header_named("x-service-token").map(str::to_owned),
    }
}

/// Stands for a header's value that is no text; no name and no origin that could be allowed.
const NOT_TEXT: &str = "not.text";

/// Stands for the status of a request whose connection broke before its answer was whole.
const CUT: u16 = 0;

/// How a request was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    /// The status that was sent.
    pub(crate) status: u16,
    /// Whether another request may follow on the connection.
    pub(crate) keep: bool,
}

/// Serves the connection that has `place` to its end, or until it moves to another core. `begun`: its first request, if that was
/// read elsewhere.
pub(crate) async fn serve(shard: Rc<Shard>, place: Place, claim: Claim, begun: Option<Box<Begun>>) {
    let connected = shard.metrics.connection();
    let Some((core, begun)) = serve_here(&shard, &place, &claim, begun).await else { return };
    drop(connected);
    let Some(conn) = place.leave() else { return };
    match conn.detach() {
        Ok(conn) => match shard.shared.spread.send(Moving { conn, claim: core, begun: Some(begun) }) {
            Ok(()) => shard.metrics.moved(),
            Err(moving) => take_over(&shard, moving),
        },
        Err(error) => tracing::debug!("a connection is lost on its way to another core: {error}"),
    }
}

/// The same; returns where it moves, and the request that is to be answered there.
async fn serve_here(
    shard: &Rc<Shard>,
    place: &Place,
    claim: &Claim,
    begun: Option<Box<Begun>>,
) -> Option<(Claim, Box<Begun>)> {
    let conn = place.conn();
    if let Some(patience) = send_patience(&shard.config.dataplane) {
        conn.set_send_patience(patience);
    }
    let limits = limits(shard);
    let patience = Patience { idle: shard.config.dataplane.idle_timeout, head: shard.config.dataplane.head_timeout };
    let was_moved = begun.is_some();
    let (mut input, mut first) = match begun {
        Some(begun) => {
            place.end_waiting();
            (Input::with(conn, begun.rest), Some((begun.head, begun.download)))
        }
        None => (Input::new(conn), None),
    };
    loop {
        // Counted until it is answered.
        let mut download = None;
        let next = match first.take() {
            Some((head, counted)) => {
                download = counted;
                Some(Ok(head))
            }
            None => {
                let next = place.while_waiting(next_request(shard, &mut input, &limits, patience)).await.flatten();
                if let Some(Ok(head)) = &next {
                    let (core, counted) = whereabouts(shard, conn, claim, was_moved, head);
                    if let Some(core) = core
                        && let Some(Ok(head)) = next
                    {
                        return Some((core, Box::new(Begun { head, rest: input.into_rest(), download: counted })));
                    }
                    download = counted;
                }
                next
            }
        };
        let answered = match next? {
            Ok(head) => match admit(shard, place, &head, &mut input).await {
                Ok(answered) => answered,
                Err(error) => {
                    tracing::debug!("connection of {:?} lost: {error}", conn.peer_addr());
                    conn.abort();
                    return None;
                }
            },
            Err(error) => refuse(shard, conn, &error).await,
        };
        drop(download);
        if !answered.keep {
            input.linger().await;
            return None;
        }
    }
}

/// The core that is to answer a request for image data, if that is another one; and what counts it, if it is for a whole image.
/// `was_moved`: the connection came from another core with a request.
fn whereabouts(
    shard: &Shard,
    conn: &Conn,
    claim: &Claim,
    was_moved: bool,
    head: &Head,
) -> (Option<Claim>, Option<Download>) {
    if head.method != "GET" || !head.path.ends_with("/file") {
        return (None, None);
    }
    // A move takes one descriptor more for a moment.
    let may_move = !shard.draining.get() && !are_descriptors_scarce();
    let spread = &shard.shared.spread;
    // Asked for where it matters: it is a system call.
    let cpu = |matters: bool| if matters { conn.incoming_cpu() } else { None };
    if head.headers.contains_key(header::RANGE) {
        return (cpu(may_move).and_then(|cpu| spread.follow(claim, cpu)), None);
    }
    // Who was moved because there were too many stays there when there are not: short downloads would go to and fro.
    let (core, download) = spread.download(shard.index, cpu(may_move && !was_moved), may_move);
    (core, Some(download))
}

/// The next request, or what is wrong with it; `None` once the connection is over.
async fn next_request(
    shard: &Shard,
    input: &mut Input<'_>,
    limits: &Limits,
    patience: Patience,
) -> Option<Result<Head, Error>> {
    if shard.draining.get() && input.bytes().is_empty() {
        return None;
    }
    let drained = async {
        while !shard.draining.get() {
            shard.changed.wait().await;
        }
    };
    match race(input.next(limits, patience), drained).await {
        Either::First(Ok(head)) => Some(Ok(head)),
        Either::First(Err(NoRequest::Refused(error))) => Some(Err(error)),
        Either::First(Err(NoRequest::Ended)) | Either::Second(()) => None,
    }
}

/// Bytes of the longest target that control's HTTP library takes, also when every third is written as an escape.
const TARGET_BYTES_CEILING: usize = u16::MAX as usize / 3;

/// How long clients may take for what they are sent; `None`: for ever.
fn send_patience(config: &Dataplane) -> Option<SendPatience> {
    let stall = config.send_stall;
    let bytes_min = config.send_min_rate_bytes_per_second.saturating_mul(stall.as_secs());
    (!stall.is_zero()).then_some(SendPatience { stall, bytes_min })
}

pub(crate) fn limits(shard: &Shard) -> Limits {
    let config = &shard.config.dataplane;
    Limits {
        head_bytes_max: config.request_head_bytes_max,
        header_count_max: config.request_header_count_max,
        // A target may fill half of the head: the rest is for the headers.
        target_bytes_max: (config.request_head_bytes_max / 2).min(TARGET_BYTES_CEILING),
    }
}

/// Answers what is not a request; the connection cannot be trusted afterwards.
async fn refuse(shard: &Shard, conn: &Conn, error: &Error) -> Answered {
    let status = error.status().as_u16();
    shard.metrics.request(None, status);
    let id = request_id::new();
    tracing::debug!(request_id = id, "not a request from {:?}: {error}", conn.peer_addr());
    let _ = reply::send_error(conn, error, None, Some(&id), Sent::whole(false)).await;
    Answered { status, keep: false }
}

/// Answers a request, unless it comes from a web page that may not send it.
async fn admit(shard: &Shard, place: &Place, head: &Head, input: &mut Input<'_>) -> io::Result<Answered> {
    // What is there and no text must not pass for absent.
    let text = |name| head.headers.get(name).map(|value| value.to_str().unwrap_or(NOT_TEXT));
    let visit = Visit {
        method: &head.method,
        host: text(header::HOST),
        origin: text(header::ORIGIN),
        wanted_method: text(header::ACCESS_CONTROL_REQUEST_METHOD),
        wanted_headers: text(header::ACCESS_CONTROL_REQUEST_HEADERS),
    };
    match shard.shared.doorkeeper.admit(&visit) {
        Ok(lines) => with_lines(lines, answer(shard, place, head, input)).await,
        Err(error) => {
            let request =
                Request { id: request_id::of(head, shard.config.api.request_id_length_max), keep: false, head };
            tracing::debug!(request_id = request.id, host = visit.host, origin = visit.origin, "refused: {error}");
            shard.metrics.request(None, error.status().as_u16());
            answer_error(&request, input.conn(), &error, &Body::new(head.body)).await
        }
    }
}

async fn answer(shard: &Shard, place: &Place, head: &Head, input: &mut Input<'_>) -> io::Result<Answered> {
    let request = Request {
        id: request_id::of(head, shard.config.api.request_id_length_max),
        keep: head.keep_alive && shard.config.dataplane.http_keepalive && !shard.draining.get(),
        head,
    };
    let resolution = routes::resolve(&head.method, &head.path, request.accept(), shard.offered);
    let mut body = Body::new(head.body);
    let outcome = match &resolution {
        // A download finds that out with the file that it opens first.
        Resolution::Found(Route::UploadImage | Route::StageImage, _) if are_descriptors_scarce() => {
            answer_error(&request, input.conn(), &exhausted(), &body).await
        }
        Resolution::Found(Route::DownloadImage, params) => {
            // On the heap: a connection that waits for a request does not hold room for a transfer.
            Box::pin(download::answer(shard, &request, image_of(params), input, &mut body)).await
        }
        Resolution::Found(route @ (Route::UploadImage | Route::StageImage), params) => {
            let target = match route {
                Route::StageImage => UploadTarget::Staging,
                _ => UploadTarget::Store,
            };
            match place.while_waiting(shard.upload_turns.acquire()).await {
                Some(_turn) => {
                    let what = (image_of(params), target);
                    Box::pin(upload::answer(shard, &request, what, input, &mut body)).await
                }
                None => Err(gave_way()),
            }
        }
        Resolution::Undecodable => {
            answer_error(&request, input.conn(), &Error::bad_request("The path is not UTF-8."), &body).await
        }
        _ => Box::pin(forwarded(shard, place, &request, input, &mut body)).await,
    };
    let route = match resolution {
        Resolution::Found(route, _) => Some(route),
        Resolution::WrongMethod { .. } | Resolution::NotFound | Resolution::Undecodable => None,
    };
    shard.metrics.request(route, outcome.as_ref().map_or(CUT, |answered| answered.status));
    let answered = outcome?;
    Ok(Answered { keep: answered.keep && body.is_done(), ..answered })
}

/// The value of `{image}`, which all routes of image data have.
fn image_of(params: &[String]) -> &str {
    params.first().map_or("", String::as_str)
}

/// The end of a connection whose place another has.
fn gave_way() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

async fn forwarded(
    shard: &Shard,
    place: &Place,
    request: &Request<'_>,
    input: &mut Input<'_>,
    body: &mut Body,
) -> io::Result<Answered> {
    // Until its body is here, a request is no more than a wish.
    let received = match request.head.body {
        Framing::None => Some(Ok(Vec::new())),
        _ => place.while_waiting(forward::receive(shard, request.head, input, body)).await,
    };
    let asked = match received {
        Some(Ok(content)) => forward::ask(shard, request.head, &request.id, input, &content).await,
        Some(Err(failure)) => Err(failure),
        None => return Err(gave_way()),
    };
    match asked {
        Ok(response) => {
            let status = response.status.as_u16();
            forward::relay(shard, response, input, request.keep).await?;
            Ok(Answered { status, keep: request.keep })
        }
        Err(Failure::Answer(error)) => answer_error(request, input.conn(), &error, body).await,
        Err(Failure::Lost(error)) => Err(error),
    }
}

/// Answers `error`; the connection is kept only if nothing of the request is left on it.
pub(crate) async fn answer_error(
    request: &Request<'_>,
    conn: &Conn,
    error: &Error,
    body: &Body,
) -> io::Result<Answered> {
    if let (Kind::Internal | Kind::Unavailable, Some(cause)) = (error.kind, &error.cause) {
        tracing::error!(request_id = request.id, "{}: {cause}", error.message);
    }
    let keep = request.keep && body.is_done();
    // A 401 comes from the layer in front of the one that gives requests their id.
    let id = (error.kind != Kind::Unauthenticated).then_some(request.id.as_str());
    let sent = Sent { keep, head_only: request.head.method == "HEAD" };
    reply::send_error(conn, error, request.accept(), id, sent).await?;
    Ok(Answered { status: error.status().as_u16(), keep })
}
