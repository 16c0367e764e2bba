//! Reports of clicks that Seawall answered.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};

use super::{Api, body};
use crate::problem::{Invalid, Problem, Shown};

/// What tells a report from others: the field, and how long it may be.
const BATCH: &str = "seawall-batch";
const LONGEST_BATCH: usize = 128;

/// Report clicks
///
/// What Seawall answered from its cache or let through, as its route key `report` sends it: a JSON
/// object a line. A batch is counted once, however often it is sent. Lines that cannot be read are
/// passed over.
#[utoipa::path(
    post, path = "/clicks/report", tag = "clicks", operation_id = "reportClicks",
    security(("report" = [])),
    params(
        ("Seawall-Batch" = String, Header, min_length = 1, max_length = 128,
            pattern = "^[!-~]{1,128}$", description = "What tells this batch from others"),
    ),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (status = 204, description = "It is counted, now or before"),
        (status = 400, description = "There is no `Seawall-Batch`, or a bad one", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "The token is not that of the configuration, or there is none", body = Shown, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Shown, content_type = "application/problem+json"),
        (status = 413, description = "More than 4 MiB", body = Shown, content_type = "application/problem+json"),
        (status = 415, description = "Not `application/x-ndjson`", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn take(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<StatusCode, Problem> {
    // Before the body, of which megabytes would be kept for whoever sends them.
    let headers = request.headers().clone();
    may(api.report_token.as_deref(), &headers)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_plain = headers.get(header::CONTENT_ENCODING).is_none_or(|it| it == "identity");
    if !kind.eq_ignore_ascii_case("application/x-ndjson") || !is_plain {
        return Err(Problem::UnsupportedType("`application/x-ndjson`, without a coding"));
    }
    let batch = batch(&headers)?;
    let body = body::read(request, &()).await?;
    api.clicks.report(batch, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Goes on only with the token of the configuration.
fn may(token: Option<&str>, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = token else {
        return Err(Problem::Unauthenticated("reports are refused: `report-token` is not set"));
    };
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (field, more) = (fields.next(), fields.next());
    let given = field.filter(|_| more.is_none()).map(|field| field.as_bytes()).unwrap_or_default();
    let given = match given.split_at_checked(7) {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"bearer ") => given.trim_ascii(),
        _ => b"",
    };
    // Hashes have one length, and all of their bytes are looked at: how long it takes tells
    // nothing about the token.
    let (one, other) = (Sha256::digest(token.as_bytes()), Sha256::digest(given));
    let difference = one.iter().zip(&other).fold(0, |all, (a, b)| all | (a ^ b));
    match std::hint::black_box(difference) {
        0 => Ok(()),
        _ => Err(Problem::Unauthenticated("the token of reports is another")),
    }
}

fn batch(headers: &HeaderMap) -> Result<&str, Problem> {
    let wrong = || {
        let detail = format!("one field of 1 to {LONGEST_BATCH} visible characters is needed");
        Problem::BadRequest(vec![Invalid::header("Seawall-Batch", "batch", detail)])
    };
    let mut fields = headers.get_all(BATCH).iter();
    let text = fields.next().and_then(|field| field.to_str().ok()).ok_or_else(wrong)?;
    let is_fit = text.bytes().all(|byte| byte.is_ascii_graphic())
        && (1..=LONGEST_BATCH).contains(&text.len())
        && fields.next().is_none();
    if is_fit { Ok(text) } else { Err(wrong()) }
}
