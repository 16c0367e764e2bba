//! What must hold of the policy, whatever is asked for.

use std::collections::HashMap;

use seawall_cache::eviction::{Eviction, Slot};

/// Seeds of a simulation.
const SEEDS: u64 = 256;

#[test]
fn the_books_are_right_whatever_happens() {
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut budget = random.u64(1_000..100_000);
        let mut policy = Eviction::new(budget);
        let mut stored: HashMap<Slot, (u64, u32)> = HashMap::new();
        let largest = random.u32(2..20_000);
        for _ in 0..3_000 {
            let mut gone = Vec::new();
            let hash = random.u64(0..500).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let found = stored.iter().find(|(_, (stored, _))| *stored == hash);
            match (random.u32(0..100), found.map(|(slot, _)| *slot)) {
                (0..5, Some(slot)) => {
                    policy.remove(slot);
                    stored.remove(&slot);
                }
                (5..10, Some(slot)) => {
                    let weight = random.u32(1..largest);
                    policy.reweigh(slot, weight);
                    stored.insert(slot, (hash, weight));
                    policy.make_room(&mut gone);
                }
                (10, _) => {
                    budget = random.u64(1_000..100_000);
                    policy.set_budget(budget);
                    policy.make_room(&mut gone);
                }
                (_, Some(slot)) => policy.hit(slot),
                (_, None) => {
                    policy.missed(hash);
                    let weight = random.u32(1..largest);
                    let slot = policy.insert(hash, weight);
                    let before = stored.insert(slot, (hash, weight));
                    assert_eq!(before, None, "seed {seed}: slot {slot} was in use");
                    policy.make_room(&mut gone);
                }
            }
            for slot in gone {
                let (hash, _) = stored.remove(&slot).expect("what goes was there");
                assert!(!policy.holds(slot), "seed {seed}");
                assert_eq!(policy.hash(slot), hash, "seed {seed}");
            }
            let weight: u64 = stored.values().map(|(_, weight)| u64::from(*weight)).sum();
            assert_eq!((policy.len(), policy.weight()), (stored.len(), weight), "seed {seed}");
            assert!(weight <= budget, "seed {seed}: {weight} of {budget}");
            for (slot, (hash, weight)) in &stored {
                assert!(policy.holds(*slot), "seed {seed}");
                let (known, weighs) = (policy.hash(*slot), policy.weight_of(*slot));
                assert_eq!((known, weighs), (*hash, *weight), "seed {seed}");
            }
        }
    }
}

#[test]
fn what_is_larger_than_everything_goes_alone() {
    let mut policy = Eviction::new(100);
    let kept: Vec<Slot> = (1..=10).map(|hash| policy.insert(hash, 10)).collect();
    let large = policy.insert(11, 101);
    let mut gone = Vec::new();
    policy.make_room(&mut gone);
    assert_eq!(gone, [large]);
    assert!(kept.into_iter().all(|slot| policy.holds(slot)));
}

#[test]
fn a_crawler_does_not_push_out_what_is_in_use() {
    for seed in 0..SEEDS {
        let mut cache = Cache::new(1_000, seed);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..5_000 {
            cache.request(random.u64(0..500), 1);
        }
        for page in 0..6_000 {
            cache.request(1_000_000 + page, 1);
            // One request of four is not the crawler's.
            if page % 3 == 0 {
                cache.request(random.u64(0..500), 1);
            }
        }
        let kept = (0..500).filter(|id| cache.holds(*id)).count();
        assert!(kept > 450, "seed {seed}: {kept} of 500");
    }
}

#[test]
fn tiny_entries_that_nobody_asks_for_again_do_not_push_out_large_ones() {
    for seed in 0..SEEDS / 16 {
        let mut cache = Cache::new(20 << 20, seed);
        for _ in 0..10 {
            for id in 0..18 {
                cache.request(id, 1 << 20);
            }
        }
        // As many marks as fit into the whole budget, and more, while the large ones are used.
        for mark in 0..80_000 {
            cache.request(1_000_000 + mark, 300);
            if mark % 40 == 0 {
                cache.request(mark / 40 % 18, 1 << 20);
            }
        }
        let kept = (0..18).filter(|id| cache.holds(*id)).count();
        assert!(kept >= 16, "seed {seed}: {kept} of 18");
    }
}

#[test]
fn it_follows_when_other_things_are_asked_for() {
    for seed in 0..SEEDS {
        let mut cache = Cache::new(100, seed);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..5_000 {
            cache.request(random.u64(0..90), 1);
        }
        let mut hits = 0;
        for round in 0..5_000 {
            let hit = cache.request(1_000 + random.u64(0..90), 1);
            hits += u32::from(hit && round >= 4_000);
        }
        assert!(hits > 800, "seed {seed}: {hits} of the last 1000");
    }
}

#[test]
fn what_comes_back_again_and_again_is_known_by_that() {
    // A hundred are asked for in turn, and three times as much that is never asked for again. Less
    // is stored than is asked for in between: nothing would be found by the time of its last use.
    for seed in 0..SEEDS {
        let mut cache = Cache::new(200, seed);
        let mut found = 0;
        for at in 0..2_000 {
            let hit = cache.request(at % 100, 1);
            found += u32::from(hit && at >= 1_000);
            for page in 0..3 {
                cache.request(1_000 + 3 * at + page, 1);
            }
        }
        assert!(found > 900, "seed {seed}: {found} of the last 1000");
    }
}

/// The policy with the little it needs around it.
struct Cache {
    policy: Eviction,
    slots: HashMap<u64, Slot>,
    ids: HashMap<Slot, u64>,
    seed: u64,
}

impl Cache {
    fn new(budget: u64, seed: u64) -> Cache {
        let policy = Eviction::new(budget);
        Cache { policy, slots: HashMap::new(), ids: HashMap::new(), seed }
    }

    fn holds(&self, id: u64) -> bool {
        self.slots.contains_key(&id)
    }

    fn request(&mut self, id: u64, weight: u32) -> bool {
        if let Some(slot) = self.slots.get(&id) {
            self.policy.hit(*slot);
            return true;
        }
        let hash = (id ^ self.seed << 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.policy.missed(hash);
        let slot = self.policy.insert(hash, weight);
        self.slots.insert(id, slot);
        self.ids.insert(slot, id);
        let mut gone = Vec::new();
        self.policy.make_room(&mut gone);
        for slot in gone {
            let id = self.ids.remove(&slot).expect("what goes was there");
            self.slots.remove(&id);
        }
        false
    }
}
