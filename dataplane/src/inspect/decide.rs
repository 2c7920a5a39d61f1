//! What an image claims to be, held against what its bytes are.

use super::{Format, Verdict};

/// Why an upload is refused, in the words that Glance's clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The explanation for the client.
    pub message: String,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// Accepts or refuses what was uploaded; the answer is the image's virtual size in bytes, absent when unknown.
///
/// `disk_format` and `container_format` are the image's; only `bare` containers are inspected. Without `require_match`
/// (`[image_format] require_image_format_match`) a mismatch is only logged. `gpt_nonfatal`
/// (`gpt_safety_checks_nonfatal`) names safety checks that do not fail a partition table.
///
/// # Errors
/// A [`Refusal`] when the formats do not match, when several match, when a safety check fails, and when the stream
/// ends within the headers that would have to be checked.
pub fn decide(
    verdict: &Verdict,
    disk_format: &str,
    container_format: &str,
    require_match: bool,
    gpt_nonfatal: &[String],
) -> Result<Option<u64>, Refusal> {
    if container_format != "bare" {
        return Ok(None);
    }
    let (format, virtual_size) = match matching(verdict, disk_format) {
        Ok(matching) => matching,
        Err(refusal) if require_match => return Err(refusal),
        Err(refusal) => {
            tracing::warn!("{refusal}: accepted, as matching is not required");
            return Ok(None);
        }
    };
    check_safety(verdict, format, gpt_nonfatal)?;
    Ok(virtual_size)
}

/// The detected format and the virtual size, when they agree with the claim.
fn matching(verdict: &Verdict, disk_format: &str) -> Result<(Format, Option<u64>), Refusal> {
    // An ISO with a partition table is two things to whoever takes it for raw.
    let is_one = verdict.formats.len() <= 1 || disk_format != Format::Raw.name();
    let Some(format) = verdict.format.filter(|_| is_one) else {
        let names: Vec<&str> = verdict.formats.iter().map(|format| format.name()).collect();
        return Err(Refusal::new(format!("Multiple formats detected: {}", names.join(","))));
    };
    if format.name() == disk_format {
        return Ok((format, verdict.virtual_size));
    }
    if format == Format::Raw && Format::from_name(disk_format).is_none() {
        return Ok((format, None));
    }
    if disk_format == Format::Raw.name() {
        tracing::warn!("an image that claims to be raw is {}", format.name());
        // Taken for raw, it is as large as its bytes, whatever its headers say.
        return Ok((format, Some(verdict.total_bytes)));
    }
    Err(Refusal::new(format!("Image disk_format {disk_format} does not match stream data {}", format.name())))
}

/// Accepts or refuses what was found to be `format`, whatever it claims to be.
///
/// # Errors
/// As of [`decide`], but for mismatches.
pub fn check_safety(verdict: &Verdict, format: Format, gpt_nonfatal: &[String]) -> Result<(), Refusal> {
    if !verdict.complete {
        return Err(Refusal::new("Incomplete file cannot be safety checked"));
    }
    let tolerated = |failure: &str| format == Format::Gpt && gpt_nonfatal.iter().any(|name| name == failure);
    if verdict.failures.iter().all(|failure| tolerated(failure)) {
        return Ok(());
    }
    tracing::warn!("an image of format {} fails the checks {:?}", format.name(), verdict.failures);
    Err(Refusal::new("Image failed safety checks"))
}
