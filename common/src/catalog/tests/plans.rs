//! How lists run: the number of statements, the indexes used, the time among 100 000 images.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::{Fixture, plain, uuid};
use crate::catalog::{Dir, Filter, ListQuery, ListVisibility, NewImage, Reader, SortKey, TextColumn, Viewer};
use crate::model::Visibility;

thread_local! {
    static STATEMENTS: Cell<usize> = const { Cell::new(0) };
}

fn count(event: TraceEvent<'_>) {
    // Only statements of ours: the engine reports those inside triggers and virtual tables with a leading comment.
    if let TraceEvent::Stmt(_, sql) = event
        && !sql.starts_with("--")
    {
        STATEMENTS.set(STATEMENTS.get() + 1);
    }
}

fn statements(reader: &mut Reader, query: &ListQuery) -> (usize, usize) {
    reader.connection_mut().trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(count)).expect("traces");
    STATEMENTS.set(0);
    let images = reader.read(|q| q.list(query)).expect("lists");
    (images.len(), STATEMENTS.get())
}

fn query(project: &str, is_admin: bool, limit: usize) -> ListQuery {
    ListQuery::new(Viewer { project: Some(project.to_owned()), is_admin }, limit)
}

#[test]
fn a_list_needs_the_same_statements_for_any_number_of_images() {
    let fixture = Fixture::new();
    for number in 1..=60 {
        let properties = super::pairs(&[("a", "1"), ("b", "2")]);
        fixture.create(&NewImage { properties, tags: super::words(&["t"]), ..plain(number) });
    }
    let mut reader = fixture.reader();
    for is_admin in [true, false] {
        let page = |limit| ListQuery { marker: Some(uuid(60)), hidden: false, ..query("p1", is_admin, limit) };
        let (one, few) = statements(&mut reader, &page(1));
        let (many, same) = statements(&mut reader, &page(50));
        assert_eq!((one, many), (1, 50));
        assert_eq!(few, same, "statements must not depend on the number of images");
        // BEGIN, marker, count, list, properties, tags, locations, COMMIT.
        assert!(same <= 8, "{same}");
    }
    let read = |expected, what| {
        STATEMENTS.set(0);
        reader.read(|q| q.image(&uuid(3))).expect("reads");
        assert_eq!(STATEMENTS.get(), expected, "{what}");
    };
    read(7, "BEGIN, version, image, properties, tags, locations, COMMIT");
    read(3, "nothing was committed since: BEGIN, version, COMMIT");
    fixture.create(&plain(61));
    read(7, "something was");
}

/// 100 000 images: of `big` nearly all, of `small` 20, 30 public ones of `other`, 500 memberships of `small`.
fn crowd() -> Fixture {
    let fixture = Fixture::new();
    fixture.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
         INSERT INTO images (id, name, status, created_at, updated_at, deleted, owner, visibility, min_disk, min_ram, \
                             os_hidden, size, disk_format, container_format) \
         SELECT printf('%08x-0000-4000-8000-000000000000', i), 'name ' || i, 'active', \
                strftime('%Y-%m-%d %H:%M:%S', 1700000000 + i * 61, 'unixepoch') || '.000000', \
                strftime('%Y-%m-%d %H:%M:%S', 1700000000 + i * 61, 'unixepoch') || '.000000', 0, \
                CASE WHEN i % 5000 = 7 THEN 'small' WHEN i % 3333 = 5 THEN 'other' ELSE 'big' END, \
                CASE WHEN i % 3333 = 5 THEN 'public' ELSE 'shared' END, 0, 0, i % 10000 = 9, i, 'raw', 'bare' \
         FROM n; \
         INSERT INTO image_properties (image_id, name, value, created_at, deleted) \
         SELECT id, 'os_distro', 'debian', created_at, 0 FROM images; \
         INSERT INTO image_tags (image_id, value, created_at, deleted) SELECT id, 'tag', created_at, 0 FROM images; \
         INSERT INTO image_locations (image_id, value, meta_data, created_at, deleted) \
         SELECT id, 'file:///images/' || id, '{}', created_at, 0 FROM images; \
         INSERT INTO image_members (image_id, member, can_share, status, created_at, deleted) \
         SELECT id, 'small', 0, 'accepted', created_at, 0 FROM images WHERE rowid % 200 = 3;",
    );
    fixture
}

fn ordinary() -> Vec<(&'static str, ListQuery)> {
    let only = |query: ListQuery, visibility| ListQuery { visibility: ListVisibility::Only(visibility), ..query };
    let middle = Some(uuid(50_000));
    let owner = |name: &str| vec![Filter::Text(TextColumn::Owner, vec![name.to_owned()])];
    vec![
        ("administrator", query("root", true, 25)),
        ("administrator, next page", ListQuery { marker: middle.clone(), ..query("root", true, 25) }),
        ("administrator, by owner", ListQuery { filters: owner("small"), ..query("root", true, 25) }),
        ("administrator, by big owner", ListQuery { filters: owner("big"), ..query("root", true, 25) }),
        ("administrator, public", only(query("root", true, 25), Visibility::Public)),
        ("administrator, shared", only(query("root", true, 25), Visibility::Shared)),
        ("administrator, hidden", ListQuery { hidden: true, ..query("root", true, 25) }),
        ("big project", query("big", false, 25)),
        ("big project, next page", ListQuery { marker: middle, ..query("big", false, 25) }),
        ("small project", query("small", false, 25)),
        ("small project, own only", only(query("small", false, 25), Visibility::Private)),
        ("project without images", query("none", false, 25)),
        ("small project, public", only(query("small", false, 25), Visibility::Public)),
        ("by id", ListQuery { filters: vec![Filter::Text(TextColumn::Id, vec![uuid(77)])], ..query("root", true, 25) }),
        ("oldest first", ListQuery { sort: vec![(SortKey::CreatedAt, Dir::Asc)], ..query("big", false, 25) }),
    ]
}

#[test]
fn ordinary_lists_use_an_index_and_are_quick_among_100_000_images() {
    let fixture = crowd();
    let reader = fixture.reader();
    for (name, query) in ordinary() {
        let plan = reader.read(|q| q.list_plan(&query)).expect("explains");
        let scans: Vec<&str> = plan.lines().filter(|line| line.starts_with("SCAN images")).collect();
        let indexed = scans.iter().all(|line| line.contains("USING INDEX"));
        assert!(indexed, "{name} goes through the whole table:\n{plan}");
        let mut best = Duration::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            reader.read(|q| q.list(&query)).expect("lists");
            best = best.min(start.elapsed());
        }
        assert!(best < Duration::from_millis(10), "{name}: {best:?}\n{plan}");
        println!("{name}: {best:?}");
    }
}
