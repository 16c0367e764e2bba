//! Writes down what is held in memory, in turns, and the rest of it at the end.
//!
//! A piece that was taken from the buffer has a number, under which it is brought again until it is
//! known to be written; the database counts it once. So nothing is counted twice when an answer is
//! lost, and nothing is given up while the process lives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

use super::tally::Part;
use super::{Clicks, REMEMBERED};
use crate::store::{StoreError, system_clock};

/// How often tables are made and dropped, and salts changed. The tables and salts of tomorrow are
/// there a day before.
const UPKEEP: Duration = Duration::from_secs(600);

/// The longest wait between attempts to write.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The task that writes.
#[derive(Debug)]
pub struct Writer {
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Begins to write.
    pub fn start(clicks: Arc<Clicks>) -> Writer {
        let (stop, stopped) = oneshot::channel();
        let name = format!("{:016x}", fastrand::u64(..));
        let pieces = Pieces { clicks, name, number: 0, left: VecDeque::new(), settled: None };
        Writer { stop, task: tokio::spawn(work(pieces, stopped)) }
    }

    /// Writes all that is left, when no more clicks come. What cannot be written within `limit` is
    /// counted as lost.
    pub async fn finish(self, limit: Duration) {
        // It has ended by itself only if it panicked, which was said.
        self.stop.send(limit).ok();
        self.task.await.ok();
    }
}

/// What was taken from the buffer.
struct Pieces {
    clicks: Arc<Clicks>,
    /// Random, so that pieces of two processes are never taken for one.
    name: String,
    number: u64,
    left: VecDeque<Arc<[Part]>>,
    /// The last piece that was written.
    settled: Option<Box<str>>,
}

async fn work(mut pieces: Pieces, mut stopped: oneshot::Receiver<Duration>) {
    let mut ticks = interval(pieces.clicks.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut upkeep = interval(UPKEEP);
    // It was done at the start.
    upkeep.reset();
    let mut wait = Duration::ZERO;
    let limit = loop {
        let turn = async {
            sleep(wait).await;
            ticks.tick().await;
        };
        tokio::select! {
            limit = &mut stopped => break limit.unwrap_or_default(),
            _ = upkeep.tick() => {
                if let Err(error) = pieces.clicks.keep_up().await {
                    warn!(%error, "the tables of clicks were not tidied up");
                }
                continue;
            }
            () = turn => {}
        }
        wait = match pieces.write().await {
            Ok(()) => Duration::ZERO,
            Err(error) => {
                if wait.is_zero() {
                    warn!(%error, "clicks cannot be written; they are held in memory meanwhile");
                }
                (wait * 2).clamp(Duration::from_millis(100), LONGEST_WAIT)
            }
        };
    };
    pieces.finish(limit).await;
}

impl Pieces {
    /// Writes all that was held when it began.
    async fn write(&mut self) -> Result<(), StoreError> {
        // What is left of before goes first, and alone: so one number at a time is in doubt.
        self.write_left().await?;
        self.take();
        self.write_left().await
    }

    fn take(&mut self) {
        let until = system_clock().saturating_add(REMEMBERED);
        for tally in self.clicks.buffer.take() {
            self.number += 1;
            let id = format!("own:{}:{}", self.name, self.number).into();
            self.left.push_back(Arc::new([Part { id, until, settled: None, tally }]));
        }
    }

    async fn write_left(&mut self) -> Result<(), StoreError> {
        while let Some(piece) = self.left.front_mut() {
            if let Some(settled) = self.settled.take() {
                // Nobody else has it: it has never been sent.
                if let Some([part]) = Arc::get_mut(piece) {
                    part.settled = Some(settled);
                }
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
        let deadline = Instant::now() + limit;
        let all = async {
            while let Err(error) = self.write().await {
                warn!(%error, "the last clicks cannot be written yet");
                sleep(Duration::from_millis(200)).await;
            }
        };
        if timeout(limit, all).await.is_ok() {
            info!(within = ?limit - deadline.duration_since(Instant::now()), "all clicks are written");
            return;
        }
        self.take();
        let clicks = self.left.iter().flat_map(|piece| piece.iter()).map(|it| it.tally.clicks());
        let lost = clicks.sum();
        self.clicks.counts.lost.fetch_add(lost, Relaxed);
        error!(clicks = lost, "there was no time to write the last clicks; they are lost");
    }
}
