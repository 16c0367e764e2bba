//! Tiers of caches: what a node says when it asks the next one, and what it makes of being asked.
//!
//! A tier says who asks in `CDN-Loop` (RFC 8586), and up to where it knows of purges in
//! `Seawall-Purges`. Who is asked serves nothing stale to another cache, which would take it for
//! fresh; and nothing at all from its store before it knows of as many purges.

use std::time::Duration;

use seawall_config::plan::{Cache, Forward, Route};
use seawall_h1::Headers;
use seawall_state::Position;
use tokio::time::{Instant, timeout_at};

use super::node::Node;
use crate::forward::{Came, forward_unless_stale};
use crate::message::Request;
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
pub(super) fn asks(headers: &Headers) -> bool {
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

/// Asks the next tier if there is one, and the upstream of the route if that has no answer, all
/// until `deadline`. The next tier has half of the time, so that one that hangs is skipped too.
pub(super) async fn ask(
    request: &Request<'_>,
    route: &Route,
    to: &Forward,
    rules: &Cache,
    deadline: Instant,
    has_stale: bool,
) -> Result<Came, Refusal> {
    if let Some(parent) = rules.parent {
        let now = Instant::now();
        let half = now + deadline.saturating_duration_since(now) / 2;
        let asked = forward_unless_stale(request, route, to, parent, true);
        // One that has been asked before on the way here is none to ask.
        if let Ok(Ok(Came::Answer(response))) = timeout_at(half, asked).await
            && response.head.status != LOOP
        {
            return Ok(Came::Answer(response));
        }
    }
    let asked = forward_unless_stale(request, route, to, to.upstream, has_stale);
    match timeout_at(deadline, asked).await {
        Ok(came) => came,
        Err(_) if has_stale => Ok(Came::Failed(Some(Refusal::UpstreamTimeout))),
        Err(_) => Err(Refusal::UpstreamTimeout),
    }
}
