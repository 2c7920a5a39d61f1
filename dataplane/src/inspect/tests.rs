//! Verdicts and decisions, over images written byte by byte.

use proptest::prelude::*;

use super::samples::*;
use super::*;

fn inspect(image: &[u8]) -> Verdict {
    let mut inspector = Inspector::new();
    inspector.feed(image);
    inspector.finish(image.len() as u64)
}

/// The verdict with the stream cut into pieces of these lengths, over and over.
fn inspect_in_pieces(image: &[u8], lengths: &[usize]) -> Verdict {
    let mut inspector = Inspector::new();
    let mut rest = image;
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        inspector.feed(piece);
        rest = after;
    }
    inspector.finish(image.len() as u64)
}

/// Asserts one format, its size, and that these checks, and no others, fail.
#[track_caller]
fn assert_found(image: &[u8], format: Format, virtual_size: Option<u64>, failures: &[&str]) {
    let verdict = inspect(image);
    assert_eq!(verdict.format, Some(format));
    assert_eq!(verdict.virtual_size, virtual_size);
    assert_eq!(verdict.failures, failures);
    assert!(verdict.complete);
}

#[track_caller]
fn assert_incomplete(image: &[u8], format: Format) {
    let verdict = inspect(image);
    assert_eq!((verdict.format, verdict.complete), (Some(format), false));
    let refusal = decide(&verdict, format.name(), "bare", false, &[]).unwrap_err();
    assert_eq!(refusal.message, "Incomplete file cannot be safety checked");
}

#[test]
fn raw_is_what_matches_nothing() {
    for length in [0, 1, 511, 512, 5000, 40_000] {
        let size = (length > 0).then_some(length as u64);
        assert_found(&zeroes(length), Format::Raw, size, &[]);
        assert_eq!(inspect(&zeroes(length)).formats, []);
    }
    // A fixed VHD has its footer at the end.
    let fixed = with(&zeroes(4096), 4096, &vhd()[..512]);
    assert_found(&fixed, Format::Raw, Some(4608), &[]);
}

#[test]
fn qcow2_is_checked() {
    let size = Some(1 << 30);
    assert_found(&qcow2(), Format::Qcow2, size, &[]);
    let failing = |offset, bytes: &[u8], failure| {
        assert_found(&with(&qcow2(), offset, bytes), Format::Qcow2, size, &[failure]);
    };
    failing(15, &[1], "backing_file");
    failing(8, &[0x80], "backing_file");
    failing(79, &[0x04], "data_file");
    failing(104, &0x4441_5441_u32.to_be_bytes(), "data_file");
    failing(104 + 8 + 144, b"DATA\0\0\0\x04file", "data_file");
    // Extensions are padded to eight bytes.
    failing(104, b"\0\0\0\x01\0\0\0\x05qcow2\0\0\0DATA\0\0\0\x04file", "data_file");
    failing(79, &[0x10], "unknown_features");
    failing(72, &[0x80], "unknown_features");
    for version in [0_u32, 1, 4, u32::MAX] {
        assert!(inspect(&with(&qcow2(), 4, &version.to_be_bytes())).failures.contains(&"unknown_features"));
    }
    // Known features: dirty, corrupt, compression type.
    assert_found(&with(&qcow2(), 79, &[0x0b]), Format::Qcow2, size, &[]);
    assert_found(&qcow2()[..512], Format::Qcow2, size, &[]);
    assert_found(&qcow2()[..511], Format::Raw, Some(511), &[]);
}

#[test]
fn qcow2_of_version_2_has_no_features() {
    let old = with(&qcow2(), 4, &2_u32.to_be_bytes());
    // What stands in the place of the feature bits is an extension there: one that is unknown.
    let old = with(&old, 72, &[0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, 0x04, b'r', b'a', b'w', 0x04]);
    assert_found(&old, Format::Qcow2, Some(1 << 30), &[]);
    assert_found(&with(&old, 72, b"DATA"), Format::Qcow2, Some(1 << 30), &["data_file"]);
    assert_found(&with(&old, 8, &[1]), Format::Qcow2, Some(1 << 30), &["backing_file"]);
}

#[test]
fn qcow2_tables_are_limited() {
    let failing = |offset, value: u32| {
        assert_found(&with(&qcow2(), offset, &value.to_be_bytes()), Format::Qcow2, Some(1 << 30), &["limits"]);
    };
    failing(20, 22);
    failing(20, u32::MAX);
    failing(36, (4 << 20) + 1);
    failing(56, 129);
    failing(56, u32::MAX);
    failing(60, 65537);
    assert_found(&with(&qcow2(), 56, &128_u32.to_be_bytes()), Format::Qcow2, Some(1 << 30), &[]);
}

