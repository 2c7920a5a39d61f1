//! Which images a list may show to whom.

use rusqlite::types::Value;

use super::{Conditions, Dir, ListQuery, ListVisibility, MemberFilter, SortKey, drive};

/// Adds the conditions of hiddenness, of the viewer's rights and of the parameter `visibility`, for a list in the order of
/// `keys`. The unary plus keeps the engine from indexes that do not lead to the page; see `drive`.
pub(super) fn conditions(query: &ListQuery, keys: &[(SortKey, Dir)], conditions: &mut Conditions) {
    conditions.and("images.os_hidden = ?", [Value::from(query.hidden)]);
    if !query.viewer.is_admin {
        rights(query, conditions);
    }
    match (query.visibility, &query.viewer.project) {
        (ListVisibility::All, _) => {}
        (ListVisibility::Only(visibility), _) => {
            let leads = drive::by_time(keys) && drive::one_visibility(query).is_some();
            let plus = if leads { "" } else { "+" };
            conditions.and(&format!("{plus}images.visibility = ?"), [Value::from(visibility.as_str().to_owned())]);
        }
        (ListVisibility::Default, None) => conditions.and("+images.visibility <> 'community'", []),
        (ListVisibility::Default, Some(project)) => {
            conditions.and("(+images.visibility <> 'community' OR +images.owner = ?)", [Value::from(project.clone())])
        }
    }
}

/// What somebody who is no administrator may list: public, community and own images, and those shared with it.
fn rights(query: &ListQuery, conditions: &mut Conditions) {
    let Some(project) = &query.viewer.project else {
        return conditions.and("+images.visibility IN ('public', 'community')", []);
    };
    let project = || Value::from(project.clone());
    let mut values = vec![project(), project()];
    let answer = match query.member_status {
        MemberFilter::All => "",
        MemberFilter::Only(status) => {
            values.push(Value::from(status.as_str().to_owned()));
            " AND m.status = ?"
        }
    };
    let sql = format!(
        "(+images.visibility IN ('public', 'community') OR +images.owner = ? OR (+images.visibility = 'shared' AND \
         EXISTS (SELECT 1 FROM image_members AS m \
         WHERE m.image_id = images.id AND m.member = ? AND +m.deleted = 0{answer})))"
    );
    conditions.and(&sql, values);
}
