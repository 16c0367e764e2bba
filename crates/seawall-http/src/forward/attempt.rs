//! One attempt at a request: a permission, a server, and the head of its answer.

use std::pin::pin;
use std::time::Duration;

use seawall_config::plan;
use seawall_h1::ResponseHead;
use tokio::time::{Instant, timeout_at};

use super::conversation::Conversation;
use super::pump::Pump;
use crate::message::Request;
use crate::refuse::{Kind, Refusal};
use crate::upstream::pool::Search;
use crate::upstream::trial::{Outcome, Trial, is_gateway_error};

/// The head of an answer, with its body to follow.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) head: Box<ResponseHead>,
    pub(crate) conversation: Box<Conversation>,
}

/// An attempt that no answer came of.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) refusal: Refusal,
    /// The request, as far as it went.
    pub(crate) pump: Pump,
    /// The connection had been idle and was dead, which proves nothing about the server.
    pub(crate) stale: bool,
    /// No server was tried, since none may be.
    pub(crate) unsent: bool,
}

/// Makes one attempt, whose answer is to be there within `patience`. When dropped, the connection
/// to the server is closed, which cancels the work there, and the attempt counts for what it was:
/// unanswered, if its time was over.
pub(crate) async fn attempt(
    search: &Search<'_>,
    request: &Request<'_>,
    began: Instant,
    patience: Option<Duration>,
    pump: Pump,
) -> Result<Answered, Failed> {
    let Search { worker, pool, config, deadline, .. } = *search;
    let unsent = |refusal, pump| Failed { refusal, pump, stale: false, unsent: true };
    let permission = match pool.permission(worker) {
        Ok(permission) => permission,
        Err(refusal) => return Err(unsent(refusal, pump)),
    };
    let lease = match pool.lease(search).await {
        Ok(lease) => lease,
        Err(refusal) => {
            if matches!(refusal, Refusal::ConnectFailed | Refusal::ConnectTimeout) {
                permission.settle(true, false);
            }
            return Err(unsent(refusal, pump));
        }
    };
    let server = lease.server.clone();
    request.facts.server.replace(Some(server.clone()));
    let cells = server.state.cells.of(worker.index);
    cells.requests.add(1);
    let reused = lease.reused;
    if reused {
        cells.reused.add(1);
    }
    // Time in line is nobody's answer.
    let began = search.admitted.get().map_or(began, |admitted| admitted.max(began));
    let trial = Trial::new(server.clone(), request, permission, began, deadline);
    let mut conversation = Box::new(Conversation::new(lease, pump, config));
    let mut head = worker.take_head();
    let result = match patience {
        None => conversation.answer(request, config, &mut head).await,
        Some(time) => answer_within(&mut conversation, request, config, &mut head, time).await,
    };
    let now = worker.turn.now();
    let Err(refusal) = result else {
        trial.settle(Outcome::Answered(head.status), now);
        request.facts.answered.set(Some(now));
        conversation.sound = !is_gateway_error(head.status);
        return Ok(Answered { head, conversation });
    };
    worker.give_back_head(head);
    let stale = refusal == Refusal::UpstreamClosed && !conversation.heard && reused;
    if !stale && refusal.description().kind == Kind::Upstream {
        cells.failures.add(1);
        trial.settle(Outcome::Broken, now);
    } else {
        trial.settle(Outcome::Nothing, now);
    }
    Err(Failed { refusal, pump: conversation.take_pump(), stale, unsent: false })
}

/// The head of the answer, or [`Refusal::UpstreamTimeout`] when it takes longer than `patience`,
/// which begins anew while the client still sends, or is to send: how slow it may be is for others
/// to say.
async fn answer_within(
    conversation: &mut Conversation,
    request: &Request<'_>,
    config: &plan::Upstream,
    head: &mut ResponseHead,
    patience: Duration,
) -> Result<(), Refusal> {
    let mut until = Instant::now() + patience;
    let mut answer = pin!(conversation.answer(request, config, head));
    loop {
        if let Ok(result) = timeout_at(until, answer.as_mut()).await {
            return result;
        }
        match request.client.last_read.get() {
            Some(last) if last + patience > until => until = last + patience,
            _ if request.waits_for_client() => until = Instant::now() + patience,
            _ => return Err(Refusal::UpstreamTimeout),
        }
    }
}
