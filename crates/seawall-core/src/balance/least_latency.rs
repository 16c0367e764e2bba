//! `least-latency`: of two servers drawn at random, by weight, the one where an answer is expected
//! sooner: its latency (a peak-sensitive moving average, [`super::latency`]) times the requests
//! that would then be in flight there, for its weight.

use super::weights::Weights;
use super::{Servers, is_lighter};
use crate::random::Random;

/// Latencies that differ by less than this factor say nothing: the load decides.
const ALIKE: f32 = 1.25;

/// A server that is expected to take more than this many times what is typical is not settled for.
const FAR: f32 = 4.0;

/// Servers that are drawn beside the first: one, or all of these while the best of them is far
/// from typical.
const OTHERS: usize = 3;

/// A usable server, or `None` when there is none. `weights` is the table of `servers`.
#[inline]
pub fn choose(servers: &impl Servers, weights: &Weights, random: &mut Random) -> Option<usize> {
    let mut best = weights.draw_usable(servers, None, random)?;
    if servers.len() == 1 {
        return Some(best);
    }
    let far = FAR * servers.typical_latency();
    for _ in 0..OTHERS {
        let Some(other) = weights.draw_usable(servers, Some(best), random) else { break };
        if is_sooner(servers, other, best) {
            best = other;
        }
        // Where all are busy, all seem far, and more draws do no harm.
        if servers.latency(best) * (servers.load(best) as f32 + 1.0) <= far {
            break;
        }
    }
    Some(best)
}

fn is_sooner(servers: &impl Servers, second: usize, first: usize) -> bool {
    let (latency, other) = (servers.latency(second), servers.latency(first));
    if latency.max(other) <= ALIKE * latency.min(other) {
        return is_lighter(servers, second, first);
    }
    let (load, other_load) = (servers.load(second), servers.load(first));
    if load == 0 && other_load == 0 {
        return latency < other;
    }
    let cost = |latency: f32, load: u32, server: usize| {
        latency * (load as f32 + 1.0) / servers.weight(server) as f32
    };
    cost(latency, load, second) < cost(other, other_load, first)
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{Simulated, assert_idle_servers_are_chosen_by_weight};
    use super::*;

    #[test]
    fn the_sooner_answer_is_chosen() {
        for (latencies, loads, weights, expect) in [
            ([1000.0, 1300.0], [0, 0], [100, 100], Some(0)),
            ([3000.0, 1000.0], [0, 1], [100, 100], Some(1)),
            ([3000.0, 1000.0], [0, 3], [100, 100], Some(0)),
            // Alike: the load decides.
            ([1000.0, 1200.0], [2, 1], [100, 100], Some(1)),
            ([1000.0, 1200.0], [4, 4], [300, 100], Some(0)),
            // Not alike, but the heavy one bears more.
            ([2000.0, 1000.0], [2, 2], [300, 100], Some(0)),
            ([2000.0, 1000.0], [2, 2], [100, 100], Some(1)),
            // Idle, so the weight does not make it faster.
            ([2000.0, 1000.0], [0, 0], [300, 100], Some(1)),
        ] {
            let mut servers = Simulated::new(&weights);
            servers.loads = loads.to_vec();
            servers.latencies = latencies.to_vec();
            let table = Weights::of(&servers);
            let mut random = Random::seeded(1);
            let case = format!("{latencies:?} {loads:?} {weights:?}");
            for _ in 0..100 {
                assert_eq!(choose(&servers, &table, &mut random), expect, "{case}");
            }
        }
    }

    #[test]
    fn idle_servers_that_are_alike_are_chosen_by_weight() {
        let mut servers = Simulated::new(&[100, 200, 500]);
        servers.latencies = vec![1000.0, 1200.0, 1100.0];
        assert_idle_servers_are_chosen_by_weight(servers, choose);
    }

    /// A slow server and one that is stuck, among eight.
    #[test]
    fn two_bad_servers_are_not_settled_for() {
        let mut servers = Simulated::new(&[100; 8]);
        servers.latencies[3] = 40_000.0;
        servers.loads[6] = 20;
        let table = Weights::of(&servers);
        let mut bad = [0; 2];
        for (typical, bad) in [f32::INFINITY, 1000.0].into_iter().zip(&mut bad) {
            servers.typical = typical;
            for seed in 0..256 {
                let mut random = Random::seeded(seed);
                for _ in 0..100 {
                    let chosen = choose(&servers, &table, &mut random).expect("all are usable");
                    *bad += u32::from(matches!(chosen, 3 | 6));
                }
            }
        }
        let [of_two, of_more] = bad.map(|bad| f64::from(bad) / 25_600.0);
        println!("of two: {of_two:.4}, of more: {of_more:.4}");
        assert!((of_two - 1.0 / 28.0).abs() < 0.005, "{of_two}");
        assert!(of_more < 0.004, "{of_more}");
    }

    #[test]
    fn an_unusable_server_is_not_chosen_however_fast() {
        let mut servers = Simulated::new(&[100; 3]);
        servers.latencies = vec![1.0, 5000.0, f32::NAN];
        servers.usable = vec![false, true, false];
        let table = Weights::of(&servers);
        let mut random = Random::seeded(1);
        assert!((0..100).all(|_| choose(&servers, &table, &mut random) == Some(1)));
        servers.usable[1] = false;
        assert_eq!(choose(&servers, &table, &mut random), None);
    }
}
