//! Connections to the database: the one that writes, and those that only read.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::fault::{away, failed};
use super::memo::Memo;
use super::{Changes, OpenError, Queries, schema};
use crate::{Error, Result};

/// Longest wait for another writer's lock (Glance's tools may work on the same file).
const WRITER_BUSY: Duration = Duration::from_secs(5);

/// Longest wait of a reader. In WAL mode readers wait only while a crashed writer's log is being recovered; the data
/// plane's threads must not stand still for long.
const READER_BUSY: Duration = Duration::from_millis(250);

/// Prepared statements that a connection keeps. Lists differ in their text, everything else is fixed.
const STATEMENT_CACHE: usize = 128;

/// Memory in which a connection keeps pages, KiB: what a few different lists among 100,000 images look at. Without it each of
/// them is read from the kernel again, page by page.
const CACHE_KIB: i64 = 16 << 10;

/// Pages in the log of changes (4 KiB each) at which the writer moves them into the database: a new image touches some fifty, most
/// of them with those before and after it, and each is moved once. A start after a crash reads them all, in some 20 ms; readers wait for it.
const LOG_PAGES: i64 = 8000;

/// The read-write connection. There is one in the whole deployment, in control.
#[derive(Debug)]
pub struct Catalog {
    connection: Connection,
}

impl Catalog {
    /// Opens the SQLite file at `path`; makes it, with its directory and all tables, when it is not there. A file that
    /// is there must be a Glance database of the revision [`schema::REVISION`]; our own tables are added or brought up
    /// to date.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let engine = |source| OpenError::Engine { path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            // A directory that cannot be made shows as the engine's failure to open the file, with the path.
            let _ = fs::create_dir_all(parent);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(engine)?;
        connection.busy_timeout(WRITER_BUSY).map_err(engine)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(engine)?;
        // An acknowledged change is on the disk, not only in the page cache.
        connection.pragma_update(None, "synchronous", "FULL").map_err(engine)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(engine)?;
        // Negative: KiB, not pages.
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(engine)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES).map_err(engine)?;
        keep_plans(&connection).map_err(engine)?;
        schema::prepare(&mut connection, path)?;
        // What undoes a step of a large batch would go to a file, and cost as much as the step; a crash needs none of it. Not earlier:
        // indexes that are made of a large catalog are sorted in files.
        connection.pragma_update(None, "temp_store", "MEMORY").map_err(engine)?;
        Ok(Catalog { connection })
    }

    /// What can be asked, without a snapshot of its own: for single questions.
    pub fn queries(&self) -> Queries<'_> {
        Queries::new(&self.connection)
    }

    /// Begins a transaction that may hold several changes.
    pub fn batch(&self) -> Result<Batch<'_>> {
        run(&self.connection, "BEGIN IMMEDIATE")?;
        Ok(Batch { connection: &self.connection, ended: false })
    }

    /// One change in a transaction of its own: durable when this returns `Ok`, undone when `work` or the commit fails.
    pub fn write<T>(&self, work: impl FnOnce(&Changes<'_>) -> Result<T>) -> Result<T> {
        let mut batch = self.batch()?;
        let value = batch.step(work)?;
        batch.commit()?;
        Ok(value)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// A transaction of several changes: each is undone alone when it fails, all become durable with one commit. Dropped
/// without [`Batch::commit`], all are undone.
#[derive(Debug)]
pub struct Batch<'c> {
    connection: &'c Connection,
    ended: bool,
}

impl Batch<'_> {
    /// Runs one change. When `work` fails, what it did is undone and the batch goes on. Nothing is durable before
    /// [`Batch::commit`].
    pub fn step<T>(&mut self, work: impl FnOnce(&Changes<'_>) -> Result<T>) -> Result<T> {
        if self.lost() {
            return Err(away("the transaction was lost"));
        }
        run(self.connection, "SAVEPOINT step")?;
        let undo = Undo { connection: self.connection };
        let outcome = work(&Changes::new(self.connection));
        match outcome {
            Ok(value) => {
                // Undone when this fails: the caller is told that nothing was changed.
                run(self.connection, "RELEASE step")?;
                std::mem::forget(undo);
                Ok(value)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes everything durable: `Ok` means that all successful steps survive a power failure, an error that none does.
    pub fn commit(mut self) -> Result<()> {
        if self.lost() {
            return Err(away("the transaction was lost"));
        }
        run(self.connection, "COMMIT")?;
        self.ended = true;
        Ok(())
    }

    /// Some failures (disk full, I/O error) make the engine undo the whole transaction by itself.
    fn lost(&self) -> bool {
        self.connection.is_autocommit()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if !self.ended && !self.lost() {
            // Fails only when the transaction is gone already.
            let _ = run(self.connection, "ROLLBACK");
        }
    }
}

/// Undoes a step, also when its closure panics.
struct Undo<'c> {
    connection: &'c Connection,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.connection.is_autocommit() {
            // When even this fails the engine has lost the transaction, which commit reports.
            let _ = run(self.connection, "ROLLBACK TO step").and_then(|()| run(self.connection, "RELEASE step"));
        }
    }
}

/// A read-only connection, for one thread at a time. Any number of them, in any process.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    memo: Memo,
}

impl Reader {
    /// Opens the catalog at `path`. Never creates or changes it: [`OpenError::Absent`] as long as control has not made
    /// it (or not brought it up to date) yet.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let engine = |source| OpenError::Engine { path: path.to_owned(), source };
        if !path.exists() {
            return Err(OpenError::Absent { path: path.to_owned() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(engine)?;
        connection.busy_timeout(READER_BUSY).map_err(engine)?;
        // Negative: KiB, not pages.
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(engine)?;
        keep_plans(&connection).map_err(engine)?;
        schema::check(&connection, path)?;
        Ok(Reader { connection, memo: Memo::default() })
    }

    /// Asks several questions of one and the same state of the catalog. Sees everything that was committed before.
    pub fn read<T>(&self, work: impl FnOnce(&Queries<'_>) -> Result<T>) -> Result<T> {
        run(&self.connection, "BEGIN")?;
        let snapshot = Snapshot { connection: &self.connection };
        let outcome = work(&Queries::with_memo(snapshot.connection, &self.memo));
        drop(snapshot);
        outcome
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    #[cfg(test)]
    pub(super) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// Ends a read transaction, also when the closure panics.
struct Snapshot<'c> {
    connection: &'c Connection,
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        // A read transaction has nothing to lose: its end cannot fail in a way that matters.
        let _ = run(self.connection, "COMMIT");
    }
}

/// Statements are kept with their plans, which do not depend on the values: else the engine plans a list anew for
/// each value of a condition that its partial indexes may have to do with.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(|_| ())
}

fn run(connection: &Connection, sql: &str) -> Result<(), Error> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map(|_| ()).map_err(failed)
}
