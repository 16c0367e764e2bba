//! A fetch whose answer is there: judged, handed to those who wait, and stored if that may be.
//! Called by [`super::run`]; the content is taken in by [`super::content`].

use std::sync::Arc;

use seawall_cache::conditional::Validators;
use seawall_cache::fill::{Lead, Verdict};
use seawall_cache::freshness::{self, Arrival, Lifetime, StoredFields, Terms, Unstorable};
use seawall_cache::object::{CHUNK, Content, Flags, Meta, Object};
use seawall_cache::range::ContentRange;
use seawall_cache::status::Forward as Why;
use seawall_cache::store::Variants;
use seawall_cache::{Millis, merge};
use seawall_config::plan::Cache;
use seawall_h1::{BodyLength, Headers};
use seawall_telemetry::metrics::Cache as Cells;
use tokio::time::Instant;

use super::content::{AHEAD, needed};
use super::{Handed, remember};
use crate::message::{Body, Request, Response};
use crate::policy::cache::fleet::Debt;
use crate::policy::cache::invalidate::url_of;
use crate::policy::cache::node::Node;
use crate::policy::cache::shelf::{self, Card, Shelf};
use crate::policy::cache::{advice, chunks, serve};
use crate::refuse::Refusal;

/// A fetch whose answer is there.
pub(super) struct Fetch<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) rules: &'a Cache,
    pub(super) node: &'a Arc<Node>,
    pub(super) cells: &'a Cells,
    pub(super) lead: Lead<Refusal>,
    pub(super) handed: &'a Handed,
    pub(super) primary: usize,
    pub(super) variants: Option<&'a Arc<Variants>>,
    /// Something is stored, about which the origin was asked.
    pub(super) validates: bool,
    /// The answer is what whoever asked first wants, as it is.
    pub(super) wants_all: bool,
    pub(super) requested: Millis,
    pub(super) received: Millis,
    /// What is owed to the other nodes.
    pub(super) debt: Option<Debt>,
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

    /// What of an answer is stored beside its content.
    fn card(&self, answer: &Headers, terms: &Terms<'_>) -> Card {
        let names = shelf::names(answer, self.rules);
        advice::about(self.request, self.rules, self.cells, &names, answer, terms);
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
    pub(super) fn store(&self, card: &Card, object: Arc<Object>) {
        if !self.lead.is_current() {
            // Another fetch has begun since, as this one was too old for who asked.
            return;
        }
        let stored = shelf::put(self.node, card, object);
        self.cells.stored.add(u64::from(stored.is_ok()));
    }

    /// The origin says that what is stored is still good (RFC 9111 §4.3.4).
    pub(super) async fn validated(self, old: &Arc<Object>, response: Response) {
        let Response { head: update, body } = response;
        if let Body::Answer(conversation) = body {
            conversation.finish();
        }
        let had = Validators::stored(old.fields(), old.meta.received);
        if !merge::is_about(&had, &update.headers) {
            // It speaks of something else, so that nothing is known.
            self.forget(old);
            return self.lead.say(Verdict::Again);
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
                // It may be given to who asked for it, and is not kept. What is stored for those who
                // ask otherwise stays.
                if !why.is_of_request() {
                    self.forget(old);
                }
                if old.content == Content::Whole {
                    let mut head = self.request.worker.take_head();
                    head.begin(old.meta.status);
                    head.headers = merged;
                    let body = Body::Stored(old.clone(), 0, old.body().len());
                    self.handed.response.replace(Some(Response { head, body }));
                }
                self.lead.say(match why.is_of_request() {
                    true => Verdict::Again,
                    false => Verdict::Alone,
                });
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
    pub(super) async fn arrived(mut self, mut response: Response) {
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
                // A request that no other is like must neither have the others ask all at once nor
                // take away what is stored for them.
                let of_request = why.is_of_request() || freshness::is_of_request(head.status);
                let of_resource = !of_request && head.status < 500;
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
                self.lead.say(if of_resource { Verdict::Alone } else { Verdict::Again });
                return match self.debt {
                    Some(debt) if of_resource => debt.pass(why as u8).await,
                    Some(debt) => debt.alone().await,
                    None => {}
                };
            }
        };
        if keep && !self.lead.reserve(needed(length)) {
            // So many are being fetched that it can only be passed on.
            if self.wants_all {
                serve::tell_past(&mut response.head, Why::UriMiss, Some("no-room"), false);
                self.handed.response.replace(Some(response));
            }
            self.lead.say(Verdict::Alone);
            if let Some(debt) = self.debt {
                debt.alone().await;
            }
            return;
        }
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
    pub(super) async fn is_too_large(&mut self) {
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
    pub(super) async fn part_arrived(self, number: u64, response: Response) {
        let Response { head, body } = response;
        let Body::Answer(conversation) = body else { return self.lead.say(Verdict::Again) };
        let had = Validators::of(&head.headers, self.received);
        let part = ContentRange::of(&head.headers);
        let Some((from, to, length)) =
            part.and_then(|it| Some((it.part.first, it.part.last + 1, it.complete?)))
        else {
            return self.lead.say(Verdict::Again);
        };
        let is_chunk = from == number * CHUNK && to == length.min(from + CHUNK);
        let judged = self.judge(200, &head.headers, Some(length));
        let (terms, true, true) = (judged, is_chunk, had.is_strong()) else {
            return self.lead.say(Verdict::Again);
        };
        let mut card = match terms {
            Ok(terms) => self.card(&head.headers, &terms),
            Err(why) => {
                if !why.is_of_request() {
                    let Fetch { node, lead, variants, received, .. } = &self;
                    remember(node, lead, *variants, *received, why as u8);
                }
                return self.lead.say(Verdict::Again);
            }
        };
        let chunk = chunks::collect(conversation, self.request.client, to - from).await;
        let Some(chunk) = chunk else { return self.lead.say(Verdict::Again) };
        let id = self.lead.id();
        card.meta.flags.ranges = true;
        card.meta.cost = self.cost();
        self.node.keep_chunk(id, number, chunk.into());
        let object = card.object(Content::Chunks { id, length }, &[]);
        self.store(&card, object.clone());
        self.lead.say(Verdict::Answer { object, variants: card.variants });
        self.lead.finish();
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
