//! The table of all options: what Vitrine reads ([`ROWS`] in its modules), and what it knowingly leaves alone.

mod glance;
mod ignored;
mod key_manager;
mod keystone;
mod ours;
mod stores;

pub use super::value::Kind;
pub use ignored::IgnoredGroup;

/// Stands for the group of a store in rows of store options: `[<store id>]`, `[backend_defaults]` or `[glance_store]`.
pub const STORE_GROUP: &str = "<store>";

/// The group with the values that several stores share.
pub const BACKEND_DEFAULTS: &str = "backend_defaults";

/// The group of the staging directory when several stores are configured.
pub const STAGING_GROUP: &str = "os_glance_staging_store";

/// The group of old-style tasks' working directory when several stores are configured.
pub const TASKS_GROUP: &str = "os_glance_tasks_store";

/// What Vitrine does with an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has its meaning.
    Honoured,
    /// Read and checked, and without effect so far: a warning when it is set. The text says what is missing.
    NoEffectYet(&'static str),
    /// Any value but the default is an error: to ignore it would be dangerous. The text says what is missing.
    Refused(&'static str),
}

/// One option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Group, [`STORE_GROUP`] for options of stores.
    pub group: &'static str,
    /// Name.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Default as it would stand in a file; `None`: not set.
    pub default: Option<&'static str>,
    /// What it means, in one line.
    pub doc: &'static str,
    /// What Vitrine does with it.
    pub state: State,
    /// Older places `(group, name)`, read when this one is not set.
    pub aliases: &'static [(&'static str, &'static str)],
}

impl Row {
    const fn new(group: &'static str, name: &'static str, kind: Kind, doc: &'static str) -> Row {
        Row { group, name, kind, default: None, doc, state: State::Honoured, aliases: &[] }
    }

    const fn default(mut self, text: &'static str) -> Row {
        self.default = Some(text);
        self
    }

    const fn aliases(mut self, aliases: &'static [(&'static str, &'static str)]) -> Row {
        self.aliases = aliases;
        self
    }

    const fn no_effect_yet(mut self, reason: &'static str) -> Row {
        self.state = State::NoEffectYet(reason);
        self
    }

    const fn refused(mut self, reason: &'static str) -> Row {
        self.state = State::Refused(reason);
        self
    }
}

/// At least this number.
const fn from(min: i64) -> Kind {
    Kind::Int(min, i64::MAX)
}

/// Any number.
const NUMBER: Kind = Kind::Int(i64::MIN, i64::MAX);

/// All options that are read, in the order of the reference.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [
        glance::ROWS,
        keystone::ROWS,
        keystone::ACCOUNT,
        keystone::LIMIT_ROWS,
        keystone::LIMIT_ACCOUNT,
        key_manager::ROWS,
        stores::ROWS,
        ours::ROWS,
    ]
    .into_iter()
    .flatten()
}

/// Groups and names of Glance's options without effect.
pub fn ignored() -> &'static [IgnoredGroup] {
    ignored::GROUPS
}

/// The row of `name` in `group`.
pub fn find(group: &str, name: &str) -> Option<&'static Row> {
    rows().find(|row| row.group == group && row.name == name)
}

/// Whether `name` in `group` is an older place of an option that is read.
pub fn is_alias(group: &str, name: &str) -> bool {
    rows().any(|row| row.aliases.contains(&(group, name)))
}

/// Why `name` in `group` has no effect, if it is one of Glance's options that have none here.
pub fn find_ignored(group: &str, name: &str) -> Option<&'static str> {
    let groups = ignored().iter().filter(|ignored| ignored.group == group);
    groups.filter(|ignored| ignored.names.contains(&name)).map(|ignored| ignored.reason).next()
}

/// Whether any option of `group` is known.
pub fn is_group(group: &str) -> bool {
    rows().any(|row| row.group == group) || ignored().iter().any(|ignored| ignored.group == group)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_option_is_known_once() {
        let mut seen = BTreeSet::new();
        for row in rows() {
            assert!(seen.insert((row.group, row.name)), "[{}] {} twice", row.group, row.name);
            for (group, name) in row.aliases {
                assert!(find(group, name).is_none(), "alias [{group}] {name} is an option too");
            }
        }
        for ignored in ignored() {
            for name in ignored.names {
                assert!(seen.insert((ignored.group, name)), "[{}] {name} twice", ignored.group);
            }
        }
    }

    #[test]
    fn every_default_is_of_its_type() {
        for row in rows() {
            if let Some(text) = row.default {
                assert!(matches!(row.kind.parse(text), Ok(Some(_))), "[{}] {} = {text}", row.group, row.name);
            }
        }
    }

    #[test]
    fn documentation_is_one_line_without_table_marks() {
        for row in rows() {
            assert!(!row.doc.is_empty() && !row.doc.contains(['\n', '|']), "[{}] {}", row.group, row.name);
        }
    }
}
