//! How often something was asked for lately, approximately, in few bits: a count-min sketch of
//! 4-bit counters (TinyLFU; Einziger, Friedman, Manes, ACM Transactions on Storage 13:4, 2017).
//!
//! It knows no keys, only hashes, also those of what is not stored. Counters never say less than
//! what was counted since they were halved, up to 15. All four counters of a hash are in the same
//! 64 bytes, so that counting touches one line of the processor's cache.
//!
//! Pure. [`crate::eviction`] calls it.

/// The sketch.
#[derive(Debug)]
pub(super) struct Sketch {
    /// A power of two of them.
    blocks: Vec<Block>,
    /// Counted since all counters were halved.
    counted: u64,
}

/// 128 counters.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Block([u64; 8]);

impl Sketch {
    pub(super) fn new() -> Sketch {
        Sketch { blocks: vec![Block::default(); FEWEST_BLOCKS], counted: 0 }
    }

    /// Counts one request. `entries` is how many are stored: the more there are, the longer it
    /// remembers.
    pub(super) fn count(&mut self, hash: u64, entries: usize) {
        let mixed = mix(hash);
        let position = self.position(mixed);
        let block = &mut self.blocks[position];
        for row in 0..ROWS {
            let (word, shift) = place(mixed, row);
            if (block.0[word] >> shift) & 0xf < MOST_COUNTED {
                block.0[word] += 1 << shift;
            }
        }
        self.counted += 1;
        if self.counted >= MEMORY * (entries.max(FEWEST_BLOCKS * ENTRIES_A_BLOCK) as u64) {
            self.halve();
        }
    }

    /// How often it was counted, up to 15; sometimes too often, since others share its counters.
    pub(super) fn estimate(&self, hash: u64) -> u32 {
        let mixed = mix(hash);
        let block = &self.blocks[self.position(mixed)];
        let counters = (0..ROWS).map(|row| {
            let (word, shift) = place(mixed, row);
            (block.0[word] >> shift) & 0xf
        });
        counters.min().unwrap_or(0) as u32
    }

    /// Makes it large enough for so many entries. What was counted stays: each half of the new
    /// table begins as a copy of the old one.
    pub(super) fn fit(&mut self, entries: usize) {
        while self.blocks.len() * ENTRIES_A_BLOCK < entries {
            let blocks = self.blocks.len();
            self.blocks.reserve_exact(blocks);
            self.blocks.extend_from_within(..blocks);
        }
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>()
    }

    fn halve(&mut self) {
        for block in &mut self.blocks {
            for word in &mut block.0 {
                *word = (*word >> 1) & 0x7777_7777_7777_7777;
            }
        }
        self.counted /= 2;
    }

    fn position(&self, mixed: u64) -> usize {
        (mixed >> 32) as usize & (self.blocks.len() - 1)
    }
}

/// Which word of the block, and which bits of it.
fn place(mixed: u64, row: u32) -> (usize, u32) {
    let bits = (mixed >> (row * 8)) as u32;
    let word = 2 * row + ((bits >> 4) & 1);
    (word as usize, (bits & 0xf) * 4)
}

/// The finaliser of SplitMix64: the store takes other bits of the same hash for its own purposes.
fn mix(hash: u64) -> u64 {
    let mut x = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Counters of a hash.
const ROWS: u32 = 4;

/// The largest value of a counter.
const MOST_COUNTED: u64 = 15;

/// Entries for which there is a block: 16 counters each.
const ENTRIES_A_BLOCK: usize = 8;

/// Requests, by entry, after which all counters are halved.
const MEMORY: u64 = 10;

/// Blocks of the smallest sketch.
const FEWEST_BLOCKS: usize = 16;
