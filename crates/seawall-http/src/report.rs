//! Reports: what the application is told of the answers that it did not give.
//!
//! Each route with `report` has a [`Report`], which outlives plans. Workers collect events in
//! [`Events`], a buffer of their own that no request shares, and hand it over when it is long enough
//! or twice a second; a request locks nothing. What was handed over [waits](waiting) within its
//! bounds until a task on the control thread has [delivered](deliver) it. Which answers are events
//! is for `policy/report.rs`.

mod deliver;
mod post;
mod waiting;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seawall_config::plan::{Plan, Reporting};
use seawall_h1::HeadLimits;
use seawall_telemetry::Metrics;
use seawall_telemetry::event::{Event, LONGEST};
use seawall_telemetry::metrics::{Lost, Report as Counts};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use self::waiting::{Batch, Waiting};
use crate::upstream::Upstream;

/// A worker hands its events over when they are this long, or when half a second has passed.
const BUFFER: usize = 32 * 1024;

/// The longest that one buffer of a worker can be.
const LONGEST_BUFFER: usize = BUFFER + LONGEST;

/// The most content of a batch.
const LARGEST_BATCH: u64 = 4 << 20;

/// How long events of a route that has no report any more are still tried to be delivered.
const AFTERWARDS: Duration = Duration::from_secs(60);

/// The least time for what is left at the end of the process, however long the drain has taken.
const AT_LEAST: Duration = Duration::from_secs(2);

/// The events of one route, on their way from the workers to the application.
#[derive(Debug)]
pub(crate) struct Report {
    route: Arc<str>,
    waiting: Mutex<Waiting>,
    /// Told when there is enough for a whole batch.
    enough: Notify,
    counts: Arc<Counts>,
    /// The log says that events are dropped.
    overflowing: AtomicBool,
}

impl Report {
    fn new(route: &Arc<str>, metrics: &Metrics) -> Report {
        Report {
            route: route.clone(),
            waiting: Mutex::default(),
            enough: Notify::new(),
            counts: metrics.report(route),
            overflowing: AtomicBool::new(false),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts events of a worker behind those that wait. The oldest go when there is no room.
    fn add(&self, text: &[u8], events: u64, since: u64) {
        self.counts.events.fetch_add(events, Relaxed);
        let (dropped, enough) = {
            let mut waiting = self.waiting();
            if waiting.is_closed() {
                return self.counts.lost(Lost::Ended, events);
            }
            let dropped = waiting.add(text, events, since);
            self.show(&waiting);
            (dropped, waiting.has_batch())
        };
        if enough {
            self.enough.notify_one();
        }
        if dropped > 0 {
            self.counts.lost(Lost::Overflow, dropped);
            if !self.overflowing.swap(true, Relaxed) {
                tracing::warn!(
                    route = &*self.route,
                    "events of a report are dropped, the oldest first, since more wait to be \
                     delivered than `report.buffer` holds"
                );
            }
        }
    }

    /// The oldest events, which stay counted until they are [settled](Report::settle).
    fn take(&self) -> Option<Batch> {
        self.waiting().take()
    }

    /// Forgets the batch that was taken last.
    fn settle(&self) {
        let mut waiting = self.waiting();
        waiting.settle();
        self.show(&waiting);
        if waiting.is_empty() && self.overflowing.swap(false, Relaxed) {
            tracing::info!(route = &*self.route, "all events of the report have been delivered");
        }
    }

    /// Nobody delivers any more. What is left, and what may still come, is lost.
    fn close(&self) {
        let left = self.waiting().close();
        self.settle();
        if left > 0 {
            self.counts.lost(Lost::Ended, left);
            let route = &*self.route;
            tracing::error!(route, events = left, "events of a report were not delivered");
        }
    }

    fn show(&self, waiting: &Waiting) {
        self.counts.waiting.store(waiting.bytes(), Relaxed);
        self.counts.oldest.store(waiting.oldest(), Relaxed);
    }
}

/// What one worker has collected.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) report: Arc<Report>,
    text: Vec<u8>,
    count: u64,
    /// When the first of them happened, in milliseconds since 1970.
    since: u64,
}

impl Events {
    pub(crate) fn new(report: Arc<Report>) -> Events {
        Events { report, text: Vec::new(), count: 0, since: 0 }
    }

    /// Adds one.
    pub(crate) fn push(&mut self, event: &Event<'_>) {
        if self.count == 0 {
            self.since = event.time_millis;
        }
        event.write(&mut self.text);
        self.count += 1;
        if self.text.len() >= BUFFER {
            self.hand_over();
        }
    }

