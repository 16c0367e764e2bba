//! Read buffers: bytes between a start and an end in one piece of memory, which a worker lends
//! out again when a connection has no use for it. An idle connection holds none.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use crate::socket;
use crate::turn::Turn;

/// Enough for nearly every head, and for small answers whole.
pub(crate) const SMALL: usize = 8 * 1024;
/// For bodies: the window that one direction of one exchange may fill.
pub(crate) const LARGE: usize = 64 * 1024;

/// Buffers kept for the next connection, by size.
const MAX_SPARE_SMALL: usize = 512;
const MAX_SPARE_LARGE: usize = 64;

/// Memory that a worker lends to its connections.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    small: RefCell<Vec<Box<[u8]>>>,
    large: RefCell<Vec<Box<[u8]>>>,
}

impl Buffers {
    fn take(&self, size: usize) -> Box<[u8]> {
        let spare = match size {
            SMALL => self.small.borrow_mut().pop(),
            LARGE => self.large.borrow_mut().pop(),
            _ => None,
        };
        spare.unwrap_or_else(|| vec![0; size].into_boxed_slice())
    }

    fn give_back(&self, data: Box<[u8]>) {
        let (spares, most) = match data.len() {
            SMALL => (&self.small, MAX_SPARE_SMALL),
            LARGE => (&self.large, MAX_SPARE_LARGE),
            _ => return,
        };
        let mut spares = spares.borrow_mut();
        if spares.len() < most {
            spares.push(data);
        }
    }
}

/// Bytes that were read and not yet used.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    data: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The unused bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes of memory behind it.
    pub(crate) fn capacity(&self) -> usize {
        self.data.len()
    }

    /// Drops the first `n` bytes.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Drops all bytes.
    pub(crate) fn consume_all(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Moves `len` bytes that begin at `from` to `to`; both count from the first unused byte.
    pub(crate) fn shift(&mut self, from: usize, len: usize, to: usize) {
        let from = self.start + from;
        self.data.copy_within(from..from + len, self.start + to);
    }

    /// Adds bytes that were not read from a socket.
    pub(crate) fn extend(&mut self, bytes: &[u8], buffers: &Buffers) {
        self.make_room(buffers, self.len() + bytes.len());
        if self.data.len() - self.end < bytes.len() {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
        self.data[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Makes room for at least one more byte, in memory of at least `size` bytes.
    pub(crate) fn make_room(&mut self, buffers: &Buffers, size: usize) {
        if self.data.is_empty() {
            self.data = buffers.take(if size <= SMALL { SMALL } else { LARGE.max(size) });
        } else if self.data.len() < size || self.len() == self.data.len() {
            let size = size.max(if self.len() == self.data.len() { 2 * self.len() } else { 0 });
            let size = [SMALL, LARGE].into_iter().find(|class| size <= *class).unwrap_or(size);
            let mut data = buffers.take(size);
            data[..self.len()].copy_from_slice(self.bytes());
            let old = std::mem::replace(&mut self.data, data);
            (self.start, self.end) = (0, self.end - self.start);
            buffers.give_back(old);
        } else if self.end == self.data.len() {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// Reads once from `stream` into the room there is, which [`Buffer::make_room`] made.
    #[inline]
    pub(crate) fn poll_fill(
        &mut self,
        stream: &TcpStream,
        turn: &Turn,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.end < self.data.len());
        let read = ready!(socket::poll_read(stream, &mut self.data[self.end..], turn, cx))?;
        self.end += read;
        Poll::Ready(Ok(read))
    }

    /// Gives the memory back; unused bytes are lost.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        if !self.data.is_empty() {
            buffers.give_back(std::mem::take(&mut self.data));
            (self.start, self.end) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_growing_and_moving() {
        let buffers = Buffers::default();
        let mut buffer = Buffer::default();
        buffer.make_room(&buffers, 1);
        assert_eq!(buffer.capacity(), SMALL);
        buffer.extend(&[7; SMALL], &buffers);
        buffer.consume(SMALL - 3);
        buffer.make_room(&buffers, 1);
        assert_eq!((buffer.capacity(), buffer.bytes()), (SMALL, &[7, 7, 7][..]));
        buffer.extend(b"abc", &buffers);
        buffer.make_room(&buffers, LARGE);
        assert_eq!((buffer.capacity(), buffer.bytes()), (LARGE, &b"\x07\x07\x07abc"[..]));
        buffer.shift(3, 3, 1);
        assert_eq!(buffer.bytes(), b"\x07abcbc");
        buffer.release(&buffers);
        assert!(buffer.is_empty() && buffer.capacity() == 0);
        assert_eq!((buffers.small.borrow().len(), buffers.large.borrow().len()), (1, 1));
    }

    #[test]
    fn bytes_are_added_wherever_there_is_room() {
        let buffers = Buffers::default();
        let mut buffer = Buffer::default();
        buffer.extend(b"", &buffers);
        buffer.extend(&[1; SMALL - 4], &buffers);
        buffer.consume(SMALL - 6);
        buffer.extend(b"3456", &buffers);
        assert_eq!((buffer.capacity(), buffer.bytes()), (SMALL, &b"\x01\x013456"[..]));
        buffer.consume(2);
        // There is room, but not behind.
        buffer.extend(&[7; SMALL - 4], &buffers);
        assert_eq!((buffer.capacity(), buffer.len()), (SMALL, SMALL));
        assert!(buffer.bytes().starts_with(b"3456\x07"));
        buffer.extend(b"8", &buffers);
        assert_eq!((buffer.capacity(), buffer.len()), (LARGE, SMALL + 1));
        assert!(buffer.bytes().ends_with(b"\x078"));
    }

    #[test]
    fn a_full_buffer_doubles() {
        let buffers = Buffers::default();
        let mut buffer = Buffer::default();
        for expect in [SMALL, LARGE, 2 * LARGE, 4 * LARGE] {
            buffer.make_room(&buffers, 1);
            assert_eq!(buffer.capacity(), expect);
            let room = buffer.capacity() - buffer.len();
            buffer.extend(&vec![1; room], &buffers);
        }
    }
}
