//! `/session`: signing in to the web page with an API key, and out again.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::body::{Fields, Json};
use super::keys::Me;
use crate::problem::{Problem, Shown};
use crate::store::system_clock;

/// Characters of what somebody takes for a key at most.
const LONGEST_KEY: usize = 200;

/// Who wants to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// An API key.
    #[schema(pattern = "^[!-~]{1,200}$", example = "snip_…")]
    pub key: String,
}

/// Sign in
///
/// For browsers: the answer sets a cookie that stands for the key for seven days after it was used
/// last, thirty days at most, and ends with the key. Requests by cookie that change something must
/// come from a page of this server.
#[utoipa::path(
    post, path = "/session", tag = "keys", operation_id = "signIn",
    security(()),
    request_body = SignIn,
    responses(
        (status = 200, description = "The key, which the cookie stands for now", body = Me, headers(
            ("Set-Cookie" = String, description = "The session"),
        )),
        (status = 400, description = "Not JSON", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "The key is unknown or revoked", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The request comes from a page of another server", body = Shown, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Shown, content_type = "application/problem+json"),
        (status = 413, description = "More than 4 KiB", body = Shown, content_type = "application/problem+json"),
        (status = 415, description = "Not `application/json`", body = Shown, content_type = "application/problem+json"),
        (status = 422, description = "Rules are broken", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn begin(
    State(api): State<Arc<Api>>,
    method: Method,
    headers: HeaderMap,
    Json(body): Json,
) -> Result<Response, Problem> {
    // Others could else sign somebody in with a key of theirs. Programs say nothing of origins.
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        api.sessions.check_origin(&method, &headers)?;
    }
    let key = read(body)?;
    let (actor, hash) = api
        .keys
        .actor_and_hash(key.trim())
        .await?
        .ok_or(Problem::Unauthenticated("the API key is unknown or revoked"))?;
    let cookie = api.sessions.begin(hash, system_clock());
    Ok(([(header::SET_COOKIE, cookie)], Answer(Me::of(actor, &api))).into_response())
}

/// Sign out
///
/// Ends the session of this browser. Good for whoever has none, too.
#[utoipa::path(
    delete, path = "/session", tag = "keys", operation_id = "signOut",
    security(()),
    responses(
        (status = 204, description = "There is no session any more", headers(
            ("Set-Cookie" = String, description = "Takes the cookie away"),
        )),
        (status = 403, description = "The request comes from a page of another server", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn end(
    State(api): State<Arc<Api>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if headers.contains_key(header::COOKIE) {
        api.sessions.check_origin(&method, &headers)?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, api.sessions.ended())]).into_response())
}

fn read(body: serde_json::Value) -> Result<String, Problem> {
    let mut invalid = Vec::new();
    let Some(mut fields) = Fields::of(body, "#", &mut invalid) else {
        return Err(Problem::Invalid(invalid));
    };
    let has_key = fields.has("key");
    let key = fields.text("key", LONGEST_KEY).and_check(|key| {
        if key.is_empty() {
            fields.wrong("key", "empty", "at least one character");
        }
        Some(key)
    });
    if !has_key || key == super::body::Field::Null {
        fields.wrong("key", "missing", "an API key is needed to sign in");
    }
    fields.finish();
    match key.value() {
        Some(key) if invalid.is_empty() => Ok(key),
        _ => Err(Problem::Invalid(invalid)),
    }
}
