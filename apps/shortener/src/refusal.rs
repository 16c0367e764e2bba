//! What a short link does not do, in one list: the only place that knows the status codes of what
//! people see who follow one. They are people, so they get a small page; the API has `problem.rs`.

use std::sync::LazyLock;

use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::serve::Content;
use crate::web::SMALL_STYLE;

/// Why a request for a short link leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 404: there is no such link, or it is disabled.
    Missing,
    /// 410: it has expired, or its clicks are used up.
    Gone,
    /// 403: this is not its password.
    WrongPassword,
    /// 429: too many passwords were tried.
    TooManyTries,
    /// 405: links are followed with `GET` and `HEAD`.
    Method,
    /// 400: what was sent is not the form.
    BadForm,
    /// 503: the database is away, or there is more to do than can be done.
    Unavailable,
    /// 500: what is stored of the link is damaged.
    Damaged,
}

impl Refusal {
    /// Each of them.
    pub const ALL: [Refusal; 8] = [
        Refusal::Missing,
        Refusal::Gone,
        Refusal::WrongPassword,
        Refusal::TooManyTries,
        Refusal::Method,
        Refusal::BadForm,
        Refusal::Unavailable,
        Refusal::Damaged,
    ];

    /// Its status, its word in metrics, and what people read.
    fn description(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Refusal::Missing => {
                (StatusCode::NOT_FOUND, "missing", "There is no such link. Was it typed right?")
            }
            Refusal::Gone => (
                StatusCode::GONE,
                "gone",
                "This link has ended. Whoever gave it to you may have another.",
            ),
            Refusal::WrongPassword => {
                (StatusCode::FORBIDDEN, "wrong-password", "This is not the password.")
            }
            Refusal::TooManyTries => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-tries",
                "Too many passwords were tried. Please wait a minute.",
            ),
            Refusal::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "method", "A link can only be followed.")
            }
            Refusal::BadForm => {
                (StatusCode::BAD_REQUEST, "bad-form", "The form came without a password.")
            }
            Refusal::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "This cannot be answered now. Please try again in a moment.",
            ),
            Refusal::Damaged => {
                (StatusCode::INTERNAL_SERVER_ERROR, "damaged", "Something is wrong with this link.")
            }
        }
    }

    /// The status code.
    pub fn status(self) -> StatusCode {
        self.description().0
    }

    /// Its word in metrics. Stable.
    pub fn name(self) -> &'static str {
        self.description().1
    }

    /// What people read.
    pub fn words(self) -> &'static str {
        self.description().2
    }

    /// The answer, which no cache may keep unless its fields are changed.
    pub fn answer(self) -> axum::http::Response<Content> {
        let (status, _, words) = self.description();
        let mut answer = page(status, words, "");
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Refusal::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Refusal::TooManyTries => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("60"));
            }
            Refusal::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }

    /// The same for axum.
    pub fn page(self) -> Response {
        let (parts, content) = self.answer().into_parts();
        match content {
            Content::Whole(bytes) => (parts, bytes.unwrap_or_default()).into_response(),
            Content::Axum(body) => Response::from_parts(parts, body),
        }
    }
}

/// A small page: a sentence, and behind it `rest`, which is HTML. No script, nothing from elsewhere.
pub fn page(status: StatusCode, words: &str, rest: &str) -> axum::http::Response<Content> {
    let (first, more) = words.split_once(". ").unwrap_or((words.trim_end_matches('.'), ""));
    let more = if more.is_empty() { String::new() } else { format!("<p>{more}</p>") };
    let html = [&HEAD, first, "</h1>", &more, rest, TAIL].concat();
    let mut answer = axum::http::Response::new(Content::from(Bytes::from(html)));
    *answer.status_mut() = status;
    dress(answer.headers_mut());
    answer
}

fn dress(headers: &mut HeaderMap) {
    for (name, value) in FIELDS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
}

const FIELDS: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-robots-tag", "noindex"),
];

/// No `form-action`: browsers would apply it to the redirect that follows the form too.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let source = &SMALL_STYLE.source;
    let policy =
        format!("default-src 'none'; style-src {source}; frame-ancestors 'none'; base-uri 'none'");
    HeaderValue::try_from(policy).expect("Base64 is fit for a field")
});

static HEAD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <title>Short link</title><style>{}</style><main>{MARK}<h1>",
        SMALL_STYLE.css
    )
});

const MARK: &str = "<svg class=mark viewBox=\"0 0 32 32\" aria-hidden=true>\
    <rect width=32 height=32 rx=8 fill=#0f766e /><path d=\"M8 16h5m6 0h5M14 22l4-12\" fill=none \
    stroke=#fff stroke-width=3 stroke-linecap=round /></svg>";

const TAIL: &str = "</main></html>\n";
