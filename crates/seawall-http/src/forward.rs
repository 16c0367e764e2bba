//! Forwarding: a request to a server, its answer back, both streamed.
//!
//! Neither side is read faster than the other takes it: each direction has one buffer, and reads
//! again when it is empty. [`pump`] carries the request, [`conversation`] all of an attempt;
//! [`attempt`] is one attempt, [`retry`] makes them until one is good, [`hedge`] makes two at once,
//! and [`fallback`] is what comes when none was good.

pub(crate) mod attempt;
pub(crate) mod conversation;
pub(crate) mod fallback;
pub(crate) mod hedge;
pub(crate) mod pump;
pub(crate) mod retry;

use seawall_config::plan::{Forward, Route};

use self::attempt::{Answered, Failed};
use self::retry::Errand;
use crate::message::{Body, Request, Response};
use crate::policy::sticky;
use crate::refuse::{Kind, Refusal};

/// What is added to an answer.
const VIA: &[u8] = b"1.1 seawall";

/// Sends the request to a server and gives the head of its answer, with the body to follow. When
/// dropped, the connection to the server is closed.
pub(crate) async fn forward(
    request: &Request<'_>,
    route: &Route,
    to: &Forward,
) -> Result<Response, Refusal> {
    let errand = Errand::new(request, route, to, to.upstream);
    errand.share.deposit();
    let result = errand.run(request.ready, errand.pump(request.ready)).await;
    conclude(&errand, result).await
}

/// What came of a request for a cache.
pub(crate) enum Came {
    /// This answer, be it from the upstream or in place of its own.
    Answer(Response),
    /// The upstream failed, and there was something better at hand than a fallback.
    Failed(Option<Refusal>),
}

/// As [`forward`], to an upstream that need not be the route's own, for one who may have something
/// stored (`has_stale`) that serves when the upstream fails (RFC 5861 §4).
pub(crate) async fn forward_unless_stale(
    request: &Request<'_>,
    route: &Route,
    to: &Forward,
    upstream: usize,
    has_stale: bool,
) -> Result<Came, Refusal> {
    let errand = Errand::new(request, route, to, upstream);
    errand.share.deposit();
    let result = errand.run(request.ready, errand.pump(request.ready)).await;
    let failed = match &result {
        Ok(answered) if matches!(answered.head.status, 500 | 502..=504) => Some(None),
        Ok(_) => None,
        Err(failed) if failed.refusal.description().kind == Kind::Client => None,
        Err(failed) => Some(Some(failed.refusal)),
    };
    match failed {
        Some(refusal) if has_stale => {
            if let Ok(answered) = result {
                answered.conversation.discard();
                request.worker.give_back_head(answered.head);
            }
            Ok(Came::Failed(refusal))
        }
        _ => conclude(&errand, result).await.map(Came::Answer),
    }
}

/// As [`forward`], to the next tier of caches. `None` if that has no answer of the origin's, so that
/// another has to be asked: it cannot be reached, or refuses the request itself.
pub(crate) async fn forward_to_tier(
    request: &Request<'_>,
    route: &Route,
    to: &Forward,
    upstream: usize,
) -> Option<Response> {
    let errand = Errand::new(request, route, to, upstream).for_tier();
    errand.share.deposit();
    let answered = errand.run(request.ready, errand.pump(request.ready)).await.ok()?;
    if Refusal::is_of_tier(&answered.head) {
        answered.conversation.discard();
        request.worker.give_back_head(answered.head);
        return None;
    }
    Some(pass_on(&errand, answered))
}

/// The answer, or what the route gives instead.
async fn conclude(
    errand: &Errand<'_>,
    result: Result<Answered, Failed>,
) -> Result<Response, Refusal> {
    if errand.to.fallback.is_empty() {
        return match result {
            Ok(answered) => Ok(pass_on(errand, answered)),
            Err(failed) => Err(failed.refusal),
        };
    }
    Box::pin(fallback::instead(errand, result)).await
}

/// The answer as the client gets it.
fn pass_on(errand: &Errand<'_>, answered: Answered) -> Response {
    let Answered { mut head, conversation } = answered;
    head.headers.push(b"Via", VIA);
    if errand.config().sticky.is_some() {
        sticky::write(errand, &mut head);
    }
    let body = if head.status == 101 {
        Body::Tunnel(Box::new(conversation.into_tunnel()))
    } else if conversation.is_done() {
        // There is no content, so the connection is free before the answer goes out.
        conversation.finish();
        Body::Empty
    } else {
        Body::Answer(conversation)
    };
    Response { head, body }
}