#[test]
fn extensions_of_qcow2_that_overflow_end_the_search() {
    for length in [u32::MAX, u32::MAX - 7, 1 << 31, 0] {
        let image = with(&qcow2(), 108, &length.to_be_bytes());
        assert_found(&image, Format::Qcow2, Some(1 << 30), &[]);
    }
    for start in [0_u32, 511, 512, u32::MAX] {
        inspect(&with(&qcow2(), 100, &start.to_be_bytes()));
    }
}

#[test]
fn impossible_sizes_fail_the_checks() {
    let huge = 1_u64 << 63;
    assert_found(&with(&qcow2(), 24, &huge.to_be_bytes()), Format::Qcow2, None, &["virtual_size"]);
    assert_found(&with(&vhd(), 40, &huge.to_be_bytes()), Format::Vhd, None, &["virtual_size"]);
    assert_found(&with(&vdi(), 0x170, &huge.to_le_bytes()), Format::Vdi, None, &["virtual_size"]);
    let vhdx = with(&vhdx(), VHDX_METADATA + (64 << 10), &huge.to_le_bytes());
    assert_found(&vhdx, Format::Vhdx, None, &["virtual_size"]);
    for sectors in [1_u64 << 55, u64::MAX] {
        let vmdk = with(&vmdk(DESCRIPTOR), 12, &sectors.to_le_bytes());
        assert_found(&vmdk, Format::Vmdk, None, &["virtual_size"]);
    }
    let largest = with(&qcow2(), 24, &(huge - 1).to_be_bytes());
    assert_found(&largest, Format::Qcow2, Some(huge - 1), &[]);
}

#[test]
fn vhd_has_its_footer_in_front() {
    assert_found(&vhd(), Format::Vhd, Some(3 << 20), &[]);
    assert_found(&vhd()[..512], Format::Vhd, Some(3 << 20), &[]);
    assert_incomplete(&vhd()[..511], Format::Vhd);
    assert_incomplete(b"conectix", Format::Vhd);
    assert_found(b"conecti", Format::Raw, Some(7), &[]);
}

#[test]
fn vhdx_tables_are_followed() {
    assert_found(&vhdx(), Format::Vhdx, Some(5 << 30), &[]);
    let whole = VHDX_METADATA + (64 << 10) + 8;
    assert_found(&vhdx()[..whole], Format::Vhdx, Some(5 << 30), &[]);
    for length in [8, 192 << 10, 256 << 10, VHDX_METADATA + 20, VHDX_METADATA + 90, whole - 1] {
        assert_incomplete(&vhdx()[..length], Format::Vhdx);
    }
}

#[test]
fn vhdx_tables_are_not_trusted() {
    let table = 192 << 10;
    let failing = |offset, bytes: &[u8]| {
        assert_found(&with(&vhdx(), offset, bytes), Format::Vhdx, None, &["metadata"]);
    };
    failing(table, b"R");
    failing(table, b"REGI");
    failing(table + 8, &1_u32.to_le_bytes());
    failing(table + 8, &2048_u32.to_le_bytes());
    failing(table + 8, &u32::MAX.to_le_bytes());
    // Regions that point back, or nowhere.
    failing(table + 64, &((1_u64 << 20) - 1).to_le_bytes());
    failing(table + 64, &u64::MAX.to_le_bytes());
    failing(VHDX_METADATA, b"M");
    failing(VHDX_METADATA + 10, &2048_u16.to_le_bytes());
    failing(VHDX_METADATA + 10, &0_u16.to_le_bytes());
    failing(VHDX_METADATA + 80, &((64_u32 << 10) - 1).to_le_bytes());
    failing(VHDX_METADATA + 84, &4_u32.to_le_bytes());
    failing(VHDX_METADATA + 84, &u32::MAX.to_le_bytes());
    // A sound table where a reader that cannot go back would miss it.
    let early = with(&vhdx(), 64 << 10, &vhdx()[VHDX_METADATA..]);
    let early = with(&early, 192 << 10, &vhdx()[192 << 10..256 << 10]);
    let early = with(&early, table + 64, &(64_u64 << 10).to_le_bytes());
    assert_found(&early, Format::Vhdx, None, &["metadata"]);
    let far = with(&vhdx(), VHDX_METADATA + 80, &u32::MAX.to_le_bytes());
    assert_incomplete(&far, Format::Vhdx);
    let farthest = with(&vhdx(), table + 64, &(1_u64 << 62).to_le_bytes());
    assert_incomplete(&farthest, Format::Vhdx);
}

