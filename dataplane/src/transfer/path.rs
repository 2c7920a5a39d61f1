//! The way that a download's bytes take, decided in one table.

use common::config::Dataplane;

use crate::io::{SendOptions, SendPath};

/// What is known of a transfer before its first byte. What costs a system call to find out is a function, and asked only where
/// it decides something.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// Size of the whole image in bytes.
    pub(crate) image_bytes: u64,
    /// Bytes that this transfer sends.
    pub(crate) bytes: u64,
    /// Whether the first of them are in the page cache.
    pub(crate) cached: &'a dyn Fn() -> bool,
    /// Whether the kernel may send from a file on this connection; not if we encrypt it ourselves.
    pub(crate) kernel_sends: bool,
    /// Whether anybody encrypts the connection.
    pub(crate) encrypted: bool,
    /// Whether the client is on this machine.
    pub(crate) local: &'a dyn Fn() -> bool,
}

/// The operator's settings that matter here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    path: Option<SendPath>,
    direct_bytes_min: u64,
    direct_depth: usize,
    zero_copy: Option<bool>,
}

/// What was decided, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) options: SendOptions,
    /// For the log.
    pub(crate) reason: &'static str,
}

/// One row: the way, when it is taken, and the reason. The first row that fits decides.
type Row = (SendPath, fn(&Facts<'_>, &Settings) -> bool, &'static str);

const TABLE: [Row; 8] = [
    (SendPath::Direct, |_, set| set.path == Some(SendPath::Direct), "configured"),
    // Nobody but this process has the key.
    (SendPath::Copy, |facts, _| !facts.kernel_sends, "encrypted here"),
    (SendPath::Copy, |_, set| set.path == Some(SendPath::Copy), "configured"),
    (SendPath::Sendfile, |_, set| set.path == Some(SendPath::Sendfile), "configured"),
    (SendPath::Splice, |_, set| set.path == Some(SendPath::Splice), "configured"),
    // It would push everything else out of the page cache, and itself too before it is read again.
    (
        SendPath::Direct,
        |facts, set| facts.image_bytes >= set.direct_bytes_min && !(facts.cached)(),
        "larger than the cache",
    ),
    // One call does it; a pipe takes two.
    (SendPath::Sendfile, |facts, _| facts.bytes <= SMALL_BYTES, "small"),
    (SendPath::Splice, |_, _| true, "page cache"),
];

/// Bytes that one call of `sendfile(2)` sends at once.
const SMALL_BYTES: u64 = 64 * 1024;

impl Settings {
    /// The settings of `config` on a machine with `memory_bytes` of memory.
    pub(crate) fn new(config: &Dataplane, memory_bytes: u64) -> Self {
        let path = config.send_path.map(|path| match path {
            common::config::SendPath::Splice => SendPath::Splice,
            common::config::SendPath::Sendfile => SendPath::Sendfile,
            common::config::SendPath::Copy => SendPath::Copy,
            common::config::SendPath::Direct => SendPath::Direct,
        });
        let direct_bytes_min = match config.direct_read_bytes_min {
            Some(0) => u64::MAX,
            Some(bytes) => bytes,
            None => memory_bytes / 2,
        };
        let (direct_depth, zero_copy) = (config.direct_read_buffers_count, config.zero_copy_sends);
        Settings { path, direct_bytes_min, direct_depth, zero_copy }
    }
}

/// Decides.
pub(crate) fn choose(facts: &Facts<'_>, settings: &Settings) -> Choice {
    let row = TABLE.iter().find(|(_, fits, _)| fits(facts, settings));
    let (path, reason) = row.map_or((SendPath::Copy, "no row"), |(path, _, reason)| (*path, *reason));
    let zero_copy =
        path == SendPath::Direct && !facts.encrypted && settings.zero_copy.unwrap_or_else(|| !(facts.local)());
    Choice { options: SendOptions { path, depth: settings.direct_depth, zero_copy }, reason }
}

/// The way of what is no file of this machine.
pub(crate) fn relayed(reason: &'static str) -> Choice {
    Choice { options: SendOptions { path: SendPath::Copy, depth: 1, zero_copy: false }, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    const YES: &dyn Fn() -> bool = &|| true;
    const NO: &dyn Fn() -> bool = &|| false;
    const USUAL: Facts<'_> =
        Facts { image_bytes: 2 * GIB, bytes: 2 * GIB, cached: YES, kernel_sends: true, encrypted: false, local: NO };
    const AUTO: Settings = Settings { path: None, direct_bytes_min: 8 * GIB, direct_depth: 4, zero_copy: None };

    fn path(facts: Facts<'_>, settings: Settings) -> (SendPath, &'static str) {
        let choice = choose(&facts, &settings);
        (choice.options.path, choice.reason)
    }

    #[test]
    fn each_row_has_its_transfers() {
        let cold = Facts { cached: NO, ..USUAL };
        let huge = Facts { image_bytes: 9 * GIB, ..cold };
        assert_eq!(path(USUAL, AUTO), (SendPath::Splice, "page cache"));
        assert_eq!(path(cold, AUTO), (SendPath::Splice, "page cache"));
        assert_eq!(path(huge, AUTO), (SendPath::Direct, "larger than the cache"));
        assert_eq!(path(Facts { cached: YES, ..huge }, AUTO), (SendPath::Splice, "page cache"));
        assert_eq!(path(Facts { bytes: 10, ..USUAL }, AUTO), (SendPath::Sendfile, "small"));
        assert_eq!(path(Facts { kernel_sends: false, ..USUAL }, AUTO), (SendPath::Copy, "encrypted here"));
        for forced in SendPath::ALL {
            let settings = Settings { path: Some(forced), ..AUTO };
            for facts in [USUAL, cold, huge, Facts { bytes: 10, ..USUAL }] {
                assert_eq!(path(facts, settings), (forced, "configured"));
            }
            let encrypted = path(Facts { kernel_sends: false, ..USUAL }, settings).0;
            let possible = if forced == SendPath::Direct { SendPath::Direct } else { SendPath::Copy };
            assert_eq!(encrypted, possible, "{forced}");
        }
    }

    #[test]
    fn nothing_is_sent_without_a_copy_where_the_kernel_copies_or_the_bytes_are_encrypted() {
        const DIRECT: Settings = Settings { path: Some(SendPath::Direct), ..AUTO };
        let zero_copy =
            |facts: Facts<'_>, setting| choose(&facts, &Settings { zero_copy: setting, ..DIRECT }).options.zero_copy;
        let local = Facts { local: YES, ..USUAL };
        assert!(zero_copy(USUAL, None) && zero_copy(local, Some(true)));
        assert!(!zero_copy(local, None) && !zero_copy(USUAL, Some(false)));
        assert!(!zero_copy(Facts { encrypted: true, ..USUAL }, Some(true)));
    }
}
