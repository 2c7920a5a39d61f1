//! Format inspection of the first buffer of an upload, and of those after it.

use dataplane::inspect::{Format, Inspector};

use crate::runner::{Amount, Runner};

/// A buffer of an upload.
const BUFFER_BYTES: usize = 256 << 10;

/// Measures.
pub(crate) fn cases(runner: &mut Runner) {
    let raw: Vec<u8> = (0..BUFFER_BYTES).map(|i| (i.wrapping_mul(167) ^ (i >> 8)).to_le_bytes()[0] | 1).collect();
    let qcow2 = with(&raw, &[(0, b"QFI\xfb\0\0\0\x03"), (8, &[0; 512])]);
    let descriptor =
        [b"# Disk DescriptorFile\n".as_slice(), &b"# a comment of an unusually talkative tool\n".repeat(5000)].concat();
    let mut first = |name: &str, stream: Vec<u8>, format: Format| {
        runner.case(name, Amount::Bytes(stream.len() as u64), || {
            move || {
                let mut inspector = Inspector::new();
                inspector.feed(&stream);
                let verdict = inspector.finish(stream.len() as u64);
                assert_eq!(verdict.format, Some(format));
                verdict
            }
        });
    };
    first("inspect/first buffer, raw", raw.clone(), Format::Raw);
    first("inspect/first buffer, qcow2", qcow2, Format::Qcow2);
    first("inspect/first buffer, VMDK descriptor", descriptor, Format::Vmdk);
    runner.case("inspect/raw in pieces of 1 KiB", Amount::Bytes(raw.len() as u64), || {
        let raw = raw.clone();
        move || {
            let mut inspector = Inspector::new();
            raw.chunks(1024).for_each(|piece| inspector.feed(piece));
            assert_eq!(inspector.finish(raw.len() as u64).format, Some(Format::Raw));
        }
    });
    runner.case("inspect/a later buffer", Amount::Bytes(raw.len() as u64), || {
        let mut inspector = Inspector::new();
        inspector.feed(&raw);
        move || inspector.feed(&raw)
    });
}

/// A copy with bytes overwritten.
fn with(stream: &[u8], writes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    for (offset, bytes) in writes {
        stream[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    stream
}
