//! A rule that was understood, and its evaluation. Nothing here allocates.

use super::credentials::{Credentials, Key};

/// What a rule is asked about: an image, a namespace, or nothing.
pub trait Target {
    /// The text of `key`. `None`: there is no such key, and a check that needs it fails. A value that is null is
    /// given as `Some("None")`, a boolean as `True` or `False`, as operators write them in rules.
    fn get(&self, key: &str) -> Option<&str>;
}

/// No target.
impl Target for () {
    fn get(&self, _key: &str) -> Option<&str> {
        None
    }
}

/// Pairs of key and value; the first match counts.
impl<const N: usize> Target for [(&str, &str); N] {
    fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }
}

/// A parsed rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    Allow,
    Deny,
    Not(Box<Check>),
    And(Vec<Check>),
    Or(Vec<Check>),
    /// Another rule; `index` is its place among all rules, once they are known.
    Rule {
        name: String,
        index: Option<usize>,
    },
    /// The caller has this role.
    Role(Template),
    /// Left and right are the same text.
    Same(Left, Template),
}

/// The left side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// A text that stands in the rule.
    Literal(String),
    /// A part of the caller.
    Caller(Key),
    /// A part of the caller that there is not; it matches nothing.
    Unknown,
}

/// Text with `%(key)s` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(pub(super) Vec<Part>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Key(String),
}

impl Part {
    fn text<'t>(&'t self, target: &'t dyn Target) -> Option<&'t str> {
        match self {
            Part::Text(text) => Some(text),
            Part::Key(key) => target.get(key),
        }
    }
}

impl Template {
    /// Whether the expanded template is `text`.
    fn is(&self, text: &str, target: &dyn Target) -> bool {
        let mut rest = text;
        for part in &self.0 {
            match part.text(target).and_then(|piece| rest.strip_prefix(piece)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// Whether the expanded template is `text`, but for case.
    fn is_folded(&self, text: &str, target: &dyn Target) -> bool {
        if self.0.iter().any(|part| part.text(target).is_none()) {
            return false;
        }
        let pieces = self.0.iter().filter_map(|part| part.text(target));
        let expanded = pieces.flat_map(str::chars).flat_map(char::to_lowercase);
        expanded.eq(text.chars().flat_map(char::to_lowercase))
    }
}

impl Check {
    /// Decides. `rules`: all rules, in the order that `Check::Rule` counts; they refer to each other in no circle.
    pub(super) fn holds(&self, rules: &[Check], caller: &Credentials<'_>, target: &dyn Target) -> bool {
        match self {
            Check::Allow => true,
            Check::Deny => false,
            Check::Not(inner) => !inner.holds(rules, caller, target),
            Check::And(all) => all.iter().all(|check| check.holds(rules, caller, target)),
            Check::Or(any) => any.iter().any(|check| check.holds(rules, caller, target)),
            Check::Rule { index, .. } => {
                index.and_then(|index| rules.get(index)).is_some_and(|rule| rule.holds(rules, caller, target))
            }
            Check::Role(template) => caller.roles.iter().any(|role| template.is_folded(role, target)),
            Check::Same(Left::Literal(text), template) => template.is(text, target),
            Check::Same(Left::Caller(key), template) => key.any(caller, |text| template.is(text, target)),
            Check::Same(Left::Unknown, _) => false,
        }
    }

    /// Calls `visit` for each reference to another rule, with whether it stands under a `not`.
    pub(super) fn visit_references(&self, visit: &mut dyn FnMut(&str, Option<usize>, bool)) {
        self.visit(false, visit);
    }

    fn visit(&self, negated: bool, visit: &mut dyn FnMut(&str, Option<usize>, bool)) {
        match self {
            Check::Not(inner) => inner.visit(true, visit),
            Check::And(parts) | Check::Or(parts) => parts.iter().for_each(|part| part.visit(negated, visit)),
            Check::Rule { name, index } => visit(name, *index, negated),
            Check::Allow | Check::Deny | Check::Role(_) | Check::Same(..) => {}
        }
    }

    /// Fills in the places of the rules that this one refers to.
    pub(super) fn resolve(&mut self, find: &dyn Fn(&str) -> Option<usize>) {
        match self {
            Check::Not(inner) => inner.resolve(find),
            Check::And(parts) | Check::Or(parts) => parts.iter_mut().for_each(|part| part.resolve(find)),
            Check::Rule { name, index } => *index = find(name),
            Check::Allow | Check::Deny | Check::Role(_) | Check::Same(..) => {}
        }
    }
}
