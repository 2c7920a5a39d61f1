//! What lists show, to whom, in which order, page by page.

use super::{Fixture, pairs, plain, uuid, words};
use crate::Kind;
use crate::catalog::{
    Compare, Dir, Filter, IntColumn, ListQuery, ListVisibility, MemberFilter, NewImage, SortKey, TextColumn,
    TimeColumn, Viewer,
};
use crate::model::{MemberStatus, Visibility};
use crate::time::Timestamp;

const EVERYTHING: usize = 1000;

const NONE: [u32; 0] = [];

fn user(project: &str) -> ListQuery {
    ListQuery::new(Viewer { project: Some(project.to_owned()), is_admin: false }, EVERYTHING)
}

fn admin(project: &str) -> ListQuery {
    ListQuery::new(Viewer { project: Some(project.to_owned()), is_admin: true }, EVERYTHING)
}

/// Numbers of the listed images, sorted.
fn listed(fixture: &Fixture, query: &ListQuery) -> Vec<u32> {
    let mut numbers = in_order(fixture, query);
    numbers.sort_unstable();
    numbers
}

/// Numbers of the listed images as they came.
fn in_order(fixture: &Fixture, query: &ListQuery) -> Vec<u32> {
    let images = fixture.catalog.queries().list(query).expect("lists");
    images.iter().map(|image| u32::from_str_radix(&image.id[..8], 16).expect("a number")).collect()
}

fn filtered(fixture: &Fixture, filters: Vec<Filter>) -> Vec<u32> {
    listed(fixture, &ListQuery { filters, ..admin("p1") })
}

fn text(column: TextColumn, values: &[&str]) -> Filter {
    Filter::Text(column, words(values))
}

/// 1–4: of p1, 5–8: of p2, each private, shared, community, public; 9: of nobody, private; 10: hidden, of p1; 11: killed.
fn visibilities() -> Fixture {
    let fixture = Fixture::new();
    let kinds = [Visibility::Private, Visibility::Shared, Visibility::Community, Visibility::Public];
    for (number, visibility) in (1..).zip(kinds) {
        fixture.create(&NewImage { visibility, ..plain(number) });
        fixture.create(&NewImage { visibility, owner: Some("p2".to_owned()), ..plain(number + 4) });
    }
    fixture.create(&NewImage { visibility: Visibility::Private, owner: None, ..plain(9) });
    fixture.create(&NewImage { hidden: true, ..plain(10) });
    fixture.create(&plain(11));
    fixture.execute(&format!("UPDATE images SET status = 'killed' WHERE id = '{}'", uuid(11)));
    fixture.create(&NewImage { visibility: Visibility::Public, ..plain(12) });
    fixture.catalog.write(|tx| tx.delete_image(&uuid(12))).expect("deleted");
    fixture
}

/// Runs the check on few images, where lists start from owner and visibility, and among very many of other kinds of
/// owners, where they follow the order of the page.
fn sparse_and_dense(fixture: Fixture, check: impl Fn(&Fixture)) {
    check(&fixture);
    fixture.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) \
         INSERT INTO images (id, status, created_at, updated_at, deleted, owner, visibility, min_disk, min_ram) \
         SELECT printf('ffff%04x', i) || 'x' || o.owner || v.visibility, 'killed', '2020-01-01 00:00:00.000000', \
                '2020-01-01 00:00:00.000000', 0, o.owner, v.visibility, 0, 0 \
         FROM n, (SELECT 'p1' AS owner UNION ALL SELECT 'p2') AS o, \
              (SELECT 'public' AS visibility UNION ALL SELECT 'community' UNION ALL SELECT 'private') AS v",
    );
    check(&fixture);
}

#[test]
fn everybody_lists_what_it_may_see() {
    sparse_and_dense(visibilities(), |fixture| {
        assert_eq!(listed(fixture, &user("p1")), [1, 2, 3, 4, 8]);
        assert_eq!(listed(fixture, &user("p3")), [4, 8]);
        let nobody = ListQuery::new(Viewer { project: None, is_admin: false }, EVERYTHING);
        assert_eq!(listed(fixture, &nobody), [4, 8]);
        assert_eq!(listed(fixture, &admin("p1")), [1, 2, 3, 4, 5, 6, 8, 9]);
        let root = ListQuery::new(Viewer { project: None, is_admin: true }, EVERYTHING);
        assert_eq!(listed(fixture, &root), [1, 2, 4, 5, 6, 8, 9]);
        assert_eq!(
            listed(fixture, &ListQuery { visibility: ListVisibility::All, ..root }),
            [1, 2, 3, 4, 5, 6, 7, 8, 9]
        );
        assert_eq!(listed(fixture, &ListQuery { visibility: ListVisibility::All, ..user("p1") }), [1, 2, 3, 4, 7, 8]);
    });
}

