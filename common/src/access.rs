//! Finding an image for a caller: the same code in both planes.

use crate::Result;
use crate::authorise::no_image;
use crate::catalog::Queries;
use crate::identity::Identity;
use crate::model::{Image, visibility};

/// The image `id`, if `caller` can see it, and whether the caller's project is a member of it.
///
/// # Errors
/// 404 where there is none or it is hidden from the caller: the two cannot be told apart.
pub fn find_visible(catalog: &Queries<'_>, caller: &Identity, id: &str) -> Result<(Image, bool)> {
    let image = catalog.image(id)?.ok_or_else(|| no_image(id))?;
    let is_member = match &caller.project_id {
        Some(project) if !caller.is_project(image.owner.as_deref()) => catalog.membership(id, project)?.is_some(),
        _ => false,
    };
    if visibility::is_visible(&image, caller, is_member) { Ok((image, is_member)) } else { Err(no_image(id)) }
}
