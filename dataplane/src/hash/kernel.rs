//! Where bytes are hashed: one call for one buffer of each of several streams of one algorithm.

use super::{Algorithm, Digest};

/// The most streams that any algorithm hashes in one call.
pub(super) const MAX_LANES: usize = 1;

/// How many streams of `algorithm` a worker should bring to one call of [`hash`].
///
/// One for the scalar implementations: a second stream is better off with another worker.
pub(super) const fn lanes(_algorithm: Algorithm) -> usize {
    MAX_LANES
}

/// Adds to each digest its bytes. All digests of a batch are of one algorithm, and there are at most [`MAX_LANES`].
pub(super) fn hash<'a>(batch: impl Iterator<Item = (&'a mut Digest, &'a [u8])>) {
    for (digest, bytes) in batch {
        digest.update(bytes);
    }
}
