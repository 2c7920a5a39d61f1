//! Finding an image for a caller, and asking the policy about it: the same code in both planes.

use crate::catalog::Queries;
use crate::identity::Identity;
use crate::model::{Image, visibility};
use crate::policy::{Policy, Target};
use crate::{Error, Result};

/// An image as policy rules see it.
#[derive(Debug, Clone, Copy)]
pub struct ImageTarget<'a> {
    image: &'a Image,
    /// The caller's project, where it is a member of the image.
    member: Option<&'a str>,
}

impl<'a> ImageTarget<'a> {
    /// The target for `caller`, whose project is a member of the image or not.
    pub fn new(image: &'a Image, caller: &'a Identity, is_member: bool) -> Self {
        let member = if is_member { caller.project_id.as_deref() } else { None };
        ImageTarget { image, member }
    }
}

impl Target for ImageTarget<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        const ABSENT: &str = "None";
        Some(match key {
            "image_id" | "id" => &self.image.id,
            "owner" | "project_id" => self.image.owner.as_deref().unwrap_or(ABSENT),
            "member_id" | "member" => self.member.unwrap_or(ABSENT),
            "visibility" => self.image.visibility.as_str(),
            "status" => self.image.status.as_str(),
            "name" => self.image.name.as_deref().unwrap_or(ABSENT),
            "disk_format" => self.image.disk_format.as_deref().unwrap_or(ABSENT),
            "container_format" => self.image.container_format.as_deref().unwrap_or(ABSENT),
            "protected" if self.image.protected => "True",
            "protected" => "False",
            "os_hidden" if self.image.hidden => "True",
            "os_hidden" => "False",
            property => return self.image.property(property),
        })
    }
}

/// The image `id`, if `caller` can see it, and whether the caller's project is a member of it.
///
/// # Errors
/// 404 where there is none or it is hidden from the caller: the two cannot be told apart.
pub fn find_visible(catalog: &Queries<'_>, caller: &Identity, id: &str) -> Result<(Image, bool)> {
    let absent = || Error::not_found(format!("No image found with ID {id}"));
    let image = catalog.image(id)?.ok_or_else(absent)?;
    let is_member = match &caller.project_id {
        Some(project) if !caller.is_project(image.owner.as_deref()) => catalog.membership(id, project)?.is_some(),
        _ => false,
    };
    if visibility::is_visible(&image, caller, is_member) { Ok((image, is_member)) } else { Err(absent()) }
}

/// Whether `rule` lets `caller` at `image`.
///
/// # Errors
/// 403 where it does not; 404 where the caller may not even see the image.
pub fn authorise(policy: &Policy, rule: &str, caller: &Identity, image: &Image, is_member: bool) -> Result<()> {
    let target = ImageTarget::new(image, caller, is_member);
    let credentials = caller.credentials();
    if policy.enforce(rule, &credentials, &target) {
        return Ok(());
    }
    if rule != "get_image" && policy.enforce("get_image", &credentials, &target) {
        return Err(Error::forbidden(format!("You are not authorized to complete {rule} action.")));
    }
    Err(Error::not_found("The resource could not be found."))
}
