//! When an upstream is given time to recover: the circuit breaker.
//!
//! ```text
//!          too many failed or slow            the wait is over
//!  closed ─────────────────────────▶ open ─────────────────────▶ half open
//!    ▲                                ▲ ▲    a probe failed, or      │
//!    │                                │ └──── had no answer ◀────────┤
//!    │      100 % went well           │ too many failed              │ probes went well
//!    └────────────────────────── recovering 1 % → 5 % → 25 % → 100 % ◀┘
//! ```
//!
//! The states are those of Nygard (*Release It!*, 2007). Two things are done differently from the
//! breakers that followed. A probe holds a ticket, and has a deadline, so that the breaker cannot
//! stay half open because an outcome was lost, which is the commonest complaint about
//! resilience4j's. And what comes back is a growing share of the requests instead of all at once:
//! a server with cold caches would fall over again.
//!
//! The control task calls [`Breaker::tick`] with what the workers counted; the workers see only
//! the [`Gate`]. The breaker never counts a request itself.

mod gate;

use std::time::Duration;

pub use gate::{Gate, Pass, Permit, Rule, Shut};

use crate::jitter;
use crate::proportion;
use crate::random::Random;
use crate::window::{Counts, Window};

/// How a breaker behaves. Shares are in thousandths; one above 1000 is never reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The window that is looked at; default 10 s.
    pub window: Duration,
    /// Fewest requests in it that say anything; default 20.
    pub minimum: u64,
    /// The share of failures from which it opens; default 500.
    pub failures: u32,
    /// The share of slow answers from which it opens; default 1000. Which answers are slow is for
    /// who counts them.
    pub slow: u32,
    /// The number of failures in the window from which it opens, however many requests there
    /// were; default none.
    pub count: Option<u64>,
    /// How long it stays open at first; default 5 s. Twice as long with each time it opens again
    /// before it was closed, and up to 20 % longer at random.
    pub open: Duration,
    /// The longest, before the random part; default 60 s.
    pub longest: Duration,
    /// Requests let through while it is half open, 1 to 1000; default 5. It recovers as soon as
    /// the share of failures among them cannot reach `failures` any more.
    pub probes: u32,
    /// When a probe without an answer counts as failed; default 10 s.
    pub probe_timeout: Duration,
    /// How long each of [`STEPS`] takes; default 2 s.
    pub step: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            window: Duration::from_secs(10),
            minimum: 20,
            failures: 500,
            slow: 1000,
            count: None,
            open: Duration::from_secs(5),
            longest: Duration::from_secs(60),
            probes: 5,
            probe_timeout: Duration::from_secs(10),
            step: Duration::from_secs(2),
        }
    }
}

/// The shares of the requests that are let through while it recovers, in thousandths.
pub const STEPS: [u32; 4] = [10, 50, 250, 1000];

/// Where a breaker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything is let through.
    Closed,
    /// Nothing is let through.
    Open {
        /// Until then.
        until: Duration,
    },
    /// Probes are let through.
    HalfOpen,
    /// A share is let through.
    Recovering {
        /// Which of [`STEPS`].
        step: usize,
    },
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it was.
    pub from: State,
    /// Where it is.
    pub to: State,
    /// Why, in a few words for the log.
    pub reason: String,
}

/// The breaker of one upstream.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    gate: Gate,
    epoch: u32,
    now: Duration,
    window: Window,
    /// How often it opened since it was last closed.
    opened: u32,
    /// While recovering: what was counted since the last step with enough to judge by.
    evidence: Counts,
    /// While recovering: when the step ends.
    step_until: Duration,
    /// While half open: since when probes are out without a new outcome, and how many outcomes
    /// there were then.
    waiting: Option<(Duration, u32)>,
}

