//! What the API says when it does not do what it was asked: `application/problem+json` (RFC 9457).
//!
//! The only place that knows the status codes of failures. Every problem has a stable word, which
//! ends its `type`; a request that breaks several rules is told all of them in `errors`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::link::Code;
use crate::seldom::Seldom;
use crate::store::StoreError;

/// Why a request is not answered as it wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// 400: the body is not JSON; with what the parser says.
    NotJson(String),
    /// 400: query parameters or header fields are wrong.
    BadRequest(Vec<Invalid>),
    /// 401: there is no key, or no good one.
    Unauthenticated(&'static str),
    /// 403: the key has not this scope.
    Forbidden(&'static str),
    /// 403: a key cannot give what it does not have.
    Escalation(String),
    /// 403: a browser sent a cookie from a page of another server.
    CrossSite,
    /// 404: there is nothing at this path.
    NotFound,
    /// 404: there is no such link.
    NoLink(Code),
    /// 404: there is no such key.
    NoKey(i64),
    /// 405: not with this method. `Allow` is added by the router.
    MethodNotAllowed,
    /// 408: the body did not arrive in time.
    TooSlow,
    /// 409: the alias exists.
    Taken(Code),
    /// 409: a request with the same idempotency key is being worked on.
    InProgress,
    /// 412: the link has another version by now.
    Changed(i64),
    /// 413: the body has more bytes, or more values, than are allowed.
    TooLarge,
    /// 415: the body is of another type; with what is understood.
    UnsupportedType(&'static str),
    /// 422: the body breaks rules.
    Invalid(Vec<Invalid>),
    /// 422: the idempotency key was used for something else.
    KeyReused,
    /// 503: there is no room for one more now; with what there is too much of, or away.
    Busy(&'static str),
    /// 503 or 500: the database does not do its work.
    Store(StoreError),
    /// 500: a bug; what is known of it is in the log.
    Internal,
}

/// One rule that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Invalid)]
pub struct Invalid {
    /// Where in the body, as a JSON Pointer in a fragment: `#/links/3/target`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub pointer: Option<String>,
    /// Which query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, value_type = String)]
    pub parameter: Option<&'static str>,
    /// Which header field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, value_type = String)]
    pub header: Option<&'static str>,
    /// A word for programs. Stable.
    #[schema(value_type = String)]
    pub code: &'static str,
    /// A sentence for people.
    pub detail: String,
}

impl Invalid {
    /// A rule that a part of the body breaks.
    pub fn at(
        pointer: impl Into<String>,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Invalid {
        Invalid { pointer: Some(pointer.into()), ..Invalid::new(code, detail) }
    }

    /// A rule that a query parameter breaks.
    pub fn parameter(name: &'static str, code: &'static str, detail: impl Into<String>) -> Invalid {
        Invalid { parameter: Some(name), ..Invalid::new(code, detail) }
    }

    /// A rule that a header field breaks.
    pub fn header(name: &'static str, code: &'static str, detail: impl Into<String>) -> Invalid {
        Invalid { header: Some(name), ..Invalid::new(code, detail) }
    }

    fn new(code: &'static str, detail: impl Into<String>) -> Invalid {
        Invalid { pointer: None, parameter: None, header: None, code, detail: detail.into() }
    }
}

/// A problem as it is sent (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Shown {
    /// `urn:snip:problem:` and a stable word.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem it is, in words.
    #[schema(value_type = String)]
    pub title: &'static str,
    /// The status code.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// Every rule that the request breaks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<Invalid>,
}

impl Problem {
    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// The status code, the stable word, and the title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Problem::NotJson(_) => (StatusCode::BAD_REQUEST, "not-json", "The body is not JSON"),
            Problem::BadRequest(_) => {
                (StatusCode::BAD_REQUEST, "bad-request", "The request is malformed")
            }
            Problem::Unauthenticated(_) => {
                (StatusCode::UNAUTHORIZED, "unauthenticated", "A key is needed")
            }
            Problem::Forbidden(_) | Problem::Escalation(_) => {
                (StatusCode::FORBIDDEN, "forbidden", "The key is not allowed to do this")
            }
            Problem::CrossSite => {
                (StatusCode::FORBIDDEN, "cross-site", "The request comes from another site")
            }
            Problem::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Problem::NoLink(_) => (StatusCode::NOT_FOUND, "no-link", "There is no such link"),
            Problem::NoKey(_) => (StatusCode::NOT_FOUND, "no-key", "There is no such key"),
            Problem::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method", "The method is not allowed here")
            }
            Problem::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, "too-slow", "The body came too slowly")
            }
            Problem::Taken(_) => (StatusCode::CONFLICT, "alias-taken", "The alias is taken"),
            Problem::InProgress => {
                (StatusCode::CONFLICT, "in-progress", "The same request is being worked on")
            }
            Problem::Changed(_) => {
                (StatusCode::PRECONDITION_FAILED, "changed", "The link was changed meanwhile")
            }
            Problem::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large")
            }
            Problem::UnsupportedType(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The type of the body is wrong")
            }
            Problem::Invalid(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The body breaks rules")
            }
            Problem::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The idempotency key was used for another request",
            ),
            Problem::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy", "It cannot be done now"),
            Problem::Store(error) if error.is_transient() => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The database is not available")
            }
            Problem::Store(_) | Problem::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something is wrong here")
            }
        }
    }

    fn detail(&self) -> String {
        match self {
            Problem::NotJson(what) => format!("the body cannot be read as JSON: {what}"),
            Problem::BadRequest(invalid) | Problem::Invalid(invalid) => match invalid.as_slice() {
                [one] => one.detail.clone(),
                more => format!("{} things are wrong; `errors` has all of them", more.len()),
            },
            Problem::Unauthenticated(what) => (*what).to_owned(),
            Problem::Forbidden(scope) => format!("this needs a key with the scope `{scope}`"),
            Problem::Escalation(scopes) => {
                format!("a key can only give scopes that it has itself; it has not {scopes}")
            }
            Problem::CrossSite => {
                "a session changes something only for pages of this server; send a key".to_owned()
            }
            Problem::NotFound => "no resource of this API has this path".to_owned(),
            Problem::NoLink(code) => format!("there is no link `{code}`"),
            Problem::NoKey(id) => format!("there is no key {id}"),
            Problem::MethodNotAllowed => "`Allow` names the methods of this resource".to_owned(),
            Problem::TooSlow => "the body did not arrive in time; send it again".to_owned(),
            Problem::Taken(code) => format!("there is a link `{code}` already"),
            Problem::InProgress => {
                "a request with this Idempotency-Key is not done yet; try again".to_owned()
            }
            Problem::Changed(version) => {
                format!("the link has version {version} by now; read it again")
            }
            Problem::TooLarge => {
                "the body has more bytes or values than this resource takes".to_owned()
            }
            Problem::UnsupportedType(wanted) => format!("the body must be {wanted}"),
            Problem::KeyReused => {
                "this Idempotency-Key came with another request before; use a new one".to_owned()
            }
            Problem::Busy(what) => (*what).to_owned(),
            // What exactly is the operator's: it is in the log.
            Problem::Store(error) if error.is_transient() => {
                "the database does not answer now; try again".to_owned()
            }
            Problem::Store(_) | Problem::Internal => {
                "the log of the server says what happened".to_owned()
            }
        }
    }

    /// The problem as it is sent.
    pub fn shown(&self) -> Shown {
        let (status, word, title) = self.kind();
        let errors = match self {
            Problem::BadRequest(invalid) | Problem::Invalid(invalid) => invalid.clone(),
            _ => Vec::new(),
        };
        Shown {
            kind: format!("urn:snip:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
            errors,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        static LOG: Seldom = Seldom::new();
        match LOG.may() {
            Some(before) => tracing::warn!(before, "{error}"),
            None => tracing::debug!("{error}"),
        }
        Problem::Store(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Plain strings and numbers cannot fail to be written.
        let body = serde_json::to_vec(&self.shown()).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
        set(header::CONTENT_TYPE, "application/problem+json");
        set(header::CACHE_CONTROL, "no-store");
        match self {
            Problem::Unauthenticated(_) => {
                set(header::WWW_AUTHENTICATE, "Bearer realm=\"snip\"");
            }
            Problem::InProgress | Problem::Busy(_) => {
                set(header::RETRY_AFTER, "1");
            }
            Problem::Store(error) if error.is_transient() => {
                set(header::RETRY_AFTER, "1");
            }
            _ => {}
        }
        response
    }
}
