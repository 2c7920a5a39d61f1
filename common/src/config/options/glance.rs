//! Glance's own options that Vitrine honours, but for stores and Keystone.

use super::{Kind, NUMBER, Row, from};

const fn row(name: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row::new("DEFAULT", name, kind, doc)
}

const fn database(name: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row::new("database", name, kind, doc)
}

const fn cors(name: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row::new("cors", name, kind, doc)
}

const fn filter(name: &'static str, doc: &'static str) -> Row {
    Row::new("import_filtering_opts", name, Kind::BracketList, doc)
}

const fn policy(name: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row::new("oslo_policy", name, kind, doc)
}

pub(super) const ROWS: &[Row] = &[
    row("bind_host", Kind::Host, "address to listen on; `--listen` wins").default("127.0.0.1"),
    row("bind_port", Kind::Port, "port to listen on; `--listen` wins").default("9292"),
    row("backlog", Kind::Int(1, 1 << 20), "length of the listen queue").default("4096"),
    row("tcp_keepidle", Kind::Int(1, 32_767), "idle seconds before TCP asks whether the client is still there")
        .default("600"),
    row(
        "workers",
        Kind::Int(0, 1024),
        "threads that serve connections; 0 or unset = one per core; `[dataplane] cores` wins",
    ),
    row(
        "max_header_line",
        Kind::Int(0, 1 << 20),
        "bytes of the longest header line; raises `[dataplane] request_head_bytes_max`",
    ),
    row("http_keepalive", Kind::Bool, "false: close the connection after each response").default("true"),
    row("client_socket_timeout", Kind::Int(0, 86_400), "seconds that a client's connection may be idle, 0 = for ever")
        .default("900"),
    row("public_endpoint", Kind::Str, "base URL in version links instead of the request's host"),
    row("allow_anonymous_access", Kind::Bool, "who has no valid token may read public images instead of getting 401")
        .default("false"),
    row("max_request_id_length", Kind::Int(0, 8192), "longest accepted `X-Openstack-Request-ID`").default("64"),
    row("limit_param_default", Kind::Int(1, 1_000_000), "images of a page when `limit` is not given").default("25"),
    row("api_limit_max", Kind::Int(1, 1_000_000), "images of the largest page").default("1000"),
    row("metadata_source_path", Kind::Str, "directory that `vitrine metadefs load` reads unless it is given one")
        .default("/etc/glance/metadefs/"),
    row("show_image_direct_url", Kind::Bool, "show `direct_url` of images").default("false"),
    row("show_multiple_locations", Kind::Bool, "show `locations` of images, and let clients change them")
        .default("false"),
    row("image_member_quota", NUMBER, "members of an image; negative = no limit").default("128"),
    row("image_property_quota", NUMBER, "properties of an image; negative = no limit").default("128"),
    row("image_tag_quota", NUMBER, "tags of an image; negative = no limit").default("128"),
    row("image_location_quota", NUMBER, "locations of an image; negative = no limit").default("10"),
    row("image_size_cap", from(1), "bytes of the largest image").default("1099511627776"),
    row("user_storage_quota", Kind::ByteSize, "bytes of all images of a project; 0 = no limit").default("0"),
    row(
        "use_keystone_limits",
        Kind::Bool,
        "take quotas from Keystone's unified limits, as `[oslo_limit]` says, instead of `user_storage_quota`",
    )
    .default("false"),
    row(
        "hashing_algorithm",
        Kind::Choice(&["sha512", "sha384", "sha256", "sha224", "sha512_256", "sha1", "md5"]),
        "algorithm of `os_hash_value` of new images",
    )
    .default("sha512"),
    row("metadata_encryption_key", Kind::Secret, "key of encrypted locations in the catalog")
        .refused("encrypted locations cannot be read; decrypt them and remove the option"),
    row(
        "property_protection_file",
        Kind::Str,
        "file that says who may see and change which property, read at start; relative names are searched as `policy_file`",
    ),
    row(
        "property_protection_rule_format",
        Kind::Choice(&["roles", "policies"]),
        "what the permissions in that file are: roles, or a rule of the policy each",
    )
    .default("roles"),
    row("do_secure_hash", Kind::Bool, "read the data of a location that is added, for its digests").default("true"),
    row("http_retries", Kind::Int(0, 100), "further tries of that, where the data cannot be read").default("3"),
    row("delayed_delete", Kind::Bool, "keep the data of deleted images for a scrubber")
        .default("false")
        .refused("data would be removed at once; set it to false if that is acceptable"),
    row("enabled_import_methods", Kind::BracketList, "import methods that clients may use, of those that are there")
        .default("[glance-direct,web-download,copy-image]"),
    filter("allowed_schemes", "schemes of URLs that users may have fetched: http, https").default("[http,https]"),
    filter("disallowed_schemes", "schemes that they may not; counts where no scheme is listed as allowed").default("[]"),
    filter(
        "allowed_hosts",
        "hosts that they may have asked, wherever these are; unlisted ones only at public addresses, and not at all where any is listed",
    )
    .default("[]"),
    filter("disallowed_hosts", "hosts that they may not; counts where no host is listed as allowed").default("[]"),
    filter("allowed_ports", "ports that they may have asked; also where the scheme implies the port").default("[80,443]"),
    filter("disallowed_ports", "ports that they may not; counts where no port is listed as allowed").default("[]"),
    row("node_staging_uri", Kind::Str, "`file://` URL of the staging directory; unset: `<data directory>/staging`"),
    Row::new("taskflow_executor", "max_workers", Kind::Int(1, 1024), "imports that move data at a time, no more than half of them (or one) from other servers").default("10"),
    Row::new("task", "task_time_to_live", from(1), "hours for which a task that is over can be asked about")
        .default("48"),
    row("image_cache_dir", Kind::Str, "set: the cache's API is served; nothing is cached while all stores are on this server"),
    row(
        "image_cache_driver",
        Kind::Choice(&["centralized_db", "sqlite", "xattr"]),
        "`centralized_db`: clients may ask which servers have an image in their cache",
    )
    .default("centralized_db"),
    row("enabled_backends", Kind::Dict, "several stores: `id:kind,…`; each is configured in the group of its id"),
    row("debug", Kind::Bool, "log more").default("false"),
    row("log_file", Kind::Str, "file for the log instead of standard error; relative names are below `log_dir`")
        .aliases(&[("DEFAULT", "logfile")]),
    row("log_dir", Kind::Str, "directory for the log; alone: `glance-api.log` in it").aliases(&[("DEFAULT", "logdir")]),
    Row::new("image_format", "container_formats", Kind::List, "container formats that images may have")
        .default("ami,ari,aki,bare,ovf,ova,docker,compressed")
        .aliases(&[("DEFAULT", "container_formats")]),
    Row::new("image_format", "disk_formats", Kind::List, "disk formats that images may have")
        .default("ami,ari,aki,vhd,vhdx,vmdk,raw,qcow2,vdi,iso,ploop")
        .aliases(&[("DEFAULT", "disk_formats")]),
    Row::new(
        "image_format",
        "require_image_format_match",
        Kind::Bool,
        "uploaded data must be of the image's disk format",
    )
    .default("true"),
    Row::new(
        "image_format",
        "gpt_safety_checks_nonfatal",
        Kind::List,
        "checks of partition tables whose failure is only logged, such as `mbr`",
    )
    .default(""),
    Row::new("image_format", "vmdk_allowed_types", Kind::List, "create types of VMDK images that `image_conversion` takes")
        .default("streamOptimized,monolithicSparse"),
    Row::new(
        "image_import_opts",
        "image_import_plugins",
        Kind::BracketList,
        "what is done to staged data before it goes into stores, in this order: image_decompression, image_conversion, \
         inject_image_metadata; no_op does nothing",
    )
    .default("[]"),
    Row::new(
        "image_conversion",
        "output_format",
        Kind::Choice(&["qcow2", "raw", "vmdk"]),
        "disk format that `image_conversion` makes of images, by qemu-img, which must be installed",
    )
    .default("raw"),
    Row::new(
        "glance_download_properties",
        "extra_properties",
        Kind::List,
        "how the names of properties begin that come with an image of another region",
    )
    .default("hw_,trait:,os_distro,os_secure_boot,os_type"),
    Row::new("inject_metadata_properties", "inject", Kind::Dict, "properties that `inject_image_metadata` gives to images"),
    Row::new(
        "inject_metadata_properties",
        "ignore_user_roles",
        Kind::List,
        "imports of callers with one of these roles get no properties injected",
    )
    .default("admin"),
    Row::new("paste_deploy", "flavor", Kind::Str, "authentication: empty = none, `keystone` = tokens").default(""),
    database(
        "connection",
        Kind::Secret,
        "catalog as a URL, such as `sqlite:////var/lib/glance/glance.sqlite`; unset: `<data directory>/catalog.sqlite`",
    ),
    policy(
        "policy_file",
        Kind::Str,
        "file of policy rules, read again when it changes and on SIGHUP; relative names are searched beside the configuration and in Glance's directories",
    )
    .default("policy.yaml"),
    policy("policy_dirs", Kind::Multi, "directories of further policy files, read again likewise").default("policy.d"),
    policy(
        "policy_default_rule",
        Kind::Str,
        "rule that stands in for rules that do not exist, if a policy file has it; otherwise they deny",
    )
    .default("default"),
    policy("enforce_new_defaults", Kind::Bool, "false: what an older default allowed stays allowed").default("true"),
    Row::new(
        "oslo_middleware",
        "enable_proxy_headers_parsing",
        Kind::Bool,
        "believe `Forwarded` and `X-Forwarded-*` headers",
    )
    .default("false"),
    cors(
        "allowed_origin",
        Kind::List,
        "web pages that may use the API, as origins such as `https://horizon.example`, or `*`; unset: none",
    ),
    cors("allow_credentials", Kind::Bool, "whether browsers may send what they know of the user along").default("true"),
    cors("expose_headers", Kind::List, "headers of answers that pages may read")
        .default("X-Image-Meta-Checksum,X-Auth-Token,X-Subject-Token,X-Service-Token,X-OpenStack-Request-ID"),
    cors("max_age", Kind::Int(0, 86_400), "seconds for which browsers remember what is allowed").default("3600"),
    cors("allow_methods", Kind::List, "methods that pages may use").default("GET,PUT,POST,DELETE,PATCH"),
    cors("allow_headers", Kind::List, "headers that pages may send, beside those that every page may").default(
        "Content-MD5,X-Image-Meta-Checksum,X-Storage-Token,Accept-Encoding,X-Auth-Token,X-Identity-Status,X-Roles,\
         X-Service-Catalog,X-User-Id,X-Tenant-Id,X-OpenStack-Request-ID",
    ),
    Row::new("healthcheck", "disable_by_file_path", Kind::Str, "while this file exists, `/healthcheck` says 503")
        .default("/etc/glance/healthcheck_disable"),
];
