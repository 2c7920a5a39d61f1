//! The parameters of `GET /v2/images`.

use std::str::FromStr;

use common::catalog::{
    Compare, Dir, FILTERS_MAX, Filter, IntColumn, ListQuery, ListVisibility, MemberFilter, SortKey, TextColumn,
    TimeColumn, Viewer,
};
use common::http::query::write_query;
use common::model::{MemberStatus, Visibility};
use common::time::Timestamp;
use common::{Error, Result};

use crate::app::fields::TEXT_CHARS_MAX;

/// Decoded parameters of a query, in order, each key as often as the client gave it.
pub(crate) type Params = [(String, String)];

/// Parameters that are no filters. Of these the last one counts; `sort_key`, `sort_dir` and `tag` may be repeated.
const CONTROLS: [&str; 9] =
    ["limit", "marker", "member_status", "visibility", "sort", "sort_key", "sort_dir", "os_hidden", "changes-since"];

/// Names that are relations of an image, not properties: nothing can be compared with them.
const RELATIONS: [&str; 3] = ["properties", "locations", "members"];

/// Sort keys that a list may name, repetitions included.
const SORT_KEYS_MAX: usize = 32;

/// Values of one `in:` list. Clients that ask for many ids at once cut them by the length of a URL, at some hundreds.
const IN_VALUES_MAX: usize = 1000;

/// Characters of a filter's name: no property has a longer one.
const FILTER_NAME_CHARS_MAX: usize = TEXT_CHARS_MAX;

/// Characters of a name that is too long that the refusal repeats.
const SHOWN_CHARS: usize = 32;

/// Bytes of a filter's value.
const FILTER_VALUE_BYTES_MAX: usize = 64 * 1024;

const SORT_KEYS: [(&str, SortKey); 8] = [
    ("name", SortKey::Name),
    ("status", SortKey::Status),
    ("container_format", SortKey::ContainerFormat),
    ("disk_format", SortKey::DiskFormat),
    ("size", SortKey::Size),
    ("id", SortKey::Id),
    ("created_at", SortKey::CreatedAt),
    ("updated_at", SortKey::UpdatedAt),
];

/// Columns that take an operator.
const TEXT_OPERATOR_COLUMNS: [(&str, TextColumn); 5] = [
    ("name", TextColumn::Name),
    ("id", TextColumn::Id),
    ("status", TextColumn::Status),
    ("container_format", TextColumn::ContainerFormat),
    ("disk_format", TextColumn::DiskFormat),
];

/// Columns that are compared as they stand.
const TEXT_COLUMNS: [(&str, TextColumn); 4] = [
    ("owner", TextColumn::Owner),
    ("checksum", TextColumn::Checksum),
    ("os_hash_algo", TextColumn::OsHashAlgo),
    ("os_hash_value", TextColumn::OsHashValue),
];

const INT_COLUMNS: [(&str, IntColumn); 4] = [
    ("size", IntColumn::Size),
    ("virtual_size", IntColumn::VirtualSize),
    ("min_disk", IntColumn::MinDisk),
    ("min_ram", IntColumn::MinRam),
];

const TIME_COLUMNS: [(&str, TimeColumn); 2] =
    [("created_at", TimeColumn::CreatedAt), ("updated_at", TimeColumn::UpdatedAt)];

/// Sizes of pages, in images.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages {
    /// Without `limit`.
    pub(crate) default: usize,
    /// At most, whatever `limit` says.
    pub(crate) max: usize,
}

/// What the parameters ask for.
///
/// # Errors
/// 400 in the words of the original.
pub(crate) fn parse(params: &Params, viewer: Viewer, pages: Pages) -> Result<ListQuery> {
    let limit = last(params, "limit").map_or(Ok(pages.default), parse_limit)?;
    let mut query = ListQuery::new(viewer, limit.min(pages.max));
    query.marker = last(params, "marker").map(str::to_owned);
    query.visibility = visibility(last(params, "visibility"))?;
    query.member_status = member_status(last(params, "member_status"))?;
    query.hidden = hidden(last(params, "os_hidden"))?;
    if last(params, "changes-since").is_some_and(|value| !value.is_empty()) {
        return Err(Error::bad_request("The \"changes-since\" filter is no longer available on v2."));
    }
    sort(params, &mut query)?;
    for (count, (key, value)) in (1..).zip(filters(params)) {
        refuse_more("filters", count, FILTERS_MAX)?;
        refuse_long(key, value)?;
        query.filters.extend(filter(key, value)?);
    }
    Ok(query)
}

