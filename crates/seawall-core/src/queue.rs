//! Where requests wait for a place: first come first served, until that would serve nobody.
//!
//! In an overload a queue that is served in order makes everybody wait as long as anybody can
//! bear, so that the server works for clients that have left. Two remedies, after Maurer (*Fail at
//! Scale*, ACM Queue 2015) and the CoDel of Nichols and Jacobson (*Controlling Queue Delay*, ACM
//! Queue 2012; RFC 8289): when for a whole interval not even the luckiest waited less than the
//! target, there is a standing queue and not a burst; then the newest are served first, whose
//! clients are still there, and those that have waited longer than a short time are dropped, so
//! that they may try elsewhere. And whoever's deadline has passed is dropped before anyone is
//! served, always.
//!
//! Called by a door when an upstream has as many requests in flight as it may. Everything that was
//! pushed comes out exactly once: popped, dropped, or removed.

use std::collections::BTreeSet;
use std::time::Duration;

/// How a queue behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The most that wait; 0 when none does.
    pub size: usize,
    /// The wait that is fine; default 100 ms. (CoDel's 5 ms are for packets; a request holds its
    /// place for as long as an application thinks.)
    pub target: Duration,
    /// How long even the shortest wait must have been beyond the target before the queue is
    /// overloaded; default 1 s, some times what a request takes.
    pub interval: Duration,
    /// The longest wait while it is overloaded; default 100 ms.
    pub short: Duration,
}

impl Settings {
    /// The defaults, for a queue of that size.
    pub fn of_size(size: usize) -> Settings {
        let (target, interval) = (Duration::from_millis(100), Duration::from_secs(1));
        Settings { size, target, interval, short: target }
    }
}

/// What waits, and how long.
#[derive(Debug)]
pub struct Queue<T> {
    settings: Settings,
    places: Vec<Place<T>>,
    /// Head of the list of free places.
    free: usize,
    /// The list of those who wait, from the oldest to the newest.
    oldest: usize,
    newest: usize,
    /// Those who wait, by deadline.
    deadlines: BTreeSet<(Duration, usize)>,
    now: Duration,
    /// Since when the oldest has waited longer than the target whenever somebody looked.
    above_since: Option<Duration>,
    overloaded: bool,
}

#[derive(Debug)]
struct Place<T> {
    /// How often it was taken, so that an old key does not fit.
    turn: u64,
    older: usize,
    newer: usize,
    waiting: Option<Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    since: Duration,
    deadline: Duration,
    item: T,
}

/// The place of one that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    place: usize,
    turn: u64,
}

/// The queue is full; what was to be pushed comes back.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// Why something was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its deadline has passed.
    Expired,
    /// It has waited too long for an overloaded queue, or had to make room for a newer one there.
    Overloaded,
}

const NONE: usize = usize::MAX;

impl<T> Queue<T> {
    /// An empty queue. Memory is taken as it is needed.
    pub fn new(settings: Settings) -> Queue<T> {
        Queue {
            settings,
            places: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            deadlines: BTreeSet::new(),
            now: Duration::ZERO,
            above_since: None,
            overloaded: false,
        }
    }

    /// Takes over other settings. Who waits already stays, even beyond a smaller size.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    /// Whether the newest are served first.
    pub fn is_overloaded(&self) -> bool {
        self.overloaded
    }

    /// When [`Queue::sweep`] has something to drop, if nothing else happens before; for a timer.
    pub fn next_deadline(&self) -> Option<Duration> {
        let &(deadline, _) = self.deadlines.first()?;
        let short = self.waiting(self.oldest).filter(|_| self.overloaded);
        let short = short.map(|oldest| oldest.since.saturating_add(self.settings.short));
        Some(short.map_or(deadline, |short| short.min(deadline)))
    }

    /// Puts one at the end. When the queue is full, those that are due to be dropped make room,
    /// and in an overload the oldest does; those are added to `dropped`.
    ///
    /// # Errors
    /// [`Full`] when there is no room still.
    pub fn push(
        &mut self,
        now: Duration,
        deadline: Duration,
        item: T,
        dropped: &mut Vec<(T, Why)>,
    ) -> Result<Key, Full<T>> {
        self.sweep(now, dropped);
        if self.len() >= self.settings.size {
            let give_way = self.overloaded && self.settings.size > 0;
            match give_way.then(|| self.take(self.oldest)).flatten() {
                Some(oldest) => dropped.push((oldest.item, Why::Overloaded)),
                None => return Err(Full(item)),
            }
        }
        let waiting = Waiting { since: self.now, deadline, item };
        Ok(self.insert(waiting))
    }

