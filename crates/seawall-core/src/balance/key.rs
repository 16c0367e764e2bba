//! The hash of keys and servers that `hash` and `maglev` place by.
//!
//! It gives the same on every machine and in every release, so that doors agree and an update
//! moves no key. It has no seed and resists nobody who chooses keys on purpose: such a key can be
//! made to hit a certain server by trying, with any hash; what protects that server is its bound.

/// 2^64 divided by the golden ratio: the step between numbers that [`mix`] makes independent.
pub(super) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// An odd number with its bits in no order, from the multipliers of Steele and Vigna (2021).
const FACTOR: u64 = 0xd134_2543_de82_ef95;

/// The hash of a key, or of the name of a server.
///
/// Eight bytes at a time are mixed in by a multiplication that carries upwards and a shift that
/// carries downwards; the end is mixed by the finaliser of SplitMix64.
#[inline]
pub fn hash_key(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = (bytes.len() as u64).wrapping_mul(GOLDEN);
    for word in words {
        state = absorb(state, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        // The length was mixed in, so zeros behind the end are not taken for content.
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        state = absorb(state, u64::from_le_bytes(last));
    }
    mix(state)
}

#[inline]
fn absorb(state: u64, word: u64) -> u64 {
    let product = (state ^ word).wrapping_mul(FACTOR);
    product ^ (product >> 32)
}

/// Spreads every bit over all (SplitMix64: Steele, Lea, Flood 2014). One to one.
#[inline]
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
