//! Tasks, turns, timers, mailboxes, blocking calls.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::super::core::current;
use super::super::turns::VISIT_BYTES;
use super::super::*;
use super::{joined, on_both, on_core};

/// The runtime alone starves everything else while one task wakes itself (monoio #362).
#[test]
fn a_yielding_task_lets_tasks_timers_and_connections_go_on() {
    on_both(|_| async {
        let stop = Rc::new(Cell::new(false));
        let turns = Rc::new(Cell::new(0u64));
        let (stopped, counted) = (Rc::clone(&stop), Rc::clone(&turns));
        let busy = spawn(async move {
            while !stopped.get() {
                counted.set(counted.get() + 1);
                yield_now().await;
            }
        });
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let echo = std::thread::spawn(move || std::io::copy(&mut &far, &mut &far).unwrap());
        let near = Conn::from_fd(near).unwrap();
        for _ in 0..20 {
            near.send_all(b"ping").await.unwrap();
            let (result, reply) = near.recv_timeout(Vec::with_capacity(16), Duration::from_secs(5)).await;
            assert_eq!((result.unwrap(), &reply[..]), (4, &b"ping"[..]));
        }
        let started = Instant::now();
        sleep(Duration::from_millis(20)).await;
        assert!(started.elapsed() < Duration::from_secs(2), "the timer came after {:?}", started.elapsed());
        let other = spawn(async { 7 });
        assert_eq!(other.await, Some(7));
        stop.set(true);
        assert_eq!(busy.await, Some(()));
        assert!(turns.get() > 20, "the yielding task had {} turns only", turns.get());
        near.shutdown_write().unwrap();
        assert_eq!(joined(echo).await, 80);
    });
}

