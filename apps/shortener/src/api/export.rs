//! Links as comma-separated values: what `GET /links.csv` answers and `snip export` writes, and what
//! `snip import` and the web page read again.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::{StreamExt, stream};

use super::Api;
use super::page::{self, MOST};
use super::view::LinkView;
use crate::auth::{Actor, Scope};
use crate::cell;
use crate::link::LinkQuery;
use crate::problem::{Problem, Shown};
use crate::store::{LinkPage, system_clock};

/// The names of the columns.
pub const COLUMNS: [&str; 13] = [
    "code",
    "target",
    "title",
    "tags",
    "status",
    "forward_query",
    "expires",
    "clicks_left",
    "disabled",
    "protected",
    "created",
    "updated",
    "short_url",
];

/// The fields of a link, in the order of [`COLUMNS`].
pub fn record(link: &LinkView) -> [String; COLUMNS.len()] {
    [
        cell::written(&link.code).into_owned(),
        link.target.clone(),
        cell::written(link.title.as_deref().unwrap_or_default()).into_owned(),
        cell::written(&link.tags.join(",")).into_owned(),
        link.status.to_string(),
        link.forward_query.to_string(),
        link.expires.clone().unwrap_or_default(),
        link.clicks_left.map(|left| left.to_string()).unwrap_or_default(),
        link.disabled.to_string(),
        link.protected.to_string(),
        link.created.clone(),
        link.updated.clone(),
        link.short_url.clone(),
    ]
}

/// Write links down
///
/// All of them, as comma-separated values with names in the first line, while they are read: it
/// takes as long as it takes, and an answer that is broken off is not whole. Passwords and clicks are
/// not in it. `snip import` reads it.
#[utoipa::path(
    get, path = "/links.csv", tag = "links", operation_id = "exportLinks",
    params(
        ("q" = Option<String>, Query, max_length = 200, description = "Only those with this text in code, target or title, case aside"),
        ("sort" = Option<String>, Query, pattern = "^(newest|oldest)$", description = "In which order, by when they were made. Default `newest`"),
        ("tag" = Option<String>, Query, max_length = 200, description = "Only those with this tag"),
    ),
    responses(
        (status = 200, description = "The links", body = String, content_type = "text/csv"),
        (status = 400, description = "A parameter is wrong", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `links:read`", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn csv(
    State(api): State<Arc<Api>>,
    actor: Actor,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    actor.may(Scope::LinksRead)?;
    let query = LinkQuery { limit: MOST, ..page::read(query.as_deref(), &api.cursors)?.links };
    // While something can still be said about what goes wrong.
    let first = api.links.page(&query).await?;
    let begin = write([COLUMNS.map(str::to_owned)]);
    let next = following(&query, &first);
    let first = stream::iter([begin, lines(&api, &first)]);
    let rest = stream::try_unfold((api, next), |(api, next)| async move {
        let Some(query) = next else { return Ok(None) };
        let page = api.links.page(&query).await.map_err(io::Error::other)?;
        let lines = lines(&api, &page)?;
        Ok(Some((lines, (api, following(&query, &page)))))
    });
    let mut response = Response::new(Body::from_stream(first.chain(rest)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let file = HeaderValue::from_static("attachment; filename=\"links.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, file);
    Ok(response)
}

/// What is asked for the page behind this one, if there is one.
fn following(query: &LinkQuery, page: &LinkPage) -> Option<LinkQuery> {
    page.next.as_ref().map(|next| LinkQuery { after: Some(next.clone()), ..query.clone() })
}

fn lines(api: &Api, page: &LinkPage) -> io::Result<Bytes> {
    let now = system_clock();
    write(page.links.iter().map(|link| record(&LinkView::of(link, &api.url, now))))
}

fn write(records: impl IntoIterator<Item = [String; COLUMNS.len()]>) -> io::Result<Bytes> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer.write_record(record)?;
    }
    Ok(writer.into_inner().map_err(|error| error.into_error())?.into())
}
