//! Order, and the condition that leads to the page after a marker.

use rusqlite::types::Value;

use super::{Conditions, Dir, ListQuery, SortKey};
use crate::model::Image;

impl SortKey {
    fn sql(self) -> &'static str {
        match self {
            SortKey::Name => "images.name",
            SortKey::Status => "images.status",
            SortKey::ContainerFormat => "images.container_format",
            SortKey::DiskFormat => "images.disk_format",
            SortKey::Size => "images.size",
            SortKey::Id => "images.id",
            SortKey::CreatedAt => "images.created_at",
            SortKey::UpdatedAt => "images.updated_at",
        }
    }

    fn nullable(self) -> bool {
        !matches!(self, SortKey::Status | SortKey::Id | SortKey::CreatedAt)
    }

    /// The value of the marker in this column; `None` is NULL.
    fn value(self, image: &Image) -> Option<Value> {
        let text = |text: &Option<String>| text.clone().map(Value::from);
        match self {
            SortKey::Name => text(&image.name),
            SortKey::Status => Some(Value::from(image.status.as_str().to_owned())),
            SortKey::ContainerFormat => text(&image.container_format),
            SortKey::DiskFormat => text(&image.disk_format),
            SortKey::Size => image.size.map(|size| Value::from(i64::try_from(size).unwrap_or(i64::MAX))),
            SortKey::Id => Some(Value::from(image.id.clone())),
            SortKey::CreatedAt => Some(Value::from(image.created_at.to_sql())),
            SortKey::UpdatedAt => Some(Value::from(image.updated_at.to_sql())),
        }
    }
}

/// The sort keys with those that make the order total, each once; nothing stands after `id`, which is unique.
pub(super) fn keys(query: &ListQuery) -> Vec<(SortKey, Dir)> {
    let mut keys: Vec<(SortKey, Dir)> = Vec::new();
    let appended = [(SortKey::CreatedAt, query.tie_break), (SortKey::Id, query.tie_break)];
    for (key, dir) in query.sort.iter().copied().chain(appended) {
        if !keys.iter().any(|(known, _)| *known == key) {
            keys.push((key, dir));
        }
        if key == SortKey::Id {
            break;
        }
    }
    keys
}

/// The `ORDER BY` list.
pub(super) fn order(keys: &[(SortKey, Dir)]) -> String {
    let terms: Vec<String> = keys
        .iter()
        .map(|(key, dir)| {
            let dir = match dir {
                Dir::Asc => "ASC",
                Dir::Desc => "DESC",
            };
            format!("{} {dir}", key.sql())
        })
        .collect();
    terms.join(", ")
}

/// Demands that an image stands after `marker` in the order of `keys`. NULL is smaller than everything, as the engine
/// sorts it.
pub(super) fn after(marker: &Image, keys: &[(SortKey, Dir)], conditions: &mut Conditions) {
    let mut sql = String::new();
    let mut values = Vec::new();
    for (place, (key, dir)) in keys.iter().enumerate() {
        let last = place + 1 == keys.len();
        let column = key.sql();
        let value = key.value(marker);
        let strictly = match (dir, &value) {
            (Dir::Asc, None) => format!("{column} IS NOT NULL"),
            (Dir::Asc, Some(_)) => format!("{column} > ?"),
            (Dir::Desc, None) => "0".to_owned(),
            (Dir::Desc, Some(_)) if key.nullable() => format!("({column} < ? OR {column} IS NULL)"),
            (Dir::Desc, Some(_)) => format!("{column} < ?"),
        };
        if let Some(value) = &value {
            // This much alone lets the engine enter the index at the marker.
            if place == 0 && !key.nullable() {
                let not_before = if *dir == Dir::Asc { ">=" } else { "<=" };
                conditions.and(&format!("{column} {not_before} ?"), [value.clone()]);
            }
            values.push(value.clone());
        }
        if last {
            sql.push_str(&strictly);
        } else {
            sql.push_str(&format!("({strictly} OR ({column} IS ? AND "));
            values.push(value.unwrap_or(Value::Null));
        }
    }
    for _ in 1..keys.len() {
        sql.push_str("))");
    }
    conditions.and(&sql, values);
}
