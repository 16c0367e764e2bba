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

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    fn turns(rotation: &mut RoundRobin, servers: &Simulated, count: usize) -> String {
        let name = |server: usize| (b'a' + server as u8) as char;
        (0..count).map(|_| rotation.choose(servers).map_or('-', name)).collect()
    }

    #[test]
    fn servers_take_turns_by_weight_and_smoothly() {
        for (weights, expect) in [
            (&[1, 1, 1][..], "abcabcabc"),
            (&[5, 1, 1], "aaabaacaaabaac"),
            (&[1, 5, 1], "babbbcbbabbbcb"),
            (&[3, 1, 1, 1], "aabcadaabcad"),
            (&[2, 1], "aabaab"),
            (&[1], "aaa"),
            (&[], "---"),
        ] {
            let servers = Simulated::new(weights);
            let turns = turns(&mut RoundRobin::default(), &servers, expect.len());
            assert_eq!(turns, expect, "{weights:?}");
        }
    }

    /// After any number of turns, and wherever the rotation began, no server is far from its part.
    #[test]
    fn no_server_is_ever_two_turns_ahead_or_behind() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let n = 1 + random.below(30) as usize;
            let most = [1, 3, 10, 100][seed as usize % 4];
            let weights: Vec<u32> = (0..n).map(|_| 100 * (1 + random.below(most) as u32)).collect();
            let servers = Simulated::new(&weights);
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            let mut rotation = RoundRobin::anywhere(&mut random);
            let mut counts = vec![0u32; n];
            for turn in 1..=3000 {
                counts[rotation.choose(&servers).expect("all are usable")] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    let ahead = f64::from(*count) - f64::from(turn) * f64::from(*weight) / total;
                    assert!(ahead.abs() < 2.0, "seed {seed}: {ahead} after {turn} of {weights:?}");
                }
            }
        }
    }

    #[test]
    fn rotations_begin_anywhere() {
        let servers = Simulated::new(&[100; 8]);
        let mut random = Random::seeded(3);
        let mut firsts = [0; 8];
        for _ in 0..8000 {
            let first = RoundRobin::anywhere(&mut random).choose(&servers);
            firsts[first.expect("all are usable")] += 1;
        }
        assert!(firsts.iter().all(|first| (850..1150).contains(first)), "{firsts:?}");
    }

    #[test]
    fn an_unusable_server_is_passed_over_and_takes_no_revenge() {
        let mut servers = Simulated::new(&[100, 300, 100]);
        let mut rotation = RoundRobin::default();
        servers.usable[1] = false;
        let without = turns(&mut rotation, &servers, 100);
        assert_eq!(without.matches('b').count(), 0);
        assert_eq!(without.matches('a').count(), 50);
        servers.usable[1] = true;
        let after = turns(&mut rotation, &servers, 10);
        assert_eq!(after.matches('b').count(), 6, "{after}");
        servers.usable = vec![false; 3];
        assert_eq!(turns(&mut rotation, &servers, 2), "--");
    }

    /// A weight that grows, as it does twice a second in a slow start, starts nothing anew.
    #[test]
    fn a_weight_that_changes_counts_from_the_next_turn() {
        let mut servers = Simulated::new(&[100, 10]);
        let mut rotation = RoundRobin::default();
        let mut counts = [0; 2];
        for weight in (10..=100).step_by(10) {
            servers.weights[1] = weight;
            for _ in 0..2 {
                counts[rotation.choose(&servers).expect("both are usable")] += 1;
            }
        }
        // Two turns for each weight from 10 % to 100 %, half of them at its best.
        assert!((4..=8).contains(&counts[1]), "{counts:?}");
        let after = turns(&mut rotation, &servers, 10);
        assert_eq!(after.matches('b').count(), 5, "{after}");
    }

    #[test]
    fn times_start_again_before_they_overflow() {
        let servers = Simulated::new(&[1, 3]);
        let mut rotation = RoundRobin::default();
        turns(&mut rotation, &servers, 1);
        rotation.turns =
            rotation.turns.drain().map(|Reverse((at, s))| Reverse((at + LATE, s))).collect();
        let after = turns(&mut rotation, &servers, 400);
        assert_eq!(after.matches('b').count(), 300);
        assert!(rotation.turns.iter().all(|turn| turn.0.0 < LATE), "{rotation:?}");
    }
}
