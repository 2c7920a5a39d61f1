//! The tables: Glance's as its newest revision has them, and our own beside them.

mod glance;
mod indexes;
mod ours;

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::OpenError;

/// The one revision of Glance's schema that this program reads and writes (Glance 2024.1 to 2026.2).
pub const REVISION: &str = "2024_1_contract01";

/// Makes the tables in an empty database, or checks those of an existing one, then brings our own up to date.
/// `path` is named in errors.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let engine = |source| OpenError::Engine { path: path.to_owned(), source };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(engine)?;
    let tables = table_names(&transaction).map_err(engine)?;
    if tables.is_empty() {
        transaction.execute_batch(glance::DDL).map_err(engine)?;
        transaction.execute("INSERT INTO alembic_version (version_num) VALUES (?1)", [REVISION]).map_err(engine)?;
    } else {
        check_glance(&transaction, &tables, path)?;
    }
    ours::migrate(&transaction, path)?;
    transaction.commit().map_err(engine)
}

/// Checks, for a connection that must not change anything, that the tables are there and of the right revision.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let engine = |source| OpenError::Engine { path: path.to_owned(), source };
    let tables = table_names(connection).map_err(engine)?;
    if tables.is_empty() || !tables.contains(ours::MIGRATIONS_TABLE) {
        return Err(OpenError::Absent { path: path.to_owned() });
    }
    check_glance(connection, &tables, path)?;
    ours::check(connection, path)
}

fn table_names(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    connection
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn check_glance(connection: &Connection, tables: &BTreeSet<String>, path: &Path) -> Result<(), OpenError> {
    let engine = |source| OpenError::Engine { path: path.to_owned(), source };
    let mut revisions: Vec<String> = Vec::new();
    if tables.contains("alembic_version") {
        let mut statement =
            connection.prepare("SELECT version_num FROM alembic_version ORDER BY version_num").map_err(engine)?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(engine)?;
        revisions = rows.collect::<rusqlite::Result<_>>().map_err(engine)?;
    }
    if revisions != [REVISION] {
        let found = if revisions.is_empty() { "none".to_owned() } else { revisions.join(" and ") };
        return Err(OpenError::Revision { path: path.to_owned(), found, needed: REVISION });
    }
    let mut missing = Vec::new();
    for (table, columns) in glance::COLUMNS {
        if !tables.contains(*table) {
            missing.push(format!("table {table}"));
            continue;
        }
        let present = column_names(connection, table).map_err(engine)?;
        let absent = columns.iter().filter(|column| !present.contains(**column));
        missing.extend(absent.map(|column| format!("column {table}.{column}")));
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(OpenError::Incomplete { path: path.to_owned(), revision: REVISION, missing: missing.join(", ") })
}

fn column_names(connection: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    connection.prepare("SELECT name FROM pragma_table_info(?1)")?.query_map([table], |row| row.get(0))?.collect()
}
