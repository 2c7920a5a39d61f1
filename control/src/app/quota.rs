//! How much may hang on one image.

use common::catalog::Queries;
use common::{Error, Kind, Result};

use super::fields::INTERNAL_PREFIX;

/// Refuses more tags than the quota allows.
///
/// # Errors
/// 413.
pub(crate) fn check_tags(tags: &[String], quota: Option<u64>) -> Result<()> {
    check("tags", tags.len(), quota)
}

/// Refuses more extra properties than the quota allows. The server's own do not count.
///
/// # Errors
/// 413.
pub(crate) fn check_properties(properties: &[(String, String)], quota: Option<u64>) -> Result<()> {
    let count = properties.iter().filter(|(name, _)| !name.starts_with(INTERNAL_PREFIX)).count();
    check("properties", count, quota)
}

/// Refuses more members than the quota allows.
///
/// # Errors
/// 413.
pub(crate) fn check_members(members: usize, quota: Option<u64>) -> Result<()> {
    check("members", members, quota)
}

/// Refuses more locations than the quota allows.
///
/// # Errors
/// 413.
pub(crate) fn check_locations(locations: usize, quota: Option<u64>) -> Result<()> {
    check("locations", locations, quota)
}

/// Refuses `added` more bytes for `project` than are left of the quota of its images together.
///
/// # Errors
/// 413.
pub(crate) fn check_storage(
    catalog: &Queries<'_>,
    project: Option<&str>,
    quota: Option<u64>,
    added: u64,
) -> Result<()> {
    let (Some(project), Some(quota)) = (project, quota) else { return Ok(()) };
    let used = catalog.storage_used(project)?.saturating_add(catalog.storage_awaited(project, None)?);
    if added <= quota.saturating_sub(used) {
        return Ok(());
    }
    let left = i128::from(quota) - i128::from(used);
    let text = format!("The size of the data {added} will exceed the limit. {left} bytes remaining.");
    let text = format!("Denying attempt to upload image because it exceeds the quota: {text}");
    Err(Error::new(Kind::TooLarge, text))
}

fn check(what: &str, attempted: usize, quota: Option<u64>) -> Result<()> {
    match quota {
        Some(maximum) if u64::try_from(attempted).unwrap_or(u64::MAX) > maximum => Err(Error::new(
            Kind::TooLarge,
            format!(
                "The limit has been exceeded on the number of allowed image {what}. Attempted: {attempted}, Maximum: {maximum}"
            ),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use common::catalog::{Catalog, Located, NewImage};

    use super::*;

    #[test]
    fn the_quota_itself_is_allowed() {
        let tags = vec!["t".to_owned(); 3];
        assert!(check_tags(&tags, Some(3)).is_ok());
        assert!(check_tags(&tags, None).is_ok());
        let error = check_tags(&tags, Some(2)).expect_err("three of two");
        assert_eq!(error.status().as_u16(), 413);
        assert!(error.message.ends_with("Attempted: 3, Maximum: 2"), "{}", error.message);
    }

    #[test]
    fn storage_counts_every_location() {
        let directory = tempfile::tempdir().expect("a directory");
        let catalog = Catalog::open(&directory.path().join("catalog.sqlite")).expect("a new catalog");
        let id = "3050cc3d-ed3a-4a6c-8282-bcd0a6190aa8";
        let stored = catalog.write(|tx| {
            tx.create_image(&NewImage { owner: Some("p1".to_owned()), ..NewImage::new(id) })?;
            let data = Located { size: Some(30), checksum: None, hash_algo: None, hash_value: None };
            tx.activate_located(id, &data)?;
            tx.add_location(id, "swift://a", &serde_json::Map::new())?;
            tx.add_location(id, "swift://b", &serde_json::Map::new())
        });
        stored.expect("stored");
        let check = |project, quota, added| check_storage(&catalog.queries(), project, quota, added);
        assert_eq!(check(Some("p1"), Some(100), 40), Ok(()));
        let text = "Denying attempt to upload image because it exceeds the quota: The size of the data 41 will exceed \
                    the limit. 40 bytes remaining.";
        assert_eq!(check(Some("p1"), Some(100), 41), Err(Error::new(Kind::TooLarge, text)));
        assert!(check(Some("p1"), Some(50), 1).is_err_and(|error| error.message.ends_with(" -10 bytes remaining.")));
        for (project, quota) in [(Some("p1"), None), (None, Some(1)), (Some("p2"), Some(41))] {
            assert_eq!(check(project, quota, 41), Ok(()), "{project:?} {quota:?}");
        }
    }

    #[test]
    fn the_servers_own_properties_do_not_count() {
        let own = ("os_glance_stage_host".to_owned(), "h".to_owned());
        let properties = vec![own, ("a".to_owned(), "b".to_owned())];
        assert!(check_properties(&properties, Some(1)).is_ok());
        assert!(check_properties(&properties, Some(0)).is_err());
    }
}
