//! Clicks between two flushes, summed up in memory.
//!
//! Adding one takes a lock that is held for a fraction of a microsecond, and never waits for the
//! database. What is held is bounded: counters by [`Buffer::new`], bytes of sketches by
//! [`SKETCH_BYTES`] for each of those. Beyond, clicks that need a new counter are counted as lost,
//! and visitors are not told apart; clicks on what is counted already still count. Beyond half of the
//! counters, new referrers are not told apart: whoever makes them up takes no room from other links.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;

use super::detail::REST;
use super::event::Click;
use super::tally::Tally;

/// Parts with a lock of their own, so that threads seldom meet.
const SHARDS: usize = 16;

/// Bytes of sketches for each counter that may be held.
const SKETCH_BYTES: usize = 64;

/// Counters of one transaction at most. Larger ones would keep others from writing.
const MOST_AT_ONCE: usize = 8_192;

/// Clicks that wait to be written.
#[derive(Debug)]
pub struct Buffer {
    shards: [Mutex<Tally>; SHARDS],
    most: usize,
    counters: AtomicUsize,
    bytes: AtomicUsize,
    unknown: AtomicU64,
}

impl Buffer {
    /// A buffer of at most so many counters, with those that are being written.
    pub fn new(most: usize) -> Buffer {
        Buffer {
            shards: Default::default(),
            most,
            counters: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            unknown: AtomicU64::new(0),
        }
    }

    /// Adds a click. False: there was no room for it.
    pub fn add(&self, mut click: Click) -> bool {
        let mut shard = self.shard(&click);
        // Threads that come here at once may exceed it by one each.
        let held = self.counters.load(Relaxed);
        let may_grow = held < self.most;
        if held >= self.most / 2 && click.traits.referrer.is_some() && !shard.has(&click) {
            click.traits.referrer = Some(REST.into());
        }
        let may_know = self.bytes.load(Relaxed) < self.most.saturating_mul(SKETCH_BYTES);
        if !may_know && click.visitor.is_some() {
            self.unknown.fetch_add(1, Relaxed);
        }
        let room = shard.add_if(click, may_grow, may_know);
        if room.counters > 0 {
            self.counters.fetch_add(room.counters, Relaxed);
        }
        if room.bytes > 0 {
            self.bytes.fetch_add(room.bytes, Relaxed);
        }
        room.is_counted
    }

    /// Takes all that waits, in pieces for one transaction each. They count as held until
    /// [`Buffer::written`].
    pub fn take(&self) -> Vec<Tally> {
        let mut pieces: Vec<Tally> = Vec::new();
        for shard in &self.shards {
            let tally = std::mem::take(&mut *lock(shard));
            if tally.is_empty() {
                continue;
            }
            match pieces.last_mut() {
                Some(last) if last.len() + tally.len() <= MOST_AT_ONCE => last.merge(tally),
                _ => pieces.extend(tally.split(MOST_AT_ONCE)),
            }
        }
        pieces
    }

    /// A piece that was taken is no longer held.
    pub fn written(&self, piece: &Tally) {
        self.counters.fetch_sub(piece.len(), Relaxed);
        self.bytes.fetch_sub(piece.sketch_bytes(), Relaxed);
    }

    /// Clicks so far whose visitors could not be told apart for want of room.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Relaxed)
    }

    /// Counters that are held.
    pub fn held(&self) -> usize {
        self.counters.load(Relaxed)
    }

    fn shard(&self, click: &Click) -> MutexGuard<'_, Tally> {
        // By link, so that a link's visitors are in one place; a fixed hash, so that it is not
        // that of the map within.
        let hash = FixedState::with_seed(SHARDS as u64).hash_one(&click.code);
        lock(&self.shards[hash as usize % SHARDS])
    }
}

