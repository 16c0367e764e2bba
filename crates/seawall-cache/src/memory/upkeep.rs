//! What is done with a shard besides what requests ask of it: giving back the memory of what was
//! purged, and of tables that are too large; looking at everything.

use std::sync::Arc;

use hashbrown::HashTable;

use super::{Counts, NONE, Node, Place, Shard, Value, Variants};
use crate::Millis;
use crate::eviction::Slot;
use crate::object::Object;
use crate::purge::{Purged, Purges};

impl Shard {
    /// Looks at up to `most` slots, and takes out what was purged hard and marks that are over.
    /// `None` if all was looked at since the last purge, otherwise how many slots were looked at.
    pub(crate) fn sweep(
        &mut self,
        most: usize,
        now: Option<Millis>,
        purges: &Purges,
        gone: &mut Vec<Value>,
    ) -> Option<usize> {
        if self.swept >= purges.sequence() && (now.is_none() || self.counts.marks == 0) {
            return None;
        }
        if self.hand == 0 {
            self.sweeping = purges.sequence();
        }
        let until = self.hand.saturating_add(most).min(self.nodes.len());
        let looked = until - self.hand;
        for slot in self.hand..until {
            let slot = slot as Slot;
            let purged = self.check(slot, purges) == Some(Purged::Hard);
            self.counts.purged += u64::from(purged);
            let over = match &self.nodes[slot as usize].value {
                Value::Mark(marked) => now.is_some_and(|now| marked.mark.until <= now),
                _ => purged,
            };
            if over {
                self.discard(slot, gone);
            }
        }
        self.hand = until;
        if until == self.nodes.len() {
            self.hand = 0;
            self.swept = self.sweeping;
        }
        Some(looked)
    }

    /// Whether a sweep has just come to its end.
    pub(crate) fn swept(&self) -> bool {
        self.hand == 0
    }

    /// Forgets everything but its counts.
    pub(crate) fn clear(&mut self) {
        let Counts { evicted, crowded, purged, .. } = self.counts;
        *self = Shard::new(self.budget);
        self.counts = Counts { evicted, crowded, purged, ..Counts::default() };
    }

    /// Gives memory back that tables take for many more entries than there are.
    pub(crate) fn compact(&mut self) {
        if !self.policy.is_sparse() {
            return;
        }
        let moved = self.policy.compact();
        let mut now_at = vec![NONE; self.nodes.len()];
        for (to, from) in moved.iter().enumerate() {
            now_at[*from as usize] = to as Slot;
        }
        let mut before = std::mem::take(&mut self.nodes);
        let nodes = moved.iter().map(|from| {
            let empty = Node { value: Value::Nothing, owner: NONE, uses: 0 };
            let mut node = std::mem::replace(&mut before[*from as usize], empty);
            if node.owner != NONE {
                node.owner = now_at[node.owner as usize];
            }
            if let Value::Family(family) = &mut node.value {
                family.members.iter_mut().for_each(|member| *member = now_at[*member as usize]);
            }
            node
        });
        self.nodes = nodes.collect();
        self.index = HashTable::with_capacity(self.nodes.len());
        let policy = &self.policy;
        for slot in 0..self.nodes.len() as Slot {
            self.index.insert_unique(policy.hash(slot), slot, |slot| policy.hash(*slot));
        }
        self.hand = 0;
        self.policy.set_budget(self.budget.saturating_sub(self.fixed()));
    }

    /// Calls with each object's key, uses and weight, for slots from `from` on, `most` of them.
    /// The slot to go on with, `None` at the end.
    pub(crate) fn each(
        &self,
        from: usize,
        most: usize,
        mut see: impl FnMut(&Arc<Object>, Option<&Arc<Variants>>, u32, u32),
    ) -> Option<usize> {
        let until = from.saturating_add(most).min(self.nodes.len());
        for slot in from.min(until)..until {
            let node = &self.nodes[slot];
            if let Value::Object(object, _) = &node.value {
                let variants = match self.nodes.get(node.owner as usize).map(|owner| &owner.value) {
                    Some(Value::Family(family)) => Some(&family.variants),
                    _ => None,
                };
                see(object, variants, node.uses, self.policy.weight_of(slot as Slot));
            }
        }
        (until < self.nodes.len()).then_some(until)
    }

    /// Variants of a URL that are stored or marked.
    pub(crate) fn members(&self, hash: u64, key: &[u8]) -> usize {
        let slot = self.find(hash, Place::Primary(key));
        match slot.map(|slot| &self.nodes[slot as usize].value) {
            Some(Value::Family(family)) => family.members.len(),
            _ => 0,
        }
    }
}
