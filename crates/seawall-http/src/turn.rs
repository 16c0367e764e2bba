//! The turn of a connection: one poll of its task, from an event to the next wait.
//!
//! Within a turn the clock is read once, and only so much is read from sockets, so that who has
//! much to move lets the others in between. Only tasks of connections take turns; no other task
//! may ask here for the time.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::worker::Worker;

/// Bytes that may be read in one turn, give or take the last read: a few windows.
const MOST: usize = 256 * 1024;

/// What the smallest read counts as.
const LEAST: usize = 2 * 1024;

/// The turn that a worker's connections take one after the other.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    now: Cell<Option<Instant>>,
    spent: Cell<usize>,
}

impl Turn {
    fn begin(&self) {
        self.now.set(None);
        self.spent.set(0);
    }

    /// The time. A turn takes microseconds, and nothing is counted or limited more finely.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now.get().unwrap_or_else(|| {
            let now = Instant::now();
            self.now.set(Some(now));
            now
        })
    }

    /// Counts what a read gave.
    #[inline]
    pub(crate) fn spend(&self, read: usize) {
        self.spent.set(self.spent.get() + read.max(LEAST));
    }

    /// Ready while the connection may go on reading. Otherwise its task is woken when all others
    /// that are ready have had their turns.
    #[inline]
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.spent.get() < MOST {
            return Poll::Ready(());
        }
        // Its first poll has the task woken, and is never ready.
        pin!(tokio::task::yield_now()).poll(cx)
    }
}

pin_project! {
    /// A connection's task, which takes turns.
    pub(crate) struct TakesTurns<F> {
        worker: Rc<Worker>,
        #[pin]
        task: F,
    }
}

impl<F> TakesTurns<F> {
    pub(crate) fn new(worker: Rc<Worker>, task: F) -> TakesTurns<F> {
        TakesTurns { worker, task }
    }
}

impl<F: Future> Future for TakesTurns<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.worker.turn.begin();
        this.task.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_turn_ends_when_much_was_read() {
        let turn = Turn::default();
        let reads = |n: usize, bytes: usize| {
            turn.begin();
            (0..n).for_each(|_| turn.spend(bytes));
        };
        for (n, bytes, goes_on) in
            [(3, 64 * 1024, true), (4, 64 * 1024, false), (127, 1, true), (128, 1, false)]
        {
            reads(n, bytes);
            let ready = poll_fn(|cx| Poll::Ready(turn.poll(cx).is_ready())).await;
            assert_eq!(ready, goes_on, "{n} reads of {bytes} bytes");
        }
        // The task was woken, or this would never end.
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            if polls > 1 {
                turn.begin();
            }
            turn.poll(cx)
        })
        .await;
        assert_eq!(polls, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn time_stands_still_in_a_turn() {
        let turn = Turn::default();
        let start = turn.now();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(turn.now(), start);
        turn.begin();
        assert_eq!((turn.now() - start).as_secs(), 1);
    }
}
