//! `[keystone_authtoken]`: how tokens are validated; `[oslo_limit]`: where unified limits are read. With `auth_section`, who we
//! are is read from that group.

use super::{Kind, Row};

pub(super) const GROUP: &str = "keystone_authtoken";
const LIMIT: &str = "oslo_limit";

const fn row(name: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row::new(GROUP, name, kind, doc)
}

const fn limit(name: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row::new(LIMIT, name, kind, doc)
}

/// Where Keystone is and who we are for it, in the group `$group`.
macro_rules! account {
    ($group:expr) => {
        &[
            Row::new(
                $group,
                "auth_section",
                Kind::Str,
                "group that holds `auth_type`, `auth_url` and our account instead of this one",
            ),
            Row::new(
                $group,
                "auth_type",
                Kind::Choice(&["password", "v3password", "v3applicationcredential", "token", "v3token"]),
                "how we prove to Keystone who we are",
            )
            .aliases(&[($group, "auth_plugin")]),
            Row::new($group, "auth_url", Kind::Str, "Keystone's address for us"),
            Row::new($group, "username", Kind::Str, "our account's name").aliases(&[($group, "user_name")]),
            Row::new($group, "user_id", Kind::Str, "our account's id, instead of its name"),
            Row::new($group, "password", Kind::Secret, "our account's password"),
            Row::new($group, "user_domain_name", Kind::Str, "domain of our account, by name"),
            Row::new($group, "user_domain_id", Kind::Str, "domain of our account, by id"),
            Row::new($group, "project_name", Kind::Str, "project of our account, by name")
                .aliases(&[($group, "tenant_name")]),
            Row::new($group, "project_id", Kind::Str, "project of our account, by id")
                .aliases(&[($group, "tenant_id")]),
            Row::new($group, "project_domain_name", Kind::Str, "domain of that project, by name"),
            Row::new($group, "project_domain_id", Kind::Str, "domain of that project, by id"),
            Row::new($group, "domain_name", Kind::Str, "domain to be scoped to instead of a project, by name"),
            Row::new($group, "domain_id", Kind::Str, "domain to be scoped to instead of a project, by id"),
            Row::new($group, "system_scope", Kind::Str, "`all`: be scoped to the whole system instead of a project"),
            Row::new(
                $group,
                "default_domain_name",
                Kind::Str,
                "domain of account and project where none is set, by name",
            ),
            Row::new($group, "default_domain_id", Kind::Str, "domain of account and project where none is set, by id"),
            Row::new($group, "application_credential_id", Kind::Str, "application credential, by id"),
            Row::new(
                $group,
                "application_credential_name",
                Kind::Str,
                "application credential, by name; needs our account too",
            ),
            Row::new($group, "application_credential_secret", Kind::Secret, "secret of the application credential"),
            Row::new($group, "token", Kind::Secret, "a ready token, for `auth_type = token`"),
            Row::new($group, "cafile", Kind::Str, "CA certificates for Keystone"),
            Row::new($group, "certfile", Kind::Str, "client certificate for Keystone"),
            Row::new($group, "keyfile", Kind::Str, "its key"),
            Row::new($group, "insecure", Kind::Bool, "do not check Keystone's certificate").default("false"),
        ]
    };
}

/// The account of `[keystone_authtoken]`.
pub(super) const ACCOUNT: &[Row] = account!(GROUP);

/// The account of `[oslo_limit]`.
pub(super) const LIMIT_ACCOUNT: &[Row] = account!(LIMIT);

/// `[oslo_limit]` but for the account.
pub(super) const LIMIT_ROWS: &[Row] = &[
    limit("endpoint_id", Kind::Str, "the endpoint of this service in Keystone, to which limits belong, by id"),
    limit("endpoint_service_type", Kind::Str, "without `endpoint_id`: type of the endpoint's service, such as `image`"),
    limit("endpoint_service_name", Kind::Str, "without `endpoint_id`: name of the endpoint's service"),
    limit("endpoint_region_name", Kind::Str, "without `endpoint_id`: region of the endpoint"),
    limit(
        "endpoint_interface",
        Kind::Choice(&["public", "publicURL", "internal", "internalURL", "admin", "adminURL"]),
        "without `endpoint_id`: interface of the endpoint",
    )
    .default("public"),
    limit(
        "timeout",
        Kind::Int(1, 86_400),
        "seconds for one try of a request to Keystone; unset: half of `[control] keystone_timeout_seconds`",
    ),
    limit("connect_retries", Kind::Int(0, 100), "further tries of a failed request to Keystone").default("0"),
];

/// `[keystone_authtoken]` but for the account.
pub(super) const ROWS: &[Row] = &[
    row("www_authenticate_uri", Kind::Str, "Keystone's address for clients, shown with a 401; unset: `auth_url`"),
    row(
        "http_connect_timeout",
        Kind::Int(1, 86_400),
        "seconds for one try of a request to Keystone; unset: half of `[control] keystone_timeout_seconds`",
    ),
    row("http_request_max_retries", Kind::Int(0, 100), "further tries of a failed request to Keystone").default("3"),
    row(
        "token_cache_time",
        Kind::Int(-1, 86_400),
        "seconds for which a valid token is not asked about again; -1 or 0 = always ask",
    )
    .default("300"),
    row("service_token_roles", Kind::List, "roles that make a service token valid").default("service"),
    row("service_token_roles_required", Kind::Bool, "false: any valid service token will do").default("true"),
];
