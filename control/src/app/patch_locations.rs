//! Changes of an image's locations by `PATCH`, on the image in memory.

use std::collections::HashMap;

use common::model::{Image, Location, Status};
use common::{Error, Result};
use serde_json::{Map, Value};

use super::digests::Digests;
use super::fields;
use super::locations::invalid_location;
use super::patch::{Change, Op};
use super::quota;
use crate::uploads::require_formats;

/// What of the site decides about locations.
pub(crate) struct Site<'a> {
    /// Locations that an image may have.
    pub(crate) quota: Option<u64>,
    /// Algorithm of the digests that clients may give.
    pub(crate) hashing_algorithm: &'a str,
    /// Locations in the order in which clients count them.
    pub(crate) sort: &'a dyn Fn(&mut Image),
    /// The store that a location at this URL shall name; `None`: none.
    pub(crate) store_to_name: &'a dyn Fn(&str) -> Option<String>,
    /// The store in which clients may say that data lies at this URL.
    pub(crate) store_for_clients: &'a dyn Fn(&str) -> Option<String>,
}

/// A place in a store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The store.
    pub(crate) store: String,
    /// The store URI.
    pub(crate) url: String,
}

/// How many bytes lie at places, as far as their stores were asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sizes {
    known: HashMap<Place, u64>,
    unknown: Vec<Place>,
}

impl Sizes {
    /// Takes down that `size` bytes lie at `place`; 0: nothing does.
    pub(crate) fn note(&mut self, place: Place, size: u64) {
        self.known.insert(place, size);
    }

    /// The places that were wanted and not known, each once.
    pub(crate) fn unknown(&self) -> &[Place] {
        &self.unknown
    }

    /// The size at a place; `None`, and it is taken down that somebody wants it, while nobody asked the store.
    fn of(&mut self, place: Place) -> Result<Option<u64>> {
        match self.known.get(&place) {
            Some(0) => Err(invalid_location()),
            Some(size) => Ok(Some(*size)),
            None => {
                if !self.unknown.contains(&place) {
                    self.unknown.push(place);
                }
                Ok(None)
            }
        }
    }
}

/// Applies a change of locations to `image`. `position`: which one, where it is not all of them.
///
/// # Errors
/// In Glance's order: 409 for the image's status and for digests that are not the image's, 400 for the position, 413
/// over the quota, 400 for places that clients may not name or where nothing lies and for places that are there already,
/// 403 for the last location.
pub(crate) fn apply(
    image: &mut Image,
    change: &Change,
    position: Option<&str>,
    site: &Site<'_>,
    sizes: &mut Sizes,
) -> Result<()> {
    let (verb, allowed): (_, &[Status]) = match change.op {
        Op::Add => ("add", &[Status::Active, Status::Queued]),
        Op::Replace => ("replace", &[Status::Active, Status::Queued]),
        Op::Remove => ("remove", &[Status::Active]),
    };
    if !allowed.contains(&image.status) {
        let text = format!("It's not allowed to {verb} locations if image status is {}.", image.status);
        return Err(Error::conflict(text));
    }
    (site.sort)(image);
    // What a scrubber is about to remove is nobody's business; it keeps its place in the catalog.
    let (live, going) = std::mem::take(&mut image.locations).into_iter().partition(Location::is_live);
    image.locations = live;
    match change.op {
        Op::Add => add(image, &change.value, position.unwrap_or_default(), site, sizes),
        Op::Replace => replace(image, &change.value, site, sizes),
        Op::Remove => remove(image, position.unwrap_or_default()),
    }?;
    image.locations.extend::<Vec<Location>>(going);
    Ok(())
}

