//! Where a key goes when its own server may not take it, for `hash` and `maglev`.
//!
//! Not to the neighbour: a server that overflows would push its surplus on one other, which then
//! overflows too. The key is hashed again and jumps anywhere (Chen, Coleman, Shrivastava:
//! *Revisiting Consistent Hashing with Bounded Loads*, 2020, arXiv 1908.08762), always along the
//! same way for the same key, so that it has the same second and third server.

use super::Servers;
use super::key::{GOLDEN, mix};

/// Jumps before all servers are looked at.
const JUMPS: u64 = 16;

/// The most that one server may take of what is in flight: `1 + ε` times its fair share by weight,
/// rounded up, with the request that is being placed counted in (Mirrokni, Thorup, Zadimoghaddam:
/// *Consistent Hashing with Bounded Loads*, 2018).
///
/// Workers that choose at the same moment do not see each other's choice, so the bound may be
/// passed by as many as there are such workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// `1 + ε` in percent; 0 for no bound.
    percent: u64,
}

impl Bound {
    /// No bound: a server takes all of its keys.
    pub const NONE: Bound = Bound { percent: 0 };

    /// ε in percent. 25 is the default; with 0 the spread is perfect and hardly any key stays.
    pub const fn percent(epsilon: u32) -> Bound {
        Bound { percent: 100 + epsilon as u64 }
    }

    /// Whether a server may take one more.
    #[inline]
    fn admits(self, servers: &impl Servers, server: usize) -> bool {
        let load = servers.load(server);
        // The bound is never below one request, so an idle server costs no sums.
        if load == 0 || self == Bound::NONE {
            return true;
        }
        // `load < ceil(x / y)` is `load * y < x`.
        let share = u128::from(servers.weight(server)) * u128::from(servers.total_load() + 1);
        let whole = u128::from(servers.total_weight()) * 100;
        u128::from(load) * whole < share * u128::from(self.percent)
    }
}

impl Default for Bound {
    fn default() -> Bound {
        Bound::percent(25)
    }
}

/// The first server on the way of `key` that is usable and within its bound, where `owner` says
/// whose a hash is; when the jumps find none, the one of all with the highest hash together with
/// the key; when all are at their bounds, which then count servers that are not usable, the one
/// with the least load for its weight. `None` when no server is usable.
#[inline]
pub(super) fn place(
    servers: &impl Servers,
    ids: &[u64],
    key: u64,
    bound: Bound,
    owner: impl Fn(u64) -> Option<usize>,
) -> Option<usize> {
    debug_assert_eq!(ids.len(), servers.len(), "made for other servers");
    let mut hash = key;
    for jump in 1..=JUMPS {
        let server = owner(hash)?;
        if server < servers.len() && servers.is_usable(server) && bound.admits(servers, server) {
            return Some(server);
        }
        hash = mix(key.wrapping_add(jump.wrapping_mul(GOLDEN)));
    }
    scan(servers, ids, key, bound)
}

#[cold]
fn scan(servers: &impl Servers, ids: &[u64], key: u64, bound: Bound) -> Option<usize> {
    let score = |server: usize| mix(ids.get(server).copied().unwrap_or(0) ^ key);
    let usable = || (0..servers.len()).filter(|&server| servers.is_usable(server));
    let within = usable().filter(|&server| bound.admits(servers, server)).max_by_key(|&s| score(s));
    within.or_else(|| {
        usable().min_by(|&a, &b| {
            let load = |one, other| u64::from(servers.load(one)) * u64::from(servers.weight(other));
            load(a, b).cmp(&load(b, a))
        })
    })
}
