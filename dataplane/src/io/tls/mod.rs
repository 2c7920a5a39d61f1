//! TLS inside a [`Conn`](super::Conn): what a connection says and hears is the same with and without.
//!
//! rustls does the handshake and derives every key. Once it is done the records are ours ([`record`]), so that a file is read
//! into the very place where it is encrypted and 256 KiB leave with one call; or the kernel's ([`kernel`]), where it can, so that
//! `sendfile` goes on working. The reasons are in `docs/decisions/0008-tls.md`.
//!
//! Nothing of a session is borrowed across a wait, so one task may receive while another sends.

mod accept;
mod batch;
mod connect;
mod handshake;
mod kernel;
mod receive;
mod record;
mod send;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion};

use self::receive::Receiving;
use self::record::{Fault, Opener, Sealer};
use super::raw;

pub use self::accept::TlsSettings;
pub use self::handshake::HandshakeError;
pub use self::kernel::has_kernel_tls;
pub use self::record::TlsVersion;

/// Level of an alert that only informs (RFC 5246 §7.2).
const WARNING: u8 = 1;
/// Level of an alert that ends the connection.
const FATAL: u8 = 2;
/// The alert that ends a direction in order.
const CLOSE_NOTIFY: u8 = 0;

/// What was agreed with the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsFacts {
    /// The version.
    pub version: TlsVersion,
    /// Whether an earlier session was taken up again.
    pub resumed: bool,
    /// Whether the kernel encrypts what is sent.
    pub by_kernel: bool,
}

/// Who encrypts.
enum Way {
    /// We do.
    Here(Box<Sealer>),
    /// The kernel does: what is written to the socket is plaintext.
    Kernel,
}

/// How far our direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between two sends.
    Open,
    /// In the midst of one. If it stays so, because the send was dropped or failed, nothing can follow: half a record cannot be
    /// taken back, and an end in order would make half a body look whole.
    Sending,
    /// Ended.
    Ended,
}

/// Derives the next keys of TLS 1.3, for the side that we are.
enum Keys {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// A key, and the number of the first record that it is for.
type NextKey = (u64, ConnectionTrafficSecrets);

impl Keys {
    fn version(&self) -> TlsVersion {
        let version = match self {
            Keys::Server(keys) => keys.protocol_version(),
            Keys::Client(keys) => keys.protocol_version(),
        };
        if version == ProtocolVersion::TLSv1_3 { TlsVersion::V1_3 } else { TlsVersion::V1_2 }
    }

    /// The next one for what we send.
    fn next_to_send(&mut self) -> Result<NextKey, rustls::Error> {
        match self {
            Keys::Server(keys) => keys.update_tx_secret(),
            Keys::Client(keys) => keys.update_tx_secret(),
        }
    }

    /// The next one for what we receive.
    fn next_to_receive(&mut self) -> Result<NextKey, rustls::Error> {
        match self {
            Keys::Server(keys) => keys.update_rx_secret(),
            Keys::Client(keys) => keys.update_rx_secret(),
        }
    }
}

/// A connection's keys and where they stand.
pub(super) struct Session {
    facts: TlsFacts,
    /// None with TLS 1.2, which has no next keys.
    keys: Option<RefCell<Keys>>,
    way: RefCell<Way>,
    phase: Cell<Phase>,
    /// The peer wants us to change our key before we send more.
    update_due: Cell<bool>,
    receiving: RefCell<Receiving>,
}

impl Session {
    /// Takes over from a finished handshake; `rest` was received behind it. `kernel`: encryption may be the kernel's.
    fn new(
        fd: BorrowedFd<'_>,
        secrets: ExtractedSecrets,
        keys: Keys,
        resumed: bool,
        rest: Vec<u8>,
        kernel: bool,
    ) -> Result<Self, rustls::Error> {
        let broken = |error: io::Error| rustls::Error::General(error.to_string());
        let version = keys.version();
        let by_kernel = kernel && kernel::take_over(fd, version, &secrets.tx).is_ok();
        let way = match by_kernel {
            true => Way::Kernel,
            false => Way::Here(Box::new(Sealer::new(version, secrets.tx.0, &secrets.tx.1).map_err(broken)?)),
        };
        let opener = Opener::new(version, secrets.rx.0, &secrets.rx.1).map_err(broken)?;
        Ok(Session {
            facts: TlsFacts { version, resumed, by_kernel },
            keys: (version == TlsVersion::V1_3).then(|| RefCell::new(keys)),
            way: RefCell::new(way),
            phase: Cell::new(Phase::Open),
            update_due: Cell::new(false),
            receiving: RefCell::new(Receiving::new(opener, rest)),
        })
    }

    pub(super) fn facts(&self) -> TlsFacts {
        self.facts
    }

    /// Tells the peer that nothing more comes from us. Without it a peer takes the end of the stream for an attack.
    pub(super) fn close(&self, fd: BorrowedFd<'_>) {
        self.end(fd, WARNING, CLOSE_NOTIFY);
    }

    /// From now on nothing can be sent, not even an end.
    pub(super) fn abort(&self) {
        self.phase.set(Phase::Ended);
    }

    /// Tells the peer what it did wrong.
    fn refuse(&self, fd: BorrowedFd<'_>, fault: Fault) {
        let level = if fault.alert == Fault::NO_RENEGOTIATION { WARNING } else { FATAL };
        self.end(fd, level, fault.alert);
    }

    /// Sends an alert as the last of our records, if we are not in the midst of a send, and the socket takes it.
    fn end(&self, fd: BorrowedFd<'_>, level: u8, alert: u8) {
        if self.phase.replace(Phase::Ended) != Phase::Open {
            return;
        }
        // Whether it arrives or not, the connection is over.
        let _ = match &mut *self.way.borrow_mut() {
            Way::Here(sealer) => send::alert(fd, sealer, [level, alert]),
            Way::Kernel => raw::send_tls_record(fd, record::Content::Alert as u8, &[level, alert]).map(drop),
        };
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("facts", &self.facts).field("phase", &self.phase.get()).finish_non_exhaustive()
    }
}
