//! `/links/{code}/qr.svg` and `qr.png`: the QR code of a short link.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Api;
use super::links::Named;
use super::precondition::is_known_text;
use crate::auth::{Actor, Scope};
use crate::problem::{Invalid, Problem, Shown};
use crate::qr::{Drawing, LARGEST, Level, NotDrawn, SMALLEST, USUAL, USUAL_MARGIN, WIDEST_MARGIN};

/// A drawing depends on nothing but its address; that it is asked for again now and then lets
/// configured URLs change.
const KEEP: HeaderValue = HeaderValue::from_static("private, max-age=86400");

/// The QR code of a link as SVG
#[utoipa::path(
    get, path = "/links/{code}/qr.svg", tag = "links", operation_id = "readQrSvg",
    params(
        ("code" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "What it is called"),
        ("size" = Option<u32>, Query, minimum = 64, maximum = 4096, description = "Pixels of a side. Default 512"),
        ("margin" = Option<u32>, Query, minimum = 0, maximum = 16, description = "Modules of white around it. Default 4, which readers may need"),
        ("level" = Option<String>, Query, pattern = "^[LMQH]$", description = "How much of it may be covered: `L` 7 %, `M` 15 % (default), `Q` 25 %, `H` 30 %"),
    ),
    responses(
        (status = 200, description = "The drawing", body = String, content_type = "image/svg+xml", headers(
            ("ETag" = String, description = "Of the drawing"),
        )),
        (status = 304, description = "`If-None-Match` has it already"),
        (status = 400, description = "A parameter is wrong", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `links:read`", body = Shown, content_type = "application/problem+json"),
        (status = 404, description = "There is no such link", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn svg(
    State(api): State<Arc<Api>>,
    actor: Actor,
    named: Result<Named, Problem>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = Asked::read(query.as_deref())?;
    draw(&api, &actor, named, &headers, "image/svg+xml", &asked, |drawing| {
        Ok(drawing.svg(asked.size).into_bytes())
    })
    .await
}

/// The QR code of a link as PNG
#[utoipa::path(
    get, path = "/links/{code}/qr.png", tag = "links", operation_id = "readQrPng",
    params(
        ("code" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "What it is called"),
        ("size" = Option<u32>, Query, minimum = 64, maximum = 4096, description = "Pixels of a side. Default 512; the margin gives way where a module would be less than a pixel"),
        ("margin" = Option<u32>, Query, minimum = 0, maximum = 16, description = "Modules of white around it. Default 4, which readers may need"),
        ("level" = Option<String>, Query, pattern = "^[LMQH]$", description = "How much of it may be covered: `L` 7 %, `M` 15 % (default), `Q` 25 %, `H` 30 %"),
    ),
    responses(
        (status = 200, description = "The picture", body = Vec<u8>, content_type = "image/png", headers(
            ("ETag" = String, description = "Of the picture"),
        )),
        (status = 304, description = "`If-None-Match` has it already"),
        (status = 400, description = "A parameter is wrong", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `links:read`", body = Shown, content_type = "application/problem+json"),
        (status = 404, description = "There is no such link", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn png(
    State(api): State<Arc<Api>>,
    actor: Actor,
    named: Result<Named, Problem>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = Asked::read(query.as_deref())?;
    draw(&api, &actor, named, &headers, "image/png", &asked, |drawing| drawing.png(asked.size))
        .await
}

/// What is asked of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    size: u32,
    margin: u32,
    level: Level,
}

impl Asked {
    fn read(query: Option<&str>) -> Result<Asked, Problem> {
        let (mut size, mut margin, mut level) = (None, None, None);
        let mut invalid = Vec::new();
        let mut wrong = |name, detail| invalid.push(Invalid::parameter(name, "range", detail));
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let number = |least: u32, most: u32| {
                value.parse().ok().filter(|number| (least..=most).contains(number))
            };
            match &*name {
                "size" => match number(SMALLEST, LARGEST) {
                    Some(number) if size.is_none() => size = Some(number),
                    _ => wrong("size", format!("once, between {SMALLEST} and {LARGEST}")),
                },
                "margin" => match number(0, WIDEST_MARGIN) {
                    Some(number) if margin.is_none() => margin = Some(number),
                    _ => wrong("margin", format!("once, between 0 and {WIDEST_MARGIN}")),
                },
                "level" => match Level::of(&value) {
                    Some(letter) if level.is_none() => level = Some(letter),
                    _ => wrong("level", "once, `L`, `M`, `Q` or `H`".to_owned()),
                },
                _ => {}
            }
        }
        if !invalid.is_empty() {
            return Err(Problem::BadRequest(invalid));
        }
        Ok(Asked {
            size: size.unwrap_or(USUAL),
            margin: margin.unwrap_or(USUAL_MARGIN),
            level: level.unwrap_or(Level::Medium),
        })
    }
}

async fn draw(
    api: &Api,
    actor: &Actor,
    named: Result<Named, Problem>,
    headers: &HeaderMap,
    kind: &'static str,
    asked: &Asked,
    write: impl FnOnce(&Drawing) -> Result<Vec<u8>, NotDrawn>,
) -> Result<Response, Problem> {
    actor.may(Scope::LinksRead)?;
    let code = named?.code();
    if api.links.link(&code).await?.is_none() {
        return Err(Problem::NoLink(code));
    }
    let text = format!("{}/{code}", api.url);
    // Of what it is made of, so that nothing is drawn for whoever has it.
    let Asked { size, margin, level } = asked;
    let hash = Sha256::digest(format!("{kind} {size} {margin} {} {text}", level.letter()));
    let etag = format!("\"{}\"", data_encoding::HEXLOWER.encode(&hash[..12]));
    let known = is_known_text(headers, &etag);
    let etag = HeaderValue::try_from(etag).map_err(|_| Problem::Internal)?;
    let fields = [(header::ETAG, etag), (header::CACHE_CONTROL, KEEP)];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, fields).into_response());
    }
    let drawn = Drawing::new(&text, *level, *margin).and_then(|drawing| write(&drawing));
    let bytes = drawn.map_err(|error| {
        Problem::BadRequest(vec![Invalid::parameter("size", "range", error.to_string())])
    })?;
    Ok((fields, [(header::CONTENT_TYPE, kind)], bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_bounded() {
        for (query, expect) in [
            (None, Some((512, 4, 'M'))),
            (Some(""), Some((512, 4, 'M'))),
            (Some("size=64&margin=0&level=H&x=y"), Some((64, 0, 'H'))),
            (Some("size=4096&margin=16"), Some((4096, 16, 'M'))),
            (Some("size=63"), None),
            (Some("size=4097"), None),
            (Some("size=-1"), None),
            (Some("size="), None),
            (Some("size=64&size=64"), None),
            (Some("margin=17"), None),
            (Some("level=X"), None),
            (Some("level=m"), None),
        ] {
            let read = Asked::read(query).ok();
            let read = read.map(|asked| (asked.size, asked.margin, asked.level.letter()));
            assert_eq!(read, expect, "{query:?}");
        }
    }
}
