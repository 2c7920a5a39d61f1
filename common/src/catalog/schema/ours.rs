//! Our own tables, beside Glance's. They change by appending to [`MIGRATIONS`]; a released line is never edited.

use std::path::Path;

use rusqlite::Connection;

use crate::catalog::OpenError;
use crate::time::Timestamp;

/// Where the migrations that were made are noted.
pub(super) const MIGRATIONS_TABLE: &str = "vitrine_migrations";

/// Number 1, 2, … in this order.
const MIGRATIONS: &[&str] = &[
    // 1: uploads under way and just committed, and bytes that are to be removed.
    "
CREATE TABLE vitrine_uploads (
    upload_id TEXT NOT NULL PRIMARY KEY,
    image_id TEXT NOT NULL,
    instance TEXT NOT NULL,
    store TEXT NOT NULL,
    url TEXT NOT NULL,
    location_metadata TEXT NOT NULL,
    hash_algo TEXT NOT NULL,
    quota_project TEXT,
    doomed INTEGER NOT NULL DEFAULT 0,
    started_at TEXT NOT NULL,
    committed_at TEXT
);
CREATE INDEX vitrine_uploads_image ON vitrine_uploads (image_id);
CREATE TABLE vitrine_removals (
    id INTEGER NOT NULL PRIMARY KEY,
    image_id TEXT NOT NULL,
    store TEXT,
    url TEXT NOT NULL,
    upload_id TEXT,
    recorded_at TEXT NOT NULL
);
",
    // 2: bytes that an upload said it would bring: they count for the quota while it runs.
    "
ALTER TABLE vitrine_uploads ADD COLUMN expected_size INTEGER;
CREATE INDEX vitrine_uploads_quota ON vitrine_uploads (quota_project);
",
    // 3: data that goes into the staging area, and data that jobs move.
    "
ALTER TABLE vitrine_uploads ADD COLUMN purpose TEXT NOT NULL DEFAULT 'store';
ALTER TABLE vitrine_uploads ADD COLUMN job_id TEXT;
CREATE INDEX vitrine_uploads_job ON vitrine_uploads (job_id);
CREATE TABLE vitrine_jobs (
    job_id TEXT NOT NULL PRIMARY KEY,
    image_id TEXT NOT NULL,
    plan TEXT NOT NULL,
    failure TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    recorded_at TEXT NOT NULL
);
CREATE INDEX vitrine_uploads_open_url ON vitrine_uploads (url) WHERE committed_at IS NULL;
CREATE INDEX vitrine_removals_url ON vitrine_removals (url);
",
    // 4: indexes for lists.
    super::indexes::DDL,
    // 5: what the signature of an upload's data is verified by.
    "
ALTER TABLE vitrine_uploads ADD COLUMN signature TEXT;
",
    // 6: narrower indexes.
    super::indexes::NARROWER,
];

/// Makes the migrations that this database has not seen, inside the caller's transaction.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let engine = |source| OpenError::Engine { path: path.to_owned(), source };
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS vitrine_migrations (number INTEGER NOT NULL PRIMARY KEY, made_at TEXT NOT NULL)",
        )
        .map_err(engine)?;
    let made = newest(connection).map_err(engine)?;
    check_known(made, path)?;
    for (number, sql) in (1_i64..).zip(MIGRATIONS).filter(|(number, _)| *number > made) {
        connection.execute_batch(sql).map_err(engine)?;
        connection
            .execute(
                "INSERT INTO vitrine_migrations (number, made_at) VALUES (?1, ?2)",
                (number, Timestamp::now().to_sql()),
            )
            .map_err(engine)?;
    }
    Ok(())
}

/// Whether our tables are as new as this program; older ones mean that control has not opened the database yet.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let made = newest(connection).map_err(|source| OpenError::Engine { path: path.to_owned(), source })?;
    check_known(made, path)?;
    if made < known() { Err(OpenError::Absent { path: path.to_owned() }) } else { Ok(()) }
}

fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(number), 0) FROM vitrine_migrations", [], |row| row.get(0))
}

fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn check_known(found: i64, path: &Path) -> Result<(), OpenError> {
    if found > known() {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: known() });
    }
    Ok(())
}
