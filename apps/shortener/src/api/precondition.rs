//! `If-Match` and `If-None-Match` (RFC 9110, section 13) over the versions of links.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::problem::{Invalid, Problem};

/// The `ETag` of a version: strong, since what the API shows of a link changes only with it.
pub(super) fn etag(version: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits and quotes are fit for a field")
}

/// What must be so of the version of a link before it is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// Nothing.
    Nothing,
    /// It has one.
    Any,
    /// It is one of these. Tags that were never ours are none.
    OneOf(Vec<i64>),
}

impl IfMatch {
    /// Of a request.
    ///
    /// # Errors
    /// `BadRequest` when the field is not a list of entity tags.
    pub(super) fn of(headers: &HeaderMap) -> Result<IfMatch, Problem> {
        let wrong = || {
            Problem::BadRequest(vec![Invalid::header(
                "If-Match",
                "not-a-tag",
                "an entity tag is the `ETag` of an earlier answer, with its quotes; or `*`",
            )])
        };
        let Some(tags) = tags(headers, header::IF_MATCH).ok_or_else(wrong)? else {
            return Ok(IfMatch::Nothing);
        };
        if tags.iter().any(|tag| tag == "*") {
            return if tags.len() == 1 { Ok(IfMatch::Any) } else { Err(wrong()) };
        }
        // A weak tag never matches here (section 13.1.1).
        Ok(IfMatch::OneOf(tags.iter().filter_map(|tag| version(tag)).collect()))
    }
}

/// Whether the client has this version already.
pub(super) fn is_known(headers: &HeaderMap, current: i64) -> bool {
    let tags = tags(headers, header::IF_NONE_MATCH).flatten().unwrap_or_default();
    // Weakly compared (section 13.1.2).
    tags.iter()
        .any(|tag| tag == "*" || version(tag.strip_prefix("W/").unwrap_or(tag)) == Some(current))
}

/// Whether the client has what this entity tag, with its quotes, is of.
pub(super) fn is_known_text(headers: &HeaderMap, etag: &str) -> bool {
    let tags = tags(headers, header::IF_NONE_MATCH).flatten().unwrap_or_default();
    tags.iter().any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn version(tag: &str) -> Option<i64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    // `"01"` and `"+1"` are other tags than `"1"`.
    digits.parse().ok().filter(|version: &i64| version.to_string() == digits)
}

/// The entity tags of a field: `Some(None)` when it is absent, `None` when it is malformed.
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<Option<Vec<String>>> {
    if !headers.contains_key(&name) {
        return Some(None);
    }
    let mut tags = Vec::new();
    for field in headers.get_all(&name) {
        let mut rest = field.to_str().ok()?.trim();
        while !rest.is_empty() {
            let weak = if rest.starts_with("W/") { 2 } else { 0 };
            let end = if rest.starts_with('*') {
                1
            } else {
                // A tag has no quotes within and no escapes.
                let opened = rest[weak..].strip_prefix('"')?;
                weak + 2 + opened.find('"')?
            };
            tags.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
            if !rest.is_empty() {
                rest = rest.strip_prefix(',')?.trim_start();
            }
        }
    }
    (!tags.is_empty()).then_some(Some(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).expect(value));
        }
        headers
    }

    #[test]
    fn changes_ask_for_versions() {
        let of = |values: &[&'static str]| IfMatch::of(&with(header::IF_MATCH, values)).ok();
        assert_eq!(of(&[]), Some(IfMatch::Nothing));
        assert_eq!(of(&["*"]), Some(IfMatch::Any));
        assert_eq!(of(&["\"3\""]), Some(IfMatch::OneOf(vec![3])));
        assert_eq!(of(&["\"3\" , \"x,y\",\"4\"", "\"5\""]), Some(IfMatch::OneOf(vec![3, 4, 5])));
        assert_eq!(of(&["W/\"3\""]), Some(IfMatch::OneOf(vec![])));
        assert_eq!(of(&["\"03\", \"+3\", \"3 \""]), Some(IfMatch::OneOf(vec![])));
        for wrong in ["", "3", "\"3", "\"3\" \"4\"", "*, \"3\"", "W/3", "\u{e4}"] {
            assert_eq!(of(&[wrong]), None, "{wrong}");
        }
    }

    #[test]
    fn readers_may_know_a_version() {
        let known = |value| is_known(&with(header::IF_NONE_MATCH, &[value]), 3);
        for value in ["\"3\"", "W/\"3\"", "\"2\", \"3\"", "*"] {
            assert!(known(value), "{value}");
        }
        for value in ["\"4\"", "3", "\"03\""] {
            assert!(!known(value), "{value}");
        }
        assert!(!is_known(&HeaderMap::new(), 3));
    }
}
