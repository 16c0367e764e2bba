//! What can be in a slot of the memory tier, and what it weighs.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::Millis;
use crate::eviction::Slot;
use crate::object::Object;

/// That answers under a key are not to be stored (hit-for-miss).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Until when this holds.
    pub until: Millis,
    /// The reason, as a number of the caller's.
    pub why: u8,
}

/// By which request fields the answers of a URL vary.
#[derive(Debug, PartialEq, Eq)]
pub struct Variants {
    hash: u64,
    key: Box<[u8]>,
    names: Box<[Box<[u8]>]>,
}

impl Variants {
    /// `names` need no order, and may be repeated.
    pub(crate) fn new(hash: u64, key: &[u8], mut names: Vec<Box<[u8]>>) -> Variants {
        names.sort_unstable();
        names.dedup();
        Variants { hash, key: key.into(), names: names.into() }
    }

    /// The hash of the key of the URL.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The key of the URL.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The names of the fields, lower case, in order, each once.
    pub fn names(&self) -> &[Box<[u8]>] {
        &self.names
    }

    /// Whether they are those of the same URL, by the same fields.
    pub(crate) fn same(self: &Arc<Variants>, other: &Arc<Variants>) -> bool {
        Arc::ptr_eq(self, other) || self == other
    }
}

/// What is in a slot.
#[derive(Debug)]
pub(crate) enum Value {
    /// The slot is free.
    Nothing,
    /// An answer, and up to which [epoch](crate::purge::Purges::epoch) it was not purged.
    Object(Arc<Object>, u32),
    Family(Box<Family>),
    Mark(Box<Marked>),
    Chunk(Box<Chunk>),
}

/// The variants of a URL.
#[derive(Debug)]
pub(crate) struct Family {
    pub(super) variants: Arc<Variants>,
    /// Those that are stored, the one that was stored last behind.
    pub(super) members: VecDeque<Slot>,
}

/// A key that is marked.
#[derive(Debug)]
pub(crate) struct Marked {
    pub(super) key: Box<[u8]>,
    pub(super) mark: Mark,
}

/// A piece of the content of an object.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(super) id: u64,
    pub(super) number: u32,
    pub(super) bytes: Bytes,
}

impl Value {
    pub(crate) fn object(object: Arc<Object>) -> Value {
        Value::Object(object, 0)
    }

    pub(crate) fn mark(key: &[u8], mark: Mark) -> Value {
        Value::Mark(Box::new(Marked { key: key.into(), mark }))
    }

    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Value::Object(object, _) => object.key(),
            Value::Family(family) => family.variants.key(),
            Value::Mark(marked) => &marked.key,
            Value::Chunk(_) | Value::Nothing => &[],
        }
    }

    /// Bytes of memory that it takes, with what the allocator adds.
    pub(crate) fn memory(&self) -> u64 {
        let bytes = match self {
            Value::Nothing => 0,
            Value::Object(object, _) => {
                let head = size_of::<Object>() + COUNTS;
                allocated(head) + allocated(object.size() - head)
            }
            Value::Family(family) => {
                let Variants { key, names, .. } = &*family.variants;
                allocated(size_of::<Family>())
                    + allocated(family.members.capacity() * size_of::<Slot>())
                    + allocated(size_of::<Variants>() + COUNTS)
                    + allocated(key.len())
                    + allocated(size_of_val(&**names))
                    + names.iter().map(|name| allocated(name.len())).sum::<usize>()
            }
            Value::Mark(marked) => allocated(size_of::<Marked>()) + allocated(marked.key.len()),
            Value::Chunk(chunk) => {
                allocated(size_of::<Chunk>()) + allocated(chunk.bytes.len()) + allocated(SHARED)
            }
        };
        bytes as u64
    }
}

/// What an allocation takes: eight bytes more, rounded up to sixteen, no less than 32, as usual
/// allocators for 64 bits have it.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

/// The counts of an `Arc`.
const COUNTS: usize = 2 * size_of::<usize>();

/// What [`Bytes`] keeps beside the bytes.
const SHARED: usize = 4 * size_of::<usize>();
