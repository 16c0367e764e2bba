//! Redis is killed, forgets, stands still, refuses, is full, is the wrong one. Nothing waits without
//! bound, nothing is lost without a word, and one line of the log says what is wrong.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seawall_config::plan;
use seawall_state::{Delivery, LEASE, PURGES_WAITING, Published, Standing, State, StateError};
use seawall_state::{Turn, Value};
use seawall_testkit::{PATIENCE, Redis, ReservedPort, Stalled};
use tracing::subscriber::DefaultGuard;

use crate::nodes::{Node, is_away, is_current, open, until};

const LONG: Duration = Duration::from_secs(60);

async fn ready(redis: &Redis) -> Node {
    let node = open(&redis.url(), None);
    node.ready().await;
    node
}

async fn away(node: &Node) {
    until("the node to see that the state is away", || is_away(node)).await;
}

fn is_turn_away(turn: &Turn) -> bool {
    matches!(turn, Turn::Away)
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_empty() {
    let log = Log::start();
    let mut redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    let lease = a.lease("key").await;
    let version = b.state.watch("version");
    redis.command(&["SET", "test:version", "7"]).expect("to set");
    until("the value", || *version.value() == Value::Text("7".into())).await;

    redis.kill().expect("to kill");
    assert!(is_turn_away(&b.take("key").await), "it fetches for itself");
    away(&a).await;
    away(&b).await;
    assert_eq!(lease.publish(b"x"[..].into(), LONG).await, Published::Away);
    assert_eq!(a.publish("meanwhile").await, Delivery::Queued);
    assert_eq!(*version.value(), Value::Text("7".into()), "the last that was known");
    assert_eq!(log.count("the shared state is away: no connection to 127.0.0.1:"), 2);

    redis.restart().expect("to restart");
    for node in [&a, &b] {
        node.hears("LOST").await;
        node.hears("meanwhile").await;
        node.ready().await;
    }
    until("it to be said", || log.count("the shared state is there again") == 2).await;
    until("the value", || *version.value() == Value::Absent).await;
    a.lease("key").await.publish(b"y"[..].into(), LONG).await;
    assert_eq!(b.answer("key").await.payload, &b"y"[..]);
}

#[tokio::test]
async fn a_server_that_was_never_there() {
    let log = Log::start();
    let nobody = ReservedPort::new().expect("a port");
    let node = open(&format!("redis://:secret@{}", nobody.address()), None);
    let standing = node.state.settled(PATIENCE).await;
    assert!(matches!(standing, Standing::Away(_)), "{standing:?}");
    assert!(is_turn_away(&node.take("key").await));
    assert_eq!(node.publish("purge").await, Delivery::Queued);
    assert_eq!(*node.state.watch("version").value(), Value::Unknown);
    assert_eq!(node.state.position(), None);
    until("some attempts", || node.state.counts().failures > 4).await;
    assert_eq!(log.count("the shared state is away"), 1, "it is said once");
    assert_eq!(log.count("secret"), 0);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_at_all() {
    let log = Log::start();
    let stalled = Stalled::new().expect("a full queue");
    let node = open(&format!("redis://{}", stalled.address()), None);
    away(&node).await;
    assert_eq!(log.count("does not answer within 1s"), 1);
    assert!(is_turn_away(&node.take("key").await));
}

#[tokio::test]
async fn a_server_that_stands_still() {
    let log = Log::start();
    let mut redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    redis.pause().expect("to pause");
    // One of them finds out; were each to find out for itself, these would take minutes.
    let all = async {
        for number in 0..2_000 {
            assert!(is_turn_away(&a.take(&format!("key {number}")).await));
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("only the first waits");
    away(&a).await;
    away(&b).await;
    assert_eq!(a.publish("meanwhile").await, Delivery::Queued);
    redis.resume().expect("to resume");
    b.hears("meanwhile").await;
    for node in [&a, &b] {
        node.ready().await;
        assert!(!node.heard().contains(&"LOST".to_owned()), "nothing was lost");
    }
    assert_eq!(log.count("does not answer within 500ms"), 2);
}

#[tokio::test]
async fn a_process_that_stood_still_knows_that_it_is_behind() {
    let redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    // A thread that does nothing else for a while is what a stopped process is to its workers.
    let later = Instant::now() + 2 * seawall_state::CURRENT;
    assert_eq!(a.state.standing(later), Standing::CatchingUp);
    b.publish("meanwhile").await;
    std::thread::sleep(seawall_state::CURRENT + Duration::from_millis(10));
    assert_eq!(a.state.standing(Instant::now()), Standing::CatchingUp);
    assert_eq!(a.state.settled(PATIENCE).await, Standing::Current);
    assert_eq!(a.heard(), ["meanwhile"], "it is current only when it has heard it");
}

#[tokio::test]
async fn connections_that_break() {
    let redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    for round in 0..5 {
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).expect("to kill clients");
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).expect("to kill clients");
        let message = format!("round {round}");
        a.publish(&message).await;
        b.hears(&message).await;
    }
    assert!(!b.heard().contains(&"LOST".to_owned()));
    for node in [&a, &b] {
        node.ready().await;
    }
}

#[tokio::test]
async fn a_holder_that_dies_is_followed() {
    let redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    let lease = a.lease("key").await;
    let held = b.held("key").await;
    // Its process is gone: nobody extends the lease, and nobody gives it back.
    drop(a);
    std::mem::forget(lease);
    let turn = held.wait(PATIENCE).await;
    assert!(matches!(turn, Turn::Lease(_)), "{turn:?}");
}

#[tokio::test]
async fn a_lease_lasts_while_it_is_held() {
    let redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    let lease = a.lease("key").await;
    let name = redis.command(&["KEYS", "test:lease:*"]).expect("a key");
    let left = || redis.command(&["PTTL", &name]).expect("a time").parse::<u64>().expect("number");
    let limit = LEASE.as_millis() as u64;
    for _ in 0..3 {
        until("some of it to pass", || left() < limit - 100).await;
        let low = left();
        until("it to be extended", || left() > low).await;
    }
    assert_eq!(b.held("key").await.token, lease.token);
    assert_eq!(lease.publish(b"x"[..].into(), LONG).await, Published::Yes);
}

#[tokio::test]
async fn a_password_that_is_wrong() {
    let log = Log::start();
    let redis = Redis::with(&["--requirepass", "right"]).expect("redis-server");
    let address = redis.address();
    let right = open(&format!("redis://:right@{address}/0"), None);
    right.ready().await;
    for (url, says) in [
        (format!("redis://:wrong@{address}"), "refuses the user or the password"),
        (format!("redis://nobody:right@{address}"), "refuses the user or the password"),
        (format!("redis://{address}"), "refuses the user or the password"),
        (format!("redis://:right@{address}/99"), "out of range"),
    ] {
        let before = log.count(says);
        let node = open(&url, None);
        away(&node).await;
        assert!(is_turn_away(&node.take("key").await));
        assert_eq!(log.count(says), before + 1, "{url}: {}", log.text());
    }
    for password in ["right", "wrong"] {
        assert_eq!(log.count(password), 0, "{}", log.text());
    }
}

#[tokio::test]
async fn a_url_that_is_none() {
    for (url, says) in [
        ("", "Redis URL did not parse"),
        ("127.0.0.1:6379", "Redis URL did not parse"),
        ("http://127.0.0.1", "Redis URL did not parse"),
        ("redis://:hunter2@", "Redis URL did not parse"),
        ("redis://:hunter2@host/x", "Invalid database number"),
        ("rediss://:hunter2@host", "TLS"),
    ] {
        let plan = plan::State { redis: Some(plan::Secret::new(url)), prefix: "".into() };
        let error = State::open(&plan, None, |_| 0).expect_err("it is refused");
        let StateError::Url(why) = &error;
        assert!(why.contains(says), "{url}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_replica_is_not_written_to() {
    let log = Log::start();
    let primary = Redis::start().expect("redis-server");
    let port = primary.address().port().to_string();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]).expect("redis-server");
    let node = open(&replica.url(), None);
    away(&node).await;
    until("it to be said", || log.count("read-only replica") == 1).await;
    assert!(is_turn_away(&node.take("key").await));
    // It becomes the primary, as after a failover; then it becomes a replica again.
    replica.command(&["REPLICAOF", "NO", "ONE"]).expect("to promote");
    node.ready().await;
    replica.command(&["REPLICAOF", "127.0.0.1", &port]).expect("to demote");
    away(&node).await;
}

#[tokio::test]
async fn a_server_without_memory_is_still_listened_to() {
    let log = Log::start();
    let redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    a.publish("before").await;
    b.hears("before").await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).expect("to set");
    assert!(is_turn_away(&a.take("key").await));
    assert_eq!(a.publish("meanwhile").await, Delivery::Queued);
    assert!(is_current(&b), "there is nothing that it could have missed");
    until("it to be said", || log.count("has no memory left for writes") > 0).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).expect("to set");
    b.hears("meanwhile").await;
    a.ready().await;
    assert_eq!(b.heard(), ["before", "meanwhile"]);
}

