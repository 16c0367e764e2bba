//! `/keys` and `/me`: API keys.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::body::{Field, Fields, Json};
use crate::auth::{Actor, Scope, Scopes};
use crate::instant;
use crate::problem::{Problem, Shown};
use crate::store::{Key, system_clock};

/// Characters of a name at most.
const LONGEST_NAME: usize = 100;

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100, example = "newsletter")]
    pub name: String,
    /// What it may be used for; nothing that the key that makes it may not do itself.
    #[schema(min_items = 1, max_items = 4, example = json!(["links:read", "links:write"]))]
    pub scopes: Vec<ScopeName>,
}

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
pub enum ScopeName {
    /// Reading links.
    #[serde(rename = "links:read")]
    LinksRead,
    /// Making, changing and deleting links.
    #[serde(rename = "links:write")]
    LinksWrite,
    /// Reading how links are clicked.
    #[serde(rename = "stats:read")]
    StatsRead,
    /// Making and revoking keys.
    #[serde(rename = "keys:admin")]
    KeysAdmin,
}

/// A key, without the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyView {
    /// Its number.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// What it may be used for.
    #[schema(value_type = Vec<ScopeName>)]
    pub scopes: Vec<&'static str>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created: String,
    /// When it was revoked.
    #[schema(required, format = DateTime)]
    pub revoked: Option<String>,
}

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MadeKey {
    /// What is known of it later, too.
    #[serde(flatten)]
    pub about: KeyView,
    /// The key itself. It is shown now and never again.
    #[schema(pattern = "^snip_[A-Za-z0-9_-]{43}$")]
    pub key: String,
}

/// All keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeyList {
    /// The oldest first, revoked ones too.
    pub keys: Vec<KeyView>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Me {
    /// The number of the key.
    pub key: i64,
    /// What it is called.
    pub name: String,
    /// What it may be used for.
    #[schema(value_type = Vec<ScopeName>)]
    pub scopes: Vec<&'static str>,
    /// What short links begin with, without a slash at its end.
    #[schema(format = "uri", example = "https://sn.ip")]
    pub url: String,
}

impl Me {
    pub(super) fn of(actor: Actor, api: &Api) -> Me {
        let url = api.url.clone();
        Me { key: actor.key, name: actor.name.into(), scopes: actor.scopes.names(), url }
    }
}

impl KeyView {
    fn of(key: &Key) -> KeyView {
        KeyView {
            id: key.id,
            name: key.name.to_string(),
            scopes: Scopes::parse(&key.scopes).names(),
            created: instant::shown(key.created),
            revoked: key.revoked.map(instant::shown),
        }
    }
}

/// List keys
#[utoipa::path(
    get, path = "/keys", tag = "keys", operation_id = "listKeys",
    responses(
        (status = 200, description = "All keys", body = KeyList),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `keys:admin`", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    actor: Actor,
) -> Result<Answer<KeyList>, Problem> {
    actor.may(Scope::KeysAdmin)?;
    Ok(Answer(KeyList { keys: api.keys.all().await?.iter().map(KeyView::of).collect() }))
}

/// Make a key
#[utoipa::path(
    post, path = "/keys", tag = "keys", operation_id = "createKey",
    request_body = CreateKey,
    responses(
        (status = 201, description = "The key, this once", body = MadeKey, links(
            ("revoke" = (operation_id = "revokeKey", parameters(("id" = "$response.body#/id")))),
        )),
        (status = 400, description = "Not JSON", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `keys:admin`, or one that it wants to give", body = Shown, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Shown, content_type = "application/problem+json"),
        (status = 413, description = "More than 64 KiB", body = Shown, content_type = "application/problem+json"),
        (status = 415, description = "Not `application/json`", body = Shown, content_type = "application/problem+json"),
        (status = 422, description = "Rules are broken", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Json(body): Json,
) -> Result<(StatusCode, Answer<MadeKey>), Problem> {
    actor.may(Scope::KeysAdmin)?;
    let (name, scopes) = read(body)?;
    let beyond = scopes.beyond(actor.scopes);
    if !beyond.is_empty() {
        return Err(Problem::Escalation(beyond.to_string()));
    }
    let (key, secret) = api.keys.create(&name, scopes).await?;
    let made = MadeKey { about: KeyView::of(&key), key: secret.to_string() };
    Ok((StatusCode::CREATED, Answer(made)))
}

/// Revoke a key
///
/// It ends at once here, and within a second at other instances. A key may revoke itself.
#[utoipa::path(
    delete, path = "/keys/{id}", tag = "keys", operation_id = "revokeKey",
    params(("id" = i64, Path, minimum = 1, description = "Its number")),
    responses(
        (status = 204, description = "It is revoked, now or before"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `keys:admin`", body = Shown, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    actor: Actor,
    id: Result<Path<i64>, axum::extract::rejection::PathRejection>,
) -> Result<StatusCode, Problem> {
    actor.may(Scope::KeysAdmin)?;
    let Ok(Path(id)) = id else { return Err(Problem::NotFound) };
    let exists = api.keys.revoke(id).await? || api.keys.all().await?.iter().any(|key| key.id == id);
    if exists { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::NoKey(id)) }
}

/// Who asks
#[utoipa::path(
    get, path = "/me", tag = "keys", operation_id = "readMe",
    responses(
        (status = 200, description = "The key of this request", body = Me),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn me(State(api): State<Arc<Api>>, actor: Actor, headers: HeaderMap) -> Response {
    // The page asks this when it is opened, and now and then: a session that is used goes on.
    let now = system_clock();
    let session = api.sessions.of(&headers, now).filter(|_| actor.by_session);
    let cookie = session.and_then(|session| api.sessions.renewed(&session, now));
    let mut response = Answer(Me::of(actor, &api)).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn read(body: serde_json::Value) -> Result<(String, Scopes), Problem> {
    let mut invalid = Vec::new();
    let Some(mut fields) = Fields::of(body, "#", &mut invalid) else {
        return Err(Problem::Invalid(invalid));
    };
    let name = check_name(&mut fields);
    let scopes = check_scopes(&mut fields);
    fields.finish();
    match (name, scopes) {
        (Some(name), Some(scopes)) if invalid.is_empty() => Ok((name, scopes)),
        _ => Err(Problem::Invalid(invalid)),
    }
}

fn check_name(fields: &mut Fields<'_>) -> Option<String> {
    let has_name = fields.has("name");
    let name = fields.text("name", LONGEST_NAME);
    if !has_name || name == Field::Null {
        fields.wrong("name", "missing", "a key needs a name");
    }
    let name = name.value()?;
    if name.trim().is_empty() {
        fields.wrong("name", "empty", "at least one character");
        return None;
    }
    Some(name)
}

fn check_scopes(fields: &mut Fields<'_>) -> Option<Scopes> {
    let wanted = || format!("a list of {}", Scopes::all().names().join(", "));
    let has_scopes = fields.has("scopes");
    let list = fields.list("scopes");
    if !has_scopes || list == Field::Null {
        fields.wrong("scopes", "missing", wanted());
    }
    let list = list.value()?;
    if list.is_empty() || list.len() > Scope::ALL.len() {
        fields.wrong("scopes", "count", wanted());
    }
    let mut scopes = Vec::new();
    for (index, value) in list.iter().take(Scope::ALL.len()).enumerate() {
        match value.as_str().and_then(Scope::of) {
            Some(scope) => scopes.push(scope),
            None => fields.wrong_within("scopes", index, "scope", wanted()),
        }
    }
    Some(scopes.into_iter().collect())
}
