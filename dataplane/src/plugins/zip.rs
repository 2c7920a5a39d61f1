//! The only file of a zip archive.

use std::fs::File;
use std::io::{self, BufReader, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use super::Failure;
use super::output::{Output, unreadable};

const NAME: &str = "zip";

/// Bytes at the end of a file in which its directory's end is searched: its longest comment, and the record itself.
const SEARCH_BYTES: u64 = 65_536 + 1024;

/// Unpacks the archive into `output`. Its directory is read record by record: what it claims costs no memory.
///
/// # Errors
/// [`Failure::Refused`] when it does not hold exactly one file, packed in one of the usual ways, or when that is damaged.
pub(super) fn unpack_zip(source: &File, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::with_max_search_space(SEARCH_BYTES)
        .locate_in_file(source.try_clone()?, &mut buffer)
        .map_err(|(_, error)| damaged(error))?;
    let (wayfinder, method) = only_file(&archive, &mut buffer)?;
    let entry = archive.get_entry(wayfinder).map_err(damaged)?;
    let packed = BufReader::new(entry.reader());
    let mut unpacked: Box<dyn Read + '_> = match method {
        CompressionMethod::STORE => Box::new(packed),
        CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(packed)),
        CompressionMethod::BZIP2 => Box::new(BzDecoder::new(packed)),
        other => {
            let text = format!("its file is packed by method {}, not stored, deflated or by bzip2", other.as_u16());
            return Err(refused(&text));
        }
    };
    // Length and checksum are compared with what the archive says when the data ends.
    output.take(&mut entry.verifying_reader(&mut unpacked), NAME)
}

/// Where the only file is, and how it is packed.
fn only_file(
    archive: &ZipArchive<FileReader>,
    buffer: &mut [u8],
) -> Result<(rawzip::ZipArchiveEntryWayfinder, CompressionMethod), Failure> {
    let mut entries = archive.entries(buffer);
    let found = match entries.next_entry().map_err(damaged)? {
        Some(entry) if entry.is_dir() => return Err(refused("it holds a directory, not one file")),
        Some(entry) if entry.flags().is_encrypted() => return Err(refused("its file is encrypted")),
        Some(entry) => (entry.wayfinder(), entry.compression_method()),
        None => return Err(refused("it holds no file")),
    };
    if entries.next_entry().map_err(damaged)?.is_some() {
        return Err(refused("it holds more than one file"));
    }
    Ok(found)
}

fn refused(why: &str) -> Failure {
    Failure::Refused(format!("The staged data is a zip archive that cannot be unpacked: {why}."))
}

fn damaged(error: rawzip::Error) -> Failure {
    unreadable(io::Error::other(error), NAME)
}