    /// Hands over what is there, or gives the memory back when nothing has come for a while. To be
    /// called twice a second.
    pub(crate) fn rest(&mut self) {
        match self.count {
            0 => self.text = Vec::new(),
            _ => self.hand_over(),
        }
    }

    fn hand_over(&mut self) {
        if self.count > 0 {
            self.report.add(&self.text, self.count, self.since);
            self.text.clear();
            self.count = 0;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// Where the events of a route are delivered to, and how long that is still tried.
#[derive(Debug, Clone)]
struct Order {
    to: Reporting,
    upstream: Arc<Upstream>,
    /// Limits on the head of an answer.
    limits: HeadLimits,
    connect_timeout: Duration,
    panic: u32,
    zone: Option<Arc<str>>,
    /// `None` while it goes on.
    end: Option<End>,
}

/// How delivery is to end.
#[derive(Debug, Clone, Copy)]
struct End {
    /// Until when it is tried.
    at: Instant,
    /// The workers are gone, so that what is there is all.
    nothing_comes: bool,
}

/// A report and the task that delivers its events.
#[derive(Debug)]
struct Delivered {
    report: Arc<Report>,
    /// Absent until a plan with it is in place.
    delivery: Option<Delivery>,
}

#[derive(Debug)]
struct Delivery {
    order: watch::Sender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All reports of the process. Their tasks end when it is dropped.
#[derive(Debug)]
pub(crate) struct Reports {
    by_route: HashMap<Arc<str>, Delivered>,
    /// When the clock began that all workers go by.
    epoch: Instant,
}

impl Reports {
    /// None yet.
    pub(crate) fn new(epoch: Instant) -> Reports {
        Reports { by_route: HashMap::new(), epoch }
    }

    /// That of a route. It delivers nothing before it is in a plan that is [put in
    /// place](Reports::apply).
    pub(crate) fn of(&mut self, route: &Arc<str>, metrics: &Metrics) -> Arc<Report> {
        let new = || Delivered { report: Arc::new(Report::new(route, metrics)), delivery: None };
        self.by_route.entry(route.clone()).or_insert_with(new).report.clone()
    }

    /// Delivers from now on as a plan says. What waits goes on waiting; what a plan has no report
    /// for any more is delivered to where it was to go. To be called on the control runtime.
    pub(crate) fn apply(&mut self, plan: &Plan, upstreams: &[Arc<Upstream>]) {
        let mut gone = std::mem::take(&mut self.by_route);
        for route in &plan.routes {
            let Some(to) = &route.report else { continue };
            let Some(mut known) = gone.remove(&route.name) else { continue };
            let config = &plan.upstreams[to.upstream];
            let order = Order {
                to: to.clone(),
                upstream: upstreams[to.upstream].clone(),
                limits: HeadLimits { bytes: config.limits.head, headers: config.limits.headers },
                connect_timeout: config.connect_timeout,
                panic: config.panic,
                zone: plan.server.zone.clone(),
                end: None,
            };
            known.report.waiting().open(to.buffer, (to.buffer / 2).min(LARGEST_BATCH));
            match known.delivery.take().filter(|delivery| !delivery.task.is_finished()) {
                Some(delivery) => {
                    delivery.order.send_replace(order);
                    known.delivery = Some(delivery);
                }
                None => {
                    let (order, orders) = watch::channel(order);
                    let task = deliver::run(known.report.clone(), orders, self.epoch);
                    known.delivery = Some(Delivery { order, task: tokio::spawn(task) });
                }
            }
            self.by_route.insert(route.name.clone(), known);
        }
        for (route, known) in gone {
            let Some(delivery) = &known.delivery else { continue };
            if !delivery.task.is_finished() {
                delivery.end(End { at: Instant::now() + AFTERWARDS, nothing_comes: false });
                self.by_route.insert(route, known);
            }
        }
    }

    /// Delivers what is left, when nothing comes any more.
    pub(crate) async fn close(self, until: Instant) {
        let until = until.max(Instant::now() + AT_LEAST);
        let mut all: Vec<Delivery> =
            self.by_route.into_values().filter_map(|known| known.delivery).collect();
        for delivery in &all {
            delivery.end(End { at: until, nothing_comes: true });
        }
        // They end by themselves; to wait for longer would be of no use to anybody.
        let late = until + AT_LEAST;
        for delivery in &mut all {
            let _ = timeout_at(late, &mut delivery.task).await;
        }
    }
}

impl Delivery {
    /// Has it end, not later than it was to end anyway.
    fn end(&self, end: End) {
        self.order.send_modify(|order| {
            let at = order.end.map_or(end.at, |before| before.at.min(end.at));
            order.end = Some(End { at, ..end });
        });
    }
}
