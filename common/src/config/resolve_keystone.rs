//! `[keystone_authtoken]`, read when the flavor asks for it, and `[oslo_limit]`, when quotas come from there.

use std::path::PathBuf;
use std::time::Duration;

use super::problem::Problem;
use super::resolved::{KeystoneAccess, KeystoneAuth, LimitsEndpoint, Scope, Secret, ServiceCredentials, UnifiedLimits};
use super::settings::Settings;

pub(super) const GROUP: &str = "keystone_authtoken";
pub(super) const LIMIT_GROUP: &str = "oslo_limit";

/// Options of our own account: read from the group that `auth_section` names.
struct Account<'s, 'e> {
    settings: &'s Settings<'e>,
    /// The group whose rows they are.
    rows: &'static str,
    group: String,
}

impl<'s, 'e> Account<'s, 'e> {
    fn of(settings: &'s Settings<'e>, rows: &'static str) -> Self {
        let group = settings.text(rows, "auth_section").unwrap_or_else(|| rows.to_owned());
        Account { settings, rows, group }
    }

    fn text(&self, name: &'static str) -> Option<String> {
        self.settings.text_in(self.rows, &[&self.group], name)
    }

    /// A pair of name and id, either of which may come from `default_domain_*`.
    fn domain(&self, name: &'static str, id: &'static str) -> (Option<String>, Option<String>) {
        let (name, id) = (self.text(name), self.text(id));
        if name.is_some() || id.is_some() {
            return (name, id);
        }
        (self.text("default_domain_name"), self.text("default_domain_id"))
    }

    fn missing(&self, option: &str, reason: &str) {
        let (group, option, reason) = (self.group.clone(), option.to_owned(), reason.to_owned());
        self.settings.problem(Problem::Missing { group, option, reason });
    }

    fn secret(&self, name: &'static str, reason: &str) -> Secret {
        let text = self.text(name);
        if text.is_none() {
            self.missing(name, reason);
        }
        Secret::new(text.unwrap_or_default())
    }
}

/// Validation of tokens as the options say. `None`: there is a problem that says why.
pub(super) fn resolve(settings: &Settings<'_>) -> Option<KeystoneAuth> {
    let tries = Tries { timeout: "http_connect_timeout", retries: "http_request_max_retries" };
    let access = access(settings, GROUP, &tries);
    let www_authenticate_uri = settings.text(GROUP, "www_authenticate_uri");
    let rest = |access: KeystoneAccess| KeystoneAuth {
        www_authenticate_uri: www_authenticate_uri.unwrap_or_else(|| access.auth_url.clone()),
        access,
        token_cache: seconds(settings, GROUP, "token_cache_time").filter(|time| !time.is_zero()),
        service_token_roles: settings
            .list(GROUP, "service_token_roles")
            .iter()
            .map(|role| role.to_lowercase())
            .collect(),
        service_token_roles_required: settings.bool(GROUP, "service_token_roles_required"),
    };
    access.map(rest)
}

/// Unified limits as the options say. `None`: there is a problem that says why.
pub(super) fn limits(settings: &Settings<'_>) -> Option<UnifiedLimits> {
    let text = |name| settings.text(LIMIT_GROUP, name);
    let access = access(settings, LIMIT_GROUP, &Tries { timeout: "timeout", retries: "connect_retries" });
    let (service_type, service_name) = (text("endpoint_service_type"), text("endpoint_service_name"));
    let (region, interface) = (text("endpoint_region_name"), text("endpoint_interface").unwrap_or_default());
    let endpoint = match text("endpoint_id") {
        Some(id) => LimitsEndpoint::Id(id),
        None => {
            if service_type.is_none() && service_name.is_none() {
                let reason = "use_keystone_limits needs to know which limits are ours; or set endpoint_service_type";
                let (group, option) = (LIMIT_GROUP.to_owned(), "endpoint_id".to_owned());
                settings.problem(Problem::Missing { group, option, reason: reason.to_owned() });
            }
            let interface = interface.strip_suffix("URL").unwrap_or(&interface).to_owned();
            LimitsEndpoint::Lookup { service_type, service_name, region, interface }
        }
    };
    Some(UnifiedLimits { access: access?, endpoint })
}

