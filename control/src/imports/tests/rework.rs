//! Plug-ins: steps between what is staged and the stores.

use common::rpc::{Rework, ReworkKind};

use super::*;

fn both() -> Vec<Step> {
    vec![Step::Decompress, Step::Convert { output_format: "qcow2".to_owned() }]
}

impl World {
    /// The step that the data plane was given last, once there are `count`.
    async fn rework(&self, count: usize) -> Rework {
        for _ in 0..400 {
            if let Some(rework) = self.fake(|fake| fake.reworks.get(count - 1).cloned()) {
                return rework;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no step number {count}");
    }

    async fn end_rework(&self, rework: &Rework, outcome: JobOutcome) -> Result<()> {
        self.end_of(vec![rework.sink.upload_id.clone()], outcome).await
    }

    fn was_removed(&self, url: &str) -> bool {
        self.fake(|fake| fake.removed.iter().any(|(_, removed, _)| removed == url))
    }
}

#[tokio::test]
async fn each_step_takes_what_the_one_before_has_made() {
    let world = World::with(true, both(), vec![("origin".to_owned(), "import".to_owned())]).await;
    world.imports.start(JOB.to_owned());
    let first = world.rework(1).await;
    assert_eq!((&first.work, first.sink.store.as_str()), (&ReworkKind::Decompress, STAGING_STORE));
    assert_eq!(first.size_max, world.config.api.image_size_max);
    assert!(first.source.ends_with(IMAGE) && first.sink.url == format!("{}.1", first.source), "{first:?}");
    for _ in 0..2 {
        world.end_rework(&first, JobOutcome::Reworked { size: 500 }).await.expect("recorded, and again");
    }
    let second = world.rework(2).await;
    assert!(world.was_removed(&first.source), "before more is written");
    let convert = ReworkKind::Convert { disk_format: "raw".to_owned(), output_format: "qcow2".to_owned() };
    assert_eq!((&second.work, &second.source), (&convert, &first.sink.url));
    assert_eq!(second.sink.url, format!("{}.2", first.source));
    assert_eq!(world.image().await.expect("there").disk_format.as_deref(), Some("raw"), "nothing is stored yet");
    world.end_rework(&second, JobOutcome::Reworked { size: 700 }).await.expect("recorded");
    let job = world.job(1).await;
    assert_eq!(job.source, JobSource::Place { store: STAGING_STORE.to_owned(), url: second.sink.url.clone() });
    assert_eq!((job.expected_size, job.examination.disk_format.as_str()), (Some(700), "qcow2"));
    let JobOutcome::Stored { findings, sinks, .. } = stored(&job) else { panic!("stored") };
    world.end(JobOutcome::Stored { size: 700, findings, sinks }).await.expect("recorded");
    let (task, image) = (world.task().await, world.image().await.expect("there"));
    assert_eq!((task.status, image.status, image.size), (TaskStatus::Success, Status::Active, Some(700)));
    assert_eq!((image.disk_format.as_deref(), image.container_format.as_deref()), (Some("qcow2"), Some("bare")));
    assert_eq!(image.property("origin"), Some("import"));
    assert_eq!(image.locations.len(), 2, "what is only for the next step is no location");
    for _ in 0..400 {
        if world.was_removed(&second.sink.url) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(world.was_removed(&second.sink.url) && world.left().await == (0, 0));
}

#[tokio::test]
async fn a_step_with_nothing_to_do_leaves_the_data_where_it_is() {
    let world = World::with(true, both(), Vec::new()).await;
    world.imports.start(JOB.to_owned());
    let first = world.rework(1).await;
    world.end_rework(&first, JobOutcome::Kept).await.expect("recorded");
    let second = world.rework(2).await;
    assert_eq!(second.source, first.source);
    assert!(world.was_removed(&first.sink.url), "what was begun");
    assert_ne!(second.sink.url, first.sink.url);
    world.end_rework(&second, JobOutcome::Kept).await.expect("recorded");
    let job = world.job(1).await;
    assert_eq!(job.source, JobSource::Place { store: STAGING_STORE.to_owned(), url: first.source.clone() });
    assert!(!world.was_removed(&first.source));
    world.end(stored(&job)).await.expect("recorded");
    assert_eq!(world.task().await.status, TaskStatus::Success);
    assert_eq!(world.image().await.expect("there").disk_format.as_deref(), Some("raw"));
}

#[tokio::test]
async fn a_step_is_begun_again_after_the_death_of_either_plane() {
    let mut world = World::with(true, both(), Vec::new()).await;
    world.imports.start(JOB.to_owned());
    let first = world.rework(1).await;
    world.replace_dataplane("d2").await;
    let again = world.rework(2).await;
    assert_eq!((&again.source, &again.sink.url), (&first.source, &first.sink.url));
    assert!(world.was_removed(&first.sink.url));
    let late = world.imports.end(EndJob {
        job_id: JOB.to_owned(),
        uploads: vec![first.sink.upload_id],
        outcome: JobOutcome::Reworked { size: 1 },
    });
    assert_eq!(late.await.map_err(|error| error.kind), Err(Kind::Conflict));
    world.end_rework(&again, JobOutcome::Reworked { size: 5 }).await.expect("recorded");
    // Control dies right after: what the step was made of is still removed, and the next one begins.
    world.restart().await;
    let second = world.rework(3).await;
    assert_eq!(second.source, again.sink.url);
    assert!(world.was_removed(&again.source));
    // It dies while the step runs: that is waited for.
    world.restart().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.fake(|fake| fake.reworks.len()), 3, "it runs");
    world.end_rework(&second, JobOutcome::Reworked { size: 6 }).await.expect("recorded");
    let job = world.job(1).await;
    world.end(stored(&job)).await.expect("recorded");
    assert_eq!(world.task().await.status, TaskStatus::Success);
}

#[tokio::test]
async fn a_step_that_fails_undoes_what_the_others_made() {
    let world = World::with(true, both(), vec![("origin".to_owned(), "import".to_owned())]).await;
    world.imports.start(JOB.to_owned());
    let first = world.rework(1).await;
    world.end_rework(&first, JobOutcome::Reworked { size: 500 }).await.expect("recorded");
    let second = world.rework(2).await;
    let failed = JobOutcome::Failed { reason: "Image format mismatch".to_owned(), sinks: Vec::new() };
    world.end_rework(&second, failed).await.expect("recorded");
    let (task, image) = (world.task().await, world.image().await.expect("there"));
    assert_eq!((task.status, task.message.as_str()), (TaskStatus::Failure, "Image format mismatch"));
    assert_eq!((image.status, image.size, image.disk_format.as_deref()), (Status::Queued, None, Some("raw")));
    assert_eq!((image.property(FAILED_STORES), image.property("origin")), (Some("fast,slow"), None));
    for url in [&first.source, &first.sink.url, &second.sink.url] {
        assert!(world.was_removed(url), "{url}");
    }
    assert_eq!(world.left().await, (0, 0));
}

#[tokio::test]
async fn a_data_plane_that_dies_of_a_step_does_not_die_of_it_for_ever_and_steps_count_apart() {
    let world = World::with(true, both(), Vec::new()).await;
    world.imports.start(JOB.to_owned());
    let attempts = usize::try_from(ATTEMPTS_MAX).expect("few");
    for attempt in 1..attempts {
        world.rework(attempt).await;
        world.replace_dataplane(&format!("after-{attempt}")).await;
    }
    let last = world.rework(attempts).await;
    world.end_rework(&last, JobOutcome::Reworked { size: 9 }).await.expect("recorded");
    for attempt in 1..=attempts {
        world.rework(attempts + attempt).await;
        world.replace_dataplane(&format!("later-{attempt}")).await;
    }
    let (task, image) = (world.task().await, world.image().await.expect("there"));
    assert_eq!((task.status, task.message.as_str()), (TaskStatus::Failure, JOB_INTERNAL_ERROR));
    assert_eq!((image.status, world.left().await), (Status::Queued, (0, 0)));
}

#[tokio::test]
async fn an_image_that_is_deleted_between_two_steps_leaves_nothing() {
    let world = World::with(true, both(), Vec::new()).await;
    world.imports.start(JOB.to_owned());
    let first = world.rework(1).await;
    world.imports.shared.db.write(|catalog| catalog.delete_image(IMAGE)).await.expect("deleted");
    world.end_rework(&first, JobOutcome::Reworked { size: 500 }).await.expect("recorded");
    let task = world.task().await;
    assert_eq!((task.status, task.message.as_str()), (TaskStatus::Failure, JOB_IMAGE_GONE));
    assert!(world.was_removed(&first.sink.url) && world.was_removed(&first.source));
    assert_eq!(world.left().await, (0, 0));
}
