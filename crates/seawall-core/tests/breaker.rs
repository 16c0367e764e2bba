//! The circuit breaker over its whole course: what opens it, how it recovers, and that it cannot
//! get stuck.

use std::time::Duration;

use seawall_core::breaker::{Breaker, Pass, Rule, STEPS, Settings, State};
use seawall_core::random::Random;
use seawall_core::window::Counts;

const TICK: Duration = Duration::from_millis(100);

fn counts(total: u64, failed: u64, slow: u64) -> Counts {
    Counts { total, failed, slow }
}

/// A breaker and its clock.
struct Stage {
    breaker: Breaker,
    now: Duration,
    random: Random,
}

impl Stage {
    fn new(settings: Settings) -> Stage {
        Stage { breaker: Breaker::new(settings), now: Duration::ZERO, random: Random::seeded(1) }
    }

    /// One tick; the reason if the state changed.
    fn tick(&mut self, counts: Counts) -> Option<String> {
        self.now += TICK;
        let change = self.breaker.tick(self.now, counts, &mut self.random)?;
        assert_eq!(change.to, self.breaker.state());
        assert_ne!(change.from, change.to);
        Some(change.reason)
    }

    /// Ticks until the state changes; how long that took and why it did.
    fn next_change(&mut self, counts: Counts) -> (Duration, String) {
        let start = self.now;
        for _ in 0..100_000 {
            if let Some(reason) = self.tick(counts) {
                return (self.now - start, reason);
            }
        }
        panic!("nothing happens in {:?}", self.breaker.state());
    }

    /// Opens it and waits until it is half open; how long that took.
    fn break_open(&mut self) -> Duration {
        self.tick(counts(1_000_000, 1_000_000, 0)).expect("everything failed");
        let (wait, reason) = self.next_change(Counts::default());
        assert_eq!((self.breaker.state(), reason.as_str()), (State::HalfOpen, "the wait is over"));
        wait
    }

    fn probes(&mut self, outcomes: &[bool]) {
        for &ok in outcomes {
            match self.breaker.gate().enter(&mut self.random) {
                Ok(Pass::Probe(permit)) => permit.settle(ok),
                other => panic!("{other:?} is no probe"),
            }
        }
    }

    fn is_shut(&mut self) -> bool {
        self.breaker.gate().enter(&mut self.random).is_err()
    }
}

#[test]
fn failures_open_it_from_a_share_and_a_minimum() {
    for (ticks, expect) in [
        (&[counts(19, 19, 0)][..], None),
        (&[counts(20, 10, 0)], Some("10 of 20 requests failed")),
        (&[counts(20, 9, 0)], None),
        (&[counts(10, 10, 0), counts(10, 0, 0)], Some("10 of 20 requests failed")),
        (&[counts(1000, 499, 0)], None),
        (&[counts(1000, 0, 1000)], Some("1000 of 1000 answers were slow")),
        (&[counts(1000, 0, 999)], None),
        (&[counts(0, 0, 0)], None),
        (
            &[counts(u64::MAX, u64::MAX, 0)],
            Some("18446744073709551615 of 18446744073709551615 requests failed"),
        ),
    ] {
        let mut stage = Stage::new(Settings::default());
        let reason = ticks.iter().filter_map(|&counts| stage.tick(counts)).last();
        assert_eq!(reason.as_deref(), expect, "{ticks:?}");
        let open = matches!(stage.breaker.state(), State::Open { .. });
        assert_eq!((open, stage.is_shut()), (expect.is_some(), expect.is_some()), "{ticks:?}");
    }
}

#[test]
fn slow_answers_alone_open_it() {
    let settings = Settings { slow: 800, ..Settings::default() };
    let mut stage = Stage::new(settings);
    assert_eq!(stage.tick(counts(100, 0, 79)), None);
    let reason = stage.tick(counts(100, 0, 81));
    assert_eq!(reason.as_deref(), Some("160 of 200 answers were slow"));
}

