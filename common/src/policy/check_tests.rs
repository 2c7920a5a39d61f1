//! Rules asked: the language, files over defaults, and the matrix of the defaults.

use std::fmt::Write;
use std::fs;

use super::*;

fn roles(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn options(dir: &Path) -> PolicyFiles {
    PolicyFiles {
        file: vec![dir.join("policy.yaml")],
        dirs: Vec::new(),
        default_rule: "default".to_owned(),
        enforce_new_defaults: true,
    }
}

/// The policy of one file, and its warnings.
fn policy(text: &str) -> (Policy, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("policy.yaml"), text).unwrap();
    let (policy, warnings) = Policy::load(&options(dir.path())).unwrap();
    let shorten = |warning: &PolicyWarning| warning.to_string().replace(&format!("{}/", dir.path().display()), "");
    (policy, warnings.iter().map(shorten).collect())
}

const TARGET: [(&str, &str); 4] = [("project_id", "p1"), ("visibility", "public"), ("role", "Boss"), ("none", "None")];

#[test]
fn checks_compare_texts() {
    let (roles, service_roles) = (roles(&["member", "boss", "größe"]), roles(&["service"]));
    let caller = Credentials {
        user_id: Some("u1"),
        project_id: Some("p1"),
        user_domain_id: Some("d1"),
        roles: &roles,
        service_roles: &service_roles,
        ..Credentials::default()
    };
    for (rule, expected) in [
        ("", true),
        ("@", true),
        ("!", false),
        ("role:member", true),
        ("role:MEMBER", true),
        ("role:GRÖSSE", false),
        ("role:GRÖßE", true),
        ("role:mem", false),
        ("role:", false),
        ("role:%(role)s", true),
        ("role:%(absent)s", false),
        ("not role:%(absent)s", true),
        ("project_id:%(project_id)s", true),
        ("project_id:p1", true),
        ("project_id:p%(absent)s", false),
        ("project_id:p", false),
        ("user_id:%(project_id)s", false),
        ("user_id:u%%1", false),
        ("user_domain_id:d1", true),
        ("project_domain_id:None", false),
        ("project_domain_id:%(none)s", false),
        ("None:%(none)s", true),
        ("'public':%(visibility)s", true),
        ("'Public':%(visibility)s", false),
        ("\"public-p1\":%(visibility)s-%(project_id)s", true),
        ("True:True", true),
        ("7:7", true),
        ("roles:boss", true),
        ("roles:Boss", false),
        ("service_roles:service", true),
        ("role:service", false),
        ("is_admin:False", true),
        ("is_admin:True", false),
        ("tenant:p1", false),
        ("role:x or project_id:p1 and user_id:u1", true),
        ("(role:x or project_id:p1) and user_id:u2", false),
        ("not role:x and not (role:y or role:z)", true),
    ] {
        let (policy, warnings) = policy(&format!("it: '{}'\n", rule.replace('\'', "''")));
        assert_eq!(warnings, Vec::<String>::new(), "{rule}");
        assert_eq!(policy.enforce("it", &caller, &TARGET), expected, "{rule}");
    }
}

#[test]
fn every_built_in_rule_is_understood() {
    for default in RULES {
        assert!(
            built_in(default, true).check.is_some() && built_in(default, false).check.is_some(),
            "{}",
            default.name
        );
    }
    let (policy, warnings) = policy("");
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(policy.rules.len(), 67);
    assert!(!policy.rules.contains(&Check::Deny));
}

#[test]
fn who_is_not_scoped_to_a_project_passes_no_rule_of_the_api() {
    let policy = Policy::defaults();
    let roles = roles(&["admin", "member", "reader"]);
    let project = Credentials { user_id: Some("u"), project_id: Some("p"), roles: &roles, ..Credentials::default() };
    let system = Credentials { system_scope: Some("all"), project_id: None, ..project };
    let domain = Credentials { project_id: None, ..project };
    assert!(policy.enforce("get_images", &project, &()));
    assert!(!policy.enforce("get_images", &system, &()));
    assert!(!policy.enforce("get_images", &domain, &()));
    for caller in [project, system, domain] {
        assert!(policy.is_admin(&caller), "a building block has no scope");
    }
}

#[test]
fn files_stand_over_defaults_and_later_files_over_earlier() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("policy.yaml", "get_images: 'role:a'\nadd_image: 'role:a'\nown: 'role:a'\n");
    fs::create_dir_all(dir.path().join("policy.d/sub")).unwrap();
    write("policy.d/1.yaml", "own: 'role:b'\nadd_image: 'role:b'\n");
    // Many, so that no file system lists them in order by chance.
    for (at, role) in (2..).zip(["x", "y", "z", "v", "w", "t", "u", "c"]) {
        write(&format!("policy.d/{at}.yaml"), &format!("own: 'role:{role}'\n"));
    }
    write("policy.d/.hidden.yaml", "own: 'role:d'\n");
    write("policy.d/sub/4.yaml", "own: 'role:d'\n");
    let options = PolicyFiles { dirs: vec![vec![dir.path().join("policy.d")]], ..options(dir.path()) };
    let (policy, warnings) = Policy::load(&options).unwrap();
    assert_eq!(warnings, []);
    let passes = |rule: &str, role: &str| {
        let roles = roles(&[role]);
        policy.enforce(rule, &Credentials { roles: &roles, project_id: Some("p"), ..Credentials::default() }, &())
    };
    assert!(passes("get_images", "a") && passes("add_image", "b") && passes("own", "c"));
    assert!(!passes("add_image", "a") && !passes("own", "d") && !passes("own", "b"));
    assert!(passes("delete_image", "admin"));
    assert!(policy.contains("own") && !policy.contains("other"));
}

