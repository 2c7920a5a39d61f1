//! Raw sockets: many at once, cut anywhere, read to the end.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::transcript::End;

/// How long a server may take for an answer, or to close a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time for a server to take the bytes of one segment before the next is sent. Nothing depends on it but how many of the
/// cuts it sees as such.
const BETWEEN_SEGMENTS: Duration = Duration::from_millis(3);

/// The same where the segments are single bytes.
const BETWEEN_BYTES: Duration = Duration::from_micros(500);

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a TCP socket");
    stream
}

/// A connection whose receive window is as small as the kernel lets it be.
pub(super) fn connect_with_small_window(address: SocketAddr) -> TcpStream {
    // Servers that are started meanwhile must not have it.
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.expect("a socket");
    sockopt::set_socket_recv_buffer_size(&socket, 4096).expect("a TCP socket");
    rustix::net::connect(&socket, &address).expect("a connection");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    stream
}

/// Ends a connection by a reset.
pub(super) fn reset(stream: TcpStream) {
    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
}

/// Raises this process's limit of open files as far as it goes; what it is then.
pub(super) fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Sends each script on a connection of its own, all at the same time, segment after segment, ends our half of each,
/// and reads what comes until the server ends its half.
pub(super) fn play(address: SocketAddr, scripts: &[Vec<&[u8]>]) -> Vec<(Vec<u8>, End)> {
    let mut streams: Vec<TcpStream> = scripts.iter().map(|_| connect(address)).collect();
    let longest = scripts.iter().map(Vec::len).max().unwrap_or(0);
    let pause = if longest > 2 { BETWEEN_BYTES } else { BETWEEN_SEGMENTS };
    for turn in 0..longest {
        if turn > 0 {
            std::thread::sleep(pause);
        }
        for (stream, script) in streams.iter_mut().zip(scripts) {
            if let Some(segment) = script.get(turn) {
                // The server may have answered and closed already, which is for the answer to show.
                let _ = stream.write_all(segment);
            }
            if turn + 1 == script.len() {
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
    }
    streams.iter_mut().map(read_to_end).collect()
}

/// What comes until the server closes the connection.
pub(super) fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, End) {
    let mut received = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (received, End::Closed),
            Ok(count) => received.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return (received, End::Hung);
            }
            Err(_) => return (received, End::Reset),
        }
    }
}
