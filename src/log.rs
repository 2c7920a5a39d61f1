//! The log has a thread of its own: whoever logs, a core above all, never waits for whoever reads.
//!
//! Lines are gathered for a moment and written together. A thread that is woken for each line costs whoever logs a call to wake
//! it, and the machine two switches and a write.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes of lines that may wait. Beyond them lines are lost rather than requests held up.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long lines are gathered.
const GATHER: Duration = Duration::from_millis(5);

/// Bytes of lines that are written at once, unless one alone is longer: several processes share a pipe, and so much of one is not
/// cut by what another writes (`PIPE_BUF`).
const PIECE_BYTES: usize = 4096;

/// Room that is kept for the next lines.
const ROOM_BYTES: usize = 64 * 1024;

/// How long the end of the program waits for a reader of the log.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Where lines go. Each is given in one piece.
#[derive(Debug, Clone)]
pub(crate) struct Queue(Arc<Shared>);

/// What waits is written when it is dropped.
#[derive(Debug)]
pub(crate) struct Guard(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    lost: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// No more lines come.
    is_last: bool,
    /// The thread has written the last of them.
    is_done: bool,
}

/// Starts the thread, which writes to `writer`.
///
/// # Errors
/// There can be no more threads.
pub(crate) fn start(writer: impl Write + Send + 'static) -> io::Result<(Queue, Guard)> {
    let shared = Arc::new(Shared::default());
    let ours = Arc::clone(&shared);
    thread::Builder::new().name("log".to_owned()).spawn(move || ours.write_to(writer))?;
    Ok((Queue(Arc::clone(&shared)), Guard(shared)))
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut writer: impl Write) {
        let mut lines = Vec::new();
        loop {
            let waiting = self.waiting();
            let is_idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.is_last;
            let waiting = self.changed.wait_while(waiting, is_idle).unwrap_or_else(PoisonError::into_inner);
            let more_may_come = |waiting: &mut Waiting| !waiting.is_last;
            let waited = self.changed.wait_timeout_while(waiting, GATHER, more_may_come);
            let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut waiting.lines, &mut lines);
            let is_last = waiting.is_last;
            drop(waiting);
            let mut left = &lines[..];
            while !left.is_empty() {
                let (piece, rest) = left.split_at(piece(left));
                left = rest;
                // There is no one to tell that a line of the log cannot be written.
                if writer.write_all(piece).and_then(|()| writer.flush()).is_err() {
                    self.lost.fetch_add(piece.iter().filter(|byte| **byte == b'\n').count(), Relaxed);
                }
            }
            lines.clear();
            lines.shrink_to(ROOM_BYTES);
            if is_last {
                self.waiting().is_done = true;
                self.changed.notify_all();
                return;
            }
        }
    }
}

/// How many bytes of `lines` are written at once: whole lines.
fn piece(lines: &[u8]) -> usize {
    let end = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    let first = || lines.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    end(&lines[..lines.len().min(PIECE_BYTES)]).or_else(first).unwrap_or(lines.len())
}

impl Queue {
    /// Lines that were lost because too many waited, or because they could not be written.
    pub(crate) fn lost(&self) -> usize {
        self.0.lost.load(Relaxed)
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.waiting();
        if waiting.lines.len().saturating_add(line.len()) > WAITING_BYTES_MAX {
            self.0.lost.fetch_add(1, Relaxed);
            return Ok(line.len());
        }
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.is_last = true;
        self.0.changed.notify_all();
        drop(self.0.changed.wait_timeout_while(waiting, LAST_LINES, |waiting| !waiting.is_done));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Waits for a permission before each write, and passes on what was written.
    struct Slow {
        permitted: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.permitted.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Slow, Sender<()>, Receiver<Vec<u8>>) {
        let (permit, permitted) = channel();
        let (written, seen) = channel();
        (Slow { permitted, written }, permit, seen)
    }

    #[test]
    fn lines_come_in_order_and_the_last_ones_before_the_end() {
        let (writer, permit, seen) = slow();
        drop(permit);
        let (mut queue, guard) = start(writer).expect("a thread");
        let mut expected = Vec::new();
        for number in 0..1000 {
            let line = format!("line {number}\n");
            expected.extend_from_slice(line.as_bytes());
            queue.write_all(line.as_bytes()).expect("takes it");
        }
        drop(guard);
        let pieces: Vec<Vec<u8>> = seen.try_iter().collect();
        assert_eq!(pieces.concat(), expected);
        assert!(pieces.len() < 500, "{} writes", pieces.len());
    }

    #[test]
    fn pieces_are_whole_lines() {
        let mut lines = Vec::new();
        for length in [1, 100, 3000, 1000, 9000, 5, 4095, 1] {
            lines.resize(lines.len() + length, b'x');
            lines.push(b'\n');
        }
        let (mut left, mut pieces) = (&lines[..], Vec::new());
        while !left.is_empty() {
            let (piece, rest) = left.split_at(piece(left));
            assert!(piece.ends_with(b"\n"));
            pieces.push(piece.len());
            left = rest;
        }
        assert_eq!(pieces, [2 + 101 + 3001, 1001, 9001, 6, 4096, 2]);
        assert_eq!(piece(b"no end"), 6);
    }

    #[test]
    fn a_reader_that_stops_holds_nobody_up() {
        let (writer, permit, seen) = slow();
        let (mut queue, guard) = start(writer).expect("a thread");
        let line = [b'x'; 1024 * 1024];
        for _ in 0..64 {
            queue.write_all(&line).expect("takes it");
        }
        assert!((30..=48).contains(&queue.lost()), "{} lost", queue.lost());
        drop(permit);
        drop(guard);
        let written: usize = seen.try_iter().map(|piece| piece.len()).sum();
        assert_eq!(written, (64 - queue.lost()) * line.len());
    }
}
