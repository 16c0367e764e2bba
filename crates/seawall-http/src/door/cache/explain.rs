//! Why a URL is stored, served, or not: what a request would meet, step by step.
//!
//! Nothing is fetched and nothing changes, but that a look-up counts as one: what was on disk alone
//! may be in memory after it.

use std::sync::Arc;

use seawall_cache::conditional::Validators;
use seawall_cache::directives::{Demand, demand};
use seawall_cache::freshness::{self, Arrival, Standing, Unstorable};
use seawall_cache::key::{self, Scheme, Url};
use seawall_cache::object::{Content, Object};
use seawall_cache::store::{Found, Mark, Variants};
use seawall_cache::{Millis, vary};
use seawall_config::plan::{Cache, CacheVersion, WithoutState};
use seawall_h1::{Headers, Known, RequestHead};
use seawall_state::Standing as Purges;
use seawall_telemetry::metrics::CacheOutcome;
use tokio::time::Instant;

use super::{CacheError, CacheHandle, request, route, rules};
use crate::compiled::Compiled;
use crate::policy::cache::node::{LABELS, Node};
use crate::policy::cache::{Past, past, tier, write_key};
use crate::route::Found as Route;

/// A request that is only thought of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its method is `HEAD` instead of `GET`.
    pub head: bool,
    /// What is asked for.
    pub url: String,
    /// Its fields besides `Host`.
    pub fields: Vec<(String, String)>,
}

/// What it would meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The route that takes it.
    pub route: Option<Arc<str>>,
    /// The key that it is looked up by.
    pub key: Option<String>,
    /// What would be done with it, as metrics call it; `none` if the cache has no part in it.
    pub outcome: &'static str,
    /// What was looked at, in order.
    pub steps: Vec<Step>,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What, in a word.
    pub step: &'static str,
    /// What was found, in a sentence.
    pub found: String,
    /// The section of an RFC, or the key of the configuration, that says so.
    pub because: Option<&'static str>,
}

impl CacheHandle {
    /// Says what a request would meet.
    ///
    /// # Errors
    ///
    /// When there can be no such request, or no plan is in place.
    pub async fn explain(&self, question: &Question) -> Result<Explanation, CacheError> {
        let compiled = self.compiled()?;
        let (head, scheme) = request(question.head, &question.url, &question.fields)?;
        let mut story = Explanation { route: None, key: None, outcome: "none", steps: Vec::new() };
        story.tell(&compiled, &head, scheme).await;
        Ok(story)
    }
}

/// What a stored answer is looked at by.
struct Look<'a> {
    node: &'a Node,
    rules: &'a Cache,
    head: &'a RequestHead,
    demand: Demand,
    now: Millis,
}

impl Explanation {
    fn add(&mut self, step: &'static str, found: String, because: impl Into<Option<&'static str>>) {
        self.steps.push(Step { step, found, because: because.into() });
    }

    fn end(&mut self, outcome: CacheOutcome) {
        self.outcome = outcome.word();
    }

