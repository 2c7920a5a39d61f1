//! The file of property protections: the INI dialect of Python's `configparser`, which is not that of the configuration.
//! Comments are whole lines, indented or not; a section's name ends at the last bracket of its line; keys are
//! case-insensitive; indented lines continue a value; `[DEFAULT]` holds values for all sections; nothing may come twice.

/// A line, from 1, and what is wrong there.
pub(super) type Problem = (usize, String);

/// The section whose values hold for all others.
const DEFAULTS: &str = "DEFAULT";

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    /// Of its header.
    pub(super) line: usize,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Lower case.
    key: String,
    line: usize,
    value: String,
}

impl Section {
    /// The line and the value of `key`.
    pub(super) fn entry(&self, key: &str) -> Option<(usize, &str)> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some((entry.line, &entry.value))
    }

    /// The value of `key`.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.entry(key).map(|(_, value)| value)
    }
}

/// The sections in their order, and everything that is wrong.
pub(super) fn read(text: &str) -> (Vec<Section>, Vec<Problem>) {
    let mut reader = Reader::default();
    for (line, text) in (1..).zip(text.lines()) {
        reader.take(line, text);
    }
    for entry in reader.sections.iter_mut().flat_map(|section| &mut section.entries) {
        match unescape(entry.value.trim_end()) {
            Some(value) => entry.value = value,
            None => {
                let reason = format!("{} = {}: write %% for a percent sign", entry.key, entry.value);
                reader.problems.push((entry.line, reason));
            }
        }
    }
    let (defaults, mut sections): (Vec<_>, Vec<_>) =
        reader.sections.into_iter().partition(|section| section.name == DEFAULTS);
    for entry in defaults.into_iter().flat_map(|section| section.entries) {
        for section in &mut sections {
            if section.value(&entry.key).is_none() {
                section.entries.push(entry.clone());
            }
        }
    }
    (sections, reader.problems)
}

#[derive(Default)]
struct Reader {
    sections: Vec<Section>,
    problems: Vec<Problem>,
    /// Blanks before the key whose value may go on; `None`: there is none.
    indent: Option<usize>,
}

impl Reader {
    fn take(&mut self, line: usize, text: &str) {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            return;
        }
        let indent = text.chars().take_while(|c| c.is_whitespace()).count();
        let last = self.sections.last_mut().and_then(|section| section.entries.last_mut());
        if let (Some(entry), Some(before)) = (last, self.indent)
            && indent > before
        {
            entry.value = format!("{}\n{trimmed}", entry.value);
            return;
        }
        self.indent = None;
        match trimmed.strip_prefix('[').and_then(|rest| rest.rfind(']').and_then(|end| rest.get(..end))) {
            Some(name) if !name.is_empty() => self.header(line, name),
            _ => self.assignment(line, trimmed, indent),
        }
    }

    fn header(&mut self, line: usize, name: &str) {
        if name != DEFAULTS && self.sections.iter().any(|section| section.name == name) {
            self.problems.push((line, format!("[{name}] comes twice")));
        }
        self.sections.push(Section { name: name.to_owned(), line, entries: Vec::new() });
    }

    fn assignment(&mut self, line: usize, text: &str, indent: usize) {
        let Some((key, value)) = text.split_once(['=', ':']).filter(|(key, _)| !key.trim().is_empty()) else {
            self.problems.push((line, format!("{text} is neither [a section] nor key = value")));
            return;
        };
        let Some(section) = self.sections.last_mut() else {
            self.problems.push((line, format!("{text} stands before the first [section]")));
            return;
        };
        let key = key.trim().to_lowercase();
        if section.value(&key).is_some() {
            self.problems.push((line, format!("{key} comes twice in [{}]", section.name)));
        }
        section.entries.push(Entry { key, line, value: value.trim().to_owned() });
        self.indent = Some(indent);
    }
}

/// `%%` is a percent sign. `None`: one that stands alone, or a reference to another value.
fn unescape(value: &str) -> Option<String> {
    let bare = value.replace("%%", "");
    if bare.contains('%') { None } else { Some(value.replace("%%", "%")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sections with their entries, or the lines of what is wrong.
    fn show(text: &str) -> Result<String, Vec<usize>> {
        let (sections, problems) = read(text);
        if !problems.is_empty() {
            return Err(problems.into_iter().map(|(line, _)| line).collect());
        }
        let entry = |entry: &Entry| format!("{}={}", entry.key, entry.value.replace('\n', "/"));
        let section = |section: &Section| {
            format!("[{}]{}", section.name, section.entries.iter().map(entry).collect::<Vec<_>>().join(" "))
        };
        Ok(sections.iter().map(section).collect::<Vec<_>>().join(""))
    }

    #[test]
    fn files_are_read_as_python_reads_them() {
        // What `configparser.ConfigParser().read_string` of CPython 3.11 makes of them; blank lines within a value aside.
        for (text, expected) in [
            ("[a[0-9]+]x\nk=v\n", Ok("[a[0-9]+]k=v")),
            ("  [indented]\nk = v\n", Ok("[indented]k=v")),
            ("[a]\nk = v\n   [b]\n", Ok("[a]k=v/[b]")),
            ("[a]\nk=1\n\n  more\n[b]\nk=2\n", Ok("[a]k=1/more[b]k=2")),
            ("[a]\nk = 1\n\tfoo\n", Ok("[a]k=1/foo")),
            ("[a]\n  k = 1\n  j: 2\n", Ok("[a]k=1 j=2")),
            ("[a]\nk=%%x\n", Ok("[a]k=%x")),
            ("[DEFAULT]\nk=1\n[a]\n[DEFAULT]\nj=2\n", Ok("[a]k=1 j=2")),
            ("[default]\nk=1\n[b]\n", Ok("[default]k=1[b]")),
            ("[a] ; c\nk=1 ; c\n", Ok("[a]k=1 ; c")),
            ("; c\n  # c\n", Ok("")),
            ("[a]\nk v\n", Err(vec![2])),
            ("[]\nk=1\n", Err(vec![1, 2])),
            ("[a\nk=1\n", Err(vec![1, 2])),
            ("[a]\n=1\n", Err(vec![2])),
            ("[a]\nk\n= v\n", Err(vec![2, 3])),
            ("[a]\nx=1\nX=2\n", Err(vec![3])),
            ("[a]\n[b]\n[a]\n", Err(vec![3])),
            ("[a]\nx=%(y)s\n", Err(vec![2])),
        ] {
            assert_eq!(show(text), expected.map(str::to_owned), "{text:?}");
        }
    }
}
