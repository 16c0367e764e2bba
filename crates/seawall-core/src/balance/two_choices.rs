//! `two-choices`: of two servers drawn at random, by weight, the one with fewer requests in flight
//! for its weight. The most loaded server is then exponentially less loaded than with one draw
//! (Mitzenmacher: *The Power of Two Choices in Randomized Load Balancing*, 2001), and a stuck
//! server stops attracting requests by itself.

use super::weights::Weights;
use super::{Servers, is_lighter};
use crate::random::Random;

/// A usable server, or `None` when there is none. `weights` is the table of `servers`. Of idle
/// servers the first drawn is taken, so that they are chosen by weight.
#[inline]
pub fn choose(servers: &impl Servers, weights: &Weights, random: &mut Random) -> Option<usize> {
    let first = weights.draw_usable(servers, None, random)?;
    if servers.len() == 1 {
        return Some(first);
    }
    let second = weights.draw_usable(servers, Some(first), random);
    Some(second.filter(|&second| is_lighter(servers, second, first)).unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{Simulated, assert_idle_servers_are_chosen_by_weight};
    use super::*;

    #[test]
    fn idle_servers_are_chosen_by_weight() {
        let servers = Simulated::new(&[100, 200, 500]);
        assert_idle_servers_are_chosen_by_weight(servers, choose);
    }

    #[test]
    fn the_busier_server_is_avoided() {
        let mut servers = Simulated::new(&[100, 100]);
        servers.loads = vec![3, 2];
        let mut random = Random::seeded(1);
        let table = Weights::of(&servers);
        assert!((0..100).all(|_| choose(&servers, &table, &mut random) == Some(1)));
        // Twice the weight bears twice the load.
        servers.weights = vec![200, 100];
        let table = Weights::of(&servers);
        assert!((0..100).all(|_| choose(&servers, &table, &mut random) == Some(0)));
    }

    /// However rarely one of them is drawn.
    #[test]
    fn a_light_server_relieves_a_heavy_one_that_is_stuck() {
        let mut servers = Simulated::new(&[100_000, 100]);
        servers.loads = vec![5000, 2];
        let table = Weights::of(&servers);
        let mut random = Random::seeded(1);
        assert!((0..100).all(|_| choose(&servers, &table, &mut random) == Some(1)));
    }

    #[test]
    fn only_usable_servers_are_chosen_and_all_of_them() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let n = 1 + random.below(12) as usize;
            let weights: Vec<u32> = (0..n).map(|_| 100 * (1 + random.below(4) as u32)).collect();
            let mut servers = Simulated::new(&weights);
            servers.usable = (0..n).map(|_| random.below(3) == 0).collect();
            let table = Weights::of(&servers);
            let mut seen = vec![false; n];
            for _ in 0..4000 {
                match choose(&servers, &table, &mut random) {
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
            let mut servers = Simulated::new(&[100; 50]);
            let table = Weights::of(&servers);
            let mut alone = [0u32; 50];
            for _ in 0..5000 {
                let server = choose(&servers, &table, &mut random).expect("all are usable");
                servers.loads[server] += 1;
                alone[random.below(50) as usize] += 1;
            }
            let spread = servers.loads.iter().max().copied().unwrap_or(0) - 100;
            let chance = alone.iter().max().copied().unwrap_or(0) - 100;
            assert!(spread <= 4 && spread < chance, "seed {seed}: {spread} against {chance}");
        }
    }
}
