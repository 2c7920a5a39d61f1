//! QED: QEMU's `docs/interop/qed_spec.rst`. Recognised in order to be refused: nothing that serves images supports it.

use super::verdict::{Finding, Format};

const MAGIC: &[u8] = b"QED\0";

/// Bytes that must be there for a stream to be taken for QED.
const HEADER_BYTES: usize = 512;

pub(super) fn detect(head: &[u8]) -> Option<Finding> {
    let header = head.get(..HEADER_BYTES)?;
    header.starts_with(MAGIC).then(|| Finding::new(Format::Qed).check("banned", false))
}