#[test]
fn a_number_of_failures_opens_it_if_that_is_asked_for() {
    let mut stage = Stage::new(Settings { count: Some(3), ..Settings::default() });
    assert_eq!(stage.tick(counts(5, 2, 0)), None);
    assert_eq!(stage.tick(counts(1, 1, 0)).as_deref(), Some("3 requests failed, 3 are too many"));
    let mut stage = Stage::new(Settings { count: Some(3), ..Settings::default() });
    for _ in 0..1000 {
        // Two at a time, and none before the window has forgotten the two before.
        assert_eq!(stage.tick(counts(2, 2, 0)), None);
        stage.now += Duration::from_secs(10);
    }
}

#[test]
fn below_the_minimum_it_never_opens() {
    for seed in 0..256 {
        let mut random = Random::seeded(seed);
        let settings = Settings { window: Duration::from_secs(1), ..Settings::default() };
        let mut stage = Stage::new(settings);
        for _ in 0..300 {
            // At most 19 in a window, in some ticks, all of them failed and slow.
            let mut left = random.below(settings.minimum);
            for _ in 0..random.below(5) {
                let now = random.below(left + 1);
                left -= now;
                assert_eq!(stage.tick(counts(now, now, now)), None, "seed {seed}");
            }
            stage.now += settings.window;
        }
        assert_eq!(stage.breaker.state(), State::Closed);
    }
}

#[test]
fn a_failed_probe_too_many_opens_it_again_for_longer() {
    let settings = Settings::default();
    let mut stage = Stage::new(settings);
    let mut expect = settings.open;
    let mut wait = stage.break_open();
    for _ in 0..8 {
        assert!(wait >= expect && wait <= expect.mul_f64(1.2) + TICK, "{wait:?}, not {expect:?}");
        expect = (expect * 2).min(settings.longest);
        stage.probes(&[true, false, false, false]);
        assert_eq!(stage.tick(Counts::default()).as_deref(), Some("3 of 4 probes failed"));
        wait = stage.next_change(Counts::default()).0;
    }
    assert!(wait >= settings.longest);
}

#[test]
fn good_probes_begin_a_recovery_in_steps() {
    let settings = Settings::default();
    let mut stage = Stage::new(settings);
    stage.break_open();
    stage.probes(&[true, false, true]);
    assert_eq!(stage.tick(Counts::default()), None, "two of five could still fail");
    stage.probes(&[true]);
    assert_eq!(stage.tick(Counts::default()).as_deref(), Some("3 of 4 probes went well"));
    for (step, permille) in STEPS.into_iter().enumerate() {
        assert_eq!(stage.breaker.state(), State::Recovering { step });
        assert_eq!(stage.breaker.gate().rule(), Rule::Share { permille });
        let passed = (0..100_000).filter(|_| !stage.is_shut()).count() as i64;
        let expect = i64::from(permille) * 100;
        assert!((passed - expect).abs() <= 100 + expect / 50, "{passed}, not {expect}");
        let (time, reason) = stage.next_change(counts(permille.into(), 0, 0));
        assert_eq!(time, settings.step);
        assert_eq!(reason, format!("{} % of the requests went well", permille / 10));
    }
    assert_eq!(stage.breaker.state(), State::Closed);
    let wait = stage.break_open();
    assert!(wait <= settings.open.mul_f64(1.2) + TICK, "closed again, it begins anew: {wait:?}");
}

#[test]
fn failures_during_the_recovery_open_it_again() {
    for (at, permille) in STEPS.into_iter().enumerate() {
        let mut stage = Stage::new(Settings::default());
        stage.break_open();
        stage.probes(&[true; 5]);
        stage.tick(Counts::default()).expect("all went well");
        for _ in 0..at {
            stage.next_change(counts(50, 1, 0));
        }
        assert_eq!(stage.breaker.state(), State::Recovering { step: at });
        let reason = stage.tick(counts(50, 30, 0)).expect("a spike");
        let share = permille / 10;
        assert_eq!(reason, format!("30 of 50 requests failed at {share} % of the requests"));
        let wait = stage.next_change(Counts::default()).0;
        assert!(wait >= Settings::default().open * 2, "it grows: {wait:?}");
    }
}

