//! `GET /v2/images/{image}/file`: decide, find the data, let the kernel send it.
//!
//! Nothing is decided after the first byte has left: a failure from then on breaks the connection, so that the client
//! sees that its image is not whole.

use std::cmp::Reverse;
use std::io;
use std::ops::Range;
use std::time::Instant;

use common::access::find_visible;
use common::config::{StoreConfig, Stores};
use common::http::conditional::{self, Verdict};
use common::http::range::{self, ByteRange};
use common::http::{head, query};
use common::identity::Identity;
use common::model::{Image, Location, Status};
use common::{Error, Result};
use http::{StatusCode, header};

use super::path::{self, Choice, Facts};
use super::relay;
use crate::connection::{Answered, Request, answer_error};
use crate::http::body::Body;
use crate::http::input::Input;
use crate::http::reply::ReplyHead;
use crate::io::{Conn, Progress, send_file};
use crate::metrics::{Direction, Path};
use crate::shard::Shard;
use crate::store::{Source, Store, StoreError};

/// What a download comes to.
enum Decision<'a> {
    /// Send this.
    Data(Box<Delivery<'a>>),
    /// The client has the data already, which goes by this entity tag.
    Unchanged(Option<String>),
    /// The image has no data.
    Empty,
}

/// Data that is ready to be sent.
struct Delivery<'a> {
    store: &'a Store,
    source: Source,
    size: u64,
    range: Option<ByteRange>,
    checksum: Option<String>,
    /// What the data goes by in conditional requests.
    tag: Option<String>,
}

/// Answers a download.
///
/// # Errors
/// When the connection broke.
pub(crate) async fn answer(
    shard: &Shard,
    request: &Request<'_>,
    image_id: &str,
    input: &mut Input<'_>,
    body: &mut Body,
) -> io::Result<Answered> {
    let begun = Instant::now();
    let conn = input.conn();
    match decide(shard, request, image_id).await {
        Ok(Decision::Data(delivery)) => send(shard, request, image_id, conn, *delivery, begun).await,
        Ok(Decision::Unchanged(tag)) => bare(conn, request, StatusCode::NOT_MODIFIED, tag.as_deref()).await,
        Ok(Decision::Empty) => bare(conn, request, StatusCode::NO_CONTENT, None).await,
        Err(error) => answer_error(request, conn, &error, body).await,
    }
}

/// Answers with a head alone.
async fn bare(conn: &Conn, request: &Request<'_>, status: StatusCode, tag: Option<&str>) -> io::Result<Answered> {
    let mut head = ReplyHead::new(status);
    if let Some(tag) = tag {
        head = head.header("ETag", tag);
    }
    let head = head.header("x-openstack-request-id", &request.id).connection(request.keep);
    conn.send_all(&head.finish()).await?;
    Ok(Answered { status: status.as_u16(), keep: request.keep })
}

/// The strong entity tag of an image: its data never changes once it has a digest.
fn entity_tag(image: &Image) -> Option<String> {
    let digest = image.os_hash_value.as_ref()?;
    let is_digest = !digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| conditional::entity_tag(digest))
}

async fn decide<'a>(shard: &'a Shard, request: &Request<'_>, image_id: &str) -> Result<Decision<'a>> {
    let caller = shard.identities.identify(request.proof(), &shard.control).await?;
    if request.head.body != head::Body::None {
        return Err(Error::bad_request("A body is not expected with this request."));
    }
    let preferred = preferred(request.head.query.as_deref().unwrap_or(""))?;
    let image = shard.read(|catalog| permitted(shard, catalog, &caller, image_id, &preferred))?;
    if image.locations.is_empty() {
        return Ok(Decision::Empty);
    }
    let tag = entity_tag(&image);
    let wanted = |size| wanted(request, tag.as_deref(), size);
    // Where the size is known, a store need not be asked for more than is wanted; what is wrong with the request is told after it was.
    let early = image.size.map(&wanted);
    let range = early.as_ref().and_then(|early| early.as_ref().ok()).and_then(|wanted| wanted.as_ref()?.as_ref());
    let Some((store, source)) = open_first(shard, &image, &preferred, range.copied()).await? else {
        return Ok(Decision::Empty);
    };
    let stored = source.size();
    let size = image.size.or(stored).unwrap_or(0);
    let needed = range.map_or(size, |range| range.end);
    if stored.is_some_and(|stored| stored < needed) {
        return Err(Error::internal(format!("image {image_id}: its store has {stored:?} of {size} bytes")));
    }
    match early.unwrap_or_else(|| wanted(size))? {
        None => Ok(Decision::Unchanged(tag)),
        Some(range) => {
            Ok(Decision::Data(Box::new(Delivery { store, source, size, range, checksum: image.checksum, tag })))
        }
    }
}