#[tokio::test]
async fn purges_that_found_no_room_are_told_as_lost() {
    let mut redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    redis.pause().expect("to pause");
    away(&a).await;
    for number in 0..=PURGES_WAITING {
        assert_eq!(a.publish(&format!("purge {number}")).await, Delivery::Queued);
    }
    redis.resume().expect("to resume");
    let last = format!("purge {PURGES_WAITING}");
    b.hears(&last).await;
    assert_eq!(b.heard(), ["LOST".to_owned(), last]);
}

#[tokio::test]
async fn a_stream_that_is_evicted_is_begun_anew() {
    let redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    a.publish("before").await;
    b.hears("before").await;
    redis.command(&["DEL", "test:purges"]).expect("to delete");
    a.publish("after").await;
    for node in [&a, &b] {
        node.hears("LOST").await;
        node.ready().await;
    }
    a.publish("next").await;
    b.hears("next").await;
}

#[tokio::test]
async fn a_purge_that_is_deleted_is_known_to_be_lost() {
    let redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    let position = b.state.position();
    drop(b);
    for message in ["one", "two", "three"] {
        a.publish(message).await;
    }
    let entry = redis.command(&["XREVRANGE", "test:purges", "+", "-", "COUNT", "2"]).expect("two");
    // What is published has bytes of any kind.
    let is_id = |line: &&str| {
        let parts = line.split_once('-').map(|(time, number)| [time, number]);
        parts.is_some_and(|parts| parts.iter().all(|part| part.parse::<u64>().is_ok()))
    };
    let id = entry.lines().filter(is_id).nth(1).expect("an id").to_owned();
    assert_eq!(redis.command(&["XDEL", "test:purges", &id]).expect("to delete"), "1");
    let b = open(&redis.url(), position);
    b.ready().await;
    assert_eq!(b.heard(), ["one", "LOST", "three"]);
}

