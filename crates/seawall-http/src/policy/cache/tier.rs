//! Tiers of caches: what a node says when it asks the next one, and what it makes of being asked.
//!
//! A tier says who asks in `CDN-Loop` (RFC 8586), and up to where it knows of purges in
//! `Seawall-Purges`. Who is asked serves nothing stale to another cache, which would take it for
//! fresh; and nothing at all from its store before it knows of as many purges. Tiers that share no
//! state go by ages: who asks says how old the answer may be after a purge that it knows of.

use std::time::Duration;

use seawall_cache::Millis;
use seawall_cache::object::Object;
use seawall_cache::tags::Tags;
use seawall_config::plan::{Cache, Forward, Route};
use seawall_h1::{Headers, Known, ResponseHead};
use seawall_state::Position;
use tokio::time::{Instant, timeout_at};

use super::invalidate::url_of;
use super::node::{LABELS, Node};
use crate::forward::{Came, forward_unless_stale};
use crate::message::{Body, Request, Response};
use crate::refuse::Refusal;

/// Up to where whoever asks knows of purges.
const PURGES: &[u8] = b"seawall-purges";

/// How long a tier is kept waiting for this one to know of as many purges.
const CATCHING_UP: Duration = Duration::from_millis(250);

/// The status of [`Refusal::Loop`].
const LOOP: u16 = 508;

/// Names this node, and up to where it knows of purges, to the next tier.
pub(super) fn sign(headers: &mut Headers, node: &Node, rules: &Cache) {
    headers.remove(PURGES);
    if rules.parent.is_none() {
        return;
    }
    headers.push(b"CDN-Loop", &node.loop_id);
    if let Some(position) = node.fleet().as_ref().and_then(|fleet| fleet.state().position()) {
        headers.push(b"Seawall-Purges", position.to_text().as_bytes());
    }
}

/// Whether whoever asks is a cache like this one.
pub(crate) fn asks(headers: &Headers) -> bool {
    headers.all(b"cdn-loop").any(|value| {
        value.split(|byte| *byte == b',').any(|member| member.trim_ascii().starts_with(b"seawall"))
    })
}

/// Whether the request has been here before.
pub(super) fn loops(headers: &Headers, node: &Node) -> bool {
    headers
        .all(b"cdn-loop")
        .any(|value| value.windows(node.loop_id.len()).any(|part| *part == *node.loop_id))
}

/// Waits until this node knows of as many purges as the trusted cache that asks, but not for long.
/// Says whether it does.
pub(super) async fn knows_as_much(request: &Request<'_>, node: &Node) -> bool {
    let asked = request.head.headers.first(PURGES).filter(|_| request.trusted);
    let Some(position) = asked.and_then(Position::from_text) else { return true };
    match node.fleet().clone() {
        Some(fleet) => fleet.state().reaches(position, CATCHING_UP).await,
        None => true,
    }
}

/// A fetch, by way of the next tier if there is one.
pub(super) struct Ask<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) route: &'a Route,
    pub(super) to: &'a Forward,
    pub(super) rules: &'a Cache,
    pub(super) node: &'a Node,
    /// What is stored and to be validated.
    pub(super) old: Option<&'a Object>,
    pub(super) deadline: Instant,
    /// Something stored can be served when nobody has an answer.
    pub(super) has_stale: bool,
}

impl Ask<'_> {
    /// Asks the next tier if there is one, and the upstream of the route if that has no answer, all
    /// until the deadline. The next tier has half of the time, so that one that hangs is skipped
    /// too.
    pub(super) async fn answer(&self) -> Result<Came, Refusal> {
        let Ask { request, route, to, rules, deadline, has_stale, .. } = *self;
        if let Some(parent) = rules.parent
            && let Some(response) = self.parent(parent).await
        {
            return Ok(Came::Answer(response));
        }
        let asked = forward_unless_stale(request, route, to, to.upstream, has_stale);
        match timeout_at(deadline, asked).await {
            Ok(came) => came,
            Err(_) if has_stale => Ok(Came::Failed(Some(Refusal::UpstreamTimeout))),
            Err(_) => Err(Refusal::UpstreamTimeout),
        }
    }

    /// The answer of the next tier, which may not have heard of purges that this one knows of: it
    /// is told how old its answer may be. By what tags that has been purged is known only when it is
    /// there, and then it may have to be asked once more.
    async fn parent(&self, parent: usize) -> Option<Response> {
        let now = Instant::now();
        let until = now + self.deadline.saturating_duration_since(now) / 2;
        let known = self.newest_purge(None);
        let response = self.parent_younger_than(parent, known, until).await?;
        let purged = self.newest_purge(Some(&response.head)).filter(|when| known < Some(*when));
        match purged.filter(|when| self.may_be_before(&response.head, *when)) {
            None => Some(response),
            purged => {
                if let Body::Answer(conversation) = response.body {
                    conversation.discard();
                }
                self.request.worker.give_back_head(response.head);
                self.parent_younger_than(parent, purged, until).await
            }
        }
    }

    async fn parent_younger_than(
        &self,
        parent: usize,
        purged: Option<Millis>,
        until: Instant,
    ) -> Option<Response> {
        let Ask { request, route, to, node, .. } = *self;
        let younger = purged.map(|when| {
            let seconds = node.millis(Instant::now()).saturating_sub(when) / 1000;
            let mut head = request.head.clone();
            head.headers.push(b"Cache-Control", format!("max-age={seconds}").as_bytes());
            head
        });
        let head = younger.as_ref().unwrap_or(request.head);
        let request = Request { head, ..*request };
        let asked = forward_unless_stale(&request, route, to, parent, true);
        match timeout_at(until, asked).await {
            // One that has been asked before on the way here is none to ask.
            Ok(Ok(Came::Answer(response))) if response.head.status != LOOP => Some(response),
            _ => None,
        }
    }

    /// When anything was purged last by which the answer can be, as far as that is known.
    fn newest_purge(&self, answer: Option<&ResponseHead>) -> Option<Millis> {
        let Ask { request, rules, node, old, .. } = *self;
        let purges = node.store.purges();
        if purges.sequence() == 0 {
            return None;
        }
        let mut labels = Vec::with_capacity(16);
        let tags = answer.map(|head| Tags::of(&head.headers, rules.tags.as_deref()));
        let tags = tags.into_iter().flat_map(|tags| tags.tags);
        LABELS.write(&url_of(request), &rules.key, tags, &mut labels);
        purges.newest(labels.into_iter().chain(old.into_iter().flat_map(Object::labels)))
    }

    /// Whether an answer may be from before a moment. Its age is in whole seconds.
    fn may_be_before(&self, answer: &ResponseHead, when: Millis) -> bool {
        let age = answer.headers.known(Known::Age).and_then(|age| str::from_utf8(age).ok());
        let age = age.and_then(|age| age.trim().parse::<u64>().ok()).unwrap_or(0);
        let now = self.node.millis(Instant::now());
        now.saturating_sub(age.saturating_add(1).saturating_mul(1000)) < when
    }
}
