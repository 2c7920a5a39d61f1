//! Metadata definitions.

use rusqlite::trace::TraceEventCodes;
use serde_json::{Map, Value, json};

use super::Fixture;
use super::plans::{STATEMENTS, count};
use crate::catalog::{
    ListedNamespace, LoadMode, Loaded, NamespaceColumn, NamespaceQuery, Order, TagColumn, TagQuery, Viewer,
};
use crate::model::metadef::{
    AssociationFields, Defined, Kind, Namespace, NamespaceFields, NewNamespace, ObjectFields, Property,
};

fn fields(name: &str) -> NamespaceFields {
    NamespaceFields {
        name: name.to_owned(),
        display_name: None,
        description: None,
        visibility: "public".to_owned(),
        protected: false,
        owner: "p1".to_owned(),
    }
}

fn bare(fields: NamespaceFields) -> NewNamespace {
    NewNamespace { fields, associations: Vec::new(), objects: Vec::new(), tags: Vec::new(), properties: Vec::new() }
}

fn definition() -> Map<String, Value> {
    json!({"type": "string", "title": "T"}).as_object().cloned().expect("an object")
}

/// A namespace with one or two of everything.
fn full(name: &str) -> NewNamespace {
    let association = |name: &str| AssociationFields { name: name.to_owned(), ..AssociationFields::default() };
    NewNamespace {
        associations: vec![association("R2"), association("R1")],
        objects: vec![ObjectFields {
            name: "o".to_owned(),
            required: vec!["a".to_owned(), "b".to_owned()],
            ..ObjectFields::default()
        }],
        tags: vec!["t1".to_owned(), "t2".to_owned()],
        properties: vec![Property { name: "p".to_owned(), definition: definition() }],
        ..bare(fields(name))
    }
}

fn make(fixture: &Fixture, new: &NewNamespace) -> Namespace {
    fixture.catalog.write(|tx| tx.create_namespace(new)).expect("the namespace is made")
}

fn by(column: NamespaceColumn, ascending: bool) -> Order<NamespaceColumn> {
    Order { column, ascending, marker: None }
}

/// What an administrator lists.
fn query(order: Order<NamespaceColumn>, limit: usize) -> NamespaceQuery {
    let viewer = Viewer { project: None, is_admin: true };
    NamespaceQuery { viewer, visibility: None, resource_types: None, order, limit }
}

fn names(listed: &[ListedNamespace]) -> Vec<&str> {
    listed.iter().map(|one| one.namespace.name.as_str()).collect()
}

#[test]
fn everything_is_made_together_or_nothing() {
    let fixture = Fixture::new();
    let made = make(&fixture, &full("n"));
    let catalog = fixture.catalog.queries();
    assert_eq!(catalog.namespace("n").expect("answers"), Some(made.clone()));
    let types: Vec<String> = catalog.associations(made.id).expect("answers").into_iter().map(|one| one.name).collect();
    assert_eq!(types, ["R2", "R1"]);
    assert_eq!(catalog.object(made.id, "o").expect("answers").expect("is there").required, ["a", "b"]);
    let tags = catalog.metadef_tags(made.id, &TagQuery::default()).expect("answers");
    assert_eq!(tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(), ["t2", "t1"]);
    assert_eq!(catalog.properties(made.id).expect("answers")[0].definition, definition());

    let twice = NewNamespace { tags: vec!["t".to_owned(), "t".to_owned()], ..full("m") };
    let error = fixture.catalog.write(|tx| tx.create_namespace(&twice)).expect_err("a tag is there twice");
    assert_eq!(error.status().as_u16(), 409);
    assert_eq!(catalog.namespace("m").expect("answers"), None);
    assert_eq!(fixture.number("SELECT count(*) FROM metadef_objects"), 1);

    fixture.catalog.write(|tx| tx.delete_namespace(made.id)).expect("it is removed");
    for table in ["objects", "properties", "tags", "namespace_resource_types", "namespaces"] {
        assert_eq!(fixture.number(&format!("SELECT count(*) FROM metadef_{table}")), 0, "{table}");
    }
    assert_eq!(fixture.number("SELECT count(*) FROM metadef_resource_types"), 2);
}

