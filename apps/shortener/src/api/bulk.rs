//! `/links/bulk`: many links in one transaction. Those that are good are made; of each other it is
//! said what is wrong.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Fields, Json};
use super::draft::{CreateLink, Draft};
use super::links::{REPLAYED, make};
use super::view::LinkView;
use super::{Api, idempotency};
use crate::auth::{Actor, Scope};
use crate::problem::{Invalid, Problem, Shown};
use crate::store::system_clock;

/// Links of a request at most.
pub const MOST_LINKS: usize = 1000;

/// Links of a request that may have passwords: each takes tens of milliseconds to hash.
pub const MOST_PASSWORDS: usize = 20;

/// Links to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateLinks {
    /// At most 1,000, of which 20 may have passwords.
    #[schema(max_items = 1000)]
    pub links: Vec<CreateLink>,
}

/// What came of each link.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = BulkAnswer)]
pub struct BulkView {
    /// How many were made.
    pub created: usize,
    /// How many were not.
    pub failed: usize,
    /// In the order of the request.
    pub results: Vec<BulkResult>,
}

/// A link that was made, or why it was not.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BulkResult {
    /// The link.
    Link(Box<LinkView>),
    /// Why there is none.
    Problem(Box<Shown>),
}

/// Make many links
///
/// One transaction makes those that are good; the answer says of each of the others what is wrong.
#[utoipa::path(
    post, path = "/links/bulk", tag = "links", operation_id = "createLinks",
    params(
        ("Idempotency-Key" = Option<String>, Header,
            pattern = r#"^([!#-+.-:<-~-]{1,255}|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#,
            description = "A random text of the client's. Sent again within 24 hours, the answer is that of the first time."),
    ),
    request_body = CreateLinks,
    responses(
        (status = 200, description = "What came of each", body = BulkView, headers(
            ("Idempotency-Replayed" = Option<String>, description = "`true` on an answer to a request sent again"),
        )),
        (status = 400, description = "Not JSON, or a field of the head is malformed", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `links:write`", body = Shown, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Shown, content_type = "application/problem+json"),
        (status = 409, description = "The same request is being worked on", body = Shown, content_type = "application/problem+json"),
        (status = 413, description = "More than 16 MiB", body = Shown, content_type = "application/problem+json"),
        (status = 415, description = "Not `application/json`", body = Shown, content_type = "application/problem+json"),
        (status = 422, description = "Not a list of links, too many, or the Idempotency-Key was used for something else", body = Shown, content_type = "application/problem+json"),
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
    let drafts = read(&api, actor.key, &body)?;
    let good: Vec<bool> = drafts.iter().map(Result::is_ok).collect();
    let fingerprint = idempotency::fingerprint("links/bulk", &body, &good);
    let mut links = Vec::with_capacity(drafts.len());
    let mut problems = Vec::with_capacity(drafts.len());
    for draft in drafts {
        match draft {
            Ok(draft) => {
                links.push(draft.hashed().await?);
                problems.push(None);
            }
            Err(problem) => problems.push(Some(problem)),
        }
    }
    let (created, replayed) = make(&api, &actor, key, fingerprint, links).await?;
    let now = system_clock();
    let mut created = created.into_iter();
    let mut results = Vec::with_capacity(problems.len());
    for problem in problems {
        results.push(match (problem, created.len()) {
            (Some(problem), _) => BulkResult::Problem(Box::new(problem.shown())),
            (None, _) => match created.next().ok_or(Problem::Internal)? {
                Ok(link) => BulkResult::Link(Box::new(LinkView::of(&link, &api.url, now))),
                Err(taken) => BulkResult::Problem(Box::new(Problem::Taken(taken.0).shown())),
            },
        });
    }
    let made = results.iter().filter(|result| matches!(result, BulkResult::Link(_))).count();
    let answer = BulkView { created: made, failed: results.len() - made, results };
    let mut response = Answer(answer).into_response();
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The links of a request, each good or with what is wrong with it.
///
/// # Errors
/// `Invalid` when the request as a whole is none.
fn read(
    api: &Api,
    owner: i64,
    body: &serde_json::Value,
) -> Result<Vec<Result<Draft, Problem>>, Problem> {
    let mut invalid = Vec::new();
    let list = Fields::of(body.clone(), "#", &mut invalid).and_then(|mut fields| {
        let has_list = fields.has("links");
        let list = fields.list("links").value();
        if !has_list {
            fields.wrong("links", "missing", "a list of links is wanted");
        }
        if list.as_ref().is_some_and(|list| list.len() > MOST_LINKS) {
            fields.wrong("links", "too-many", format!("at most {MOST_LINKS} links at once"));
        }
        fields.finish();
        list
    });
    let list = match list {
        Some(list) if invalid.is_empty() => list,
        _ if invalid.is_empty() => {
            invalid.push(Invalid::at("#/links", "type", "a list is wanted here"));
            return Err(Problem::Invalid(invalid));
        }
        _ => return Err(Problem::Invalid(invalid)),
    };
    let mut passwords = 0;
    let drafts = list.into_iter().enumerate().map(|(index, value)| {
        let mut invalid = Vec::new();
        let pointer = format!("#/links/{index}");
        let draft = Draft::read(api, owner, value, &pointer, &mut invalid);
        let draft = draft.ok_or(Problem::Invalid(invalid))?;
        passwords += usize::from(draft.has_password());
        if draft.has_password() && passwords > MOST_PASSWORDS {
            let detail = format!("at most {MOST_PASSWORDS} links with passwords at once");
            let wrong = Invalid::at(format!("{pointer}/password"), "too-many", detail);
            return Err(Problem::Invalid(vec![wrong]));
        }
        Ok(draft)
    });
    Ok(drafts.collect())
}