/// Which range of an image of `size` bytes the client wants, `Some(None)` for all of it; `None` when it has the data already.
fn wanted(request: &Request<'_>, tag: Option<&str>, size: u64) -> Result<Option<Option<ByteRange>>> {
    let field = |name| request.head.header(&name);
    match conditional::evaluate(&request.head.headers, tag)? {
        Verdict::NotModified => Ok(None),
        Verdict::Whole => Ok(Some(None)),
        Verdict::Proceed => range::wanted(field(header::RANGE), field(header::CONTENT_RANGE), size).map(Some),
    }
}

/// The stores from which the client would rather have the data, by the parameter `prefer`; the last one counts.
fn preferred(query: &str) -> Result<Vec<String>> {
    if query.is_empty() {
        return Ok(Vec::new());
    }
    let params = query::parse_query(query).ok_or_else(|| Error::bad_request("The query is not UTF-8."))?;
    let given = params.iter().rev().find(|(name, _)| name == "prefer").map_or("", |(_, value)| value);
    Ok(given.split(',').map(str::trim).filter(|store| !store.is_empty()).map(str::to_owned).collect())
}

/// The image, if the caller may download it now, from the stores of its choice.
fn permitted(
    shard: &Shard,
    catalog: &common::catalog::Queries<'_>,
    caller: &Identity,
    image_id: &str,
    preferred: &[String],
) -> Result<Image> {
    let (image, is_member) = find_visible(catalog, caller, image_id)?;
    let authority = &shard.shared.authority;
    authority.enforce_image("download_image", caller, &image, is_member)?;
    if image.status == Status::Deactivated && !caller.is_admin {
        let message = "The requested image has been deactivated. Image data download is forbidden.";
        return Err(Error::forbidden(message));
    }
    if !preferred.is_empty() {
        authority.enforce_image("download_from_store", caller, &image, is_member)?;
        require_configured(&shard.config.stores, preferred)?;
    }
    Ok(image)
}

/// Refuses stores that clients cannot choose.
fn require_configured(stores: &Stores, preferred: &[String]) -> Result<()> {
    if !stores.multi {
        let text = "Store selection for download is not available when multiple backends are not enabled.";
        return Err(Error::bad_request(text));
    }
    match preferred.iter().find(|id| !stores.list.iter().any(|store| store.id == **id)) {
        Some(unknown) => Err(Error::bad_request(format!("Store '{unknown}' is not configured."))),
        None => Ok(()),
    }
}

