//! The memory tier: one shard of it.
//!
//! An index from keys to slots, what is in each slot, and the [policy](crate::eviction) that says
//! which of them go. Everything counts against the shard's budget: objects with what the allocator
//! adds to them, index, slots, and the policy's own memory. A look-up compares the whole key.
//!
//! The variants of a URL are in the shard of that URL, beside a node that names the fields they
//! vary by, and go with it.
//!
//! It takes no lock and knows no clock: [`crate::store`] holds a lock around each shard, and lets
//! what was given up fall after it has let go of it.

mod upkeep;
mod value;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashTable;

pub(crate) use value::Value;
use value::{Chunk, Family};
pub use value::{Mark, Variants};

use crate::Millis;
use crate::eviction::{Eviction, Slot};
use crate::object::Object;
use crate::purge::{Purged, Purges};

/// What is known under a key.
#[derive(Debug, Clone)]
pub enum Found {
    /// An answer.
    Object {
        /// It.
        object: Arc<Object>,
        /// When it was purged softly, if it was: it is stale since then.
        soft: Option<Millis>,
    },
    /// Its answers vary by these fields: ask again by [`Store::get_variant`].
    ///
    /// [`Store::get_variant`]: crate::store::Store::get_variant
    Varies(Arc<Variants>),
    /// Its answers are not to be stored: go to the origin, and do not wait for others.
    Pass(Mark),
}

/// Why something was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is larger than the part of the memory that it would be in.
    TooLarge,
    /// It was purged while it was fetched.
    Purged,
    /// What is stored was received later.
    Older,
}

/// Where something is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// What a URL's own key leads to.
    Primary(&'a [u8]),
    /// One of the variants of a URL.
    Variant(&'a Arc<Variants>, &'a [u8]),
    /// A piece of the content of an object.
    Chunk(u64, u32),
}

/// What a shard has counted, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) objects: u64,
    pub(crate) families: u64,
    pub(crate) variants: u64,
    pub(crate) marks: u64,
    pub(crate) chunks: u64,
    pub(crate) evicted: u64,
    pub(crate) crowded: u64,
    pub(crate) purged: u64,
}

/// A shard.
#[derive(Debug)]
pub(crate) struct Shard {
    index: HashTable<Slot>,
    nodes: Vec<Node>,
    policy: Eviction,
    budget: u64,
    counts: Counts,
    /// The slot that the sweep looks at next.
    hand: usize,
    /// The number of the newest purge when the sweep that is under way began.
    sweeping: u64,
    /// That of the last sweep that has looked at everything.
    swept: u64,
}

#[derive(Debug)]
struct Node {
    value: Value,
    /// The slot of the URL of which it is a variant.
    owner: Slot,
    /// Look-ups that found it, or what was there before under the same key.
    uses: u32,
}

impl Shard {
    pub(crate) fn new(budget: u64) -> Shard {
        let mut shard = Shard {
            index: HashTable::new(),
            nodes: Vec::new(),
            policy: Eviction::new(0),
            budget,
            counts: Counts::default(),
            hand: 0,
            sweeping: 0,
            swept: 0,
        };
        shard.policy.set_budget(budget.saturating_sub(shard.fixed()));
        shard
    }

    /// Changes what it may take, and gives up what is too much.
    pub(crate) fn set_budget(&mut self, budget: u64, purges: &Purges, gone: &mut Vec<Value>) {
        self.budget = budget;
        self.make_room(purges, gone);
    }

    /// What is there, and how often it was found by now.
    #[inline]
    pub(crate) fn get(
        &mut self,
        hash: u64,
        place: Place<'_>,
        purges: &Purges,
        gone: &mut Vec<Value>,
    ) -> Option<(Found, u32)> {
        let Some(slot) = self.find(hash, place) else {
            self.policy.missed(hash);
            return None;
        };
        let purged = self.check(slot, purges);
        if purged == Some(Purged::Hard) {
            self.counts.purged += 1;
            self.discard(slot, gone);
            self.policy.missed(hash);
            return None;
        }
        self.policy.hit(slot);
        let node = &mut self.nodes[slot as usize];
        node.uses = node.uses.saturating_add(1);
        let found = match &node.value {
            Value::Object(object, _) => {
                let soft = match purged {
                    Some(Purged::Soft(when)) => Some(when),
                    _ => None,
                };
                Found::Object { object: Arc::clone(object), soft }
            }
            Value::Family(family) => Found::Varies(Arc::clone(&family.variants)),
            Value::Mark(marked) => Found::Pass(marked.mark),
            Value::Chunk(_) | Value::Nothing => return None,
        };
        Some((found, node.uses))
    }

