//! The rule, with a clock of the tests' own.

use super::*;

/// A buffer that says whose it is.
type Bytes = Vec<u8>;

const MS: Duration = Duration::from_millis(1);

struct Desk {
    schedule: Schedule<Bytes>,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        // The portable kernels are the same everywhere: MD5 has four lanes from three streams on, SHA-512 has none.
        let kernels = Kernels::all().last().unwrap();
        assert_eq!((kernels.lanes(Algorithm::Md5), kernels.break_even(Algorithm::Md5)), (4, 3));
        assert_eq!(kernels.lanes(Algorithm::Sha512), 1);
        Desk { schedule: Schedule::new(kernels, 2), now: Instant::now() }
    }

    /// Two digests for each of `uploads`.
    fn of_pairs(uploads: usize) -> (Self, Vec<[Key; 2]>) {
        Desk::of_pairs_with_workers(uploads, 2)
    }

    fn of_pairs_with_workers(uploads: usize, workers: usize) -> (Self, Vec<[Key; 2]>) {
        let mut desk = Desk { schedule: Schedule::new(Kernels::with_pairs(), workers), now: Instant::now() };
        let open = |_| [Algorithm::Md5, Algorithm::Sha512].map(|algorithm| desk.schedule.open(algorithm, 4));
        let keys = (0..uploads).map(open).collect();
        (desk, keys)
    }

    fn open(&mut self, count: usize) -> Vec<Key> {
        (0..count).map(|_| self.schedule.open(Algorithm::Md5, 4)).collect()
    }

    fn submit(&mut self, keys: &[Key]) {
        for key in keys {
            assert!(self.schedule.submit(*key, vec![0; 10], self.now).is_ok());
        }
    }

    /// The streams of the batch that runs now.
    fn take(&mut self) -> Option<Vec<Task<Bytes>>> {
        let mut batch = Vec::new();
        match self.schedule.next(self.now, &mut batch) {
            Next::Batch => Some(batch),
            Next::Deliver(..) => panic!("a digest"),
            Next::Until(_) | Next::Nothing | Next::Closed => None,
        }
    }

    fn keys(&mut self) -> Option<Vec<Key>> {
        self.take().map(|batch| batch.iter().map(|task| task.key).collect())
    }

    fn give_back(&mut self, batch: Vec<Task<Bytes>>) {
        for task in batch {
            self.schedule.give_back(task.key, task.digest, self.now);
        }
    }

    /// Brings streams into use: all of them have been hashed once.
    fn used(count: usize) -> (Self, Vec<Key>) {
        let mut desk = Desk::new();
        let keys = desk.open(count);
        desk.submit(&keys);
        while let Some(batch) = desk.take() {
            desk.give_back(batch);
        }
        desk.now += LANE_WAIT;
        while let Some(batch) = desk.take() {
            desk.give_back(batch);
        }
        (desk, keys)
    }
}

#[test]
fn a_lone_stream_runs_at_once() {
    let (mut desk, keys) = Desk::used(1);
    desk.submit(&keys);
    assert_eq!(desk.keys(), Some(keys));
}

#[test]
fn fewer_than_pay_run_one_by_one() {
    let (mut desk, keys) = Desk::used(2);
    desk.submit(&keys);
    assert_eq!(desk.keys(), Some(vec![keys[0]]));
    assert_eq!(desk.keys(), Some(vec![keys[1]]));
    assert_eq!(desk.keys(), None);
}

#[test]
fn a_full_batch_runs_at_once() {
    let (mut desk, keys) = Desk::used(6);
    desk.submit(&keys[..3]);
    assert_eq!(desk.keys(), None);
    desk.submit(&keys[3..5]);
    assert_eq!(desk.keys(), Some(keys[..4].to_vec()));
    assert_eq!(desk.keys(), None, "the fifth waits for company");
}

#[test]
fn a_batch_runs_when_every_stream_in_use_is_ready() {
    let (mut desk, keys) = Desk::used(3);
    desk.submit(&keys[..2]);
    assert_eq!(desk.keys(), None);
    desk.submit(&keys[2..]);
    assert_eq!(desk.keys(), Some(keys));
}