#[test]
fn vmdk_that_holds_its_own_data_is_accepted() {
    let size = Some(2 << 20);
    assert_found(&vmdk(DESCRIPTOR), Format::Vmdk, size, &[]);
    for kind in ["streamOptimized", "STREAMOPTIMIZED", "monolithicsparse"] {
        let image = vmdk(&DESCRIPTOR.replace("monolithicSparse", kind));
        assert_found(&image, Format::Vmdk, size, &[]);
    }
    for version in 1..=3_u32 {
        assert_found(&with(&vmdk(DESCRIPTOR), 4, &version.to_le_bytes()), Format::Vmdk, size, &[]);
    }
    assert_incomplete(&vmdk(DESCRIPTOR)[..512 + 2047], Format::Vmdk);
    assert_incomplete(b"KDMV", Format::Vmdk);
    assert_incomplete(&vmdk(DESCRIPTOR)[..63], Format::Vmdk);
}

#[test]
fn vmdk_descriptors_that_could_name_other_files_are_refused() {
    let size = Some(2 << 20);
    let failing = |descriptor: &str| {
        assert_found(&vmdk(descriptor), Format::Vmdk, size, &["descriptor"]);
    };
    for kind in ["monolithicFlat", "twoGbMaxExtentFlat", "vmfsRDM", "custom", "", "streamOptimized2"] {
        failing(&DESCRIPTOR.replace("monolithicSparse", kind));
    }
    failing("");
    failing("# Disk DescriptorFile\n");
    failing(&DESCRIPTOR.replace("createType=\"monolithicSparse\"\n", ""));
    failing(&DESCRIPTOR.replace("createType=\"monolithicSparse\"", "# createType=\"monolithicSparse\""));
    failing(&DESCRIPTOR.replace("RW 4096 SPARSE \"disk.vmdk\"\n", ""));
    failing(&DESCRIPTOR.replace("disk.vmdk", "/etc/passwd"));
    failing(&DESCRIPTOR.replace("disk.vmdk", "a/b"));
    failing(&format!("{DESCRIPTOR}RW 1 FLAT \"/etc/passwd\" 0\n"));
    failing(&format!("{DESCRIPTOR}something else\n"));
    failing(&format!("{DESCRIPTOR}# \u{e9}\n"));
    failing(&format!("{DESCRIPTOR}createType=\"monolithicFlat\"\n"));
    failing(&format!("{DESCRIPTOR}# CREATETYPE=\"monolithicFlat\"\n"));
    failing(&format!("{DESCRIPTOR}\0createType=\"monolithicFlat\"\n"));
    failing(&format!("{DESCRIPTOR}parentFileNameHint=\"base.vmdk\"\n"));
    failing(&format!("{DESCRIPTOR}# parentFileNameHint=\"base.vmdk\"\n"));
}

#[test]
fn vmdk_headers_that_hide_the_descriptor_are_refused() {
    let failing = |offset, bytes: &[u8]| {
        assert_found(&with(&vmdk(DESCRIPTOR), offset, bytes), Format::Vmdk, None, &["descriptor"]);
    };
    failing(4, &0_u32.to_le_bytes());
    failing(4, &4_u32.to_le_bytes());
    for sector in [0, 2, 4096, 1 << 55, u64::MAX] {
        failing(28, &sector.to_le_bytes());
    }
    // From one sector over the longest to a product that overflows.
    for sectors in [0, 2048, 1 << 55, u64::MAX] {
        failing(36, &sectors.to_le_bytes());
    }
}

#[test]
fn vmdk_footers_agree_with_the_header() {
    let (image, footer) = vmdk_with_footer();
    assert_found(&image, Format::Vmdk, Some(2 << 20), &[]);
    let failing = |offset, bytes: &[u8]| {
        let image = with(&image, footer + offset, bytes);
        assert_found(&image, Format::Vmdk, Some(2 << 20), &["footer"]);
    };
    failing(8, &[1]);
    failing(12, &[2]);
    failing(511, &[1]);
    failing(512, b"k");
    failing(512 + 4, &[2]);
    failing(512 + 12, &[1]);
    failing(512 + 28, &[2]);
    failing(512 + 36, &[5]);
    failing(512 + 56, &u64::MAX.to_le_bytes());
    failing(1024, &[1]);
    failing(1024 + 12, &[1]);
    failing(1535, &[1]);
    // Without its end the stream has no footer where it should be.
    assert_found(&image[..image.len() - 512], Format::Vmdk, Some(2 << 20), &["footer"]);
}