#[test]
fn one_visibility_at_a_time() {
    sparse_and_dense(visibilities(), |fixture| {
        let only = |query: ListQuery, visibility| {
            listed(fixture, &ListQuery { visibility: ListVisibility::Only(visibility), ..query })
        };
        assert_eq!(only(user("p1"), Visibility::Private), [1]);
        assert_eq!(only(user("p1"), Visibility::Shared), [2]);
        assert_eq!(only(user("p1"), Visibility::Community), [3, 7]);
        assert_eq!(only(user("p1"), Visibility::Public), [4, 8]);
        assert_eq!(only(admin("p1"), Visibility::Private), [1, 5, 9]);
        assert_eq!(only(admin("p1"), Visibility::Shared), [2, 6]);
        assert_eq!(only(admin("p1"), Visibility::Community), [3, 7]);
    });
}

#[test]
fn shared_images_show_by_the_members_answer() {
    let fixture = visibilities();
    fixture
        .catalog
        .write(|tx| {
            tx.add_member(&uuid(6), "p1")?;
            // A membership counts only while the image is shared.
            tx.add_member(&uuid(5), "p1")?;
            tx.set_member_status(&uuid(5), "p1", MemberStatus::Accepted).map(|_| ())
        })
        .expect("offered");
    sparse_and_dense(fixture, |fixture| {
        let with = |member_status| listed(fixture, &ListQuery { member_status, ..user("p1") });
        let answer = |status| {
            fixture.catalog.write(|tx| tx.set_member_status(&uuid(6), "p1", status)).expect("answered");
        };
        answer(MemberStatus::Pending);
        assert_eq!(with(MemberFilter::Only(MemberStatus::Accepted)), [1, 2, 3, 4, 8]);
        assert_eq!(with(MemberFilter::Only(MemberStatus::Pending)), [1, 2, 3, 4, 6, 8]);
        assert_eq!(with(MemberFilter::All), [1, 2, 3, 4, 6, 8]);
        answer(MemberStatus::Accepted);
        assert_eq!(with(MemberFilter::Only(MemberStatus::Accepted)), [1, 2, 3, 4, 6, 8]);
        assert_eq!(with(MemberFilter::Only(MemberStatus::Rejected)), [1, 2, 3, 4, 8]);
        let shared = ListQuery { visibility: ListVisibility::Only(Visibility::Shared), ..user("p1") };
        assert_eq!(listed(fixture, &shared), [2, 6]);
        assert_eq!(listed(fixture, &user("p3")), [4, 8], "other projects see nothing of it");
        fixture.catalog.write(|tx| tx.delete_member(&uuid(6), "p1")).expect("withdrawn");
        assert_eq!(with(MemberFilter::All), [1, 2, 3, 4, 8]);
        fixture.catalog.write(|tx| tx.add_member(&uuid(6), "p1")).expect("offered again");
    });
}

#[test]
fn hidden_images_stand_apart_and_owners_filter() {
    sparse_and_dense(visibilities(), |fixture| {
        assert_eq!(listed(fixture, &ListQuery { hidden: true, ..user("p1") }), [10]);
        assert_eq!(listed(fixture, &ListQuery { hidden: true, ..user("p2") }), NONE);
        let of = |owners: &[&str]| filtered(fixture, vec![text(TextColumn::Owner, owners)]);
        assert_eq!(of(&["p2"]), [5, 6, 8]);
        assert_eq!(of(&["p1", "p2"]), [1, 2, 3, 4, 5, 6, 8]);
        assert_eq!(of(&["p9"]), NONE);
        let query = ListQuery { filters: vec![text(TextColumn::Owner, &["p2"])], ..user("p1") };
        assert_eq!(listed(fixture, &query), [8]);
    });
}

fn varied() -> Fixture {
    let fixture = Fixture::new();
    fixture.create(&NewImage {
        name: Some("a".to_owned()),
        tags: words(&["x", "y"]),
        properties: pairs(&[("os", "linux"), ("arch", "x86")]),
        min_ram: 1,
        ..plain(1)
    });
    fixture.create(&NewImage {
        name: Some("A".to_owned()),
        tags: words(&["x"]),
        properties: pairs(&[("os", "linux")]),
        min_ram: 2,
        disk_format: Some("qcow2".to_owned()),
        protected: true,
        ..plain(2)
    });
    fixture.create(&NewImage { name: None, min_ram: 3, disk_format: None, ..plain(3) });
    for (number, size) in [(1, "10"), (2, "20"), (3, "NULL")] {
        fixture.execute(&format!(
            "UPDATE images SET size = {size}, checksum = 'c{number}', \
             created_at = '2026-11-2{number} 10:00:00.500000' WHERE id = '{}'",
            uuid(number)
        ));
    }
    fixture
}

