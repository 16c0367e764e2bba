//! `hash` and `ip-hash`: a key always to the same server, by a consistent ring with virtual nodes
//! and bounded load (Karger et al.: *Consistent Hashing and Random Trees*, 1997). Adding or taking
//! away a server moves little more than the keys of that server. For `ip-hash` the key is the
//! address of the client.
//!
//! The ring is made of *configured* weights, so that a slow start moves no keys; what a server may
//! hold in flight is bounded by its *effective* weight, so that it starts slowly all the same.

use super::Servers;
use super::key::{GOLDEN, mix};
pub use super::overflow::Bound;
use super::overflow::place;

/// Points on the ring for one unit of weight.
pub const POINTS: u64 = 160;

/// Points that a ring has at most (half a megabyte and a quarter more). With more weight than 409
/// units every server gets its share of this many instead, at least one.
pub const MOST_POINTS: u64 = 1 << 16;

/// The ring of a group of servers. Made when the group changes, in about a millisecond for 100
/// servers of equal weight; workers can share it.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    /// By hash.
    points: Box<[Point]>,
    /// For each slice of the circle the first point in or behind it.
    slices: Box<[u32]>,
    ids: Box<[u64]>,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    hash: u32,
    server: u32,
}

impl Ring {
    /// The ring of servers, each with an id ([`super::key::hash_key`] of its address as text) and
    /// its configured weight, in the order of their positions. Which keys a server gets depends on
    /// the set of servers, not on their order. Ids should differ: of two equal ones, one server
    /// gets all keys.
    ///
    /// Only ratios of weights count: they are divided by what divides all of them. A new server
    /// that changes this divisor (a weight of 3 beside weights of 2 and 4) therefore moves more
    /// keys than its own, once.
    pub fn new(servers: &[(u64, u32)]) -> Ring {
        let divisor = servers.iter().fold(0, |divisor, server| common(divisor, server.1)).max(1);
        let units: u64 = servers.iter().map(|server| u64::from(server.1 / divisor)).sum();
        let wanted = units * POINTS;
        let mut points = Vec::with_capacity(wanted.min(MOST_POINTS) as usize);
        for (position, &(id, weight)) in servers.iter().enumerate() {
            let own = u64::from(weight / divisor) * POINTS;
            let count = match wanted {
                0..=MOST_POINTS => own,
                _ => (own * MOST_POINTS / wanted).max(1),
            };
            points.extend((1..=count).map(|nth| {
                let hash = (mix(id.wrapping_add(nth.wrapping_mul(GOLDEN))) >> 32) as u32;
                (Point { hash, server: position as u32 }, id)
            }));
        }
        points.sort_unstable_by_key(|(point, id)| (point.hash, *id));
        let points: Box<[Point]> = points.into_iter().map(|(point, _)| point).collect();
        Ring {
            slices: slices(&points),
            points,
            ids: servers.iter().map(|server| server.0).collect(),
        }
    }

    /// The server of a key (hashed by [`super::key::hash_key`]), or, when that one is unusable or
    /// at its bound, the next on the way of this key. `None` when no server is usable.
    #[inline]
    pub fn choose(&self, servers: &impl Servers, key: u64, bound: Bound) -> Option<usize> {
        place(servers, &self.ids, key, bound, |hash| self.owner(hash))
    }

    /// Whose a hash is: that of the first point at or behind it.
    #[inline]
    fn owner(&self, hash: u64) -> Option<usize> {
        let hash = (hash >> 32) as u32;
        let mut at = *self.slices.get(slice(hash, self.slices.len()))? as usize;
        while self.points.get(at).is_some_and(|point| point.hash < hash) {
            at += 1;
        }
        let point = self.points.get(at).or(self.points.first())?;
        Some(point.server as usize)
    }
}

/// The slice of the circle that a hash is in, of so many.
#[inline]
fn slice(hash: u32, slices: usize) -> usize {
    ((u64::from(hash) * slices as u64) >> 32) as usize
}

/// As many slices as points, so that a look-up passes about one point.
fn slices(points: &[Point]) -> Box<[u32]> {
    let mut at = 0;
    let first = |nth: usize| {
        while points.get(at).is_some_and(|point| slice(point.hash, points.len()) < nth) {
            at += 1;
        }
        at as u32
    };
    (0..points.len()).map(first).collect()
}

/// The greatest common divisor.
fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}
