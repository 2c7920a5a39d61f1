//! Which images a list may show to whom.

use rusqlite::types::Value;

use super::{Conditions, ListQuery, ListVisibility, MemberFilter};

/// Adds the conditions of hiddenness, of the viewer's rights and of the parameter `visibility`.
pub(super) fn conditions(query: &ListQuery, conditions: &mut Conditions) {
    conditions.and("+images.os_hidden = ?", [Value::from(query.hidden)]);
    if !query.viewer.is_admin {
        rights(query, conditions);
    }
    match (query.visibility, &query.viewer.project) {
        (ListVisibility::All, _) => {}
        (ListVisibility::Only(visibility), _) => {
            conditions.and("+images.visibility = ?", [Value::from(visibility.as_str().to_owned())]);
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
