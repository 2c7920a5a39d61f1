//! Tests of the catalog on real files.

mod images;
mod lists;
mod locations;
mod metadefs;
mod plans;
mod quotas;
mod schema;
mod uploads;

use std::path::PathBuf;

use tempfile::TempDir;

use super::{Catalog, NewImage, Reader};
use crate::model::Image;

/// A catalog in a directory of its own, which goes with it.
struct Fixture {
    catalog: Catalog,
    path: PathBuf,
    _dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("catalog.sqlite");
        let catalog = Catalog::open(&path).expect("a fresh catalog opens");
        Fixture { catalog, path, _dir: dir }
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.path).expect("an existing catalog opens for reading")
    }

    fn create(&self, new: &NewImage) -> Image {
        self.catalog.write(|tx| tx.create_image(new)).expect("the image is made")
    }

    fn image(&self, id: &str) -> Option<Image> {
        self.catalog.queries().image(id).expect("the catalog answers")
    }

    /// One number out of the database, for what the public surface does not show.
    fn number(&self, sql: &str) -> i64 {
        self.catalog.connection().query_row(sql, [], |row| row.get(0)).expect("the statement runs")
    }

    fn execute(&self, sql: &str) {
        self.catalog.connection().execute_batch(sql).expect("the statement runs");
    }
}

fn uuid(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// A plain image of project `p1`.
fn plain(number: u32) -> NewImage {
    NewImage {
        name: Some(format!("image-{number}")),
        owner: Some("p1".to_owned()),
        disk_format: Some("raw".to_owned()),
        container_format: Some("bare".to_owned()),
        ..NewImage::new(uuid(number))
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}