#[test]
fn a_vmdk_descriptor_alone_is_refused() {
    let failing = |text: &str| {
        for length in [text.len(), 100, 4096] {
            let mut image = text.as_bytes().to_vec();
            image.resize(length.max(text.len()), 0);
            assert_found(&image, Format::Vmdk, None, &["descriptor"]);
        }
    };
    failing(DESCRIPTOR);
    failing("version=1\ncreateType=\"x\"\nRW 1 FLAT \"/a\" 0\n");
    failing("\n \n# \u{1}\nversion=3\r\n");
    failing(&format!("# {}\ncreateType=\"monolithicFlat\"\n", "x".repeat(100_000)));
    let far = format!("# {}\ncreateType=\"monolithicFlat\"\n", "x".repeat(1 << 20));
    assert_found(far.as_bytes(), Format::Raw, Some(far.len() as u64), &[]);
    assert_found(b"version of a text", Format::Raw, Some(17), &[]);
    assert_found(b"a\0createtype=\"x\"", Format::Raw, Some(16), &[]);
}

#[test]
fn the_simple_formats() {
    assert_found(&vdi(), Format::Vdi, Some(7 << 20), &[]);
    assert_found(&vdi()[..511], Format::Raw, Some(511), &[]);
    assert_found(&qed(), Format::Qed, None, &["banned"]);
    assert_found(&iso(), Format::Iso, Some(300 * 2048), &[]);
    for identifier in [b"NSR02", b"NSR03"] {
        assert_found(&with(&iso(), 32769, identifier), Format::Iso, Some(300 * 2048), &[]);
    }
    assert_found(&with(&iso(), 32768, &[0]), Format::Iso, None, &[]);
    assert_found(&iso()[..(34 << 10) - 1], Format::Raw, Some((34 << 10) - 1), &[]);
    assert_found(&luks(), Format::Luks, Some(1024), &[]);
    assert_found(&with(&luks(), 7, &[2]), Format::Luks, Some(1024), &["version"]);
    assert_found(&with(&luks(), 104, &[0xff; 4]), Format::Luks, None, &[]);
    assert_incomplete(&luks()[..591], Format::Luks);
    assert_incomplete(&luks()[..6], Format::Luks);
}

#[test]
fn partition_tables_are_checked() {
    assert_found(&mbr(), Format::Gpt, Some(4096), &[]);
    assert_found(&gpt(), Format::Gpt, Some(4096), &[]);
    let failing = |image: &[u8], offset, bytes: &[u8]| {
        assert_found(&with(image, offset, bytes), Format::Gpt, Some(4096), &["mbr"]);
    };
    failing(&mbr(), 446, &[0x81]);
    failing(&mbr(), 446 + 48, &[0x01]);
    failing(&mbr(), 446 + 4, &[0]);
    failing(&gpt(), 446 + 1, &[1]);
    failing(&gpt(), 446 + 2, &[1]);
    failing(&gpt(), 446 + 3, &[1]);
    failing(&gpt(), 446 + 8, &[2]);
    failing(&gpt(), 446 + 11, &[1]);
    failing(&gpt(), 462 + 4, &[0x83]);
    failing(&gpt(), 494 + 4, &[0xee]);
    let second = with(&with(&gpt(), 446, &[0; 16]), 462, &gpt()[446..462]);
    failing(&second, 0, &[]);
    // A FAT file system is no partition table.
    let fat = with(&with(&mbr(), 0x10, &[2]), 0x15, &[0xf8]);
    assert_found(&fat, Format::Raw, Some(4096), &[]);
    assert_found(&with(&mbr(), 0x10, &[2]), Format::Gpt, Some(4096), &[]);
}

