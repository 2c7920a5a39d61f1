//! The caller as rules see it.

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

/// A part of the caller that a rule can name on its left side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    UserId,
    ProjectId,
    UserDomainId,
    ProjectDomainId,
    SystemScope,
    Roles,
    ServiceRoles,
    IsAdmin,
}

impl Key {
    /// The part that rules call `name`.
    pub(super) fn from_name(name: &str) -> Option<Key> {
        Some(match name {
            "user_id" => Key::UserId,
            "project_id" => Key::ProjectId,
            "user_domain_id" => Key::UserDomainId,
            "project_domain_id" => Key::ProjectDomainId,
            "system_scope" => Key::SystemScope,
            "roles" => Key::Roles,
            "service_roles" => Key::ServiceRoles,
            "is_admin" => Key::IsAdmin,
            _ => return None,
        })
    }

    /// Whether `matches` holds for this part of `caller`; for lists, for any item. An absent part matches nothing.
    pub(super) fn any(self, caller: &Credentials<'_>, mut matches: impl FnMut(&str) -> bool) -> bool {
        match self {
            Key::UserId => caller.user_id.is_some_and(matches),
            Key::ProjectId => caller.project_id.is_some_and(matches),
            Key::UserDomainId => caller.user_domain_id.is_some_and(matches),
            Key::ProjectDomainId => caller.project_domain_id.is_some_and(matches),
            Key::SystemScope => caller.system_scope.is_some_and(matches),
            Key::Roles => caller.roles.iter().any(|role| matches(role)),
            Key::ServiceRoles => caller.service_roles.iter().any(|role| matches(role)),
            Key::IsAdmin => matches(if caller.is_admin { "True" } else { "False" }),
        }
    }
}
