//! Uploads against a data plane that does what it is told, fails when it shall, and can be replaced.

use std::sync::MutexGuard;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use common::catalog::{ImageChange, NewImage};
use common::config::Overrides;
use common::identity::Proof;
use common::policy::Policy;
use common::rpc::{self, DataplaneStatus, Done, Envelope, Job, ToDataplane};
use http::StatusCode;
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;
use crate::db::DbOptions;

mod growth;

const IMAGE: &str = "3050cc3d-ed3a-4a6c-8282-bcd0a6190aa8";

/// What the data plane is, knows and was told.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) instance: String,
    pub(crate) uploads: Vec<String>,
    pub(crate) removed: Vec<(String, String, Option<String>)>,
    cancelled: Vec<String>,
    pub(crate) jobs: Vec<Job>,
    /// What it was told to do to staged data.
    pub(crate) reworks: Vec<rpc::Rework>,
    fails: bool,
    /// Stores that are not configured, and those that do not answer.
    unknown: Vec<&'static str>,
    pub(crate) away: Vec<&'static str>,
    attempts: usize,
    /// How many removals wait for each other, how many are under way, and how many were at most.
    together: usize,
    busy: usize,
    busiest: usize,
}

pub(crate) type FakeState = Arc<Mutex<Fake>>;

pub(crate) async fn answer(State(fake): State<FakeState>, body: Bytes) -> (StatusCode, String) {
    let envelope: Envelope<ToDataplane> = serde_json::from_slice(&body).expect("a message");
    if matches!(envelope.message, ToDataplane::Remove { .. }) {
        {
            let mut fake = fake.lock().expect("not poisoned");
            fake.busy += 1;
            fake.busiest = fake.busiest.max(fake.busy);
        }
        let is_alone = || fake.lock().is_ok_and(|fake| fake.busiest < fake.together);
        let begun = std::time::Instant::now();
        // Those that come one after the other wait in vain.
        while is_alone() && begun.elapsed() < Duration::from_millis(500) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fake.lock().expect("not poisoned").busy -= 1;
    }
    let mut fake = fake.lock().expect("not poisoned");
    if fake.fails {
        let error = Error::internal("the disk is broken");
        return (error.status(), serde_json::to_string(&error).expect("serialises"));
    }
    let reply = match envelope.message {
        ToDataplane::Status => {
            let status = DataplaneStatus { instance: fake.instance.clone(), uploads: fake.uploads.clone() };
            serde_json::to_string(&status)
        }
        ToDataplane::Remove { store, url, upload_id } => {
            fake.attempts += 1;
            let error = if fake.unknown.contains(&store.as_str()) {
                Some(Error::not_found("No store has that place."))
            } else {
                fake.away.contains(&store.as_str()).then(|| Error::unavailable("away", 1))
            };
            if let Some(error) = error {
                return (error.status(), serde_json::to_string(&error).expect("serialises"));
            }
            fake.removed.push((store, url, upload_id));
            serde_json::to_string(&Done {})
        }
        ToDataplane::CancelUpload { upload_id } => {
            fake.cancelled.push(upload_id);
            serde_json::to_string(&Done {})
        }
        ToDataplane::FetchDocument { .. } => {
            let error = Error::bad_request("there are no other servers");
            return (error.status(), serde_json::to_string(&error).expect("serialises"));
        }
        ToDataplane::StartJob(job) => {
            fake.uploads.extend(job.sinks.iter().map(|sink| sink.upload_id.clone()));
            fake.jobs.push(job);
            serde_json::to_string(&Done {})
        }
        ToDataplane::StartRework(rework) => {
            fake.uploads.push(rework.sink.upload_id.clone());
            fake.reworks.push(rework);
            serde_json::to_string(&Done {})
        }
        ToDataplane::Describe { .. } => serde_json::to_string(&rpc::Described { identity: None }),
        ToDataplane::CheckRemovable { .. } => serde_json::to_string(&Done {}),
        ToDataplane::Probe { .. } => serde_json::to_string(&rpc::Probed { size: 0 }),
    };
    (StatusCode::OK, reply.expect("serialises"))
}

