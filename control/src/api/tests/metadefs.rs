//! Metadata definitions: who may what, what stays after a refusal, and that nothing a client sends is a fault of ours.

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};

use super::*;

const NAMESPACES: &str = "/v2/metadefs/namespaces";

fn path(rest: &str) -> String {
    format!("{NAMESPACES}/{rest}")
}

/// A namespace with one of everything.
fn full(name: &str) -> Value {
    json!({
        "namespace": name,
        "visibility": "public",
        "resource_type_associations": [{"name": "R", "prefix": "r_"}],
        "properties": {"p": {"type": "string", "title": "P"}},
        "objects": [{"name": "o", "required": ["q"], "properties": {"q": {"type": "string", "title": "Q"}}}],
        "tags": [{"name": "t"}],
    })
}

#[tokio::test]
async fn a_namespace_is_as_visible_as_it_says_and_so_is_what_hangs_on_it() {
    let site = Site::new();
    let private = json!({"namespace": "private", "owner": "p1", "tags": [{"name": "t"}]});
    for new in [full("public"), private] {
        assert_eq!(site.ask(&admin(), "POST", NAMESPACES, &new).await.0, 201);
    }
    let listed = async |who: &Identity| {
        let (status, list) = site.ask(who, "GET", NAMESPACES, &Value::Null).await;
        assert_eq!(status, 200, "{list}");
        list["namespaces"].as_array().expect("a list").len()
    };
    assert_eq!([listed(&reader("p1")).await, listed(&reader("p2")).await, listed(&admin()).await], [2, 1, 2]);
    for rest in ["private", "private/tags/t", "private/objects", "private/resource_types", "private/properties"] {
        assert_eq!(site.ask(&reader("p1"), "GET", &path(rest), &Value::Null).await.0, 200, "{rest}");
        assert_eq!(site.ask(&reader("p2"), "GET", &path(rest), &Value::Null).await.0, 404, "{rest}");
    }
    let change = json!({"namespace": "x"});
    assert_eq!(site.ask(&member("p1"), "PUT", &path("private"), &change).await.0, 403);
    assert_eq!(site.ask(&member("p2"), "PUT", &path("private"), &change).await.0, 404);
    assert_eq!(site.ask(&member("p2"), "PUT", &path("public"), &change).await.0, 403);
    // Whoever may not even read learns nothing.
    assert_eq!(site.ask(&caller("p1", &[]), "POST", NAMESPACES, &change).await.0, 404);
}

#[tokio::test]
async fn names_on_things_of_a_type_have_its_prefix() {
    let site = Site::new();
    site.ask(&admin(), "POST", NAMESPACES, &full("n")).await;
    let (_, shown) = site.ask(&reader("p1"), "GET", &path("n?resource_type=R"), &Value::Null).await;
    assert!(shown["properties"]["r_p"].is_object(), "{shown}");
    assert_eq!(shown["objects"][0]["required"], json!(["r_q"]));
    assert!(shown["objects"][0]["properties"]["r_q"].is_object(), "{shown}");
    let (status, property) =
        site.ask(&reader("p1"), "GET", &path("n/properties/r_p?resource_type=R"), &Value::Null).await;
    assert_eq!((status, property["name"].as_str()), (200, Some("p")));
    for rest in ["n/properties/p?resource_type=R", "n/properties/r_p?resource_type=S", "n/properties/r_p"] {
        assert_eq!(site.ask(&reader("p1"), "GET", &path(rest), &Value::Null).await.0, 404, "{rest}");
    }
}

#[tokio::test]
async fn what_is_protected_cannot_be_removed_and_a_refusal_changes_nothing() {
    let site = Site::new();
    let mut new = full("n");
    new["protected"] = json!(true);
    site.ask(&admin(), "POST", NAMESPACES, &new).await;
    let shown = site.ask(&admin(), "GET", &path("n"), &Value::Null).await;
    for rest in
        ["n", "n/objects", "n/objects/o", "n/properties/p", "n/properties", "n/tags", "n/tags/t", "n/resource_types/R"]
    {
        assert_eq!(site.ask(&admin(), "DELETE", &path(rest), &Value::Null).await.0, 403, "{rest}");
    }
    let twice = json!({"tags": [{"name": "a"}, {"name": "a"}]});
    assert_eq!(site.ask(&admin(), "POST", &path("n/tags"), &twice).await.0, 409);
    assert_eq!(site.ask(&admin(), "GET", &path("n"), &Value::Null).await, shown);
    for rest in ["n/objects/none", "n/properties/none", "n/tags/none", "n/resource_types/none"] {
        assert_eq!(site.ask(&admin(), "DELETE", &path(rest), &Value::Null).await.0, 404, "{rest}");
    }
}

