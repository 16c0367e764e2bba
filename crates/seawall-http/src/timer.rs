//! One timer for each connection, which costs next to nothing while deadlines only move back.
//!
//! A connection has a deadline at any time, and moves it several times a request. The timer
//! behind it is set anew only when the deadline comes nearer than what it is set to; when it
//! fires too early it is set to the deadline of that moment.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    set_to: Instant,
    due: Instant,
    /// The task is registered with the timer as it is set now.
    registered: bool,
}

impl Timer {
    pub(crate) fn new(due: Instant) -> Timer {
        Timer { sleep: Box::pin(sleep_until(due)), set_to: due, due, registered: false }
    }

    /// Moves the deadline.
    #[inline]
    pub(crate) fn set(&mut self, due: Instant) {
        self.due = due;
        if due < self.set_to {
            self.rearm();
        }
    }

    fn rearm(&mut self) {
        self.set_to = self.due;
        self.sleep.as_mut().reset(self.due);
        self.registered = false;
    }

    /// Ready once the deadline has passed. Always poll it from the same task.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.registered && !self.sleep.is_elapsed() {
                return Poll::Pending;
            }
            // A task that has used up its turn is put off without being registered.
            let has_turn = coop::has_budget_remaining();
            match self.sleep.as_mut().poll(cx) {
                Poll::Pending => {
                    self.registered = has_turn;
                    return Poll::Pending;
                }
                Poll::Ready(()) if self.set_to >= self.due => return Poll::Ready(()),
                Poll::Ready(()) => self.rearm(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_fires_though_the_task_was_out_of_budget() {
        let start = Instant::now();
        let mut timer = Timer::new(start + Duration::from_secs(60));
        poll_fn(|cx| {
            while coop::has_budget_remaining() {
                assert!(coop::poll_proceed(cx).map(|spent| spent.made_progress()).is_ready());
            }
            assert!(timer.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn it_fires_at_the_last_deadline_set() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut timer = Timer::new(after(75));
        for (deadlines, expect) in
            [(vec![60], 60), (vec![90, 100], 100), (vec![200, 150, 160], 160)]
        {
            for deadline in deadlines {
                timer.set(after(deadline));
                let pending = poll_fn(|cx| Poll::Ready(timer.poll(cx).is_pending())).await;
                assert!(pending);
            }
            poll_fn(|cx| timer.poll(cx)).await;
            assert_eq!(start.elapsed().as_secs(), expect);
        }
    }
}