/// A control plane, and maybe a data plane.
struct World {
    uploads: Uploads,
    authority: Arc<Authority>,
    config: Arc<Config>,
    fake: FakeState,
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        Self::with("")
    }

    /// `options`: lines of `[DEFAULT]`.
    fn with(options: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("glance-api.conf");
        std::fs::write(&file, format!("[DEFAULT]\n{options}\n[control]\nrpc_timeout_seconds = 1\n")).expect("written");
        let overrides = Overrides { data_dir: Some(dir.path().join("data")), ..Overrides::default() };
        let (config, _) = Config::load(&[file], &overrides).expect("a good configuration");
        std::fs::create_dir_all(&config.paths.data_dir).expect("a directory");
        let config = Arc::new(config);
        let authority = Arc::new(Authority::new(Policy::defaults(), true));
        let fake = Arc::new(Mutex::new(Fake { instance: "d1".to_owned(), ..Fake::default() }));
        World { uploads: control(&config), authority, config, fake, dir }
    }

    /// Starts the data plane.
    fn dataplane(&self) {
        let path = self.config.paths.data_dir.join(rpc::DATAPLANE_SOCKET);
        let listener = UnixListener::bind(path).expect("listens");
        let router = Router::new().route(rpc::PATH, axum::routing::post(answer)).with_state(self.fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// Another control plane takes over, as after a crash of this one.
    fn restart(&mut self) {
        self.uploads = control(&self.config);
    }

    fn fake(&self) -> MutexGuard<'_, Fake> {
        self.fake.lock().expect("not poisoned")
    }

    async fn create(&self, change: impl FnOnce(NewImage) -> NewImage) {
        let new = change(NewImage {
            owner: Some("p1".to_owned()),
            disk_format: Some("raw".to_owned()),
            container_format: Some("bare".to_owned()),
            ..NewImage::new(IMAGE)
        });
        self.uploads.shared.db.write(move |tx| tx.create_image(&new)).await.expect("created");
    }

    async fn open_as(&self, caller: Identity, size: Option<u64>) -> Result<UploadTicket> {
        let message = message("d1");
        self.uploads.open(&message, Wanted { size }, caller, self.authority.clone()).await
    }

    async fn open(&self) -> UploadTicket {
        self.open_as(member("p1"), None).await.expect("may begin")
    }

    async fn image(&self) -> Option<Image> {
        self.uploads.shared.db.read(|q| q.image(IMAGE)).await.expect("reads")
    }

    async fn status(&self) -> Status {
        self.image().await.expect("is there").status
    }

    async fn on_record(&self) -> usize {
        self.uploads.shared.db.read(|q| Ok(q.uploads()?.len() + q.removals(0, 99)?.len())).await.expect("reads")
    }

    async fn round(&self) -> Result<bool> {
        self.uploads.round(&mut reaper::Memory::default()).await
    }

    async fn delete(&self) {
        self.uploads.shared.db.write(|tx| tx.delete_image(IMAGE)).await.expect("deleted");
        self.uploads.wake_reaper();
    }
}

fn control(config: &Arc<Config>) -> Uploads {
    let registry = Registry::new();
    let options = DbOptions { readers: 1, commit_batch_max: 8, retry_after_seconds: 1 };
    let db = Db::open(&config.database.sqlite, &options, &registry).expect("opens");
    let limits = Limits::new(config).expect("no files");
    let signatures = Signatures::new(config).expect("nothing to read");
    Uploads::new(config.clone(), db, limits, signatures, &registry)
}

fn message(instance: &str) -> OpenUpload {
    OpenUpload {
        instance: instance.to_owned(),
        image_id: IMAGE.to_owned(),
        proof: Proof::default(),
        request_id: "req-1".to_owned(),
        content_type: None,
        image_size: None,
        content_length: None,
        store: None,
        target: UploadTarget::Store,
    }
}

