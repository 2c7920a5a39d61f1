//! Where the load goes and as whom: the command line, a cloud of clouds.yaml or the environment, in this order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::keystone::{Identity, image_endpoint};
use super::session::Session;
use super::settings::Settings;
use super::target::Target;
use super::tls;
use super::url::Url;
use super::wire::{Moved, Wire};
use crate::error::{Error, Result};

/// What the command line says of an endpoint.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Address of the Image service.
    pub endpoint: Option<Url>,
    /// Name of a cloud in clouds.yaml.
    pub cloud: Option<String>,
    /// Send no token, whatever the environment says.
    pub no_auth: bool,
    /// Believe any certificate.
    pub insecure: bool,
    /// Certificates to believe.
    pub cacert: Option<PathBuf>,
    /// Region of the catalog.
    pub region: Option<String>,
    /// Interface of the catalog.
    pub interface: Option<String>,
    /// How long the service may be silent.
    pub timeout: Duration,
}

/// An Image service and who asks it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where it is.
    pub target: Arc<Target>,
    /// As whom.
    pub session: Arc<Session>,
}

impl Place {
    /// Finds the endpoint, and gets the first token.
    ///
    /// # Errors
    /// Nothing says where the service is, there is no such cloud, or Keystone refuses.
    pub fn find(wanted: &Wanted, variable: &dyn Fn(&str) -> Option<String>, stop: &Arc<AtomicBool>) -> Result<Self> {
        let mut settings = if wanted.no_auth && wanted.cloud.is_none() {
            let mut settings = Settings::find(None, &|name: &str| (name == "OS_ENDPOINT").then(|| variable(name))?)?;
            settings.set("auth_type", "none");
            settings
        } else {
            Settings::find(wanted.cloud.as_deref(), variable)?
        };
        for (key, value) in [("region_name", &wanted.region), ("interface", &wanted.interface)] {
            if let Some(value) = value {
                settings.set(key, value);
            }
        }
        if wanted.no_auth {
            settings.set("auth_type", "none");
        }
        let cacert = wanted.cacert.clone().or_else(|| settings.get("cacert").map(PathBuf::from));
        let tls = tls::config(cacert.as_deref(), wanted.insecure || settings.is_true("insecure"))?;
        let given = match &wanted.endpoint {
            Some(url) => Some(url.clone()),
            None => {
                let found = settings.get("image_endpoint_override").or_else(|| settings.get("endpoint"));
                found.map(Url::parse).transpose().map_err(Error::Setup)?
            }
        }
        .map(Url::without_version);
        let kind = settings.get("auth_type").unwrap_or_default();
        let is_open = matches!(kind, "none" | "noauth");
        let as_it_is = matches!(kind, "token" | "v3token" | "admin_token" | "") && settings.get("password").is_none();
        let (url, session) = match (given, settings.get("auth_url"), settings.get("token")) {
            (Some(url), ..) if is_open => (url, Session::fixed(None)),
            (Some(url), _, Some(token)) if as_it_is => (url, Session::fixed(Some(token))),
            (given, Some(_), _) if !is_open => {
                let identity = Identity::new(&settings, Some(&tls))?;
                let granted = identity.token(stop)?;
                let url = given.map_or_else(|| image_endpoint(&granted, &settings), Ok)?;
                (url, Session::renewable(identity, &granted, stop.clone()))
            }
            (Some(url), ..) => (url, Session::fixed(None)),
            (None, ..) => {
                return Err(Error::Setup(
                    "nothing says where the Image service is: give its URL, --os-cloud NAME, OS_ENDPOINT, or OS_AUTH_URL \
                     with who you are"
                        .into(),
                ));
            }
        };
        let target = Arc::new(Target::new(url, Some(&tls), wanted.timeout)?);
        Ok(Self { target, session: Arc::new(session) })
    }

    /// A connection to the service.
    #[must_use]
    pub fn wire(&self, stop: &Arc<AtomicBool>, moved: &Arc<Moved>) -> Wire {
        Wire::new(self.target.clone(), stop.clone(), moved.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(wanted: &Wanted, variables: &[(&str, &str)]) -> Result<Place> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Place::find(wanted, &variable, &Arc::default())
    }

    #[test]
    fn an_endpoint_without_authentication() {
        let place = find(&Wanted::default(), &[("OS_AUTH_TYPE", "none"), ("OS_ENDPOINT", "http://127.0.0.1:9292/v2/")]);
        let place = place.expect("a place");
        assert_eq!(place.target.url.to_string(), "http://127.0.0.1:9292");
        assert!(!place.session.is_authenticated());
        // --no-auth asks no Keystone, whatever the environment says.
        let endpoint = Url::parse("http://127.0.0.1:1").ok();
        let wanted = Wanted { endpoint, no_auth: true, ..Wanted::default() };
        let place = find(&wanted, &[("OS_AUTH_URL", "http://127.0.0.1:2"), ("OS_CLOUD", "x")]).expect("a place");
        assert_eq!(place.target.url.port, 1);
        assert!(!place.session.is_authenticated());
    }

    #[test]
    fn a_token_with_an_endpoint_is_used_as_it_is() {
        let place = find(&Wanted::default(), &[("OS_TOKEN", "t"), ("OS_ENDPOINT", "http://127.0.0.1:9292")]);
        let token = place.expect("a place").session.token().expect("a token");
        assert_eq!(token.as_deref(), Some("t"));
    }

    #[test]
    fn nothing_is_said() {
        let error = find(&Wanted::default(), &[]).expect_err("no place").to_string();
        assert!(error.contains("--os-cloud") && error.contains("OS_AUTH_URL"), "{error}");
    }
}
