//! `/links`: one link, and lists of them.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Json;
use super::draft::{self, CreateLink, Draft, PatchLink};
use super::precondition::{IfMatch, etag, is_known};
use super::view::LinkView;
use super::{Api, idempotency, page};
use crate::auth::{Actor, Scope};
use crate::clicks::unit::Unit;
use crate::link::{Code, Link};
use crate::problem::{Problem, Shown};
use crate::store::{Created, Deletion, Once, Update, system_clock};

/// Tags that are listed at most.
const MOST_TAGS: u32 = 1000;

/// Days whose clicks are recent: today, and those before.
const RECENT: i64 = 30;

/// Says that an answer is that of an earlier request with the same `Idempotency-Key`.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A page of links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkList {
    /// The links, in the order that was asked for.
    pub links: Vec<LinkView>,
    /// `cursor` of the next page; `null` at the end. A page of a search may be short, or empty,
    /// and have a next one.
    #[schema(required)]
    pub next: Option<String>,
}

/// Tags that are in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TagList {
    /// The most frequent first, at most 1,000.
    pub tags: Vec<TagView>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Tag)]
pub struct TagView {
    /// The tag.
    pub tag: String,
    /// Links that have it.
    pub links: i64,
}

/// The code in a path. What cannot be one is no link.
#[derive(Debug)]
pub(super) struct Named(Code);

impl Named {
    /// The code.
    pub(super) fn code(self) -> Code {
        self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::NotFound)?;
        Code::new(&text).map(Named).map_err(|_| Problem::NotFound)
    }
}

