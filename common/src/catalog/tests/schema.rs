use std::fmt::Write as _;
use std::path::Path;

use rusqlite::Connection;

use super::{Fixture, plain};
use crate::Kind;
use crate::catalog::{Catalog, OpenError, Reader};

/// Tables, columns, indexes and foreign keys as a list of facts, independent of how the DDL is written.
fn facts(connection: &Connection) -> String {
    let rows = |sql: &str, name: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).expect("sql");
        let rows = statement.query_map([name], |row| row.get::<_, String>(0)).expect("query");
        rows.map(|row| row.expect("row")).collect()
    };
    let mut text = String::new();
    let tables = rows(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE ?1 AND name NOT LIKE 'sqlite%' ORDER BY name",
        "vitrine%",
    );
    for table in tables {
        let columns = rows(
            "SELECT name || ' ' || type || iif(\"notnull\", ' not null', '') || \
             coalesce(' default ' || dflt_value, '') || iif(pk, ' key ' || pk, '') \
             FROM pragma_table_info(?1) ORDER BY cid",
            &table,
        );
        let indexes = rows(
            "SELECT iif(name LIKE 'sqlite_autoindex%', origin, name) || iif(\"unique\", ' unique', '') || ' (' || \
             (SELECT group_concat(c.name, ', ') FROM pragma_index_info(l.name) AS c) || ')' AS text \
             FROM pragma_index_list(?1) AS l WHERE l.name NOT LIKE 'vitrine\\_%' ESCAPE '\\' ORDER BY text",
            &table,
        );
        let references = rows(
            "SELECT \"from\" || ' -> ' || \"table\" || '.' || \"to\" AS text FROM pragma_foreign_key_list(?1) \
             ORDER BY text",
            &table,
        );
        let _ = writeln!(text, "{table}");
        for (kind, lines) in [("column", columns), ("index", indexes), ("foreign key", references)] {
            for line in lines {
                let _ = writeln!(text, "  {kind} {line}");
            }
        }
    }
    text
}

#[test]
fn the_tables_are_glances() {
    let fixture = Fixture::new();
    let facts = facts(fixture.catalog.connection());
    let expected = include_str!("glance-33-schema.txt");
    assert_eq!(facts, expected, "facts gathered from a database that Glance 33 made");
    assert_eq!(fixture.number("SELECT count(*) FROM alembic_version WHERE version_num = '2024_1_contract01'"), 1);
    assert_eq!(fixture.number("SELECT count(*) FROM alembic_version"), 1);
}

#[test]
fn the_connection_is_durable_and_strict() {
    let fixture = Fixture::new();
    let pragma = |name: &str| -> String {
        let value =
            fixture.catalog.connection().pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        format!("{:?}", value.expect("pragma"))
    };
    assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
    assert_eq!(pragma("synchronous"), "Integer(2)");
    assert_eq!(pragma("foreign_keys"), "Integer(1)");
}

#[test]
fn a_catalog_opens_again_with_all_migrations() {
    let fixture = Fixture::new();
    fixture.create(&plain(1));
    let made = fixture.number("SELECT count(*) FROM vitrine_migrations");
    assert!(made > 0);
    let again = Catalog::open(&fixture.path).expect("opens twice");
    assert!(again.queries().image(&plain(1).id).expect("reads").is_some());
    assert_eq!(fixture.number("SELECT count(*) FROM vitrine_migrations"), made);
}

