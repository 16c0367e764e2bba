//! `cache` of the routes of the plan: what its keys come to together.

mod key;

use std::time::Duration;

use super::networks::networks;
use super::number;
use super::route::Compiler;
use super::state::largest_tier;
use crate::config::{CacheEntry, Route, VersionEntry};
use crate::plan::{Cache, CacheVersion, Coalesce, PathPattern, Tier};
use crate::read::{At, Given};
use crate::source::{Span, quoted};
use crate::units::{show_duration, show_size};

impl Compiler<'_, '_> {
    /// What a route that forwards to the upstream at `own` does with the cache.
    pub(super) fn cache(&mut self, route: &Route, own: Option<usize>) -> Option<Box<Cache>> {
        let at = route.cache.value()?;
        let cache = &at.value;
        self.check_methods(route, at.span);
        let tier = cache.tier.value().map_or(Tier::None, |at| at.value);
        let (ttl, force) = self.lifetimes(cache, tier);
        self.check_seconds(cache);
        self.check_windows(cache);
        self.check_private(route, cache);
        Some(Box::new(Cache {
            ttl,
            force,
            negative_ttl: cache.negative_ttl.value().map(|at| at.value),
            browser_ttl: cache.browser_ttl.value().map(|at| at.value),
            stale_while_revalidate: cache.stale_while_revalidate.value,
            stale_if_error: cache.stale_if_error.value,
            jitter: cache.jitter.value().map_or(jitter(tier), |at| at.value),
            early: cache.early.value,
            key: self.key(route, &cache.key),
            vary: self.vary(cache),
            bypass: self.bypass(&cache.bypass, &cache.key),
            head: self.head(&cache.methods),
            statuses: self.statuses(cache, ttl.is_some() || force.is_some()),
            max_object: self.max_object(&cache.max_object),
            ignore_origin: cache.ignore_origin.value().map(|at| at.value).unwrap_or_default(),
            client_control: cache.client_control.value,
            purge: networks(&cache.purge, self.report, |whole| {
                let help = "list the addresses of those who change what is served";
                (format!("`{whole}` lets everybody purge"), help)
            }),
            tags: self.tags(&cache.tags),
            version: self.version(&cache.version),
            coalesce: self.coalesce(route, cache),
            parent: self.parent(cache, own, tier),
            tier,
        }))
    }

    /// Fields of answers count in seconds, and so do stored ones.
    fn check_seconds(&mut self, cache: &CacheEntry) {
        let times = [
            ("ttl", cache.ttl.value()),
            ("force", cache.force.value()),
            ("negative-ttl", cache.negative_ttl.value()),
            ("browser-ttl", cache.browser_ttl.value()),
            ("stale-while-revalidate", Some(&cache.stale_while_revalidate)),
            ("stale-if-error", Some(&cache.stale_if_error)),
        ];
        for (key, at) in times {
            if let Some(at) = at.filter(|at| at.value.subsec_nanos() != 0) {
                let message = format!("`{key}` is a number of whole seconds");
                let help = format!("write \"{}s\"", at.value.as_secs() + 1);
                self.report.error(at.span, message, Some(help));
            }
        }
    }

    /// Times that are right by themselves, and odd beside each other.
    fn check_windows(&mut self, cache: &CacheEntry) {
        let (revalidate, error) = (&cache.stale_while_revalidate, &cache.stale_if_error);
        if error.given && !error.value.is_zero() && error.value < revalidate.value {
            let message = format!(
                "this ends before `stale-while-revalidate` does, which is {}",
                show_duration(revalidate.value)
            );
            let help = "until then what is stale is served anyway; write a longer time, for \
                        outages, or take it away";
            self.report.warning(error.span, message, Some(help.to_owned()));
        }
        let whole = cache.force.value().or(cache.ttl.value()).map(|at| at.value);
        if let (Some(negative), Some(whole)) = (cache.negative_ttl.value(), whole)
            && negative.value > whole.max(SHORT)
        {
            let message = format!(
                "errors are kept longer than other answers, which are for {}",
                show_duration(whole)
            );
            let help = "write a few seconds: what is missing may be there soon";
            self.report.warning(negative.span, message, Some(help.to_owned()));
        }
    }

    /// Warns of a whole site of which all answers are for everybody, those with `private` too.
    fn check_private(&mut self, route: &Route, cache: &CacheEntry) {
        let Some(at) = cache.ignore_origin.value().filter(|at| at.value.cache_control) else {
            return;
        };
        let is_whole = match &route.path {
            Given::Absent => true,
            given => given.value().is_some_and(|at| match &at.value {
                PathPattern::Any => true,
                PathPattern::Prefix(prefix) => prefix.is_empty(),
                PathPattern::Exact(_) => false,
            }),
        };
        let has_way_past =
            !cache.bypass.cookies.items().is_empty() || !cache.bypass.headers.items().is_empty();
        if is_whole && !has_way_past {
            let message =
                "answers with `private` or `no-store` are given to everybody, on all paths";
            let help = "name the paths that are the same for all in `path`, or in `bypass` the \
                        cookies of those who are signed in";
            self.report.warning(at.span, message, Some(help.to_owned()));
        }
    }