#[test]
fn everything_that_is_wrong_with_files_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("policy.yaml"), "a: role:x\nb\n").unwrap();
    fs::create_dir(dir.path().join("policy.d")).unwrap();
    let rules = "good: role:x\nbad: 'role:x or'\nworse: >\n  role:x\n  and\n\n\nworst: [['x']]\n";
    fs::write(dir.path().join("policy.d/1.yaml"), rules).unwrap();
    fs::write(dir.path().join("policy.d/2.json"), "{\"good\": \"@\",\n\n \"bad\":\n \"(role:x\"}").unwrap();
    fs::write(dir.path().join("policy.d/3.yaml"), b"a: \xff").unwrap();
    let options = PolicyFiles { dirs: vec![vec![dir.path().join("policy.d")]], ..options(dir.path()) };
    let errors: Vec<_> = Policy::load(&options).unwrap_err().iter().map(ToString::to_string).collect();
    let at = dir.path().display();
    assert_eq!(errors[0], format!("{at}/policy.yaml:2: expected `name: rule`"));
    for (error, expected) in errors[1..].iter().zip([
        "1.yaml:2: rule bad: at character 10: expected a check such as role:admin",
        "1.yaml:3: rule worse: at character 11: expected a check such as role:admin",
        "1.yaml:8: rule worst: at character 1: x is not a check: it has no colon",
        "2.json:4: rule bad: at character 8: expected )",
        "3.yaml: cannot be read: invalid utf-8",
    ]) {
        assert!(error.starts_with(&format!("{at}/policy.d/{expected}")), "{error} is not {expected}");
    }
    assert_eq!(errors.len(), 6);
}

#[test]
fn rules_are_described_as_they_stand() {
    let text = "add_image: 'role:a'\nown: [[\"role:a\", \"role:b\"], \"@\"]\nquoted: \"'x':%(y)s or rule:own\"\nself: rule:self\n";
    let (found, _) = policy(text);
    let rule = |name: &str| found.family(name).first().copied().cloned().unwrap();
    assert_eq!(rule("add_image").line(), r#""add_image": "role:a""#);
    assert_eq!(rule("own").line(), r#""own": [["role:a","role:b"],["@"]]"#);
    assert_eq!(rule("quoted").line(), r#""quoted": "'x':%(y)s or rule:own""#);
    assert!(rule("self").is_broken && !rule("own").is_broken);
    assert!(matches!(rule("own").origin, Origin::File { line: 2, .. }));
    assert_eq!(rule("get_images").origin.to_string(), "default");
    let family: Vec<&str> = found.family("quoted").iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(family, ["quoted", "own"]);
    assert!(found.family("absent").is_empty());
    // What is listed is a policy file that decides the same.
    let lines: Vec<String> = found.descriptions().iter().map(Description::line).collect();
    assert_eq!(found.rules, policy(&lines.join("\n")).0.rules);
    let old = PolicyFiles { enforce_new_defaults: false, ..options(Path::new("/nowhere")) };
    let (old, _) = Policy::load(&old).unwrap();
    let text = old.family("get_tasks")[0].text().into_owned();
    assert_eq!(text, "(rule:default) or (rule:default)");
    assert_eq!(old.family("default")[0].text(), "(@) or (rule:context_is_admin)");
}

#[test]
fn older_defaults_count_only_when_asked_for_and_not_overridden() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("policy.yaml"), "delete_image: role:x\n").unwrap();
    let nobody = Credentials { project_id: Some("p"), ..Credentials::default() };
    let (new, _) = Policy::load(&options(dir.path())).unwrap();
    let (old, _) = Policy::load(&PolicyFiles { enforce_new_defaults: false, ..options(dir.path()) }).unwrap();
    for (rule, in_new, in_old) in [
        ("get_images", false, true),
        ("get_metadef_objects", false, true),
        ("publicize_image", false, false),
        ("delete_image", false, false),
        ("default", true, true),
    ] {
        assert_eq!((new.enforce(rule, &nobody, &()), old.enforce(rule, &nobody, &())), (in_new, in_old), "{rule}");
    }
}

#[test]
fn what_cannot_be_used_denies_even_when_negated() {
    let text = "\
bad: 'role:admin or http://server/%(name)s'
uses_bad: 'rule:bad or role:admin'
negates_bad: 'role:admin or not rule:bad'
negates_it_too: 'not rule:negates_bad'
self: 'role:admin or rule:self'
one: rule:two
two: rule:three or role:admin
three: rule:one
to_circle: rule:one or role:admin
missing: rule:nowhere
either: 'rule:nowhere or role:admin'
negates_missing: 'role:admin or not rule:nowhere'
";
    let (policy, warnings) = policy(text);
    let admin = roles(&["admin"]);
    let admin = Credentials { roles: &admin, project_id: Some("p"), ..Credentials::default() };
    for rule in
        ["bad", "negates_bad", "negates_it_too", "self", "one", "two", "three", "nowhere", "missing", "negates_missing"]
    {
        assert!(!policy.enforce(rule, &admin, &()), "{rule}");
    }
    for rule in ["uses_bad", "to_circle", "either"] {
        assert!(policy.enforce(rule, &admin, &()), "{rule}");
    }
    assert_eq!(
        warnings,
        [
            "policy.yaml:1: rule bad denies everything: at character 15: rules that ask a server are not there yet",
            "rule either refers to rule nowhere, which does not exist: it is taken to deny",
            "rule missing refers to rule nowhere, which does not exist: it is taken to deny",
            "rule negates_missing refers to rule nowhere, which does not exist: it is taken to deny",
            "rule one leads to itself or through too many other rules, and denies everything",
            "rule self leads to itself or through too many other rules, and denies everything",
            "rule three leads to itself or through too many other rules, and denies everything",
            "rule two leads to itself or through too many other rules, and denies everything",
            "rule negates_missing negates a rule that cannot be used, and denies everything",
            "rule negates_bad negates a rule that cannot be used, and denies everything",
            "rule negates_it_too negates a rule that cannot be used, and denies everything",
        ]
    );
}

#[test]
fn a_missing_rule_is_the_default_rule_of_a_file_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let roles = roles(&["x"]);
    let caller = Credentials { roles: &roles, ..Credentials::default() };
    let nobody = Credentials::default();
    const OWN: &str = "a: rule:nowhere\nmine: role:x\n";
    for (file, default_rule, for_x, for_nobody) in [
        (OWN, "default", false, false),
        ("a: rule:nowhere\ndefault: role:x\n", "default", true, false),
        ("a: rule:nowhere\ndefault: ''\n", "default", true, true),
        (OWN, "mine", true, false),
        (OWN, "get_images", false, false),
        (OWN, "absent", false, false),
        (OWN, "", false, false),
    ] {
        fs::write(dir.path().join("policy.yaml"), file).unwrap();
        let options = PolicyFiles { default_rule: default_rule.to_owned(), ..options(dir.path()) };
        let (policy, warnings) = Policy::load(&options).unwrap();
        assert_eq!(warnings.len(), 1);
        let found = (policy.enforce("a", &caller, &()), policy.enforce("a", &nobody, &()));
        assert_eq!(found, (for_x, for_nobody), "{default_rule} in {file}");
    }
}

