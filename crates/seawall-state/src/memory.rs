//! The shared state of one process: the same promises as Redis, without a server. What it keeps is
//! gone with the process. It is never away, and never slow.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::lease::{self, Answer, Held, Key, Lease, Published, Token, Turn};
use crate::purge::{Applier, Delivery, Heard, Position};
use crate::watch::{Board, Value, Watched};
use crate::{Kind, PURGES_KEPT, State};

/// Answers that are kept; with more, those whose time is over go, then any.
const ANSWERS: usize = 1_024;

/// A space that nodes of one process share. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Space>);

impl Memory {
    /// A node of its own in this space; see [`State::open`].
    pub fn open(
        &self,
        from: Option<Position>,
        apply: impl FnMut(Heard<'_>) -> u64 + Send + 'static,
    ) -> State {
        self.join(from, Applier::new(apply))
    }

    /// Sets the value under a key; empty takes it away.
    pub fn set(&self, key: &str, value: &str) {
        let mut inner = self.0.lock();
        inner.values.insert(key.to_owned(), value.to_owned());
        for node in inner.nodes() {
            node.board.set(key, Value::of(value.as_bytes()));
        }
    }

    /// Forgets everything, as a server does that was restarted without its data.
    pub fn forget(&self) {
        let mut inner = self.0.lock();
        let nodes = inner.nodes();
        *inner = Inner::default();
        for node in nodes {
            node.applier.apply(Heard::Lost, inner.position());
            inner.nodes.push(Arc::downgrade(&node));
        }
    }

    pub(crate) fn join(&self, from: Option<Position>, applier: Applier) -> State {
        let node = Arc::new(Node { space: self.0.clone(), applier, board: Board::default() });
        let mut inner = self.0.lock();
        inner.catch_up(&node, from);
        inner.nodes.push(Arc::downgrade(&node));
        State(Kind::Memory(node))
    }
}

#[derive(Debug, Default)]
struct Space(Mutex<Inner>);

impl Space {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Inner {
    incarnation: u64,
    /// The number of the latest purge.
    number: u64,
    /// The latest purges; the last of them has `number`.
    purges: VecDeque<Bytes>,
    leases: HashMap<Key, Taken>,
    answers: HashMap<Key, (Answer, Instant)>,
    values: HashMap<String, String>,
    nodes: Vec<Weak<Node>>,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            incarnation: fastrand::u64(..),
            number: 0,
            purges: VecDeque::new(),
            leases: HashMap::new(),
            answers: HashMap::new(),
            values: HashMap::new(),
            nodes: Vec::new(),
        }
    }
}

#[derive(Debug)]
struct Taken {
    token: Token,
    position: Position,
    /// Told when it ends.
    ended: Arc<Notify>,
}

impl Inner {
    fn position(&self) -> Position {
        Position { incarnation: self.incarnation, number: self.number, id: (0, self.number) }
    }

    fn nodes(&mut self) -> Vec<Arc<Node>> {
        self.nodes.retain(|node| node.strong_count() > 0);
        self.nodes.iter().filter_map(Weak::upgrade).collect()
    }

