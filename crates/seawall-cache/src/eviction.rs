//! What is given up when there is no room.
//!
//! W-TinyLFU (Einziger, Friedman, Manes, ACM Transactions on Storage 13:4, 2017), by size: what is
//! new enters a small *window*, in order of use. What falls out of it is let into the *main* part
//! only if it was asked for more often than what would have to go for it, all taken together. The
//! main part is a segmented LRU: *probation*, and *protected* for what was asked for again there.
//!
//! Pure arithmetic over slots: the caller keeps what belongs to a slot beside it. It knows no keys,
//! no clock and no content. [`crate::memory`] calls it.

mod sketch;

use sketch::Sketch;

/// The number of an entry, given again to another after it was removed.
pub type Slot = u32;

/// The entries of a shard, and in which order they go.
#[derive(Debug)]
pub struct Eviction {
    entries: Vec<Entry>,
    /// The first of those that are not in use.
    free: Slot,
    length: usize,
    queues: [List; 3],
    sketch: Sketch,
    budget: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    weight: u32,
    /// Towards the end that was used last.
    newer: Slot,
    /// Towards the end that goes first.
    older: Slot,
    queue: Queue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Window,
    Probation,
    Protected,
    Free,
}

#[derive(Debug, Clone, Copy)]
struct List {
    newest: Slot,
    oldest: Slot,
    weight: u64,
}

impl Eviction {
    /// No entries, and at most `budget` in weight.
    pub fn new(budget: u64) -> Eviction {
        Eviction {
            entries: Vec::new(),
            free: NONE,
            length: 0,
            queues: [List::EMPTY; 3],
            sketch: Sketch::new(),
            budget,
        }
    }

    /// What all entries together may weigh from now on. [`Eviction::make_room`] enforces it.
    pub fn set_budget(&mut self, budget: u64) {
        self.budget = budget;
    }

    /// What all entries together may weigh.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Whether there is something in a slot.
    pub fn holds(&self, slot: Slot) -> bool {
        self.entries.get(slot as usize).is_some_and(|entry| entry.queue != Queue::Free)
    }

    /// What all entries together weigh.
    pub fn weight(&self) -> u64 {
        self.queues.iter().map(|list| list.weight).sum()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Slots up to this number were ever given out.
    pub fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory that the policy itself takes.
    pub fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.sketch.memory()
    }

    /// The hash of what is in a slot.
    #[inline]
    pub fn hash(&self, slot: Slot) -> u64 {
        self.entries[slot as usize].hash
    }

    /// The weight of what is in a slot.
    pub fn weight_of(&self, slot: Slot) -> u32 {
        self.entries[slot as usize].weight
    }

    /// Something was asked for that is not here.
    pub fn missed(&mut self, hash: u64) {
        self.sketch.count(hash, self.length);
    }

    /// Something was asked for, and is here.
    pub fn hit(&mut self, slot: Slot) {
        let Entry { hash, queue, .. } = self.entries[slot as usize];
        self.sketch.count(hash, self.length);
        let to = if queue == Queue::Window { Queue::Window } else { Queue::Protected };
        self.unlink(slot);
        self.link(slot, to);
        let most = self.main_budget() / 5 * 4;
        while self.list(Queue::Protected).weight > most {
            let oldest = self.list(Queue::Protected).oldest;
            self.unlink(oldest);
            self.link(oldest, Queue::Probation);
        }
    }

    /// Something new. [`Eviction::make_room`] is due after it, and may well give up just this.
    pub fn insert(&mut self, hash: u64, weight: u32) -> Slot {
        self.sketch.fit(self.length + 1);
        if self.sketch.estimate(hash) == 0 {
            // It was stored without having been asked for.
            self.sketch.count(hash, self.length);
        }
        let entry = Entry { hash, weight, newer: NONE, older: NONE, queue: Queue::Free };
        let slot = if self.free == NONE {
            if self.entries.len() == self.entries.capacity() {
                // Not doubled: half of the table might stay empty.
                self.entries.reserve_exact(self.entries.len() / 8 + FEWEST_SLOTS);
            }
            self.entries.push(entry);
            (self.entries.len() - 1) as Slot
        } else {
            let slot = self.free;
            self.free = self.entries[slot as usize].older;
            self.entries[slot as usize] = entry;
            slot
        };
        self.length += 1;
        self.link(slot, Queue::Window);
        slot
    }

