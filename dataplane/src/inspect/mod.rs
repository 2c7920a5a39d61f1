//! What an upload really is: disk image formats recognised from the bytes as they stream by.
//!
//! An [`Inspector`] sees every byte once, keeps only the regions that some format's headers may occupy, and gives
//! a [`Verdict`] that does not depend on how the stream was cut. [`decide`] holds the verdict against what the image
//! claims to be. Nothing here opens a file, and no number found in a header is trusted.
//!
//! One file per format. Those whose headers stand at a fixed place are functions over the captured bytes; VHDX and
//! VMDK follow pointers, and are small state machines that only ever point forward.

mod decide;
mod fields;
mod gpt;
mod iso;
mod luks;
mod qcow2;
mod qed;
mod region;
mod vdi;
mod verdict;
mod vhd;
mod vhdx;
mod vmdk;
mod vmdk_descriptor;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use decide::{Refusal, check_safety, decide};
pub use verdict::{Format, Verdict};

use region::{NOTHING, Region};
use vhdx::Vhdx;
use vmdk::Vmdk;

/// Bytes from the start of the stream in which most formats have all that is asked of them: the longest is the
/// header of LUKS.
const HEAD_BYTES: usize = luks::HEADER_BYTES;

/// Recognises the format of one stream of bytes.
///
/// Memory is bounded by the regions that the formats may ask for: about 3 KiB for a stream that is none of them,
/// at most 1.1 MiB.
pub struct Inspector {
    /// Bytes seen.
    position: u64,
    /// Nothing before this offset is of interest.
    next: u64,
    head: Region,
    volume_descriptor: Region,
    vhdx: Vhdx,
    vmdk: Vmdk,
}

impl Default for Inspector {
    fn default() -> Self {
        Self::new()
    }
}

impl Inspector {
    /// An inspector that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            position: 0,
            next: 0,
            head: Region::new(0, HEAD_BYTES),
            volume_descriptor: Region::new(iso::DESCRIPTOR_OFFSET, iso::DESCRIPTOR_BYTES),
            vhdx: Vhdx::new(),
            vmdk: Vmdk::new(),
        }
    }

    /// Shows the next bytes of the stream. Costs nothing where they are of no interest.
    pub fn feed(&mut self, bytes: &[u8]) {
        let end = self.position.saturating_add(bytes.len() as u64);
        if end > self.next {
            self.capture(bytes);
            self.next = [self.head.next(), self.volume_descriptor.next(), self.vhdx.next(), self.vmdk.next()]
                .into_iter()
                .min()
                .unwrap_or(NOTHING);
        }
        self.position = end;
    }

    /// True when no further byte can change the verdict: [`Inspector::feed`] may be spared from then on.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.next == NOTHING
    }

    fn capture(&mut self, bytes: &[u8]) {
        self.head.capture(self.position, bytes);
        self.volume_descriptor.capture(self.position, bytes);
        self.vhdx.capture(self.position, bytes);
        self.vmdk.capture(self.position, bytes);
    }

    /// The verdict on a stream that ended after `total_bytes` bytes.
    #[must_use]
    pub fn finish(&self, total_bytes: u64) -> Verdict {
        let head = self.head.bytes();
        let findings = [
            qcow2::detect(head),
            vhd::detect(head),
            self.vhdx.detect(),
            self.vmdk.detect(),
            vdi::detect(head),
            qed::detect(head),
            iso::detect(&self.volume_descriptor),
            gpt::detect(head, total_bytes),
            luks::detect(head, total_bytes),
        ];
        Verdict::new(findings.into_iter().flatten().collect(), total_bytes)
    }
}
