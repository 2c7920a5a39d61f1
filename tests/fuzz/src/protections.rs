//! Files of property protections: any text is read or refused with lines that it has, and a section at the end that allows
//! nobody anything changes no decision, because the first section that matches decides and what matches none is nobody's.

use std::path::{Path, PathBuf};

use common::config::{ProtectionFile, ProtectionFormat};
use common::policy::{Policy, PolicyError};
use common::protect::{Action, Protections};

use super::policy_rule::callers;

/// Names that sections may match.
const NAMES: [&str; 6] = ["x", "x_secret", "hw_disk_bus", "os_glance_stage_host", "größe", ""];

/// The first byte chooses what permissions are, the rest is the file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (format, text) = match text.strip_prefix('=') {
        Some(text) => (ProtectionFormat::Policies, text),
        None => (ProtectionFormat::Roles, text),
    };
    let options = ProtectionFile { file: PathBuf::from("protect"), format };
    let protections = match Protections::from_text(&options, text) {
        Ok((protections, _)) => protections,
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                let PolicyError::Syntax { file, line, reason } = error else { panic!("{error}") };
                assert_eq!(file, Path::new("protect"));
                assert!(line >= 1 && line <= text.split('\n').count() && !reason.is_empty(), "line {line}: {reason}");
            }
            return;
        }
    };
    let longer = format!("{text}\n[^(x|größe)$]\ncreate = !\nread = !\nupdate = !\ndelete = !\n");
    // Refused only if the file has the section already.
    if let Ok((longer, _)) = Protections::from_text(&options, &longer) {
        assert_eq!(decisions(&longer), decisions(&protections));
    } else {
        assert!(text.contains("[^(x|größe)$]"), "a section more makes it unreadable");
    }
}

fn decisions(protections: &Protections) -> Vec<bool> {
    let policy = Policy::defaults();
    let mut all = Vec::new();
    for caller in callers() {
        for name in NAMES {
            for action in [Action::Create, Action::Read, Action::Update, Action::Delete] {
                all.push(protections.allow(action, name, &caller, &policy));
            }
        }
    }
    all
}
