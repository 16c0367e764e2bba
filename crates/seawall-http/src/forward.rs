//! Forwarding: a request to a server, its answer back, both streamed.
//!
//! Neither side is read faster than the other takes it: each direction has one buffer, and reads
//! again when it is empty. [`pump`] carries the request, [`conversation`] all of an attempt.

pub(crate) mod conversation;
pub(crate) mod pump;

use seawall_config::plan::{Forward, Route};

use self::conversation::Conversation;
use self::pump::Pump;
use crate::message::{Body, Request, Response};
use crate::policy::headers;
use crate::refuse::{Kind, Refusal};
use crate::upstream::pool::Attempts;

/// What is added to an answer.
const VIA: &[u8] = b"1.1 seawall";

/// Sends the request to a server and gives the head of its answer, with the body to follow.
///
/// A connection that was idle and dies before the first byte of an answer proves nothing about the
/// server, so the request is sent once more on a fresh one if that can do no harm: if it is
/// idempotent, or if nothing of it was sent. When dropped, the connection to the server is closed.
pub(crate) async fn forward(
    request: &Request<'_>,
    route: &Route,
    to: &Forward,
) -> Result<Response, Refusal> {
    let config = &request.running.compiled.plan.upstreams[to.upstream];
    let pool = &request.running.pools[to.upstream];
    let head = || {
        let mut out = request.worker.take_text();
        headers::write_request(request, route, to, &mut out);
        out
    };
    let idempotent = request.head.method.is_idempotent();
    let mut attempts = Attempts::default();
    attempts.once = !idempotent;
    let mut pump = Pump::new(request.head.body, head());
    loop {
        let lease = pool.lease(request.worker, config, &mut attempts).await?;
        let server = lease.server.clone();
        request.facts.server.replace(Some(server.clone()));
        let cells = server.state.cells.of(request.worker.index);
        cells.requests.add(1);
        let may_have_died = lease.reused;
        if may_have_died {
            cells.reused.add(1);
        }
        if may_have_died && idempotent {
            pump.record();
        }
        let mut conversation = Box::new(Conversation::new(lease, pump, config));
        let mut answer = request.worker.take_head();
        let refusal = match conversation.answer(request, config, &mut answer).await {
            Ok(()) => {
                request.facts.answered.set(Some(request.worker.turn.now()));
                answer.headers.push(b"Via", VIA);
                let body = if answer.status == 101 {
                    Body::Tunnel(Box::new(conversation.into_tunnel()))
                } else if conversation.is_done() {
                    // There is no content, so the connection is free before the answer goes out.
                    conversation.finish();
                    Body::Empty
                } else {
                    Body::Answer(conversation)
                };
                return Ok(Response { head: answer, body });
            }
            Err(refusal) => refusal,
        };
        request.worker.give_back_head(answer);
        let died = refusal == Refusal::UpstreamClosed && !conversation.heard && may_have_died;
        if died && conversation.pump.may_be_sent_again(idempotent) {
            cells.resent.add(1);
            attempts.fresh = true;
            pump = conversation.pump.again(request.client, head());
            continue;
        }
        if refusal.description().kind == Kind::Upstream {
            cells.failures.add(1);
        }
        return Err(refusal);
    }
}
