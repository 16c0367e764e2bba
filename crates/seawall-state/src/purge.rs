//! The purge bus, as its users see it: where a node stands in it, what it hears, and what of its
//! own count belongs to which position.
//!
//! Purges are numbered without gaps within one life of the state (an *incarnation*). Whoever sees a
//! gap, or another incarnation, has lost something and knows it, whatever became of the server: a
//! trimmed stream, an old backup, a failover that dropped the latest writes, `FLUSHALL`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of a [`Position`] as it is stored.
pub const POSITION_BYTES: usize = 32;

/// Positions back to which [`Applier::sequence_at`] knows.
const REMEMBERED: usize = 16_384;

/// A place in the order of all purges of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which life of the state; drawn at random when it begins.
    pub(crate) incarnation: u64,
    /// The number of the last purge before this place.
    pub(crate) number: u64,
    /// What the server calls that purge.
    pub(crate) id: (u64, u64),
}

impl Position {
    /// Whether it is the next one.
    pub(crate) fn follows(self, before: Position) -> bool {
        self.incarnation == before.incarnation && Some(self.number) == before.number.checked_add(1)
    }

    /// Whether it is that place, or one behind it.
    pub(crate) fn has_reached(self, other: Position) -> bool {
        self.incarnation == other.incarnation && self.number >= other.number
    }

    /// For telling it to another node: 32 hexadecimal digits.
    pub fn to_text(self) -> String {
        format!("{:016x}{:016x}", self.incarnation, self.number)
    }

    /// What another node told.
    pub fn from_text(text: &[u8]) -> Option<Position> {
        let bytes: [u8; 16] = data_encoding::HEXLOWER.decode(text).ok()?.try_into().ok()?;
        let number = |i: usize| u64::from_be_bytes(bytes.as_chunks::<8>().0[i]);
        Some(Position { incarnation: number(0), number: number(1), id: (0, 0) })
    }

    /// For storing it.
    pub fn to_bytes(self) -> [u8; POSITION_BYTES] {
        let mut bytes = [0; POSITION_BYTES];
        let numbers = [self.incarnation, self.number, self.id.0, self.id.1];
        for (place, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        bytes
    }

    /// What was stored.
    pub fn from_bytes(bytes: [u8; POSITION_BYTES]) -> Position {
        let number = |i: usize| u64::from_be_bytes(bytes.as_chunks::<8>().0[i]);
        Position { incarnation: number(0), number: number(1), id: (number(2), number(3)) }
    }
}

/// What a node hears of purges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A message that was published, by this node or another.
    Purge(&'a [u8]),
    /// Messages were missed and nobody knows which: anything stored until now may be purged.
    Lost,
    /// Nothing is to be applied; the node's count is asked for, as it is.
    Nothing,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// This node has applied it, and all others that are there hear it now.
    Published,
    /// The state is away, or slow; they will hear it when it is back.
    Queued,
    /// It has more than [`crate::MESSAGE_LIMIT`] bytes; nobody will hear it.
    TooLarge,
}

/// Applies what is heard, and remembers which count of the node belongs to which position.
pub(crate) struct Applier(Mutex<Applied>);

struct Applied {
    apply: Box<dyn FnMut(Heard<'_>) -> u64 + Send>,
    position: Option<Position>,
    /// Numbers and the node's count when they had been applied, in order.
    counts: VecDeque<(u64, u64)>,
}

impl Applier {
    pub(crate) fn new(apply: impl FnMut(Heard<'_>) -> u64 + Send + 'static) -> Applier {
        let apply = Box::new(apply);
        Applier(Mutex::new(Applied { apply, position: None, counts: VecDeque::new() }))
    }

    /// The node is at `position`, after `heard`. Purges are handed over in order; after
    /// [`Heard::Lost`] nothing from before is known.
    pub(crate) fn apply(&self, heard: Heard<'_>, position: Position) {
        let mut applied = self.lock();
        let sequence = (applied.apply)(heard);
        let same = applied.position.is_some_and(|at| at.incarnation == position.incarnation);
        if !same || heard == Heard::Lost {
            applied.counts.clear();
        }
        if applied.counts.len() == REMEMBERED {
            applied.counts.pop_front();
        }
        applied.counts.push_back((position.number, sequence));
        applied.position = Some(position);
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.lock().position
    }

    pub(crate) fn sequence_at(&self, position: Position) -> Option<u64> {
        let applied = self.lock();
        if applied.position?.incarnation != position.incarnation {
            return None;
        }
        let after = applied.counts.partition_point(|(number, _)| *number <= position.number);
        // A position that this node has yet to reach counts as the one it is at: what it applies
        // on its way there then takes away too much, but never too little.
        Some(applied.counts.get(after.checked_sub(1)?)?.1)
    }

    fn lock(&self) -> MutexGuard<'_, Applied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applier").field("position", &self.position()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(incarnation: u64, number: u64) -> Position {
        Position { incarnation, number, id: (0, 0) }
    }

    #[test]
    fn positions_survive_storage() {
        let position = Position { incarnation: u64::MAX, number: 7, id: (1_700_000_000_000, 3) };
        assert_eq!(Position::from_bytes(position.to_bytes()), position);
    }

    #[test]
    fn positions_are_told_without_what_only_the_server_knows() {
        let text = at(0xabc, 7).to_text();
        assert_eq!(text, "0000000000000abc0000000000000007");
        assert_eq!(Position::from_text(text.as_bytes()), Some(at(0xabc, 7)));
        for bad in ["", "x", &text[1..], &format!("{text}00"), &text.to_uppercase()] {
            assert_eq!(Position::from_text(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_place_is_reached_or_not() {
        for (here, there, expect) in [
            (at(1, 5), at(1, 5), true),
            (at(1, 6), at(1, 5), true),
            (at(1, 4), at(1, 5), false),
            (at(2, 6), at(1, 5), false),
        ] {
            assert_eq!(here.has_reached(there), expect, "{here:?} {there:?}");
        }
    }

    #[test]
    fn a_position_knows_what_was_applied_by_then() {
        let mut count = 100;
        let applier = Applier::new(move |heard| {
            count += u64::from(heard != Heard::Nothing) * 10;
            count
        });
        assert_eq!(applier.sequence_at(at(1, 5)), None, "nothing is known yet");
        applier.apply(Heard::Nothing, at(1, 5));
        applier.apply(Heard::Purge(b"a"), at(1, 6));
        applier.apply(Heard::Purge(b"b"), at(1, 7));
        for (position, expect) in [
            (at(1, 4), None),
            (at(1, 5), Some(100)),
            (at(1, 6), Some(110)),
            (at(1, 7), Some(120)),
            (at(1, 9), Some(120)),
            (at(2, 6), None),
        ] {
            assert_eq!(applier.sequence_at(position), expect, "{position:?}");
        }
        applier.apply(Heard::Lost, at(1, 20));
        assert_eq!(applier.sequence_at(at(1, 7)), None, "it began before what was lost");
        assert_eq!(applier.sequence_at(at(1, 20)), Some(130));
        for number in 21..21 + REMEMBERED as u64 {
            applier.apply(Heard::Purge(b"c"), at(1, number));
        }
        assert_eq!(applier.sequence_at(at(1, 20)), None, "too long ago");
        assert_eq!(applier.sequence_at(at(1, 21)), Some(140));
    }
}