fn member(project: &str) -> Identity {
    Identity {
        user_id: "u".to_owned(),
        project_id: Some(project.to_owned()),
        roles: vec!["member".to_owned(), "reader".to_owned()],
        ..Identity::default()
    }
}

fn data(ticket: &UploadTicket, size: u64) -> CommitUpload {
    CommitUpload {
        upload_id: ticket.upload_id.clone(),
        size,
        findings: Some(Findings {
            virtual_size: None,
            checksum: "c".repeat(32),
            hash_value: "d".repeat(128),
            signed_hash_value: None,
        }),
    }
}

#[tokio::test]
async fn a_permitted_upload_becomes_an_active_image() {
    let world = World::new();
    world.create(|new| new).await;
    let ticket = world.open().await;
    assert!(ticket.url.starts_with("file:///") && ticket.url.ends_with(&format!("/{IMAGE}")), "{}", ticket.url);
    let wanted = ticket.examination.clone().expect("what comes into a store is examined");
    assert_eq!((wanted.disk_format.as_str(), wanted.container_format.as_str()), ("raw", "bare"));
    assert_eq!((wanted.hash_algo.as_str(), ticket.size_max), ("sha512", 1 << 40));
    assert_eq!(world.status().await, Status::Saving);
    world.uploads.commit(data(&ticket, 3)).await.expect("committed");
    world.uploads.commit(data(&ticket, 3)).await.expect("and again");
    let image = world.image().await.expect("there");
    assert_eq!((image.status, image.size, image.locations.len()), (Status::Active, Some(3), 1));
    assert_eq!(image.locations[0].url, ticket.url);
    let aborted = world.uploads.abort(ticket.upload_id, "confused").await.expect_err("refused");
    assert_eq!((aborted.kind, world.status().await), (Kind::Conflict, Status::Active));
}

#[tokio::test]
async fn an_aborted_upload_may_begin_again() {
    let world = World::new();
    world.create(|new| new).await;
    let ticket = world.open().await;
    world.uploads.abort(ticket.upload_id.clone(), "the client vanished").await.expect("aborted");
    world.uploads.abort(ticket.upload_id.clone(), "the client vanished").await.expect("and again");
    assert_eq!((world.status().await, world.on_record().await), (Status::Queued, 0));
    assert_eq!(world.uploads.commit(data(&ticket, 3)).await.expect_err("too late").kind, Kind::Conflict);
    world.open().await;
}

#[tokio::test]
async fn refusals_come_in_glances_order() {
    let world = World::new();
    let refused = async |caller: Identity| {
        let error = world.open_as(caller, None).await.expect_err("refused");
        (error.kind, error.message)
    };
    let absent = (Kind::NotFound, format!("No image found with ID {IMAGE}"));
    assert_eq!(refused(member("p1")).await, absent);
    world.create(|new| NewImage { disk_format: None, container_format: None, ..new }).await;
    assert_eq!(refused(member("p2")).await, absent);
    world.uploads.shared.db.write(|tx| tx.add_member(IMAGE, "p2")).await.expect("offered");
    let forbidden = (Kind::Forbidden, "You are not authorized to complete upload_image action.".to_owned());
    assert_eq!(refused(member("p2")).await, forbidden);
    let both = "Properties disk_format, container_format must be set prior to saving data.";
    assert_eq!(refused(member("p1")).await, (Kind::BadRequest, both.to_owned()));
    let set = |change: ImageChange| {
        let db = world.uploads.shared.db.clone();
        async move { db.write(move |tx| tx.update_image(IMAGE, &[], &change)).await.expect("saved") }
    };
    set(ImageChange { disk_format: Some(Some("raw".to_owned())), ..ImageChange::default() }).await;
    let one = "Property container_format must be set prior to saving data.";
    assert_eq!(refused(member("p1")).await, (Kind::BadRequest, one.to_owned()));
    let status = |to| world.uploads.shared.db.write(move |tx| tx.set_status(IMAGE, &[], to));
    status(Status::Active).await.expect("moved");
    let conflict = (Kind::Conflict, "Image status transition from active to saving is not allowed".to_owned());
    assert_eq!(refused(member("p1")).await, conflict, "the status is looked at before the formats");
    assert_eq!(world.on_record().await, 0, "nothing of all that left a record");
}