#[test]
fn rows_are_as_glance_writes_them() {
    let fixture = Fixture::new();
    let mut new = full("n");
    new.objects[0].properties.insert("ä".to_owned(), json!({"type": "string", "title": "ü"}));
    make(&fixture, &new);
    let text = |sql: &str| {
        let connection = fixture.catalog.connection();
        connection.query_row(sql, [], |row| row.get::<_, String>(0)).expect("the statement runs")
    };
    let schema = r#"{"\u00e4": {"type": "string", "title": "\u00fc"}}"#;
    assert_eq!(text("SELECT json_schema FROM metadef_objects"), schema);
    assert_eq!(text("SELECT json_schema FROM metadef_properties"), r#"{"type": "string", "title": "T"}"#);
    assert_eq!(text("SELECT required FROM metadef_objects"), "a,b");
    assert_eq!(text("SELECT created_at FROM metadef_tags").len(), "2026-11-20 17:50:00.414332".len());
    assert_eq!(fixture.number("SELECT count(*) FROM metadef_resource_types WHERE protected = 0"), 2);
    assert_eq!(fixture.number("SELECT count(*) FROM metadef_namespaces WHERE updated_at IS NULL"), 0);
}

#[test]
fn names_that_are_taken() {
    let fixture = Fixture::new();
    let (one, _) = (make(&fixture, &full("n")), make(&fixture, &bare(fields("other"))));
    let write = |work: &dyn Fn(&crate::catalog::Changes<'_>) -> crate::Result<()>| {
        fixture.catalog.write(|tx| work(tx)).map_err(|error| (error.status().as_u16(), error.message))
    };
    let object = |name: &str| ObjectFields { name: name.to_owned(), ..ObjectFields::default() };
    let taken = |outcome: Result<(), (u16, String)>| {
        let (status, text) = outcome.expect_err("it is taken");
        assert_eq!(status, 409, "{text}");
        text
    };
    assert!(taken(write(&|tx| tx.create_object(&one, &object("o")))).contains("object with name=o already exists"));
    assert!(taken(write(&|tx| tx.create_tag(&one, "t1"))).contains("case insensitive"));
    write(&|tx| tx.create_object(&one, &object("free"))).expect("it is free");
    let text = taken(write(&|tx| tx.update_object(&one, "free", &object("o")).map(drop)));
    assert!(text.starts_with("Invalid update. It would result in a duplicate metadata definition object"), "{text}");
    assert!(taken(write(&|tx| tx.rename_tag(&one, "t1", "t2").map(drop))).contains("name=t2"));
    let text = taken(write(&|tx| tx.update_namespace(one.id, &fields("other")).map(drop)));
    assert!(text.contains("duplicate metadata definition namespace"), "{text}");
    let association = AssociationFields { name: "R1".to_owned(), ..AssociationFields::default() };
    assert!(taken(write(&|tx| tx.create_association(&one, &association))).contains("resource-type=R1 to namespace=n"));
    let gone = fixture.catalog.write(|tx| tx.delete_item(Kind::Object, one.id, "none")).expect("answers");
    assert!(!gone && !fixture.catalog.write(|tx| tx.rename_tag(&one, "none", "x")).expect("answers"));
}

#[test]
fn pages_hold_each_namespace_once() {
    let fixture = Fixture::new();
    for number in 0..7 {
        // Some have a name for people, two the same one.
        let shown = (number % 2 == 0).then(|| format!("d{}", number / 4));
        let owner = if number < 4 { "p1" } else { "p2" };
        let visibility = if number % 3 == 0 { "private" } else { "public" };
        let fields = NamespaceFields {
            display_name: shown,
            owner: owner.to_owned(),
            visibility: visibility.to_owned(),
            ..fields(&format!("n{number}"))
        };
        make(&fixture, &bare(fields));
    }
    let catalog = fixture.catalog.queries();
    for column in NamespaceColumn::ALL {
        for ascending in [true, false] {
            let whole = catalog.namespaces(&query(by(column, ascending), 100)).expect("answers");
            assert_eq!(whole.len(), 7);
            let (mut seen, mut marker) = (Vec::new(), None);
            loop {
                let page = query(Order { column, ascending, marker }, 2);
                let page = catalog.namespaces(&page).expect("answers");
                let Some(last) = page.last() else { break };
                marker = Some(last.namespace.id);
                seen.extend(page);
            }
            assert_eq!(names(&seen), names(&whole), "{column:?} {ascending}");
        }
    }
    let order = by(NamespaceColumn::Namespace, true);
    let of = |query: &NamespaceQuery| {
        let listed = catalog.namespaces(query).expect("answers");
        names(&listed).iter().map(|&name| name.to_owned()).collect::<Vec<_>>()
    };
    let viewer = Viewer { project: Some("p1".to_owned()), is_admin: false };
    assert_eq!(of(&NamespaceQuery { viewer, ..query(order, 100) }), ["n0", "n1", "n2", "n3", "n4", "n5"]);
    let stranger = Viewer { project: None, is_admin: false };
    assert_eq!(of(&NamespaceQuery { viewer: stranger, ..query(order, 100) }), ["n1", "n2", "n4", "n5"]);
    let visibility = Some("private".to_owned());
    assert_eq!(of(&NamespaceQuery { visibility, ..query(order, 100) }), ["n0", "n3", "n6"]);
    let association = AssociationFields { name: "R".to_owned(), ..AssociationFields::default() };
    let n2 = catalog.namespace("n2").expect("answers").expect("is there");
    fixture.catalog.write(|tx| tx.create_association(&n2, &association)).expect("it is associated");
    let types = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    assert_eq!(of(&NamespaceQuery { resource_types: types(&["none", "R"]), ..query(order, 100) }), ["n2"]);
    assert_eq!(of(&NamespaceQuery { resource_types: types(&["none"]), ..query(order, 100) }), [""; 0]);
}

#[test]
fn pages_of_tags() {
    let fixture = Fixture::new();
    let tags: Vec<String> = ["c", "a", "b"].map(str::to_owned).to_vec();
    let made = make(&fixture, &NewNamespace { tags, ..bare(fields("n")) });
    let catalog = fixture.catalog.queries();
    let of = |column, ascending, marker: Option<&str>, limit| {
        let marker = marker.map(|name| catalog.metadef_tag(made.id, name).expect("answers").expect("is there").id);
        let order = Order { column, ascending, marker };
        let found = catalog.metadef_tags(made.id, &TagQuery { order, limit }).expect("answers");
        found.into_iter().map(|tag| tag.name).collect::<Vec<_>>()
    };
    assert_eq!(of(TagColumn::CreatedAt, false, None, None), ["b", "a", "c"]);
    assert_eq!(of(TagColumn::Name, true, None, Some(2)), ["a", "b"]);
    assert_eq!(of(TagColumn::Name, true, Some("a"), None), ["b", "c"]);
    assert_eq!(of(TagColumn::UpdatedAt, true, Some("c"), Some(1)), ["a"]);
    assert_eq!(of(TagColumn::Name, false, Some("a"), None), [""; 0]);
}

#[test]
fn a_list_takes_as_many_statements_as_a_row() {
    let fixture = Fixture::new();
    fixture
        .catalog
        .write(|tx| (0..1000).try_for_each(|number| tx.create_namespace(&full(&format!("n{number}"))).map(drop)))
        .expect("all are made");
    let mut reader = fixture.reader();
    reader.connection_mut().trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(count)).expect("traces");
    let statements_of = |limit: usize| {
        STATEMENTS.set(0);
        let query = query(by(NamespaceColumn::CreatedAt, false), limit);
        let listed = reader.read(|catalog| catalog.namespaces(&query)).expect("answers");
        assert_eq!(listed.len(), limit);
        assert!(listed.iter().all(|one| one.associations.len() == 2));
        STATEMENTS.get()
    };
    // The two of the list, and the transaction around them.
    assert_eq!([statements_of(1), statements_of(1000)], [4, 4]);
}

