//! `[keystone_authtoken]`: how tokens are validated. With `auth_section`, who we are is read from that group.

use super::{Kind, Row};

pub(super) const GROUP: &str = "keystone_authtoken";

const fn row(name: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row::new(GROUP, name, kind, doc)
}

pub(super) const ROWS: &[Row] = &[
    row("www_authenticate_uri", Kind::Str, "Keystone's address for clients, shown with a 401; unset: `auth_url`"),
    row("auth_section", Kind::Str, "group that holds `auth_type`, `auth_url` and our account instead of this one"),
    row(
        "auth_type",
        Kind::Choice(&["password", "v3password", "v3applicationcredential", "token", "v3token"]),
        "how we prove to Keystone who we are",
    )
    .aliases(&[(GROUP, "auth_plugin")]),
    row("auth_url", Kind::Str, "Keystone's address for us"),
    row("username", Kind::Str, "our account's name").aliases(&[(GROUP, "user_name")]),
    row("user_id", Kind::Str, "our account's id, instead of its name"),
    row("password", Kind::Secret, "our account's password"),
    row("user_domain_name", Kind::Str, "domain of our account, by name"),
    row("user_domain_id", Kind::Str, "domain of our account, by id"),
    row("project_name", Kind::Str, "project of our account, by name").aliases(&[(GROUP, "tenant_name")]),
    row("project_id", Kind::Str, "project of our account, by id").aliases(&[(GROUP, "tenant_id")]),
    row("project_domain_name", Kind::Str, "domain of that project, by name"),
    row("project_domain_id", Kind::Str, "domain of that project, by id"),
    row("domain_name", Kind::Str, "domain to be scoped to instead of a project, by name"),
    row("domain_id", Kind::Str, "domain to be scoped to instead of a project, by id"),
    row("system_scope", Kind::Str, "`all`: be scoped to the whole system instead of a project"),
    row("default_domain_name", Kind::Str, "domain of account and project where none is set, by name"),
    row("default_domain_id", Kind::Str, "domain of account and project where none is set, by id"),
    row("application_credential_id", Kind::Str, "application credential, by id"),
    row("application_credential_name", Kind::Str, "application credential, by name; needs our account too"),
    row("application_credential_secret", Kind::Secret, "secret of the application credential"),
    row("token", Kind::Secret, "a ready token, for `auth_type = token`"),
    row(
        "http_connect_timeout",
        Kind::Int(1, 86_400),
        "seconds for one try of a request to Keystone; unset: half of `[control] keystone_timeout_seconds`",
    ),
    row("http_request_max_retries", Kind::Int(0, 100), "further tries of a failed request to Keystone").default("3"),
    row("cafile", Kind::Str, "CA certificates for Keystone"),
    row("certfile", Kind::Str, "client certificate for Keystone"),
    row("keyfile", Kind::Str, "its key"),
    row("insecure", Kind::Bool, "do not check Keystone's certificate").default("false"),
    row(
        "token_cache_time",
        Kind::Int(-1, 86_400),
        "seconds for which a valid token is not asked about again; -1 or 0 = always ask",
    )
    .default("300"),
    row("service_token_roles", Kind::List, "roles that make a service token valid").default("service"),
    row("service_token_roles_required", Kind::Bool, "false: any valid service token will do").default("true"),
];
