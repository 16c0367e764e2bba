//! The shared state in Redis or Valkey: one node of a fleet.
//!
//! Two connections, each with a task of its own on the control thread: [`bus`] reads purges, values
//! and the ends of leases; [`leases`] carries leases and answers, so that large answers never stand
//! in the way of a purge. Each task owns its connection, opens it again when it is lost, and says
//! so in the log once. What requests need to know of them are atomics.
//!
//! Keys, all behind the prefix and a colon: `purges` (a stream), `lease:HASH`, `answer:HASH`, and `node:NAME`
//! (that a node is there). Channels: `purged`, `changed`, `ended`.

mod bus;
mod connect;
mod leases;
mod script;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::AbortHandle;

use crate::lease::{Key, Token, Turn};
use crate::purge::{Applier, Delivery, Position};
use crate::standing::{Mark, Standing};
use crate::watch::{Board, Value, Watched};
use crate::{Counts, StateError};

use self::bus::Bus;
use self::connect::Server;
use self::leases::Leases;
pub(crate) use self::leases::{Hold, Waiting};

/// A node of a fleet. Dropping it ends its tasks and its connections.
#[derive(Debug)]
pub(crate) struct Node {
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
    from: Option<Position>,
}

/// What the tasks and the handles share.
#[derive(Debug)]
struct Shared {
    server: Server,
    mark: Mark,
    applier: Applier,
    board: Board,
    bus: Bus,
    leases: Leases,
    counted: Counted,
}

impl Node {
    pub(crate) fn open(
        url: &str,
        prefix: &str,
        from: Option<Position>,
        applier: Applier,
    ) -> Result<Node, StateError> {
        let (leases, orders) = Leases::new();
        let shared = Arc::new(Shared {
            server: Server::new(url, prefix)?,
            mark: Mark::new(Instant::now()),
            applier,
            board: Board::default(),
            bus: Bus::default(),
            leases,
            counted: Counted::default(),
        });
        let follow = tokio::spawn(bus::follow(shared.clone(), from)).abort_handle();
        let serve = tokio::spawn(leases::serve(shared.clone(), orders)).abort_handle();
        Ok(Node { shared, tasks: [follow, serve], from })
    }

    #[inline]
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        self.shared.mark.standing(now)
    }

    pub(crate) async fn settled(&self, at_most: Duration) -> Standing {
        self.shared.mark.settled(at_most).await
    }

    pub(crate) async fn reaches(&self, position: Position, at_most: Duration) -> bool {
        let Shared { mark, applier, .. } = &*self.shared;
        let reached = || applier.position().is_some_and(|at| at.has_reached(position));
        mark.until(at_most, reached).await
    }

    pub(crate) async fn take(&self, key: Key, except: Option<Token>) -> Turn {
        leases::take(&self.shared, key, except).await
    }

    pub(crate) async fn publish_purge(&self, message: Bytes) -> Delivery {
        let away = matches!(self.standing(Instant::now()), Standing::Away(_));
        self.shared.bus.publish(message, away).await
    }

    pub(crate) fn send_purge(&self, message: Bytes) {
        drop(self.shared.bus.put(message));
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.shared.applier.position().or(self.from)
    }

    pub(crate) fn sequence_at(&self, position: Position) -> Option<u64> {
        self.shared.applier.sequence_at(position)
    }

    pub(crate) fn watch(&self, key: &str) -> Watched {
        let watched = self.shared.board.watch(key, Value::Unknown);
        self.shared.bus.look_again();
        watched
    }

    pub(crate) fn is_leasing(&self) -> bool {
        self.shared.leases.can_be_had()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared.counted.all()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// [`Counts`], as they are counted.
#[derive(Debug, Default)]
struct Counted {
    leases: AtomicU64,
    answers: AtomicU64,
    held: AtomicU64,
    away: AtomicU64,
    published: AtomicU64,
    unpublished: AtomicU64,
    purges: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    purge_latency: AtomicU64,
}

impl Counted {
    fn all(&self) -> Counts {
        Counts {
            leases: self.leases.load(Relaxed),
            answers: self.answers.load(Relaxed),
            held: self.held.load(Relaxed),
            away: self.away.load(Relaxed),
            published: self.published.load(Relaxed),
            unpublished: self.unpublished.load(Relaxed),
            purges: self.purges.load(Relaxed),
            lost: self.lost.load(Relaxed),
            failures: self.failures.load(Relaxed),
            purge_latency: self.purge_latency.load(Relaxed),
        }
    }
}

/// Counts one more.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
