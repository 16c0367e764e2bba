//! Clicks as a stream of NATS JetStream, which several may read: those who count them, the live
//! feed, and the export.
//!
//! Clicks wait in memory, bounded, until they are sent; a message has up to [`MOST_IN_A_MESSAGE`] of
//! them and a number, and is sent again under it until the server has acknowledged it. All
//! instances together read the stream as one durable consumer, `counters`, and note the numbers in
//! the transaction in which they count; so each click is counted once, though it may come twice.
//! While NATS is away clicks wait, and what is beyond the room for them is counted as lost. When the
//! process must end before it is back, they are counted in the database without it, under the same
//! numbers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, AckKind, Context, stream};
use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;

use super::event::{Click, ClickLine};
use super::tally::Tally;
use crate::link::Millis;
use crate::store::system_clock;

/// The stream.
const STREAM: &str = "SNIP_CLICKS";

/// Where clicks are sent to.
pub(super) const SUBJECT: &str = "snip.clicks";

/// What those who count are called together.
const COUNTERS: &str = "counters";

/// How long messages stay in the stream.
const AGE: Duration = Duration::from_secs(7 * 86_400);

/// How long numbers of messages are remembered, in milliseconds: longer than these can come.
pub(super) const REMEMBERED: i64 = 8 * 86_400_000;

/// Clicks in a message at most. A line has fewer than 600 bytes, so that a message fits into the
/// megabyte that servers take unless they are told otherwise.
const MOST_IN_A_MESSAGE: usize = 1_000;

/// Characters that the number of a message has at most.
const LONGEST_ID: usize = 256;

/// Messages that are counted in one transaction at most.
const MOST_AT_ONCE: usize = 64;

/// How long NATS may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long after a message was given to one who did not count it, it is given to another.
const AGAIN: Duration = Duration::from_secs(30);

/// What can go wrong with NATS, in words.
pub(super) type Failure = async_nats::Error;

/// The stream, and the clicks that wait to be sent to it.
#[derive(Debug)]
pub struct Stream {
    client: Client,
    context: Context,
    waiting: Mutex<VecDeque<Click>>,
    most: usize,
    is_usable: AtomicBool,
    sent: AtomicU64,
}

/// Clicks on their way, under a number.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// What tells it from others.
    pub(super) id: Box<str>,
    /// Its clicks.
    pub(super) clicks: Arc<[Click]>,
}

/// Clicks that were received, and are to be acknowledged.
pub(super) struct Received {
    /// What tells it from others.
    pub(super) id: Box<str>,
    /// Its clicks.
    pub(super) tally: Tally,
    /// Lines that were none of a click.
    pub(super) unreadable: u64,
    message: jetstream::Message,
}

impl Stream {
    /// The stream of this server, which may be away. `most` clicks may wait.
    ///
    /// # Errors
    /// When the URL is wrong, or the server refuses whoever it names.
    pub async fn open(url: &str, name: &str, most: usize) -> anyhow::Result<Stream> {
        let options = ConnectOptions::new()
            .name(format!("snip {name}"))
            .retry_on_initial_connect()
            .connection_timeout(PATIENCE)
            .ping_interval(Duration::from_secs(5))
            // What a reader of the live feed has not taken by then is dropped for it.
            .subscription_capacity(1_024)
            .reconnect_delay_callback(|tries| {
                Duration::from_millis(50 << tries.min(6)).min(Duration::from_secs(2))
            });
        let client = options.connect(url).await?;
        let context = ContextBuilder::new().timeout(PATIENCE).ack_timeout(PATIENCE);
        Ok(Stream {
            context: context.build(client.clone()),
            client,
            waiting: Mutex::new(VecDeque::new()),
            most,
            is_usable: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        })
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn connected(&self) -> anyhow::Result<()> {
        match timeout(PATIENCE, self.client.flush()).await {
            Ok(Ok(())) if self.is_connected() => Ok(()),
            _ => anyhow::bail!("NATS does not answer"),
        }
    }

    /// Whether the last message was acknowledged, and the server is there.
    pub fn is_up(&self) -> bool {
        self.is_usable.load(Relaxed) && self.is_connected()
    }

    /// Clicks that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.queue().len()
    }

    /// Clicks that were sent and acknowledged.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Adds a click to those that wait. False: there is no room for it.
    pub(super) fn push(&self, click: Click) -> bool {
        let mut queue = self.queue();
        let has_room = queue.len() < self.most;
        if has_room {
            queue.push_back(click);
        }
        has_room
    }

    /// The clicks of the next message; they wait no more. None when there are none.
    pub(super) fn take(&self) -> Option<Arc<[Click]>> {
        let mut queue = self.queue();
        let count = queue.len().min(MOST_IN_A_MESSAGE);
        (count > 0).then(|| queue.drain(..count).collect())
    }

    /// Sends clicks and waits until they are acknowledged. False: the stream had them already.
    pub(super) async fn send(&self, message: &Message) -> Result<bool, Failure> {
        let outcome = self.try_to_send(message).await;
        self.is_usable.store(outcome.is_ok(), Relaxed);
        if let Ok(true) = outcome {
            self.sent.fetch_add(message.clicks.len() as u64, Relaxed);
        }
        outcome
    }

