//! Two attempts at once: when the first takes longer than most, a second is begun on another
//! server, the first good answer wins, and the other attempt is cancelled by closing its connection
//! (Dean and Barroso: *The Tail at Scale*, CACM 2013).

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use seawall_config::plan;
use seawall_core::hedge::{Situation, decide, is_useful};
use seawall_h1::{BodyLength, Method};
use tokio::time::{Instant, sleep_until};

use super::attempt::{Answered, Failed, attempt};
use super::pump::Pump;
use super::retry::Errand;

/// Whether a request may be sent to two servers at once: only those that change nothing, and have
/// no body that both would need.
pub(crate) fn may_be(errand: &Errand<'_>) -> bool {
    let head = errand.request.head;
    matches!(head.method, Method::Get | Method::Head | Method::Options)
        && matches!(head.body, BodyLength::Empty | BodyLength::Length(0))
        && head.upgrade().is_none()
}

/// One attempt, or two if the first takes long.
pub(crate) async fn attempts(
    errand: &Errand<'_>,
    hedge: &plan::Hedge,
    began: Instant,
    pump: Pump,
) -> Result<Answered, Failed> {
    let Errand { request, to, search, .. } = errand;
    let patience = to.retry.attempt_timeout;
    let mut first = pin!(attempt(search, request, began, patience, pump));
    let Some(at) = due(errand, hedge, began) else { return first.await };
    {
        let mut due = pin!(sleep_until(at));
        let early = poll_fn(|cx| match first.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => due.as_mut().poll(cx).map(|()| None),
        });
        if let Some(result) = early.await {
            return result;
        }
    }
    // What was known when the request came may have changed.
    if due(errand, hedge, began).is_none() || !errand.share.withdraw() {
        return first.await;
    }
    let cells = request.route_cells();
    cells.hedges.add(1);
    search.exclude_last();
    let now = Instant::now();
    let again = Pump::new(request.head.body, errand.head(now));
    let mut second = pin!(attempt(search, request, now, patience, again));
    let good = |result: &Result<Answered, Failed>| match result {
        Ok(answered) => answered.head.status < 500,
        Err(_) => false,
    };
    let mut results = [None, None];
    let winner = poll_fn(|cx| {
        for (at, attempt) in
            [first.as_mut() as std::pin::Pin<&mut dyn Future<Output = _>>, second.as_mut()]
                .into_iter()
                .enumerate()
        {
            if results[at].is_none()
                && let Poll::Ready(result) = attempt.poll(cx)
            {
                if good(&result) {
                    results[at] = Some(result);
                    return Poll::Ready(at);
                }
                results[at] = Some(result);
            }
        }
        match &results {
            // Neither is good: an answer rather than none, and the first rather than the second.
            [Some(first), Some(second)] => {
                Poll::Ready(usize::from(first.is_err() && second.is_ok()))
            }
            _ => Poll::Pending,
        }
    })
    .await;
    if winner == 1 {
        cells.hedges_won.add(1);
    }
    let Some(result) = results[winner].take() else { unreachable!("the winner has a result") };
    if !good(&result) {
        // Both were tried in vain, whichever is remembered as the last.
        search.exclude_last();
    }
    if let Ok(answered) = &result {
        request.facts.server.replace(Some(answered.conversation.server().clone()));
    }
    result
}

/// When a second attempt is due, if one is of use and allowed as things are.
fn due(errand: &Errand<'_>, hedge: &plan::Hedge, began: Instant) -> Option<Instant> {
    let pool = errand.pool();
    if pool.is_guarded() {
        return None;
    }
    let situation = Situation {
        after: hedge.after,
        least: hedge.least,
        p95: errand.watch.p95(),
        utilisation: pool.utilisation(errand.config()),
        affordable: errand.share.is_affordable(),
        others: pool.ready(errand.request.worker, errand.config()).saturating_sub(1),
    };
    let delay = decide(&situation).ok()?;
    let remaining = errand.search.deadline.saturating_duration_since(began);
    is_useful(delay, errand.watch.typical(), remaining).then(|| began + delay)
}
