//! Downloads from files, warm and cold; direct writes.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::sendfile::{Residency, residency};
use super::super::*;
use super::{joined, on_both, pattern};

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

async fn connected() -> (Conn, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Listener::new(listener).unwrap().accept().await.unwrap(), client)
}

#[test]
fn send_file_to_a_slow_reader_is_whole_and_holds_no_other_task_up() {
    on_both(|_| async {
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
        conn.send_file(&file, 7..bytes.len() as u64, &progress).await.unwrap();
        assert_eq!(progress.get(), bytes.len() as u64 - 7);
        drop(conn);
        let received = joined(reader).await;
        assert!(received[..4] == *b"head" && received[4..] == bytes[7..], "{} bytes came", received.len());
        assert!(ticks.get() > 20, "a timer came {} times during a transfer of half a second", ticks.get());
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
        let (conn, mut client) = connected().await;
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            received
        });
        let progress = Progress::new();
        let before = fetched_by_this_thread();
        conn.send_file(&file, 0..bytes.len() as u64, &progress).await.unwrap();
        let fetched = fetched_by_this_thread() - before;
        drop(conn);
        assert!(joined(reader).await == bytes);
        assert!(fetched < 1 << 20, "{driver}: the core itself read {fetched} bytes");
        assert_eq!(residency(file.shared(), 0, last).unwrap(), Residency::Warm);
    });
}

#[test]
fn a_file_that_shrank_is_an_error_never_padding() {
    on_both(|_| async {
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
        let error = conn.send_file(&file, 0..100_001, &progress).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        drop(conn);
        assert!(joined(reader).await <= 100_000);
    });
}

/// Cut while its head is on the way: the slice had been looked at when the file was still whole.
#[test]
fn a_file_that_is_cut_during_the_send_ends_it_with_an_error() {
    on_both(|_| async {
        let directory = on_disk();
        let path = directory.path().join("cut");
        let length = write_pattern(&path, 30_000_000).len() as u64;
        let (conn, mut client) = connected().await;
        conn.set_send_buffer(32 * 1024).unwrap();
        socket2::SockRef::from(&client).set_recv_buffer_size(32 * 1024).unwrap();
        let file = File::open(&path).await.unwrap();
        let send = spawn(async move { conn.send_file(&file, 0..length, &Progress::new()).await });
        sleep(Duration::from_millis(20)).await;
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()));
        let error = send.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        assert!(joined(reader).await.unwrap_or(0) < length);
    });
}

#[test]
fn a_reader_that_stops_is_cut_and_one_that_goes_on_is_not() {
    on_both(|_| async {
        let directory = on_disk();
        let path = directory.path().join("f");
        let bytes = write_pattern(&path, 30_000_000);
        let file = File::open(&path).await.unwrap();
        let floor = MinRate { bytes: 1, period: Duration::from_millis(100) };
        let (conn, client) = connected().await;
        let progress = Progress::new();
        let started = Instant::now();
        let cut = with_min_rate(&progress, floor, conn.send_file(&file, 0..bytes.len() as u64, &progress)).await;
        assert_eq!(cut.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        drop((conn, client));
        let (conn, mut client) = connected().await;
        let reader = std::thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()).unwrap());
        let progress = Progress::new();
        // Long enough that a busy machine is not taken for a stopped reader.
        let floor = MinRate { bytes: 1, period: Duration::from_secs(5) };
        with_min_rate(&progress, floor, conn.send_file(&file, 0..bytes.len() as u64, &progress)).await.unwrap();
        drop(conn);
        assert_eq!(joined(reader).await, bytes.len() as u64);
    });
}

#[test]
fn a_client_that_vanishes_ends_the_send() {
    on_both(|_| async {
        let directory = on_disk();
        let path = directory.path().join("f");
        write_pattern(&path, 30_000_000);
        let file = File::open(&path).await.unwrap();
        let (conn, client) = connected().await;
        let progress = Progress::new();
        let send = spawn(async move { conn.send_file(&file, 0..30_000_000, &progress).await });
        sleep(Duration::from_millis(20)).await;
        drop(client);
        assert!(send.await.unwrap().is_err());
    });
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
        let (frozen, file, expected) = (buffer.freeze(), Rc::clone(&file), piece.len());
        writes.push(spawn(async move {
            let (result, _) = file.write_at(frozen, (index * BUFFER_BYTES) as u64).await;
            assert_eq!(result.unwrap(), expected);
        }));
    }
    for write in writes {
        write.await.unwrap();
    }
    file.finish(length as u64).await.unwrap();
    assert_eq!(file.len().unwrap(), length as u64);
    assert!(std::fs::read(path).unwrap() == *bytes, "{length} bytes, {options:?}");
    let (result, buffer) = file.read_at(pool.get().await, 0).await;
    assert_eq!(result.unwrap(), length.min(BUFFER_BYTES));
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
        let (result, frozen) = file.write_at(pool.get().await.freeze(), 100).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        drop(frozen);
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
