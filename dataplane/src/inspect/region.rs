//! Parts of a stream that are kept.

/// The next offset of interest of somebody who wants no more.
pub(super) const NOTHING: u64 = u64::MAX;

/// A range of the stream, copied as it passes.
pub(super) struct Region {
    start: u64,
    length: usize,
    bytes: Vec<u8>,
}

impl Region {
    /// The `length` bytes at offset `start`. Memory is taken as bytes come, not on the word of a header.
    pub(super) fn new(start: u64, length: usize) -> Self {
        Self { start, length, bytes: Vec::new() }
    }

    /// The offset of the next byte that is wanted, or [`NOTHING`].
    pub(super) fn next(&self) -> u64 {
        if self.is_complete() { NOTHING } else { self.start.saturating_add(self.bytes.len() as u64) }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.bytes.len() == self.length
    }

    /// Wants no more than what has been kept so far.
    pub(super) fn close(&mut self) {
        self.length = self.bytes.len();
    }

    /// What has been kept so far: all of it when [`Region::is_complete`].
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Keeps what is wanted of `bytes`, which stand at offset `position`.
    pub(super) fn capture(&mut self, position: u64, bytes: &[u8]) {
        let Some(skip) = self.next().checked_sub(position) else { return };
        let wanted = usize::try_from(skip).ok().and_then(|skip| bytes.get(skip..));
        let Some(wanted) = wanted else { return };
        let missing = self.length - self.bytes.len();
        self.bytes.extend_from_slice(&wanted[..wanted.len().min(missing)]);
    }
}

/// The last `N` bytes of the stream so far.
pub(super) struct Tail<const N: usize> {
    /// The bytes in order, up to twice as many as wanted, so that small pieces do not move all of it each time.
    bytes: Vec<u8>,
}

impl<const N: usize> Tail<N> {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    pub(super) fn capture(&mut self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(N)..];
        if self.bytes.len() + last.len() > 2 * N {
            let surplus = (self.bytes.len() + last.len()).saturating_sub(N).min(self.bytes.len());
            self.bytes.drain(..surplus);
        }
        self.bytes.extend_from_slice(last);
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// The last `N` bytes, when there have been as many.
    pub(super) fn bytes(&self) -> Option<&[u8; N]> {
        self.bytes.last_chunk()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_the_same_for_any_cut() {
        let stream: Vec<u8> = (0..=255).collect();
        for step in 1..=256 {
            let mut region = Region::new(100, 50);
            let mut position = 0;
            for piece in stream.chunks(step) {
                region.capture(position, piece);
                position += piece.len() as u64;
            }
            assert_eq!(region.bytes(), &stream[100..150], "in pieces of {step}");
            assert_eq!(region.next(), NOTHING);
        }
    }

    #[test]
    fn a_region_that_the_stream_has_passed_stays_empty() {
        let mut region = Region::new(10, 4);
        region.capture(11, b"xyz");
        assert!(region.bytes().is_empty());
        assert!(!region.is_complete());
        region.capture(u64::MAX - 1, b"x");
        assert!(region.bytes().is_empty());
    }

    #[test]
    fn a_tail_is_the_same_for_any_cut() {
        let stream: Vec<u8> = (0..=255).collect();
        for step in 1..=256 {
            let mut tail = Tail::<7>::new();
            for piece in stream.chunks(step) {
                tail.capture(piece);
                assert!(tail.bytes.len() <= 14);
            }
            assert_eq!(tail.bytes().unwrap().as_slice(), &stream[249..], "in pieces of {step}");
        }
        let mut short = Tail::<7>::new();
        short.capture(b"123456");
        assert!(short.bytes().is_none());
    }
}
