//! How many different visitors there were, without a list of them: HyperLogLog. Pure.
//!
//! 4,096 registers of 6 bits, so that the standard error is 1.04 / √4096 = 1.6 % (Flajolet et al.,
//! "HyperLogLog", 2007) for any number of visitors. Up to [`MOST_SPARSE`] of them, a sorted list of
//! 31 bits of each hash stands in for the registers (Heule et al., "HyperLogLog in Practice", 2013,
//! §5.3): it is as good as exact, and small for the many links that few people click. The estimate
//! is Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017, algorithm 6),
//! which needs no table of corrections.
//!
//! The bytes of a sketch are stable: they are what is stored.

use std::f64::consts::LN_2;

/// Bits of a hash that choose its register.
const PRECISION: u32 = 12;

/// Registers.
const REGISTERS: usize = 1 << PRECISION;

/// Bits of a hash that choose its place in the list.
const SPARSE_PRECISION: u32 = 25;

/// Bits of an entry of the list for the position of the first 1 behind the place: 1 to 40.
const RANK: u32 = 6;

/// Entries that the list has at most; with more, registers are smaller.
pub const MOST_SPARSE: usize = 512;

/// Bytes of a stored sketch at most.
pub const LONGEST_SKETCH: usize = 1 + REGISTERS * 6 / 8;

/// A set of visitors that can be counted, approximately, and joined with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Sorted; each place once.
    Sparse(Vec<u32>),
    /// The largest rank that each register has seen; 0: none.
    Dense(Box<[u8; REGISTERS]>),
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch(Form::Sparse(Vec::new()))
    }
}

impl Sketch {
    /// Adds a visitor by a hash that is as good as random.
    pub fn insert(&mut self, hash: u64) {
        let place = (hash >> (64 - SPARSE_PRECISION)) as u32;
        let behind = hash << SPARSE_PRECISION;
        let rank = (behind.leading_zeros() + 1).min(64 - SPARSE_PRECISION + 1);
        self.insert_entry(place << RANK | rank);
    }

    /// Adds all visitors of another sketch. In whatever order, and however often the same, the
    /// outcome is one.
    pub fn merge(&mut self, other: &Sketch) {
        match &other.0 {
            Form::Sparse(entries) => entries.iter().for_each(|entry| self.insert_entry(*entry)),
            Form::Dense(theirs) => {
                let ours = self.dense();
                for (our, their) in ours.iter_mut().zip(theirs.iter()) {
                    *our = (*our).max(*their);
                }
            }
        }
    }

