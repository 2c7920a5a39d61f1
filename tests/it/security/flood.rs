//! HTTP-D01, D03 and D04: thousands of connections that do nothing, or next to nothing, beside clients that work.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::{assert_no_panic, open_descriptors, resident_bytes, sockets};
use crate::harness::client::{find, head};
use crate::harness::data::bytes;
use crate::harness::server::Options;
use crate::harness::{Server, eventually};

/// Half-open connections of a flood.
const HALF_OPEN: usize = 10_000;

/// Descriptors of this process that other tests and the measuring clients need.
const OTHER_DESCRIPTORS: usize = 700;

/// What other clients keep, at least, of the throughput that they have without the flood.
const KEPT: f64 = 0.9;

/// One client's work while it was measured.
#[derive(Debug, Clone, Copy)]
struct Work {
    bytes_per_second: f64,
    shows_per_second: f64,
    /// Processor time of the data plane per byte of image data, seconds.
    cpu_per_byte: f64,
}

/// Processor time of a process so far, seconds.
fn cpu_seconds(process: Pid) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())).expect("a running process");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum()).as_secs_f64()
}

/// Reads an answer to its end and forgets it; bytes of its body.
fn drain(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut head = Vec::new();
    let (mut end, mut length) = (None, 0);
    while end.is_none() {
        let count = stream.read(buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..count]);
        if let Some(at) = find(&head, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head[..at]).to_ascii_lowercase();
            assert!(text.starts_with("http/1.1 200 "), "{text}");
            let line = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            length = line.parse().expect("digits");
            end = Some(head.len() - at - 4);
        }
    }
    let mut received = end.unwrap_or(0);
    while received < length {
        match stream.read(buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => received += count,
        }
    }
    Ok(length)
}

/// Downloads and shows an image for `time`, side by side, on two connections.
fn work(server: &Server, id: &str, time: Duration) -> Work {
    let plane = server.wait_plane("dataplane");
    let end = AtomicBool::new(false);
    let ask = |path: String| {
        let mut stream = sockets::connect(server.address);
        let request = head("GET", &path, &[], None);
        let mut buffer = vec![0; 1 << 20];
        let (mut count, mut total) = (0u32, 0);
        while !end.load(Ordering::Relaxed) {
            stream.write_all(&request).expect("sending");
            total += drain(&mut stream, &mut buffer).expect("an answer");
            count += 1;
        }
        (count, total)
    };
    let (begun, cpu) = (Instant::now(), cpu_seconds(plane));
    let (downloads, shows) = std::thread::scope(|scope| {
        let downloads = scope.spawn(|| ask(format!("/v2/images/{id}/file")));
        let shows = scope.spawn(|| ask(format!("/v2/images/{id}")));
        std::thread::sleep(time);
        end.store(true, Ordering::Relaxed);
        (downloads.join().expect("downloads"), shows.join().expect("shows"))
    });
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds(plane) - cpu);
    let total = f64::from(u32::try_from(downloads.1 >> 10).expect("below 4 TiB")) * 1024.0;
    Work {
        bytes_per_second: total / seconds,
        shows_per_second: f64::from(shows.0) / seconds,
        cpu_per_byte: cpu / total,
    }
}

/// Opens `count` connections: some say nothing, some begin a head, some begin a body.
fn half_open(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let parts = [
        &b""[..],
        b"GET /v2/images HTTP/1.1\r\nHost: lo",
        b"POST /v2/images HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
    ];
    (0..count)
        .map(|index| {
            let mut stream = sockets::connect(address);
            let _ = stream.write_all(parts[index % parts.len()]);
            stream
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What is kept of throughput beside a flood: the medians of pairs of rounds, without it and with it.
fn kept(server: &Server, id: &str, connections: usize, rounds: usize, time: Duration) -> (f64, f64, f64) {
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        let quiet = work(server, id, time);
        let flood = half_open(server.address, connections);
        let flooded = work(server, id, time);
        drop(flood);
        println!("without {quiet:?}\nwith    {flooded:?}");
        pairs.push((quiet, flooded));
    }
    let ratio =
        |pick: fn(&Work) -> f64| median(pairs.iter().map(|(quiet, flooded)| pick(flooded) / pick(quiet)).collect());
    (ratio(|work| work.bytes_per_second), ratio(|work| work.shows_per_second), ratio(|work| work.cpu_per_byte))
}

#[test]
fn http_d04_ten_thousand_half_open_connections() {
    let connections = HALF_OPEN.min(sockets::raise_open_files().saturating_sub(OTHER_DESCRIPTORS));
    let server = Server::ours(Options::default());
    let id = server.active(&bytes(61, 64 << 20));
    work(&server, &id, Duration::from_millis(300));
    let before = open_descriptors(&server);
    // A machine that does other things too is noisy: then it is looked at once more, and longer.
    let (mut download, mut show, mut cpu) = kept(&server, &id, connections, 3, Duration::from_millis(700));
    println!("{connections} half open: downloads keep {download:.2}, shows {show:.2}, CPU per byte x{cpu:.2}");
    if download < KEPT || show < KEPT {
        (download, show, cpu) = kept(&server, &id, connections, 7, Duration::from_millis(1500));
        println!("once more: downloads keep {download:.2}, shows {show:.2}, CPU per byte x{cpu:.2}");
    }
    assert!(download >= KEPT, "downloads keep {download:.2} of their throughput, at {cpu:.2} of the CPU per byte");
    assert!(show >= KEPT, "shows keep {show:.2} of their throughput");
    let closed = eventually(Duration::from_secs(20), || (open_descriptors(&server) <= before + 100).then_some(()));
    assert!(closed.is_some(), "{} descriptors, {before} before", open_descriptors(&server));
    assert_no_panic(&server);
}

/// Times of a small request, in order.
fn latencies(server: &Server, count: usize) -> Vec<Duration> {
    let mut stream = sockets::connect(server.address);
    let request = head("GET", "/v2/images?name=none", &[], None);
    let mut buffer = vec![0; 64 * 1024];
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let begun = Instant::now();
            stream.write_all(&request).expect("sending");
            drain(&mut stream, &mut buffer).expect("an answer");
            begun.elapsed()
        })
        .collect();
    times.sort();
    times
}

