//! Identities by Keystone's tokens, as its middleware hands them out.
//!
//! `wire` knows the documents, `cache` remembers what was answered.

mod cache;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::config::{Control, KeystoneAuth};
use common::identity::{Identity, Proof};
use common::{Error, Result};
use http::{HeaderValue, StatusCode};

use super::{Known, unauthenticated};
use crate::keystone::{CATALOG_PATH, Catalog, Health, SUBJECT_TOKEN, Session, Waiters, away};
use cache::{Answer, Cache, key};
use wire::Token;

/// Bytes of the longest token that Keystone is asked about. Its own are below 300; no web server takes longer headers.
const TOKEN_BYTES_MAX: usize = 8192;

/// Validates tokens.
pub(super) struct Keystone {
    options: Arc<KeystoneAuth>,
    session: Session,
    cache: Cache,
    health: Health,
    /// Longest time for one caller, with everything that it needs.
    timeout: Duration,
    /// Requests that wait for Keystone.
    waiters: Waiters,
}

impl Keystone {
    /// A validator as configured. Asks nothing yet.
    ///
    /// # Errors
    /// A certificate or key file that cannot be used.
    pub(super) fn new(options: Arc<KeystoneAuth>, control: &Control) -> Result<Self> {
        let timeout = control.keystone_timeout.min(control.rpc_timeout);
        Ok(Keystone {
            session: Session::new(options.access.clone(), timeout)?,
            cache: Cache::new(options.token_cache),
            health: Health::default(),
            timeout,
            waiters: Waiters::new(control),
            options,
        })
    }

    /// The holder of `proof`.
    ///
    /// # Errors
    /// 401 without a valid token, 403 for a token whose scope is not a project, 503 while Keystone does not answer.
    pub(super) async fn identify(&self, proof: &Proof) -> Result<Known> {
        tokio::time::timeout(self.timeout, self.holder(proof)).await.unwrap_or_else(|_| {
            self.health.failed();
            Err(self.told(away(format_args!("no answer within {:?}", self.timeout))))
        })
    }

    /// The catalog of a token.
    ///
    /// # Errors
    /// 401 for a token that is not valid, 400 for one without a catalog, 503 while Keystone does not answer.
    pub(super) async fn catalog(&self, token: &str) -> Result<Catalog> {
        let asked = self.session.get_as(CATALOG_PATH, token);
        let waited = tokio::time::timeout(self.timeout, asked).await;
        let answer = waited.unwrap_or_else(|_| Err(away(format_args!("no answer within {:?}", self.timeout))))?;
        match answer.status {
            StatusCode::OK => Catalog::parse(&answer.body),
            StatusCode::UNAUTHORIZED => Err(unauthenticated(&self.options.www_authenticate_uri)),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(away("its catalog is asked too often")),
            status if status.is_client_error() => {
                let error = Error::bad_request("The token does not tell where the services are.");
                Err(error.caused_by(format_args!("its catalog answered {status}")))
            }
            status => Err(away(format_args!("the catalog of a token answered {status}"))),
        }
    }

    async fn holder(&self, proof: &Proof) -> Result<Known> {
        let refused = || unauthenticated(&self.options.www_authenticate_uri);
        let token = proof.token.as_deref().filter(|token| !token.is_empty()).ok_or_else(refused)?;
        let service = self.service(proof.service_token.as_deref()).await?;
        // A service may finish what it began for a user whose token ended meanwhile.
        // Only the role makes it one, also where the option takes any service token.
        let roles = service.as_ref().and_then(|service| service.roles.as_deref());
        let allow_expired = roles.is_some_and(|roles| self.has_service_role(roles));
        let answer = self.validate(token, allow_expired).await?;
        let user = answer.token.ok_or_else(refused)?;
        if user.is_of_system || user.is_of_domain {
            return Err(Error::forbidden("Only tokens of a project may be used here."));
        }
        let until = service.as_ref().map_or(answer.until, |service| service.until.min(answer.until));
        let holds_for =
            if self.cache.keeps() { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
        let identity = Identity {
            user_id: user.user_id.clone(),
            project_id: user.project_id.clone(),
            roles: user.roles.clone(),
            service_roles: service.and_then(|service| service.roles).unwrap_or_default(),
            user_domain_id: user.user_domain_id.clone(),
            project_domain_id: user.project_domain_id.clone(),
            system_scope: None,
            is_admin: false,
            expires_at: Some(user.expires_at),
        };
        Ok(Known { identity, holds_for })
    }

    /// What is known of a service token; `None` without one.
    async fn service(&self, token: Option<&str>) -> Result<Option<Service>> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        let answer = self.validate(token, false).await?;
        let roles = answer.token.map(|token| token.roles.clone());
        let roles = roles.filter(|roles| !self.options.service_token_roles_required || self.has_service_role(roles));
        Ok(Some(Service { roles, until: answer.until }))
    }

    fn has_service_role(&self, roles: &[String]) -> bool {
        let wanted = &self.options.service_token_roles;
        roles.iter().any(|role| wanted.iter().any(|one| one.eq_ignore_ascii_case(role)))
    }

    /// What stands behind a token. Concurrent questions about one token are asked once.
    async fn validate(&self, token: &str, allow_expired: bool) -> Result<Answer> {
        let key = key(token, allow_expired);
        if token.len() > TOKEN_BYTES_MAX {
            return Ok(Answer { token: None, until: Instant::now() });
        }
        if let Some(known) = self.cache.get(&key, allow_expired) {
            return Ok(known);
        }
        let _waits = self.waiters.enter()?;
        let queue = self.cache.queue(key);
        let _turn = queue.turn().await;
        if let Some(known) = self.cache.get(&key, allow_expired) {
            return Ok(known);
        }
        let Some(question) = self.health.admit() else { return Err(Error { cause: None, ..away("") }) };
        let fetched = self.ask(token, allow_expired).await;
        question.ended(fetched.is_ok());
        let fetched = fetched.map_err(|error| self.told(error))?;
        Ok(self.cache.put(key, fetched.filter(|token| allow_expired || !token.has_ended()).map(Arc::new)))
    }

    /// Asks Keystone what stands behind `token`; `None` if it does not know it.
    async fn ask(&self, token: &str, allow_expired: bool) -> Result<Option<Token>> {
        let Ok(mut subject) = HeaderValue::try_from(token) else { return Ok(None) };
        subject.set_sensitive(true);
        let query = if allow_expired { "?nocatalog&allow_expired=1" } else { "?nocatalog" };
        let answer = self.session.get(&format!("/v3/auth/tokens{query}"), &[(SUBJECT_TOKEN, subject)]).await?;
        match answer.status {
            StatusCode::OK => wire::token(&answer.body).map(Some),
            // The latter are about what the client sent, not about us.
            StatusCode::NOT_FOUND
            | StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Ok(None),
            status => Err(away(format_args!("validation answered {status}"))),
        }
    }

    /// Logs a failure, once; the requests that fail by it are told without the cause.
    fn told(&self, error: Error) -> Error {
        tracing::warn!("Keystone at {}: {error}", self.options.access.auth_url);
        Error { cause: None, ..error }
    }
}

/// A service token that came along.
struct Service {
    /// `None`: it is invalid, or without the roles that it needs.
    roles: Option<Vec<String>>,
    until: Instant,
}