/// Names of the options that say how often and how long Keystone is tried.
struct Tries {
    timeout: &'static str,
    retries: &'static str,
}

fn seconds(settings: &Settings<'_>, group: &'static str, name: &'static str) -> Option<Duration> {
    settings.int(group, name).and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}

/// The way to Keystone that the options of `group` say. `None`: there is a problem that says why.
fn access(settings: &Settings<'_>, group: &'static str, tries: &Tries) -> Option<KeystoneAccess> {
    let account = Account::of(settings, group);
    let credentials = credentials(&account);
    let auth_url = auth_url(&account);
    let scope = scope(&account);
    let path = |name| settings.text(group, name).map(PathBuf::from);
    let rest = |auth_url, credentials| KeystoneAccess {
        group,
        auth_url,
        credentials,
        scope,
        connect_timeout: seconds(settings, group, tries.timeout),
        request_retries: settings.count(group, tries.retries),
        ca_file: path("cafile"),
        cert_file: path("certfile"),
        key_file: path("keyfile"),
        insecure: settings.bool(group, "insecure"),
    };
    match (auth_url, credentials) {
        (Some(auth_url), Some(credentials)) => Some(rest(auth_url, credentials)),
        _ => None,
    }
}

fn auth_url(account: &Account<'_, '_>) -> Option<String> {
    let Some(url) = account.text("auth_url") else {
        account.missing("auth_url", "Keystone's address is needed");
        return None;
    };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        account.settings.bad(
            account.rows,
            &[&account.group],
            "auth_url",
            &url,
            "a URL that begins with http:// or https://",
        );
        return None;
    }
    Some(without_version(&url).to_owned())
}

/// Keystone's address without `/v3` and slashes at its end.
pub(super) fn without_version(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v3").unwrap_or(url).trim_end_matches('/')
}

fn credentials(account: &Account<'_, '_>) -> Option<ServiceCredentials> {
    let Some(kind) = account.text("auth_type") else {
        account.missing("auth_type", "an account of ours is needed, for example auth_type = password");
        return None;
    };
    let (username, user_id) = (account.text("username"), account.text("user_id"));
    let (user_domain_name, user_domain_id) = account.domain("user_domain_name", "user_domain_id");
    let need_account = |reason| {
        if username.is_none() && user_id.is_none() {
            account.missing("username", reason);
        } else if user_id.is_none() && user_domain_name.is_none() && user_domain_id.is_none() {
            account.missing("user_domain_name", "a name alone does not say which account it is");
        }
    };
    Some(match kind.as_str() {
        "v3applicationcredential" => {
            let (id, name) = (account.text("application_credential_id"), account.text("application_credential_name"));
            match (&id, &name) {
                (Some(_), _) => {}
                (None, Some(_)) => need_account("the application credential is given by name"),
                (None, None) => account.missing("application_credential_id", "auth_type asks for it"),
            }
            let secret = account.secret("application_credential_secret", "auth_type asks for it");
            ServiceCredentials::ApplicationCredential {
                id,
                name,
                username,
                user_id,
                user_domain_name,
                user_domain_id,
                secret,
            }
        }
        "token" | "v3token" => ServiceCredentials::Token(account.secret("token", "auth_type asks for it")),
        _ => {
            need_account("auth_type asks for it");
            let password = account.secret("password", "auth_type asks for it");
            ServiceCredentials::Password { username, user_id, user_domain_name, user_domain_id, password }
        }
    })
}

fn scope(account: &Account<'_, '_>) -> Scope {
    let (name, id) = (account.text("project_name"), account.text("project_id"));
    let (domain_name, domain_id) = account.domain("project_domain_name", "project_domain_id");
    let domain = (account.text("domain_name"), account.text("domain_id"));
    match account.text("system_scope") {
        Some(all) if all == "all" => return Scope::System,
        Some(other) => account.settings.bad(account.rows, &[&account.group], "system_scope", &other, "all, or empty"),
        None => {}
    }
    if name.is_some() || id.is_some() {
        if id.is_none() && domain_name.is_none() && domain_id.is_none() {
            account.missing("project_domain_name", "a name alone does not say which project it is");
        }
        return Scope::Project { name, id, domain_name, domain_id };
    }
    match domain {
        (None, None) => Scope::Unscoped,
        (name, id) => Scope::Domain { name, id },
    }
}
