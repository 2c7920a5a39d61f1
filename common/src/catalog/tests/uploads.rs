//! Every way in which an upload, its commit, its abort, a deletion and a crash can follow each other.

use serde_json::{Map, Value, json};

use super::{Fixture, plain, uuid};
use crate::catalog::{Aborted, Catalog, Commit, CommitFindings, Committed, NewUpload, Purpose};
use crate::model::Status;
use crate::time::Timestamp;
use crate::{Kind, Result};

const HASH: &str = "ab";

fn open(fixture: &Fixture, upload_id: &str, metadata: &Map<String, Value>) -> Result<()> {
    let upload = NewUpload {
        upload_id,
        image_id: &uuid(1),
        instance: "i1",
        store: "fast",
        url: "file:///images/1",
        location_metadata: metadata,
        hash_algo: "sha512",
        quota_project: Some("p1"),
        reserved: Some(5),
        signature: None,
    };
    fixture.catalog.write(|tx| tx.open_upload(&upload, Purpose::Store))
}

fn commit(fixture: &Fixture, upload_id: &str) -> Committed {
    let findings = Some(CommitFindings { virtual_size: Some(9), checksum: "c5", hash_value: HASH });
    let commit = Commit { upload_id, size: 5, findings };
    fixture.catalog.write(|tx| tx.commit_upload(&commit)).expect("commit answers")
}

fn abort(fixture: &Fixture, upload_id: &str) -> Aborted {
    fixture.catalog.write(|tx| tx.abort_upload(upload_id)).expect("abort answers")
}

fn ready() -> Fixture {
    let fixture = Fixture::new();
    fixture.create(&plain(1));
    fixture
}

/// As after `kill -9`: the files as they lie, opened by somebody else.
fn crash(fixture: &Fixture) -> Fixture {
    let dir = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(fixture._dir.path()).expect("the old directory") {
        let entry = entry.expect("an entry");
        // The shared index dies with the processes that share it.
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("a copy");
        }
    }
    let path = dir.path().join("catalog.sqlite");
    let fixture = Fixture { catalog: Catalog::open(&path).expect("opens after a crash"), path, _dir: dir };
    // Processes die here, not power: waiting for the disk would only make the many crashes slow.
    fixture.execute("PRAGMA synchronous = OFF");
    fixture
}

#[test]
fn an_upload_makes_the_image_active() {
    let fixture = ready();
    let metadata = json!({"store": "fast"});
    open(&fixture, "u1", metadata.as_object().expect("object")).expect("opens");
    assert_eq!(fixture.image(&uuid(1)).expect("there").status, Status::Saving);
    let intent = fixture.catalog.queries().upload("u1").expect("reads").expect("recorded");
    assert_eq!((intent.instance.as_str(), intent.url.as_str()), ("i1", "file:///images/1"));
    assert_eq!((intent.store.as_str(), intent.image_id), ("fast", uuid(1)));
    assert_eq!(commit(&fixture, "u1"), Committed::Now);
    let image = fixture.image(&uuid(1)).expect("there");
    assert_eq!((image.status, image.size, image.virtual_size), (Status::Active, Some(5), Some(9)));
    assert_eq!((image.checksum.as_deref(), image.os_hash_value.as_deref()), (Some("c5"), Some(HASH)));
    assert_eq!(image.os_hash_algo.as_deref(), Some("sha512"));
    let location = &image.locations[0];
    assert_eq!(
        (location.url.as_str(), location.store(), location.status.as_str()),
        ("file:///images/1", Some("fast"), "active")
    );
    assert_eq!(fixture.number("SELECT count(*) FROM image_locations WHERE meta_data = '{\"store\": \"fast\"}'"), 1);
    assert_eq!(fixture.catalog.queries().uploads().expect("reads"), []);
}

#[test]
fn in_single_store_mode_the_location_names_no_store() {
    let fixture = ready();
    open(&fixture, "u1", &Map::new()).expect("opens");
    commit(&fixture, "u1");
    assert_eq!(fixture.image(&uuid(1)).expect("there").locations[0].store(), None);
    assert_eq!(fixture.number("SELECT count(*) FROM image_locations WHERE meta_data = '{}'"), 1);
}

#[test]
fn only_queued_images_take_data_and_one_upload_at_a_time() {
    let fixture = ready();
    open(&fixture, "u1", &Map::new()).expect("opens");
    let error = open(&fixture, "u2", &Map::new()).expect_err("the image is saving");
    assert_eq!(error.message, "Image status transition from saving to saving is not allowed");
    assert_eq!(error.kind, Kind::Conflict);
    assert_eq!(fixture.catalog.queries().uploads().expect("reads").len(), 1, "no intent of the refused one");
    commit(&fixture, "u1");
    let error = open(&fixture, "u2", &Map::new()).expect_err("the image is active");
    assert_eq!(error.message, "Image status transition from active to saving is not allowed");
    fixture.catalog.write(|tx| tx.delete_image(&uuid(1))).expect("deleted");
    assert_eq!(open(&fixture, "u2", &Map::new()).expect_err("deleted").kind, Kind::NotFound);
}

