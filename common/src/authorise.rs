//! What a caller may do with an image, or with metadata definitions: the policy's rules, and what a refusal looks like.
//! Called by both planes.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use arc_swap::{ArcSwap, Guard};

use crate::identity::Identity;
use crate::model::Image;
use crate::model::metadef::Namespace;
use crate::policy::{Policy, Target};
use crate::protect::{Action, Protections};
use crate::{Error, Result};

/// What a client reads when something is not there, or not for it to see.
pub const NOT_FOUND_TEXT: &str = "The resource could not be found.";

/// Rules under which, with the older defaults in force, only the owner and administrators may act.
const OWNERS_RULES: [&str; 8] = [
    "modify_image",
    "delete_image",
    "upload_image",
    "deactivate",
    "reactivate",
    "delete_image_location",
    "add_member",
    "delete_member",
];

/// Decides by the policy's rules. These are replaced as a whole; each decision is by those of its beginning.
#[derive(Debug)]
pub struct Authority {
    policy: ArcSwap<Policy>,
    /// How often they were replaced.
    version: AtomicU64,
    /// `None`: the policy alone decides about properties.
    protections: Option<Protections>,
    /// With the older defaults, which mostly allow everything, ownership is asked for beside the rules.
    checks_owner: bool,
}

impl Authority {
    /// Decides by `policy`; `enforce_new_defaults` is the option of that name.
    pub fn new(policy: Policy, enforce_new_defaults: bool) -> Self {
        let policy = ArcSwap::from_pointee(policy);
        Authority { policy, version: AtomicU64::new(0), protections: None, checks_owner: !enforce_new_defaults }
    }

    /// Decides about properties by `protections` too.
    pub fn protecting(self, protections: Option<Protections>) -> Self {
        Authority { protections, ..self }
    }

    /// Whether ownership is asked for beside the rules.
    pub fn checks_owner(&self) -> bool {
        self.checks_owner
    }

    /// The rules themselves. Cheap, and nothing that threads share is written; not to be kept.
    pub fn policy(&self) -> Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// From now on `policy` decides.
    pub fn replace(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
        // After the store: whoever sees this version sees rules that are at least as new.
        self.version.fetch_add(1, Release);
    }

    /// Differs once the rules do: what was concluded from them under an older version is void.
    pub fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// Refuses unless `rule` holds for `target`.
    ///
    /// # Errors
    /// 403.
    pub fn enforce(&self, rule: &str, caller: &Identity, target: &dyn Target) -> Result<()> {
        if self.policy().enforce(rule, &caller.credentials(), target) { Ok(()) } else { Err(not_authorized(rule)) }
    }

    /// Whether `rule` holds for `image`. `is_member`: the caller's project is a member of the image.
    pub fn allows(&self, rule: &str, caller: &Identity, image: &Image, is_member: bool) -> bool {
        allows(&self.policy(), rule, caller, image, is_member)
    }

    /// Refuses unless `rule` holds for `image`. An image that the caller may not get is not there for it.
    ///
    /// # Errors
    /// 404 if `get_image` fails, else 403.
    pub fn enforce_image(&self, rule: &str, caller: &Identity, image: &Image, is_member: bool) -> Result<()> {
        let policy = self.policy();
        if !allows(&policy, rule, caller, image, is_member) {
            if rule == "get_image" || !allows(&policy, "get_image", caller, image, is_member) {
                return Err(Error::not_found(NOT_FOUND_TEXT));
            }
            return Err(not_authorized(rule));
        }
        let is_owner = caller.is_project(image.owner.as_deref());
        if self.checks_owner && OWNERS_RULES.contains(&rule) && !caller.is_admin && !is_owner {
            return Err(Error::forbidden("You do not own this image"));
        }
        Ok(())
    }
}

/// Extra properties.
impl Authority {
    /// Whether `caller` may do this to the property `name` of an image that it may see or change.
    pub fn allows_property(&self, action: Action, name: &str, caller: &Identity) -> bool {
        let protections = self.protections.as_ref();
        protections.is_none_or(|protections| protections.allow(action, name, caller, &self.policy()))
    }

    /// The image as `caller` may see it: without properties that it may not read.
    pub fn readable<'i>(&self, caller: &Identity, image: &'i Image) -> Cow<'i, Image> {
        let is_readable = |name: &str| self.allows_property(Action::Read, name, caller);
        if image.properties.iter().all(|(name, _)| is_readable(name)) {
            return Cow::Borrowed(image);
        }
        let mut image = image.clone();
        image.properties.retain(|(name, _)| is_readable(name));
        Cow::Owned(image)
    }
}