    /// How many visitors there were, about.
    pub fn count(&self) -> u64 {
        match &self.0 {
            // Two of 512 share one of 2^25 places once in 250 sketches.
            Form::Sparse(entries) => entries.len() as u64,
            Form::Dense(registers) => estimate(registers),
        }
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Sparse(entries) if entries.is_empty())
    }

    /// Bytes that it holds in memory.
    pub fn held(&self) -> usize {
        match &self.0 {
            Form::Sparse(entries) => entries.capacity() * size_of::<u32>(),
            Form::Dense(_) => REGISTERS,
        }
    }

    /// Appends what is stored: a byte for its form, then entries of four bytes, or registers of six
    /// bits, four in three bytes; the lowest first.
    pub fn write(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Form::Sparse(entries) => {
                out.push(SPARSE);
                entries.iter().for_each(|entry| out.extend_from_slice(&entry.to_le_bytes()));
            }
            Form::Dense(registers) => {
                out.push(DENSE);
                for four in registers.chunks_exact(4) {
                    let bits = (0..4).fold(0, |bits, at| bits | u32::from(four[at]) << (6 * at));
                    out.extend_from_slice(&bits.to_le_bytes()[..3]);
                }
            }
        }
    }

    /// Reads what was written. `None` when that cannot have been it.
    pub fn read(bytes: &[u8]) -> Option<Sketch> {
        let (form, bytes) = bytes.split_first()?;
        match *form {
            SPARSE if bytes.len().is_multiple_of(4) && bytes.len() <= 4 * MOST_SPARSE => {
                let entry = |four: &[u8]| u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
                let entries: Vec<u32> = bytes.chunks_exact(4).map(entry).collect();
                let is_sorted = entries.windows(2).all(|pair| pair[0] >> RANK < pair[1] >> RANK);
                let is_fit = |entry: &u32| entry >> 31 == 0 && (1..=40).contains(&rank(*entry));
                (is_sorted && entries.iter().all(is_fit)).then_some(Sketch(Form::Sparse(entries)))
            }
            DENSE if bytes.len() == LONGEST_SKETCH - 1 => {
                let mut registers = Box::new([0; REGISTERS]);
                for (four, three) in registers.chunks_exact_mut(4).zip(bytes.chunks_exact(3)) {
                    let bits = u32::from_le_bytes([three[0], three[1], three[2], 0]);
                    for (at, register) in four.iter_mut().enumerate() {
                        *register = (bits >> (6 * at)) as u8 & 0x3f;
                    }
                }
                let is_fit = registers.iter().all(|rank| u32::from(*rank) <= HIGHEST);
                is_fit.then_some(Sketch(Form::Dense(registers)))
            }
            _ => None,
        }
    }

    fn insert_entry(&mut self, entry: u32) {
        match &mut self.0 {
            Form::Sparse(entries) => {
                match entries.binary_search_by_key(&(entry >> RANK), |known| known >> RANK) {
                    Ok(at) => entries[at] = entries[at].max(entry),
                    Err(at) if entries.len() < MOST_SPARSE => entries.insert(at, entry),
                    Err(_) => raise(self.dense(), entry),
                }
            }
            Form::Dense(registers) => raise(registers, entry),
        }
    }

    /// The registers, made of the list if there was one.
    fn dense(&mut self) -> &mut [u8; REGISTERS] {
        if let Form::Sparse(entries) = &self.0 {
            let mut registers = Box::new([0; REGISTERS]);
            entries.iter().for_each(|entry| raise(&mut registers, *entry));
            self.0 = Form::Dense(registers);
        }
        match &mut self.0 {
            Form::Dense(registers) => registers,
            Form::Sparse(_) => unreachable!("it was made dense just now"),
        }
    }
}

const SPARSE: u8 = 1;
const DENSE: u8 = 2;

/// The rank of a hash that is 0 behind the bits of its register.
const HIGHEST: u32 = 64 - PRECISION + 1;

fn rank(entry: u32) -> u32 {
    entry & ((1 << RANK) - 1)
}

/// What an entry of the list says to the registers: the same as its hash would.
fn raise(registers: &mut [u8; REGISTERS], entry: u32) {
    const BETWEEN: u32 = SPARSE_PRECISION - PRECISION;
    let place = entry >> RANK;
    let between = place & ((1 << BETWEEN) - 1);
    let rank = match between {
        0 => BETWEEN + rank(entry),
        _ => between.leading_zeros() - (32 - BETWEEN) + 1,
    };
    let register = &mut registers[(place >> BETWEEN) as usize];
    *register = (*register).max(rank as u8);
}

fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    const M: f64 = REGISTERS as f64;
    let mut counts = [0_u32; HIGHEST as usize + 1];
    registers.iter().for_each(|rank| counts[usize::from(*rank)] += 1);
    let of = |rank: usize| f64::from(counts[rank]);
    let mut z = M * tau(1.0 - of(HIGHEST as usize) / M);
    for rank in (1..HIGHEST as usize).rev() {
        z = 0.5 * (z + of(rank));
    }
    z += M * sigma(of(0) / M);
    (M * M / (2.0 * LN_2) / z).round() as u64
}

