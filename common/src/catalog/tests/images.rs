use std::cell::Cell;

use serde_json::{Map, json};

use super::{Fixture, pairs, plain, uuid, words};
use crate::catalog::{ImageChange, ListQuery, NewImage, Viewer, new_id};
use crate::model::{MemberStatus, Status, Visibility};
use crate::{Error, Kind, Result};

#[test]
fn an_image_comes_back_as_it_was_made() {
    let fixture = Fixture::new();
    let new = NewImage {
        properties: pairs(&[("zeta", "1"), ("alpha", ""), ("ünï", "ä\"\n")]),
        tags: words(&["b", "a", "b", ""]),
        protected: true,
        hidden: true,
        min_disk: 7,
        min_ram: 8,
        visibility: Visibility::Community,
        ..plain(1)
    };
    let image = fixture.create(&new);
    assert_eq!(Some(&image), fixture.image(&new.id).as_ref());
    assert_eq!(image.status, Status::Queued);
    assert_eq!(image.properties, new.properties);
    assert_eq!(image.tags, words(&["b", "a", ""]));
    assert_eq!((image.protected, image.hidden, image.min_disk, image.min_ram), (true, true, 7, 8));
    assert_eq!(image.visibility, Visibility::Community);
    assert_eq!((image.size, image.checksum.as_deref(), image.locations.len()), (None, None, 0));
    assert_eq!(image.created_at, image.updated_at);
    let bare = NewImage { owner: Some(String::new()), name: None, disk_format: None, ..plain(2) };
    let bare = fixture.create(&bare);
    assert_eq!((bare.owner, bare.name, bare.disk_format), (None, None, None));
}

#[test]
fn an_id_is_used_once_for_ever() {
    let fixture = Fixture::new();
    fixture.create(&plain(1));
    let again = || fixture.catalog.write(|tx| tx.create_image(&plain(1))).expect_err("taken");
    let error = again();
    assert_eq!((error.kind, error.message), (Kind::Conflict, format!("Image ID {} already exists!", uuid(1))));
    fixture.catalog.write(|tx| tx.delete_image(&uuid(1))).expect("deleted");
    assert_eq!(fixture.image(&uuid(1)), None);
    assert_eq!(again().kind, Kind::Conflict);
    assert!(fixture.catalog.queries().image_id_taken(&uuid(1)).expect("answers"));
    assert!(!fixture.catalog.queries().image_id_taken(&uuid(2)).expect("answers"));
}

#[test]
fn properties_are_revived_in_their_rows() {
    let fixture = Fixture::new();
    let id = uuid(1);
    fixture.create(&NewImage { properties: pairs(&[("a", "1"), ("b", "2")]), ..plain(1) });
    fixture.execute(
        "INSERT INTO image_properties (image_id, name, value, created_at, deleted) \
         SELECT id, 'os_glance_import_task', 'lock', created_at, 0 FROM images",
    );
    let save = |list: &[(&str, &str)]| {
        let change = ImageChange { properties: Some(pairs(list)), ..ImageChange::default() };
        fixture.catalog.write(|tx| tx.update_image(&id, &[], &change)).expect("saved").properties
    };
    assert_eq!(save(&[("b", "3")]), pairs(&[("b", "3"), ("os_glance_import_task", "lock")]));
    assert_eq!(fixture.number("SELECT count(*) FROM image_properties WHERE deleted AND deleted_at IS NOT NULL"), 1);
    let revived = save(&[("a", "4"), ("b", "3"), ("os_glance_import_task", "stolen")]);
    assert_eq!(revived, pairs(&[("a", "4"), ("b", "3"), ("os_glance_import_task", "lock")]));
    assert_eq!(fixture.number("SELECT count(*) FROM image_properties"), 3);
    assert_eq!(
        fixture.number("SELECT count(*) FROM image_properties WHERE deleted OR deleted_at IS NOT NULL"),
        0,
        "Glance's purge takes rows by deleted_at alone"
    );
}

#[test]
fn tags_are_inserted_anew() {
    let fixture = Fixture::new();
    let id = uuid(1);
    fixture.create(&NewImage { tags: words(&["x", "y"]), ..plain(1) });
    let save = |list: &[&str]| {
        let change = ImageChange { tags: Some(words(list)), ..ImageChange::default() };
        fixture.catalog.write(|tx| tx.update_image(&id, &[], &change)).expect("saved").tags
    };
    assert_eq!(save(&["y", "z"]), words(&["y", "z"]));
    assert_eq!(save(&["x", "y", "z"]), words(&["y", "z", "x"]));
    assert_eq!(fixture.number("SELECT count(*) FROM image_tags"), 4);
    assert_eq!(save(&[]), words(&[]));
}

