//! Small images of each format, as bytes, for the tests.

/// Overwrites the bytes at `offset`, growing the image as needed.
pub(super) fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if image.len() < offset + bytes.len() {
        image.resize(offset + bytes.len(), 0);
    }
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// A copy with the bytes at `offset` overwritten.
pub(super) fn with(image: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    put(&mut image, offset, bytes);
    image
}

pub(super) fn zeroes(length: usize) -> Vec<u8> {
    vec![0; length]
}

/// qcow2, version 3, of 1 GiB in clusters of 64 KiB.
pub(super) fn qcow2() -> Vec<u8> {
    let mut image = zeroes(4096);
    put(&mut image, 0, b"QFI\xfb");
    put(&mut image, 4, &3_u32.to_be_bytes());
    put(&mut image, 20, &16_u32.to_be_bytes());
    put(&mut image, 24, &(1_u64 << 30).to_be_bytes());
    put(&mut image, 36, &2_u32.to_be_bytes());
    put(&mut image, 56, &1_u32.to_be_bytes());
    put(&mut image, 100, &104_u32.to_be_bytes());
    // The table of feature names, as QEMU writes it.
    put(&mut image, 104, &0x6803_f857_u32.to_be_bytes());
    put(&mut image, 108, &144_u32.to_be_bytes());
    image
}

/// Dynamic VHD of 3 MiB.
pub(super) fn vhd() -> Vec<u8> {
    let mut image = zeroes(2048);
    put(&mut image, 0, b"conectix");
    put(&mut image, 40, &(3_u64 << 20).to_be_bytes());
    image
}

pub(super) const VHDX_METADATA: usize = 1 << 20;

/// VHDX of 5 GiB.
pub(super) fn vhdx() -> Vec<u8> {
    let mut image = zeroes(VHDX_METADATA + (64 << 10) + 512);
    put(&mut image, 0, b"vhdxfile");
    let table = 192 << 10;
    put(&mut image, table, b"regi");
    put(&mut image, table + 8, &2_u32.to_le_bytes());
    // First the block allocation table, then the metadata.
    put(&mut image, table + 16, &[0x66; 16]);
    let metadata = b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
    put(&mut image, table + 48, metadata);
    put(&mut image, table + 64, &(VHDX_METADATA as u64).to_le_bytes());
    put(&mut image, VHDX_METADATA, b"metadata");
    put(&mut image, VHDX_METADATA + 10, &2_u16.to_le_bytes());
    put(&mut image, VHDX_METADATA + 32, &[0x77; 16]);
    let size = b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
    put(&mut image, VHDX_METADATA + 64, size);
    put(&mut image, VHDX_METADATA + 80, &(64_u32 << 10).to_le_bytes());
    put(&mut image, VHDX_METADATA + 84, &8_u32.to_le_bytes());
    put(&mut image, VHDX_METADATA + (64 << 10), &(5_u64 << 30).to_le_bytes());
    image
}

/// A descriptor of an acceptable disk.
pub(super) const DESCRIPTOR: &str = "# Disk DescriptorFile\nversion=1\nCID=7c1a3b2f\nparentCID=ffffffff\n\
createType=\"monolithicSparse\"\n\n# Extent description\nRW 4096 SPARSE \"disk.vmdk\"\n\n# The Disk Data Base\n\
#DDB\n\nddb.virtualHWVersion = \"4\"\r\nddb.adapterType = \"ide\"\n";

/// A sparse VMDK of 2 MiB with this descriptor.
pub(super) fn vmdk(descriptor: &str) -> Vec<u8> {
    let mut image = zeroes(8192);
    put(&mut image, 0, b"KDMV");
    put(&mut image, 4, &1_u32.to_le_bytes());
    put(&mut image, 12, &4096_u64.to_le_bytes());
    put(&mut image, 28, &1_u64.to_le_bytes());
    put(&mut image, 36, &4_u64.to_le_bytes());
    put(&mut image, 56, &8_u64.to_le_bytes());
    put(&mut image, 512, descriptor.as_bytes());
    image
}

/// The same as a stream with a footer, whose first byte is at the answer's second part.
pub(super) fn vmdk_with_footer() -> (Vec<u8>, usize) {
    let mut image = vmdk(DESCRIPTOR);
    put(&mut image, 56, &u64::MAX.to_le_bytes());
    let marker = image.len();
    let header = image[..512].to_vec();
    put(&mut image, marker, &1_u64.to_le_bytes());
    put(&mut image, marker + 12, &3_u32.to_le_bytes());
    put(&mut image, marker + 512, &header);
    put(&mut image, marker + 512 + 56, &8_u64.to_le_bytes());
    put(&mut image, marker + 1024, &[0; 512]);
    (image, marker)
}

/// VDI of 7 MiB.
pub(super) fn vdi() -> Vec<u8> {
    let mut image = zeroes(1024);
    put(&mut image, 0x40, &0xbeda_107f_u32.to_le_bytes());
    put(&mut image, 0x170, &(7_u64 << 20).to_le_bytes());
    image
}

pub(super) fn qed() -> Vec<u8> {
    with(&zeroes(1024), 0, b"QED\0")
}

/// ISO 9660 of 300 blocks of 2048 bytes.
pub(super) fn iso() -> Vec<u8> {
    let mut image = zeroes(40 << 10);
    put(&mut image, 32 << 10, b"\x01CD001\x01");
    put(&mut image, (32 << 10) + 80, &300_u32.to_le_bytes());
    put(&mut image, (32 << 10) + 128, &2048_u16.to_le_bytes());
    image
}

/// An MBR with one partition of Linux.
pub(super) fn mbr() -> Vec<u8> {
    let mut image = zeroes(4096);
    put(&mut image, 446, &[0x80, 1, 1, 0, 0x83, 2, 2, 2, 63, 0, 0, 0, 1, 0, 0, 0]);
    put(&mut image, 510, &[0x55, 0xaa]);
    image
}

/// The protective MBR of a GUID partition table.
pub(super) fn gpt() -> Vec<u8> {
    with(&mbr(), 446, &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])
}

/// LUKS, version 1, with a payload of 1 KiB.
pub(super) fn luks() -> Vec<u8> {
    let mut image = zeroes(3072);
    put(&mut image, 0, b"LUKS\xba\xbe");
    put(&mut image, 6, &1_u16.to_be_bytes());
    put(&mut image, 104, &4_u32.to_be_bytes());
    image
}

/// One sound image of each kind.
pub(super) fn all() -> Vec<Vec<u8>> {
    let vmdk_with_footer = vmdk_with_footer().0;
    vec![
        qcow2(),
        vhd(),
        vhdx(),
        vmdk(DESCRIPTOR),
        vmdk_with_footer,
        DESCRIPTOR.as_bytes().to_vec(),
        vdi(),
        qed(),
        iso(),
        mbr(),
        gpt(),
        luks(),
        zeroes(5000),
        with(&iso(), 446, &gpt()[446..512]),
    ]
}