    fn check_methods(&mut self, route: &Route, span: Span) {
        let cached = |at: &At<Box<str>>| matches!(&*at.value, "GET" | "HEAD");
        if !route.methods.items().is_empty() && !route.methods.items().iter().any(cached) {
            let message = "nothing is ever answered from the cache: this route takes no `GET`";
            let help = "take `cache` away, or add \"GET\" to `methods`";
            self.report.warning(span, message, Some(help.to_owned()));
        }
    }

    /// `ttl` and `force`.
    fn lifetimes(
        &mut self,
        cache: &CacheEntry,
        tier: Tier,
    ) -> (Option<Duration>, Option<Duration>) {
        if let (Some(_), Some(force)) = (cache.ttl.value(), cache.force.value()) {
            let message = "`force` leaves nothing for `ttl` to say";
            let help = "keep `ttl` for answers that do not say how long they are fresh, or `force` \
                        for all";
            self.report.error(force.span, message, Some(help.to_owned()));
        }
        let force = cache.force.value().map(|at| at.value);
        let ttl = match &cache.ttl {
            Given::Absent if force.is_none() => ttl(tier),
            given => given.value().map(|at| at.value),
        };
        let ignores = cache.ignore_origin.value();
        if let Some(at) = ignores.filter(|at| at.value.cache_control && at.value.expires)
            && ttl.is_none()
            && !cache.ttl.is_there()
            && !cache.force.is_there()
        {
            let message = "nothing says how long answers are fresh";
            let help = "add `ttl` or `force`: what the origin says of it is not listened to";
            self.report.missing(at.span, message, Some(help.to_owned()));
        }
        if let Some(browser) = cache.browser_ttl.value() {
            let whole = force.or(cache.ttl.value().map(|at| at.value));
            if let Some(whole) = whole.filter(|whole| browser.value > *whole) {
                let message = format!(
                    "clients keep answers longer than the cache does, which is {}",
                    show_duration(whole)
                );
                let help = "they serve themselves what was purged or has changed; write a shorter \
                            `browser-ttl`";
                self.report.warning(browser.span, message, Some(help.to_owned()));
            }
        }
        (ttl, force)
    }

    /// Whether `HEAD` is answered from the cache.
    fn head(&mut self, methods: &Given<Vec<At<bool>>>) -> bool {
        let Some(at) = methods.value() else { return true };
        let heads = at.value.iter().filter(|method| method.value).count();
        if heads == at.value.len() {
            let help = "add \"GET\": its answers are what `HEAD` is answered from";
            self.report.error(at.span, "`GET` is not in this list", Some(help.to_owned()));
        } else if at.value.len() > 1 && heads != 1 {
            let help = "take one of them away".to_owned();
            self.report.warning(at.span, "this is there twice", Some(help));
        }
        heads > 0
    }

    fn statuses(&mut self, cache: &CacheEntry, used: bool) -> Vec<u16> {
        let mut statuses = Vec::new();
        for at in cache.statuses.items() {
            let status = u16::try_from(at.value).unwrap_or(u16::MAX);
            if matches!(status, 206 | 304) {
                let message = format!("an answer with status {status} is part of another one");
                let help = "take it out: the cache puts such answers together by itself, and the \
                            status of the whole counts";
                self.report.error(at.span, message, Some(help.to_owned()));
            }
            if statuses.contains(&status) {
                let help = "take one of them away".to_owned();
                self.report.warning(at.span, "this is there twice", Some(help));
                continue;
            }
            statuses.push(status);
        }
        let unreadable = matches!(cache.ttl, Given::Unreadable);
        if let Some(at) = cache.statuses.value()
            && !(used || unreadable || cache.force.is_there())
        {
            let message = "`statuses` says what `ttl` is for, and there is none";
            let help = "add `ttl` or `force`, or take `statuses` away";
            self.report.warning(at.span, message, Some(help.to_owned()));
        }
        statuses
    }

    fn max_object(&mut self, given: &Given<u64>) -> u64 {
        let largest = largest_tier(self.config);
        let Some(at) = given.value() else { return largest / 8 };
        if at.value > largest {
            let message = format!("the cache holds no more than {}", show_size(largest));
            let help = "write a smaller `max-object`, or give [cache] a larger `disk`";
            self.report.warning(at.span, message, Some(help.to_owned()));
        }
        at.value.min(largest)
    }

