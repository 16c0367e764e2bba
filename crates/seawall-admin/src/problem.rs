//! Why the API refuses something, as problem+json (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::Problem;

/// Most of the names that are known and told to who names another.
const MOST_KNOWN: usize = 100;

/// Why something is refused. Nothing has changed then.
#[derive(Debug, Clone)]
pub enum Refused {
    /// What is named is not there.
    Unknown {
        /// What is wrong.
        detail: String,
        /// What is there.
        known: Vec<String>,
    },
    /// What was sent is wrong.
    Wrong {
        /// What is wrong, in a sentence.
        detail: String,
        /// Everything that is wrong, with its place; may be empty.
        problems: Vec<Problem>,
    },
    /// It cannot be done as things are.
    Conflict {
        /// What is in the way.
        detail: String,
        /// What to do about it.
        help: String,
    },
    /// The body is larger than it may be.
    TooLarge {
        /// How large it may be, in bytes.
        most: usize,
    },
    /// It was sent by a page of another site.
    OtherSite,
    /// The process is about to end.
    Draining,
    /// It failed.
    Failed {
        /// What went wrong.
        detail: String,
    },
}

#[derive(Serialize)]
struct Body {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    known: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Problem>,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = |status: StatusCode, r#type, title, detail| Body {
            r#type,
            title,
            status: status.as_u16(),
            detail,
            help: None,
            known: Vec::new(),
            problems: Vec::new(),
        };
        let body = match self {
            Refused::Unknown { detail, mut known } => {
                known.truncate(MOST_KNOWN);
                let kind = "urn:seawall:problem:unknown";
                let what = "What is named is not there.";
                Body { known, ..body(StatusCode::NOT_FOUND, kind, what, detail) }
            }
            Refused::Wrong { detail, problems } => {
                let kind = "urn:seawall:problem:invalid";
                let what = "What was sent is wrong; nothing was changed.";
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Body { problems, ..body(status, kind, what, detail) }
            }
            Refused::Conflict { detail, help } => {
                let kind = "urn:seawall:problem:conflict";
                let what = "It cannot be done as things are.";
                Body { help: Some(help), ..body(StatusCode::CONFLICT, kind, what, detail) }
            }
            Refused::TooLarge { most } => {
                let detail = format!("at most {most} bytes are read");
                let kind = "urn:seawall:problem:too-large";
                body(StatusCode::PAYLOAD_TOO_LARGE, kind, "The body is too large.", detail)
            }
            Refused::OtherSite => body(
                StatusCode::FORBIDDEN,
                "urn:seawall:problem:other-site",
                "Not for pages of other sites.",
                "the request has an Origin field, which only browsers send".to_owned(),
            ),
            Refused::Draining => body(
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:seawall:problem:draining",
                "The process is about to end.",
                "nobody answers any more".to_owned(),
            ),
            Refused::Failed { detail } => body(
                StatusCode::INTERNAL_SERVER_ERROR,
                "urn:seawall:problem:failed",
                "It failed.",
                detail,
            ),
        };
        let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = crate::json(status, &body);
        let kind = header::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
