//! What the nodes of a fleet share: in this process alone ([`Memory`]), or in Redis or Valkey.
//!
//! * leases ([`State::take`]): of all nodes one fetches an answer, and the others take it from here
//! * purges ([`State::publish_purge`]): each node applies those of all others, in one order, and
//!   those that it missed before it may call itself [`Standing::Current`]
//! * values ([`State::watch`]): short texts that whoever runs the fleet sets from outside
//!
//! Nothing here knows HTTP: what travels is bytes, and their meaning is the caller's. Nothing that a
//! request calls blocks its thread or waits longer than [`PATIENCE`] for a server that may be gone;
//! what then happens is the caller's to decide. Tasks run on the control thread's runtime, in which
//! [`State::open`] is called; handles go to all workers.

mod lease;
mod memory;
mod purge;
mod redis;
mod standing;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use seawall_config::plan;
use thiserror::Error;

pub use lease::{Answer, Held, Lease, Published, Token, Turn};
pub use memory::Memory;
pub use purge::{Delivery, Heard, POSITION_BYTES, Position};
pub use standing::Standing;
pub use watch::{Value, Watched};

/// The longest that a request waits to learn whether it may fetch: 100 ms.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// How long a lease lasts by itself: 2 s. While it is held it is extended, so this is how soon
/// another node takes over from one that died.
pub const LEASE: Duration = Duration::from_secs(2);

/// The longest that a lease is extended: 60 s.
pub const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// The most bytes of a published answer: 1 MiB of content and 64 KiB for what is known of it.
pub const ANSWER_LIMIT: usize = (1 << 20) + (64 << 10);

/// The most bytes of a message on the purge bus: 256 KiB.
pub const MESSAGE_LIMIT: usize = 256 << 10;

/// The purges that are kept for nodes that are away, about: 100,000. A node that missed more is told
/// that it has lost some.
pub const PURGES_KEPT: usize = 100_000;

/// The purges that a node keeps to be told while it is away: 1,024. With more, the others are told
/// in their place that they have lost some.
pub const PURGES_WAITING: usize = 1_024;

/// The most bytes of a watched value: 256. What is longer counts as absent.
pub const VALUE_LIMIT: usize = 256;

/// How far a node may be behind and still be [`Standing::Current`]: 1 s. While all is well it is
/// behind by the way to the server and back, and by 200 ms if messages get lost.
pub const CURRENT: Duration = Duration::from_secs(1);

/// Why the shared state cannot be used as it is configured.
#[derive(Debug, Error)]
pub enum StateError {
    /// The URL is none, or one of what is not supported.
    #[error("state.redis is not a URL that can be used: {0}")]
    Url(String),
}

/// A node's hold on what is shared. Clones are the same; with the last one its tasks end.
#[derive(Debug, Clone)]
pub struct State(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Memory(Arc<memory::Node>),
    Redis(Arc<redis::Node>),
}

