use std::sync::mpsc;
use std::time::Duration;

use common::catalog::NewImage;
use tempfile::TempDir;

use super::*;

fn options() -> DbOptions {
    DbOptions { readers: 2, commit_batch_max: 64, retry_after_seconds: 7 }
}

fn open(options: &DbOptions) -> (Db, Registry, TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let registry = Registry::new();
    let db = Db::open(&dir.path().join("catalog.sqlite"), options, &registry).expect("opens");
    (db, registry, dir)
}

fn image(number: usize) -> NewImage {
    NewImage::new(format!("{number:08}"))
}

/// A change that holds the writer until the sender is dropped, so that others queue up behind it.
async fn hold(db: &Db) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<()>>) {
    let (release, released) = mpsc::channel::<()>();
    let (begun, has_begun) = oneshot::channel();
    let db = db.clone();
    let holder = tokio::spawn(async move {
        db.write(move |_| {
            let _ = begun.send(());
            let _ = released.recv();
            Ok(())
        })
        .await
    });
    has_begun.await.expect("the change begins");
    (release, holder)
}

#[tokio::test]
async fn what_is_written_is_read() {
    let (db, _registry, _dir) = open(&options());
    for number in 0..20 {
        db.write(move |tx| tx.create_image(&image(number))).await.expect("written");
        let found = db.read(move |q| q.image(&image(number).id)).await.expect("read");
        assert!(found.is_some(), "a read that begins after the answer sees the change");
    }
}

#[tokio::test]
async fn waiting_changes_share_a_commit_and_fail_alone() {
    let (db, registry, dir) = open(&options());
    let (release, holder) = hold(&db).await;
    let mut waiting = Vec::new();
    for number in 0..10 {
        let db = db.clone();
        waiting.push(tokio::spawn(async move {
            let outcome = db.write(move |tx| {
                tx.create_image(&image(number))?;
                match number {
                    3 => Err(Error::forbidden("not this one")),
                    4 => panic!("a bug"),
                    _ => Ok(()),
                }
            });
            outcome.await.map_err(|error| error.kind)
        }));
    }
    while db.writes.len() < 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = common::catalog::Reader::open(&dir.path().join("catalog.sqlite")).expect("opens");
    assert!(before.read(|q| q.image(&image(0).id)).expect("reads").is_none());
    drop(release);
    holder.await.expect("ends").expect("succeeds");
    for (number, task) in waiting.into_iter().enumerate() {
        let expected = match number {
            3 => Err(Kind::Forbidden),
            4 => Err(Kind::Internal),
            _ => Ok(()),
        };
        assert_eq!(task.await.expect("ends"), expected, "{number}");
        let there = db.read(move |q| q.image(&image(number).id)).await.expect("reads").is_some();
        assert_eq!(there, expected.is_ok(), "{number}");
    }
    let text = common::metrics::encode(&registry);
    assert!(text.contains("vitrine_control_catalog_seconds_count{operation=\"commit\"} 1\n"), "{text}");
    assert!(text.contains("vitrine_control_catalog_seconds_count{operation=\"write\"} 11\n"), "{text}");
    assert!(text.contains("vitrine_control_catalog_commit_changes_sum 10\n"), "the panicked one has no answer: {text}");
}

#[tokio::test]
async fn a_batch_has_a_bound() {
    let (db, registry, _dir) = open(&DbOptions { commit_batch_max: 4, ..options() });
    let (release, holder) = hold(&db).await;
    let tasks: Vec<_> = (0..7)
        .map(|number| {
            let db = db.clone();
            tokio::spawn(async move { db.write(move |tx| tx.create_image(&image(number))).await })
        })
        .collect();
    while db.writes.len() < 7 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(release);
    holder.await.expect("ends").expect("succeeds");
    for task in tasks {
        task.await.expect("ends").expect("written");
    }
    let text = common::metrics::encode(&registry);
    assert!(text.contains("vitrine_control_catalog_seconds_count{operation=\"commit\"} 2\n"), "{text}");
}