    async fn try_to_send(&self, message: &Message) -> Result<bool, Failure> {
        // The client would keep what it is given until it is connected, once for each attempt.
        if !self.is_connected() {
            return Err("there is no connection".into());
        }
        if !self.is_usable.load(Relaxed) {
            self.make().await?;
        }
        let mut lines = Vec::with_capacity(message.clicks.len() * 160);
        for click in &*message.clicks {
            serde_json::to_writer(&mut lines, &ClickLine::of(click))?;
            lines.push(b'\n');
        }
        let publish = PublishMessage::build().payload(Bytes::from(lines)).message_id(&message.id);
        let taken = self.context.send_publish(SUBJECT, publish).await?.await?;
        Ok(!taken.duplicate)
    }

    /// Those who count, together.
    pub(super) async fn counters(&self) -> Result<PullConsumer, Failure> {
        if !self.is_connected() {
            return Err("there is no connection".into());
        }
        let stream = self.make().await?;
        let config = pull::Config {
            durable_name: Some(COUNTERS.to_owned()),
            ack_policy: AckPolicy::Explicit,
            deliver_policy: DeliverPolicy::All,
            ack_wait: AGAIN,
            max_ack_pending: 4_096,
            ..pull::Config::default()
        };
        Ok(stream.get_or_create_consumer(COUNTERS, config).await?)
    }

    /// Makes the stream if it is missing. One that is there is left as whoever made it has it.
    async fn make(&self) -> Result<stream::Stream, Failure> {
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![SUBJECT.to_owned()],
            max_age: AGE,
            ..stream::Config::default()
        };
        Ok(self.context.get_or_create_stream(config).await?)
    }

    /// All clicks that are in the stream now, the oldest first, and each message once.
    ///
    /// # Errors
    /// When NATS is away, or `each` fails.
    pub async fn all(
        &self,
        mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let fault = |error: Failure| anyhow::anyhow!("{error}");
        let stream = self.make().await.map_err(fault)?;
        let last = stream.get_info().await?.state.last_sequence;
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::All,
            ..pull::OrderedConfig::default()
        };
        let first = stream.get_info().await?.state.first_sequence;
        if first > last || last == 0 {
            return Ok(());
        }
        let mut messages = stream.create_consumer(config).await?.messages().await?;
        let mut seen = std::collections::HashSet::new();
        while let Some(message) = messages.next().await {
            let message = message?;
            let sequence = message.info().map_err(fault)?.stream_sequence;
            if sequence <= last && seen.insert(id_of(&message, sequence)) {
                each(&message.payload)?;
            }
            if sequence >= last {
                break;
            }
        }
        Ok(())
    }

    /// All clicks from now on, as they are sent by whichever instance.
    pub(super) async fn follow(&self) -> Result<async_nats::Subscriber, Failure> {
        if !self.is_connected() {
            return Err("there is no connection".into());
        }
        Ok(self.client.subscribe(SUBJECT).await?)
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Click>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is there to be counted, at once.
pub(super) async fn fetch(consumer: &PullConsumer) -> Result<Vec<Received>, Failure> {
    // A question that was lost with its connection has no answer. What came of it, if anything,
    // comes again.
    timeout(PATIENCE, fetch_now(consumer)).await?
}

async fn fetch_now(consumer: &PullConsumer) -> Result<Vec<Received>, Failure> {
    let mut messages = consumer.fetch().max_messages(MOST_AT_ONCE).messages().await?;
    let mut received = Vec::new();
    while let Some(message) = messages.next().await {
        let message = message?;
        let sequence = message.info().map(|info| info.stream_sequence).unwrap_or_default();
        let (tally, unreadable) = read(&message.payload, system_clock());
        received.push(Received { id: id_of(&message, sequence), tally, unreadable, message });
    }
    Ok(received)
}

/// The number under which a message was sent; for those of others, its place in the stream.
fn id_of(message: &jetstream::Message, sequence: u64) -> Box<str> {
    let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
    match id.map(|id| id.as_str()).filter(|id| is_id(id)) {
        Some(id) => id.into(),
        None => format!("sequence:{sequence}").into(),
    }
}

/// Whether a number of a message is one that can be noted; ours are shorter by far.
fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read(payload: &[u8], now: Millis) -> (Tally, u64) {
    let (mut tally, mut unreadable) = (Tally::default(), 0);
    for line in payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<ClickLine>(line) {
            Ok(line) => tally.add(line.click(now)),
            Err(_) => unreadable += 1,
        }
    }
    (tally, unreadable)
}

impl Received {
    /// It is counted, and need not come again.
    pub(super) async fn done(&self) {
        // If this is lost, it comes again, and is known.
        self.message.ack().await.ok();
    }

    /// It is to come again, to whomever.
    pub(super) async fn give_back(&self) {
        self.message.ack_with(AckKind::Nak(Some(Duration::from_secs(1)))).await.ok();
    }
}

/// Messages of clicks: `id` with a number behind it for each.
pub(super) fn messages(id: &str, clicks: Vec<Click>) -> Vec<Message> {
    let message = |(number, clicks): (usize, &[Click])| Message {
        id: format!("{id}:{number}").into(),
        clicks: clicks.into(),
    };
    clicks.chunks(MOST_IN_A_MESSAGE).enumerate().map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_messages_that_cannot_be_noted_are_none() {
        let long = "x".repeat(LONGEST_ID + 1);
        for (text, expect) in [
            ("own:1:2", true),
            ("", false),
            ("a b", false),
            ("a\0", false),
            ("ü", false),
            (&*long, false),
        ] {
            assert_eq!(is_id(text), expect, "{text:?}");
        }
    }
}