#[test]
fn filters_by_text_number_and_truth() {
    let fixture = varied();
    let only = |filter| filtered(&fixture, vec![filter]);
    assert_eq!(only(text(TextColumn::Name, &["a"])), [1], "case matters");
    assert_eq!(only(text(TextColumn::Name, &["a", "A", "q"])), [1, 2]);
    assert_eq!(only(text(TextColumn::Name, &[])), NONE);
    assert_eq!(only(text(TextColumn::Id, &[&uuid(2)])), [2]);
    assert_eq!(only(text(TextColumn::Id, &[&uuid(2), &uuid(3)])), [2, 3]);
    assert_eq!(only(text(TextColumn::Status, &["queued"])), [1, 2, 3]);
    assert_eq!(only(text(TextColumn::Status, &["active"])), NONE);
    assert_eq!(only(text(TextColumn::DiskFormat, &["raw"])), [1]);
    assert_eq!(only(text(TextColumn::ContainerFormat, &["bare", "ovf"])), [1, 2, 3]);
    assert_eq!(only(text(TextColumn::Checksum, &["c3"])), [3]);
    assert_eq!(only(text(TextColumn::OsHashAlgo, &["sha512"])), NONE);
    assert_eq!(only(text(TextColumn::OsHashValue, &["x"])), NONE);
    let size = |compare, value| only(Filter::Int(IntColumn::Size, compare, value));
    assert_eq!(size(Compare::Ge, 10), [1, 2]);
    assert_eq!(size(Compare::Gt, 10), [2]);
    assert_eq!(size(Compare::Le, 10), [1]);
    assert_eq!(size(Compare::Lt, 10), NONE);
    assert_eq!(size(Compare::Eq, 20), [2]);
    assert_eq!(only(Filter::Int(IntColumn::MinRam, Compare::Ne, 2)), [1, 3]);
    assert_eq!(only(Filter::Int(IntColumn::MinDisk, Compare::Eq, 0)), [1, 2, 3]);
    assert_eq!(only(Filter::Int(IntColumn::VirtualSize, Compare::Ge, 0)), NONE);
    assert_eq!(only(Filter::Protected(true)), [2]);
    assert_eq!(only(Filter::Protected(false)), [1, 3]);
    assert_eq!(only(Filter::Never), NONE);
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn filters_by_tag_property_and_time() {
    let fixture = varied();
    let tag = |tag: &str| Filter::Tag(tag.to_owned());
    let property = |name: &str, value: &str| Filter::Property { name: name.to_owned(), value: value.to_owned() };
    assert_eq!(filtered(&fixture, vec![tag("x")]), [1, 2]);
    assert_eq!(filtered(&fixture, vec![tag("x"), tag("y")]), [1]);
    assert_eq!(filtered(&fixture, vec![property("os", "linux")]), [1, 2]);
    assert_eq!(filtered(&fixture, vec![property("os", "linux"), property("arch", "x86"), tag("x")]), [1]);
    assert_eq!(filtered(&fixture, vec![property("os", "Linux")]), NONE);
    // What the index has of it is the same as of another value.
    let long = |end: &str| format!("{}{end}", "ü".repeat(64));
    for (stored, other) in [(long("a"), long("b")), (long(""), long("a")), ("linux\0a".to_owned(), "linux".to_owned())]
    {
        fixture.execute(&format!(
            "UPDATE image_properties SET value = CAST(x'{}' AS TEXT) WHERE name = 'arch'",
            hex(&stored)
        ));
        assert_eq!(filtered(&fixture, vec![property("arch", &stored)]), [1], "{stored:?}");
        assert_eq!(filtered(&fixture, vec![property("arch", &other)]), NONE, "{other:?}");
        assert_eq!(filtered(&fixture, vec![tag("x"), property("arch", &stored)]), [1], "{stored:?}");
        assert_eq!(filtered(&fixture, vec![tag("x"), property("arch", &other)]), NONE, "{other:?}");
    }
    fixture.execute("UPDATE image_tags SET deleted = 1; UPDATE image_properties SET deleted = 1");
    assert_eq!(filtered(&fixture, vec![tag("x")]), NONE);
    assert_eq!(filtered(&fixture, vec![property("os", "linux")]), NONE);
    let at = Timestamp::parse("2026-11-22T10:00:00.5Z").expect("a time");
    let created = |compare| filtered(&fixture, vec![Filter::Time(TimeColumn::CreatedAt, compare, at)]);
    assert_eq!(created(Compare::Eq), [2]);
    assert_eq!(created(Compare::Ne), [1, 3]);
    assert_eq!(created(Compare::Gt), [3]);
    assert_eq!(created(Compare::Ge), [2, 3]);
    assert_eq!(created(Compare::Lt), [1]);
    assert_eq!(created(Compare::Le), [1, 2]);
    let later = Timestamp::from_micros(Timestamp::now().as_micros() + 1_000_000);
    assert_eq!(filtered(&fixture, vec![Filter::Time(TimeColumn::UpdatedAt, Compare::Lt, later)]).len(), 3);
}

#[test]
fn too_many_filters_are_refused() {
    let fixture = varied();
    let query = |count| ListQuery { filters: vec![Filter::Tag("x".to_owned()); count], ..admin("p1") };
    assert_eq!(listed(&fixture, &query(200)), [1, 2]);
    assert_eq!(fixture.catalog.queries().list(&query(201)).expect_err("too many").kind, Kind::BadRequest);
}

#[test]
fn listed_images_are_whole() {
    let fixture = varied();
    let images = fixture.catalog.queries().list(&admin("p1")).expect("lists");
    for image in images {
        assert_eq!(Some(&*image), fixture.image(&image.id).as_ref());
    }
}

/// Images with every combination of equal, different and missing values.
fn sortable() -> Fixture {
    let fixture = Fixture::new();
    for number in 1..=24 {
        fixture.create(&plain(number));
    }
    fixture.execute(
        "UPDATE images SET \
         name = CASE rowid % 4 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'b' ELSE 'a' END, \
         size = CASE rowid % 3 WHEN 0 THEN NULL ELSE rowid % 3 - 1 END, \
         disk_format = CASE rowid % 2 WHEN 0 THEN NULL ELSE 'raw' END, \
         status = CASE rowid % 5 WHEN 0 THEN 'active' ELSE 'queued' END, \
         created_at = '2026-11-20 10:00:0' || (rowid % 6) || '.000000', \
         updated_at = CASE rowid % 7 WHEN 0 THEN created_at ELSE updated_at END",
    );
    fixture
}

#[test]
fn pages_join_to_the_whole_list_in_every_order() {
    let fixture = sortable();
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
    let mut orders: Vec<Vec<(SortKey, Dir)>> = vec![vec![]];
    for first in keys {
        for dir in [Dir::Asc, Dir::Desc] {
            orders.push(vec![(first, dir)]);
            for second in keys {
                orders.push(vec![(first, dir), (second, Dir::Asc), (SortKey::Size, Dir::Desc), (first, Dir::Asc)]);
            }
        }
    }
    for sort in orders {
        for (base, tie_break) in [(admin("p9"), Dir::Asc), (user("p1"), Dir::Desc)] {
            let query = ListQuery { sort: sort.clone(), tie_break, ..base };
            let whole = in_order(&fixture, &query);
            assert_eq!(whole.len(), 24);
            let mut pages = Vec::new();
            let mut page = ListQuery { limit: 5, ..query };
            loop {
                let numbers = in_order(&fixture, &page);
                let Some(last) = numbers.last() else { break };
                page.marker = Some(uuid(*last));
                pages.extend(numbers);
                assert!(pages.len() <= 24, "pages repeat in {sort:?}");
            }
            assert_eq!(pages, whole, "{sort:?}");
        }
    }
}

#[test]
fn pages_join_across_own_public_and_shared_images() {
    let fixture = visibilities();
    fixture
        .catalog
        .write(|tx| {
            tx.add_member(&uuid(6), "p1")?;
            tx.set_member_status(&uuid(6), "p1", MemberStatus::Accepted).map(|_| ())
        })
        .expect("shared");
    sparse_and_dense(fixture, |fixture| {
        for (key, dir) in [SortKey::CreatedAt, SortKey::Name, SortKey::Size]
            .into_iter()
            .flat_map(|key| [(key, Dir::Asc), (key, Dir::Desc)])
        {
            let list =
                ListQuery { sort: vec![(key, dir)], tie_break: dir, visibility: ListVisibility::All, ..user("p1") };
            let whole = in_order(fixture, &list);
            let mut sorted = whole.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [1, 2, 3, 4, 6, 7, 8]);
            let mut pages = Vec::new();
            let mut page = ListQuery { limit: 2, ..list };
            while let Some(last) = pages.last().copied().or(Some(0)) {
                page.marker = (last != 0).then(|| uuid(last));
                let numbers = in_order(fixture, &page);
                if numbers.is_empty() {
                    break;
                }
                pages.extend(numbers);
                assert!(pages.len() <= whole.len(), "pages repeat by {key:?}");
            }
            assert_eq!(pages, whole, "{key:?} {dir:?}");
        }
    });
}

