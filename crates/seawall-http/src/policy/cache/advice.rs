//! What the log says once a route: answers that are stored and had better not be, or otherwise.
//!
//! Changes nothing. Fetches call it with what they are about to store.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use seawall_cache::freshness::{Lifetime, Terms};
use seawall_cache::key;
use seawall_config::plan::Cache;
use seawall_h1::{Headers, Known};
use seawall_telemetry::metrics::Cache as Cells;

use crate::message::Request;

/// What was said of a route. Outlives plans.
#[derive(Debug, Default)]
pub(crate) struct Told {
    user_agent: AtomicBool,
    session: AtomicBool,
}

/// Says what is odd about an answer that varies by `names`, and that `terms` let be stored.
pub(super) fn about(
    request: &Request<'_>,
    rules: &Cache,
    cells: &Cells,
    names: &[Box<[u8]>],
    answer: &Headers,
    terms: &Terms<'_>,
) {
    let compiled = &request.running.compiled;
    let Some(route) = request.facts.route.get() else { return };
    let (told, name) = (&compiled.watches[route].told, &*compiled.plan.routes[route].name);
    let path = || String::from_utf8_lossy(request.head.path());
    if varies_by_browser(rules, names) {
        cells.vary_user_agent.add(1);
        if !told.user_agent.swap(true, Relaxed) {
            tracing::warn!(
                route = name,
                path = %path(),
                "answers have `Vary: User-Agent`, so that nearly each browser has its own; \
                 if they differ by class of device, set `cache.key.device = true` and \
                 `cache.ignore-origin = [\"vary\"]`"
            );
        }
    }
    if !told.session.load(Relaxed)
        && let Some(cookie) = session(request, rules, names, answer, terms)
        && !told.session.swap(true, Relaxed)
    {
        tracing::warn!(
            route = name,
            path = %path(),
            cookie = %String::from_utf8_lossy(cookie),
            "a page that was asked for with a session cookie is stored for everybody, by \
             `cache.{}` and not by what it says itself; if pages differ by user, add the cookie to \
             `cache.bypass.cookies` or have them say `private`, then purge",
            terms.lifetime.name()
        );
    }
}

/// There are as many variants as browsers, unless that is wanted.
fn varies_by_browser(rules: &Cache, names: &[Box<[u8]>]) -> bool {
    let is_it = |name: &[u8]| name == b"user-agent";
    !rules.vary.iter().any(|name| is_it(name.as_bytes())) && names.iter().any(|name| is_it(name))
}

/// A cookie by which a user seems to be known, and which the page to be stored is not told apart by.
/// Files are asked for with cookies, too, and are the same for everybody.
fn session<'a>(
    request: &Request<'a>,
    rules: &Cache,
    names: &[Box<[u8]>],
    answer: &Headers,
    terms: &Terms<'_>,
) -> Option<&'a [u8]> {
    let by_rule = matches!(terms.lifetime, Lifetime::Forced | Lifetime::Rule);
    let headers = &request.head.headers;
    if !by_rule || headers.known(Known::Cookie).is_none() || !is_page(answer) {
        return None;
    }
    if names.iter().any(|name| **name == *b"cookie") {
        return None;
    }
    let in_key = |name: &[u8]| rules.key.cookies.iter().any(|known| known.as_bytes() == name);
    key::cookies(request.head)
        .map(|(name, _)| name)
        .find(|name| looks_like_session(name) && !in_key(name))
}

fn is_page(answer: &Headers) -> bool {
    let kind = answer.first(b"content-type").unwrap_or_default().to_ascii_lowercase();
    kind.starts_with(b"text/html") || kind.starts_with(b"application/json")
}

/// Names that frameworks give to cookies by which they know a user: `PHPSESSID`, `connect.sid`,
/// `wordpress_logged_in_…`, `remember_token`.
fn looks_like_session(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let contains = |part: &[u8]| name.windows(part.len()).any(|one| one == part);
    let ends = |end: &[u8]| name.ends_with(end);
    [&b"sess"[..], b"auth", b"logged", b"token", b"jwt"].into_iter().any(contains)
        || *name == *b"sid"
        || [&b".sid"[..], b"_sid", b"-sid"].into_iter().any(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_of_sessions_are_known_by_their_names() {
        for (name, expect) in [
            ("session", true),
            ("PHPSESSID", true),
            ("JSESSIONID", true),
            ("connect.sid", true),
            ("sid", true),
            ("__Host-Session", true),
            ("wordpress_logged_in_1f", true),
            ("remember_user_token", true),
            ("_ga", false),
            ("currency", false),
            ("consent", false),
            ("sidebar", false),
            ("", false),
        ] {
            assert_eq!(looks_like_session(name.as_bytes()), expect, "{name}");
        }
    }
}