#[tokio::test]
async fn a_deleted_image_is_not_committed_and_its_upload_is_cancelled() {
    let world = World::new();
    world.dataplane();
    world.create(|new| new).await;
    let ticket = world.open().await;
    world.fake().uploads.push(ticket.upload_id.clone());
    world.delete().await;
    assert_eq!(world.round().await, Ok(true));
    assert_eq!(world.fake().cancelled, std::slice::from_ref(&ticket.upload_id));
    let error = world.uploads.commit(data(&ticket, 3)).await.expect_err("gone");
    assert_eq!(error.kind, Kind::Gone);
    assert!(error.message.starts_with(&format!("Image {IMAGE} could not be found after upload.")), "{error}");
    assert_eq!(world.round().await, Ok(true));
    assert_eq!(world.on_record().await, 1, "the data plane still runs it");
    world.uploads.abort(ticket.upload_id, "deleted").await.expect("aborted");
    assert_eq!(world.on_record().await, 0);
}

#[tokio::test]
async fn bytes_of_a_deleted_image_are_removed_at_once_or_later() {
    let world = World::new();
    world.create(|new| new).await;
    let ticket = world.open().await;
    world.uploads.commit(data(&ticket, 3)).await.expect("committed");
    world.delete().await;
    assert_eq!(world.round().await.expect_err("nobody there").kind, Kind::Unavailable);
    assert_eq!(world.on_record().await, 1, "the data plane is not there yet");
    world.dataplane();
    world.fake().fails = true;
    assert!(world.round().await.is_err());
    world.fake().fails = false;
    assert_eq!(world.round().await, Ok(true));
    assert_eq!(world.fake().removed, [("file".to_owned(), ticket.url, None)]);
    assert_eq!(world.on_record().await, 0);
    assert_eq!(world.round().await, Ok(true));
    assert_eq!(world.fake().removed.len(), 1, "once is enough");
}

#[tokio::test]
async fn a_new_data_plane_ends_the_uploads_of_the_old_one() {
    let world = World::new();
    world.create(|new| new).await;
    world.uploads.hello("d1".to_owned()).await.expect("welcome");
    let ticket = world.open().await;
    world.fake().instance = "d2".to_owned();
    world.uploads.hello("d2".to_owned()).await.expect("welcome");
    // From here on nothing of the old one counts, though its bytes are still there.
    assert_eq!(world.uploads.commit(data(&ticket, 3)).await.expect_err("given up").kind, Kind::Conflict);
    assert_eq!(world.status().await, Status::Saving);
    assert_eq!(world.open_as(member("p1"), None).await.expect_err("from the old one").kind, Kind::Unavailable);
    world.dataplane();
    assert_eq!(world.round().await, Ok(true));
    assert_eq!(world.fake().removed, [("file".to_owned(), ticket.url, Some(ticket.upload_id))]);
    assert_eq!((world.status().await, world.on_record().await), (Status::Queued, 0));
}

#[tokio::test]
async fn uploads_that_take_long_to_undo_hold_up_no_others() {
    let world = World::new();
    world.dataplane();
    for number in 0..6 {
        let id = format!("{number:08x}-ed3a-4a6c-8282-bcd0a6190aa8");
        world.create(|new| NewImage { id: id.clone(), ..new }).await;
        let message = OpenUpload { image_id: id, ..message("d1") };
        let open = world.uploads.open(&message, Wanted { size: None }, member("p1"), world.authority.clone()).await;
        open.expect("may begin");
    }
    world.uploads.hello("d2".to_owned()).await.expect("welcome");
    world.fake().instance = "d2".to_owned();
    world.fake().together = 6;
    assert_eq!(world.round().await, Ok(true));
    assert_eq!((world.on_record().await, world.fake().busiest), (0, 6));
}

