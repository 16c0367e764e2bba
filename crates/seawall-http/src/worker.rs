//! A worker: one thread with its own runtime, its own listening sockets and its own connections to
//! servers. What is here never leaves the thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seawall_config::plan;
use seawall_core::random::Random;
use seawall_core::retry::Share;
use seawall_h1::ResponseHead;
use seawall_telemetry::access_log::Lines;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::buffer::Buffers;
use crate::compiled::Compiled;
use crate::listen::{Bound, Listening};
use crate::report::{Events, Report};
use crate::turn::Turn;
use crate::upstream::Upstream;
use crate::upstream::pool::Pool;

/// What the control thread tells a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Put a plan in place.
    Apply {
        compiled: Arc<Compiled>,
        /// New sockets to listen on.
        sockets: Vec<Bound>,
        /// Where exchanges are logged from now on.
        lines: Option<Lines>,
        done: oneshot::Sender<()>,
    },
    /// Stop listening, let exchanges in flight end until then, and end.
    Drain(Instant),
}

/// A thread's worth of the door.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its number, from 0.
    pub(crate) index: usize,
    running: RefCell<Rc<Running>>,
    pub(crate) buffers: Buffers,
    pub(crate) random: RefCell<Random>,
    /// The process is about to end: answers close their connections.
    pub(crate) draining: Cell<bool>,
    /// Client connections.
    pub(crate) open: Cell<usize>,
    /// Notified when the last client connection ends.
    pub(crate) emptied: Notify,
    /// Connections that are just being turned away.
    pub(crate) turned_away: Cell<usize>,
    /// Connections between requests, to be woken when the worker drains or a listener goes.
    idle: RefCell<IdleWakers>,
    #[allow(clippy::vec_box)] // the boxes are what is lent
    heads: RefCell<Vec<Box<ResponseHead>>>,
    texts: RefCell<Vec<Vec<u8>>>,
    pub(crate) lines: RefCell<Option<Lines>>,
    /// Where events are collected, for all plans that requests run on.
    events: RefCell<Vec<Rc<RefCell<Events>>>>,
    /// When it last complained of a peer; see [`Worker::may_complain`].
    complained: Cell<Option<Instant>>,
    epoch: Instant,
    /// The time of the last housekeeping.
    recently: Cell<Instant>,
    /// The connections' turns.
    pub(crate) turn: Turn,
    date: Cell<(u64, [u8; 29])>,
}

/// A plan as a worker runs it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) compiled: Arc<Compiled>,
    /// By position in the plan.
    pub(crate) pools: Vec<Rc<Pool>>,
    /// What pays for attempts beyond the first, by route.
    pub(crate) shares: Vec<Share>,
    /// Where events are collected, by route, for those that have a report.
    pub(crate) reports: Vec<Option<Rc<RefCell<Events>>>>,
}

impl Running {
    fn new(compiled: Arc<Compiled>, old: Option<&Running>) -> Running {
        let zone = &compiled.plan.server.zone;
        let pool = |(upstream, config): (&Arc<Upstream>, &plan::Upstream)| {
            let same = |(other, _): &(&Arc<Upstream>, _)| Arc::ptr_eq(other, upstream);
            let old = old.and_then(|old| old.compiled.upstreams.iter().zip(&old.pools).find(same));
            let old = old.map(|(_, pool)| &**pool);
            Rc::new(Pool::new(upstream.clone(), config, zone.clone(), old))
        };
        let pools = compiled.upstreams.iter().zip(&compiled.plan.upstreams).map(pool).collect();
        let shares = compiled.watches.iter().map(|watch| watch.budget.share()).collect();
        let events = |report: &Arc<Report>| {
            let old = old.into_iter().flat_map(|old| old.reports.iter().flatten());
            let same = |events: &&Rc<RefCell<Events>>| Arc::ptr_eq(&events.borrow().report, report);
            let old = old.clone().find(same).cloned();
            old.unwrap_or_else(|| Rc::new(RefCell::new(Events::new(report.clone()))))
        };
        let reports = compiled.reports.iter().map(|report| report.as_ref().map(events)).collect();
        Running { compiled, pools, shares, reports }
    }
}

/// Heads kept for the next exchanges.
const MAX_SPARE_HEADS: usize = 256;
/// A head that has grown beyond this is not kept.
const MAX_SPARE_HEAD: usize = 16 * 1024;

