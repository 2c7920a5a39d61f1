//! Layers and substitution: which text an option has, where it was written, and its typed value.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use super::ini::{self, DEFAULT_GROUP, Entry, group_key};
use super::options::{self, BACKEND_DEFAULTS, Row, STAGING_GROUP, STORE_GROUP, State};
use super::problem::{Place, Problem, Warning};
use super::value::{Kind, Value};

/// How deep `$name` may lead to a value with another `$name` before it counts as a circle.
const SUBSTITUTION_DEPTH_MAX: usize = 16;

/// What stands in messages for a secret.
const MASK: &str = "***";

/// Reads an environment variable.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// A text and where it was written.
#[derive(Debug, Clone)]
struct Located {
    text: String,
    place: Place,
}

/// All files and the environment, to be asked option by option. Problems and warnings collect here.
pub(super) struct Settings<'e> {
    entries: Vec<Entry>,
    headers: Vec<(String, Place)>,
    environment: Environment<'e>,
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) warnings: RefCell<Vec<Warning>>,
    /// Rows that were asked for, so that a test can prove that every honoured option is honoured.
    pub(super) read: RefCell<BTreeSet<(&'static str, &'static str)>>,
}

impl<'e> Settings<'e> {
    /// Reads `files` in order.
    pub(super) fn read(files: &[PathBuf], environment: Environment<'e>) -> Self {
        let mut settings = Settings {
            entries: Vec::new(),
            headers: Vec::new(),
            environment,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            read: RefCell::default(),
        };
        for file in files {
            match std::fs::read(file).map(String::from_utf8) {
                Ok(Ok(text)) => {
                    let (parsed, problems) = ini::parse(file, &text);
                    settings.entries.extend(parsed.entries);
                    settings.headers.extend(parsed.headers);
                    settings.problems.borrow_mut().extend(problems);
                }
                Ok(Err(error)) => settings.unreadable(file.clone(), error.utf8_error().to_string()),
                Err(error) => settings.unreadable(file.clone(), error.to_string()),
            }
        }
        settings
    }

    fn unreadable(&self, file: PathBuf, reason: String) {
        self.problem(Problem::Unreadable { file, reason });
    }

    pub(super) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn warn(&self, warning: Warning) {
        self.warnings.borrow_mut().push(warning);
    }

    pub(super) fn note(&self, text: impl Into<String>) {
        self.warn(Warning::Note(text.into()));
    }

    /// Everything written for `name` in `group`, in order; the environment stands above all files.
    fn written(&self, group: &str, name: &str) -> Vec<Located> {
        let variable = format!("OS_{}__{}", group.to_uppercase(), name.to_uppercase());
        if let Some(value) = (self.environment)(&variable) {
            let place = Place::Environment(variable);
            return match value.into_string() {
                Ok(text) => vec![Located { text, place }],
                Err(_) => {
                    self.problem(Problem::Syntax { place, reason: "the value is not UTF-8".to_owned() });
                    Vec::new()
                }
            };
        }
        let key = group_key(group);
        let entries = self.entries.iter().filter(|entry| entry.key == name && group_key(&entry.group) == key);
        entries.map(|entry| Located { text: entry.value.clone(), place: entry.place.clone() }).collect()
    }

    /// What is written for `row` in the first of `groups` that has it, and that group. In each group the option's
    /// own place wins over its older ones.
    fn explicit(&self, row: &Row, groups: &[&str]) -> Option<(String, Vec<Located>)> {
        for group in groups {
            let own = (*group, row.name);
            let older =
                row.aliases.iter().map(|(place, name)| (if *place == row.group { *group } else { *place }, *name));
            for (group, name) in std::iter::once(own).chain(older) {
                let written = self.written(group, name);
                if !written.is_empty() {
                    return Some((group.to_owned(), written));
                }
            }
        }
        None
    }

    /// Whether `name` of `group` is written anywhere with a value that is not empty.
    pub(super) fn is_set(&self, group: &'static str, groups: &[&str], name: &str) -> bool {
        let row = options::find(group, name);
        row.and_then(|row| self.explicit(row, groups)).is_some_and(|(_, w)| w.iter().any(|w| !w.text.trim().is_empty()))
    }

    /// The typed value of the row `name` of `group`, looked for in `groups`: what is written, else the default.
    pub(super) fn value_in(&self, group: &'static str, groups: &[&str], name: &'static str) -> Option<Value> {
        self.read.borrow_mut().insert((group, name));
        let Some(row) = options::find(group, name) else {
            self.problem(Problem::Conflict(format!("[{group}] {name} is missing in the table of options")));
            return None;
        };
        let default = || row.default.and_then(|text| row.kind.parse(text).ok().flatten());
        let Some((place_group, written)) = self.explicit(row, groups) else {
            return default();
        };
        let value = if row.kind == Kind::Multi {
            let texts = written.iter().filter_map(|w| self.expand_for(row, &place_group, w));
            Some(Value::List(texts.filter(|text| !text.is_empty()).collect()))
        } else {
            written.last().and_then(|last| self.typed(row, &place_group, last))
        };
        let value = value.or_else(default);
        if let (State::Refused(reason), Some(last)) = (row.state, written.last())
            && value != default()
            && !last.text.is_empty()
        {
            self.problem(Problem::Unsupported {
                place: last.place.clone(),
                group: place_group,
                option: row.name.to_owned(),
                value: shown(row, &last.text),
                reason: reason.to_owned(),
            });
        }
        value
    }

