//! A fetch for the cache: asks the origin on nobody's behalf, hands what comes to all who wait, and
//! stores what may be stored.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use seawall_cache::conditional::{self, Validators};
use seawall_cache::directives::Demand;
use seawall_cache::fill::{Lead, Verdict};
use seawall_cache::freshness::{
    self, Arrival, Lifetime, Standing, StoredFields, Terms, Unstorable,
};
use seawall_cache::object::{CHUNK, Content, Flags, Meta, Object};
use seawall_cache::purge::{Kind, Purged};
use seawall_cache::range::ContentRange;
use seawall_cache::status::Forward as Why;
use seawall_cache::store::{Mark, Variants};
use seawall_cache::vary::Encodings;
use seawall_cache::{Millis, merge};
use seawall_config::plan::{Action, Cache};
use seawall_h1::{BodyLength, Headers, RequestHead};
use seawall_telemetry::metrics::Cache as Cells;
use tokio::time::{Instant, timeout};

use super::chunks::{self, Received, Wanted};
use super::fleet::{Debt, Joint, Ours};
use super::invalidate::url_of;
use super::node::{LABELS, Node};
use super::shelf::{self, Card, Shelf};
use super::{Errand, Key, serve, tier};
use crate::client::Client;
use crate::forward::Came;
use crate::forward::conversation::Conversation;
use crate::message::{Body, Facts, Peer, Request, Response};
use crate::policy::report::Reported;
use crate::refuse::Refusal;
use crate::tickets::Open;
use crate::turn::TakesTurns;
use crate::upstream::pool::PooledServer;
use crate::worker::{Running, Worker};

/// How far content may arrive ahead of the fastest reader when the store cannot hold it all.
const AHEAD: u64 = 8 << 20;

/// The most that is kept of a route's timeout to answer with what is stale, of which it is a tenth.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// How long an answer that was not to be stored is remembered as such.
const REMEMBERED: Millis = 10_000;

/// Everything that a fetch needs, once it is on its own.
pub(super) struct Parcel {
    head: RequestHead,
    running: Rc<Running>,
    route: usize,
    listener: usize,
    peer: Peer,
    trusted: bool,
    /// By whom the answers that come of it are reported.
    reported: Reported,
    /// Another cache asks.
    for_tier: bool,
    /// Where the key of all variants ends.
    primary: usize,
    /// Behind it the key goes by this, if what is asked for is one of several variants.
    variants: Option<Arc<Variants>>,
    /// What is stored and to be validated.
    old: Option<Arc<Object>>,
    /// What whoever asked first wants of the cache.
    demand: Demand,
    asked: Asked,
    /// Counts it among those that nobody waits for.
    _background: Option<Background>,
}

/// What a fetch is for.
#[derive(Clone)]
pub(super) enum Asked {
    /// A whole answer.
    Whole,
    /// A whole answer of which only parts are wanted for now: the chunk of this number first.
    Part(u64),
    /// A chunk of an object.
    Chunk(Wanted),
}

/// A fetch that nobody waits for.
struct Background(Arc<AtomicUsize>);

