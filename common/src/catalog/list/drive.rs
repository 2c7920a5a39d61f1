//! Where a list begins to look.
//!
//! Each column that lists filter or sort by has an index that goes on in the order of a page (see `schema/indexes.rs`). Three
//! ways lead to a page, and all give the same one, because each row is asked for all conditions:
//!
//! - The order of the page leads: right where an index has the filter's value and the order, or where most rows fit.
//! - Few rows fit some condition: these are looked up and sorted. Nobody knows how many without looking, so they are counted, up to
//!   a bound.
//! - A page in the order of time, for somebody who may list its own images, public ones and those shared with it: the first
//!   rows of each kind, merged.

use rusqlite::types::Value;

use super::{Compare, Conditions, Filter, ListQuery, ListVisibility, SortKey, TextColumn, filter};
use crate::Result;
use crate::catalog::{Queries, rows};
use crate::model::Visibility;

/// Rows that are worth sorting; beyond them the order of the page leads.
const SPARSE_ROWS: i64 = 1000;

/// Conditions whose rows are counted, at most: each costs a statement.
const COUNTED_MAX: usize = 4;

/// Where rows of a list come from.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// What they have in common.
    pub(super) conditions: Conditions,
    /// Whether they are few, and so are looked up and sorted; else they come in the order of the page.
    pub(super) is_few: bool,
    /// Which of the filters all of them fit: it need not be asked again.
    pub(super) fitting: Option<usize>,
}

/// Rows by a condition that has an index.
#[derive(Debug, Clone, PartialEq)]
struct Source {
    /// Selects anything from them.
    counted: String,
    values: Vec<Value>,
    /// Selects their `rowid` in `images`.
    rows: String,
    /// What that takes after `values`.
    exact: Option<Value>,
}

impl Source {
    /// Rows of `images`.
    fn images(hidden: bool, condition: &str, value: Value) -> Self {
        let rows = format!("SELECT rowid FROM images WHERE deleted = 0 AND os_hidden = ? AND {condition}");
        Source::plain(rows, vec![Value::from(hidden), value])
    }

    /// The same for a column whose index is Glance's: of that column alone.
    fn by_digest(condition: &str, value: Value) -> Self {
        let rows = format!("SELECT rowid FROM images WHERE {condition}");
        Source::plain(rows, vec![value])
    }

    fn plain(rows: String, values: Vec<Value>) -> Self {
        Source { counted: rows.clone(), values, rows, exact: None }
    }

    /// Images that have rows in another table, `kin`; `exactly` is what the index of `condition` does not tell, and not counted by.
    fn kin(table: &str, condition: &str, values: Vec<Value>, exactly: Option<(&str, Value)>) -> Self {
        let from = format!("{table} AS kin");
        let such = format!("WHERE {condition} AND kin.deleted = 0");
        let counted = format!("SELECT 1 FROM {from} {such}");
        let mut rows =
            format!("SELECT other.rowid FROM {from} CROSS JOIN images AS other ON other.id = kin.image_id {such}");
        let exact = exactly.map(|(condition, value)| {
            rows.push_str(" AND ");
            rows.push_str(condition);
            value
        });
        Source { counted, values, rows, exact }
    }

    fn owner(query: &ListQuery, project: &str) -> Self {
        Source::images(query.hidden, "owner = ?", Value::from(project.to_owned()))
    }

    fn visibility(query: &ListQuery, visibility: Visibility) -> Self {
        Source::images(query.hidden, "visibility = ?", Value::from(visibility.as_str().to_owned()))
    }

    fn member(project: &str) -> Self {
        Source::kin("image_members", "kin.member = ?", vec![Value::from(project.to_owned())], None)
    }
}

/// Whether pages go by the time of making.
pub(super) fn by_time(keys: &[(SortKey, super::Dir)]) -> bool {
    keys.first().is_some_and(|(key, _)| *key == SortKey::CreatedAt)
}

/// Decides where to begin; the page is of the rows of all starts together.
pub(super) fn starts(queries: &Queries<'_>, query: &ListQuery, keys: &[(SortKey, super::Dir)]) -> Result<Vec<Start>> {
    let all = || Ok(vec![Start::default()]);
    let by_time = by_time(keys);
    let leads = query.filters.iter().any(|filter| filter::leads(filter, query, keys));
    let leads = leads || (by_time && one_visibility(query).is_some());
    if leads && query.viewer.is_admin {
        return all();
    }
    // Columns of ranges stand in the index of the order by time, not in those of the kinds.
    let has_range = query.filters.iter().any(|filter| matches!(filter, Filter::Int(..) | Filter::Time(..)));
    let merges = by_time && !leads && !has_range;
    if merges
        && query.filters.is_empty()
        && let Some(kinds) = kinds(queries, query)?
    {
        return Ok(kinds);
    }
    let mut counted: Vec<(Option<usize>, Vec<Source>)> = Vec::new();
    if !leads {
        let filters = query.filters.iter().enumerate();
        counted.extend(filters.filter_map(|(place, filter)| Some((Some(place), of_filter(query, filter)?))));
        counted.truncate(COUNTED_MAX);
    }
    counted.extend(viewers(query).map(|sources| (None, sources)));
    for (fitting, sources) in counted {
        if sparse(queries, &sources)? {
            return Ok(vec![Start { fitting, ..confine(sources) }]);
        }
    }
    if merges && let Some(kinds) = kinds(queries, query)? {
        return Ok(kinds);
    }
    all()
}

