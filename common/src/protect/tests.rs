//! Files in, permissions or every mistake out.

use std::fs;
use std::path::Path;

use super::*;
use crate::config::PolicyFiles;

fn load(text: &str, format: ProtectionFormat) -> Result<(Protections, Vec<String>), Vec<String>> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("protect.conf");
    fs::write(&file, text).expect("a file");
    let shorten = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
    match Protections::load(&ProtectionFile { file, format }) {
        Ok((protections, warnings)) => Ok((protections, warnings.into_iter().map(shorten).collect())),
        Err(errors) => Err(errors.iter().map(|error| shorten(error.to_string())).collect()),
    }
}

fn with_roles(roles: &[&str]) -> Identity {
    Identity {
        user_id: "u".to_owned(),
        project_id: Some("p".to_owned()),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..Identity::default()
    }
}

fn everything(name: &str, value: &str) -> String {
    format!("[{name}]\ncreate = {value}\nread = {value}\nupdate = {value}\ndelete = {value}\n")
}

const ROLES: &str = "\
# Comments, also indented
  ; ones
[DEFAULT]
delete = admin

[^x_secret$]
CREATE = Admin, billing
read: admin,
  billing
  # a comment within
  ,auditor
update = !

[^x_.*]
create = @
read = @
update = member

[os_glance_mine]
create = !
";

#[test]
fn the_first_section_that_matches_decides() {
    let (protections, warnings) = load(ROLES, ProtectionFormat::Roles).expect("right");
    assert_eq!(warnings, Vec::<String>::new());
    let policy = Policy::defaults();
    let may = |name: &str, roles: &[&str]| {
        let caller = with_roles(roles);
        Action::ALL.map(|action| if protections.allow(action, name, &caller, &policy) { action.key() } else { "" })
    };
    assert_eq!(may("x_secret", &["admin"]), ["create", "read", "", "delete"]);
    assert_eq!(may("x_secret", &["billing"]), ["create", "read", "", ""]);
    assert_eq!(may("x_secret", &["auditor"]), ["", "read", "", ""]);
    assert_eq!(may("x_secret", &["member", "reader"]), ["", "", "", ""]);
    assert_eq!(may("x_other", &["reader"]), ["create", "read", "", ""]);
    assert_eq!(may("x_secret2", &["member"]), ["create", "read", "update", ""]);
    assert_eq!(may("other", &["admin"]), ["", "", "", ""], "what no section has is nobody's");
    assert_eq!(may("os_glance_importing_to_stores", &[]), ["create", "read", "update", "delete"]);
    // Roles of the service that passes a request on count too, and an empty role is nobody's.
    let service = Identity { service_roles: vec!["admin".to_owned()], ..with_roles(&["reader"]) };
    assert!(protections.allow(Action::Read, "x_secret", &service, &policy));
    assert!(!protections.allow(Action::Read, "x_secret", &with_roles(&[""]), &policy));
}

#[test]
fn rules_of_the_policy_decide() {
    let text =
        everything("^x_", "owners") + &everything("^y_", "absent") + &everything("^z_", "@") + &everything(".", "!");
    let (protections, _) = load(&text, ProtectionFormat::Policies).expect("right");
    let files =
        PolicyFiles { file: Vec::new(), dirs: Vec::new(), default_rule: "default".into(), enforce_new_defaults: true };
    let (policy, _) = Policy::from_text(Path::new("p"), "owners: role:a or role:b", &files).expect("rules");
    let reads = |name: &str, role: &str| protections.allow(Action::Read, name, &with_roles(&[role]), &policy);
    assert!(reads("x_1", "a") && reads("x_1", "b") && !reads("x_1", "c"));
    assert!(!reads("y_1", "a"), "a rule that does not exist denies");
    assert!(reads("z_1", "c") && !reads("other", "a"));
    assert_eq!(protections.missing_rules(&policy), ["absent"]);
}

#[test]
fn everything_that_is_wrong_is_named_with_its_line() {
    let text = "early = 1\n[^a]\ncreate = @,!\nread = @\nread = @\nupdate\ndelete = %(read)s\n[(b]\n".to_owned()
        + "create = @\nread = @\nupdate = @\ndelete = @\n[^a]\n[c]\ncreate=x\nread=x\nupdate=50%%\n";
    let errors = load(&text, ProtectionFormat::Roles).expect_err("wrong");
    let expected = [
        "protect.conf:1: early = 1 stands before the first [section]",
        "protect.conf:2: [^a] has no update; @ allows everybody, ! nobody",
        "protect.conf:3: [^a] create = @,!: @ and ! exclude each other",
        "protect.conf:5: read comes twice in [^a]",
        "protect.conf:6: update is neither [a section] nor key = value",
        "protect.conf:7: delete = %(read)s: write %% for a percent sign",
        "protect.conf:8: [(b] is not understood: unclosed group",
        "protect.conf:13: [^a] comes twice",
        "protect.conf:13: [^a] has no create; @ allows everybody, ! nobody",
        "protect.conf:13: [^a] has no delete; @ allows everybody, ! nobody",
        "protect.conf:13: [^a] has no read; @ allows everybody, ! nobody",
        "protect.conf:13: [^a] has no update; @ allows everybody, ! nobody",
        "protect.conf:14: [c] has no delete; @ allows everybody, ! nobody",
    ];
    assert_eq!(errors, expected);
    let several = everything("a", "one,two");
    let errors = load(&several, ProtectionFormat::Policies).expect_err("wrong");
    assert!(
        errors[0].starts_with("protect.conf:2: [a] create = one,two: one rule of the policy is expected"),
        "{errors:?}"
    );
    let absent = ProtectionFile { file: "/nowhere/protect.conf".into(), format: ProtectionFormat::Roles };
    let errors = Protections::load(&absent).expect_err("absent");
    assert!(errors[0].to_string().starts_with("/nowhere/protect.conf: cannot be read"), "{errors:?}");
}

#[test]
fn an_empty_permission_is_nobodys_and_worth_a_warning() {
    let (protections, warnings) =
        load("[a]\ncreate =\nread = @\nupdate = !\ndelete = @\n", ProtectionFormat::Roles).expect("right");
    assert!(!protections.allow(Action::Create, "a", &with_roles(&["admin"]), &Policy::defaults()));
    assert_eq!(warnings, ["protect.conf:1: [a] create is empty: nobody may"]);
}
