//! Imports against a data plane that does what it is told, and dies when it shall.

use axum::Router;
use common::authorise::Authority;
use common::catalog::{IMPORT_LOCK, NewImage, NewTask, NewUpload, Purpose};
use common::config::Overrides;
use common::model::{Status, Task, TaskKind, TaskStatus};
use common::policy::Policy;
use common::rpc::{self, Findings, JobOutcome};
use prometheus::Registry;
use serde_json::{Map, json};
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::rework::Step;
use super::*;
use crate::db::DbOptions;
use crate::signature::Signatures;
use crate::uploads::tests::{Fake, FakeState, answer};

mod rework;

const IMAGE: &str = "3050cc3d-ed3a-4a6c-8282-bcd0a6190aa8";
const JOB: &str = "7a1b0d0e-5f0c-4a66-9a55-1c7ffb0d1d3e";

/// A control plane with a staged image whose import is on record, and a data plane.
struct World {
    imports: Imports,
    config: Arc<Config>,
    fake: FakeState,
    _dir: TempDir,
}

impl World {
    async fn new(all_must_succeed: bool) -> Self {
        Self::with(all_must_succeed, Vec::new(), Vec::new()).await
    }

    /// With something to be done to the data first, and properties to be given to the image.
    async fn with(all_must_succeed: bool, steps: Vec<Step>, inject: Vec<(String, String)>) -> Self {
        Self::importing(Method::GlanceDirect, all_must_succeed, steps, inject).await
    }

