//! Who we are for Keystone, and what we ask it, as the program uses it.

use std::path::PathBuf;
use std::time::Duration;

use super::resolved::Secret;

/// How Keystone is reached, and who we are for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeystoneAccess {
    /// The group of the configuration that this comes from, for messages.
    pub group: &'static str,
    /// Keystone's address for us, without `/v3` and without a slash at the end.
    pub auth_url: String,
    /// Who we are.
    pub credentials: ServiceCredentials,
    /// What our own token is for.
    pub scope: Scope,
    /// Longest wait for one try of a request; `None`: half of [`Control::keystone_timeout`].
    pub connect_timeout: Option<Duration>,
    /// Further tries of a failed request.
    pub request_retries: u32,
    /// CA certificates.
    pub ca_file: Option<PathBuf>,
    /// Client certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Whether Keystone's certificate goes unchecked.
    pub insecure: bool,
}

/// How tokens are validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeystoneAuth {
    /// The way to Keystone.
    pub access: KeystoneAccess,
    /// Keystone's address for clients, for the header of a 401.
    pub www_authenticate_uri: String,
    /// How long a valid token is not asked about again; `None`: always ask.
    pub token_cache: Option<Duration>,
    /// Roles that make a service token valid.
    pub service_token_roles: Vec<String>,
    /// `false`: any valid service token will do.
    pub service_token_roles_required: bool,
}

/// Who we are for Keystone. In pairs of name and id, the id wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceCredentials {
    /// An account with a password.
    Password {
        /// Name of the account.
        username: Option<String>,
        /// Its id.
        user_id: Option<String>,
        /// Name of its domain.
        user_domain_name: Option<String>,
        /// Id of its domain.
        user_domain_id: Option<String>,
        /// Its password.
        password: Secret,
    },
    /// An application credential; it carries its own scope.
    ApplicationCredential {
        /// Its id.
        id: Option<String>,
        /// Its name; then the account is needed too.
        name: Option<String>,
        /// Name of the account that made it.
        username: Option<String>,
        /// Id of that account.
        user_id: Option<String>,
        /// Name of the account's domain.
        user_domain_name: Option<String>,
        /// Id of the account's domain.
        user_domain_id: Option<String>,
        /// Its secret.
        secret: Secret,
    },
    /// A ready token.
    Token(Secret),
}

/// What our own token is for. In pairs of name and id, the id wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Nothing in particular, or what the credential carries.
    Unscoped,
    /// A project.
    Project {
        /// Its name.
        name: Option<String>,
        /// Its id.
        id: Option<String>,
        /// Name of its domain.
        domain_name: Option<String>,
        /// Id of its domain.
        domain_id: Option<String>,
    },
    /// A domain.
    Domain {
        /// Its name.
        name: Option<String>,
        /// Its id.
        id: Option<String>,
    },
    /// The whole system.
    System,
}

/// Where Keystone's unified limits are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnifiedLimits {
    /// The way to Keystone.
    pub access: KeystoneAccess,
    /// Which endpoint of Keystone's catalogue this service is: limits belong to its service and region.
    pub endpoint: LimitsEndpoint,
}

/// An endpoint in Keystone's catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitsEndpoint {
    /// By its id.
    Id(String),
    /// The one endpoint that fits.
    Lookup {
        /// Type of its service.
        service_type: Option<String>,
        /// Name of its service; one of both is set.
        service_name: Option<String>,
        /// Its region.
        region: Option<String>,
        /// `public`, `internal` or `admin`.
        interface: String,
    },
}
