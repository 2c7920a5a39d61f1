//! A server of somebody else's, which image data is fetched from: it says what a test makes it say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A connection, whatever is below it.
pub(crate) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// A free port that this machine alone can ask.
const LOOPBACK: &str = "127.0.0.1:0";

/// It runs until the process ends.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    reached: Arc<Mutex<Vec<IpAddr>>>,
}

impl Origin {
    /// One that does `answer` with each request and its connection, which ends then.
    pub(crate) fn start(answer: impl Fn(&str, &mut dyn Wire) + Send + Sync + 'static) -> Origin {
        Origin::serve(LOOPBACK, None, false, answer)
    }

    /// One on port 80 of every address that this machine has.
    pub(crate) fn everywhere(answer: impl Fn(&str, &mut dyn Wire) + Send + Sync + 'static) -> Origin {
        Origin::serve("[::]:80", None, false, answer)
    }

    /// One whose connections end with a reset (RST) instead of an end.
    pub(crate) fn that_resets(answer: impl Fn(&str, &mut dyn Wire) + Send + Sync + 'static) -> Origin {
        Origin::serve(LOOPBACK, None, true, answer)
    }

    /// The same over TLS.
    pub(crate) fn with_tls(
        config: Arc<ServerConfig>,
        answer: impl Fn(&str, &mut dyn Wire) + Send + Sync + 'static,
    ) -> Origin {
        Origin::serve(LOOPBACK, Some(config), false, answer)
    }

    fn serve(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        resets: bool,
        answer: impl Fn(&str, &mut dyn Wire) + Send + Sync + 'static,
    ) -> Origin {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("bound");
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let reached: Arc<Mutex<Vec<IpAddr>>> = Arc::default();
        let (seen, touched, answer) = (Arc::clone(&requests), Arc::clone(&reached), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let at = stream.local_addr().expect("connected").ip().to_canonical();
                touched.lock().expect("no panic inside").push(at);
                if resets {
                    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
                }
                let (seen, answer, tls) = (Arc::clone(&seen), Arc::clone(&answer), tls.clone());
                std::thread::spawn(move || match tls {
                    None => converse(stream, &seen, &*answer),
                    Some(config) => {
                        let tls = ServerConnection::new(config).expect("a configuration");
                        let mut stream = StreamOwned::new(tls, stream);
                        converse(&mut stream, &seen, &*answer);
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                });
            }
        });
        Origin { address, requests, reached }
    }

    /// The URL of `path` here.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of the requests that came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic inside").clone()
    }

    /// The addresses of this machine that were connected to, each as often as it was.
    pub(crate) fn reached(&self) -> Vec<IpAddr> {
        self.reached.lock().expect("no panic inside").clone()
    }
}

fn converse(stream: impl Wire, seen: &Mutex<Vec<String>>, answer: &dyn Fn(&str, &mut dyn Wire)) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let begun = head.len();
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
        if head.len() - begun <= 2 {
            break;
        }
    }
    seen.lock().expect("no panic inside").push(head.clone());
    answer(&head, reader.get_mut());
    let _ = reader.get_mut().flush();
}

/// Sends an answer with `data` and its length.
pub(crate) fn whole(wire: &mut dyn Wire, data: &[u8]) {
    let _ = write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", data.len());
    let _ = wire.write_all(data);
}

/// Sends an answer that redirects to `url`.
pub(crate) fn redirect(wire: &mut dyn Wire, status: u16, url: &str) {
    let _ = write!(wire, "HTTP/1.1 {status} Elsewhere\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n");
}

/// A plain port that accepts connections and counts them.
pub(crate) struct Bait {
    pub(crate) address: SocketAddr,
    listener: TcpListener,
}

impl Bait {
    /// One on `address`, or `None` where this machine does not have it.
    pub(crate) fn on(address: &str) -> Option<Bait> {
        let listener = TcpListener::bind(address).ok()?;
        listener.set_nonblocking(true).expect("a socket");
        Some(Bait { address: listener.local_addr().expect("bound"), listener })
    }

    /// Whether somebody connected.
    pub(crate) fn was_taken(&self) -> bool {
        let taken: Result<(TcpStream, SocketAddr), _> = self.listener.accept();
        taken.is_ok()
    }
}
