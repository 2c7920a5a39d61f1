//! The pool from outside: digests, order, bounds, aborts, shutdown.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::hash::SubmitError;

/// Longer than anything here takes, so that a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(30);

fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

fn finish<B: AsRef<[u8]> + Send + Sync + 'static>(stream: Stream<B>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    stream.finish(move |digest| sender.send(digest).unwrap()).unwrap();
    receiver
}

fn alone(algorithm: Algorithm, pieces: &[Vec<u8>]) -> String {
    let mut digest = Digest::new(algorithm);
    for piece in pieces {
        digest.update(piece);
    }
    digest.finish()
}

/// Submits, waiting for room, as an upload whose buffers are all in use does.
fn submit<B: AsRef<[u8]> + Clone + Send + Sync + 'static>(stream: &mut Stream<B>, buffer: &B) {
    while stream.submit(buffer.clone()) == Err(SubmitError::Full) {
        thread::yield_now();
    }
}

/// A buffer that stops the worker that hashes it until the gate opens, and counts how many of its kind live.
#[derive(Clone)]
struct Held {
    bytes: Vec<u8>,
    gate: Arc<Gate>,
    alive: Arc<()>,
}

#[derive(Default)]
struct Gate {
    open: AtomicBool,
    waiting: AtomicUsize,
}

impl Gate {
    fn await_worker(&self) {
        let start = Instant::now();
        while self.waiting.load(Ordering::SeqCst) == 0 {
            assert!(start.elapsed() < PATIENCE);
            thread::yield_now();
        }
    }
}

/// Opens a gate when a test ends, however it ends: a failed one must not hang on its worker.
struct Opener(Arc<Gate>);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.open.store(true, Ordering::SeqCst);
    }
}

impl Held {
    fn opener(&self) -> Opener {
        Opener(Arc::clone(&self.gate))
    }

    fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), gate: Arc::default(), alive: Arc::default() }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        // Only the workers' own threads are held, not a test that looks at the bytes.
        if thread::current().name().is_some_and(|name| name.starts_with("hash-")) {
            self.gate.waiting.fetch_add(1, Ordering::SeqCst);
            while !self.gate.open.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        }
        &self.bytes
    }
}

#[test]
fn no_bytes_at_all_have_a_digest() {
    let pool = Pool::<Vec<u8>>::new(count(1)).unwrap();
    for algorithm in Algorithm::ALL {
        let digest = finish(pool.open(algorithm, count(1))).recv_timeout(PATIENCE).unwrap();
        assert_eq!(digest, alone(algorithm, &[]));
    }
}

#[test]
fn many_interleaved_streams_over_few_workers() {
    let pool = Pool::<Arc<[u8]>>::new(count(2)).unwrap();
    let pieces: Vec<Vec<Arc<[u8]>>> = (0..60_u8)
        .map(|stream| (0..40_u8).map(|n| Arc::from(vec![stream ^ n; 100 + usize::from(n)])).collect())
        .collect();
    let mut open: Vec<_> = (0..pieces.len())
        .map(|n| (pool.open(Algorithm::Md5, count(8)), pool.open(Algorithm::ALL[n % Algorithm::COUNT], count(8))))
        .collect();
    for round in 0..40 {
        for ((first, second), pieces) in open.iter_mut().zip(&pieces) {
            submit(first, &pieces[round]);
            submit(second, &pieces[round]);
        }
    }
    for ((first, second), pieces) in open.into_iter().zip(&pieces) {
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        for stream in [first, second] {
            let algorithm = stream.algorithm();
            assert_eq!(finish(stream).recv_timeout(PATIENCE).unwrap(), alone(algorithm, &pieces));
        }
    }
}

#[test]
fn digests_that_are_no_pair_have_a_worker_each() {
    let pool = Pool::with_kernels(count(2), Kernels::serial()).unwrap();
    let buffer = Held::new(b"a buffer");
    let opener = buffer.opener();
    let mut streams = [pool.open(Algorithm::Md5, count(4)), pool.open(Algorithm::Sha512, count(4))];
    for stream in &mut streams {
        stream.submit(buffer.clone()).unwrap();
    }
    let start = Instant::now();
    while buffer.gate.waiting.load(Ordering::SeqCst) < 2 {
        assert!(start.elapsed() < PATIENCE, "the second digest waits for the first");
        thread::yield_now();
    }
    drop(opener);
    for stream in streams {
        let algorithm = stream.algorithm();
        let digest = finish(stream).recv_timeout(PATIENCE).unwrap();
        assert_eq!(digest, alone(algorithm, &[b"a buffer".to_vec()]));
    }
}

#[test]
fn one_stream_never_has_two_workers() {
    let pool = Pool::new(count(4)).unwrap();
    let buffer = Held::new(b"x");
    let opener = buffer.opener();
    let mut stream = pool.open(Algorithm::Sha1, count(8));
    for _ in 0..8 {
        stream.submit(buffer.clone()).unwrap();
    }
    buffer.gate.await_worker();
    thread::sleep(Duration::from_millis(20));
    assert_eq!(buffer.gate.waiting.load(Ordering::SeqCst), 1);
    drop(opener);
    assert_eq!(finish(stream).recv_timeout(PATIENCE).unwrap(), alone(Algorithm::Sha1, &[b"xxxxxxxx".to_vec()]));
}

