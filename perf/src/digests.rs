//! How fast digests are alone: OpenSSL's, the fastest scalar code there is for most processors.

use std::process::Command;
use std::time::Duration;

use crate::error::{During, Error, Result};

/// Bytes that are hashed at a time, as the data plane does.
const PIECE: &str = "262144";

/// Bytes per second of each digest, on one core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alone {
    /// MD5.
    pub md5: f64,
    /// SHA-512.
    pub sha512: f64,
}

/// Measures both for `time` each, one after the other.
///
/// # Errors
/// There is no `openssl` command, or it prints something else than its manual says.
pub fn openssl(time: Duration) -> Result<Alone> {
    Ok(Alone { md5: speed("md5", time)?, sha512: speed("sha512", time)? })
}

fn speed(digest: &str, time: Duration) -> Result<f64> {
    let seconds = time.as_secs().max(1).to_string();
    let output = Command::new("openssl")
        .args(["speed", "-mr", "-seconds", &seconds, "-bytes", PIECE, "-evp", digest])
        .output()
        .during(|| "openssl speed")?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| Error::Setup(format!("`openssl speed` said nothing of {digest}: {text}")))
}

/// The rate in what `openssl speed -mr` prints: `+F:<number>:<digest>:<bytes per second>`.
fn parse(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("+F:"))?.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_machine_readable_line() {
        assert_eq!(parse("+H:262144\n+F:25:md5:567464658.82\n"), Some(567_464_658.82));
        assert_eq!(parse("+H:262144\n"), None);
    }
}
