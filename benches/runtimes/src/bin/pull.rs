//! The client: `pull PORT CONNECTIONS ROUNDS CPU PID...` downloads and throws the bytes away without copying them (`MSG_TRUNC`), and
//! prints GiB/s and the CPU seconds per GiB of the processes PID, by the scheduler's nanosecond clock.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use runtimes::{HEAD_END, pin};
use rustix::net::RecvFlags;

const GIB: f64 = 1073741824.0;

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).map(|word| word.parse().expect("numbers only")).collect();
    let [port, connections, rounds, cpu, ref servers @ ..] = arguments[..] else {
        panic!("usage: pull PORT CONNECTIONS ROUNDS CPU PID...")
    };
    pin(cpu);
    let port = u16::try_from(port).expect("a port");
    let (cpu_before, started) = (busy(servers), Instant::now());
    let clients: Vec<_> = (0..connections)
        .map(|_| std::thread::spawn(move || (0..rounds).map(|_| download(port)).sum::<u64>()))
        .collect();
    let bytes: u64 = clients.into_iter().map(|client| client.join().expect("a client")).sum();
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), busy(servers) - cpu_before);
    let gib = bytes as f64 / GIB;
    println!("{:.3} {:.4}", gib / seconds, cpu / gib);
}

/// One download; returns the bytes of the body, which must be all that the head promises.
fn download(port: u16) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.write_all(b"GET /image HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").expect("a request");
    let mut head = Vec::new();
    while !head.ends_with(HEAD_END) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let promised: u64 = promised.trim().parse().expect("a number");
    let mut nowhere = vec![0u8; 4 << 20];
    let mut received = 0;
    while received < promised {
        match rustix::net::recv(&stream, &mut nowhere[..], RecvFlags::TRUNC).expect("a body") {
            (_, 0) => panic!("the body ends after {received} of {promised} bytes"),
            (_, count) => received += count as u64,
        }
    }
    received
}

/// CPU seconds that all threads of `processes` have used.
fn busy(processes: &[usize]) -> f64 {
    let mut nanoseconds = 0u64;
    for process in processes {
        for thread in std::fs::read_dir(format!("/proc/{process}/task")).expect("the server runs") {
            let path = thread.expect("a thread").path().join("schedstat");
            let line = std::fs::read_to_string(path).unwrap_or_default();
            nanoseconds += line.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    nanoseconds as f64 / 1e9
}
