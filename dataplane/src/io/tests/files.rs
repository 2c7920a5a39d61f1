//! Downloads from files, warm and cold; direct writes.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::send::{Residency, residency};
use super::super::*;
use super::{joined, on_both, on_core_with, pattern};

/// A directory on a real file system, beside the test's binary: /tmp may be memory, which is never cold.
fn on_disk() -> tempfile::TempDir {
    let test = std::env::current_exe().unwrap();
    tempfile::Builder::new().prefix("vitrine-io-").tempdir_in(test.parent().unwrap()).unwrap()
}

fn write_pattern(path: &Path, length: usize) -> Vec<u8> {
    let bytes = pattern(length);
    std::fs::write(path, &bytes).unwrap();
    bytes
}

/// Bytes that this thread has made the kernel fetch from a disk, readahead included.
fn fetched_by_this_thread() -> u64 {
    let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("read_bytes: ")).unwrap();
    line.parse().unwrap()
}

fn drop_from_cache(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// Each way of sending a file, without and with copies where there is a choice.
fn every_way() -> impl Iterator<Item = SendOptions> {
    let ways = SendPath::ALL.into_iter().map(|path| SendOptions { path, depth: 3, zero_copy: false });
    ways.chain([SendOptions { path: SendPath::Direct, depth: 3, zero_copy: true }])
}

/// The usual way.
const SPLICE: SendOptions = SendOptions { path: SendPath::Splice, depth: 3, zero_copy: false };

async fn connected() -> (Conn, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Listener::new(listener).unwrap().accept().await.unwrap(), client)
}

/// A thread that receives to the end.
fn reading(mut client: TcpStream) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        received
    })
}

#[test]
fn a_file_to_a_slow_reader_is_whole_and_holds_no_other_task_up() {
    for options in every_way() {
        on_both(move |_| to_a_slow_reader(options));
    }
}

