//! Who may do what: Glance's policy rules.

/// The caller as rules see it. All slices are borrowed from an [`Identity`](crate::identity::Identity).
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// User id.
    pub user_id: Option<&'a str>,
    /// Project id.
    pub project_id: Option<&'a str>,
    /// The user's domain.
    pub user_domain_id: Option<&'a str>,
    /// The project's domain.
    pub project_domain_id: Option<&'a str>,
    /// `all` for system-scoped tokens.
    pub system_scope: Option<&'a str>,
    /// Roles, lower case.
    pub roles: &'a [String],
    /// Roles of the service token, lower case.
    pub service_roles: &'a [String],
    /// Whether `context_is_admin` holds.
    pub is_admin: bool,
}
