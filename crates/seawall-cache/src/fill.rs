//! What is being fetched, and who waits for it: one fill for a key at a time.
//!
//! A fill belongs to no client. Whoever leads it feeds it from the origin; all who asked, the first
//! included, read from it while it arrives, each at its own pace, and are woken by what happens
//! rather than by a clock. Its content is kept as it came until a chunk is complete; complete
//! chunks stay for a window, and are to be found in the store from then on.
//!
//! Called by the door, from all its workers; does no I/O and knows no clock.

mod state;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;

use self::state::{BEHIND, Ended, Reader, State, WINDOW};
use crate::object::{CHUNK, Object};
use crate::store::Variants;

/// Parts of the table of fills, each with a lock of its own.
const SHARDS: usize = 16;

/// Fills by their keys.
type Shard<E> = HashMap<Box<[u8]>, Arc<Fill<E>>>;

/// The fills of a node. `E` says why one failed.
#[derive(Debug)]
pub struct Fills<E> {
    shards: [Mutex<Shard<E>>; SHARDS],
    next: AtomicU64,
    room: Arc<Room>,
}

/// Memory that fills hold, and how much of it they may hold before no other begins.
#[derive(Debug)]
struct Room {
    held: AtomicU64,
    most: AtomicU64,
}

impl Room {
    fn is_full(&self) -> bool {
        self.held.load(Relaxed) > self.most.load(Relaxed)
    }

    /// Complete chunks that each fill may keep.
    fn window(&self) -> usize {
        if self.is_full() { 1 } else { WINDOW }
    }
}

/// What a request for a key is to a fill.
#[derive(Debug)]
pub enum Join<E> {
    /// There was none: whoever gets this begins one, and is the first to wait for it.
    Lead(Lead<E>, Follow<E>),
    /// It waits with the others.
    Follow(Follow<E>),
    /// As many wait as may, or fills hold as much memory as they may.
    Crowded,
}

/// What became of a fetch, once its head was there.
#[derive(Debug, Clone)]
pub enum Verdict<E> {
    /// This answer, whose content follows if it is [`crate::object::Content::Arriving`].
    Answer {
        /// It, under the key of those requests that it is for.
        object: Arc<Object>,
        /// By what that key goes, if the answers to the URL vary.
        variants: Option<Arc<Variants>>,
    },
    /// The origin has failed, for this reason if it did not say so itself, and this is stored.
    Stale(Arc<Object>, Option<E>),
    /// The answer is for one request only: everyone else asks for himself.
    Alone,
    /// The answer is for one request only, because of what that is: one of the others begins anew,
    /// for all that are left.
    Again,
    /// There is no answer, for this reason.
    Failed(E),
}

/// A fetch in progress.
#[derive(Debug)]
pub struct Fill<E> {
    /// Under which its chunks are stored.
    id: u64,
    /// The purge sequence when it began.
    sequence: u64,
    /// Requests that wait for the verdict.
    waiting: AtomicUsize,
    room: Arc<Room>,
    state: Mutex<State<E>>,
}

