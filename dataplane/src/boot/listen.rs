//! The sockets that the data plane listens on.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use common::config::{self, Config};
use common::rpc::DATAPLANE_SOCKET;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::StartError;

/// Everything we listen on, opened before anything else is done so that a taken port is told at once.
pub(super) struct Sockets {
    pub(super) api: Vec<TcpListener>,
    pub(super) api_address: SocketAddr,
    pub(super) admin: TcpListener,
    pub(super) admin_address: SocketAddr,
    pub(super) rpc: UnixListener,
}

impl Sockets {
    pub(super) fn open(config: &Config, cpus: &[usize]) -> Result<Self, StartError> {
        let options = &config.dataplane;
        let api = listeners("--listen", config.listen.api, cpus, options)?;
        let mut admin = listeners("--admin-listen", config.listen.admin, &cpus[..1.min(cpus.len())], options)?;
        let address = |listener: &TcpListener| listener.local_addr().map_err(StartError::new);
        let (api_address, admin_address) = (address(&api[0])?, address(&admin[0])?);
        let rpc = unix_listener(&config.paths.data_dir.join(DATAPLANE_SOCKET))?;
        Ok(Sockets { api, api_address, admin: admin.remove(0), admin_address, rpc })
    }
}

/// How long an address may stay taken before that is an error: a process that was killed lets go of its sockets a few
/// milliseconds after it is gone.
const ADDRESS_PATIENCE: Duration = Duration::from_millis(500);

/// The pause between two tries.
const ADDRESS_PAUSE: Duration = Duration::from_millis(5);

/// A listener for each of `cpus` on one address. The kernel gives a connection to the one whose processor its packets come in
/// on, because there they are cheapest to serve: by two thirds, where client and server share a machine.
fn listeners(
    option: &str,
    address: SocketAddr,
    cpus: &[usize],
    options: &config::Dataplane,
) -> Result<Vec<TcpListener>, StartError> {
    let taken = |error: io::Error| {
        StartError::new(format!(
            "cannot listen on {address}: {error}; free the address or choose another with {option}"
        ))
    };
    // Two sockets with SO_REUSEPORT share an address, also those of two servers of one user. One without it does not.
    let probe = bind_patiently(address, options).map_err(taken)?;
    let address = probe.local_addr().ok().and_then(|address| address.as_socket()).unwrap_or(address);
    drop(probe);
    let backlog = i32::try_from(options.listen_backlog).unwrap_or(i32::MAX);
    cpus.iter()
        .map(|cpu| {
            let socket = bind(address, true, options).map_err(taken)?;
            // Where the kernel does not know the option it spreads connections by chance.
            let _ = socket.set_cpu_affinity(*cpu);
            socket.listen(backlog).map_err(taken)?;
            Ok(socket.into())
        })
        .collect()
}

fn bind_patiently(address: SocketAddr, options: &config::Dataplane) -> io::Result<Socket> {
    let begun = Instant::now();
    loop {
        match bind(address, false, options) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < ADDRESS_PATIENCE => {
                std::thread::sleep(ADDRESS_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

fn bind(address: SocketAddr, shared: bool, options: &config::Dataplane) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Connections inherit these from their listener.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(options.tcp_keepidle))?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A listener on a unix socket that only its owner reaches. A socket file that nobody listens on any more is replaced.
fn unix_listener(path: &Path) -> Result<UnixListener, StartError> {
    let failed = |error: io::Error| StartError::new(format!("cannot listen on {}: {error}", path.display()));
    if UnixStream::connect(path).is_ok() {
        let message = format!("another data plane listens on {}; stop it or choose another --data-dir", path.display());
        return Err(StartError::new(message));
    }
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}
