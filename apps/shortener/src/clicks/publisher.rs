//! With NATS: the task that sends clicks to the stream, and the one that counts what is in it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::Clicks;
use super::event::Click;
use super::jetstream::{self, Failure, Message, Stream, fetch};
use super::tally::{Part, Tally};
use super::writer::{Stop, Turns, random_name};
use crate::store::{StoreError, system_clock};

/// Begins to send and to count.
pub(super) fn start(clicks: &Arc<Clicks>, stop: &Stop) -> [JoinHandle<()>; 2] {
    let sender = Sender { clicks: clicks.clone(), name: random_name(), number: 0, current: None };
    [tokio::spawn(send(sender, stop.clone())), tokio::spawn(count(clicks.clone(), stop.clone()))]
}

/// What is sent.
struct Sender {
    clicks: Arc<Clicks>,
    name: String,
    number: u64,
    /// It is not known to have arrived.
    current: Option<Message>,
}

async fn send(mut sender: Sender, stop: Stop) {
    let clicks = sender.clicks.clone();
    let Some(stream) = clicks.stream() else { return };
    let mut turns = Turns::new(clicks.every, stop);
    let limit = loop {
        if let Some(limit) = turns.next().await {
            break limit;
        }
        if let Some(error) = turns.note(sender.send_all(stream).await) {
            warn!(%error, "clicks cannot be sent to NATS; they are held in memory meanwhile");
        }
    };
    sender.finish(stream, limit).await;
}

impl Sender {
    async fn send_all(&mut self, stream: &Stream) -> Result<(), Failure> {
        while self.take(stream) {
            if let Some(message) = &self.current {
                stream.send(message).await.inspect_err(|_| {
                    self.clicks.counts.failures.fetch_add(1, Relaxed);
                })?;
            }
            self.current = None;
        }
        Ok(())
    }

    /// Whether there is something to send.
    fn take(&mut self, stream: &Stream) -> bool {
        if self.current.is_none()
            && let Some(clicks) = stream.take()
        {
            self.number += 1;
            let id = format!("{}:{}", self.name, self.number).into();
            self.current = Some(Message { id, clicks });
        }
        self.current.is_some()
    }

    async fn finish(&mut self, stream: &Stream, limit: Duration) {
        let all = async {
            while self.send_all(stream).await.is_err() {
                sleep(Duration::from_millis(200)).await;
            }
        };
        if timeout(limit / 2, all).await.is_ok() {
            info!("all clicks are sent");
            return;
        }
        warn!("NATS is away; the last clicks are counted without it");
        let clicks = self.clicks.clone();
        let rest = async {
            while self.take(stream) {
                if let Some(message) = &self.current {
                    while clicks.count_message(message).await.is_err() {
                        sleep(Duration::from_millis(200)).await;
                    }
                }
                self.current = None;
            }
        };
        if timeout(limit / 2, rest).await.is_err() {
            let current = self.current.as_ref().map_or(0, |message| message.clicks.len());
            let lost = (current + stream.waiting()) as u64;
            self.clicks.counts.lost.fetch_add(lost, Relaxed);
            error!(clicks = lost, "there was no time to write the last clicks; they are lost");
        }
    }
}

impl Clicks {
    /// Counts what was to be sent, or may have been: under the number that it has in the stream,
    /// so that it is not counted again from there.
    ///
    /// # Errors
    /// As the store.
    pub(super) async fn count_message(&self, message: &Message) -> Result<bool, StoreError> {
        let mut tally = Tally::default();
        message.clicks.iter().cloned().for_each(|click: Click| tally.add(click));
        let (clicks, part) = (tally.clicks(), part(&message.id, tally));
        let new = self.store.count(Arc::new([part]), self.keep).await?;
        let is_new = new.contains(&true);
        if is_new {
            self.counts.stored.fetch_add(clicks, Relaxed);
        }
        Ok(is_new)
    }
}

/// A message of the stream as what is counted once.
fn part(id: &str, tally: Tally) -> Part {
    let until = system_clock().saturating_add(jetstream::REMEMBERED);
    Part { id: format!("stream:{id}").into(), until, settled: None, tally }
}

async fn count(clicks: Arc<Clicks>, stop: Stop) {
    let Some(stream) = clicks.stream() else { return };
    let mut turns = Turns::new(clicks.every, stop);
    let mut consumer = None;
    while turns.next().await.is_none() {
        let outcome = count_all(&clicks, stream, &mut consumer).await;
        if outcome.is_err() {
            // The server may have forgotten it.
            consumer = None;
            clicks.counts.failures.fetch_add(1, Relaxed);
        }
        if let Some(error) = turns.note(outcome) {
            warn!(%error, "clicks of the stream cannot be counted; they stay in it");
        }
    }
}

/// Counts what is in the stream, and not with others.
async fn count_all(
    clicks: &Clicks,
    stream: &Stream,
    consumer: &mut Option<PullConsumer>,
) -> Result<(), Failure> {
    let consumer = match consumer {
        Some(consumer) => consumer,
        None => consumer.insert(stream.counters().await?),
    };
    loop {
        let received = fetch(consumer).await?;
        if received.is_empty() {
            return Ok(());
        }
        let parts: Arc<[Part]> = received.iter().map(|it| part(&it.id, it.tally.clone())).collect();
        let new = match clicks.store.count(parts.clone(), clicks.keep).await {
            Ok(new) => new,
            Err(error) => {
                for message in &received {
                    message.give_back().await;
                }
                return Err(error.into());
            }
        };
        for ((message, part), is_new) in received.iter().zip(&*parts).zip(new) {
            if is_new {
                clicks.counts.stored.fetch_add(part.tally.clicks(), Relaxed);
                clicks.counts.unreadable.fetch_add(message.unreadable, Relaxed);
            }
            message.done().await;
        }
    }
}
