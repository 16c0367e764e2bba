//! `least-latency`: of two servers drawn at random, by weight, the one where an answer is expected
//! sooner: its latency (a peak-sensitive moving average, [`super::latency`]) times the requests
//! that would then be in flight there, for its weight.

use super::weights::Weights;
use super::{Servers, is_lighter};
use crate::random::Random;

/// Latencies that differ by less than this factor say nothing: the load decides.
const ALIKE: f32 = 1.25;

/// A usable server, or `None` when there is none. `weights` is the table of `servers`.
#[inline]
pub fn choose(servers: &impl Servers, weights: &Weights, random: &mut Random) -> Option<usize> {
    let first = weights.draw_usable(servers, None, random)?;
    if servers.len() == 1 {
        return Some(first);
    }
    let second = weights.draw_usable(servers, Some(first), random);
    Some(second.filter(|&second| is_sooner(servers, second, first)).unwrap_or(first))
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