const SLOTS: usize = 100;
/// How far the open state is lengthened at random, in thousandths.
const OPEN_JITTER: u32 = 200;
/// How sure a verdict on fewer than `minimum` requests must be during a recovery: 2.5 % would come
/// to it by chance.
const SURE: f64 = 1.96;

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: Settings) -> Breaker {
        Breaker {
            settings,
            state: State::Closed,
            gate: Gate::new(),
            epoch: 0,
            now: Duration::ZERO,
            window: Window::new(settings.window, SLOTS),
            opened: 0,
            evidence: Counts::default(),
            step_until: Duration::ZERO,
            waiting: None,
        }
    }

    /// Takes over other settings, in whatever state it is. The window begins anew if its length
    /// changed.
    pub fn configure(&mut self, settings: Settings) {
        if settings.window != self.settings.window {
            self.window = Window::new(settings.window, SLOTS);
        }
        self.settings = settings;
    }

    /// What the workers ask.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Probes that are out now; 0 unless it is half open.
    pub fn probing(&self) -> u32 {
        if self.state == State::HalfOpen { self.gate.tally().out } else { 0 }
    }

    /// Looks at what was counted since the last tick, changes the state by one at most, and tells
    /// the [`Gate`]. To be called every 100 ms or so, also when nothing was counted. Only outcomes
    /// of the gate's epoch may be counted; see [`Pass::Free`].
    pub fn tick(&mut self, now: Duration, counts: Counts, random: &mut Random) -> Option<Change> {
        self.now = self.now.max(now);
        let (to, reason) = match self.state {
            State::Closed => self.closed(counts, random),
            State::Open { until } => self.open(until),
            State::HalfOpen => self.half_open(random),
            State::Recovering { step } => self.recovering(step, counts, random),
        }?;
        let from = std::mem::replace(&mut self.state, to);
        self.enter(from, to);
        Some(Change { from, to, reason })
    }

    fn closed(&mut self, counts: Counts, random: &mut Random) -> Option<(State, String)> {
        self.window.add(self.now, counts);
        let sums = self.window.sums(self.now);
        let enough = sums.total >= self.settings.minimum;
        let reason =
            self.complaint(sums, |hits, total, limit| enough && reaches(hits, total, limit));
        let counted = || {
            let count = self.settings.count.filter(|&count| sums.failed >= count.max(1))?;
            Some(format!("{} requests failed, {count} are too many", sums.failed))
        };
        let reason = reason.or_else(counted)?;
        Some((self.wait(random), reason))
    }

    fn open(&mut self, until: Duration) -> Option<(State, String)> {
        (self.now >= until).then(|| (State::HalfOpen, "the wait is over".to_owned()))
    }

    fn half_open(&mut self, random: &mut Random) -> Option<(State, String)> {
        let tally = self.gate.tally();
        let settled = tally.ok + tally.failed;
        let issued = settled + tally.left + tally.out;
        let share = u64::from(self.settings.failures) * u64::from(issued);
        let fatal = u32::try_from(share.div_ceil(1000)).unwrap_or(issued).clamp(1, issued.max(1));
        if tally.failed >= fatal {
            let reason = format!("{} of {settled} probes failed", tally.failed);
            return Some((self.wait(random), reason));
        }
        if tally.ok + fatal > issued {
            let reason = format!("{} of {settled} probes went well", tally.ok);
            return Some((State::Recovering { step: 0 }, reason));
        }
        if tally.out == 0 {
            // Nobody asked, or all who did left again: the next request gets a permit.
            self.waiting = None;
            return None;
        }
        let waiting = self.waiting.filter(|&(_, then)| then == settled);
        let &mut (since, _) = self.waiting.insert(waiting.unwrap_or((self.now, settled)));
        (self.now - since >= self.settings.probe_timeout).then(|| {
            let reason = format!("a probe had no answer for {:?}", self.settings.probe_timeout);
            (self.wait(random), reason)
        })
    }

    fn recovering(
        &mut self,
        step: usize,
        counts: Counts,
        random: &mut Random,
    ) -> Option<(State, String)> {
        self.window.add(self.now, counts);
        self.evidence = self.evidence.plus(counts);
        // A hundredth of the requests may never be `minimum`: then as few as the probes will do,
        // if they leave little doubt.
        let Settings { minimum, probes, .. } = self.settings;
        let complaint = self.complaint(self.evidence, |hits, total, limit| {
            let doubtless = || proportion::bounds(hits, total, SURE).0 * 1000.0 >= f64::from(limit);
            reaches(hits, total, limit)
                && (total >= minimum || total >= u64::from(probes) && doubtless())
        });
        if let Some(complaint) = complaint {
            let reason = format!("{complaint} at {} of the requests", percent(STEPS[step]));
            return Some((self.wait(random), reason));
        }
        if self.now < self.step_until {
            return None;
        }
        let reason = format!("{} of the requests went well", percent(STEPS[step]));
        let to = match step + 1 {
            STEPS_LEN => State::Closed,
            step => State::Recovering { step },
        };
        Some((to, reason))
    }

    /// Open, for longer with each time.
    fn wait(&mut self, random: &mut Random) -> State {
        let doubled = 1u32.checked_shl(self.opened).unwrap_or(u32::MAX);
        let wait = self.settings.open.saturating_mul(doubled).min(self.settings.longest);
        let wait = wait.max(self.settings.open);
        self.opened = self.opened.saturating_add(1);
        State::Open { until: self.now.saturating_add(jitter::longer(random, wait, OPEN_JITTER)) }
    }

    fn enter(&mut self, from: State, to: State) {
        let rule = match to {
            State::Closed => {
                self.opened = 0;
                Rule::All
            }
            State::Open { until } => {
                self.epoch = gate::next(self.epoch);
                self.window.clear();
                Rule::Nobody { until }
            }
            State::HalfOpen => {
                self.epoch = gate::next(self.epoch);
                self.gate.issue(self.epoch, self.settings.probes);
                self.waiting = None;
                Rule::Probes
            }
            State::Recovering { step } => {
                self.step_until = self.now.saturating_add(self.settings.step);
                let judged = self.evidence.total >= u64::from(self.settings.probes);
                if from == State::HalfOpen || judged {
                    self.evidence = Counts::default();
                }
                Rule::Share { permille: STEPS[step] }
            }
        };
        self.gate.publish(self.epoch, rule);
    }

    /// What `counts` say against the upstream, if they are `enough` for one of the limits.
    fn complaint(&self, counts: Counts, enough: impl Fn(u64, u64, u32) -> bool) -> Option<String> {
        let Counts { total, failed, slow } = counts;
        if enough(failed, total, self.settings.failures) {
            return Some(format!("{failed} of {total} requests failed"));
        }
        enough(slow, total, self.settings.slow)
            .then(|| format!("{slow} of {total} answers were slow"))
    }
}

const STEPS_LEN: usize = STEPS.len();

fn reaches(hits: u64, total: u64, permille: u32) -> bool {
    hits > 0 && u128::from(hits) * 1000 >= u128::from(total) * u128::from(permille)
}

fn percent(permille: u32) -> String {
    format!("{} %", permille / 10)
}
