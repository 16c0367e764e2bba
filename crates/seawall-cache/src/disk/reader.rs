//! Reads: threads that do them, and futures that wait for them.
//!
//! What several ask for at the same time is read once. A read that nobody waits for any more is
//! left out. Never serves a record whose checksums, key, place or generation are not as they
//! should be.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::format::{HEADER, MOST, Record};
use super::index::Place;
use super::lending::{self, Lent};
use super::volume::Volume;
use super::{Blob, Shared, held};

/// Reads that may wait; more are refused.
pub(super) const QUEUE: usize = 1024;

/// A read under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) key: Box<[u8]>,
    pub(super) target: Target,
    wanted: Wanted,
    state: Mutex<Landing>,
}

/// What is to become of a record that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It comes into memory.
    Read,
    /// It is checked and lent.
    Lent,
    /// The same, but nobody waits for it yet.
    Near,
}

/// What is given of a record.
#[derive(Debug, Clone)]
pub enum Landed {
    /// What it is.
    Blob(Blob),
    /// Its content, which is all there is.
    Lent(Lent),
}

/// What is to be read.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) hash: u64,
    pub(super) place: Place,
    /// It was checked before.
    pub(super) verified: bool,
    /// That of its segment when it was looked up.
    pub(super) generation: u64,
    pub(super) volume: Arc<Volume>,
}

impl Target {
    /// Whether it costs less to copy it than to hand it to a thread.
    pub(super) fn is_small(&self) -> bool {
        self.place.bytes() <= SMALL
    }

    /// Whether it was checked, and seems to be in the page cache: both ends of it are.
    pub(super) fn is_near(&self) -> bool {
        let (at, length) = (self.place.at(), self.place.bytes() as usize);
        self.verified
            && lending::is_resident(&self.volume, at, 1)
            && lending::is_resident(&self.volume, at + length as u64 - 1, 1)
    }
}

/// The most bytes of a record that a worker copies itself, if it can without waiting.
const SMALL: u64 = 64 << 10;

/// Who waits for a read, or how it ended.
#[derive(Debug, Default)]
pub(super) struct Landing {
    waiting: usize,
    wakers: Vec<Option<Waker>>,
    done: Option<Option<Landed>>,
}

/// What [`super::Disk::read`] returns: it ends with what is stored, or with `None` if there is
/// nothing, if it cannot be read, or if too many reads wait already.
///
/// May be dropped at any time; the read is left out if nobody else waits for it.
#[derive(Debug)]
#[must_use = "a read does nothing unless it is awaited"]
pub struct Reading(State);

/// What [`super::Disk::lend`] returns, as [`Reading`] is for reads.
#[derive(Debug)]
#[must_use = "nothing is lent unless it is awaited"]
pub struct Borrowing(Reading);

impl Borrowing {
    pub(super) fn new(reading: Reading) -> Borrowing {
        Borrowing(reading)
    }
}

impl Future for Borrowing {
    type Output = Option<Landed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Landed>> {
        self.0.poll_landed(context)
    }
}

#[derive(Debug)]
enum State {
    Ready(Option<Landed>),
    Waiting { flight: Arc<Flight>, seat: usize },
}

impl Reading {
    pub(super) fn ready(landed: Option<Landed>) -> Reading {
        Reading(State::Ready(landed))
    }

    /// Takes a seat among those who wait for a read. The lock of the flight's shard is held.
    pub(super) fn join(flight: Arc<Flight>) -> Reading {
        let seat = {
            let mut state = held(&flight.state);
            state.waiting += 1;
            state.wakers.push(None);
            state.wakers.len() - 1
        };
        Reading(State::Waiting { flight, seat })
    }

