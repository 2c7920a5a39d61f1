//! HTTP-D01, D03 and D04: thousands of connections that do nothing, or next to nothing, beside clients that work.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// How long a rate is measured, and how long after what changes it.
const WINDOW: Duration = Duration::from_millis(400);
const SETTLE: Duration = Duration::from_millis(60);

/// How often it is measured at least and at most.
const ROUNDS: usize = 3;
const ROUNDS_MAX: usize = 9;

/// How long ten thousand connections may take to come or to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// What they keep of it in any case.
const KEPT_IN_NOISE: f64 = 0.6;

/// What other clients keep, at least, of the throughput that they have without the flood.
const KEPT: f64 = 0.9;

/// What a client has had so far: bytes of an image that it downloads over and over, or answers about it.
#[derive(Default)]
struct Client {
    done: AtomicU64,
    paused: AtomicBool,
    end: AtomicBool,
}

/// What a client had in a window of time.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// How much of it a second.
    rate: f64,
    /// Seconds of the data plane's processor time for each.
    cost: f64,
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

/// Reads an answer to its end and forgets it; `count` is told of the bytes as they come.
fn drain(stream: &mut TcpStream, buffer: &mut [u8], count: impl Fn(usize)) -> io::Result<()> {
    let mut head = Vec::new();
    let (length, mut received) = loop {
        let read = stream.read(buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..read]);
        if let Some(at) = find(&head, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head[..at]).to_ascii_lowercase();
            assert!(text.starts_with("http/1.1 200 "), "{text}");
            let line = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            break (line.parse::<usize>().expect("digits"), head.len() - at - 4);
        }
    };
    count(received);
    while received < length {
        match stream.read(buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                received += read;
                count(read);
            }
        }
    }
    Ok(())
}

/// Asks for `path` again and again on one connection. What is counted are bytes, or answers.
fn repeat(server: &Server, path: &str, client: &Client, in_bytes: bool) {
    let mut stream = sockets::connect(server.address);
    let request = head("GET", path, &[], None);
    let mut buffer = vec![0; 1 << 20];
    let add = |count: usize| client.done.fetch_add(count as u64, Ordering::Relaxed);
    while !client.end.load(Ordering::Relaxed) {
        if client.paused.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        stream.write_all(&request).expect("sending");
        let count = |count| {
            add(if in_bytes { count } else { 0 });
        };
        drain(&mut stream, &mut buffer, count).expect("an answer");
        add(usize::from(!in_bytes));
    }
}

/// What `client` gets while `other` pauses.
fn measure(server: &Server, client: &Client, other: &Client) -> Window {
    let plane = server.wait_plane("dataplane");
    other.paused.store(true, Ordering::Relaxed);
    std::thread::sleep(SETTLE);
    let now = || (client.done.load(Ordering::Relaxed), cpu_seconds(plane), Instant::now());
    let before = now();
    std::thread::sleep(WINDOW);
    let after = now();
    other.paused.store(false, Ordering::Relaxed);
    let done = f64::from(u32::try_from((after.0 - before.0) >> 4).expect("a window's worth")) * 16.0;
    Window { rate: done / (after.2 - before.2).as_secs_f64(), cost: (after.1 - before.1) / done.max(1.0) }
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

#[test]
fn http_d04_ten_thousand_half_open_connections() {
    let connections = HALF_OPEN.min(sockets::raise_open_files().saturating_sub(OTHER_DESCRIPTORS));
    let server = Server::ours(Options::default());
    let id = server.active(&bytes(61, 64 << 20));
    let before = open_descriptors(&server);
    let clients = [Client::default(), Client::default()];
    let faults = std::thread::scope(|scope| {
        // The same connections with and without the flood, so that they are on the same cores.
        let image = format!("/v2/images/{id}");
        let file = format!("{image}/file");
        let (server, clients) = (&server, &clients);
        scope.spawn(move || repeat(server, &file, &clients[0], true));
        scope.spawn(move || repeat(server, &image, &clients[1], false));
        let faults = beside_a_flood(server, clients, connections);
        clients.iter().for_each(|client| client.end.store(true, Ordering::Relaxed));
        faults
    });
    assert!(faults.is_empty(), "{faults:?}");
    let closed = eventually(Duration::from_secs(20), || (open_descriptors(&server) <= before + 100).then_some(()));
    assert!(closed.is_some(), "{} descriptors, {before} before", open_descriptors(&server));
    assert_no_panic(&server);
}

/// What a client keeps of its throughput: medians of pairs of windows, without the flood and with it.
struct Kept(Vec<(Window, Window)>);

impl Kept {
    fn rate(&self) -> f64 {
        median(self.0.iter().map(|(quiet, flooded)| flooded.rate / quiet.rate).collect())
    }

    fn cost(&self) -> f64 {
        median(self.0.iter().map(|(quiet, flooded)| flooded.cost / quiet.cost).collect())
    }

    /// Whether the client keeps its throughput. Where other programs take the processors in turns, rates say little; then
    /// what each byte and each answer costs the server says whether the flood is what slows it down.
    fn is_enough(&self) -> bool {
        self.rate() >= KEPT || (self.cost() <= 1.0 / KEPT && self.rate() >= KEPT_IN_NOISE)
    }
}

/// What is wrong with a download and with shows beside a flood. Noise is looked at longer.
fn beside_a_flood(server: &Server, clients: &[Client; 2], connections: usize) -> Vec<String> {
    let [download, show] = clients;
    let mut kept = [Kept(Vec::new()), Kept(Vec::new())];
    loop {
        let quiet = [measure(server, download, show), measure(server, show, download)];
        let open = open_descriptors(server);
        let flood = half_open(server.address, connections);
        // Once they are accepted: the storm of their coming is a matter of `http_d05`.
        let arrived = || (open_descriptors(server) > open + connections * 9 / 10).then_some(());
        assert!(eventually(PATIENCE, arrived).is_some(), "{} were accepted", open_descriptors(server) - open);
        let flooded = [measure(server, download, show), measure(server, show, download)];
        drop(flood);
        let gone = eventually(PATIENCE, || (open_descriptors(server) <= open + 100).then_some(()));
        assert!(gone.is_some(), "{} descriptors, {open} before", open_descriptors(server));
        println!("without {quiet:?}, with {flooded:?}");
        for ((kept, quiet), flooded) in kept.iter_mut().zip(quiet).zip(flooded) {
            kept.0.push((quiet, flooded));
        }
        let rounds = kept[0].0.len();
        if rounds >= ROUNDS && (kept.iter().all(Kept::is_enough) || rounds >= ROUNDS_MAX) {
            let tell = |(name, kept): (&str, &Kept)| {
                format!("{name} keep {:.2} of their rate at {:.2} of their cost", kept.rate(), kept.cost())
            };
            let lines = ["downloads", "shows"].into_iter().zip(&kept).map(tell);
            println!("{connections} half open: {:?}", lines.clone().collect::<Vec<_>>());
            return lines.zip(&kept).filter(|(_, kept)| !kept.is_enough()).map(|(line, _)| line).collect();
        }
    }
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
            drain(&mut stream, &mut buffer, |_| ()).expect("an answer");
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