    async fn tell(&mut self, compiled: &Compiled, head: &RequestHead, scheme: Scheme) {
        let routes = &compiled.plan.routes;
        let Some(at) = route(compiled, head) else {
            let is_ambiguous = compiled.table.find(routes, head) == Route::Ambiguous;
            return self.add(
                "route",
                match is_ambiguous {
                    true => "the readings of the path lead to different routes: 400".to_owned(),
                    false => "no route takes it: 404".to_owned(),
                },
                "route",
            );
        };
        let route = &routes[at];
        self.route = Some(route.name.clone());
        let (Some((to, rules)), Some(node)) = (rules(route), &compiled.cache) else {
            let found = format!("`{}` takes it, and has no cache", route.name);
            return self.add("route", found, "route.cache");
        };
        let upstream = |at: usize| compiled.plan.upstreams.get(at).map_or("", |to| &*to.name);
        let found = match rules.parent {
            None => format!("`{}` takes it, for `{}`", route.name, upstream(to.upstream)),
            Some(parent) => format!(
                "`{}` takes it, for `{}` by way of `{}`",
                route.name,
                upstream(to.upstream),
                upstream(parent)
            ),
        };
        self.add("route", found, None);
        let demand = match rules.client_control {
            true => demand(&head.headers),
            false => Demand::default(),
        };
        let now = node.millis(Instant::now());
        let mut look = Look { node, rules, head, demand, now };
        if let Some(past) = past(head, rules, &look.demand) {
            self.end(CacheOutcome::Bypass);
            return match (past, look.demand.no_store) {
                (Past::Method, _) => {
                    self.add("bypass", "its method goes past the cache".into(), "cache.methods");
                }
                (_, true) => {
                    let because = "RFC 9111 §5.2.1.5";
                    self.add("bypass", "the request says no-store".into(), because);
                }
                (_, false) => {
                    self.add("bypass", "it goes past the cache".into(), "cache.bypass");
                }
            };
        }
        self.fleet(&mut look, compiled.plan.cache.without_state);
        self.look_up(&look, scheme).await;
    }

    /// Whether the node knows of all purges of its fleet, and what becomes of what is stored if not.
    fn fleet(&mut self, look: &mut Look<'_>, without: WithoutState) {
        let fleet = look.node.fleet();
        let Some(fleet) = fleet.as_ref() else { return };
        let state = match fleet.state().standing(Instant::now().into_std()) {
            Purges::Current => {
                let found = "this node knows of all purges of its fleet".to_owned();
                return self.add("fleet", found, "state.redis");
            }
            Purges::CatchingUp => "is catching up with the purges of its fleet".to_owned(),
            Purges::Away(since) => format!(
                "may have missed purges: the shared state has been away for {}",
                seconds(since.as_millis() as u64)
            ),
        };
        let then = match without {
            WithoutState::Serve => "what is stored is served all the same",
            WithoutState::Validate => {
                look.demand.no_cache = true;
                "the origin is asked before each use"
            }
        };
        self.add("fleet", format!("this node {state}; {then}"), "cache.without-state");
    }

    async fn look_up(&mut self, look: &Look<'_>, scheme: Scheme) {
        let Look { node, rules, head, .. } = *look;
        let mut text = Vec::new();
        write_key(head, scheme, true, rules, node, &mut text);
        let primary = text.len();
        let because = match rules.version {
            CacheVersion::None => "cache.key",
            CacheVersion::Text(_) | CacheVersion::Header(_) | CacheVersion::State(_) => {
                "cache.key, cache.version"
            }
        };
        let shown = key::shown(&text, primary, &[]);
        self.add("key", format!("it is looked up as `{shown}`"), because);
        self.key = Some(shown);
        let store = &node.store;
        let hash = store.hash(&text);
        let mut found = store.get(hash, &text);
        if found.is_none() && store.is_on_disk(&text) {
            found = store.load(hash, &text).await;
            self.add("disk", "what is stored was on disk".to_owned(), None);
        }
        if let Some(Found::Varies(variants)) = found {
            let count = store.count_variants(hash, &text);
            vary::secondary(variants.names(), head, &mut text);
            let shown = key::shown(&text, primary, variants.names());
            self.vary(&variants, count, &shown);
            self.key = Some(shown);
            let hash = store.hash(&text);
            found = store.get_variant(&variants, hash, &text);
            if found.is_none() && store.is_variant_on_disk(&variants, &text) {
                found = store.load_variant(&variants, hash, &text).await;
                self.add("disk", "the variant was on disk".to_owned(), None);
            }
        }
        self.purged(look, scheme, &found);
        match found {
            Some(Found::Object { object, soft }) => self.stored(look, &object, soft),
            Some(Found::Pass(mark)) if mark.until > look.now => self.marked(look, &text, mark),
            Some(Found::Pass(_) | Found::Varies(_)) | None => {
                self.add("store", "nothing is stored for it".to_owned(), None);
                self.fetch(look, &text, CacheOutcome::Miss);
            }
        }
    }

