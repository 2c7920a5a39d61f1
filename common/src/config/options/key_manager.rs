//! `[key_manager]` and `[barbican]`: where the certificates of signed images are, as the library castellan reads them.

use super::{Kind, Row};

const fn barbican(name: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row::new("barbican", name, kind, doc)
}

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "key_manager",
        "backend",
        Kind::Str,
        "what holds the certificates of signed images: `barbican`; with any other, signed images are refused",
    )
    .default("barbican")
    .aliases(&[("key_manager", "api_class")]),
    barbican("barbican_endpoint", Kind::Str, "Barbican's address; unset: from Keystone's catalog"),
    barbican(
        "barbican_endpoint_type",
        Kind::Choice(&["public", "internal", "admin"]),
        "which of its addresses in the catalog",
    )
    .default("public"),
    barbican("barbican_region_name", Kind::Str, "its region in the catalog; unset: any"),
    barbican(
        "auth_endpoint",
        Kind::Str,
        "Keystone's address, for the catalog; unset: `auth_url` of `[keystone_authtoken]`",
    )
    .aliases(&[("key_manager", "auth_url")]),
    barbican("verify_ssl", Kind::Bool, "check Barbican's certificate").default("true"),
    barbican(
        "verify_ssl_path",
        Kind::Str,
        "CA certificates for Barbican and, for the catalog, Keystone; unset: the system's",
    ),
];
