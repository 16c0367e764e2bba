//! `random`: by weight, without a look at how busy a server is. Doors that know nothing of each
//! other cannot fall into step with it; but a slow server gets as much as a fast one, and at most
//! times some server has several requests more than the others.

use super::Servers;
use super::weights::Weights;
use crate::random::Random;

/// A usable server, or `None` when there is none. `weights` is the table of `servers`.
#[inline]
pub fn choose(servers: &impl Servers, weights: &Weights, random: &mut Random) -> Option<usize> {
    weights.draw_usable(servers, None, random)
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{Simulated, assert_idle_servers_are_chosen_by_weight};
    use super::*;

    #[test]
    fn weights_are_honoured_and_loads_are_not_looked_at() {
        let mut servers = Simulated::new(&[100, 200, 500]);
        servers.loads = vec![0, 1000, 7];
        assert_idle_servers_are_chosen_by_weight(servers, choose);
    }

    #[test]
    fn only_usable_servers_are_chosen() {
        let mut servers = Simulated::new(&[100, 100, 300]);
        let table = Weights::of(&servers);
        let mut random = Random::seeded(1);
        servers.usable = vec![true, false, false];
        assert!((0..1000).all(|_| choose(&servers, &table, &mut random) == Some(0)));
        servers.usable[0] = false;
        assert_eq!(choose(&servers, &table, &mut random), None);
    }
}
