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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// These values are part of what Seawall promises: others would move every key of every user
    /// at an update, and again while old and new doors run side by side.
    #[test]
    fn hashes_are_the_same_for_ever() {
        for (key, hash) in [
            ("", 0x0000_0000_0000_0000),
            ("a", 0x1b5a_4a93_9898_d413),
            ("/", 0x2b16_df2e_078e_aecc),
            ("10.0.0.1:8080", 0xaf3d_d001_645e_ce14),
            ("[2001:db8::1]:443", 0xc8f7_3b7e_17eb_4500),
            ("0123456", 0xd43a_6894_2908_df71),
            ("01234567", 0x92ca_2e39_c7a6_cc15),
            ("012345678", 0x7195_1224_4331_ce45),
            ("/products/42?colour=blue&size=large", 0x6e9b_3e0e_478e_f29e),
        ] {
            assert_eq!(
                hash_key(key.as_bytes()),
                hash,
                "{key:?}: {:#018x}",
                hash_key(key.as_bytes())
            );
        }
    }

    /// Keys as they are: alike, counted up, padded, of one byte.
    fn series() -> [(&'static str, Vec<Vec<u8>>); 7] {
        let texts = |text: fn(u32) -> String| (0..65_536).map(|n| text(n).into_bytes()).collect();
        [
            ("numbers", texts(|n| n.to_string())),
            ("paths", texts(|n| format!("/products/{n}"))),
            ("long paths", texts(|n| format!("/{n}/images/of/the/year/2024/large/picture.webp"))),
            ("addresses", texts(|n| format!("10.0.{}.{}:8080", n / 256, n % 256))),
            ("IPv4", (0u32..65_536).map(|n| (0x0a00_0000 + n).to_be_bytes().to_vec()).collect()),
            ("IPv6", (0u128..65_536).map(|n| (n << 64).to_be_bytes().to_vec()).collect()),
            ("zeros", (0..65_536usize).map(|n| vec![0; n / 16]).collect()),
        ]
    }

    #[test]
    fn keys_that_are_alike_spread_evenly() {
        for (name, mut keys) in series() {
            keys.dedup();
            // By the upper bits, as ring and table use them, and by the lower ones.
            for shift in [56, 32, 0] {
                let mut counts = [0u32; 256];
                for key in &keys {
                    counts[(hash_key(key) >> shift) as usize & 255] += 1;
                }
                let expect = keys.len() as f64 / 256.0;
                let squares = counts.iter().map(|&count| (f64::from(count) - expect).powi(2));
                let chi = squares.sum::<f64>() / expect;
                // 255 degrees of freedom: 255 ± 22.6.
                assert!((160.0..370.0).contains(&chi), "{name} >> {shift}: chi² {chi}");
            }
        }
    }

    #[test]
    fn keys_that_are_alike_do_not_collide() {
        for (name, mut keys) in series() {
            keys.dedup();
            let mut hashes: Vec<u64> = keys.iter().map(|key| hash_key(key)).collect();
            hashes.sort_unstable();
            hashes.dedup();
            assert_eq!(hashes.len(), keys.len(), "{name}");
        }
    }

    #[test]
    fn each_bit_of_a_key_changes_each_bit_of_its_hash_half_of_the_time() {
        for length in [1, 4, 7, 8, 9, 16, 20, 40] {
            for bit in 0..length * 8 {
                let mut changed = [0u32; 64];
                for seed in 0..256 {
                    let mut random = Random::seeded(seed);
                    let mut key: Vec<u8> = (0..length).map(|_| random.number() as u8).collect();
                    let before = hash_key(&key);
                    key[bit / 8] ^= 1 << (bit % 8);
                    let change = before ^ hash_key(&key);
                    (0..64).for_each(|of| changed[of] += u32::from(change >> of & 1 == 1));
                }
                // 128 ± 8.
                let even = changed.iter().all(|count| (78..=178).contains(count));
                assert!(even, "bit {bit} of {length} bytes: {changed:?}");
            }
        }
    }
}