#[test]
fn a_database_that_glance_made_opens_as_it_stands() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("glance.sqlite");
    {
        // What Glance leaves: its own tables only, rollback journal, rows in its encodings.
        drop(Catalog::open(&path).expect("makes the tables"));
        let glance = Connection::open(&path).expect("opens");
        glance
            .execute_batch(
                "PRAGMA journal_mode = DELETE; DROP TABLE vitrine_uploads; DROP TABLE vitrine_removals; \
                 DROP TABLE vitrine_jobs; DROP TABLE vitrine_migrations; \
                 INSERT INTO images (id, name, size, status, created_at, updated_at, deleted, min_disk, min_ram) \
                 VALUES ('i1', NULL, 5, 'active', '2026-11-20 17:50:00.414332', NULL, 0, 0, 0); \
                 INSERT INTO image_properties (image_id, name, value, created_at, deleted_at, deleted) \
                 VALUES ('i1', 'back', 'again', '2026-11-20 17:50:00.414332', '2026-11-20 17:51:00.000000', 0), \
                        ('i1', 'null', NULL, '2026-11-20T17:50:00', NULL, 0), \
                        ('i1', 'gone', 'x', '2026-11-20 17:50:00.414332', '2026-11-20 17:51:00.000000', 1); \
                 INSERT INTO image_locations (image_id, value, created_at, deleted, meta_data) \
                 VALUES ('i1', 'file:///i1', '2026-11-20 17:50:00.414332', 0, '{\"store\": \"fast\"}');",
            )
            .expect("rows");
    }
    assert!(matches!(Reader::open(&path), Err(OpenError::Absent { .. })), "control has not been here yet");
    let catalog = Catalog::open(&path).expect("opens");
    let image = catalog.queries().image("i1").expect("reads").expect("is there");
    assert_eq!(image.properties, super::pairs(&[("back", "again"), ("null", "")]));
    assert_eq!(image.visibility.as_str(), "shared");
    assert_eq!(image.locations[0].store(), Some("fast"));
    assert_eq!(image.updated_at, image.created_at);
    let reader = Reader::open(&path).expect("now readers may");
    assert!(reader.read(|q| q.image("i1")).expect("reads").is_some());
}

fn open_error(sql: &str) -> String {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("other.sqlite");
    drop(Catalog::open(&path).expect("makes the tables"));
    Connection::open(&path).and_then(|connection| connection.execute_batch(sql)).expect("sql runs");
    let error = Catalog::open(&path).expect_err("refused");
    let text = error.to_string();
    assert!(text.contains("other.sqlite"), "{text}");
    assert!(!text.contains('\n'), "one line: {text}");
    assert_eq!(crate::Error::from(error).kind, Kind::Unavailable);
    text
}

#[test]
fn other_revisions_are_named_and_refused() {
    let text = open_error("UPDATE alembic_version SET version_num = 'rocky_contract02'");
    assert!(text.contains("rocky_contract02") && text.contains("glance-manage db sync"), "{text}");
    let text = open_error("INSERT INTO alembic_version VALUES ('2023_1_expand01')");
    assert!(text.contains("2023_1_expand01 and 2024_1_contract01"), "{text}");
    let text = open_error("DELETE FROM alembic_version");
    assert!(text.contains("at revision none"), "{text}");
    let text = open_error("DROP TABLE alembic_version");
    assert!(text.contains("at revision none"), "{text}");
}

#[test]
fn lacking_tables_and_columns_are_named() {
    let text = open_error("DROP TABLE task_info; ALTER TABLE images DROP COLUMN deleted_at");
    assert!(text.contains("table task_info") && text.contains("column images.deleted_at"), "{text}");
}

#[test]
fn tables_of_a_newer_release_are_refused() {
    let text = open_error("INSERT INTO vitrine_migrations VALUES (999, 'x')");
    assert!(text.contains("newer release") && text.contains("999"), "{text}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("text");
    std::fs::write(&path, "not a database, but long enough to be looked at by the engine".repeat(40)).expect("write");
    assert!(matches!(Catalog::open(&path), Err(OpenError::Engine { .. })));
    assert!(matches!(Catalog::open(Path::new("/proc/no/such/place")), Err(OpenError::Engine { .. })));
}

#[test]
fn a_reader_never_makes_or_changes_a_file() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("catalog.sqlite");
    assert!(matches!(Reader::open(&path), Err(OpenError::Absent { .. })));
    assert!(!path.exists());
    std::fs::write(&path, "").expect("an empty file, as control leaves it for a moment");
    assert!(matches!(Reader::open(&path), Err(OpenError::Absent { .. })));

    let fixture = Fixture::new();
    let reader = fixture.reader();
    let refused = reader.connection().execute_batch("DELETE FROM images").expect_err("read only");
    assert_eq!(crate::catalog::fault::failed(refused).kind, Kind::Unavailable);
}

#[test]
fn a_reader_works_while_no_writer_is_there() {
    let fixture = Fixture::new();
    fixture.create(&plain(1));
    let Fixture { catalog, path, _dir } = fixture;
    drop(catalog);
    let reader = Reader::open(&path).expect("opens after the writer closed its log");
    assert!(reader.read(|q| q.image(&plain(1).id)).expect("reads").is_some());
    // And it sees what a writer that comes later commits.
    let catalog = Catalog::open(&path).expect("opens beside a reader");
    catalog.write(|tx| tx.create_image(&plain(2))).expect("writes");
    assert!(reader.read(|q| q.image(&plain(2).id)).expect("reads").is_some());
}
