//! `maglev`: a key always to the same server, by a table (Eisenbud et al.: *Maglev: A Fast and
//! Reliable Software Network Load Balancer*, NSDI 2016, §3.4).

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