fn refuse_more(what: &str, count: usize, max: usize) -> Result<()> {
    if count > max { Err(Error::bad_request(format!("Too many {what}: at most {max} are accepted."))) } else { Ok(()) }
}

fn refuse_long(key: &str, value: &str) -> Result<()> {
    if key.chars().nth(FILTER_NAME_CHARS_MAX).is_some() {
        let start: String = key.chars().take(SHOWN_CHARS).collect();
        let max = FILTER_NAME_CHARS_MAX;
        return Err(Error::bad_request(format!("The filter '{start}…' has a name of more than {max} characters.")));
    }
    if value.len() > FILTER_VALUE_BYTES_MAX {
        let max = FILTER_VALUE_BYTES_MAX;
        return Err(Error::bad_request(format!("The value of the filter '{key}' has more than {max} bytes.")));
    }
    Ok(())
}

/// The links of a page of the list at `path`: `first`, and `next` when there is a marker for it.
pub(crate) fn links(path: &str, params: &Params, next_marker: Option<&str>) -> (String, Option<String>) {
    let kept = || params.iter().filter(|(key, _)| key != "marker").map(|(key, value)| (key.as_str(), value.as_str()));
    let first = match write_query(kept()) {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    let next = next_marker.map(|marker| {
        let marked = kept().chain(std::iter::once(("marker", marker)));
        format!("{path}?{}", write_query(marked))
    });
    (first, next)
}

/// The value that counts of a parameter.
pub(crate) fn last<'a>(params: &'a Params, key: &str) -> Option<&'a str> {
    params.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn all<'a>(params: &'a Params, key: &'a str) -> impl Iterator<Item = &'a str> {
    params.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.trim())
}

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
}

/// The size of a page, as the client wants it.
///
/// # Errors
/// 400 for what is no number, or a negative one.
pub(crate) fn parse_limit(text: &str) -> Result<usize> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::bad_request("limit param must be an integer"));
    }
    if text.starts_with('-') && digits.bytes().any(|byte| byte != b'0') {
        return Err(Error::bad_request("limit param must be positive"));
    }
    // More digits than fit are more than the largest page.
    Ok(digits.parse().unwrap_or(usize::MAX))
}

fn visibility(value: Option<&str>) -> Result<ListVisibility> {
    match value {
        None | Some("") => Ok(ListVisibility::Default),
        Some("all") => Ok(ListVisibility::All),
        Some(value) => Visibility::from_str(value)
            .map(ListVisibility::Only)
            .map_err(|()| Error::bad_request(format!("Invalid visibility value: {value}"))),
    }
}

fn member_status(value: Option<&str>) -> Result<MemberFilter> {
    match value {
        None => Ok(MemberFilter::Only(MemberStatus::Accepted)),
        Some("all") => Ok(MemberFilter::All),
        Some(value) => MemberStatus::from_str(value)
            .map(MemberFilter::Only)
            .map_err(|()| Error::bad_request(format!("Invalid status: {value}"))),
    }
}

fn hidden(value: Option<&str>) -> Result<bool> {
    let value = value.unwrap_or("false").to_lowercase();
    boolean(&value, "os_hidden")
}

fn boolean(value: &str, filter: &str) -> Result<bool> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::bad_request(format!(
            "Invalid value '{value}' for '{filter}' filter. Valid values are 'true' or 'false'."
        ))),
    }
}

