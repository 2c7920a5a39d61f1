//! What Keystone says of a token, in version 3 of the Identity API.

use common::Result;
use common::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::keystone::away;

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

/// Reads the answer to a validation.
///
/// # Errors
/// 503: this is not Keystone.
pub(super) fn token(body: &[u8]) -> Result<Token> {
    let Document { token } = serde_json::from_slice(body).map_err(|error| away(format_args!("token: {error}")))?;
    let expires_at = Timestamp::parse(&token.expires_at)
        .ok_or_else(|| away(format_args!("expires_at {:?}", token.expires_at)))?
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
}
