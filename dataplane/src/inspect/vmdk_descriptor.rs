//! The descriptor of a VMDK: a text that names the parts of a disk, and with them, if it is hostile, any file of the
//! machine that opens it.

/// The disk types that hold their own data, quoted as they are.
const SELF_CONTAINED: [&str; 2] = ["\"monolithicsparse\"", "\"streamoptimized\""];

/// The words that begin an extent's line.
const EXTENT_ACCESS: [&str; 3] = ["rw", "rdonly", "noaccess"];

/// The field that says what kind of disk it is.
const CREATE_TYPE: &str = "createtype";

/// The field that names another file to read from, as qcow2's backing file. Readers search it anywhere in the text.
const PARENT: &str = "parentfilenamehint";

/// Whether a text from the start of a stream would be taken for a descriptor by any reader: it has a disk type, or
/// the customary first line, or its first line that says something is a version.
pub(super) fn is_descriptor(text: &[u8]) -> bool {
    let (text, _) = split_at_nul(text);
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    text.contains("createtype=\"")
        || text.starts_with("# disk descriptorfile")
        || first.is_some_and(|line| matches!(line, "version=1" | "version=2" | "version=3"))
}

/// Whether an embedded descriptor names nothing but the disk that it is part of.
pub(super) fn is_safe(bytes: &[u8]) -> bool {
    let (text, padding) = split_at_nul(bytes);
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let text = text.to_ascii_lowercase();
    // Readers differ in which of two they believe.
    let hidden = String::from_utf8_lossy(padding).to_ascii_lowercase().contains(CREATE_TYPE);
    if !text.is_ascii() || hidden || text.matches(CREATE_TYPE).count() != 1 || text.contains(PARENT) {
        return false;
    }
    let mut lines = Lines::default();
    text.split('\n').map(str::trim).all(|line| lines.take(line)) && lines.self_contained && lines.extents > 0
}

/// What the lines so far have said.
#[derive(Default)]
struct Lines {
    extents: usize,
    self_contained: bool,
}

impl Lines {
    /// Takes a line, trimmed and in lower case; false when it is not understood or not safe.
    fn take(&mut self, line: &str) -> bool {
        if line.is_empty() || line.starts_with('#') || line.starts_with("ddb") {
            return true;
        }
        if let Some((key, value)) = line.split_once('=')
            && !key.contains(' ')
        {
            self.self_contained |= key == CREATE_TYPE && SELF_CONTAINED.contains(&value);
            return true;
        }
        self.extents += 1;
        let access = line.split(' ').next();
        // A name with a separator could be any file.
        access.is_some_and(|access| EXTENT_ACCESS.contains(&access)) && !line.contains('/')
    }
}

/// The text, and what stands behind the NUL that ends it.
fn split_at_nul(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.split_at(end)
}
