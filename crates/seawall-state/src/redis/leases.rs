//! Leases and answers: the way of a request to the server, and the task that keeps the connection,
//! extends what is held, and gives back what was dropped.
//!
//! The connection is its own breaker: what fails or is silent once takes it away, and with it the
//! wait of everybody else, until the task has another that works.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use redis::aio::ConnectionLike;
use redis::{Value, cmd, pipe};
use tokio::sync::{Notify, mpsc, watch};

use crate::lease::{self, Answer, Held, Key, Lease, Published, Token, Turn};
use crate::purge::Position;
use crate::standing::Standing;
use crate::{LEASE, LONGEST_LEASE, PATIENCE};

use super::connect::{ANSWER, Connection};
use super::script::LEASE_BYTES;
use super::trouble::{Trouble, Voice};
use super::{Shared, count};

/// How long publishing an answer may take.
const PUBLISHING: Duration = Duration::from_secs(1);

/// How often is looked without being called, by whoever waits for another's lease.
const LOOK: Duration = Duration::from_millis(250);

/// How often leases that are held are extended.
const EXTEND: Duration = Duration::from_millis(500);

/// The most bytes of answers that are being published.
const PUBLISHING_BYTES: usize = 32 << 20;

/// Leases to be given back that may wait for it; with more, they end by themselves.
const ORDERS: usize = 1_024;

/// Leases that are extended at once.
const BATCH: usize = 256;

/// The pauses before the connection is opened again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What requests and the task share.
pub(super) struct Leases {
    /// The connection, while it works.
    connection: ArcSwapOption<Connection>,
    /// Why it was taken away, and a call for the task.
    trouble: Mutex<Option<Trouble>>,
    failed: Notify,
    /// Those that wait for the end of a lease.
    listening: Mutex<HashMap<Key, watch::Sender<()>>>,
    /// What this node holds, and since when.
    held: Mutex<HashMap<u64, (Key, Instant)>>,
    orders: mpsc::Sender<Order>,
    publishing: AtomicUsize,
}

/// A lease that is to be given back.
#[derive(Debug)]
pub(super) struct Order {
    key: Key,
    token: Token,
}

impl Leases {
    pub(super) fn new() -> (Leases, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(ORDERS);
        let leases = Leases {
            connection: ArcSwapOption::empty(),
            trouble: Mutex::new(None),
            failed: Notify::new(),
            listening: Mutex::new(HashMap::new()),
            held: Mutex::new(HashMap::new()),
            orders,
            publishing: AtomicUsize::new(0),
        };
        (leases, receiver)
    }

    pub(super) fn can_be_had(&self) -> bool {
        self.connection.load().is_some()
    }

    /// The lease of `key` has ended.
    pub(super) fn ended(&self, key: Key) {
        if let Some(sender) = locked(&self.listening).get(&key) {
            sender.send_replace(());
        }
    }

