//! How lists run: the number of statements, and the engine's steps among 100 000 images.

use std::cell::Cell;

use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::{Fixture, plain, uuid};
use crate::catalog::{
    Compare, Dir, Filter, IntColumn, ListQuery, ListVisibility, NewImage, Reader, SortKey, TextColumn, TimeColumn,
    Viewer,
};
use crate::model::Visibility;
use crate::time::Timestamp;

thread_local! {
    /// Statements that were begun on this thread.
    pub(super) static STATEMENTS: Cell<usize> = const { Cell::new(0) };
}

/// Counts a statement.
pub(super) fn count(event: TraceEvent<'_>) {
    // Only statements of ours: the engine reports those inside triggers and virtual tables with a leading comment.
    if let TraceEvent::Stmt(_, sql) = event
        && !sql.starts_with("--")
    {
        STATEMENTS.set(STATEMENTS.get() + 1);
    }
}

/// How many images the list has, and how many statements it took.
pub(super) fn statements(reader: &mut Reader, query: &ListQuery) -> (usize, usize) {
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
    for is_admin in [true, false] {
        let mut reader = fixture.reader();
        let page = |limit| ListQuery { marker: Some(uuid(60)), hidden: false, ..query("p1", is_admin, limit) };
        let (one, few) = statements(&mut reader, &page(1));
        let (many, same) = statements(&mut reader, &page(50));
        assert_eq!((one, many), (1, 50));
        assert_eq!(few, same, "statements must not depend on the number of images");
        // BEGIN, marker, up to two counts, list, version, images, properties, tags, locations, COMMIT.
        assert!(same <= 11, "{same}");
        let again = statements(&mut reader, &page(50));
        assert_eq!(again, (50, same - 4), "images that were read before are not read again");
    }
    let mut reader = fixture.reader();
    reader.connection_mut().trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(count)).expect("traces");
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

/// 100 000 images: of `big` nearly all, of `mid` 5000, of `small` 20, 30 public ones of `other`, 500 memberships of `small`.
fn crowd() -> Fixture {
    let fixture = Fixture::new();
    fixture.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
         INSERT INTO images (id, name, status, created_at, updated_at, deleted, owner, visibility, min_disk, min_ram, \
                             os_hidden, size, virtual_size, disk_format, container_format, checksum, os_hash_algo, os_hash_value) \
         SELECT printf('%08x-0000-4000-8000-000000000000', i), 'name ' || i, 'active', \
                strftime('%Y-%m-%d %H:%M:%S', 1700000000 + i * 61, 'unixepoch') || '.000000', \
                strftime('%Y-%m-%d %H:%M:%S', 1700000000 + i * 61 + (i * 7919) % 100000 * 30, 'unixepoch') || '.000000', 0, \
                CASE WHEN i % 5000 = 7 THEN 'small' WHEN i % 3333 = 5 THEN 'other' WHEN i % 20 = 1 THEN 'mid' ELSE 'big' END, \
                CASE WHEN i % 3333 = 5 THEN 'public' WHEN i % 50 = 2 THEN 'private' ELSE 'shared' END, (i / 7) % 2, 512 * (i / 7 % 4), \
                i % 10000 = 9, (i * 7919) % 100000, iif(i % 2, (i * 7919) % 100000, NULL), 'raw', 'bare', 'c' || i, 'sha512', 'h' || i \
         FROM n; \
         INSERT INTO image_properties (image_id, name, value, created_at, deleted) \
         SELECT id, 'os_distro', 'debian', created_at, 0 FROM images; \
         INSERT INTO image_properties (image_id, name, value, created_at, deleted) \
         SELECT id, 'number', rowid % 3000, created_at, 0 FROM images; \
         INSERT INTO image_tags (image_id, value, created_at, deleted) SELECT id, 'tag', created_at, 0 FROM images; \
         INSERT INTO image_tags (image_id, value, created_at, deleted) \
         SELECT id, 'rare', created_at, 0 FROM images WHERE rowid % 1000 = 1; \
         INSERT INTO image_locations (image_id, value, meta_data, created_at, deleted) \
         SELECT id, 'file:///images/' || id, '{}', created_at, 0 FROM images; \
         INSERT INTO image_members (image_id, member, can_share, status, created_at, deleted) \
         SELECT id, 'small', 0, 'accepted', created_at, 0 FROM images WHERE rowid % 200 = 3;",
    );
    fixture
}

type Order = Vec<(SortKey, Dir)>;

