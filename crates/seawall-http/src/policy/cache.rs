//! The cache (RFC 9111): answers from the store, and one fetch for all who ask for the same.
//!
//! [`answer`] is the story: look the request up, serve what may be served, fetch what is not there.
//! A fetch belongs to nobody ([`fill`]): whoever asked first waits for it like everyone else, so
//! that no client can slow it or end it. What is served is made ready in [`serve`], for each request
//! anew; its content is read by [`reading`]. Requests that change something go past the cache and
//! through [`invalidate`].

pub(crate) mod advice;
pub(crate) mod chunks;
pub(crate) mod fill;
pub(crate) mod fleet;
pub(crate) mod invalidate;
pub(crate) mod node;
pub(crate) mod reading;
pub(crate) mod serve;
pub(crate) mod shelf;
pub(crate) mod tier;

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use seawall_cache::Millis;
use seawall_cache::directives::{Demand, demand};
use seawall_cache::fill::{Join, Verdict};
use seawall_cache::freshness::{self, Arrival, Reason, Standing, Unstorable};
use seawall_cache::key::Scheme;
use seawall_cache::object::{Content, Object};
use seawall_cache::status::Forward as Why;
use seawall_cache::store::{Found, Mark, Variants};
use seawall_cache::{key, vary};
use seawall_config::plan::{Cache, CacheVersion, Forward, Route};
use seawall_h1::fields::{self, is_same_variable};
use seawall_h1::{BodyLength, Known, Method, RequestHead};
use seawall_telemetry::metrics::{Cache as Cells, CacheOutcome};
use tokio::time::timeout;

use self::fill::{Handed, Parcel};
use self::fleet::Fleet;
use self::node::{LABELS, Node};
use self::serve::Told;
use crate::forward::forward;
use crate::message::{Request, Response};
use crate::policy::headers::{client_of, is_secure};
use crate::refuse::Refusal;

/// Fetches that may go on in the background of one node: after a mass purge, everything is
/// fetched anew at the pace that the origin has, and what is old is served until then.
const MOST_REFRESHES: usize = 64;

/// How often a request looks again because what it waited for turned out not to be for it.
const ROUNDS: usize = 3;

/// A request that the cache may have an answer for.
pub(crate) struct Errand<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) route: &'a Route,
    pub(crate) to: &'a Forward,
    pub(crate) rules: &'a Cache,
    pub(crate) node: &'a Arc<Node>,
    /// What is counted for the route, by this worker.
    pub(crate) cells: &'a Cells,
    pub(crate) demand: Demand,
    pub(crate) now: Millis,
}

/// Why a request goes past the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// Its method is none that is answered from the cache.
    Method,
    /// The rules of the route say so, or the request itself is of a kind that is never stored.
    Bypass,
    /// An answer to this was not to be stored a moment ago.
    Uncacheable,
    /// Too many wait, or it has waited for long enough.
    Crowded,
    /// The answer that it waited for was for somebody else.
    Alone,
}

/// The key of a request: that of all variants, and behind it what tells them apart.
struct Key {
    text: Vec<u8>,
    /// Where the first part ends.
    primary: usize,
    /// By which fields answers vary, if they do.
    variants: Option<Arc<Variants>>,
}

impl Key {
    /// That of nothing.
    fn none() -> Key {
        Key { text: Vec::new(), primary: 0, variants: None }
    }
}

/// Whether an answer is stored, or will be.
fn is_kept(object: &Object) -> bool {
    !matches!(object.content, Content::Arriving { kept: false, .. })
}

/// What becomes of a request that needs a fetch for this reason.
fn without(why: Why) -> CacheOutcome {
    match why {
        Why::Stale | Why::Request => CacheOutcome::Expired,
        Why::Bypass | Why::Method | Why::UriMiss | Why::VaryMiss | Why::Miss | Why::Partial => {
            CacheOutcome::Miss
        }
    }
}

/// What a look-up comes to.
enum Looked {
    Serve(Response),
    Fetch(Why, Option<Arc<Object>>),
    Past(Past),
}

