//! Policy files: the flat part of YAML that they use, and JSON.
//!
//! A file is a mapping from rule names to texts or to lists of texts (or of lists of texts). Names and texts may be
//! plain, in quotes, or block scalars (`>`, `|`); lists stand in brackets or one item per `- ` line. Anything else
//! is an error: a file that is understood only in part would open or close doors that nobody meant.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What stands for a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// The rule language.
    Rule(String),
    /// The old form: any of these, each all of those.
    Lists(Vec<Vec<String>>),
}

/// One rule of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) text: Text,
    /// Line of the name, from 1.
    pub(super) line: usize,
}

/// A line that cannot be read, from 1, and why.
pub(super) type YamlError = (usize, String);

/// Reads a file.
pub(super) fn read(text: &str) -> Result<Vec<Item>, YamlError> {
    if text.trim_start().starts_with('{') {
        return read_json(text);
    }
    let mut reader = Reader { lines: text.lines().collect(), next: 0 };
    let mut items = Vec::new();
    while let Some(line) = reader.content() {
        match line {
            "---" if items.is_empty() => reader.next += 1,
            "..." => break,
            _ => items.push(reader.item()?),
        }
    }
    Ok(items)
}

/// `text` in double quotes, as this reader understands it.
pub(super) fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
    format!("\"{escaped}\"")
}

fn read_json(text: &str) -> Result<Vec<Item>, YamlError> {
    let Members(members) = serde_json::from_str(text).map_err(|error| (error.line(), error.to_string()))?;
    let item = |(name, value): (String, &RawValue)| {
        // The value is a part of the text: where it begins says on which line.
        let at = value.get().as_ptr().addr().saturating_sub(text.as_ptr().addr());
        let line = text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count().saturating_add(1);
        let bad = || (line, format!("{name}: expected a text, or a list of texts or of lists of texts"));
        let text = match serde_json::from_str(value.get()).map_err(|_| bad())? {
            JsonText::Rule(text) => Text::Rule(text),
            JsonText::Lists(any) => Text::Lists(any.into_iter().map(OneOrAll::into_vec).collect()),
        };
        Ok(Item { name, text, line })
    };
    members.into_iter().map(item).collect()
}

