//! `PUT /api/cache/objects`: an answer that was made beforehand.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;

use super::asked::{self, Asked};
use super::url::Url;
use super::{answer, cache};
use crate::servers::{not_from_a_page, whole};
use crate::{Admin, Refused};

/// An answer that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// What it answers.
    pub url: Url,
    /// The fields of the request that it answers, in lower case, for answers with `Vary`.
    pub request: Vec<(String, String)>,
    /// Its status, from 200 to 599, but not 206 or 304.
    pub status: u16,
    /// Its fields: names in lower case, values as they were sent.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its content.
    pub body: Bytes,
}

/// Largest content, in bytes: it is held in memory.
const LARGEST: usize = 64 << 20;

pub(super) fn limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(LARGEST)
}

pub(super) async fn push(
    State(admin): State<Admin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = async {
        not_from_a_page(&headers)?;
        let cache = cache(&admin)?;
        let mut asked = Asked::read(query.as_deref())?;
        let url = asked.url()?;
        let status = status(asked.one("status")?.as_deref())?;
        let request = asked.fields()?;
        asked.finish()?;
        let fields = fields(&headers)?;
        let body = whole(body, LARGEST)?;
        (cache.push)(Push { url, request, status, fields, body }).await
    };
    answer(result.await)
}

fn status(text: Option<&str>) -> Result<u16, Refused> {
    let Some(text) = text else { return Ok(200) };
    let number = text.parse().ok().filter(|_| text.len() == 3);
    number.filter(|status| (200..=599).contains(status) && !matches!(status, 206 | 304)).ok_or_else(
        || {
            let help = "write a status from 200 to 599, but not 206 or 304, which are parts";
            asked::wrong("status", "is not that of a whole answer", help)
        },
    )
}

/// The fields of the request that are those of the answer: all but those that are about this
/// request or its connection.
fn fields(headers: &HeaderMap) -> Result<Vec<(String, Vec<u8>)>, Refused> {
    if headers.contains_key(header::SET_COOKIE) {
        let help = "a stored answer is given to all clients; take the cookie out";
        return Err(asked::wrong("the answer", "has Set-Cookie", help));
    }
    let kept = headers.iter().filter(|(name, _)| !is_of_the_request(name));
    Ok(kept.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect())
}

/// Whether a field says something of a request (RFC 9110 §10.1, §11.6, §12.5, §13.1), of its way
/// here, or of its connection.
fn is_of_the_request(name: &HeaderName) -> bool {
    const NAMES: &[&str] = &[
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "from",
        "host",
        "keep-alive",
        "max-forwards",
        "origin",
        "priority",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "referer",
        "te",
        "trailer",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "upgrade",
        "upgrade-insecure-requests",
        "user-agent",
        "via",
    ];
    let name = name.as_str();
    let prefixes = ["accept", "if-", "sec-", "x-forwarded-"];
    // `Accept-Ranges` is the one field of answers among those.
    name != "accept-ranges"
        && (NAMES.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_answer_are_kept() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "admin"),
            ("user-agent", "curl"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip"),
            ("accept-ranges", "bytes"),
            ("authorization", "Bearer hunter2"),
            ("content-length", "3"),
            ("if-none-match", "*"),
            ("x-forwarded-for", "::1"),
            ("content-type", "text/html"),
            ("cache-control", "max-age=60"),
            ("surrogate-key", "a b"),
            ("x-frame-options", "DENY"),
        ] {
            let name = HeaderName::from_static(name);
            headers.append(name, value.parse().expect("written here"));
        }
        let kept = fields(&headers).expect("nothing is wrong");
        let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        let expect =
            ["accept-ranges", "content-type", "cache-control", "surrogate-key", "x-frame-options"];
        assert_eq!(names, expect);
        headers.append(header::SET_COOKIE, "a=b".parse().expect("written here"));
        assert!(fields(&headers).is_err());
    }

    #[test]
    fn statuses_of_whole_answers() {
        for (text, expect) in
            [(None, Some(200)), (Some("404"), Some(404)), (Some("599"), Some(599))]
        {
            assert_eq!(status(text).ok(), expect);
        }
        for bad in ["", "99", "199", "206", "304", "600", "0200", "+20", "x"] {
            assert!(status(Some(bad)).is_err(), "{bad}");
        }
    }
}
