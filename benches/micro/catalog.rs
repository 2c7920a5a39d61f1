//! Show and list, from the question to decoded images, on a catalog of 100 images and one of 10,000.

use std::rc::Rc;

use common::catalog::{
    Catalog, Commit, CommitFindings, Filter, ListQuery, NewImage, NewUpload, Purpose, Reader, SortKey, Viewer,
};
use common::model::Visibility;
use serde_json::Map;
use tempfile::TempDir;

use crate::runner::{Amount, Runner};

/// Images of a page.
const PAGE: u32 = 100;

/// A catalog and the connection that asks it.
struct Filled {
    reader: Reader,
    images: u32,
    _dir: TempDir,
}

/// Measures.
pub(crate) fn cases(runner: &mut Runner) {
    for (name, images) in [("100", 100), ("10,000", runner.size(10_000, 1000))] {
        // Filled for the first case that is asked for.
        let filled = std::cell::OnceCell::new();
        let open = || Rc::clone(filled.get_or_init(|| Rc::new(fill(images))));
        runner.case(&format!("catalog/show of {name}"), Amount::Operations(1), || {
            let (filled, mut number) = (open(), 0);
            move || {
                number = (number + 7919) % filled.images;
                let image = filled.reader.read(|ask| ask.image(&id(number))).expect("an answer").expect("the image");
                assert_eq!((image.properties.len(), image.tags.len(), image.locations.len()), (6, 2, 1));
                image
            }
        });
        let mut list = |what: &str, returned: u32, change: fn(&mut ListQuery, u32)| {
            runner.case(&format!("catalog/list of {name}, {what}"), Amount::Operations(1), || {
                let filled = open();
                let mut query =
                    ListQuery::new(Viewer { project: Some("p1".to_owned()), is_admin: false }, PAGE as usize);
                change(&mut query, filled.images);
                move || {
                    let found = filled.reader.read(|ask| ask.list(&query)).expect("an answer");
                    assert_eq!(found.len(), returned as usize);
                    found
                }
            });
        };
        list("first page", PAGE, |_, _| {});
        list("page from the middle", PAGE.min(images / 2), |query, images| query.marker = Some(id(images / 2)));
        list("sorted by name", PAGE, |query, _| query.sort = vec![(SortKey::Name, common::catalog::Dir::Asc)]);
        list("one tag", 1, |query, images| query.filters = vec![Filter::Tag(format!("tag-{}", images / 2))]);
        list("one property", PAGE.min(images / 10), |query, _| {
            query.filters = vec![Filter::Property { name: "os_distro".to_owned(), value: "distro-3".to_owned() }];
        });
    }
}

fn id(number: u32) -> String {
    format!("{number:08x}-5a0b-4f0e-9d8e-3b1c1a2d4e5f")
}

/// Active images with six properties, two tags and a location each; half of them are public, the others `p1`'s.
fn fill(images: u32) -> Filled {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("catalog.sqlite");
    let catalog = Catalog::open(&path).expect("a fresh catalog");
    let mut batch = catalog.batch().expect("a transaction");
    for number in 0..images {
        let id = id(number);
        let property = |name: &str, value: String| (name.to_owned(), value);
        let new = NewImage {
            id: id.clone(),
            name: Some(format!("image-{:05}", number.wrapping_mul(7919) % 100_000)),
            visibility: if number % 2 == 0 { Visibility::Public } else { Visibility::Shared },
            protected: false,
            hidden: false,
            owner: Some(if number % 2 == 0 { "p0" } else { "p1" }.to_owned()),
            disk_format: Some("qcow2".to_owned()),
            container_format: Some("bare".to_owned()),
            min_disk: 10,
            min_ram: 1024,
            properties: vec![
                property("os_distro", format!("distro-{}", number % 10)),
                property("os_version", "12".to_owned()),
                property("architecture", "x86_64".to_owned()),
                property("hw_disk_bus", "virtio".to_owned()),
                property("hw_qemu_guest_agent", "yes".to_owned()),
                property("build", format!("{number}")),
            ],
            tags: vec!["all".to_owned(), format!("tag-{number}")],
        };
        let upload = NewUpload {
            upload_id: &id,
            image_id: &id,
            instance: "bench",
            store: "file",
            url: &format!("file:///var/lib/glance/images/{id}"),
            location_metadata: &Map::new(),
            hash_algo: "sha512",
            quota_project: None,
            reserved: None,
            signature: None,
        };
        let (checksum, hash_value) = ("0123456789abcdef".repeat(2), "0123456789abcdef".repeat(8));
        let findings = CommitFindings { virtual_size: Some(10 << 30), checksum: &checksum, hash_value: &hash_value };
        let commit = Commit { upload_id: &id, size: 2 << 30, findings: Some(findings) };
        batch
            .step(|changes| {
                changes.create_image(&new)?;
                changes.open_upload(&upload, Purpose::Store)?;
                changes.commit_upload(&commit)
            })
            .expect("an active image");
    }
    batch.commit().expect("a full catalog");
    Filled { reader: Reader::open(&path).expect("a reader"), images, _dir: dir }
}
