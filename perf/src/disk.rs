//! Cold files: what is not in the page cache, what the disk was asked for, and how fast it is alone.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use rustix::fs::{Advice, fadvise};
use serde::Deserialize;

use crate::error::{During, Error, Result};

/// Bytes of a sector as the kernel counts them, whatever the disk's are.
const SECTOR: u64 = 512;
/// Devices that stand for others, or for none.
const VIRTUAL: [&str; 6] = ["loop", "ram", "zram", "dm-", "md", "nbd"];

/// Drops a file from the page cache.
///
/// # Errors
/// It cannot be opened or written back.
pub fn forget(path: &Path) -> Result<()> {
    let what = || path.display().to_string();
    let file = File::open(path).during(what)?;
    // Only what is on the disk can be dropped.
    file.sync_all().during(what)?;
    fadvise(&file, 0, None, Advice::DontNeed).during(what)
}

/// Bytes that all disks have read since the machine has started.
///
/// # Errors
/// `/sys/block` or `/proc/diskstats` cannot be read.
pub fn read_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/diskstats").during(|| "/proc/diskstats")?;
    let disks: Vec<String> = fs::read_dir("/sys/block")
        .during(|| "/sys/block")?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| !VIRTUAL.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    Ok(sectors(&text, &disks).saturating_mul(SECTOR))
}

/// Sectors read by `disks`, from the text of `/proc/diskstats` (Documentation/admin-guide/iostats.rst).
fn sectors(text: &str, disks: &[String]) -> u64 {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        disks.iter().any(|disk| fields.get(2) == Some(&disk.as_str())).then(|| fields.get(5)?.parse::<u64>().ok())?
    };
    text.lines().filter_map(read).sum()
}

#[derive(Deserialize)]
struct Fio {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    read: Read,
}

#[derive(Deserialize)]
struct Read {
    bw_bytes: f64,
}

/// Bytes per second of `fio` reading a file once from front to back, 1 MiB at a time; `direct`: past the page cache.
///
/// # Errors
/// There is no `fio`, or it fails.
pub fn fio(path: &Path, direct: bool) -> Result<f64> {
    let mut command = Command::new("fio");
    command.args(["--name=read", "--readonly", "--rw=read", "--bs=1M", "--ioengine=psync", "--output-format=json"]);
    command.arg(format!("--filename={}", path.display())).arg(format!("--direct={}", u8::from(direct)));
    let output = command.output().during(|| "fio")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let wrong = || Error::Setup(format!("fio: {text}{}", String::from_utf8_lossy(&output.stderr)));
    // Notes may come before the object.
    let object = text.find('{').map(|start| &text[start..]).ok_or_else(wrong)?;
    let fio: Fio = serde_json::from_str(object).map_err(|_| wrong())?;
    fio.jobs.first().map(|job| job.read.bw_bytes).filter(|rate| *rate > 0.0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_disks_count() {
        let text = " 254 0 vda 10 0 2048 5 1 1 1 1\n 254 1 vda1 9 0 2000 5 1 1 1 1\n 7 0 loop0 1 0 77 0 0 0 0 0\n";
        assert_eq!(sectors(text, &["vda".to_owned()]), 2048);
        assert_eq!(sectors(text, &[]), 0);
    }
}
