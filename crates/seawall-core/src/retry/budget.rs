//! How many attempts after the first there may be: one account for retries, hedges and failovers.
//!
//! A share of the requests, and a few per second besides, so that a route with little traffic may
//! retry too. When everything fails the upstream sees 1.1 times the requests instead of three
//! times as many (*Site Reliability Engineering*, 2016, chapter 21), and an overload does not keep
//! itself alive, as it does by retries in most of the outages that Bronson et al. collected
//! (*Metastable Failures in Distributed Systems*, HotOS 2021).

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::window::{Counts, Window};

/// The account of a route, shared by all workers. Amounts are thousandths of an attempt.
///
/// What is saved can be spent for [`TTL`] after it was earned, as in Finagle's `RetryBudget`: an
/// hour of quiet does not pay for a storm. So the balance is at most what the last ten seconds
/// earned: `floor · 10 s + ratio · requests of the last 10 s`. It begins with `floor · 10 s`.
/// Whatever happens, `withdrawn ≤ ratio · deposits + floor · time + floor · 10 s`.
#[derive(Debug)]
pub struct Budget {
    balance: AtomicU64,
    deposits: AtomicU64,
    ratio: AtomicU32,
    floor: AtomicU32,
    /// Of the control task alone; requests do not touch it.
    ledger: Mutex<Ledger>,
}

/// What the control task remembers between ticks.
#[derive(Debug)]
struct Ledger {
    now: Duration,
    /// Of the floor's income, what was too little to pay in, in thousandths of 10^-9.
    rest: u128,
    deposits: u64,
    window: Window,
}

/// How long what is earned can be spent.
pub const TTL: Duration = Duration::from_secs(10);

/// What one attempt costs.
const ATTEMPT: u64 = 1000;
/// Deposits of a worker after which it brings them to the shared account.
const FLUSH: u32 = 16;
const NANOS: u128 = 1_000_000_000;

impl Budget {
    /// An account that opens at `now`. `ratio`: attempts beyond the first for each 1000 requests
    /// (default 100). `floor`: thousandths of an attempt per second besides (default 1000).
    pub fn new(now: Duration, ratio: u32, floor: u32) -> Budget {
        let ledger = Ledger { now, rest: 0, deposits: 0, window: Window::new(TTL, 100) };
        Budget {
            balance: AtomicU64::new(reserve(floor)),
            deposits: AtomicU64::new(0),
            ratio: AtomicU32::new(ratio),
            floor: AtomicU32::new(floor),
            ledger: Mutex::new(ledger),
        }
    }

    /// Changes what is earned from now on. What the balance exceeds its new limit by is lost at
    /// the next tick.
    pub fn configure(&self, ratio: u32, floor: u32) {
        self.ratio.store(ratio, Relaxed);
        self.floor.store(floor, Relaxed);
    }

    /// A worker's access to it.
    pub fn share(self: &Arc<Budget>) -> Share {
        Share { budget: self.clone(), pending: Cell::new(0) }
    }

    /// What can be spent, in thousandths, without what workers have not brought in yet.
    pub fn balance(&self) -> u64 {
        self.balance.load(Relaxed)
    }

    /// Pays in the floor and takes away what is older than [`TTL`]. To be called by one task,
    /// every 100 ms or so.
    pub fn tick(&self, now: Duration) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let deposits = self.deposits.load(Relaxed);
        let new = deposits.wrapping_sub(ledger.deposits);
        ledger.deposits = deposits;
        let (ratio, floor) = (self.ratio.load(Relaxed), self.floor.load(Relaxed));
        let passed = now.saturating_sub(ledger.now);
        ledger.now = ledger.now.max(now);
        let now = ledger.now;
        ledger.window.add(now, Counts { total: new, ..Counts::default() });
        let earned = ledger.window.sums(now).total.saturating_mul(u64::from(ratio));
        let limit = reserve(floor).saturating_add(earned);

        let income = passed.as_nanos() * u128::from(floor) + ledger.rest;
        ledger.rest = income % NANOS;
        let income = u64::try_from(income / NANOS).unwrap_or(u64::MAX);
        self.change(|balance| Some(balance.saturating_add(income).min(limit)));
    }

    fn deposit(&self, requests: u32) {
        // In this order: a tick in between allows for what is about to come, rather than cut it.
        self.deposits.fetch_add(u64::from(requests), Relaxed);
        let amount = u64::from(requests) * u64::from(self.ratio.load(Relaxed));
        self.change(|balance| Some(balance.saturating_add(amount)));
    }

    fn change(&self, to: impl Fn(u64) -> Option<u64>) -> bool {
        self.balance.fetch_update(Relaxed, Relaxed, to).is_ok()
    }
}

/// What a floor earns within [`TTL`].
fn reserve(floor: u32) -> u64 {
    u64::from(floor) * TTL.as_secs()
}

/// One worker's access to a [`Budget`]. Deposits are collected and brought to the shared account
/// sixteen at a time, before each withdrawal, and when it is dropped, so that a request usually
/// writes nothing that another core reads.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    pending: Cell<u32>,
}

impl Share {
    /// A request has come, whatever becomes of it; not for its further attempts.
    #[inline]
    pub fn deposit(&self) {
        let pending = self.pending.get() + 1;
        self.pending.set(pending);
        if pending >= FLUSH {
            self.flush();
        }
    }

    /// Pays for one attempt beyond the first, if there is enough.
    pub fn withdraw(&self) -> bool {
        self.flush();
        self.budget.change(|balance| balance.checked_sub(ATTEMPT))
    }

    /// Whether there is enough for one now; it may be gone when it is asked for.
    pub fn is_affordable(&self) -> bool {
        self.budget.balance() >= ATTEMPT
    }

    /// Brings in what was collected.
    pub fn flush(&self) {
        let pending = self.pending.take();
        if pending > 0 {
            self.budget.deposit(pending);
        }
    }

    /// The account behind it.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.flush();
    }
}