const FILE: &str = r#"{"namespace": "N", "display_name": "D", "visibility": "public",
    "resource_type_associations": [{"name": "R", "prefix": "r_"}],
    "properties": {"p": {"title": "P", "type": "integer", "default": 1}},
    "objects": [{"name": "o", "properties": {"q": {"title": "Q", "type": "string"}}}, {"name": "e"}],
    "tags": [{"name": "t1"}, {"name": "t2"}]}"#;

fn load(fixture: &Fixture, text: &str, mode: LoadMode) -> Loaded {
    let defined = Defined::parse(text).expect("a namespace");
    fixture.catalog.write(|tx| tx.load_namespace(&defined, mode)).expect("it is loaded")
}

fn defined(fixture: &Fixture, name: &str) -> Defined {
    let catalog = fixture.catalog.queries();
    let namespace = catalog.namespace(name).expect("answers").expect("is there");
    catalog.defined_namespace(&namespace).expect("answers")
}

#[test]
fn files_are_loaded_and_written() {
    let fixture = Fixture::new();
    assert_eq!(load(&fixture, FILE, LoadMode::Skip), Loaded::New);
    assert_eq!(fixture.number("SELECT count(*) FROM metadef_tags WHERE updated_at IS NOT NULL"), 0);
    assert_eq!(fixture.number("SELECT count(*) FROM metadef_resource_types WHERE protected = 1"), 1);
    assert_eq!(fixture.number("SELECT count(*) FROM metadef_objects WHERE json_schema = 'null'"), 1);
    let written = defined(&fixture, "N");
    let read = Defined::parse(FILE).expect("a namespace");
    assert_eq!((&written.tags, &written.properties), (&read.tags, &read.properties));
    assert_eq!(written.associations, read.associations);
    assert_eq!(Defined::parse(&written.to_text()), Ok(written));
}

