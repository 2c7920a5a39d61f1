//! Sizes as a person writes them: `4096`, `64K`, `512MiB`, `2G` (powers of 1024).

/// Bytes in a GiB, the unit of every throughput and CPU figure for bulk data.
pub const GIB: u64 = 1 << 30;

/// Reads a size in bytes.
///
/// # Errors
/// Says what is accepted, if `text` is not a size, is zero, or does not fit 64 bits.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[digits..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(refusal(text)),
    };
    let number: u64 = text[..digits].parse().map_err(|_| refusal(text))?;
    match number.checked_mul(1 << shift) {
        Some(size) if size > 0 => Ok(size),
        _ => Err(refusal(text)),
    }
}

fn refusal(text: &str) -> String {
    format!("'{text}' is no size: a number above 0, alone or with K, M, G or T (powers of 1024)")
}

/// A count of bytes in GiB.
#[must_use]
pub fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_and_suffixed() {
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("64k"), Ok(65_536));
        assert_eq!(parse("512MiB"), Ok(512 << 20));
        assert_eq!(parse("2G"), Ok(2 * GIB));
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "0", "G", "-1", "1.5G", "1GB", "2 G", "99999999999999T", "1é"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