#[test]
fn a_stream_holds_no_more_than_its_depth() {
    let pool = Pool::new(count(1)).unwrap();
    let buffer = Held::new(b"x");
    let opener = buffer.opener();
    let mut stream = pool.open(Algorithm::Md5, count(2));
    stream.submit(buffer.clone()).unwrap();
    buffer.gate.await_worker();
    // The worker has the first one: two may wait.
    stream.submit(buffer.clone()).unwrap();
    stream.submit(buffer.clone()).unwrap();
    assert_eq!(stream.submit(buffer.clone()), Err(SubmitError::Full));
    drop(opener);
    assert_eq!(finish(stream).recv_timeout(PATIENCE).unwrap(), alone(Algorithm::Md5, &[b"xxx".to_vec()]));
    drop(pool);
    assert_eq!(Arc::strong_count(&buffer.alive), 1, "every buffer was released");
}

#[test]
fn an_abort_releases_what_waits_at_once() {
    let pool = Pool::new(count(1)).unwrap();
    let buffer = Held::new(b"x");
    let opener = buffer.opener();
    let mut stream = pool.open(Algorithm::Md5, count(8));
    stream.submit(buffer.clone()).unwrap();
    buffer.gate.await_worker();
    for _ in 0..7 {
        stream.submit(buffer.clone()).unwrap();
    }
    assert_eq!(Arc::strong_count(&buffer.alive), 9);
    drop(stream);
    assert_eq!(Arc::strong_count(&buffer.alive), 2, "all but the one being hashed");
    drop(opener);
    drop(pool);
    assert_eq!(Arc::strong_count(&buffer.alive), 1);
}

#[test]
fn an_abort_in_the_run_queue_disturbs_no_other() {
    let pool = Pool::new(count(1)).unwrap();
    let buffer = Held::new(b"x");
    let opener = buffer.opener();
    let mut first = pool.open(Algorithm::Md5, count(8));
    first.submit(buffer.clone()).unwrap();
    buffer.gate.await_worker();
    let mut aborted = pool.open(Algorithm::Md5, count(8));
    aborted.submit(buffer.clone()).unwrap();
    let mut last = pool.open(Algorithm::Md5, count(8));
    last.submit(buffer.clone()).unwrap();
    drop(aborted);
    drop(opener);
    for stream in [first, last] {
        assert_eq!(finish(stream).recv_timeout(PATIENCE).unwrap(), alone(Algorithm::Md5, &[b"x".to_vec()]));
    }
}

#[test]
fn shutdown_ends_what_was_asked_for_and_joins() {
    let pool = Pool::<Vec<u8>>::new(count(2)).unwrap();
    let (sender, receiver) = mpsc::channel();
    for _ in 0..50 {
        let mut stream = pool.open(Algorithm::Sha256, count(8));
        for _ in 0..8 {
            stream.submit(vec![7; 10_000]).unwrap();
        }
        let sender = sender.clone();
        stream.finish(move |digest| sender.send(digest).unwrap()).unwrap();
    }
    let mut late = pool.open(Algorithm::Sha256, count(8));
    let unused = pool.open(Algorithm::Sha256, count(8));
    drop(sender);
    drop(pool);
    let digests: Vec<String> = receiver.try_iter().collect();
    assert_eq!(digests, vec![alone(Algorithm::Sha256, &[vec![7; 80_000]]); 50]);
    assert_eq!(late.submit(vec![7]), Err(SubmitError::Closed));
    assert_eq!(late.submit(vec![7]), Err(SubmitError::Closed));
    assert_eq!(unused.finish(|_| unreachable!()), Err(SubmitError::Closed));
}

#[test]
fn a_sink_that_panics_takes_no_worker_along() {
    let pool = Pool::<Vec<u8>>::new(count(1)).unwrap();
    pool.open(Algorithm::Md5, count(1)).finish(|_| panic!("expected by the test")).unwrap();
    let digest = finish(pool.open(Algorithm::Md5, count(1))).recv_timeout(PATIENCE).unwrap();
    assert_eq!(digest, alone(Algorithm::Md5, &[]));
}

#[test]
fn a_sink_may_be_the_last_owner_of_the_pool() {
    let pool = Arc::new(Pool::<Vec<u8>>::new(count(2)).unwrap());
    let (sender, receiver) = mpsc::channel();
    let stream = pool.open(Algorithm::Md5, count(1));
    let (go, gone) = mpsc::channel();
    let owner = Arc::clone(&pool);
    stream
        .finish(move |_| {
            gone.recv().unwrap();
            drop(owner);
            sender.send(()).unwrap();
        })
        .unwrap();
    drop(pool);
    go.send(()).unwrap();
    receiver.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn bytes_and_time_are_counted_by_algorithm() {
    let pool = Pool::<Vec<u8>>::new(count(1)).unwrap();
    let mut stream = pool.open(Algorithm::Sha512, count(2));
    stream.submit(vec![1; 1_000_000]).unwrap();
    stream.submit(vec![1; 234]).unwrap();
    finish(stream).recv_timeout(PATIENCE).unwrap();
    let figures = pool.figures(Algorithm::Sha512);
    assert_eq!(figures.bytes, 1_000_234);
    assert!(figures.time > Duration::ZERO);
    assert_eq!(pool.figures(Algorithm::Md5), Figures::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_chunking_and_any_number_of_workers_give_the_digest(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..500), 0..20),
        workers in 1_usize..4,
        depth in 1_usize..9,
    ) {
        let pool = Pool::<Vec<u8>>::new(count(workers)).unwrap();
        let mut streams: Vec<_> = Algorithm::ALL.map(|algorithm| pool.open(algorithm, count(depth))).into();
        for piece in &pieces {
            for stream in &mut streams {
                submit(stream, piece);
            }
        }
        for stream in streams {
            let algorithm = stream.algorithm();
            prop_assert_eq!(finish(stream).recv_timeout(PATIENCE).unwrap(), alone(algorithm, &pieces));
        }
    }
}