    fn poll_landed(&mut self, context: &mut Context<'_>) -> Poll<Option<Landed>> {
        match &mut self.0 {
            State::Ready(landed) => Poll::Ready(landed.take()),
            State::Waiting { flight, seat } => {
                let mut state = held(&flight.state);
                if let Some(done) = &state.done {
                    return Poll::Ready(done.clone());
                }
                match &mut state.wakers[*seat] {
                    Some(waker) => waker.clone_from(context.waker()),
                    empty => *empty = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Future for Reading {
    type Output = Option<Blob>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Blob>> {
        self.poll_landed(context).map(|landed| match landed {
            Some(Landed::Blob(blob)) => Some(blob),
            // Nobody who reads joins those who borrow.
            Some(Landed::Lent(_)) | None => None,
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let State::Waiting { flight, seat } = &self.0 {
            let mut state = held(&flight.state);
            state.waiting -= 1;
            if let Some(waker) = state.wakers.get_mut(*seat) {
                *waker = None;
            }
        }
    }
}

/// Reads that wait for a thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<(VecDeque<Arc<Flight>>, bool)>,
    work: Condvar,
}

impl Queue {
    /// Returns whether there was room.
    pub(super) fn push(&self, flight: &Arc<Flight>) -> bool {
        let mut waiting = held(&self.waiting);
        if waiting.0.len() >= QUEUE || waiting.1 {
            return false;
        }
        waiting.0.push_back(Arc::clone(flight));
        drop(waiting);
        self.work.notify_one();
        true
    }

    /// Whether what is not urgent had better not be asked for.
    pub(super) fn is_busy(&self) -> bool {
        held(&self.waiting).0.len() >= QUEUE / 16
    }

    /// Ends the threads once they have done what waits.
    pub(super) fn close(&self) {
        held(&self.waiting).1 = true;
        self.work.notify_all();
    }

    /// There is no thread any more: what waits finds nothing.
    pub(super) fn abandon(&self) {
        let mut waiting = held(&self.waiting);
        waiting.1 = true;
        let flights = std::mem::take(&mut waiting.0);
        drop(waiting);
        for flight in flights {
            flight.land(None);
        }
    }

    fn take(&self) -> Option<Arc<Flight>> {
        let mut waiting = held(&self.waiting);
        loop {
            if let Some(flight) = waiting.0.pop_front() {
                return Some(flight);
            }
            if waiting.1 {
                return None;
            }
            waiting = self.work.wait(waiting).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }
}

/// What a thread of the readers does until the queue is closed.
pub(super) fn run(shared: &Shared) {
    // Both are dropped by a panic too, so that nobody waits for what does not come.
    let _ended = Ended(shared);
    while let Some(flight) = shared.reads.take() {
        {
            let mut shard = shared.index.shard(flight.target.hash);
            if flight.wanted != Wanted::Near && held(&flight.state).waiting == 0 {
                detach(&mut shard.flights, &flight);
                continue;
            }
        }
        let mut arrival = Arrival { shared, flight, landed: None };
        arrival.landed = read(shared, &arrival.flight);
    }
}

struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.reader_ended();
    }
}

/// The end of a flight: when dropped, all who wait for it get what there is.
struct Arrival<'a> {
    shared: &'a Shared,
    flight: Arc<Flight>,
    landed: Option<Landed>,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let Arrival { shared, flight, landed } = self;
        // Nobody joins from here on.
        detach(&mut shared.index.shard(flight.target.hash).flights, flight);
        flight.land(landed.take());
    }
}

impl Flight {
    pub(super) fn new(key: &[u8], target: Target, wanted: Wanted) -> Flight {
        Flight { key: key.into(), target, wanted, state: Mutex::default() }
    }

    /// Whether it gives what is wanted.
    pub(super) fn is_for(&self, wanted: Wanted) -> bool {
        (self.wanted == Wanted::Read) == (wanted == Wanted::Read)
    }

    fn land(&self, landed: Option<Landed>) {
        let wakers = {
            let mut state = held(&self.state);
            state.done = Some(landed);
            std::mem::take(&mut state.wakers)
        };
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }
}

type Flights<S> = std::collections::HashMap<u64, Arc<Flight>, S>;

fn detach<S: std::hash::BuildHasher>(flights: &mut Flights<S>, flight: &Arc<Flight>) {
    if flights.get(&flight.target.hash).is_some_and(|its| Arc::ptr_eq(its, flight)) {
        flights.remove(&flight.target.hash);
    }
}

fn read(shared: &Shared, flight: &Flight) -> Option<Landed> {
    let Flight { key, target, wanted, .. } = flight;
    match load(&target.volume, target.place, &shared.buffers) {
        Ok(bytes) => {
            shared.read_worked();
            let blob = judge(shared, target, key, bytes)?;
            // Off by now, if the kernel refused; and what has a head cannot be lent.
            let lends = *wanted != Wanted::Read && target.volume.lending().is_on();
            if !lends || !blob.head.is_empty() {
                return Some(Landed::Blob(blob));
            }
            shared.index.verified(target.hash, target.place);
            let at = target.place.at() + (HEADER + key.len()) as u64;
            let volume = &target.volume;
            Some(Landed::Lent(Lent::new(volume, target.generation, at, blob.content.len())))
        }
        Err(error) => {
            shared.read_failed(&error);
            None
        }
    }
}

/// Reads on the thread that asks, if all of it is in the page cache. `None` if it is not, or if
/// that cannot be known; then a reader is to do it.
pub(super) fn read_cached(shared: &Shared, target: &Target, key: &[u8]) -> Option<Option<Landed>> {
    let mut bytes = vec![0; target.place.bytes() as usize];
    match target.volume.read_cached(&mut bytes, target.place.at()) {
        Ok(true) => Some(judge(shared, target, key, bytes.into()).map(Landed::Blob)),
        Ok(false) => None,
        Err(error) => {
            // The reader says what is wrong, if something is.
            if error.kind() == std::io::ErrorKind::Unsupported {
                shared.cached.store(false, Relaxed);
            }
            None
        }
    }
}

/// Lends a record that was checked before, if all of it is in the page cache. `None` if it is not;
/// then a reader is to bring it, and to check it once more.
pub(super) fn lend_cached(shared: &Shared, target: &Target, key: &[u8]) -> Option<Landed> {
    let Target { place, generation, volume, .. } = target;
    let mut start = [0; HEADER + LENT_KEY];
    let start = start.get_mut(..HEADER + key.len())?;
    if !volume.read_cached(start, place.at()).ok()? || start[HEADER..] != *key {
        return None;
    }
    let header = Record::decode(volume.mark(), start.first_chunk()?)?;
    let right = header.at == place.at()
        && header.generation == *generation
        && (header.key as usize, header.head) == (key.len(), 0)
        && header.bytes() == place.bytes();
    let at = place.at() + start.len() as u64;
    let length = header.content as usize;
    if !right || !volume.lending().is_on() || !lending::is_resident(volume, at, length) {
        return None;
    }
    shared.counts.hits.fetch_add(1, Relaxed);
    shared.counts.read_bytes.fetch_add(u64::from(header.content), Relaxed);
    Some(Landed::Lent(Lent::new(volume, *generation, at, length)))
}

/// Bytes of the longest key of what is lent without a thread.
const LENT_KEY: usize = 64;

/// What was read, if it is what it should be.
fn judge(shared: &Shared, target: &Target, key: &[u8], bytes: Bytes) -> Option<Blob> {
    let Target { hash, place, generation, volume, .. } = target;
    let counts = &shared.counts;
    let Some((header, bytes)) = check(volume, *place, *generation, bytes) else {
        // If its segment was taken for something new meanwhile, nothing is wrong.
        if shared.index.forget_place(*hash, *place) {
            counts.corrupt.fetch_add(1, Relaxed);
        }
        return None;
    };
    let head = HEADER + header.key as usize;
    if bytes[HEADER..head] != *key {
        return None;
    }
    let content = head + header.head as usize;
    counts.hits.fetch_add(1, Relaxed);
    counts.read_bytes.fetch_add(u64::from(header.head) + u64::from(header.content), Relaxed);
    Some(Blob {
        head: bytes.slice(head..content),
        content: bytes.slice(content..content + header.content as usize),
    })
}

/// Reads the bytes of a record, whatever they are.
fn load(volume: &Volume, place: Place, buffers: &Arc<Buffers>) -> std::io::Result<Bytes> {
    let length = place.bytes() as usize;
    if length <= POOLED / 4 || length > POOLED {
        let mut bytes = vec![0; length];
        volume.read(&mut bytes, place.at())?;
        return Ok(Bytes::from(bytes));
    }
    let mut buffer = buffers.take(length);
    volume.read(&mut buffer.bytes[..length], place.at())?;
    Ok(Bytes::from_owner(buffer))
}

/// The header of a record, if the bytes are one of that generation at that place.
pub(super) fn check<B: AsRef<[u8]>>(
    volume: &Volume,
    place: Place,
    generation: u64,
    bytes: B,
) -> Option<(Record, B)> {
    let whole = bytes.as_ref();
    let header = Record::decode(volume.mark(), whole.first_chunk()?)?;
    let body = HEADER + header.key as usize + header.head as usize + header.content as usize;
    let right = !header.removal
        && header.at == place.at()
        && header.generation == generation
        && volume.generation(place.at()) == generation
        && body <= whole.len()
        && whole.len() <= MOST
        && crc32fast::hash(&whole[HEADER..body]) == header.crc;
    right.then_some((header, bytes))
}

/// Bytes of a buffer that is used again: a chunk with its head.
const POOLED: usize = (1 << 20) + (64 << 10);
/// Buffers that are kept when nobody uses them.
const KEPT: usize = 8;

/// Buffers of large reads, so that each need not be cleared and mapped anew.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Box<[u8]>>>);

impl Buffers {
    fn take(self: &Arc<Buffers>, length: usize) -> Buffer {
        let bytes = held(&self.0).pop();
        let bytes = bytes.unwrap_or_else(|| vec![0; POOLED].into_boxed_slice());
        Buffer { bytes, length, pool: Arc::clone(self) }
    }
}

struct Buffer {
    bytes: Box<[u8]>,
    length: usize,
    pool: Arc<Buffers>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = held(&self.pool.0);
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}
