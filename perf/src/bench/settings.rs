//! Who asks, and where: the settings of OpenStack's clients, from `OS_*` variables or from clouds.yaml.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::clouds;
use crate::error::{Error, Result};

/// The settings that are understood, by their names in clouds.yaml. As a variable each is `OS_` and the name in upper case.
const KEYS: [&str; 24] = [
    "auth_type",
    "auth_url",
    "username",
    "user_id",
    "password",
    "user_domain_name",
    "user_domain_id",
    "project_name",
    "project_id",
    "project_domain_name",
    "project_domain_id",
    "domain_name",
    "domain_id",
    "system_scope",
    "application_credential_id",
    "application_credential_name",
    "application_credential_secret",
    "token",
    "endpoint",
    "region_name",
    "interface",
    "cacert",
    "insecure",
    "image_endpoint_override",
];

/// Other names of settings, older ones among them.
const ALIASES: [(&str, &str); 7] = [
    ("tenant_name", "project_name"),
    ("tenant_id", "project_id"),
    ("endpoint_type", "interface"),
    ("default_domain_id", "user_domain_id"),
    ("default_domain_id", "project_domain_id"),
    ("default_domain_name", "user_domain_name"),
    ("default_domain_name", "project_domain_name"),
];

/// Settings by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl std::fmt::Debug for Settings {
    /// Names only: some of the values are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Settings {
    /// The settings of a cloud of clouds.yaml if one is named, by `cloud` or `OS_CLOUD`, else those of the environment.
    ///
    /// # Errors
    /// There is no such cloud, or a file cannot be read.
    pub fn find(cloud: Option<&str>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        match cloud.map(str::to_owned).or_else(|| variable("OS_CLOUD")) {
            Some(name) => {
                let home = |name: &str| variable(name).map(PathBuf::from);
                let places = clouds::Places {
                    file: home("OS_CLIENT_CONFIG_FILE"),
                    directories: [
                        Some(PathBuf::new()),
                        home("XDG_CONFIG_HOME")
                            .or_else(|| home("HOME").map(|home| home.join(".config")))
                            .map(|config| config.join("openstack")),
                        Some(PathBuf::from("/etc/openstack")),
                    ]
                    .into_iter()
                    .flatten()
                    .collect(),
                };
                clouds::find(&name, &places).map(|found| Self::from_pairs(found.into_iter()))
            }
            None => {
                let names = KEYS.iter().chain(ALIASES.iter().map(|(alias, _)| alias));
                let pairs = names.filter_map(|key| {
                    let value = variable(&format!("OS_{}", key.to_uppercase()))?;
                    Some(((*key).to_owned(), value))
                });
                Ok(Self::from_pairs(pairs))
            }
        }
    }

    /// Keeps what is understood; an alias gives way to the name itself.
    pub(super) fn from_pairs(pairs: impl Iterator<Item = (String, String)>) -> Self {
        let given: BTreeMap<String, String> = pairs.collect();
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for (alias, key) in ALIASES {
            if let Some(value) = given.get(alias) {
                known.insert(key.to_owned(), value.clone());
            }
        }
        known.extend(given.into_iter().filter(|(key, _)| KEYS.contains(&key.as_str())));
        Self(known)
    }

    /// A setting, if it is given and not empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A setting that must be.
    ///
    /// # Errors
    /// It is missing; the text names it in both spellings.
    pub fn need(&self, key: &str) -> Result<&str> {
        self.get(key).ok_or_else(|| {
            Error::Setup(format!(
                "{key} is missing (OS_{} or clouds.yaml), see `vitrine bench --help`",
                key.to_uppercase()
            ))
        })
    }

    /// Sets or replaces a setting.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Whether a setting is true in any of its usual spellings.
    #[must_use]
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_their_older_names() {
        let variables = |name: &str| {
            Some(match name {
                "OS_AUTH_URL" => "http://k/v3".to_owned(),
                "OS_TENANT_NAME" => "old".to_owned(),
                "OS_PROJECT_NAME" => "new".to_owned(),
                "OS_DEFAULT_DOMAIN_ID" => "default".to_owned(),
                "OS_PASSWORD" => "hidden-word".to_owned(),
                "OS_INSECURE" => "True".to_owned(),
                "OS_REGION_NAME" => String::new(),
                _ => return None,
            })
        };
        let settings = Settings::find(None, &variables).expect("settings");
        assert_eq!(settings.get("auth_url"), Some("http://k/v3"));
        assert_eq!(settings.get("project_name"), Some("new"));
        assert_eq!(settings.get("user_domain_id"), Some("default"));
        assert_eq!(settings.get("project_domain_id"), Some("default"));
        assert_eq!(settings.get("region_name"), None);
        assert!(settings.is_true("insecure"));
        assert!(settings.need("username").is_err_and(|error| error.to_string().contains("OS_USERNAME")));
        assert!(!format!("{settings:?}").contains("hidden-word"));
    }
}
