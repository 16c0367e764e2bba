//! What the breaker tells the workers, and what probes tell the breaker: two words of memory.
//!
//! A request loads one word; only probes write, and only while the breaker is half open. Nothing
//! here locks or waits. Called by the workers for each request, and by [`Breaker`] at each tick.
//!
//! [`Breaker`]: super::Breaker

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::random::Random;

/// The gate of an upstream, shared by all who send requests there. Clones are the same gate.
// Each word is complete in itself and carries the epoch it belongs to, so that relaxed order is
// enough: a worker that sees one word of an epoch and the other of another takes no permit.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Words>);

#[derive(Debug)]
struct Words {
    rule: AtomicU64,
    permits: AtomicU64,
}

/// Whom the gate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Everybody.
    All,
    /// Nobody before `until`, on the clock that [`Breaker::tick`](super::Breaker::tick) is told
    /// (kept to the millisecond, rounded up).
    Nobody {
        /// The earliest time at which the upstream is probed.
        until: Duration,
    },
    /// Those who get a [`Permit`].
    Probes,
    /// A random share of all, in thousandths.
    Share {
        /// 1 to 1000.
        permille: u32,
    },
}

/// The right to send a request.
#[derive(Debug)]
pub enum Pass {
    /// Like everybody. Its outcome is counted if the epoch is still that of [`Gate::epoch`] when
    /// it is known: an answer to a request from before the breaker opened says nothing about a
    /// recovery.
    Free {
        /// The epoch of the gate when it was passed.
        epoch: u32,
    },
    /// As a probe.
    Probe(Permit),
}

/// The gate is shut for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shut {
    /// When it is worth to ask again, if that is known.
    pub until: Option<Duration>,
}

impl Gate {
    pub(super) fn new() -> Gate {
        let rule = AtomicU64::new(pack_rule(0, Rule::All));
        let permits = AtomicU64::new(Tally::default().pack());
        Gate(Arc::new(Words { rule, permits }))
    }

    /// Asks for a request. One load while the breaker is closed.
    #[inline]
    pub fn enter(&self, random: &mut Random) -> Result<Pass, Shut> {
        let (epoch, rule) = self.read();
        match rule {
            Rule::All => Ok(Pass::Free { epoch }),
            Rule::Nobody { until } => Err(Shut { until: Some(until) }),
            Rule::Probes => self.take(epoch).map(Pass::Probe).ok_or(Shut { until: None }),
            Rule::Share { permille } if random.below(1000) < u64::from(permille) => {
                Ok(Pass::Free { epoch })
            }
            Rule::Share { .. } => Err(Shut { until: None }),
        }
    }

    /// Whom it lets through now.
    pub fn rule(&self) -> Rule {
        self.read().1
    }

    /// Goes up whenever the breaker opens or begins to probe (and comes back to 0 after 2^24 - 1).
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.read().0
    }

    /// A permit of that epoch, if one is left.
    pub fn take(&self, epoch: u32) -> Option<Permit> {
        let taken = self.change(epoch, |tally| {
            tally.left = tally.left.checked_sub(1)?;
            tally.out += 1;
            Some(())
        });
        taken.map(|()| Permit { gate: self.clone(), epoch, settled: false })
    }

    pub(super) fn publish(&self, epoch: u32, rule: Rule) {
        self.0.rule.store(pack_rule(epoch, rule), Relaxed);
    }

    /// Issues permits of a new epoch; those of older ones are void.
    pub(super) fn issue(&self, epoch: u32, permits: u32) {
        let tally = Tally { epoch, left: permits.clamp(1, MOST_PERMITS), ..Tally::default() };
        self.0.permits.store(tally.pack(), Relaxed);
    }

    pub(super) fn tally(&self) -> Tally {
        Tally::unpack(self.0.permits.load(Relaxed))
    }

    fn read(&self) -> (u32, Rule) {
        unpack_rule(self.0.rule.load(Relaxed))
    }

    /// Changes the tally of `epoch`; `None` when there is another by now, or `by` says so.
    fn change(&self, epoch: u32, by: impl Fn(&mut Tally) -> Option<()>) -> Option<()> {
        let changed = |word| {
            let mut tally = Tally::unpack(word);
            (tally.epoch == epoch).then_some(())?;
            by(&mut tally)?;
            Some(tally.pack())
        };
        self.0.permits.fetch_update(Relaxed, Relaxed, changed).ok().map(|_| ())
    }
}