/// Documents around those that the endpoints take: right members with wrong values, wrong members, and right ones.
fn document() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        8 => prop::sample::select(vec![
            "namespace", "name", "type", "title", "description", "properties", "objects", "tags", "required", "prefix",
            "resource_type_associations", "properties_target", "items", "enum", "default", "minimum", "maximum",
            "minLength", "visibility", "protected", "owner", "operators", "p",
        ])
        .prop_map(str::to_owned),
        1 => ".{0,3}",
    ];
    let leaf = prop_oneof![
        4 => prop::sample::select(vec!["n", "o", "string", "array", "public", "t", "", "ü", "\u{1f600}", "\0"])
            .prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => ".{79,82}".prop_map(Value::from),
    ];
    let definition = Just(json!({"type": "string", "title": "t"}));
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            6 => prop::collection::btree_map(name.clone(), prop_oneof![3 => inner, 1 => definition.clone()], 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A document with the members without which nothing is looked at any further.
fn likely() -> impl Strategy<Value = Value> {
    document().prop_map(|mut document| {
        if let Some(object) = document.as_object_mut() {
            for (name, value) in [("namespace", "n"), ("name", "o"), ("type", "string"), ("title", "t")] {
                object.entry(name).or_insert_with(|| json!(value));
            }
        }
        document
    })
}

/// Keeps of a document only the members that an endpoint knows, so that more than their names is looked at.
fn only(document: &Value, known: &[&str]) -> Value {
    match document.as_object() {
        Some(object) => object
            .iter()
            .filter(|(name, _)| known.contains(&name.as_str()))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect(),
        None => document.clone(),
    }
}

const NAMESPACE: &[&str] = &[
    "namespace",
    "display_name",
    "description",
    "visibility",
    "protected",
    "owner",
    "properties",
    "objects",
    "tags",
    "resource_type_associations",
];
const OBJECT: &[&str] = &["name", "description", "required", "properties"];
const PROPERTY: &[&str] = &[
    "name",
    "type",
    "title",
    "description",
    "operators",
    "default",
    "minimum",
    "maximum",
    "enum",
    "items",
    "minLength",
];

#[test]
fn nothing_that_is_sent_is_a_fault_of_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let site = runtime.block_on(async {
        let site = Site::new();
        assert_eq!(site.ask(&admin(), "POST", NAMESPACES, &full("n")).await.0, 201);
        site
    });
    let mut runner = TestRunner::new(Runs { cases: 400, ..Runs::default() });
    let outcome = runner.run(&(likely(), any::<bool>()), |(document, is_cut)| {
        let cut = |known| if is_cut { only(&document, known) } else { document.clone() };
        runtime.block_on(async {
            for (method, rest, known) in [
                ("POST", "", NAMESPACE),
                ("PUT", "/n", NAMESPACE),
                ("POST", "/n/objects", OBJECT),
                ("PUT", "/n/objects/o", OBJECT),
                ("POST", "/n/properties", PROPERTY),
                ("PUT", "/n/properties/p", PROPERTY),
                ("POST", "/n/tags", &["tags"]),
                ("PUT", "/n/tags/t", &["name"]),
                ("POST", "/n/resource_types", &["name", "prefix", "properties_target"]),
            ] {
                let before = site.ask(&admin(), "GET", &path("n"), &Value::Null).await;
                let (status, answer) = site.ask(&admin(), method, &format!("{NAMESPACES}{rest}"), &cut(known)).await;
                prop_assert!(status < 500, "{method} {rest}: {answer}");
                let after = site.ask(&admin(), "GET", &path("n"), &Value::Null).await;
                // Renamed, it is elsewhere.
                prop_assert!(after.0 == 200 || (method, rest) == ("PUT", "/n"), "{method} {rest}: {after:?}");
                if status >= 400 {
                    prop_assert_eq!(&before, &after, "{} {} changed something: {}", method, rest, answer);
                }
                if after.0 == 404 {
                    site.ask(&admin(), "POST", NAMESPACES, &full("n")).await;
                }
                let (status, list) = site.ask(&admin(), "GET", NAMESPACES, &Value::Null).await;
                prop_assert!(status == 200, "{list}");
            }
            Ok(())
        })
    });
    outcome.expect("no fault");
}
