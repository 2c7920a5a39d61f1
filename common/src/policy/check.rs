//! All rules together: defaults and files, checked once, then asked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::credentials::Credentials;
use super::defaults::RULES;
use super::rule::{Check, Target};
use super::yaml::{self, Text};
use super::{parse, rule};
use crate::config::PolicyFiles;

/// How many rules may stand one behind the other by `rule:` references: a bound for the stack.
const CHAIN_MAX: usize = 64;

/// The rule that says who is an administrator.
const ADMIN_RULE: &str = "context_is_admin";

/// A reason not to take the files.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// The file or directory cannot be read, or is not UTF-8.
    #[error("{}: cannot be read: {reason}", file.display())]
    Unreadable {
        /// The file or directory.
        file: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The file is not a policy file.
    #[error("{}:{line}: {reason}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// What the operator should know of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyWarning {
    /// The text is not a rule; it denies.
    #[error("{}:{line}: rule {name} cannot be understood and denies everything: {reason}", file.display())]
    NotUnderstood {
        /// The file.
        file: PathBuf,
        /// The line of its name, from 1.
        line: usize,
        /// The rule.
        name: String,
        /// What is wrong, with its place in the text.
        reason: String,
    },
    /// The rule refers to one that does not exist.
    #[error("rule {name} refers to rule {missing}, which does not exist: {instead}")]
    Undefined {
        /// The rule.
        name: String,
        /// The one that is missing.
        missing: String,
        /// What is asked instead.
        instead: String,
    },
    /// The rule leads back to itself, or through too many others; it denies.
    #[error("rule {0} leads to itself or through too many other rules, and denies everything")]
    Circle(String),
    /// The rule negates one that denies because it is broken; it denies too.
    #[error("rule {0} negates a rule that cannot be used, and denies everything")]
    NegatesBroken(String),
}

/// All rules. Immutable: a changed file makes a new one.
#[derive(Debug, Clone)]
pub struct Policy {
    names: HashMap<String, usize>,
    rules: Vec<Check>,
    /// By rule: whether only tokens that are scoped to a project pass.
    project_scope: Vec<bool>,
}

impl Policy {
    /// The built-in rules alone.
    pub fn defaults() -> Policy {
        let options = PolicyFiles {
            file: None,
            dirs: Vec::new(),
            default_rule: "default".to_owned(),
            enforce_new_defaults: true,
        };
        Builder::default().finish(&options).0
    }

    /// The built-in rules with those of `files` over them: the policy file, then the files of each directory in the
    /// order of their names, without subdirectories and names that begin with a dot. The later rule wins.
    ///
    /// # Errors
    /// Everything that cannot be read, at once. A single rule that cannot be understood is a warning, and denies.
    pub fn load(files: &PolicyFiles) -> Result<(Policy, Vec<PolicyWarning>), Vec<PolicyError>> {
        let mut builder = Builder::default();
        let mut errors = Vec::new();
        for file in list(files, &mut errors) {
            match std::fs::read(&file).map(String::from_utf8) {
                Ok(Ok(text)) => errors.extend(builder.add(&file, &text).err()),
                Ok(Err(error)) => errors.push(PolicyError::Unreadable { file, reason: error.utf8_error().to_string() }),
                Err(error) => errors.push(PolicyError::Unreadable { file, reason: error.to_string() }),
            }
        }
        if errors.is_empty() { Ok(builder.finish(files)) } else { Err(errors) }
    }

    /// The built-in rules with those of one `file` over them, whose text is at hand.
    ///
    /// # Errors
    /// The text is not a policy file.
    pub fn from_text(
        file: &Path,
        text: &str,
        options: &PolicyFiles,
    ) -> Result<(Policy, Vec<PolicyWarning>), PolicyError> {
        let mut builder = Builder::default();
        builder.add(file, text)?;
        Ok(builder.finish(options))
    }

    /// Whether `caller` passes `rule` for `target`. A rule that does not exist denies, as does a rule of the API
    /// for a caller whose token is not scoped to a project. Allocates nothing.
    pub fn enforce(&self, rule: &str, caller: &Credentials<'_>, target: &dyn Target) -> bool {
        let Some(index) = self.names.get(rule).copied() else { return false };
        if self.project_scope.get(index).copied().unwrap_or(true) && !is_in_project_scope(caller) {
            return false;
        }
        self.rules.get(index).is_some_and(|check| check.holds(&self.rules, caller, target))
    }