    /// `connection` is of no more use.
    fn fail(&self, connection: &Arc<Connection>, trouble: Trouble) {
        let before = self.connection.compare_and_swap(&Some(connection.clone()), None);
        // Whoever comes late speaks of a connection that is gone already.
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, connection)) {
            *locked(&self.trouble) = Some(trouble);
            self.failed.notify_one();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for the lease of a key.
pub(super) async fn take(shared: &Arc<Shared>, key: Key, except: Option<Token>) -> Turn {
    ask(Listening::new(shared, key), except).await
}

async fn ask(listening: Listening, except: Option<Token>) -> Turn {
    let shared = listening.shared.clone();
    let (server, counted) = (&shared.server, &shared.counted);
    let Some(connection) = shared.leases.connection.load_full() else {
        count(&counted.away);
        return Turn::Away;
    };
    let token = Token::new();
    let key = listening.key;
    let keys = [server.name_of("answer", key), server.name_of("lease", key), server.name("purges")];
    let except_bytes = except.map(|token| token.0.to_be_bytes());
    let mut wire = connection.wire.clone();
    let asking = connection.scripts.take.run(&mut wire, 3, |call| {
        call.arg(&keys).arg(&token.0.to_be_bytes()).arg(LEASE.as_millis() as u64);
        call.arg(except_bytes.as_ref().map_or(&[][..], |token| token));
    });
    let trouble = match server.within(PATIENCE, asking).await {
        Ok(answer) => match Granted::of(answer) {
            Some(Granted::Answer(answer)) => {
                count(&counted.answers);
                return Turn::Answer(answer);
            }
            Some(Granted::Held { token, position, left }) => {
                count(&counted.held);
                let waiting = lease::Waiting::Redis(Waiting { listening, except, left });
                return Turn::Held(Held { token, position, waiting });
            }
            Some(Granted::Lease(position)) => {
                count(&counted.leases);
                locked(&shared.leases.held).insert(token.0, (key, Instant::now()));
                let hold = Hold { shared, key, token, given: false };
                return Turn::Lease(Lease { token, position, hold: lease::Hold::Redis(hold) });
            }
            // The stream of purges is gone; the other task is about to see it.
            None => {
                count(&counted.away);
                return Turn::Away;
            }
        },
        Err(trouble) => trouble,
    };
    count(&counted.away);
    // It may have been granted all the same.
    let _ = shared.leases.orders.try_send(Order { key, token });
    shared.leases.fail(&connection, trouble);
    Turn::Away
}

/// What the server says to who asks for a lease.
enum Granted {
    Answer(Answer),
    Held { token: Token, position: Position, left: Duration },
    Lease(Position),
}

impl Granted {
    fn of(answer: Value) -> Option<Granted> {
        let Value::Array(parts) = answer else { return None };
        let mut parts = parts.into_iter();
        let (kind, bytes) = (parts.next()?, parts.next()?);
        let (Value::Int(kind), Value::BulkString(bytes)) = (kind, bytes) else { return None };
        let head: &[u8; LEASE_BYTES] = bytes.first_chunk()?;
        let [token, incarnation, number] = head.as_chunks::<8>().0 else { return None };
        let token = Token(u64::from_be_bytes(*token));
        let position = Position {
            incarnation: u64::from_be_bytes(*incarnation),
            number: u64::from_be_bytes(*number),
            id: (0, 0),
        };
        let left = match parts.next() {
            Some(Value::Int(left)) => Duration::from_millis(left.max(0) as u64),
            _ => Duration::ZERO,
        };
        Some(match kind {
            0 => {
                let payload = Bytes::from(bytes).slice(LEASE_BYTES..);
                Granted::Answer(Answer { token, position, payload, left })
            }
            1 => Granted::Held { token, position, left },
            2 => Granted::Lease(position),
            _ => return None,
        })
    }
}

/// The wait for another node's lease.
#[derive(Debug)]
pub(crate) struct Waiting {
    listening: Listening,
    except: Option<Token>,
    /// Until the lease ends by itself.
    left: Duration,
}

impl Waiting {
    pub(crate) async fn wait(mut self, patience: Duration) -> Turn {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            // Of the death of a holder nobody tells.
            let look = self.left.saturating_add(Duration::from_millis(5)).min(LOOK);
            let look = (tokio::time::Instant::now() + look).min(deadline);
            let _ = tokio::time::timeout_at(look, self.listening.told()).await;
            match ask(self.listening, self.except).await {
                Turn::Held(Held { token, position, waiting: lease::Waiting::Redis(waiting) }) => {
                    if tokio::time::Instant::now() >= deadline {
                        let waiting = lease::Waiting::Redis(waiting);
                        return Turn::Held(Held { token, position, waiting });
                    }
                    self = waiting;
                }
                turn => return turn,
            }
        }
    }
}

/// Hears of the end of a lease from its making on.
struct Listening {
    shared: Arc<Shared>,
    key: Key,
    told: Option<watch::Receiver<()>>,
}

impl Listening {
    fn new(shared: &Arc<Shared>, key: Key) -> Listening {
        let mut listening = locked(&shared.leases.listening);
        let told = listening.entry(key).or_insert_with(|| watch::Sender::new(())).subscribe();
        Listening { shared: shared.clone(), key, told: Some(told) }
    }