#[test]
fn a_commit_may_be_repeated_also_after_a_crash() {
    let fixture = ready();
    open(&fixture, "u1", &Map::new()).expect("opens");
    assert_eq!(commit(&fixture, "u1"), Committed::Now);
    let before = fixture.image(&uuid(1));
    assert_eq!(commit(&fixture, "u1"), Committed::Before);
    let fixture = crash(&fixture);
    assert_eq!(commit(&fixture, "u1"), Committed::Before);
    assert_eq!(fixture.image(&uuid(1)), before, "a repetition changes nothing");
    // What was acknowledged stays acknowledged when the image is deleted afterwards.
    fixture.catalog.write(|tx| tx.delete_image(&uuid(1))).expect("deleted");
    assert_eq!(commit(&fixture, "u1"), Committed::Before);
    assert_eq!(fixture.image(&uuid(1)), None);
}

#[test]
fn an_abort_requeues_and_may_be_repeated() {
    let fixture = ready();
    open(&fixture, "u1", &Map::new()).expect("opens");
    fixture.execute(
        "UPDATE images SET size = 3, virtual_size = 3, checksum = 'x', os_hash_algo = 'y', os_hash_value = 'z'",
    );
    let fixture = crash(&fixture);
    assert_eq!(abort(&fixture, "u1"), Aborted::Requeued);
    let image = fixture.image(&uuid(1)).expect("there");
    assert_eq!((image.status, image.size, image.virtual_size), (Status::Queued, None, None));
    assert_eq!((image.checksum, image.os_hash_algo, image.os_hash_value), (None, None, None));
    assert_eq!(abort(&fixture, "u1"), Aborted::Unknown);
    // A commit that comes after the abort must not bring the image to life: its bytes are gone.
    assert_eq!(commit(&fixture, "u1"), Committed::Unknown);
    assert_eq!(fixture.image(&uuid(1)).expect("there").status, Status::Queued);
    open(&fixture, "u2", &Map::new()).expect("the image takes data again");
    assert_eq!(abort(&fixture, "u1"), Aborted::Unknown, "an old abort does not disturb the new upload");
    assert_eq!(commit(&fixture, "u1"), Committed::Unknown, "nor does an old commit");
    assert_eq!(commit(&fixture, "u2"), Committed::Now);
}

#[test]
fn a_doomed_upload_can_only_be_aborted() {
    let fixture = ready();
    open(&fixture, "u1", &Map::new()).expect("opens");
    let doom = |fixture: &Fixture| fixture.catalog.write(|tx| tx.doom_upload("u1")).expect("answers");
    assert!(doom(&fixture) && doom(&fixture));
    assert!(fixture.catalog.queries().upload("u1").expect("reads").expect("still known").doomed);
    let fixture = crash(&fixture);
    assert_eq!(commit(&fixture, "u1"), Committed::Unknown, "its bytes may be gone");
    assert_eq!(fixture.image(&uuid(1)).expect("there").status, Status::Saving, "until they are, surely");
    assert_eq!(abort(&fixture, "u1"), Aborted::Requeued);
    assert!(!doom(&fixture));
    open(&fixture, "u1", &Map::new()).expect("opens");
    commit(&fixture, "u1");
    assert!(!doom(&fixture), "a committed upload is nobody's to give up");
    assert_eq!(commit(&fixture, "u1"), Committed::Before);
}

#[test]
fn an_abort_after_the_commit_is_refused() {
    let fixture = ready();
    open(&fixture, "u1", &Map::new()).expect("opens");
    commit(&fixture, "u1");
    assert_eq!(abort(&fixture, "u1"), Aborted::Committed);
    assert_eq!(fixture.image(&uuid(1)).expect("there").status, Status::Active);
}

#[test]
fn a_deletion_during_an_upload_keeps_the_intent_until_the_bytes_are_gone() {
    let fixture = ready();
    open(&fixture, "u1", &Map::new()).expect("opens");
    let uploads = |fixture: &Fixture| fixture.catalog.queries().uploads().expect("reads");
    assert!(!uploads(&fixture)[0].image_deleted);
    fixture.catalog.write(|tx| tx.delete_image(&uuid(1))).expect("saving images may be deleted");
    assert_eq!(fixture.catalog.queries().removals(0, 10).expect("reads"), [], "nothing was committed");
    assert!(uploads(&fixture)[0].image_deleted, "to be cancelled");
    assert_eq!(commit(&fixture, "u1"), Committed::ImageGone);
    let fixture = crash(&fixture);
    assert_eq!(fixture.catalog.queries().uploads().expect("reads").len(), 1, "bytes may still lie there");
    assert_eq!(commit(&fixture, "u1"), Committed::ImageGone);
    assert_eq!(abort(&fixture, "u1"), Aborted::ImageGone);
    assert_eq!(fixture.catalog.queries().uploads().expect("reads"), []);
    assert_eq!(fixture.image(&uuid(1)), None);
    assert_eq!(fixture.number("SELECT count(*) FROM image_locations"), 0);
}