#[test]
fn nobody_waits_longer_than_the_bound() {
    let (mut desk, keys) = Desk::used(4);
    desk.submit(&keys[..1]);
    desk.now += MS;
    desk.submit(&keys[1..3]);
    assert!(matches!(desk.schedule.work(desk.now), Next::Until(due) if due == desk.now - MS + LANE_WAIT));
    desk.now += LANE_WAIT - MS - Duration::from_nanos(1);
    assert_eq!(desk.keys(), None);
    desk.now += Duration::from_nanos(1);
    assert_eq!(desk.keys(), Some(keys[..3].to_vec()));
}

#[test]
fn a_slow_client_is_waited_for_once() {
    let (mut desk, keys) = Desk::used(4);
    desk.submit(&keys[..3]);
    assert_eq!(desk.keys(), None);
    desk.now += LANE_WAIT;
    let batch = desk.take().unwrap();
    assert_eq!(batch.len(), 3);
    desk.give_back(batch);
    // The fourth has missed it: the three go on by themselves.
    for _ in 0..3 {
        desk.submit(&keys[..3]);
        let batch = desk.take().unwrap();
        assert_eq!(batch.len(), 3);
        desk.give_back(batch);
    }
    // With its next buffer it counts again.
    desk.submit(&keys[2..]);
    assert_eq!(desk.keys(), None);
    desk.submit(&keys[..2]);
    assert_eq!(desk.keys().map(|keys| keys.len()), Some(4));
}

#[test]
fn an_upload_at_a_stop_is_not_held_back() {
    let (mut desk, keys) = Desk::used(4);
    for _ in 0..3 {
        desk.submit(&keys[..1]);
        assert_eq!(desk.keys(), None);
    }
    desk.submit(&keys[..1]);
    assert_eq!(desk.schedule.submit(keys[0], vec![], desk.now).unwrap_err().0, SubmitError::Full);
    assert_eq!(desk.keys(), Some(vec![keys[0]]));
}

#[test]
fn an_upload_at_a_stop_waits_for_a_batch_that_runs() {
    let (mut desk, keys) = Desk::used(6);
    desk.submit(&keys[..4]);
    let running = desk.take().unwrap();
    for _ in 0..4 {
        desk.submit(&keys[4..5]);
    }
    desk.submit(&keys[..3]);
    assert_eq!(desk.keys(), None, "those that run come back in a moment");
    desk.give_back(running);
    assert_eq!(desk.keys(), Some(vec![keys[4], keys[0], keys[1], keys[2]]));
}

#[test]
fn an_end_is_not_held_back() {
    let (mut desk, keys) = Desk::used(4);
    desk.submit(&keys[..1]);
    assert_eq!(desk.keys(), None);
    assert!(desk.schedule.finish(keys[0], Box::new(|_| ())).is_ok());
    let batch = desk.take().unwrap();
    assert_eq!(batch.len(), 1);
    desk.give_back(batch);
    assert!(matches!(desk.schedule.next(desk.now, &mut Vec::new()), Next::Deliver(..)));
    // It is not waited for any more.
    desk.submit(&keys[1..]);
    assert_eq!(desk.keys(), Some(keys[1..].to_vec()));
}

#[test]
fn an_aborted_stream_is_not_waited_for() {
    let (mut desk, keys) = Desk::used(4);
    desk.submit(&keys[..3]);
    assert_eq!(desk.keys(), None);
    assert!(desk.schedule.abandon(keys[3]).is_empty());
    assert_eq!(desk.keys(), Some(keys[..3].to_vec()));
}

#[test]
fn an_abort_gives_back_what_waits_and_frees_the_place() {
    let (mut desk, keys) = Desk::used(3);
    desk.submit(&keys);
    let running = desk.take().unwrap();
    desk.submit(&keys[..1]);
    desk.submit(&keys[..1]);
    assert_eq!(desk.schedule.abandon(keys[0]).len(), 2);
    desk.give_back(running);
    assert_eq!(desk.schedule.open(Algorithm::Md5, 4), keys[0]);
    desk.submit(&keys[1..]);
    assert_eq!(desk.schedule.abandon(keys[1]).len(), 1);
    assert_eq!(desk.keys(), Some(vec![keys[2]]));
}