    /// What is in a slot weighs something else now. [`Eviction::make_room`] is due after it.
    pub fn reweigh(&mut self, slot: Slot, weight: u32) {
        let entry = &mut self.entries[slot as usize];
        let list = &mut self.queues[entry.queue as usize];
        list.weight = list.weight - u64::from(entry.weight) + u64::from(weight);
        entry.weight = weight;
    }

    /// Takes something out, other than by [`Eviction::make_room`].
    pub fn remove(&mut self, slot: Slot) {
        self.unlink(slot);
        let free = self.free;
        let entry = &mut self.entries[slot as usize];
        entry.queue = Queue::Free;
        entry.older = free;
        self.free = slot;
        self.length -= 1;
    }

    /// Gives up entries until all weigh no more than the budget, and adds their slots to `gone`.
    pub fn make_room(&mut self, gone: &mut Vec<Slot>) {
        while self.list(Queue::Window).weight > self.window_budget() {
            let candidate = self.list(Queue::Window).oldest;
            self.unlink(candidate);
            self.link(candidate, Queue::Probation);
            let over = self.weight().saturating_sub(self.budget);
            if over > 0 {
                self.contest(candidate, over, gone);
            }
        }
        while self.weight() > self.budget {
            let oldest = [Queue::Probation, Queue::Protected, Queue::Window]
                .map(|queue| self.list(queue).oldest)
                .into_iter()
                .find(|slot| *slot != NONE);
            let Some(oldest) = oldest else { break };
            self.remove(oldest);
            gone.push(oldest);
        }
    }

    /// Either the candidate goes, or all that is in its way.
    fn contest(&mut self, candidate: Slot, over: u64, gone: &mut Vec<Slot>) {
        let Entry { hash, .. } = self.entries[candidate as usize];
        let worth = self.sketch.estimate(hash);
        let begin = gone.len();
        let (mut freed, mut lost) = (0, 0);
        let mut victim = self.list(Queue::Probation).oldest;
        let mut queue = Queue::Probation;
        while freed < over {
            if victim == NONE {
                if queue == Queue::Protected {
                    break;
                }
                queue = Queue::Protected;
                victim = self.list(queue).oldest;
                continue;
            }
            let entry = self.entries[victim as usize];
            if victim != candidate {
                lost += self.sketch.estimate(entry.hash);
                freed += u64::from(entry.weight);
                gone.push(victim);
                if lost >= worth {
                    break;
                }
            }
            victim = entry.newer;
        }
        if worth > lost && freed >= over {
            for slot in &gone[begin..] {
                self.remove(*slot);
            }
        } else {
            gone.truncate(begin);
            gone.push(candidate);
            self.remove(candidate);
        }
    }

    fn window_budget(&self) -> u64 {
        self.budget / 100
    }

    fn main_budget(&self) -> u64 {
        self.budget - self.window_budget()
    }

    fn list(&self, queue: Queue) -> List {
        self.queues[queue as usize]
    }

    fn link(&mut self, slot: Slot, queue: Queue) {
        let list = &mut self.queues[queue as usize];
        let entry = &mut self.entries[slot as usize];
        entry.queue = queue;
        entry.newer = NONE;
        entry.older = list.newest;
        list.weight += u64::from(entry.weight);
        let older = std::mem::replace(&mut list.newest, slot);
        if older == NONE {
            list.oldest = slot;
        } else {
            self.entries[older as usize].newer = slot;
        }
    }

    fn unlink(&mut self, slot: Slot) {
        let Entry { newer, older, queue, weight, .. } = self.entries[slot as usize];
        let list = &mut self.queues[queue as usize];
        list.weight -= u64::from(weight);
        if newer == NONE {
            list.newest = older;
        } else {
            self.entries[newer as usize].older = older;
        }
        if older == NONE {
            list.oldest = newer;
        } else {
            self.entries[older as usize].newer = newer;
        }
    }
}

impl List {
    const EMPTY: List = List { newest: NONE, oldest: NONE, weight: 0 };
}

/// No slot.
const NONE: Slot = Slot::MAX;

/// Slots by which the table grows at least.
const FEWEST_SLOTS: usize = 64;
