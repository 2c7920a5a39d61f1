//! Lists of images: who sees which, filters, order and pages.

mod drive;
mod filter;
mod page;
mod visible;

use std::sync::Arc;

use rusqlite::Row;
use rusqlite::types::Value;

use super::Queries;
use super::fault::{failed, no_image};
use super::rows::{self, IMAGE_COLUMNS};
use crate::model::{Image, MemberStatus, Visibility};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};

/// Filters that one list may have: each becomes a condition of the statement.
pub const FILTERS_MAX: usize = 200;

/// What to list. See images-API section "list images".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Who asks.
    pub viewer: Viewer,
    /// Which visibilities.
    pub visibility: ListVisibility,
    /// Of images that others share with the viewer: which answer it gave.
    pub member_status: MemberFilter,
    /// `os_hidden`: `true` lists only hidden images, `false` only others.
    pub hidden: bool,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Most important first; empty: newest first. `created_at` and `id` are appended where they are missing.
    pub sort: Vec<(SortKey, Dir)>,
    /// Direction of appended keys: the one direction that the client gave for all keys, else descending.
    pub tie_break: Dir,
    /// Id of the last image of the page before.
    pub marker: Option<String>,
    /// Most images to return; 0 returns none.
    pub limit: usize,
}

impl ListQuery {
    /// The list that `viewer` gets without any parameter, at most `limit` images.
    pub fn new(viewer: Viewer, limit: usize) -> Self {
        ListQuery {
            viewer,
            visibility: ListVisibility::Default,
            member_status: MemberFilter::Only(MemberStatus::Accepted),
            hidden: false,
            filters: Vec::new(),
            sort: Vec::new(),
            tie_break: Dir::Desc,
            marker: None,
            limit,
        }
    }

    /// Whether no filter leaves out the images of `project`.
    fn may_own(&self, project: &str) -> bool {
        self.filters.iter().all(|filter| match filter {
            Filter::Text(TextColumn::Owner, owners) => owners.iter().any(|owner| owner == project),
            _ => true,
        })
    }
}

/// Who asks for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// The caller's project.
    pub project: Option<String>,
    /// Administrators see the images of all projects.
    pub is_admin: bool,
}

/// The parameter `visibility` of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListVisibility {
    /// Not given: everything the viewer may list but other projects' community images.
    Default,
    /// `all`: these too.
    All,
    /// One of the four.
    Only(Visibility),
}

/// The parameter `member_status` of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberFilter {
    /// `all`: whatever the viewer made of the offer.
    All,
    /// Only this answer; Glance's default is `accepted`.
    Only(MemberStatus),
}

/// One condition of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// The column is one of these texts, byte for byte. No text at all matches nothing.
    Text(TextColumn, Vec<String>),
    /// The column compares so with the number; NULL never does.
    Int(IntColumn, Compare, i64),
    /// The column compares so with the moment, by the microsecond.
    Time(TimeColumn, Compare, Timestamp),
    /// `protected` is so.
    Protected(bool),
    /// The image has this tag.
    Tag(String),
    /// The extra property has this value.
    Property {
        /// Its name.
        name: String,
        /// Its value, byte for byte.
        value: String,
    },
    /// Matches nothing: a value that the column can never have.
    Never,
}

/// Columns that [`Filter::Text`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described at Image")]
pub enum TextColumn {
    Id,
    Name,
    Status,
    DiskFormat,
    ContainerFormat,
    Owner,
    Checksum,
    OsHashAlgo,
    OsHashValue,
}

/// Columns that [`Filter::Int`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described at Image")]
pub enum IntColumn {
    Size,
    VirtualSize,
    MinDisk,
    MinRam,
}

/// Columns that [`Filter::Time`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described at Image")]
pub enum TimeColumn {
    CreatedAt,
    UpdatedAt,
}

/// How a column compares with a value: `column compare value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
}

/// What a list may be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described at Image")]
pub enum SortKey {
    Name,
    Status,
    ContainerFormat,
    DiskFormat,
    Size,
    Id,
    CreatedAt,
    UpdatedAt,
}

/// Direction of a sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dir {
    /// Smallest first, NULL before everything.
    Asc,
    /// Largest first, NULL after everything.
    Desc,
}

/// The statement of a list as it grows: conditions that must all hold, and the values for their `?`.
#[derive(Debug, Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// One more condition; its `?` take `values` in order.
    fn and(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        self.values.extend(values);
    }
}

