use super::super::url::Url;
use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

/// Serves each of `answers` on a connection of its own once a request has come, and closes.
fn wire(answers: &[&[u8]]) -> Wire {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_vec()).collect();
    thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = [0; 2048];
            if stream.read(&mut request).is_ok() {
                // The client may have gone on purpose.
                let _ = stream.write_all(&answer);
            }
        }
    });
    let url = Url::parse(&format!("http://{address}")).expect("an endpoint");
    let target = Target::new(url, None, Duration::from_millis(500)).expect("an address");
    Wire::new(Arc::new(target), Arc::default(), Arc::default())
}

#[test]
fn reads_every_kind_of_body() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n3;x=y\r\nody\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    ] {
        let mut wire = wire(&[answer]);
        let head = wire.request("GET", "/", &[], None).expect("an answer");
        assert_eq!(wire.body(&head), Ok(b"body".to_vec()));
    }
}

#[test]
fn a_connection_closed_between_requests_is_made_anew() {
    let answer = b"HTTP/1.1 200 OK\r\nX-Subject-Token:  t \r\nContent-Length: 2\r\n\r\nok";
    let mut wire = wire(&[answer, answer]);
    for _ in 0..2 {
        let head = wire.request("GET", "/", &[], None).expect("an answer");
        assert_eq!(wire.header("x-subject-token").as_deref(), Some("t"));
        assert_eq!(wire.body(&head), Ok(b"ok".to_vec()));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn faults_have_their_names() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbody";
    let more = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nbody";
    for (answer, label) in [
        (&b""[..], "closed"),
        (b"nonsense\r\n\r\n", "protocol"),
        (cut, "closed"),
        (more, "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabXX", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "closed"),
    ] {
        for discard in [true, false] {
            let mut wire = wire(&[answer]);
            let outcome = wire
                .request("GET", "/", &[], None)
                .and_then(|head| if discard { wire.discard(&head) } else { wire.data(&head, |_| Ok(())) });
            let found = outcome.map_err(|fault| fault.label());
            assert_eq!(found, Err(label.to_owned()), "{}", String::from_utf8_lossy(answer));
        }
    }
}

#[test]
fn silence_and_a_stop_end_a_request() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = Url::parse(&format!("http://{}", listener.local_addr().expect("an address"))).expect("an endpoint");
    let target = Arc::new(Target::new(url, None, Duration::from_millis(500)).expect("an address"));
    let stop = Arc::new(AtomicBool::new(false));
    let mut wire = Wire::new(target, stop.clone(), Arc::default());
    let begin = Instant::now();
    let fault = wire.request("GET", "/", &[], None).map_err(|fault| fault.label());
    assert_eq!(fault.map(|head| head.status), Err("timeout".into()));
    assert!(begin.elapsed() < Duration::from_secs(5));
    stop.store(true, Ordering::Relaxed);
    assert_eq!(wire.request("GET", "/", &[], None).map(|head| head.status), Err(Fault::Stopped));
}

#[test]
fn discarded_and_inspected_bytes_are_counted() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(&body);
    let mut wire = wire(&[&answer, &answer]);
    let head = wire.request("GET", "/", &[], None).expect("an answer");
    assert_eq!(wire.discard(&head), Ok(3_000_000));
    let head = wire.request("GET", "/", &[], None).expect("an answer");
    let mut seen = Vec::new();
    wire.data(&head, |piece| {
        seen.extend_from_slice(piece);
        Ok(())
    })
    .expect("the body");
    assert!(seen == body);
    assert_eq!(wire.moved.down.load(Ordering::Relaxed), 6_000_000);
}
