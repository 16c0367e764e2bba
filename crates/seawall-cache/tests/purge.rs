//! What must hold of purges: what was purged is purged, and what was not mostly is not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use seawall_cache::purge::{Kind, Purged, Purges, Stamp};

#[test]
fn a_purge_holds_for_what_was_fetched_before_it() {
    let purges = Purges::new(1 << 20);
    let before = purges.sequence();
    assert_eq!(purges.check(before, [7].into_iter()), None);
    purges.purge(7, Kind::Soft, 1_000);
    assert_eq!(purges.check(before, [7].into_iter()), Some(Purged::Soft(1_000)));
    assert_eq!(purges.check(before, [8].into_iter()), None);
    assert_eq!(purges.check(before, [].into_iter()), None);
    assert_eq!(purges.check(purges.sequence(), [7].into_iter()), None);
    let between = purges.sequence();
    purges.purge(7, Kind::Hard, 2_000);
    assert_eq!(purges.check(before, [8, 7].into_iter()), Some(Purged::Hard));
    assert_eq!(purges.check(between, [7].into_iter()), Some(Purged::Hard));
    // A soft purge does not bring back what is gone.
    purges.purge(7, Kind::Soft, 3_000);
    assert_eq!(purges.check(between, [7].into_iter()), Some(Purged::Hard));
    assert_eq!(purges.newest([8, 7].into_iter()), Some(3_000));
    assert_eq!(purges.newest([8].into_iter()), None);
}

#[test]
fn the_order_of_purges_does_not_hang_on_the_clock() {
    let purges = Purges::new(1 << 20);
    let mut last = 0;
    for now in [5_000, 5_000, 5_000, 4_000, 0, 5_001] {
        let before = purges.sequence();
        let stamp = purges.purge(1, Kind::Hard, now);
        assert!(stamp.hard > last, "{now}");
        assert_eq!(purges.check(before, [1].into_iter()), Some(Purged::Hard), "{now}");
        last = stamp.hard;
    }
    assert_eq!(purges.newest([1].into_iter()), Some(5_001));
}

#[test]
fn the_table_is_as_large_as_the_budget_says() {
    for (budget, slots) in
        [(0, 1 << 12), (1 << 20, 1 << 12), (256 << 20, 1 << 19), (1 << 40, 1 << 24)]
    {
        let purges = Purges::new(budget);
        assert_eq!((purges.slots(), purges.memory()), (slots, 16 * slots as u64), "{budget}");
    }
}

#[test]
fn what_was_kept_is_restored_into_a_table_of_any_size() {
    for seed in 0..64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let [budget, other] = [0, 0].map(|_| 1u64 << random.u32(20..26));
        let (before, after) = (Purges::new(budget), Purges::new(other));
        let labels: Vec<u32> = (0..200).map(|_| random.u32(..)).collect();
        let mut kept: Vec<Stamp> = Vec::new();
        let mut now = 1_000;
        let mut fetched = Vec::new();
        for label in &labels {
            now += random.u64(0..3);
            fetched.push(before.sequence());
            let kind = if random.bool() { Kind::Hard } else { Kind::Soft };
            kept.push(before.purge(*label, kind, now));
        }
        if random.bool() {
            // Either what was written at each purge, or all at once.
            kept = before.snapshot().collect();
        }
        after.restore(before.slots(), kept.into_iter());
        for (label, since) in labels.iter().zip(fetched) {
            let was = before.check(since, [*label].into_iter());
            let is = after.check(since, [*label].into_iter());
            let kept = match was {
                Some(Purged::Hard) => is == Some(Purged::Hard),
                Some(Purged::Soft(when)) => match is {
                    // Others share the slot of a smaller table.
                    Some(Purged::Hard) => other < budget,
                    Some(Purged::Soft(newer)) => newer >= when,
                    None => false,
                },
                None => false,
            };
            assert!(kept, "seed {seed}, {budget} to {other}: {was:?} became {is:?}");
        }
        let unseen = (0..1_000).filter(|_| after.check(0, [random.u32(..)].into_iter()).is_some());
        assert!(unseen.count() < 200, "seed {seed}: much is purged that was not");
        // What is purged from now on is newer than all that.
        let since = after.sequence();
        assert!(since >= before.sequence());
        after.purge(labels[0], Kind::Hard, 0);
        assert_eq!(after.check(since, [labels[0]].into_iter()), Some(Purged::Hard));
    }
}

#[test]
fn nobody_believes_to_have_checked_what_is_being_purged() {
    // Whoever sees an epoch sees the stamps of all purges up to it.
    let purges = Purges::new(1 << 20);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let checker = || {
            let mut looked = 0;
            while !over.load(Ordering::Acquire) || looked == 0 {
                let epoch = purges.epoch().expect("there are not that many");
                if let Some(newest) = u64::from(epoch).checked_sub(1) {
                    // That of the purge at millisecond `newest`, but for the counter below it.
                    let since = (newest << 16).saturating_sub(1);
                    let label = (newest % 64) as u32;
                    let purged = purges.check(since, [label].into_iter());
                    assert_eq!(purged, Some(Purged::Hard), "at epoch {epoch}");
                }
                looked += 1;
            }
            looked
        };
        let checkers = [scope.spawn(checker), scope.spawn(checker)];
        for at in 0..50_000u64 {
            purges.purge((at % 64) as u32, Kind::Hard, at);
        }
        over.store(true, Ordering::Release);
        for checker in checkers {
            assert!(checker.join().expect("no assertion failed") > 0);
        }
    });
    assert_eq!(purges.epoch(), Some(50_000));
}
