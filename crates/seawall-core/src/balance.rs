//! Which server of an upstream takes the next request. One file a balancer.
//!
//! | `balance` | file | cost of a choice | what it is for |
//! |---|---|---|---|
//! | `round-robin` | [`round_robin`] | O(log n) | equal requests on equal servers; predictable |
//! | `random` | [`random`] | O(1) | many doors that must not fall into step |
//! | `least-connections` | [`least_connections`] | O(n) | few servers, requests of very unequal length |
//! | `two-choices` | [`two_choices`] | O(1) | the default: avoids the busy server |
//! | `least-latency` | [`least_latency`] | O(1) | servers of unequal or changing speed |
//! | `hash` | [`hash`] | O(1) | the same key to the same server, within a bound of its load |
//! | `ip-hash` | [`hash`] | O(1) | the same with the address of the client as key |
//! | `maglev` | [`maglev`] | O(1) | as `hash`, spread more evenly; a change moves more keys |
//!
//! O(1) is meant while servers are usable: a balancer that meets unusable ones a few times over
//! looks at all of them once, so that it finds a usable one whenever there is one.
//!
//! Beside them: [`levels`] decides by priority, zone and panic which of the servers are asked at
//! all, [`slow_start`] ramps the weight of a new one, [`weights`] makes a draw by weight cheap,
//! [`latency`] keeps what is known of the speed of a server, [`key`] hashes keys.
//!
//! A balancer knows servers only by position in the [`Servers`] it is given. To balance over a
//! part of the servers, as the groups of [`levels`] are, the caller implements [`Servers`] for the
//! part and maps positions back.

pub mod hash;
pub mod key;
pub mod latency;
pub mod least_connections;
pub mod least_latency;
pub mod levels;
pub mod maglev;
mod overflow;
pub mod random;
pub mod round_robin;
pub mod slow_start;
pub mod two_choices;
pub mod weights;

/// The servers to choose from, by position.
pub trait Servers {
    /// How many there are.
    fn len(&self) -> usize;

    /// The effective weight of one, at least 1: its configured weight (1 to 1000) times
    /// [`slow_start::SCALE`], less while it starts slowly. Only ratios count, so every server has
    /// to have the same scale.
    fn weight(&self, server: usize) -> u32;

    /// Requests in flight to one.
    fn load(&self, server: usize) -> u32;

    /// What an answer of one is expected to take, in microseconds: [`latency::Latency::read`].
    /// Only `least-latency` asks.
    fn latency(&self, server: usize) -> f32;

    /// What is typical of these servers, in microseconds: [`latency::typical`]. Only
    /// `least-latency` asks; infinity, where it is not said, means that no latency is far from it.
    fn typical_latency(&self) -> f32 {
        f32::INFINITY
    }

    /// Whether one may be chosen now.
    fn is_usable(&self, server: usize) -> bool;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests in flight to all of these servers. Balancers with a bounded load ask; whoever
    /// keeps the sum at hand should say it, since this counts.
    fn total_load(&self) -> u64 {
        (0..self.len()).map(|server| u64::from(self.load(server))).sum()
    }

    /// The effective weight of all of these servers; as for [`Servers::total_load`].
    fn total_weight(&self) -> u64 {
        (0..self.len()).map(|server| u64::from(self.weight(server))).sum()
    }
}

/// Whether the second of two servers is less loaded for its weight. Loads are compared at half a
/// request more than they are, which spreads the requests that do not divide evenly without favour
/// to light or heavy servers (as seats are given to parties by the method of Webster and
/// Sainte-Laguë). Two idle servers are alike.
fn is_lighter(servers: &impl Servers, second: usize, first: usize) -> bool {
    let (load, other) = (u64::from(servers.load(second)), u64::from(servers.load(first)));
    if load == 0 && other == 0 {
        return false;
    }
    let weights = (u64::from(servers.weight(second)), u64::from(servers.weight(first)));
    (2 * load + 1) * weights.1 < (2 * other + 1) * weights.0
}

#[cfg(test)]
pub(crate) mod simulated {
    //! Servers for the simulations, and what every balancer that draws must do with idle ones.

    use super::weights::Weights;
    use crate::random::Random;

    pub(crate) fn assert_idle_servers_are_chosen_by_weight(
        servers: Simulated,
        choose: impl Fn(&Simulated, &Weights, &mut Random) -> Option<usize>,
    ) {
        let table = Weights::of(&servers);
        let whole = f64::from(servers.weights.iter().sum::<u32>());
        let mut sums = vec![0.0; servers.weights.len()];
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let mut counts = vec![0u32; servers.weights.len()];
            for _ in 0..20_000 {
                counts[choose(&servers, &table, &mut random).expect("all are usable")] += 1;
            }
            for ((count, weight), sum) in counts.iter().zip(&servers.weights).zip(&mut sums) {
                let off = f64::from(*count) / 20_000.0 - f64::from(*weight) / whole;
                assert!(off.abs() < 0.02, "seed {seed}: {counts:?}");
                *sum += off / 256.0;
            }
        }
        assert!(sums.iter().all(|off| off.abs() < 0.001), "on average: {sums:?}");
    }

    pub(crate) struct Simulated {
        pub(crate) weights: Vec<u32>,
        pub(crate) loads: Vec<u32>,
        pub(crate) latencies: Vec<f32>,
        pub(crate) typical: f32,
        pub(crate) usable: Vec<bool>,
    }

    impl Simulated {
        pub(crate) fn new(weights: &[u32]) -> Simulated {
            let n = weights.len();
            Simulated {
                weights: weights.to_vec(),
                loads: vec![0; n],
                latencies: vec![1000.0; n],
                typical: 1000.0,
                usable: vec![true; n],
            }
        }
    }

    impl super::Servers for Simulated {
        fn len(&self) -> usize {
            self.weights.len()
        }
        fn weight(&self, server: usize) -> u32 {
            self.weights[server]
        }
        fn load(&self, server: usize) -> u32 {
            self.loads[server]
        }
        fn latency(&self, server: usize) -> f32 {
            self.latencies[server]
        }
        fn typical_latency(&self) -> f32 {
            self.typical
        }
        fn is_usable(&self, server: usize) -> bool {
            self.usable[server]
        }
    }
}