#[test]
fn several_formats_are_none() {
    let bootable = with(&iso(), 446, &mbr()[446..512]);
    assert_eq!(inspect(&bootable).formats, [Format::Iso, Format::Gpt]);
    assert_found(&bootable, Format::Iso, Some(300 * 2048), &[]);
    let refusal = decide(&inspect(&bootable), "raw", "bare", true, &[]).unwrap_err();
    assert_eq!(refusal.message, "Multiple formats detected: iso,gpt");
    let both = with(&qcow2(), 510, &[0x55, 0xaa]);
    let verdict = inspect(&both);
    assert_eq!((verdict.format, verdict.virtual_size), (None, None));
    for claim in ["raw", "qcow2", "gpt", "ami"] {
        let refusal = decide(&verdict, claim, "bare", true, &[]).unwrap_err();
        assert_eq!(refusal.message, "Multiple formats detected: qcow2,gpt");
    }
    assert_eq!(decide(&verdict, "qcow2", "bare", false, &[]), Ok(None));
    let encrypted = with(&iso(), 0, b"LUKS\xba\xbe\0\x01");
    assert_eq!(inspect(&encrypted).format, None);
    let three = with(&bootable, 0, b"LUKS\xba\xbe\0\x01");
    let refusal = decide(&inspect(&three), "iso", "bare", true, &[]).unwrap_err();
    assert_eq!(refusal.message, "Multiple formats detected: iso,gpt,luks");
}

#[test]
fn claims_are_held_against_the_bytes() {
    let claim = |image: &[u8], disk_format| decide(&inspect(image), disk_format, "bare", true, &[]);
    let message = |image: &[u8], disk_format| claim(image, disk_format).unwrap_err().to_string();
    assert_eq!(claim(&qcow2(), "qcow2"), Ok(Some(1 << 30)));
    assert_eq!(claim(&zeroes(100), "raw"), Ok(Some(100)));
    assert_eq!(claim(b"", "raw"), Ok(None));
    assert_eq!(message(&zeroes(100), "qcow2"), "Image disk_format qcow2 does not match stream data raw");
    assert_eq!(message(&qcow2(), "vmdk"), "Image disk_format vmdk does not match stream data qcow2");
    // What claims to be raw is as large as its bytes, and yet checked for what it is.
    assert_eq!(claim(&qcow2(), "raw"), Ok(Some(4096)));
    assert_eq!(message(&with(&qcow2(), 8, &[1]), "raw"), "Image failed safety checks");
    assert_eq!(message(&with(&qcow2(), 8, &[1]), "qcow2"), "Image failed safety checks");
    assert_eq!(message(&qed(), "raw"), "Image failed safety checks");
    assert_eq!(message(&with(&luks(), 7, &[2]), "raw"), "Image failed safety checks");
    // Formats that cannot be told from their bytes must look like nothing.
    for disk_format in ["ami", "aki", "ari", "ploop"] {
        assert_eq!(claim(&zeroes(100), disk_format), Ok(None));
        let refusal = format!("Image disk_format {disk_format} does not match stream data gpt");
        assert_eq!(message(&mbr(), disk_format), refusal);
    }
}

#[test]
fn only_bare_containers_are_inspected() {
    for container in ["ova", "ovf", "docker", "compressed", "aki"] {
        assert_eq!(decide(&inspect(&qed()), "qcow2", container, true, &[]), Ok(None));
    }
}

#[test]
fn a_match_may_be_optional_but_safety_is_not() {
    let claim = |image: &[u8], disk_format| decide(&inspect(image), disk_format, "bare", false, &[]);
    assert_eq!(claim(&zeroes(100), "qcow2"), Ok(None));
    assert_eq!(claim(&qcow2(), "qcow2"), Ok(Some(1 << 30)));
    assert!(claim(&with(&qcow2(), 8, &[1]), "qcow2").is_err());
}

#[test]
fn checks_of_partition_tables_may_be_tolerated() {
    let unpartitioned = with(&mbr(), 450, &[0]);
    let nonfatal = ["mbr".to_owned()];
    let claim =
        |image: &[u8], disk_format, nonfatal: &[String]| decide(&inspect(image), disk_format, "bare", true, nonfatal);
    assert!(claim(&unpartitioned, "raw", &[]).is_err());
    assert!(claim(&unpartitioned, "raw", &["other".to_owned()]).is_err());
    assert_eq!(claim(&unpartitioned, "raw", &nonfatal), Ok(Some(4096)));
    // The list is of partition tables' checks alone.
    let luks2 = with(&luks(), 7, &[2]);
    assert!(claim(&luks2, "raw", &["version".to_owned()]).is_err());
}

