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

    /// A server of which another check has said that it is up or down, which holds until this one
    /// has decided.
    pub fn taken_over(settings: Settings, up: bool) -> Health {
        Health { up, ..Health::new(settings) }
    }

    /// Takes over other settings; the state stays.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn run(health: &mut Health, checks: &str) -> Vec<(usize, Verdict)> {
        let verdict = |(at, check): (usize, char)| Some((at, health.checked(check == '+')?));
        checks.chars().enumerate().filter_map(verdict).collect()
    }

    #[test]
    fn rise_and_fall() {
        for (checks, expect) in [
            ("", vec![]),
            ("+++", vec![]),
            ("--", vec![]),
            ("---", vec![(2, Verdict::Down(3))]),
            ("--+--+--+", vec![]),
            ("+---++", vec![(3, Verdict::Down(3)), (5, Verdict::Up(2))]),
            ("----------", vec![(2, Verdict::Down(3))]),
            ("---+-+-+-++", vec![(2, Verdict::Down(3)), (10, Verdict::Up(2))]),
        ] {
            let mut health = Health::new(Settings::default());
            assert!(health.is_up(), "it may be used before the first check");
            assert_eq!(run(&mut health, checks), expect, "{checks}");
            let up = expect.last().is_none_or(|(_, verdict)| matches!(verdict, Verdict::Up(_)));
            assert_eq!(health.is_up(), up, "{checks}");
        }
    }

    #[test]
    fn a_server_that_flaps_every_second_does_not_change_with_it() {
        // Up and down for a second each, looked at whenever a check is due.
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let mut health = Health::new(Settings::default());
            let (mut now, mut checks, mut changes) = (Duration::ZERO, 0, 0);
            while now < Duration::from_secs(600) {
                now += health.next_delay(&mut random);
                checks += 1;
                changes += u32::from(health.checked(now.as_secs() % 2 == 0).is_some());
            }
            assert!(checks > 280, "seed {seed}: {checks} checks");
            assert!(changes * 10 < checks, "seed {seed}: {changes} changes in {checks} checks");
        }
    }

    #[test]
    fn checks_come_faster_while_something_changes() {
        let (slow, quick) = (Duration::from_secs(2), Duration::from_millis(400));
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let mut health = Health::new(Settings::default());
            let first = health.next_delay(&mut random);
            assert!(first <= quick, "seed {seed}: {first:?}");
            let mut is = |health: &mut Health, expect: Duration, what: &str| {
                let delay = health.next_delay(&mut random);
                let range = expect.mul_f64(0.9)..=expect.mul_f64(1.1);
                assert!(range.contains(&delay), "seed {seed}, {what}: {delay:?}");
            };
            is(&mut health, quick, "new");
            health.checked(true);
            assert!(health.is_decided());
            is(&mut health, slow, "up");
            health.checked(false);
            is(&mut health, quick, "one of three against it");
            run(&mut health, "--");
            is(&mut health, slow, "down");
            assert!(!health.suspect(), "nothing new about a server that is down");
            health.checked(true);
            is(&mut health, quick, "one of two for it");
            health.checked(true);
            is(&mut health, slow, "up again");
            assert!(health.suspect());
            assert!(!health.suspect(), "known already");
            is(&mut health, quick, "suspected");
            health.checked(true);
            is(&mut health, quick, "one of two to believe in it again");
            health.checked(true);
            is(&mut health, slow, "cleared");
        }
    }

    #[test]
    fn a_dead_server_is_found_soon_after_the_start() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let mut health = Health::new(Settings::default());
            let mut time = Duration::ZERO;
            while health.is_up() {
                time += health.next_delay(&mut random);
                health.checked(false);
            }
            assert!(health.is_decided());
            assert!(time <= Duration::from_millis(400 + 2 * 440), "seed {seed}: {time:?}");
        }
    }

    #[test]
    fn first_checks_are_spread_and_odd_settings_are_harmless() {
        let first = |seed| Health::new(Settings::default()).next_delay(&mut Random::seeded(seed));
        let early = (0..256).filter(|&seed| first(seed) < Duration::from_millis(200)).count();
        assert!((90..166).contains(&early), "{early} of 256 in the first half");
        for (every, expect) in [(0, 0), (50, 50), (200, 100), (2000, 400), (60_000, 12_000)] {
            let fast = fast(Duration::from_millis(every));
            assert_eq!(fast, Duration::from_millis(expect), "{every} ms");
        }
        let zero = Settings { rise: 0, fall: 0, ..Settings::default() };
        let mut health = Health::new(zero);
        let expect = vec![(0, Verdict::Down(1)), (1, Verdict::Up(1))];
        assert_eq!(run(&mut health, "-+"), expect);
        health.configure(Settings { fall: 2, ..zero });
        assert_eq!(run(&mut health, "--"), vec![(1, Verdict::Down(2))]);
    }
}
