//! Leases, as their users see them: the right, among all nodes of a fleet, to fetch what belongs to
//! a key. After Nishtala et al., "Scaling Memcache at Facebook" (NSDI 2013), §3.2.1: a token of
//! 64 bits, without which nothing can be published.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::purge::Position;
use crate::{memory, redis};

/// The name of a fetch: that of its lease, and of what was published under it. Unlike any other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub(crate) u64);

impl Token {
    pub(crate) fn new() -> Token {
        Token(fastrand::u64(..))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:016x})", self.0)
    }
}

/// What a key travels as: half of its SHA-256, so that nobody can make two keys that meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(crate) [u8; 16]);

impl Key {
    pub(crate) fn of(key: &[u8]) -> Key {
        let hash: [u8; 32] = Sha256::digest(key).into();
        Key(hash.as_chunks().0[0])
    }
}

/// Whose turn it is to fetch.
#[derive(Debug)]
pub enum Turn {
    /// Ours.
    Lease(Lease),
    /// Nobody's: another node fetched it.
    Answer(Answer),
    /// Another node's, which is at it.
    Held(Held),
    /// The state is away or slow: each node fetches for itself.
    Away,
}

/// What another node fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Of the fetch.
    pub token: Token,
    /// Where its node stood among purges when the fetch began; see
    /// [`crate::State::sequence_at`].
    pub position: Position,
    /// What was published.
    pub payload: Bytes,
    /// How long it will still be here, of the lifetime that it was published with.
    pub left: Duration,
}

/// Another node's lease.
#[derive(Debug)]
pub struct Held {
    /// Of the fetch.
    pub token: Token,
    /// Where the state stood among purges when the lease was granted. If a purge since then holds
    /// for the key, there is nothing to wait for: take it over, by `except`.
    pub position: Position,
    pub(crate) waiting: Waiting,
}

#[derive(Debug)]
pub(crate) enum Waiting {
    Memory(memory::Waiting),
    Redis(redis::Waiting),
}

impl Held {
    /// Waits, at most so long, for what becomes of it: an answer, or the lease when its holder
    /// gave up or died. [`Turn::Held`] when the time is over.
    ///
    /// Dropped: nothing remains.
    pub async fn wait(self, patience: Duration) -> Turn {
        match self.waiting {
            Waiting::Memory(waiting) => waiting.wait(patience).await,
            Waiting::Redis(waiting) => waiting.wait(patience).await,
        }
    }
}

/// The right to fetch. It is extended while it is held, for at most [`crate::LONGEST_LEASE`];
/// dropped, it goes to the next that asks.
#[derive(Debug)]
pub struct Lease {
    /// Of the fetch.
    pub token: Token,
    /// Where the state stands among purges as the fetch begins; it is published with the answer.
    pub position: Position,
    pub(crate) hold: Hold,
}

#[derive(Debug)]
pub(crate) enum Hold {
    Memory(memory::Hold),
    Redis(redis::Hold),
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Other nodes can take it.
    Yes,
    /// The lease had ended or was taken over, so that a purge may have come in between.
    NotOurs,
    /// It has more than [`crate::ANSWER_LIMIT`] bytes.
    TooLarge,
    /// The state is away, slow, or full.
    Away,
}

impl Lease {
    /// Publishes what was fetched, for so long, and gives the lease back.
    ///
    /// Takes at most a second. Dropped: it may be published or not; the lease ends.
    pub async fn publish(self, payload: Bytes, lifetime: Duration) -> Published {
        // What lives shorter than it takes to ask for it helps nobody but those who wait already.
        let lifetime = lifetime.max(Duration::from_millis(100));
        if payload.len() > crate::ANSWER_LIMIT {
            return Published::TooLarge;
        }
        match self.hold {
            Hold::Memory(hold) => hold.publish(payload, lifetime),
            Hold::Redis(hold) => hold.publish(payload, lifetime).await,
        }
    }

    /// Gives it back without an answer: the next that asks fetches. Dropping it does the same.
    pub fn release(self) {}
}
