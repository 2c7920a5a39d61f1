//! What the data plane counts.
//!
//! Every core has a [`CoreMetrics`] of its own and is its only writer, so counting costs no lock and shares no cache
//! line; a scrape adds the cores up. What several threads count together (digests) has counters of its own.

mod histogram;
mod tls;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::http::routes::Route;
use common::metrics::Exposition;

pub(crate) use histogram::Histogram;

use crate::io::SendPath;

/// Statuses that we answer; anything else, and answers that were cut, count under the last, `0`.
const STATUSES: [u16; 28] = [
    200, 201, 202, 204, 206, 300, 302, 304, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 414, 415, 416, 417, 431,
    500, 501, 503, 505, 0,
];

/// Requests that were refused before they named an endpoint.
const NO_ROUTE: usize = Route::ALL.len();

/// Which way the bytes of a transfer go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From a client: an upload.
    In,
    /// To a client: a download.
    Out,
}

impl Direction {
    const ALL: [Direction; 2] = [Direction::In, Direction::Out];

    fn label(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// The way of bytes between a store and a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// To the client by one of the ways of [`SendPath`].
    Sent(SendPath),
    /// From the client into buffers, written past the page cache.
    Direct,
    /// From the client into buffers, written through the page cache.
    Buffered,
}

impl Path {
    const ALL: [Path; 6] = [
        Path::Sent(SendPath::Splice),
        Path::Sent(SendPath::Sendfile),
        Path::Sent(SendPath::Copy),
        Path::Sent(SendPath::Direct),
        Path::Direct,
        Path::Buffered,
    ];

    /// The name in metrics and in the log.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Path::Sent(path) => path.name(),
            Path::Direct => "direct",
            Path::Buffered => "buffered",
        }
    }

    fn direction(self) -> Direction {
        match self {
            Path::Sent(_) => Direction::Out,
            Path::Direct | Path::Buffered => Direction::In,
        }
    }

    fn index(self) -> usize {
        Path::ALL.iter().position(|path| *path == self).unwrap_or(0)
    }
}

/// Operations of a store that are timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreWork {
    /// Making the place for an image.
    Create,
    /// Writing one buffer.
    Write,
    /// Making written data durable and visible.
    Commit,
    /// Opening an image for reading.
    Open,
    /// Reading one piece.
    Read,
    /// Removing an image.
    Remove,
    /// Asking what the store is and has.
    Ask,
}

impl StoreWork {
    /// All of them.
    pub(crate) const ALL: [StoreWork; 7] = [
        StoreWork::Create,
        StoreWork::Write,
        StoreWork::Commit,
        StoreWork::Open,
        StoreWork::Read,
        StoreWork::Remove,
        StoreWork::Ask,
    ];

    /// The name in metrics and in the log.
    pub(crate) fn label(self) -> &'static str {
        match self {
            StoreWork::Create => "create",
            StoreWork::Write => "write",
            StoreWork::Commit => "commit",
            StoreWork::Open => "open",
            StoreWork::Read => "read",
            StoreWork::Remove => "remove",
            StoreWork::Ask => "ask",
        }
    }
}

/// Counters of one store on one core.
#[derive(Debug, Default)]
struct StoreCounters {
    bytes: [AtomicU64; Path::ALL.len()],
    work_nanoseconds: [AtomicU64; StoreWork::ALL.len()],
    work_count: [AtomicU64; StoreWork::ALL.len()],
}

/// What one core counts. Only that core writes; any thread may read.
#[derive(Debug)]
pub(crate) struct CoreMetrics {
    requests: Vec<[AtomicU64; STATUSES.len()]>,
    stores: Vec<StoreCounters>,
    in_flight: [AtomicI64; 2],
    first_byte: Histogram,
    transfer: [Histogram; 2],
    catalog: Histogram,
    accepted: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
    moved: AtomicU64,
    connections: AtomicI64,
    /// Handshakes with clients.
    pub(crate) tls: tls::TlsCounters,
    /// The kernel's id of the core's thread, for its processor time.
    thread: AtomicI64,
}

