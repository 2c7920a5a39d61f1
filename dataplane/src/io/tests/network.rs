//! Accept, receive, send, and what peers do to them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::*;
use super::{joined, on_both, pattern};

fn listen() -> (Listener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (Listener::new(listener).unwrap(), address)
}

async fn connected() -> (Conn, TcpStream) {
    let (listener, address) = listen();
    let client = TcpStream::connect(address).unwrap();
    (listener.accept().await.unwrap(), client)
}

/// Descriptors of this process that are sockets connected to `peer`'s port or open at all; counted to find leaks.
fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn echo_over_tcp_with_many_connections() {
    on_both(|_| async {
        let (listener, address) = listen();
        let clients: Vec<_> = (0..40usize)
            .map(|index| {
                std::thread::spawn(move || {
                    let mut client = TcpStream::connect(address).unwrap();
                    let sent = pattern(100_000 + index);
                    let mut writer = client.try_clone().unwrap();
                    let copy = sent.clone();
                    let writing = std::thread::spawn(move || {
                        writer.write_all(&copy).unwrap();
                        writer.shutdown(std::net::Shutdown::Write).unwrap();
                    });
                    let mut received = Vec::new();
                    client.read_to_end(&mut received).unwrap();
                    writing.join().unwrap();
                    assert!(received == sent, "connection {index} got other bytes back");
                })
            })
            .collect();
        for _ in 0..clients.len() {
            let conn = listener.accept().await.unwrap();
            assert!(conn.peer_addr().is_some());
            drop(spawn(async move {
                loop {
                    let (result, bytes) = conn.recv(Vec::with_capacity(32 * 1024)).await;
                    if result.unwrap() == 0 {
                        return;
                    }
                    conn.send_all(&bytes).await.unwrap();
                }
            }));
        }
        while !clients.iter().all(std::thread::JoinHandle::is_finished) {
            sleep(Duration::from_millis(2)).await;
        }
        for client in clients {
            joined(client).await;
        }
    });
}

