//! Where a key goes when its own server may not take it, for `hash` and `maglev`.
//!
//! Not to the neighbour: a server that overflows would push its surplus on one other, which then
//! overflows too. The key is hashed again and jumps anywhere (Chen, Coleman, Shrivastava:
//! *Revisiting Consistent Hashing with Bounded Loads*, 2020, arXiv 1908.08762), always along the
//! same way for the same key, so that it has the same second and third server.

use super::Servers;
use super::key::{GOLDEN, mix};

/// Jumps before all servers are looked at.
const JUMPS: u64 = 16;

/// The most that one server may take of what is in flight: `1 + ε` times its fair share by weight,
/// rounded up, with the request that is being placed counted in (Mirrokni, Thorup, Zadimoghaddam:
/// *Consistent Hashing with Bounded Loads*, 2018).
///
/// Workers that choose at the same moment do not see each other's choice, so the bound may be
/// passed by as many as there are such workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// `1 + ε` in percent; 0 for no bound.
    percent: u64,
}

impl Bound {
    /// No bound: a server takes all of its keys.
    pub const NONE: Bound = Bound { percent: 0 };

    /// ε in percent. 25 is the default; with 0 the spread is perfect and hardly any key stays.
    pub const fn percent(epsilon: u32) -> Bound {
        Bound { percent: 100 + epsilon as u64 }
    }

    /// Whether a server may take one more.
    #[inline]
    fn admits(self, servers: &impl Servers, server: usize) -> bool {
        let load = servers.load(server);
        // The bound is never below one request, so an idle server costs no sums.
        if load == 0 || self == Bound::NONE {
            return true;
        }
        // `load < ceil(x / y)` is `load * y < x`.
        let share = u128::from(servers.weight(server)) * u128::from(servers.total_load() + 1);
        let whole = u128::from(servers.total_weight()) * 100;
        u128::from(load) * whole < share * u128::from(self.percent)
    }
}

impl Default for Bound {
    fn default() -> Bound {
        Bound::percent(25)
    }
}

/// The first server on the way of `key` that is usable and within its bound, where `owner` says
/// whose a hash is; when the jumps find none, the one of all with the highest hash together with
/// the key; when all are at their bounds, which then count servers that are not usable, the one
/// with the least load for its weight. `None` when no server is usable.
#[inline]
pub(super) fn place(
    servers: &impl Servers,
    ids: &[u64],
    key: u64,
    bound: Bound,
    owner: impl Fn(u64) -> Option<usize>,
) -> Option<usize> {
    debug_assert_eq!(ids.len(), servers.len(), "made for other servers");
    let mut hash = key;
    for jump in 1..=JUMPS {
        let server = owner(hash)?;
        if server < servers.len() && servers.is_usable(server) && bound.admits(servers, server) {
            return Some(server);
        }
        hash = mix(key.wrapping_add(jump.wrapping_mul(GOLDEN)));
    }
    scan(servers, ids, key, bound)
}

