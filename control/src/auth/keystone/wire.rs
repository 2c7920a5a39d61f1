//! Keystone's documents, version 3 of the Identity API.

use common::config::{Scope, ServiceCredentials};
use common::time::Timestamp;
use common::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// What a token says of its holder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) user_id: String,
    pub(super) user_domain_id: Option<String>,
    pub(super) project_id: Option<String>,
    pub(super) project_domain_id: Option<String>,
    /// Lower case.
    pub(super) roles: Vec<String>,
    pub(super) is_of_system: bool,
    pub(super) is_of_domain: bool,
    /// Seconds since 1970.
    pub(super) expires_at: i64,
}

#[derive(Deserialize)]
struct Document {
    token: TokenDocument,
}

#[derive(Deserialize)]
struct TokenDocument {
    expires_at: String,
    #[serde(default)]
    user: Option<Holder>,
    #[serde(default)]
    project: Option<Holder>,
    #[serde(default)]
    domain: Option<Named>,
    #[serde(default)]
    system: Option<Value>,
    #[serde(default)]
    roles: Vec<Role>,
}

#[derive(Deserialize)]
struct Holder {
    id: String,
    #[serde(default)]
    domain: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    id: Option<String>,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

/// Reads the answer to a validation, or to a request for a token.
///
/// # Errors
/// 503: this is not Keystone.
pub(super) fn token(body: &[u8]) -> Result<Token> {
    let unreadable = |cause: String| {
        Error::unavailable(super::client::AWAY_TEXT, super::client::RETRY_AFTER_SECONDS).caused_by(cause)
    };
    let Document { token } = serde_json::from_slice(body).map_err(|error| unreadable(format!("token: {error}")))?;
    let expires_at = Timestamp::parse(&token.expires_at)
        .ok_or_else(|| unreadable(format!("expires_at {:?}", token.expires_at)))?
        .as_seconds();
    let domain_of = |holder: &Option<Holder>| holder.as_ref().and_then(|holder| holder.domain.as_ref()?.id.clone());
    Ok(Token {
        user_domain_id: domain_of(&token.user),
        project_domain_id: domain_of(&token.project),
        user_id: token.user.map(|user| user.id).unwrap_or_default(),
        project_id: token.project.map(|project| project.id),
        roles: token.roles.into_iter().map(|role| role.name.to_lowercase()).collect(),
        is_of_system: token.system.is_some(),
        is_of_domain: token.domain.is_some(),
        expires_at,
    })
}

/// The request for a token of our own; `None` when we were given a ready one.
pub(super) fn authentication(credentials: &ServiceCredentials, scope: &Scope) -> Option<Value> {
    let identity = match credentials {
        ServiceCredentials::Password { username, user_id, user_domain_name, user_domain_id, password } => {
            let mut user = account(username, user_id, user_domain_name, user_domain_id);
            user["password"] = json!(password.expose());
            json!({"methods": ["password"], "password": {"user": user}})
        }
        ServiceCredentials::ApplicationCredential {
            id,
            name,
            username,
            user_id,
            user_domain_name,
            user_domain_id,
            secret,
        } => {
            let mut credential = json!({"secret": secret.expose()});
            match id {
                Some(id) => credential["id"] = json!(id),
                None => {
                    credential["name"] = json!(name);
                    credential["user"] = account(username, user_id, user_domain_name, user_domain_id);
                }
            }
            json!({"methods": ["application_credential"], "application_credential": credential})
        }
        ServiceCredentials::Token(_) => return None,
    };
    let mut auth = json!({"identity": identity});
    if let Some(scope) = scope_document(scope) {
        auth["scope"] = scope;
    }
    Some(json!({"auth": auth}))
}

/// An account by its id, or by its name and its domain.
fn account(
    name: &Option<String>,
    id: &Option<String>,
    domain_name: &Option<String>,
    domain_id: &Option<String>,
) -> Value {
    named(name.as_deref(), id.as_deref(), Some((domain_name.as_deref(), domain_id.as_deref())))
}

/// `{"id": …}`, or `{"name": …, "domain": …}`.
fn named(name: Option<&str>, id: Option<&str>, domain: Option<(Option<&str>, Option<&str>)>) -> Value {
    match (id, domain) {
        (Some(id), _) => json!({"id": id}),
        (None, Some((domain_name, domain_id))) => {
            json!({"name": name, "domain": named(domain_name, domain_id, None)})
        }
        (None, None) => json!({"name": name}),
    }
}

fn scope_document(scope: &Scope) -> Option<Value> {
    match scope {
        Scope::Unscoped => None,
        Scope::Project { name, id, domain_name, domain_id } => Some(json!({
            "project": named(name.as_deref(), id.as_deref(), Some((domain_name.as_deref(), domain_id.as_deref()))),
        })),
        Scope::Domain { name, id } => Some(json!({"domain": named(name.as_deref(), id.as_deref(), None)})),
        Scope::System => Some(json!({"system": {"all": true}})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::Secret;

    #[test]
    fn a_token_tells_its_holder() {
        let body = json!({"token": {
            "expires_at": "2026-11-21T10:00:00.000000Z",
            "user": {"id": "u", "name": "n", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p", "name": "n", "domain": {"id": "d2", "name": "D"}},
            "roles": [{"id": "1", "name": "Member"}, {"id": "2", "name": "reader"}],
            "catalog": [], "methods": ["password"],
        }});
        let token = token(body.to_string().as_bytes()).expect("a token");
        assert_eq!(token.user_id, "u");
        assert_eq!(token.project_id.as_deref(), Some("p"));
        assert_eq!(token.project_domain_id.as_deref(), Some("d2"));
        assert_eq!(token.roles, ["member", "reader"]);
        assert_eq!(token.expires_at, 1_795_255_200);
        assert!(!token.is_of_system && !token.is_of_domain);
    }

    #[test]
    fn other_scopes_are_told_apart() {
        let with = |part: Value| {
            let mut body = json!({"token": {"expires_at": "2026-11-21T10:00:00Z", "user": {"id": "u"}}});
            if let (Value::Object(into), Value::Object(part)) = (&mut body["token"], part) {
                into.extend(part);
            }
            token(body.to_string().as_bytes()).expect("a token")
        };
        assert!(with(json!({"system": {"all": true}})).is_of_system);
        assert!(with(json!({"domain": {"id": "d"}})).is_of_domain);
        assert_eq!(with(json!({})).project_id, None);
    }

    #[test]
    fn what_is_not_keystone_is_unavailable() {
        for body in ["", "<html>", "{}", r#"{"token": {"expires_at": "soon"}}"#] {
            assert_eq!(token(body.as_bytes()).expect_err(body).status().as_u16(), 503);
        }
    }

    #[test]
    fn we_ask_for_a_token_by_password() {
        let credentials = ServiceCredentials::Password {
            username: Some("glance".into()),
            user_id: None,
            user_domain_name: None,
            user_domain_id: Some("default".into()),
            password: Secret::new("s3"),
        };
        let scope = Scope::Project {
            name: Some("service".into()),
            id: None,
            domain_name: Some("Default".into()),
            domain_id: None,
        };
        let user = json!({"name": "glance", "domain": {"id": "default"}, "password": "s3"});
        assert_eq!(
            authentication(&credentials, &scope),
            Some(json!({"auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "service", "domain": {"name": "Default"}}},
            }}))
        );
    }

    #[test]
    fn an_application_credential_has_its_own_scope() {
        let credentials = ServiceCredentials::ApplicationCredential {
            id: Some("ac".into()),
            name: None,
            username: None,
            user_id: None,
            user_domain_name: None,
            user_domain_id: None,
            secret: Secret::new("s3"),
        };
        let credential = json!({"secret": "s3", "id": "ac"});
        assert_eq!(
            authentication(&credentials, &Scope::Unscoped),
            Some(json!({"auth": {"identity": {
                "methods": ["application_credential"], "application_credential": credential,
            }}}))
        );
    }
}
