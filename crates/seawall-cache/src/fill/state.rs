//! What a fill holds of its content, and who reads it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use bytes::Bytes;

use super::{Room, Verdict};
use crate::object::{CHUNK, Content, Object};

/// Complete chunks that a fill keeps for its readers besides the one that is arriving, while there
/// is room.
pub(super) const WINDOW: usize = 8;

/// Pieces of this size are not joined.
const SMALL: usize = 16 * 1024;

/// Bytes that are kept behind the slowest reader of content that is only passed on.
pub(super) const BEHIND: u64 = 256 << 10;

#[derive(Debug)]
pub(super) struct State<E> {
    pub(super) verdict: Option<Verdict<E>>,
    /// Complete chunks, the first being number `first`.
    window: VecDeque<Bytes>,
    first: u64,
    /// Content of the chunk that is arriving, with the offset at which each piece ends; of all that
    /// is arriving once it is only passed on.
    tail: VecDeque<(u64, Bytes)>,
    /// Bytes that have arrived.
    pub(super) end: u64,
    /// Bytes in `window` and `tail`.
    held: u64,
    /// Bytes that it may come to hold.
    reserved: u64,
    /// What the room counts for it.
    counted: u64,
    /// Chunks are to be found in the store as soon as they are complete, and for as long as anybody
    /// reads this.
    pub(super) is_stored: bool,
    /// No chunks are made of the content: who reads it has it, and nobody else.
    pub(super) is_passed_on: bool,
    /// Some of it is no longer here, nor anywhere else.
    is_lost: bool,
    /// How it ended.
    pub(super) ended: Option<Ended>,
    /// Those who read, with the offset each has come to.
    pub(super) readers: Vec<Option<Reader>>,
    /// Whoever leads, waiting for the readers.
    pub(super) leader: Option<Waker>,
}

#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) waker: Option<Waker>,
    /// What it has read.
    pub(super) at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Complete,
    Broken,
}

impl<E> State<E> {
    pub(super) fn new() -> State<E> {
        State {
            verdict: None,
            window: VecDeque::new(),
            first: 0,
            tail: VecDeque::new(),
            end: 0,
            held: 0,
            reserved: 0,
            counted: 0,
            is_stored: false,
            is_passed_on: false,
            is_lost: false,
            ended: None,
            readers: Vec::new(),
            leader: None,
        }
    }

    /// Whether somebody who comes now may join.
    pub(super) fn is_open(&self, good: impl FnOnce(&Object) -> bool) -> bool {
        let Some(Verdict::Answer { object, .. }) = &self.verdict else { return true };
        // Who comes late must find the beginning here or in the store, or it can be fetched again.
        let is_kept = !matches!(object.content, Content::Arriving { kept: false, .. });
        let is_had = self.first == 0 || is_kept && (self.is_stored || object.can_be_fetched());
        !self.is_lost && is_had && good(object)
    }

    pub(super) fn wake(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }

    /// How far the fastest of those who read has come.
    pub(super) fn fastest(&self) -> Option<u64> {
        self.readers.iter().flatten().map(|reader| reader.at).max()
    }

    /// How far the slowest of them has come.
    pub(super) fn slowest(&self) -> Option<u64> {
        self.readers.iter().flatten().map(|reader| reader.at).min()
    }

    /// The number of the chunk that is arriving.
    pub(super) fn arriving(&self) -> u64 {
        self.first + self.window.len() as u64
    }

    /// What has arrived of that.
    pub(super) fn tail(&self) -> Vec<Bytes> {
        self.tail.iter().map(|(_, piece)| piece.clone()).collect()
    }

    /// Bytes that are missing to the next border of a chunk; `None` where there are none.
    pub(super) fn until_border(&self) -> Option<usize> {
        (!self.is_passed_on).then(|| ((self.arriving() + 1) * CHUNK - self.end) as usize)
    }