#[test]
fn a_save_changes_what_it_names_and_the_time() {
    let fixture = Fixture::new();
    let before = fixture.create(&NewImage { properties: pairs(&[("a", "1")]), ..plain(1) });
    let touched = fixture.catalog.write(|tx| tx.update_image(&before.id, &[], &ImageChange::default())).expect("saved");
    assert!(touched.updated_at > before.updated_at);
    assert_eq!(touched.created_at, before.created_at);
    let change = ImageChange {
        name: Some(None),
        visibility: Some(Visibility::Public),
        protected: Some(true),
        hidden: Some(true),
        owner: Some(Some("p2".to_owned())),
        disk_format: Some(Some("qcow2".to_owned())),
        container_format: Some(None),
        min_disk: Some(3),
        min_ram: Some(4),
        ..ImageChange::default()
    };
    let after = fixture.catalog.write(|tx| tx.update_image(&before.id, &[Status::Queued], &change)).expect("saved");
    assert_eq!((after.name, after.owner.as_deref()), (None, Some("p2")));
    assert_eq!((after.protected, after.hidden, after.min_disk, after.min_ram), (true, true, 3, 4));
    assert_eq!((after.disk_format.as_deref(), after.container_format), (Some("qcow2"), None));
    assert_eq!((after.visibility, after.properties), (Visibility::Public, before.properties));
}

#[test]
fn a_save_fails_when_the_status_moved_or_the_image_went() {
    let fixture = Fixture::new();
    fixture.create(&plain(1));
    let save = |id: &str, from: &[Status]| {
        let change = ImageChange { name: Some(Some("new".to_owned())), ..ImageChange::default() };
        fixture.catalog.write(|tx| tx.update_image(id, from, &change)).map_err(|error| error.kind)
    };
    assert_eq!(save(&uuid(1), &[Status::Active, Status::Importing]).expect_err("moved"), Kind::Conflict);
    assert_eq!(save(&uuid(9), &[]).expect_err("none"), Kind::NotFound);
    assert_eq!(fixture.image(&uuid(1)).expect("there").name.as_deref(), Some("image-1"));
    assert!(save(&uuid(1), &[Status::Active, Status::Queued]).is_ok());
}

#[test]
fn status_changes_follow_the_table() {
    let fixture = Fixture::new();
    fixture.create(&plain(1));
    let set = |from: &[Status], to| fixture.catalog.write(|tx| tx.set_status(&uuid(1), from, to));
    let error = set(&[], Status::Deactivated).expect_err("queued images are not deactivated");
    assert_eq!(error.message, "Image status transition from queued to deactivated is not allowed");
    set(&[], Status::Active).expect("allowed");
    fixture.execute("UPDATE images SET size = 5, virtual_size = 6");
    set(&[], Status::Deactivated).expect("allowed");
    assert_eq!(fixture.image(&uuid(1)).expect("there").size, Some(5));
    assert_eq!(set(&[Status::Active], Status::Deactivated).expect_err("raced").kind, Kind::Conflict);
    set(&[Status::Deactivated], Status::Queued).expect("the caller's own list counts");
    let image = fixture.image(&uuid(1)).expect("there");
    assert_eq!((image.size, image.virtual_size), (None, None));
}

#[test]
fn a_deletion_takes_everything_along_and_records_the_bytes() {
    let fixture = Fixture::new();
    let id = uuid(1);
    fixture.create(&NewImage { properties: pairs(&[("a", "1")]), tags: words(&["t"]), ..plain(1) });
    fixture.create(&NewImage { properties: pairs(&[("a", "1")]), tags: words(&["t"]), ..plain(2) });
    let metadata = json!({"store": "fast"});
    let deleted = fixture.catalog.write(|tx| {
        tx.set_status(&id, &[], Status::Active)?;
        tx.add_member(&id, "p2")?;
        tx.add_location(&id, "file:///a", metadata.as_object().expect("object"))?;
        tx.add_location(&id, "file:///b", &Map::new())?;
        tx.delete_image(&id)
    });
    deleted.expect("deleted");
    let removals = fixture.catalog.queries().removals(0, 10).expect("reads");
    let urls: Vec<_> = removals.iter().map(|r| (r.url.as_str(), r.store.as_deref())).collect();
    assert_eq!(urls, [("file:///a", Some("fast")), ("file:///b", None)]);
    assert_eq!(fixture.image(&id), None);
    for table in ["images", "image_properties", "image_tags", "image_members", "image_locations"] {
        let key = if table == "images" { "id" } else { "image_id" };
        let live = format!("SELECT count(*) FROM {table} WHERE {key} = '{id}' AND (deleted = 0 OR deleted_at IS NULL)");
        assert_eq!(fixture.number(&live), 0, "{table}");
        let dead = format!("SELECT count(*) FROM {table} WHERE {key} = '{id}'");
        assert_ne!(fixture.number(&dead), 0, "{table}");
    }
    assert_eq!(fixture.number("SELECT count(*) FROM image_locations WHERE status = 'deleted'"), 2);
    assert_eq!(fixture.number("SELECT count(*) FROM images WHERE status = 'deleted'"), 1);
    assert_eq!(fixture.image(&uuid(2)).expect("untouched").tags, words(&["t"]));
    let again = fixture.catalog.write(|tx| tx.delete_image(&id)).expect_err("gone");
    assert_eq!(again.kind, Kind::NotFound);
    for removal in removals {
        fixture.catalog.write(|tx| tx.finish_removal(removal.id)).expect("done");
        fixture.catalog.write(|tx| tx.finish_removal(removal.id)).expect("and again");
    }
    assert_eq!(fixture.catalog.queries().removals(0, 10).expect("reads"), []);
}

