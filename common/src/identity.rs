//! Who is calling.

use serde::{Deserialize, Serialize};

use crate::policy::Credentials;

/// What a request brought along to prove who sends it. Never logged.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// `X-Auth-Token`.
    pub token: Option<String>,
    /// `X-Service-Token`.
    pub service_token: Option<String>,
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proof")
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("service_token", &self.service_token.as_ref().map(|_| "***"))
            .finish()
    }
}

/// A caller's token, lent for a task that they asked for. Kept in memory only, and never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Takes `text` in.
    pub fn new(text: impl Into<String>) -> Self {
        Token(text.into())
    }

    /// The text itself, for where it is sent.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// An authenticated caller, as Keystone (or the fixed identity of `flavor = none`) describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id, empty when the caller has none.
    pub user_id: String,
    /// Project id the token is scoped to; `None` for system- or domain-scoped tokens.
    pub project_id: Option<String>,
    /// Roles in that scope, lower case.
    pub roles: Vec<String>,
    /// Roles of the service token, lower case; empty when none came or it was not accepted.
    pub service_roles: Vec<String>,
    /// The user's domain.
    pub user_domain_id: Option<String>,
    /// The project's domain.
    pub project_domain_id: Option<String>,
    /// `all` for system-scoped tokens.
    pub system_scope: Option<String>,
    /// Whether the policy rule `context_is_admin` holds: sees and changes everything.
    pub is_admin: bool,
    /// When the token ends, seconds since 1970; `None` for the fixed identity.
    pub expires_at: Option<i64>,
}

/// The one user where there is no authentication.
const EVERYBODY: &str = "vitrine-user";

/// The one project there, which owns whatever is made.
const EVERYBODYS_PROJECT: &str = "vitrine-project";

/// Domain of both.
const EVERYBODYS_DOMAIN: &str = "default";

impl Identity {
    /// Who everybody is where there is no authentication (`flavor` is none): the administrator of one fixed project,
    /// with every role that the default policy asks for, so that the stock clients can do everything.
    pub fn everybody() -> Self {
        Identity {
            user_id: EVERYBODY.to_owned(),
            project_id: Some(EVERYBODYS_PROJECT.to_owned()),
            user_domain_id: Some(EVERYBODYS_DOMAIN.to_owned()),
            project_domain_id: Some(EVERYBODYS_DOMAIN.to_owned()),
            roles: ["admin", "member", "reader"].map(str::to_owned).to_vec(),
            is_admin: true,
            ..Identity::default()
        }
    }

    /// Whether `project` (an image's owner, a member) is the caller's project.
    pub fn is_project(&self, project: Option<&str>) -> bool {
        match (self.project_id.as_deref(), project) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => false,
        }
    }

    /// The identity as the policy engine wants it.
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials {
            user_id: Some(&self.user_id),
            project_id: self.project_id.as_deref(),
            user_domain_id: self.user_domain_id.as_deref(),
            project_domain_id: self.project_domain_id.as_deref(),
            system_scope: self.system_scope.as_deref(),
            roles: &self.roles,
            service_roles: &self.service_roles,
            is_admin: self.is_admin,
        }
    }
}