    /// Whether there is something, without counting that it was asked for.
    pub(crate) fn holds(&self, hash: u64, place: Place<'_>) -> bool {
        self.find(hash, place).is_some()
    }

    /// Whether a piece of content is here.
    pub(crate) fn has_chunk(&self, hash: u64, id: u64, number: u32) -> bool {
        self.find(hash, Place::Chunk(id, number)).is_some()
    }

    /// A piece of content.
    pub(crate) fn chunk(&mut self, hash: u64, id: u64, number: u32) -> Option<Bytes> {
        let Some(slot) = self.find(hash, Place::Chunk(id, number)) else {
            self.policy.missed(hash);
            return None;
        };
        self.policy.hit(slot);
        match &self.nodes[slot as usize].value {
            Value::Chunk(chunk) => Some(chunk.bytes.clone()),
            _ => None,
        }
    }

    /// Puts a piece of content in.
    pub(crate) fn put_chunk(
        &mut self,
        hash: u64,
        (id, number): (u64, u32),
        bytes: Bytes,
        purges: &Purges,
        gone: &mut Vec<Value>,
    ) -> Result<(), Refused> {
        let value = Value::Chunk(Box::new(Chunk { id, number, bytes }));
        let weight = self.weigh(&value)?;
        let found = self.find(hash, Place::Chunk(id, number));
        self.put(found, hash, value, weight, NONE, gone);
        self.make_room(purges, gone);
        Ok(())
    }

    /// Puts an object in, in place of whatever is there.
    pub(crate) fn put_object(
        &mut self,
        hash: u64,
        object: Arc<Object>,
        purges: &Purges,
        gone: &mut Vec<Value>,
    ) -> Result<(), Refused> {
        let found = self.find(hash, Place::Primary(object.key()));
        self.admissible(found, &object, purges)?;
        let value = Value::object(object);
        let weight = self.weigh(&value)?;
        self.put(found, hash, value, weight, NONE, gone);
        self.make_room(purges, gone);
        Ok(())
    }

    /// Puts a variant in, and gives up the one that was stored first if there are more than `most`.
    pub(crate) fn put_variant(
        &mut self,
        variants: &Arc<Variants>,
        (hash, value): (u64, Value),
        most: usize,
        purges: &Purges,
        gone: &mut Vec<Value>,
    ) -> Result<(), Refused> {
        let weight = self.weigh(&value)?;
        let found = self.find(hash, Place::Variant(variants, value.key()));
        if let Value::Object(object, _) = &value {
            self.admissible(found, object, purges)?;
        }
        let owner = match self.find(variants.hash(), Place::Primary(variants.key())) {
            Some(owner) if self.names(owner).is_some_and(|names| names.same(variants)) => owner,
            other => {
                let family = Value::Family(Box::new(Family {
                    variants: Arc::clone(variants),
                    members: VecDeque::new(),
                }));
                let weight = self.weigh(&family)?;
                self.put(other, variants.hash(), family, weight, NONE, gone)
            }
        };
        let slot = self.put(found, hash, value, weight, owner, gone);
        if let Value::Family(family) = &mut self.nodes[owner as usize].value {
            family.members.retain(|member| *member != slot);
            family.members.push_back(slot);
            let crowd = family.members.len() > most;
            if crowd && let Some(first) = family.members.pop_front() {
                self.counts.crowded += 1;
                self.discard(first, gone);
            }
            self.reweigh(owner);
        }
        self.make_room(purges, gone);
        Ok(())
    }