impl CoreMetrics {
    /// Counters at zero for `stores` stores.
    pub(crate) fn new(stores: usize) -> Self {
        CoreMetrics {
            requests: (0..=NO_ROUTE).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect(),
            stores: (0..stores).map(|_| StoreCounters::default()).collect(),
            in_flight: Default::default(),
            first_byte: Histogram::latency(),
            transfer: [Histogram::duration(), Histogram::duration()],
            catalog: Histogram::latency(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            connections: AtomicI64::new(0),
            tls: tls::TlsCounters::default(),
            thread: AtomicI64::new(0),
        }
    }

    /// Notes that the calling thread is this core.
    pub(crate) fn this_thread(&self) {
        self.thread.store(i64::from(rustix::thread::gettid().as_raw_nonzero().get()), Relaxed);
    }

    /// A request was answered; `None`: it never named an endpoint.
    pub(crate) fn request(&self, route: Option<Route>, status: u16) {
        let row = route.map_or(NO_ROUTE, |route| route as usize);
        let column = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        self.requests[row][column].fetch_add(1, Relaxed);
    }

    /// Bytes moved between a store and a client.
    pub(crate) fn bytes(&self, store: usize, path: Path, count: u64) {
        if let Some(counters) = self.stores.get(store) {
            counters.bytes[path.index()].fetch_add(count, Relaxed);
        }
    }

    /// A store worked for `took`.
    pub(crate) fn store_work(&self, store: usize, work: StoreWork, took: Duration) {
        if let Some(counters) = self.stores.get(store) {
            let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            counters.work_nanoseconds[work as usize].fetch_add(nanoseconds, Relaxed);
            counters.work_count[work as usize].fetch_add(1, Relaxed);
        }
    }

    /// A transfer runs until the guard is dropped.
    pub(crate) fn transfer(&self, direction: Direction) -> InFlight<'_> {
        self.in_flight[direction as usize].fetch_add(1, Relaxed);
        InFlight { metrics: self, direction, begun: std::time::Instant::now() }
    }

    /// The first byte of a download left `took` after its request was read.
    pub(crate) fn first_byte(&self, took: Duration) {
        self.first_byte.observe(took);
    }

    /// The catalog answered a read in `took`.
    pub(crate) fn catalog(&self, took: Duration) {
        self.catalog.observe(took);
    }

    /// A client connected; the connection lasts until the guard is dropped.
    pub(crate) fn connection(&self) -> Connected<'_> {
        self.accepted.fetch_add(1, Relaxed);
        self.connections.fetch_add(1, Relaxed);
        Connected(self)
    }

    /// A client was turned away because there are too many connections.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// A client's connection was passed to another core.
    pub(crate) fn moved(&self) {
        self.moved.fetch_add(1, Relaxed);
    }

    /// How many clients' connections were closed, while they waited for a request, in favour of others.
    pub(crate) fn evicted(&self, count: u64) {
        self.evicted.store(count, Relaxed);
    }
}

/// A running transfer; see [`CoreMetrics::transfer`].
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    metrics: &'a CoreMetrics,
    direction: Direction,
    begun: std::time::Instant,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight[self.direction as usize].fetch_sub(1, Relaxed);
        self.metrics.transfer[self.direction as usize].observe(self.begun.elapsed());
    }
}

/// An open connection; see [`CoreMetrics::connection`].
#[derive(Debug)]
pub(crate) struct Connected<'a>(&'a CoreMetrics);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// Writes what all cores counted, added up. `stores`: the ids, in the order of their indexes.
pub(crate) fn expose(out: &mut Exposition, cores: &[std::sync::Arc<CoreMetrics>], stores: &[String]) {
    requests(out, cores);
    transfers(out, cores, stores);
    store_work(out, cores, stores);
    per_core(out, cores);
    tls::expose(out, cores);
    histogram::expose(
        out,
        "vitrine_dataplane_catalog_read_seconds",
        "Time of the catalog to answer one read of the data plane.",
        &[(&[], cores.iter().map(|core| &core.catalog).collect())],
    );
}

fn sum(cores: &[std::sync::Arc<CoreMetrics>], pick: impl Fn(&CoreMetrics) -> &AtomicU64) -> u64 {
    cores.iter().map(|core| pick(core).load(Relaxed)).sum()
}

fn requests(out: &mut Exposition, cores: &[std::sync::Arc<CoreMetrics>]) {
    out.family("vitrine_dataplane_http_requests_total", "counter", "Requests answered at the front door.");
    for row in 0..=NO_ROUTE {
        let (path, method) = Route::ALL.get(row).map_or(("none", ""), |route| (route.row().path, route.row().method));
        for (column, status) in STATUSES.iter().enumerate() {
            let count = sum(cores, |core| &core.requests[row][column]);
            if count > 0 {
                let status = if *status == 0 { "cut".to_owned() } else { status.to_string() };
                out.sample("", &[("route", path), ("method", method), ("status", &status)], count);
            }
        }
    }
}

