//! The task that hears: purges, values, the ends of leases. It reads when it is called on a channel,
//! and every 200 ms in any case, so that a lost message costs that much and no more, and so that a
//! server that does not answer is found out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::ConnectionLike;
use redis::{PushInfo, PushKind, Value, cmd, pipe};
use tokio::sync::{Notify, oneshot};

use crate::lease::Key;
use crate::purge::{Delivery, Heard, Position};
use crate::{PURGES_KEPT, PURGES_WAITING, VALUE_LIMIT, watch};

use super::connect::{ANSWER, Connection};
use super::trouble::{Trouble, Voice};
use super::{Shared, count};

/// How often is read without being called.
const BEAT: Duration = Duration::from_millis(200);

/// How often values are looked at without being called.
const LOOK: Duration = Duration::from_millis(500);

/// How often the server is asked whether it still takes writes.
const WRITE: Duration = Duration::from_secs(5);

/// Entries that are read at once.
const BATCH: usize = 256;

/// The pauses before the connection is opened again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long whoever publishes a purge waits for it.
const PUBLISHING: Duration = Duration::from_millis(500);

/// What is to be told, and calls for the task.
#[derive(Debug, Default)]
pub(super) struct Bus {
    /// There is something to do.
    wake: Notify,
    /// Values are to be looked at.
    look: AtomicBool,
    outbox: Mutex<Outbox>,
}

#[derive(Debug, Default)]
struct Outbox {
    messages: VecDeque<Message>,
    /// There was no room for some, so the others must know that they lost something.
    lost: bool,
}

#[derive(Debug)]
struct Message {
    bytes: Bytes,
    since: Instant,
    told: oneshot::Sender<()>,
}

impl Bus {
    /// Hands a message to the task. What is given back hears when it is published.
    pub(super) fn put(&self, bytes: Bytes) -> oneshot::Receiver<()> {
        let (told, hears) = oneshot::channel();
        {
            let mut outbox = self.outbox();
            if outbox.messages.len() >= PURGES_WAITING {
                outbox.messages.clear();
                outbox.lost = true;
            }
            outbox.messages.push_back(Message { bytes, since: Instant::now(), told });
        }
        self.wake.notify_one();
        hears
    }

    pub(super) async fn publish(&self, bytes: Bytes, away: bool) -> Delivery {
        let hears = self.put(bytes);
        if away {
            return Delivery::Queued;
        }
        match tokio::time::timeout(PUBLISHING, hears).await {
            Ok(Ok(())) => Delivery::Published,
            _ => Delivery::Queued,
        }
    }

