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