    fn vary(&mut self, variants: &Variants, count: usize, shown: &str) {
        let names = variants.names().iter().map(|name| name.escape_ascii().to_string());
        let names = names.collect::<Vec<_>>().join(", ");
        let found = format!(
            "answers differ by {names}, and {count} of them are known: it is looked up as `{shown}`"
        );
        self.add("vary", found, "RFC 9111 §4.1");
    }

    /// What its URL was purged by, if anything that is known here; tags are known of what is
    /// stored only.
    fn purged(&mut self, look: &Look<'_>, scheme: Scheme, found: &Option<Found>) {
        let (head, mut labels) = (look.head, Vec::new());
        let (authority, path, query) = (head.authority(), head.path(), head.query());
        let url = Url { scheme, authority, path, query };
        LABELS.write(&url, &look.rules.key, std::iter::empty(), &mut labels);
        if let Some(Found::Object { object, .. }) = found {
            labels.extend(object.labels());
        }
        let Some(when) = look.node.store.newest_purge(labels.into_iter()) else { return };
        let ago = seconds(look.now.saturating_sub(when));
        let found = match found {
            Some(Found::Object { soft: Some(_), .. }) => {
                format!("it was purged softly {ago} ago, and is stale since then")
            }
            Some(Found::Object { .. }) => {
                format!("the last purge was {ago} ago; what is stored was fetched after that")
            }
            Some(_) | None => format!(
                "the last purge was {ago} ago; if something was stored before that, it is gone"
            ),
        };
        self.add("purge", found, None);
    }

    fn marked(&mut self, look: &Look<'_>, key: &[u8], mark: Mark) {
        let of_users = mark.why == Unstorable::Authorization as u8;
        let why = Unstorable::ALL.get(usize::from(mark.why));
        let why = why.map_or("for an unknown reason".to_owned(), |why| {
            format!("({}: {})", why.code(), why.why())
        });
        let left = seconds(mark.until.saturating_sub(look.now));
        let whose = if of_users { "requests with Authorization" } else { "requests" };
        let found = format!(
            "an answer to it was not stored {why}; for {left} more, {whose} go to the origin \
             without waiting for each other"
        );
        self.add("store", found, None);
        if of_users && look.head.headers.known(Known::Authorization).is_none() {
            let found = "this request has none, so that it is as if nothing were known";
            self.add("authorization", found.to_owned(), "RFC 9111 §3.5");
            return self.fetch(look, key, CacheOutcome::Miss);
        }
        if look.demand.only_if_cached {
            return self.fetch(look, key, CacheOutcome::Refused);
        }
        self.end(CacheOutcome::Pass);
    }

