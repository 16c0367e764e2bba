//! Attempts until one is good, or nothing is to be gained by another.
//!
//! An attempt is made again only if that can do no harm: the request never left, or it is safe to
//! send twice; another server is tried while there is one that was not; the answer can still be
//! there in time; and the route's budget pays for it, so that retries never become the load that
//! keeps an upstream down. A connection that had been idle and is dead proves nothing about its
//! server, and the request is sent once more on a fresh one without all that.

use std::time::{Duration, SystemTime};

use seawall_config::plan::{self, Forward, Route};
use seawall_core::retry::Share;
use seawall_core::retry::{Failed as Circumstances, Pause, pause};
use seawall_h1::ResponseHead;
use tokio::time::{Instant, sleep};

use super::attempt::{Answered, Failed, attempt};
use super::hedge;
use super::pump::Pump;
use crate::message::Request;
use crate::policy::{hash_key, headers, sticky};
use crate::refuse::Kind;
use crate::upstream::pool::{Pool, Search};
use crate::upstream::watch::RouteWatch;

/// The longest `Retry-After` that is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest pause before a retry that no server has asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A request that is to be answered by an upstream.
pub(crate) struct Errand<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) route: &'a Route,
    pub(crate) to: &'a Forward,
    pub(crate) search: Search<'a>,
    /// What is known of the route's answers of late.
    pub(crate) watch: &'a RouteWatch,
    /// What pays for attempts beyond the first.
    pub(crate) share: &'a Share,
    /// It may be sent twice: idempotent, or with a key that makes it so.
    safe: bool,
    /// Its path is sent without the edits of the route.
    as_asked: bool,
}