/// The right to be a probe, and the duty to say how it went. Dropped without a word it is given
/// back for another request: nothing was learned.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back"]
pub struct Permit {
    gate: Gate,
    epoch: u32,
    settled: bool,
}

impl Permit {
    /// Says how the probe went; an answer that was too slow did not go well. Ignored when the
    /// breaker has moved on in the meantime.
    pub fn settle(mut self, ok: bool) {
        self.settled = true;
        // An older epoch is none of today's business, and says so by `None`.
        let _ = self.gate.change(self.epoch, |tally| {
            tally.out = tally.out.checked_sub(1)?;
            *(if ok { &mut tally.ok } else { &mut tally.failed }) += 1;
            Some(())
        });
    }

    /// The epoch it belongs to.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let _ = self.gate.change(self.epoch, |tally| {
            tally.out = tally.out.checked_sub(1)?;
            tally.left += 1;
            Some(())
        });
    }
}

/// What became of the permits of an epoch; the four numbers add up to those issued.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) epoch: u32,
    pub(super) left: u32,
    pub(super) out: u32,
    pub(super) ok: u32,
    pub(super) failed: u32,
}

/// What fits into ten bits, with round numbers.
const MOST_PERMITS: u32 = 1000;

const EPOCH: u64 = 0xff_ffff;
const TEN: u64 = 0x3ff;

impl Tally {
    fn pack(self) -> u64 {
        let ten = |number: u32| u64::from(number) & TEN;
        u64::from(self.epoch) << 40
            | ten(self.left) << 30
            | ten(self.out) << 20
            | ten(self.ok) << 10
            | ten(self.failed)
    }

    fn unpack(word: u64) -> Tally {
        let ten = |shift: u32| (word >> shift & TEN) as u32;
        let epoch = (word >> 40 & EPOCH) as u32;
        Tally { epoch, left: ten(30), out: ten(20), ok: ten(10), failed: ten(0) }
    }
}

/// The epoch after `epoch`.
pub(super) fn next(epoch: u32) -> u32 {
    epoch.wrapping_add(1) & EPOCH as u32
}

/// Two bits for the kind, 38 for its number, 24 for the epoch.
fn pack_rule(epoch: u32, rule: Rule) -> u64 {
    let (kind, number) = match rule {
        Rule::All => (0, 0),
        // 2^38 milliseconds are eight years: nobody waits longer.
        Rule::Nobody { until } => (1, until.as_nanos().div_ceil(1_000_000).min(NUMBER)),
        Rule::Probes => (2, 0),
        Rule::Share { permille } => (3, u128::from(permille.min(1000))),
    };
    u64::from(epoch) << 40 | (number as u64) << 2 | kind
}

const NUMBER: u128 = (1 << 38) - 1;

