//! Files in, rules or the line of the mistake out.

use proptest::prelude::*;

use super::*;

fn rules(text: &str) -> Vec<(usize, String, String)> {
    let items = read(text).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
    let show = |text: Text| match text {
        Text::Rule(text) => text,
        Text::Lists(lists) => format!("{lists:?}"),
    };
    items.into_iter().map(|item| (item.line, item.name, show(item.text))).collect()
}

fn one(text: &str) -> String {
    let mut found = rules(text);
    assert_eq!(found.len(), 1, "{text:?}: {found:?}");
    found.remove(0).2
}

#[test]
fn texts_may_be_plain_quoted_or_blocks() {
    for (text, expected) in [
        ("a: role:admin", "role:admin"),
        ("a: role:admin or rule:b  # comment", "role:admin or rule:b"),
        ("\"a\": \"role:admin\"", "role:admin"),
        ("'a' : 'it''s:x' # c", "it's:x"),
        ("a: \"\"", ""),
        ("a: ''", ""),
        ("a: \"!\"", "!"),
        ("a: \"'x':%(y)s and \\\"z\\\":w\"", "'x':%(y)s and \"z\":w"),
        ("a: role:x\n  or role:y # c\n  # c\n  or role:z", "role:x or role:y or role:z"),
        ("a: \"role:x or\n    role:y\"", "role:x or role:y"),
        ("a: 'role:x or\n\n    role:y'", "role:x or role:y"),
        ("a: >\n  role:x or\n\n  role:y\n", "role:x or role:y"),
        ("a: >-  # c\n  role:x\n", "role:x"),
        ("a: |2\n  role:x\n", "role:x"),
        ("a: []", "[]"),
        ("a: [[\"role:x\"], ['b:c', d:e]]", "[[\"role:x\"], [\"b:c\", \"d:e\"]]"),
        ("a: [role:x,\n  [role:y]\n] # c", "[[\"role:x\"], [\"role:y\"]]"),
        ("a:\n  - role:x\n  - \"role:y\" # c\n- [b:c, d:e]\n", "[[\"role:x\"], [\"role:y\"], [\"b:c\", \"d:e\"]]"),
        ("a: # c\n  - role:x\n", "[[\"role:x\"]]"),
        ("{\"a\": \"role:x\"}", "role:x"),
        ("{\"a\": [[\"role:x\", \"b:c\"], \"d:e\"]}", "[[\"role:x\", \"b:c\"], [\"d:e\"]]"),
    ] {
        assert_eq!(one(text), expected, "{text:?}");
    }
}

#[test]
fn names_come_with_their_lines() {
    let found = rules(
        "# c\n---\n\na: role:x\n\n# c\n\"b:c\": >\n  role:y\n  role:z\nd: [x:y,\n z:w]\n'e': \"f\n  g\"\nh: i:j\n...\nk\n",
    );
    let lines: Vec<_> = found.iter().map(|(line, name, _)| (*line, name.as_str())).collect();
    assert_eq!(lines, [(4, "a"), (7, "b:c"), (10, "d"), (12, "e"), (14, "h")]);
    assert_eq!(rules(""), []);
    assert_eq!(rules("# nothing\n\n"), []);
}

#[test]
fn what_is_not_a_policy_file_is_an_error_with_its_line() {
    for (text, line) in [
        ("a: role:x\nnonsense\n", 2),
        ("a: role:x\n\n  b: role:y\n", 3),
        ("  a: role:x\n", 1),
        ("a:\n", 1),
        ("a: # c\nb: role:x\n", 1),
        ("a: ~\n", 1),
        ("a: true\n", 1),
        ("a: 5\n", 1),
        ("a: !\n", 1),
        ("a: @\n", 1),
        ("a: \"role:x\n", 1),
        ("a: \"role:x\" or\n", 1),
        ("a: \"role:x\"\n  or\n", 2),
        ("a: \"\\q\"\n", 1),
        ("a: b: c\n", 1),
        ("a: [role:x\n", 1),
        ("a: [role:x] y\n", 1),
        ("a: [[[role:x]]]\n", 1),
        ("a: ['x' 'y']\n", 1),
        ("a: {b: c}\n", 1),
        ("a: &anchor role:x\n", 1),
        ("a:\n  b: role:x\n", 1),
        ("a:\n - - role:x\n", 2),
        ("a:role:x\n", 1),
        ("- a\n", 1),
        ("{\"a\": 5}", 1),
        ("{\"a\": \"x\",\n}", 2),
    ] {
        let error = read(text).expect_err(text);
        assert_eq!(error.0, line, "{text:?}: {error:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ \\n\\[\\],\"'#a:>|{}\\\\-é]{0,60}") {
        let _ = read(&text);
    }
}