/// The members of an object in their order, each with the piece of text that is its value.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'t> Visitor<'t> for Collect {
            type Value = Members<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonText {
    Rule(String),
    Lists(Vec<OneOrAll>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrAll {
    One(String),
    All(Vec<String>),
}

impl OneOrAll {
    fn into_vec(self) -> Vec<String> {
        match self {
            OneOrAll::One(text) => vec![text],
            OneOrAll::All(all) => all,
        }
    }
}

struct Reader<'t> {
    lines: Vec<&'t str>,
    next: usize,
}

impl<'t> Reader<'t> {
    /// The next line that is neither empty nor a comment, without blanks at its end.
    fn content(&mut self) -> Option<&'t str> {
        while let Some(line) = self.lines.get(self.next) {
            let trimmed = line.trim();
            if !trimmed.is_empty() && !trimmed.starts_with('#') {
                return Some(line.trim_end());
            }
            self.next += 1;
        }
        None
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, YamlError> {
        Err((self.next.saturating_add(1), reason.into()))
    }

    fn item(&mut self) -> Result<Item, YamlError> {
        let line = self.content().unwrap_or_default();
        let number = self.next.saturating_add(1);
        if line.starts_with([' ', '\t']) {
            return self.fail("a rule name must begin in the first column");
        }
        let (name, rest) = self.name(line)?;
        let text = match rest.chars().next() {
            None => self.block_list()?,
            Some('>' | '|') => Text::Rule(self.block(rest)?),
            Some('[') => Text::Lists(self.flow(rest)?),
            Some(_) => Text::Rule(self.scalar(rest)?),
        };
        Ok(Item { name, text, line: number })
    }

    /// The name before the colon and what follows it, without a comment when nothing else follows.
    fn name(&self, line: &'t str) -> Result<(String, &'t str), YamlError> {
        let (name, rest) = match line.chars().next() {
            Some('"' | '\'') => {
                let Some((name, rest)) = unquote(line).or_else(|reason| self.fail(reason))? else {
                    return self.fail("the quote is not closed");
                };
                (name, rest)
            }
            _ => {
                let colon = line.find(": ").or_else(|| line.strip_suffix(':').map(str::len));
                let Some((name, rest)) = colon.and_then(|colon| line.split_at_checked(colon)) else {
                    return self.fail("expected `name: rule`");
                };
                (plain(name).or_else(|reason| self.fail(reason))?, rest)
            }
        };
        let Some(rest) =
            rest.trim_start().strip_prefix(':').filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        else {
            return self.fail("expected a colon and a blank after the name");
        };
        let rest = rest.trim();
        Ok((name, if rest.starts_with('#') { "" } else { rest }))
    }

    /// A text that starts with `rest` on this line and may go on in indented lines. Leaves the reader behind it.
    fn scalar(&mut self, rest: &str) -> Result<String, YamlError> {
        let quoted = rest.starts_with(['"', '\'']);
        let mut text = rest.to_owned();
        if !quoted {
            text = self.plain(rest)?;
            self.next += 1;
            while let Some(line) = self.indented() {
                let piece = self.plain(line)?;
                text = format!("{text} {piece}");
                self.next += 1;
            }
            return Ok(text);
        }
        loop {
            match unquote(&text).or_else(|reason| self.fail(reason))? {
                Some((value, after)) => {
                    self.only_comment(after)?;
                    self.next += 1;
                    return match self.indented() {
                        Some(_) => self.fail("expected nothing more after the closing quote"),
                        None => Ok(value),
                    };
                }
                None => match self.lines.get(self.next.saturating_add(1)) {
                    Some(line) => {
                        self.next += 1;
                        text = format!("{} {}", text.trim_end(), line.trim());
                    }
                    None => return self.fail("the quote is not closed"),
                },
            }
        }
    }

    fn plain(&self, text: &str) -> Result<String, YamlError> {
        plain(text).or_else(|reason| self.fail(reason))
    }

    /// The next line, trimmed, if it is indented. Comment lines between are passed over.
    fn indented(&mut self) -> Option<&'t str> {
        self.content().filter(|line| line.starts_with(' ')).map(str::trim)
    }

    fn only_comment(&self, text: &str) -> Result<(), YamlError> {
        let rest = text.trim();
        if rest.is_empty() || rest.starts_with('#') && text.starts_with([' ', '\t']) {
            return Ok(());
        }
        self.fail(format!("expected nothing more, found {rest}"))
    }

    /// A block scalar. White space is all the same to the rule language, so lines are joined by blanks.
    fn block(&mut self, header: &str) -> Result<String, YamlError> {
        let mark = header.get(1..).unwrap_or_default();
        self.only_comment(mark.trim_start_matches(|c: char| matches!(c, '-' | '+') || c.is_ascii_digit()))?;
        self.next += 1;
        let mut words: Vec<&str> = Vec::new();
        while let Some(line) = self.lines.get(self.next).filter(|line| line.starts_with(' ') || line.trim().is_empty())
        {
            words.extend(line.split_whitespace());
            self.next += 1;
        }
        Ok(words.join(" "))
    }

    /// `- ` lines after a name.
    fn block_list(&mut self) -> Result<Text, YamlError> {
        let start = self.next.saturating_add(1);
        self.next += 1;
        let mut any = Vec::new();
        while let Some(line) = self.content() {
            let Some(item) = line.trim_start().strip_prefix("- ") else { break };
            let item = item.trim();
            match item.chars().next() {
                Some('[') => any.push(self.flow(item)?.concat()),
                Some('-') => return self.fail("write an inner list in brackets"),
                _ => {
                    let text = if item.starts_with(['"', '\'']) {
                        match unquote(item).or_else(|reason| self.fail(reason))? {
                            Some((text, after)) => {
                                self.only_comment(after)?;
                                text
                            }
                            None => return self.fail("the quote is not closed"),
                        }
                    } else {
                        self.plain(item)?
                    };
                    self.next += 1;
                    any.push(vec![text]);
                }
            }
        }
        if any.is_empty() {
            return Err((start, "a rule without a text; \"\" allows, \"!\" denies".to_owned()));
        }
        Ok(Text::Lists(any))
    }

    /// A list in brackets, over as many lines as it needs: texts, or lists of texts.
    fn flow(&mut self, first: &str) -> Result<Vec<Vec<String>>, YamlError> {
        let mut text = first.to_owned();
        loop {
            match flow_list(&text).or_else(|reason| self.fail(reason))? {
                Some((lists, after)) => {
                    self.only_comment(after)?;
                    self.next += 1;
                    return Ok(lists);
                }
                None => match self.lines.get(self.next.saturating_add(1)) {
                    Some(line) => {
                        self.next += 1;
                        text = format!("{text} {}", line.trim());
                    }
                    None => return self.fail("the list is not closed"),
                },
            }
        }
    }
}

