//! Look-ups of links by their codes. Those that come while others are on their way are asked
//! together, in one statement: under load that is an order of magnitude less work for the server
//! and for the connections, and at rest nobody waits for company.
//!
//! It knows nothing of replicas; `links.rs` calls it for each kind of server that it asks.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_postgres::Row;

use super::StoreError;
use super::links::link_of;
use crate::link::{Code, Link};

/// Codes of one statement at most.
const GROUP: usize = 256;

/// Look-ups of one kind. Bounded by those who wait for them.
#[derive(Debug)]
pub(super) struct LookUps {
    /// Statements at the same time at most.
    most: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<LookUp>,
    /// Tasks that ask.
    asking: usize,
}

#[derive(Debug)]
struct LookUp {
    code: Code,
    answer: oneshot::Sender<Result<Option<Link>, StoreError>>,
}

impl LookUps {
    /// With a pool of so many connections. Half of them are for others.
    pub(super) fn new(pool: usize) -> LookUps {
        LookUps { most: (pool / 2).max(1), queue: Mutex::default() }
    }

    /// The link of a code, within `limit`, which is also that of what is asked: a server that hangs
    /// keeps those who come later waiting, but no longer than that. `ask` returns the rows of links
    /// with these codes, of a statement that begins after it was called.
    ///
    /// Dropped, the link is looked up all the same if it has been asked for.
    pub(super) async fn find<F>(
        self: &Arc<Self>,
        code: &Code,
        limit: Duration,
        ask: impl Fn(Vec<Code>) -> F + Send + 'static,
    ) -> Result<Option<Link>, StoreError>
    where
        F: Future<Output = Result<Vec<Row>, StoreError>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let must_ask = {
            let mut queue = self.lock();
            queue.waiting.push(LookUp { code: code.clone(), answer });
            let must_ask = queue.asking < self.most;
            queue.asking += usize::from(must_ask);
            must_ask
        };
        if must_ask {
            // It ends by itself when nobody waits: what it asks has a limit of time.
            tokio::spawn(Asking(self.clone()).work(ask));
        }
        match timeout(limit, answered).await {
            Ok(answered) => answered.map_err(|_| StoreError::unavailable("a look-up broke off"))?,
            Err(_) => Err(StoreError::unavailable("the server does not answer in time")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that asks until nobody waits. Dropped, it is none any more.
struct Asking(Arc<LookUps>);

impl Asking {
    async fn work<F>(self, ask: impl Fn(Vec<Code>) -> F)
    where
        F: Future<Output = Result<Vec<Row>, StoreError>>,
    {
        while let Some(group) = self.next() {
            let codes = group.iter().map(|look_up| look_up.code.clone()).collect();
            match ask(codes).await {
                Ok(rows) => answer(group, &rows),
                Err(error) => {
                    for LookUp { answer, .. } in group {
                        answer.send(Err(error.clone())).ok();
                    }
                }
            }
        }
        // The last look was the last: whoever came since has a task of their own.
        mem::forget(self);
    }

    /// Those who wait. `None`: nobody does, and this task does not count any more.
    fn next(&self) -> Option<Vec<LookUp>> {
        let mut queue = self.0.lock();
        queue.waiting.retain(|look_up| !look_up.answer.is_closed());
        if queue.waiting.is_empty() {
            queue.asking -= 1;
            return None;
        }
        // Those who came last go last.
        let first = queue.waiting.len().min(GROUP);
        let later = queue.waiting.split_off(first);
        Some(mem::replace(&mut queue.waiting, later))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.lock().asking -= 1;
    }
}

/// Tells everyone what was found for them.
fn answer(group: Vec<LookUp>, rows: &[Row]) {
    let found: Result<HashMap<&str, &Row>, _> =
        rows.iter().map(|row| Ok((row.try_get::<_, &str>(0)?, row))).collect();
    let found = found.map_err(|error: tokio_postgres::Error| StoreError::from(error));
    for LookUp { code, answer } in group {
        let link = match &found {
            Ok(found) => found.get(code.as_str()).map(|row| link_of(row)).transpose(),
            Err(error) => Err(error.clone()),
        };
        // Whoever asked may have gone.
        answer.send(link).ok();
    }
}
