//! What may be tried again, and when: the budget and the pauses.
//!
//! Which requests are safe to send again is for the door to know. Called by workers for each
//! request ([`Share::deposit`]) and each attempt after the first; by the control task at each tick.

mod budget;

use std::time::Duration;

pub use budget::{Budget, Share, TTL};

use crate::jitter;
use crate::random::Random;

/// The pause before the retry with this number (0 for the first): uniform between none and
/// `base · 2^attempt`, at most `max`. Of the ways to spread retries, this "full jitter" needs the
/// fewest calls until all contenders are through (Brooker: *Exponential Backoff and Jitter*, AWS
/// Architecture Blog 2015; `tests/backoff.rs` shows it again).
pub fn backoff(attempt: u32, base: Duration, max: Duration, random: &mut Random) -> Duration {
    jitter::between(random, Duration::ZERO, longest(attempt, base, max))
}

fn longest(attempt: u32, base: Duration, max: Duration) -> Duration {
    let doubled = 1u32.checked_shl(attempt).unwrap_or(u32::MAX);
    base.saturating_mul(doubled).min(max)
}

/// What is known when an attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Retries there were before: 0 after the first attempt.
    pub retries: u32,
    /// The longest pause before the first retry; twice as long with each after it.
    pub base: Duration,
    /// The longest pause of all that are not asked for by the server.
    pub max: Duration,
    /// What the server said in `Retry-After` (RFC 9110, section 10.2.3).
    pub retry_after: Option<Duration>,
    /// The longest `Retry-After` that is waited for.
    pub patience: Duration,
    /// Time until the deadline of the whole exchange.
    pub remaining: Duration,
    /// What an attempt typically takes on this route, if that is known.
    pub typical: Option<Duration>,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// Wait so long, then try again.
    Wait(Duration),
    /// Do not.
    GiveUp(GiveUp),
}

/// Why not to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// What remains until the deadline is less than an answer typically takes.
    TooLate,
    /// The server asks for a pause that is longer than `patience`, or ends too late.
    AskedForLonger,
}

/// The pause before the next attempt. A server that asked for one gets it, and up to a tenth more,
/// so that not all it asked come back at once; otherwise [`backoff`], cut to what the deadline
/// leaves.
pub fn pause(failed: &Failed, random: &mut Random) -> Pause {
    let room = match failed.remaining.checked_sub(failed.typical.unwrap_or_default()) {
        Some(room) if !room.is_zero() => room,
        _ => return Pause::GiveUp(GiveUp::TooLate),
    };
    let own = longest(failed.retries, failed.base, failed.max);
    let asked = failed.retry_after.unwrap_or_default();
    if asked > failed.patience || asked >= room && !asked.is_zero() {
        return Pause::GiveUp(GiveUp::AskedForLonger);
    }
    let most = asked.saturating_add(own.max(asked / 10)).min(room);
    Pause::Wait(jitter::between(random, asked, most))
}