impl Queries<'_> {
    /// One page of images, whole. At most fourteen statements, however many images there are. 400 when the marker is not
    /// there or there are too many filters, 403 when the viewer may not see the marker.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<Arc<Image>>> {
        if query.filters.len() > FILTERS_MAX {
            return Err(Error::bad_request(format!("Too many filters: at most {FILTERS_MAX} are accepted.")));
        }
        let keys = page::keys(query);
        let marker = query.marker.as_deref().map(|id| self.marker(id, &query.viewer, &keys)).transpose()?;
        if query.limit == 0 {
            return Ok(Vec::new());
        }
        let (sql, values) = self.list_statement(query, &keys, marker.as_deref())?;
        let row = |row: &Row<'_>| Ok((row.get(0).map_err(failed)?, row.get(1).map_err(failed)?));
        let rows = self.all(&sql, rusqlite::params_from_iter(values), row)?;
        self.images(&rows)
    }

    fn list_statement(
        &self,
        query: &ListQuery,
        keys: &[(SortKey, Dir)],
        marker: Option<&[Value]>,
    ) -> Result<(String, Vec<Value>)> {
        let mut all = Conditions::default();
        visible::conditions(query, keys, &mut all);
        let starts = drive::starts(self, query, keys)?;
        let fitting = starts.first().and_then(|start| start.fitting);
        for (place, filter) in query.filters.iter().enumerate() {
            if fitting != Some(place) {
                filter::condition(filter, query, keys, &mut all)?;
            }
        }
        let parts = marker.map_or_else(|| vec![Conditions::default()], |marker| page::parts(marker, keys));
        let order = page::order(keys);
        let limit = Value::Integer(i64::try_from(query.limit).unwrap_or(i64::MAX));
        let mut selects: Vec<(String, Vec<Value>)> = Vec::new();
        for (start, part) in starts.iter().flat_map(|start| parts.iter().map(move |part| (start, part))) {
            // The few are found by their numbers, whatever other indexes promise.
            let table = if start.is_few { "images NOT INDEXED" } else { "images" };
            let sql = format!(
                "FROM {table} WHERE images.deleted = 0 AND images.status <> 'killed'{}{}{} ORDER BY {order} LIMIT ?",
                start.conditions.sql, part.sql, all.sql
            );
            let values =
                [&start.conditions.values[..], &part.values, &all.values, std::slice::from_ref(&limit)].concat();
            selects.push((sql, values));
        }
        // Few rows are sorted by what they are sorted by, and only those of the page are read.
        let is_sorted = starts.iter().any(|start| start.is_few);
        if let ([(sql, values)], false) = (&mut selects[..], is_sorted) {
            return Ok((format!("SELECT images.rowid, images.id {sql}"), std::mem::take(values)));
        }
        let rows: Vec<String> =
            selects.iter().map(|(sql, _)| format!("SELECT * FROM (SELECT images.rowid {sql})")).collect();
        let sql = format!(
            "SELECT images.rowid, images.id FROM images NOT INDEXED WHERE images.rowid IN ({}) ORDER BY {order} LIMIT ?",
            rows.join(" UNION ALL ")
        );
        Ok((sql, selects.into_iter().flat_map(|(_, values)| values).chain([limit]).collect()))
    }

    /// What the image after which a page begins has in the columns of `keys`.
    fn marker(&self, id: &str, viewer: &Viewer, keys: &[(SortKey, Dir)]) -> Result<Vec<Value>> {
        let columns = page::columns(keys);
        let sql = format!("SELECT {IMAGE_COLUMNS}, {columns} FROM images WHERE id = ?1 AND deleted = 0");
        let found = self.one(&sql, [id], |row| {
            let first = row.as_ref().column_count() - keys.len();
            let values = (first..first + keys.len()).map(|index| row.get(index).map_err(failed));
            Ok((rows::image(row)?, values.collect::<Result<Vec<Value>>>()?))
        })?;
        let Some((image, values)) = found else {
            return Err(Error { kind: Kind::BadRequest, ..no_image(id) });
        };
        let project = viewer.project.as_deref();
        let own = image.owner.is_none() || (project.is_some() && project == image.owner.as_deref());
        let seen = viewer.is_admin
            || own
            || match (image.visibility, project) {
                (Visibility::Public | Visibility::Community, _) => true,
                (Visibility::Shared, Some(project)) => self.membership(id, project)?.is_some(),
                (Visibility::Shared | Visibility::Private, _) => false,
            };
        if !seen {
            return Err(Error::forbidden(format!("Forbidding request, image {id} not visible")));
        }
        Ok(values)
    }
}

#[cfg(test)]
impl Queries<'_> {
    /// How the engine would run the main statement of a list, as `EXPLAIN QUERY PLAN` tells it.
    pub(super) fn list_plan(&self, query: &ListQuery) -> Result<String> {
        let keys = page::keys(query);
        let marker = query.marker.as_deref().map(|id| self.marker(id, &query.viewer, &keys)).transpose()?;
        let (sql, values) = self.list_statement(query, &keys, marker.as_deref())?;
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        let lines = self.all(&sql, rusqlite::params_from_iter(values), |row| {
            row.get::<_, String>(3).map_err(super::fault::failed)
        })?;
        Ok(lines.join("\n"))
    }

    /// How often the engine has made the plan of the main statement of a list anew.
    pub(super) fn list_planned_again(&self, query: &ListQuery) -> Result<i32> {
        let (sql, _) = self.list_statement(query, &page::keys(query), None)?;
        let statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        Ok(statement.get_status(rusqlite::StatementStatus::RePrepare))
    }
}