#[test]
fn no_algorithm_starves_another() {
    let mut desk = Desk::new();
    let md5 = desk.open(1)[0];
    let sha: Vec<Key> = (0..3).map(|_| desk.schedule.open(Algorithm::Sha512, 4)).collect();
    desk.submit(&sha[..2]);
    desk.now += MS;
    desk.submit(&[md5]);
    desk.now += MS;
    desk.submit(&sha[2..]);
    let order: Vec<_> = std::iter::from_fn(|| desk.keys()).flatten().collect();
    assert_eq!(order, vec![sha[0], sha[1], md5, sha[2]]);
}

#[test]
fn a_closed_pool_waits_for_nobody() {
    let (mut desk, keys) = Desk::used(4);
    desk.submit(&keys[..3]);
    assert_eq!(desk.keys(), None);
    desk.schedule.close();
    assert_eq!(desk.schedule.submit(keys[3], vec![], desk.now).unwrap_err().0, SubmitError::Closed);
    let batch = desk.take().unwrap();
    assert_eq!(batch.len(), 3);
    assert!(matches!(desk.schedule.work(desk.now), Next::Closed));
    desk.give_back(batch);
    assert!(matches!(desk.schedule.work(desk.now), Next::Closed));
}

#[test]
fn the_counts_survive_any_order_of_events() {
    any_order(Desk::new(), &[Algorithm::Md5]);
    for workers in [2, APART_WORKERS] {
        any_order(Desk::of_pairs_with_workers(0, workers).0, &[Algorithm::Md5, Algorithm::Sha512]);
    }
}

/// A fixed sequence of pseudo-random events; at the end everybody has gone and nothing is counted.
fn any_order(mut desk: Desk, algorithms: &[Algorithm]) {
    let algorithm = |at: usize| algorithms[at % algorithms.len()];
    let mut keys: Vec<Key> = (0..7).map(|at| desk.schedule.open(algorithm(at), 4)).collect();
    let mut hands: Vec<Task<Bytes>> = Vec::new();
    let mut random = 1_u64;
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = usize::try_from(random >> 40).unwrap();
        let at = pick % keys.len();
        match (random >> 33) % 8 {
            0..=2 => drop(desk.schedule.submit(keys[at], vec![1], desk.now)),
            3 | 4 => hands.extend(desk.take().unwrap_or_default()),
            5 => {
                let back = std::mem::take(&mut hands);
                desk.give_back(back);
            }
            6 => desk.now += MS,
            _ => {
                drop(desk.schedule.abandon(keys[at]));
                keys[at] = desk.schedule.open(algorithm(at), 4);
            }
        }
        for algorithm in algorithms {
            let class = &desk.schedule.classes[algorithm.index()];
            assert_eq!(class.running, hands.iter().filter(|task| task.digest.algorithm() == *algorithm).count());
            assert!(class.pressed <= class.ready.len());
            assert!(class.used <= keys.len() + hands.len());
            assert!(class.used >= class.ready.len());
        }
    }
    desk.give_back(hands);
    for key in keys {
        drop(desk.schedule.abandon(key));
    }
    for class in &desk.schedule.classes {
        assert_eq!((class.ready.len(), class.pressed, class.used, class.running), (0, 0, 0, 0));
    }
    assert_eq!(desk.schedule.free.len(), desk.schedule.streams.len());
}

#[test]
fn the_digests_of_a_lone_upload_are_a_pair_from_the_first_buffer_on() {
    let (mut desk, keys) = Desk::of_pairs(1);
    for _ in 0..3 {
        desk.submit(&keys[0]);
        let batch = desk.take().unwrap();
        assert_eq!(batch.iter().map(|task| task.key).collect::<Vec<_>>(), keys[0]);
        assert!(desk.keys().is_none());
        desk.give_back(batch);
    }
}

