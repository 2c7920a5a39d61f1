//! What inspection found.

/// A disk image format that is told apart, under Glance's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// None of the others.
    Raw,
    /// QEMU's copy-on-write format, any version.
    Qcow2,
    /// Connectix / Microsoft Virtual PC, with a footer copy at the start (dynamic disks).
    Vhd,
    /// Microsoft Hyper-V.
    Vhdx,
    /// VMware: a sparse extent, or a descriptor alone.
    Vmdk,
    /// VirtualBox.
    Vdi,
    /// QEMU's enhanced disk, which nobody supports.
    Qed,
    /// ISO 9660 or UDF.
    Iso,
    /// A GUID or MBR partition table.
    Gpt,
    /// An encrypted volume of the Linux Unified Key Setup.
    Luks,
}

impl Format {
    const ALL: [Self; 10] = [
        Self::Raw,
        Self::Qcow2,
        Self::Vhd,
        Self::Vhdx,
        Self::Vmdk,
        Self::Vdi,
        Self::Qed,
        Self::Iso,
        Self::Gpt,
        Self::Luks,
    ];

    /// The name, as in `disk_format` where Glance has the format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
            Self::Qed => "qed",
            Self::Iso => "iso",
            Self::Gpt => "gpt",
            Self::Luks => "luks",
        }
    }

    /// The format of a name; none for one that cannot be told from its bytes (`ami`, `ploop`, …).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// What a stream of bytes was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Every format that the bytes match; empty when they match none.
    pub formats: Vec<Format>,
    /// The format the bytes are taken for: [`Format::Raw`] when they match none, ISO for an ISO with a partition
    /// table in front (a bootable one), absent when they match several otherwise.
    pub format: Option<Format>,
    /// Bytes of the disk that `format` holds; absent when unknown.
    pub virtual_size: Option<u64>,
    /// The names of the safety checks of `format` that failed.
    pub failures: Vec<&'static str>,
    /// False when the stream ended within the headers of `format`, so that nothing could be checked.
    pub complete: bool,
    /// Length of the stream in bytes.
    pub total_bytes: u64,
}

impl Verdict {
    pub(super) fn new(mut findings: Vec<Finding>, total_bytes: u64) -> Self {
        let formats: Vec<Format> = findings.iter().map(|finding| finding.format).collect();
        let finding = match formats.as_slice() {
            [] => Some(Finding::new(Format::Raw).sized(Some(total_bytes))),
            [_] | [Format::Iso, Format::Gpt] => Some(findings.swap_remove(0)),
            _ => None,
        };
        let Some(finding) = finding else {
            let (failures, complete) = (Vec::new(), true);
            return Self { formats, format: None, virtual_size: None, failures, complete, total_bytes };
        };
        Self {
            formats,
            format: Some(finding.format),
            virtual_size: finding.virtual_size,
            failures: finding.failures,
            complete: finding.complete,
            total_bytes,
        }
    }
}

/// The largest size that the catalog can hold, and the largest that any reader of these formats accepts.
const MAX_VIRTUAL_SIZE: u64 = i64::MAX.cast_unsigned();

/// The match of one format.
pub(super) struct Finding {
    pub(super) format: Format,
    pub(super) virtual_size: Option<u64>,
    pub(super) failures: Vec<&'static str>,
    pub(super) complete: bool,
}

impl Finding {
    pub(super) fn new(format: Format) -> Self {
        Self { format, virtual_size: None, failures: Vec::new(), complete: true }
    }

    /// A match of which nothing can be said because the stream ended within its headers.
    pub(super) fn incomplete(format: Format) -> Self {
        Self { complete: false, ..Self::new(format) }
    }

    /// Sets the size in bytes: `None` is one that overflowed, which fails a check as one that is out of range does;
    /// zero is unknown.
    pub(super) fn sized(mut self, size: Option<u64>) -> Self {
        match size {
            Some(0) => {}
            Some(size) if size <= MAX_VIRTUAL_SIZE => self.virtual_size = Some(size),
            _ => self.failures.push("virtual_size"),
        }
        self
    }

    /// Records the check `name` as failed, unless `passed`.
    pub(super) fn check(mut self, name: &'static str, passed: bool) -> Self {
        if !passed {
            self.failures.push(name);
        }
        self
    }
}
