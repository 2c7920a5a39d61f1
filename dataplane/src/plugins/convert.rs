//! Conversion: an image of one disk format becomes one of another, by qemu-img.
//!
//! Source of the rules and of their order: Glance's plug-in `image_conversion`. qemu-img never finds out by itself what a file is: it
//! is told what our own inspector has found, which is also asked about the result.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::config::{Config, ConversionLimits};
use rustix::io::Errno;
use serde_json::Value;

use super::child::{self, Ended};
use super::{Failure, Files, Stop};
use crate::inspect::{Format, Inspector, check_safety};

/// The program.
const QEMU_IMG: &str = "qemu-img";

/// Where programs are searched when nobody says.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Formats that are converted; by these names qemu-img knows them too.
const CONVERTIBLE: [Format; 5] = [Format::Raw, Format::Qcow2, Format::Vmdk, Format::Vdi, Format::Vhdx];

/// What the look at an image may take, as in Glance: seconds of the processor, bytes of memory.
const INFO_CPU_SECONDS: u64 = 2;
const INFO_MEMORY_BYTES: u64 = 1 << 30;

/// Bytes that are inspected at once.
const READ_BYTES: usize = 256 * 1024;

/// What a conversion needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Converter {
    qemu_img: PathBuf,
    limits: ConversionLimits,
    vmdk_types: Vec<String>,
    gpt_nonfatal: Vec<String>,
}

impl Converter {
    /// With the program at `qemu_img`.
    pub(crate) fn new(config: &Config, qemu_img: &Path) -> Self {
        Converter {
            qemu_img: qemu_img.to_owned(),
            limits: config.plugins.conversion,
            vmdk_types: config.plugins.vmdk_types.clone(),
            gpt_nonfatal: config.api.gpt_safety_checks_nonfatal.clone(),
        }
    }
}

/// The program that converts, as `PATH` leads to it.
pub(crate) fn find_qemu_img() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let executable =
        |file: &PathBuf| file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(QEMU_IMG)).find(executable)
}

/// Converts the source, which claims to be `disk_format`, into `output_format`; how many bytes it came to, or nothing where it stays
/// as it is: it has that format, or it is an ISO.
///
/// # Errors
/// [`Failure::Refused`] for what is not what it claims to be, not safe, of a format that is not converted, or too large.
pub(crate) fn convert(
    files: &Files,
    disk_format: &str,
    output_format: &str,
    converter: &Converter,
    stop: &Stop,
) -> Result<Option<u64>, Failure> {
    let source_format = inspect(&files.source, converter, stop)?;
    if source_format.name() != disk_format {
        let found = source_format.name();
        return Err(refused(format!("Image disk_format {disk_format} does not match stream data {found}")));
    }
    if source_format == Format::Iso {
        return Ok(None);
    }
    if !CONVERTIBLE.contains(&source_format) {
        return Err(refused(format!("Images of disk_format {disk_format} cannot be converted.")));
    }
    let source = described(disk_format, &files.source);
    let virtual_size = look(files, &source, disk_format, converter, stop)?;
    if disk_format == output_format {
        return Ok(None);
    }
    if output_format == Format::Raw.name() && virtual_size > files.size_max {
        return Err(refused(format!(
            "The image is of a disk of {virtual_size} bytes: more than {}, the largest size that it may have as {output_format}.",
            files.size_max
        )));
    }
    let arguments: [OsString; 6] = [
        "convert".into(),
        "--image-opts".into(),
        "-O".into(),
        output_format.into(),
        source,
        files.target.clone().into(),
    ];
    match child::run(&converter.qemu_img, &arguments, &converter.limits, files, true, stop)? {
        Ended::Well(_) => {}
        Ended::Late => return Err(refused("The conversion of the image took too long.".to_owned())),
        Ended::Badly(complaint) => return Err(failed(&complaint)),
    }
    let made = inspect(&files.target, converter, stop)?;
    if made.name() != output_format {
        tracing::warn!("an image that was converted to {output_format} is {}", made.name());
        return Err(refused("Converted image in unexpected format".to_owned()));
    }
    let size = std::fs::metadata(&files.target)?.len();
    if size > files.size_max {
        return Err(refused(format!("The converted image has {size} bytes: more than {}.", files.size_max)));
    }
    Ok(Some(size))
}

