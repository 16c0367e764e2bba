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
use seawall_cache::directives::Demand;
use seawall_cache::fill::{Lead, Verdict};
use seawall_cache::store::{Mark, Variants};
use seawall_cache::freshness::{self, Arrival, Standing, Terms, Unstorable};
use seawall_cache::object::{Content, Flags, Meta, Object};
use seawall_cache::purge::Purged;
use seawall_cache::vary::Vary;
use seawall_cache::{Millis, conditional, merge, tags, vary};
use seawall_config::plan::{Action, Cache};
use seawall_h1::{BodyLength, Method, RequestHead, ResponseHead};
use tokio::time::{Instant, timeout, timeout_at};

use super::node::Node;
use super::{Errand, Key, serve};
use crate::client::Client;
use crate::forward::{Came, forward_unless_stale};
use crate::message::{Body, Facts, Peer, Request, Response};
use crate::refuse::Refusal;
use crate::tickets::Open;
use crate::turn::TakesTurns;
use crate::upstream::pool::PooledServer;
use crate::worker::{Running, Worker};

/// How far content may arrive ahead of the fastest reader when the store cannot hold it all.
const AHEAD: u64 = 8 << 20;

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
    /// Where the key of all variants ends.
    primary: usize,
    /// Behind it the key goes by this, if what is asked for is one of several variants.
    variants: Option<Arc<Variants>>,
    /// What is stored and to be validated.
    old: Option<Arc<Object>>,
    /// Counts it among those that nobody waits for.
    _background: Option<Background>,
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
        if head.method == Method::Head {
            head.become_get();
        }
        conditional::remove(&mut head.headers);
        if !foreground {
            // What a client wanted of its answer is not wanted of this one.
            head.headers.remove(b"cache-control");
            head.headers.remove(b"pragma");
        }
        if let Some(old) = &old {
            conditional::write_validators(old.fields(), &mut head.headers);
        }
        let listeners = &request.running.compiled.plan.listeners;
        let listener = listeners.iter().position(|one| std::ptr::eq(one, request.listener));
        Parcel {
            head,
            running: request.running.clone(),
            route: request.facts.route.get().unwrap_or_default(),
            listener: listener.unwrap_or_default(),
            peer: Peer::new(request.peer.address),
            trusted: request.trusted,
            primary: key.primary,
            variants: key.variants.clone(),
            old,
            _background: (!foreground).then(|| Background::new(node)),
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
    let began = Instant::now();
    let facts = Facts::default();
    facts.route.set(Some(parcel.route));
    let deadline = began + to.timeout;
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
    let requested = node.millis(began);
    let old = parcel.old.as_ref();
    let has_stale = old.is_some_and(|old| may_stand_in(node, old, requested));
    let upstream = to.upstream;
    let forwarded = forward_unless_stale(&request, route, to, upstream, has_stale);
    let came = match timeout_at(deadline, forwarded).await {
        Ok(came) => came,
        Err(_) if has_stale => Ok(Came::Failed(Some(Refusal::UpstreamTimeout))),
        Err(_) => Err(Refusal::UpstreamTimeout),
    };
    handed.server.replace(facts.server.take());
    handed.answered.set(facts.answered.get());
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
    let fetch = Fetch {
        request: &request,
        rules,
        node,
        lead,
        handed: &handed,
        primary: parcel.primary,
        variants: parcel.variants.as_ref(),
        requested,
        received: node.millis(Instant::now()),
    };
    match old {
        Some(old) if response.head.status == 304 => fetch.validated(old, response),
        _ => fetch.arrived(response).await,
    }
}

/// Whether what is stored may be served in place of a failure, by at least some.
fn may_stand_in(node: &Node, old: &Object, now: Millis) -> bool {
    let purged = match node.store.purged(old) {
        Some(Purged::Hard) => return false,
        Some(Purged::Soft(when)) => Some(when),
        None => None,
    };
    match freshness::standing(&old.meta, &Demand::default(), purged, now) {
        Standing::Fresh { .. } => true,
        Standing::Stale { if_error, .. } => if_error,
        Standing::Validate => false,
    }
}

