//! What makes stored answers invalid: requests that change something (RFC 9111 §4.4), `PURGE`, and
//! those who may tell the node by its API.

use seawall_cache::key::{TypedUrl, Url};
use seawall_cache::purge::Kind;
use seawall_h1::{Known, Method, ResponseHead};

use super::Errand;
use super::node::LABELS;
use crate::message::{Body, Request, Response};

/// After an unsafe request that was not refused, what is stored for its URL and for those that the
/// answer names, if they are of the same origin, is not used again. A fetch that began before is
/// not either.
pub(super) fn after(errand: &Errand<'_>, answer: &ResponseHead) {
    let Errand { request, rules, node, .. } = errand;
    let safe = matches!(request.head.method, Method::Get | Method::Head | Method::Options);
    if safe || !(200..400).contains(&answer.status) {
        return;
    }
    let url = url_of(request);
    let purge = |url: &Url<'_>| {
        node.purge(LABELS.url(url, &rules.key), Kind::Hard);
    };
    purge(&url);
    let others = [answer.headers.known(Known::Location), answer.headers.first(b"content-location")];
    for other in others.into_iter().flatten() {
        let Ok(text) = std::str::from_utf8(other) else { continue };
        let whole = match text.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => {
                format!("{}://{}{text}", url.scheme.name(), String::from_utf8_lossy(url.authority))
            }
            _ => text.to_owned(),
        };
        let Ok(typed) = TypedUrl::parse(&whole) else { continue };
        let other = typed.as_url();
        if other.scheme == url.scheme && is_same_host(&other, &url) {
            purge(&other);
        }
    }
}

fn is_same_host(one: &Url<'_>, other: &Url<'_>) -> bool {
    let host = |url: &Url<'_>| {
        let mut text = Vec::new();
        url.write_host(&mut text);
        text
    };
    host(one) == host(other)
}

/// The URL that a request is for.
pub(super) fn url_of<'a>(request: &Request<'a>) -> Url<'a> {
    Url {
        scheme: super::scheme_of(request),
        authority: request.head.authority(),
        path: request.head.path(),
        query: request.head.query(),
    }
}

/// Answers `PURGE`, which whoever sends it may: the URL is purged, softly if the request has
/// `Soft-Purge: 1`; a path that ends in `/*` stands for all below it.
pub(super) async fn purge(errand: &Errand<'_>) -> Response {
    let Errand { request, rules, node, .. } = errand;
    let url = url_of(request);
    let soft = request.head.headers.first(b"soft-purge").is_some_and(|value| value == b"1");
    let kind = if soft { Kind::Soft } else { Kind::Hard };
    let label = match url.path.strip_suffix(b"*") {
        Some(path) if path.ends_with(b"/") => LABELS.prefix(&Url { path, query: b"", ..url }),
        _ => Some(LABELS.url(&url, &rules.key)),
    };
    let mut head = request.worker.take_head();
    head.begin(if label.is_some() { 200 } else { 400 });
    head.headers.push(b"Content-Type", b"application/json");
    let body = match label {
        Some(label) => {
            node.purge_and_wait(label, kind).await;
            format!("{{\"purged\":\"{}\"}}\n", if soft { "soft" } else { "hard" })
        }
        None => "{\"error\":\"the path is too deep\"}\n".to_owned(),
    };
    Response { head, body: Body::Owned(body.into_bytes()) }
}