    /// Whether `caller` is an administrator everywhere: the rule `context_is_admin`, without a target.
    pub fn is_admin(&self, caller: &Credentials<'_>) -> bool {
        self.enforce(ADMIN_RULE, caller, &())
    }

    /// Whether there is a rule of this name.
    pub fn contains(&self, rule: &str) -> bool {
        self.names.contains_key(rule)
    }
}

/// Whether the token is for a project, or there is none at all (an anonymous caller): not one for the system, for a
/// domain, or for nothing.
fn is_in_project_scope(caller: &Credentials<'_>) -> bool {
    let has_user = caller.user_id.is_some_and(|id| !id.is_empty());
    caller.system_scope.is_none() && (caller.project_id.is_some() || !has_user)
}

fn list(files: &PolicyFiles, errors: &mut Vec<PolicyError>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = files.file.iter().cloned().collect();
    for dir in &files.dirs {
        let entries = std::fs::read_dir(dir).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        match entries {
            Ok(entries) => {
                let visible = entries.iter().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
                let mut found: Vec<_> = visible.map(std::fs::DirEntry::path).filter(|path| path.is_file()).collect();
                found.sort();
                all.extend(found);
            }
            Err(error) => errors.push(PolicyError::Unreadable { file: dir.clone(), reason: error.to_string() }),
        }
    }
    all
}

/// Rules on their way to a [`Policy`].
#[derive(Default)]
struct Builder {
    /// By name: what the files say. `None`: not understood.
    written: HashMap<String, Option<Check>>,
    warnings: Vec<PolicyWarning>,
}

impl Builder {
    fn add(&mut self, file: &Path, text: &str) -> Result<(), PolicyError> {
        let items =
            yaml::read(text).map_err(|(line, reason)| PolicyError::Syntax { file: file.to_owned(), line, reason })?;
        for item in items {
            let parsed = match &item.text {
                Text::Rule(text) => parse::parse(text),
                Text::Lists(any) => parse::parse_lists(any),
            };
            if let Err(error) = &parsed {
                let (file, name, reason) = (file.to_owned(), item.name.clone(), error.to_string());
                self.warnings.push(PolicyWarning::NotUnderstood { file, line: item.line, name, reason });
            }
            self.written.insert(item.name, parsed.ok());
        }
        Ok(())
    }

    fn finish(mut self, options: &PolicyFiles) -> (Policy, Vec<PolicyWarning>) {
        let default_is_written = self.written.contains_key(&options.default_rule);
        let mut names: Vec<(String, bool)> = Vec::new();
        let mut rules: Vec<Option<Check>> = Vec::new();
        for default in RULES {
            let check = match self.written.remove(default.name) {
                Some(written) => written,
                None => built_in(default.check, default.older.filter(|_| !options.enforce_new_defaults)),
            };
            names.push((default.name.to_owned(), default.project_scope));
            rules.push(check);
        }
        let mut own: Vec<_> = self.written.into_iter().collect();
        own.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, check) in own {
            names.push((name, false));
            rules.push(check);
        }
        let index: HashMap<String, usize> =
            names.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        // The built-in `default` allows everybody: it stands in for nothing that an operator may have mistyped.
        let fallback = index.get(&options.default_rule).copied().filter(|_| default_is_written);
        for check in rules.iter_mut().flatten() {
            check.resolve(&|name| index.get(name).copied().or(fallback));
        }
        let name_of = |at: usize| names.get(at).map(|(name, _)| name.clone()).unwrap_or_default();
        let mut warnings = self.warnings;
        let instead = match fallback {
            Some(_) => format!("rule {} is asked instead", options.default_rule),
            None => "it is taken to deny".to_owned(),
        };
        warnings.extend(undefined(&rules, &index, &instead, &name_of));
        deny_broken(&mut rules, &mut warnings, &name_of);
        let rules = rules.into_iter().map(|check| check.unwrap_or(Check::Deny)).collect();
        let project_scope = names.iter().map(|(_, scope)| *scope).collect();
        (Policy { names: index, rules, project_scope }, warnings)
    }
}

fn built_in(check: &str, older: Option<&str>) -> Option<Check> {
    let check = parse::parse(check).ok()?;
    match older {
        Some(older) => Some(Check::Or(vec![check, parse::parse(older).ok()?])),
        None => Some(check),
    }
}

