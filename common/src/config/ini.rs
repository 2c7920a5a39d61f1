//! The INI dialect of oslo.config: groups, `key = value` or `key: value`, continuation lines, quotes round a value.
//!
//! Comments take whole lines and start in column 1. Substitution and types come later: here a value is text.

use std::path::Path;
use std::sync::Arc;

use super::problem::{Place, Problem};

/// The group that must be written in upper case; all other names are case-insensitive.
pub(super) const DEFAULT_GROUP: &str = "DEFAULT";

/// One `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Group as written.
    pub group: String,
    /// Key as written.
    pub key: String,
    /// Value: continuation lines joined by newlines, matching quotes taken off.
    pub value: String,
    /// Line of the key.
    pub place: Place,
}

/// A file's contents, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct IniFile {
    /// Group headers as written.
    pub headers: Vec<(String, Place)>,
    /// Entries of all groups.
    pub entries: Vec<Entry>,
}

/// The name by which a group is looked up: lower case, but for `DEFAULT`. `[default]` is thus another group.
pub(super) fn group_key(name: &str) -> String {
    if name == DEFAULT_GROUP { name.to_owned() } else { name.to_lowercase() }
}

/// Reads the text of `file`. Bad lines are left out and reported.
pub fn parse(file: &Path, text: &str) -> (IniFile, Vec<Problem>) {
    let mut parser = Parser {
        file: Arc::from(file),
        line: 0,
        group: None,
        open: false,
        result: IniFile::default(),
        problems: Vec::new(),
    };
    for line in text.split('\n') {
        parser.line = parser.line.saturating_add(1);
        parser.take(line.trim_end());
    }
    (parser.result, parser.problems)
}

struct Parser {
    file: Arc<Path>,
    line: usize,
    group: Option<String>,
    /// Whether a continuation line would extend the last entry.
    open: bool,
    result: IniFile,
    problems: Vec<Problem>,
}

impl Parser {
    fn take(&mut self, line: &str) {
        if line.is_empty() {
            self.open = false;
        } else if line.starts_with([' ', '\t']) {
            self.continuation(line.trim_start());
        } else {
            self.open = false;
            match line.as_bytes().first() {
                Some(b'[') => self.header(line),
                Some(b'#' | b';') => {}
                _ => self.assignment(line),
            }
        }
    }

    fn continuation(&mut self, rest: &str) {
        match self.result.entries.last_mut().filter(|_| self.open) {
            Some(entry) => {
                entry.value.push('\n');
                entry.value.push_str(rest);
            }
            None => self.fail("an indented line continues a value, and there is none to continue"),
        }
    }

    fn header(&mut self, line: &str) {
        let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
            return self.fail("a group header must end with ]");
        };
        if name.is_empty() {
            return self.fail("a group header must hold a name");
        }
        self.result.headers.push((name.to_owned(), self.place()));
        self.group = Some(name.to_owned());
    }

    fn assignment(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return self.fail("neither a group header nor `key = value`");
        };
        let key = key.trim();
        if key.is_empty() {
            return self.fail("the key before the separator is empty");
        }
        let Some(group) = self.group.clone() else {
            return self.fail("an option before the first group header");
        };
        let place = self.place();
        let value = unquote(value.trim()).to_owned();
        self.result.entries.push(Entry { group, key: key.to_owned(), value, place });
        self.open = true;
    }

    fn place(&self) -> Place {
        Place::Line(Arc::clone(&self.file), self.line)
    }

    fn fail(&mut self, reason: &str) {
        let place = self.place();
        self.problems.push(Problem::Syntax { place, reason: reason.to_owned() });
    }
}

/// `text` without one pair of matching quotes round it. There are no escapes.
pub(super) fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            // A lone quote opens and closes at once, as in oslo.config.
            return if rest.is_empty() { rest } else { rest.strip_suffix(quote).unwrap_or(text) };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Group, key, value, place.
    type Line = (String, String, String, String);

    fn read(text: &str) -> (Vec<Line>, Vec<String>) {
        let (file, problems) = parse(Path::new("a.conf"), text);
        let entries = file.entries.into_iter().map(|e| (e.group, e.key, e.value, e.place.to_string())).collect();
        (entries, problems.iter().map(ToString::to_string).collect())
    }

    fn value(text: &str) -> String {
        let (entries, problems) = read(&format!("[g]\n{text}"));
        assert_eq!(problems, Vec::<String>::new(), "{text:?}");
        assert_eq!(entries.len(), 1, "{text:?}");
        entries[0].2.clone()
    }

    #[test]
    fn values_are_split_at_the_first_separator_and_trimmed() {
        for (text, expected) in [
            ("k = v", "v"),
            ("k=v", "v"),
            ("k: v", "v"),
            ("k :v = w", "v = w"),
            ("k = a:b=c", "a:b=c"),
            ("k =", ""),
            ("k = 5 # no trailing comment", "5 # no trailing comment"),
            ("k = \"quoted \"", "quoted "),
            ("k = 'quoted '", "quoted "),
            ("k = 'half", "'half"),
            ("k = 'a\"", "'a\""),
            ("k = '", ""),
            ("k = 'a' 'b'", "a' 'b"),
            ("k = a\\n%(x)s", "a\\n%(x)s"),
            ("k = one\n  two\n\tthree  ", "one\ntwo\nthree"),
            ("k = 'one'\n  'two'", "one\n'two'"),
            ("k = v\r\n", "v"),
            ("k = one\n[h]", "one"),
        ] {
            assert_eq!(value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn entries_know_their_group_and_line() {
        let (entries, problems) = read("# c\n; c\n[A]\nx = 1\n\n[ b ]\ny = 2\n  3\nz = 4\n[A]\nx = 5\n");
        assert!(problems.is_empty(), "{problems:?}");
        let expected = [("A", "x", "1", 4), (" b ", "y", "2\n3", 7), (" b ", "z", "4", 9), ("A", "x", "5", 11)];
        let expected: Vec<_> =
            expected.map(|(g, k, v, line)| (g.to_owned(), k.to_owned(), v.to_owned(), format!("a.conf:{line}"))).into();
        assert_eq!(entries, expected);
    }

    #[test]
    fn bad_lines_are_all_reported_with_their_place() {
        let (entries, problems) =
            read("k = early\n[a]\nno separator\n= v\n : v\n[]\n[open\n[a] # c\nk = v\n\n  late\n# c\n  late\n");
        assert_eq!(entries, [("a".into(), "k".into(), "v".into(), "a.conf:9".into())]);
        let lines: Vec<_> = problems.iter().map(|p| p.split(": ").next().unwrap_or("")).collect();
        let expected = [1, 3, 4, 5, 6, 7, 8, 11, 13].map(|line| format!("a.conf:{line}"));
        assert_eq!(lines, expected);
        assert_eq!(problems[0], "a.conf:1: an option before the first group header");
    }

    #[test]
    fn groups_are_looked_up_in_lower_case_but_for_the_default() {
        for (name, key) in [
            ("DEFAULT", "DEFAULT"),
            ("default", "default"),
            ("Default", "default"),
            ("Task", "task"),
            (" task ", " task "),
        ] {
            assert_eq!(group_key(name), key);
        }
    }
}