/// Rows that other tools wrote: the same moment with and without a fraction, with `T`, and texts where numbers belong.
#[test]
fn pages_join_whatever_form_values_have() {
    let fixture = sortable();
    fixture.execute(
        "UPDATE images SET created_at = CASE rowid % 3 WHEN 0 THEN '2026-11-20 10:00:00' \
         WHEN 1 THEN '2026-11-20 10:00:00.000000' ELSE '2026-11-20T10:00:00' END, \
         updated_at = CASE rowid % 2 WHEN 0 THEN '2026-11-20 10:00:00.5' ELSE created_at END",
    );
    for key in [SortKey::CreatedAt, SortKey::UpdatedAt] {
        for dir in [Dir::Asc, Dir::Desc] {
            let query = ListQuery { sort: vec![(key, dir)], tie_break: dir, ..admin("p9") };
            let whole = in_order(&fixture, &query);
            let mut pages = Vec::new();
            let mut page = ListQuery { limit: 5, ..query };
            while pages.len() < 24 {
                let numbers = in_order(&fixture, &page);
                page.marker = Some(uuid(*numbers.last().expect("the list is not over")));
                pages.extend(numbers);
            }
            assert_eq!(pages, whole, "{key:?} {dir:?}");
            assert_eq!(in_order(&fixture, &page), [0; 0]);
        }
    }
}