#[test]
fn the_digests_of_a_lone_upload_are_apart_where_there_are_workers() {
    let (mut desk, keys) = Desk::of_pairs_with_workers(1, APART_WORKERS);
    desk.submit(&keys.concat());
    let (one, other) = (desk.take().expect("one"), desk.take().expect("the other"));
    assert_eq!(
        [&one, &other].map(|batch| batch.iter().map(|task| task.key).collect::<Vec<_>>()),
        keys[0].map(|key| vec![key])
    );
    // Each goes on by itself, whatever the other does.
    desk.submit(&keys.concat());
    assert_eq!(desk.keys(), None);
    desk.give_back(other);
    assert_eq!(desk.keys(), Some(vec![keys[0][1]]));
    desk.give_back(one);
    assert_eq!(desk.keys(), Some(vec![keys[0][0]]));
    let (mut desk, keys) = Desk::of_pairs_with_workers(2, APART_WORKERS);
    desk.submit(&keys.concat());
    assert_eq!(desk.keys().map(|keys| keys.len()), Some(2), "two uploads are pairs");
}

#[test]
fn two_uploads_are_two_pairs_and_three_fill_lanes() {
    let (mut desk, keys) = Desk::of_pairs(2);
    desk.submit(&keys.concat());
    for _ in 0..2 {
        let batch = desk.take().unwrap();
        assert_eq!(
            batch.iter().map(|task| task.digest.algorithm()).collect::<Vec<_>>(),
            [Algorithm::Md5, Algorithm::Sha512]
        );
    }
    let (mut desk, keys) = Desk::of_pairs(3);
    desk.submit(&keys.concat());
    let batch = desk.take().unwrap();
    assert_eq!(batch.len(), 3);
    assert!(batch.iter().all(|task| task.digest.algorithm() == Algorithm::Md5));
}

#[test]
fn half_a_pair_waits_for_one_in_hands_but_not_for_long() {
    let (mut desk, keys) = Desk::of_pairs(2);
    let md5 = keys[1][0];
    desk.submit(&keys[0]);
    let batch = desk.take().unwrap();
    desk.submit(&[md5]);
    assert!(matches!(desk.schedule.work(desk.now), Next::Until(due) if due == desk.now + LANE_WAIT));
    assert_eq!(desk.keys(), None);
    desk.now += LANE_WAIT;
    assert_eq!(desk.keys(), Some(vec![md5]));
    desk.give_back(batch);
    assert_eq!(desk.keys(), None);
}

#[test]
fn half_a_pair_that_is_behind_goes_on_by_itself() {
    let (mut desk, keys) = Desk::of_pairs(1);
    let [md5, sha512] = keys[0];
    for one in [md5, sha512] {
        desk.submit(&keys[0]);
        let batch = desk.take().unwrap();
        assert_eq!(batch.len(), 2);
        desk.give_back(batch);
        desk.submit(&[one]);
        let batch = desk.take().unwrap();
        assert_eq!(batch.iter().map(|task| task.key).collect::<Vec<_>>(), [one]);
        desk.give_back(batch);
    }
}

#[test]
fn a_digest_that_fell_behind_while_apart_catches_up() {
    let (mut desk, keys) = Desk::of_pairs_with_workers(2, APART_WORKERS);
    let [md5, sha512] = keys[0];
    desk.submit(&keys[0]);
    let slow = desk.take().unwrap();
    assert_eq!(slow[0].key, md5);
    let mut fast = desk.take().unwrap();
    for _ in 0..2 {
        desk.submit(&keys[0]);
        desk.give_back(fast);
        fast = desk.take().unwrap();
        assert_eq!(fast[0].key, sha512);
    }
    desk.give_back(fast);
    // Another upload begins, so that there are pairs, and stalls.
    desk.submit(&keys[1]);
    let batch = desk.take().unwrap();
    assert_eq!(batch.len(), 2);
    desk.give_back(batch);
    desk.give_back(slow);
    for _ in 0..2 {
        let batch = desk.take().unwrap();
        assert_eq!(batch.iter().map(|task| task.key).collect::<Vec<_>>(), [md5], "nobody waits for the next buffer");
        desk.give_back(batch);
    }
}