#[test]
fn members_come_and_go_in_one_row() {
    let fixture = Fixture::new();
    let id = uuid(1);
    fixture.create(&plain(1));
    let add = |member: &str| fixture.catalog.write(|tx| tx.add_member(&id, member));
    let first = add("p2").expect("added");
    assert_eq!((first.status, first.member.as_str()), (MemberStatus::Pending, "p2"));
    add("p3").expect("added");
    let error = add("p2").expect_err("twice");
    assert_eq!((error.kind, error.message), (Kind::Conflict, format!("Member p2 is duplicated for image {id}")));
    let set =
        |member: &str, status| fixture.catalog.write(|tx| tx.set_member_status(&id, member, status)).expect("answers");
    assert_eq!(set("p2", MemberStatus::Accepted).expect("a member").status, MemberStatus::Accepted);
    assert_eq!(set("p9", MemberStatus::Accepted), None);
    let queries = fixture.catalog.queries();
    assert_eq!(queries.membership(&id, "p2").expect("reads"), Some(MemberStatus::Accepted));
    assert_eq!(queries.membership(&id, "p9").expect("reads"), None);
    let remove = |member: &str| fixture.catalog.write(|tx| tx.delete_member(&id, member)).expect("answers");
    assert!(remove("p2"));
    assert!(!remove("p2"));
    assert_eq!(queries.membership(&id, "p2").expect("reads"), None);
    let back = add("p2").expect("added again");
    assert_eq!((back.status, back.created_at), (MemberStatus::Pending, first.created_at));
    assert_eq!(fixture.number("SELECT count(*) FROM image_members WHERE member = 'p2'"), 1);
    assert_eq!(fixture.number("SELECT count(*) FROM image_members WHERE deleted_at IS NOT NULL"), 0);
    let names: Vec<_> = queries.members(&id).expect("reads").into_iter().map(|m| m.member).collect();
    assert_eq!(names, ["p2", "p3"]);
}

#[test]
fn storage_counts_live_locations_of_live_images() {
    let fixture = Fixture::new();
    for number in 1..=4 {
        fixture.create(&plain(number));
    }
    fixture.create(&NewImage { owner: Some("p2".to_owned()), ..plain(5) });
    fixture.execute("UPDATE images SET size = 10, status = 'active'");
    let used = |owner: &str| fixture.catalog.queries().storage_used(Some(owner)).expect("answers");
    assert_eq!(used("p1"), 0);
    for number in 1..=5 {
        for url in ["file:///a", "file:///b"] {
            fixture.catalog.write(|tx| tx.add_location(&uuid(number), url, &Map::new())).expect("added");
        }
    }
    assert_eq!((used("p1"), used("p2"), used("p3")), (80, 20, 0));
    fixture.catalog.write(|tx| tx.delete_image(&uuid(1))).expect("deleted");
    fixture.execute("UPDATE image_locations SET deleted = 1, status = 'deleted' WHERE id = 3");
    fixture.execute(&format!("UPDATE images SET status = 'killed' WHERE id = '{}'", uuid(3)));
    assert_eq!(used("p1"), 30);
}

#[test]
fn a_failed_change_is_undone_alone() {
    let fixture = Fixture::new();
    let mut batch = fixture.catalog.batch().expect("begins");
    batch.step(|tx| tx.create_image(&plain(1))).expect("first");
    let failed: Result<()> = batch.step(|tx| {
        tx.create_image(&plain(2))?;
        Err(Error::forbidden("no"))
    });
    assert_eq!(failed.expect_err("second").kind, Kind::Forbidden);
    let seen = Cell::new(false);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        batch.step(|tx| -> Result<()> {
            tx.create_image(&plain(3))?;
            seen.set(true);
            panic!("a bug in a handler");
        })
    }));
    assert!(panicked.is_err() && seen.get());
    batch.step(|tx| tx.create_image(&plain(4))).expect("fourth");
    let reader = fixture.reader();
    let there = |number| reader.read(|q| q.image(&uuid(number))).expect("reads").is_some();
    assert!(!there(1), "nothing is visible before the commit");
    batch.commit().expect("commits");
    assert_eq!([1, 2, 3, 4].map(there), [true, false, false, true]);
}

