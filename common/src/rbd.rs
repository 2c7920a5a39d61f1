//! Store URIs of images in a Ceph cluster: `rbd://fsid/pool/image/snapshot`, each part percent-encoded; once just `rbd://image`.
//!
//! Nova and Cinder clone what they find by this text, so it is the original's to the byte.

use std::fmt::Write;

use crate::http::query::decode_segment;

/// The snapshot that the original makes of every image, and that others clone.
pub const SNAPSHOT: &str = "snap";

/// Where an image lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Cluster, pool and snapshot; `None` in the old form, which means the configured pool and the image itself.
    pub within: Option<Within>,
    /// Name of the image.
    pub image: String,
}

/// What the old form leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// The cluster.
    pub fsid: String,
    /// The pool.
    pub pool: String,
    /// The snapshot that holds the data.
    pub snapshot: String,
}

impl Place {
    /// Reads a URI; `None`: it is none of these.
    pub fn parse(url: &str) -> Option<Place> {
        let parts: Vec<&str> = url.strip_prefix("rbd://").filter(|rest| rest.is_ascii())?.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        match parts.as_slice() {
            // Written before names were encoded.
            [image] => Some(Place { within: None, image: valid((*image).to_owned())? }),
            [fsid, pool, image, snapshot] => Some(Place {
                within: Some(Within { fsid: name(fsid)?, pool: name(pool)?, snapshot: name(snapshot)? }),
                image: name(image)?,
            }),
            _ => None,
        }
    }

    /// The snapshot that holds the data; `None`: the image itself does.
    pub fn snapshot(&self) -> Option<&str> {
        self.within.as_ref().map(|within| within.snapshot.as_str())
    }

    /// Whether it can be in this pool of this cluster; `None` for a cluster whose id nobody knows yet.
    pub fn is_in(&self, fsid: Option<&str>, pool: &str) -> bool {
        self.within.as_ref().is_none_or(|within| within.pool == pool && fsid.is_none_or(|fsid| within.fsid == fsid))
    }
}

/// What the URIs of all images of a pool begin with.
pub fn prefix(fsid: &str, pool: &str) -> String {
    format!("rbd://{}/{}/", quote(fsid), quote(pool))
}

/// The URI of an image behind a [prefix].
pub fn url(prefix: &str, image: &str) -> String {
    format!("{prefix}{}/{SNAPSHOT}", quote(image))
}

/// Whether `url` is written as we, and the original, write it: there is one such text for each image, so that two are of the same image
/// only if they are alike.
pub fn is_canonical(url: &str) -> bool {
    let Some(Place { within: Some(within), image }) = Place::parse(url) else { return false };
    within.snapshot == SNAPSHOT && url == self::url(&prefix(&within.fsid, &within.pool), &image)
}

/// The URI in the old form of the image that `url` leads to, if that is one in a cluster.
pub fn old_form(url: &str) -> Option<String> {
    Place::parse(url).map(|place| format!("rbd://{}", place.image))
}

/// Letters, digits and `_.-~` stay.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            // A string takes everything.
            let _ = write!(quoted, "%{byte:02X}");
        }
    }
    quoted
}

fn name(part: &str) -> Option<String> {
    decode_segment(part).and_then(valid)
}

/// No name in a cluster has a zero byte, or what its own tools separate names by.
fn valid(name: String) -> Option<String> {
    (!name.is_empty() && !name.contains(['\0', '/', '@'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_one_canonical_uri() {
        assert!(is_canonical("rbd://f/images/3050cc3d/snap") && is_canonical("rbd://f/a%20b/3050cc3d/snap"));
        for other in [
            "rbd://3050cc3d",
            "rbd://f/images/3050cc3d/other",
            "rbd://f/images/3050cc3d/%73nap",
            "rbd://f/%69mages/3050cc3d/snap",
            "rbd://f/images/3050cc3d%2d/snap",
            "file:///3050cc3d",
        ] {
            assert!(!is_canonical(other), "{other}");
        }
        assert_eq!(old_form("rbd://f/images/a%20b/%73nap").as_deref(), Some("rbd://a b"));
    }

    #[test]
    fn both_forms_are_read() {
        let place = Place::parse("rbd://f-1/my%20pool/id/snap").expect("a place");
        let within = Within { fsid: "f-1".into(), pool: "my pool".into(), snapshot: "snap".into() };
        assert_eq!(place, Place { within: Some(within), image: "id".into() });
        assert!(place.is_in(Some("f-1"), "my pool") && place.is_in(None, "my pool"));
        assert!(!place.is_in(Some("f-2"), "my pool") && !place.is_in(None, "other"));
        let old = Place::parse("rbd://id").expect("a place");
        assert_eq!((old.snapshot(), old.is_in(Some("any"), "any")), (None, true));
        for bad in [
            "rbd://",
            "rbd:///",
            "rbd://a/b",
            "rbd://a/b/c",
            "rbd://a/b/c/d/e",
            "rbd://a//c/d",
            "rbd://a/b/c/",
            "RBD://a",
            "rbd:a",
            "file:///a",
            "",
            "rbd://ä",
            "rbd://a/b/%00/d",
            "rbd://a/b%2Fc/d/e",
        ] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_the_originals_to_the_byte() {
        // Python: "rbd://%s/%s/%s/%s" % tuple(urllib.parse.quote(part, "") for part in parts)
        let url = url(&prefix("1800dc3e-71c1-484d-aebe-502935b8e773", "glance images~ü"), "a/b");
        assert_eq!(url, "rbd://1800dc3e-71c1-484d-aebe-502935b8e773/glance%20images~%C3%BC/a%2Fb/snap");
    }
}
