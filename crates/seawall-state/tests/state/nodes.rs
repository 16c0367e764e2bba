//! Fleets of nodes for tests: what they share, and what each of them heard.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seawall_config::plan;
use seawall_state::{Heard, Memory, PURGES_KEPT, Position, Standing, State, Turn};
use seawall_testkit::{PATIENCE, Redis};

/// What the nodes of a test share.
pub(crate) enum Fleet {
    Memory(Memory),
    Redis(Redis),
}

/// A node, and what it was told.
pub(crate) struct Node {
    pub(crate) state: State,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Fleet {
    pub(crate) fn memory() -> Fleet {
        Fleet::Memory(Memory::default())
    }

    pub(crate) fn redis() -> Fleet {
        Fleet::Redis(Redis::start().expect("redis-server"))
    }

    /// A node that has never heard of anything, when it is there.
    pub(crate) async fn node(&self) -> Node {
        let node = self.node_from(None);
        node.ready().await;
        node
    }

    pub(crate) fn node_from(&self, from: Option<Position>) -> Node {
        match self {
            Fleet::Memory(memory) => Node::new(from, |apply| memory.open(from, apply)),
            Fleet::Redis(redis) => open(&redis.url(), from),
        }
    }

    /// Sets a value as whoever runs the fleet does.
    pub(crate) fn set(&self, key: &str, value: &str) {
        match self {
            Fleet::Memory(memory) => memory.set(key, value),
            Fleet::Redis(redis) => {
                redis.command(&["SET", &format!("test:{key}"), value]).expect("to set");
                redis.command(&["PUBLISH", "test:changed", key]).expect("to call");
            }
        }
    }

    pub(crate) fn forget(&self) {
        match self {
            Fleet::Memory(memory) => memory.forget(),
            Fleet::Redis(redis) => {
                redis.command(&["FLUSHALL"]).expect("to flush");
            }
        }
    }

    /// Makes it forget all purges but the last.
    pub(crate) async fn trim(&self) {
        match self {
            Fleet::Memory(memory) => {
                let state = memory.open(None, |_| 0);
                for _ in 0..PURGES_KEPT {
                    state.publish_purge(b"filler"[..].into()).await;
                }
            }
            Fleet::Redis(redis) => {
                redis.command(&["XTRIM", "test:purges", "MAXLEN", "1"]).expect("to trim");
            }
        }
    }
}

/// A node on whatever a URL names.
pub(crate) fn open(url: &str, from: Option<Position>) -> Node {
    let plan = plan::State { redis: Some(plan::Secret::new(url)), prefix: "test".into() };
    Node::new(from, |apply| State::open(&plan, from, apply).expect("a URL"))
}

type Apply = Box<dyn FnMut(Heard<'_>) -> u64 + Send>;

impl Node {
    fn new(from: Option<Position>, open: impl FnOnce(Apply) -> State) -> Node {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        // Nobody knows what a node missed that does not know it itself.
        let mut begins = from.is_none();
        let apply = move |what: Heard<'_>| {
            if std::mem::take(&mut begins) {
                assert_eq!(what, Heard::Lost);
                return 0;
            }
            let mut heard = hears.lock().expect("no panic");
            match what {
                Heard::Purge(message) => heard.push(String::from_utf8_lossy(message).into_owned()),
                Heard::Lost => heard.push("LOST".to_owned()),
                Heard::Nothing => {}
            }
            heard.len() as u64
        };
        Node { state: open(Box::new(apply)), heard }
    }

    /// Waits until it is current and can have leases.
    pub(crate) async fn ready(&self) {
        until("the node to be current", || is_current(self)).await;
        until("leases to be had", || self.state.is_leasing()).await;
    }

    /// All that it was told so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no panic").clone()
    }

    pub(crate) async fn publish(&self, message: &str) -> seawall_state::Delivery {
        self.state.publish_purge(message.to_owned().into()).await
    }

    pub(crate) async fn hears(&self, message: &str) {
        let what = format!("a node to hear {message}");
        until(&what, || self.heard().iter().any(|heard| heard == message)).await;
    }

    pub(crate) async fn take(&self, key: &str) -> Turn {
        self.state.take(key.as_bytes(), None).await
    }

    /// Takes the lease of a key that nobody has, or had lately.
    pub(crate) async fn lease(&self, key: &str) -> seawall_state::Lease {
        match self.take(key).await {
            Turn::Lease(lease) => lease,
            turn => panic!("not a lease: {turn:?}"),
        }
    }

    /// Takes the lease of a key as soon as leases can be had.
    pub(crate) async fn lease_again(&self, key: &str) -> seawall_state::Lease {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.take(key).await {
                Turn::Lease(lease) => return lease,
                turn => assert!(Instant::now() < deadline, "still {turn:?}"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn held(&self, key: &str) -> seawall_state::Held {
        match self.take(key).await {
            Turn::Held(held) => held,
            turn => panic!("not held: {turn:?}"),
        }
    }

    pub(crate) async fn answer(&self, key: &str) -> seawall_state::Answer {
        match self.take(key).await {
            Turn::Answer(answer) => answer,
            turn => panic!("not an answer: {turn:?}"),
        }
    }
}

pub(crate) fn is_current(node: &Node) -> bool {
    node.state.standing(Instant::now()) == Standing::Current
}

pub(crate) fn is_away(node: &Node) -> bool {
    matches!(node.state.standing(Instant::now()), Standing::Away(_))
}

/// Waits for a condition, on the thread of the runtime that it may depend on.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