#[test]
fn a_unix_connection_is_the_same_type_and_tells_its_peer() {
    on_both(|_| async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.sock");
        let listener = Listener::new(std::os::unix::net::UnixListener::bind(&path).unwrap()).unwrap();
        let client = Conn::connect_unix(&path).await.unwrap();
        let server = listener.accept().await.unwrap();
        assert_eq!(server.peer_uid().unwrap(), rustix::process::getuid().as_raw());
        assert_eq!(server.peer_addr(), None);
        client.send_parts(&[b"a", b"", b"bc"]).await.unwrap();
        let (result, bytes) = server.recv(Vec::with_capacity(8)).await;
        assert_eq!((result.unwrap(), &bytes[..]), (3, &b"abc"[..]));
        assert!(!server.is_closed_by_peer());
        client.shutdown_write().unwrap();
        assert!(server.is_closed_by_peer());
        assert_eq!(server.recv(Vec::with_capacity(8)).await.0.unwrap(), 0);
        let missing = Conn::connect_unix(directory.path().join("none")).await.unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn receive_appends_and_needs_room() {
    on_both(|_| async {
        let (conn, mut client) = connected().await;
        client.write_all(b"world").unwrap();
        let mut head = Vec::with_capacity(64);
        head.extend_from_slice(b"hello ");
        let (result, head) = conn.recv(head).await;
        assert_eq!((result.unwrap(), &head[..]), (5, &b"hello world"[..]));
        let (result, _) = conn.recv(Vec::new()).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        let pool = BufferPool::new(1).unwrap();
        let mut buffer = pool.get().await;
        buffer.fill(b"x");
        client.write_all(b"yz").unwrap();
        let (result, buffer) = conn.recv_timeout(buffer, Duration::from_secs(5)).await;
        assert_eq!((result.unwrap(), &buffer[..]), (2, &b"xyz"[..]));
    });
}

#[test]
fn a_receive_that_times_out_keeps_buffer_and_connection() {
    on_both(|_| async {
        let (conn, mut client) = connected().await;
        let mut buffer = Vec::with_capacity(64);
        buffer.extend_from_slice(b"kept ");
        for _ in 0..20 {
            let result;
            (result, buffer) = conn.recv_timeout(buffer, Duration::from_millis(2)).await;
            assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
            assert_eq!(buffer, b"kept ");
        }
        client.write_all(b"bytes").unwrap();
        let (result, buffer) = conn.recv_timeout(buffer, Duration::from_secs(5)).await;
        assert_eq!((result.unwrap(), &buffer[..]), (5, &b"kept bytes"[..]));
    });
}

/// Bytes that arrive while the receive is being cancelled must not vanish.
#[test]
fn a_timeout_races_with_arriving_bytes_and_none_is_lost() {
    const ROUNDS: u32 = 300;
    on_both(|_| async {
        let (conn, mut client) = connected().await;
        let writer = std::thread::spawn(move || {
            for round in 0..ROUNDS {
                client.write_all(&round.to_be_bytes()).unwrap();
                std::thread::sleep(Duration::from_micros(u64::from(900 + round % 7 * 50)));
            }
        });
        let mut received = Vec::with_capacity(ROUNDS as usize * 4);
        while received.len() < ROUNDS as usize * 4 {
            let result;
            (result, received) = conn.recv_timeout(received, Duration::from_millis(1)).await;
            match result {
                Ok(count) => assert_ne!(count, 0),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::TimedOut),
            }
        }
        joined(writer).await;
        let expected: Vec<u8> = (0..ROUNDS).flat_map(u32::to_be_bytes).collect();
        assert!(received == expected);
    });
}

/// An accept operation of the runtime that is dropped in flight takes a connection with it; ours must leave it for the next call.
#[test]
fn no_cancelled_accept_leaks_a_connection() {
    on_both(|driver| async move {
        let (listener, address) = listen();
        for round in 0..200 {
            let cancelled = timeout(Duration::from_millis(1), listener.accept()).await;
            assert!(cancelled.is_err(), "{driver}: nobody has connected");
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let conn = timeout(Duration::from_secs(5), listener.accept())
                .await
                .unwrap_or_else(|_| panic!("{driver}: the connection of round {round} is lost"))
                .unwrap();
            conn.send_all(b"!").await.unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
    });
}

#[test]
fn a_flood_of_connections_leaves_turns_to_other_tasks() {
    on_both(|_| async {
        let (listener, address) = listen();
        let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        let turns = Rc::new(std::cell::Cell::new(0));
        let seen = Rc::clone(&turns);
        drop(spawn(async move {
            loop {
                seen.set(seen.get() + 1);
                yield_now().await;
            }
        }));
        let mut held = Vec::new();
        for _ in 0..clients.len() {
            held.push(listener.accept().await.unwrap());
        }
        assert!(turns.get() >= 3, "another task had {} turns during 100 accepts", turns.get());
    });
}

#[test]
fn a_reset_ends_receive_and_send_with_an_error_of_this_connection() {
    on_both(|_| async {
        let (conn, client) = connected().await;
        let conn = Rc::new(conn);
        let receiving = spawn({
            let conn = Rc::clone(&conn);
            async move { conn.recv(Vec::with_capacity(16)).await.0 }
        });
        yield_now().await;
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        let error = receiving.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let error = conn.send_all(&[0; 1024]).await.unwrap_err();
        assert!(
            matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset),
            "{error}"
        );
    });
}

#[test]
fn abort_wakes_whoever_waits_on_the_connection() {
    on_both(|_| async {
        let (conn, _client) = connected().await;
        let conn = Rc::new(conn);
        let receiving = spawn({
            let conn = Rc::clone(&conn);
            async move { conn.recv(Vec::with_capacity(16)).await.0 }
        });
        let sending = spawn({
            let conn = Rc::clone(&conn);
            async move { conn.send_all(&vec![0; 64 * 1024 * 1024]).await }
        });
        sleep(Duration::from_millis(20)).await;
        conn.abort();
        assert_eq!(receiving.await.unwrap().unwrap(), 0);
        assert_eq!(sending.await.unwrap().unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    });
}

/// Receives dropped in flight together with their connection: buffers and descriptors come back, nothing else is hit.
#[test]
fn receives_dropped_in_flight_give_back_buffers_and_descriptors() {
    on_both(|driver| async move {
        let pool = BufferPool::new(4).unwrap();
        let (listener, address) = listen();
        let before = open_descriptors();
        for _ in 0..300 {
            let client = TcpStream::connect(address).unwrap();
            let conn = listener.accept().await.unwrap();
            let buffer = timeout(Duration::from_secs(5), pool.get()).await.expect("a buffer was lost");
            assert!(timeout(Duration::from_micros(500), conn.recv(buffer)).await.is_err());
            drop((client, conn));
        }
        sleep(Duration::from_millis(50)).await;
        let all: Vec<_> = (0..4).map_while(|_| pool.try_get()).collect();
        assert_eq!(all.len(), 4, "{driver}: buffers were lost");
        // Other tests of this process run beside this one; a leak of this loop would be 300.
        assert!(open_descriptors() < before + 200, "{driver}: {} descriptors, {before} before", open_descriptors());
    });
}

/// More operations than the ring has entries, in a multiple of them: compio 0.19.2 hangs here.
#[test]
fn more_receives_in_flight_than_the_ring_has_entries() {
    const CONNECTIONS: usize = 512;
    on_both(|_| async {
        let mut tasks = Vec::new();
        let mut peers = Vec::new();
        for index in 0..CONNECTIONS {
            let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
            let near = Conn::from_fd(near).unwrap();
            tasks.push(spawn(async move {
                let (result, bytes) = near.recv(Vec::with_capacity(16)).await;
                result.unwrap();
                assert_eq!(bytes, index.to_be_bytes());
                near.send_all(&bytes).await.unwrap();
            }));
            peers.push(far);
        }
        sleep(Duration::from_millis(20)).await;
        let clients = std::thread::spawn(move || {
            for (index, peer) in peers.iter_mut().enumerate() {
                peer.write_all(&index.to_be_bytes()).unwrap();
            }
            for (index, peer) in peers.iter_mut().enumerate() {
                let mut reply = [0; 8];
                peer.read_exact(&mut reply).unwrap();
                assert_eq!(reply, index.to_be_bytes());
            }
        });
        for task in tasks {
            assert_eq!(task.await, Some(()));
        }
        joined(clients).await;
    });
}

#[test]
fn a_connection_is_handed_from_one_core_to_another() {
    on_both(|driver| async move {
        let (sender, seed) = mailbox::<Detached>(8).unwrap();
        let other = std::thread::spawn(move || {
            super::on_core(driver, move || async move {
                let conn = seed.attach().unwrap().recv().await.attach().unwrap();
                conn.send_all(b"from the other core").await.unwrap();
            });
        });
        let (conn, mut client) = connected().await;
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.write_all(b"GET").unwrap();
        assert_eq!(conn.recv(Vec::with_capacity(8)).await.0.unwrap(), 3);
        sender.post(conn.detach().unwrap()).unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            client.read_to_string(&mut text).map(|_| text)
        });
        assert_eq!(joined(reader).await.unwrap(), "from the other core");
        joined(other).await;
    });
}