#[test]
fn a_recovery_with_little_traffic_judges_by_little_but_clear_evidence() {
    let recovering = || {
        let mut stage = Stage::new(Settings::default());
        stage.break_open();
        stage.probes(&[true; 5]);
        stage.tick(Counts::default()).expect("all went well");
        stage
    };
    // Three of five might be chance at a limit of one half, five of five are not, even if they
    // come in different steps.
    let mut stage = recovering();
    assert_eq!(stage.tick(counts(5, 3, 0)), None);
    let mut stage = recovering();
    let mut reasons = Vec::new();
    for _ in 0..100 {
        let one = u64::from(stage.now.as_millis() % 1000 == 0);
        let change = stage.tick(counts(one, one, 0));
        reasons.extend(change);
        if matches!(stage.breaker.state(), State::Open { .. }) {
            break;
        }
    }
    let last = reasons.last().expect("it changed");
    assert!(last.starts_with("5 of 5 requests failed at "), "{reasons:?}");
    // Nobody comes at all: it closes, for there is nothing to protect anybody from.
    let mut stage = recovering();
    while stage.breaker.state() != State::Closed {
        stage.next_change(Counts::default());
    }
}

#[test]
fn a_probe_without_an_answer_counts_as_failed() {
    let settings = Settings::default();
    let mut stage = Stage::new(settings);
    stage.break_open();
    let Ok(Pass::Probe(hanging)) = stage.breaker.gate().enter(&mut stage.random) else {
        panic!("a probe is due");
    };
    assert_eq!(stage.tick(Counts::default()), None);
    let (time, reason) = stage.next_change(Counts::default());
    assert_eq!((time, reason.as_str()), (settings.probe_timeout, "a probe had no answer for 10s"));
    assert!(matches!(stage.breaker.state(), State::Open { .. }));
    stage.next_change(Counts::default());
    hanging.settle(false);
    let next = stage.breaker.gate().enter(&mut stage.random);
    assert_eq!(stage.tick(Counts::default()), None, "the next probe has its own time");
    drop(next);
    stage.probes(&[true; 5]);
    stage.tick(Counts::default()).expect("the late answer is not counted");
    assert_eq!(stage.breaker.state(), State::Recovering { step: 0 });
}

#[test]
fn half_open_without_requests_waits_for_the_next_one() {
    let mut stage = Stage::new(Settings::default());
    stage.break_open();
    for _ in 0..10 {
        stage.now += Duration::from_secs(3600);
        let Ok(pass) = stage.breaker.gate().enter(&mut stage.random) else { panic!("it asks") };
        drop(pass);
        assert_eq!(stage.tick(counts(50, 50, 50)), None, "what is counted now is of old requests");
    }
    stage.probes(&[true; 5]);
    stage.tick(Counts::default()).expect("all went well");
}

#[test]
fn what_opened_it_does_not_open_it_again_when_it_has_recovered() {
    let window = Duration::from_secs(600);
    let mut stage = Stage::new(Settings { window, ..Settings::default() });
    stage.break_open();
    stage.probes(&[true; 5]);
    while stage.breaker.state() != State::Closed {
        stage.next_change(counts(10, 0, 0));
    }
    for _ in 0..100 {
        assert_eq!(stage.tick(counts(10, 4, 0)), None);
    }
}

#[test]
fn a_reload_keeps_the_state() {
    let mut stage = Stage::new(Settings::default());
    stage.tick(counts(15, 15, 0));
    stage.breaker.configure(Settings { minimum: 15, ..Settings::default() });
    stage.tick(Counts::default()).expect("15 are enough now");
    stage.breaker.configure(Settings { window: Duration::from_secs(60), ..Settings::default() });
    assert!(stage.is_shut());
}

