//! HTTP-D01, D03 and D04: thousands of connections that do nothing, or next to nothing, beside clients that work.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{assert_no_panic, open_descriptors, resident_bytes, sockets};
use crate::harness::client::{find, head};
use crate::harness::data::bytes;
use crate::harness::{Server, eventually};

/// Half-open connections of a flood.
const HALF_OPEN: usize = 10_000;

/// Descriptors of this process that other tests and the measuring clients need.
const OTHER_DESCRIPTORS: usize = 700;

/// How long ten thousand connections may take to come or to go.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads an answer to its end and forgets it.
fn drain(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
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
    while received < length {
        match stream.read(buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => received += read,
        }
    }
    Ok(())
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

#[test]
fn http_d04_ten_thousand_half_open_connections() {
    // That others keep nine tenths of their throughput beside them is measured by perf/, with a release build on a quiet machine.
    let connections = HALF_OPEN.min(sockets::raise_open_files().saturating_sub(OTHER_DESCRIPTORS));
    // Room for all, and time: what ends those that wait too long has its own tests, and this machine may be slow.
    let server = Server::with_config(
        "[dataplane]\nmax_connections = 20000\nhead_timeout_seconds = 300\nidle_timeout_seconds = 300\nbody_min_rate_bytes_per_second = 0\n",
    );
    let data = bytes(61, 16 << 20);
    let id = server.active(&data);
    let mut kept = sockets::connect(server.address);
    let request = head("GET", &format!("/v2/images/{id}"), &[], None);
    let mut ask = || {
        kept.write_all(&request).expect("sending");
        drain(&mut kept, &mut vec![0; 64 * 1024]).expect("an answer");
    };
    ask();
    let before = open_descriptors(&server);
    let flood = half_open(server.address, connections);
    let arrived = || (open_descriptors(&server) > before + connections * 9 / 10).then_some(());
    assert!(eventually(PATIENCE, arrived).is_some(), "{} came in", open_descriptors(&server) - before);
    // An old connection and new ones work on beside it.
    (0..20).for_each(|_| ask());
    assert!(server.download(&id) == data);
    server.active(b"an upload");
    drop(flood);
    let gone = || (open_descriptors(&server) <= before + 100).then_some(());
    assert!(eventually(PATIENCE, gone).is_some(), "{} descriptors, {before} before", open_descriptors(&server));
    ask();
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
    let server = Server::with_config("[dataplane]\nhead_timeout_seconds = 8\n");
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
    // A tick or two of the scheduler is not the server's, nor what else the machine has to do for a while.
    let bound = (idle * 2).max(Duration::from_millis(15));
    let mut slowed = Duration::MAX;
    // A byte now and then does not put the end off.
    let trickle = |slow: &mut [TcpStream]| slow.iter_mut().for_each(|stream| drop(stream.write_all(b"x")));
    while slowed > bound && begun.elapsed() < Duration::from_secs(7) {
        trickle(&mut slow);
        slowed = slowed.min(p99(&latencies(&server, 200)));
    }
    assert!(slowed <= bound, "p99 {slowed:?} beside 2,000 slow heads, {idle:?} without");
    let closed = eventually(Duration::from_secs(20), || {
        trickle(&mut slow);
        (open_descriptors(&server) <= before + 20).then_some(())
    });
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
    // Small kernel buffers, so that the machine that runs this is not the limit; but not less than two segments of the loopback, or
    // each waits for an acknowledgement that is put off. The server's own buffers are far fewer than the readers.
    let server = Server::with_config(
        "[dataplane]\nsend_buffer_bytes = 65536\nbuffer_memory_bytes_max = 16777216\nsend_stall_seconds = 4\n\
         send_min_rate_bytes_per_second = 100000\n",
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
    // By then the server has begun with most of them.
    std::thread::sleep(Duration::from_secs(1));
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
