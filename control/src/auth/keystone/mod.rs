//! Identities by Keystone's tokens, as its middleware hands them out.
//!
//! `client` speaks HTTP, `wire` knows the documents, `cache` remembers what was answered.

mod cache;
mod client;
mod tls;
mod wire;

use std::sync::Arc;

use common::config::KeystoneAuth;
use common::identity::{Identity, Proof};
use common::time::Timestamp;
use common::{Error, Result};

use super::unauthenticated;
use cache::{Answer, Cache};
use client::Client;
use wire::Token;

/// Validates tokens.
pub(super) struct Keystone {
    options: Arc<KeystoneAuth>,
    client: Client,
    cache: Cache,
}

impl Keystone {
    /// A validator as configured. Asks nothing yet.
    ///
    /// # Errors
    /// A certificate or key file that cannot be used.
    pub(super) fn new(options: Arc<KeystoneAuth>) -> Result<Self> {
        let client = Client::new(options.clone())?;
        Ok(Keystone { cache: Cache::new(options.token_cache), client, options })
    }

    /// The holder of `proof`.
    ///
    /// # Errors
    /// 401 without a valid token, 403 for a token whose scope is not a project, 503 while Keystone does not answer.
    pub(super) async fn identify(&self, proof: &Proof) -> Result<Identity> {
        let refused = || unauthenticated(&self.options.www_authenticate_uri);
        let token = proof.token.as_deref().filter(|token| !token.is_empty()).ok_or_else(refused)?;
        let service_roles = self.service_roles(proof.service_token.as_deref()).await?;
        // A service may finish what it began for a user whose token ended meanwhile.
        // Only the role makes it one, also where the option takes any service token.
        let wanted = &self.options.service_token_roles;
        let is_service = |role: &String| wanted.iter().any(|one| one.eq_ignore_ascii_case(role));
        let allow_expired = service_roles.as_ref().is_some_and(|roles| roles.iter().any(is_service));
        let user = self.validate(token, allow_expired).await?.ok_or_else(refused)?;
        if user.is_of_system || user.is_of_domain {
            return Err(Error::forbidden("Only tokens of a project may be used here."));
        }
        Ok(Identity {
            user_id: user.user_id.clone(),
            project_id: user.project_id.clone(),
            roles: user.roles.clone(),
            service_roles: service_roles.unwrap_or_default(),
            user_domain_id: user.user_domain_id.clone(),
            project_domain_id: user.project_domain_id.clone(),
            system_scope: None,
            is_admin: false,
            expires_at: Some(user.expires_at),
        })
    }

    /// The roles of a valid service token; `None` for one that is missing, invalid or without the roles it needs.
    async fn service_roles(&self, token: Option<&str>) -> Result<Option<Vec<String>>> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        let Some(service) = self.validate(token, false).await? else { return Ok(None) };
        let wanted = &self.options.service_token_roles;
        let has_role = service.roles.iter().any(|role| wanted.iter().any(|one| one.eq_ignore_ascii_case(role)));
        let accepted = has_role || !self.options.service_token_roles_required;
        Ok(accepted.then(|| service.roles.clone()))
    }

    /// What stands behind a token; `None` if it is not valid. Concurrent questions about one token are asked once.
    async fn validate(&self, token: &str, allow_expired: bool) -> Result<Option<Arc<Token>>> {
        let slot = self.cache.slot(token, allow_expired);
        let mut answer = slot.lock().await;
        if let Some(known) = answer.as_ref().and_then(|answer| answer.fresh(allow_expired)) {
            return known;
        }
        let fetched = self.client.validate(token, allow_expired).await;
        if let Err(error) = &fetched {
            tracing::warn!("Keystone: {error}");
        }
        let fetched = fetched.map(|token| token.filter(|token| allow_expired || !has_ended(token)).map(Arc::new));
        *answer = Some(Answer::new(fetched.clone(), self.options.token_cache));
        fetched
    }
}

fn has_ended(token: &Token) -> bool {
    token.expires_at <= Timestamp::now().as_seconds()
}