#[test]
fn a_dropped_batch_leaves_nothing() {
    let fixture = Fixture::new();
    {
        let mut batch = fixture.catalog.batch().expect("begins");
        batch.step(|tx| tx.create_image(&plain(1))).expect("first");
    }
    assert_eq!(fixture.image(&uuid(1)), None);
    fixture.create(&plain(1));
}

#[test]
fn a_snapshot_does_not_move() {
    let fixture = Fixture::new();
    fixture.create(&plain(1));
    let reader = fixture.reader();
    reader
        .read(|q| {
            let before = q.image(&uuid(1))?;
            fixture.catalog.write(|tx| tx.delete_image(&uuid(1)))?;
            assert_eq!(q.image(&uuid(1))?, before);
            Ok(())
        })
        .expect("reads");
    assert_eq!(reader.read(|q| q.image(&uuid(1))).expect("reads"), None);
}

#[test]
fn what_a_reader_remembers_is_what_is_there() {
    let fixture = Fixture::new();
    let reader = fixture.reader();
    let read = |number| reader.read(|q| q.image(&uuid(number))).expect("reads");
    assert_eq!(read(1), None);
    for number in 1..=40 {
        fixture.create(&plain(number));
    }
    for _ in 0..2 {
        for number in 1..=40 {
            assert_eq!(read(number), fixture.image(&uuid(number)), "{number}");
        }
    }
    for sql in [
        "UPDATE images SET status = 'deactivated'",
        "INSERT INTO image_properties (image_id, name, value, created_at, deleted) SELECT id, 'a', 'b', created_at, 0 FROM images",
        "PRAGMA wal_checkpoint(TRUNCATE); UPDATE image_properties SET deleted = 1",
        "UPDATE images SET deleted = 1",
    ] {
        let before = read(40);
        fixture.execute(sql);
        assert_ne!(read(40), before, "{sql}");
        assert_eq!(read(40), fixture.image(&uuid(40)), "{sql}");
        let list = ListQuery::new(Viewer { project: None, is_admin: true }, 30);
        for _ in 0..2 {
            let listed = reader.read(|q| q.list(&list)).expect("lists");
            assert_eq!(listed, fixture.catalog.queries().list(&list).expect("lists"), "{sql}");
        }
    }
}

#[test]
fn a_reader_remembers_no_more_than_it_may() {
    let fixture = Fixture::new();
    let properties = |bytes: usize| vec![("a".to_owned(), "b".repeat(bytes))];
    for number in 1..=400 {
        fixture.create(&NewImage { properties: properties(12 << 10), ..plain(number) });
    }
    let mut reader = fixture.reader();
    let mut statements = |limit| {
        let list = ListQuery::new(Viewer { project: None, is_admin: true }, limit);
        super::plans::statements(&mut reader, &list)
    };
    // BEGIN, list, version, images, properties, tags, locations, COMMIT; or the version alone between list and end.
    assert_eq!((statements(100), statements(100)), ((100, 8), (100, 4)));
    assert_eq!((statements(400), statements(400)), ((400, 8), (400, 8)), "these are more than all that is remembered");
    fixture.create(&NewImage { properties: properties(1 << 20), ..plain(401) });
    assert_eq!((statements(100), statements(100)), ((100, 8), (100, 8)), "one is too large, and read again");
}

/// Pages that the log of changes holds after sixteen creations in one commit, when there are 800 images with ids of `id`.
fn pages_of_sixteen(mut id: impl FnMut() -> String) -> i64 {
    let fixture = Fixture::new();
    let mut create = |count: u32| {
        let mut batch = fixture.catalog.batch().expect("begins");
        for number in 0..count {
            let new = NewImage {
                id: id(),
                properties: pairs(&[("hw_disk_bus", "virtio"), ("os_distro", "debian")]),
                tags: words(&["golden"]),
                ..plain(number)
            };
            batch.step(|tx| tx.create_image(&new)).expect("made");
        }
        batch.commit().expect("durable");
    };
    for _ in 0..50 {
        create(16);
    }
    fixture.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    create(16);
    // Of its three numbers the second is the pages in the log.
    let moved = "PRAGMA wal_checkpoint(PASSIVE)";
    fixture.catalog.connection().query_row(moved, [], |row| row.get(1)).expect("answers")
}

#[test]
fn images_made_one_after_the_other_share_pages() {
    let (ours, random) = (pages_of_sixteen(new_id), pages_of_sixteen(|| ::uuid::Uuid::new_v4().to_string()));
    assert!(ours * 4 < random * 3, "{ours} pages with ids in the order of making, {random} with random ones");
}