#[test]
fn yielding_tasks_take_turns() {
    on_both(|_| async {
        let log = Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..3)
            .map(|name| {
                let log = Rc::clone(&log);
                spawn(async move {
                    for _ in 0..4 {
                        log.borrow_mut().push(name);
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await, Some(()));
        }
        assert_eq!(*log.borrow(), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    });
}

#[test]
fn transfers_in_line_take_turns_after_equal_visits() {
    on_both(|_| async {
        let log = Rc::new(std::cell::RefCell::new(Vec::new()));
        let transfer = |name: i32| {
            let log = Rc::clone(&log);
            async move {
                let core = current();
                for _ in 0..64 {
                    let bytes = core.turns.turn().await.min(1024 * 1024) as u64;
                    core.turns.moved(name, bytes);
                    log.borrow_mut().push((name, bytes));
                }
            }
        };
        for task in [0, 1, 2, 3].map(|name| spawn(transfer(name))) {
            assert_eq!(task.await, Some(()));
        }
        // The first ones know of nobody in line yet; at the end the last one is alone.
        let log = &log.borrow()[16..224];
        for (index, visits) in log.windows(4).enumerate() {
            let mut names = [0, 1, 2, 3].map(|at: usize| visits[at].0);
            names.sort_unstable();
            assert_eq!(names, [0, 1, 2, 3], "at {index}: {visits:?}");
            assert!(visits.iter().all(|visit| visit.1 <= VISIT_BYTES), "at {index}: {visits:?}");
        }
    });
}

/// The runtime lets a panic unwind through its loop, and with it every connection of the core.
#[test]
fn a_panic_ends_its_own_task_only() {
    on_both(|_| async {
        let task: Task<()> = spawn(async {
            yield_now().await;
            panic!("expected by this test");
        });
        assert_eq!(task.await, None);
        assert_eq!(spawn(async { 1 }).await, Some(1));
    });
}

#[test]
fn the_main_future_may_yield_and_return_while_tasks_still_wait() {
    for driver in [Driver::Uring, Driver::Epoll] {
        let value = on_core(driver, || async {
            drop(spawn(std::future::pending::<()>()));
            yield_now().await;
            42
        });
        assert_eq!(value, 42);
    }
}

#[test]
fn a_core_is_pinned_to_its_processor() {
    let cpu = *available_cpus().last().unwrap();
    let pinned = std::thread::spawn(move || {
        let offload = Offload::new(OffloadConfig { calls: 1, fills: 1, ..OffloadConfig::default() }).unwrap();
        run_core(
            CoreConfig {
                driver: Driver::Uring,
                cpu: Some(cpu),
                entries: 256,
                offload,
                buffers: BufferLimits::default(),
                pipes: 1,
            },
            async { available_cpus() },
        )
    });
    assert_eq!(pinned.join().unwrap().unwrap(), [cpu]);
}

#[test]
fn timeout_cuts_and_lets_through() {
    on_both(|_| async {
        assert_eq!(timeout(Duration::from_millis(10), std::future::pending::<()>()).await, Err(Elapsed));
        assert_eq!(timeout(Duration::from_secs(9), async { 3 }).await, Ok(3));
        // Beyond what the timer wheel can hold.
        assert_eq!(timeout(Duration::MAX, async { 4 }).await, Ok(4));
    });
}

#[test]
fn notify_wakes_all_waiters_or_the_next_one() {
    on_both(|_| async {
        let notify = Rc::new(Notify::new());
        let woken = Rc::new(Cell::new(0));
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let (notify, woken) = (Rc::clone(&notify), Rc::clone(&woken));
                spawn(async move {
                    notify.wait().await;
                    woken.set(woken.get() + 1);
                })
            })
            .collect();
        yield_now().await;
        assert_eq!(woken.get(), 0);
        notify.notify();
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(woken.get(), 3);
        let notify = Notify::new();
        notify.notify();
        notify.wait().await;
        assert_eq!(timeout(Duration::from_millis(5), notify.wait()).await, Err(Elapsed));
    });
}

#[test]
fn a_semaphore_serves_in_order_and_a_dropped_waiter_loses_no_permit() {
    on_both(|_| async {
        let semaphore = Rc::new(Semaphore::new(1));
        let held = semaphore.acquire().await;
        assert_eq!(timeout(Duration::from_millis(5), semaphore.acquire()).await.map(drop), Err(Elapsed));
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let waiters: Vec<_> = (0..3)
            .map(|name| {
                let (semaphore, order) = (Rc::clone(&semaphore), Rc::clone(&order));
                spawn(async move {
                    let _permit = semaphore.acquire().await;
                    order.borrow_mut().push(name);
                    yield_now().await;
                })
            })
            .collect();
        yield_now().await;
        drop(held);
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(*order.borrow(), [0, 1, 2]);
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn oneshot_gives_the_value_or_tells_that_the_sender_is_gone() {
    on_both(|_| async {
        let (sender, receiver) = oneshot();
        drop(spawn(async move { sender.send(5) }));
        assert_eq!(receiver.await, Some(5));
        let (sender, receiver) = oneshot::<u8>();
        drop(sender);
        assert_eq!(receiver.await, None);
    });
}

#[test]
fn a_mailbox_brings_every_message_from_many_threads_exactly_once() {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    on_both(|_| async {
        let (sender, seed) = mailbox::<u64>(64).unwrap();
        let mailbox = seed.attach().unwrap();
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    for index in 0..EACH {
                        let mut message = thread * EACH + index;
                        while let Err(back) = sender.post(message) {
                            message = back;
                            std::thread::yield_now();
                        }
                        if index % 1000 == 0 {
                            // Long enough for the core to fall asleep, so that the wake-up itself is under test.
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    }
                })
            })
            .collect();
        let mut seen = vec![false; usize::try_from(THREADS * EACH).unwrap()];
        for _ in 0..THREADS * EACH {
            let message = usize::try_from(mailbox.recv().await).unwrap();
            assert!(!std::mem::replace(&mut seen[message], true), "message {message} came twice");
        }
        for thread in threads {
            joined(thread).await;
        }
        assert!(seen.into_iter().all(|seen| seen));
        assert_eq!(mailbox.try_recv(), None);
    });
}

/// Each message arrives just as the core is about to fall asleep.
#[test]
fn a_message_that_comes_while_the_core_falls_asleep_wakes_it() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    const ROUNDS: u32 = 20_000;
    on_both(|_| async {
        let (sender, seed) = mailbox::<u32>(1).unwrap();
        let mailbox = seed.attach().unwrap();
        let taken = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&taken);
        let thread = std::thread::spawn(move || {
            for round in 0..ROUNDS {
                let mut spins = 0;
                while seen.load(Ordering::Acquire) != round {
                    // The pause moves the post over the whole of the receiver's way to sleep.
                    spins += 1;
                    if spins > 1_000 {
                        std::thread::yield_now();
                    }
                }
                (0..round % 64).for_each(|_| std::hint::spin_loop());
                sender.post(round).unwrap();
            }
        });
        for round in 0..ROUNDS {
            assert_eq!(mailbox.recv().await, round);
            taken.store(round + 1, Ordering::Release);
        }
        joined(thread).await;
    });
}

