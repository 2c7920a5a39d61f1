//! Who is calling.

mod keystone;

use std::sync::Arc;
use std::time::Duration;

use common::authorise::Authority;
use common::config::Config;
use common::identity::{Identity, Proof, Token};
use common::{Error, Kind, Result};

use keystone::Keystone;

use crate::keystone::Catalog;

/// What a caller without a valid token reads.
const UNAUTHENTICATED_TEXT: &str = "This server could not verify that you are authorized to access the document you \
     requested. Either you supplied the wrong credentials (e.g., bad password), or your browser does not understand \
     how to supply the credentials required.";

/// How long an identity holds for which nobody was asked.
const UNASKED_HOLDS: Duration = Duration::from_mins(1);

/// Turns what a request brings along into who sends it.
pub struct Authenticator {
    source: Source,
    authority: Arc<Authority>,
    allow_anonymous: bool,
}

/// Where identities come from.
enum Source {
    /// Everybody is the administrator of one project.
    None,
    /// Keystone's tokens.
    Keystone(Box<Keystone>),
}

impl Authenticator {
    /// As `config` says. `authority` decides who is an administrator.
    ///
    /// # Errors
    /// A certificate or key file that cannot be used; the message names it.
    pub fn new(config: &Config, authority: Arc<Authority>) -> Result<Self> {
        let source = match &config.auth.keystone {
            None => Source::None,
            Some(options) => Source::Keystone(Box::new(Keystone::new(Arc::new(options.clone()), &config.control)?)),
        };
        Ok(Authenticator { source, authority, allow_anonymous: config.auth.allow_anonymous_access })
    }

    /// The holder of `proof`.
    ///
    /// # Errors
    /// 401 without a valid token, 403 for a token whose scope is not a project, 503 while Keystone does not answer.
    pub async fn identify(&self, proof: &Proof) -> Result<Identity> {
        self.know(proof).await.map(|known| known.identity)
    }

    /// The services that the catalog of a token tells of; `None` where there is no Keystone.
    ///
    /// # Errors
    /// 401 for a token that is not valid any more, 400 for one without a catalog, 503 while Keystone does not answer.
    pub(crate) async fn catalog(&self, token: &Token) -> Result<Option<Catalog>> {
        match &self.source {
            Source::None => Ok(None),
            Source::Keystone(keystone) => keystone.catalog(token.expose()).await.map(Some),
        }
    }

    /// As [`Authenticator::identify`], with how long that holds.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn know(&self, proof: &Proof) -> Result<Known> {
        let Source::Keystone(keystone) = &self.source else {
            return Ok(Known { identity: Identity::everybody(), holds_for: UNASKED_HOLDS });
        };
        let known = match keystone.identify(proof).await {
            Err(error) if error.kind == Kind::Unauthenticated && self.allow_anonymous => {
                // What is no valid token now may be one soon; no token stays none.
                let has_token = proof.token.as_deref().is_some_and(|token| !token.is_empty());
                let holds_for = if has_token { Duration::ZERO } else { UNASKED_HOLDS };
                Known { identity: Identity::default(), holds_for }
            }
            outcome => outcome?,
        };
        let is_admin = self.authority.policy().is_admin(&known.identity.credentials());
        Ok(Known { identity: Identity { is_admin, ..known.identity }, ..known })
    }
}

/// Who is calling, and how long that may be believed without asking again.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) identity: Identity,
    pub(crate) holds_for: Duration,
}

/// Whether this is nobody: allowed by `allow_anonymous_access`, and only to read.
pub(crate) fn is_anonymous(caller: &Identity) -> bool {
    caller.user_id.is_empty() && caller.project_id.is_none() && caller.roles.is_empty()
}

/// The error for a missing or bad token; `keystone` is Keystone's address for clients.
fn unauthenticated(keystone: &str) -> Error {
    Error::new(Kind::Unauthenticated, UNAUTHENTICATED_TEXT)
        .header("WWW-Authenticate", format!("Keystone uri=\"{keystone}\""))
}