#[cold]
fn scan(servers: &impl Servers, ids: &[u64], key: u64, bound: Bound) -> Option<usize> {
    let score = |server: usize| mix(ids.get(server).copied().unwrap_or(0) ^ key);
    let usable = || (0..servers.len()).filter(|&server| servers.is_usable(server));
    let within = usable().filter(|&server| bound.admits(servers, server)).max_by_key(|&s| score(s));
    within.or_else(|| {
        usable().min_by(|&a, &b| {
            let load = |one, other| u64::from(servers.load(one)) * u64::from(servers.weight(other));
            load(a, b).cmp(&load(b, a))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::hash::Ring;
    use super::super::key::hash_key;
    use super::super::maglev::Table;
    use super::super::simulated::Simulated;
    use super::*;
    use crate::random::Random;

    /// Both that place keys.
    enum Either {
        Ring(Ring),
        Table(Table),
    }

    impl Either {
        fn both(weights: &[u32]) -> [Either; 2] {
            let name = |at: usize| format!("10.1.{}.{}:80", at / 256, at % 256);
            let id = |(at, &weight): (usize, &u32)| (hash_key(name(at).as_bytes()), weight);
            let servers: Vec<(u64, u32)> = weights.iter().enumerate().map(id).collect();
            [Either::Ring(Ring::new(&servers)), Either::Table(Table::new(&servers))]
        }

        fn choose(&self, servers: &Simulated, key: u64, bound: Bound) -> Option<usize> {
            match self {
                Either::Ring(ring) => ring.choose(servers, key, bound),
                Either::Table(table) => table.choose(servers, key, bound),
            }
        }
    }

    /// Requests come and go, most of them for few keys; no server ever takes more than its bound.
    #[test]
    fn no_server_takes_more_than_its_bound() {
        let mut at_bound = 0;
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let n = 2 + random.below(12) as usize;
            let weights: Vec<u32> = (0..n).map(|_| 1 + random.below(3) as u32).collect();
            let epsilon = [0, 5, 25, 100][seed as usize % 4];
            let whole: u32 = weights.iter().sum();
            for placed in Either::both(&weights) {
                let mut servers = Simulated::new(&weights);
                let mut in_flight = Vec::new();
                for _ in 0..1500 {
                    if random.below(100) < 45 && !in_flight.is_empty() {
                        let done = random.below(in_flight.len() as u64) as usize;
                        servers.loads[in_flight.swap_remove(done)] -= 1;
                        continue;
                    }
                    // Of 40 keys the first has a quarter, the second half of the rest, …
                    let key = mix(random.number().leading_zeros().into());
                    let total = servers.loads.iter().sum::<u32>() + 1;
                    let chosen = placed.choose(&servers, key, Bound::percent(epsilon));
                    let chosen = chosen.expect("all are usable");
                    servers.loads[chosen] += 1;
                    in_flight.push(chosen);
                    let most = f64::from((100 + epsilon) * total * weights[chosen])
                        / f64::from(100 * whole);
                    let load = servers.loads[chosen];
                    assert!(f64::from(load) <= most.ceil(), "seed {seed}: {load} > {most}");
                    at_bound += u32::from(f64::from(load) > most.ceil() - 1.0);
                }
            }
        }
        assert!(at_bound > 10_000, "hardly anything was ever bounded: {at_bound}");
    }

    #[test]
    fn without_a_bound_a_key_stays_however_busy_its_server_is() {
        for placed in Either::both(&[1; 10]) {
            let mut servers = Simulated::new(&[100; 10]);
            let home = placed.choose(&servers, 77, Bound::NONE);
            servers.loads[home.expect("all are usable")] = 1_000_000;
            assert_eq!(placed.choose(&servers, 77, Bound::NONE), home);
            assert_ne!(placed.choose(&servers, 77, Bound::default()), home);
        }
    }

    /// The surplus of one server goes everywhere, but that of one key always to the same server.
    #[test]
    fn an_overflow_does_not_push_over_the_neighbour() {
        for full in [true, false] {
            for placed in Either::both(&[1; 10]) {
                let mut servers = Simulated::new(&[100; 10]);
                let mut random = Random::seeded(1);
                let mut seconds = [0u32; 10];
                for _ in 0..100_000 {
                    let key = random.number();
                    let bound = if full { Bound::default() } else { Bound::NONE };
                    servers.loads = vec![1; 10];
                    let home = placed.choose(&servers, key, bound);
                    if home != Some(3) {
                        continue;
                    }
                    servers.loads[3] = 50;
                    servers.usable[3] = full;
                    let second = placed.choose(&servers, key, bound);
                    assert_eq!(placed.choose(&servers, key, bound), second);
                    // Others that come and go do not matter to this key.
                    let other = (0..10).find(|&other| other != 3 && Some(other) != second);
                    servers.loads[other.expect("eight are left")] = 0;
                    assert_eq!(placed.choose(&servers, key, bound), second);
                    seconds[second.expect("nine are left")] += 1;
                    servers.usable[3] = true;
                }
                let all: u32 = seconds.iter().sum();
                assert!(all > 6000 && seconds[3] == 0, "{seconds:?}");
                let most = seconds.iter().max().copied().unwrap_or(0);
                assert!(most < all / 5, "{seconds:?}");
            }
        }
    }

    #[test]
    fn a_usable_server_is_found_whenever_there_is_one() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let n = 1 + random.below(60) as usize;
            let weights: Vec<u32> = (0..n).map(|_| 1 + random.below(9) as u32).collect();
            for placed in Either::both(&weights) {
                let mut servers = Simulated::new(&weights);
                servers.loads = (0..n).map(|_| random.below(9) as u32).collect();
                let only = random.below(n as u64) as usize;
                servers.usable = vec![false; n];
                for bound in [Bound::NONE, Bound::default()] {
                    assert_eq!(
                        placed.choose(&servers, random.number(), bound),
                        None,
                        "seed {seed}"
                    );
                    servers.usable[only] = true;
                    for _ in 0..20 {
                        let chosen = placed.choose(&servers, random.number(), bound);
                        assert_eq!(chosen, Some(only), "seed {seed}");
                    }
                    servers.usable[only] = false;
                }
            }
        }
    }

    /// When the bound counts servers that are down, the usable ones may all be at it.
    #[test]
    fn when_all_are_at_their_bound_the_least_loaded_takes_it() {
        for placed in Either::both(&[1; 10]) {
            let mut servers = Simulated::new(&[200; 10]);
            servers.usable = (0..10).map(|server| server < 3).collect();
            servers.loads = vec![9, 8, 9, 0, 0, 0, 0, 0, 0, 0];
            servers.weights[2] = 400;
            assert_eq!(placed.choose(&servers, 5, Bound::default()), Some(2));
            servers.weights[2] = 200;
            assert_eq!(placed.choose(&servers, 5, Bound::default()), Some(1));
        }
    }

    #[test]
    fn without_servers_there_is_nothing_to_choose() {
        for placed in Either::both(&[]) {
            assert_eq!(placed.choose(&Simulated::new(&[]), 1, Bound::default()), None);
        }
    }
}
