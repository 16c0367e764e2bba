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