impl Worker {
    /// The plan in place.
    #[inline]
    pub(crate) fn running(&self) -> Rc<Running> {
        self.running.borrow().clone()
    }

    /// Whether `running` is the plan in place.
    #[inline]
    pub(crate) fn is_running(&self, running: &Rc<Running>) -> bool {
        Rc::ptr_eq(running, &self.running.borrow())
    }

    /// Time since the door was opened.
    pub(crate) fn clock(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The same in milliseconds.
    pub(crate) fn clock_millis(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// The same, of a moment that has been.
    pub(crate) fn millis_at(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.epoch).as_millis() as u64
    }

    /// The time, up to half a second late and for free.
    pub(crate) fn recently(&self) -> Instant {
        self.recently.get()
    }

    /// Whether it may write to the log what peers can make happen any number of times: once in ten
    /// seconds. They are counted too.
    pub(crate) fn may_complain(&self) -> bool {
        const EVERY: Duration = Duration::from_secs(10);
        let now = self.recently();
        let may = self.complained.get().is_none_or(|last| now >= last + EVERY);
        if may {
            self.complained.set(Some(now));
        }
        may
    }

    /// Any number.
    pub(crate) fn any_number(&self) -> u64 {
        self.random.borrow_mut().number()
    }

    /// An empty head.
    #[inline]
    pub(crate) fn take_head(&self) -> Box<ResponseHead> {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a head's memory for the next answer.
    #[inline]
    pub(crate) fn give_back_head(&self, mut head: Box<ResponseHead>) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < MAX_SPARE_HEADS && head.headers.capacity() <= MAX_SPARE_HEAD {
            head.clear();
            heads.push(head);
        }
    }

    /// An empty buffer to write a head into.
    #[inline]
    pub(crate) fn take_text(&self) -> Vec<u8> {
        self.texts.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    /// Keeps a buffer's memory for the next head.
    #[inline]
    pub(crate) fn give_back_text(&self, mut text: Vec<u8>) {
        let mut texts = self.texts.borrow_mut();
        if texts.len() < MAX_SPARE_HEADS && text.capacity() <= MAX_SPARE_HEAD {
            text.clear();
            texts.push(text);
        }
    }

    /// The value of `Date` (RFC 9110 §5.6.7), made once a second.
    pub(crate) fn date(&self) -> [u8; 29] {
        let now = SystemTime::now();
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (made, text) = self.date.get();
        if made == seconds {
            return text;
        }
        let mut text = [b' '; 29];
        let shown = httpdate::fmt_http_date(now);
        let len = shown.len().min(text.len());
        text[..len].copy_from_slice(&shown.as_bytes()[..len]);
        self.date.set((seconds, text));
        text
    }

    /// Registers a connection between requests; see [`IdleWakers`].
    pub(crate) fn register_idle(&self, slot: &mut Option<usize>, cx: &Context<'_>) {
        self.idle.borrow_mut().register(slot, cx.waker());
    }

    /// Takes a connection out again.
    pub(crate) fn unregister_idle(&self, slot: &mut Option<usize>) {
        if let Some(slot) = slot.take() {
            self.idle.borrow_mut().remove(slot);
        }
    }

    fn wake_idle(&self) {
        for waker in self.idle.borrow().slots.iter().flatten() {
            waker.wake_by_ref();
        }
    }
}

/// Wakers of connections, by slot. A connection registers once and stays, since its task's waker
/// never changes.
#[derive(Debug, Default)]
struct IdleWakers {
    slots: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl IdleWakers {
    fn register(&mut self, slot: &mut Option<usize>, waker: &Waker) {
        match *slot {
            Some(at) => {
                if !self.slots[at].as_ref().is_some_and(|known| known.will_wake(waker)) {
                    self.slots[at] = Some(waker.clone());
                }
            }
            None => {
                let at = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(None);
                    self.slots.len() - 1
                });
                self.slots[at] = Some(waker.clone());
                *slot = Some(at);
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push(slot);
    }
}

/// What a worker needs to begin.
pub(crate) struct Start {
    pub(crate) index: usize,
    pub(crate) seed: u64,
    pub(crate) epoch: Instant,
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

/// Runs a worker on the calling thread until it has drained or nobody commands it any more.
pub(crate) fn run(start: Start) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default())?;
    let Start { index, seed, epoch, compiled, mut commands } = start;
    runtime.block_on(async move {
        let worker = Rc::new(Worker {
            index,
            running: RefCell::new(Rc::new(Running::new(compiled, None))),
            buffers: Buffers::default(),
            random: RefCell::new(Random::seeded(seed)),
            draining: Cell::new(false),
            open: Cell::new(0),
            emptied: Notify::new(),
            turned_away: Cell::new(0),
            idle: RefCell::default(),
            heads: RefCell::default(),
            texts: RefCell::default(),
            lines: RefCell::default(),
            events: RefCell::default(),
            complained: Cell::new(None),
            epoch,
            recently: Cell::new(Instant::now()),
            turn: Turn::default(),
            date: Cell::new((0, [b' '; 29])),
        });
        let mut listening: Vec<Listening> = Vec::new();
        let mut ticks = interval(Duration::from_millis(500));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                _ = ticks.tick() => {
                    housekeeping(&worker);
                    continue;
                }
            };
            match command {
                Some(Command::Apply { compiled, sockets, lines, done }) => {
                    apply(&worker, compiled, sockets, &mut listening);
                    worker.lines.replace(lines);
                    let _ = done.send(());
                }
                Some(Command::Drain(until)) => {
                    listening.drain(..).for_each(|socket| socket.stop(&worker));
                    drain(&worker, until, &mut ticks).await;
                    return;
                }
                None => return,
            }
        }
    });
    Ok(())
}

