//! The live feed: clicks as they are made, to whoever looks on.
//!
//! With NATS those of all instances, without it those of this process. Lookers-on are bounded, and
//! so is what waits for each: one who is too slow misses clicks, and no click waits for anybody.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

use super::Clicks;
use super::event::{Click, ClickLine};
use crate::link::Code;

/// Lookers-on at once.
const MOST: usize = 64;

/// Clicks that wait for a looker-on.
const WAITING: usize = 1_024;

/// How often something is sent, so that whoever is between sees that there is somebody.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// Where clicks of this process go.
#[derive(Debug)]
pub(super) struct Live {
    clicks: broadcast::Sender<Arc<str>>,
    lookers: Arc<AtomicUsize>,
    drain: watch::Receiver<bool>,
}

/// What a looker-on is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A click, as JSON.
    Click(Arc<str>),
    /// So many that could not wait.
    Missed(u64),
    /// Nothing, for a while.
    Nothing,
}

/// A looker-on.
pub struct Looker {
    source: Source,
    code: Option<Code>,
    next_beat: Instant,
    drain: watch::Receiver<bool>,
    /// Of a message, what is yet to be told.
    waiting: Vec<Arc<str>>,
    _place: Place,
}

enum Source {
    Here(broadcast::Receiver<Arc<str>>),
    Stream(Pin<Box<async_nats::Subscriber>>),
}

/// A place among those who look on.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Why nobody can look on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blind {
    /// There are as many as there may be.
    Full,
    /// NATS is away.
    Away,
}

impl Live {
    pub(super) fn new(drain: watch::Receiver<bool>) -> Live {
        Live { clicks: broadcast::Sender::new(WAITING), lookers: Arc::default(), drain }
    }

    /// A click was made here.
    pub(super) fn tell(&self, click: &Click) {
        if self.clicks.receiver_count() > 0
            && let Some(line) = line(ClickLine::of(click))
        {
            // Whoever was there may have gone.
            self.clicks.send(line).ok();
        }
    }
}

impl Clicks {
    /// Looks on at the clicks of a link, or of all.
    ///
    /// # Errors
    /// When there are too many already, or NATS is away.
    pub async fn look(&self, code: Option<Code>) -> Result<Looker, Blind> {
        let place = Place(self.live.lookers.clone());
        if place.0.fetch_add(1, Relaxed) >= MOST {
            return Err(Blind::Full);
        }
        let source = match self.stream() {
            None => Source::Here(self.live.clicks.subscribe()),
            Some(stream) => match stream.follow().await {
                Ok(messages) => Source::Stream(Box::pin(messages)),
                Err(_) => return Err(Blind::Away),
            },
        };
        Ok(Looker {
            source,
            code,
            next_beat: Instant::now() + HEARTBEAT,
            drain: self.live.drain.clone(),
            waiting: Vec::new(),
            _place: place,
        })
    }
}

impl Looker {
    /// What comes next; nothing more when the process ends.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            while let Some(line) = self.waiting.pop() {
                if self.is_wanted(&line) {
                    return Some(News::Click(line));
                }
            }
            let beat = sleep_until(self.next_beat);
            tokio::select! {
                biased;
                _ = self.drain.wait_for(|drain| *drain) => return None,
                () = beat => {
                    self.next_beat = Instant::now() + HEARTBEAT;
                    return Some(News::Nothing);
                }
                lines = self.source.next() => match lines? {
                    Ok(lines) => self.waiting = lines,
                    Err(missed) => return Some(News::Missed(missed)),
                },
            }
        }
    }

    fn is_wanted(&self, line: &str) -> bool {
        let Some(code) = &self.code else { return true };
        serde_json::from_str::<ClickLine>(line).is_ok_and(|line| line.code == *code)
    }
}

impl Source {
    /// Lines, the last one first; or how many were missed.
    async fn next(&mut self) -> Option<Result<Vec<Arc<str>>, u64>> {
        match self {
            Source::Here(clicks) => match clicks.recv().await {
                Ok(line) => Some(Ok(vec![line])),
                Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(missed)),
                Err(broadcast::error::RecvError::Closed) => None,
            },
            Source::Stream(messages) => {
                let message = messages.next().await?;
                let lines = message.payload.split(|byte| *byte == b'\n');
                let lines = lines.filter_map(|line| serde_json::from_slice(line).ok());
                Some(Ok(lines.rev().filter_map(line).collect()))
            }
        }
    }
}

/// What is told of a click: not whose it was.
fn line(mut click: ClickLine) -> Option<Arc<str>> {
    click.visitor = None;
    serde_json::to_string(&click).ok().map(Arc::from)
}