    fn stored(&mut self, look: &Look<'_>, object: &Object, soft: Option<Millis>) {
        let Object { meta, content, .. } = object;
        let (age, now) = (freshness::age(meta, look.now), look.now);
        let place = match content {
            Content::Whole => "in one piece".to_owned(),
            Content::Chunks { .. } => {
                format!("in chunks of {} KiB", seawall_cache::object::CHUNK >> 10)
            }
            Content::Arriving { .. } => "while it arrives".to_owned(),
        };
        let length = object.length().map_or("unknown".to_owned(), |length| length.to_string());
        let found = format!(
            "an answer is stored: status {}, {length} bytes of content {place}, {age} s old, received {} ago in {} ms",
            meta.status,
            seconds(now.saturating_sub(meta.received)),
            meta.cost,
        );
        self.add("store", found, None);
        self.lifetime(look, object);
        let standing = freshness::standing(meta, &look.demand, soft, now);
        let is_for_tier = tier::asks(&look.head.headers);
        let serve = |if_error| if if_error { "; it is served if the origin fails" } else { "" };
        let (found, because, outcome) = match standing {
            Standing::Fresh { left } => (
                format!("it is fresh for {} more, and is served", seconds(left)),
                "RFC 9111 §4.2",
                CacheOutcome::Hit,
            ),
            Standing::Stale { by, client_accepts: true, .. } => (
                format!("it is stale for {}, which the request accepts: it is served", seconds(by)),
                "RFC 9111 §5.2.1.2",
                CacheOutcome::Stale,
            ),
            Standing::Stale { by, while_revalidate: true, .. } if !is_for_tier => (
                format!("it is stale for {}, and is served while it is fetched anew", seconds(by)),
                "RFC 5861 §3",
                CacheOutcome::Stale,
            ),
            Standing::Stale { by, if_error, .. } => (
                format!(
                    "it is stale for {}: the origin is asked first{}",
                    seconds(by),
                    serve(if_error)
                ),
                "RFC 9111 §4.2.4",
                CacheOutcome::Expired,
            ),
            Standing::Validate { reason, if_error } => (
                format!(
                    "the origin is asked before it is served ({}){}",
                    reason.code(),
                    serve(if_error)
                ),
                "RFC 9111 §5.2",
                CacheOutcome::Expired,
            ),
        };
        self.add("freshness", found, because);
        match outcome {
            CacheOutcome::Expired => {
                let had = Validators::stored(object.fields(), meta.received);
                let found = match had.can_validate() {
                    true => "it can be validated, so that 304 is enough of an answer",
                    false => "it has neither ETag nor Last-Modified, so that all is fetched anew",
                };
                self.add("validation", found.to_owned(), "RFC 9111 §4.3");
                self.fetch(look, object.key(), outcome);
            }
            outcome => self.end(outcome),
        }
    }

    /// Where the lifetime of a stored answer is from, by the rules of now.
    fn lifetime(&mut self, look: &Look<'_>, object: &Object) {
        let Object { meta, .. } = object;
        let (mut request, mut answer) = (look.head.clone(), Headers::default());
        request.become_get();
        answer.restore(object.fields());
        let judged = freshness::judge(&Arrival {
            request: &request,
            status: meta.status,
            answer: &answer,
            length: object.length(),
            requested: meta.received,
            received: meta.received,
            rules: look.rules,
            parts: false,
            random: 0,
        });
        let had = seconds(meta.lifetime);
        let found = match judged {
            Ok(terms) => format!(
                "its lifetime is {had}, of {} by `{}`",
                seconds(terms.meta.lifetime),
                terms.lifetime.name()
            ),
            Err(why) => format!(
                "its lifetime is {had}; by the rules of now it would not be stored ({}: {})",
                why.code(),
                why.why()
            ),
        };
        self.add("lifetime", found, "RFC 9111 §4.2.1");
        let windows = [
            (meta.stale_while_revalidate, "while it is fetched anew"),
            (meta.stale_if_error, "if the origin fails"),
        ];
        let windows: Vec<String> = windows
            .into_iter()
            .filter(|(window, _)| *window > 0)
            .map(|(window, when)| format!("for {window} s {when}"))
            .collect();
        if !windows.is_empty() {
            let found = format!("behind that it may be served {}", windows.join(", "));
            self.add("stale", found, "RFC 5861");
        }
    }

    /// Nothing can be served without the origin.
    fn fetch(&mut self, look: &Look<'_>, key: &[u8], outcome: CacheOutcome) {
        if look.demand.only_if_cached {
            self.end(CacheOutcome::Refused);
            let found = "the request wants nothing to be fetched: 504".to_owned();
            return self.add("fetch", found, "RFC 9111 §5.2.1.7");
        }
        let is_fetched = look.node.fills.contains(look.node.store.hash(key), key);
        let found = match is_fetched {
            true => "it is being fetched: the request waits for that",
            false => "it is fetched, and whoever asks for it meanwhile waits for that",
        };
        self.add("fetch", found.to_owned(), "cache.coalesce");
        self.end(outcome);
    }
}

fn seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}
