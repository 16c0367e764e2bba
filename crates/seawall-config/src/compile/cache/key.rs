//! What makes answers different ones, and which requests go past the cache.

use crate::compile::route::Compiler;
use crate::config::{BypassEntry, CacheEntry, KeyEntry, QueryEntry, Route};
use crate::plan::{CacheBypass, CacheKey, CacheQuery, HostPattern};
use crate::read::{At, Given};
use crate::report::Report;
use crate::source::quoted;

impl Compiler<'_, '_> {
    pub(super) fn key(&mut self, route: &Route, key: &KeyEntry) -> CacheKey {
        let one_host = match &route.host {
            Given::Unreadable => true,
            Given::Absent => false,
            Given::Value(at) => matches!(at.value, HostPattern::Exact(_)),
        };
        if !key.host.value && !one_host {
            let message = "requests for one host are given the answers for another";
            let help = "set `host` of the route to one host, or take `host = false` away";
            self.report.warning(key.host.span, message, Some(help.to_owned()));
        }
        let query = self.query(key);
        if key.sort.value && query == CacheQuery::Only(Vec::new()) {
            let message = "there is nothing to sort: no part of the query is in the key";
            let help = "take `sort-query` away";
            self.report.warning(key.sort.span, message, Some(help.to_owned()));
        }
        for at in key.headers.items() {
            self.check_field(at);
        }
        CacheKey {
            host: key.host.value,
            query,
            sort: key.sort.value,
            headers: once(&key.headers, self.report),
            cookies: once(&key.cookies, self.report),
            device: key.device.value,
        }
    }

    fn query(&mut self, key: &KeyEntry) -> CacheQuery {
        match key.query.value().map(|at| &at.value) {
            None | Some(QueryEntry::Whole(true)) => CacheQuery::All,
            Some(QueryEntry::Whole(false)) => CacheQuery::Only(Vec::new()),
            Some(QueryEntry::Only(names)) => CacheQuery::Only(distinct(names, self.report)),
            Some(QueryEntry::Except(names)) => CacheQuery::Except(distinct(names, self.report)),
        }
    }

    pub(super) fn vary(&mut self, cache: &CacheEntry) -> Vec<Box<str>> {
        for at in cache.vary.items() {
            self.check_field(at);
            if cache.key.headers.items().iter().any(|in_key| in_key.value == at.value) {
                let message = format!("{} is in `key.headers`, too", quoted(&at.value));
                self.report.warning(at.span, message, Some("keep one of the two".to_owned()));
            }
        }
        once(&cache.vary, self.report)
    }

    /// Warns of fields that hardly ever are the same twice.
    fn check_field(&mut self, at: &At<Box<str>>) {
        let help = match &*at.value {
            "user-agent" => {
                "nearly every browser has its own; write `key = { device = true }` for phone, \
                 tablet, desktop or bot"
            }
            "cookie" => "nearly every client has its own; name cookies in `key.cookies`",
            "authorization" => {
                "every user has its own, and few answers to it are stored; name it in \
                 `bypass.headers`"
            }
            _ => return,
        };
        let message = format!("hardly two requests have the same {}", quoted(&at.value));
        self.report.warning(at.span, message, Some(help.to_owned()));
    }

    pub(super) fn bypass(&mut self, bypass: &BypassEntry, key: &KeyEntry) -> CacheBypass {
        for at in bypass.headers.items() {
            let in_key = key.headers.items().iter().any(|known| known.value == at.value);
            self.check_unreached(at, "headers", in_key);
        }
        for at in bypass.cookies.items() {
            let in_key = key.cookies.items().iter().any(|known| covers(&at.value, &known.value));
            self.check_unreached(at, "cookies", in_key);
        }
        CacheBypass {
            headers: once(&bypass.headers, self.report),
            cookies: once(&bypass.cookies, self.report),
            query: once(&bypass.query, self.report),
        }
    }

    fn check_unreached(&mut self, at: &At<Box<str>>, key: &str, in_key: bool) {
        if in_key {
            let message = format!("{} is in `key.{key}`, too", quoted(&at.value));
            let help = "requests that have it go past the cache, so that it never is part of a \
                        key; keep one of the two";
            self.report.warning(at.span, message, Some(help.to_owned()));
        }
    }
}

/// Whether a name that may end in `*` stands for `name`.
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

fn once(given: &Given<Vec<At<Box<str>>>>, report: &mut Report) -> Vec<Box<str>> {
    distinct(given.items(), report)
}

/// The items of a list, each once.
fn distinct(items: &[At<Box<str>>], report: &mut Report) -> Vec<Box<str>> {
    let mut all: Vec<Box<str>> = Vec::new();
    for at in items {
        if all.contains(&at.value) {
            let message = format!("{} is there twice", quoted(&at.value));
            report.warning(at.span, message, Some("take one of them away".to_owned()));
            continue;
        }
        all.push(at.value.clone());
    }
    all
}