    pub(super) fn look_again(&self) {
        self.look.store(true, Relaxed);
        self.wake.notify_one();
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the bus until it is aborted.
pub(super) async fn follow(shared: Arc<Shared>, from: Option<Position>) {
    let mut reader = Reader {
        shared: shared.clone(),
        at: from.map_or(At::End, At::After),
        works: false,
        voice: Voice::default(),
        own: VecDeque::new(),
    };
    let mut pause = PAUSES.0;
    loop {
        reader.works = false;
        let trouble = match reader.connect().await {
            Ok(mut connection) => {
                let Err(trouble) = reader.run(&mut connection, &mut pause).await;
                trouble
            }
            Err(trouble) => trouble,
        };
        count(&shared.counted.failures);
        // A connection that broke may be there again at once; until then what is applied is what
        // it was. One that cannot be opened, or is silent, is trouble.
        if !reader.works || !matches!(trouble, Trouble::Connection { .. }) {
            shared.mark.away(Instant::now());
            reader.say(&trouble);
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Of what the task is made.
struct Reader {
    shared: Arc<Shared>,
    at: At,
    /// Something was read over the connection that is open.
    works: bool,
    voice: Voice,
    /// Messages of this node that are published and have not come back.
    own: VecDeque<Told>,
}

/// A message that is published.
struct Told {
    incarnation: u64,
    number: u64,
    since: Instant,
    told: oneshot::Sender<()>,
}

/// Up to where purges are applied.
#[derive(Debug, Clone, Copy)]
enum At {
    /// Nobody knows: what is stored here by now counts as purged, and the rest begins at the end.
    End,
    /// Up to and with this one.
    After(Position),
    /// It is unknown what was missed: from whichever is the first that there still is.
    Lost,
}

/// Never: the task goes on until something is wrong.
enum Never {}

impl Reader {
    async fn connect(&mut self) -> Result<Connection, Trouble> {
        let hearing = self.shared.clone();
        let pushes = move |push: PushInfo| heard(&hearing, &push);
        let shared = self.shared.clone();
        let server = &shared.server;
        let mut connection = server.connect(Some(Box::new(pushes))).await?;
        // A replica would tell of purges, but nobody could tell it of any. A primary without room
        // is worth listening to.
        match server.write(&mut connection).await {
            Err(trouble) if !trouble.ends_connection() => self.say(&trouble),
            outcome => outcome?,
        }
        let channels = ["purged", "changed", "ended"].map(|name| server.name(name));
        let subscribing = connection.wire.subscribe(&channels[..]);
        server.within(ANSWER, subscribing).await?;
        Ok(connection)
    }

    /// Reads, tells and looks until something is wrong.
    async fn run(
        &mut self,
        connection: &mut Connection,
        pause: &mut Duration,
    ) -> Result<Never, Trouble> {
        self.shared.mark.back();
        let shared = self.shared.clone();
        let mut looked = None;
        let mut written = Instant::now();
        loop {
            let told = self.tell(connection).await?;
            // What was published before this moment is in the answer.
            let asked = Instant::now();
            if !self.read(connection).await? {
                continue;
            }
            shared.mark.applied_until(asked);
            self.works = true;
            *pause = PAUSES.0;
            if told && self.voice.well() {
                tracing::info!(redis = %shared.server.address, "the shared state is there again");
            }
            let due = looked.is_none_or(|at: Instant| at.elapsed() >= LOOK);
            if shared.bus.look.swap(false, Relaxed) || due {
                self.look(connection).await?;
                looked = Some(Instant::now());
            }
            if written.elapsed() >= WRITE {
                written = Instant::now();
                match shared.server.write(connection).await {
                    Err(trouble) if !trouble.ends_connection() => self.say(&trouble),
                    outcome => outcome?,
                }
            }
            let _ = tokio::time::timeout(BEAT, shared.bus.wake.notified()).await;
        }
    }

    /// Publishes what waits to be published. Says whether nothing waits any more.
    async fn tell(&mut self, connection: &mut Connection) -> Result<bool, Trouble> {
        let shared = self.shared.clone();
        loop {
            let (lost, message) = {
                let mut outbox = shared.bus.outbox();
                let lost = std::mem::take(&mut outbox.lost);
                (lost, if lost { None } else { outbox.messages.pop_front() })
            };
            let (kind, bytes) = match &message {
                _ if lost => (LOST, &b""[..]),
                Some(message) => (PURGE, &message.bytes[..]),
                None => return Ok(true),
            };
            match self.tell_one(connection, kind, bytes).await {
                Ok((incarnation, number)) => {
                    if let Some(Message { since, told, .. }) = message {
                        self.own.truncate(PURGES_WAITING);
                        self.own.push_back(Told { incarnation, number, since, told });
                    }
                }
                Err(trouble) => {
                    let mut outbox = shared.bus.outbox();
                    outbox.lost |= lost;
                    if let Some(message) = message {
                        outbox.messages.push_front(message);
                    }
                    drop(outbox);
                    if trouble.ends_connection() {
                        return Err(trouble);
                    }
                    self.say(&trouble);
                    return Ok(false);
                }
            }
        }
    }

    async fn tell_one(
        &self,
        connection: &mut Connection,
        kind: &[u8],
        bytes: &[u8],
    ) -> Result<(u64, u64), Trouble> {
        let server = &self.shared.server;
        let (stream, channel) = (server.name("purges"), server.name("purged"));
        let fresh = fastrand::u64(..).to_be_bytes();
        let script = connection.scripts.tell.clone();
        let telling = script.run(&mut connection.wire, 1, |call| {
            call.arg(&stream).arg(PURGES_KEPT).arg(&fresh).arg(kind).arg(bytes).arg(&channel);
        });
        let place = server.within(ANSWER, telling).await?;
        bulk(&place).and_then(place_of).ok_or_else(|| self.strange())
    }

    /// Applies what is new. Says whether that was all.
    async fn read(&mut self, connection: &mut Connection) -> Result<bool, Trouble> {
        let shared = self.shared.clone();
        let stream = shared.server.name("purges");
        let fresh = fastrand::u64(..).to_be_bytes();
        let (place, id) = match self.at {
            At::End => (Vec::new(), String::new()),
            At::After(at) => {
                let place = [at.incarnation.to_be_bytes(), at.number.to_be_bytes()].concat();
                (place, format!("{}-{}", at.id.0, at.id.1))
            }
            At::Lost => (b"lost".to_vec(), "0-0".to_owned()),
        };
        let script = connection.scripts.read.clone();
        let reading = script.run(&mut connection.wire, 1, |call| {
            call.arg(&stream).arg(&place).arg(&id).arg(BATCH).arg(&fresh);
        });
        let answer = shared.server.within(ANSWER, reading).await?;
        let News { last, entries } = News::of(&answer).ok_or_else(|| self.strange())?;
        match self.at {
            At::End => {
                self.apply(Heard::Lost, last);
                return Ok(true);
            }
            At::After(at) => {
                if shared.applier.position().is_none() {
                    // What was stored before this process began counts from here.
                    self.apply(Heard::Nothing, at);
                }
                if at == last {
                    return Ok(true);
                }
                let another = at.incarnation != last.incarnation || at.number >= last.number;
                if another || entries.is_empty() {
                    self.at = At::Lost;
                    return Ok(false);
                }
            }
            At::Lost if entries.is_empty() => return Err(self.strange()),
            At::Lost => {}
        }
        for Entry { position, kind, message } in entries {
            if !matches!(self.at, At::After(at) if position.follows(at)) {
                self.lose(position);
            }
            match kind {
                PURGE => {
                    count(&shared.counted.purges);
                    self.apply(Heard::Purge(message), position);
                }
                LOST => {
                    count(&shared.counted.lost);
                    self.apply(Heard::Lost, position);
                }
                _ => self.apply(Heard::Nothing, position),
            }
        }
        Ok(shared.applier.position() == Some(last))
    }

    fn apply(&mut self, heard: Heard<'_>, position: Position) {
        self.shared.applier.apply(heard, position);
        self.at = At::After(position);
        let is_back =
            |own: &Told| own.incarnation != position.incarnation || own.number <= position.number;
        while self.own.front().is_some_and(is_back)
            && let Some(Told { since, told, .. }) = self.own.pop_front()
        {
            let latency = since.elapsed().as_millis() as u64;
            self.shared.counted.purge_latency.store(latency, Relaxed);
            let _ = told.send(());
        }
    }

    /// Whatever there was before `position` is lost.
    fn lose(&mut self, position: Position) {
        count(&self.shared.counted.lost);
        tracing::warn!(
            redis = %self.shared.server.address,
            "purges were missed and the shared state does not have them any more: all that is \
             stored here counts as purged softly"
        );
        let number = position.number.saturating_sub(1);
        self.apply(Heard::Lost, Position { number, id: (0, 0), ..position });
    }

    /// Looks at the values that are followed.
    async fn look(&self, connection: &mut Connection) -> Result<(), Trouble> {
        let server = &self.shared.server;
        let keys = self.shared.board.keys();
        for keys in keys.chunks(BATCH) {
            let mut all = pipe();
            for key in keys {
                // One byte more than a value may have shows that it has too many.
                all.add_command(
                    cmd("GETRANGE").arg(server.name(key)).arg(0).arg(VALUE_LIMIT).to_owned(),
                );
            }
            let looking = connection.wire.req_packed_commands(&all, 0, keys.len());
            let values = server.within(ANSWER, looking).await?;
            for (key, value) in keys.iter().zip(values) {
                let value = watch::Value::of(bulk(&value).unwrap_or_default());
                self.shared.board.set(key, value);
            }
        }
        Ok(())
    }

    fn say(&mut self, trouble: &Trouble) {
        if self.voice.trouble(trouble, Instant::now()) {
            tracing::warn!(
                "the shared state is away: {trouble}; until it is back each node fetches for itself \
                 and hears of no purges of others"
            );
        }
    }

    fn strange(&self) -> Trouble {
        let Self { shared, .. } = self;
        Trouble::Answer {
            address: shared.server.address.clone(),
            why: format!("what is not ours under `{}`", shared.server.name("purges")),
        }
    }
}

/// Kinds of entries of the stream; that of the first one is empty.
const PURGE: &[u8] = b"p";
const LOST: &[u8] = b"l";

/// What a read gives.
struct News<'a> {
    last: Position,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    position: Position,
    kind: &'a [u8],
    message: &'a [u8],
}

impl<'a> News<'a> {
    fn of(answer: &'a Value) -> Option<News<'a>> {
        let Value::Array(parts) = answer else { return None };
        let [place, id, Value::Array(entries)] = &parts[..] else { return None };
        let last = position(bulk(place)?, bulk(id)?)?;
        let entries = entries.iter().map(Entry::of).collect::<Option<_>>()?;
        Some(News { last, entries })
    }
}

impl<'a> Entry<'a> {
    fn of(entry: &'a Value) -> Option<Entry<'a>> {
        let Value::Array(parts) = entry else { return None };
        let [id, Value::Array(fields)] = &parts[..] else { return None };
        let [_, place, _, kind, _, message] = &fields[..] else { return None };
        let position = position(bulk(place)?, bulk(id)?)?;
        Some(Entry { position, kind: bulk(kind)?, message: bulk(message)? })
    }
}

fn position(place: &[u8], id: &[u8]) -> Option<Position> {
    let (incarnation, number) = place_of(place)?;
    let (time, sequence) = std::str::from_utf8(id).ok()?.split_once('-')?;
    Some(Position { incarnation, number, id: (time.parse().ok()?, sequence.parse().ok()?) })
}

/// Incarnation and number.
fn place_of(place: &[u8]) -> Option<(u64, u64)> {
    let place: &[u8; 16] = place.try_into().ok()?;
    let [incarnation, number] = place.as_chunks::<8>().0 else { return None };
    Some((u64::from_be_bytes(*incarnation), u64::from_be_bytes(*number)))
}

fn bulk(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// A message of a channel, or the end of the connection. Called by the task of the connection.
fn heard(shared: &Shared, push: &PushInfo) {
    match (&push.kind, &push.data[..]) {
        (PushKind::Disconnection, _) => shared.bus.wake.notify_one(),
        (PushKind::Message, [channel, message]) => {
            let (channel, message) = (bulk(channel).unwrap_or(b""), bulk(message).unwrap_or(b""));
            if channel.ends_with(b"ended") {
                if let Ok(key) = message.try_into() {
                    shared.leases.ended(Key(key));
                }
            } else if channel.ends_with(b"changed") {
                shared.bus.look_again();
            } else {
                shared.bus.wake.notify_one();
            }
        }
        _ => {}
    }
}