#[test]
fn the_order_is_glances() {
    let fixture = sortable();
    let newest = in_order(&fixture, &ListQuery { limit: 4, ..admin("p1") });
    assert_eq!(newest, [23, 17, 11, 5], "created_at, then id, both descending");
    let sort = vec![(SortKey::Name, Dir::Asc)];
    let by_name = in_order(&fixture, &ListQuery { sort, tie_break: Dir::Asc, ..admin("p1") });
    assert_eq!(by_name[..6], [12, 24, 8, 20, 4, 16], "NULL first, then by created_at and id, ascending too");
}

#[test]
fn markers_are_checked() {
    let fixture = visibilities();
    let with = |marker: u32, query: ListQuery| {
        let query = ListQuery { marker: Some(uuid(marker)), ..query };
        fixture.catalog.queries().list(&query).map(|_| ()).map_err(|error| (error.kind, error.message))
    };
    let absent = |number| Err((Kind::BadRequest, format!("No image found with ID {}", uuid(number))));
    assert_eq!(with(77, user("p1")), absent(77));
    assert_eq!(with(12, user("p1")), absent(12), "deleted");
    let hidden = Err((Kind::Forbidden, format!("Forbidding request, image {} not visible", uuid(5))));
    assert_eq!(with(5, user("p1")), hidden);
    assert_eq!(with(5, admin("p1")), Ok(()));
    assert_eq!(with(6, user("p1")).map_err(|error| error.0), Err(Kind::Forbidden));
    fixture.catalog.write(|tx| tx.add_member(&uuid(6), "p1")).expect("offered");
    assert_eq!(with(6, user("p1")), Ok(()), "a member sees by id, whatever it answered");
    for number in [7, 8, 9] {
        assert_eq!(with(number, user("p1")), Ok(()));
    }
    // A marker may be any text; one that is no id is the id of no image, as with the original.
    for odd in ["", " ", "nonsense", "%", "'; --", "\u{1f600}", &"x".repeat(5000)] {
        let query = ListQuery { marker: Some(odd.to_owned()), ..user("p1") };
        let error = fixture.catalog.queries().list(&query).expect_err("no such image");
        assert_eq!((error.kind, error.message), (Kind::BadRequest, format!("No image found with ID {odd}")));
    }
    let upper = ListQuery { marker: Some(uuid(10).to_uppercase()), ..user("p1") };
    assert!(fixture.catalog.queries().list(&upper).is_err(), "ids are compared as they stand");
    let none = ListQuery { limit: 0, marker: Some(uuid(77)), ..user("p1") };
    assert!(fixture.catalog.queries().list(&none).is_err());
    assert_eq!(listed(&fixture, &ListQuery { limit: 0, ..user("p1") }), NONE);
}
