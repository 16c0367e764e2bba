//! `round-robin`: in turn, by weight, spread evenly over time: a server of weight 5 beside two of
//! weight 1 gives `a a b a c a a`-like turns, not `a a a a a b c`.
//!
//! Every server has turns at the middles of equal steps of its own, as long as its weight is
//! small; the earliest turn of all is next (earliest deadline first, Liu and Layland 1973). Beside
//! the credits of NGINX, which touch every server for every choice, this costs O(log n).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Servers;
use crate::random::Random;

/// The step of a server of weight 1. Weights up to 2^17 divide it with an error below 2^-19.
const STEP: u64 = 1 << 36;

/// Times are moved back to zero when they pass this.
const LATE: u64 = 1 << 62;

/// The state of one rotation.
#[derive(Debug, Default, Clone)]
pub struct RoundRobin {
    /// When each server has its next turn, the earliest first, and of equals the first server.
    turns: BinaryHeap<Reverse<(u64, u32)>>,
    /// How far into the rotation it begins.
    start: u64,
}

impl RoundRobin {
    /// A rotation that begins anywhere, so that workers, and groups that change often, do not all
    /// begin with the first server. The default one does begin with it.
    pub fn anywhere(random: &mut Random) -> RoundRobin {
        RoundRobin { turns: BinaryHeap::new(), start: random.below(STEP) }
    }

    /// The next usable server, or `None` when there is none. An unusable one loses its turns, it
    /// does not take them later. A list of another length begins a new rotation; other weights
    /// count from the next turn of each server.
    pub fn choose(&mut self, servers: &impl Servers) -> Option<usize> {
        if self.turns.len() != servers.len() {
            self.begin(servers);
        }
        let mut earliest = self.turns.peek_mut()?;
        let Reverse((turn, server)) = *earliest;
        if turn < LATE && servers.is_usable(server as usize) {
            earliest.0.0 += step(servers, server);
            return Some(server as usize);
        }
        drop(earliest);
        self.pass_over(servers)
    }

    /// As `choose`, by looking at every server.
    #[cold]
    fn pass_over(&mut self, servers: &impl Servers) -> Option<usize> {
        let mut turns = std::mem::take(&mut self.turns).into_vec();
        let is_usable = |turn: &&Reverse<(u64, u32)>| servers.is_usable(turn.0.1 as usize);
        // `Reverse` makes the earliest the greatest.
        let next = turns.iter().filter(is_usable).max().map(|turn| turn.0);
        if let Some((now, _)) = next {
            for Reverse(turn) in turns.iter_mut().filter(|turn| Some(turn.0) <= next) {
                let step = step(servers, turn.1);
                turn.0 += (now - turn.0) / step * step + step;
            }
            if now >= LATE {
                turns.iter_mut().for_each(|turn| turn.0.0 -= now);
            }
        }
        self.turns = BinaryHeap::from(turns);
        next.map(|(_, server)| server as usize)
    }

    fn begin(&mut self, servers: &impl Servers) {
        let n = servers.len() as u64;
        let turn = |server: u32| {
            let step = step(servers, server);
            // First turns are spread over the step, so that many light servers do not come together.
            let first = step * (2 * u64::from(server) + 1) / (2 * n);
            let passed = self.start.saturating_sub(first).div_ceil(step);
            Reverse((first + passed * step - self.start, server))
        };
        self.turns = (0..servers.len() as u32).map(turn).collect();
    }
}

fn step(servers: &impl Servers, server: u32) -> u64 {
    (STEP / u64::from(servers.weight(server as usize))).max(1)
}