    async fn told(&mut self) {
        if let Some(told) = &mut self.told {
            let _ = told.changed().await;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.told = None;
        let mut listening = locked(&self.shared.leases.listening);
        if listening.get(&self.key).is_some_and(|sender| sender.receiver_count() == 0) {
            listening.remove(&self.key);
        }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A lease of this node.
pub(crate) struct Hold {
    shared: Arc<Shared>,
    key: Key,
    token: Token,
    /// It was given back with an answer.
    given: bool,
}

impl Hold {
    pub(crate) async fn publish(mut self, payload: Bytes, lifetime: Duration) -> Published {
        let shared = self.shared.clone();
        let published = self.give(&payload, lifetime).await;
        count(match published {
            Published::Yes => &shared.counted.published,
            _ => &shared.counted.unpublished,
        });
        published
    }

    async fn give(&mut self, payload: &Bytes, lifetime: Duration) -> Published {
        let shared = self.shared.clone();
        let Some(connection) = shared.leases.connection.load_full() else {
            return Published::Away;
        };
        let Some(_room) = Room::take(&shared.leases.publishing, payload.len()) else {
            return Published::Away;
        };
        let server = &shared.server;
        let giving = run_give(&shared, &connection, self.key, self.token, payload, lifetime);
        match server.within(PUBLISHING, giving).await {
            Ok(Value::Int(ours)) => {
                self.given = true;
                if ours == 1 { Published::Yes } else { Published::NotOurs }
            }
            Ok(_) => Published::Away,
            Err(trouble) => {
                shared.leases.fail(&connection, trouble);
                Published::Away
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        locked(&self.shared.leases.held).remove(&self.token.0);
        if !self.given {
            // Without room it ends by itself.
            let _ = self.shared.leases.orders.try_send(Order { key: self.key, token: self.token });
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("token", &self.token).finish_non_exhaustive()
    }
}

/// Ends a lease, with an answer unless its lifetime is zero.
async fn run_give(
    shared: &Shared,
    connection: &Connection,
    key: Key,
    token: Token,
    payload: &[u8],
    lifetime: Duration,
) -> Result<Value, redis::RedisError> {
    let server = &shared.server;
    let keys = [server.name_of("answer", key), server.name_of("lease", key)];
    let channel = server.name("ended");
    let lifetime = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).min(LONGEST_LIFETIME);
    let mut wire = connection.wire.clone();
    connection
        .scripts
        .give
        .run(&mut wire, 2, |call| {
            call.arg(&keys).arg(&token.0.to_be_bytes()).arg(payload).arg(lifetime);
            call.arg(&channel).arg(&key.0);
        })
        .await
}

/// The most milliseconds that an answer is kept: a day.
const LONGEST_LIFETIME: u64 = 86_400_000;

/// Bytes of an answer that is being published.
struct Room<'a> {
    of: &'a AtomicUsize,
    bytes: usize,
}

impl Room<'_> {
    fn take(of: &AtomicUsize, bytes: usize) -> Option<Room<'_>> {
        let room = Room { of, bytes };
        let before = of.fetch_add(bytes, Relaxed);
        (before + bytes <= PUBLISHING_BYTES).then_some(room)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Relaxed);
    }
}

/// Keeps the connection until it is aborted.
pub(super) async fn serve(shared: Arc<Shared>, mut orders: mpsc::Receiver<Order>) {
    let mut voice = Voice::default();
    let mut pause = PAUSES.0;
    let mut failures = 0;
    loop {
        let trouble = match open(&shared).await {
            Ok(connection) => {
                if voice.well() {
                    tracing::info!(redis = %shared.server.address, "leases can be had again");
                }
                failures = 0;
                let since = Instant::now();
                let trouble = keep(&shared, &connection, &mut orders).await;
                shared.leases.fail(&connection, trouble.clone());
                if since.elapsed() > PAUSES.1 {
                    pause = PAUSES.0;
                }
                trouble
            }
            Err(trouble) => trouble,
        };
        count(&shared.counted.failures);
        failures += 1;
        // A single one is soon over, and of a server that is away the other task tells.
        let away = matches!(shared.mark.standing(Instant::now()), Standing::Away(_));
        if failures > 1 && !away && voice.trouble(&trouble, Instant::now()) {
            tracing::warn!("no leases can be had, so that each node fetches for itself: {trouble}");
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn open(shared: &Shared) -> Result<Arc<Connection>, Trouble> {
    let mut connection = shared.server.connect(None).await?;
    shared.server.write(&mut connection).await?;
    let connection = Arc::new(connection);
    // A call of the connection before this one is not for it.
    *locked(&shared.leases.trouble) = None;
    shared.leases.connection.store(Some(connection.clone()));
    Ok(connection)
}

/// Extends and gives back until somebody finds the connection wanting.
async fn keep(
    shared: &Shared,
    connection: &Arc<Connection>,
    orders: &mut mpsc::Receiver<Order>,
) -> Trouble {
    let mut ticks = tokio::time::interval(EXTEND);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let outcome = tokio::select! {
            () = shared.leases.failed.notified() => {
                match locked(&shared.leases.trouble).take() {
                    Some(trouble) => Err(trouble),
                    None => Ok(()),
                }
            }
            Some(Order { key, token }) = orders.recv() => {
                let giving = run_give(shared, connection, key, token, b"", Duration::ZERO);
                shared.server.within(ANSWER, giving).await.map(drop)
            }
            _ = ticks.tick() => extend(shared, connection).await,
        };
        if let Err(trouble) = outcome {
            return trouble;
        }
    }
}

/// Extends what is held, but for what is held too long.
async fn extend(shared: &Shared, connection: &Connection) -> Result<(), Trouble> {
    let held: Vec<(u64, Key)> = {
        let mut held = locked(&shared.leases.held);
        held.retain(|_, (_, since)| since.elapsed() < LONGEST_LEASE);
        held.iter().map(|(token, (key, _))| (*token, *key)).collect()
    };
    let mut wire = connection.wire.clone();
    for held in held.chunks(BATCH) {
        let mut all = pipe();
        for (token, key) in held {
            let mut call = cmd("EVALSHA");
            call.arg(connection.scripts.extend.hash()).arg(1);
            call.arg(shared.server.name_of("lease", *key));
            call.arg(&token.to_be_bytes()).arg(LEASE.as_millis() as u64);
            all.add_command(call);
        }
        let extending = wire.req_packed_commands(&all, 0, held.len());
        let outcomes = shared.server.within(ANSWER, extending).await?;
        // The server may have forgotten the script, or may be a replica now.
        for outcome in outcomes {
            let outcome = outcome.extract_error();
            outcome.map_err(|error| Trouble::of(&error, &shared.server.address))?;
        }
    }
    Ok(())
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("held", &locked(&self.held).len()).finish_non_exhaustive()
    }
}