    fn tags(&mut self, given: &Given<Box<str>>) -> Option<Box<str>> {
        let at = given.value()?;
        if matches!(&*at.value, "surrogate-key" | "cache-tag") {
            let message = format!("{} is always read", quoted(&at.value));
            self.report.warning(at.span, message, Some("take `tags` away".to_owned()));
        }
        Some(at.value.clone())
    }

    fn version(&mut self, given: &Given<VersionEntry>) -> CacheVersion {
        let Some(at) = given.value() else { return CacheVersion::None };
        let version = &at.value;
        let there = [version.text.is_there(), version.header.is_there(), version.state.is_there()];
        if there.iter().filter(|there| **there).count() != 1 {
            let message = "a version has exactly one of `text`, `header` and `state`";
            let help = "write for example `version = \"7\"`";
            self.report.error(at.span, message, Some(help.to_owned()));
        }
        if let Some(header) = version.header.value() {
            let server = &self.config.server;
            if matches!(server.trust, Given::Absent)
                || server.trust.value().is_some_and(|at| at.value.is_empty())
            {
                let message = "nobody is trusted to say which version it is";
                let help = "name those who are: [server] trust = [\"10.0.0.0/8\"]";
                self.report.warning(header.span, message, Some(help.to_owned()));
            }
            return CacheVersion::Header(header.value.clone());
        }
        if let Some(state) = version.state.value() {
            if matches!(self.config.state.redis, Given::Absent) {
                let message = "there is no shared state to look into";
                let help = "add for example:\n[state]\nredis = \"redis://127.0.0.1:6379\"";
                self.report.missing(state.span, message, Some(help.to_owned()));
            }
            return CacheVersion::State(state.value.as_ref().into());
        }
        version.text.value().map_or(CacheVersion::None, |at| CacheVersion::Text(at.value.clone()))
    }

    fn coalesce(&mut self, route: &Route, cache: &CacheEntry) -> Coalesce {
        let whole = route.timeout.value;
        let standard = Coalesce { wait: DEFAULT_WAIT.min(whole), waiters: DEFAULT_WAITERS };
        let Some(at) = cache.coalesce.value() else { return standard };
        let Some(coalesce) = &at.value else {
            return Coalesce { wait: Duration::ZERO, waiters: 0 };
        };
        let wait = &coalesce.wait;
        if wait.given && wait.value >= whole {
            let message = format!(
                "nobody who waits so long has time left: the whole exchange has {}",
                show_duration(whole)
            );
            let help = "write a shorter time, or a longer `timeout` of the route";
            self.report.warning(wait.span, message, Some(help.to_owned()));
        }
        Coalesce {
            wait: if wait.given { wait.value } else { standard.wait },
            waiters: number(coalesce.waiters.value),
        }
    }

    fn parent(&mut self, cache: &CacheEntry, own: Option<usize>, tier: Tier) -> Option<usize> {
        let Some(at) = cache.parent.value() else {
            if let (Tier::Edge | Tier::Regional, Some(at), false) =
                (tier, cache.tier.value(), cache.parent.is_there())
            {
                let message = "this node is before another tier, and no `parent` says which";
                let help = "add `parent = \"UPSTREAM\"` with the nodes of the next tier, or write \
                            `tier = \"shield\"`";
                self.report.warning(at.span, message, Some(help.to_owned()));
            }
            return None;
        };
        if tier == Tier::Shield {
            let message = "a shield asks the origin; there is no tier behind it";
            let help = "take `parent` away, or write `tier = \"regional\"`";
            self.report.error(at.span, message, Some(help.to_owned()));
        }
        let parent = self.upstreams.find("parent", at, self.report)?;
        if Some(parent) == own {
            let message = "this is the upstream that `to` names";
            let help = "name the Seawall nodes of the next tier; `to` is asked when none answers";
            self.report.error(at.span, message, Some(help.to_owned()));
        }
        Some(parent)
    }
}

/// The `ttl` of a tier.
fn ttl(tier: Tier) -> Option<Duration> {
    match tier {
        Tier::None => None,
        Tier::Edge => Some(Duration::from_secs(60)),
        Tier::Regional => Some(Duration::from_secs(15 * 60)),
        Tier::Shield => Some(Duration::from_secs(4 * 60 * 60)),
    }
}

/// The `jitter` of a tier, in thousandths.
fn jitter(tier: Tier) -> u32 {
    match tier {
        Tier::None | Tier::Shield => 100,
        Tier::Edge => 500,
        Tier::Regional => 666,
    }
}

const DEFAULT_WAIT: Duration = Duration::from_secs(10);
const DEFAULT_WAITERS: usize = 20_000;
/// Errors may be kept so long whatever the lifetime of other answers.
const SHORT: Duration = Duration::from_secs(10);
