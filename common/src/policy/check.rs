//! All rules together: defaults and files, checked once, then asked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::credentials::Credentials;
use super::defaults::{RULES, RuleDefault};
use super::files::{self, Source};
use super::problem::{PolicyError, PolicyWarning};
use super::rule::{Check, Target};
use super::yaml::{self, Text};
use super::{parse, rule};
use crate::config::PolicyFiles;

/// How many rules may stand one behind the other by `rule:` references: a bound for the stack.
const CHAIN_MAX: usize = 64;

/// The rule that says who is an administrator.
const ADMIN_RULE: &str = "context_is_admin";

/// All rules. Immutable: a changed file makes a new one.
#[derive(Debug, Clone)]
pub struct Policy {
    names: HashMap<String, usize>,
    rules: Vec<Check>,
    /// By rule: whether only tokens that are scoped to a project pass.
    project_scope: Vec<bool>,
    /// By rule: what operators are told of it.
    descriptions: Vec<Description>,
}

/// A rule as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    text: Text,
    /// Where its text stands.
    pub origin: Origin,
    /// Whether it denies everything because something is wrong with it, or with a rule that it negates.
    pub is_broken: bool,
}

/// Where a rule's text stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is built in.
    Default,
    /// In a file.
    File {
        /// The file.
        file: PathBuf,
        /// The line of its name, from 1.
        line: usize,
    },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { file, line } => write!(f, "{}:{line}", file.display()),
        }
    }
}

impl Description {
    /// Its text, in the rule language or as lists in JSON.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.text {
            Text::Rule(text) => Cow::Borrowed(text),
            Text::Lists(any) => Cow::Owned(serde_json::json!(any).to_string()),
        }
    }

    /// The line that says the same in a policy file.
    pub fn line(&self) -> String {
        let value = match &self.text {
            Text::Rule(text) => yaml::quoted(text),
            Text::Lists(_) => self.text().into_owned(),
        };
        format!("{}: {value}", yaml::quoted(&self.name))
    }
}

impl Policy {
    /// The built-in rules alone.
    pub fn defaults() -> Policy {
        let options = PolicyFiles {
            file: Vec::new(),
            dirs: Vec::new(),
            default_rule: "default".to_owned(),
            enforce_new_defaults: true,
        };
        Builder::default().finish(&options).0
    }

    /// The built-in rules with those of `files` over them: the policy file, then the files of each directory. The later
    /// rule wins.
    ///
    /// # Errors
    /// Everything that cannot be read and every text that is not a rule, at once.
    pub fn load(files: &PolicyFiles) -> Result<(Policy, Vec<PolicyWarning>), Vec<PolicyError>> {
        Policy::from_sources(&files::read(files), files)
    }

    /// As [`Policy::load`], of files that were read already.
    pub(super) fn from_sources(
        sources: &[Source],
        options: &PolicyFiles,
    ) -> Result<(Policy, Vec<PolicyWarning>), Vec<PolicyError>> {
        let mut builder = Builder::default();
        for (file, text) in sources {
            match text {
                Ok(text) => builder.add(file, text),
                Err(reason) => {
                    let (file, reason) = (file.clone(), reason.clone());
                    builder.errors.push(PolicyError::Unreadable { file, reason });
                }
            }
        }
        if builder.errors.is_empty() { Ok(builder.finish(options)) } else { Err(builder.errors) }
    }

    /// The built-in rules with those of one `file` over them, whose text is at hand.
    ///
    /// # Errors
    /// The text is not a policy file, or texts in it are not rules.
    pub fn from_text(
        file: &Path,
        text: &str,
        options: &PolicyFiles,
    ) -> Result<(Policy, Vec<PolicyWarning>), Vec<PolicyError>> {
        Policy::from_sources(&[(file.to_owned(), Ok(text.to_owned()))], options)
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

    /// All rules as they stand: the built-in ones in their order, then those that only files have, by name.
    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }

