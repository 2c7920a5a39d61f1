//! Who may do what: Glance's policy rules, and the rule language in which operators change them.
//!
//! `parse` reads the language into `rule`'s tree, `yaml` reads policy files, `defaults` is the table of rules with
//! their built-in texts, `check` puts both together and decides, `files`
//! watches the files.
//!
//! A text that is not a rule makes the whole of the files unusable, where oslo.policy takes that one rule to deny: a service does
//! not start with them, and goes on with the rules that it has. Where else this differs, it denies more: a rule that refers to
//! itself in a circle, or that negates a rule that cannot be used, denies; a reference to a rule that does not exist denies, with a warning, unless
//! a policy file has the rule that `policy_default_rule` names (there, Glance's built-in `default` stands in, which
//! allows everybody); a part of the caller that is absent matches nothing (there, the
//! text `None`); [`Policy::enforce`] of a name that does not exist denies. `is_admin:True` means that `context_is_admin` held; there,
//! Glance does not give it to rules at all. Rules that ask a server (`http:`, `https:`) deny for now.

mod check;
mod credentials;
pub mod defaults;
mod files;
mod parse;
mod problem;
mod rule;
mod yaml;

pub use check::{Description, Origin, Policy};
pub use credentials::Credentials;
pub use files::{LOOK_INTERVAL, Loaded, Watch};
pub use problem::{PolicyError, PolicyWarning};
pub use rule::Target;