fn unpack_rule(word: u64) -> (u32, Rule) {
    let number = word >> 2 & NUMBER as u64;
    let rule = match word & 3 {
        0 => Rule::All,
        1 => Rule::Nobody { until: Duration::from_millis(number) },
        2 => Rule::Probes,
        _ => Rule::Share { permille: number as u32 },
    };
    ((word >> 40 & EPOCH) as u32, rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Rule; 7] = [
        Rule::All,
        Rule::Nobody { until: Duration::ZERO },
        Rule::Nobody { until: Duration::from_millis(86_400_001) },
        Rule::Nobody { until: Duration::from_millis(NUMBER as u64) },
        Rule::Probes,
        Rule::Share { permille: 1 },
        Rule::Share { permille: 1000 },
    ];

    #[test]
    fn a_rule_and_its_epoch_fit_into_a_word() {
        for rule in RULES {
            for epoch in [0, 1, EPOCH as u32] {
                assert_eq!(unpack_rule(pack_rule(epoch, rule)), (epoch, rule));
            }
        }
        let nobody = |until| pack_rule(3, Rule::Nobody { until });
        assert_eq!(
            nobody(Duration::from_micros(1)),
            nobody(Duration::from_millis(1)),
            "rounded up"
        );
        assert_eq!(nobody(Duration::MAX), nobody(Duration::from_millis(NUMBER as u64)));
        assert_eq!(next(EPOCH as u32), 0);
    }

    #[test]
    fn a_tally_fits_into_a_word() {
        for most in 0..5 {
            let number = |at| if at == most { MOST_PERMITS } else { 0 };
            let epoch = if most == 4 { EPOCH as u32 } else { 5 };
            let (left, out, ok, failed) = (number(0), number(1), number(2), number(3));
            let tally = Tally { epoch, left, out, ok, failed };
            assert_eq!(Tally::unpack(tally.pack()), tally);
        }
    }

    #[test]
    fn permits_are_settled_given_back_or_void() {
        let gate = Gate::new();
        gate.issue(7, 2);
        assert!(gate.take(6).is_none(), "another epoch");
        let (first, second) =
            (gate.take(7).expect("one of two"), gate.take(7).expect("two of two"));
        assert!(gate.take(7).is_none());
        drop(first);
        assert_eq!(gate.tally(), Tally { epoch: 7, left: 1, out: 1, ok: 0, failed: 0 });
        second.settle(true);
        gate.take(7).expect("the one given back").settle(false);
        assert_eq!(gate.tally(), Tally { epoch: 7, left: 0, out: 0, ok: 1, failed: 1 });

        gate.issue(8, 3);
        let (late, later) = (gate.take(8).expect("a permit"), gate.take(8).expect("a permit"));
        gate.issue(9, 1);
        late.settle(false);
        drop(later);
        assert_eq!(gate.tally(), Tally { epoch: 9, left: 1, ..Tally::default() });

        gate.issue(10, 0);
        assert_eq!(gate.tally().left, 1, "without a permit it would stay half open");
        gate.issue(11, u32::MAX);
        assert_eq!(gate.tally().left, MOST_PERMITS);
    }

    /// Threads take, settle and drop permits, in any order the machine comes up with, while new
    /// ones are issued over their heads: none is ever lost or counted twice.
    #[test]
    fn permits_of_many_threads_add_up() {
        const PERMITS: u32 = 8;
        let gate = Gate::new();
        gate.issue(1, PERMITS);
        let last = 2000;
        let workers = (0..4).map(|seed| {
            let gate = gate.clone();
            std::thread::spawn(move || {
                let mut random = Random::seeded(seed);
                let mut held = std::collections::VecDeque::new();
                let mut settled = 0;
                loop {
                    let tally = gate.tally();
                    let sum = tally.left + tally.out + tally.ok + tally.failed;
                    assert_eq!(sum, PERMITS, "{tally:?}");
                    held.extend(gate.take(tally.epoch));
                    let is_over = tally.epoch == last && tally.left + tally.out == 0;
                    if held.len() > random.below(4) as usize || is_over || tally.left == 0 {
                        match (held.pop_front(), random.below(3)) {
                            (Some(permit), 0) => drop(permit),
                            (Some(permit), kind) => {
                                settled += u32::from(permit.epoch() == last);
                                permit.settle(kind == 1);
                            }
                            (None, _) if is_over => return settled,
                            (None, _) => std::thread::yield_now(),
                        }
                    }
                }
            })
        });
        let workers: Vec<_> = workers.collect();
        for epoch in 2..=last {
            gate.issue(epoch, PERMITS);
            std::thread::yield_now();
        }
        let settled: u32 = workers.into_iter().map(|worker| worker.join().expect("it ends")).sum();
        let tally = gate.tally();
        assert_eq!((tally.ok + tally.failed, settled), (PERMITS, PERMITS), "{tally:?}");
    }
}