/// A fetch whose answer is there.
struct Fetch<'a> {
    request: &'a Request<'a>,
    rules: &'a Cache,
    node: &'a Arc<Node>,
    lead: Lead<Refusal>,
    handed: &'a Handed,
    primary: usize,
    variants: Option<&'a Arc<Variants>>,
    requested: Millis,
    received: Millis,
}

impl Fetch<'_> {
    /// What is known of an answer with this head.
    fn judge(&self, head: &ResponseHead) -> Result<Terms, Unstorable> {
        let random = self.request.worker.any_number();
        freshness::judge(&Arrival {
            request: self.request.head,
            head,
            requested: self.requested,
            received: self.received,
            rules: self.rules,
            random,
        })
    }

    /// The key of an answer, with what it goes by if it varies.
    fn key(&self, head: &ResponseHead) -> (Vec<u8>, Option<Arc<Variants>>) {
        let mut key = self.lead.key()[..self.primary].to_vec();
        let names = match vary::fields(&head.headers, self.rules) {
            Vary::Names(names) if !names.is_empty() => names,
            _ => return (key, None),
        };
        let store = &self.node.store;
        let variants = store.vary(store.hash(&key), &key, &names);
        vary::secondary(variants.names(), self.request.head, &mut key);
        (key, Some(variants))
    }

    /// Puts an object together.
    fn object(&self, meta: Meta, head: &ResponseHead, key: &[u8], kind: Content, content: &[&[u8]]) -> Object {
        let mut fields = Vec::with_capacity(256);
        freshness::write_stored(head, self.rules, || self.request.worker.date(), &mut fields);
        let mut labels = Vec::new();
        tags::labels(self.request.head, head, self.rules, &mut labels);
        let meta = Meta { sequence: self.lead.sequence(), ..meta };
        Object::new(meta, key, &fields, &labels, kind, content)
    }

    /// Stores an object, if it may be. If not, whoever waits for it has it all the same.
    fn store(&self, object: Arc<Object>, variants: Option<&Arc<Variants>>) {
        let store = &self.node.store;
        let _ = match variants {
            None => store.insert(object),
            Some(variants) => store.insert_variant(variants, object),
        };
    }

    /// The origin says that what is stored is still good (RFC 9111 §4.3.4).
    fn validated(self, old: &Arc<Object>, response: Response) {
        let Response { head: update, body } = response;
        if let Body::Answer(conversation) = body {
            conversation.finish();
        }
        if !merge::is_about(old.fields(), &update.headers) {
            // It speaks of something else, so that nothing is known.
            self.node.store.remove(self.node.store.hash(old.key()), old.key());
            return self.lead.say(Verdict::Alone);
        }
        let mut head = self.request.worker.take_head();
        head.restore(old.meta.status, old.fields());
        merge::update(&mut head.headers, &update.headers);
        self.request.worker.give_back_head(update);
        match self.judge(&head) {
            Ok(Terms { meta }) => {
                let (key, variants) = self.key(&head);
                let meta = Meta { cost: self.cost(), ..meta };
                let content = old.content.clone();
                let object =
                    Arc::new(self.object(meta, &head, &key, content, &[old.body()]));
                self.store(object.clone(), variants.as_ref());
                self.request.worker.give_back_head(head);
                self.lead.say(Verdict::Answer { object, variants });
                self.lead.finish();
            }
            Err(_) => {
                self.node.store.remove(self.node.store.hash(old.key()), old.key());
                if let Some(length) = old.length() && old.content == Content::Whole {
                    let body = Body::Stored(old.clone(), 0, length as usize);
                    self.handed.response.replace(Some(Response { head, body }));
                }
                self.lead.say(Verdict::Alone);
            }
        }
    }

    fn cost(&self) -> u32 {
        let now = self.node.millis(Instant::now());
        u32::try_from(now.saturating_sub(self.requested)).unwrap_or(u32::MAX)
    }

    /// An answer has come.
    async fn arrived(self, response: Response) {
        let fell_back = self.request.facts.fell_back.get();
        let terms = match fell_back {
            true => Err(Unstorable::Fallback),
            false => self.judge(&response.head),
        };
        let (meta, keep) = match terms {
            Ok(Terms { meta }) => (meta, true),
            // A failure that nobody may store is at least an answer to all who wait for it: the
            // origin is not asked again by each of them.
            Err(why) if why.may_be_shared() && response.head.status >= 500 => {
                (passing(&response.head, self.received), false)
            }
            Err(why) => {
                if why.is_of_resource() {
                    self.remember(why);
                }
                let mut response = response;
                serve::tell_fetched(&mut response.head, Some(why), false);
                self.handed.response.replace(Some(response));
                return self.lead.say(Verdict::Alone);
            }
        };
        let Response { head, body } = response;
        let (key, variants) = self.key(&head);
        let length = match (&body, head.body) {
            (Body::Answer(_), BodyLength::Length(length)) => Some(length),
            (Body::Answer(_), _) => None,
            (Body::Shared(content), _) => Some(content.len() as u64),
            (Body::Owned(content), _) => Some(content.len() as u64),
            _ => Some(0),
        };
        let arriving = Content::Arriving { length };
        let object = Arc::new(self.object(meta.clone(), &head, &key, arriving, &[]));
        self.lead.say(Verdict::Answer { object, variants: variants.clone() });
        let Some(stored) = self.receive(body, length, keep).await else { return };
        if keep && stored {
            self.complete(meta, &head, &key, variants.as_ref());
        }
        self.request.worker.give_back_head(head);
        self.lead.finish();
    }

    /// Remembers that answers to this are not to be stored.
    fn remember(&self, why: Unstorable) {
        let Fetch { node: Node { store, .. }, lead, .. } = self;
        let mark = Mark { until: self.received + REMEMBERED, why: why.number() };
        match self.variants {
            None => store.mark_pass(store.hash(lead.key()), lead.key(), mark),
            Some(variants) => {
                store.mark_pass_variant(variants, store.hash(lead.key()), lead.key(), mark);
            }
        }
    }

    /// Takes the content in. Gives whether it is all in the store as far as it was cut into chunks;
    /// `None` if it broke off, or nobody wants it.
    async fn receive(&self, body: Body, length: Option<u64>, keep: bool) -> Option<bool> {
        let Fetch { lead, node, rules, request, .. } = self;
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
        let idle = conversation.idle_timeout;
        let mut keep = keep;
        let fits = length.is_some_and(|length| length <= node.store.capacity() / 8);
        let ahead = if keep && fits { u64::MAX } else { AHEAD };
        loop {
            let is_read = poll_fn(|cx| lead.poll_room(ahead, cx)).await;
            if !is_read && !keep {
                return None;
            }
            let next = poll_fn(|cx| match conversation.poll_chunk(request.client, cx) {
                Poll::Ready(Ok(Some(chunk))) => {
                    let content = Bytes::copy_from_slice(conversation.content());
                    conversation.consume();
                    Poll::Ready(Some((content, chunk.last)))
                }
                Poll::Ready(Ok(None)) => Poll::Ready(Some((Bytes::new(), true))),
                Poll::Ready(Err(_)) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let Ok(next) = timeout(idle, next).await else {
                conversation.broke_off();
                return None;
            };
            let (content, last) = next?;
            self.take(content, keep);
            keep = keep && lead.arrived() <= rules.max_object;
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
            self.node.store.insert_chunk(self.lead.id(), number as u32, chunk);
        }
    }

    /// Stores what has arrived whole.
    fn complete(&self, meta: Meta, head: &ResponseHead, key: &[u8], variants: Option<&Arc<Variants>>) {
        let meta = Meta { cost: self.cost(), ..meta };
        let (number, rest) = self.lead.rest();
        let rest: Vec<&[u8]> = rest.iter().map(|piece| &piece[..]).collect();
        let object = if number == 0 {
            self.object(meta, head, key, Content::Whole, &rest)
        } else {
            let id = self.lead.id();
            if !rest.is_empty() {
                self.node.store.insert_chunk(id, number as u32, rest.concat().into());
            }
            let kind = Content::Chunks { id, length: self.lead.arrived() };
            self.object(meta, head, key, kind, &[])
        };
        self.store(Arc::new(object), variants);
    }
}

/// What is known of an answer that is not stored.
fn passing(head: &ResponseHead, received: Millis) -> Meta {
    Meta {
        received,
        lifetime: 0,
        sequence: 0,
        initial_age: 0,
        stale_while_revalidate: 0,
        stale_if_error: 0,
        cost: 0,
        status: head.status,
        flags: Flags::default(),
    }
}

