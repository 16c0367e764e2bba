//! `least-connections`: the server with the fewest requests in flight for its weight, of all.
//!
//! It looks at every server, and all doors that look at the same time see the same server as the
//! best; with many servers or many doors `two-choices` does as well and cheaper.

use super::weights::Weights;
use super::{Servers, is_lighter};
use crate::random::Random;

/// Draws that may find an idle server before all servers are looked at.
const DRAWS: usize = 2;

/// A usable server, or `None` when there is none. `weights` is the table of `servers`. Among idle
/// servers it is drawn by weight, among others of equal load for their weight at random, so that
/// the first of them does not get everything.
pub fn choose(servers: &impl Servers, weights: &Weights, random: &mut Random) -> Option<usize> {
    debug_assert_eq!(weights.len(), servers.len(), "a table of other servers");
    let n = servers.len();
    for _ in 0..DRAWS.min(n) {
        let server = weights.draw(random);
        if server < n && servers.load(server) == 0 && servers.is_usable(server) {
            return Some(server);
        }
    }
    let usable = |server: &usize| servers.is_usable(*server);
    let mut best = (0..n).find(usable)?;
    let mut equals = 1;
    for server in (best + 1..n).filter(usable) {
        if is_lighter(servers, server, best) {
            (best, equals) = (server, 1);
        } else if !is_lighter(servers, best, server) {
            equals += 1;
        }
    }
    if equals == 1 {
        return Some(best);
    }
    // Loads change while this looks; whoever is found in the end is as good as the best.
    let lot = random.below(equals) as usize;
    let is_equal = |server: &usize| usable(server) && !is_lighter(servers, best, *server);
    (best..n).filter(is_equal).nth(lot).or(Some(best))
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{Simulated, assert_idle_servers_are_chosen_by_weight};
    use super::*;

    #[test]
    fn the_least_loaded_for_its_weight_is_chosen_of_all() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let n = 1 + random.below(100) as usize;
            let weights: Vec<u32> = (0..n).map(|_| 100 * (1 + random.below(3) as u32)).collect();
            let mut servers = Simulated::new(&weights);
            servers.loads = (0..n).map(|_| 1 + random.below(9) as u32).collect();
            servers.usable = (0..n).map(|_| random.below(5) > 0).collect();
            let table = Weights::of(&servers);
            let cost = |s: usize| f64::from(2 * servers.loads[s] + 1) / f64::from(weights[s]);
            let usable = || (0..n).filter(|&server| servers.usable[server]);
            let least = usable().map(cost).fold(f64::INFINITY, f64::min);
            let chosen = choose(&servers, &table, &mut random);
            assert_eq!(chosen.is_some(), usable().next().is_some(), "seed {seed}");
            if let Some(chosen) = chosen {
                assert!(servers.usable[chosen], "seed {seed}");
                assert!(cost(chosen) <= least + 1e-9, "seed {seed}: {} > {least}", cost(chosen));
            }
        }
    }

    #[test]
    fn idle_servers_are_chosen_by_weight() {
        let servers = Simulated::new(&[100, 200, 500]);
        assert_idle_servers_are_chosen_by_weight(servers, choose);
    }

    /// Neither the first of them nor the first behind a row of busy ones.
    #[test]
    fn equals_share_whether_idle_or_busy() {
        for (busy, equal) in [(2, 1), (1, 0)] {
            let mut servers = Simulated::new(&[100; 20]);
            servers.loads = [vec![busy; 10], vec![equal; 10]].concat();
            let table = Weights::of(&servers);
            let mut random = Random::seeded(5);
            let mut counts = [0u32; 20];
            for _ in 0..10_000 {
                counts[choose(&servers, &table, &mut random).expect("all are usable")] += 1;
            }
            assert!(counts[..10].iter().all(|&count| count == 0), "{counts:?}");
            assert!(counts[10..].iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn loads_stay_within_one_request_of_each_other() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let mut servers = Simulated::new(&[100; 30]);
            let table = Weights::of(&servers);
            for _ in 0..1000 {
                let server = choose(&servers, &table, &mut random).expect("all are usable");
                servers.loads[server] += 1;
                let most = servers.loads.iter().max().copied().unwrap_or(0);
                let least = servers.loads.iter().min().copied().unwrap_or(0);
                assert!(most - least <= 1, "seed {seed}: {:?}", servers.loads);
            }
        }
    }
}