fn add(image: &mut Image, value: &Value, position: &str, site: &Site<'_>, sizes: &mut Sizes) -> Result<()> {
    let digests = Digests::read(image, std::slice::from_ref(value), site.hashing_algorithm)?;
    let location = decode(value, site)?;
    let count = image.locations.len();
    let Some(index) = index(position, count) else {
        return Err(Error::bad_request("Invalid position for adding a location."));
    };
    quota::check_locations(count + 1, site.quota)?;
    let size = check(&location, site, sizes)?;
    if image.locations.iter().any(|old| is_same(old, &location)) {
        return Err(already_there(&location));
    }
    image.locations.insert(index.min(count), location);
    take_in(image, size, &digests)
}

fn replace(image: &mut Image, value: &Value, site: &Site<'_>, sizes: &mut Sizes) -> Result<()> {
    let values = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let digests = Digests::read(image, values, site.hashing_algorithm)?;
    let mut locations = values.iter().map(|value| decode(value, site)).collect::<Result<Vec<_>>>()?;
    if !image.locations.is_empty() {
        keep_rows(&image.locations, &mut locations)?;
        image.locations = locations;
        return take_in(image, None, &digests);
    }
    quota::check_locations(locations.len(), site.quota)?;
    let mut size = None;
    for (at, location) in locations.iter().enumerate() {
        size = size.or(check(location, site, sizes)?);
        if locations.iter().take(at).any(|other| is_same(other, location)) {
            return Err(already_there(location));
        }
    }
    image.locations = locations;
    take_in(image, size, &digests)
}

fn remove(image: &mut Image, position: &str) -> Result<()> {
    let count = image.locations.len();
    if count == 1 {
        return Err(Error::forbidden("Cannot remove last location in the image."));
    }
    let index = if position == "-" { count.checked_sub(1) } else { index(position, count) };
    match index.filter(|index| *index < count) {
        Some(index) => drop(image.locations.remove(index)),
        None => return Err(Error::bad_request("Invalid position for removing a location.")),
    }
    Ok(())
}

/// The index that a client writes; `-` is the one behind the last.
fn index(position: &str, count: usize) -> Option<usize> {
    if position == "-" {
        return Some(count);
    }
    let is_number = !position.is_empty() && position.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| position.parse().unwrap_or(usize::MAX))
}

/// Gives the rows of `old` to what shall take their place, in its order. Only metadata and the order may change: other
/// data under an image's digests would be another image.
fn keep_rows(old: &[Location], new: &mut [Location]) -> Result<()> {
    fn sorted(locations: &[Location]) -> Vec<&str> {
        let mut urls: Vec<&str> = locations.iter().map(|location| location.url.as_str()).collect();
        urls.sort_unstable();
        urls
    }
    if sorted(old) != sorted(new) {
        let urls: Vec<String> = old.iter().map(|location| format!("'{}'", location.url)).collect();
        return Err(Error::bad_request(format!("Original locations is not empty: [{}]", urls.join(", "))));
    }
    let mut rows: Vec<i64> = old.iter().map(|location| location.id).collect();
    rows.sort_unstable();
    for (location, row) in new.iter_mut().zip(rows) {
        location.id = row;
    }
    Ok(())
}

/// A location as a client writes it.
fn decode(value: &Value, site: &Site<'_>) -> Result<Location> {
    let url = value.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
    fields::refuse_four_byte("url", &url)?;
    let mut metadata = value.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(store) = (site.store_to_name)(&url) {
        metadata.insert("store".to_owned(), Value::from(store));
    }
    Ok(Location { id: Location::UNSAVED, url, metadata, status: Location::LIVE.to_owned() })
}

/// The size of the data at a location that a client wants to add.
fn check(location: &Location, site: &Site<'_>, sizes: &mut Sizes) -> Result<Option<u64>> {
    let store = (site.store_for_clients)(&location.url).ok_or_else(invalid_location)?;
    let size = sizes.of(Place { store, url: location.url.clone() })?;
    check_metadata(&location.metadata)?;
    Ok(size)
}

fn check_metadata(metadata: &Map<String, Value>) -> Result<()> {
    metadata.iter().try_for_each(|(key, value)| check_metadata_value(key, value))
}

