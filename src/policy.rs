//! `vitrine policy`: what the rules are, and what they decide.
//!
//! Exit codes: 0 listed or allowed, 1 denied, 2 usage, configuration or policy files.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use common::config::{Config, Overrides};
use common::identity::Identity;
use common::policy::{Description, Policy, Target};

use crate::cli::{self, Check, ConfigFiles};
use crate::{FAILED, MISCONFIGURED};

/// Runs a command about the policy.
pub(crate) fn run(command: &cli::Policy) -> ExitCode {
    match command {
        cli::Policy::List(files) => with_policy(files, |policy| (list(policy), ExitCode::SUCCESS)),
        cli::Policy::Check(question) => with_policy(&question.files, |policy| check(policy, question)),
    }
}

/// Prints what `answer` makes of the policy that the service would have, and ends as it says.
fn with_policy(files: &ConfigFiles, answer: impl FnOnce(&Policy) -> (String, ExitCode)) -> ExitCode {
    let Some(policy) = load(files) else { return ExitCode::from(MISCONFIGURED) };
    let (text, code) = answer(&policy);
    // Whoever reads may have enough before the end.
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}

/// The policy; problems and warnings are told.
fn load(files: &ConfigFiles) -> Option<Policy> {
    let (config, warnings) = Config::load(&files.config, &Overrides::default()).map_err(tell).ok()?;
    tell(warnings);
    let (policy, warnings) = Policy::load(&config.policy).map_err(tell).ok()?;
    tell(warnings);
    Some(policy)
}

fn tell<T: std::fmt::Display>(lines: impl IntoIterator<Item = T>) {
    for line in lines {
        eprintln!("vitrine: {line}");
    }
}

fn list(policy: &Policy) -> String {
    policy.descriptions().iter().fold(String::new(), |mut text, rule| {
        let broken = if rule.is_broken { "; denies everything, see the warning" } else { "" };
        let _ = writeln!(text, "{}  # {}{broken}", rule.line(), rule.origin);
        text
    })
}

fn check(policy: &Policy, question: &Check) -> (String, ExitCode) {
    let family = policy.family(&question.rule);
    let Some((rule, others)) = family.split_first() else {
        eprintln!("vitrine: there is no rule {:?}; `vitrine policy list` prints those that there are", question.rule);
        return (String::new(), ExitCode::from(MISCONFIGURED));
    };
    let caller = caller(policy, question);
    let is_allowed = policy.enforce(&question.rule, &caller.credentials(), &Asked(question));
    let mut text = format!("{}\n{}\n", if is_allowed { "allowed" } else { "denied" }, shown(rule));
    for other in others {
        let _ = writeln!(text, "  {}", shown(other));
    }
    (text, if is_allowed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn shown(rule: &Description) -> String {
    let broken = if rule.is_broken { ", denies everything" } else { "" };
    format!("{} = \"{}\" ({}{broken})", rule.name, rule.text(), rule.origin)
}

fn caller(policy: &Policy, question: &Check) -> Identity {
    let lower = |roles: &[String]| roles.iter().map(|role| role.to_lowercase()).collect();
    let caller = Identity {
        user_id: question.user.clone(),
        project_id: Some(question.project.clone()),
        roles: lower(&question.role),
        service_roles: lower(&question.service_role),
        ..Identity::default()
    };
    let is_admin = policy.is_admin(&caller.credentials());
    Identity { is_admin, ..caller }
}

/// The image that a question is about.
struct Asked<'q>(&'q Check);

impl Target for Asked<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let Check { project, owner, visibility, status, member, target, .. } = self.0;
        if let Some((_, value)) = target.iter().find(|(name, _)| name == key) {
            return Some(value);
        }
        match key {
            "owner" | "project_id" => Some(owner.as_ref().unwrap_or(project)),
            "visibility" => Some(visibility),
            "status" => Some(status),
            "member" | "member_id" => Some(if *member { project } else { "None" }),
            _ => None,
        }
    }
}
