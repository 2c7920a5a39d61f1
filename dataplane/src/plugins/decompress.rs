//! Unpacking: data that came as gzip, xz, zstd, bzip2 or as the only file of a zip archive becomes what it was.
//!
//! Source of the choice by first bytes, and of what is done with each: Glance's plug-in `image_decompression`, which knows gzip, zip
//! and LHA. Data of no known packing is left alone.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use super::output::{Output, unreadable};
use super::zip::unpack_zip;
use super::{Failure, Files, Stop};

/// Bytes that are read from the source at once.
const READ_BYTES: usize = 256 * 1024;

/// Bytes by which packings are told apart.
const HEAD_BYTES: u64 = 10;

/// What zstd accepts as the base 2 logarithm of the bytes that it looks back.
const ZSTD_WINDOW_LOG: std::ops::RangeInclusive<u32> = 10..=31;

/// How data is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Xz,
    Zstd,
    Bzip2,
    Zip,
    Lha,
}

impl Packing {
    fn of(head: &[u8]) -> Option<Self> {
        let begins = |magic: &[u8]| head.starts_with(magic);
        if begins(&[0x1F, 0x8B, 0x08]) {
            Some(Packing::Gzip)
        } else if begins(b"\xFD7zXZ\0") {
            Some(Packing::Xz)
        } else if begins(&[0x28, 0xB5, 0x2F, 0xFD]) {
            Some(Packing::Zstd)
        } else if begins(b"BZh")
            && [&b"\x31\x41\x59\x26\x53\x59"[..], b"\x17\x72\x45\x38\x50\x90"].contains(&head.get(4..10)?)
        {
            // The three letters alone might be anything; the first block, or the end of an empty file, is not.
            Some(Packing::Bzip2)
        } else if begins(b"PK\x03\x04") {
            Some(Packing::Zip)
        } else if head.get(2..).is_some_and(|rest| rest.starts_with(b"-lh")) {
            Some(Packing::Lha)
        } else {
            None
        }
    }

    fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Xz => "xz",
            Packing::Zstd => "zstd",
            Packing::Bzip2 => "bzip2",
            Packing::Zip => "zip",
            Packing::Lha => "LHA",
        }
    }
}

/// Unpacks the source into the target; how many bytes it came to, or nothing where it is not packed. `memory_bytes`: what a decoder
/// may have for what it has to remember; those of gzip, zip and bzip2 need less than 8 MiB, whatever the data says.
///
/// # Errors
/// [`Failure::Refused`] for data that is damaged, cut off, too large when unpacked, or that needs more memory.
pub(crate) fn decompress(files: &Files, memory_bytes: u64, stop: &Stop) -> Result<Option<u64>, Failure> {
    let source = File::open(&files.source)?;
    let mut head = Vec::new();
    (&source).take(HEAD_BYTES).read_to_end(&mut head)?;
    let Some(packing) = Packing::of(&head) else { return Ok(None) };
    let mut output = Output::open(files, stop)?;
    let source = File::open(&files.source)?;
    let reader = || BufReader::with_capacity(READ_BYTES, &source);
    let name = packing.name();
    match packing {
        Packing::Gzip => unpack_gzip(&mut reader(), &mut output)?,
        Packing::Xz => {
            let stream = Stream::new_stream_decoder(memory_bytes, CONCATENATED)
                .map_err(|error| unreadable(error.into(), name))?;
            output.take(&mut XzDecoder::new_stream(reader(), stream), name)?;
        }
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader())?;
            // The window is most of what it needs, not all.
            let window = (memory_bytes / 2).max(1).ilog2();
            decoder.window_log_max(window.clamp(*ZSTD_WINDOW_LOG.start(), *ZSTD_WINDOW_LOG.end()))?;
            output.take(&mut decoder, name)?;
        }
        Packing::Bzip2 => output.take(&mut MultiBzDecoder::new(reader()), name)?,
        Packing::Zip => unpack_zip(&source, &mut output)?,
        Packing::Lha => {
            return Err(Failure::Refused(
                "The staged data is an LHA archive, which is not unpacked here: use gzip, xz, zstd, bzip2 or zip."
                    .to_owned(),
            ));
        }
    }
    Ok(Some(output.size()))
}

/// One gzip file after the other, with zeros between and after them, as Python reads them.
fn unpack_gzip(reader: &mut impl BufRead, output: &mut Output<'_>) -> Result<(), Failure> {
    let name = Packing::Gzip.name();
    loop {
        output.take(&mut GzDecoder::new(&mut *reader), name)?;
        let more = loop {
            let ahead = reader.fill_buf()?;
            let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
            let (all, none) = (zeros == ahead.len(), ahead.is_empty());
            reader.consume(zeros);
            if none || !all {
                break !none;
            }
        };
        if !more {
            return Ok(());
        }
    }
}