/// The visibility that all images of the list have, where its index serves the viewer.
pub(super) fn one_visibility(query: &ListQuery) -> Option<Visibility> {
    match query.visibility {
        ListVisibility::Only(visibility @ (Visibility::Public | Visibility::Community)) => Some(visibility),
        ListVisibility::Only(visibility) if query.viewer.is_admin => Some(visibility),
        _ => None,
    }
}

/// The rows that a filter is about; `None` for one that leaves none.
fn of_filter(query: &ListQuery, filter: &Filter) -> Option<Vec<Source>> {
    let compared = |name: &str, compare: Compare, value: Value| {
        let by = |compare: Compare| Source::images(query.hidden, &format!("{name} {} ?", compare.sql()), value.clone());
        match compare {
            // Two ranges of the index: what is equal may be nearly all.
            Compare::Ne => vec![by(Compare::Lt), by(Compare::Gt)],
            compare => vec![by(compare)],
        }
    };
    Some(match filter {
        Filter::Text(column, values) => {
            let name = column.name();
            let (condition, value) = match values.as_slice() {
                [value] => (format!("{name} = ?"), Value::from(value.clone())),
                values => {
                    (format!("{name} IN (SELECT value FROM json_each(?))"), rows::json_column(&values).ok()?.into())
                }
            };
            vec![match column {
                TextColumn::Checksum | TextColumn::OsHashValue => Source::by_digest(&condition, value),
                _ => Source::images(query.hidden, &condition, value),
            }]
        }
        Filter::Int(column, compare, number) => compared(column.name(), *compare, Value::from(*number)),
        Filter::Time(column, compare, moment) => compared(column.name(), *compare, Value::from(moment.to_sql())),
        Filter::Protected(wanted) => vec![Source::images(query.hidden, "protected = ?", Value::from(*wanted))],
        Filter::Tag(tag) => vec![Source::kin("image_tags", "kin.value = ?", vec![Value::from(tag.clone())], None)],
        Filter::Property { name, value } => vec![Source::kin(
            "image_properties",
            "kin.name = ? AND substr(kin.value, 1, 64) = substr(?, 1, 64)",
            vec![Value::from(name.clone()), Value::from(value.clone())],
            // The unary plus keeps the engine from putting the value into the expression of the index.
            Some(("+kin.value = ?", Value::from(value.clone()))),
        )],
        Filter::Never => return None,
    })
}

/// What the viewer's rights and the parameter `visibility` confine the list to.
fn viewers(query: &ListQuery) -> Option<Vec<Source>> {
    if let Some(visibility) = one_visibility(query) {
        return Some(vec![Source::visibility(query, visibility)]);
    }
    if query.viewer.is_admin {
        return None;
    }
    let project = query.viewer.project.as_deref();
    let owner = project.filter(|project| query.may_own(project));
    let mut sources: Vec<Source> = owner.map(|project| Source::owner(query, project)).into_iter().collect();
    sources.extend(open_kinds(query).iter().map(|kind| Source::visibility(query, *kind)));
    if query.visibility != ListVisibility::Only(Visibility::Private) {
        sources.extend(project.map(Source::member));
    }
    Some(sources)
}

/// The visibilities of other projects' images that the list shows without a membership.
fn open_kinds(query: &ListQuery) -> &'static [Visibility] {
    match query.visibility {
        ListVisibility::Only(_) => &[],
        ListVisibility::Default => &[Visibility::Public],
        ListVisibility::All => &[Visibility::Public, Visibility::Community],
    }
}

/// The kinds of images that make up a list of somebody who is no administrator.
fn kinds(queries: &Queries<'_>, query: &ListQuery) -> Result<Option<Vec<Start>>> {
    if query.viewer.is_admin || one_visibility(query).is_some() {
        return Ok(None);
    }
    let of = |condition: &str, value: &str| {
        let mut conditions = Conditions::default();
        conditions.and(condition, [Value::from(value.to_owned())]);
        Start { conditions, ..Start::default() }
    };
    let mut kinds: Vec<Start> =
        open_kinds(query).iter().map(|kind| of("images.visibility = ?", kind.as_str())).collect();
    if let Some(project) = query.viewer.project.as_deref() {
        if query.may_own(project) {
            kinds.push(of("images.owner = ?", project));
        }
        if query.visibility != ListVisibility::Only(Visibility::Private) {
            let member = vec![Source::member(project)];
            let is_sparse = sparse(queries, &member)?;
            kinds.push(if is_sparse { confine(member) } else { of("images.visibility = ?", "shared") });
        }
    }
    Ok(Some(kinds))
}

fn sparse(queries: &Queries<'_>, sources: &[Source]) -> Result<bool> {
    if sources.is_empty() {
        return Ok(true);
    }
    let counted: Vec<&str> = sources.iter().map(|source| source.counted.as_str()).collect();
    // Whether there is one more: to step over rows is cheaper than to add them up.
    let sql = format!("{} LIMIT 1 OFFSET {SPARSE_ROWS}", counted.join(" UNION ALL "));
    let values = sources.iter().flat_map(|source| source.values.clone());
    let one_more = queries.one(&sql, rusqlite::params_from_iter(values), |_| Ok(()))?;
    Ok(one_more.is_none())
}

fn confine(sources: Vec<Source>) -> Start {
    let mut conditions = Conditions::default();
    let rows: Vec<&str> = sources.iter().map(|source| source.rows.as_str()).collect();
    let sql = if rows.is_empty() { "0".to_owned() } else { format!("images.rowid IN ({})", rows.join(" UNION ALL ")) };
    conditions.and(&sql, sources.into_iter().flat_map(|source| source.values.into_iter().chain(source.exact)));
    Start { conditions, is_few: true, fitting: None }
}
