//! The order of lists, and where a page begins.

/// How a list is sorted, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order<C> {
    /// The column that decides first; the time of making and the row's number follow.
    pub column: C,
    /// Whether the smallest comes first.
    pub ascending: bool,
    /// Number of the row after which the page begins.
    pub marker: Option<i64>,
}

/// The condition of a page (whose marker is parameter number `marker`, NULL for the first page) and its `ORDER BY`.
///
/// NULL comes before everything else, and rows without a value are told apart like all others: each page begins where the
/// one before ended.
pub(super) fn page(table: &str, column: &str, ascending: bool, marker: usize) -> (String, String) {
    let keys = [&format!("{column} IS NOT NULL"), &format!("ifnull({column}, '')"), "created_at", "id"];
    let (than, direction) = if ascending { (">", "ASC") } else { ("<", "DESC") };
    let list = keys.join(", ");
    let condition = format!("(?{marker} IS NULL OR ({list}) {than} (SELECT {list} FROM {table} WHERE id = ?{marker}))");
    let order = keys.map(|key| format!("{key} {direction}")).join(", ");
    (condition, order)
}
