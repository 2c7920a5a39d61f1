//! What projects use, and what uploads have reserved.

use serde_json::Map;

use super::{Fixture, plain, uuid};
use crate::catalog::{Awaited, NewUpload, Purpose};

fn open(fixture: &Fixture, number: u32, purpose: Purpose, reserved: Option<u64>) {
    let id = format!("u{number}");
    let upload = NewUpload {
        upload_id: &id,
        image_id: &uuid(number),
        instance: "i1",
        store: "fast",
        url: &format!("file:///images/{number}"),
        location_metadata: &Map::new(),
        hash_algo: "sha512",
        quota_project: Some("p1"),
        reserved,
        signature: None,
    };
    fixture.create(&plain(number));
    fixture.catalog.write(|tx| tx.open_upload(&upload, purpose)).expect("opens");
}

#[test]
fn what_is_reserved_counts_until_it_ends() {
    let fixture = Fixture::new();
    open(&fixture, 1, Purpose::Store, Some(5));
    open(&fixture, 2, Purpose::Staging, Some(7));
    open(&fixture, 3, Purpose::Store, None);
    let awaited = |which, besides| {
        let queries = fixture.catalog.queries();
        queries.storage_awaited(Some("p1"), which, besides).expect("answers")
    };
    let all = || [Awaited::All, Awaited::Stores, Awaited::Staging].map(|which| awaited(which, None));
    assert_eq!(all(), [12, 5, 7]);
    assert_eq!(awaited(Awaited::All, Some("u1")), 7);
    assert_eq!(fixture.catalog.queries().storage_awaited(Some("p2"), Awaited::All, None), Ok(0));
    assert_eq!(fixture.catalog.write(|tx| tx.reserve_for_upload("u3", 100)), Ok(true));
    assert_eq!(all(), [112, 105, 7]);
    let intent = fixture.catalog.queries().upload("u3").expect("reads").expect("open");
    assert_eq!((intent.reserved, intent.purpose), (Some(100), Purpose::Store));
    fixture.catalog.write(|tx| tx.doom_upload("u3")).expect("given up");
    assert_eq!(fixture.catalog.write(|tx| tx.reserve_for_upload("u3", 200)), Ok(false));
    fixture.catalog.write(|tx| tx.abort_upload("u1")).expect("aborted");
    assert_eq!(all(), [7, 0, 7]);
    assert_eq!(fixture.catalog.write(|tx| tx.reserve_for_upload("u1", 1)), Ok(false));
}

#[test]
fn who_came_later_is_known() {
    let fixture = Fixture::new();
    for (number, reserved) in [(1, Some(1)), (2, Some(0)), (3, Some(1))] {
        open(&fixture, number, Purpose::Store, reserved);
    }
    open(&fixture, 4, Purpose::Staging, Some(1));
    let followed = |id, project, which| fixture.catalog.queries().is_followed(id, project, which).expect("answers");
    assert!(followed("u1", Some("p1"), Awaited::Stores) && followed("u2", Some("p1"), Awaited::Stores));
    assert!(!followed("u3", Some("p1"), Awaited::Stores), "only into the staging area");
    assert!(followed("u3", Some("p1"), Awaited::All));
    assert!(!followed("u4", Some("p1"), Awaited::All));
    assert!(!followed("u1", Some("p2"), Awaited::All));
    fixture.catalog.write(|tx| tx.doom_upload("u3")).expect("given up");
    assert!(!followed("u2", Some("p1"), Awaited::Stores));
}

#[test]
fn images_count_by_what_becomes_of_them() {
    let fixture = Fixture::new();
    let states = ["queued", "saving", "uploading", "importing", "active", "deactivated", "killed", "pending_delete"];
    for (number, state) in (1_u32..).zip(states) {
        fixture.create(&plain(number));
        fixture.execute(&format!("UPDATE images SET status = '{state}', size = 10 WHERE id = '{}'", uuid(number)));
    }
    fixture.create(&plain(9));
    fixture.catalog.write(|tx| tx.delete_image(&uuid(9))).expect("deleted");
    let used = || {
        let queries = fixture.catalog.queries();
        let of = Some("p1");
        [queries.images_of(of), queries.images_moving_of(of), queries.staging_used(of)].map(|n| n.expect("answers"))
    };
    assert_eq!(used(), [6, 3, 20]);
    let copy = |stores: &str| {
        let id = uuid(5);
        let written = fixture.catalog.write(|tx| tx.set_property(&id, "os_glance_importing_to_stores", stores));
        written.expect("written");
    };
    copy("fast");
    assert_eq!(used(), [6, 4, 30]);
    copy("");
    assert_eq!(used(), [6, 3, 20]);
    assert_eq!(fixture.catalog.queries().images_of(None), Ok(0));
    fixture.execute(&format!("UPDATE images SET owner = NULL WHERE id = '{}'", uuid(1)));
    assert_eq!(fixture.catalog.queries().images_of(None), Ok(1));
}
