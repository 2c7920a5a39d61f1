//! Where a list begins to look.
//!
//! Glance's schema has an index on the owner and one on the visibility, none on pairs. For a project with a few images
//! among very many, going through its own rows and sorting them is fast; for one that owns most images, going through
//! all of them in the order of the page until it is full is. Nobody knows which before looking, so this module counts,
//! up to a bound. Whatever it answers, the page is the same: the conditions of `visible` and `filter` hold besides.

use rusqlite::types::Value;

use super::{Filter, ListQuery, ListVisibility, TextColumn};
use crate::Result;
use crate::catalog::Queries;
use crate::catalog::fault::failed;
use crate::model::Visibility;

/// Rows that are worth sorting; beyond them the order of the page leads.
const SPARSE_ROWS: i64 = 1000;

/// Rows of `images` by one equality that has an index.
#[derive(Debug, Clone, PartialEq)]
struct Branch {
    condition: &'static str,
    value: Value,
}

impl Branch {
    fn owner(project: &str) -> Self {
        Branch { condition: "owner = ?", value: Value::from(project.to_owned()) }
    }

    fn visibility(visibility: Visibility) -> Self {
        Branch { condition: "visibility = ?", value: Value::from(visibility.as_str().to_owned()) }
    }

    fn hidden() -> Self {
        Branch { condition: "os_hidden = ?", value: Value::from(true) }
    }
}

/// A superset of the rows of a list.
#[derive(Debug, Default)]
struct Candidates {
    branches: Vec<Branch>,
    /// Rows of other projects' images that this one is a member of.
    member: Option<String>,
}

/// A condition that confines a list to few rows, when there is one: `images.rowid IN (…)`.
pub(super) fn rows(queries: &Queries<'_>, query: &ListQuery) -> Result<Option<(String, Vec<Value>)>> {
    for candidates in candidates(query) {
        if sparse(queries, &candidates.branches)? {
            return Ok(Some(confine(candidates)));
        }
    }
    Ok(None)
}

/// Up to three supersets, each of which would do alone.
fn candidates(query: &ListQuery) -> Vec<Candidates> {
    let mut all = Vec::new();
    let owners = query.filters.iter().filter_map(|filter| match filter {
        Filter::Text(TextColumn::Owner, values) => Some(values),
        _ => None,
    });
    if let Some([owner]) = owners.map(Vec::as_slice).next() {
        all.push(Candidates { branches: vec![Branch::owner(owner)], member: None });
    }
    if query.hidden {
        all.push(Candidates { branches: vec![Branch::hidden()], member: None });
    }
    all.extend(viewers(query));
    all
}

/// What the viewer's rights and the parameter `visibility` confine the list to.
fn viewers(query: &ListQuery) -> Option<Candidates> {
    let by_visibility = match query.visibility {
        ListVisibility::Only(Visibility::Public | Visibility::Community) => true,
        ListVisibility::Only(_) => query.viewer.is_admin,
        ListVisibility::Default | ListVisibility::All if query.viewer.is_admin => return None,
        ListVisibility::Default | ListVisibility::All => false,
    };
    if let (true, ListVisibility::Only(visibility)) = (by_visibility, query.visibility) {
        return Some(Candidates { branches: vec![Branch::visibility(visibility)], member: None });
    }
    let mut candidates = Candidates::default();
    candidates.branches.extend(query.viewer.project.as_deref().map(Branch::owner));
    if !matches!(query.visibility, ListVisibility::Only(_)) {
        candidates.branches.push(Branch::visibility(Visibility::Public));
    }
    if query.visibility == ListVisibility::All {
        candidates.branches.push(Branch::visibility(Visibility::Community));
    }
    if query.visibility != ListVisibility::Only(Visibility::Private) {
        candidates.member = query.viewer.project.clone();
    }
    Some(candidates)
}

fn sparse(queries: &Queries<'_>, branches: &[Branch]) -> Result<bool> {
    let counts: Vec<String> = branches
        .iter()
        .map(|branch| {
            format!("SELECT * FROM (SELECT 1 FROM images WHERE {} LIMIT {})", branch.condition, SPARSE_ROWS + 1)
        })
        .collect();
    if counts.is_empty() {
        return Ok(true);
    }
    let sql = format!("SELECT count(*) FROM ({})", counts.join(" UNION ALL "));
    let values = branches.iter().map(|branch| branch.value.clone());
    let rows: Option<i64> = queries.one(&sql, rusqlite::params_from_iter(values), |row| row.get(0).map_err(failed))?;
    Ok(rows.unwrap_or(0) <= SPARSE_ROWS)
}

fn confine(candidates: Candidates) -> (String, Vec<Value>) {
    let mut parts = Vec::new();
    let mut values = Vec::new();
    for branch in candidates.branches {
        parts.push(format!("SELECT rowid FROM images WHERE {}", branch.condition));
        values.push(branch.value);
    }
    if let Some(member) = candidates.member {
        parts.push(
            "SELECT shared.rowid FROM image_members AS m CROSS JOIN images AS shared ON shared.id = m.image_id \
             WHERE m.member = ? AND +m.deleted = 0"
                .to_owned(),
        );
        values.push(Value::from(member));
    }
    if parts.is_empty() {
        return ("0".to_owned(), values);
    }
    (format!("images.rowid IN ({})", parts.join(" UNION ALL ")), values)
}