    /// The rule `name` and those that it refers to, directly or through others, each once; itself first. Empty: there is no
    /// such rule.
    pub fn family(&self, name: &str) -> Vec<&Description> {
        let mut found: Vec<usize> = self.names.get(name).copied().into_iter().collect();
        let mut next = 0;
        while let Some(check) = found.get(next).and_then(|at| self.rules.get(*at)) {
            check.visit_references(&mut |_, index, _| found.extend(index.filter(|index| !found.contains(index))));
            next += 1;
        }
        found.iter().filter_map(|at| self.descriptions.get(*at)).collect()
    }
}

/// Whether the token is for a project, or there is none at all (an anonymous caller): not one for the system, for a
/// domain, or for nothing.
fn is_in_project_scope(caller: &Credentials<'_>) -> bool {
    let has_user = caller.user_id.is_some_and(|id| !id.is_empty());
    caller.system_scope.is_none() && (caller.project_id.is_some() || !has_user)
}

/// Rules on their way to a [`Policy`].
#[derive(Default)]
struct Builder {
    /// By name: what the files say.
    written: HashMap<String, Written>,
    warnings: Vec<PolicyWarning>,
    errors: Vec<PolicyError>,
}

/// A rule of a file.
struct Written {
    text: Text,
    /// `None`: it uses what is not there yet.
    check: Option<Check>,
    origin: Origin,
}

impl Builder {
    fn add(&mut self, file: &Path, text: &str) {
        let syntax = |line, reason| PolicyError::Syntax { file: file.to_owned(), line, reason };
        let items = match yaml::read(text) {
            Ok(items) => items,
            Err((line, reason)) => {
                self.errors.push(syntax(line, reason));
                return;
            }
        };
        for yaml::Item { name, text, line } in items {
            let parsed = match &text {
                Text::Rule(text) => parse::parse(text),
                Text::Lists(any) => parse::parse_lists(any),
            };
            match &parsed {
                Ok(_) => {}
                Err(error) if error.is_unsupported => {
                    let (file, name, reason) = (file.to_owned(), name.clone(), error.to_string());
                    self.warnings.push(PolicyWarning::NotSupported { file, line, name, reason });
                }
                Err(error) => self.errors.push(syntax(line, format!("rule {name}: {error}"))),
            }
            let origin = Origin::File { file: file.to_owned(), line };
            self.written.insert(name, Written { text, check: parsed.ok(), origin });
        }
    }

    fn finish(mut self, options: &PolicyFiles) -> (Policy, Vec<PolicyWarning>) {
        let default_is_written = self.written.contains_key(&options.default_rule);
        let mut names: Vec<(String, bool)> = Vec::new();
        let mut rules: Vec<Option<Check>> = Vec::new();
        let mut texts: Vec<(Text, Origin)> = Vec::new();
        for default in RULES {
            let written = self.written.remove(default.name);
            let Written { text, check, origin } =
                written.unwrap_or_else(|| built_in(default, !options.enforce_new_defaults));
            names.push((default.name.to_owned(), default.project_scope));
            rules.push(check);
            texts.push((text, origin));
        }
        let mut own: Vec<_> = self.written.into_iter().collect();
        own.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, Written { text, check, origin }) in own {
            names.push((name, false));
            rules.push(check);
            texts.push((text, origin));
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
        let project_scope = names.iter().map(|(_, scope)| *scope).collect();
        let described = names.into_iter().zip(texts).zip(&rules);
        let descriptions = described
            .map(|(((name, _), (text, origin)), check)| Description { name, text, origin, is_broken: check.is_none() })
            .collect();
        let rules = rules.into_iter().map(|check| check.unwrap_or(Check::Deny)).collect();
        (Policy { names: index, rules, project_scope, descriptions }, warnings)
    }
}

/// A rule's built-in text; `with_older`: what its older text allows stays allowed.
fn built_in(default: &RuleDefault, with_older: bool) -> Written {
    let text = match default.older.filter(|_| with_older) {
        Some(older) => {
            let check = if default.check.is_empty() { "@" } else { default.check };
            format!("({check}) or ({older})")
        }
        None => default.check.to_owned(),
    };
    let check = parse::parse(&text).ok();
    Written { text: Text::Rule(text), check, origin: Origin::Default }
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