/// The first location that can be opened, those in `preferred` stores before others. `None` where no store has the data.
async fn open_first<'a>(
    shard: &'a Shard,
    image: &Image,
    preferred: &[String],
    range: Option<ByteRange>,
) -> Result<Option<(&'a Store, Source)>> {
    let mut failure = None;
    let holding = |location: &Location| shard.shared.stores.holding(location.store(), &location.url);
    let store = |location: &Location| shard.config.stores.list.get(holding(location)?.index);
    for location in in_order(&image.locations, preferred, store) {
        let opened = match holding(location) {
            Some(store) => store.open(shard, &location.url, range).await.map(|source| (store, source)),
            None => Err(StoreError::Foreign(location.url.clone())),
        };
        match opened {
            Ok(found) => return Ok(Some(found)),
            Err(StoreError::NotFound) => tracing::warn!("image {}: its data is not in its store", image.id),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(None), |error| Err(error.into()))
}

/// Where to look for the data: in `preferred` stores first, whichever of them; among those, and among the others, in the
/// heaviest first. `store`: the store of a location.
fn in_order<'i, 'c>(
    locations: &'i [Location],
    preferred: &[String],
    store: impl Fn(&Location) -> Option<&'c StoreConfig>,
) -> Vec<&'i Location> {
    let rank = |location: &&Location| {
        let store = store(location);
        let is_preferred = store.is_some_and(|store| preferred.contains(&store.id));
        Reverse((is_preferred, store.map_or(0, |store| store.weight)))
    };
    let mut sorted: Vec<&Location> = locations.iter().filter(|location| location.is_live()).collect();
    sorted.sort_by_key(rank);
    sorted
}

async fn send(
    shard: &Shard,
    request: &Request<'_>,
    image_id: &str,
    conn: &Conn,
    delivery: Delivery<'_>,
    begun: Instant,
) -> io::Result<Answered> {
    let _running = shard.metrics.transfer(Direction::Out);
    let span = delivery.range.map_or(0..delivery.size, |range| range.start..range.end);
    let (status, head) = reply_head(request, &delivery, span.end - span.start);
    let choice = choose(shard, conn, &delivery, &span);
    let progress = Progress::new();
    match span.is_empty() {
        true => conn.send_all(&head).await?,
        false => conn.send_with_more_to_come(&head).await?,
    }
    shard.metrics.first_byte(begun.elapsed());
    let sent = match delivery.source {
        Source::File { file, .. } => send_file(conn, file, span, choice.options, &progress).await,
        // On the heap, so that a download of a file does not hold their room.
        Source::Web(answer) => Box::pin(relay::answer(shard, conn, *answer, span, &progress)).await,
        Source::Blocks(blocks) => {
            Box::pin(relay::blocks(shard, conn, (delivery.store, &blocks), span, &progress)).await
        }
    };
    let path = choice.options.path;
    shard.metrics.bytes(delivery.store.index, Path::Sent(path), progress.get());
    tracing::info!(
        request_id = request.id,
        status = status.as_u16(),
        bytes = progress.get(),
        milliseconds = begun.elapsed().as_millis(),
        path = path.name(),
        reason = choice.reason,
        tls = conn.tls().map_or("none", |facts| facts.version.label()),
        outcome = if sent.is_ok() { "sent" } else { "cut" },
        "download of image {image_id}"
    );
    if let Err(error) = &sent
        && !is_clients_fault(error)
    {
        tracing::error!(request_id = request.id, "image {image_id}: its store failed in the middle: {error}");
    }
    sent?;
    Ok(Answered { status: status.as_u16(), keep: request.keep })
}

/// The way of the bytes.
fn choose(shard: &Shard, conn: &Conn, delivery: &Delivery<'_>, span: &Range<u64>) -> Choice {
    let file = match &delivery.source {
        Source::File { file, .. } => file,
        Source::Web(_) => return path::relayed("from another server"),
        Source::Blocks(_) => return path::relayed("from another machine's disks"),
    };
    let facts = Facts {
        image_bytes: delivery.size,
        bytes: span.end - span.start,
        cached: &|| file.is_cached(span.start),
        kernel_sends: conn.sends_files(),
        encrypted: conn.tls().is_some(),
        local: &|| conn.is_local(),
    };
    path::choose(&facts, &shard.shared.send_settings)
}

/// Whether the client ended a download: it went away, or took nothing for too long.
fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut)
}