#[test]
fn chains_of_rules_are_bounded() {
    let mut text = String::from("r0: '@'\n");
    for at in 1..5000 {
        let _ = writeln!(text, "r{at}: rule:r{}", at - 1);
    }
    let (policy, _) = policy(&text);
    let passes = |at: usize| policy.enforce(&format!("r{at}"), &Credentials::default(), &());
    assert!(passes(0) && passes(CHAIN_MAX - 1));
    assert!(!passes(CHAIN_MAX) && !passes(4999));
}

#[test]
fn the_defaults_decide_as_the_matrix_says() {
    const HEAD: &str = "\
# What the default rules decide, by caller (rows) and target (columns): + allows, - denies.
# own: the caller's project owns it; other: another project does; member: another's, shared with the caller's project.
# Rewritten by UPDATE_GOLDEN=1 cargo test -p common policy::
";
    const VISIBILITIES: [&str; 4] = ["private", "shared", "community", "public"];
    let policy = Policy::defaults();
    let mut text = HEAD.to_owned();
    text.push_str("# columns: own and other, each private shared community public; member; no target\n");
    for default in RULES {
        let _ = writeln!(text, "\n{}", default.name);
        for (caller, names) in [
            ("admin", &["admin"] as &[&str]),
            ("member", &["member", "reader"]),
            ("reader", &["reader"]),
            ("service", &["service"]),
            ("nobody", &[]),
        ] {
            let roles = roles(names);
            let caller_is =
                Credentials { user_id: Some("u"), project_id: Some("own"), roles: &roles, ..Credentials::default() };
            let sign = |target: &dyn Target| if policy.enforce(default.name, &caller_is, target) { '+' } else { '-' };
            let _ = write!(text, "  {caller:8}");
            for owner in ["own", "other"] {
                let signs = VISIBILITIES
                    .map(|visibility| sign(&[("project_id", owner), ("owner", owner), ("visibility", visibility)]));
                let _ = write!(text, "{} ", signs.iter().collect::<String>());
            }
            let shared = [("project_id", "other"), ("owner", "other"), ("visibility", "private"), ("member_id", "own")];
            let _ = writeln!(text, "{} {}", sign(&shared), sign(&()));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy/matrix.golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "the defaults decide differently: compare with {} by UPDATE_GOLDEN=1", path.display());
}
