//! Filters as conditions.

use rusqlite::types::Value;

use super::{Compare, Conditions, Dir, Filter, IntColumn, ListQuery, SortKey, TextColumn, TimeColumn};
use crate::Result;
use crate::catalog::rows;

impl TextColumn {
    pub(super) fn name(self) -> &'static str {
        match self {
            TextColumn::Id => "id",
            TextColumn::Name => "name",
            TextColumn::Status => "status",
            TextColumn::DiskFormat => "disk_format",
            TextColumn::ContainerFormat => "container_format",
            TextColumn::Owner => "owner",
            TextColumn::Checksum => "checksum",
            TextColumn::OsHashAlgo => "os_hash_algo",
            TextColumn::OsHashValue => "os_hash_value",
        }
    }
}

impl IntColumn {
    pub(super) fn name(self) -> &'static str {
        match self {
            IntColumn::Size => "size",
            IntColumn::VirtualSize => "virtual_size",
            IntColumn::MinDisk => "min_disk",
            IntColumn::MinRam => "min_ram",
        }
    }
}

impl TimeColumn {
    pub(super) fn name(self) -> &'static str {
        match self {
            TimeColumn::CreatedAt => "created_at",
            TimeColumn::UpdatedAt => "updated_at",
        }
    }
}

impl Compare {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Compare::Eq => "=",
            Compare::Ne => "<>",
            Compare::Gt => ">",
            Compare::Ge => ">=",
            Compare::Lt => "<",
            Compare::Le => "<=",
        }
    }
}

/// Whether an index holds the rows of `filter`, and gives them in the order of `keys`.
pub(super) fn leads(filter: &Filter, query: &ListQuery, keys: &[(SortKey, Dir)]) -> bool {
    let (column, is_equal) = match filter {
        // There is one at most.
        Filter::Text(TextColumn::Id, values) => return values.len() == 1,
        // Glance's indexes of these end with the column: their rows are counted.
        Filter::Text(TextColumn::Checksum | TextColumn::OsHashValue, _) => return false,
        // Of another project's images few may be for this viewer.
        Filter::Text(TextColumn::Owner, values)
            if !query.viewer.is_admin && values != query.viewer.project.as_slice() =>
        {
            return false;
        }
        Filter::Text(column, values) => (column.name(), values.len() == 1),
        Filter::Int(column, compare, _) => (column.name(), *compare == Compare::Eq),
        Filter::Time(column, compare, _) => (column.name(), *compare == Compare::Eq),
        Filter::Protected(_) => ("protected", true),
        Filter::Tag(_) | Filter::Property { .. } | Filter::Never => return false,
    };
    let Some((first, _)) = keys.first() else { return false };
    let is_sorted_by = first.column() == column;
    let is_range =
        !matches!(filter, Filter::Text(..) | Filter::Int(_, Compare::Ne, _) | Filter::Time(_, Compare::Ne, _));
    (is_equal && (*first == SortKey::CreatedAt || is_sorted_by)) || (is_range && is_sorted_by)
}

/// Adds what `filter` demands, for the list `query` in the order of `keys`.
pub(super) fn condition(
    filter: &Filter,
    query: &ListQuery,
    keys: &[(SortKey, Dir)],
    conditions: &mut Conditions,
) -> Result<()> {
    // The unary plus keeps the engine from an index that does not lead: it would sort all that the index has.
    let plus = if leads(filter, query, keys) { "" } else { "+" };
    match filter {
        Filter::Text(column, values) => match values.as_slice() {
            [value] => conditions.and(&format!("{plus}images.{} = ?", column.name()), [Value::from(value.clone())]),
            values => conditions.and(
                &format!("{plus}images.{} IN (SELECT value FROM json_each(?))", column.name()),
                [Value::from(rows::json_column(&values)?)],
            ),
        },
        Filter::Int(column, compare, number) => {
            let sql = format!("{plus}images.{} {} ?", column.name(), compare.sql());
            conditions.and(&sql, [Value::from(*number)]);
        }
        Filter::Time(column, compare, moment) => {
            let sql = format!("{plus}images.{} {} ?", column.name(), compare.sql());
            conditions.and(&sql, [Value::from(moment.to_sql())]);
        }
        Filter::Protected(wanted) => {
            conditions.and(&format!("{plus}images.protected = ?"), [Value::from(*wanted)]);
        }
        Filter::Tag(tag) => conditions.and(
            "EXISTS (SELECT 1 FROM image_tags AS t WHERE t.image_id = images.id AND t.value = ? AND +t.deleted = 0)",
            [Value::from(tag.clone())],
        ),
        Filter::Property { name, value } => conditions.and(
            "EXISTS (SELECT 1 FROM image_properties AS p \
             WHERE p.image_id = images.id AND p.name = ? AND +p.deleted = 0 AND p.value = ?)",
            [Value::from(name.clone()), Value::from(value.clone())],
        ),
        Filter::Never => conditions.and("0", []),
    }
    Ok(())
}
