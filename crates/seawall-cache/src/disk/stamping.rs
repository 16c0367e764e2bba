//! Waiting until a purge is on disk.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::held;

/// What [`super::Disk::stamp`] returns: it ends with whether the stamp outlasts this process.
///
/// May be dropped; the stamp is written nevertheless.
#[derive(Debug)]
pub struct Stamping(pub(super) Arc<Ack>);

#[derive(Debug, Default)]
pub(super) struct Ack(Mutex<(Option<bool>, Option<Waker>)>);

impl Ack {
    pub(super) fn settle(&self, kept: bool) {
        let mut state = held(&self.0);
        state.0 = Some(kept);
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Stamping {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let mut state = held(&self.0.0);
        match state.0 {
            Some(kept) => Poll::Ready(kept),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