fn reply_head(request: &Request<'_>, delivery: &Delivery<'_>, length: u64) -> (StatusCode, Vec<u8>) {
    let status = if delivery.range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut head = ReplyHead::new(status).header("Content-Type", "application/octet-stream");
    if let Some(checksum) = &delivery.checksum {
        head = head.header("Content-MD5", checksum);
    }
    if let Some(tag) = &delivery.tag {
        head = head.header("Accept-Ranges", "bytes").header("ETag", tag);
    }
    if let Some(range) = delivery.range {
        head = head.header("Content-Range", range.content_range(delivery.size));
    }
    let head = head.header("Content-Length", length).header("x-openstack-request-id", &request.id);
    (status, head.connection(request.keep).finish())
}

#[cfg(test)]
mod tests {
    use common::config::{Config, Overrides};
    use serde_json::json;

    use super::*;

    /// Stores `a`, `b` and `c`, of which `c` weighs most and `a` least.
    fn stores() -> Stores {
        let (config, _) = Config::load(&[], &Overrides::default()).expect("the defaults are right");
        let template = config.stores.list.first().expect("one store").clone();
        let list = [("a", 0), ("b", 10), ("c", 20)].map(|(id, weight)| StoreConfig {
            id: id.to_owned(),
            weight,
            ..template.clone()
        });
        Stores { multi: true, default: "a".to_owned(), list: list.to_vec(), ..config.stores }
    }

    #[test]
    fn preferred_stores_are_named_with_commas() {
        let names = |query: &str| preferred(query).map_err(|error| error.message);
        assert_eq!(names("prefer=+b+,,a%20").as_deref(), Ok(&["b".to_owned(), "a".to_owned()][..]));
        assert_eq!(names("prefer=a&prefer=b&x=y").as_deref(), Ok(&["b".to_owned()][..]), "the last one counts");
        for none in ["", "prefer=", "prefer=,+,", "x=a", "Prefer=a"] {
            assert_eq!(names(none).as_deref(), Ok(&[][..]), "{none}");
        }
        assert!(names("prefer=%FF").is_err());
    }

    #[test]
    fn only_configured_stores_can_be_preferred() {
        let refused = |stores: &Stores, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            require_configured(stores, &names).map_err(|error| (error.status().as_u16(), error.message))
        };
        let several = stores();
        assert_eq!(refused(&several, &["c", "a"]), Ok(()));
        let unknown = "os_glance_staging_store";
        assert_eq!(refused(&several, &["a", unknown]), Err((400, format!("Store '{unknown}' is not configured."))));
        let single = Stores { multi: false, ..several };
        let text = "Store selection for download is not available when multiple backends are not enabled.";
        assert_eq!(refused(&single, &["a"]), Err((400, text.to_owned())));
    }

    #[test]
    fn preferred_stores_come_first_and_the_others_follow() {
        let location = |store: &str| Location {
            id: 0,
            url: format!("file:///{store}/x"),
            metadata: json!({"store": store}).as_object().expect("an object").clone(),
            status: "active".to_owned(),
        };
        let locations = ["a", "gone", "b", "c"].map(location);
        let stores = stores();
        let store = |location: &Location| stores.list.iter().find(|store| Some(store.id.as_str()) == location.store());
        let order = |preferred: &[&str]| {
            let preferred: Vec<String> = preferred.iter().map(|&id| id.to_owned()).collect();
            let sorted = in_order(&locations, &preferred, store);
            sorted.iter().filter_map(|location| location.store()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(&[]), "c b a gone");
        assert_eq!(order(&["a"]), "a c b gone");
        assert_eq!(order(&["a", "b"]), "b a c gone", "weights count among the preferred ones");
        assert_eq!(order(&["gone"]), "c b a gone", "what no store holds is nobody's preference");
        let waiting = [Location { status: "pending_delete".to_owned(), ..location("a") }];
        assert!(in_order(&waiting, &[], store).is_empty(), "a scrubber is about to remove it");
    }

    #[test]
    fn a_foreign_store_is_a_503_without_its_path() {
        let error: Error = StoreError::Foreign("file:///secret/x".into()).into();
        assert_eq!(error.kind, common::error::Kind::Unavailable);
        assert!(!error.message.contains("secret"), "{}", error.message);
    }
}