/// Answers a request, from the store if that can be.
///
/// When dropped, what is being fetched goes on being fetched.
pub(crate) async fn answer(
    request: &Request<'_>,
    route: &Route,
    to: &Forward,
    rules: &Cache,
) -> Result<Response, Refusal> {
    let compiled = &request.running.compiled;
    let cells = request.facts.route.get().and_then(|route| compiled.caches[route].as_ref());
    let (Some(node), Some(cells)) = (&compiled.cache, cells) else {
        return forward(request, route, to).await;
    };
    let cells = cells.of(request.worker.index);
    let now = node.millis(request.ready);
    let is_heard = rules.client_control || request.trusted && tier::asks(&request.head.headers);
    let demand = match is_heard {
        true => demand(&request.head.headers),
        false => Demand::default(),
    };
    let mut errand = Errand { request, route, to, rules, node, cells, demand, now };
    if request.head.method_text() == b"PURGE" && errand.may_purge() {
        return Ok(Box::pin(invalidate::purge(&errand)).await);
    }
    if let Some(past) = past(request.head, rules, &errand.demand) {
        return Box::pin(errand.go_past(past)).await;
    }
    let is_behind = |fleet: &Arc<Fleet>| !fleet.is_current(request.ready);
    if node.fleet().as_ref().is_some_and(is_behind)
        && let Some(fleet) = node.fleet().clone()
    {
        let without = compiled.plan.cache.without_state;
        if !Box::pin(fleet.may_serve(without)).await {
            // What is stored may have been purged.
            errand.demand.no_cache = true;
        }
    }
    if rules.parent.is_some() && tier::loops(&request.head.headers, node) {
        return Err(Refusal::Loop);
    }
    if request.trusted
        && node.fleet().is_some()
        && !Box::pin(tier::knows_as_much(request, node)).await
    {
        errand.demand.no_cache = true;
    }
    let mut key = errand.key();
    let mut looked = errand.look_up(&mut key);
    if matches!(looked, Looked::Fetch(_, None)) && errand.is_on_disk(&key) {
        let found = Box::pin(errand.load(&mut key)).await;
        looked = errand.weigh(&key, found);
    }
    match looked {
        Looked::Serve(response) => {
            request.worker.give_back_text(key.text);
            Ok(response)
        }
        Looked::Fetch(..) if request.head.headers.iter().any(|it| overrides_method(it.name)) => {
            Box::pin(errand.go_past(Past::Bypass)).await
        }
        Looked::Fetch(why, old) => Box::pin(errand.fetch(key, why, old)).await,
        Looked::Past(past) => Box::pin(errand.go_past_mark(past, &key)).await,
    }
}

/// The scheme that the client used.
fn scheme_of(request: &Request<'_>) -> Scheme {
    if is_secure(request) { Scheme::Https } else { Scheme::Http }
}

/// Why a request has nothing to do with the cache, if so.
pub(crate) fn past(head: &RequestHead, rules: &Cache, demand: &Demand) -> Option<Past> {
    match head.method {
        Method::Get => {}
        Method::Head if rules.head => {}
        _ => return Some(Past::Method),
    }
    let bare = matches!(head.body, BodyLength::Empty | BodyLength::Length(0));
    let is_other = !bare
        || head.connection.upgrade
        || demand.no_store
        || head.headers.known(Known::IfMatch).is_some()
        || head.headers.known(Known::IfUnmodifiedSince).is_some()
        || head.connection.names_fields && loses_fields(head);
    (is_other || key::is_bypassed(head, &rules.bypass)).then_some(Past::Bypass)
}

/// Whether `Connection` takes fields out of a request that the server would be told otherwise. The
/// cache must not go by them, then, and what is answered is for nobody else.
fn loses_fields(head: &RequestHead) -> bool {
    let options = head.headers.all_known(Known::Connection).flat_map(fields::list);
    options
        .filter(|name| !Known::of(name).is_hop_by_hop())
        .any(|name| head.headers.iter().any(|field| field.name.eq_ignore_ascii_case(name)))
}

/// Whether a field has some applications take the request for one with another method.
fn overrides_method(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 3] = [b"x-http-method-override", b"x-http-method", b"x-method-override"];
    NAMES.iter().any(|one| is_same_variable(name, one))
}

/// Appends the part of the key of a request that all variants have. Namespaces that requests name
/// are those of `trusted` peers.
pub(crate) fn write_key(
    head: &RequestHead,
    scheme: Scheme,
    trusted: bool,
    rules: &Cache,
    node: &Node,
    out: &mut Vec<u8>,
) {
    let state;
    let version: &[u8] = match &rules.version {
        CacheVersion::None => b"",
        CacheVersion::Text(text) => text.as_bytes(),
        CacheVersion::Header(name) if trusted => {
            head.headers.first(name.as_bytes()).unwrap_or_default()
        }
        CacheVersion::Header(_) => b"",
        CacheVersion::State(name) => {
            state = node.version(name);
            state.as_bytes()
        }
    };
    key::write(head, &rules.key, scheme, version, out);
    // What applications make links and redirections of.
    let told = head.headers.known(Known::XForwardedHost).filter(|_| trusted && rules.key.host);
    if told.is_some_and(|host| !host.eq_ignore_ascii_case(head.authority())) {
        key::write_field("x-forwarded-host", head, out);
    }
}

