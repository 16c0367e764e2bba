//! `maglev`: a key always to the same server, by a table (Eisenbud et al.: *Maglev: A Fast and
//! Reliable Software Network Load Balancer*, NSDI 2016, §3.4).
//!
//! Servers get their shares of the keys almost exactly, where a ring gives them about. The price is
//! paid when servers change: beside the keys of the server in question some others move. Measured,
//! of N servers a new one moves 1.02/N of the keys when N is 10, 1.12/N when it is 30, 1.6/N when
//! it is 100, 2.5/N when it is 200; a ring always 1/N on average.

use super::Servers;
use super::hash::Bound;
use super::key::{GOLDEN, mix};
use super::overflow::place;

/// Entries of a table. A prime, as the paper asks for, so that every step visits all entries.
pub const ENTRIES: usize = 65_537;

/// The table of a group of servers. Made when the group changes; workers can share it.
#[derive(Debug, Clone, Default)]
pub struct Table {
    entries: Box<[u16]>,
    ids: Box<[u64]>,
}

impl Table {
    /// The table of servers, each with an id ([`super::key::hash_key`] of its address as text) and
    /// its configured weight, in the order of their positions. Which keys a server gets depends on
    /// the set of servers, not on their order. Of more than 65,536 servers the rest gets none.
    pub fn new(servers: &[(u64, u32)]) -> Table {
        let ids = servers.iter().map(|server| server.0).collect();
        let mut order: Vec<u16> = (0..=u16::MAX).take(servers.len()).collect();
        order.sort_by_key(|&server| servers[usize::from(server)].0);
        let most = servers.iter().map(|server| u64::from(server.1)).max().unwrap_or(0);
        if most == 0 {
            return Table { entries: Box::default(), ids };
        }
        struct Turn {
            server: u16,
            weight: u64,
            due: u64,
            at: usize,
            step: usize,
        }
        let mut turns: Vec<Turn> = order
            .into_iter()
            .map(|server| {
                let (id, weight) = servers[usize::from(server)];
                let at = (mix(id) % ENTRIES as u64) as usize;
                let step = (mix(id.wrapping_add(GOLDEN)) % (ENTRIES as u64 - 1)) as usize + 1;
                Turn { server, weight: u64::from(weight), due: 0, at, step }
            })
            .collect();
        let mut entries = vec![None; ENTRIES];
        let mut left = ENTRIES;
        'rounds: for round in 1.. {
            for turn in &mut turns {
                if round * turn.weight <= turn.due {
                    continue;
                }
                turn.due += most;
                while entries[turn.at].is_some() {
                    turn.at = (turn.at + turn.step) % ENTRIES;
                }
                entries[turn.at] = Some(turn.server);
                left -= 1;
                if left == 0 {
                    break 'rounds;
                }
            }
        }
        Table { entries: entries.into_iter().map(Option::unwrap_or_default).collect(), ids }
    }

    /// The server of a key (hashed by [`super::key::hash_key`]), or, when that one is unusable or
    /// at its bound, the next on the way of this key. `None` when no server is usable.
    #[inline]
    pub fn choose(&self, servers: &impl Servers, key: u64, bound: Bound) -> Option<usize> {
        place(servers, &self.ids, key, bound, |hash| self.owner(hash))
    }

    #[inline]
    fn owner(&self, hash: u64) -> Option<usize> {
        let entry = (u128::from(hash) * self.entries.len() as u128) >> 64;
        self.entries.get(entry as usize).map(|&server| usize::from(server))
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::hash_key;
    use super::*;
    use crate::random::Random;

    fn named(seed: u64, weights: &[u32]) -> Vec<(u64, u32)> {
        let name = |at: usize| format!("10.{seed}.{}.{}:8080", at / 256, at % 256);
        let id = |(at, &weight): (usize, &u32)| (hash_key(name(at).as_bytes()), weight);
        weights.iter().enumerate().map(id).collect()
    }

    /// Of each entry.
    fn owners(servers: &[(u64, u32)]) -> Vec<u64> {
        let table = Table::new(servers);
        table.entries.iter().map(|&server| servers[usize::from(server)].0).collect()
    }

    #[test]
    fn entries_are_spread_by_weight_almost_exactly() {
        for seed in 0..16 {
            let mut random = Random::seeded(seed);
            let n = 1 + random.below(100) as usize;
            let most = [1, 3, 1000][seed as usize % 3];
            let weights: Vec<u32> = (0..n).map(|_| 1 + random.below(most) as u32).collect();
            let whole: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            let table = Table::new(&named(seed, &weights));
            let mut counts = vec![0u32; n];
            table.entries.iter().for_each(|&server| counts[usize::from(server)] += 1);
            for (count, weight) in counts.iter().zip(&weights) {
                let share = f64::from(*weight) / whole * ENTRIES as f64;
                let off = f64::from(*count) - share;
                assert!(off.abs() <= 2.0 + share * 0.001, "seed {seed}: {count} of {share}");
            }
        }
    }

    #[test]
    fn every_entry_is_reached() {
        let table = Table::new(&named(1, &[1; 7]));
        for entry in 0..ENTRIES {
            let hash = ((entry as u128) << 64).div_ceil(ENTRIES as u128) as u64;
            assert_eq!(table.owner(hash), Some(usize::from(table.entries[entry])));
        }
        assert_eq!(table.owner(u64::MAX), table.entries.last().map(|&last| usize::from(last)));
    }

    #[test]
    fn order_does_not_matter() {
        for seed in 0..16 {
            let mut random = Random::seeded(seed);
            let weights: Vec<u32> = (0..8).map(|_| 1 + random.below(3) as u32).collect();
            let mut servers = named(seed, &weights);
            let before = owners(&servers);
            for from in 0..servers.len() {
                servers.swap(from, random.below(8) as usize);
            }
            assert_eq!(before, owners(&servers), "seed {seed}");
        }
    }

    /// A table gives way a little: keys move between servers that were there before. How many
    /// depends on entries a server: hardly any with ten servers, a quarter more with forty.
    #[test]
    fn a_new_server_moves_little_more_than_its_share() {
        for (n, seeds, bound) in [(10, 256, 1.25), (30, 16, 1.25), (100, 4, 1.75)] {
            let mut sum = 0.0;
            for seed in 0..seeds {
                let servers = named(seed, &vec![1; n]);
                let (before, after) = (owners(&servers[1..]), owners(&servers));
                let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
                let part = moved.count() as f64 / ENTRIES as f64 * n as f64;
                assert!(part <= bound, "seed {seed}: {part}/{n}");
                sum += part / seeds as f64;
            }
            println!("of {n} servers, a new one moves {sum:.3}/{n} of the keys");
            assert!(sum >= 0.999, "of {n}: {sum}");
        }
    }

    #[test]
    fn a_table_of_none_or_of_very_many_is_made() {
        assert_eq!(Table::new(&[]).owner(5), None);
        assert_eq!(Table::new(&[(1, 0)]).owner(5), None);
        let many: Vec<(u64, u32)> = (0..70_000).map(|id| (mix(id), 1)).collect();
        assert!(Table::new(&many).owner(5).is_some_and(|server| server < 65_536));
    }
}
