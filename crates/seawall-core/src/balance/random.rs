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
