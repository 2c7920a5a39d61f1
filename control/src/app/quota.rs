//! How much may hang on one image.

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
    check("members for this image", members, quota)
}

/// Refuses more locations than the quota allows.
///
/// # Errors
/// 413.
pub(crate) fn check_locations(locations: usize, quota: Option<u64>) -> Result<()> {
    check("locations", locations, quota)
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
    fn the_servers_own_properties_do_not_count() {
        let own = ("os_glance_stage_host".to_owned(), "h".to_owned());
        let properties = vec![own, ("a".to_owned(), "b".to_owned())];
        assert!(check_properties(&properties, Some(1)).is_ok());
        assert!(check_properties(&properties, Some(0)).is_err());
    }
}
