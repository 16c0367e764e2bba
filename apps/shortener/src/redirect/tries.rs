//! How often passwords may be tried: so many for each link and client, so many for each link, and
//! so many at once, since each costs tens of milliseconds of a core.
//!
//! GCRA on a bounded table in this process; instances do not share it, so that `n` of them allow
//! `n` times as many. Pure but for the table: the time is an argument.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of one client at one link: ten at once, then one each six seconds.
const OF_CLIENT: Rate = Rate { every: Duration::from_secs(6), burst: 10 };

/// Of everyone at one link: a hundred at once, then two a second.
const OF_LINK: Rate = Rate { every: Duration::from_millis(500), burst: 100 };

/// Passwords that are checked or wait for it at once.
const AT_ONCE: usize = 32;

/// Clients and links that are remembered; the longest forgotten start anew.
const REMEMBERED: usize = 100_000;

struct Rate {
    every: Duration,
    burst: u32,
}

/// Who tries.
pub struct Tries {
    /// By link and client, and by link: when what was used will be given back.
    used: Cache<u64, Arc<Mutex<Instant>>>,
    hasher: RandomState,
    turns: Arc<Semaphore>,
}

impl Default for Tries {
    fn default() -> Tries {
        Tries {
            used: Cache::new(REMEMBERED),
            hasher: RandomState::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Tries {
    /// Whether this client may try a password of this link now, which then counts.
    pub fn may(&self, code: &str, client: IpAddr, now: Instant) -> bool {
        // The client first: one who has no more does not use up what others have.
        self.take(&(code, network(client)), &OF_CLIENT, now) && self.take(&code, &OF_LINK, now)
    }

    /// The right to check a password, as long as it is held. `None` when too many do.
    pub fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.clone().try_acquire_owned().ok()
    }

    fn take(&self, who: &impl Hash, rate: &Rate, now: Instant) -> bool {
        let key = self.hasher.hash_one(who);
        let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(Mutex::new(now)));
        let used = match self.used.get_or_insert_with(&key, fresh) {
            Ok(used) => used,
            Err(never) => match never {},
        };
        let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*used).max(now) + rate.every;
        let may = next - now <= rate.every * rate.burst;
        if may {
            *used = next;
        }
        may
    }
}

/// What one client can have many addresses of: the /64 of IPv6.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_client_has_ten_and_then_one_each_six_seconds() {
        let (tries, now) = (Tries::default(), Instant::now());
        let one = client("192.0.2.1");
        let count = |at: Instant| (0..100).filter(|_| tries.may("a", one, at)).count();
        assert_eq!(count(now), 10);
        assert_eq!(count(now + Duration::from_secs(5)), 0);
        assert_eq!(count(now + Duration::from_secs(6)), 1);
        assert_eq!(count(now + Duration::from_secs(6 + 18)), 3);
        assert_eq!(count(now + Duration::from_secs(3600)), 10);
        let later = now + Duration::from_secs(3600);
        assert!(tries.may("b", one, later), "each link counts for itself");
        assert!(tries.may("a", client("192.0.2.2"), later), "and each client");
    }

    #[test]
    fn many_clients_have_a_hundred_together() {
        let (tries, now) = (Tries::default(), Instant::now());
        let may = |n: u32| tries.may("a", IpAddr::V4((0x0a00_0000 + n).into()), now);
        assert_eq!((0..1000).filter(|n| may(*n)).count(), 100);
        assert!(tries.may("b", client("192.0.2.1"), now));
    }

    #[test]
    fn the_addresses_of_one_network_are_one_client() {
        let (tries, now) = (Tries::default(), Instant::now());
        let may = |n: u32| tries.may("a", client(&format!("2001:db8::{n:x}")), now);
        assert_eq!((0..100).filter(|n| may(*n)).count(), 10);
        assert!(tries.may("a", client("2001:db8:0:1::1"), now));
    }

    #[test]
    fn so_many_are_checked_at_once() {
        let tries = Tries::default();
        let held: Vec<_> = std::iter::from_fn(|| tries.turn()).take(1000).collect();
        assert_eq!(held.len(), AT_ONCE);
        drop(held);
        assert!(tries.turn().is_some());
    }
}
