//! Regular expressions of the file, which were written for Python's `re`.

use regex::Regex;

/// Compiles an expression that is searched anywhere in a name. What Python would read otherwise than we do is refused, and
/// so is what needs backtracking (look-around, back-references): time to match stays proportional to the name.
///
/// # Errors
/// What is wrong, in one line.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    if let Some(ambiguous) = ambiguous(text) {
        return Err(format!("{ambiguous} has another meaning in Python; write \\ before what stands for itself"));
    }
    Regex::new(text).map_err(|error| match error {
        // The last line says what is wrong, after lines that show where.
        regex::Error::Syntax(lines) => {
            let last = lines.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
        error => error.to_string(),
    })
}

/// The first thing in `text` that only looks the same to both: nested and combined classes, and escapes of word ends.
fn ambiguous(text: &str) -> Option<&'static str> {
    let mut rest = text;
    let mut is_class = false;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        let after = rest.get(length..).unwrap_or_default();
        match first {
            '\\' => {
                match after.chars().next() {
                    Some('<') => return Some("\\<"),
                    Some('>') => return Some("\\>"),
                    _ => {}
                }
                length += after.chars().next().map_or(0, char::len_utf8);
            }
            '[' if is_class => return Some("[ inside of [ ]"),
            '[' => {
                is_class = true;
                // A bracket that comes first stands for itself.
                let start = after.strip_prefix('^').unwrap_or(after);
                length += after.len() - start.strip_prefix(']').unwrap_or(start).len();
            }
            ']' => is_class = false,
            '&' if is_class && after.starts_with('&') => return Some("&& inside of [ ]"),
            '-' if is_class && after.starts_with('-') => return Some("-- inside of [ ]"),
            '~' if is_class && after.starts_with('~') => return Some("~~ inside of [ ]"),
            _ => {}
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_searched_as_python_searches_them() {
        // What `re.search` finds, in the words of CPython 3.11.
        for (pattern, finds, not) in [
            ("x_.*", &["x_a", "ax_b", "x_"] as &[&str], &["x", ""] as &[&str]),
            ("^x_", &["x_", "x_a"], &["ax_"]),
            ("^x$", &["x"], &["xx", "x "]),
            ("", &["", "anything"], &[]),
            (".*", &["", "a"], &[]),
            ("(?i)^OS_[a-z0-9_]+", &["os_distro", "Os_X"], &["os_", "xos_a"]),
            ("^(a|b)c{2,3}$", &["acc", "bccc"], &["ac", "bcccc"]),
            ("[]x]", &["]", "x"], &["["]),
            ("[^]x]", &["a"], &["]", "x", ""]),
            (r"^\w+$", &["größe", "a_1"], &["a-b"]),
            (r"^a\.b$", &["a.b"], &["axb"]),
            (r"[\[\]]", &["a[", "]"], &["a"]),
            ("a--b", &["a--b"], &["a-b"]),
        ] {
            let compiled = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(finds.iter().all(|name| compiled.is_match(name)), "{pattern}");
            assert!(!not.iter().any(|name| compiled.is_match(name)), "{pattern}");
        }
    }

    #[test]
    fn what_is_read_otherwise_or_not_at_all_is_refused() {
        for (pattern, reason) in [
            ("*", "repetition operator missing expression"),
            ("(x", "unclosed group"),
            ("[x", "unclosed character class"),
            ("^(?!secret)", "look-around"),
            (r"(a)\1", "backreferences are not supported"),
            (r"x\Z", "unrecognized escape sequence"),
            ("[[:alpha:]]", "another meaning in Python"),
            ("[a-z&&[^x]]", "another meaning in Python"),
            ("[+--]", "another meaning in Python"),
            (r"\<x", "another meaning in Python"),
        ] {
            let error = compile(pattern).expect_err(pattern);
            assert!(error.contains(reason) && !error.contains('\n'), "{pattern}: {error}");
        }
    }
}