    /// Takes a piece to what has arrived. Small ones are joined like the digits of a binary counter,
    /// so that content in crumbs costs neither memory nor more than a few copies of each byte.
    pub(super) fn push(&mut self, mut piece: Bytes) {
        self.end += piece.len() as u64;
        self.held += piece.len() as u64;
        while piece.len() < SMALL
            && let Some((_, before)) = self.tail.back()
            && before.len() <= piece.len()
        {
            piece = [&before[..], &piece[..]].concat().into();
            self.tail.pop_back();
        }
        self.tail.push_back((self.end, piece));
    }

    /// Makes one chunk of what has arrived of it, if that is all of it. Gives it with its number.
    pub(super) fn complete(&mut self) -> Option<(u64, Bytes)> {
        if self.is_passed_on || !self.end.is_multiple_of(CHUNK) {
            return None;
        }
        let number = self.arriving();
        let mut chunk = Vec::with_capacity(CHUNK as usize);
        for (_, piece) in self.tail.drain(..) {
            chunk.extend_from_slice(&piece);
        }
        let chunk = Bytes::from(chunk);
        self.window.push_back(chunk.clone());
        Some((number, chunk))
    }

    /// Drops what need not be here, the more the fewer complete chunks there is room for.
    pub(super) fn forget(&mut self, most: usize) {
        let slowest = self.slowest();
        let is_read = |end: u64| slowest.is_none_or(|at| end <= at);
        if self.is_passed_on {
            while self.held > BEHIND && !self.window.is_empty() && is_read((self.first + 1) * CHUNK)
            {
                self.forget_chunk();
                self.is_lost = true;
            }
            while self.held > BEHIND
                && self.window.is_empty()
                && self.tail.front().is_some_and(|(end, _)| is_read(*end))
                && let Some((_, piece)) = self.tail.pop_front()
            {
                self.held -= piece.len() as u64;
                self.is_lost = true;
            }
            return;
        }
        while self.window.len() > WINDOW
            || self.window.len() > most && (self.is_stored || is_read((self.first + 1) * CHUNK))
        {
            self.forget_chunk();
        }
    }

    fn forget_chunk(&mut self) {
        if let Some(chunk) = self.window.pop_front() {
            self.held -= chunk.len() as u64;
            self.first += 1;
        }
    }

    /// Has the room count what it holds or may come to hold.
    pub(super) fn settle(&mut self, room: &Room) {
        let holds = self.held.max(self.reserved);
        if holds > self.counted {
            room.held.fetch_add(holds - self.counted, Relaxed);
        } else {
            room.held.fetch_sub(self.counted - holds, Relaxed);
        }
        self.counted = holds;
    }

    /// Counts up to `bytes` in the room beforehand, unless others have taken it. The last one has
    /// it whatever it needs.
    pub(super) fn reserve(&mut self, bytes: u64, room: &Room) -> bool {
        if bytes <= self.reserved {
            return true;
        }
        let others = room.held.load(Relaxed).saturating_sub(self.counted);
        if others > 0 && others.saturating_add(bytes) > room.most.load(Relaxed) {
            return false;
        }
        self.hold(bytes, room);
        true
    }

    /// The same, whatever others have taken.
    pub(super) fn hold(&mut self, bytes: u64, room: &Room) {
        self.reserved = self.reserved.max(bytes);
        self.settle(room);
    }

    /// Gives back what it was to hold.
    pub(super) fn release(&mut self, room: &Room) {
        self.reserved = 0;
        self.settle(room);
    }

    /// Gives back all, at the end.
    pub(super) fn leave(&mut self, room: &Room) {
        room.held.fetch_sub(self.counted, Relaxed);
        self.counted = 0;
    }

    /// What has arrived from `at` on, as far as it lies in one piece; `None` if it is no longer
    /// here.
    pub(super) fn piece(&self, at: u64) -> Option<Bytes> {
        let number = at / CHUNK;
        if number < self.first {
            return None;
        }
        if let Some(chunk) = self.window.get((number - self.first) as usize) {
            return Some(chunk.slice((at % CHUNK) as usize..));
        }
        let found = self.tail.partition_point(|(end, _)| *end <= at);
        let (end, piece) = self.tail.get(found)?;
        let skipped = piece.len().checked_sub((end - at) as usize)?;
        Some(piece.slice(skipped..))
    }
}