/// Nothing that requests, servers and clocks may do keeps requests out for longer than the open
/// state and the deadline of a probe last, unless a probe is allowed or under way.
#[test]
fn it_never_gets_stuck() {
    for seed in 0..256 {
        let mut random = Random::seeded(seed);
        let mut below = |bound| random.below(bound);
        let settings = Settings {
            window: Duration::from_millis(100 + below(5000)),
            minimum: 1 + below(10),
            failures: 1 + below(1000) as u32,
            slow: 1 + below(1100) as u32,
            count: (below(4) == 0).then_some(5),
            open: Duration::from_millis(1 + below(2000)),
            longest: Duration::from_millis(1 + below(10_000)),
            probes: 1 + below(6) as u32,
            probe_timeout: Duration::from_millis(1 + below(3000)),
            step: Duration::from_millis(below(1000)),
        };
        let bound = settings.open.max(settings.longest).mul_f64(1.2) + settings.probe_timeout;
        let mut breaker = Breaker::new(settings);
        let mut now = Duration::ZERO;
        let mut unfinished: Vec<Pass> = Vec::new();
        let (mut possible, mut longest_gap) = (now, Duration::ZERO);
        let mut opened = 0;
        for step in 0..3000 {
            let gap = match random.below(100) {
                0 => Duration::from_secs(random.below(100_000)),
                1..5 => Duration::ZERO,
                5..10 => Duration::from_millis(random.below(5000)),
                _ => TICK,
            };
            now += gap;
            longest_gap = longest_gap.max(gap);
            // What requests do meanwhile, in a world that is bad for a hundred ticks in turn.
            let bad = step / 100 % 2 == 0;
            let mut counted = Counts::default();
            for _ in 0..random.below(12) {
                unfinished.extend(breaker.gate().enter(&mut random).ok());
            }
            let lost = random.below(10) == 0;
            for _ in 0..random.below(12) {
                if unfinished.is_empty() {
                    break;
                }
                let at = random.below(unfinished.len() as u64) as usize;
                let ok = random.below(10) < if bad { 1 } else { 9 };
                match unfinished.swap_remove(at) {
                    // A slip of the machine or of ours: an outcome that never comes.
                    Pass::Probe(permit) if lost => std::mem::forget(permit),
                    Pass::Probe(permit) if random.below(4) > 0 => permit.settle(ok),
                    Pass::Probe(permit) => drop(permit),
                    Pass::Free { epoch } if epoch == breaker.gate().epoch() => {
                        let slow = u64::from(random.below(4) == 0);
                        counted = counted.plus(counts(1, u64::from(!ok), slow));
                    }
                    Pass::Free { .. } => {}
                }
            }
            // Clocks may stand still or be told late.
            let told = if random.below(50) == 0 { now / 2 } else { now };
            if let Some(change) = breaker.tick(told, counted, &mut random) {
                opened += u32::from(matches!(change.to, State::Open { .. }));
                assert!(!change.reason.is_empty());
            }
            let epoch = breaker.gate().epoch();
            let under_way = |pass: &Pass| matches!(pass, Pass::Probe(p) if p.epoch() == epoch);
            let allowed = match breaker.gate().rule() {
                Rule::All | Rule::Share { .. } => true,
                Rule::Probes => breaker.gate().take(epoch).is_some(),
                Rule::Nobody { .. } => false,
            };
            if allowed || unfinished.iter().any(under_way) {
                (possible, longest_gap) = (now, Duration::ZERO);
            }
            // Three times it has to wait for the next tick to notice.
            let most = bound + (longest_gap + TICK) * 3;
            assert!(now - possible <= most, "seed {seed}, step {step}: {:?}", breaker.state());
        }
        assert!(opened > 3, "seed {seed}: this was no test, it opened {opened} times");

        // And when the world is well, so is it, whatever it remembers.
        drop(unfinished);
        let start = now;
        let most = bound * 2 + settings.step * 4 + TICK * 10;
        while breaker.state() != State::Closed {
            assert!(now - start <= most, "seed {seed}: {:?} after {most:?}", breaker.state());
            now += TICK;
            while let Ok(Pass::Probe(permit)) = breaker.gate().enter(&mut random) {
                permit.settle(true);
            }
            breaker.tick(now, counts(2, 0, 0), &mut random);
        }
    }
}
