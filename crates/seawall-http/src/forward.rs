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

use self::attempt::Answered;
use self::retry::Errand;
use crate::message::{Body, Request, Response};
use crate::policy::sticky;
use crate::refuse::Refusal;

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
    if to.fallback.is_empty() {
        return match result {
            Ok(answered) => Ok(pass_on(&errand, answered)),
            Err(failed) => Err(failed.refusal),
        };
    }
    Box::pin(fallback::instead(&errand, result)).await
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