impl<E> Fills<E> {
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard<E>> {
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Clone> Fills<E> {
    /// No fills. Their ids count from `first`, which is not to be what an earlier process has used.
    /// While they hold more than `most` bytes, none begins: who would lead one goes to the origin.
    pub fn new(first: u64, most: u64) -> Fills<E> {
        let room = Arc::new(Room { held: AtomicU64::new(0), most: AtomicU64::new(most) });
        Fills { shards: Default::default(), next: AtomicU64::new(first), room }
    }

    /// Changes how many bytes they may hold.
    pub fn set_most(&self, most: u64) {
        self.room.most.store(most, Relaxed);
    }

    /// Bytes that they hold.
    pub fn held(&self) -> u64 {
        self.room.held.load(Relaxed)
    }

    fn are_full(&self) -> bool {
        self.room.is_full()
    }

    /// Joins the fill of a key, at most as one of so many that wait, or begins one in its place. One
    /// that began when the purge sequence was below `oldest` is too old to join, and so is one whose
    /// answer has come already and is not `good` for who comes now, or is no longer there from its
    /// beginning.
    pub fn join(
        self: &Arc<Self>,
        hash: u64,
        key: &[u8],
        sequence: u64,
        oldest: u64,
        most: usize,
        good: impl FnOnce(&Object) -> bool,
    ) -> Join<E> {
        let mut shard = self.shard(hash);
        if let Some(fill) = shard.get(key)
            && fill.sequence >= oldest
            && fill.state().is_open(good)
        {
            let waiting = fill.waiting.fetch_add(1, Relaxed);
            if waiting >= most {
                fill.waiting.fetch_sub(1, Relaxed);
                return Join::Crowded;
            }
            return Join::Follow(Follow::new(fill.clone()));
        }
        if self.are_full() {
            return Join::Crowded;
        }
        let (lead, follow) = self.begin(hash, key, sequence);
        shard.insert(key.into(), lead.fill.clone());
        Join::Lead(lead, follow)
    }

    /// Begins a fill of a key unless there is one; nobody waits for it.
    pub fn refresh(self: &Arc<Self>, hash: u64, key: &[u8], sequence: u64) -> Option<Lead<E>> {
        let mut shard = self.shard(hash);
        if shard.contains_key(key) || self.are_full() {
            return None;
        }
        let (lead, _) = self.begin(hash, key, sequence);
        shard.insert(key.into(), lead.fill.clone());
        Some(lead)
    }

    fn begin(self: &Arc<Self>, hash: u64, key: &[u8], sequence: u64) -> (Lead<E>, Follow<E>) {
        let fill = Arc::new(Fill {
            id: self.next.fetch_add(1, Relaxed),
            sequence,
            waiting: AtomicUsize::new(1),
            room: self.room.clone(),
            state: Mutex::new(State::new()),
        });
        let follow = Follow::new(fill.clone());
        (Lead { fills: self.clone(), fill, hash, key: key.into() }, follow)
    }

    /// An id that no fill has or had, for content that is stored without being fetched.
    pub fn any_id(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// Whether a key is being fetched.
    pub fn contains(&self, hash: u64, key: &[u8]) -> bool {
        self.shard(hash).contains_key(key)
    }

    /// Fills in progress.
    pub fn count(&self) -> usize {
        let len = |shard: &Mutex<HashMap<_, _>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).len()
        };
        self.shards.iter().map(len).sum()
    }
}

/// The right and the duty to feed a fill. When dropped before the end, its readers learn that it
/// broke off.
#[derive(Debug)]
pub struct Lead<E> {
    fills: Arc<Fills<E>>,
    fill: Arc<Fill<E>>,
    hash: u64,
    key: Box<[u8]>,
}

impl<E> Lead<E> {
    /// Under which its chunks are stored; unlike that of any other fill of this process.
    pub fn id(&self) -> u64 {
        self.fill.id
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The purge sequence when it began.
    pub fn sequence(&self) -> u64 {
        self.fill.sequence
    }

    /// Says what became of the fetch. The first verdict holds.
    pub fn say(&self, verdict: Verdict<E>) {
        let mut state = self.fill.state();
        if state.verdict.is_none() {
            state.verdict = Some(verdict);
        }
        state.wake();
    }

    /// Hands on content that has arrived. Gives the chunk that it completes, with its number.
    pub fn append(&self, piece: Bytes) -> Option<(u64, Bytes)> {
        if piece.is_empty() {
            return None;
        }
        let room = &self.fill.room;
        let mut state = self.fill.state();
        // A piece never crosses the border of a chunk, so that chunks are whole.
        let (piece, rest) = match state.until_border().filter(|border| piece.len() > *border) {
            Some(border) => (piece.slice(..border), piece.slice(border..)),
            None => (piece, Bytes::new()),
        };
        state.push(piece);
        let chunk = state.complete();
        state.forget(room.window());
        state.settle(room);
        state.wake();
        drop(state);
        // The rest of one piece is far smaller than a chunk.
        let next = self.append(rest);
        debug_assert!(next.is_none() || chunk.is_none());
        chunk.or(next)
    }

    /// Makes sure of room for what it is going to hold, up to `bytes` at a time. False if others
    /// have taken it: then it must not begin to hold that much.
    pub fn reserve(&self, bytes: u64) -> bool {
        self.fill.state().reserve(bytes, &self.fill.room)
    }

    /// The same, whatever others have taken: no other begins then.
    pub fn hold(&self, bytes: u64) {
        self.fill.state().hold(bytes, &self.fill.room);
    }

    /// Says that each chunk is stored when it is complete, and stays so for as long as it is read
    /// here: so it need not be kept here when room is scarce.
    pub fn is_stored(&self) {
        self.fill.state().is_stored = true;
    }

    /// Says that nothing of it will be stored: it is kept for those who read it, and only as far as
    /// the slowest of them is behind.
    pub fn pass_on(&self) {
        let mut state = self.fill.state();
        state.is_passed_on = true;
        state.release(&self.fill.room);
    }

    /// The content that has arrived since the last complete chunk, in one piece, with the number of
    /// the chunk that it is the beginning of; nothing at all is chunk 0.
    pub fn rest(&self) -> (u64, Vec<Bytes>) {
        let state = self.fill.state();
        (state.arriving(), state.tail())
    }

    /// Bytes that have arrived.
    pub fn arrived(&self) -> u64 {
        self.fill.state().end
    }

    /// Ready when at most `ahead` bytes have arrived beyond what the fastest of those who read has,
    /// or nobody does; then with whether anybody does.
    pub fn poll_room(&self, ahead: u64, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.fill.state();
        let is_read =
            state.readers.iter().any(Option::is_some) || self.fill.waiting.load(Relaxed) > 0;
        let is_near = |at: u64| state.end <= at.saturating_add(ahead);
        if ahead == u64::MAX || !is_read || state.fastest().is_none_or(is_near) {
            return Poll::Ready(is_read);
        }
        state.leader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when nobody who reads is so far behind that what is passed on would be too much, or
    /// nobody reads; then with whether anybody does.
    pub fn poll_slowest(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.fill.state();
        let most = if self.fill.room.is_full() { BEHIND } else { WINDOW as u64 * CHUNK };
        let slowest = state.slowest();
        if slowest.is_none_or(|at| state.end - at.min(state.end) <= most) {
            return Poll::Ready(slowest.is_some());
        }
        state.leader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether those who ask still find it; it is not so once another fill of the key has begun.
    pub fn is_current(&self) -> bool {
        let shard = self.fills.shard(self.hash);
        shard.get(&*self.key).is_some_and(|fill| Arc::ptr_eq(fill, &self.fill))
    }

    /// Lets nobody else join.
    pub fn close(&self) {
        let mut shard = self.fills.shard(self.hash);
        if shard.get(&*self.key).is_some_and(|fill| Arc::ptr_eq(fill, &self.fill)) {
            shard.remove(&*self.key);
        }
    }

    /// Says that all has arrived. What was stored of it must be to be found in the store by now.
    pub fn finish(self) {
        self.end(Ended::Complete);
    }

    fn end(&self, how: Ended) {
        let mut shard = self.fills.shards[(self.hash >> 32) as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if shard.get(&*self.key).is_some_and(|fill| Arc::ptr_eq(fill, &self.fill)) {
            shard.remove(&*self.key);
        }
        drop(shard);
        let mut state = self.fill.state();
        state.ended.get_or_insert(how);
        state.forget(self.fill.room.window());
        state.release(&self.fill.room);
        if state.verdict.is_none() {
            state.verdict = Some(Verdict::Alone);
        }
        state.wake();
    }
}

impl<E> Drop for Lead<E> {
    fn drop(&mut self) {
        self.end(Ended::Broken);
    }
}

impl<E> Fill<E> {
    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Drop for Fill<E> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.leave(&self.room);
    }
}

/// One who waits for a fill, then reads from it. When dropped, the fill goes on without him.
#[derive(Debug)]
pub struct Follow<E> {
    fill: Arc<Fill<E>>,
    slot: usize,
    /// It counts among those who wait.
    waits: bool,
}

/// Why there is nothing to read in a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The fill broke off.
    Broken,
    /// The reader was so slow that the content has gone to the store.
    Behind,
}

impl<E> Follow<E> {
    /// `waiting` counts it already.
    fn new(fill: Arc<Fill<E>>) -> Follow<E> {
        let mut state = fill.state();
        let slot = match state.readers.iter().position(Option::is_none) {
            // Looking for a free place among many costs more than the place.
            Some(free) if state.readers.len() < 64 => {
                state.readers[free] = Some(Reader::default());
                free
            }
            _ => {
                state.readers.push(Some(Reader::default()));
                state.readers.len() - 1
            }
        };
        drop(state);
        Follow { fill, slot, waits: true }
    }

    /// Under which its chunks are stored.
    pub fn id(&self) -> u64 {
        self.fill.id
    }

    /// Ready when the verdict is there.
    pub fn poll_verdict(&mut self, cx: &mut Context<'_>) -> Poll<Verdict<E>>
    where
        E: Clone,
    {
        let mut state = self.fill.state();
        if let Some(verdict) = &state.verdict {
            let verdict = verdict.clone();
            drop(state);
            self.waits_no_more();
            return Poll::Ready(verdict);
        }
        register(&mut state, self.slot, cx);
        Poll::Pending
    }

    /// The content from `at` on, as far as it has arrived and lies in one piece; `None` at the end.
    pub fn poll_read(
        &mut self,
        at: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Unread>> {
        let mut state = self.fill.state();
        if let Some(reader) = &mut state.readers[self.slot] {
            reader.at = at;
        }
        // It looks whether it was waiting for this.
        if let Some(leader) = state.leader.take() {
            leader.wake();
        }
        if at < state.end {
            return Poll::Ready(state.piece(at).map(Some).ok_or(Unread::Behind));
        }
        match state.ended {
            Some(Ended::Complete) => Poll::Ready(Ok(None)),
            Some(Ended::Broken) => Poll::Ready(Err(Unread::Broken)),
            None => {
                register(&mut state, self.slot, cx);
                Poll::Pending
            }
        }
    }

    fn waits_no_more(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.fill.waiting.fetch_sub(1, Relaxed);
        }
    }
}

fn register<E>(state: &mut State<E>, slot: usize, cx: &Context<'_>) {
    if let Some(reader) = &mut state.readers[slot]
        && !reader.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
    {
        reader.waker = Some(cx.waker().clone());
    }
}

impl<E> Drop for Follow<E> {
    fn drop(&mut self) {
        self.waits_no_more();
        let mut state = self.fill.state();
        state.readers[self.slot] = None;
        if let Some(leader) = state.leader.take() {
            leader.wake();
        }
    }
}
