//! The tasks that write clicks down while the process lives, and what is left of them at its end.
//!
//! Without NATS, what is held in memory is written to the database in turns (this file); with it,
//! `publisher.rs` does its part instead. A piece that was taken from the buffer has a number, under
//! which it is brought again until it is known to be written; the database counts it once. So
//! nothing is counted twice when an answer is lost, and nothing is given up while the process lives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

use super::tally::Part;
use super::{Clicks, REMEMBERED, publisher};
use crate::store::{StoreError, system_clock};

/// How often tables are made and dropped, and salts changed. The tables and salts of tomorrow are
/// there a day before.
const UPKEEP: Duration = Duration::from_secs(600);

/// The longest wait between attempts to write.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The tasks.
#[derive(Debug)]
pub struct Writer {
    stop: watch::Sender<Option<Duration>>,
    writing: Vec<JoinHandle<()>>,
    upkeep: JoinHandle<()>,
}

/// Tells a task to come to its end, and how long that may take.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<Option<Duration>>);

impl Stop {
    /// Waits until it is told so.
    async fn told(&mut self) -> Duration {
        let limit = self.0.wait_for(Option::is_some).await.map(|limit| *limit);
        limit.ok().flatten().unwrap_or_default()
    }
}

impl Writer {
    /// Begins to write.
    pub fn start(clicks: Arc<Clicks>) -> Writer {
        let (stop, stopped) = watch::channel(None);
        let stopped = Stop(stopped);
        let upkeep = tokio::spawn(keep_up(clicks.clone()));
        let writing = match clicks.stream() {
            Some(_) => publisher::start(&clicks, &stopped).into(),
            None => vec![tokio::spawn(work(Pieces::new(clicks), stopped))],
        };
        Writer { stop, writing, upkeep }
    }

    /// Writes all that is left, when no more clicks come. What cannot be written within `limit` is
    /// counted as lost.
    pub async fn finish(self, limit: Duration) {
        self.upkeep.abort();
        self.stop.send_replace(Some(limit));
        for task in self.writing {
            // It has ended by itself only if it panicked, which was said.
            task.await.ok();
        }
    }
}

async fn keep_up(clicks: Arc<Clicks>) {
    loop {
        sleep(UPKEEP).await;
        if let Err(error) = clicks.keep_up().await {
            warn!(%error, "the tables of clicks were not tidied up");
        }
    }
}

/// When a task is to work: once in so often, later after failures, until it is told to stop.
pub(super) struct Turns {
    ticks: Interval,
    /// How long to wait before the next attempt; nothing after success.
    pause: Duration,
    stop: Stop,
}

impl Turns {
    /// The first comes when the time has passed once.
    pub(super) fn new(every: Duration, stop: Stop) -> Turns {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        Turns { ticks, pause: Duration::ZERO, stop }
    }

    /// Waits for the next. `Some`: there is none any more, and the end may take so long.
    pub(super) async fn next(&mut self) -> Option<Duration> {
        let Turns { ticks, pause, stop } = self;
        let turn = async {
            if !pause.is_zero() {
                sleep(*pause).await;
            }
            ticks.tick().await;
        };
        tokio::select! {
            limit = stop.told() => Some(limit),
            () = turn => None,
        }
    }

    /// What came of a turn: an error is given back for the log when it is the first in a row.
    pub(super) fn note<E>(&mut self, outcome: Result<(), E>) -> Option<E> {
        let Err(error) = outcome else {
            self.pause = Duration::ZERO;
            return None;
        };
        let is_first = self.pause.is_zero();
        self.pause = (self.pause * 2).clamp(Duration::from_millis(100), LONGEST_WAIT);
        is_first.then_some(error)
    }
}

/// A random name, so that what two processes bring is never taken for one.
pub(super) fn random_name() -> String {
    format!("own:{:016x}", fastrand::u64(..))
}

/// What was taken from the buffer.
struct Pieces {
    clicks: Arc<Clicks>,
    name: String,
    number: u64,
    left: VecDeque<Arc<[Part]>>,
    /// The last piece that was written.
    settled: Option<Box<str>>,
}

async fn work(mut pieces: Pieces, stop: Stop) {
    let mut turns = Turns::new(pieces.clicks.every, stop);
    let limit = loop {
        if let Some(limit) = turns.next().await {
            break limit;
        }
        if let Some(error) = turns.note(pieces.write().await) {
            warn!(%error, "clicks cannot be written; they are held in memory meanwhile");
        }
    };
    pieces.finish(limit).await;
}

impl Pieces {
    fn new(clicks: Arc<Clicks>) -> Pieces {
        let name = random_name();
        Pieces { clicks, name, number: 0, left: VecDeque::new(), settled: None }
    }

    /// Writes all that was held when it began.
    async fn write(&mut self) -> Result<(), StoreError> {
        // What is left of before goes first.
        self.write_left().await?;
        self.take();
        self.write_left().await
    }

    fn take(&mut self) {
        let until = system_clock().saturating_add(REMEMBERED);
        for tally in self.clicks.buffer.take() {
            self.number += 1;
            let id = format!("{}:{}", self.name, self.number).into();
            self.left.push_back(Arc::new([Part { id, until, settled: None, tally }]));
        }
    }

    async fn write_left(&mut self) -> Result<(), StoreError> {
        while let Some(piece) = self.left.front_mut() {
            // The one before is known to be written. Nobody else has this one: it was not sent.
            if self.settled.is_some()
                && let Some([part]) = Arc::get_mut(piece)
            {
                part.settled = self.settled.take();
            }
            let piece = piece.clone();
            if let Err(error) = self.clicks.store.count(piece.clone(), self.clicks.keep).await {
                self.clicks.counts.failures.fetch_add(1, Relaxed);
                return Err(error);
            }
            self.left.pop_front();
            for part in &*piece {
                self.clicks.buffer.written(&part.tally);
                self.clicks.counts.stored.fetch_add(part.tally.clicks(), Relaxed);
                self.settled = Some(part.id.clone());
            }
        }
        Ok(())
    }

    async fn finish(&mut self, limit: Duration) {
        let all = async {
            while let Err(error) = self.write().await {
                warn!(%error, "the last clicks cannot be written yet");
                sleep(Duration::from_millis(200)).await;
            }
        };
        if timeout(limit, all).await.is_ok() {
            info!("all clicks are written");
            return;
        }
        self.take();
        let clicks = self.left.iter().flat_map(|piece| piece.iter()).map(|it| it.tally.clicks());
        let lost = clicks.sum();
        self.clicks.counts.lost.fetch_add(lost, Relaxed);
        error!(clicks = lost, "there was no time to write the last clicks; they are lost");
    }
}
