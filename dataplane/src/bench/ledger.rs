//! What was made, on record until it is removed: a file of its own for each measurement, locked while that goes on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

/// How the names of such files begin.
const PREFIX: &str = "bench-store-";

/// One object, as long as it may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// The store that has it.
    pub(super) store: String,
    /// The upload that wrote it.
    pub(super) upload_id: String,
    /// Its place.
    pub(super) url: String,
    /// Which it is: decides what is in it.
    pub(super) number: u64,
    /// Whether it is whole.
    pub(super) finished: bool,
}

/// The record.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    pub(super) objects: Vec<Object>,
}

impl Ledger {
    /// An empty one in `directory`, which is made if it is not there.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()));
        fs::create_dir_all(directory).map_err(named)?;
        let path = directory.join(format!("{PREFIX}{}", Uuid::new_v4().simple()));
        let file = File::options().append(true).create_new(true).open(&path).map_err(named)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Ledger { path, file, objects: Vec::new() })
    }

    /// Those in `directory` that nobody has any more.
    pub(super) fn abandoned(directory: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
                continue;
            }
            let file = File::options().append(true).open(&path)?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let text = fs::read_to_string(&path)?;
                // Whoever was killed in the middle of a line had not begun with its object.
                let objects = text.lines().filter_map(parse).collect();
                found.push(Ledger { path, file, objects });
            }
        }
        Ok(found)
    }

    /// Records an object before it is made.
    pub(super) fn add(&mut self, object: Object) -> io::Result<()> {
        let Object { store, upload_id, url, .. } = &object;
        writeln!(self.file, "{upload_id}\t{url}\t{store}")?;
        self.objects.push(object);
        Ok(())
    }

    /// Ends the record, if nothing is left; else it says what is.
    pub(super) fn close(&mut self) {
        if self.objects.is_empty() {
            // What cannot be removed is empty, or names what is not there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn parse(line: &str) -> Option<Object> {
    let mut fields = line.splitn(3, '\t').map(str::to_owned);
    let (upload_id, url, store) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Object { store, upload_id, url, number: 0, finished: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_any_more_is_found() {
        let home = tempfile::tempdir().expect("a directory");
        let place = home.path().join("data");
        assert!(Ledger::abandoned(&place).expect("no directory is fine").is_empty());
        let mut ledger = Ledger::create(&place).expect("a record");
        let object = Object {
            store: "a b".into(),
            upload_id: "u".into(),
            url: "file:///x\u{e4}".into(),
            number: 0,
            finished: false,
        };
        ledger.add(object.clone()).expect("recorded");
        assert!(Ledger::abandoned(&place).expect("read").is_empty(), "somebody has it");
        drop(ledger);
        let mut found = Ledger::abandoned(&place).expect("read");
        assert_eq!(found.iter().map(|ledger| ledger.objects.clone()).collect::<Vec<_>>(), [[object]]);
        found[0].objects.clear();
        found.iter_mut().for_each(Ledger::close);
        assert_eq!(fs::read_dir(&place).expect("a directory").count(), 0);
    }
}