    /// Marks a key as one whose answers are not to be stored, unless it has variants.
    pub(crate) fn put_mark(
        &mut self,
        hash: u64,
        value: Value,
        purges: &Purges,
        gone: &mut Vec<Value>,
    ) -> Result<(), Refused> {
        let weight = self.weigh(&value)?;
        let found = self.find(hash, Place::Primary(value.key()));
        if found.is_some_and(|slot| self.names(slot).is_some()) {
            return Ok(());
        }
        self.put(found, hash, value, weight, NONE, gone);
        self.make_room(purges, gone);
        Ok(())
    }

    /// The names that the answers under a key vary by.
    pub(crate) fn variants(&self, hash: u64, key: &[u8]) -> Option<&Arc<Variants>> {
        self.names(self.find(hash, Place::Primary(key))?)
    }

    /// Takes out what is there, with all variants. Whether there was something.
    pub(crate) fn remove(&mut self, hash: u64, place: Place<'_>, gone: &mut Vec<Value>) -> bool {
        let found = self.find(hash, place);
        if let Some(slot) = found {
            self.discard(slot, gone);
        }
        found.is_some()
    }

    /// Takes out a mark, and nothing else.
    pub(crate) fn clear_mark(&mut self, hash: u64, place: Place<'_>, gone: &mut Vec<Value>) {
        let found = self.find(hash, place);
        if let Some(slot) = found
            && matches!(self.nodes[slot as usize].value, Value::Mark(_))
        {
            self.discard(slot, gone);
        }
    }

    /// What it has counted, and what it holds.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of memory that it takes.
    pub(crate) fn memory(&self) -> u64 {
        self.policy.weight() + self.fixed()
    }

    fn find(&self, hash: u64, place: Place<'_>) -> Option<Slot> {
        let found = self.index.find(hash, |&slot| {
            let node = &self.nodes[slot as usize];
            match (&node.value, place) {
                (Value::Chunk(chunk), Place::Chunk(id, number)) => {
                    (chunk.id, chunk.number) == (id, number)
                }
                (Value::Chunk(_), _) | (_, Place::Chunk(..)) => false,
                (value, Place::Primary(key)) => node.owner == NONE && value.key() == key,
                (value, Place::Variant(variants, key)) => {
                    node.owner != NONE
                        && value.key() == key
                        && self.names(node.owner).is_some_and(|names| names.same(variants))
                }
            }
        });
        found.copied()
    }

    fn names(&self, slot: Slot) -> Option<&Arc<Variants>> {
        match &self.nodes[slot as usize].value {
            Value::Family(family) => Some(&family.variants),
            _ => None,
        }
    }

    /// Whether what is in a slot was purged. What was not is only looked at again after the next
    /// purge.
    #[inline]
    fn check(&mut self, slot: Slot, purges: &Purges) -> Option<Purged> {
        let epoch = purges.epoch();
        let Value::Object(object, checked) = &mut self.nodes[slot as usize].value else {
            return None;
        };
        if epoch == Some(*checked) {
            return None;
        }
        let purged = purges.check(object.meta.sequence, object.labels());
        if let (None, Some(epoch)) = (purged, epoch) {
            *checked = epoch;
        }
        purged
    }

    fn admissible(
        &mut self,
        found: Option<Slot>,
        object: &Object,
        purges: &Purges,
    ) -> Result<(), Refused> {
        if purges.check(object.meta.sequence, object.labels()) == Some(Purged::Hard) {
            return Err(Refused::Purged);
        }
        if let Some(slot) = found
            && let Value::Object(stored, _) = &self.nodes[slot as usize].value
            && stored.meta.received > object.meta.received
            && stored.meta.sequence >= object.meta.sequence
            && self.check(slot, purges).is_none()
        {
            return Err(Refused::Older);
        }
        Ok(())
    }

    fn weigh(&self, value: &Value) -> Result<u32, Refused> {
        let bytes = value.memory();
        let room = self.budget.saturating_sub(self.fixed());
        u32::try_from(bytes).ok().filter(|_| bytes <= room).ok_or(Refused::TooLarge)
    }