/// Only what the peer was waited for is held against it.
#[test]
fn a_peer_must_keep_a_pace_while_it_is_waited_for() {
    on_both(|driver| async move {
        const STALL: Duration = Duration::from_millis(200);
        let patience = SendPatience { stall: STALL, bytes_min: 1 << 20 };
        // We take our time: a client that reads at once is not cut for it.
        let (conn, mut client) = connected().await;
        conn.set_send_patience(patience);
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            received.len()
        });
        for _ in 0..4 {
            sleep(STALL).await;
            conn.send_all(b"some").await.unwrap();
        }
        drop(conn);
        assert_eq!(joined(reader).await, 16, "{driver}");
        // One that trickles is, although it never stops for long.
        let (conn, mut client) = connected().await;
        conn.set_send_buffer(16 * 1024).unwrap();
        conn.set_send_patience(patience);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 8 * 1024];
            while client.read(&mut piece).is_ok_and(|count| count > 0) {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let started = Instant::now();
        let error = conn.send_all(&vec![0; 64 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{driver}: {error}");
        assert!(started.elapsed() < 50 * STALL, "{driver}: {:?}", started.elapsed());
        drop(conn);
        joined(reader).await;
    });
}

#[test]
fn a_peer_on_this_machine_is_near() {
    on_both(|_| async {
        let (conn, _client) = connected().await;
        assert!(conn.is_near());
        let time = super::super::raw::round_trip(std::os::fd::AsFd::as_fd(&conn)).expect("a round trip");
        assert!(time < Duration::from_secs(1), "{time:?}");
    });
}

#[test]
fn the_send_buffer_can_be_fixed_and_small_segments_held_back() {
    on_both(|_| async {
        let (conn, mut client) = connected().await;
        let small = conn.set_send_buffer(64 * 1024).unwrap();
        assert!((64 * 1024..=128 * 1024).contains(&small), "{small}");
        socket2::SockRef::from(&conn).set_tcp_nodelay(true).unwrap();
        conn.send_with_more_to_come(b"head").await.unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let started = Instant::now();
        let early = client.read(&mut [0; 16]);
        // The kernel itself lets a segment go that waited for 200 ms.
        assert!(early.is_err() || started.elapsed() > Duration::from_millis(190), "nothing was held back");
        conn.send_all(b"body").await.unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let left = 8 - early.unwrap_or(0);
        client.read_exact(&mut vec![0; left]).unwrap();
    });
}

#[test]
fn a_foreign_descriptor_is_waited_for() {
    use rustix::event::{EventfdFlags, eventfd};
    on_both(|_| async {
        let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let ringer = event.try_clone().unwrap();
        let watched = PollFd::new(event).unwrap();
        for _ in 0..3 {
            assert!(timeout(Duration::from_millis(5), watched.readable()).await.is_err());
            let ringer = ringer.try_clone().unwrap();
            let thread = std::thread::spawn(move || rustix::io::write(&ringer, &1u64.to_ne_bytes()).unwrap());
            watched.readable().await.unwrap();
            assert_eq!(rustix::io::read(&watched, &mut [0; 8]).unwrap(), 8);
            joined(thread).await;
        }
    });
}

/// It gives buffers back while the kernel still reads them. Features are chosen in one line of the workspace.
#[test]
fn the_unsound_feature_of_the_runtime_is_not_enabled() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let line = manifest.lines().find(|line| line.starts_with("monoio =")).unwrap();
    assert!(line.contains("default-features = false"), "{line}");
    assert!(!line.contains("zero-copy") && !line.contains("\"sync\""), "{line}");
}
