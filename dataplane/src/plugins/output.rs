//! The file that a plug-in writes, bounded and without what are only zeros.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;

use super::{Failure, Files, Stop};

/// Bytes that are read, looked at and written at once.
const PIECE_BYTES: usize = 256 * 1024;

/// The file that is written from its start to its end.
pub(super) struct Output<'a> {
    file: File,
    size: u64,
    size_max: u64,
    stop: &'a Stop,
    piece: Vec<u8>,
}

impl<'a> Output<'a> {
    /// The target of `files`, which is there.
    ///
    /// # Errors
    /// As `open(2)`.
    pub(super) fn open(files: &Files, stop: &'a Stop) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(&files.target)?;
        Ok(Output { file, size: 0, size_max: files.size_max, stop, piece: vec![0; PIECE_BYTES] })
    }

    /// Bytes so far. The file ends with the last of them that is no zero: whoever publishes it gives it its length.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes what `reader` unpacks, to its end. `packing`: how it was packed, for people.
    ///
    /// # Errors
    /// [`Failure::Refused`] when the result is too large, or cannot be unpacked.
    pub(super) fn take(&mut self, reader: &mut dyn Read, packing: &str) -> Result<(), Failure> {
        loop {
            self.stop.check()?;
            let count = fill(reader, &mut self.piece).map_err(|error| unreadable(error, packing))?;
            let offset = self.size;
            self.size = offset.saturating_add(count as u64);
            if self.size > self.size_max {
                return Err(Failure::Refused(format!(
                    "The staged data unpacks to more than {} bytes, the largest size that the image may have.",
                    self.size_max
                )));
            }
            let piece = &self.piece[..count];
            // A hole says the same, and takes no room.
            if piece.iter().any(|byte| *byte != 0) {
                self.file.write_all_at(piece, offset)?;
            }
            if count < self.piece.len() {
                return Ok(());
            }
        }
    }
}

/// Reads until `buffer` is full or the data ends; how much there was.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What the system says is its own; everything else is said by a decoder about the data.
pub(super) fn unreadable(error: io::Error, packing: &str) -> Failure {
    if error.raw_os_error().is_some() {
        return Failure::Broken(error);
    }
    Failure::Refused(format!("The staged data cannot be unpacked as {packing}: {error}."))
}