fn transfers(out: &mut Exposition, cores: &[std::sync::Arc<CoreMetrics>], stores: &[String]) {
    out.family("vitrine_dataplane_transfer_bytes_total", "counter", "Image bytes moved between clients and stores.");
    for (index, store) in stores.iter().enumerate() {
        for path in Path::ALL {
            let count = sum(cores, |core| &core.stores[index].bytes[path.index()]);
            let labels = [("direction", path.direction().label()), ("store", store.as_str()), ("path", path.label())];
            out.sample("", &labels, count);
        }
    }
    out.family("vitrine_dataplane_transfers_in_flight", "gauge", "Transfers of image data that run now.");
    for direction in Direction::ALL {
        let count: i64 = cores.iter().map(|core| core.in_flight[direction as usize].load(Relaxed)).sum();
        out.sample("", &[("direction", direction.label())], count);
    }
    histogram::expose(
        out,
        "vitrine_dataplane_first_byte_seconds",
        "Time from a download's request to its first byte of data.",
        &[(&[], cores.iter().map(|core| &core.first_byte).collect())],
    );
    histogram::expose(
        out,
        "vitrine_dataplane_transfer_seconds",
        "Time of whole transfers, also of those that failed.",
        &Direction::ALL.map(|direction| {
            let histograms = cores.iter().map(|core| &core.transfer[direction as usize]).collect();
            let label: &[(&str, &str)] = match direction {
                Direction::In => &[("direction", "in")],
                Direction::Out => &[("direction", "out")],
            };
            (label, histograms)
        }),
    );
}

fn store_work(out: &mut Exposition, cores: &[std::sync::Arc<CoreMetrics>], stores: &[String]) {
    let seconds = |index: usize, work: StoreWork| {
        let nanoseconds = sum(cores, |core| &core.stores[index].work_nanoseconds[work as usize]);
        Duration::from_nanos(nanoseconds).as_secs_f64()
    };
    out.family("vitrine_dataplane_store_seconds_total", "counter", "Time spent in operations of a store.");
    for (index, store) in stores.iter().enumerate() {
        for work in StoreWork::ALL {
            out.sample("", &[("store", store), ("operation", work.label())], seconds(index, work));
        }
    }
    out.family("vitrine_dataplane_store_operations_total", "counter", "Operations of a store.");
    for (index, store) in stores.iter().enumerate() {
        for work in StoreWork::ALL {
            let count = sum(cores, |core| &core.stores[index].work_count[work as usize]);
            out.sample("", &[("store", store), ("operation", work.label())], count);
        }
    }
}

fn per_core(out: &mut Exposition, cores: &[std::sync::Arc<CoreMetrics>]) {
    let names: Vec<String> = (0..cores.len()).map(|index| index.to_string()).collect();
    let help = "Processor time of a core's thread: its rate is the share of time that the core is busy.";
    out.family("vitrine_dataplane_core_busy_seconds_total", "counter", help);
    for (name, core) in names.iter().zip(cores) {
        out.sample("", &[("core", name)], common::metrics::thread_cpu_seconds(core.thread.load(Relaxed)));
    }
    out.family("vitrine_dataplane_connections", "gauge", "Open connections of clients.");
    for (name, core) in names.iter().zip(cores) {
        out.sample("", &[("core", name)], core.connections.load(Relaxed));
    }
    out.family("vitrine_dataplane_connections_accepted_total", "counter", "Connections accepted.");
    for (name, core) in names.iter().zip(cores) {
        out.sample("", &[("core", name)], core.accepted.load(Relaxed));
    }
    out.family(
        "vitrine_dataplane_connections_refused_total",
        "counter",
        "Connections turned away: too many at a time.",
    );
    for (name, core) in names.iter().zip(cores) {
        out.sample("", &[("core", name)], core.refused.load(Relaxed));
    }
    out.family(
        "vitrine_dataplane_connections_evicted_total",
        "counter",
        "Connections closed while they waited for a request, so that others could have their places.",
    );
    for (name, core) in names.iter().zip(cores) {
        out.sample("", &[("core", name)], core.evicted.load(Relaxed));
    }
    let help = "Connections passed to another core: to spread them, or because their packets come in there.";
    out.family("vitrine_dataplane_connections_moved_total", "counter", help);
    for (name, core) in names.iter().zip(cores) {
        out.sample("", &[("core", name)], core.moved.load(Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn cores_are_added_up() {
        let cores: Vec<_> = (0..2).map(|_| Arc::new(CoreMetrics::new(1))).collect();
        for core in &cores {
            core.request(Some(Route::DownloadImage), 206);
            core.bytes(0, Path::Sent(SendPath::Sendfile), 10);
            core.first_byte(Duration::from_millis(2));
        }
        cores[0].request(None, 400);
        let running = cores[1].transfer(Direction::In);
        let mut out = Exposition::default();
        expose(&mut out, &cores, &["fast".to_owned()]);
        let text = out.into_text();
        for line in [
            "vitrine_dataplane_http_requests_total{route=\"/v2/images/{image}/file\",method=\"GET\",status=\"206\"} 2",
            "vitrine_dataplane_http_requests_total{route=\"none\",method=\"\",status=\"400\"} 1",
            "vitrine_dataplane_transfer_bytes_total{direction=\"out\",store=\"fast\",path=\"sendfile\"} 20",
            "vitrine_dataplane_transfers_in_flight{direction=\"in\"} 1",
            "vitrine_dataplane_first_byte_seconds_count 2",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        drop(running);
        assert_eq!(cores[1].in_flight[Direction::In as usize].load(Relaxed), 0);
    }
}