/// Metadata definitions.
impl Authority {
    /// Whether `rule` holds for `namespace` and what hangs on it; without one for the caller's project.
    pub fn allows_namespace(&self, rule: &str, caller: &Identity, namespace: Option<&Namespace>) -> bool {
        allows_namespace(&self.policy(), rule, caller, namespace)
    }

    /// Refuses unless `rule` holds for `namespace` and what hangs on it; without one for the caller's project. A namespace that
    /// the caller may not get is not there for it.
    ///
    /// # Errors
    /// 404 if `get_metadef_namespace` fails, else 403.
    pub fn enforce_namespace(&self, rule: &str, caller: &Identity, namespace: Option<&Namespace>) -> Result<()> {
        const SEE: &str = "get_metadef_namespace";
        let policy = self.policy();
        if allows_namespace(&policy, rule, caller, namespace) {
            return Ok(());
        }
        if rule == SEE || !allows_namespace(&policy, SEE, caller, namespace) {
            return Err(Error::not_found(NOT_FOUND_TEXT));
        }
        Err(not_authorized(rule))
    }
}

fn allows_namespace(policy: &Policy, rule: &str, caller: &Identity, namespace: Option<&Namespace>) -> bool {
    match namespace {
        Some(namespace) => {
            let target = [("project_id", namespace.owner.as_str()), ("visibility", namespace.visibility.as_str())];
            policy.enforce(rule, &caller.credentials(), &target)
        }
        None => {
            let project = caller.project_id.as_deref().unwrap_or("None");
            policy.enforce(rule, &caller.credentials(), &[("project_id", project)])
        }
    }
}

fn allows(policy: &Policy, rule: &str, caller: &Identity, image: &Image, is_member: bool) -> bool {
    let project = caller.project_id.as_deref().filter(|_| is_member);
    let target = ImageTarget { image, member: project };
    policy.enforce(rule, &caller.credentials(), &target)
}

/// The error for an image that is not there, or not for the caller to see.
pub fn no_image(id: &str) -> Error {
    Error::not_found(format!("No image found with ID {id}"))
}

/// The error of a rule that does not hold.
pub fn not_authorized(rule: &str) -> Error {
    Error::forbidden(format!("You are not authorized to complete {rule} action."))
}

/// An image as rules see it: the keys that Glance's target has, and the extra properties.
struct ImageTarget<'a> {
    image: &'a Image,
    /// The caller's project, where it is a member.
    member: Option<&'a str>,
}

impl Target for ImageTarget<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        fn or_none(value: Option<&str>) -> Option<&str> {
            Some(value.unwrap_or("None"))
        }
        fn boolean(value: bool) -> Option<&'static str> {
            Some(if value { "True" } else { "False" })
        }
        let image = self.image;
        match key {
            "id" | "image_id" => Some(&image.id),
            "owner" | "project_id" => or_none(image.owner.as_deref()),
            "member" | "member_id" => or_none(self.member),
            "visibility" => Some(image.visibility.as_str()),
            "status" => Some(image.status.as_str()),
            "name" => or_none(image.name.as_deref()),
            "protected" => boolean(image.protected),
            "os_hidden" => boolean(image.hidden),
            "disk_format" => or_none(image.disk_format.as_deref()),
            "container_format" => or_none(image.container_format.as_deref()),
            "checksum" => or_none(image.checksum.as_deref()),
            "os_hash_algo" => or_none(image.os_hash_algo.as_deref()),
            "os_hash_value" => or_none(image.os_hash_value.as_deref()),
            _ => image.property(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::PolicyFiles;

    #[test]
    fn new_rules_decide_from_now_on() {
        let options = PolicyFiles {
            file: Vec::new(),
            dirs: Vec::new(),
            default_rule: "default".to_owned(),
            enforce_new_defaults: true,
        };
        let policy = |text| Policy::from_text(Path::new("policy"), text, &options).expect("rules").0;
        let authority = Authority::new(policy("get_images: '!'"), true);
        let (caller, version) = (Identity::everybody(), authority.version());
        let error = authority.enforce("get_images", &caller, &()).expect_err("refused");
        assert_eq!((error.status().as_u16(), error.message), (403, not_authorized("get_images").message));
        authority.replace(policy("get_images: '@'"));
        assert!(authority.enforce("get_images", &caller, &()).is_ok());
        assert_ne!(authority.version(), version);
    }
}