fn sort(params: &Params, query: &mut ListQuery) -> Result<()> {
    let (keys, dirs) = match last(params, "sort") {
        Some(_) if params.iter().any(|(key, _)| key == "sort_key" || key == "sort_dir") => {
            return Err(Error::bad_request("Old and new sorting syntax cannot be combined"));
        }
        Some(sort) => sort_one_parameter(sort)?,
        None => {
            let keys: Vec<SortKey> = all(params, "sort_key").map(sort_key).collect::<Result<_>>()?;
            let dirs: Vec<Dir> = all(params, "sort_dir").map(sort_dir).collect::<Result<_>>()?;
            (keys, dirs)
        }
    };
    refuse_more("sort keys", keys.len().max(dirs.len()), SORT_KEYS_MAX)?;
    if dirs.len() > 1 && dirs.len() != keys.len() {
        return Err(Error::bad_request("Number of sort dirs does not match the number of sort keys"));
    }
    let keys = if keys.is_empty() { vec![SortKey::CreatedAt] } else { keys };
    query.tie_break = match dirs.as_slice() {
        [one] => *one,
        _ => Dir::Desc,
    };
    for (index, key) in keys.into_iter().enumerate() {
        let dir = dirs.get(index).copied().unwrap_or(query.tie_break);
        // A key that comes again orders nothing any more.
        if query.sort.iter().all(|(earlier, _)| *earlier != key) {
            query.sort.push((key, dir));
        }
    }
    Ok(())
}

/// `key:dir,key`.
fn sort_one_parameter(sort: &str) -> Result<(Vec<SortKey>, Vec<Dir>)> {
    sort.trim()
        .split(',')
        .map(|part| {
            let (key, dir) = part.split_once(':').unwrap_or((part, ""));
            Ok((sort_key(key.trim())?, if dir.is_empty() { Dir::Desc } else { sort_dir(dir.trim())? }))
        })
        .collect()
}

fn sort_key(name: &str) -> Result<SortKey> {
    find(&SORT_KEYS, name).ok_or_else(|| {
        let known: Vec<&str> = SORT_KEYS.iter().map(|(name, _)| *name).collect();
        Error::bad_request(format!("Invalid sort key: {name}. It must be one of the following: {}.", known.join(", ")))
    })
}

fn sort_dir(name: &str) -> Result<Dir> {
    match name {
        "asc" => Ok(Dir::Asc),
        "desc" => Ok(Dir::Desc),
        _ => Err(Error::bad_request(format!("Invalid sort direction: {name}"))),
    }
}

/// The parameters that filter. Of a key that comes several times the last one counts, but of `tag` all do.
fn filters(params: &Params) -> impl Iterator<Item = (&str, &str)> {
    params.iter().enumerate().filter_map(|(index, (key, value))| {
        let is_filter = !CONTROLS.contains(&key.as_str()) && key != "deleted";
        let counts = key == "tag" || params[index + 1..].iter().all(|(later, _)| later != key);
        (is_filter && counts).then_some((key.as_str(), value.as_str()))
    })
}

fn filter(key: &str, value: &str) -> Result<Option<Filter>> {
    if key == "tag" {
        return Ok(Some(Filter::Tag(value.trim().to_owned())));
    }
    if key == "protected" {
        return boolean(value, key).map(|value| Some(Filter::Protected(value)));
    }
    if let Some(column) = find(&TEXT_OPERATOR_COLUMNS, key) {
        return text_filter(column, value).map(Some);
    }
    if let Some(column) = find(&TEXT_COLUMNS, key) {
        return Ok(Some(Filter::Text(column, vec![value.to_owned()])));
    }
    if let Some(column) = find(&TIME_COLUMNS, key) {
        return time_filter(column, key, value).map(Some);
    }
    if let Some(column) = find(&INT_COLUMNS, key) {
        let number = value.trim().parse();
        return Ok(Some(number.map_or(Filter::Never, |number| Filter::Int(column, Compare::Eq, number))));
    }
    if let Some(range) = range_filter(key, value)? {
        return Ok(Some(range));
    }
    if RELATIONS.contains(&key) {
        return Err(Error::bad_request(format!("Images cannot be filtered by '{key}'.")));
    }
    Ok(Some(Filter::Property { name: key.to_owned(), value: value.to_owned() }))
}

