//! The retry budget: what can be spent, whatever the order of events and the number of threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use seawall_core::random::Random;
use seawall_core::retry::{Budget, Share};

fn withdraw_all(share: &Share) -> u64 {
    std::iter::from_fn(|| share.withdraw().then_some(())).count() as u64
}

#[test]
fn it_begins_with_ten_seconds_of_the_floor() {
    for (floor, expect) in [(0, 0), (100, 1), (1000, 10), (2500, 25)] {
        let share = Arc::new(Budget::new(Duration::ZERO, 100, floor)).share();
        assert_eq!(withdraw_all(&share), expect, "{floor}");
    }
}

#[test]
fn a_tenth_of_the_requests_can_be_tried_again() {
    let budget = Arc::new(Budget::new(Duration::ZERO, 100, 0));
    let share = budget.share();
    for _ in 0..9 {
        share.deposit();
    }
    assert!(!share.is_affordable() && !share.withdraw());
    share.deposit();
    assert!(share.withdraw() && !share.withdraw());
    // What a worker has not brought in yet is there for it, and for the others from the 16th on.
    let other = budget.share();
    (0..15).for_each(|_| share.deposit());
    assert!(!other.withdraw());
    share.deposit();
    assert!(other.withdraw());
    (0..4).for_each(|_| share.deposit());
    drop(share);
    assert!(other.withdraw(), "nothing is lost with a worker");
    assert_eq!(budget.balance(), 0);
}

#[test]
fn the_floor_comes_in_to_the_thousandth_however_often_it_is_paid() {
    for floor in [150, 333, 1000, 1500] {
        let budget = Arc::new(Budget::new(Duration::from_secs(5), 100, floor));
        let share = budget.share();
        withdraw_all(&share);
        let begin = budget.balance();
        let mut random = Random::seeded(u64::from(floor));
        let mut now = Duration::from_secs(5);
        while now < Duration::from_secs(11) {
            now += Duration::from_micros(random.below(300_000));
            budget.tick(now);
        }
        let expect = (now - Duration::from_secs(5)).as_millis() as u64 * u64::from(floor) / 1000;
        let is = budget.balance() - begin;
        assert!(is.abs_diff(expect) <= u64::from(floor) / 1000 + 1, "{floor}: {is}, not {expect}");
    }
}

#[test]
fn what_was_saved_is_gone_after_ten_seconds() {
    let budget = Arc::new(Budget::new(Duration::ZERO, 100, 1000));
    let share = budget.share();
    let mut now = Duration::ZERO;
    let mut tick = |requests: u32, ticks: u32| {
        for _ in 0..ticks {
            (0..requests).for_each(|_| share.deposit());
            share.flush();
            now += Duration::from_millis(100);
            budget.tick(now);
        }
        budget.balance()
    };
    // 100 requests per second: a hundred retries from them, and ten from the floor.
    assert_eq!(tick(10, 600), 110_000);
    assert_eq!(tick(10, 6000), 110_000, "an hour of it saves no more");
    assert_eq!(tick(0, 50), 60_000);
    assert_eq!(tick(0, 51), 10_000);
    budget.configure(100, 0);
    assert_eq!(tick(0, 1), 0);
    assert_eq!(tick(1, 10), 1000);
}

#[test]
fn a_clock_that_jumps_fills_it_up_and_no_more() {
    let budget = Arc::new(Budget::new(Duration::ZERO, 100, 1000));
    let share = budget.share();
    withdraw_all(&share);
    budget.tick(Duration::MAX);
    assert_eq!(withdraw_all(&share), 10);
    budget.tick(Duration::ZERO);
    assert_eq!(withdraw_all(&share), 0, "and back again earns nothing");
}

/// In any order: withdrawals ≤ ratio · deposits + floor · time + floor · 10 s, and nearly all of
/// that if it is asked for at once.
#[test]
fn no_order_of_events_yields_more_than_was_earned() {
    for seed in 0..256 {
        let mut random = Random::seeded(seed);
        let ratio = random.below(400) as u32;
        let floor = random.below(3000) as u32;
        let budget = Arc::new(Budget::new(Duration::ZERO, ratio, floor));
        let mut shares: Vec<Share> = (0..4).map(|_| budget.share()).collect();
        let (mut now, mut told) = (Duration::ZERO, Duration::ZERO);
        let (mut deposits, mut withdrawals) = (0u64, 0u64);
        let greedy = seed % 2 == 0;
        for _ in 0..5000 {
            let which = random.below(4) as usize;
            let share = &shares[which];
            match random.below(100) {
                0..70 => {
                    share.deposit();
                    deposits += 1;
                }
                70..90 => withdrawals += u64::from(share.withdraw()),
                90..98 => {
                    let back = random.below(20) == 0;
                    now += Duration::from_millis(random.below(200));
                    let at = if back { now / 2 } else { now };
                    budget.tick(at);
                    told = told.max(at);
                    withdrawals += if greedy { withdraw_all(share) } else { 0 };
                }
                98 => share.flush(),
                _ => shares[which] = budget.share(),
            }
            let earned = u128::from(deposits) * u128::from(ratio) * 1_000_000
                + (told + Duration::from_secs(10)).as_micros() * u128::from(floor);
            assert!(u128::from(withdrawals) * 1_000_000_000 <= earned, "seed {seed}");
        }
        if greedy {
            shares.iter().for_each(Share::flush);
            withdrawals += withdraw_all(&shares[0]);
            let earned = deposits * u64::from(ratio)
                + (told + Duration::from_secs(10)).as_millis() as u64 * u64::from(floor) / 1000;
            assert!(withdrawals * 1000 + 1500 + u64::from(floor) >= earned, "seed {seed}");
        }
    }
}

/// The same with threads that do all of it at once, under a clock of their own.
#[test]
fn threads_do_not_get_more_than_was_earned() {
    let budget = Arc::new(Budget::new(Duration::ZERO, 100, 1000));
    let deposits = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..4)
        .map(|seed| {
            let (budget, deposits) = (budget.clone(), deposits.clone());
            std::thread::spawn(move || {
                let share = budget.share();
                let mut random = Random::seeded(seed);
                let mut withdrawals = 0;
                for _ in 0..200_000 {
                    share.deposit();
                    deposits.fetch_add(1, SeqCst);
                    if random.below(4) == 0 {
                        withdrawals += u64::from(share.withdraw());
                    }
                }
                withdrawals
            })
        })
        .collect();
    let clock = {
        let (budget, done) = (budget.clone(), done.clone());
        std::thread::spawn(move || {
            let mut now = Duration::ZERO;
            while !done.load(SeqCst) {
                now += Duration::from_millis(10);
                budget.tick(now);
                std::thread::yield_now();
            }
            now
        })
    };
    let withdrawals: u64 = workers.into_iter().map(|worker| worker.join().expect("it ends")).sum();
    done.store(true, SeqCst);
    let now = clock.join().expect("it ends").as_millis() as u64;
    assert_eq!(deposits.load(SeqCst), 800_000);
    let earned = 800_000 * 100 + now + 10_000;
    let spent = withdrawals * 1000 + budget.balance();
    assert!(spent <= earned, "{spent} of {earned}");
    assert!(withdrawals > 10_000, "{withdrawals}");
}
