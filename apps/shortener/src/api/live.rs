//! The live feed of clicks, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use futures_util::{StreamExt, stream};

use super::Api;
use crate::auth::{Actor, Scope};
use crate::clicks::live::{Blind, News};
use crate::link::Code;
use crate::problem::{Invalid, Problem, Shown};

/// Look on at clicks
///
/// Server-sent events that do not end: `click`, whose data is a JSON object with `time` (in
/// milliseconds since 1970), `code`, `device`, `browser`, and if they are known `referrer` and
/// `country`; and `missed`, whose data is how many clicks came faster than they were read. A comment
/// is sent every 15 seconds; within that time they end when the key is revoked. At most 64 look on at
/// an instance. With NATS they see the clicks of all instances, without it those of this one.
#[utoipa::path(
    get, path = "/clicks/live", tag = "clicks", operation_id = "lookOnAtClicks",
    params(
        ("code" = Option<String>, Query, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "Only clicks on this link"),
    ),
    responses(
        (status = 200, description = "Events", body = String, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is wrong", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `stats:read`", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "Too many look on, or NATS is away", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn look(
    State(api): State<Arc<Api>>,
    actor: Actor,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    actor.may(Scope::StatsRead)?;
    let mut code = None;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name == "code" {
            let wrong = |_| {
                let detail = "this cannot be a code";
                Problem::BadRequest(vec![Invalid::parameter("code", "code", detail)])
            };
            code = Some(Code::new(&value).map_err(wrong)?);
        }
    }
    let looker = api.clicks.look(code).await.map_err(|blind| match blind {
        Blind::Full => Problem::Busy("as many look on as there may be"),
        Blind::Away => Problem::Busy("NATS is away"),
    })?;
    // How long a browser waits before it comes again; and it makes the head go out.
    let first = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"retry: 2000\n\n")) });
    let rest = stream::unfold((looker, api, headers), |(mut looker, api, headers)| async move {
        let news = looker.next().await?;
        // As often as this comes, whoever looks on may have lost their key.
        if news == News::Nothing
            && let Err(Problem::Unauthenticated(_)) = Actor::of(&api, &Method::GET, &headers).await
        {
            return None;
        }
        Some((Ok(written(&news)), (looker, api, headers)))
    });
    let mut response = Response::new(Body::from_stream(first.chain(rest)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Some proxies would gather it.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn written(news: &News) -> Bytes {
    match news {
        News::Click(line) => format!("event: click\ndata: {line}\n\n").into(),
        News::Missed(count) => format!("event: missed\ndata: {count}\n\n").into(),
        News::Nothing => Bytes::from_static(b":\n\n"),
    }
}
