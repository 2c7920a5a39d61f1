//! The sending half: plaintext is put, or read, where it is encrypted, and leaves in batches.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::batch::{BATCH_PLAIN_BYTES, Batch, RECORDS};
use super::kernel;
use super::record::{Content, OVERHEAD_BYTES_MAX, PLAIN_BYTES_MAX, Sealer, TlsVersion};
use super::{Phase, Session, Way};
use crate::io::conn::Conn;
use crate::io::raw;

/// `KeyUpdate` that asks for none in return (RFC 8446 §4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

impl Session {
    /// Encrypts and sends all `parts` in order.
    pub(in crate::io) async fn send(&self, conn: &Conn, parts: &[&[u8]], flags: SendFlags) -> io::Result<()> {
        self.begin()?;
        let mut left: usize = parts.iter().map(|part| part.len()).sum();
        let mut rest = Parts { parts, taken: 0 };
        while left > 0 {
            // A peer that takes nothing holds no batch, and nobody does who waits for a turn.
            conn.until_writable().await?;
            conn.turn().await;
            let mut batch = Batch::take();
            left -= self.seal(&mut batch, left.min(BATCH_PLAIN_BYTES), |slots| Ok(rest.copy_into(slots)))?;
            let flags = if left > 0 { flags | SendFlags::MORE } else { flags };
            self.transmit(conn, &batch, flags).await?;
        }
        self.done();
        Ok(())
    }

    /// Encrypts and sends what `read` puts into the memory that it is given: at most `count` bytes and at most a batch. Returns
    /// how much that was. `more`: more follows at once.
    pub(in crate::io) async fn send_read(
        &self,
        conn: &Conn,
        count: usize,
        more: bool,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.begin()?;
        let mut batch = Batch::take();
        let sealed = self.seal(&mut batch, count.min(BATCH_PLAIN_BYTES), read)?;
        let flags = if more && sealed > 0 { SendFlags::MORE } else { SendFlags::empty() };
        self.transmit(conn, &batch, flags).await?;
        self.done();
        Ok(sealed)
    }

    fn begin(&self) -> io::Result<()> {
        if self.phase.get() != Phase::Open {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the TLS stream has ended"));
        }
        self.phase.set(Phase::Sending);
        Ok(())
    }

    fn done(&self) {
        // The receiving task may have ended the stream meanwhile.
        if self.phase.get() == Phase::Sending {
            self.phase.set(Phase::Open);
        }
    }

