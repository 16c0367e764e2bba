//! Delivers the events of one report: batch after batch, each until it is taken or refused, on the
//! control thread. A batch keeps its number however often it is posted, so that an application that
//! remembers numbers counts each event once.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seawall_core::balance::levels::{self, Levels, Rules, State};
use seawall_core::jitter;
use seawall_core::random::Random;
use seawall_telemetry::metrics::Lost;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::post::{Posted, post};
use super::waiting::Batch;
use super::{Order, Report};
use crate::upstream::{Endpoint, Standing};

/// The pause before the first retry is between half of this and all of it.
const FIRST: Duration = Duration::from_millis(500);

/// Each pause is twice as long as the one before it, up to this.
const LONGEST: Duration = Duration::from_secs(30);

/// The longest between two looks for what is left of a report that is no more.
const LAST_ROUNDS: Duration = Duration::from_secs(1);

/// Delivers for as long as more may come. Ends when the time for that is over, or when it has nothing
/// left and nothing comes any more.
pub(super) async fn run(report: Arc<Report>, orders: watch::Receiver<Order>, epoch: Instant) {
    let random = Random::seeded(RandomState::new().hash_one(&report.route));
    let mut courier = Courier { report, orders, epoch, random, state: Delivery::Good };
    let mut last = Instant::now();
    loop {
        let Order { to, end, .. } = courier.orders.borrow_and_update().clone();
        if !end.is_some_and(|end| end.nothing_comes) {
            // Nothing is gained by waiting for more than the workers still have.
            let every = end.map_or(to.every, |_| to.every.min(LAST_ROUNDS));
            let next = last + every;
            let changed = tokio::select! {
                () = sleep_until(end.map_or(next, |end| next.min(end.at))) => Ok(()),
                () = courier.report.enough.notified() => Ok(()),
                changed = courier.orders.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
        last = Instant::now();
        while let Some(batch) = courier.report.take() {
            courier.deliver(batch).await;
            courier.report.settle();
        }
        let end = courier.orders.borrow().end;
        if end.is_some_and(|end| end.nothing_comes || end.at <= Instant::now()) {
            return courier.report.close();
        }
    }
}

/// How the last batch went, which is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Good,
    Failed,
    Refused,
}

struct Courier {
    report: Arc<Report>,
    orders: watch::Receiver<Order>,
    /// When the clock began that all workers go by.
    epoch: Instant,
    random: Random,
    state: Delivery,
}

impl Courier {
    /// Posts a batch until it is taken or refused, or it is too late.
    async fn deliver(&mut self, batch: Batch) {
        let number = number();
        let counts = self.report.counts.clone();
        let (mut pause, mut tried) = (FIRST, None);
        loop {
            let order = self.orders.borrow_and_update().clone();
            let now = Instant::now();
            if order.end.is_some_and(|end| end.at <= now) {
                return self.give_up(&batch);
            }
            let posted = match self.choose(&order, tried) {
                Some(server) => {
                    tried = Some(server);
                    let deadline = now + order.to.timeout;
                    tokio::select! {
                        posted = post(&order, server, &batch, &number, deadline) => posted,
                        () = end(self.orders.clone()) => {
                            Posted::Failed("no answer in time".to_owned(), None)
                        }
                    }
                }
                None => Posted::Failed("no server can be used".to_owned(), None),
            };
            match posted {
                Posted::Taken => {
                    counts.batches.fetch_add(1, Relaxed);
                    return self.is_well();
                }
                Posted::Refused(status) => {
                    counts.lost(Lost::Refused, batch.events);
                    return self.refused(status, &batch);
                }
                Posted::Failed(why, after) => {
                    self.trouble(&why);
                    let this = jitter::between(&mut self.random, pause / 2, pause);
                    let this = after.map_or(this, |after| this.max(after.min(LONGEST)));
                    pause = (pause * 2).min(LONGEST);
                    self.rest(this).await;
                    counts.retries.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// Waits, but no longer than there is nothing new: another place to deliver to, or an end.
    async fn rest(&mut self, long: Duration) {
        let mut wake = Instant::now() + long;
        if let Some(end) = self.orders.borrow().end {
            wake = wake.min(end.at);
        }
        tokio::select! {
            () = sleep_until(wake) => {}
            // Who gave orders is gone, and so is this task in a moment.
            _ = self.orders.changed() => {}
        }
    }

    /// A server as its weight, its priority, its zone and its health say; another one than was tried
    /// last, if there is one.
    fn choose(&mut self, order: &Order, tried: Option<SocketAddr>) -> Option<SocketAddr> {
        let now = self.epoch.elapsed().as_millis() as u64;
        let endpoints = order.upstream.endpoints();
        let member = |endpoint: &Endpoint| levels::Member {
            priority: endpoint.priority,
            local: order.zone.is_some() && endpoint.zone == order.zone,
            weight: endpoint.weight,
            state: match endpoint.server.standing(now) {
                Standing::Ready => State::Usable,
                Standing::Ejected | Standing::Failing | Standing::Unreachable => State::Failing,
                Standing::Draining | Standing::Disabled => State::Out,
            },
        };
        let members: Vec<levels::Member> = endpoints.iter().map(member).collect();
        let is_out = |at: usize| members[at].state == State::Out;
        let levels = Levels::new(&members, Rules { panic: order.panic, ..Rules::default() });
        let group = levels.pick(&mut self.random).map(|at| levels.groups()[at].members.clone());
        // When all fail one is asked all the same: nobody waits for it.
        let mut group = group.unwrap_or_else(|| (0..members.len()).collect());
        group.retain(|&at| !is_out(at));
        let is_other = |at: &usize| Some(endpoints[*at].server.address) != tried;
        if group.iter().any(is_other) {
            group.retain(is_other);
        }
        let total: u64 = group.iter().map(|&at| u64::from(members[at].weight)).sum();
        let mut left = self.random.below(total);
        let chosen = group.iter().find(|&&at| {
            let weight = u64::from(members[at].weight);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        });
        chosen.map(|&at| endpoints[at].server.address)
    }

    /// Whether this is new, and to be told.
    fn becomes(&mut self, state: Delivery) -> bool {
        std::mem::replace(&mut self.state, state) != state
    }

    fn trouble(&mut self, why: &str) {
        if self.becomes(Delivery::Failed) {
            let (route, seconds) = (&*self.report.route, LONGEST.as_secs());
            tracing::warn!(
                route,
                why,
                "events of a report cannot be delivered; they wait, and are tried again at least \
                 every {seconds} seconds"
            );
        }
    }

    fn refused(&mut self, status: u16, batch: &Batch) {
        if self.becomes(Delivery::Refused) {
            let (route, events) = (&*self.report.route, batch.events);
            tracing::error!(
                route,
                status,
                events,
                "events of a report are refused and dropped; see `report.path` and \
                 `report.authorization`"
            );
        }
    }

    fn is_well(&mut self) {
        if self.becomes(Delivery::Good) {
            tracing::info!(route = &*self.report.route, "events of a report are delivered again");
        }
    }

    /// It is too late for this batch.
    fn give_up(&self, batch: &Batch) {
        self.report.counts.lost(Lost::Ended, batch.events);
        tracing::error!(
            route = &*self.report.route,
            events = batch.events,
            "events of a report were not delivered in time and are lost"
        );
    }
}

/// Until delivery is to have ended.
async fn end(mut orders: watch::Receiver<Order>) {
    loop {
        let end = orders.borrow_and_update().end;
        let over = async {
            match end {
                Some(end) => sleep_until(end.at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => return,
            changed = orders.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// A number that no other batch has, of whatever process: that of the node, when it was started, and
/// how many there were before.
fn number() -> String {
    static PROCESS: OnceLock<(u64, u64)> = OnceLock::new();
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let (node, boot) = *PROCESS.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Seeded by the system.
        (RandomState::new().hash_one("report"), since.as_secs())
    });
    format!("{node:016x}-{boot:x}-{}", NUMBER.fetch_add(1, Relaxed))
}
