//! A gate that scripts wait at until the test opens it: the order of things is decided by the
//! test and never by a sleep.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use crate::PATIENCE;

/// Starts closed; once opened it stays open. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: bool,
    waiting: usize,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everyone pass, now and later.
    pub fn open(&self) {
        self.lock().open = true;
        self.inner.changed.notify_all();
    }

    /// Waits until the gate is open.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`].
    pub fn wait(&self) -> io::Result<()> {
        self.wait_unless(|| false)
    }

    /// Waits until at least `count` are waiting at the closed gate, or it is open.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`].
    pub fn wait_for_waiting(&self, count: usize) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        while !state.open && state.waiting < count {
            let left = time_left(deadline, "anyone to wait at a gate")?;
            state = self.wait_on(state, left);
        }
        Ok(())
    }

    /// Waits until the gate is open, and gives up when `stopped` says so.
    pub(crate) fn wait_unless(&self, stopped: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        state.waiting += 1;
        self.inner.changed.notify_all();
        let outcome = loop {
            if state.open {
                break Ok(());
            }
            if stopped() {
                break Err(io::Error::new(
                    io::ErrorKind::Interrupted,
                    "stopped while waiting at a gate",
                ));
            }
            match time_left(deadline, "a gate to open") {
                // The stop is not announced here, so it is looked for now and then.
                Ok(left) => state = self.wait_on(state, left.min(Duration::from_millis(20))),
                Err(error) => break Err(error),
            }
        };
        state.waiting -= 1;
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_on<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        match self.inner.changed.wait_timeout(state, time) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("open", &self.lock().open).finish()
    }
}

/// The time until `deadline`, or the error that says what was waited for.
pub(crate) fn time_left(deadline: Instant, what: &str) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("waited in vain for {what}")));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_gate_holds_until_it_is_opened() {
        let gate = Gate::new();
        let other = gate.clone();
        let waiter = thread::spawn(move || other.wait());
        gate.wait_for_waiting(1).expect("the waiter arrives");
        gate.open();
        waiter.join().expect("no panic").expect("the gate was opened");
        gate.wait().expect("an open gate stays open");
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let error = Gate::new().wait_unless(|| true).expect_err("it was stopped");
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }
}