#[tokio::test]
async fn a_key_that_is_not_ours() {
    let log = Log::start();
    let redis = Redis::start().expect("redis-server");
    redis.command(&["SET", "test:purges", "something else"]).expect("to set");
    let node = open(&redis.url(), None);
    until("it to be said", || log.count("WRONGTYPE") == 1).await;
    away(&node).await;
    redis.command(&["DEL", "test:purges"]).expect("to delete");
    redis.command(&["XADD", "test:purges", "*", "a", "b"]).expect("to add");
    until("it to be said", || log.count("what is not ours under `test:purges`") == 1).await;
    assert!(is_turn_away(&node.take("key").await));
    redis.command(&["DEL", "test:purges"]).expect("to delete");
    node.ready().await;
}

#[tokio::test]
async fn scripts_that_were_flushed_are_loaded_again() {
    let redis = Redis::start().expect("redis-server");
    let (a, b) = (ready(&redis).await, ready(&redis).await);
    let lease = a.lease("key").await;
    redis.command(&["SCRIPT", "FLUSH"]).expect("to flush");
    assert!(matches!(b.take("key").await, Turn::Held(_)));
    a.publish("purge").await;
    b.hears("purge").await;
    assert_eq!(lease.publish(b"x"[..].into(), LONG).await, Published::Yes);
    assert_eq!(b.answer("key").await.payload, &b"x"[..]);
}

#[tokio::test]
async fn what_was_dropped_ends() {
    let redis = Redis::start().expect("redis-server");
    let node = ready(&redis).await;
    let clients = || {
        let list = redis.command(&["CLIENT", "LIST"]).expect("a list");
        list.lines()
            .filter(|line| line.contains("lib-name=seawall") || line.contains("cmd="))
            .count()
    };
    // The one that asks is one of them.
    until("both connections", || clients() == 3).await;
    drop(node);
    until("no connection", || clients() == 1).await;
}

/// What is logged on the thread of a test.
struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl Log {
    fn start() -> Log {
        let text = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer(text.clone());
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        Log { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("no panic")).into_owned()
    }

    /// Lines that contain `text`.
    fn count(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