impl Errand<'_> {
    /// Says what became of the request, in metrics and in its line of the access log.
    fn count(&self, outcome: CacheOutcome) {
        self.cells.count(outcome);
        self.request.facts.cache.set(Some(outcome));
    }

    fn may_purge(&self) -> bool {
        let may = |client| self.rules.purge.iter().any(|network| network.contains(&client));
        !self.rules.purge.is_empty() && client_of(self.request).is_some_and(may)
    }

    fn key(&self) -> Key {
        let Errand { request, rules, node, .. } = self;
        let mut text = request.worker.take_text();
        write_key(request.head, scheme_of(request), request.trusted, rules, node, &mut text);
        Key { primary: text.len(), text, variants: None }
    }

    /// Looks the request up in memory, and serves what may be served.
    fn look_up(&self, key: &mut Key) -> Looked {
        let store = &self.node.store;
        key.text.truncate(key.primary);
        key.variants = None;
        let mut found = store.get(store.hash(&key.text), &key.text);
        if let Some(Found::Varies(variants)) = &found {
            self.vary_by(key, Some(variants));
            found = store.get_variant(variants, store.hash(&key.text), &key.text);
        }
        self.weigh(key, found)
    }

    /// What becomes of what was found.
    fn weigh(&self, key: &Key, found: Option<Found>) -> Looked {
        let Errand { request, demand, cells, .. } = self;
        let (object, soft) = match found {
            Some(Found::Object { object, soft }) => (object, soft),
            Some(Found::Pass(mark)) if self.is_held_off(mark) && !demand.only_if_cached => {
                return Looked::Past(Past::Uncacheable);
            }
            _ if key.variants.is_some() => return Looked::Fetch(Why::VaryMiss, None),
            _ => return Looked::Fetch(Why::UriMiss, None),
        };
        if !chunks::are_within_reach(self.node, &object) {
            return Looked::Fetch(Why::Partial, None);
        }
        match freshness::standing(&object.meta, demand, soft, self.now) {
            Standing::Fresh { left } => {
                let random = request.worker.any_number();
                let is_early = self.rules.early && freshness::early(&object.meta, self.now, random);
                if is_early && self.refresh(key, &object) {
                    cells.early.add(1);
                }
                self.count(CacheOutcome::Hit);
                Looked::Serve(self.serve(&object, Told::Fresh(left), None))
            }
            Standing::Stale { client_accepts: true, while_revalidate, by, .. } => {
                if while_revalidate && self.refresh(key, &object) {
                    cells.background.add(1);
                }
                self.count(CacheOutcome::Stale);
                Looked::Serve(self.serve(&object, Told::Stale(by, "max-stale"), None))
            }
            Standing::Stale { while_revalidate: true, by, .. } if !self.is_for_tier() => {
                if self.refresh(key, &object) {
                    cells.background.add(1);
                }
                self.count(CacheOutcome::Stale);
                Looked::Serve(self.serve(&object, Told::Stale(by, "revalidating"), None))
            }
            Standing::Stale { .. } => Looked::Fetch(Why::Stale, Some(object)),
            Standing::Validate { reason: Reason::NoCache, .. } => {
                Looked::Fetch(Why::Stale, Some(object))
            }
            Standing::Validate { .. } => Looked::Fetch(Why::Request, Some(object)),
        }
    }

    /// Whether answers to the request are known to be not to be stored.
    fn is_held_off(&self, mark: Mark) -> bool {
        let for_all = mark.why != Unstorable::Authorization as u8;
        let headers = &self.request.head.headers;
        mark.until > self.now && (for_all || headers.known(Known::Authorization).is_some())
    }

    /// Whether what memory does not have may be on disk.
    fn is_on_disk(&self, key: &Key) -> bool {
        let store = &self.node.store;
        match &key.variants {
            None => store.is_on_disk(&key.text),
            Some(variants) => store.is_variant_on_disk(variants, &key.text),
        }
    }

    /// What is on disk. It is in memory afterwards, if that lets it in.
    async fn load(&self, key: &mut Key) -> Option<Found> {
        let store = &self.node.store;
        if key.variants.is_none() {
            match store.load(store.hash(&key.text), &key.text).await {
                Some(Found::Varies(variants)) => self.vary_by(key, Some(&variants)),
                found => return found,
            }
        }
        let variants = key.variants.as_ref()?;
        store.load_variant(variants, store.hash(&key.text), &key.text).await
    }

    /// Extends the key by what tells variants apart.
    fn vary_by(&self, key: &mut Key, variants: Option<&Arc<Variants>>) {
        key.text.truncate(key.primary);
        if let Some(variants) = variants {
            vary::secondary(variants.names(), self.request.head, &mut key.text);
        }
        key.variants = variants.cloned();
    }

    /// Whether whoever asks is a cache in front of this one, which would serve what is stale here as
    /// if it were fresh there.
    fn is_for_tier(&self) -> bool {
        tier::asks(&self.request.head.headers)
    }

    /// Fetches an answer anew, which nobody waits for; unless that goes on already, or too many do.
    fn refresh(&self, key: &Key, old: &Arc<Object>) -> bool {
        let Errand { request, node, .. } = self;
        if node.refreshing.load(Relaxed) >= MOST_REFRESHES {
            return false;
        }
        let sequence = node.store.sequence();
        let hash = node.store.hash(&key.text);
        let Some(lead) = node.fills.refresh(hash, &key.text, sequence) else { return false };
        let parcel = Parcel::new(self, key, Some(old.clone()), false);
        fill::begin(request.worker, parcel, lead, None);
        true
    }

    /// Fetches an answer, with all who wait for the same.
    async fn fetch(
        &self,
        mut key: Key,
        mut why: Why,
        mut old: Option<Arc<Object>>,
    ) -> Result<Response, Refusal> {
        let Errand { request, node, rules, demand, cells, .. } = self;
        if demand.only_if_cached {
            self.count(CacheOutcome::Refused);
            return Err(Refusal::NotCached);
        }
        for round in 0..ROUNDS {
            let hash = node.store.hash(&key.text);
            let sequence = node.store.sequence();
            let oldest = self.oldest();
            let most = if rules.coalesce.wait.is_zero() { 0 } else { rules.coalesce.waiters };
            let (mut follow, handed) =
                match node.fills.join(hash, &key.text, sequence, oldest, most, |object| {
                    // What has come before is good for who comes now if it would be served.
                    let standing = freshness::standing(&object.meta, demand, None, self.now);
                    matches!(standing, Standing::Fresh { .. })
                }) {
                    Join::Lead(lead, follow) => {
                        // A fetch may have ended since it was looked for what that has stored.
                        let variants = key.variants.clone();
                        if old.is_none() && node.store.holds(variants.as_ref(), hash, &key.text) {
                            let looked = self.look_up(&mut key);
                            if key.text != lead.key() || !matches!(looked, Looked::Fetch(..)) {
                                lead.say(Verdict::Again);
                            }
                            match looked {
                                Looked::Serve(response) => return Ok(response),
                                Looked::Past(past) => return self.go_past_mark(past, &key).await,
                                Looked::Fetch(reason, stored) => (why, old) = (reason, stored),
                            }
                            if key.text != lead.key() {
                                continue;
                            }
                        }
                        let handed = Rc::new(Handed::default());
                        let parcel = Parcel::new(self, &key, old.take(), true);
                        fill::begin(request.worker, parcel, lead, Some(handed.clone()));
                        (follow, Some(handed))
                    }
                    Join::Follow(follow) => {
                        cells.waited.add(u64::from(round == 0));
                        (follow, None)
                    }
                    Join::Crowded => return self.go_past(Past::Crowded).await,
                };
            let verdict = poll_fn(|cx| follow.poll_verdict(cx));
            let verdict = match &handed {
                // Who begins waits for as long as the route lets him.
                Some(_) => verdict.await,
                // Who leaves shortly before has no time to ask by himself, and asks all the same.
                None if rules.coalesce.wait >= self.to.timeout => verdict.await,
                None => match timeout(rules.coalesce.wait, verdict).await {
                    Ok(verdict) => verdict,
                    Err(_) => return self.go_past(Past::Crowded).await,
                },
            };
            if let Some(handed) = &handed {
                handed.tell(request.facts);
            }
            match verdict {
                Verdict::Answer { object, variants } => {
                    if handed.is_none() {
                        self.vary_by(&mut key, variants.as_ref());
                        let is_ours = key.text == object.key();
                        if !is_ours || node.store.purged(&object).is_some() {
                            // It is for others, or too old. What is ours may be stored by now.
                            match self.look_up(&mut key) {
                                Looked::Serve(response) => return Ok(response),
                                Looked::Fetch(reason, stored) => (why, old) = (reason, stored),
                                Looked::Past(past) => return self.go_past_mark(past, &key).await,
                            }
                            continue;
                        }
                    }
                    self.count(match object.content {
                        Content::Arriving { kept: false, .. } => CacheOutcome::Uncacheable,
                        Content::Arriving { kept: true, .. } => without(why),
                        // What was stored still holds, or another node of the fleet had it.
                        Content::Whole | Content::Chunks { .. } => match without(why) {
                            CacheOutcome::Expired => CacheOutcome::Revalidated,
                            other => other,
                        },
                    });
                    let collapsed = handed.is_none();
                    let told = Told::Fetched { why, collapsed, stored: is_kept(&object) };
                    return Ok(self.serve(&object, told, Some(follow)));
                }
                Verdict::Stale(object, refusal) => {
                    let told = match freshness::standing(&object.meta, demand, None, self.now) {
                        Standing::Stale { by, if_error: true, .. } => {
                            Told::Stale(by, "stale-if-error")
                        }
                        Standing::Fresh { left } => Told::Fresh(left),
                        Standing::Validate { if_error: true, .. } => {
                            Told::Stale(0, "stale-if-error")
                        }
                        Standing::Stale { .. } | Standing::Validate { .. } => {
                            let Some(refusal) = refusal else {
                                return self.go_past(Past::Alone).await;
                            };
                            self.count(without(why));
                            return Err(refusal);
                        }
                    };
                    self.count(CacheOutcome::ErrorStale);
                    return Ok(self.serve(&object, told, None));
                }
                Verdict::Again if handed.is_none() => match self.look_up(&mut key) {
                    Looked::Serve(response) => return Ok(response),
                    Looked::Fetch(reason, stored) => (why, old) = (reason, stored),
                    Looked::Past(past) => return self.go_past_mark(past, &key).await,
                },
                Verdict::Alone | Verdict::Again => {
                    return match handed.and_then(|handed| handed.take()) {
                        Some(response) => {
                            self.count(CacheOutcome::Uncacheable);
                            Ok(response)
                        }
                        None => self.go_past(Past::Alone).await,
                    };
                }
                Verdict::Failed(refusal) => {
                    self.count(without(why));
                    return Err(refusal);
                }
            }
        }
        self.go_past(Past::Alone).await
    }

    /// The purge sequence below which a fill is too old to be joined: what it brings may have been
    /// purged since.
    fn oldest(&self) -> u64 {
        let Errand { request, rules, node, .. } = self;
        let purges = node.store.purges();
        if purges.sequence() == 0 {
            return 0;
        }
        let mut labels = Vec::with_capacity(16);
        let url = invalidate::url_of(request);
        LABELS.write(&url, &rules.key, std::iter::empty(), &mut labels);
        purges.newest_sequence(labels.into_iter())
    }

    /// Forwards a request whose answer was not to be stored a moment ago. If that of this one may
    /// be, the next one is fetched for all again: or whoever is signed in would switch the cache off
    /// for those who are not.
    async fn go_past_mark(&self, past: Past, key: &Key) -> Result<Response, Refusal> {
        let Errand { request, rules, node, now, .. } = *self;
        let response = self.go_past(past).await?;
        let arrival = Arrival {
            request: request.head,
            status: response.head.status,
            answer: &response.head.headers,
            length: response.head.content_length,
            requested: now,
            received: node.millis(request.worker.turn.now()),
            rules,
            parts: false,
            random: 0,
        };
        if past == Past::Uncacheable && freshness::judge(&arrival).is_ok() {
            let hash = node.store.hash(&key.text);
            match &key.variants {
                None => node.store.clear_pass(hash, &key.text),
                Some(variants) => {
                    node.store.remove_variant(variants, hash, &key.text);
                }
            }
        }
        Ok(response)
    }

    /// Forwards the request as if there were no cache.
    async fn go_past(&self, past: Past) -> Result<Response, Refusal> {
        let Errand { request, route, to, cells, .. } = self;
        self.count(match past {
            Past::Method | Past::Bypass => CacheOutcome::Bypass,
            Past::Uncacheable => CacheOutcome::Pass,
            Past::Crowded => CacheOutcome::Miss,
            Past::Alone => CacheOutcome::Uncacheable,
        });
        if matches!(past, Past::Crowded | Past::Alone) {
            cells.went_alone.add(1);
        }
        let mut response = forward(request, route, to).await?;
        if past == Past::Method {
            invalidate::after(self, &response.head);
        }
        let (why, detail) = match past {
            Past::Method => (Why::Method, None),
            Past::Bypass => (Why::Bypass, None),
            Past::Uncacheable => (Why::UriMiss, Some("hit-for-miss")),
            Past::Crowded => (Why::UriMiss, Some("not-waited")),
            Past::Alone => (Why::UriMiss, Some("not-shared")),
        };
        serve::tell_past(&mut response.head, why, detail, false);
        Ok(response)
    }
}
