//! Prometheus expositions: encoding one, and merging those of both planes into one text.

mod exposition;
mod process;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prometheus::{Registry, TextEncoder};

pub use exposition::Exposition;
pub use process::{count_lost_log_lines, process, thread_cpu_seconds};

/// The text exposition of everything registered in `registry`.
pub fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    // Encoding writes into a String and fails only on families without samples, which gather() leaves out.
    let _ = TextEncoder::new().encode_utf8(&registry.gather(), &mut text);
    text
}

/// One exposition out of several: families that stand in more than one are written once, with all their samples, as
/// the format demands. Their `HELP` and `TYPE` are taken from the first.
pub fn merge(texts: &[&str]) -> String {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    for text in texts {
        let mut current = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                current = rest.split(' ').next().unwrap_or("");
                families.entry(current).or_default().help.get_or_insert(line);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap_or("");
                families.entry(current).or_default().kind.get_or_insert(line);
            } else if !line.is_empty() && !line.starts_with('#') {
                families.entry(current).or_default().samples.push(line);
            }
        }
    }
    let mut merged = String::new();
    for family in families.values() {
        for line in family.help.iter().chain(&family.kind).chain(&family.samples) {
            let _ = writeln!(merged, "{line}");
        }
    }
    merged
}

#[derive(Default)]
struct Family<'a> {
    help: Option<&'a str>,
    kind: Option<&'a str>,
    samples: Vec<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_families_are_written_once() {
        let a = "# HELP up is up\n# TYPE up gauge\nup{plane=\"a\"} 1\n# HELP a a\n# TYPE a counter\na 2\n";
        let b = "# HELP up is up\n# TYPE up gauge\nup{plane=\"b\"} 1\n";
        let merged = merge(&[a, b]);
        assert_eq!(merged.matches("# TYPE up gauge").count(), 1);
        let kind = merged.find("# TYPE up").expect("type line");
        let tail: Vec<_> = merged[kind..].lines().collect();
        assert_eq!(&tail[1..3], ["up{plane=\"a\"} 1", "up{plane=\"b\"} 1"]);
        assert!(merged.contains("\na 2\n"));
    }
}