/// What the slowest of a hundred takes.
fn p99(times: &[Duration]) -> Duration {
    times[times.len() * 99 / 100]
}

#[test]
fn http_d01_two_thousand_slow_heads() {
    sockets::raise_open_files();
    let server = Server::with_config("[dataplane]\nhead_timeout_seconds = 4\n");
    latencies(&server, 100);
    let before = open_descriptors(&server);
    let idle = p99(&latencies(&server, 400));
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = (0..2000)
        .map(|_| {
            let mut stream = sockets::connect(server.address);
            let _ = stream.write_all(b"GET /v2/images HTTP/1.1\r\nX-Slow: ");
            stream
        })
        .collect();
    let mut slowed = Duration::MAX;
    while begun.elapsed() < Duration::from_secs(3) {
        for stream in &mut slow {
            // A byte now and then does not put the end off.
            let _ = stream.write_all(b"x");
        }
        slowed = slowed.min(p99(&latencies(&server, 200)));
    }
    // A tick or two of the scheduler is not the server's.
    let bound = (idle * 2).max(Duration::from_millis(15));
    assert!(slowed <= bound, "p99 {slowed:?} beside 2,000 slow heads, {idle:?} without");
    let closed = eventually(Duration::from_secs(12), || (open_descriptors(&server) <= before + 20).then_some(()));
    assert!(closed.is_some(), "{} descriptors, {before} before", open_descriptors(&server));
    let mut answered = 0;
    for stream in &mut slow {
        let (received, _) = sockets::read_to_end(stream);
        answered += usize::from(received.starts_with(b"HTTP/1.1 408 "));
    }
    assert!(answered > 1500, "{answered} were told why");
    assert_no_panic(&server);
}

#[test]
fn http_d03_two_thousand_slow_readers() {
    sockets::raise_open_files();
    // Small kernel buffers, so that the machine that runs this is not the limit.
    let server = Server::with_config(
        "[dataplane]\nsend_buffer_bytes = 32768\nsend_stall_seconds = 4\nsend_min_rate_bytes_per_second = 100000\n",
    );
    let data = bytes(62, 8 << 20);
    let id = server.active(&data);
    assert!(server.download(&id) == data);
    let (before, memory) = (open_descriptors(&server), resident_bytes(&server));
    let request = head("GET", &format!("/v2/images/{id}/file"), &[], None);
    let mut readers: Vec<TcpStream> = (0..2000)
        .map(|_| {
            let mut stream = sockets::connect_with_small_window(server.address);
            stream.write_all(&request).expect("sending");
            stream
        })
        .collect();
    let grown = resident_bytes(&server).saturating_sub(memory);
    assert!(grown < 2000 * 40 * 1024, "{grown} bytes for 2,000 readers");
    assert!(server.download(&id) == data, "others are served");
    // Some take a little now and then, which is not enough either.
    let begun = Instant::now();
    let dripping = readers.split_off(1990);
    let cut = std::thread::scope(|scope| {
        let cut: Vec<_> = dripping.into_iter().map(|stream| scope.spawn(move || drip(stream, begun))).collect();
        let closed = eventually(Duration::from_secs(25), || (open_descriptors(&server) <= before + 20).then_some(()));
        assert!(closed.is_some(), "{} descriptors, {before} before", open_descriptors(&server));
        cut.into_iter().map(|reader| reader.join().expect("a reader")).collect::<Vec<_>>()
    });
    for (received, took) in cut {
        assert!(received < data.len(), "a slow reader got everything");
        assert!(took < Duration::from_secs(25), "{took:?}");
    }
    drop(readers);
    assert!(server.download(&id) == data);
    assert_no_panic(&server);
}

/// Reads ten KB a second until the connection ends; bytes received, and when it ended.
fn drip(mut stream: TcpStream, begun: Instant) -> (usize, Duration) {
    let mut received = 0;
    let mut buffer = [0; 1000];
    while begun.elapsed() < Duration::from_secs(30) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => received += count,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    (received, begun.elapsed())
}
