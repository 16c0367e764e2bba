//! Draws by weight in constant time, for the balancers that draw. Whoever owns a group of servers
//! builds one of these when members or weights change (weights change at most twice a second,
//! while a server starts slowly), never for a request.

use super::Servers;
use crate::random::Random;

/// Draws that may hit an unusable server before all servers are looked at.
const DRAWS: usize = 8;

/// A table from which servers are drawn by weight, in one step each.
///
/// The alias method (Walker 1977, in the exact form of Vose 1991): as many columns as servers,
/// each of the same size, each shared by at most two servers. Weights that are all equal need no
/// table.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    len: usize,
    columns: Box<[Column]>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    /// The part of the column that is the server's own, of 2^64.
    own: u64,
    /// Whose the rest is.
    other: u32,
}

impl Weights {
    /// The table for servers of these effective weights, in the order of their positions. Costs
    /// O(n).
    pub fn new(weights: &[u32]) -> Weights {
        let len = weights.len();
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Weights { len, columns: Box::default() };
        }
        // Shares in units of which a column holds `total` and all servers together `len * total`.
        let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
        let mut shares: Vec<u128> =
            weights.iter().map(|&weight| u128::from(weight) * len as u128).collect();
        let full = Column { own: u64::MAX, other: 0 };
        let mut columns = vec![full; len].into_boxed_slice();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..len).partition(|&server| shares[server] < total);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            columns[poor] =
                Column { own: ((shares[poor] << 64) / total) as u64, other: rich as u32 };
            shares[rich] -= total - shares[poor];
            if shares[rich] < total {
                large.pop();
                small.push(rich);
            }
        }
        // What is left is exactly full: the arithmetic is one of integers.
        for server in small.into_iter().chain(large) {
            columns[server] = Column { own: u64::MAX, other: server as u32 };
        }
        Weights { len, columns }
    }

    /// The table for the effective weights of `servers`.
    pub fn of(servers: &impl Servers) -> Weights {
        let weights: Vec<u32> = (0..servers.len()).map(|server| servers.weight(server)).collect();
        Weights::new(&weights)
    }

    /// How many servers it was made for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it was made for none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One of all servers by weight; 0 when there is none.
    #[inline]
    pub fn draw(&self, random: &mut Random) -> usize {
        // The upper half of the product is the column, the lower half a place within it.
        let spot = u128::from(random.number()) * self.len as u128;
        let column = (spot >> 64) as usize;
        match self.columns.get(column) {
            Some(shared) if spot as u64 >= shared.own => shared.other as usize,
            _ => column,
        }
    }

    /// One of the usable servers by weight, but not `except`; `None` when there is none.
    #[inline]
    pub fn draw_usable(
        &self,
        servers: &impl Servers,
        except: Option<usize>,
        random: &mut Random,
    ) -> Option<usize> {
        debug_assert_eq!(self.len, servers.len(), "a table of other servers");
        let may =
            |server| server < servers.len() && Some(server) != except && servers.is_usable(server);
        for _ in 0..DRAWS {
            let server = self.draw(random);
            if may(server) {
                return Some(server);
            }
        }
        scan(servers, may, random)
    }
}

/// The same draw among the servers that `may` be drawn, by looking at every one.
#[cold]
fn scan(servers: &impl Servers, may: impl Fn(usize) -> bool, random: &mut Random) -> Option<usize> {
    let mut total = 0;
    let mut drawn = None;
    for server in (0..servers.len()).filter(|&server| may(server)) {
        let weight = u64::from(servers.weight(server));
        total += weight;
        if random.below(total) < weight {
            drawn = Some(server);
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    /// What the table gives each server, exactly.
    fn parts(table: &Weights) -> Vec<f64> {
        let mut parts = vec![0.0; table.len()];
        for column in 0..table.len() {
            let shared = table.columns.get(column);
            let own = shared.map_or(1.0, |shared| shared.own as f64 / u64::MAX as f64);
            parts[column] += own / table.len() as f64;
            if let Some(shared) = shared {
                parts[shared.other as usize] += (1.0 - own) / table.len() as f64;
            }
        }
        parts
    }

    #[test]
    fn the_table_holds_each_weight_exactly() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let n = 1 + random.below(200) as usize;
            let most = [1, 3, 1000, 100_000, u64::from(u32::MAX)][seed as usize % 5];
            let weights: Vec<u32> = (0..n).map(|_| 1 + random.below(most) as u32).collect();
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            let parts = parts(&Weights::new(&weights));
            for (part, weight) in parts.iter().zip(&weights) {
                let off = (part - f64::from(*weight) / total).abs();
                assert!(off < 1e-12, "seed {seed}: {weight} of {total} got {part}");
            }
        }
    }

    #[test]
    fn draws_follow_the_table() {
        for weights in [&[1, 2, 5][..], &[7, 7, 7, 7], &[1000, 1], &[1, 0, 3]] {
            let table = Weights::new(weights);
            let mut random = Random::seeded(7);
            let mut counts = vec![0u32; weights.len()];
            (0..1_000_000).for_each(|_| counts[table.draw(&mut random)] += 1);
            let total: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(weights) {
                let off = f64::from(*count) / 1e6 - f64::from(*weight) / f64::from(total);
                assert!(off.abs() < 0.002, "{weights:?}: {counts:?}");
            }
        }
        assert_eq!(Weights::new(&[]).draw(&mut Random::seeded(1)), 0);
    }

    /// Whether by lucky draws or by looking at all.
    #[test]
    fn usable_servers_are_drawn_by_weight_however_few_they_are() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let n = 2 + random.below(40) as usize;
            let weights: Vec<u32> = (0..n).map(|_| 1 + random.below(4) as u32).collect();
            let mut servers = Simulated::new(&weights);
            let most = 1 + random.below(n as u64) as usize;
            servers.usable = (0..n).map(|server| server < most && random.below(4) == 0).collect();
            let table = Weights::of(&servers);
            let except = random.below(n as u64) as usize;
            let may = |server: usize| servers.usable[server] && server != except;
            let total: u32 = (0..n).filter(|&server| may(server)).map(|s| weights[s]).sum();
            let mut counts = vec![0u32; n];
            for _ in 0..10_000 {
                match table.draw_usable(&servers, Some(except), &mut random) {
                    Some(server) => counts[server] += 1,
                    None => assert_eq!(total, 0, "seed {seed}"),
                }
            }
            for (server, &count) in counts.iter().enumerate() {
                let expect = if may(server) { f64::from(weights[server]) } else { 0.0 };
                let off = f64::from(count) / 1e4 - expect / f64::from(total.max(1));
                assert!(off.abs() < 0.025, "seed {seed}: server {server} of {counts:?}");
                assert_eq!(count > 0, may(server), "seed {seed}: server {server} of {counts:?}");
            }
        }
    }
}
