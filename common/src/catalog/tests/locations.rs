//! Locations that are added, changed and removed after the data was written.

use serde_json::{Map, Value, json};

use super::{Fixture, plain, uuid};
use crate::Kind;
use crate::catalog::{Located, NewUpload, Purpose};
use crate::model::{Image, Location, Status};

fn metadata(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn new(url: &str, store: &str) -> Location {
    Location {
        id: Location::UNSAVED,
        url: url.to_owned(),
        metadata: metadata(json!({"store": store})),
        status: Location::LIVE.to_owned(),
    }
}

/// An active image with its data in these places.
fn located(fixture: &Fixture, number: u32, urls: &[&str]) -> Image {
    let id = uuid(number);
    fixture.create(&plain(number));
    let made = fixture.catalog.write(|tx| {
        tx.set_status(&id, &[], Status::Active)?;
        urls.iter().try_for_each(|url| tx.add_location(&id, url, &metadata(json!({"store": "fast"}))))
    });
    made.expect("located");
    fixture.image(&id).expect("there")
}

fn save(fixture: &Fixture, image: &Image, wanted: &[Location]) -> Image {
    fixture.catalog.write(|tx| tx.save_locations(&image.id, wanted)).expect("saved");
    fixture.image(&image.id).expect("there")
}

/// The places on record for removal.
fn removals(fixture: &Fixture) -> Vec<(String, Option<String>)> {
    let removals = fixture.catalog.queries().removals(0, 100).expect("reads");
    removals.into_iter().map(|removal| (removal.url, removal.store)).collect()
}

fn urls(image: &Image) -> Vec<&str> {
    image.locations.iter().map(|location| location.url.as_str()).collect()
}

#[test]
fn what_is_wanted_is_what_is_there_afterwards() {
    let fixture = Fixture::new();
    let image = located(&fixture, 1, &["swift://a", "swift://b", "swift://c"]);
    fixture.execute("UPDATE image_locations SET status = 'pending_delete' WHERE value = 'swift://c'");
    let [a, b, _] = image.locations.as_slice() else { panic!("three") };
    let renamed = Location { metadata: metadata(json!({"store": "slow", "ü": ["x"]})), ..b.clone() };
    let after = save(&fixture, &image, &[new("swift://d", "fast"), renamed.clone()]);
    assert_eq!(urls(&after), ["swift://b", "swift://c", "swift://d"], "in the order of the making");
    assert_eq!((after.locations[0].id, &after.locations[0].metadata), (b.id, &renamed.metadata), "in its old row");
    assert_eq!(removals(&fixture), [("swift://a".to_owned(), Some("fast".to_owned()))]);
    let gone = format!("SELECT count(*) FROM image_locations WHERE id = {} AND deleted AND status = 'deleted'", a.id);
    assert_eq!(fixture.number(&gone), 1);
    assert_eq!(fixture.number("SELECT count(*) FROM image_locations WHERE deleted AND deleted_at IS NULL"), 0);
    let mut swapped = after.locations.clone();
    (swapped[0].url, swapped[2].url) = (after.locations[2].url.clone(), after.locations[0].url.clone());
    assert_eq!(save(&fixture, &after, &swapped).locations, swapped);
    save(&fixture, &after, &after.locations);
    let same = save(&fixture, &after, &after.locations);
    assert_eq!(same.locations, after.locations, "nothing to do");
    assert_eq!(removals(&fixture).len(), 1);
    let error = fixture.catalog.write(|tx| tx.save_locations(&uuid(9), &[])).expect_err("no such image");
    assert_eq!(error.kind, Kind::NotFound);
}

#[test]
fn data_goes_with_the_last_location_that_leads_to_it() {
    let fixture = Fixture::new();
    let first = located(&fixture, 1, &["swift://shared", "swift://own", "swift://own"]);
    let second = located(&fixture, 2, &["swift://shared", "swift://other"]);
    let [shared, own, twice] = first.locations.as_slice() else { panic!("three") };
    save(&fixture, &first, &[own.clone(), twice.clone()]);
    assert_eq!(removals(&fixture), [], "the other image has it too");
    let after = save(&fixture, &first, std::slice::from_ref(own));
    assert_eq!(removals(&fixture), [], "the image has it a second time");
    save(&fixture, &second, &second.locations[1..]);
    assert_eq!(removals(&fixture), [(shared.url.clone(), Some("fast".to_owned()))]);
    // The same for whole images.
    let third = located(&fixture, 3, &["swift://own"]);
    fixture.catalog.write(|tx| tx.delete_image(&after.id)).expect("deleted");
    assert_eq!(removals(&fixture).len(), 1);
    fixture.catalog.write(|tx| tx.delete_image(&third.id)).expect("deleted");
    assert_eq!(removals(&fixture)[1..], [("swift://own".to_owned(), Some("fast".to_owned()))]);
}

#[test]
fn data_goes_by_its_url_whichever_row_it_stood_in() {
    let fixture = Fixture::new();
    let image = located(&fixture, 1, &["swift://a", "swift://b", "swift://b"]);
    // Reordered, and cut by what came to stand first.
    let left = Location { url: "swift://a".to_owned(), ..image.locations[1].clone() };
    assert_eq!(urls(&save(&fixture, &image, &[left])), ["swift://a"]);
    assert_eq!(removals(&fixture), [("swift://b".to_owned(), Some("fast".to_owned()))], "once");
}

#[test]
fn data_that_somebody_else_is_writing_stays() {
    let fixture = Fixture::new();
    let image = located(&fixture, 1, &["swift://a", "swift://victim"]);
    fixture.create(&plain(2));
    let upload = NewUpload {
        upload_id: "u1",
        image_id: &uuid(2),
        instance: "i1",
        store: "fast",
        url: "swift://victim",
        location_metadata: &Map::new(),
        hash_algo: "sha512",
        quota_project: None,
        reserved: None,
        signature: None,
    };
    fixture.catalog.write(|tx| tx.open_upload(&upload, Purpose::Store)).expect("open");
    save(&fixture, &image, &image.locations[..1]);
    assert_eq!(removals(&fixture), []);
}

#[test]
fn a_file_of_the_image_is_its_own() {
    let fixture = Fixture::new();
    let own = format!("file:///images/{}", uuid(1));
    let image = located(&fixture, 1, &[&own, "file:///images/foreign"]);
    located(&fixture, 2, &["file:///images/foreign"]);
    fixture.catalog.write(|tx| tx.delete_image(&image.id)).expect("deleted");
    let only: Vec<String> = removals(&fixture).into_iter().map(|(url, _)| url).collect();
    assert_eq!(only, std::slice::from_ref(&own));
    let queries = fixture.catalog.queries();
    assert!(queries.is_occupied(&own).expect("reads"));
    assert!(!queries.is_occupied("file:///images/foreign").expect("reads"));
}

#[test]
fn a_queued_image_becomes_active_with_data_that_is_there() {
    let fixture = Fixture::new();
    let id = fixture.create(&plain(1)).id;
    let data = Located { size: Some(7), checksum: Some("c"), hash_algo: Some("sha512"), hash_value: Some("h") };
    fixture.catalog.write(|tx| tx.activate_located(&id, &data)).expect("active");
    let image = fixture.image(&id).expect("there");
    assert_eq!((image.status, image.size, image.checksum.as_deref()), (Status::Active, Some(7), Some("c")));
    assert_eq!((image.os_hash_algo.as_deref(), image.os_hash_value.as_deref()), (Some("sha512"), Some("h")));
    let again = fixture.catalog.write(|tx| tx.activate_located(&id, &data)).expect_err("active already");
    assert_eq!(again.kind, Kind::Conflict);
}
