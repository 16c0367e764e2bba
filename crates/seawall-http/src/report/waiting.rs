//! Events that wait to be delivered, within a number of bytes. Arithmetic alone; locked and counted
//! by `Report`.

use std::collections::VecDeque;

use super::LONGEST_BUFFER;

/// Bytes of a piece that there is room for when it begins.
const PIECE: usize = 64 * 1024;

/// Some events in a row.
#[derive(Debug)]
pub(super) struct Piece {
    /// A line each.
    pub(super) text: Vec<u8>,
    events: u64,
    /// When the first of them happened, in milliseconds since 1970.
    since: u64,
}

/// Events that are delivered together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) pieces: Vec<Piece>,
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// Those that wait, and how much of the room the ones have that are on their way.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pieces: VecDeque<Piece>,
    bytes: u64,
    /// Bytes of the batch that was taken, and when its first event happened.
    taken: Option<(u64, u64)>,
    most: u64,
    largest_batch: u64,
    closed: bool,
}

impl Waiting {
    /// Sets the bytes that may wait, those on their way among them, and those of a batch. Events can
    /// be added from then on.
    pub(super) fn open(&mut self, most: u64, largest_batch: u64) {
        (self.most, self.largest_batch, self.closed) = (most, largest_batch, false);
    }

    /// No event is to be added any more. Gives how many have waited.
    pub(super) fn close(&mut self) -> u64 {
        self.closed = true;
        self.bytes = 0;
        self.pieces.drain(..).map(|piece| piece.events).sum()
    }

    /// Whether no event is to be added.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Adds events at the end, and drops as many from the front as there is no room for; says how
    /// many these were. A batch that was taken stays: it may have been received.
    pub(super) fn add(&mut self, text: &[u8], events: u64, since: u64) -> u64 {
        debug_assert!(text.len() <= LONGEST_BUFFER);
        let (mut dropped, length) = (0, text.len() as u64);
        while self.bytes() + length > self.most
            && let Some(first) = self.pieces.pop_front()
        {
            self.bytes -= first.text.len() as u64;
            dropped += first.events;
        }
        self.bytes += length;
        // No piece is larger than it was made, so that memory is what is counted, or little more.
        if let Some(last) = self.pieces.back_mut()
            && last.text.len() + text.len() <= last.text.capacity()
        {
            last.text.extend_from_slice(text);
            last.events += events;
            return dropped;
        }
        let mut piece = Vec::with_capacity(PIECE.max(text.len()));
        piece.extend_from_slice(text);
        self.pieces.push_back(Piece { text: piece, events, since });
        dropped
    }

    /// The oldest of them, as many as go into a batch.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let mut batch = Batch { pieces: Vec::new(), events: 0, bytes: 0 };
        let oldest = self.pieces.front()?.since;
        while let Some(first) = self.pieces.front() {
            let length = first.text.len() as u64;
            if !batch.pieces.is_empty() && batch.bytes + length > self.largest_batch {
                break;
            }
            let Some(first) = self.pieces.pop_front() else { break };
            batch.bytes += length;
            batch.events += first.events;
            batch.pieces.push(first);
        }
        self.bytes -= batch.bytes;
        self.taken = Some((batch.bytes, oldest));
        Some(batch)
    }

    /// Forgets the batch that was taken.
    pub(super) fn settle(&mut self) {
        self.taken = None;
    }

    /// Bytes that wait or are on their way.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.taken.map_or(0, |(bytes, _)| bytes)
    }

    /// When the oldest of these happened, in milliseconds since 1970; 0 when there is none.
    pub(super) fn oldest(&self) -> u64 {
        let taken = self.taken.map(|(_, oldest)| oldest);
        taken.or(self.pieces.front().map(|piece| piece.since)).unwrap_or(0)
    }

    /// Whether there is enough for a whole batch.
    pub(super) fn has_batch(&self) -> bool {
        self.bytes >= self.largest_batch
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(most: u64, largest_batch: u64) -> Waiting {
        let mut waiting = Waiting::default();
        waiting.open(most, largest_batch);
        waiting
    }

    fn line(number: u64) -> Vec<u8> {
        format!("{number:0999}\n").into_bytes()
    }

    /// What is in a batch.
    fn numbers(batch: &Batch) -> Vec<u64> {
        let text: Vec<u8> = batch.pieces.iter().flat_map(|piece| piece.text.clone()).collect();
        let text = String::from_utf8(text).expect("numbers");
        text.lines().map(|line| line.parse().expect("a number")).collect()
    }

    #[test]
    fn they_are_given_in_order_each_once_and_whole() {
        let mut waiting = waiting(10_000_000, 200_000);
        for number in 0..1000 {
            assert_eq!(waiting.add(&line(number), 1, number + 1), 0);
        }
        assert_eq!((waiting.bytes(), waiting.oldest()), (1_000_000, 1));
        assert!(waiting.has_batch());
        let mut all = Vec::new();
        while let Some(batch) = waiting.take() {
            assert!(batch.bytes <= 200_000, "{}", batch.bytes);
            let numbers = numbers(&batch);
            assert_eq!(batch.events, numbers.len() as u64);
            assert_eq!(waiting.oldest(), numbers[0] + 1, "the oldest is on its way");
            all.extend(numbers);
            waiting.settle();
        }
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert_eq!((waiting.bytes(), waiting.oldest(), waiting.is_empty()), (0, 0, true));
    }

    #[test]
    fn the_oldest_go_first_but_not_those_on_their_way() {
        let mut waiting = waiting(400_000, 100_000);
        for number in 0..300 {
            assert_eq!(waiting.add(&line(number), 1, 1), 0);
        }
        let taken = waiting.take().expect("there are some");
        let mut dropped = 0;
        for number in 300..1000 {
            dropped += waiting.add(&line(number), 1, 1);
            assert!(waiting.bytes() <= 400_000, "{}", waiting.bytes());
        }
        waiting.settle();
        let mut left = Vec::new();
        while let Some(batch) = waiting.take() {
            left.extend(numbers(&batch));
        }
        assert_eq!(taken.events + dropped + left.len() as u64, 1000);
        assert!(dropped > 0 && left.len() > 200, "{dropped} dropped, {} left", left.len());
        let first = taken.events + dropped;
        assert_eq!(left, (first..1000).collect::<Vec<_>>(), "it is the newest that are left");
    }

    #[test]
    fn memory_is_what_is_counted_or_little_more() {
        let mut waiting = waiting(1 << 20, 1 << 19);
        for number in 0..10_000 {
            let text = vec![b'x'; 100 + (number % 7) * 6_000];
            waiting.add(&text, 1, 1);
        }
        let held: usize = waiting.pieces.iter().map(|piece| piece.text.capacity()).sum();
        assert!(held < 3 << 20, "{held} bytes for {}", waiting.bytes());
    }
}