fn apply(
    worker: &Rc<Worker>,
    compiled: Arc<Compiled>,
    bound: Vec<Bound>,
    listening: &mut Vec<Listening>,
) {
    let gone = |socket: &mut Listening| compiled.position(&socket.key).is_none();
    for socket in listening.extract_if(.., gone) {
        socket.stop(worker);
    }
    let old = worker.running();
    let new = Rc::new(Running::new(compiled, Some(&old)));
    // Requests and tunnels may still hold pools that nobody will ask again.
    let stays = |pool: &Rc<Pool>| {
        new.pools.iter().any(|other| Arc::ptr_eq(&other.upstream, &pool.upstream))
    };
    old.pools.iter().filter(|pool| !stays(pool)).for_each(|pool| pool.retire());
    let mut events: Vec<_> = new.reports.iter().flatten().cloned().collect();
    let others = worker.events.take().into_iter();
    let is_other = |one: &Rc<_>| !events.iter().any(|other| Rc::ptr_eq(one, other));
    let others: Vec<_> = others.filter(is_other).collect();
    events.extend(others);
    worker.events.replace(events);
    *worker.running.borrow_mut() = new;
    for bound in bound {
        let name = bound.key.name.clone();
        match Listening::start(worker, bound) {
            Ok(socket) => listening.push(socket),
            Err(error) => tracing::error!(%error, listener = %name, "a listener cannot be used"),
        }
    }
    // Connections of listeners that are gone end when they are idle.
    worker.wake_idle();
}

/// Lets client connections end by themselves. Those left at `until` are cut when the runtime ends.
async fn drain(worker: &Rc<Worker>, until: Instant, ticks: &mut Interval) {
    worker.draining.set(true);
    worker.wake_idle();
    while worker.open.get() > 0 {
        tokio::select! {
            () = worker.emptied.notified() => {}
            _ = ticks.tick() => housekeeping(worker),
            () = sleep_until(until) => {
                tracing::warn!(
                    worker = worker.index,
                    connections = worker.open.get(),
                    "connections are cut, since `drain` is over"
                );
                break;
            }
        }
    }
}

fn housekeeping(worker: &Worker) {
    let running = worker.running();
    let now = Instant::now();
    worker.recently.set(now);
    for (config, pool) in running.compiled.plan.upstreams.iter().zip(&running.pools) {
        pool.sweep(worker, config, now);
    }
    for share in &running.shares {
        share.flush();
    }
    if let Some(lines) = worker.lines.borrow_mut().as_mut() {
        lines.hand_over();
    }
    worker.events.borrow_mut().retain(|events| {
        events.borrow_mut().rest();
        // Requests may still run on a plan that had a report.
        Rc::strong_count(events) > 1
    });
}
