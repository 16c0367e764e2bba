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
