//! Conditional requests on data that never changes once it is there.
//!
//! Source: RFC 9110 sections 8.8.3, 13.1 and 13.2.2. An entity tag here is a digest of the data, so it is strong and
//! stays true for ever; there are no dates. Glance sends no validator and looks at none, so a client that sends no
//! condition sees no difference.

use http::HeaderMap;
use http::header::{self, HeaderName};

use crate::error::{Error, Kind, Result};

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// Answer with the whole, whatever range was asked for.
    Whole,
    /// The client has it already: 304.
    NotModified,
}

/// The entity tag of data with this digest, as it stands in `ETag`.
pub fn entity_tag(digest: &str) -> String {
    format!("\"{digest}\"")
}

/// Looks at `If-Match`, `If-None-Match` and `If-Range`. `tag`: what the data has, with its quotes, if it has one.
///
/// A repeated `If-Match` or `If-None-Match` is one list, as for every list of HTTP. Dates are never met: we have none.
///
/// # Errors
/// 412 where `If-Match` does not name `tag`.
pub fn evaluate(headers: &HeaderMap, tag: Option<&str>) -> Result<Verdict> {
    if headers.contains_key(header::IF_MATCH) && !lists(headers, &header::IF_MATCH, tag, Comparison::Strong) {
        return Err(Error::new(Kind::PreconditionFailed, "The data is not what If-Match names."));
    }
    if lists(headers, &header::IF_NONE_MATCH, tag, Comparison::Weak) {
        return Ok(Verdict::NotModified);
    }
    match headers.get(header::IF_RANGE) {
        Some(value) if tag.is_none_or(|tag| value.as_bytes() != tag.as_bytes()) => Ok(Verdict::Whole),
        _ => Ok(Verdict::Proceed),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Weak tags are never met.
    Strong,
    /// A weak tag stands for its strong one.
    Weak,
}

/// Whether the list in `name` holds `tag`, or `*` while there is data.
fn lists(headers: &HeaderMap, name: &HeaderName, tag: Option<&str>, comparison: Comparison) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    // Our tags hold no comma, so one that does is another's, and cutting it in two makes it no closer to ours.
    values.flat_map(|value| value.split(',')).map(str::trim).any(|member| {
        let strong = match comparison {
            Comparison::Strong => member,
            Comparison::Weak => member.strip_prefix("W/").unwrap_or(member),
        };
        member == "*" || tag == Some(strong)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const OURS: &str = "\"abc\"";

    fn verdict(fields: &[(HeaderName, &'static str)], tag: Option<&str>) -> Result<Verdict> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        evaluate(&headers, tag)
    }

    #[test]
    fn without_conditions_nothing_changes() {
        assert_eq!(verdict(&[], Some(OURS)), Ok(Verdict::Proceed));
        assert_eq!(verdict(&[], None), Ok(Verdict::Proceed));
        assert_eq!(entity_tag("abc"), OURS);
    }

    #[test]
    fn a_range_is_taken_back_unless_the_tag_is_ours() {
        assert_eq!(verdict(&[(header::IF_RANGE, OURS)], Some(OURS)), Ok(Verdict::Proceed));
        for other in ["\"abd\"", "W/\"abc\"", "Wed, 21 Oct 2015 07:28:00 GMT", "abc", "*"] {
            assert_eq!(verdict(&[(header::IF_RANGE, other)], Some(OURS)), Ok(Verdict::Whole), "{other}");
        }
        assert_eq!(verdict(&[(header::IF_RANGE, OURS)], None), Ok(Verdict::Whole));
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for have in [OURS, "*", "W/\"abc\"", "\"x\", \"abc\"", "\"x\",W/\"abc\" , \"y\""] {
            assert_eq!(verdict(&[(header::IF_NONE_MATCH, have)], Some(OURS)), Ok(Verdict::NotModified), "{have}");
        }
        let repeated = [(header::IF_NONE_MATCH, "\"x\""), (header::IF_NONE_MATCH, OURS)];
        assert_eq!(verdict(&repeated, Some(OURS)), Ok(Verdict::NotModified));
        for other in ["\"x\"", "abc", "\"abc", "\"ab,c\""] {
            assert_eq!(verdict(&[(header::IF_NONE_MATCH, other)], Some(OURS)), Ok(Verdict::Proceed), "{other}");
        }
    }

    #[test]
    fn if_match_comes_first_and_compares_strongly() {
        assert_eq!(verdict(&[(header::IF_MATCH, OURS)], Some(OURS)), Ok(Verdict::Proceed));
        assert_eq!(verdict(&[(header::IF_MATCH, "*")], Some(OURS)), Ok(Verdict::Proceed));
        for other in ["\"x\"", "W/\"abc\"", ""] {
            let refused = verdict(&[(header::IF_MATCH, other), (header::IF_NONE_MATCH, OURS)], Some(OURS));
            assert_eq!(refused.expect_err(other).kind, Kind::PreconditionFailed);
        }
        assert!(verdict(&[(header::IF_MATCH, OURS)], None).is_err());
    }
}