fn check_metadata_value(key: &str, value: &Value) -> Result<()> {
    let kind = match value {
        Value::String(text) => return fields::refuse_four_byte("metadata", text),
        Value::Object(object) => return check_metadata(object),
        Value::Array(items) => return items.iter().try_for_each(|item| check_metadata_value(key, item)),
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
    };
    Err(Error::bad_request(format!(
        "The image metadata key {key} has an invalid type of {kind}. Only dict, list, and unicode are supported."
    )))
}

fn is_same(one: &Location, other: &Location) -> bool {
    one.url == other.url && one.metadata == other.metadata
}

fn already_there(location: &Location) -> Error {
    Error::bad_request(format!("The location {} already exists", location.url))
}

/// What the first location makes of an image.
fn take_in(image: &mut Image, size: Option<u64>, digests: &Digests) -> Result<()> {
    if image.size.is_none_or(|size| size == 0) {
        image.size = size.or(image.size);
    }
    if image.status != Status::Queued {
        return Ok(());
    }
    digests.give(image);
    require_formats(&image.disk_format, &image.container_format)?;
    image.status = Status::Active;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::app::patch::Target;
    use crate::app::patch::tests::image as plain_image;

    const HASH: &str = "ab";

    /// Applies changes at a site with a store `web` of `http:` URLs, whose places hold 7 bytes each unless said otherwise.
    struct World {
        image: Image,
        sizes: Sizes,
        quota: Option<u64>,
        asks: bool,
    }

    impl World {
        fn queued() -> Self {
            let image =
                Image { disk_format: Some("raw".into()), container_format: Some("bare".into()), ..plain_image() };
            World { image, sizes: Sizes::default(), quota: Some(10), asks: false }
        }

        /// An active image at these URLs, with 7 bytes.
        fn active(urls: &[&str]) -> Self {
            let mut world = World::queued();
            let location = |(row, url): (i64, &&str)| Location {
                id: row,
                url: (*url).to_owned(),
                metadata: json!({"store": "web"}).as_object().expect("an object").clone(),
                status: Location::LIVE.to_owned(),
            };
            world.image.locations = (1..).zip(urls).map(location).collect();
            (world.image.status, world.image.size) = (Status::Active, Some(7));
            world
        }

        fn apply(&mut self, op: Op, position: Option<&str>, value: Value) -> Result<()> {
            let site = Site {
                quota: self.quota,
                hashing_algorithm: "md5",
                sort: &|_| {},
                store_to_name: &|url| url.starts_with("http://").then(|| "web".to_owned()),
                store_for_clients: &|url| url.starts_with("http://").then(|| "web".to_owned()),
            };
            let target = Target::Locations { position: position.map(str::to_owned) };
            let change = Change { op, target, value, refuse_present: false };
            let mut image = self.image.clone();
            apply(&mut image, &change, position, &site, &mut self.sizes)?;
            if !self.asks && !self.sizes.unknown().is_empty() {
                for place in std::mem::take(&mut self.sizes.unknown) {
                    self.sizes.note(place, 7);
                }
                return self.apply(op, position, change.value);
            }
            self.image = image;
            Ok(())
        }

        fn add(&mut self, position: &str, value: Value) -> Result<()> {
            self.apply(Op::Add, Some(position), value)
        }

        fn remove(&mut self, position: &str) -> Result<()> {
            self.apply(Op::Remove, Some(position), Value::Null)
        }

        fn replace(&mut self, value: Value) -> Result<()> {
            self.apply(Op::Replace, None, value)
        }

        fn urls(&self) -> Vec<&str> {
            self.image.locations.iter().map(|location| location.url.as_str()).collect()
        }
    }

    fn place(url: &str) -> Value {
        json!({"url": url, "metadata": {}})
    }

    #[track_caller]
    fn refused(outcome: Result<()>, status: u16, text: &str) {
        let error = outcome.expect_err(text);
        assert_eq!((error.status().as_u16(), error.message.as_str()), (status, text));
    }

    #[test]
    fn the_first_location_makes_a_queued_image_active() {
        let mut world = World::queued();
        let digests = json!({"checksum": "c".repeat(32), "os_hash_algo": "md5", "os_hash_value": HASH.repeat(16)});
        world.add("-", json!({"url": "http://h/a", "metadata": {}, "validation_data": digests})).expect("added");
        assert_eq!((world.image.status, world.image.size), (Status::Active, Some(7)));
        assert_eq!(world.image.os_hash_value.as_deref(), Some(HASH.repeat(16).as_str()));
        assert_eq!(world.image.checksum.as_deref(), Some("c".repeat(32).as_str()));
        assert_eq!(world.image.locations[0].store(), Some("web"), "the store is named");
        assert_eq!(world.image.locations[0].id, Location::UNSAVED);
        world.add("0", place("http://h/b")).expect("added");
        world.add("1", place("http://h/c")).expect("added");
        world.add("99999999999999999999999", place("http://h/d")).expect("beyond the end is the end");
        assert_eq!(world.urls(), ["http://h/b", "http://h/c", "http://h/a", "http://h/d"]);
        let mut world = World::queued();
        world.replace(json!([place("http://h/a"), place("http://h/b")])).expect("set");
        assert_eq!((world.image.status, world.urls().len()), (Status::Active, 2));
    }

    #[test]
    fn an_image_needs_its_formats_to_become_active() {
        let mut world = World::queued();
        world.image.disk_format = None;
        let text = "Property disk_format must be set prior to saving data.";
        refused(world.add("-", place("http://h/a")), 400, text);
        world.image.container_format = Some(String::new());
        let text = "Properties disk_format, container_format must be set prior to saving data.";
        refused(world.replace(json!([place("http://h/a")])), 400, text);
        assert_eq!((world.image.status, world.urls().len()), (Status::Queued, 0));
    }

    #[test]
    fn only_good_places_are_added() {
        let mut world = World::active(&["http://h/a"]);
        for url in ["file:///etc/passwd", "x", "", "ftp://h/a"] {
            refused(world.add("-", place(url)), 400, "Invalid location");
            assert_eq!(world.sizes.unknown(), [], "no store is asked about {url}");
        }
        let gone = Place { store: "web".into(), url: "http://h/gone".into() };
        world.sizes.note(gone, 0);
        refused(world.add("-", place("http://h/gone")), 400, "Invalid location");
        refused(world.add("-", place("http://h/a")), 400, "The location http://h/a already exists");
        let other = json!({"url": "http://h/a", "metadata": {"k": [{"l": "v"}]}});
        world.add("-", other).expect("with other metadata it is another location");
        let number = json!({"url": "http://h/b", "metadata": {"k": ["v", 5]}});
        let text =
            "The image metadata key k has an invalid type of number. Only dict, list, and unicode are supported.";
        refused(world.add("-", number), 400, text);
        for position in ["", "-1", "+1", "a", "1.0", "²", "--"] {
            refused(world.add(position, place("http://h/b")), 400, "Invalid position for adding a location.");
        }
        world.quota = Some(2);
        let text = "The limit has been exceeded on the number of allowed image locations. Attempted: 3, Maximum: 2";
        refused(world.add("-", place("http://h/b")), 413, text);
        assert_eq!(world.urls(), ["http://h/a", "http://h/a"]);
        let mut world = World::queued();
        let text = "The location http://h/a already exists";
        refused(world.replace(json!([place("http://h/a"), place("http://h/b"), place("http://h/a")])), 400, text);
        world.quota = Some(1);
        let text = "The limit has been exceeded on the number of allowed image locations. Attempted: 2, Maximum: 1";
        refused(world.replace(json!([place("http://h/a"), place("http://h/b")])), 413, text);
    }

    #[test]
    fn stores_are_asked_once_for_each_place() {
        let mut world = World { asks: true, ..World::active(&["http://h/a"]) };
        world.add("-", place("http://h/b")).expect("as far as it goes");
        world.add("-", json!({"url": "http://h/b", "metadata": {"k": "v"}})).expect("as far as it goes");
        assert_eq!(world.sizes.unknown(), [Place { store: "web".into(), url: "http://h/b".into() }]);
        let mut world = World { asks: true, ..World::active(&["http://h/a"]) };
        world.replace(json!([place("http://h/a")])).expect("nothing new");
        assert_eq!(world.sizes.unknown(), []);
    }

    #[test]
    fn replacing_changes_metadata_and_order_alone() {
        let mut world = World::active(&["http://h/a", "file:///b", "file:///b"]);
        let value = |metadata: Value| {
            json!([{"url": "file:///b", "metadata": metadata},
            {"url": "http://h/a", "metadata": {"store": "stolen"}}, {"url": "file:///b", "metadata": {}}])
        };
        world.replace(value(json!({"k": "v"}))).expect("replaced");
        let rows: Vec<i64> = world.image.locations.iter().map(|location| location.id).collect();
        assert_eq!(rows, [1, 2, 3], "the rows take the new order");
        assert_eq!(world.urls(), ["file:///b", "http://h/a", "file:///b"]);
        assert_eq!(world.image.locations[0].metadata.get("k"), Some(&json!("v")));
        assert_eq!(world.image.locations[1].store(), Some("web"), "the URL says which store it is");
        let text = "Original locations is not empty: ['file:///b', 'http://h/a', 'file:///b']";
        refused(world.replace(json!([place("file:///b"), place("http://h/a")])), 400, text);
        let others = json!([place("file:///b"), place("http://h/a"), place("http://h/a")]);
        refused(world.replace(others), 400, text);
    }

    #[test]
    fn the_last_location_stays() {
        let mut world = World::active(&["http://h/a", "http://h/b", "http://h/c"]);
        for position in ["3", "99999999999999999999999", "-1", "a", ""] {
            refused(world.remove(position), 400, "Invalid position for removing a location.");
        }
        world.remove("-").expect("the last in the list");
        assert_eq!(world.urls(), ["http://h/a", "http://h/b"]);
        world.remove("0").expect("removed");
        assert_eq!(world.urls(), ["http://h/b"]);
        refused(world.remove("0"), 403, "Cannot remove last location in the image.");
        refused(World::active(&[]).remove("-"), 400, "Invalid position for removing a location.");
    }

    #[test]
    fn what_is_being_deleted_is_not_counted_and_stays() {
        let mut world = World::active(&["http://h/a", "http://h/b"]);
        world.image.locations[0].status = "pending_delete".into();
        refused(world.remove("0"), 403, "Cannot remove last location in the image.");
        world.add("-", place("http://h/a")).expect("not a duplicate");
        assert_eq!(world.urls(), ["http://h/b", "http://h/a", "http://h/a"]);
    }

    #[test]
    fn the_status_decides() {
        for status in Status::ALL {
            let mut world = World::active(&["http://h/a", "http://h/b"]);
            world.image.status = status;
            let same = json!([place("http://h/a"), place("http://h/b")]);
            let mut outcomes = vec![("replace", world.replace(same))];
            world.image.status = status;
            outcomes.push(("add", world.add("-", place("http://h/c"))));
            for (verb, outcome) in outcomes {
                let allowed = matches!(status, Status::Active | Status::Queued);
                assert_eq!(outcome.is_ok(), allowed, "{verb} {status}");
                if let Err(error) = outcome {
                    let text = format!("It's not allowed to {verb} locations if image status is {status}.");
                    assert_eq!((error.status().as_u16(), error.message), (409, text));
                }
            }
            let mut world = World::active(&["http://h/a", "http://h/b"]);
            world.image.status = status;
            let removed = world.remove("0");
            assert_eq!(removed.is_ok(), status == Status::Active, "{status}");
            if let Err(error) = removed {
                let text = format!("It's not allowed to remove locations if image status is {status}.");
                assert_eq!((error.status().as_u16(), error.message), (409, text));
            }
        }
    }
}
