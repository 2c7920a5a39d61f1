//! Bytes that a project and an image may have.

use common::catalog::Queries;
use common::{Error, Kind, Result};

/// Bytes that the data of one more image of `project` may have: what is left of `quota`, at most `size_max`. Uploads under
/// way have what they said they would bring, whoever ends first. `size`: what is known to come. `upload`: the upload
/// itself, once it is on record.
///
/// # Errors
/// 413 when that is too much, or when nothing is left.
pub(crate) fn allowance(
    catalog: &Queries<'_>,
    project: Option<&str>,
    quota: Option<u64>,
    size_max: u64,
    size: Option<u64>,
    upload: Option<&str>,
) -> Result<u64> {
    let mut allowed = size_max;
    if let (Some(project), Some(quota)) = (project, quota) {
        let used = catalog.storage_used(project)?.saturating_add(catalog.storage_awaited(project, upload)?);
        let left = quota.saturating_sub(used);
        if size.map_or(left == 0, |size| size > left) {
            return Err(over_quota(size, i128::from(quota) - i128::from(used)));
        }
        allowed = allowed.min(left);
    }
    if size.is_some_and(|size| size > size_max) {
        let text = "The incoming image is too large: The provided image is too large.";
        return Err(Error::new(Kind::TooLarge, text));
    }
    Ok(allowed)
}

fn over_quota(size: Option<u64>, left: i128) -> Error {
    let size = size.map_or_else(|| "None".to_owned(), |size| size.to_string());
    let text = format!("The size of the data {size} will exceed the limit. {left} bytes remaining.");
    Error::new(Kind::TooLarge, format!("Image exceeds the storage quota: {text}"))
}
