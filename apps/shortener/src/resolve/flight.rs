//! Single-flight: of all who want the same thing at the same moment one fetches it, and the others
//! wait for what it finds.
//!
//! Nothing here is cached: a flight is over when it has landed, and who comes after begins another.
//! Called by `resolve.rs`.

use std::collections::HashMap;
use std::future::Future;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;
use tokio::sync::OnceCell;

/// What is being fetched, by its name. Bounded by the requests that wait.
pub(super) struct Flights<V> {
    shards: Box<[Shard<V>]>,
    hasher: RandomState,
}

type Shard<V> = Mutex<HashMap<Box<str>, Arc<OnceCell<V>>, RandomState>>;

/// Shards, so that threads seldom wait for each other.
const SHARDS: u64 = 64;

impl<V: Clone> Flights<V> {
    pub(super) fn new() -> Flights<V> {
        Flights {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
        }
    }

    /// What `fetch` finds, or what somebody finds who began before and is not back yet.
    ///
    /// Dropped while it fetches, another of those who wait fetches in its place; so `fetch` is
    /// given to everyone and run by one.
    pub(super) async fn join<F>(&self, name: &str, fetch: impl FnOnce() -> F) -> V
    where
        F: Future<Output = V>,
    {
        let seat = self.board(name);
        seat.cell().get_or_init(fetch).await.clone()
    }

    /// Who comes from now on does not join a flight that is on its way: what it brings may be from
    /// before a change.
    pub(super) fn forget(&self, name: &str) {
        lock(self.shard(name)).remove(name);
    }

    fn board<'a>(&'a self, name: &'a str) -> Seat<'a, V> {
        let shard = self.shard(name);
        let mut flights = lock(shard);
        let cell = match flights.get(name) {
            Some(there) => there.clone(),
            None => {
                let cell = Arc::default();
                flights.insert(name.into(), Arc::clone(&cell));
                cell
            }
        };
        drop(flights);
        Seat { shard, name, cell: Some(cell) }
    }

    fn shard(&self, name: &str) -> &Shard<V> {
        // The remainder is less than the number of shards.
        &self.shards[(self.hasher.hash_one(name) % SHARDS) as usize]
    }
}

/// A place in a flight. The first to leave after it landed takes it off the list, and so does the
/// last who leaves before.
struct Seat<'a, V> {
    shard: &'a Shard<V>,
    name: &'a str,
    /// Absent once it was left.
    cell: Option<Arc<OnceCell<V>>>,
}

impl<V> Seat<'_, V> {
    fn cell(&self) -> &OnceCell<V> {
        self.cell.as_ref().expect("it is left only when it is dropped")
    }
}

impl<V> Drop for Seat<'_, V> {
    fn drop(&mut self) {
        let Some(cell) = self.cell.take() else { return };
        let mut flights = lock(self.shard);
        // The list has one, and this seat.
        let is_last = Arc::strong_count(&cell) == 2;
        if (cell.initialized() || is_last)
            && flights.get(self.name).is_some_and(|there| Arc::ptr_eq(there, &cell))
        {
            flights.remove(self.name);
        }
        // While the list is locked: of two who leave at once, the second is to see that it is last.
        drop(cell);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::sync::{Notify, Semaphore};

    use super::*;

    /// A fetch that is counted and lands when it is let.
    #[derive(Default)]
    struct Fetches {
        begun: AtomicUsize,
        is_on: Notify,
        landing: Option<Semaphore>,
    }

    impl Fetches {
        fn held() -> Arc<Fetches> {
            Arc::new(Fetches { landing: Some(Semaphore::new(0)), ..Fetches::default() })
        }

        async fn fetch(&self) -> usize {
            let number = self.begun.fetch_add(1, Relaxed);
            self.is_on.notify_one();
            if let Some(landing) = &self.landing {
                landing.acquire().await.expect("never closed").forget();
            }
            number
        }

        fn land(&self) {
            self.landing.as_ref().expect("it is held").add_permits(1);
        }
    }

    fn spawn(
        flights: &Arc<Flights<usize>>,
        fetches: &Arc<Fetches>,
    ) -> tokio::task::JoinHandle<usize> {
        let (flights, fetches) = (flights.clone(), fetches.clone());
        tokio::spawn(async move { flights.join("a", || fetches.fetch()).await })
    }

    #[tokio::test]
    async fn one_fetches_for_all() {
        let (flights, fetches) = (Arc::new(Flights::new()), Fetches::held());
        let all: Vec<_> = (0..1000).map(|_| spawn(&flights, &fetches)).collect();
        fetches.is_on.notified().await;
        while Arc::strong_count(&lock(flights.shard("a"))["a"]) < 1001 {
            tokio::task::yield_now().await;
        }
        fetches.land();
        for one in all {
            assert_eq!(one.await.expect("no panic"), 0);
        }
        assert!(lock(flights.shard("a")).is_empty(), "nothing stays behind");
    }

    #[tokio::test]
    async fn another_fetches_when_the_first_leaves() {
        let (flights, fetches) = (Arc::new(Flights::new()), Fetches::held());
        let first = spawn(&flights, &fetches);
        fetches.is_on.notified().await;
        let second = spawn(&flights, &fetches);
        first.abort();
        fetches.is_on.notified().await;
        fetches.land();
        assert_eq!(second.await.expect("no panic"), 1);
        assert!(lock(flights.shard("a")).is_empty());
    }

    #[tokio::test]
    async fn who_leaves_alone_leaves_nothing() {
        let (flights, fetches) = (Arc::new(Flights::new()), Fetches::held());
        let only = spawn(&flights, &fetches);
        fetches.is_on.notified().await;
        only.abort();
        assert!(only.await.expect_err("it was aborted").is_cancelled());
        assert!(lock(flights.shard("a")).is_empty());
    }

    #[tokio::test]
    async fn nobody_joins_a_flight_that_was_forgotten() {
        let (flights, fetches) = (Arc::new(Flights::new()), Fetches::held());
        let before = spawn(&flights, &fetches);
        fetches.is_on.notified().await;
        flights.forget("a");
        let after = spawn(&flights, &fetches);
        fetches.is_on.notified().await;
        fetches.land();
        fetches.land();
        assert_eq!(before.await.expect("no panic"), 0);
        assert_eq!(after.await.expect("no panic"), 1);
        assert!(lock(flights.shard("a")).is_empty());
    }
}