impl Background {
    fn new(node: &Node) -> Background {
        node.refreshing.fetch_add(1, Relaxed);
        Background(node.refreshing.clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What the one who began a fetch gets of it beside the others.
#[derive(Default)]
pub(super) struct Handed {
    response: RefCell<Option<Response>>,
    server: RefCell<Option<Rc<PooledServer>>>,
    answered: Cell<Option<Instant>>,
}

impl Handed {
    /// The answer, if it is for one request only.
    pub(super) fn take(&self) -> Option<Response> {
        self.response.take()
    }

    /// Tells which server was asked.
    pub(super) fn tell(&self, facts: &Facts) {
        facts.server.replace(self.server.take());
        facts.answered.set(self.answered.get());
    }
}

impl Parcel {
    /// The request as the origin is to be asked, for all and not for one; validating `old`.
    pub(super) fn new(
        errand: &Errand<'_>,
        key: &Key,
        old: Option<Arc<Object>>,
        foreground: bool,
    ) -> Parcel {
        let Errand { request, node, .. } = errand;
        let mut head = request.head.clone();
        head.become_get();
        head.headers.remove_where(|field| conditional::is_about_a_part(field.known));
        let encodings = Encodings::of(&head);
        head.headers.remove(b"accept-encoding");
        head.headers.append(|out| {
            out.extend_from_slice(b"Accept-Encoding: ");
            encodings.write(out);
            out.extend_from_slice(b"\r\n");
        });
        if !foreground {
            // What a client wanted of its answer is not wanted of this one.
            head.headers.remove(b"cache-control");
            head.headers.remove(b"pragma");
        }
        if let Some(old) = &old {
            let had = Validators::stored(old.fields(), old.meta.received);
            head.headers.append(|out| {
                conditional::write_validators(std::iter::once(had), out);
            });
        }
        let for_tier = tier::asks(&head.headers);
        tier::sign(&mut head.headers, node, errand.rules);
        // Parts can be had of what nothing is stored of.
        let asked = match chunks::first_wanted(request.head) {
            Some(number) if foreground && old.is_none() => {
                head.headers.push(b"Range", chunks::range_of_chunk(number).as_bytes());
                Asked::Part(number)
            }
            _ => Asked::Whole,
        };
        let listeners = &request.running.compiled.plan.listeners;
        let listener = listeners.iter().position(|one| std::ptr::eq(one, request.listener));
        Parcel {
            head,
            running: request.running.clone(),
            route: request.facts.route.get().unwrap_or_default(),
            listener: listener.unwrap_or_default(),
            peer: Peer::new(request.peer.address),
            trusted: request.trusted,
            reported: match request.facts.reported.get() {
                // Nobody has asked for it, so that it is not to be counted.
                Reported::Not if !foreground && errand.route.report.is_some() => {
                    Reported::Elsewhere
                }
                reported => reported,
            },
            for_tier,
            primary: key.primary,
            variants: key.variants.clone(),
            old,
            demand: if foreground { errand.demand } else { Demand::default() },
            asked,
            _background: (!foreground).then(|| Background::new(node)),
        }
    }
}

impl Parcel {
    /// The same request, for a chunk.
    pub(super) fn chunk(&self, wanted: Wanted) -> Parcel {
        let mut head = self.head.clone();
        wanted.write(&mut head);
        Parcel {
            head,
            running: self.running.clone(),
            peer: Peer::new(self.peer.address),
            variants: None,
            old: None,
            asked: Asked::Chunk(wanted),
            _background: None,
            ..*self
        }
    }
}

/// Begins a fetch, which the worker does not end before it has ended. What is for one request only
/// is `handed` to whoever began it.
pub(super) fn begin(
    worker: &Rc<Worker>,
    parcel: Parcel,
    lead: Lead<Refusal>,
    handed: Option<Rc<Handed>>,
) {
    let open = Open::enter(worker);
    let task = run(worker.clone(), parcel, lead, handed.unwrap_or_default());
    tokio::task::spawn_local(TakesTurns::new(worker.clone(), async move {
        task.await;
        drop(open);
    }));
}

async fn run(worker: Rc<Worker>, parcel: Parcel, lead: Lead<Refusal>, handed: Rc<Handed>) {
    let plan = &parcel.running.compiled.plan;
    let route = &plan.routes[parcel.route];
    let Action::Forward(to) = &route.action else { return };
    let (Some(rules), Some(node)) = (&to.cache, &parcel.running.compiled.cache) else { return };
    let Some(cells) = &parcel.running.compiled.caches[parcel.route] else { return };
    let cells = cells.of(worker.index);
    let began = Instant::now();
    let facts = Facts::default();
    facts.route.set(Some(parcel.route));
    facts.reported.set(parcel.reported);
    let mut deadline = began + to.timeout;
    facts.deadline.set(Some(deadline));
    let request = Request {
        head: &parcel.head,
        client: &Rc::new(Client::nobody(worker.clone())),
        worker: &worker,
        running: &parcel.running,
        listener: &plan.listeners[parcel.listener],
        peer: &parcel.peer,
        trusted: parcel.trusted,
        started: began,
        ready: began,
        facts: &facts,
    };
    let old = parcel.old.as_ref();
    let debt = match whose(&parcel, &request, &lead, rules, node, to.timeout).await {
        Whose::Ours(debt) => debt,
        Whose::Answered(verdict) => {
            lead.say(verdict);
            return lead.finish();
        }
    };
    cells.fills.add(1);
    let requested = node.millis(Instant::now());
    let has_stale = old.is_some_and(|old| may_stand_in(node, old, &parcel.demand, requested));
    if has_stale {
        // Whoever waits must still be there to get it.
        deadline -= (to.timeout / 10).min(LAST_MOMENT);
        facts.deadline.set(Some(deadline));
    }
    let ask = tier::Ask {
        request: &request,
        route,
        to,
        rules,
        node,
        old: old.map(|old| &**old),
        deadline,
        has_stale,
    };
    let came = ask.answer().await;
    handed.server.replace(facts.server.take());
    handed.answered.set(facts.answered.get());
    if !matches!(came, Ok(Came::Answer(_))) {
        cells.fills_failed.add(1);
    }
    let response = match (came, old) {
        (Ok(Came::Answer(response)), _) => response,
        (Ok(Came::Failed(refusal)), Some(old)) => {
            return lead.say(Verdict::Stale(old.clone(), refusal));
        }
        (Ok(Came::Failed(refusal)), None) => {
            return lead.say(Verdict::Failed(refusal.unwrap_or(Refusal::UpstreamClosed)));
        }
        (Err(refusal), _) => return lead.say(Verdict::Failed(refusal)),
    };
    if let Asked::Chunk(wanted) = &parcel.asked {
        match wanted.receive(node, lead, response, request.client).await {
            Received::Kept => {}
            Received::Broken => cells.fills_failed.add(1),
            Received::Changed => {
                cells.fills_failed.add(1);
                node.apply_purge(LABELS.url(&url_of(&request), &rules.key), Kind::Hard);
            }
        }
        return;
    }
    let fetch = Fetch {
        request: &request,
        rules,
        node,
        cells,
        lead,
        handed: &handed,
        primary: parcel.primary,
        variants: parcel.variants.as_ref(),
        validates: old.is_some(),
        requested,
        received: node.millis(Instant::now()),
        debt,
    };
    match old {
        Some(old) if response.head.status == 304 => fetch.validated(old, response).await,
        _ => match parcel.asked {
            Asked::Part(number) if response.head.status == 206 => {
                fetch.part_arrived(number, response).await;
            }
            _ => fetch.arrived(response).await,
        },
    }
}

/// Whose turn it is to ask the origin.
enum Whose {
    /// Ours; if for the others too, with what is owed to them.
    Ours(Option<Debt>),
    /// Another node has done it.
    Answered(Verdict<Refusal>),
}

async fn whose(
    parcel: &Parcel,
    request: &Request<'_>,
    lead: &Lead<Refusal>,
    rules: &Cache,
    node: &Arc<Node>,
    timeout: Duration,
) -> Whose {
    let shares = matches!(parcel.asked, Asked::Whole) && !rules.coalesce.wait.is_zero();
    let Some(fleet) = node.fleet().clone().filter(|_| shares) else {
        return Whose::Ours(None);
    };
    // Whoever asks on behalf of another cache of the fleet may be the one that holds the lease.
    let patience = match parcel.for_tier {
        true => Duration::ZERO,
        false => rules.coalesce.wait.min(timeout / 2),
    };
    let mut labels = Vec::with_capacity(16);
    LABELS.write(&url_of(request), &rules.key, std::iter::empty(), &mut labels);
    let joint = Joint {
        fleet: &fleet,
        node,
        rules,
        request: request.head,
        key: lead.key(),
        primary: parcel.primary,
        old: parcel.old.as_deref(),
        labels: &labels,
        patience,
    };
    match joint.turn().await {
        Ours::Lease(lease) => Whose::Ours(Some(Debt::new(lease, fleet, rules))),
        Ours::Alone => Whose::Ours(None),
        Ours::Answer(object, variants) => Whose::Answered(Verdict::Answer { object, variants }),
        Ours::Pass(why) => {
            remember(node, lead, parcel.variants.as_ref(), node.millis(Instant::now()), why);
            Whose::Answered(Verdict::Alone)
        }
    }
}

/// Remembers that answers to this are not to be stored.
fn remember(
    node: &Node,
    lead: &Lead<Refusal>,
    variants: Option<&Arc<Variants>>,
    now: Millis,
    why: u8,
) {
    let store = &node.store;
    let mark = Mark { until: now + REMEMBERED, why };
    match variants {
        None => store.mark_pass(store.hash(lead.key()), lead.key(), mark),
        Some(variants) => {
            store.mark_pass_variant(variants, store.hash(lead.key()), lead.key(), mark);
        }
    }
}

/// Whether what is stored may be served in place of a failure, by at least some.
fn may_stand_in(node: &Node, old: &Object, demand: &Demand, now: Millis) -> bool {
    let purged = match node.store.purged(old) {
        Some(Purged::Hard) => return false,
        Some(Purged::Soft(when)) => Some(when),
        None => None,
    };
    match freshness::standing(&old.meta, demand, purged, now) {
        Standing::Fresh { .. } => true,
        Standing::Stale { if_error, .. } => if_error,
        Standing::Validate { if_error, .. } => if_error,
    }
}

/// A fetch whose answer is there.
struct Fetch<'a> {
    request: &'a Request<'a>,
    rules: &'a Cache,
    node: &'a Arc<Node>,
    cells: &'a Cells,
    lead: Lead<Refusal>,
    handed: &'a Handed,
    primary: usize,
    variants: Option<&'a Arc<Variants>>,
    /// Something is stored, about which the origin was asked.
    validates: bool,
    requested: Millis,
    received: Millis,
    /// What is owed to the other nodes.
    debt: Option<Debt>,
}

impl Fetch<'_> {
    /// Under which terms an answer with these fields is stored.
    fn judge<'b>(
        &'b self,
        status: u16,
        answer: &'b Headers,
        length: Option<u64>,
    ) -> Result<Terms<'b>, Unstorable> {
        freshness::judge(&Arrival {
            request: self.request.head,
            status,
            answer,
            length,
            requested: self.requested,
            received: self.received,
            rules: self.rules,
            parts: false,
            random: self.request.worker.any_number(),
        })
    }

    /// Counts answers that are as many as there are browsers, unless that is wanted.
    fn look_for_user_agent(&self, names: &[Box<[u8]>]) {
        let is_it = |name: &[u8]| name == b"user-agent";
        let is_wanted = self.rules.vary.iter().any(|name| is_it(name.as_bytes()));
        if is_wanted || !names.iter().any(|name| is_it(name)) {
            return;
        }
        self.cells.vary_user_agent.add(1);
        let compiled = &self.request.running.compiled;
        let Some(route) = self.request.facts.route.get() else { return };
        if !compiled.watches[route].told_of_user_agent.swap(true, Relaxed) {
            tracing::warn!(
                route = &*compiled.plan.routes[route].name,
                path = %String::from_utf8_lossy(self.request.head.path()),
                "answers have `Vary: User-Agent`, so that nearly each browser has its own; \
                 if they differ by class of device, set `cache.key.device = true` and \
                 `cache.ignore-origin = [\"vary\"]`"
            );
        }
    }

    /// What of an answer is stored beside its content.
    fn card(&self, answer: &Headers, terms: &Terms<'_>) -> Card {
        let names = shelf::names(answer, self.rules);
        self.look_for_user_agent(&names);
        let shelf = Shelf {
            node: self.node,
            rules: self.rules,
            request: self.request.head,
            url: url_of(self.request),
            primary: &self.lead.key()[..self.primary],
            sequence: self.lead.sequence(),
        };
        shelf.card(&names, answer, terms)
    }

    /// Stores an object, if it may be. If not, whoever waits for it has it all the same.
    fn store(&self, card: &Card, object: Arc<Object>) {
        if !self.lead.is_current() {
            // Another fetch has begun since, as this one was too old for who asked.
            return;
        }
        let stored = shelf::put(self.node, card, object);
        self.cells.stored.add(u64::from(stored.is_ok()));
    }

    /// The origin says that what is stored is still good (RFC 9111 §4.3.4).
    async fn validated(self, old: &Arc<Object>, response: Response) {
        let Response { head: update, body } = response;
        if let Body::Answer(conversation) = body {
            conversation.finish();
        }
        let had = Validators::stored(old.fields(), old.meta.received);
        if !merge::is_about(&had, &update.headers) {
            // It speaks of something else, so that nothing is known.
            self.forget(old);
            return self.lead.say(Verdict::Alone);
        }
        let merged = merge::updated(old.fields(), &update.headers);
        self.request.worker.give_back_head(update);
        match self.judge(old.meta.status, &merged, old.length()) {
            Ok(terms) => {
                let mut card = self.card(&merged, &terms);
                card.meta.cost = self.cost();
                let object = card.object(old.content.clone(), &[old.body()]);
                self.store(&card, object.clone());
                let (object, variants) = (object.clone(), card.variants);
                self.lead
                    .say(Verdict::Answer { object: object.clone(), variants: variants.clone() });
                self.settle(&object, variants.as_deref()).await;
            }
            Err(why) => {
                self.cells.not_stored(why as usize);
                // It may be given to who asked for it, and is not kept.
                self.forget(old);
                if old.content == Content::Whole {
                    let mut head = self.request.worker.take_head();
                    head.begin(old.meta.status);
                    head.headers = merged;
                    let body = Body::Stored(old.clone(), 0, old.body().len());
                    self.handed.response.replace(Some(Response { head, body }));
                }
                self.lead.say(Verdict::Alone);
            }
        }
    }

    /// Takes an object out of the store, as it is of no use.
    fn forget(&self, old: &Object) {
        let store = &self.node.store;
        match self.variants {
            None => store.remove(store.hash(old.key()), old.key()),
            Some(variants) => store.remove_variant(variants, store.hash(old.key()), old.key()),
        };
    }

    fn cost(&self) -> u32 {
        let now = self.node.millis(Instant::now());
        u32::try_from(now.saturating_sub(self.requested)).unwrap_or(u32::MAX)
    }

    /// An answer has come.
    async fn arrived(mut self, mut response: Response) {
        let length = match (&response.body, response.head.body) {
            (Body::Answer(_), BodyLength::Length(length)) => Some(length),
            (Body::Answer(_), _) => None,
            (Body::Shared(content), _) => Some(content.len() as u64),
            (Body::Owned(content), _) => Some(content.len() as u64),
            _ => Some(0),
        };
        let Response { head, .. } = &response;
        let fell_back = self.request.facts.fell_back.get();
        let judged = self.judge(head.status, &head.headers, length);
        if let Err(why) = &judged {
            self.cells.not_stored(*why as usize);
        }
        let (mut card, keep) = match judged {
            Ok(terms) if !fell_back => (self.card(&head.headers, &terms), true),
            // What takes the place of a failed answer is for all who wait, and is not kept.
            Ok(terms) => (self.card(&head.headers, &terms), false),
            // So is a failure that nothing forbids to share: if each of those who wait asked again,
            // the origin would fail for good.
            Err(Unstorable::NoFreshness | Unstorable::Useless) if head.status >= 500 => {
                (self.card(&head.headers, &passing(head.status, self.received)), false)
            }
            Err(why) => {
                let of_resource = !why.is_of_request() && head.status < 500;
                // That holds for requests with credentials only, which are not to wait for each
                // other either; but what is stored for the others stays.
                let of_user = why == Unstorable::Authorization && !self.validates;
                let of_user = of_user && head.status < 500;
                if of_resource || of_user {
                    let Fetch { node, lead, variants, received, .. } = &self;
                    remember(node, lead, *variants, *received, why as u8);
                }
                serve::tell_past(&mut response.head, Why::UriMiss, Some(why.code()), false);
                self.handed.response.replace(Some(response));
                self.lead.say(Verdict::Alone);
                return match self.debt {
                    Some(debt) if of_resource => debt.pass(why as u8).await,
                    Some(debt) => debt.alone().await,
                    None => {}
                };
            }
        };
        let object = card.object(Content::Arriving { length, kept: keep }, &[]);
        self.lead.say(Verdict::Answer { object, variants: card.variants.clone() });
        let Response { head, body } = response;
        self.request.worker.give_back_head(head);
        if !keep {
            // The others find out for themselves.
            self.debt = None;
        }
        if length.is_some_and(|length| length > CHUNK) {
            self.is_too_large().await;
        }
        let Flags { strong, ranges, .. } = card.meta.flags;
        let resumes = keep && strong && ranges && length.is_some_and(|length| length > AHEAD);
        let Some(kept) = self.receive(body, length, keep, resumes).await else {
            let id = self.lead.id();
            if let Some(length) = length.filter(|_| resumes && self.lead.arrived() >= CHUNK) {
                // The rest is fetched when it is wanted (RFC 9111 §3.3).
                self.store(&card, card.object(Content::Chunks { id, length }, &[]));
            }
            return self.cells.fills_failed.add(1);
        };
        if !(keep && kept) {
            if keep {
                self.cells.not_stored(Unstorable::TooLarge as usize);
            }
            return self.lead.finish();
        }
        card.meta.cost = self.cost();
        let object = self.complete(&card);
        self.settle(&object, card.variants.as_deref()).await;
    }

    /// Tells the other nodes that they cannot have the answer from here.
    async fn is_too_large(&mut self) {
        if let Some(debt) = self.debt.take() {
            debt.too_large().await;
        }
    }

    /// Ends the fetch, and hands what was stored to the other nodes.
    async fn settle(self, object: &Object, variants: Option<&Variants>) {
        let Fetch { lead, debt, node, primary, .. } = self;
        let leased = debt.as_ref().map(|_| lead.key().to_vec()).unwrap_or_default();
        // Nobody here waits for the others.
        lead.finish();
        if let Some(debt) = debt {
            let now = node.millis(Instant::now());
            debt.answer(object, primary, variants, &leased, now).await;
        }
    }

    /// A chunk has come of something that nothing was stored of. All of it is there from now on:
    /// what is missing is fetched when it is wanted.
    async fn part_arrived(self, number: u64, response: Response) {
        let Response { head, body } = response;
        let Body::Answer(conversation) = body else { return self.lead.say(Verdict::Alone) };
        let had = Validators::of(&head.headers, self.received);
        let part = ContentRange::of(&head.headers);
        let Some((from, to, length)) =
            part.and_then(|it| Some((it.part.first, it.part.last + 1, it.complete?)))
        else {
            return self.lead.say(Verdict::Alone);
        };
        let is_chunk = from == number * CHUNK && to == length.min(from + CHUNK);
        let judged = self.judge(200, &head.headers, Some(length));
        let (terms, true, true) = (judged, is_chunk, had.is_strong()) else {
            return self.lead.say(Verdict::Alone);
        };
        let mut card = match terms {
            Ok(terms) => self.card(&head.headers, &terms),
            Err(why) => {
                if !why.is_of_request() {
                    let Fetch { node, lead, variants, received, .. } = &self;
                    remember(node, lead, *variants, *received, why as u8);
                }
                return self.lead.say(Verdict::Alone);
            }
        };
        let chunk = chunks::collect(conversation, self.request.client, to - from).await;
        let Some(chunk) = chunk else { return self.lead.say(Verdict::Alone) };
        let id = self.lead.id();
        card.meta.flags.ranges = true;
        card.meta.cost = self.cost();
        self.node.keep_chunk(id, number, chunk.into());
        let object = card.object(Content::Chunks { id, length }, &[]);
        self.store(&card, object.clone());
        self.lead.say(Verdict::Answer { object, variants: card.variants });
        self.lead.finish();
    }

    /// Takes the content in. Gives whether it is all in the store as far as it was cut into chunks;
    /// `None` if it broke off, or nobody wants it and it is large and can be resumed (`resumes`).
    async fn receive(
        &mut self,
        body: Body,
        length: Option<u64>,
        keep: bool,
        resumes: bool,
    ) -> Option<bool> {
        let mut conversation = match body {
            Body::Answer(conversation) => conversation,
            Body::Shared(content) => {
                self.take(Bytes::copy_from_slice(&content), keep);
                return Some(true);
            }
            Body::Owned(content) => {
                self.take(content.into(), keep);
                return Some(true);
            }
            _ => return Some(true),
        };
        let mut keep = keep;
        let fits = length.is_some_and(|length| length <= self.node.capacity() / 8);
        let ahead = if keep && fits { u64::MAX } else { AHEAD };
        loop {
            if self.lead.arrived() > CHUNK {
                self.is_too_large().await;
            }
            let Fetch { lead, node, rules, request, .. } = &*self;
            let is_read = match keep {
                true => poll_fn(|cx| lead.poll_room(ahead, cx)).await,
                false => poll_fn(|cx| lead.poll_slowest(cx)).await,
            };
            if !is_read && (!keep || resumes && !fits) {
                return None;
            }
            if keep {
                node.disk_takes_more().await;
            }
            let (content, last) = next(&mut conversation, request.client).await?;
            self.take(content, keep);
            if keep && lead.arrived() > rules.max_object {
                // What those who are here have not read yet is nowhere else from now on.
                keep = false;
                lead.close();
                let why = Unstorable::TooLarge as u8;
                remember(node, lead, self.variants, self.received, why);
            }
            if last {
                conversation.finish();
                return Some(keep);
            }
        }
    }

    fn take(&self, content: Bytes, keep: bool) {
        if let Some((number, chunk)) = self.lead.append(content)
            && keep
        {
            self.node.keep_chunk(self.lead.id(), number, chunk);
        }
    }

    /// Stores what has arrived whole.
    fn complete(&self, card: &Card) -> Arc<Object> {
        let (number, rest) = self.lead.rest();
        let rest: Vec<&[u8]> = rest.iter().map(|piece| &piece[..]).collect();
        let object = if number == 0 {
            card.object(Content::Whole, &rest)
        } else {
            let id = self.lead.id();
            if !rest.is_empty() {
                self.node.keep_chunk(id, number, rest.concat().into());
            }
            card.object(Content::Chunks { id, length: self.lead.arrived() }, &[])
        };
        self.store(card, object.clone());
        object
    }
}

/// The terms of an answer that is not stored.
fn passing(status: u16, received: Millis) -> Terms<'static> {
    let meta = Meta {
        received,
        lifetime: 0,
        sequence: 0,
        initial_age: 0,
        stale_while_revalidate: 0,
        stale_if_error: 0,
        cost: 0,
        status,
        flags: Flags::default(),
    };
    Terms { meta, lifetime: Lifetime::None, fields: StoredFields::default() }
}

/// The next content, and whether it is the last; `None` if it broke off.
pub(super) async fn next(
    conversation: &mut Conversation,
    client: &Client,
) -> Option<(Bytes, bool)> {
    let idle = conversation.idle_timeout;
    let piece = poll_fn(|cx| match conversation.poll_chunk(client, cx) {
        Poll::Ready(Ok(Some(chunk))) => {
            let content = Bytes::copy_from_slice(conversation.content());
            conversation.consume();
            Poll::Ready(Some((content, chunk.last)))
        }
        Poll::Ready(Ok(None)) => Poll::Ready(Some((Bytes::new(), true))),
        Poll::Ready(Err(_)) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    if let Ok(piece) = timeout(idle, piece).await {
        return piece;
    }
    conversation.broke_off();
    None
}