#[test]
fn what_is_there_stays_is_completed_or_replaced() {
    let changed = r#"{"namespace": "N", "display_name": "D2", "owner": "p9", "protected": true,
        "resource_type_associations": [{"name": "R", "prefix": "s_"}, {"name": "S"}],
        "properties": {"p": {"title": "P2", "type": "string"}, "new": {"title": "N", "type": "string"}},
        "objects": [{"name": "o", "description": "d", "required": ["q"]}], "tags": [{"name": "t3"}]}"#;
    let fixture = Fixture::new();
    load(&fixture, FILE, LoadMode::Skip);
    let before = defined(&fixture, "N");
    assert_eq!(load(&fixture, changed, LoadMode::Skip), Loaded::Skipped);
    assert_eq!(defined(&fixture, "N"), before);

    assert_eq!(load(&fixture, changed, LoadMode::Merge), Loaded::Merged);
    let merged = defined(&fixture, "N");
    assert_eq!((merged.display_name.as_deref(), merged.properties.len()), (Some("D"), 2));
    assert_eq!(merged.properties["p"], before.properties["p"]);
    assert_eq!((merged.tags.len(), merged.associations.len()), (3, 2));
    assert_eq!(merged.associations[0].prefix.as_deref(), Some("r_"));

    assert_eq!(load(&fixture, changed, LoadMode::PreferNew), Loaded::Merged);
    let newer = defined(&fixture, "N");
    assert_eq!((newer.display_name.as_deref(), newer.owner.as_str()), (Some("D2"), "p9"));
    assert_eq!((newer.properties["p"]["title"].as_str(), newer.tags.len()), (Some("P2"), 3));
    assert_eq!(newer.associations[0].prefix.as_deref(), Some("s_"));
    assert_eq!(newer.objects.len(), 2);
    assert_eq!(fixture.number("SELECT count(*) FROM metadef_objects WHERE updated_at IS NOT NULL"), 1);

    assert_eq!(load(&fixture, changed, LoadMode::Overwrite), Loaded::Overwritten);
    let anew = defined(&fixture, "N");
    assert_eq!((anew.objects.len(), anew.tags.len(), anew.properties.len()), (1, 1, 2));
    assert_eq!(anew.objects[0].required, ["q"]);

    fixture.catalog.write(|tx| tx.clear_namespaces()).expect("all is removed");
    assert_eq!(fixture.number("SELECT count(*) FROM metadef_namespaces"), 0);
    assert_eq!(fixture.number("SELECT count(*) FROM metadef_resource_types"), 0);
}
