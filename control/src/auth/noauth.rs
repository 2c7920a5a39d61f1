//! No authentication: everybody is the administrator and a member of one project.

use common::identity::Identity;

/// The one user.
const USER: &str = "vitrine-user";

/// The one project, which owns whatever is made.
const PROJECT: &str = "vitrine-project";

/// Domain of both.
const DOMAIN: &str = "default";

/// The caller, whoever it is.
pub(super) fn identity() -> Identity {
    Identity {
        user_id: USER.to_owned(),
        project_id: Some(PROJECT.to_owned()),
        roles: ["admin", "member", "reader"].map(str::to_owned).to_vec(),
        user_domain_id: Some(DOMAIN.to_owned()),
        project_domain_id: Some(DOMAIN.to_owned()),
        is_admin: true,
        ..Identity::default()
    }
}