#[tokio::test]
async fn bytes_that_cannot_be_removed_keep_the_image_closed() {
    let world = World::new();
    world.dataplane();
    world.create(|new| new).await;
    world.open().await;
    world.uploads.hello("d2".to_owned()).await.expect("welcome");
    world.fake().instance = "d2".to_owned();
    let intent = world.uploads.shared.db.read(|q| Ok(q.uploads()?.remove(0))).await.expect("on record");
    world.fake().fails = true;
    assert!(world.uploads.try_undo(intent).await.is_err());
    assert_eq!((world.status().await, world.on_record().await), (Status::Saving, 1), "a new upload would be at risk");
    world.fake().fails = false;
    assert_eq!(world.round().await, Ok(true));
    assert_eq!((world.status().await, world.on_record().await), (Status::Queued, 0));
}

#[tokio::test]
async fn after_a_restart_of_control_running_uploads_go_on_and_lost_ones_end() {
    let mut world = World::new();
    world.dataplane();
    world.create(|new| new).await;
    let ticket = world.open().await;
    world.fake().uploads.push(ticket.upload_id.clone());
    world.restart();
    assert_eq!(world.round().await, Ok(true));
    assert_eq!(world.status().await, Status::Saving, "the data plane still receives it");
    world.uploads.commit(data(&ticket, 3)).await.expect("committed with the new control plane");
    world.restart();
    world.uploads.commit(data(&ticket, 3)).await.expect("repeated with a third one");
    assert_eq!(world.round().await, Ok(true));
    assert_eq!((world.status().await, world.fake().removed.len()), (Status::Active, 0));

    let lost = "aaaaaaaa-ed3a-4a6c-8282-bcd0a6190aa8";
    world.create(|new| NewImage { id: lost.to_owned(), ..new }).await;
    let message = OpenUpload { image_id: lost.to_owned(), ..message("d1") };
    let open = world.uploads.open(&message, Wanted { size: None }, member("p1"), world.authority.clone()).await;
    let ticket = open.expect("may begin");
    // Control dies before its answer reaches the data plane, which therefore never hears of the upload.
    world.restart();
    assert_eq!(world.round().await, Ok(true));
    assert_eq!(world.fake().removed, [("file".to_owned(), ticket.url, Some(ticket.upload_id))]);
    let image = world.uploads.shared.db.read(move |q| q.image(lost)).await.expect("reads").expect("there");
    assert_eq!((image.status, world.on_record().await), (Status::Queued, 0));
}

#[tokio::test]
async fn an_upload_whose_ticket_is_on_its_way_is_left_alone_for_a_while() {
    let world = World::new();
    world.dataplane();
    world.create(|new| new).await;
    world.open().await;
    let mut memory = reaper::Memory::default();
    assert_eq!(world.uploads.round(&mut memory).await, Ok(true));
    assert_eq!(world.status().await, Status::Saving);
    // Twice the longest wait of the data plane, which is a second here.
    let begun = tokio::time::Instant::now();
    while world.status().await == Status::Saving && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.uploads.round(&mut memory).await, Ok(true));
    }
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    assert_eq!((world.status().await, world.on_record().await), (Status::Queued, 0));
}

#[tokio::test]
async fn the_reaper_runs_by_itself() {
    let world = World::new();
    world.create(|new| new).await;
    world.open().await;
    tokio::spawn(world.uploads.clone().reap());
    world.uploads.hello("d2".to_owned()).await.expect("welcome");
    world.fake().instance = "d2".to_owned();
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.dataplane();
    wait_for(async || world.status().await == Status::Queued).await;
    assert_eq!(world.on_record().await, 0);
    drop(world.dir);
}

