//! Where the bytes are: `[glance_store]` and the options of one store.

use super::{Kind, Row, STAGING_GROUP, STORE_GROUP, from};

pub(super) const ROWS: &[Row] = &[
    Row::new("glance_store", "default_backend", Kind::Str, "store for new images when `enabled_backends` is set"),
    Row::new("glance_store", "stores", Kind::List, "kinds of stores when `enabled_backends` is not set")
        .default("file,http"),
    Row::new(
        "glance_store",
        "default_store",
        Kind::Str,
        "kind of the store for new images when `enabled_backends` is not set",
    )
    .default("file"),
    Row::new(STORE_GROUP, "store_description", Kind::Str, "text for people who choose a store"),
    Row::new(STORE_GROUP, "weight", super::NUMBER, "of an image's locations the one with the highest weight is read")
        .default("0"),
    Row::new(
        STORE_GROUP,
        "filesystem_store_datadir",
        Kind::Str,
        "directory of the image files; unset: `<data directory>/images`",
    ),
    Row::new(
        STORE_GROUP,
        "filesystem_store_datadirs",
        Kind::Multi,
        "several directories instead, each `path` or `path:priority`; the highest priority with room is taken",
    ),
    Row::new(
        STORE_GROUP,
        "filesystem_store_file_perm",
        Kind::Int(0, 777),
        "permissions of image files as octal digits, such as 640; 0 = what the umask leaves",
    )
    .default("0"),
    Row::new(
        STORE_GROUP,
        "filesystem_store_chunk_size",
        from(1),
        "bytes that are looked at together when zeros become holes",
    )
    .default("65536")
    .no_effect_yet("zeros become holes by whole upload buffers; the value is only shown by /v2/info/stores/detail"),
    Row::new(STORE_GROUP, "filesystem_thin_provisioning", Kind::Bool, "leave holes where the data is zero")
        .default("false"),
    Row::new(STORE_GROUP, "rbd_store_pool", Kind::Str, "pool of the images").default("images"),
    Row::new(
        STORE_GROUP,
        "rbd_store_user",
        Kind::Str,
        "user of the Ceph cluster, without `client.`; unset: that of the library, `admin`",
    ),
    Row::new(
        STORE_GROUP,
        "rbd_store_ceph_conf",
        Kind::Str,
        "`ceph.conf` of the cluster; unset: where the library looks for it",
    ),
    Row::new(
        STORE_GROUP,
        "rbd_store_chunk_size",
        Kind::Int(1, 32),
        "MiB of the objects of new images, rounded down to a power of two",
    )
    .default("8"),
    Row::new(
        STORE_GROUP,
        "rados_connect_timeout",
        super::NUMBER,
        "seconds after which an operation of the cluster has failed; 0 or negative: as `ceph.conf` says, else \
         `[dataplane] rbd_timeout_seconds`",
    )
    .default("-1"),
    Row::new(STORE_GROUP, "rbd_thin_provisioning", Kind::Bool, "do not store what is zero").default("false"),
    Row::new(
        STAGING_GROUP,
        "filesystem_store_datadir",
        Kind::Str,
        "staging directory when `enabled_backends` is set; unset: `<data directory>/staging`",
    ),
];
