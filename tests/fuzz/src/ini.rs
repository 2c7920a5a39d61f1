//! Configuration files: what is read and written again reads the same, and every line is either taken or reported.

use std::path::Path;

use common::config::ini::{Entry, IniFile, parse};

/// A file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, problems) = parse(Path::new("fuzz.conf"), text);
    accounted(text, &file, problems.len());
    // A key that white space other than blanks and tabs kept from being a comment is one once it is written anew.
    if file.entries.iter().any(|entry| entry.key.starts_with(['#', ';', '['])) {
        return;
    }
    let written = written(&file.entries);
    let (again, problems) = parse(Path::new("fuzz.conf"), &written);
    assert!(problems.is_empty(), "{problems:?} in {written:?}");
    let texts = |entries: &[Entry]| -> Vec<[String; 3]> {
        entries.iter().map(|entry| [&entry.group, &entry.key, &entry.value].map(Clone::clone)).collect()
    };
    assert_eq!(texts(&file.entries), texts(&again.entries));
}

/// Every line that is neither empty nor a comment is a header, an entry, a part of one, or a problem.
fn accounted(text: &str, file: &IniFile, problems: usize) {
    let lines = text.split('\n').map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let taken: usize = file.entries.iter().map(|entry| 1 + entry.value.matches('\n').count()).sum();
    assert_eq!(lines.count(), taken + file.headers.len() + problems);
}

fn written(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let mut lines = entry.value.split('\n');
        let first = lines.next().unwrap_or_default();
        text.push_str(&format!("[{}]\n{} = \"{first}\"\n", entry.group, entry.key));
        lines.for_each(|line| text.push_str(&format!("\t{line}\n")));
    }
    text
}