    /// Puts something into the slot that was found for it, or a new one.
    fn put(
        &mut self,
        found: Option<Slot>,
        hash: u64,
        value: Value,
        weight: u32,
        owner: Slot,
        gone: &mut Vec<Value>,
    ) -> Slot {
        if let Some(slot) = found {
            self.disown(slot, gone);
            self.count(slot, false);
            let node = &mut self.nodes[slot as usize];
            gone.push(std::mem::replace(&mut node.value, value));
            self.policy.reweigh(slot, weight);
            self.count(slot, true);
            return slot;
        }
        let slot = self.policy.insert(hash, weight);
        let node = Node { value, owner, uses: 0 };
        if slot as usize == self.nodes.len() {
            if self.nodes.len() == self.nodes.capacity() {
                self.nodes.reserve_exact(self.nodes.len() / 16 + FEWEST_SLOTS);
            }
            self.nodes.push(node);
        } else {
            self.nodes[slot as usize] = node;
        }
        let policy = &self.policy;
        self.index.insert_unique(hash, slot, |slot| policy.hash(*slot));
        self.count(slot, true);
        slot
    }

    /// Gives up entries until all is within the budget: first, if there were purges, a few that
    /// are of no use any more.
    fn make_room(&mut self, purges: &Purges, gone: &mut Vec<Value>) {
        self.policy.set_budget(self.budget.saturating_sub(self.fixed()));
        if self.policy.weight() > self.policy.budget() {
            self.sweep(SWEPT_FOR_ROOM, None, purges, gone);
        }
        let mut slots = Vec::new();
        self.policy.make_room(&mut slots);
        self.counts.evicted += slots.len() as u64;
        for slot in slots {
            self.detach(slot, gone);
        }
    }

    /// Takes out what is in a slot.
    fn discard(&mut self, slot: Slot, gone: &mut Vec<Value>) {
        self.policy.remove(slot);
        self.detach(slot, gone);
    }

    /// Takes out what is in a slot that the policy has taken out already.
    fn detach(&mut self, slot: Slot, gone: &mut Vec<Value>) {
        if matches!(self.nodes[slot as usize].value, Value::Nothing) {
            // It was a variant, and went with its URL.
            return;
        }
        self.disown(slot, gone);
        if let Ok(entry) = self.index.find_entry(self.policy.hash(slot), |&at| at == slot) {
            entry.remove();
        }
        self.count(slot, false);
        let node = &mut self.nodes[slot as usize];
        let owner = std::mem::replace(&mut node.owner, NONE);
        gone.push(std::mem::replace(&mut node.value, Value::Nothing));
        if owner != NONE
            && let Value::Family(family) = &mut self.nodes[owner as usize].value
        {
            family.members.retain(|member| *member != slot);
        }
    }

    /// Takes out the variants that hang from what is in a slot.
    fn disown(&mut self, slot: Slot, gone: &mut Vec<Value>) {
        let Value::Family(family) = &mut self.nodes[slot as usize].value else { return };
        for member in std::mem::take(&mut family.members) {
            if self.policy.holds(member) {
                self.policy.remove(member);
            }
            self.detach(member, gone);
        }
    }

    fn reweigh(&mut self, slot: Slot) {
        let weight = self.nodes[slot as usize].value.memory();
        self.policy.reweigh(slot, u32::try_from(weight).unwrap_or(u32::MAX));
    }

    fn count(&mut self, slot: Slot, more: bool) {
        let node = &self.nodes[slot as usize];
        let count = match &node.value {
            Value::Object(..) if node.owner != NONE => &mut self.counts.variants,
            Value::Object(..) => &mut self.counts.objects,
            Value::Family(_) => &mut self.counts.families,
            Value::Mark(_) => &mut self.counts.marks,
            Value::Chunk(_) => &mut self.counts.chunks,
            Value::Nothing => return,
        };
        *count = if more { *count + 1 } else { *count - 1 };
    }

    /// Bytes that it takes besides what its entries weigh.
    fn fixed(&self) -> u64 {
        let nodes = self.nodes.capacity() * size_of::<Node>();
        (self.index.allocation_size() + nodes + self.policy.memory()) as u64
    }
}

/// No slot.
const NONE: Slot = Slot::MAX;

/// Slots by which the table grows at least.
const FEWEST_SLOTS: usize = 64;

/// Slots that are looked at for purged objects whenever there is no room.
const SWEPT_FOR_ROOM: usize = 16;