/// Bytes to be removed from these stores, in one directory of each.
async fn to_remove(world: &World, stores: &[&'static str]) {
    let stores = stores.to_vec();
    let recorded = world.uploads.shared.db.write(move |tx| {
        let numbered = (0..).zip(&stores);
        numbered.into_iter().try_for_each(|(number, store)| {
            tx.add_removal(IMAGE, Some(store), &format!("file:///{store}/{number}"), None)
        })
    });
    recorded.await.expect("recorded");
}

#[tokio::test]
async fn stores_that_are_not_configured_hold_up_nobody_and_are_told_once() {
    let world = World::new();
    world.dataplane();
    to_remove(&world, &["old", "file", "old", "other", "file", "old"]).await;
    world.fake().unknown = vec!["old"];
    let mut memory = reaper::Memory::default();
    assert_eq!(world.uploads.round(&mut memory).await, Ok(true), "nothing is left that could be done");
    assert_eq!(memory.told(), ["old (file:///old)"]);
    assert_eq!((world.on_record().await, world.fake().removed.len()), (3, 3));
    world.fake().attempts = 0;
    assert_eq!(world.uploads.round(&mut memory).await, Ok(true));
    assert!(world.fake().attempts <= 3, "{}", world.fake().attempts);
    world.fake().unknown.clear();
    assert_eq!(world.uploads.round(&mut memory).await, Ok(true));
    assert_eq!((world.on_record().await, world.fake().removed.len()), (0, 6), "the store is back");
    assert!(memory.told().is_empty());
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_left_for_the_next_round() {
    let world = World::new();
    world.dataplane();
    let many: Vec<&str> = std::iter::repeat_n("away", 100).chain(["file"]).collect();
    to_remove(&world, &many).await;
    world.fake().away = vec!["away"];
    assert_eq!(world.round().await, Ok(false));
    assert_eq!(world.fake().removed.len(), 1, "others go on");
    assert!(world.fake().attempts <= 17, "a few under way at the same time, not all: {}", world.fake().attempts);
    world.fake().away.clear();
    assert_eq!(world.round().await, Ok(true));
    assert_eq!(world.on_record().await, 0);
}

#[tokio::test]
async fn an_upload_into_a_store_that_is_gone_waits_for_it() {
    let world = World::new();
    world.dataplane();
    world.create(|new| new).await;
    world.open().await;
    world.uploads.hello("d2".to_owned()).await.expect("welcome");
    world.fake().instance = "d2".to_owned();
    world.fake().unknown = vec!["file"];
    let mut memory = reaper::Memory::default();
    assert_eq!(world.uploads.round(&mut memory).await, Ok(true));
    assert_eq!(world.uploads.round(&mut memory).await, Ok(true));
    assert_eq!((world.status().await, memory.told().len()), (Status::Saving, 1));
    world.fake().unknown.clear();
    assert_eq!(world.uploads.round(&mut memory).await, Ok(true));
    assert_eq!((world.status().await, world.on_record().await), (Status::Queued, 0));
}

#[tokio::test]
async fn the_reaper_alone_removes_what_a_deletion_left() {
    let world = World::new();
    world.dataplane();
    world.create(|new| new).await;
    let ticket = world.open().await;
    world.uploads.commit(data(&ticket, 3)).await.expect("committed");
    world.delete().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.fake().attempts, 0, "nobody else does");
    tokio::spawn(world.uploads.clone().reap());
    wait_for(async || world.on_record().await == 0).await;
    let other = "aaaaaaaa-ed3a-4a6c-8282-bcd0a6190aa8";
    world.create(|new| NewImage { id: other.to_owned(), ..new }).await;
    let message = OpenUpload { image_id: other.to_owned(), ..message("d1") };
    let open = world.uploads.open(&message, Wanted { size: None }, member("p1"), world.authority.clone()).await;
    world.uploads.commit(data(&open.expect("may begin"), 3)).await.expect("committed");
    world.uploads.shared.db.write(move |tx| tx.delete_image(other)).await.expect("deleted");
    world.uploads.wake_reaper();
    wait_for(async || world.on_record().await == 0).await;
    assert_eq!(world.fake().attempts, 2, "each once, and at once");
}

async fn wait_for(condition: impl AsyncFn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited too long");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