/// A plain scalar, without a comment behind it.
fn plain(text: &str) -> Result<String, String> {
    let text = text.find(" #").and_then(|at| text.get(..at)).unwrap_or(text).trim();
    let special = ['!', '@', '&', '*', '%', '`', '|', '>', '{', '}', '[', ']', ',', '?', '"', '\'', '#'];
    if text.is_empty()
        || text.starts_with(special)
        || text.starts_with("- ")
        || text.contains(": ")
        || text.ends_with(':')
    {
        return Err(format!("put {text} in quotes"));
    }
    if matches!(text, "null" | "Null" | "NULL" | "~" | "true" | "false") || text.parse::<f64>().is_ok() {
        return Err(format!("{text} is not a text: put it in quotes"));
    }
    Ok(text.to_owned())
}

/// The contents of the quoted text at the start of `text`, and what follows. `None`: it is not closed yet.
fn unquote(text: &str) -> Result<Option<(String, &str)>, String> {
    let mut chars = text.char_indices();
    let Some((_, quote)) = chars.next() else { return Ok(None) };
    let mut value = String::new();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let rest = text.get(at.saturating_add(1)..).unwrap_or_default();
            if quote == '\'' && rest.starts_with('\'') {
                chars.next();
                value.push('\'');
                continue;
            }
            return Ok(Some((value, rest)));
        }
        if c != '\\' || quote == '\'' {
            value.push(c);
            continue;
        }
        match chars.next() {
            Some((_, c @ ('"' | '\\' | '/' | ' '))) => value.push(c),
            Some((_, 'n')) => value.push('\n'),
            Some((_, 't')) => value.push('\t'),
            Some((_, other)) => return Err(format!("the escape \\{other} is not known")),
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The lists at the start of `text`, which begins with `[`, and what follows. `None`: it is not closed yet.
#[expect(clippy::type_complexity, reason = "the same shape as unquote")]
fn flow_list(text: &str) -> Result<Option<(Vec<Vec<String>>, &str)>, String> {
    let mut any: Vec<Vec<String>> = Vec::new();
    let mut inner: Option<Vec<String>> = None;
    let mut rest = text.get(1..).unwrap_or_default().trim_start();
    // Whether an item may come, or only a comma or the end.
    let mut expect_item = true;
    loop {
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        match first {
            ',' if !expect_item => (rest, expect_item) = (after, true),
            ']' => match inner.take() {
                Some(all) => {
                    any.push(all);
                    (rest, expect_item) = (after, false);
                }
                None => return Ok(Some((any, after))),
            },
            '[' if expect_item && inner.is_none() => (rest, inner) = (after, Some(Vec::new())),
            _ if !expect_item => return Err(format!("expected a comma or ], found {first}")),
            _ => {
                let (item, after) = if matches!(first, '"' | '\'') {
                    match unquote(rest)? {
                        Some(found) => found,
                        None => return Ok(None),
                    }
                } else {
                    let Some(end) = rest.find([',', ']']) else { return Ok(None) };
                    let (item, after) = rest.split_at(end);
                    (plain(item)?, after)
                };
                match &mut inner {
                    Some(all) => all.push(item),
                    None => any.push(vec![item]),
                }
                (rest, expect_item) = (after, false);
            }
        }
        rest = rest.trim_start();
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