/// Make a link
///
/// With an `Idempotency-Key` the request can be sent again without making a second link.
#[utoipa::path(
    post, path = "/links", tag = "links", operation_id = "createLink",
    params(
        ("Idempotency-Key" = Option<String>, Header,
            pattern = r#"^([!#-+.-:<-~-]{1,255}|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#,
            description = "A random text of the client's. Sent again within 24 hours, the answer is that of the first time."),
    ),
    request_body = CreateLink,
    responses(
        (status = 201, description = "It is made", body = LinkView, headers(
            ("ETag" = String, description = "Its version"),
            ("Location" = String, description = "Where the API has it"),
            ("Idempotency-Replayed" = Option<String>, description = "`true` on an answer to a request sent again"),
        ), links(
            ("read" = (operation_id = "readLink", parameters(("code" = "$response.body#/code")))),
            ("change" = (operation_id = "changeLink", parameters(("code" = "$response.body#/code")))),
            ("delete" = (operation_id = "deleteLink", parameters(("code" = "$response.body#/code")))),
        )),
        (status = 400, description = "Not JSON, or a field of the head is malformed", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `links:write`", body = Shown, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Shown, content_type = "application/problem+json"),
        (status = 409, description = "The alias is taken, or the same request is being worked on", body = Shown, content_type = "application/problem+json"),
        (status = 413, description = "More than 64 KiB", body = Shown, content_type = "application/problem+json"),
        (status = 415, description = "Not `application/json`", body = Shown, content_type = "application/problem+json"),
        (status = 422, description = "Rules are broken, or the Idempotency-Key was used for something else", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    actor: Actor,
    headers: HeaderMap,
    Json(body): Json,
) -> Result<Response, Problem> {
    actor.may(Scope::LinksWrite)?;
    let key = idempotency::key(&headers)?;
    let fingerprint = idempotency::fingerprint("links", &body, &[]);
    let mut invalid = Vec::new();
    let draft = Draft::read(&api, actor.key, body, "#", &mut invalid);
    let link = draft.ok_or(Problem::Invalid(invalid))?.hashed().await?;
    let (created, replayed) = make(&api, &actor, key, fingerprint, vec![link]).await?;
    let link = created.into_iter().next().ok_or(Problem::Internal)?;
    let link = link.map_err(|taken| Problem::Taken(taken.0))?;
    let location = format!("/api/v1/links/{}", link.code);
    let mut response = show(&api, &link, StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, field(&location)?);
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Makes links, once if there is a key. True: they were made before.
pub(super) async fn make(
    api: &Api,
    actor: &Actor,
    key: Option<String>,
    fingerprint: [u8; 32],
    links: Vec<crate::link::NewLink>,
) -> Result<(Created, bool), Problem> {
    let Some(key) = key else { return Ok((api.links.create(links).await?, false)) };
    match api.links.create_once(actor.key, &key, fingerprint, links).await? {
        Once::Created(created) => Ok((created, false)),
        Once::Replayed(created) => Ok((created, true)),
        Once::Mismatch => Err(Problem::KeyReused),
        Once::InProgress => Err(Problem::InProgress),
    }
}

/// List links
#[utoipa::path(
    get, path = "/links", tag = "links", operation_id = "listLinks",
    params(
        ("cursor" = Option<String>, Query, max_length = 120, description = "`next` of the page before; the other parameters must be the same"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Links of a page. Default 50"),
        ("q" = Option<String>, Query, max_length = 200, description = "Only those with this text in code, target or title, case aside"),
        ("sort" = Option<String>, Query, pattern = "^(newest|oldest)$", description = "In which order, by when they were made. Default `newest`"),
        ("tag" = Option<String>, Query, max_length = 200, description = "Only those with this tag"),
        ("with" = Option<String>, Query, pattern = "^clicks$", description = "`clicks`: with `recent_clicks` of each, at most 100 links of a page; needs the scope `stats:read`, too"),
    ),
    responses(
        (status = 200, description = "A page", body = LinkList),
        (status = 400, description = "A parameter is wrong", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `links:read`, or for clicks `stats:read`", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    actor: Actor,
    RawQuery(query): RawQuery,
) -> Result<Answer<LinkList>, Problem> {
    actor.may(Scope::LinksRead)?;
    let asked = page::read(query.as_deref(), &api.cursors)?;
    if asked.with_clicks {
        actor.may(Scope::StatsRead)?;
    }
    let page = api.links.page(&asked.links).await?;
    let now = system_clock();
    let mut links: Vec<_> =
        page.links.iter().map(|link| LinkView::of(link, &api.url, now)).collect();
    if asked.with_clicks {
        let first = Unit::Day.floor(now) - (RECENT - 1) * Unit::Day.millis();
        // What was clicked before, under the same code, was another link.
        let since = page.links.iter().map(|link| (link.code.clone(), link.created.max(first)));
        let clicks = api.store.clicks_since(&Vec::from_iter(since), now + 1).await?;
        for (link, clicks) in links.iter_mut().zip(clicks) {
            link.recent_clicks = Some(clicks);
        }
    }
    let next = page.next.as_ref().map(|after| page::cursor(after, &asked.links, &api.cursors));
    Ok(Answer(LinkList { links, next }))
}

/// Read a link
#[utoipa::path(
    get, path = "/links/{code}", tag = "links", operation_id = "readLink",
    params(
        ("code" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "What it is called"),
    ),
    responses(
        (status = 200, description = "The link", body = LinkView, headers(
            ("ETag" = String, description = "Its version"),
        )),
        (status = 304, description = "`If-None-Match` has its version already"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `links:read`", body = Shown, content_type = "application/problem+json"),
        (status = 404, description = "There is no such link", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    actor: Actor,
    named: Result<Named, Problem>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    actor.may(Scope::LinksRead)?;
    let Named(code) = named?;
    let link = api.links.link(&code).await?.ok_or(Problem::NoLink(code))?;
    if is_known(&headers, link.version) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag(link.version))]).into_response());
    }
    Ok(show(&api, &link, StatusCode::OK))
}

/// Change a link
///
/// A JSON Merge Patch: what is absent stays, `null` takes away.
#[utoipa::path(
    patch, path = "/links/{code}", tag = "links", operation_id = "changeLink",
    params(
        ("code" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "What it is called"),
        ("If-Match" = Option<String>, Header, pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#, description = "Change it only if it has this `ETag`"),
    ),
    request_body(content((PatchLink = "application/json"), (PatchLink = "application/merge-patch+json"))),
    responses(
        (status = 200, description = "The link as it is now", body = LinkView, headers(
            ("ETag" = String, description = "Its version"),
        )),
        (status = 400, description = "Not JSON, or a field of the head is malformed", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `links:write`", body = Shown, content_type = "application/problem+json"),
        (status = 404, description = "There is no such link", body = Shown, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Shown, content_type = "application/problem+json"),
        (status = 412, description = "It has another version", body = Shown, content_type = "application/problem+json"),
        (status = 413, description = "More than 64 KiB", body = Shown, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON by its type", body = Shown, content_type = "application/problem+json"),
        (status = 422, description = "Rules are broken", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    actor: Actor,
    named: Result<Named, Problem>,
    headers: HeaderMap,
    Json(body): Json,
) -> Result<Response, Problem> {
    actor.may(Scope::LinksWrite)?;
    let Named(code) = named?;
    let condition = IfMatch::of(&headers)?;
    let patch = draft::patch(&api, body).await?;
    let expected = expected(&api, &code, &condition).await?;
    match api.links.update(&code, &patch, expected).await? {
        Update::Done(link) => Ok(show(&api, &link, StatusCode::OK)),
        Update::Missing => Err(Problem::NoLink(code)),
        Update::Conflict(version) => Err(Problem::Changed(version)),
    }
}

/// Delete a link
///
/// Its code is free for an alias then.
#[utoipa::path(
    delete, path = "/links/{code}", tag = "links", operation_id = "deleteLink",
    params(
        ("code" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "What it is called"),
        ("If-Match" = Option<String>, Header, pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#, description = "Delete it only if it has this `ETag`"),
    ),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 400, description = "A field of the head is malformed", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `links:write`", body = Shown, content_type = "application/problem+json"),
        (status = 404, description = "There is no such link", body = Shown, content_type = "application/problem+json"),
        (status = 412, description = "It has another version", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    actor: Actor,
    named: Result<Named, Problem>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    actor.may(Scope::LinksWrite)?;
    let Named(code) = named?;
    let expected = expected(&api, &code, &IfMatch::of(&headers)?).await?;
    match api.links.delete(&code, expected).await? {
        Deletion::Done => Ok(StatusCode::NO_CONTENT),
        Deletion::Missing => Err(Problem::NoLink(code)),
        Deletion::Conflict(version) => Err(Problem::Changed(version)),
    }
}

/// List tags
#[utoipa::path(
    get, path = "/tags", tag = "links", operation_id = "listTags",
    responses(
        (status = 200, description = "Tags that are in use", body = TagList),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `links:read`", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tags(
    State(api): State<Arc<Api>>,
    actor: Actor,
) -> Result<Answer<TagList>, Problem> {
    actor.may(Scope::LinksRead)?;
    let tags = api.store.tags(MOST_TAGS).await?;
    let tags = tags.into_iter().map(|(tag, links)| TagView { tag: tag.into(), links }).collect();
    Ok(Answer(TagList { tags }))
}

/// The version that the store is to hold a link to.
async fn expected(api: &Api, code: &Code, condition: &IfMatch) -> Result<Option<i64>, Problem> {
    match condition {
        IfMatch::Nothing | IfMatch::Any => Ok(None),
        IfMatch::OneOf(versions) => match versions.as_slice() {
            [version] => Ok(Some(*version)),
            // Of several, the one that the link has.
            versions => {
                let link = api.links.link(code).await?;
                let version = link.ok_or_else(|| Problem::NoLink(code.clone()))?.version;
                match versions.contains(&version) {
                    true => Ok(Some(version)),
                    false => Err(Problem::Changed(version)),
                }
            }
        },
    }
}

fn show(api: &Api, link: &Link, status: StatusCode) -> Response {
    let view = LinkView::of(link, &api.url, system_clock());
    (status, [(header::ETAG, etag(link.version))], Answer(view)).into_response()
}

fn field(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|_| Problem::Internal)
}