fn lock(shard: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;
    use crate::clicks::agent::{Agent, Device};
    use crate::clicks::event::Traits;
    use crate::clicks::tally::Rows;
    use crate::link::{Code, Millis};

    fn click(code: usize, at: Millis) -> Click {
        Click {
            code: Code::new(&format!("c{code}")).expect("a code"),
            at,
            traits: Traits {
                referrer: None,
                country: None,
                agent: Agent { device: Device::Desktop, name: "Chrome" },
            },
            visitor: Some((code as u64) << 33 ^ (at as u64) << 20),
        }
    }

    #[test]
    fn every_click_is_taken_once_however_many_add_and_take_at_once() {
        const EACH: u64 = 20_000;
        let buffer = Buffer::new(1_000_000);
        let (taken, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                loop {
                    // Looked at first, so that the last turn takes all that is left.
                    let is_last = is_over.load(Relaxed);
                    let pieces = buffer.take();
                    pieces.iter().for_each(|piece| buffer.written(piece));
                    taken.lock().expect("no panic").extend(pieces);
                    if is_last {
                        break;
                    }
                }
            });
            let adders: Vec<_> = (0..4_u64)
                .map(|seed| {
                    let buffer = &buffer;
                    scope.spawn(move || {
                        let mut random = fastrand::Rng::with_seed(seed);
                        for number in 0..EACH {
                            // The clock goes back now and then.
                            let at = (number as i64 * 10) - random.i64(0..100_000);
                            assert!(buffer.add(click(random.usize(..500), at)));
                        }
                    })
                })
                .collect();
            adders.into_iter().for_each(|adder| adder.join().expect("no panic"));
            is_over.store(true, std::sync::atomic::Ordering::SeqCst);
            writer.join().expect("no panic");
        });
        let pieces = taken.into_inner().expect("no panic");
        assert_eq!(pieces.iter().map(Tally::clicks).sum::<u64>(), 4 * EACH);
        let rows = Rows::of(&pieces, |_| Millis::MIN);
        let all = rows.minutes.iter().filter(|count| count.code.is_empty());
        assert_eq!(all.map(|count| count.clicks).sum::<i64>(), 4 * EACH as i64);
        assert_eq!((buffer.held(), buffer.bytes.load(Relaxed)), (0, 0));
    }

    #[test]
    fn it_holds_no_more_than_it_may_with_what_is_being_written() {
        let buffer = Buffer::new(10);
        let added = (0..25).filter(|code| buffer.add(click(*code, 0))).count();
        assert_eq!((added, buffer.held()), (10, 10));
        assert!(buffer.add(click(0, 1)), "what is counted already still counts");
        let pieces = buffer.take();
        assert!(!buffer.add(click(0, 0)), "until it is written there is no room");
        pieces.iter().for_each(|piece| buffer.written(piece));
        assert!(buffer.add(click(0, 0)));
    }

    #[test]
    fn visitors_are_told_apart_as_long_as_there_is_room() {
        let buffer = Buffer::new(4);
        for visitor in 0..10_000 {
            assert!(buffer.add(Click { visitor: Some(visitor << 39), ..click(1, 0) }));
        }
        assert!(buffer.unknown() > 9_000);
        let pieces = buffer.take();
        assert!(pieces[0].sketch_bytes() <= 8 * SKETCH_BYTES, "{}", pieces[0].sketch_bytes());
        assert_eq!(pieces[0].clicks(), 10_000);
    }

    #[test]
    fn referrers_that_are_made_up_leave_room_for_other_links() {
        let buffer = Buffer::new(100);
        let from = |code, referrer: usize| {
            let mut click = click(code, 0);
            click.traits.referrer = Some(format!("{referrer}.example").into());
            click
        };
        assert!(buffer.add(from(1, 0)));
        assert!((0..10_000).all(|number| buffer.add(from(1, number))));
        assert!((2..40).all(|code| buffer.add(from(code, 0))), "there is room for others");
        assert!(buffer.add(from(1, 0)), "what was there before counts on");
        let rows = Rows::of(&buffer.take(), |_| Millis::MIN);
        let (_, _, day) = rows.days.iter().find(|(_, code, _)| &**code == "c1").expect("a day");
        let of = |value: &str| {
            let all = day.by(crate::clicks::detail::By::Referrer).iter();
            all.filter(|(known, _)| &**known == value).map(|(_, count)| *count).sum::<u64>()
        };
        assert_eq!((of("0.example"), of(REST), day.clicks()), (3, 10_000 - 50, 10_002));
    }

    #[test]
    fn much_is_taken_in_pieces() {
        let buffer = Buffer::new(1_000_000);
        let count = 3 * MOST_AT_ONCE;
        (0..count).for_each(|code| assert!(buffer.add(click(code, 0))));
        let pieces = buffer.take();
        assert!(pieces.iter().all(|piece| (1..=MOST_AT_ONCE).contains(&piece.len())));
        assert_eq!(pieces.iter().map(Tally::len).sum::<usize>(), count);
        assert!(buffer.take().is_empty());
    }
}