#[test]
fn uploads_are_told_apart_by_instance_and_forgotten_after_a_while() {
    let fixture = ready();
    open(&fixture, "u1", &Map::new()).expect("opens");
    let others = |instance: &str| fixture.catalog.queries().uploads_of_other_instances(instance).expect("reads").len();
    assert_eq!((others("i1"), others("i2")), (0, 1));
    let long_ago = Timestamp::from_micros(0);
    let soon = Timestamp::from_micros(Timestamp::now().as_micros() + 1_000_000);
    let forget = |moment| fixture.catalog.write(|tx| tx.forget_committed_uploads(moment)).expect("answers");
    assert_eq!(forget(soon), 0, "open uploads are never forgotten");
    commit(&fixture, "u1");
    assert_eq!((others("i1"), others("i2")), (0, 0));
    assert_eq!(forget(long_ago), 0);
    assert_eq!(commit(&fixture, "u1"), Committed::Before);
    assert_eq!(forget(soon), 1);
    assert_eq!(commit(&fixture, "u1"), Committed::Unknown);
    assert_eq!(fixture.image(&uuid(1)).expect("there").status, Status::Active);
}

/// What may happen to an upload, in any order.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Commit,
    Abort,
    Doom,
    Delete,
    Crash,
    Reopen,
}

/// All sequences of up to four events after `open`: whatever happens, the image is never active without its location,
/// never in `saving` without an intent, and bytes are always known to somebody: to the image, to an intent, to a
/// removal, or they were removed before an abort.
#[test]
fn every_interleaving_keeps_the_promises() {
    use Event::{Abort, Commit, Crash, Delete, Doom, Reopen};
    const EVENTS: [Event; 6] = [Commit, Abort, Doom, Delete, Crash, Reopen];
    let fresh = ready();
    for code in 0..EVENTS.len().pow(4) {
        let events = [code % 6, code / 6 % 6, code / 36 % 6, code / 216].map(|index| EVENTS[index]);
        let mut fixture = crash(&fresh);
        open(&fixture, "u1", &Map::new()).expect("opens");
        let mut acknowledged = false;
        let mut bytes_removed = false;
        let mut deleted = false;
        let mut doomed = false;
        for event in events {
            match event {
                Commit => {
                    let outcome = commit(&fixture, "u1");
                    assert!(!doomed || outcome == Committed::Unknown, "bytes may be gone: {events:?}");
                    acknowledged |= outcome == Committed::Now;
                    assert_eq!(outcome == Committed::Before, acknowledged && outcome != Committed::Now, "{events:?}");
                }
                Abort => match abort(&fixture, "u1") {
                    Aborted::Committed => assert!(acknowledged, "{events:?}"),
                    Aborted::Requeued | Aborted::ImageGone => bytes_removed = true,
                    Aborted::Unknown => assert!(bytes_removed, "{events:?}"),
                    Aborted::OfJob => panic!("no job opened it"),
                },
                Doom => doomed |= fixture.catalog.write(|tx| tx.doom_upload("u1")).expect("answers"),
                Delete => deleted |= fixture.catalog.write(|tx| tx.delete_image(&uuid(1))).is_ok(),
                Crash => fixture = crash(&fixture),
                Reopen => {
                    let opened = open(&fixture, "u2", &Map::new()).is_ok();
                    let was_free = bytes_removed && !deleted;
                    assert!(!opened || was_free, "{events:?}");
                    if opened {
                        assert_eq!(abort(&fixture, "u2"), Aborted::Requeued, "{events:?}");
                    }
                }
            }
            let queries = fixture.catalog.queries();
            let intent = queries.upload("u1").expect("reads").is_some();
            let removal = !queries.removals(0, 9).expect("reads").is_empty();
            let image = fixture.image(&uuid(1));
            let status = image.as_ref().map(|image| image.status);
            let located = image.as_ref().is_some_and(|image| image.locations.len() == 1);
            assert_eq!(status == Some(Status::Active), acknowledged && !deleted, "{events:?}");
            assert_eq!(status == Some(Status::Active), located, "{events:?}");
            assert_eq!(status == Some(Status::Saving), intent && !deleted, "{events:?}");
            assert_eq!(deleted, image.is_none(), "{events:?}");
            assert!(located || intent || removal || bytes_removed, "orphaned bytes: {events:?}");
        }
    }
}
