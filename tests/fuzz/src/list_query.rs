//! The parameters of a list, down to the catalog: a refusal is the client's fault, and the links lead to the same list.

use common::catalog::{Catalog, NewImage, Viewer};
use common::http::query::parse_query;
use common::model::Visibility;
use control::parsers::{list_links, list_query};
use tempfile::TempDir;

/// A catalog with some images; it lives as long as its thread.
struct Images {
    catalog: Catalog,
    _dir: TempDir,
}

thread_local! {
    static IMAGES: Images = images();
}

/// The query of a target, without its question mark.
pub fn run(data: &[u8]) {
    let Ok(query) = std::str::from_utf8(data) else { return };
    let Some(params) = parse_query(query) else { return };
    for viewer in [Viewer { project: Some("p".to_owned()), is_admin: false }, Viewer { project: None, is_admin: true }]
    {
        let list = match list_query(&params, viewer, 25, 1000) {
            Ok(list) => list,
            Err(error) => {
                assert!(error.status().is_client_error(), "{error:?}");
                continue;
            }
        };
        assert!(list.limit <= 1000);
        let found = IMAGES.with(|images| images.catalog.queries().list(&list));
        match found {
            Ok(found) => assert!(found.len() <= list.limit),
            Err(error) => assert!(error.status().is_client_error(), "{error:?}"),
        }
    }
    links(&params);
}

fn links(params: &[(String, String)]) {
    let (first, next) = list_links(params, Some("m&=%"));
    let read = |link: &str| {
        let query = link.strip_prefix("/v2/images").expect("a link to the list");
        parse_query(query.strip_prefix('?').unwrap_or(query)).expect("what we wrote")
    };
    let kept: Vec<(String, String)> = params.iter().filter(|(key, _)| key != "marker").cloned().collect();
    assert_eq!(read(&first), kept);
    let mut marked = read(&next.expect("there is a marker"));
    assert_eq!(marked.pop(), Some(("marker".to_owned(), "m&=%".to_owned())));
    assert_eq!(marked, kept);
}

fn images() -> Images {
    let dir = tempfile::tempdir().expect("a directory");
    let catalog = Catalog::open(&dir.path().join("catalog.sqlite")).expect("a catalog");
    for number in 0..5_u32 {
        let new = NewImage {
            id: format!("{number:08x}-0000-4000-8000-000000000000"),
            name: (number > 0).then(|| format!("image {number}")),
            visibility: if number % 2 == 0 { Visibility::Public } else { Visibility::Private },
            protected: number == 3,
            hidden: number == 4,
            owner: Some("p".to_owned()),
            disk_format: Some("raw".to_owned()),
            container_format: Some("bare".to_owned()),
            min_disk: i64::from(number),
            min_ram: 0,
            properties: vec![("os_distro".to_owned(), "debian".to_owned())],
            tags: vec!["a".to_owned()],
        };
        catalog.write(|changes| changes.create_image(&new)).expect("an image");
    }
    Images { catalog, _dir: dir }
}