impl State {
    /// Opens what `plan` says: Redis, or a space of this process alone. It does not wait for a
    /// connection: until there is one, the state is away.
    ///
    /// `from` is the [`State::position`] up to which the node's stored answers know of purges, if
    /// it has any; without it, whatever is stored by the time of the first connection counts as
    /// purged, since nobody knows what was missed: [`Heard::Lost`]. `apply` is called, one call at a time, with all that is heard from there on; it
    /// gives back the number of purges that the node has applied by then, in whatever count the
    /// node keeps for itself, as long as it only grows. It is called on the control thread and
    /// must not block.
    ///
    /// Must be called within a tokio runtime with I/O and time, which carries the tasks.
    ///
    /// # Errors
    /// When the URL cannot be understood. A server that cannot be reached is no error.
    pub fn open(
        plan: &plan::State,
        from: Option<Position>,
        apply: impl FnMut(Heard<'_>) -> u64 + Send + 'static,
    ) -> Result<State, StateError> {
        let apply = purge::Applier::new(apply);
        Ok(match &plan.redis {
            None => Memory::default().join(from, apply),
            Some(url) => {
                let node = redis::Node::open(url.reveal(), &plan.prefix, from, apply)?;
                State(Kind::Redis(Arc::new(node)))
            }
        })
    }

    /// Whether there can be other nodes. If not, leases and purges by way of the state gain
    /// nothing.
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Kind::Redis(_))
    }

    /// Whether this node has applied all purges of the fleet. Two atomic loads.
    #[inline]
    pub fn standing(&self, now: Instant) -> Standing {
        match &self.0 {
            Kind::Memory(_) => Standing::Current,
            Kind::Redis(node) => node.standing(now),
        }
    }

    /// Waits, at most so long, until this node is no more catching up, and says what it is then.
    ///
    /// Dropped: nothing remains.
    pub async fn settled(&self, at_most: Duration) -> Standing {
        match &self.0 {
            Kind::Memory(_) => Standing::Current,
            Kind::Redis(node) => node.settled(at_most).await,
        }
    }

    /// Asks for the lease of `key`: the right, among all nodes, to fetch what belongs to it. The
    /// key may be of any length; it travels as a hash (the first half of SHA-256).
    ///
    /// What bears the token `except` does not count: an answer that this node cannot use, or the
    /// lease of a fetch whose answer it could not use, since it began before a purge. Such a lease
    /// is taken over, and what its holder publishes is refused.
    ///
    /// Takes at most [`PATIENCE`]. Dropped: a lease that was granted all the same ends by itself.
    pub async fn take(&self, key: &[u8], except: Option<Token>) -> Turn {
        let key = lease::Key::of(key);
        match &self.0 {
            Kind::Memory(node) => node.take(key, except),
            Kind::Redis(node) => node.take(key, except).await,
        }
    }

    /// Tells all nodes of a purge, this one included: it comes back by way of `apply`, so that all
    /// apply purges in one order. Whoever published it can apply it at once nevertheless.
    ///
    /// Waits at most 500 ms. While the state is away messages are kept (at most
    /// [`PURGES_WAITING`]) and told when it is back. Dropped: it is told all the same.
    pub async fn publish_purge(&self, message: Bytes) -> Delivery {
        if message.len() > MESSAGE_LIMIT {
            return Delivery::TooLarge;
        }
        match &self.0 {
            Kind::Memory(node) => node.publish_purge(&message),
            Kind::Redis(node) => node.publish_purge(message).await,
        }
    }

    /// The same without waiting for it; for those who have something better to do.
    pub fn send_purge(&self, message: Bytes) {
        match &self.0 {
            _ if message.len() > MESSAGE_LIMIT => {}
            Kind::Memory(node) => drop(node.publish_purge(&message)),
            Kind::Redis(node) => node.send_purge(message),
        }
    }

    /// Up to where purges are applied: to be stored with answers that outlive the process, and
    /// handed to [`State::open`]. Take it before the purges themselves are brought to safety, so
    /// that it never is ahead of them. `None` when it never was known.
    pub fn position(&self) -> Option<Position> {
        match &self.0 {
            Kind::Memory(node) => node.position(),
            Kind::Redis(node) => node.position(),
        }
    }

    /// Waits, at most so long, until this node has applied all purges up to `position`, and says
    /// whether it has.
    ///
    /// Dropped: nothing remains.
    pub async fn reaches(&self, position: Position, at_most: Duration) -> bool {
        match &self.0 {
            Kind::Memory(node) => node.position().is_some_and(|at| at.has_reached(position)),
            Kind::Redis(node) => node.reaches(position, at_most).await,
        }
    }

    /// What `apply` gave back when this node was at `position`: an answer whose fetch began there
    /// counts as fetched at that point of the node's own count, so that purges since then hold for
    /// it. `None` when it is too long ago to be known (16,384 purges), or of another life of the
    /// state; then the answer cannot be used.
    pub fn sequence_at(&self, position: Position) -> Option<u64> {
        match &self.0 {
            Kind::Memory(node) => node.sequence_at(position),
            Kind::Redis(node) => node.sequence_at(position),
        }
    }

    /// Follows the value under `key`, which in Redis is called PREFIX`:`KEY. It is looked at every
    /// half second, and at once when the key is published on the channel PREFIX`:changed`.
    pub fn watch(&self, key: &str) -> Watched {
        match &self.0 {
            Kind::Memory(node) => node.watch(key),
            Kind::Redis(node) => node.watch(key),
        }
    }

    /// Whether leases can be had: whether the server for them answered when it was last asked.
    pub fn is_leasing(&self) -> bool {
        match &self.0 {
            Kind::Memory(_) => true,
            Kind::Redis(node) => node.is_leasing(),
        }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        match &self.0 {
            Kind::Memory(_) => Counts::default(),
            Kind::Redis(node) => node.counts(),
        }
    }
}

/// What happened so far, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Leases that this node was given.
    pub leases: u64,
    /// Answers of other nodes that it took.
    pub answers: u64,
    /// Times that it found another node fetching.
    pub held: u64,
    /// Times that it was not told within [`PATIENCE`], or knew that nobody would tell.
    pub away: u64,
    /// Answers that it published.
    pub published: u64,
    /// Answers that it did not get to publish: the lease was not its own any more, there was no
    /// room, or no server.
    pub unpublished: u64,
    /// Messages of the purge bus that it applied.
    pub purges: u64,
    /// Times that it could not know which purges it missed.
    pub lost: u64,
    /// Connections that were lost or could not be opened.
    pub failures: u64,
    /// Milliseconds from the publication of this node's latest purge to its return, which is about
    /// what it took to reach any node.
    pub purge_latency: u64,
}