/// For registers that have seen nothing: x + Σ x^(2^k) · 2^(k-1).
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// For registers that can go no higher: (1 - x - Σ (1 - x^(2^-k))² · 2^-k) / 3.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn of(hashes: impl IntoIterator<Item = u64>) -> Sketch {
        let mut sketch = Sketch::default();
        hashes.into_iter().for_each(|hash| sketch.insert(hash));
        sketch
    }

    /// Hashes that are as good as random (SplitMix64), the same for a seed.
    fn hashes(seed: u64, count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(move |number| {
            let mut z = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        })
    }

    fn bytes(sketch: &Sketch) -> Vec<u8> {
        let mut bytes = Vec::new();
        sketch.write(&mut bytes);
        bytes
    }

    #[test]
    fn few_visitors_are_counted_exactly() {
        for seed in 0..256 {
            let exact: HashSet<u64> = hashes(seed, 100).collect();
            let sketch = of(hashes(seed, 100).chain(hashes(seed, 100)));
            assert_eq!(sketch.count(), exact.len() as u64, "seed {seed}");
            assert_eq!(bytes(&sketch).len(), 1 + 4 * exact.len(), "seed {seed}");
        }
        assert_eq!(Sketch::default().count(), 0);
    }

    #[test]
    fn many_visitors_are_counted_within_the_stated_error() {
        for count in [600, 1_000, 3_000, 10_000, 30_000, 100_000] {
            let mut squares = 0.0;
            for seed in 0..64 {
                let error = of(hashes(seed, count)).count() as f64 / count as f64 - 1.0;
                // Five standard errors: one in two million sketches is further off.
                assert!(error.abs() < 5.0 * 0.01625, "seed {seed}: {count} is off by {error}");
                squares += error * error;
            }
            let error = f64::sqrt(squares / 64.0);
            assert!(error < 1.3 * 0.01625, "{count}: standard error {error}");
        }
    }

    #[test]
    fn all_registers_can_be_full_or_empty() {
        assert!(estimate(&[HIGHEST as u8; REGISTERS]) > 1 << 60);
        assert_eq!(estimate(&[0; REGISTERS]), 0);
        // 0 and 1 share a place.
        let extremes = of([0, u64::MAX, 1, 1 << 52, 1 << 39]);
        assert_eq!(extremes.count(), 4);
    }

    #[test]
    fn the_bytes_are_what_was_stored_before() {
        assert_eq!(bytes(&Sketch::default()), [1]);
        assert_eq!(bytes(&of([1 << 39, 0])), [1, 40, 0, 0, 0, 104, 0, 0, 0]);
        let dense = bytes(&of(hashes(7, 5_000)));
        assert_eq!(dense.len(), LONGEST_SKETCH);
        let sum = dense.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        assert_eq!(
            sum, 13_056_981_770_911_319_204,
            "a sketch of another form cannot be joined with those that are stored"
        );
    }

    proptest! {
        #[test]
        fn a_merge_is_the_sketch_of_all(
            seed in any::<u64>(), left in 0..2_000_u64, right in 0..2_000_u64, both in 0..200_u64,
        ) {
            let (a, b) = (hashes(seed, left), hashes(!seed, right));
            let common: Vec<u64> = hashes(seed ^ 1, both).collect();
            let mut one = of(a.chain(common.iter().copied()));
            let other = of(b.chain(common.iter().copied()));
            let mut turned = other.clone();
            turned.merge(&one);
            one.merge(&other);
            let all = of(hashes(seed, left).chain(hashes(!seed, right)).chain(common));
            prop_assert_eq!(one.count(), all.count());
            prop_assert_eq!(&one, &turned);
            let mut again = one.clone();
            again.merge(&other);
            prop_assert_eq!(again, one);
        }

        #[test]
        fn what_is_written_is_read(seed in any::<u64>(), count in 0..1_500_u64) {
            let sketch = of(hashes(seed, count));
            prop_assert_eq!(Sketch::read(&bytes(&sketch)), Some(sketch));
        }

        #[test]
        fn the_order_does_not_matter(seed in any::<u64>(), count in 0..1_500_u64) {
            let mut reversed: Vec<u64> = hashes(seed, count).collect();
            reversed.reverse();
            let (one, other) = (of(hashes(seed, count)), of(reversed));
            prop_assert_eq!(one, other);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..3200)) {
            if let Some(sketch) = Sketch::read(&bytes) {
                let mut again = Vec::new();
                sketch.write(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
