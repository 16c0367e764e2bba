//! The chunks of large objects: those that are not in the store are fetched from the origin by
//! range requests, each by itself and once for all who want it, so that a range of a large object
//! needs neither all of it nor much memory.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use seawall_cache::conditional::Validators;
use seawall_cache::fill::{Follow, Join, Lead};
use seawall_cache::merge;
use seawall_cache::object::{CHUNK, Content, Object};
use seawall_cache::range::{ContentRange, Part, Ranges, Resolved};
use seawall_cache::store::Piece;
use seawall_h1::RequestHead;

use super::fill::{self, Parcel};
use super::node::Node;
use super::reading::Chunks;
use super::{Errand, Key};
use crate::client::Client;
use crate::forward::conversation::Conversation;
use crate::message::{Body, Response};
use crate::refuse::Refusal;
use crate::worker::Worker;

/// Chunks that an object can have: their numbers have 32 bits.
const MOST_CHUNKS: u64 = u32::MAX as u64;

/// The longest that a reader waits for one chunk.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is tried again to fetch one while there is no room.
const PAUSE: Duration = Duration::from_millis(10);

/// The chunks that a fill has put into the store.
pub(super) fn of_fill(node: &Arc<Node>, id: u64) -> Chunks {
    let node = node.clone();
    Chunks::new(Box::new(move |number| {
        let node = node.clone();
        Box::pin(async move { node.stored_chunk(id, number).await })
    }))
}

/// Whether the content of a stored object can be had: each chunk that is not stored can be fetched,
/// or none is missing.
pub(super) fn are_within_reach(node: &Node, object: &Object) -> bool {
    let Content::Chunks { id, length } = object.content else { return true };
    object.can_be_fetched()
        || (0..length.div_ceil(CHUNK)).all(|number| node.store.has_chunk(id, number as u32))
}

/// The chunks of a stored object.
pub(super) fn of_object(errand: &Errand<'_>, object: &Arc<Object>, id: u64) -> Chunks {
    let source = Rc::new(Origin {
        worker: errand.request.worker.clone(),
        node: errand.node.clone(),
        parcel: Parcel::new(errand, &Key::none(), None, true),
        primary: errand.key().text.into(),
        held: Held::new(errand.node, object, id),
        object: object.clone(),
        id,
    });
    Chunks::new(Box::new(move |number| Box::pin(source.clone().bring(number))))
}

/// Where the chunks of an object come from that are not stored.
struct Origin {
    worker: Rc<Worker>,
    node: Arc<Node>,
    parcel: Parcel,
    /// The key of all variants.
    primary: Arc<[u8]>,
    object: Arc<Object>,
    id: u64,
    held: Held,
}

/// Chunks that nobody can fetch again, so that who reads them gets all of them, even if the store
/// gives them up meanwhile.
struct Held {
    chunks: Vec<Option<Bytes>>,
    bytes: u64,
    all: Arc<AtomicU64>,
}