    async fn importing(
        method: Method,
        all_must_succeed: bool,
        steps: Vec<Step>,
        inject: Vec<(String, String)>,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("glance-api.conf");
        let options = "[DEFAULT]\nenabled_backends = fast:file, slow:file\n[glance_store]\ndefault_backend = fast\n\
                       [control]\nrpc_timeout_seconds = 1\n";
        let stores = ["fast", "slow"].map(|id| {
            let path = dir.path().join(id);
            format!("[{id}]\nfilesystem_store_datadir = {}\n", path.display())
        });
        std::fs::write(&file, options.to_owned() + &stores.concat()).expect("written");
        let overrides = Overrides { data_dir: Some(dir.path().join("data")), ..Overrides::default() };
        let (config, _) = Config::load(&[file], &overrides).expect("a good configuration");
        std::fs::create_dir_all(&config.paths.data_dir).expect("a directory");
        let config = Arc::new(config);
        let mut fake = Fake::default();
        "d1".clone_into(&mut fake.instance);
        let fake = Arc::new(Mutex::new(fake));
        let world = World { imports: control(&config), config, fake, _dir: dir };
        let path = world.config.paths.data_dir.join(rpc::DATAPLANE_SOCKET);
        let listener = UnixListener::bind(path).expect("listens");
        let router = Router::new().route(rpc::PATH, axum::routing::post(answer)).with_state(world.fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let stores = vec!["fast".to_owned(), "slow".to_owned()];
        let uri = (method == Method::WebDownload).then(|| "http://example.org/".to_owned());
        world.record(Plan { steps, inject, uri, ..Plan::new(method, stores, all_must_succeed) }).await;
        world
    }

    async fn record(&self, plan: Plan) {
        let recorded = self.imports.shared.db.write(move |catalog| {
            catalog.create_image(&NewImage {
                owner: Some("p1".to_owned()),
                disk_format: Some("raw".to_owned()),
                container_format: Some("bare".to_owned()),
                ..NewImage::new(IMAGE)
            })?;
            let staged = NewUpload {
                upload_id: "staged",
                image_id: IMAGE,
                instance: "d1",
                store: STAGING_STORE,
                url: "file:///staging/x",
                location_metadata: &Map::new(),
                hash_algo: "",
                quota_project: None,
                reserved: None,
                signature: None,
            };
            catalog.open_upload(&staged, Purpose::Staging)?;
            catalog.commit_upload(&common::catalog::Commit { upload_id: "staged", size: 3, findings: None })?;
            catalog.create_task(&NewTask {
                id: JOB.to_owned(),
                kind: TaskKind::ApiImageImport,
                owner: "p1".to_owned(),
                image_id: Some(IMAGE.to_owned()),
                request_id: None,
                user_id: None,
                input: json!({}),
            })?;
            catalog.set_status(IMAGE, &[], Status::Importing)?;
            assert!(catalog.lock_for_import(IMAGE, JOB)?);
            catalog.set_property(IMAGE, IMPORTING_STORES, "fast,slow")?;
            catalog.create_job(JOB, IMAGE, &plan.to_record()?)
        });
        recorded.await.expect("recorded");
    }

    /// Another control plane takes over, as after a crash of this one.
    async fn restart(&mut self) {
        self.imports = control(&self.config);
        tokio::spawn(self.imports.clone().resume());
    }

    fn fake<T>(&self, look: impl FnOnce(&mut Fake) -> T) -> T {
        look(&mut self.fake.lock().expect("not poisoned"))
    }

    /// The data plane dies, and another one comes.
    async fn replace_dataplane(&self, instance: &str) {
        self.fake(|fake| {
            instance.clone_into(&mut fake.instance);
            fake.uploads.clear();
        });
        self.imports.shared.uploads.hello(instance.to_owned()).await.expect("greeted");
        self.imports.wake();
    }

    /// The job that the data plane was given last, once there are `count`.
    async fn job(&self, count: usize) -> Job {
        for _ in 0..400 {
            if let Some(job) = self.fake(|fake| fake.jobs.get(count - 1).cloned()) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no job number {count}");
    }

    /// The data plane tells the end of its job.
    async fn end(&self, outcome: JobOutcome) -> Result<()> {
        let uploads = self.fake(|fake| fake.jobs.last().map(uploads_of)).unwrap_or_default();
        self.end_of(uploads, outcome).await
    }

    async fn end_of(&self, uploads: Vec<String>, outcome: JobOutcome) -> Result<()> {
        let told = self.imports.end(EndJob { job_id: JOB.to_owned(), uploads, outcome }).await;
        self.fake(|fake| fake.uploads.clear());
        told
    }

    async fn image(&self) -> Option<Image> {
        self.imports.shared.db.read(|catalog| catalog.image(IMAGE)).await.expect("reads")
    }

    /// The task, once it is over.
    async fn task(&self) -> Task {
        for _ in 0..800 {
            let task = self.imports.shared.db.read(|catalog| catalog.task(JOB)).await.expect("reads").expect("there");
            if task.status.is_over() {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the task does not end");
    }

    async fn left(&self) -> (usize, usize) {
        let read = self.imports.shared.db.read(|catalog| Ok((catalog.jobs()?.len(), catalog.uploads()?.len())));
        read.await.expect("reads")
    }
}

fn control(config: &Arc<Config>) -> Imports {
    let registry = Registry::new();
    let options = DbOptions { readers: 1, commit_batch_max: 8, retry_after_seconds: 1 };
    let db = Db::open(&config.database.sqlite, &options, &registry).expect("opens");
    let limits = crate::limits::Limits::new(config).expect("no files");
    let signatures = Signatures::new(config).expect("nothing to read");
    let uploads = Uploads::new(config.clone(), db.clone(), limits, signatures, &registry);
    tokio::spawn(uploads.clone().reap());
    let authority = Arc::new(Authority::new(Policy::defaults(), true));
    let authenticator = Authenticator::new(config, authority.clone()).expect("no files");
    Imports::new(config.clone(), db, uploads, authority, Arc::new(authenticator))
}

fn uploads_of(job: &Job) -> Vec<String> {
    job.sinks.iter().map(|sink| sink.upload_id.clone()).collect()
}

fn stored(job: &Job) -> JobOutcome {
    let findings = Findings {
        virtual_size: Some(3),
        checksum: "c".repeat(32),
        hash_value: "d".repeat(128),
        signed_hash_value: None,
    };
    JobOutcome::Stored { size: 3, findings, sinks: uploads_of(job) }
}

#[tokio::test]
async fn an_import_makes_its_image_active() {
    let world = World::new(true).await;
    world.imports.start(JOB.to_owned());
    let job = world.job(1).await;
    assert_eq!(job.sinks.iter().map(|sink| sink.store.as_str()).collect::<Vec<_>>(), ["fast", "slow"]);
    assert!(matches!(&job.source, JobSource::Place { store, .. } if store == STAGING_STORE));
    world.imports.progress(JOB.to_owned(), 5 << 20).await.expect("told");
    let told = world.imports.shared.db.read(|catalog| catalog.task(JOB)).await.expect("reads").expect("there");
    assert_eq!((told.status, told.message.as_str()), (TaskStatus::Processing, "Copied 5 MiB"));
    world.end(stored(&job)).await.expect("recorded");
    world.end(stored(&job)).await.expect("and again");
    let (task, image) = (world.task().await, world.image().await.expect("there"));
    assert_eq!((task.status, task.message.as_str()), (TaskStatus::Success, "Copied 0 MiB"));
    assert_eq!((image.status, image.size, image.locations.len()), (Status::Active, Some(3), 2));
    assert_eq!((image.property(IMPORT_LOCK), image.property(IMPORTING_STORES)), (None, Some("")));
    assert_eq!(image.locations[1].store(), Some("slow"));
    assert_eq!(world.left().await, (0, 0));
}

#[tokio::test]
async fn a_new_data_plane_begins_again_once_the_old_bytes_are_gone() {
    let world = World::new(true).await;
    world.imports.start(JOB.to_owned());
    let first = world.job(1).await;
    world.replace_dataplane("d2").await;
    let second = world.job(2).await;
    let removed = world.fake(|fake| fake.removed.clone());
    for sink in &first.sinks {
        assert!(removed.iter().any(|(_, _, upload)| upload.as_deref() == Some(&sink.upload_id)), "{removed:?}");
        assert!(second.sinks.iter().all(|other| other.upload_id != sink.upload_id));
    }
    for outcome in [stored(&first), JobOutcome::Failed { reason: "late".to_owned(), sinks: Vec::new() }] {
        let late = world.imports.end(EndJob { job_id: JOB.to_owned(), uploads: uploads_of(&first), outcome }).await;
        assert_eq!(late.map_err(|error| error.kind), Err(Kind::Conflict), "the old one's bytes are gone");
    }
    assert_ne!(world.image().await.expect("there").status, Status::Active);
    world.end(stored(&second)).await.expect("recorded");
    assert_eq!(world.task().await.status, TaskStatus::Success);
}

#[tokio::test]
async fn a_data_plane_that_dies_of_a_job_does_not_die_of_it_for_ever() {
    let world = World::new(true).await;
    world.imports.start(JOB.to_owned());
    for attempt in 1..=usize::try_from(ATTEMPTS_MAX).expect("few") {
        world.job(attempt).await;
        world.replace_dataplane(&format!("after-{attempt}")).await;
    }
    let (task, image) = (world.task().await, world.image().await.expect("there"));
    assert_eq!((task.status, task.message.as_str()), (TaskStatus::Failure, JOB_INTERNAL_ERROR));
    assert_eq!(image.status, Status::Queued);
    assert_eq!(world.left().await, (0, 0));
}

#[tokio::test]
async fn what_was_staged_is_gone_before_more_can_be_staged() {
    let world = World::new(true).await;
    world.fake(|fake| fake.away.push(STAGING_STORE));
    world.imports.start(JOB.to_owned());
    world.job(1).await;
    let failed = JobOutcome::Failed { reason: "no room".to_owned(), sinks: Vec::new() };
    world.end(failed).await.expect("recorded");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.image().await.expect("there").status, Status::Importing, "its staged data is still there");
    world.fake(|fake| fake.away.clear());
    assert_eq!(world.task().await.status, TaskStatus::Failure);
    assert_eq!(world.image().await.expect("there").status, Status::Queued);
    let removed = world.fake(|fake| fake.removed.iter().any(|(store, ..)| store == STAGING_STORE));
    assert!(removed && world.left().await == (0, 0));
}

#[tokio::test]
async fn the_place_of_the_image_is_never_filled_again() {
    let world = World::new(true).await;
    let taken = world.config.stores.list[1].clone();
    let url = world.imports.shared.uploads.base(&taken, None).await.expect("one").url(IMAGE).expect("a URI");
    // As it was recorded when there was one store without a name.
    let old = url.replace("file://", "filesystem://");
    world.imports.shared.db.write(move |catalog| catalog.add_location(IMAGE, &old, &Map::new())).await.expect("noted");
    world.imports.start(JOB.to_owned());
    let task = world.task().await;
    assert_eq!((task.status, task.message.as_str()), (TaskStatus::Failure, "Image is already present at store 'slow'"));
    assert!(world.fake(|fake| fake.removed.iter().all(|(_, removed, _)| *removed != url)));
}

#[tokio::test]
async fn a_job_that_nobody_started_is_found() {
    let world = World::new(true).await;
    tokio::spawn(world.imports.clone().resume());
    let job = world.job(1).await;
    world.end(stored(&job)).await.expect("recorded");
    assert_eq!(world.task().await.status, TaskStatus::Success);
}

#[tokio::test]
async fn a_new_control_plane_waits_for_the_job_that_runs() {
    let mut world = World::new(true).await;
    world.imports.start(JOB.to_owned());
    let job = world.job(1).await;
    world.restart().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.fake(|fake| fake.jobs.len()), 1, "it runs");
    world.end(stored(&job)).await.expect("recorded");
    assert_eq!(world.task().await.status, TaskStatus::Success);
}

#[tokio::test]
async fn a_failed_import_ends_when_its_bytes_are_gone() {
    let world = World::new(true).await;
    world.imports.start(JOB.to_owned());
    let job = world.job(1).await;
    let culprit = job.sinks[1].upload_id.clone();
    let failed = JobOutcome::Failed { reason: "no room".to_owned(), sinks: vec![culprit] };
    world.end(failed).await.expect("recorded");
    let (task, image) = (world.task().await, world.image().await.expect("there"));
    assert_eq!((task.status, task.message.as_str()), (TaskStatus::Failure, "no room"));
    assert_eq!((image.status, image.size, image.locations.len()), (Status::Queued, None, 0));
    assert_eq!((image.property("os_glance_failed_import"), image.property(IMPORT_LOCK)), (Some("slow"), None));
    assert_eq!(world.left().await, (0, 0));
    let removed = world.fake(|fake| fake.removed.clone());
    assert!(job.sinks.iter().all(|sink| removed.iter().any(|(.., id)| id.as_deref() == Some(&sink.upload_id))));
}

#[tokio::test]
async fn what_was_fetched_for_several_stores_has_failed_for_all() {
    let world = World::importing(Method::WebDownload, true, Vec::new(), Vec::new()).await;
    world.imports.start(JOB.to_owned());
    let culprit = world.job(1).await.sinks[1].upload_id.clone();
    world.end(JobOutcome::Failed { reason: "no room".to_owned(), sinks: vec![culprit] }).await.expect("recorded");
    assert_eq!(world.task().await.status, TaskStatus::Failure);
    let image = world.image().await.expect("there");
    assert_eq!((image.status, image.property("os_glance_failed_import")), (Status::Queued, Some("fast,slow")));
}

#[tokio::test]
async fn one_store_of_two_is_enough_where_that_was_said() {
    let world = World::new(false).await;
    world.imports.start(JOB.to_owned());
    let job = world.job(1).await;
    let JobOutcome::Stored { size, findings, sinks } = stored(&job) else { panic!("stored") };
    let sinks = vec![sinks[0].clone()];
    world.end(JobOutcome::Stored { size, findings, sinks }).await.expect("recorded");
    let image = world.image().await.expect("there");
    assert_eq!((image.status, image.locations.len()), (Status::Active, 1));
    assert_eq!(image.property("os_glance_failed_import"), Some("slow"));
    assert_eq!(world.task().await.status, TaskStatus::Success);
}

#[tokio::test]
async fn a_deleted_image_is_imported_for_nobody() {
    let world = World::new(true).await;
    world.imports.start(JOB.to_owned());
    let job = world.job(1).await;
    world.imports.shared.db.write(|catalog| catalog.delete_image(IMAGE)).await.expect("deleted");
    world.end(stored(&job)).await.expect("recorded");
    let task = world.task().await;
    assert_eq!((task.status, task.message.as_str()), (TaskStatus::Failure, JOB_IMAGE_GONE));
    assert_eq!(world.left().await, (0, 0));
}
