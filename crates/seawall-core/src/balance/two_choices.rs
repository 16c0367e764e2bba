//! `two-choices`: of two servers drawn at random, by weight, the one with fewer requests in flight
//! for its weight. The most loaded server is then exponentially less loaded than with one draw
//! (Mitzenmacher: *The Power of Two Choices in Randomized Load Balancing*, 2001), and a stuck
//! server stops attracting requests by itself.

use super::Servers;
use crate::random::Random;

/// A usable server, or `None` when there is none.
pub fn choose(servers: &impl Servers, random: &mut Random) -> Option<usize> {
    let n = servers.len();
    let equal = (1..n).all(|server| servers.weight(server) == servers.weight(0));
    let (first, second) = match n {
        0 => return None,
        1 => return servers.is_usable(0).then_some(0),
        _ if equal => {
            let first = random.below(n as u64) as usize;
            let second = (first + 1 + random.below(n as u64 - 1) as usize) % n;
            (Some(first), Some(second))
        }
        _ => {
            let first = draw(servers, random, |_| true);
            (first, draw(servers, random, |server| Some(server) != first))
        }
    };
    let usable = |server: &usize| servers.is_usable(*server);
    match (first.filter(usable), second.filter(usable)) {
        (Some(first), Some(second)) => Some(lighter(servers, first, second)),
        (Some(only), None) | (None, Some(only)) => Some(only),
        // Both draws hit servers that may not be used, so draw among the others only.
        (None, None) => {
            let first = draw(servers, random, |server| servers.is_usable(server))?;
            let others = |server| servers.is_usable(server) && server != first;
            let second = draw(servers, random, others);
            Some(second.map_or(first, |second| lighter(servers, first, second)))
        }
    }
}

/// The one with the lower load for its weight; the first when they are equal, so that idle
/// servers are chosen by weight.
fn lighter(servers: &impl Servers, first: usize, second: usize) -> usize {
    let cost =
        |one: usize, other: usize| u64::from(servers.load(one)) * u64::from(servers.weight(other));
    if cost(second, first) < cost(first, second) { second } else { first }
}

/// One of the servers that `may` be drawn, by weight.
fn draw(servers: &impl Servers, random: &mut Random, may: impl Fn(usize) -> bool) -> Option<usize> {
    let candidates = || (0..servers.len()).filter(|&server| may(server));
    let total: u64 = candidates().map(|server| u64::from(servers.weight(server))).sum();
    let mut ticket = random.below(total);
    candidates().find(|&server| {
        let weight = u64::from(servers.weight(server));
        let hit = ticket < weight;
        ticket = ticket.saturating_sub(weight);
        hit
    })
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    #[test]
    fn idle_servers_are_chosen_by_weight() {
        for seed in 0..256 {
            let servers = Simulated::new(&[1, 2, 5]);
            let mut random = Random::seeded(seed);
            let mut counts = [0u32; 3];
            for _ in 0..8000 {
                counts[choose(&servers, &mut random).expect("all are usable")] += 1;
            }
            for (count, expect) in counts.iter().zip([1000, 2000, 5000]) {
                let off = f64::from(count.abs_diff(expect)) / 8000.0;
                assert!(off < 0.03, "seed {seed}: {counts:?}");
            }
        }
    }

    #[test]
    fn the_busier_server_is_avoided() {
        let mut servers = Simulated::new(&[1, 1]);
        servers.loads = vec![3, 2];
        let mut random = Random::seeded(1);
        assert!((0..100).all(|_| choose(&servers, &mut random) == Some(1)));
        // Twice the weight bears twice the load.
        servers.weights = vec![2, 1];
        assert!((0..100).all(|_| choose(&servers, &mut random) == Some(0)));
    }

    #[test]
    fn only_usable_servers_are_chosen_and_all_of_them() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let n = 1 + random.below(12) as usize;
            let weights: Vec<u32> = (0..n).map(|_| 1 + random.below(4) as u32).collect();
            let mut servers = Simulated::new(&weights);
            servers.usable = (0..n).map(|_| random.below(3) == 0).collect();
            let mut seen = vec![false; n];
            for _ in 0..4000 {
                match choose(&servers, &mut random) {
                    Some(server) => seen[server] = true,
                    None => assert!(servers.usable.iter().all(|usable| !usable), "seed {seed}"),
                }
            }
            assert_eq!(seen, servers.usable, "seed {seed}");
        }
    }

    #[test]
    fn load_is_spread_far_better_than_by_one_draw() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let mut servers = Simulated::new(&[1; 50]);
            let mut alone = [0u32; 50];
            for _ in 0..5000 {
                let server = choose(&servers, &mut random).expect("all are usable");
                servers.loads[server] += 1;
                alone[random.below(50) as usize] += 1;
            }
            let spread = servers.loads.iter().max().copied().unwrap_or(0) - 100;
            let chance = alone.iter().max().copied().unwrap_or(0) - 100;
            assert!(spread <= 4 && spread < chance, "seed {seed}: {spread} against {chance}");
        }
    }
}
