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
        "client connections at a time, over all cores; beyond them the one that has waited longest for a request is closed",
    )
    .default("10000"),
    Row::new(
        DATAPLANE,
        "admin_max_connections",
        Kind::Int(1, 65_536),
        "connections to the admin listener at a time; beyond them the one that has waited longest for a request is closed",
    )
    .default("64"),
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
        "a request body, or image data that is fetched, that comes in slower than this is broken off; 0 = no limit",
    )
    .default("1024"),
    Row::new(
        DATAPLANE,
        "fetch_answer_timeout_seconds",
        Kind::Int(1, DAY_SECONDS),
        "seconds from the start of a fetch to the head of the answer, with all redirects; a failure is not told earlier either, so that \
         its time tells nothing; at most half of [control] rpc_timeout_seconds",
    )
    .default("15"),
    Row::new(
        DATAPLANE,
        "fetch_timeout_seconds",
        Kind::Int(0, 365 * DAY_SECONDS),
        "seconds that a fetch of image data may take in all, 0 = for ever",
    )
    .default("86400"),
    Row::new(
        DATAPLANE,
        "send_stall_seconds",
        Kind::Int(1, DAY_SECONDS),
        "seconds that a client may take nothing of a response before the connection is closed",
    )
    .default("300"),
    Row::new(
        DATAPLANE,
        "send_min_rate_bytes_per_second",
        Kind::Int(0, 1 << 40),
        "a client that takes a response slower than this, over `send_stall_seconds` of waiting for it, is cut off; 0 = no limit",
    )
    .default("1024"),
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
    Row::new(
        DATAPLANE,
        "rbd_in_flight_bytes",
        Kind::Int(4 * MIB, 1 << 30),
        "bytes of one image in a Ceph cluster that are on their way at a time, in operations of 4 MiB; a cluster that is far or large \
         wants more",
    )
    .default("16777216"),
    Row::new(
        DATAPLANE,
        "rbd_timeout_seconds",
        Kind::Int(1, 3600),
        "seconds after which an operation of a Ceph cluster has failed, unless `rados_connect_timeout` or `ceph.conf` say otherwise",
    )
    .default("60"),
    Row::new(
        DATAPLANE,
        "store_faults",
        Kind::List,
        "for tests: calls of stores that fail, each `store:operation:every:effect`, such as `ceph:write:5:fail`; the effects are fail, \
         away, full and hang",
    ),
    Row::new(
        DATAPLANE,
        "send_path",
        Kind::Choice(&["auto", "splice", "sendfile", "copy", "direct"]),
        "the way of a download's bytes to the client: `splice` and `sendfile` by the kernel alone, `copy` through a buffer, \
         `direct` past the page cache; `auto` decides for each transfer",
    )
    .default("auto"),
    Row::new(
        DATAPLANE,
        "send_pipes_count",
        Kind::Int(0, 4096),
        "pipes of 1 MiB for `splice`, over all cores; an ordinary user may have 64 in all processes; downloads without one use `sendfile`",
    )
    .default("48"),
    Row::new(
        DATAPLANE,
        "direct_read_bytes_min",
        Kind::Int(0, i64::MAX),
        "with `send_path = auto`, images of at least this size that are not in the page cache are read past it; 0 = none; \
         unset: half of the machine's memory",
    ),
    Row::new(
        DATAPLANE,
        "direct_read_buffers_count",
        Kind::Int(1, 64),
        "buffers of 256 KiB that a download past the page cache reads ahead",
    )
    .default("4"),
    Row::new(
        DATAPLANE,
        "zero_copy_sends",
        Kind::Choice(&["auto", "always", "never"]),
        "whether `send_path = direct` sends without a copy; `auto`: unless the client is on this machine, where the kernel copies all the same",
    )
    .default("auto"),
    Row::new(
        DATAPLANE,
        "buffer_memory_bytes_max",
        Kind::Int(16 * MIB, 1 << 40),
        "memory for the buffers of all transfers, over all cores; transfers beyond it wait, downloads past the page cache have half of it and \
         then go through the cache",
    )
    .default("1073741824"),
    Row::new(
        DATAPLANE,
        "pinned_memory_bytes",
        Kind::Int(0, 1 << 40),
        "buffer memory that is pinned for the kernel, over all cores, which saves a fifth of a direct write; the start fails if \
         RLIMIT_MEMLOCK is too small for it; unset: as much as the limit allows, at most 64 MiB",
    ),
    Row::new(DATAPLANE, "hash_threads", Kind::Int(0, 1024), "threads that compute checksums; 0 = one per core. From three on the two checksums of a lone upload have a thread each, also where one \
         could compute both at once")
        .default("0"),
    Row::new(
        DATAPLANE,
        "hash_lanes",
        Kind::Choice(&["auto", "scalar"]),
        "how checksums of several uploads are computed: side by side in the vector instructions that the processor has, or one after \
         the other",
    )
    .default("auto"),
    Row::new(
        DATAPLANE,
        "offload_threads",
        Kind::Int(1, 256),
        "threads for file operations that would block a serving thread",
    )
    .default("4"),
    Row::new(
        DATAPLANE,
        "decompression_memory_bytes_max",
        Kind::Int(MIB, 1 << 40),
        "memory that `image_decompression` may take for one image; data that was packed to need more is refused",
    )
    .default("268435456"),
    Row::new(
        DATAPLANE,
        "conversion_memory_bytes_max",
        Kind::Int(64 * MIB, 1 << 40),
        "address space of the process that converts one image for `image_conversion`",
    )
    .default("1073741824"),
    Row::new(
        DATAPLANE,
        "conversion_cpu_seconds",
        Kind::Int(1, 30 * DAY_SECONDS),
        "processor time of the conversion of one image",
    )
    .default("21600"),
    Row::new(
        DATAPLANE,
        "conversion_timeout_seconds",
        Kind::Int(1, 30 * DAY_SECONDS),
        "seconds that the conversion of one image may take",
    )
    .default("43200"),
    Row::new(
        DATAPLANE,
        "send_buffer_bytes",
        Kind::Int(0, 64 * MIB),
        "kernel send buffer of a client that is less than a quarter of a millisecond away, up to `net.core.wmem_max`; 0 = the system's own choice, \
         as for those that are farther away",
    )
    .default("262144"),
    Row::new(
        DATAPLANE,
        "drain_seconds",
        Kind::Int(0, DAY_SECONDS),
        "seconds that transfers in flight get to end after a stop was asked for",
    )
    .default("30"),
    Row::new(
        DATAPLANE,
        "tls_cert_file",
        Kind::Str,
        "PEM file with the server's certificate and its chain: clients are served over TLS; read again on SIGHUP",
    )
    .aliases(&[("DEFAULT", "cert_file")]),
    Row::new(DATAPLANE, "tls_key_file", Kind::Str, "PEM file with the private key of `tls_cert_file`")
        .aliases(&[("DEFAULT", "key_file")]),
    Row::new(
        DATAPLANE,
        "tls_client_ca_file",
        Kind::Str,
        "PEM file with the certificates that clients' certificates must lead to",
    )
    .aliases(&[("DEFAULT", "ca_file")]),
    Row::new(
        DATAPLANE,
        "tls_client_auth",
        Kind::Choice(&["none", "optional", "required"]),
        "whether clients are asked for a certificate; unset: required if there is a `tls_client_ca_file`",
    ),
    Row::new(DATAPLANE, "tls_versions", Kind::List, "versions of TLS that are spoken, out of 1.2 and 1.3")
        .default("1.2,1.3"),
    Row::new(
        DATAPLANE,
        "tls_handshake_timeout_seconds",
        Kind::Int(1, 3600),
        "seconds from the accept of a connection to the end of its TLS handshake",
    )
    .default("10"),
    Row::new(
        DATAPLANE,
        "tls_kernel",
        Kind::Choice(&["auto", "off"]),
        "let the kernel encrypt what is sent where it can (kernel TLS)",
    )
    .default("auto"),
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
        "seconds for what one request has to ask Keystone, such as the validation of its token: all tries and the renewal of our own token included",
    )
    .default("10"),
    Row::new(
        CONTROL,
        "keystone_limits_cache_seconds",
        Kind::Int(0, DAY_SECONDS),
        "seconds for which a project's unified limits are not asked about again; 0 = ask for every request that needs them",
    )
    .default("10"),
    Row::new(
        CONTROL,
        "key_manager_timeout_seconds",
        Kind::Int(1, DAY_SECONDS),
        "seconds for a certificate of a signed image, the look into the catalog included",
    )
    .default("10"),
    Row::new(
        CONTROL,
        "signature_ca_file",
        Kind::Str,
        "PEM certificates of which one must be the signer's of a signed image, or must have issued it, at any distance; unset: any \
         certificate will do that the key manager has",
    ),
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
