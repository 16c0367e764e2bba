//! Which server of an upstream takes the next request. One file a balancer.
//!
//! | `balance` | file | cost of a choice | what it is for |
//! |---|---|---|---|
//! | `round-robin` | [`round_robin`] | O(n) | equal requests on equal servers; predictable |
//! | `two-choices` | [`two_choices`] | O(1), O(n) with weights | the default: avoids the busy server |

pub mod least_latency;
pub mod round_robin;
pub mod two_choices;

/// stub
pub fn hash_key(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}

/// The servers to choose from, by position.
pub trait Servers {
    /// How many there are.
    fn len(&self) -> usize;
    /// The weight of one, at least 1.
    fn weight(&self, server: usize) -> u32;
    /// Requests in flight to one.
    fn load(&self, server: usize) -> u32;
    /// Whether one may be chosen now.
    fn is_usable(&self, server: usize) -> bool;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
pub(crate) mod simulated {
    //! Servers for the simulations.

    pub(crate) struct Simulated {
        pub(crate) weights: Vec<u32>,
        pub(crate) loads: Vec<u32>,
        pub(crate) usable: Vec<bool>,
    }

    impl Simulated {
        pub(crate) fn new(weights: &[u32]) -> Simulated {
            let n = weights.len();
            Simulated { weights: weights.to_vec(), loads: vec![0; n], usable: vec![true; n] }
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
        fn is_usable(&self, server: usize) -> bool {
            self.usable[server]
        }
    }
}