/// What a file is; a partition table is the beginning of raw data here.
fn inspect(path: &Path, converter: &Converter, stop: &Stop) -> Result<Format, Failure> {
    let mut file = File::open(path)?;
    let mut inspector = Inspector::new();
    let mut piece = vec![0; READ_BYTES];
    while !inspector.is_settled() {
        stop.check()?;
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => inspector.feed(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let verdict = inspector.finish(file.metadata()?.len());
    let Some(format) = verdict.format else {
        let names: Vec<&str> = verdict.formats.iter().map(|format| format.name()).collect();
        return Err(refused(format!("Multiple formats detected: {}", names.join(","))));
    };
    check_safety(&verdict, format, &converter.gpt_nonfatal).map_err(|refusal| refused(refusal.message))?;
    Ok(if format == Format::Gpt { Format::Raw } else { format })
}

/// A file with what it is, so that nothing is guessed from its bytes or its name.
fn described(format: &str, path: &Path) -> OsString {
    let mut text = OsString::from(format!("driver={format},file.driver=file,file.filename="));
    // A comma ends an option unless there are two of them.
    for (index, part) in path.to_string_lossy().split(',').enumerate() {
        text.push(if index > 0 { ",," } else { "" });
        text.push(part);
    }
    text
}

/// What qemu-img says of the source, as a second opinion; the size of its disk in bytes.
fn look(
    files: &Files,
    source: &OsString,
    disk_format: &str,
    converter: &Converter,
    stop: &Stop,
) -> Result<u64, Failure> {
    let limits = ConversionLimits {
        memory_bytes: INFO_MEMORY_BYTES,
        cpu: std::time::Duration::from_secs(INFO_CPU_SECONDS),
        ..converter.limits
    };
    let arguments: [OsString; 4] = ["info".into(), "--output=json".into(), "--image-opts".into(), source.clone()];
    let said = match child::run(&converter.qemu_img, &arguments, &limits, files, false, stop)? {
        Ended::Well(said) => said,
        Ended::Late => return Err(refused("The image takes too long to be looked at.".to_owned())),
        Ended::Badly(complaint) => return Err(failed(&complaint)),
    };
    let said: Value = serde_json::from_slice(&said).map_err(io::Error::other)?;
    judge(&said, disk_format, &converter.vmdk_types)
}

/// Refuses what no image may have, in Glance's words; the size of the disk in bytes.
pub(super) fn judge(said: &Value, disk_format: &str, vmdk_types: &[String]) -> Result<u64, Failure> {
    let fail = |text: &str| Err(refused(text.to_owned()));
    if said["format"] != disk_format {
        return fail("Image metadata disagrees about format");
    }
    if said.get("backing-filename").is_some() {
        return fail("QCOW images with backing files are not allowed");
    }
    let specific = &said["format-specific"]["data"];
    if specific.get("data-file").is_some() {
        return fail("QCOW images with data-file set are not allowed");
    }
    if disk_format == Format::Vmdk.name() {
        match specific["create-type"].as_str().filter(|kind| !kind.is_empty()) {
            None => return fail("Unable to determine VMDK create-type"),
            Some(_) if vmdk_types.is_empty() => return fail("Image is a VMDK, but no VMDK createType is specified"),
            Some(kind) if !vmdk_types.iter().any(|allowed| allowed == kind) => {
                return fail("Invalid VMDK create-type specified");
            }
            Some(_) => {}
        }
    }
    match said["virtual-size"].as_u64() {
        Some(size) => Ok(size),
        None => Err(io::Error::other("qemu-img does not say how large an image is").into()),
    }
}

fn refused(text: String) -> Failure {
    Failure::Refused(text)
}

/// The program complains: of the disk, or of the image. Its words hold paths, so they go to the log only.
fn failed(complaint: &str) -> Failure {
    if complaint.contains("No space left on device") {
        return Failure::Broken(Errno::NOSPC.into());
    }
    tracing::warn!("an image cannot be converted: {complaint}");
    refused("The image cannot be converted: it is damaged, or needs more than a conversion may take.".to_owned())
}