async fn to_a_slow_reader(options: SendOptions) {
    let directory = on_disk();
    let path = directory.path().join("f");
    let bytes = write_pattern(&path, 5_000_011);
    let (conn, mut client) = connected().await;
    conn.set_send_buffer(32 * 1024).unwrap();
    socket2::SockRef::from(&client).set_recv_buffer_size(32 * 1024).unwrap();
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        let mut piece = vec![0; 16 * 1024];
        loop {
            match client.read(&mut piece).unwrap() {
                0 => return received,
                count => received.extend_from_slice(&piece[..count]),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let ticks = Rc::new(std::cell::Cell::new(0));
    let counted = Rc::clone(&ticks);
    drop(spawn(async move {
        loop {
            sleep(Duration::from_millis(1)).await;
            counted.set(counted.get() + 1);
        }
    }));
    let file = File::open(&path).await.unwrap();
    let progress = Progress::new();
    conn.send_with_more_to_come(b"head").await.unwrap();
    send_file(&conn, file, 7..bytes.len() as u64, options, &progress).await.unwrap();
    assert_eq!(progress.get(), bytes.len() as u64 - 7);
    drop(conn);
    let received = joined(reader).await;
    assert!(received[..4] == *b"head" && received[4..] == bytes[7..], "{options:?}: {} bytes came", received.len());
    assert!(ticks.get() > 20, "{options:?}: a timer came {} times during half a second", ticks.get());
}

/// Ranges that begin and end anywhere, on and around the edges of pages, buffers, slices and pipes.
#[test]
fn every_range_is_sent_byte_for_byte_in_every_way() {
    for options in every_way() {
        on_both(move |driver| async move {
            let directory = on_disk();
            let path = directory.path().join("f");
            let bytes = Rc::new(write_pattern(&path, 3 * 1024 * 1024 + 77));
            let all = bytes.len();
            let edges = [0, 1, 4095, 4096, BUFFER_BYTES - 1, BUFFER_BYTES, 1 << 20, (2 << 20) + 1, all - 1, all];
            for from in edges {
                for to in edges.into_iter().filter(|to| *to >= from) {
                    let (conn, client) = connected().await;
                    let reader = reading(client);
                    let file = File::open(&path).await.unwrap();
                    let progress = Progress::new();
                    send_file(&conn, file, from as u64..to as u64, options, &progress).await.unwrap();
                    drop(conn);
                    assert!(joined(reader).await == bytes[from..to], "{driver}, {options:?}: {from}..{to}");
                    assert_eq!(progress.get(), (to - from) as u64);
                }
            }
        });
    }
}

#[test]
fn direct_reads_leave_the_page_cache_alone() {
    on_both(|driver| async move {
        let directory = on_disk();
        let path = directory.path().join("cold");
        let bytes = write_pattern(&path, 5 * 1024 * 1024 + 123);
        drop_from_cache(&path);
        let (conn, client) = connected().await;
        let reader = reading(client);
        let options = SendOptions { path: SendPath::Direct, ..SPLICE };
        let file = File::open(&path).await.unwrap();
        send_file(&conn, file, 0..bytes.len() as u64, options, &Progress::new()).await.unwrap();
        drop(conn);
        assert!(joined(reader).await == bytes);
        let file = File::open(&path).await.unwrap();
        assert!(!file.is_cached(2 << 20), "{driver}");
    });
}

/// Clients that take nothing keep buffers, but others are served all the same, and half of the memory stays for uploads.
#[test]
fn direct_transfers_go_through_the_cache_while_buffers_are_few() {
    for driver in [Driver::Uring, Driver::Epoll] {
        let limits = BufferLimits { in_use_max: 8, kept_max: 8, pinned_max: 8 };
        on_core_with(driver, limits, move || async move {
            let directory = on_disk();
            let path = directory.path().join("f");
            let bytes = write_pattern(&path, 5 * 1024 * 1024 + 123);
            let length = bytes.len() as u64;
            let options = SendOptions { path: SendPath::Direct, ..SPLICE };
            let mut idle = Vec::new();
            for _ in 0..4 {
                let (conn, client) = connected().await;
                conn.set_send_buffer(32 * 1024).unwrap();
                let file = File::open(&path).await.unwrap();
                let progress = Rc::new(Progress::new());
                let counted = Rc::clone(&progress);
                drop(spawn(async move { send_file(&conn, file, 0..length, options, &counted).await }));
                idle.push((client, progress));
            }
            // Copies keep a buffer until they know their client.
            let pool = BufferPool::new(4).unwrap();
            let mut kept = Vec::new();
            while kept.len() < 4 {
                match pool.try_get() {
                    Some(buffer) => kept.push(buffer),
                    None => sleep(Duration::from_millis(10)).await,
                }
            }
            drop((kept, pool));
            // An odd start, so that a direct read would have to be aligned.
            let (conn, client) = connected().await;
            let reader = reading(client);
            let file = File::open(&path).await.unwrap();
            send_file(&conn, file, 4097..length, options, &Progress::new()).await.unwrap();
            drop(conn);
            assert!(joined(reader).await == bytes[4097..], "{driver}");
            // Those that waited get theirs as well.
            let (client, progress) = idle.pop().unwrap();
            let reader = reading(client);
            assert!(joined(reader).await == bytes, "{driver}");
            assert_eq!(progress.get(), length, "{driver}");
        });
    }
}

/// Whatever many transfers have to send, the core looks at what else there is after a MiB or two.
#[test]
fn bulk_data_leaves_turns_to_others() {
    for path in SendPath::ALL {
        on_both(move |driver| async move {
            let directory = on_disk();
            let file_path = directory.path().join("f");
            let length = write_pattern(&file_path, 64 << 20).len() as u64;
            let progress = Rc::new(Progress::new());
            let (mut sends, mut readers) = (Vec::new(), Vec::new());
            for _ in 0..4 {
                let (conn, mut client) = connected().await;
                readers.push(std::thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()).unwrap()));
                let (file, progress) = (File::open(&file_path).await.unwrap(), Rc::clone(&progress));
                let options = SendOptions { path, ..SPLICE };
                sends.push(spawn(async move { send_file(&conn, file, 0..length, options, &progress).await }));
            }
            // What begins is not made to wait.
            yield_now().await;
            let (mut seen, mut most) = (progress.get(), 0);
            while progress.get() < 4 * length {
                yield_now().await;
                let now = progress.get();
                (most, seen) = (most.max(now - seen), now);
            }
            for send in sends {
                send.await.unwrap().unwrap();
            }
            for reader in readers {
                assert_eq!(joined(reader).await, length);
            }
            assert!(most <= 4 << 20, "{driver}, {path}: {most} bytes between two turns of another task");
        });
    }
}