/// Every filter alone, of a value that most images have, of one that some have and of one that none has, and every sort key both ways.
fn one_parameter() -> Vec<(String, Vec<Filter>, Order)> {
    use TextColumn::{Checksum, ContainerFormat, DiskFormat, Id, Name, OsHashAlgo, OsHashValue, Owner, Status};
    let mut filters = vec![Filter::Protected(true), Filter::Protected(false)];
    let texts: [(TextColumn, &[&str]); 9] = [
        (Id, &["nothing"]),
        (Name, &["name 7"]),
        (Status, &["active", "queued"]),
        (DiskFormat, &["raw", "iso"]),
        (ContainerFormat, &["bare", "ova"]),
        (Owner, &["big", "small"]),
        (Checksum, &["c7"]),
        (OsHashAlgo, &["sha512"]),
        (OsHashValue, &["h7"]),
    ];
    for (column, values) in texts {
        for value in values.iter().chain(&["no such value"]) {
            filters.push(Filter::Text(column, vec![(*value).to_owned()]));
        }
        filters.push(Filter::Text(column, super::words(&[values[0], "another"])));
    }
    let compares = [Compare::Eq, Compare::Ne, Compare::Gt, Compare::Ge, Compare::Lt, Compare::Le];
    for compare in compares {
        for column in [IntColumn::Size, IntColumn::VirtualSize, IntColumn::MinDisk, IntColumn::MinRam] {
            filters.extend([0, 1, 50_000, 99_990, 1_000_000].map(|number| Filter::Int(column, compare, number)));
        }
        for column in [TimeColumn::CreatedAt, TimeColumn::UpdatedAt] {
            let moments = ["2000-01-01", "2023-12-01", "2050-01-01"];
            filters.extend(moments.map(|day| {
                let moment = Timestamp::from_sql(&format!("{day} 00:00:00.000000")).expect("a moment");
                Filter::Time(column, compare, moment)
            }));
        }
    }
    filters.extend(["tag", "rare", "none"].map(|tag| Filter::Tag(tag.to_owned())));
    for (name, value) in [("os_distro", "debian"), ("number", "77"), ("os_distro", "none"), ("none", "none")] {
        filters.push(Filter::Property { name: name.to_owned(), value: value.to_owned() });
    }
    let mut all: Vec<_> = filters.into_iter().map(|filter| (format!("{filter:?}"), vec![filter], vec![])).collect();
    let keys = [
        SortKey::Name,
        SortKey::Status,
        SortKey::ContainerFormat,
        SortKey::DiskFormat,
        SortKey::Size,
        SortKey::Id,
        SortKey::CreatedAt,
        SortKey::UpdatedAt,
    ];
    for key in keys {
        all.extend([Dir::Asc, Dir::Desc].map(|dir| (format!("{key:?} {dir:?}"), vec![], vec![(key, dir)])));
    }
    all
}

/// Steps of the engine that a list may take: some microseconds for every thousand. Going through 100 000 images takes a million.
const STEPS_MAX: usize = 80_000;

thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// The same for a range that nearly no image at the beginning of the order lies in: all of an index is gone through, and no row.
const STEPS_OF_RANGE_MAX: usize = 600_000;

/// Steps between two counts.
const STEPS_COUNTED: usize = 100;

#[test]
fn no_filter_and_no_sort_key_goes_through_100_000_images() {
    let fixture = crowd();
    let mut reader = fixture.reader();
    let counts = || {
        STEPS.set(STEPS.get() + STEPS_COUNTED);
        false
    };
    reader
        .connection_mut()
        .progress_handler(i32::try_from(STEPS_COUNTED).expect("small"), Some(counts))
        .expect("counts");
    let mut most = (0, String::new());
    let mut slow = Vec::new();
    let viewers = [("root", true), ("big", false), ("mid", false), ("small", false), ("none", false)];
    let mut kinds = vec![ListVisibility::Default, ListVisibility::All];
    kinds.extend([Visibility::Public, Visibility::Shared, Visibility::Private].map(ListVisibility::Only));
    for (name, filters, sort) in one_parameter() {
        let is_range = matches!(filters[..], [Filter::Int(..) | Filter::Time(..)]);
        let steps_max = if is_range { STEPS_OF_RANGE_MAX } else { STEPS_MAX };
        for (project, is_admin) in viewers {
            // One parameter at a time: other visibilities than the usual ones go with an order, not with a filter.
            for visibility in kinds.iter().take(if filters.is_empty() { kinds.len() } else { 1 }) {
                // Few private images of a project with many, by another order than time: all of either are gone through.
                if project == "mid" && *visibility == ListVisibility::Only(Visibility::Private) {
                    continue;
                }
                for hidden in if is_admin { &[false, true][..] } else { &[false] } {
                    let tie_break = sort.first().map_or(Dir::Desc, |(_, dir)| *dir);
                    let (filters, sort) = (filters.clone(), sort.clone());
                    let list = ListQuery {
                        filters,
                        sort,
                        tie_break,
                        hidden: *hidden,
                        visibility: *visibility,
                        ..query(project, is_admin, 25)
                    };
                    let mut ask = |list: &ListQuery, page: &str| {
                        STEPS.set(0);
                        let images = reader.read(|q| q.list(list)).expect("lists");
                        let what = format!("{} for {project}, {visibility:?}, hidden {hidden}, {page}", name);
                        if STEPS.get() > most.0 {
                            most = (STEPS.get(), what.clone());
                        }
                        if STEPS.get() > steps_max {
                            let plan = reader.read(|q| q.list_plan(list)).expect("explains");
                            slow.push(format!("{} steps: {what}\n{plan}", STEPS.get()));
                        }
                        images
                    };
                    ask(&list, "first page");
                    // From somewhere in the middle, if the viewer may know the image.
                    let middle =
                        ListQuery { marker: Some(uuid(if project == "small" { 50_007 } else { 50_000 })), ..list };
                    if is_admin || project == "big" || project == "small" {
                        ask(&middle, "page from the middle");
                    }
                }
            }
        }
    }
    println!("most: {most:?}");
    assert!(
        slow.is_empty(),
        "{} lists:\n{}",
        slow.len(),
        slow.iter().take(5).cloned().collect::<Vec<_>>().join("\n\n")
    );
}

#[test]
fn a_list_is_planned_once() {
    let fixture = Fixture::new();
    fixture.create(&plain(1));
    let reader = fixture.reader();
    let mut list = query("big", true, 25);
    for hidden in [false, true, false] {
        list.hidden = hidden;
        reader.read(|q| q.list(&list)).expect("lists");
    }
    let again = reader.read(|q| q.list_planned_again(&list)).expect("asks");
    assert_eq!(again, 0, "the engine has made the plan anew, which takes as long as the list");
}