#[test]
fn one_byte_at_a_time_changes_nothing() {
    for image in all() {
        assert_eq!(inspect_in_pieces(&image, &[1]), inspect(&image));
    }
}

#[test]
fn truncation_anywhere_is_the_same_for_any_cut() {
    for image in all() {
        for length in 0..image.len().min(4096) {
            let image = &image[..length];
            assert_eq!(inspect_in_pieces(image, &[3, 64, 511, 1]), inspect(image));
        }
    }
}

#[test]
fn a_footer_may_overlap_the_header() {
    let (image, _) = vmdk_with_footer();
    let image = with(&image, 36, &1_u64.to_le_bytes());
    assert_incomplete(&image[..1535], Format::Vmdk);
    assert_eq!(inspect(&image[..1536]).failures, ["footer"]);
}

#[test]
fn footers_near_the_header_are_the_same_for_any_cut() {
    let (image, _) = vmdk_with_footer();
    let image = with(&image, 36, &1_u64.to_le_bytes());
    for length in 1500..1700 {
        assert_eq!(inspect_in_pieces(&image[..length], &[1]), inspect(&image[..length]));
        assert_eq!(inspect_in_pieces(&image[..length], &[63, 700]), inspect(&image[..length]));
    }
}

#[test]
fn nothing_more_is_wanted_once_the_headers_have_passed() {
    for image in [zeroes(34 << 10), qcow2(), vdi(), mbr(), luks(), vmdk(DESCRIPTOR)] {
        let mut inspector = Inspector::new();
        inspector.feed(&image);
        inspector.feed(&zeroes(34 << 10));
        assert!(inspector.is_settled());
    }
    let mut inspector = Inspector::new();
    inspector.feed(&vhdx());
    assert!(inspector.is_settled());
    let mut text = Inspector::new();
    text.feed(&with(&zeroes(34 << 10), 0, "a text ".repeat(100).as_bytes()));
    assert!(text.is_settled());
}

/// Bytes that an inspector holds.
fn held(inspector: &Inspector) -> usize {
    let regions = inspector.head.bytes().len() + inspector.volume_descriptor.bytes().len();
    regions + inspector.vhdx.held() + inspector.vmdk.held()
}

#[test]
fn memory_is_bounded_whatever_the_headers_claim() {
    let claims = |image: &[u8], offset: usize| with(image, offset, &[0xff; 8]);
    let text = "# a comment without end ".repeat(200_000).into_bytes();
    let mut hostile = vec![text, vmdk_with_footer().0, claims(&qcow2(), 36), claims(&qcow2(), 108)];
    hostile.push(with(&vmdk(DESCRIPTOR), 36, &2047_u64.to_le_bytes()));
    hostile.push(with(&vhdx(), VHDX_METADATA + 10, &2047_u16.to_le_bytes()));
    for mut image in hostile {
        image.resize(5 << 20, b'x');
        let mut inspector = Inspector::new();
        for piece in image.chunks(10_000) {
            inspector.feed(piece);
            assert!(held(&inspector) <= (1 << 20) + (64 << 10));
        }
    }
}

/// An image with some bytes of it overwritten, and then cut.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let overwritten = proptest::collection::vec((any::<prop::sample::Index>(), any::<[u8; 8]>()), 0..6);
    (prop::sample::select(all()), overwritten, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut image, overwritten, end, cut)| {
            for (place, bytes) in overwritten {
                // Mostly the headers.
                let offset = place.index(image.len()) % 700;
                put(&mut image, offset, &bytes);
            }
            if cut {
                image.truncate(end.index(image.len() + 1));
            }
            image
        },
    )
}

proptest! {
    #[test]
    fn any_cut_of_a_hostile_image_gives_one_verdict(
        image in hostile(),
        lengths in proptest::collection::vec(1_usize..5000, 1..20),
    ) {
        prop_assert_eq!(inspect_in_pieces(&image, &lengths), inspect(&image));
    }

    #[test]
    fn random_bytes_are_no_danger(
        image in proptest::collection::vec(any::<u8>(), 0..3000),
        lengths in proptest::collection::vec(1_usize..700, 1..20),
        magic in prop::sample::select(vec![&b""[..], b"QFI\xfb", b"KDMV", b"conectix", b"LUKS\xba\xbe", b"vhdxfile", b"#"]),
    ) {
        let image = with(&image, 0, magic);
        prop_assert_eq!(inspect_in_pieces(&image, &lengths), inspect(&image));
    }
}
