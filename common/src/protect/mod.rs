//! Property protections: who may create, read, change and delete which extra property of an image.
//!
//! The file and its meaning are Glance's: sections are regular expressions over names of properties, the first that matches
//! decides, and a property that matches none is nobody's. `file` reads it, `pattern` its expressions. Properties that the
//! server keeps for itself (`os_glance…`) are not protected: clients cannot write them anyway.

mod file;
mod pattern;

use regex::Regex;

use crate::config::{ProtectionFile, ProtectionFormat};
use crate::identity::Identity;
use crate::policy::{Policy, PolicyError};

/// Names that begin so are the server's.
const INTERNAL_PREFIX: &str = "os_glance";

/// What is done to a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Give an image a property that it does not have.
    Create,
    /// See it.
    Read,
    /// Change its value.
    Update,
    /// Take it away.
    Delete,
}

impl Action {
    /// All four, in the order of the documentation.
    const ALL: [Action; 4] = [Action::Create, Action::Read, Action::Update, Action::Delete];

    /// Its key in the file.
    fn key(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Read => "read",
            Action::Update => "update",
            Action::Delete => "delete",
        }
    }
}

/// Who may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Permission {
    /// Everybody: `@`.
    All,
    /// Nobody: `!`, or nothing.
    Nobody,
    /// Whoever has one of these roles, lower case.
    Roles(Vec<String>),
    /// Whoever passes this rule of the policy.
    Rule(String),
}

/// One section.
#[derive(Debug, Clone)]
struct Section {
    pattern: Regex,
    /// By action, in the order of [`Action::ALL`].
    permissions: [Permission; 4],
}

/// All protections of a file.
#[derive(Debug, Clone)]
pub struct Protections(Vec<Section>);

impl Protections {
    /// Reads the file. What an operator should know of it comes beside.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(options: &ProtectionFile) -> Result<(Protections, Vec<String>), Vec<PolicyError>> {
        let unreadable = |reason| vec![PolicyError::Unreadable { file: options.file.clone(), reason }];
        let text = std::fs::read(&options.file).map_err(|error| unreadable(error.to_string()))?;
        let text = String::from_utf8(text).map_err(|error| unreadable(error.utf8_error().to_string()))?;
        Protections::from_text(options, &text)
    }

    /// As [`Protections::load`], of a file whose text is at hand.
    ///
    /// # Errors
    /// The same.
    pub fn from_text(options: &ProtectionFile, text: &str) -> Result<(Protections, Vec<String>), Vec<PolicyError>> {
        let syntax = |(line, reason)| PolicyError::Syntax { file: options.file.clone(), line, reason };
        let (sections, mut problems) = file::read(text);
        let (mut all, mut warnings) = (Vec::new(), Vec::new());
        for section in sections.into_iter().filter(|section| !section.name.starts_with(INTERNAL_PREFIX)) {
            let place = format!("{}:{}", options.file.display(), section.line);
            match read_section(&section, options.format) {
                Ok(read) => {
                    for (action, _) in Action::ALL.iter().zip(&read.permissions).filter(|(action, permission)| {
                        **permission == Permission::Nobody && section.value(action.key()).is_some_and(str::is_empty)
                    }) {
                        warnings.push(format!("{place}: [{}] {} is empty: nobody may", section.name, action.key()));
                    }
                    all.push(read);
                }
                Err(more) => problems.extend(more),
            }
        }
        problems.sort();
        if problems.is_empty() {
            Ok((Protections(all), warnings))
        } else {
            Err(problems.into_iter().map(syntax).collect())
        }
    }

    /// Whether `caller` may do this to the property `name`. `policy` has the rules that the file may name.
    pub fn allow(&self, action: Action, name: &str, caller: &Identity, policy: &Policy) -> bool {
        if name.starts_with(INTERNAL_PREFIX) {
            return true;
        }
        let Some(section) = self.0.iter().find(|section| section.pattern.is_match(name)) else { return false };
        let permission = Action::ALL.iter().zip(&section.permissions).find(|(each, _)| **each == action);
        match permission.map(|(_, permission)| permission) {
            Some(Permission::All) => true,
            Some(Permission::Nobody) | None => false,
            Some(Permission::Roles(roles)) => {
                caller.roles.iter().chain(&caller.service_roles).any(|role| roles.contains(role))
            }
            Some(Permission::Rule(rule)) => policy.enforce(rule, &caller.credentials(), &()),
        }
    }

    /// Rules that the file names and `policy` does not have: they deny.
    pub fn missing_rules(&self, policy: &Policy) -> Vec<&str> {
        let permissions = self.0.iter().flat_map(|section| &section.permissions);
        let rules = permissions.filter_map(|permission| match permission {
            Permission::Rule(rule) if !policy.contains(rule) => Some(rule.as_str()),
            _ => None,
        });
        let mut missing: Vec<&str> = rules.collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}

fn read_section(section: &file::Section, format: ProtectionFormat) -> Result<Section, Vec<file::Problem>> {
    let mut problems = Vec::new();
    let pattern = pattern::compile(&section.name)
        .map_err(|reason| problems.push((section.line, format!("[{}] is not understood: {reason}", section.name))));
    let permissions = Action::ALL.map(|action| {
        permission(section, action.key(), format).unwrap_or_else(|problem| {
            problems.push(problem);
            Permission::Nobody
        })
    });
    match pattern {
        Ok(pattern) if problems.is_empty() => Ok(Section { pattern, permissions }),
        _ => Err(problems),
    }
}

fn permission(section: &file::Section, key: &str, format: ProtectionFormat) -> Result<Permission, file::Problem> {
    let Some((line, value)) = section.entry(key) else {
        return Err((section.line, format!("[{}] has no {key}; @ allows everybody, ! nobody", section.name)));
    };
    let fail = |reason: &str| Err((line, format!("[{}] {key} = {value}: {reason}", section.name)));
    if format == ProtectionFormat::Policies {
        return match value {
            "" | "!" => Ok(Permission::Nobody),
            "@" => Ok(Permission::All),
            _ if value.contains(',') => {
                fail("one rule of the policy is expected; combine several in a rule of their own")
            }
            rule => Ok(Permission::Rule(rule.to_owned())),
        };
    }
    let roles = value.split(',').map(|role| role.trim().to_lowercase());
    let roles: Vec<String> = roles.filter(|role| !role.is_empty()).collect();
    let has = |sign: &str| roles.iter().any(|role| role == sign);
    match (has("@"), has("!")) {
        (true, true) => fail("@ and ! exclude each other"),
        (true, false) => Ok(Permission::All),
        (false, true) => Ok(Permission::Nobody),
        (false, false) if roles.is_empty() => Ok(Permission::Nobody),
        (false, false) => Ok(Permission::Roles(roles)),
    }
}

#[cfg(test)]
mod tests;