#[test]
fn a_full_mailbox_gives_the_message_back_and_a_dropped_receive_loses_none() {
    on_both(|_| async {
        let (sender, seed) = mailbox::<u8>(1).unwrap();
        let mailbox = seed.attach().unwrap();
        assert_eq!(sender.post(1), Ok(()));
        assert_eq!(sender.post(2), Err(2));
        assert_eq!(mailbox.recv().await, 1);
        assert!(timeout(Duration::from_millis(5), mailbox.recv()).await.is_err());
        sender.post(3).unwrap();
        assert_eq!(mailbox.recv().await, 3);
    });
}

#[test]
fn offloaded_calls_run_elsewhere_at_the_same_time_and_leave_the_core_free() {
    on_both(|_| async {
        let here = std::thread::current().id();
        assert_ne!(Offload::current().run(|| std::thread::current().id()).await, here);
        // The calls end only if all of them, and this core, go on at the same time.
        let together = std::sync::Arc::new(std::sync::Barrier::new(5));
        let calls: Vec<_> = (0..4u32)
            .map(|index| {
                let together = std::sync::Arc::clone(&together);
                spawn(async move {
                    Offload::current()
                        .run(move || {
                            together.wait();
                            index
                        })
                        .await
                })
            })
            .collect();
        sleep(Duration::from_millis(10)).await;
        let last = std::thread::spawn(move || together.wait());
        for (index, call) in (0..4).zip(calls) {
            assert_eq!(call.await, Some(index));
        }
        last.join().unwrap();
    });
}

#[test]
fn a_call_that_was_given_up_before_it_began_never_runs() {
    on_both(|_| async {
        let config = OffloadConfig { calls: 1, fills: 1, outstanding_max: 4, ..OffloadConfig::default() };
        let pool = Offload::new(config).unwrap();
        let (go_on, hangs) = crossbeam_channel::bounded::<()>(1);
        let ran = Arc::new(AtomicUsize::new(0));
        let hanging = pool.try_run(Length::Short, move || hangs.recv().is_err());
        assert!(timeout(Duration::from_millis(5), hanging).await.is_err());
        let call = || {
            let ran = Arc::clone(&ran);
            pool.try_run(Length::Short, move || ran.fetch_add(1, Relaxed))
        };
        for _ in 0..3 {
            assert!(timeout(Duration::from_millis(5), call()).await.is_err());
        }
        assert_eq!(call().await, Err(Full), "four are outstanding");
        go_on.send(()).unwrap();
        // The only thread takes them in their order: it is free, and those before have been passed by.
        pool.run(|| ()).await;
        assert_eq!(call().await, Ok(0));
        assert_eq!(ran.load(Relaxed), 1);
    });
}

#[test]
fn a_call_that_never_comes_back_holds_up_no_other() {
    on_both(|_| async {
        let config = OffloadConfig { calls: 1, fills: 1, detached: 1, ..OffloadConfig::default() };
        let pool = Offload::new(config).unwrap();
        let (go_on, hangs) = crossbeam_channel::bounded::<()>(0);
        for _ in 0..3 {
            let hangs = hangs.clone();
            let hanging = pool.run_alone(move || hangs.recv().is_err());
            assert!(timeout(Duration::from_millis(5), hanging).await.is_err());
        }
        pool.detach(move || assert!(hangs.recv().is_err()));
        let (told, tells) = crossbeam_channel::bounded::<()>(1);
        pool.run(move || told.send(()).unwrap()).await;
        tells.recv().unwrap();
        drop(go_on);
    });
}

#[test]
fn more_calls_than_may_be_outstanding_all_come_home_and_abandoned_ones_do_no_harm() {
    on_both(|_| async {
        let calls: Vec<_> =
            (0..1000u32).map(|n| spawn(async move { Offload::current().run(move || n).await })).collect();
        for _ in 0..50 {
            let slow = Offload::current();
            let call = slow.run(|| std::thread::sleep(Duration::from_millis(3)));
            let _ = timeout(Duration::from_millis(1), call).await;
        }
        for (n, call) in (0..1000).zip(calls) {
            assert_eq!(call.await, Some(n));
        }
        let panicking = spawn(async { Offload::current().run(|| panic!("expected by this test")).await });
        assert_eq!(panicking.await.map(|never: ()| never), None);
        assert_eq!(Offload::current().run(|| 5).await, 5);
    });
}
