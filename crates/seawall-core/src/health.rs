//! What the active checks of a server say, and when the next one is due.
//!
//! A server changes between up and down only after several checks in a row said so, as HAProxy's
//! `rise` and `fall` have it; while they do, or while requests to the server fail, checks come
//! faster. Called by the task that checks; it asks nothing itself.

use std::time::Duration;

use crate::jitter;
use crate::random::Random;

/// How a server is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Time between two checks, ±10 %; default 2 s. Also while the server is down.
    pub every: Duration,
    /// The same while something is about to change: after a check that disagrees with the state,
    /// until the state is decided, and while the server is suspected; default [`fast`]`(every)`.
    pub fast: Duration,
    /// Good checks in a row after which a server that is down is up, at least 1; default 2.
    pub rise: u32,
    /// Bad checks in a row after which a server that is up is down, at least 1; default 3.
    pub fall: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        let every = Duration::from_secs(2);
        Settings { every, fast: fast(every), rise: 2, fall: 3 }
    }
}

/// A fifth of `every`, at least 100 ms, at most `every`.
pub fn fast(every: Duration) -> Duration {
    (every / 5).max(Duration::from_millis(100)).min(every)
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The server is up again, after so many good checks in a row.
    Up(u32),
    /// The server is down, after so many bad checks in a row.
    Down(u32),
}

/// What the checks of one server have said. A new server is up until they say otherwise.
#[derive(Debug, Clone)]
pub struct Health {
    settings: Settings,
    up: bool,
    /// Checks in a row that disagree with `up`.
    against: u32,
    /// The state is not confirmed by any check yet.
    new: bool,
    /// No delay was given yet.
    first: bool,
    /// Good checks that are still due before a suspicion is over.
    suspicion: u32,
}

const JITTER: u32 = 100;

impl Health {
    /// A server that was not checked yet.
    pub fn new(settings: Settings) -> Health {
        Health { settings, up: true, against: 0, new: true, first: true, suspicion: 0 }
    }

    /// Takes over other settings; the state stays.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Takes over another check. The state stays until that check has decided; its counts begin
    /// anew.
    pub fn restart(&mut self, settings: Settings) {
        *self = Health { up: self.up, ..Health::new(settings) };
    }

    /// Whether the server may be used.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Whether any check has been decisive yet: before that, `is_up` is only a hope.
    pub fn is_decided(&self) -> bool {
        !self.new
    }

    /// Counts a check.
    pub fn checked(&mut self, ok: bool) -> Option<Verdict> {
        self.suspicion = if ok { self.suspicion.saturating_sub(1) } else { self.suspicion };
        if ok == self.up {
            self.against = 0;
            self.new = false;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = if self.up { self.settings.fall } else { self.settings.rise };
        if self.against < needed.max(1) {
            return None;
        }
        let after = std::mem::take(&mut self.against);
        self.up = ok;
        self.new = false;
        self.suspicion = 0;
        Some(if ok { Verdict::Up(after) } else { Verdict::Down(after) })
    }

    /// Requests to the server fail: checks come fast until `rise` of them went well, or the server
    /// is down. Says whether that is news, so that a check that is due later can be moved up to
    /// [`Health::next_delay`]. Without effect on a server that is down.
    pub fn suspect(&mut self) -> bool {
        let slow = !self.is_fast();
        if self.up {
            self.suspicion = self.settings.rise.max(1);
        }
        slow && self.up
    }

    /// The time until the next check, from the end of the last. The first is anywhere between none
    /// and the fast interval, so that the checks of many servers do not begin at once.
    pub fn next_delay(&mut self, random: &mut Random) -> Duration {
        let delay = if self.is_fast() { self.settings.fast } else { self.settings.every };
        if std::mem::take(&mut self.first) {
            return jitter::between(random, Duration::ZERO, delay);
        }
        jitter::around(random, delay, JITTER)
    }

    fn is_fast(&self) -> bool {
        self.new || self.against > 0 || self.suspicion > 0
    }
}