/// Slow clients give their pipes back, and no transfer leaves bytes in one for the next.
#[test]
fn pipes_are_few_and_lent_to_those_who_use_them() {
    on_both(|driver| async move {
        let directory = on_disk();
        let path = directory.path().join("f");
        let bytes = Rc::new(write_pattern(&path, 6 * 1024 * 1024));
        // More clients than pipes, all of whom take nothing at first.
        let mut sends = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..8 {
            let (conn, client) = connected().await;
            conn.set_send_buffer(32 * 1024).unwrap();
            let file = File::open(&path).await.unwrap();
            let length = bytes.len() as u64;
            sends.push(spawn(async move { send_file(&conn, file, 0..length, SPLICE, &Progress::new()).await }));
            clients.push(client);
        }
        sleep(Duration::from_millis(300)).await;
        // One gives up with bytes in its pipe, or without one.
        drop(clients.pop());
        for client in clients {
            let reader = reading(client);
            assert!(joined(reader).await == *bytes, "{driver}");
        }
        assert!(sends.pop().unwrap().await.unwrap().is_err());
        for send in sends {
            send.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_cold_file_is_filled_ahead_off_the_core() {
    on_both(|driver| async move {
        let directory = on_disk();
        let path = directory.path().join("cold");
        let bytes = write_pattern(&path, 40 * 1024 * 1024 + 123);
        drop_from_cache(&path);
        let file = File::open(&path).await.unwrap();
        let last = bytes.len() as u64 - 1;
        let state = residency(file.shared(), 20 << 20, last).unwrap();
        assert_ne!(state, Residency::Warm, "{driver}: the test needs a disk whose cache can be dropped");
        // The look itself may have started a read of what it looked at.
        drop_from_cache(&path);
        let (conn, client) = connected().await;
        let reader = reading(client);
        let progress = Progress::new();
        let before = fetched_by_this_thread();
        send_file(&conn, file, 0..bytes.len() as u64, SPLICE, &progress).await.unwrap();
        let fetched = fetched_by_this_thread() - before;
        drop(conn);
        assert!(joined(reader).await == bytes);
        assert!(fetched < 1 << 20, "{driver}: the core itself read {fetched} bytes");
        let file = File::open(&path).await.unwrap();
        assert_eq!(residency(file.shared(), 0, last).unwrap(), Residency::Warm);
    });
}

#[test]
fn a_file_that_shrank_is_an_error_never_padding() {
    for options in every_way() {
        on_both(move |_| async move {
            let directory = on_disk();
            let path = directory.path().join("short");
            write_pattern(&path, 100_000);
            let (conn, mut client) = connected().await;
            let reader = std::thread::spawn(move || {
                let mut received = Vec::new();
                let _ = client.read_to_end(&mut received);
                received.len()
            });
            let file = File::open(&path).await.unwrap();
            let progress = Progress::new();
            let error = send_file(&conn, file, 0..100_001, options, &progress).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{options:?}");
            drop(conn);
            assert!(joined(reader).await <= 100_000);
        });
    }
}

/// Cut while its head is on the way: the slice had been looked at when the file was still whole.
#[test]
fn a_file_that_is_cut_during_the_send_ends_it_with_an_error() {
    for options in every_way() {
        on_both(move |_| async move {
            let directory = on_disk();
            let path = directory.path().join("cut");
            let length = write_pattern(&path, 30_000_000).len() as u64;
            let (conn, mut client) = connected().await;
            conn.set_send_buffer(32 * 1024).unwrap();
            socket2::SockRef::from(&client).set_recv_buffer_size(32 * 1024).unwrap();
            let file = File::open(&path).await.unwrap();
            let send = spawn(async move { send_file(&conn, file, 0..length, options, &Progress::new()).await });
            sleep(Duration::from_millis(20)).await;
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
            let reader = std::thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()));
            let error = send.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{options:?}");
            assert!(joined(reader).await.unwrap_or(0) < length);
        });
    }
}

#[test]
fn a_reader_that_stops_is_cut_and_one_that_goes_on_is_not() {
    for options in every_way() {
        on_both(move |_| async move {
            let directory = on_disk();
            let path = directory.path().join("f");
            let bytes = write_pattern(&path, 30_000_000);
            let (conn, client) = connected().await;
            conn.set_send_patience(SendPatience { stall: Duration::from_millis(100), bytes_min: 0 });
            let started = Instant::now();
            let file = File::open(&path).await.unwrap();
            let cut = send_file(&conn, file, 0..bytes.len() as u64, options, &Progress::new()).await;
            assert_eq!(cut.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
            assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
            drop((conn, client));
            let (conn, mut client) = connected().await;
            // Long enough that a busy machine is not taken for a stopped reader.
            conn.set_send_patience(SendPatience { stall: Duration::from_secs(5), bytes_min: 0 });
            let reader = std::thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()).unwrap());
            let file = File::open(&path).await.unwrap();
            send_file(&conn, file, 0..bytes.len() as u64, options, &Progress::new()).await.unwrap();
            drop(conn);
            assert_eq!(joined(reader).await, bytes.len() as u64);
        });
    }
}

#[test]
fn a_client_that_vanishes_ends_the_send() {
    for options in every_way() {
        on_both(move |_| async move {
            let directory = on_disk();
            let path = directory.path().join("f");
            write_pattern(&path, 30_000_000);
            let file = File::open(&path).await.unwrap();
            let (conn, client) = connected().await;
            let send = spawn(async move { send_file(&conn, file, 0..30_000_000, options, &Progress::new()).await });
            sleep(Duration::from_millis(20)).await;
            drop(client);
            assert!(send.await.unwrap().is_err(), "{options:?}");
        });
    }
}

/// Writes `length` bytes in pooled buffers, several in flight, and reads them back.
async fn write_and_read_back(path: &Path, length: usize, options: CreateOptions) -> File {
    let bytes = Rc::new(pattern(length));
    let pool = BufferPool::new(3).unwrap();
    // What an earlier use leaves in the buffers must not show up in the padding.
    let used: Vec<_> = (0..3).map(|_| pool.try_get().unwrap()).map(|mut b| b.fill(&[0xaa; BUFFER_BYTES])).collect();
    assert_eq!(used, [BUFFER_BYTES; 3]);
    let file = Rc::new(File::create(path, options).await.unwrap());
    let mut writes = Vec::new();
    for (index, piece) in bytes.chunks(BUFFER_BYTES).enumerate() {
        let mut buffer = pool.get().await;
        buffer.fill(piece);
        writes.push(file.start_write(buffer.freeze(), (index * BUFFER_BYTES) as u64).await.unwrap());
    }
    for mut write in writes {
        write.done().await.unwrap();
    }
    file.finish(length as u64).await.unwrap();
    assert_eq!(file.len().unwrap(), length as u64);
    assert!(std::fs::read(path).unwrap() == *bytes, "{length} bytes, {options:?}");
    let (count, buffer) = file.read_at(pool.get().await, 0).await.unwrap();
    assert_eq!(count, length.min(BUFFER_BYTES));
    assert!(buffer[..] == bytes[..length.min(BUFFER_BYTES)]);
    drop(buffer);
    Rc::try_unwrap(file).unwrap()
}

#[test]
fn written_bytes_come_back_whatever_their_number() {
    on_both(|driver| async move {
        let directory = on_disk();
        let odd =
            [0, 1, 511, 4095, 4096, 4097, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 5 * BUFFER_BYTES + 12_345];
        for (index, length) in odd.into_iter().enumerate() {
            for direct in [true, false] {
                for preallocate in [None, Some(length as u64), Some(length as u64 + 1_000_000)] {
                    let name = format!("{index}-{direct}-{preallocate:?}");
                    let options = CreateOptions { direct, preallocate, ..CreateOptions::default() };
                    let file = write_and_read_back(&directory.path().join(name), length, options).await;
                    assert_eq!(file.is_direct(), direct, "{driver}: the test needs a file system with direct I/O");
                }
            }
        }
    });
}

#[test]
fn a_file_system_without_direct_io_gets_buffered_writes() {
    on_both(|_| async {
        let options = CreateOptions { preallocate: Some(4096), ..CreateOptions::default() };
        // procfs and the like cannot be written; memory is what every Linux has. It takes O_DIRECT since 6.6.
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else { return };
        write_and_read_back(&directory.path().join("f"), 300_001, options).await;
    });
}

#[test]
fn a_write_needs_an_aligned_offset_and_a_new_name() {
    on_both(|_| async {
        let directory = on_disk();
        let path = directory.path().join("f");
        let file = File::create(&path, CreateOptions::default()).await.unwrap();
        let pool = BufferPool::new(1).unwrap();
        let refused = file.start_write(pool.get().await.freeze(), 100).await;
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        assert!(pool.try_get().is_some());
        let again = File::create(&path, CreateOptions::default()).await.unwrap_err();
        assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
        let huge = CreateOptions { preallocate: Some(1 << 60), ..CreateOptions::default() };
        let path = directory.path().join("huge");
        assert!(File::create(&path, huge).await.is_err());
        assert!(!path.exists(), "a file that could not be allocated stays behind");
        assert!(File::open(directory.path()).await.is_err());
        assert!(File::open(directory.path().join("none")).await.is_err());
    });
}