impl Held {
    /// Those of an object that are in memory; none where that would be too much beside the store.
    fn new(node: &Node, object: &Object, id: u64) -> Held {
        let mut held = Held { chunks: Vec::new(), bytes: 0, all: node.held.clone() };
        let length = object.length().filter(|_| !object.can_be_fetched()).unwrap_or(0);
        if length > 0 && held.all.fetch_add(length, Relaxed) + length <= node.memory() / 2 {
            let numbers = 0..length.div_ceil(CHUNK);
            held.chunks = numbers.map(|number| node.store.chunk(id, number as u32)).collect();
        }
        held.bytes = length;
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

impl Origin {
    async fn bring(self: Rc<Self>, number: u64) -> Option<Piece> {
        if let Some(Some(chunk)) = self.held.chunks.get(number as usize) {
            return Some(Piece::Memory(chunk.clone()));
        }
        if let Some(chunk) = self.node.stored_chunk(self.id, number).await {
            return Some(chunk);
        }
        if !self.object.can_be_fetched() {
            // What the origin has now may be something else. It is of no use to those who come now.
            self.node.forget_chunked(&self.primary, &self.object, self.id);
            return None;
        }
        let brought = async {
            loop {
                match self.begin(number) {
                    Some(follow) => return whole(follow).await,
                    // Others are being fetched, as many as there is room for.
                    None => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, brought).await.ok()?.map(Piece::Memory)
    }

    /// Begins to fetch a chunk, or joins who does; `None` while there is no room.
    fn begin(&self, number: u64) -> Option<Follow<Refusal>> {
        let Origin { node, object, .. } = self;
        let key = [self.id.to_le_bytes(), number.to_le_bytes()].concat();
        let hash = node.store.hash(&key);
        match node.chunks.join(hash, &key, 0, 0, usize::MAX, |_| true) {
            Join::Follow(follow) => Some(follow),
            Join::Crowded => None,
            Join::Lead(lead, follow) => {
                lead.hold(CHUNK);
                let length = object.length().unwrap_or(0);
                let from = number * CHUNK;
                let to = (from + CHUNK).min(length);
                let wanted =
                    Wanted { object: object.clone(), id: self.id, number, from, to, length };
                let parcel = self.parcel.chunk(wanted);
                fill::begin(&self.worker, parcel, lead, None);
                Some(follow)
            }
        }
    }
}

/// All that a fill gives, in one piece.
async fn whole(mut follow: Follow<Refusal>) -> Option<Bytes> {
    let mut all = Vec::new();
    while let Some(piece) = poll_fn(|cx| follow.poll_read(all.len() as u64, cx)).await.ok()? {
        if all.is_empty() && piece.len() as u64 == CHUNK {
            return Some(piece);
        }
        all.extend_from_slice(&piece);
    }
    Some(all.into())
}

/// A chunk that is asked for.
#[derive(Clone)]
pub(super) struct Wanted {
    object: Arc<Object>,
    id: u64,
    number: u64,
    from: u64,
    to: u64,
    length: u64,
}

impl Wanted {
    /// Asks for it, of the same representation only.
    pub(super) fn write(&self, head: &mut RequestHead) {
        let had = Validators::stored(self.object.fields(), self.object.meta.received);
        head.headers.set(b"Range", range_of(self.from, self.to).as_bytes());
        if let Some(validator) = had.etag.or(had.last_modified) {
            head.headers.set(b"If-Range", validator);
        }
    }

    /// Whether an answer is what was asked for.
    fn is_answered_by(&self, response: &Response) -> bool {
        let received = self.object.meta.received;
        let had = Validators::stored(self.object.fields(), received);
        let answer = &response.head.headers;
        let part = Part { first: self.from, last: self.to - 1 };
        let expect = ContentRange { part, complete: Some(self.length) };
        response.head.status == 206
            && ContentRange::of(answer) == Some(expect)
            && merge::can_combine(&had, &Validators::of(answer, received))
    }

    /// Takes the chunk in and stores it.
    pub(super) async fn receive(
        &self,
        node: &Node,
        lead: Lead<Refusal>,
        response: Response,
        client: &Client,
    ) -> Received {
        if !self.is_answered_by(&response) {
            return Received::Changed;
        }
        let Body::Answer(conversation) = response.body else { return Received::Changed };
        let Some(chunk) = collect(conversation, client, self.to - self.from).await else {
            return Received::Broken;
        };
        let chunk = Bytes::from(chunk);
        node.keep_chunk(self.id, self.number, chunk.clone());
        lead.append(chunk);
        lead.finish();
        Received::Kept
    }
}

/// What became of a chunk that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// It is stored.
    Kept,
    /// It did not come whole.
    Broken,
    /// The origin has something else by now, or gives no parts: what is stored cannot be completed.
    Changed,
}

/// The value of `Range` for content from one position to another.
pub(super) fn range_of(from: u64, to: u64) -> String {
    format!("bytes={from}-{}", to - 1)
}

/// The chunk of this number, of something whose length is not known.
pub(super) fn range_of_chunk(number: u64) -> String {
    range_of(number * CHUNK, (number + 1) * CHUNK)
}

/// The number of the first chunk that a request wants, if it wants parts and none of them begins in
/// the first chunk; then it is not worth fetching all of it. Of what is counted from the end, that
/// is not known before the length is, which the first chunk tells.
pub(super) fn first_wanted(request: &RequestHead) -> Option<u64> {
    let Resolved::Parts(parts) = Ranges::of(request)?.resolve(u64::MAX) else { return None };
    let first = parts.as_slice().iter().map(|part| part.first).min()?;
    match first / CHUNK {
        0 => None,
        number if number > MOST_CHUNKS => Some(0),
        number => Some(number),
    }
}

/// Content of so many bytes, in one piece; `None` if it is not that.
pub(super) async fn collect(
    mut conversation: Box<Conversation>,
    client: &Client,
    length: u64,
) -> Option<Vec<u8>> {
    let mut all = Vec::with_capacity(length as usize);
    loop {
        let (content, last) = fill::next(&mut conversation, client).await?;
        all.extend_from_slice(&content);
        if all.len() as u64 > length {
            return None;
        }
        if last {
            conversation.finish();
            return (all.len() as u64 == length).then_some(all);
        }
    }
}