    /// Appends records with what `fill` puts into the places of their plaintext, `plain` bytes at most; returns how many it were.
    fn seal(
        &self,
        batch: &mut Batch,
        plain: usize,
        fill: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.phase.get() == Phase::Ended {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the TLS stream has ended"));
        }
        let way = &mut *self.way.borrow_mut();
        let Way::Here(sealer) = way else { return Err(io::Error::other("the kernel encrypts this connection")) };
        if self.update_due.take() || sealer.is_worn() {
            self.renew(sealer, batch)?;
        }
        let (prefix, stride) = (sealer.prefix(), PLAIN_BYTES_MAX + sealer.overhead());
        let mut records = batch.room().chunks_mut(stride);
        let mut left = plain;
        let mut slots: [IoSliceMut<'_>; RECORDS] = std::array::from_fn(|_| {
            let slot = match records.next() {
                Some(record) => record.get_mut(prefix..prefix + left.min(PLAIN_BYTES_MAX)).unwrap_or_default(),
                None => &mut [],
            };
            left -= slot.len();
            IoSliceMut::new(slot)
        });
        let used = slots.iter().take_while(|slot| !slot.is_empty()).count();
        let filled = fill(&mut slots[..used])?;
        let mut left = filled;
        while left > 0 {
            let plain = left.min(PLAIN_BYTES_MAX);
            seal_next(sealer, batch, Content::Data, plain)?;
            left -= plain;
        }
        Ok(filled)
    }

    /// Tells the peer, in the last record under our old key, that a new one follows.
    fn renew(&self, sealer: &mut Sealer, batch: &mut Batch) -> io::Result<()> {
        let Some(keys) = &self.keys else { return Ok(()) };
        put(sealer, batch, Content::Handshake, &KEY_UPDATE)?;
        let (sequence, secrets) = keys.borrow_mut().next_to_send().map_err(io::Error::other)?;
        *sealer = Sealer::new(TlsVersion::V1_3, sequence, &secrets)?;
        Ok(())
    }

    /// Sends the whole batch.
    async fn transmit(&self, conn: &Conn, batch: &Batch, flags: SendFlags) -> io::Result<()> {
        let mut rest = batch.filled();
        while !rest.is_empty() {
            match rustix::net::send(conn, rest, flags | SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    conn.sent(count);
                }
                Err(Errno::AGAIN) => conn.wait_writable().await?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Whether we encrypt. If the kernel does, its key is changed first where the peer has asked for that.
    pub(in crate::io) async fn seals_here(&self, conn: &Conn) -> io::Result<bool> {
        if !self.facts.by_kernel {
            return Ok(true);
        }
        if self.phase.get() != Phase::Open {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the TLS stream has ended"));
        }
        if let Some(keys) = self.keys.as_ref().filter(|_| self.update_due.take()) {
            while !raw::send_tls_record(conn.as_fd(), Content::Handshake as u8, &KEY_UPDATE)? {
                conn.wait_writable().await?;
            }
            let next = keys.borrow_mut().next_to_send().map_err(io::Error::other)?;
            kernel::renew(conn.as_fd(), TlsVersion::V1_3, &next)?;
        }
        Ok(false)
    }
}

/// Seals `plain` bytes that stand where the next record's plaintext belongs.
fn seal_next(sealer: &mut Sealer, batch: &mut Batch, content: Content, plain: usize) -> io::Result<()> {
    let length = plain + sealer.overhead();
    let record = batch.room().get_mut(..length).ok_or_else(|| io::Error::other("no room for a record"))?;
    sealer.seal(content, record)?;
    batch.advance(length);
    Ok(())
}

/// Appends a record with `bytes`.
fn put(sealer: &mut Sealer, batch: &mut Batch, content: Content, bytes: &[u8]) -> io::Result<()> {
    let prefix = sealer.prefix();
    let place = batch.room().get_mut(prefix..prefix + bytes.len());
    place.ok_or_else(|| io::Error::other("no room for a record"))?.copy_from_slice(bytes);
    seal_next(sealer, batch, content, bytes.len())
}

/// Sends an alert if the socket takes it at once.
pub(super) fn alert(fd: BorrowedFd<'_>, sealer: &mut Sealer, alert: [u8; 2]) -> io::Result<()> {
    let mut record = [0; OVERHEAD_BYTES_MAX + 2];
    let record = &mut record[..sealer.overhead() + alert.len()];
    let prefix = sealer.prefix();
    record[prefix..prefix + alert.len()].copy_from_slice(&alert);
    sealer.seal(Content::Alert, record)?;
    rustix::net::send(fd, record, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// What is left of some parts.
struct Parts<'a> {
    parts: &'a [&'a [u8]],
    /// Bytes of the first part that were taken.
    taken: usize,
}

impl Parts<'_> {
    /// Fills `slots` with what comes next; returns how much that was.
    fn copy_into(&mut self, slots: &mut [IoSliceMut<'_>]) -> usize {
        let mut copied = 0;
        for slot in slots {
            let mut room: &mut [u8] = slot;
            while let (false, Some((part, others))) = (room.is_empty(), self.parts.split_first()) {
                let rest = &part[self.taken..];
                let count = rest.len().min(room.len());
                room[..count].copy_from_slice(&rest[..count]);
                room = &mut room[count..];
                copied += count;
                self.taken += count;
                if self.taken == part.len() {
                    (self.parts, self.taken) = (others, 0);
                }
            }
        }
        copied
    }
}
