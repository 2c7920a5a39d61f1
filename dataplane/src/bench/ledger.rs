//! What was made, on record until it is removed: a file of its own for each measurement, locked while that goes on.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
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
    /// An empty one in `directory`, which is made for its owner only if it is not there.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(named)?;
        let id = Uuid::new_v4().simple();
        // Nobody finds it before it is locked.
        let (hidden, path) = (directory.join(format!(".{PREFIX}{id}")), directory.join(format!("{PREFIX}{id}")));
        let file = File::options().append(true).create_new(true).mode(0o600).open(&hidden).map_err(named)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        fs::rename(&hidden, &path).map_err(named)?;
        Ok(Ledger { path, file, objects: Vec::new() })
    }

    /// Those in `directory` that nobody has any more.
    pub(super) fn abandoned(directory: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let entries = match fs::read_dir(directory) {
            Err(error) if gone(&error) => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
                continue;
            }
            let mut file = match File::options().read(true).append(true).open(&path) {
                // Its measurement has ended just now.
                Err(error) if gone(&error) => continue,
                file => file?,
            };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                // Whoever was killed in the middle of a line had not begun with its object.
                let objects = text.split_inclusive('\n').filter_map(parse).collect();
                found.push(Ledger { path, file, objects });
            }
        }
        Ok(found)
    }

    /// Records an object before it is made.
    pub(super) fn add(&mut self, object: Object) -> io::Result<()> {
        let Object { store, upload_id, url, .. } = &object;
        let line = format!("{upload_id}\t{url}\t{store}\n");
        let end = self.file.seek(SeekFrom::End(0))?;
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Half a line would spoil the next one.
            let _ = self.file.set_len(end);
            return Err(error);
        }
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

/// The object of a whole line.
fn parse(line: &str) -> Option<Object> {
    let mut fields = line.strip_suffix('\n')?.splitn(3, '\t').map(str::to_owned);
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
        let object = |name: &str| Object {
            store: "a b".into(),
            upload_id: "u".into(),
            url: format!("file:///{name}\u{e4}"),
            number: 0,
            finished: false,
        };
        ledger.add(object("one")).expect("recorded");
        ledger.add(object("two")).expect("recorded");
        assert!(Ledger::abandoned(&place).expect("read").is_empty(), "somebody has it");
        // Killed within a line.
        ledger.file.write_all(b"u\tfile:///three\t").expect("written");
        drop(ledger);
        let mut found = Ledger::abandoned(&place).expect("read");
        let objects: Vec<_> = found.iter().map(|ledger| ledger.objects.clone()).collect();
        assert_eq!(objects, [[object("one"), object("two")]]);
        found[0].objects.clear();
        found.iter_mut().for_each(Ledger::close);
        assert_eq!(fs::read_dir(&place).expect("a directory").count(), 0);
    }
}
