//! A fetch for the cache: asks the origin on nobody's behalf, hands what comes to all who wait, and
//! stores what may be stored.
//!
//! [`begin`] is called by whoever needs one, with what it takes along ([`parcel`]). What becomes of
//! the answer is told in [`fetch`], and of its content in [`content`].

mod content;
mod fetch;
mod parcel;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use seawall_cache::Millis;
use seawall_cache::directives::Demand;
use seawall_cache::fill::{Lead, Verdict};
use seawall_cache::freshness::{self, Standing};
use seawall_cache::object::Object;
use seawall_cache::purge::{Kind, Purged};
use seawall_cache::store::{Mark, Variants};
use seawall_config::plan::{Action, Cache};
use tokio::time::Instant;

pub(super) use self::content::next;
use self::fetch::Fetch;
use self::parcel::Asked;
pub(super) use self::parcel::Parcel;
use super::chunks::Received;
use super::fleet::{Debt, Joint, Ours};
use super::invalidate::url_of;
use super::node::{LABELS, Node};
use super::tier;
use crate::client::Client;
use crate::forward::Came;
use crate::message::{Facts, Request, Response};
use crate::refuse::Refusal;
use crate::tickets::Open;
use crate::turn::TakesTurns;
use crate::upstream::pool::PooledServer;
use crate::worker::Worker;

/// The most that is kept of a route's timeout to answer with what is stale, of which it is a tenth.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// How long an answer that was not to be stored is remembered as such.
const REMEMBERED: Millis = 10_000;

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
        wants_all: parcel.wants_all,
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
        false => rules.coalesce.wait.min(timeout - timeout / 10),
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