    fn catch_up(&self, node: &Node, from: Option<Position>) {
        let Some(from) = from else {
            return node.applier.apply(Heard::Lost, self.position());
        };
        let kept = self.number - self.purges.len() as u64;
        let at = |number| Position { number, id: (0, number), ..self.position() };
        let known =
            from.incarnation == self.incarnation && (kept..=self.number).contains(&from.number);
        let (heard, from) = match known {
            true => (Heard::Nothing, from.number),
            // It is unknown what was missed: from whichever is the first that there still is.
            false => (Heard::Lost, kept),
        };
        node.applier.apply(heard, at(from));
        for (message, number) in self.purges.iter().zip(kept + 1..) {
            if number > from {
                node.applier.apply(Heard::Purge(message), at(number));
            }
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.answers.len() < ANSWERS {
            return;
        }
        self.answers.retain(|_, (_, until)| *until > now);
        if self.answers.len() >= ANSWERS
            && let Some(key) = self.answers.keys().next().copied()
        {
            self.answers.remove(&key);
        }
    }
}

/// One node of a space.
#[derive(Debug)]
pub(crate) struct Node {
    space: Arc<Space>,
    applier: Applier,
    board: Board,
}

impl Node {
    pub(crate) fn take(self: &Arc<Self>, key: Key, except: Option<Token>) -> Turn {
        let mut inner = self.space.lock();
        let now = Instant::now();
        if let Some((answer, until)) = inner.answers.get(&key)
            && *until > now
            && Some(answer.token) != except
        {
            return Turn::Answer(Answer { left: *until - now, ..answer.clone() });
        }
        if let Some(taken) = inner.leases.get(&key)
            && Some(taken.token) != except
        {
            return Turn::Held(Held {
                token: taken.token,
                position: taken.position,
                waiting: lease::Waiting::Memory(Waiting {
                    node: self.clone(),
                    key,
                    except,
                    ended: taken.ended.clone(),
                }),
            });
        }
        let (token, position) = (Token::new(), inner.position());
        let taken = Taken { token, position, ended: Arc::new(Notify::new()) };
        if let Some(before) = inner.leases.insert(key, taken) {
            before.ended.notify_waiters();
        }
        let hold = Hold { space: self.space.clone(), key, token };
        Turn::Lease(Lease { token, position, hold: lease::Hold::Memory(hold) })
    }

    pub(crate) fn publish_purge(&self, message: &Bytes) -> Delivery {
        let mut inner = self.space.lock();
        if inner.purges.len() == PURGES_KEPT {
            inner.purges.pop_front();
        }
        inner.purges.push_back(message.clone());
        inner.number += 1;
        let position = inner.position();
        for node in inner.nodes() {
            node.applier.apply(Heard::Purge(message), position);
        }
        Delivery::Published
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.applier.position()
    }

    pub(crate) fn sequence_at(&self, position: Position) -> Option<u64> {
        self.applier.sequence_at(position)
    }

    pub(crate) fn watch(&self, key: &str) -> Watched {
        let inner = self.space.lock();
        let value = inner.values.get(key).map_or(Value::Absent, |text| Value::of(text.as_bytes()));
        self.board.watch(key, value)
    }
}

/// Waits for another node's lease.
#[derive(Debug)]
pub(crate) struct Waiting {
    node: Arc<Node>,
    key: Key,
    except: Option<Token>,
    ended: Arc<Notify>,
}

impl Waiting {
    pub(crate) async fn wait(self, patience: Duration) -> Turn {
        let Waiting { node, key, except, mut ended } = self;
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            // It is listened for before it is looked at, so that no end goes unnoticed.
            let told = ended.clone().notified_owned();
            tokio::pin!(told);
            told.as_mut().enable();
            let turn = node.take(key, except);
            match &turn {
                Turn::Held(Held { waiting: lease::Waiting::Memory(held), .. }) => {
                    if !Arc::ptr_eq(&held.ended, &ended) {
                        ended = held.ended.clone();
                        continue;
                    }
                }
                _ => return turn,
            }
            if tokio::time::timeout_at(deadline, told).await.is_err() {
                return turn;
            }
        }
    }
}

/// A lease of this process: it lasts until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    space: Arc<Space>,
    key: Key,
    token: Token,
}

impl Hold {
    pub(crate) fn publish(self, payload: Bytes, lifetime: Duration) -> Published {
        let now = Instant::now();
        let mut inner = self.space.lock();
        let Some(taken) = inner.leases.get(&self.key).filter(|taken| taken.token == self.token)
        else {
            return Published::NotOurs;
        };
        let position = taken.position;
        let answer = Answer { token: self.token, position, payload, left: lifetime };
        inner.make_room(now);
        inner.answers.insert(self.key, (answer, now + lifetime));
        Published::Yes
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut inner = self.space.lock();
        if inner.leases.get(&self.key).is_some_and(|taken| taken.token == self.token)
            && let Some(taken) = inner.leases.remove(&self.key)
        {
            taken.ended.notify_waiters();
        }
    }
}