/// `size_min` and its like.
fn range_filter(key: &str, value: &str) -> Result<Option<Filter>> {
    let bound = |suffix, compare| key.strip_suffix(suffix).map(|name| (name, compare));
    let Some((name, compare)) = bound("_min", Compare::Ge).or_else(|| bound("_max", Compare::Le)) else {
        return Ok(None);
    };
    let number = value
        .trim()
        .parse()
        .map_err(|_| Error::bad_request("Unable to filter on a range with a non-numeric value."))?;
    let column = find(&INT_COLUMNS, name)
        .ok_or_else(|| Error::bad_request(format!("Unable to filter on a range of '{name}'.")))?;
    Ok(Some(Filter::Int(column, compare, number)))
}

/// `value`, `eq:value` or `in:value,value`.
fn text_filter(column: TextColumn, value: &str) -> Result<Filter> {
    let (operator, operand) = split_operator(value);
    match operator {
        "eq" => Ok(Filter::Text(column, vec![operand.to_owned()])),
        "in" => {
            let values = split_quoted(operand)?;
            refuse_more("values in an 'in:' list", values.len(), IN_VALUES_MAX)?;
            Ok(Filter::Text(column, values))
        }
        _ => Err(Error::bad_request(format!("Unable to filter by unknown operator '{operator}'."))),
    }
}

fn time_filter(column: TimeColumn, key: &str, value: &str) -> Result<Filter> {
    let (operator, operand) = split_operator(value);
    let Some(time) = Timestamp::parse(operand) else {
        return Err(Error::bad_request(format!("Bad \"{key}\" query filter format. Use ISO 8601 DateTime notation.")));
    };
    let compare = match operator {
        "gt" => Compare::Gt,
        "gte" => Compare::Ge,
        "lt" => Compare::Lt,
        "lte" => Compare::Le,
        "eq" => Compare::Eq,
        "neq" => Compare::Ne,
        _ => {
            return Err(Error::bad_request(format!("Unable to filter by unknown operator '{operator}'.")));
        }
    };
    Ok(Filter::Time(column, compare, time))
}

/// The operator before the first colon; without one it is `eq`. The colons of a time are not operators.
fn split_operator(value: &str) -> (&str, &str) {
    match value.split_once(':') {
        Some(_) if Timestamp::parse(value).is_some() => ("eq", value),
        Some((operator, operand)) => (operator, operand),
        None => ("eq", value),
    }
}

