//! The line in which requests wait for a server of an upstream, all workers together.
//!
//! Only touched when there is no room: a request that finds some never locks. Whoever frees a place
//! looks at one number, and lets the next one in when somebody waits.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seawall_config::plan;
use seawall_core::queue::{self, Key, Queue, Why};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::refuse::Refusal;

/// Those who wait for a server of one upstream.
#[derive(Debug)]
pub(crate) struct Line {
    waiting: AtomicUsize,
    /// Turns that are given and not used.
    turns: AtomicUsize,
    queue: Mutex<Queue<Waiter>>,
    /// When the clock began that the queue goes by.
    epoch: Instant,
}

type Waiter = oneshot::Sender<Result<Turn, Why>>;

/// The right to look for a server before those that still wait. Dropped unused it is passed on.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Line>>);

impl Turn {
    /// A place was found, so there may be none for the next.
    pub(crate) fn used(mut self) {
        if let Some(line) = self.0.take() {
            line.turns.fetch_sub(1, SeqCst);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            line.turns.fetch_sub(1, SeqCst);
            line.let_in();
        }
    }
}

/// One who waits; leaves the line when dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    line: &'a Arc<Line>,
    key: Key,
    turn: oneshot::Receiver<Result<Turn, Why>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.line.with(|queue| queue.remove(self.key));
    }
}

impl Line {
    pub(crate) fn new(epoch: Instant) -> Line {
        let queue = Mutex::new(Queue::new(queue::Settings::of_size(0)));
        Line { waiting: AtomicUsize::new(0), turns: AtomicUsize::new(0), queue, epoch }
    }

    /// Takes over the settings of a new plan.
    pub(crate) fn configure(&self, config: &plan::Queue) {
        self.with(|queue| queue.configure(queue::Settings::of_size(config.size)));
    }

    /// How many wait.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Those who were let in and have not found a place yet: so much of what room there is is
    /// theirs.
    #[inline]
    pub(crate) fn turns(&self) -> usize {
        self.turns.load(SeqCst)
    }

    fn with<T>(&self, then: impl FnOnce(&mut Queue<Waiter>) -> T) -> T {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let result = then(&mut queue);
        self.waiting.store(queue.len(), SeqCst);
        result
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// To be called when a place has become free: the next one may look for it.
    #[inline]
    pub(crate) fn freed(self: &Arc<Line>) {
        if self.waiting() > 0 {
            self.let_in();
        }
    }

    #[cold]
    fn let_in(self: &Arc<Line>) {
        let mut dropped = Vec::new();
        while let Some(waiter) = self.with(|queue| queue.pop(self.now(), &mut dropped)) {
            self.turns.fetch_add(1, SeqCst);
            match waiter.send(Ok(Turn(Some(self.clone())))) {
                Ok(()) => break,
                // It has just left, so the turn is the next one's.
                Err(turn) => drop(turn.map(Turn::used)),
            }
        }
        turn_away(dropped);
    }

    /// Drops those whose time is over. Called at each tick of the watch.
    pub(crate) fn sweep(&self) {
        if self.waiting() > 0 {
            let mut dropped = Vec::new();
            self.with(|queue| queue.sweep(self.now(), &mut dropped));
            turn_away(dropped);
        }
    }

    /// Stands in line, until `deadline` at most; at the place of one who came at `since`, when it
    /// was let in before and found nothing.
    pub(crate) fn join(
        self: &Arc<Line>,
        since: Option<Instant>,
        deadline: Instant,
    ) -> Result<Waiting<'_>, Refusal> {
        let (waiter, turn) = oneshot::channel();
        let at = |moment: Instant| moment.saturating_duration_since(self.epoch);
        let mut dropped = Vec::new();
        let key = self.with(|queue| match since {
            Some(since) => Ok(queue.put_back(at(since), at(deadline), waiter)),
            None => queue.push(self.now(), at(deadline), waiter, &mut dropped),
        });
        turn_away(dropped);
        let key = key.map_err(|_| Refusal::QueueFull)?;
        Ok(Waiting { line: self, key, turn })
    }
}

impl Waiting<'_> {
    /// Waits for the turn, until `deadline` at most. When dropped, the place is given up.
    pub(crate) async fn turn(mut self, deadline: Instant) -> Result<Turn, Refusal> {
        match timeout_at(deadline, &mut self.turn).await {
            Ok(Ok(Ok(turn))) => Ok(turn),
            Ok(Ok(Err(Why::Expired | Why::Overloaded)) | Err(_)) | Err(_) => {
                Err(Refusal::QueueTimeout)
            }
        }
    }
}

fn turn_away(dropped: Vec<(Waiter, Why)>) {
    for (waiter, why) in dropped {
        let _ = waiter.send(Err(why));
    }
}