impl<'a> Errand<'a> {
    pub(crate) fn new(
        request: &'a Request<'a>,
        route: &'a Route,
        to: &'a Forward,
        upstream: usize,
    ) -> Errand<'a> {
        let running = request.running;
        let config = &running.compiled.plan.upstreams[upstream];
        let deadline = request.facts.deadline.get().unwrap_or(request.started + to.timeout);
        let pool = &running.pools[upstream];
        let mut search = Search::new(request.worker, pool, config, request.ready, deadline);
        let idempotent = request.head.method.is_idempotent();
        search.once = !idempotent;
        search.key = hash_key::of(request, &config.balance);
        if let Some(sticky) = &config.sticky {
            search.stuck_to = sticky::read(request, pool, sticky);
        }
        let matters =
            to.retry.unanswered || !to.retry.statuses.is_empty() || !to.fallback.is_empty();
        let has_key = || request.head.headers.first(b"idempotency-key").is_some();
        let safe = idempotent || matters && has_key();
        let at = request.facts.route.get().unwrap_or_default();
        let (watch, share) = (&running.compiled.watches[at], &running.shares[at]);
        search.share = Some(share);
        Errand { request, route, to, search, watch, share, safe, as_asked: false }
    }

    /// The same for the next tier of caches. That has routes of its own, and is to know what it
    /// stores by the URL that clients ask for, which is what purges name.
    pub(crate) fn for_tier(self) -> Errand<'a> {
        Errand { as_asked: true, ..self }
    }

    pub(crate) fn config(&self) -> &'a plan::Upstream {
        self.search.config
    }

    pub(crate) fn pool(&self) -> &'a Pool {
        self.search.pool
    }

    /// The head of the request as a server is to see it in an attempt that begins `now`.
    pub(crate) fn head(&self, now: Instant) -> Vec<u8> {
        let mut out = self.request.worker.take_text();
        let left = self.search.deadline.saturating_duration_since(now);
        let Errand { request, route, to, as_asked, .. } = self;
        headers::write_request(request, route, to, *as_asked, left, &mut out);
        out
    }

    /// The request, not sent yet, as it is to be sent from now on.
    pub(crate) fn pump(&self, began: Instant) -> Pump {
        let mut pump = Pump::new(self.request.head.body, self.head(began));
        if self.safe {
            pump.record(self.to.retry.body);
        }
        pump
    }

    /// The same request once more, from its beginning.
    pub(crate) fn again(&self, pump: Pump, now: Instant) -> Pump {
        pump.again(self.request.client, self.head(now))
    }

    /// Makes attempts, the first from `began` on. Gives the first good answer, or what came of the
    /// last attempt.
    pub(crate) async fn run(&self, mut began: Instant, mut pump: Pump) -> Result<Answered, Failed> {
        let Errand { request, to, search, .. } = self;
        let retry = &to.retry;
        let mut failure = None;
        let mut attempts = 1;
        loop {
            let result = match &to.hedge {
                Some(hedge) if attempts == 1 && hedge::may_be(self) => {
                    Box::pin(hedge::attempts(self, hedge, began, pump)).await
                }
                _ => attempt(search, request, began, retry.attempt_timeout, pump).await,
            };
            let (left, refusal) = match result {
                Ok(answered) if !retry.statuses.contains(&answered.head.status) => {
                    return Ok(answered);
                }
                Ok(mut answered) => {
                    let may = answered.conversation.pump.may_be_sent_again(self.safe);
                    let asked = retry_after(&answered.head);
                    let Some(pause) = self.pause(may, attempts, asked) else {
                        return Ok(answered);
                    };
                    let left = answered.conversation.take_pump();
                    answered.conversation.discard();
                    request.worker.give_back_head(answered.head);
                    sleep(pause).await;
                    (left, None)
                }
                Err(Failed { stale: true, pump: left, .. })
                    if left.may_be_sent_again(self.safe) =>
                {
                    if let Some(server) = &*request.facts.server.borrow() {
                        server.state.cells.of(request.worker.index).resent.add(1);
                    }
                    search.fresh.set(true);
                    pump = self.again(left, began);
                    continue;
                }
                Err(mut failed) => {
                    if failed.unsent {
                        failed.refusal = failure.unwrap_or(failed.refusal);
                        return Err(failed);
                    }
                    let may = failed.pump.may_be_sent_again(self.safe && retry.unanswered)
                        && failed.refusal.description().kind == Kind::Upstream;
                    let Some(pause) = self.pause(may, attempts, None) else { return Err(failed) };
                    sleep(pause).await;
                    (failed.pump, Some(failed.refusal))
                }
            };
            failure = refusal;
            attempts += 1;
            began = Instant::now();
            pump = self.again(left, began);
        }
    }

    /// The pause before another attempt, if one may and can be made; it is paid for.
    fn pause(&self, may: bool, attempts: u32, retry_after: Option<Duration>) -> Option<Duration> {
        let Errand { request, to, search, .. } = self;
        // After half an interim answer, no other can be given.
        if !may || attempts >= to.retry.attempts || request.client.in_interim.get() {
            return None;
        }
        let circumstances = Circumstances {
            retries: attempts - 1,
            base: to.retry.backoff,
            max: LONGEST_PAUSE,
            retry_after,
            patience: PATIENCE,
            remaining: search.deadline.saturating_duration_since(Instant::now()),
            typical: self.watch.typical(),
        };
        let random = &mut request.worker.random.borrow_mut();
        let Pause::Wait(wait) = pause(&circumstances, random) else { return None };
        let cells = request.route_cells();
        if !self.share.withdraw() {
            cells.unaffordable.add(1);
            return None;
        }
        cells.retries.add(1);
        request.client.awaits_body.set(false);
        search.exclude_last();
        Some(wait)
    }

    /// Whether it may be sent twice.
    pub(crate) fn is_safe(&self) -> bool {
        self.safe
    }
}

/// The pause that the server asks for (RFC 9110 §10.2.3).
fn retry_after(head: &ResponseHead) -> Option<Duration> {
    let value = std::str::from_utf8(head.headers.first(b"retry-after")?).ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}
