//! How the numbers of a sequence become codes that look random: a keyed permutation, written in
//! Base62.
//!
//! Every number below 62^7 has one code of seven characters and every such code one number, so
//! that codes never meet each other and nothing is looked up before a link is stored. Without the
//! key, a code says nothing of the one before it or after it. Pure; called by the store.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::link::Code;

/// Characters of a code that is made here.
pub const LENGTH: usize = 7;

/// How many codes there are: 62^7, about 3.5 million million.
pub const CODES: u64 = 62_u64.pow(LENGTH as u32);

/// The digits of Base62, in their order.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Rounds of the Feistel network. Four make a permutation that cannot be told from a random one if
/// the round function cannot (Luby and Rackoff 1988); small halves are given more, as in NIST SP
/// 800-38G (FF1).
const ROUNDS: u8 = 10;

/// Codes under one key.
#[derive(Clone)]
pub struct Codes {
    permutation: Permutation,
}

impl Codes {
    /// Codes under `key`, which must be kept, the same for all instances, and secret: whoever has
    /// it can list all codes.
    pub fn new(key: &[u8; 32]) -> Codes {
        Codes { permutation: Permutation::new(key, CODES) }
    }

    /// The code of `id`, or `None` from [`CODES`] on.
    pub fn encode(&self, id: u64) -> Option<Code> {
        let mut number = self.permutation.forward(id)?;
        let mut text = [0; LENGTH];
        for place in text.iter_mut().rev() {
            *place = DIGITS[(number % 62) as usize];
            number /= 62;
        }
        let text = std::str::from_utf8(&text).expect("digits are ASCII");
        Some(Code::new(text).expect("digits may stand in a code"))
    }

    /// The number whose code this is, or `None` when it is none of this form.
    pub fn decode(&self, code: &Code) -> Option<u64> {
        let text = code.as_str().as_bytes();
        if text.len() != LENGTH {
            return None;
        }
        let number = text.iter().try_fold(0, |number, byte| {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'A'..=b'Z' => byte - b'A' + 10,
                b'a'..=b'z' => byte - b'a' + 36,
                _ => return None,
            };
            Some(number * 62 + u64::from(digit))
        })?;
        self.permutation.backward(number)
    }
}

impl std::fmt::Debug for Codes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codes")
    }
}

/// A permutation of the numbers below `size`: a balanced Feistel network over the next power of
/// four, walked until it is back below `size` (cycle walking, Black and Rogaway 2002), which takes
/// fewer than four steps on average, and 1.25 for [`CODES`].
#[derive(Clone)]
struct Permutation {
    keys: [u64; 2],
    /// Bits of each half.
    half: u32,
    size: u64,
}

impl Permutation {
    fn new(key: &[u8; 32], size: u64) -> Permutation {
        let word = |at: usize| {
            let bytes = key[at..at + 8].try_into().expect("eight bytes of 32");
            u64::from_le_bytes(bytes)
        };
        let bits = u64::BITS - size.saturating_sub(1).leading_zeros();
        // SipHash has a key of 128 bits: both halves of ours go into it.
        let keys = [word(0) ^ word(16).rotate_left(32), word(8) ^ word(24).rotate_left(32)];
        Permutation { keys, half: bits.div_ceil(2).max(1), size }
    }

    fn forward(&self, mut number: u64) -> Option<u64> {
        if number >= self.size {
            return None;
        }
        // A permutation comes back to where it began, so that this ends.
        loop {
            number = self.network(number, 0..ROUNDS);
            if number < self.size {
                return Some(number);
            }
        }
    }

    fn backward(&self, mut number: u64) -> Option<u64> {
        if number >= self.size {
            return None;
        }
        loop {
            number = self.swap(self.network(self.swap(number), (0..ROUNDS).rev()));
            if number < self.size {
                return Some(number);
            }
        }
    }

