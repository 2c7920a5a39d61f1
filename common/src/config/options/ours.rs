//! The groups `[dataplane]` and `[control]`: options that Glance does not have. Names end in their unit.

use super::{Kind, Row};

const DATAPLANE: &str = "dataplane";
const CONTROL: &str = "control";

/// Bytes of a page: buffers of direct writes are whole pages.
const PAGE: i64 = 4096;
const MIB: i64 = 1 << 20;
/// Longest time that an option accepts: a day.
const DAY_SECONDS: i64 = 86_400;

pub(super) const ROWS: &[Row] = &[
    Row::new(
        DATAPLANE,
        "driver",
        Kind::Choice(&["uring", "epoll"]),
        "how the data plane waits for the kernel: io_uring, or epoll where io_uring is not allowed",
    )
    .default("uring"),
    Row::new(
        DATAPLANE,
        "cores",
        Kind::Int(0, 1024),
        "threads that serve connections, one per core; 0 = all cores; unset: `[DEFAULT] workers`",
    ),
    Row::new(
        DATAPLANE,
        "max_connections",
        Kind::Int(1, 1_000_000),
        "client connections at a time, over all cores; further ones are closed at once",
    )
    .default("10000"),
    Row::new(
        DATAPLANE,
        "request_head_bytes_max",
        Kind::Int(1024, MIB),
        "bytes of a request's line and headers together; a larger `[DEFAULT] max_header_line` raises it",
    )
    .default("16384"),
    Row::new(DATAPLANE, "request_header_count_max", Kind::Int(16, 96), "headers of a request").default("90"),
    Row::new(
        DATAPLANE,
        "head_timeout_seconds",
        Kind::Int(1, DAY_SECONDS),
        "seconds from a request's first byte to the end of its headers",
    )
    .default("30"),
    Row::new(
        DATAPLANE,
        "idle_timeout_seconds",
        Kind::Int(0, DAY_SECONDS),
        "seconds that an open connection may stay without a request, 0 = for ever; unset: `[DEFAULT] client_socket_timeout`",
    ),
    Row::new(
        DATAPLANE,
        "body_min_rate_bytes_per_second",
        Kind::Int(0, 1 << 40),
        "a request body that comes in slower than this is broken off; 0 = no limit",
    )
    .default("1024"),
    Row::new(
        DATAPLANE,
        "send_stall_seconds",
        Kind::Int(1, DAY_SECONDS),
        "seconds that a client may take nothing of a response before the connection is closed",
    )
    .default("300"),
    Row::new(
        DATAPLANE,
        "metadata_body_bytes_max",
        Kind::Int(PAGE, 1 << 30),
        "bytes of a request body that is not image data; larger ones get 413",
    )
    .default("4194304"),
    Row::new(
        DATAPLANE,
        "upload_buffers_count",
        Kind::Int(2, 256),
        "buffers of 256 KiB of one upload: how far receiving may run ahead of hashing and writing",
    )
    .default("4"),
    Row::new(
        DATAPLANE,
        "uploads_max",
        Kind::Int(1, 1 << 20),
        "uploads received at a time, over all cores; further ones wait for their turn",
    )
    .default("512"),
    Row::new(
        DATAPLANE,
        "upload_direct_io",
        Kind::Bool,
        "write image files past the page cache where the file system can",
    )
    .default("true"),
    Row::new(DATAPLANE, "hash_threads", Kind::Int(0, 1024), "threads that compute checksums; 0 = one per core")
        .default("0"),
    Row::new(
        DATAPLANE,
        "offload_threads",
        Kind::Int(1, 256),
        "threads for file operations that would block a serving thread",
    )
    .default("4"),
    Row::new(
        DATAPLANE,
        "send_buffer_bytes",
        Kind::Int(0, 64 * MIB),
        "kernel send buffer of a client connection; 0 = the system's own choice",
    )
    .default("1048576"),
    Row::new(
        DATAPLANE,
        "drain_seconds",
        Kind::Int(0, DAY_SECONDS),
        "seconds that transfers in flight get to end after a stop was asked for",
    )
    .default("30"),
    Row::new(CONTROL, "max_connections", Kind::Int(1, 65_536), "connections of the data plane to control at a time")
        .default("1024"),
    Row::new(CONTROL, "read_connections", Kind::Int(1, 256), "connections to the catalog that only read").default("4"),
    Row::new(
        CONTROL,
        "commit_batch_max",
        Kind::Int(1, 10_000),
        "changes that may share one transaction when they wait at the same time",
    )
    .default("64"),
    Row::new(
        CONTROL,
        "reap_interval_seconds",
        Kind::Int(1, DAY_SECONDS),
        "seconds between searches for uploads that nobody carries on and bytes that nobody owns",
    )
    .default("60"),
    Row::new(
        CONTROL,
        "rpc_timeout_seconds",
        Kind::Int(1, DAY_SECONDS),
        "seconds that one plane waits for the other's answer",
    )
    .default("30"),
    Row::new(
        CONTROL,
        "keystone_timeout_seconds",
        Kind::Int(1, DAY_SECONDS),
        "seconds for the validation of a token, all tries and the renewal of our own token included",
    )
    .default("10"),
    Row::new(
        CONTROL,
        "retry_after_seconds",
        Kind::Int(0, DAY_SECONDS),
        "what clients are told in `Retry-After` while a plane is away",
    )
    .default("1"),
    Row::new(
        CONTROL,
        "allow_remote_unauthenticated",
        Kind::Bool,
        "let everybody who reaches a non-loopback address do everything, when there is no authentication",
    )
    .default("false"),
];
