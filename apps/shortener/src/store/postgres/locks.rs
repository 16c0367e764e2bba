//! The advisory locks that instances take turns by. They are held until the end of a transaction.

use sha2::{Digest, Sha256};

/// Bringing the tables up to date.
pub(super) const MIGRATION: i64 = lock(1);

/// Adding to the list of changes.
pub(super) const CHANGES: i64 = lock(2);

/// Making the first key.
pub(super) const FIRST_KEY: i64 = lock(3);

/// Counting clicks.
pub(super) const CLICKS: i64 = lock(4);

/// An idempotent creation. Two that share a number by chance only wait for each other.
pub(super) fn creation(owner: i64, key: &str) -> i64 {
    let hash = Sha256::new().chain_update(owner.to_le_bytes()).chain_update(key).finalize();
    i64::from_le_bytes(hash[..8].try_into().expect("eight bytes of 32"))
}

/// Numbers that others in the same database hardly use.
const fn lock(number: i64) -> i64 {
    i64::from_be_bytes(*b"snip\0\0\0\0") + number
}