fn undefined(
    rules: &[Option<Check>],
    index: &HashMap<String, usize>,
    instead: &str,
    name_of: &dyn Fn(usize) -> String,
) -> Vec<PolicyWarning> {
    let mut warnings = Vec::new();
    for (at, check) in rules.iter().enumerate() {
        let Some(check) = check else { continue };
        check.visit_references(&mut |missing, _, _| {
            if !index.contains_key(missing) {
                let (name, missing, instead) = (name_of(at), missing.to_owned(), instead.to_owned());
                warnings.push(PolicyWarning::Undefined { name, missing, instead });
            }
        });
    }
    warnings
}

/// Turns rules that lead in a circle, and rules that negate a broken one, into `None`.
fn deny_broken(rules: &mut [Option<Check>], warnings: &mut Vec<PolicyWarning>, name_of: &dyn Fn(usize) -> String) {
    let references: Vec<Vec<(usize, bool)>> = rules.iter().map(|check| references(check.as_ref())).collect();
    let mut usable: Vec<bool> = rules.iter().map(Option::is_some).collect();
    for at in in_circles(&references) {
        warnings.push(PolicyWarning::Circle(name_of(at)));
        usable[at] = false;
    }
    // A reference that leads nowhere denies; what negates it must not allow for that.
    for at in (0..rules.len()).filter(|at| negates_nothing(rules[*at].as_ref())) {
        if std::mem::replace(&mut usable[at], false) {
            warnings.push(PolicyWarning::NegatesBroken(name_of(at)));
        }
    }
    for at in too_deep(&references, &usable) {
        warnings.push(PolicyWarning::Circle(name_of(at)));
        usable[at] = false;
    }
    loop {
        let negates = |at: &usize| references[*at].iter().any(|(to, negated)| *negated && !usable[*to]);
        let Some(at) = (0..rules.len()).filter(|at| usable[*at]).find(negates) else { break };
        warnings.push(PolicyWarning::NegatesBroken(name_of(at)));
        usable[at] = false;
    }
    for (check, usable) in rules.iter_mut().zip(usable) {
        if !usable {
            *check = None;
        }
    }
}

fn references(check: Option<&rule::Check>) -> Vec<(usize, bool)> {
    let mut found = Vec::new();
    if let Some(check) = check {
        check.visit_references(&mut |_, index, negated| found.extend(index.map(|index| (index, negated))));
    }
    found
}

/// Whether a check negates a rule that does not exist and that nothing stands in for.
fn negates_nothing(check: Option<&rule::Check>) -> bool {
    let mut found = false;
    if let Some(check) = check {
        check.visit_references(&mut |_, index, negated| found |= negated && index.is_none());
    }
    found
}

/// Rules on circles, and on paths between circles: what stays when rules that refer to nothing that stays, and rules
/// to which nothing that stays refers, are taken away.
fn in_circles(references: &[Vec<(usize, bool)>]) -> Vec<usize> {
    let mut stays = vec![true; references.len()];
    loop {
        let mut referred = vec![false; references.len()];
        for (_, to) in references.iter().enumerate().filter(|(at, _)| stays[*at]) {
            to.iter().for_each(|(to, _)| referred[*to] = true);
        }
        let leaves = |at: &usize| stays[*at] && (!referred[*at] || !references[*at].iter().any(|(to, _)| stays[*to]));
        let leaving: Vec<usize> = (0..references.len()).filter(leaves).collect();
        if leaving.is_empty() {
            return (0..references.len()).filter(|at| stays[*at]).collect();
        }
        leaving.into_iter().for_each(|at| stays[at] = false);
    }
}

/// Rules behind which more than [`CHAIN_MAX`] usable rules stand in a row. There are no circles among the usable.
fn too_deep(references: &[Vec<(usize, bool)>], usable: &[bool]) -> Vec<usize> {
    // After round n, the rules that are left have a chain of more than n behind them.
    let mut left: Vec<bool> = usable.to_vec();
    for _ in 0..CHAIN_MAX {
        let before = left.clone();
        for (at, left) in left.iter_mut().enumerate() {
            *left = *left && references[at].iter().any(|(to, _)| before[*to]);
        }
    }
    (0..left.len()).filter(|at| left[*at]).collect()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
