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

#[cfg(test)]
mod tests {
    use super::super::key::hash_key;
    use super::super::simulated::Simulated;
    use super::*;
    use crate::random::Random;

    const KEYS: u64 = 1 << 16;

    /// Keys at equal distances, so that their shares are those of the circle.
    fn keys() -> impl Iterator<Item = u64> {
        (0..KEYS).map(|key| key * (u64::MAX / KEYS))
    }

    fn named(seed: u64, weights: &[u32]) -> Vec<(u64, u32)> {
        let name = |at: usize| format!("10.{seed}.{}.{}:8080", at / 256, at % 256);
        let id = |(at, &weight): (usize, &u32)| (hash_key(name(at).as_bytes()), weight);
        weights.iter().enumerate().map(id).collect()
    }

    fn owners(servers: &[(u64, u32)]) -> impl Iterator<Item = u64> {
        let ring = Ring::new(servers);
        let ids: Vec<u64> = servers.iter().map(|server| server.0).collect();
        keys().map(move |key| ids[ring.owner(key).expect("a ring of servers")])
    }

    /// What the circle is cut into, by another way: the next point of all, by looking at each.
    #[test]
    fn the_owner_is_the_next_point() {
        for weights in [&[1][..], &[1, 1], &[3, 1, 2], &[500, 700]] {
            let ring = Ring::new(&named(1, weights));
            let mut random = Random::seeded(4);
            let ends = ring.points.iter().map(|point| point.hash);
            let near = ends.flat_map(|hash| [hash.wrapping_sub(1), hash, hash.wrapping_add(1)]);
            let any = (0..1000).map(|_| random.number() as u32);
            for hash in near.step_by(11).chain(any).chain([0, u32::MAX]) {
                let behind = ring.points.iter().filter(|point| point.hash >= hash);
                let next = behind.min_by_key(|point| point.hash).unwrap_or(&ring.points[0]);
                let owner = ring.owner(u64::from(hash) << 32 | 77);
                assert_eq!(owner, Some(next.server as usize), "{hash:#x} of {weights:?}");
            }
        }
    }

    #[test]
    fn points_follow_weights_and_stay_within_their_limit() {
        let points = |weights: &[u32]| {
            let ring = Ring::new(&named(1, weights));
            let of = |server| ring.points.iter().filter(|p| p.server == server).count();
            (0..weights.len() as u32).map(of).collect::<Vec<usize>>()
        };
        assert_eq!(points(&[1, 1]), [160, 160]);
        assert_eq!(points(&[20, 40, 100]), [160, 320, 800]);
        assert_eq!(points(&[1000]), [160]);
        assert_eq!(points(&[409]), [160]);
        assert_eq!(points(&[999, 1]), [65_470, 65]);
        assert_eq!(points(&[1; 820]), [79; 820]);
        assert_eq!(points(&[]), []);
    }

    #[test]
    fn order_does_not_matter() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let weights: Vec<u32> = (0..8).map(|_| 1 + random.below(3) as u32).collect();
            let mut servers = named(seed, &weights);
            let before: Vec<u64> = owners(&servers).step_by(16).collect();
            for from in 0..servers.len() {
                servers.swap(from, random.below(8) as usize);
            }
            assert!(before.iter().copied().eq(owners(&servers).step_by(16)), "seed {seed}");
        }
    }

    /// Of N = 10 servers with the new one. Nothing moves but to it, so on average a tenth does;
    /// one ring differs from another since 160 points cut a circle only about evenly.
    #[test]
    fn a_new_server_takes_its_share_and_moves_nothing_else() {
        const N: usize = 10;
        let (mut sum, mut worst) = (0.0, 0.0f64);
        for seed in 0..256 {
            let servers = named(seed, &[1; N]);
            let mut moved = 0;
            for (before, after) in owners(&servers[1..]).zip(owners(&servers)) {
                if before != after {
                    assert_eq!(after, servers[0].0, "seed {seed}");
                    moved += 1;
                }
            }
            let part = f64::from(moved) / KEYS as f64 * N as f64;
            assert!(part <= 1.25, "seed {seed}: {part}/N");
            sum += part / 256.0;
            worst = worst.max(part);
            let modulo = keys().filter(|key| mix(*key) % (N as u64 - 1) != mix(*key) % N as u64);
            let part = modulo.count() as f64 / KEYS as f64;
            assert!(part > 0.98 * (N as f64 - 1.0) / N as f64, "seed {seed}: modulo {part}");
        }
        println!("of {N} servers, the new one takes {sum:.3}/N, at most {worst:.3}/N");
        assert!((0.98..1.02).contains(&sum), "{sum}");
    }

    /// About 1/sqrt(160) = 8 % from its share for a server of weight 1: four times that at most.
    #[test]
    fn keys_spread_by_weight() {
        for weights in [&[1; 10][..], &[1, 2, 5], &[3, 3, 3, 3, 6], &[1; 50]] {
            let whole: u32 = weights.iter().sum();
            let mut sums = vec![0.0; weights.len()];
            for seed in 0..256 {
                let servers = named(seed, weights);
                let mut counts = std::collections::HashMap::new();
                owners(&servers).for_each(|id| *counts.entry(id).or_insert(0u32) += 1);
                for ((server, weight), sum) in servers.iter().zip(weights).zip(&mut sums) {
                    let share = f64::from(*weight) / f64::from(whole);
                    let off = f64::from(counts[&server.0]) / KEYS as f64 / share;
                    assert!((0.66..1.45).contains(&off), "seed {seed}: {off} of a share");
                    *sum += off / 256.0;
                }
            }
            assert!(sums.iter().all(|sum| (0.98..1.02).contains(sum)), "{weights:?}: {sums:?}");
        }
    }

    /// Its keys stay where they are, but it takes few of them at a time.
    #[test]
    fn a_slow_start_bounds_load_and_moves_no_key() {
        let ring = Ring::new(&named(1, &[1; 4]));
        let mut servers = Simulated::new(&[10, 100, 100, 100]);
        let mut random = Random::seeded(9);
        let key = (0..).map(|_| random.number()).find(|&key| ring.owner(key) == Some(0));
        let key = key.expect("a server has keys");
        servers.loads = vec![0, 20, 20, 20];
        assert_eq!(ring.choose(&servers, key, Bound::default()), Some(0));
        servers.loads[0] = 3;
        assert_ne!(ring.choose(&servers, key, Bound::default()), Some(0));
        servers.weights[0] = 100;
        assert_eq!(ring.choose(&servers, key, Bound::default()), Some(0));
    }
}
