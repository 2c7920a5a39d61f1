//! How we ask Keystone for a token of our own, in version 3 of the Identity API.

use common::Result;
use common::config::{Scope, ServiceCredentials};
use common::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::away;

#[derive(Deserialize)]
struct Document {
    token: Ends,
}

#[derive(Deserialize)]
struct Ends {
    expires_at: String,
}

/// When the token that Keystone gave us ends, seconds since 1970.
///
/// # Errors
/// 503: this is not Keystone.
pub(super) fn expires_at(body: &[u8]) -> Result<i64> {
    let Document { token } = serde_json::from_slice(body).map_err(|error| away(format_args!("token: {error}")))?;
    let ends = Timestamp::parse(&token.expires_at);
    ends.map(Timestamp::as_seconds).ok_or_else(|| away(format_args!("expires_at {:?}", token.expires_at)))
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
    fn our_token_says_when_it_ends() {
        let body = json!({"token": {"expires_at": "2026-11-21T10:00:00.000000Z", "user": {"id": "u"}}});
        assert_eq!(expires_at(body.to_string().as_bytes()), Ok(1_795_255_200));
        for body in ["", "<html>", "{}", r#"{"token": {"expires_at": "soon"}}"#] {
            assert_eq!(expires_at(body.as_bytes()).expect_err(body).status().as_u16(), 503);
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
