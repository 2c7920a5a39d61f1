//! The room of the runtime: everything of the data plane that touches a ring, a socket or a file's bytes.
//!
//! **No other module names the runtime** (monoio), so that it can be replaced here and nowhere else; the reasons for it and the
//! containment of its known faults are in `docs/decisions/0001-runtime.md`. What the rest of the data plane sees:
//!
//! - [`preflight`] and [`run_core`]: one executor per core on io_uring, or on epoll where io_uring is forbidden;
//! - [`spawn`], [`yield_now`], [`sleep`], [`timeout`], and signals between tasks of one core ([`Notify`],
//!   [`Semaphore`], [`oneshot`]);
//! - [`Listener`], [`Conn`], [`PollFd`]: accept, receive into an owned buffer, send; all of it through TLS after
//!   [`Conn::accept_tls`];
//! - [`send_file`]: a file's range to a connection, by the kernel alone or through buffers;
//! - [`File`]: direct writes, reads and syncs on the core's storage ring;
//! - [`Offload`]: blocking calls on a bounded pool of threads; [`mailbox`]: messages from any thread to a core;
//! - [`BufferPool`], [`Buffer`], [`Frozen`]: aligned buffers that the ring and other threads read at the same time.
//!
//! Wakers never leave their core: what comes from another thread comes through a [`Mailbox`].
//! Unsafe code stands in `raw.rs` and `ring.rs` alone.

mod buffer;
mod conn;
mod core;
mod descriptors;
mod driver;
mod file;
mod local;
mod mailbox;
mod offload;
mod raw;
mod reader;
mod ring;
mod send;
mod time;
mod tls;
mod turns;

#[cfg(test)]
mod tests;

pub use buffer::{BUFFER_BYTES, Buffer, BufferLimits, BufferPool, Frozen, PAGE_BYTES};
pub use conn::{Conn, Detached, Listener, PollFd, SendPatience};
pub use core::{CoreConfig, Task, available_cpus, run_core, spawn};
pub use descriptors::{are_descriptors_scarce, is_reserved, reserve_descriptors};
pub use driver::{Diagnosis, Driver, preflight, preflight_pinning};
pub use file::{CreateOptions, File, Reading, Writing};
pub use local::{Notify, OneshotReceiver, OneshotSender, Permit, Semaphore, oneshot};
pub use mailbox::{MailSender, Mailbox, MailboxSeed, mailbox};
pub use offload::{Full, Length, Offload, OffloadConfig};
pub use raw::RecvBuf;
pub use reader::FileReader;
pub use send::{Progress, SendOptions, SendPath, send_file};
pub use time::{Elapsed, sleep, timeout};
pub use tls::{HandshakeError, TlsFacts, TlsSettings, TlsVersion, has_kernel_tls};
pub use turns::yield_now;