    fn typed(&self, row: &Row, group: &str, written: &Located) -> Option<Value> {
        let text = self.expand_for(row, group, written)?;
        row.kind.parse(&text).unwrap_or_else(|()| {
            self.problem(Problem::BadValue {
                place: written.place.clone(),
                group: group.to_owned(),
                option: row.name.to_owned(),
                value: shown(row, &text),
                accepted: row.kind.accepted(),
            });
            None
        })
    }

    fn expand_for(&self, row: &Row, group: &str, written: &Located) -> Option<String> {
        match self.expand(group, &written.text, 0) {
            Ok(text) => Some(text),
            Err((name, reason)) => {
                self.problem(Problem::Substitution {
                    place: written.place.clone(),
                    group: group.to_owned(),
                    option: row.name.to_owned(),
                    name,
                    reason,
                });
                None
            }
        }
    }

    /// `text` with `$name`, `${name}`, `$group.name` replaced and `$$`, `\$` turned into `$`.
    fn expand(&self, group: &str, text: &str, depth: usize) -> Result<String, (String, &'static str)> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, after) = rest.split_at(at);
            let after = &after[1..];
            if let Some(before) = before.strip_suffix('\\') {
                result.push_str(before);
                result.push('$');
                // `\$$` reads as `$$$`: the first two are the escape.
                rest = after;
                continue;
            }
            result.push_str(before);
            if let Some(tail) = after.strip_prefix('$') {
                result.push('$');
                rest = tail;
            } else if let Some((name, tail)) = reference(after) {
                if depth >= SUBSTITUTION_DEPTH_MAX {
                    return Err((name.to_owned(), "leads in a circle"));
                }
                result.push_str(&self.substitute(group, name, depth)?);
                rest = tail;
            } else {
                result.push('$');
                rest = after;
            }
        }
        result.push_str(rest);
        Ok(result)
    }

    fn substitute(&self, group: &str, name: &str, depth: usize) -> Result<String, (String, &'static str)> {
        let candidates = match name.split_once('.') {
            Some((other, option)) => vec![(other, option)],
            None => vec![(group, name), (DEFAULT_GROUP, name)],
        };
        for (group, option) in candidates {
            if let Some(last) = self.written(group, option).pop() {
                return self.expand(group, &last.text, depth + 1);
            }
            let key = group_key(group);
            if let Some(row) = options::find(&key, option)
                .or_else(|| options::find(STORE_GROUP, option).filter(|_| key != DEFAULT_GROUP))
            {
                return Ok(row.default.unwrap_or_default().to_owned());
            }
            if options::find_ignored(&key, option).is_some() {
                return Ok(String::new());
            }
        }
        Err((name.to_owned(), "names no option"))
    }

    pub(super) fn value(&self, group: &'static str, name: &'static str) -> Option<Value> {
        self.value_in(group, &[group], name)
    }

    pub(super) fn bool(&self, group: &'static str, name: &'static str) -> bool {
        matches!(self.value(group, name), Some(Value::Bool(true)))
    }

    pub(super) fn int(&self, group: &'static str, name: &'static str) -> Option<i64> {
        match self.value(group, name) {
            Some(Value::Int(number)) => Some(number),
            _ => None,
        }
    }

    /// A number that the table keeps at 0 or above.
    pub(super) fn count<N: TryFrom<i64> + Default>(&self, group: &'static str, name: &'static str) -> N {
        self.int(group, name).and_then(|number| N::try_from(number).ok()).unwrap_or_default()
    }

    /// Text; `None` when empty or not set.
    pub(super) fn text(&self, group: &'static str, name: &'static str) -> Option<String> {
        self.text_in(group, &[group], name)
    }

    pub(super) fn text_in(&self, group: &'static str, groups: &[&str], name: &'static str) -> Option<String> {
        match self.value_in(group, groups, name) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self, group: &'static str, name: &'static str) -> Vec<String> {
        match self.value(group, name) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        }
    }

    pub(super) fn pairs(&self, group: &'static str, name: &'static str) -> Vec<(String, String)> {
        match self.value(group, name) {
            Some(Value::Pairs(pairs)) => pairs,
            _ => Vec::new(),
        }
    }

    /// Reports that the value of `name`, though of its type, is not usable.
    pub(super) fn bad(&self, group: &'static str, groups: &[&str], name: &str, value: &str, accepted: &str) {
        let (group, place) = self.written_at(group, groups, name);
        self.problem(Problem::BadValue {
            place,
            group,
            option: name.to_owned(),
            value: value.to_owned(),
            accepted: accepted.to_owned(),
        });
    }

    /// Reports that the value of `name` asks for something that is not there.
    pub(super) fn unsupported(&self, group: &'static str, name: &str, value: &str, reason: &str) {
        let (group, place) = self.written_at(group, &[group], name);
        self.problem(Problem::Unsupported {
            place,
            group,
            option: name.to_owned(),
            value: value.to_owned(),
            reason: reason.to_owned(),
        });
    }

    fn written_at(&self, group: &'static str, groups: &[&str], name: &str) -> (String, Place) {
        let explicit = options::find(group, name).and_then(|row| self.explicit(row, groups));
        let found = explicit.and_then(|(group, mut written)| written.pop().map(|last| (group, last.place)));
        found.unwrap_or_else(|| (groups.first().copied().unwrap_or(group).to_owned(), Place::Default))
    }

    /// Warns of what is written in files and not read. `stores`: the ids of `enabled_backends`, none in the mode of
    /// a single store. `auth_sections`: groups of the table with an account for Keystone, and where each stands.
    pub(super) fn warn_of_unread(&self, stores: &[String], auth_sections: &[(&str, String)]) {
        let stores: Vec<String> = stores.iter().map(|id| group_key(id)).collect();
        let is_store = |key: &str| stores.iter().any(|id| id == key) || (!stores.is_empty() && key == BACKEND_DEFAULTS);
        let is_known = |key: &str| {
            options::is_group(key)
                || is_store(key)
                || key == BACKEND_DEFAULTS
                || !accounts_in(auth_sections, key).is_empty()
        };
        let mut unknown = BTreeSet::new();
        for (group, place) in &self.headers {
            let key = group_key(group);
            if !is_known(&key) && unknown.insert(key.clone()) {
                let near = [key.trim().to_owned(), key.trim().to_uppercase()];
                let near = near.iter().find(|name| **name != *group && options::is_group(name));
                let hint = near.map(|name| format!("; did you mean [{name}]?")).unwrap_or_default();
                self.warn(Warning::UnknownGroup { place: place.clone(), group: group.clone(), hint });
            }
        }
        for entry in &self.entries {
            let key = group_key(&entry.group);
            if is_known(&key) {
                let mut groups = vec![key.as_str()];
                if is_store(&key) || key == "glance_store" || key == STAGING_GROUP || key == BACKEND_DEFAULTS {
                    groups.push(STORE_GROUP);
                }
                groups.extend(accounts_in(auth_sections, &key));
                let unused = !stores.is_empty() && key == "glance_store"
                    || stores.is_empty() && key == BACKEND_DEFAULTS
                    || key == STAGING_GROUP;
                self.warn_of_entry(entry, &groups, unused);
            }
        }
    }

    /// `groups`: groups of the table in which the option may stand. `unused`: options of stores are not read here.
    fn warn_of_entry(&self, entry: &Entry, groups: &[&str], unused: bool) {
        let known = |group: &&&str| options::find(group, &entry.key).is_some() || options::is_alias(group, &entry.key);
        let (place, group, option) = (entry.place.clone(), entry.group.clone(), entry.key.clone());
        match groups.iter().find(known) {
            Some(found) if *found == STORE_GROUP && unused => {
                let reason = "options of stores are not read from this group in this mode".to_owned();
                self.warn(Warning::NoEffect { place, group, option, reason });
            }
            Some(found) => {
                let row = options::find(found, &entry.key);
                if let Some(State::NoEffectYet(reason)) = row.map(|row| row.state) {
                    let reason = reason.to_owned();
                    self.warn(Warning::NoEffect { place, group, option, reason });
                }
            }
            None => match groups.iter().find_map(|group| options::find_ignored(group, &entry.key)) {
                Some(reason) => self.warn(Warning::NoEffect { place, group, option, reason: reason.to_owned() }),
                None => {
                    let near = [option.replace('-', "_"), option.to_lowercase()];
                    let near = near.iter().find(|name| {
                        **name != option && groups.iter().any(|group| options::find(group, name).is_some())
                    });
                    let hint = near.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                    self.warn(Warning::UnknownOption { place, group, option, hint });
                }
            },
        }
    }
}

/// The groups of the table whose account stands in the group `key`.
fn accounts_in<'a>(sections: &'a [(&'a str, String)], key: &str) -> Vec<&'a str> {
    sections.iter().filter(|(_, section)| group_key(section) == key).map(|(group, _)| *group).collect()
}

fn shown(row: &Row, text: &str) -> String {
    if row.kind == Kind::Secret { MASK.to_owned() } else { text.to_owned() }
}

/// The name at the start of `text`, which followed a `$`, and what comes after it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = match text.strip_prefix('{') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let first = text.chars().next()?;
    if !first.is_ascii_alphabetic() && first != '_' {
        return None;
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(text.len());
    let (name, tail) = text.split_at(end);
    if braced { tail.strip_prefix('}').map(|tail| (name, tail)) } else { Some((name, tail)) }
}