    /// The network; with its rounds reversed, between two swaps, its inverse.
    fn network(&self, number: u64, rounds: impl Iterator<Item = u8>) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (number >> self.half, number & mask);
        for round in rounds {
            (left, right) = (right, left ^ (self.round(round, right) & mask));
        }
        (left << self.half) | right
    }

    fn swap(&self, number: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        ((number & mask) << self.half) | (number >> self.half)
    }

    fn round(&self, round: u8, half: u64) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.keys[0], self.keys[1]);
        hasher.write_u64((half << 8) | u64::from(round));
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn key(seed: u64) -> [u8; 32] {
        let mut random = fastrand::Rng::with_seed(seed);
        std::array::from_fn(|_| random.u8(..))
    }

    #[test]
    fn every_number_of_a_small_domain_has_one_image_and_back() {
        for size in (1..=70).chain([255, 256, 257, 1000, 4095, 4096, 4097, 62 * 62 * 62]) {
            let permutation = Permutation::new(&key(size), size);
            let mut seen = vec![false; size as usize];
            for number in 0..size {
                let image = permutation.forward(number).expect("in the domain");
                assert!(image < size, "{number} of {size} goes out of the domain");
                assert!(!seen[image as usize], "{number} of {size} meets another");
                seen[image as usize] = true;
                assert_eq!(permutation.backward(image), Some(number), "of {size}");
            }
            assert_eq!(permutation.forward(size), None);
            assert_eq!(permutation.backward(size), None);
        }
    }

    proptest! {
        #[test]
        fn any_number_comes_back(id in 0..CODES, key: [u8; 32]) {
            let codes = Codes::new(&key);
            let code = codes.encode(id).expect("in the domain");
            prop_assert_eq!(code.as_str().len(), LENGTH);
            prop_assert_eq!(codes.decode(&code), Some(id));
        }

        #[test]
        fn any_code_comes_back(text in "[0-9A-Za-z]{7}", key: [u8; 32]) {
            let codes = Codes::new(&key);
            let code = Code::new(&text).expect("a code");
            let id = codes.decode(&code).expect("all texts of seven digits are codes");
            prop_assert_eq!(codes.encode(id), Some(code));
        }
    }

    #[test]
    fn the_first_and_the_last_have_codes_and_the_next_has_none() {
        for seed in 0..256 {
            let codes = Codes::new(&key(seed));
            for id in [0, 1, CODES - 2, CODES - 1] {
                let code = codes.encode(id).expect("in the domain");
                assert_eq!(codes.decode(&code), Some(id), "seed {seed}");
            }
            assert_eq!(codes.encode(CODES), None);
            assert_eq!(codes.encode(u64::MAX), None);
        }
    }

    #[test]
    fn other_texts_have_no_number() {
        let codes = Codes::new(&key(1));
        for text in ["a", "abcdef", "abcdefgh", "abc-efg", "______x"] {
            assert_eq!(codes.decode(&Code::new(text).expect("a code")), None, "{text}");
        }
    }

    #[test]
    fn a_million_codes_in_a_row_are_all_different() {
        let codes = Codes::new(&key(2));
        let seen: HashSet<Code> = (0..1_000_000).filter_map(|id| codes.encode(id)).collect();
        assert_eq!(seen.len(), 1_000_000);
    }

    /// Each place of the code takes each digit as often as chance would have it: the statistic of
    /// Pearson's test with 61 degrees of freedom is above 140 in one of about 10 million cases.
    #[test]
    fn numbers_in_a_row_fill_all_digits_evenly() {
        for seed in 0..16 {
            let codes = Codes::new(&key(seed));
            let mut counts = [[0_f64; 62]; LENGTH];
            const COUNT: u64 = 20_000;
            for id in 0..COUNT {
                let code = codes.encode(id).expect("in the domain");
                for (place, byte) in code.as_str().bytes().enumerate() {
                    let digit = DIGITS.iter().position(|digit| *digit == byte).expect("a digit");
                    counts[place][digit] += 1.0;
                }
            }
            let expected = COUNT as f64 / 62.0;
            for (place, counts) in counts.iter().enumerate() {
                let chi: f64 = counts.iter().map(|n| (n - expected).powi(2) / expected).sum();
                assert!(chi < 140.0, "seed {seed}, place {place}: {chi}");
            }
        }
    }

    /// Who sees a code learns nothing of its neighbours: the distances between codes of numbers in
    /// a row are spread over the whole range, and no distance comes back.
    #[test]
    fn neighbours_are_far_apart_and_differently_so() {
        let permutation = Permutation::new(&key(3), CODES);
        let image = |id| permutation.forward(id).expect("in the domain");
        let distances: Vec<u64> =
            (0..10_000).map(|id| (image(id + 1) + CODES - image(id)) % CODES).collect();
        let different: HashSet<_> = distances.iter().collect();
        assert!(different.len() >= 9_990, "only {} distances", different.len());
        let lower = distances.iter().filter(|distance| **distance < CODES / 2).count();
        assert!((4_700..5_300).contains(&lower), "{lower} of 10,000 go less than half way");
    }

    #[test]
    fn keys_make_different_codes() {
        let codes: HashSet<Code> =
            (0..1_000).filter_map(|seed| Codes::new(&key(seed)).encode(0)).collect();
        assert!(codes.len() >= 999, "only {} codes", codes.len());
    }

    #[test]
    fn every_byte_of_the_key_counts() {
        let code = |key: &[u8; 32]| Codes::new(key).encode(7);
        for place in 0..32 {
            let mut other = key(4);
            other[place] ^= 1;
            assert_ne!(code(&other), code(&key(4)), "byte {place}");
        }
    }
}
