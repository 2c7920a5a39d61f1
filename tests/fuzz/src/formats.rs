//! Format inspection near sound images: one target for each format, so that fuzzing gets behind its magic numbers.
//!
//! An input is what [`super::inspect`] has for a zeroed stream, made to the sound image: where it ends (two bytes, big endian, of 65536
//! parts; 0: at its end), the changes, and the lengths of the pieces. Without a change the image must pass every check. Memory is
//! bounded by what `tests/fuzz/run` allows.

use dataplane::inspect::{Format, decide};

use super::inspect::{changed, decode, judge, split};

macro_rules! formats {
    ($($run:ident $image:literal $format:ident)*) => {
        $(
            #[doc = concat!("Near the kept image `", $image, "`.")]
            pub fn $run(data: &[u8]) {
                near(include_bytes!(concat!("../corpus/inspect/", $image)), Format::$format, data);
            }
        )*
    };
}

formats! {
    qcow2 "qcow2" Qcow2
    vhd "vhd" Vhd
    vhdx "vhdx" Vhdx
    vmdk "vmdk" Vmdk
    vmdk_footer "vmdk_footer" Vmdk
    vdi "vdi" Vdi
    qed "qed" Qed
    iso "iso" Iso
    gpt "gpt" Gpt
    mbr "mbr" Gpt
    luks "luks" Luks
    raw "raw" Raw
}

fn near(image: &[u8], format: Format, data: &[u8]) {
    let sound = decode(image).0.into_owned();
    let (body, lengths) = split(data);
    let Some((end, writes)) = body.split_first_chunk::<2>() else {
        let verdict = judge(&sound, lengths);
        assert_eq!(verdict.format, Some(format));
        // Nobody supports QED, which is said by a check of its own.
        let passes = decide(&verdict, format.name(), "bare", true, &[format.name().to_owned()]).is_ok();
        assert_eq!(verdict.failures.is_empty() && verdict.complete, format != Format::Qed, "{verdict:?}");
        assert!(passes || !matches!(format, Format::Qcow2 | Format::Vdi | Format::Raw), "{verdict:?}");
        return;
    };
    let length = match u16::from_be_bytes(*end) {
        0 => sound.len(),
        part => sound.len() * usize::from(part) / 65536,
    };
    judge(&changed(sound[..length].to_vec(), writes), lengths);
}
