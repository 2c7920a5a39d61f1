//! Filters as conditions.

use rusqlite::types::Value;

use super::{Compare, Conditions, Filter, IntColumn, TextColumn, TimeColumn};
use crate::Result;
use crate::catalog::rows;

impl TextColumn {
    fn sql(self) -> &'static str {
        match self {
            TextColumn::Id => "images.id",
            TextColumn::Name => "images.name",
            TextColumn::Status => "images.status",
            TextColumn::DiskFormat => "images.disk_format",
            TextColumn::ContainerFormat => "images.container_format",
            // Whether its index is worth using, `drive` decides.
            TextColumn::Owner => "+images.owner",
            TextColumn::Checksum => "images.checksum",
            TextColumn::OsHashAlgo => "images.os_hash_algo",
            TextColumn::OsHashValue => "images.os_hash_value",
        }
    }
}

impl IntColumn {
    fn sql(self) -> &'static str {
        match self {
            IntColumn::Size => "images.size",
            IntColumn::VirtualSize => "images.virtual_size",
            IntColumn::MinDisk => "images.min_disk",
            IntColumn::MinRam => "images.min_ram",
        }
    }
}

impl TimeColumn {
    fn sql(self) -> &'static str {
        match self {
            TimeColumn::CreatedAt => "images.created_at",
            TimeColumn::UpdatedAt => "images.updated_at",
        }
    }
}

impl Compare {
    fn sql(self) -> &'static str {
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

/// Adds what `filter` demands.
pub(super) fn condition(filter: &Filter, conditions: &mut Conditions) -> Result<()> {
    match filter {
        Filter::Text(column, values) => match values.as_slice() {
            [value] => conditions.and(&format!("{} = ?", column.sql()), [Value::from(value.clone())]),
            values => conditions.and(
                &format!("{} IN (SELECT value FROM json_each(?))", column.sql()),
                [Value::from(rows::json_column(&values)?)],
            ),
        },
        Filter::Int(column, compare, number) => {
            conditions.and(&format!("{} {} ?", column.sql(), compare.sql()), [Value::from(*number)]);
        }
        Filter::Time(column, compare, moment) => {
            conditions.and(&format!("{} {} ?", column.sql(), compare.sql()), [Value::from(moment.to_sql())]);
        }
        Filter::Protected(wanted) => conditions.and("images.protected = ?", [Value::from(*wanted)]),
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