#[tokio::test]
async fn a_change_is_done_also_when_nobody_waits() {
    let (db, _registry, _dir) = open(&options());
    let (release, holder) = hold(&db).await;
    let impatient = tokio::time::timeout(Duration::from_millis(5), db.write(|tx| tx.create_image(&image(1))));
    assert!(impatient.await.is_err());
    drop(release);
    holder.await.expect("ends").expect("succeeds");
    db.write(|_| Ok(())).await.expect("comes after it");
    assert!(db.read(|q| q.image(&image(1).id)).await.expect("reads").is_some());
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_is_left_out() {
    let (db, registry, _dir) = open(&DbOptions { readers: 1, ..options() });
    let (release, released) = mpsc::channel::<()>();
    let (begun, has_begun) = oneshot::channel();
    let holder = tokio::spawn({
        let db = db.clone();
        async move {
            db.read(move |_| {
                let _ = begun.send(());
                let _ = released.recv();
                Ok(())
            })
            .await
        }
    });
    has_begun.await.expect("the only reader is busy");
    let (ran, runs) = mpsc::channel::<u32>();
    let read = |number: u32| {
        let ran = ran.clone();
        db.read(move |_| ran.send(number).map_err(Error::internal))
    };
    for number in 0..5 {
        let impatient = tokio::time::timeout(Duration::from_millis(5), read(number)).await;
        assert!(impatient.is_err());
    }
    let patient = read(5);
    drop(release);
    holder.await.expect("ends").expect("read");
    patient.await.expect("read");
    drop(ran);
    assert_eq!(runs.iter().collect::<Vec<_>>(), [5]);
    let text = common::metrics::encode(&registry);
    assert!(text.contains("vitrine_control_catalog_skipped_total 5\n"), "{text}");
}

#[tokio::test]
async fn a_full_queue_is_refused_with_503() {
    let (db, _registry, _dir) = open(&options());
    let (release, holder) = hold(&db).await;
    let tasks: Vec<_> = (0..QUEUE_MAX + 1)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.write(|_| Ok(())).await })
        })
        .collect();
    let error = loop {
        match tokio::time::timeout(Duration::from_millis(20), db.write(|_| Ok(()))).await {
            Ok(outcome) => break outcome.expect_err("refused"),
            Err(_) => continue,
        }
    };
    assert_eq!(error.kind, Kind::Unavailable);
    assert_eq!(error.headers, [("Retry-After".to_owned(), "7".to_owned())]);
    drop(release);
    holder.await.expect("ends").expect("succeeds");
    for task in tasks {
        let _ = task.await.expect("ends");
    }
    db.write(|_| Ok(())).await.expect("there is room again");
}

#[tokio::test]
async fn look_ups_are_done_on_the_spot_while_a_connection_is_free() {
    let (db, registry, _dir) = open(&options());
    db.write(|tx| tx.create_image(&image(1))).await.expect("written");
    let here = std::thread::current().id();
    let place = |db: &Db| {
        let db = db.clone();
        async move {
            db.look_up(|q| Ok((q.image(&image(1).id)?.is_some(), std::thread::current().id()))).await.expect("read")
        }
    };
    assert_eq!(place(&db).await, (true, here), "it sees what was written");
    let panicked = db.look_up(|_| -> Result<()> { panic!("a bug") }).await;
    assert_eq!(panicked.expect_err("panicked").kind, Kind::Internal);
    assert_eq!(place(&db).await, (true, here), "the connection survives");
    let taken: Vec<_> = db.look_ups.iter().map(|reader| reader.lock().expect("free")).collect();
    let (found, elsewhere) = place(&db).await;
    assert!(found && elsewhere != here);
    drop(taken);
    assert_eq!(place(&db).await, (true, here));
    let text = common::metrics::encode(&registry);
    assert!(text.contains("vitrine_control_catalog_seconds_count{operation=\"read\"} 5\n"), "{text}");
}

#[tokio::test]
async fn a_reader_survives_a_panic() {
    let (db, _registry, _dir) = open(&DbOptions { readers: 1, ..options() });
    let outcome = db.read(|_| -> Result<()> { panic!("a bug") }).await;
    assert_eq!(outcome.expect_err("panicked").kind, Kind::Internal);
    assert!(db.read(|q| q.image("none")).await.expect("reads").is_none());
}

#[tokio::test]
async fn a_locked_database_is_503_and_comes_back() {
    let (db, _registry, dir) = open(&options());
    let other = common::catalog::Catalog::open(&dir.path().join("catalog.sqlite")).expect("opens");
    let lock = other.batch().expect("takes the write lock");
    let refused = tokio::time::timeout(Duration::from_secs(30), db.write(|tx| tx.create_image(&image(1))));
    let error = refused.await.expect("ends").expect_err("locked");
    assert_eq!((error.kind, error.headers), (Kind::Unavailable, vec![("Retry-After".to_owned(), "7".to_owned())]));
    drop(lock);
    db.write(|tx| tx.create_image(&image(1))).await.expect("free again");
}
