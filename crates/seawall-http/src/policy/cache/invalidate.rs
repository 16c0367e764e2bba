//! What makes stored answers invalid: requests that change something (RFC 9111 §4.4), `PURGE`, and
//! those who may tell the node by its API.

use seawall_cache::conditional::Validators;
use seawall_cache::invalidation;
use seawall_cache::key::Url;
use seawall_cache::merge::{HeadSays, head_says};
use seawall_cache::purge::Kind;
use seawall_cache::store::Found;
use seawall_h1::{Method, ResponseHead};
use seawall_telemetry::metrics::PurgeKind;
use tokio::time::Instant;

use super::node::LABELS;
use super::{Errand, scheme_of};
use crate::message::{Body, Request, Response};

/// After an unsafe request that was not refused, what is stored for its URL and for those that the
/// answer names, if they are of the same origin, is not used again. A fetch that began before is
/// not either.
pub(super) fn after(errand: &Errand<'_>, answer: &ResponseHead) {
    let Errand { request, rules, node, .. } = errand;
    if invalidation::is_due(request.head.method, answer.status) {
        invalidation::urls(request.head, scheme_of(request), &answer.headers, |url| {
            node.purge(LABELS.url(url, &rules.key), Kind::Hard);
        });
    }
    if request.head.method == Method::Head && answer.status == 200 {
        after_head(errand, answer);
    }
}

/// An answer to HEAD that does not fit what is stored shows that it has changed (RFC 9111 §4.3.5).
fn after_head(errand: &Errand<'_>, answer: &ResponseHead) {
    let Errand { request, rules, node, .. } = errand;
    let key = errand.key();
    let found = node.store.get(node.store.hash(&key.text), &key.text);
    if let Some(Found::Object { object, .. }) = found {
        let had = Validators::stored(object.fields(), object.meta.received);
        let length = object.length();
        if head_says(&had, length, &answer.headers, answer.content_length) == HeadSays::Changed {
            node.purge(LABELS.url(&url_of(request), &rules.key), Kind::Hard);
        }
    }
}

/// The URL that a request is for.
pub(super) fn url_of<'a>(request: &Request<'a>) -> Url<'a> {
    Url {
        scheme: scheme_of(request),
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
    let (named, label) = match url.path.strip_suffix(b"*") {
        Some(path) if path.ends_with(b"/") => {
            (PurgeKind::Prefix, LABELS.prefix(&Url { path, query: b"", ..url }))
        }
        _ => (PurgeKind::Url, Some(LABELS.url(&url, &rules.key))),
    };
    let mut head = request.worker.take_head();
    head.begin(if label.is_some() { 200 } else { 400 });
    head.headers.push(b"Content-Type", b"application/json");
    let body = match label {
        Some(label) => {
            let began = Instant::now();
            node.purge_and_wait(label, kind).await;
            // Who is told that it is purged may count on it after a crash too.
            node.store.purges_kept().await;
            let (metrics, index) = (&request.running.compiled.metrics, request.worker.index);
            metrics.purge(index, named, kind == Kind::Hard);
            metrics.purge_took(index, began.elapsed());
            format!("{{\"purged\":\"{}\"}}\n", if soft { "soft" } else { "hard" })
        }
        None => "{\"error\":\"the path is too deep\"}\n".to_owned(),
    };
    Response { head, body: Body::Owned(body.into_bytes()) }
}