/// Values separated by commas; one that holds a comma stands in double quotes. In quotes a backslash keeps the next
/// character from ending them, and stays.
fn split_quoted(list: &str) -> Result<Vec<String>> {
    let refuse = |what: &str| Err(Error::bad_request(format!("Invalid filter value {list}. {what}")));
    let mut values = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let Some(end) = closing_quote(quoted) else { return refuse("The quote is not closed.") };
            values.push(quoted[..end].to_owned());
            rest = &quoted[end + 1..];
            match rest.strip_prefix(',') {
                Some(after) => rest = after,
                None if rest.is_empty() => {}
                None => return refuse("There is no comma after closing quotation mark."),
            }
        } else {
            let (value, after) = rest.split_once(',').unwrap_or((rest, ""));
            if value.contains('"') {
                return refuse("There is no comma before opening quotation mark.");
            }
            values.push(value.to_owned());
            rest = after;
        }
    }
    Ok(values)
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(index),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::http::query::parse_query;

    fn params(query: &str) -> Vec<(String, String)> {
        parse_query(query).expect("UTF-8")
    }

    fn list(query: &str) -> Result<ListQuery> {
        let viewer = Viewer { project: Some("p1".into()), is_admin: false };
        parse(&params(query), viewer, Pages { default: 25, max: 1000 })
    }

    fn only_filter(query: &str) -> Filter {
        let mut filters = list(query).expect(query).filters;
        assert_eq!(filters.len(), 1, "{query}");
        filters.remove(0)
    }

    fn refusal(query: &str) -> String {
        let error = list(query).expect_err(query);
        assert_eq!(error.status().as_u16(), 400);
        error.message
    }

    #[test]
    fn filters_are_read_by_their_column() {
        let texts = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>();
        let cases = [
            ("name=a", Filter::Text(TextColumn::Name, texts(&["a"]))),
            ("name=eq:a:b", Filter::Text(TextColumn::Name, texts(&["a:b"]))),
            ("name=in:a,\"b,c\",d", Filter::Text(TextColumn::Name, texts(&["a", "b,c", "d"]))),
            ("status=in:", Filter::Text(TextColumn::Status, Vec::new())),
            ("name=in:a,,b", Filter::Text(TextColumn::Name, texts(&["a", "", "b"]))),
            ("owner=eq:x", Filter::Text(TextColumn::Owner, texts(&["eq:x"]))),
            ("size_min=5", Filter::Int(IntColumn::Size, Compare::Ge, 5)),
            ("min_ram_max=7", Filter::Int(IntColumn::MinRam, Compare::Le, 7)),
            ("size=5", Filter::Int(IntColumn::Size, Compare::Eq, 5)),
            ("size=many", Filter::Never),
            ("protected=true", Filter::Protected(true)),
            ("tag=+a+", Filter::Tag("a".into())),
            ("os_distro=x", Filter::Property { name: "os_distro".into(), value: "x".into() }),
            ("own=1&own=2", Filter::Property { name: "own".into(), value: "2".into() }),
        ];
        for (query, wanted) in cases {
            assert_eq!(only_filter(query), wanted, "{query}");
        }
        assert_eq!(list("tag=a&tag=b&deleted=true").expect("a list").filters.len(), 2);
    }

    #[test]
    fn times_take_operators_and_do_without() {
        let time = Timestamp::parse("2026-01-02T03:04:05Z").expect("a time");
        let cases = [
            ("created_at=2026-01-02T03:04:05Z", Compare::Eq),
            ("created_at=eq:2026-01-02T03:04:05Z", Compare::Eq),
            ("created_at=lte:2026-01-02T03:04:05", Compare::Le),
            ("created_at=neq:2026-01-02T04:04:05%2B01:00", Compare::Ne),
        ];
        for (query, compare) in cases {
            assert_eq!(only_filter(query), Filter::Time(TimeColumn::CreatedAt, compare, time), "{query}");
        }
    }

    #[test]
    fn sorting_comes_in_two_forms() {
        use Dir::{Asc, Desc};
        type Case<'a> = (&'a str, &'a [(SortKey, Dir)], Dir);
        let cases: [Case<'_>; 7] = [
            ("", &[(SortKey::CreatedAt, Desc)], Desc),
            ("sort_dir=asc", &[(SortKey::CreatedAt, Asc)], Asc),
            ("sort_key=name&sort_key=size&sort_dir=asc", &[(SortKey::Name, Asc), (SortKey::Size, Asc)], Asc),
            (
                "sort_key=name&sort_dir=asc&sort_key=size&sort_dir=desc",
                &[(SortKey::Name, Asc), (SortKey::Size, Desc)],
                Desc,
            ),
            ("sort=name", &[(SortKey::Name, Desc)], Desc),
            ("sort=name:asc, size", &[(SortKey::Name, Asc), (SortKey::Size, Desc)], Desc),
            ("sort=name:asc,name:desc", &[(SortKey::Name, Asc)], Desc),
        ];
        for (query, sort, tie_break) in cases {
            let parsed = list(query).expect(query);
            assert_eq!((parsed.sort.as_slice(), parsed.tie_break), (sort, tie_break), "{query}");
        }
    }

    #[test]
    fn limits_are_capped() {
        for (query, limit) in [("", 25), ("limit=0", 0), ("limit=7", 7), ("limit=99999", 1000)] {
            assert_eq!(list(query).expect(query).limit, limit, "{query}");
        }
        assert_eq!(list(&format!("limit={}", "9".repeat(50))).expect("a list").limit, 1000);
    }

    #[test]
    fn bad_parameters_are_named() {
        let cases = [
            ("limit=many", "limit param must be an integer"),
            ("limit=", "limit param must be an integer"),
            ("limit=-1", "limit param must be positive"),
            (
                "sort_key=colour",
                "Invalid sort key: colour. It must be one of the following: name, status, container_format, disk_format, size, id, created_at, updated_at.",
            ),
            ("sort_dir=up", "Invalid sort direction: up"),
            ("sort_key=name&sort_dir=asc&sort_dir=asc", "Number of sort dirs does not match the number of sort keys"),
            ("sort=name&sort_key=id", "Old and new sorting syntax cannot be combined"),
            ("visibility=secret", "Invalid visibility value: secret"),
            ("member_status=maybe", "Invalid status: maybe"),
            (
                "os_hidden=perhaps",
                "Invalid value 'perhaps' for 'os_hidden' filter. Valid values are 'true' or 'false'.",
            ),
            ("protected=True", "Invalid value 'True' for 'protected' filter. Valid values are 'true' or 'false'."),
            ("name=gt:a", "Unable to filter by unknown operator 'gt'."),
            ("name=in:\"a", "Invalid filter value \"a. The quote is not closed."),
            ("name=in:a\"b\"", "Invalid filter value a\"b\". There is no comma before opening quotation mark."),
            ("name=in:\"a\"b", "Invalid filter value \"a\"b. There is no comma after closing quotation mark."),
            ("created_at=gt:yesterday", "Bad \"created_at\" query filter format. Use ISO 8601 DateTime notation."),
            ("size_min=many", "Unable to filter on a range with a non-numeric value."),
            ("unknown_min=many", "Unable to filter on a range with a non-numeric value."),
            ("colour_min=1", "Unable to filter on a range of 'colour'."),
            ("locations=x", "Images cannot be filtered by 'locations'."),
        ];
        for (query, text) in cases {
            assert_eq!(refusal(query), text, "{query}");
        }
    }

    #[test]
    fn parameters_have_bounds() {
        let many = |count: usize, part: &dyn Fn(usize) -> String, separator: &str| {
            (0..count).map(part).collect::<Vec<_>>().join(separator)
        };
        let property = |index: usize| format!("own{index}=1");
        assert_eq!(list(&many(FILTERS_MAX, &property, "&")).expect("a list").filters.len(), FILTERS_MAX);
        assert_eq!(refusal(&many(FILTERS_MAX + 1, &property, "&")), "Too many filters: at most 200 are accepted.");
        let tag = |_: usize| "tag=a".to_owned();
        assert_eq!(refusal(&many(FILTERS_MAX + 1, &tag, "&")), "Too many filters: at most 200 are accepted.");
        let value = |index: usize| index.to_string();
        let within = |count| format!("id=in:{}", many(count, &value, ","));
        assert!(list(&within(IN_VALUES_MAX)).is_ok());
        let text = "Too many values in an 'in:' list: at most 1000 are accepted.";
        assert_eq!(refusal(&within(IN_VALUES_MAX + 1)), text);
        let key = |_: usize| "sort_key=name".to_owned();
        assert!(list(&many(SORT_KEYS_MAX, &key, "&")).is_ok());
        let text = "Too many sort keys: at most 32 are accepted.";
        assert_eq!(refusal(&many(SORT_KEYS_MAX + 1, &key, "&")), text);
        assert_eq!(refusal(&format!("sort={}", many(SORT_KEYS_MAX + 1, &|_| "name".to_owned(), ","))), text);
        assert!(list(&format!("{}=1", "n".repeat(255))).is_ok());
        assert!(refusal(&format!("{}=1", "n".repeat(256))).ends_with("…' has a name of more than 255 characters."));
        assert!(list(&format!("own={}", "v".repeat(FILTER_VALUE_BYTES_MAX))).is_ok());
        let long = refusal(&format!("own={}", "v".repeat(FILTER_VALUE_BYTES_MAX + 1)));
        assert_eq!(long, "The value of the filter 'own' has more than 65536 bytes.");
    }

    #[test]
    fn links_keep_every_parameter() {
        let given = params("limit=2&tag=a&marker=m&tag=b+c");
        let (first, next) = links("/v2/images", &given, Some("n"));
        assert_eq!(first, "/v2/images?limit=2&tag=a&tag=b+c");
        assert_eq!(next.as_deref(), Some("/v2/images?limit=2&tag=a&tag=b+c&marker=n"));
        assert_eq!(links("/v2/images", &[], None), ("/v2/images".to_owned(), None));
    }
}
