//! Order, and the condition that leads to the page after a marker.

use rusqlite::types::Value;

use super::{Conditions, Dir, ListQuery, SortKey};

impl SortKey {
    pub(super) fn column(self) -> &'static str {
        match self {
            SortKey::Name => "name",
            SortKey::Status => "status",
            SortKey::ContainerFormat => "container_format",
            SortKey::DiskFormat => "disk_format",
            SortKey::Size => "size",
            SortKey::Id => "id",
            SortKey::CreatedAt => "created_at",
            SortKey::UpdatedAt => "updated_at",
        }
    }

    fn sql(self) -> String {
        format!("images.{}", self.column())
    }

    fn nullable(self) -> bool {
        !matches!(self, SortKey::Status | SortKey::Id | SortKey::CreatedAt)
    }
}

/// The columns of `keys`, for a `SELECT`.
pub(super) fn columns(keys: &[(SortKey, Dir)]) -> String {
    keys.iter().map(|(key, _)| key.sql()).collect::<Vec<_>>().join(", ")
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

/// The parts of an index in which the images after the marker stand, so that nothing before them is looked at: one that begins
/// at the marker, and where NULL follows, or goes before, one more. One condition for the whole where the keys go different ways
/// or two may be NULL.
pub(super) fn parts(marker: &[Value], keys: &[(SortKey, Dir)]) -> Vec<Conditions> {
    let whole = || {
        let mut conditions = Conditions::default();
        after(marker, keys, &mut conditions);
        vec![conditions]
    };
    let (Some(((first, dir), rest)), Some((value, values))) = (keys.split_first(), marker.split_first()) else {
        return whole();
    };
    if rest.iter().any(|(key, other)| key.nullable() || other != dir) {
        return whole();
    }
    let compare = if *dir == Dir::Asc { ">" } else { "<" };
    let beyond = |keys: &[(SortKey, Dir)], values: &[Value]| {
        let marks = vec!["?"; keys.len()].join(", ");
        let mut conditions = Conditions::default();
        conditions.and(&format!("({}) {compare} ({marks})", columns(keys)), values.to_vec());
        conditions
    };
    let null = |not: &str| {
        let mut conditions = Conditions::default();
        conditions.and(&format!("{} IS{not} NULL", first.sql()), []);
        conditions
    };
    if *value == Value::Null {
        let mut same = beyond(rest, values);
        same.and(&format!("{} IS NULL", first.sql()), []);
        return if *dir == Dir::Asc { vec![same, null(" NOT")] } else { vec![same] };
    }
    let mut parts = vec![beyond(keys, marker)];
    if *dir == Dir::Desc && first.nullable() {
        parts.push(null(""));
    }
    parts
}

/// Demands that an image stands after the one that has the values `marker` in the columns of `keys`. They are as the row
/// has them, in whatever form its writer wrote them: the engine compares them with others as it sorts them. NULL is smaller
/// than everything.
pub(super) fn after(marker: &[Value], keys: &[(SortKey, Dir)], conditions: &mut Conditions) {
    let mut sql = String::new();
    let mut values = Vec::new();
    for (place, ((key, dir), value)) in keys.iter().zip(marker).enumerate() {
        let last = place + 1 == keys.len();
        let column = key.sql();
        let value = (*value != Value::Null).then(|| value.clone());
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