    /// Puts one back that was popped in vain, to the place that it had by waiting `since` then.
    /// There is always room for it, since it had a place before.
    pub fn put_back(&mut self, since: Duration, deadline: Duration, item: T) -> Key {
        self.insert(Waiting { since: since.min(self.now), deadline, item })
    }

    /// Takes the next one to be served; its deadline has not passed. Those that are due to be
    /// dropped are added to `dropped` before.
    pub fn pop(&mut self, now: Duration, dropped: &mut Vec<(T, Why)>) -> Option<T> {
        self.sweep(now, dropped);
        let next = if self.overloaded { self.newest } else { self.oldest };
        self.take(next).map(|waiting| waiting.item)
    }

    /// Takes out one that leaves by itself; `None` when it was popped or dropped before.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get(key.place)?;
        if place.turn != key.turn {
            return None;
        }
        self.take(key.place).map(|waiting| waiting.item)
    }

    /// Adds those to `dropped` whose deadline has passed, and in an overload those that have
    /// waited longer than the short time.
    pub fn sweep(&mut self, now: Duration, dropped: &mut Vec<(T, Why)>) {
        self.now = self.now.max(now);
        self.judge();
        while let Some(&(deadline, place)) = self.deadlines.first() {
            if deadline > self.now {
                break;
            }
            dropped.extend(self.take(place).map(|waiting| (waiting.item, Why::Expired)));
        }
        while let Some(oldest) = self.waiting(self.oldest).filter(|_| self.overloaded) {
            if self.now - oldest.since < self.settings.short {
                break;
            }
            dropped.extend(self.take(self.oldest).map(|waiting| (waiting.item, Why::Overloaded)));
        }
    }

    /// Takes all out, for instance because there is no server left to wait for.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.take(self.oldest).map(|waiting| waiting.item))
    }

    /// Whether there is a standing queue. The oldest is who would be served next in order, so that
    /// its wait is the one that CoDel looks at. An overload ends when the oldest has waited less
    /// than half the target, since dropping alone keeps it near the short time.
    fn judge(&mut self) {
        let wait =
            self.waiting(self.oldest).map_or(Duration::ZERO, |oldest| self.now - oldest.since);
        if wait > self.settings.target {
            let since = *self.above_since.get_or_insert(self.now);
            self.overloaded |= self.now - since >= self.settings.interval;
        } else {
            self.above_since = None;
            self.overloaded &= wait > self.settings.target.min(self.settings.short) / 2;
        }
    }

    fn waiting(&self, place: usize) -> Option<&Waiting<T>> {
        self.places.get(place)?.waiting.as_ref()
    }

    /// Puts one behind all that have waited as long, or longer.
    fn insert(&mut self, waiting: Waiting<T>) -> Key {
        let Waiting { since, deadline, .. } = waiting;
        let waits_less =
            |place: usize| self.waiting(place).is_some_and(|other| other.since > since);
        let mut newer = NONE;
        if waits_less(self.newest) {
            newer = self.oldest;
            while !waits_less(newer) {
                newer = self.places[newer].newer;
            }
        }
        let older = self.places.get(newer).map_or(self.newest, |newer| newer.older);
        let place = if self.free == NONE {
            self.places.push(Place { turn: 0, older: NONE, newer: NONE, waiting: None });
            self.places.len() - 1
        } else {
            let free = self.free;
            self.free = self.places[free].newer;
            free
        };
        let entry = &mut self.places[place];
        entry.turn += 1;
        entry.older = older;
        entry.newer = newer;
        entry.waiting = Some(waiting);
        let turn = entry.turn;
        match self.places.get_mut(older) {
            Some(older) => older.newer = place,
            None => self.oldest = place,
        }
        match self.places.get_mut(newer) {
            Some(newer) => newer.older = place,
            None => self.newest = place,
        }
        self.deadlines.insert((deadline, place));
        Key { place, turn }
    }

    fn take(&mut self, place: usize) -> Option<Waiting<T>> {
        let entry = self.places.get_mut(place)?;
        let waiting = entry.waiting.take()?;
        let (older, newer) = (entry.older, entry.newer);
        entry.newer = self.free;
        self.free = place;
        match self.places.get_mut(older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.places.get_mut(newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        self.deadlines.remove(&(waiting.deadline, place));
        Some(waiting)
    }
}
